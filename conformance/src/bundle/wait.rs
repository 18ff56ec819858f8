//! Waiting for what a case has set going.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, WaitIdOptions};

use crate::expect::{Verdict, fail, same};

/// How long a case waits for one thing that a runtime does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The same where engines do it: in an emulated machine each command of theirs takes seconds.
const PATIENCE_WITH_ENGINES: Duration = Duration::from_secs(90);

static WITH_ENGINES: AtomicBool = AtomicBool::new(false);

/// How long this process waits for one thing: longer if it runs a case of engines.
pub(crate) fn patience() -> Duration {
    if WITH_ENGINES.load(Ordering::Relaxed) { PATIENCE_WITH_ENGINES } else { PATIENCE }
}

/// This process runs a case of engines.
pub(crate) fn be_patient() {
    WITH_ENGINES.store(true, Ordering::Relaxed);
}

/// Waits for a process to end: its status as a shell would tell it, if it is this process's child (the
/// runtime's orphans become that), else 0.
pub(crate) fn ended(pid: Pid) -> Verdict<i32> {
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(0),
        other => other?,
    };
    if !readable(&pidfd, patience())? {
        return fail(format!("process {} did not end", pid.as_raw_nonzero()));
    }
    let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
    match rustix::process::waitid(id, WaitIdOptions::EXITED) {
        Ok(Some(status)) => {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            Ok(status.exit_status().or(signal).unwrap_or_default())
        }
        Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(0),
        Err(e) => Err(e.into()),
    }
}

/// Waits until the descriptor can be read (or has ended); false if that takes too long.
pub(crate) fn readable(fd: &impl AsFd, limit: Duration) -> Verdict<bool> {
    let limit = Timespec::try_from(limit)?;
    loop {
        match rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// Looks again and again until something holds that no event tells of.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> Verdict<bool>) -> Verdict {
    let deadline = Instant::now() + patience();
    while !holds()? {
        if Instant::now() > deadline {
            return fail(format!("this never came to hold: {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Looks again and again until this has the value; fails with the last one.
pub(crate) fn becomes(what: &str, expected: &str, mut actual: impl FnMut() -> Verdict<String>) -> Verdict {
    let deadline = Instant::now() + patience();
    loop {
        let seen = actual()?;
        if seen == expected || Instant::now() > deadline {
            return same(what, seen.as_str(), expected);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The lines that a running container prints.
pub(crate) struct Lines {
    fd: BufReader<File>,
}

impl Lines {
    /// The lines that come from this pipe.
    pub(crate) fn new(pipe: io::PipeReader) -> Self {
        Self { fd: BufReader::new(OwnedFd::from(pipe).into()) }
    }

    /// The next line without its end; fails if none comes.
    pub(crate) fn next(&mut self) -> Verdict<String> {
        if self.fd.buffer().is_empty() && !readable(self.fd.get_ref(), patience())? {
            return fail("the container printed no line");
        }
        let mut line = String::new();
        self.fd.read_line(&mut line)?;
        Ok(line.trim_end_matches('\n').to_owned())
    }
}
