//! `cgroup.freeze`: stopping all processes of a cgroup, and letting them go on.

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{read, write};

use crate::cgroup::{Cgroup, open, open_at, unless_gone};
use crate::error::{Error, Result};
use crate::events::{self, Deadline, Events, wait_until};
use crate::walk::{Step, Walk};

/// Most processes stop in some microseconds. But the kernel tells of that not before 10 milliseconds have passed since the
/// last change that it told of, as that the cgroup has got its first process.
const MOMENT: Duration = Duration::from_millis(1);

/// Frozen; or there is nothing to freeze.
fn is_stopped(events: Events) -> bool {
    events.frozen || !events.populated
}

impl Cgroup {
    /// Stops every process in the cgroup and its descendants, and returns when they are stopped (`frozen 1` in
    /// `cgroup.events`), or when there is none. Of signals they take SIGKILL alone, and the others when they are thawed. A
    /// cgroup that does not exist is left at that.
    ///
    /// # Errors
    /// [`Error::NotFrozen`] when a process cannot be stopped in time, since it is in an uninterruptible sleep. After this and
    /// any other error the cgroup is thawed again.
    pub fn freeze(&self, deadline: Duration) -> Result<()> {
        let failed = |errno| Error::system("waiting for the cgroup to freeze", &self.path, errno);
        let mut left = Deadline::after(Some(deadline));
        match self.write_freeze(true).and_then(|_| self.wait_frozen(&mut left).map_err(failed)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.thaw()?;
                Err(Error::NotFrozen { path: self.path.clone(), waited: deadline })
            }
            Err(error) => self.thaw().and(Err(error)),
        }
    }

    /// Looks for a moment whether all are stopped, without waiting for the kernel to tell.
    fn look_frozen(&self) -> Result<(), Errno> {
        let Some(file) = unless_gone(self.open_events())? else { return Ok(()) };
        let mut moment = Deadline::after(Some(MOMENT));
        while events::read(&file)?.is_some_and(|events| !is_stopped(events)) && moment.left()? != Some(Duration::ZERO) {
            // Those that are to stop may have waited for this processor.
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Whether all are stopped in time. Of a cgroup that has both processes and descendants the kernel says that it is
    /// frozen when the one or the other are: so each is asked.
    fn wait_frozen(&self, deadline: &mut Deadline) -> Result<bool, Errno> {
        self.look_frozen()?;
        if !self.wait_until(deadline, is_stopped)? {
            return Ok(false);
        }
        let Some(top) = unless_gone(open(&self.path, OFlag::O_RDONLY | OFlag::O_DIRECTORY))? else { return Ok(true) };
        let mut walk = Walk::beneath(top)?;
        while let Some(step) = walk.next()? {
            if let Step::Into(dir) = step
                && let Some(file) = unless_gone(open_at(dir, c"cgroup.events", OFlag::O_RDONLY))?
                && !wait_until(&file, deadline, is_stopped)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets the processes go on; whether they had been told to stop. When it returns they do, unless a cgroup
    /// [above](Cgroup::frozen_above) is frozen. A cgroup that does not exist is left at that.
    pub fn thaw(&self) -> Result<bool> {
        self.write_freeze(false)
    }

    /// The nearest cgroup above this one that is told to freeze, and so freezes this one too; of those that this mount shows.
    pub fn frozen_above(&self) -> Result<Option<PathBuf>> {
        for up in 1..=self.levels() {
            let path = self.ancestor(up).join("cgroup.freeze");
            let told = || -> Result<bool, Errno> {
                let Some(file) = unless_gone(open(&path, OFlag::O_RDONLY))? else { return Ok(false) };
                let mut value = [0];
                Ok(unless_gone(read(&file, &mut value))?.is_some() && value == *b"1")
            };
            if told().map_err(|errno| Error::system("reading", &path, errno))? {
                return Ok(Some(self.ancestor(up).to_owned()));
            }
        }
        Ok(None)
    }

    /// Tells the processes to stop, or to go on; whether they had been told to stop. Those of a cgroup that is gone had not.
    pub(crate) fn write_freeze(&self, on: bool) -> Result<bool> {
        let path = self.path.join("cgroup.freeze");
        let change = || -> Result<bool, Errno> {
            let Some(file) = unless_gone(open(&path, OFlag::O_RDWR))? else { return Ok(false) };
            let mut before = [0];
            unless_gone(read(&file, &mut before))?;
            let was_on = before == *b"1";
            // What is so already need not wait for the kernel's lock over all cgroups.
            if was_on != on {
                unless_gone(write(&file, if on { b"1" } else { b"0" }))?;
            }
            Ok(was_on)
        };
        change().map_err(|errno| Error::system("writing", &path, errno))
    }
}
