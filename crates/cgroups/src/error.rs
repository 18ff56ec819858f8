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

impl Error {
    pub(crate) fn system(action: &'static str, path: &Path, errno: Errno) -> Error {
        let hint = match errno {
            // Of the calls here no other can be missing.
            Errno::ENOSYS => " (openat2 needs Linux 5.6, and no seccomp filter that hides it)",
            _ => "",
        };
        Error::System { action, path: path.to_owned(), hint, errno }
    }

    /// The kernel's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::System { errno, .. } | Error::Entering { errno, .. } => Some(*errno),
            Error::Program { cause, .. } => Some(cause.errno),
            _ => None,
        }
    }
}

/// Whether `errno` says that a cgroup is not there: ENOENT for a path, ENODEV for a file that was
/// open when the directory went.
pub(crate) fn gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}
