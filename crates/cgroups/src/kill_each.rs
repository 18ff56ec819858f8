//! Killing what is in a cgroup where the kernel has no `cgroup.kill`, before Linux 5.14.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, poll};
use no_frills_sys::pidfd;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::events::{Deadline, timeout};

/// How many processes are looked at at a time: each takes a descriptor.
const AT_A_TIME: usize = 64;
/// How long the end of those that were killed is waited for. Who removes the cgroup waits for longer, and says who is left.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Kills process after process until there is none. Meanwhile they are frozen, so that they cannot fork faster than
    /// they are killed; a process dies of SIGKILL although it is frozen.
    pub(crate) fn kill_each(&self) -> Result<()> {
        let was_frozen = self.write_freeze(true)?;
        let killed = self.kill_until_empty();
        // As it was: whoever has paused it may look at what is left.
        let thawed = if was_frozen { Ok(()) } else { self.write_freeze(false).map(drop) };
        killed.and(thawed)
    }

    fn kill_until_empty(&self) -> Result<()> {
        let mut deadline = Deadline::after(Some(PATIENCE));
        loop {
            let listed = self.processes()?;
            if listed.is_empty() {
                return Ok(());
            }
            for some in listed.chunks(AT_A_TIME) {
                // A process that was just forking when it was killed has ended only when its child can be seen.
                for process in self.kill_some(some)? {
                    if !self.wait_for(&process, &mut deadline)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Kills those of these processes that are in the cgroup.
    fn kill_some(&self, listed: &[i32]) -> Result<Vec<OwnedFd>> {
        let failed = |action, errno| Error::system(action, &self.path, errno);
        let mut opened = Vec::with_capacity(listed.len());
        for pid in listed {
            match pidfd::open(*pid) {
                Ok(process) => opened.push((*pid, process)),
                Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed("opening a process of the cgroup", errno)),
            }
        }
        // A pid may have gone to somebody else before it was opened. Who is in the cgroup now, and does not die of this
        // because it has ended, was so then.
        let still = self.processes()?;
        let mut killed = Vec::with_capacity(opened.len());
        for (_, process) in opened.into_iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
            match pidfd::send_signal(&process, SIGKILL) {
                Ok(()) => killed.push(process),
                Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed("killing a process of the cgroup", errno)),
            }
        }
        Ok(killed)
    }

    /// Whether it ends in time.
    fn wait_for(&self, process: &OwnedFd, deadline: &mut Deadline) -> Result<bool> {
        let failed = |errno| Error::system("waiting for a process of the cgroup", &self.path, errno);
        loop {
            let left = deadline.left().map_err(failed)?;
            match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout(left)) {
                Ok(0) if left == Some(Duration::ZERO) => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::Hierarchy;

    /// A cgroup of this test's own in which a shell forks and forks; `None` where that cannot be had.
    fn with_forks(name: &str) -> Option<(Cgroup, std::process::Child)> {
        let hierarchy = Hierarchy::find().ok()?;
        let relative = std::path::PathBuf::from(format!("no-frills-{name}-{}", std::process::id()));
        let mut cgroup = Cgroup::new(&hierarchy, &relative).ok()?;
        cgroup.create(|_| Ok::<(), Error>(())).ok()?;
        let procs = cgroup.path().join("cgroup.procs");
        let below = cgroup.path().join("below");
        fs::create_dir(&below).ok()?;
        // Four shells that fork all the time, two of them in a cgroup below.
        let script = format!(
            "forks() {{ while :; do sleep 0.001; done & }}
            echo 0 > {}; forks; forks
            echo 0 > {}/cgroup.procs; forks; forks
            echo; wait",
            procs.display(),
            below.display()
        );
        let child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().ok()?;
        Some((cgroup, child))
    }

    #[test]
    fn all_are_killed_one_by_one_and_it_is_thawed() {
        let Some((cgroup, mut child)) = with_forks("kill-each") else {
            println!("skipped: needs root and cgroup2");
            return;
        };
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert!(cgroup.processes().unwrap().len() >= 5);
        cgroup.kill_each().unwrap();
        assert_eq!(cgroup.processes().unwrap(), []);
        assert_eq!(fs::read_to_string(cgroup.path().join("cgroup.freeze")).unwrap(), "0\n");
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
        cgroup.remove(Some(Duration::from_secs(10))).unwrap();
        cgroup.kill_each().unwrap();
    }
}
