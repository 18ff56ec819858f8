//! How a container is created.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::timings::Timings;

/// Whether a container has a cgroup of its own. One without stays in the caller's: it cannot be limited, paused or watched, and its
/// device rules are not enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnCgroup {
    /// It has; but a user who may make none goes without, and so does root of a user namespace.
    #[default]
    Auto,
    /// It has, or is not created.
    Required,
    /// It has, unless the caller, whoever that is, may make none.
    IfPermitted,
    /// It has none. `linux.cgroupsPath` is not looked at.
    None,
}

/// How a container is created.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// Standard input of the container's process; `None`: the caller's. Not used with a terminal.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
    /// A Unix socket that receives the master of the container's terminal. Without one,
    /// [`Container::take_console`](crate::Container::take_console) has it.
    pub console_socket: Option<PathBuf>,
    /// A file that gets the process's pid.
    pub pid_file: Option<PathBuf>,
    /// The caller's descriptors 3 to 2 + N are passed on as they are, for a command that was started with them.
    pub preserve_fds: u32,
    /// Descriptors that the process gets as 3 + `preserve_fds` and following.
    pub preserved_fds: Vec<OwnedFd>,
    /// Of the descriptors that the process gets from 3 on, so many are announced to it as `LISTEN_FDS`
    /// (sd_listen_fds(3)).
    pub listen_fds: u32,
    /// Give the process a socket of its own to tell on that it is ready (sd_notify(3)), as `NOTIFY_SOCKET` in its
    /// environment. It is listened to after [`Container::start_notifying`](crate::Container::start_notifying).
    pub notify: bool,
    /// Enter the rootfs without pivot_root(2), for hosts whose root is the initial ramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Have systemd make the container's cgroup: `linux.cgroupsPath` is `slice:prefix:name` then.
    pub systemd_cgroup: bool,
    /// Whether it has a cgroup of its own.
    pub own_cgroup: OwnCgroup,
    /// Takes the time of what is done.
    pub timings: Option<Timings>,
}
