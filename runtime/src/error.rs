//! What can go wrong, said once: the setting (a JSON pointer), the action and the cause.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use no_frills_sys::calls;

use crate::config::ConfigError;
use crate::state::Status;

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
///
/// `Display` prints the whole reason on one line, with the system call and the errno where there is one. Some
/// texts are those that container engines look for in a runtime's output; they say so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration asks for what cannot be.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The configuration is not JSON.
    #[error("{}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: ConfigError,
    },
    /// There is no container of this name. (Engines look for the text.)
    #[error("container does not exist")]
    NotFound,
    /// The name is taken.
    #[error("container with given ID already exists: {0}")]
    Exists(String),
    /// The name is not one.
    #[error("invalid container ID format: {id:?}: {reason}")]
    InvalidId {
        /// The name.
        id: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The container's process has ended. (Engines look for the text.)
    #[error("container not running")]
    NotRunning,
    /// The container is paused, so that a process in it would not run. (Engines look for the text.)
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    Paused,
    /// The container is paused already.
    #[error("container already paused")]
    AlreadyPaused,
    /// The container is not paused, so that it cannot be resumed. (Engines look for the text.)
    #[error("container not paused")]
    NotPaused,
    /// The container was not paused by its own cgroup, or not by it alone.
    #[error("the container stays paused: {}", match above {
        Some(above) => format!("the cgroup {}, which is above its own, is frozen", above.display()),
        None => "somebody else keeps its cgroup frozen, or one above it".to_owned(),
    })]
    PausedAbove {
        /// The cgroup, if it can be seen from here.
        above: Option<PathBuf>,
    },
    /// A container without a cgroup of its own, as a user without a delegated one has it, cannot do this.
    #[error("the container has no cgroup of its own, without which it cannot be {0}")]
    NoCgroup(&'static str),
    /// Only a created container can be started.
    #[error("cannot start {}", match .0 {
        Status::Running | Status::Created => "an already running container",
        Status::Paused => "a container in the paused state",
        Status::Stopped => "a container that has stopped",
        Status::Creating => "a container that is being created",
    })]
    NotCreated(Status),
    /// Only a stopped container can be deleted. (Engines look for the text.)
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// The container.
        id: String,
        /// What it is instead.
        status: Status,
    },
    /// The command that makes or deletes the container has not finished, or was interrupted.
    #[error(
        "container {0} is half-made: it is being created or deleted; if that was interrupted, delete it with --force"
    )]
    Incomplete(String),
    /// Another command works on the container, or has just deleted it.
    #[error("container {0} was deleted while it was being created")]
    Deleted(String),
    /// The program of the container cannot be executed. (Engines look for the text.)
    #[error("exec: {program:?}: {reason}")]
    Program {
        /// `args[0]`.
        program: String,
        /// The reason, in Go's words.
        reason: String,
    },
    /// A step of the plan failed in the container's first process.
    #[error("{}{action}: {call}: {}{}", Pointed(pointer), Answer { call, errno: *errno }, Said(said))]
    Step {
        /// The setting that the step comes from, a JSON pointer; empty when it comes from none.
        pointer: String,
        /// What was being done.
        action: String,
        /// The system call.
        call: &'static str,
        /// Its answer.
        errno: Errno,
        /// What the kernel's file system said about it.
        said: String,
    },
    /// A hook could not be run, failed, or took too long.
    #[error("{pointer}: hook {path:?}: {reason}{}", Said(said))]
    Hook {
        /// The hook, a JSON pointer.
        pointer: String,
        /// Its path.
        path: String,
        /// What became of it.
        reason: String,
        /// What it said on standard error, or else on standard output: the end of it.
        said: String,
    },
    /// The container's first process ended before it was ready.
    #[error("the container's first process ended before it was ready: {0}")]
    InitEnded(String),
    /// The memory that the container may have was not enough to start it. (Engines look for the text.)
    #[error("/linux/resources/memory/limit: container init was OOM-killed (memory limit too low?)")]
    OutOfMemory,
    /// The container's first process waits to be started, but hears nothing: it is stopped or frozen.
    #[error("the container's first process does not answer: is it stopped (SIGSTOP), or its cgroup frozen?")]
    InitMute,
    /// Who listens on a socket of the caller's takes no connection.
    #[error("connecting to the {what} socket {}: nobody takes the connection within {seconds} s", path.display())]
    Mute {
        /// Which socket.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A process was killed and does not end.
    #[error(
        "process {pid} was killed, and does not end within {seconds} s: the kernel holds it up, or processes in its pid \
         namespace have ended and their parents outside do not reap them"
    )]
    NotEnding {
        /// The process.
        pid: i32,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A system call failed.
    #[error("{}{action}: {}", Pointed(pointer), Answer { call: last_word(action), errno: *errno })]
    System {
        /// The setting it was made for, a JSON pointer; empty when for none.
        pointer: String,
        /// What was being done, with what it was done to; at its end, if it tells that, the system call.
        action: String,
        /// The cause.
        errno: Errno,
    },
    /// The cgroup could not be made, changed or removed.
    #[error("{}{}", Pointed(pointer), Chain(source))]
    Cgroup {
        /// The setting, a JSON pointer.
        pointer: Cow<'static, str>,
        /// The cause.
        source: no_frills_cgroups::Error,
    },
    /// What is recorded of the container cannot be read.
    #[error("reading the state of the container in {}: {reason}; deleting it with --force clears up", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// Somebody has the container locked, and does not end.
    #[error("container {id} is locked{}, and was not free for {} s", Holder(holder.as_ref()), waited.as_secs())]
    Locked {
        /// The container.
        id: String,
        /// Who has it locked, if that can be seen from here: the pid, and the name of the program.
        holder: Option<(i32, String)>,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// The container has no class of service in resctrl that could be changed.
    #[error("the container was made without linux.intelRdt, so that there is no schema to change")]
    NoClass,
    /// An option cannot be honoured.
    #[error("{0}")]
    Option(String),
    /// Something failed that a user without rights on the host can have set right.
    #[error("{error}; {remedy}")]
    Remedied {
        /// What failed.
        error: Box<Error>,
        /// What stood in the way, and what to do about it.
        remedy: String,
    },
    /// Something failed, and so did the cleaning up after it.
    ///
    /// The name is kept then, and deleting the container by force cleans up the rest.
    #[error("{error}; and cleaning up failed: {cleanup}")]
    Cleanup {
        /// What failed first.
        error: Box<Error>,
        /// What failed then.
        cleanup: Box<Error>,
    },
}

impl Error {
    /// For `map_err`: a system call that failed while doing this to that path.
    pub(crate) fn at<E: Into<Cause>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Error {
        move |cause| Error::system(format!("{action} {}", path.display()))(cause)
    }

    /// For `map_err`: a system call that failed while doing this.
    pub(crate) fn system<E: Into<Cause>>(action: impl Into<String>) -> impl FnOnce(E) -> Error {
        move |cause| Error::System { pointer: String::new(), action: action.into(), errno: cause.into().0 }
    }

    /// This error, and what to do about it, if that is known.
    pub(crate) fn with_remedy(self, remedy: Option<String>) -> Error {
        match remedy {
            Some(remedy) => Error::Remedied { error: Box::new(self), remedy },
            None => self,
        }
    }

    /// This error, and that of the cleaning up after it, if that failed too.
    pub(crate) fn and_cleanup(self, cleanup: Result<()>) -> Error {
        match cleanup {
            Ok(()) => self,
            Err(cleanup) => Error::Cleanup { error: Box::new(self), cleanup: Box::new(cleanup) },
        }
    }

    /// For `map_err`: the cgroup.
    pub(crate) fn cgroup(source: no_frills_cgroups::Error) -> Error {
        Error::Cgroup { pointer: Cow::Borrowed("/linux/cgroupsPath"), source }
    }

    /// For `map_err`: one of the limits that stand at `pointer`.
    pub(crate) fn limit(pointer: &str) -> impl Fn(no_frills_cgroups::Error) -> Error {
        move |source| match source.setting() {
            None => Error::cgroup(source),
            Some(setting) => Error::Cgroup { pointer: format!("{pointer}{setting}").into(), source },
        }
    }
}

impl From<no_frills_cgroups::Error> for Error {
    fn from(source: no_frills_cgroups::Error) -> Error {
        Error::cgroup(source)
    }
}

/// An errno, out of whatever carries one.
pub(crate) struct Cause(Errno);

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Cause {
        Cause(errno)
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Cause {
        // Errors that std makes up itself (a NUL in a path, an end of file) have no number.
        Cause(error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))
    }
}

