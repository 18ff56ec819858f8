//! How a process has ended.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nix::errno::Errno;
use no_frills_sys::pidfd;

use crate::error::{Error, Result};

/// How a container's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pidfd::Exit);

/// Waits until a process has ended, reaps it if it is a child, and keeps how it ended for who asks again. Without a
/// pidfd it is gone already.
pub(crate) fn wait_once(
    exit: &OnceLock<ExitStatus>,
    pidfd: Option<&OwnedFd>,
    pid: i32,
    what: &str,
) -> Result<ExitStatus> {
    if let Some(exit) = exit.get() {
        return Ok(*exit);
    }
    let Some(pidfd) = pidfd else { return Err(Error::NotRunning) };
    match pidfd::wait(pidfd, pid) {
        // Another thread that waits may have reaped it just now.
        Err(Errno::ECHILD) => exit.get().copied().ok_or(Error::NotRunning),
        Err(errno) => Err(Error::system(format!("waiting for {what}"))(errno)),
        Ok(status) => Ok(*exit.get_or_init(|| ExitStatus(status))),
    }
}

impl ExitStatus {
    /// The status as shells tell it: 128 + N for one that signal N ended.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self.0 {
            pidfd::Exit::Code(code) => code,
            pidfd::Exit::Signal(signal) => 128 + signal,
        }
    }

    /// The signal that ended it.
    #[must_use]
    pub const fn signal(self) -> Option<i32> {
        match self.0 {
            pidfd::Exit::Code(_) => None,
            pidfd::Exit::Signal(signal) => Some(signal),
        }
    }
}
