//! Removing a cgroup, with all that a container left in it.

use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::cgroup::{Cgroup, open, unless_gone};
use crate::error::{Error, Result};
use crate::events::Deadline;
use crate::walk::{Step, Walk};

/// How often removal starts anew because somebody placed a process there, or made a child, in the
/// meantime.
const ATTEMPTS: usize = 1000;

impl Cgroup {
    /// Removes the cgroup, and after it those of its [`parents`](Cgroup::parents) that are empty.
    /// In the common case this is one rmdir(2). What is not there any more is passed over, so that
    /// it can be called again at any time.
    ///
    /// If there are processes, it waits for them to be gone, but does not kill them; see
    /// [`kill`](Cgroup::kill). The deadline is for this wait: [`Error::Timeout`] when it is over.
    /// Cgroups that were made beneath this one are removed, too.
    pub fn remove(&self, deadline: Option<Duration>) -> Result<()> {
        if !self.remove_empty()? {
            self.remove_busy(deadline)?;
        }
        self.remove_parents()
    }

    /// Whether it is gone now.
    fn remove_empty(&self) -> Result<bool> {
        match rmdir(&self.path) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EBUSY) => Ok(false),
            Err(errno) => Err(Error::system("removing the cgroup", &self.path, errno)),
        }
    }

    fn remove_busy(&self, deadline: Option<Duration>) -> Result<()> {
        let mut deadline = Deadline::after(deadline);
        for _ in 0..ATTEMPTS {
            self.wait_empty_until(&mut deadline)?;
            self.remove_descendants()
                .map_err(|errno| Error::system("removing the cgroups beneath", &self.path, errno))?;
            if self.remove_empty()? {
                return Ok(());
            }
        }
        Err(Error::system("removing the cgroup", &self.path, Errno::EBUSY))
    }

    fn remove_descendants(&self) -> Result<(), Errno> {
        let Some(top) = unless_gone(open(&self.path, OFlag::O_RDONLY | OFlag::O_DIRECTORY))? else {
            return Ok(());
        };
        let mut walk = Walk::beneath(top)?;
        while let Some(step) = walk.next()? {
            if let Step::OutOf { parent, name } = step {
                match unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir) {
                    // Busy again; the next attempt has a look at why.
                    Ok(()) | Err(Errno::ENOENT | Errno::EBUSY) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// A parent is kept by whoever uses it, which is no error; nor is it one if this user may
    /// remove the container's cgroup, but not a parent, in a directory of somebody else (EACCES). One that was never made is passed over: the
    /// record is written before the first of them is made.
    pub(crate) fn remove_parents(&self) -> Result<()> {
        for up in 1..=self.parents() {
            match rmdir(self.ancestor(up)) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EBUSY | Errno::EACCES) => break,
                Err(errno) => {
                    return Err(Error::system("removing the cgroup", self.ancestor(up), errno));
                }
            }
        }
        Ok(())
    }
}

fn rmdir(path: &std::path::Path) -> Result<(), Errno> {
    unlinkat(nix::fcntl::AT_FDCWD, path, UnlinkatFlags::RemoveDir)
}
