//! The processes of a container: those in its cgroup; or, where its user may make none, those in its pid namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use no_frills_cgroups::{Cgroup, Hierarchy};
use no_frills_sys::pidfd;

use crate::error::{Error, Result};
use crate::state::{Process, Record};

/// What is known of a container's processes.
#[derive(Clone, Debug)]
pub(crate) enum Members {
    /// All are in this cgroup.
    OfCgroup(Cgroup),
    /// All but those that left it are in the pid namespace of the first one, and end with it.
    OfNamespace(Option<Process>),
    /// The first one alone is known: it has neither.
    First(Option<Process>),
}

impl Members {
    /// Those of a recorded container.
    pub(crate) fn of(record: &Record) -> Result<Members> {
        if !record.cgroup.as_os_str().is_empty() {
            let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
            let cgroup = Cgroup::recorded(&hierarchy, &record.cgroup, record.cgroup_parents);
            return Ok(Members::OfCgroup(cgroup.map_err(Error::cgroup)?));
        }
        Ok(Members::without_cgroup(record))
    }

    pub(crate) fn without_cgroup(record: &Record) -> Members {
        if record.own_pids { Members::OfNamespace(record.process) } else { Members::First(record.process) }
    }

    /// Kills all.
    pub(crate) fn kill(&self) -> Result<()> {
        let process = match self {
            Members::OfCgroup(cgroup) => return Ok(cgroup.kill()?),
            Members::OfNamespace(process) | Members::First(process) => process,
        };
        let Some(process) = process else { return Ok(()) };
        let Some(opened) = process.open()? else { return Ok(()) };
        match pidfd::send_signal(&opened, nix::libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::system(format!("killing process {}", process.pid))(errno)),
        }
    }

    /// The pids as the host sees them.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        let alive = |process: &Option<Process>| -> Result<Option<i32>> {
            let Some(process) = process else { return Ok(None) };
            Ok(process.is_alive()?.then_some(process.pid))
        };
        match self {
            Members::OfCgroup(cgroup) => Ok(cgroup.processes()?),
            Members::First(process) => Ok(alive(process)?.into_iter().collect()),
            Members::OfNamespace(process) => match alive(process)? {
                Some(pid) => in_pid_namespace_of(pid),
                None => Ok(Vec::new()),
            },
        }
    }

    /// Lets them go on if they are paused.
    pub(crate) fn thaw(&self) -> Result<()> {
        match self {
            Members::OfCgroup(cgroup) => Ok(cgroup.thaw().map(drop)?),
            Members::OfNamespace(_) | Members::First(_) => Ok(()),
        }
    }

    /// Whether they are frozen, which a cgroup alone can be.
    pub(crate) fn frozen(&self) -> Result<bool> {
        match self {
            Members::OfCgroup(cgroup) => Ok(cgroup.frozen()?),
            Members::OfNamespace(_) | Members::First(_) => Ok(false),
        }
    }

    /// Opens the cgroup. `None`: there is none.
    pub(crate) fn open(&self) -> Result<Option<no_frills_cgroups::Dir>> {
        match self {
            Members::OfCgroup(cgroup) => Ok(Some(cgroup.open()?)),
            Members::OfNamespace(_) | Members::First(_) => Ok(None),
        }
    }

    /// Removes the cgroup, and waits for its processes to be gone.
    pub(crate) fn remove(&self, deadline: Option<Duration>) -> std::result::Result<(), no_frills_cgroups::Error> {
        match self {
            Members::OfCgroup(cgroup) => cgroup.remove(deadline),
            Members::OfNamespace(_) | Members::First(_) => Ok(()),
        }
    }
}

/// The processes whose pid namespace is that of a process. What may not be looked into belongs to somebody else.
fn in_pid_namespace_of(pid: i32) -> Result<Vec<i32>> {
    let namespace = |pid: i32| fs::read_link(PathBuf::from(format!("/proc/{pid}/ns/pid")));
    let Ok(wanted) = namespace(pid) else { return Ok(vec![pid]) };
    let proc = Path::new("/proc");
    let mut pids = Vec::new();
    for entry in fs::read_dir(proc).map_err(Error::at("reading", proc))? {
        let name = entry.map_err(Error::at("reading", proc))?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if namespace(pid).is_ok_and(|found| found == wanted) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Whether the caller's rights end with a user namespace, or it has none: then what the host refuses can be done without.
pub(crate) fn is_limited() -> Result<bool> {
    let path = Path::new("/proc/self/uid_map");
    let map = fs::read_to_string(path).map_err(Error::at("reading", path))?;
    let is_first = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    Ok(!nix::unistd::getuid().is_root() || !is_first)
}

/// Whether a process's user namespace denies setgroups(2); `None`: the caller's.
pub(crate) fn may_not_set_groups(pid: Option<i32>) -> Result<bool> {
    let path = pid.map_or_else(|| "/proc/self/setgroups".into(), |pid| format!("/proc/{pid}/setgroups"));
    let path = Path::new(&path);
    Ok(fs::read_to_string(path).map_err(Error::at("reading", path))?.trim() == "deny")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ProcessStat;

    #[test]
    fn without_a_cgroup_those_of_the_pid_namespace_are_found() {
        let pid = std::process::id() as i32;
        assert!(in_pid_namespace_of(pid).unwrap().contains(&pid));
        let stat = ProcessStat::read(pid).unwrap().unwrap();
        let process = Process { pid, start_time: stat.start_time };
        assert_eq!(Members::First(Some(process)).processes().unwrap(), [pid]);
        // Another process has its pid by now: nobody is killed.
        let gone = Process { start_time: stat.start_time + 1, ..process };
        assert!(Members::OfNamespace(Some(gone)).processes().unwrap().is_empty());
        Members::First(Some(gone)).kill().unwrap();
        Members::OfNamespace(None).kill().unwrap();
    }
}
