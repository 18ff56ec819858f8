//! Errors: what was tried on what, and as the source, once, what the kernel said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use no_frills_sys::bpf::LoadError;
use thiserror::Error as ThisError;

/// `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done with a cgroup.
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// There is no cgroup2 mount.
    #[error(
        "no cgroup2 file system is mounted in this mount namespace, neither at /sys/fs/cgroup nor, \
         by /proc/self/mountinfo, elsewhere; mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    )]
    NoHierarchy,

    /// A given mount is not one of cgroup2.
    #[error("{} is not on a cgroup2 file system", .0.display())]
    NotCgroup2(PathBuf),

    /// A cgroupsPath, or a path from a record, that cannot name a container's cgroup.
    #[error("cgroup path {path:?}: {why}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },

    /// The container's cgroup is in use.
    #[error(
        "container's cgroup is not empty: {processes} process(es) found in {}",
        .path.display()
    )]
    NotEmpty {
        /// The cgroup.
        path: PathBuf,
        /// How many there are, with those in its descendants.
        processes: usize,
    },

    /// The container's cgroup is there already, and frozen: the container would never start.
    #[error("container's cgroup unexpectedly frozen: {}", .0.display())]
    Frozen(PathBuf),

    /// Processes are left at the deadline.
    #[error("the cgroup {} still has {processes} process(es) after {waited:?}", .path.display())]
    Timeout {
        /// The cgroup.
        path: PathBuf,
        /// How many there are, with those in its descendants.
        processes: usize,
        /// How long the deadline was.
        waited: Duration,
    },

    /// A process did not stop before the deadline, so that the cgroup was thawed again.
    #[error(
        "the cgroup {} did not freeze within {waited:?}, and was thawed again: one of its processes is in an \
         uninterruptible sleep (state D of ps)",
        .path.display()
    )]
    NotFrozen {
        /// The cgroup.
        path: PathBuf,
        /// How long the deadline was.
        waited: Duration,
    },

    /// A process cannot be placed in the cgroup.
    #[error("placing a process in the cgroup {}: {why}", .path.display())]
    Entering {
        /// The cgroup.
        path: PathBuf,
        /// The rule that stands in the way, and what to do.
        why: String,
        /// What clone3(2) said.
        #[source]
        errno: Errno,
    },

    /// The kernel did not take the device program.
    #[error("loading the device program of the cgroup {}", .path.display())]
    Program {
        /// The cgroup.
        path: PathBuf,
        /// Error number and the verifier's log.
        #[source]
        cause: LoadError,
    },

    /// The device rules do not fit into one program.
    #[error("too many device rules for one BPF program: {0} after merging")]
    TooManyRules(usize),

    /// A limit cannot be what it is asked to be. The setting is for the caller to name, who knows where it came from.
    #[error("{why}")]
    Setting {
        /// A JSON pointer from `linux.resources` on.
        setting: String,
        /// What is wrong with it.
        why: String,
    },

    /// A limit needs a controller that cannot be had.
    #[error("needs the cgroup controller {controller:?}, {why}")]
    Controller {
        /// A JSON pointer from `linux.resources` on.
        setting: String,
        /// The controller.
        controller: String,
        /// Where it is, and what to do.
        why: String,
    },

    /// The kernel did not take a limit.
    #[error(transparent)]
    Limit(Box<Limit>),

    /// systemd did not do what it was asked for.
    #[error("{action} {unit}: {why}")]
    Systemd {
        /// What was asked for.
        action: &'static str,
        /// Of which unit.
        unit: String,
        /// What it answered, or why it could not be asked.
        why: String,
    },

    /// A system call failed.
    #[error("{action} {}{hint}", .path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the error number means here, where its own text does not tell; in parentheses, or
        /// empty.
        hint: &'static str,
        /// What the kernel said.
        #[source]
        errno: Errno,
    },
}

/// A limit that the kernel did not take.
#[derive(Clone, Debug, ThisError)]
#[error("writing {text:?} to {}{why}{}", .path.display(), after(.written))]
pub struct Limit {
    /// A JSON pointer from `linux.resources` on.
    pub setting: String,
    /// The file.
    pub path: PathBuf,
    /// What was written to it.
    pub text: String,
    /// What the error number means here; begins with a semicolon, or is empty.
    pub why: String,
    /// The files that were written before, and keep what they were given.
    pub written: Vec<String>,
    /// What the kernel said.
    #[source]
    pub errno: Errno,
}

impl Error {
    pub(crate) fn system(action: &'static str, path: &Path, errno: Errno) -> Error {
        let hint = match errno {
            // Of the calls here no other can be missing.
            Errno::ENOSYS => " (openat2 needs Linux 5.6, and no seccomp filter that hides it)",
            _ => "",
        };
        Error::System { action, path: path.to_owned(), hint, errno }
    }

    /// The setting that it is about, where it is about one: a JSON pointer from `linux.resources` on.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        match self {
            Error::Setting { setting, .. } | Error::Controller { setting, .. } => Some(setting),
            Error::Limit(limit) => Some(&limit.setting),
            _ => None,
        }
    }

    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::System { errno, .. } | Error::Entering { errno, .. } => Some(*errno),
            Error::Limit(limit) => Some(limit.errno),
            Error::Program { cause, .. } => Some(cause.errno),
            _ => None,
        }
    }
}

/// What was done before the write that failed.
fn after(written: &[String]) -> String {
    if written.is_empty() { String::new() } else { format!(" (already changed: {})", written.join(", ")) }
}

/// Whether `errno` says that a cgroup is not there: ENOENT for a path, ENODEV for a file that was
/// open when the directory went.
pub(crate) fn gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}