/// `POINTER: `, or nothing.
pub(crate) struct Pointed<'a>(pub(crate) &'a str);

impl fmt::Display for Pointed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, "{}: ", self.0) }
    }
}

/// `ENOENT (no such file or directory)`: engines look for the words in lower case.
pub(crate) struct Explained(pub(crate) Errno);

impl fmt::Display for Explained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} ({})", self.0, self.0.desc().to_lowercase())
    }
}

/// What a call answered; when it is missing, also what has it.
struct Answer<'a> {
    call: &'a str,
    errno: Errno,
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { call, errno } = *self;
        // An older clone3 takes what it does not know for too long an argument.
        let is_missing = errno == Errno::ENOSYS || (call, errno) == ("clone3", Errno::E2BIG);
        match calls::since(call).filter(|_| is_missing) {
            Some(version) => {
                let words = errno.desc().to_lowercase();
                write!(out, "{errno:?} ({words}; {call} needs Linux {version}, and no seccomp filter that hides it)")
            }
            None => Explained(errno).fmt(out),
        }
    }
}

/// Where the actions of [`Error::System`] name the call.
fn last_word(action: &str) -> &str {
    action.rsplit(' ').next().unwrap_or_default()
}

/// An error and what caused it.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            match error.downcast_ref() {
                Some(errno) => write!(out, ": {}", Explained(*errno))?,
                None => write!(out, ": {error}")?,
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// ` by process PID (NAME)`, or nothing.
struct Holder<'a>(Option<&'a (i32, String)>);

impl fmt::Display for Holder<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(pid, name)| write!(out, " by process {pid} ({name})"))
    }
}

/// `: TEXT`, or nothing.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, ": {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_call_is_told_with_its_version() {
        let needs = "openat2 needs Linux 5.6, and no seccomp filter that hides it";
        let error =
            Error::System { pointer: String::new(), action: "opening x: openat2".to_owned(), errno: Errno::ENOSYS };
        assert_eq!(error.to_string(), format!("opening x: openat2: ENOSYS (function not implemented; {needs})"));
        let error =
            Error::System { pointer: String::new(), action: "opening x: openat2".to_owned(), errno: Errno::EIO };
        assert_eq!(error.to_string(), "opening x: openat2: EIO (i/o error)");
        let old = Answer { call: "clone3", errno: Errno::E2BIG }.to_string();
        assert!(old.contains("clone3 needs Linux 5.7"), "{old}");
    }
}
