//! Which processes are in a cgroup.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::read;

use crate::cgroup::{Cgroup, open, open_at, unless_gone};
use crate::error::{Error, Result};
use crate::walk::{Step, Walk};

impl Cgroup {
    /// The ids of all processes in the cgroup and its descendants, in ascending order. In a cgroup
    /// that does not exist there are none. Processes that are outside of the caller's pid namespace
    /// have no id there, and are left out.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        self.collect(&mut found)
            .map_err(|errno| Error::system("listing the processes of the cgroup", &self.path, errno))?;
        // A process that is moved in the meantime may have been seen twice.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn collect(&self, found: &mut Vec<i32>) -> Result<(), Errno> {
        let Some(top) = unless_gone(open(&self.path, OFlag::O_RDONLY | OFlag::O_DIRECTORY))? else {
            return Ok(());
        };
        listed(&top, found)?;
        let mut walk = Walk::beneath(top)?;
        while let Some(step) = walk.next()? {
            if let Step::Into(dir) = step {
                listed(dir, found)?;
            }
        }
        Ok(())
    }
}

/// Adds what `cgroup.procs` lists.
fn listed(dir: &OwnedFd, found: &mut Vec<i32>) -> Result<(), Errno> {
    let Some(file) = unless_gone(open_at(dir, c"cgroup.procs", OFlag::O_RDONLY))? else {
        return Ok(());
    };
    let mut buffer = [0; 4096];
    let mut id = 0;
    loop {
        let length = match read(&file, &mut buffer) {
            // A threaded cgroup has threads only; their processes are listed by the ancestor that
            // is the root of their domain.
            Ok(0) | Err(Errno::ENODEV | Errno::EOPNOTSUPP) => return Ok(()),
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        };
        for byte in &buffer[..length] {
            match byte {
                b'0'..=b'9' => id = id * 10 + i32::from(byte - b'0'),
                _ => {
                    if id != 0 {
                        found.push(id);
                    }
                    id = 0;
                }
            }
        }
    }
}
