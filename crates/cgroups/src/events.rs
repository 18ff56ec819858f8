//! `cgroup.events` and `cgroup.kill`: is anything in there, wait until nothing is, and see to it
//! that nothing is.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::pread;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::write;

use crate::cgroup::{Cgroup, open, unless_gone};
use crate::error::{Error, Result, gone};

/// How often `cgroup.kill` is looked for in a cgroup that is there, before it is believed to lack it.
const KILL_ATTEMPTS: usize = 16;

/// What `cgroup.events` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Events {
    /// There is a process in the cgroup or in a descendant.
    pub(crate) populated: bool,
    /// All of them are frozen, or would be if there were any.
    pub(crate) frozen: bool,
}

impl Cgroup {
    /// Kills every process in the cgroup and its descendants, those included that are being forked
    /// (`cgroup.kill`; before Linux 5.14 they are frozen and killed one by one, those outside of the caller's pid
    /// namespace excepted). They are not gone on return; see [`wait_empty`](Cgroup::wait_empty). A cgroup that does not
    /// exist is left at that.
    pub fn kill(&self) -> Result<()> {
        let path = self.path.join("cgroup.kill");
        let failed = |errno, hint| Error::System { action: "writing 1 to", path: path.clone(), hint, errno };
        let mut attempt = 1;
        let file = loop {
            match open(&path, OFlag::O_WRONLY) {
                Ok(file) => break file,
                Err(Errno::ENOENT) if self.events()?.is_none() => return Ok(()),
                // Somebody else may have made it anew between the two.
                Err(Errno::ENOENT) if attempt < KILL_ATTEMPTS => attempt += 1,
                // Before Linux 5.14.
                Err(Errno::ENOENT) => return self.kill_each(),
                Err(errno) => return Err(failed(errno, "")),
            }
        };
        match write(&file, b"1") {
            Ok(_) => Ok(()),
            // Removed since; ENOENT while it is being removed.
            Err(errno) if gone(errno) => Ok(()),
            Err(Errno::EOPNOTSUPP) => Err(failed(Errno::EOPNOTSUPP, " (the cgroup is threaded)")),
            Err(errno) => Err(failed(errno, "")),
        }
    }

    /// Whether there is a process in the cgroup or in its descendants. In a cgroup that does not
    /// exist there is none.
    pub fn populated(&self) -> Result<bool> {
        Ok(self.events()?.is_some_and(|events| events.populated))
    }

    /// Whether all processes in it are frozen. A cgroup that does not exist is not.
    pub fn frozen(&self) -> Result<bool> {
        Ok(self.events()?.is_some_and(|events| events.frozen))
    }

    /// Waits until there is no process in the cgroup and its descendants, or the cgroup is gone;
    /// without a deadline, for as long as it takes.
    ///
    /// The kernel wakes the caller (poll(2) on `cgroup.events`), but not more than once in 10
    /// milliseconds.
    pub fn wait_empty(&self, deadline: Option<Duration>) -> Result<()> {
        self.wait_empty_until(&mut Deadline::after(deadline))
    }

    /// As `wait_empty`, with a deadline that may have begun earlier.
    pub(crate) fn wait_empty_until(&self, deadline: &mut Deadline) -> Result<()> {
        let failed = |errno| Error::system("waiting for the processes of the cgroup", &self.path, errno);
        if self.wait_until(deadline, |events| !events.populated).map_err(failed)? {
            return Ok(());
        }
        let waited = deadline.length.unwrap_or_default();
        Err(Error::Timeout { path: self.path.clone(), processes: self.processes()?.len(), waited })
    }

    /// Waits until `cgroup.events` says what is wanted, or the cgroup is gone. `false`: it did not in time.
    pub(crate) fn wait_until(&self, deadline: &mut Deadline, wanted: impl Fn(Events) -> bool) -> Result<bool, Errno> {
        unless_gone(self.open_events())?.map_or(Ok(true), |file| wait_until(&file, deadline, wanted))
    }

    /// What `cgroup.events` says; `None` if there is no such cgroup.
    pub(crate) fn events(&self) -> Result<Option<Events>> {
        unless_gone(self.open_events())
            .and_then(|file| file.map_or(Ok(None), |file| read(&file)))
            .map_err(|errno| Error::system("reading cgroup.events of the cgroup", &self.path, errno))
    }

    pub(crate) fn open_events(&self) -> Result<OwnedFd, Errno> {
        open(&self.path.join("cgroup.events"), OFlag::O_RDONLY)
    }
}

/// How long to wait in all. It begins when it is first asked what is left; one of no length at all needs no clock.
pub(crate) struct Deadline {
    length: Option<Duration>,
    begin: Option<Duration>,
}

impl Deadline {
    /// `None`: there is none.
    pub(crate) fn after(length: Option<Duration>) -> Deadline {
        Deadline { length, begin: None }
    }

    pub(crate) fn left(&mut self) -> Result<Option<Duration>, Errno> {
        let Some(length) = self.length.filter(|length| !length.is_zero()) else { return Ok(self.length) };
        // std's Instant would panic where a filter around us forbids the clock.
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        let begin = *self.begin.get_or_insert(now);
        Ok(Some(length.saturating_sub(now.saturating_sub(begin))))
    }
}

/// As [`Cgroup::wait_until`], for an open `cgroup.events`.
pub(crate) fn wait_until(
    file: &OwnedFd,
    deadline: &mut Deadline,
    wanted: impl Fn(Events) -> bool,
) -> Result<bool, Errno> {
    // What is read first and polled then is not missed if it changes in between: the kernel
    // compares its count of changes with that of the last read.
    while read(file)?.is_some_and(|events| !wanted(events)) {
        let left = deadline.left()?;
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], timeout(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

pub(crate) fn read(file: &OwnedFd) -> Result<Option<Events>, Errno> {
    let mut buffer = [0; 128];
    let length = unless_gone(pread(file, &mut buffer, 0))?;
    Ok(length.map(|length| parse(&buffer[..length])))
}

/// Lines of `KEY VALUE`. Keys may be added.
pub(crate) fn parse(text: &[u8]) -> Events {
    let is_set = |key: &[u8]| text.split(|&byte| byte == b'\n').any(|line| line == key);
    Events { populated: is_set(b"populated 1"), frozen: is_set(b"frozen 1") }
}

/// Rounded up, so that what is left of a millisecond is not spent in a loop.
pub(crate) fn timeout(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else {
        return PollTimeout::NONE;
    };
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    // A longer wait is taken in several parts.
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told() {
        assert_eq!(parse(b"populated 1\nfrozen 0\n"), Events { populated: true, frozen: false });
        assert_eq!(parse(b"populated 0\nfrozen 1\n"), Events { populated: false, frozen: true });
        assert_eq!(parse(b"populated 0\n"), Events { populated: false, frozen: false });
    }

    #[test]
    fn timeouts_are_rounded_up() {
        assert_eq!(timeout(None), PollTimeout::NONE);
        assert_eq!(timeout(Some(Duration::from_nanos(1))), PollTimeout::from(1u16));
        assert_eq!(timeout(Some(Duration::from_millis(10))), PollTimeout::from(10u16));
        assert_eq!(timeout(Some(Duration::MAX)), PollTimeout::MAX);
    }
}
