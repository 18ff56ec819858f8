//! A process that is recorded, and what procfs says of it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use no_frills_sys::pidfd;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The container's process. The time it started, in clock ticks since boot, tells it from a later one
/// with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
}

impl Process {
    /// A descriptor for it. `None`: it is gone, whoever has its pid by now. A zombie may still tell how it ended.
    pub(crate) fn open(self) -> Result<Option<OwnedFd>> {
        self.open_if(|stat| stat.start_time == self.start_time)
    }

    /// A descriptor for it, if it [is alive](Process::is_alive).
    pub(crate) fn open_alive(self) -> Result<Option<OwnedFd>> {
        self.open_if(|stat| self.is_alive_by(stat))
    }

    fn open_if(self, is_it: impl FnOnce(ProcessStat) -> bool) -> Result<Option<OwnedFd>> {
        let pidfd = match pidfd::open(self.pid) {
            Err(Errno::ESRCH) => return Ok(None),
            result => result.map_err(Error::system(format!("opening process {}: pidfd_open", self.pid)))?,
        };
        // The check after the open: now the pid cannot go to another process unnoticed.
        Ok(ProcessStat::read(self.pid)?.is_some_and(is_it).then_some(pidfd))
    }

    /// Whether it still runs; a zombie does not, nor does one that is ending.
    pub(crate) fn is_alive(self) -> Result<bool> {
        Ok(ProcessStat::read(self.pid)?.is_some_and(|stat| self.is_alive_by(stat)))
    }

    fn is_alive_by(self, stat: ProcessStat) -> bool {
        !stat.zombie && !stat.ending && stat.start_time == self.start_time
    }
}

/// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessStat {
    pub(crate) zombie: bool,
    /// It is ending, or has ended: it does nothing any more in its cgroup.
    pub(crate) ending: bool,
    /// By a signal, or a debugger.
    pub(crate) stopped: bool,
    pub(crate) start_time: u64,
    /// Bit N-1 for signal N, the first 31.
    pub(crate) ignored_signals: u32,
}

impl ProcessStat {
    /// `None`: there is no such process.
    pub(crate) fn read(pid: i32) -> Result<Option<ProcessStat>> {
        let path = PathBuf::from(format!("/proc/{pid}/stat"));
        let mut buffer = [0; 1024];
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::at("opening", &path))?,
        };
        let length = match file.read(&mut buffer) {
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(None),
            result => result.map_err(Error::at("reading", &path))?,
        };
        let parsed = buffer.get(..length).and_then(ProcessStat::parse);
        parsed.map(Some).ok_or_else(|| Error::at("understanding", &path)(Errno::EINVAL))
    }

    /// Whether a process that was there is ending, or gone.
    pub(crate) fn is_ending(pid: i32) -> Result<bool> {
        Ok(ProcessStat::read(pid)?.is_none_or(|stat| stat.ending))
    }

    pub(crate) fn parse(line: &[u8]) -> Option<ProcessStat> {
        // The second field, the name in parentheses, may hold anything.
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(end + 2..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let (zombie, stopped) = (matches!(state, "Z" | "X"), matches!(state, "T" | "t"));
        // From here the iterator is at field 4. PF_EXITING of the kernel's task flags.
        let ending = fields.nth(9 - 4)?.parse::<u64>().ok()? & 4 != 0;
        let start_time = fields.nth(22 - 10)?.parse().ok()?;
        let ignored_signals = fields.nth(33 - 23)?.parse::<u64>().ok()? as u32;
        Some(ProcessStat { zombie, ending, stopped, start_time, ignored_signals })
    }
}
