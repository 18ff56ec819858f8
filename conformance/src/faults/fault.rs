//! What is done to a system call, and which one it is done to.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;

use no_frills_conformance::kind::Kind;

/// What happens instead of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process that is about to make it gets SIGKILL.
    Kill,
    /// It is not made, and fails with this.
    Error(Errno),
}

/// All that the harness knows, in the order of the table.
pub(crate) const FAULTS: [Fault; 7] = [
    Fault::Kill,
    Fault::Error(Errno::ENOMEM),
    Fault::Error(Errno::EIO),
    Fault::Error(Errno::EPERM),
    Fault::Error(Errno::EINTR),
    Fault::Error(Errno::EAGAIN),
    Fault::Error(Errno::ENOSPC),
];

/// Calls that the kernel never lets fail, so that nobody can be blamed for not looking.
const NEVER_FAIL: &[&str] = &[
    "exit",
    "exit_group",
    "rt_sigreturn",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "umask",
    "clock_gettime",
    "set_tid_address",
];

impl Fault {
    /// Whether it can happen to this call.
    pub(crate) fn can_happen_to(self, call: &str) -> bool {
        self == Fault::Kill || !NEVER_FAIL.contains(&call)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill => out.write_str("KILL"),
            Fault::Error(errno) => write!(out, "{errno:?}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let found = FAULTS.into_iter().find(|fault| fault.to_string() == text);
        found.ok_or_else(|| {
            format!("no fault is called {text:?}; there are {}", FAULTS.map(|f| f.to_string()).join(", "))
        })
    }
}

/// A system call of a run: which process makes it (in the order in which they appear; the command is 0), which call,
/// and which of this name by this process, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) process: usize,
    pub(crate) call: String,
    pub(crate) count: u32,
}

impl Place {
    /// Whether it may hear something of another process. Of ours it is known by what.
    pub(crate) fn hears(&self, kind: Kind) -> bool {
        let calls: &[&str] = if kind == Kind::NoFrills { &["recvmsg"] } else { &["recvmsg", "recvfrom", "read"] };
        calls.contains(&self.call.as_str())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.process, self.call, self.count)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let parse = || {
            let mut parts = text.split(':');
            let (process, call, count) = (parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?);
            let count = count.parse().ok()?;
            parts.next().is_none().then_some(Place { process, call, count })
        };
        parse().ok_or_else(|| format!("{text:?} is not PROCESS:CALL:COUNT, as in 0:openat:3"))
    }
}
