//! What happens in a container: processes that are killed for lack of memory; and its statistics, time after time.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use no_frills_cgroups::{Cgroup, OomWatch, Stats};

use crate::error::{Error, Result};

/// Something that happened in a container.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The interval has passed: its statistics.
    Stats(Box<Stats>),
    /// The kernel has killed processes of it, for lack of memory.
    Oom,
}

/// The events of a container, until its process has ended. Made by [`Container::events`](crate::Container::events).
#[derive(Debug)]
pub struct Events {
    cgroup: Cgroup,
    process: OwnedFd,
    /// `None`: the controller memory is not there, so that nothing is killed for what its cgroup may have.
    oom: Option<OomWatch>,
    interval: Option<Duration>,
    /// When the next statistics are due.
    due: Option<Duration>,
    ended: bool,
}

impl Events {
    pub(crate) fn new(cgroup: Cgroup, process: OwnedFd, interval: Option<Duration>) -> Result<Events> {
        let oom = cgroup.watch_oom()?;
        let due = interval.map(|interval| Ok::<_, Error>(now()? + interval)).transpose()?;
        Ok(Events { cgroup, process, oom, interval, due, ended: false })
    }

    /// Waits for the next event. `None`: the container's process has ended.
    ///
    /// # Errors
    /// When its cgroup cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Event>> {
        loop {
            // First of all: what was killed is told although its end came before this.
            if let Some(watch) = &mut self.oom
                && watch.kills()? > 0
            {
                return Ok(Some(Event::Oom));
            }
            if self.ended {
                return Ok(None);
            }
            let left = match self.due {
                None => PollTimeout::NONE,
                Some(due) => {
                    let now = now()?;
                    if now >= due {
                        // What was missed, since nobody asked, is left out.
                        self.due = self.interval.map(|interval| now + interval);
                        match self.cgroup.stats() {
                            Ok(stats) => return Ok(Some(Event::Stats(Box::new(stats)))),
                            // It was deleted.
                            Err(error) if error.errno() == Some(Errno::ENOENT) => self.ended = true,
                            Err(error) => return Err(error.into()),
                        }
                        continue;
                    }
                    milliseconds(due.saturating_sub(now))
                }
            };
            self.wait(left)?;
        }
    }

    fn wait(&mut self, timeout: PollTimeout) -> Result<()> {
        let mut fds = vec![PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.oom.as_ref().map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLPRI)));
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::system("waiting for events of the container: poll")(errno)),
            Ok(_) => {
                let ended = fds.first().and_then(PollFd::any).unwrap_or_default();
                self.ended = ended;
                Ok(())
            }
        }
    }
}

/// Since some time in the past.
fn now() -> Result<Duration> {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).map_err(Error::system("reading the clock"))
}

/// Rounded up, so that what is left of a millisecond is not spent in a loop; a longer wait is taken in several parts.
fn milliseconds(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}
