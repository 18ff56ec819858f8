//! What a cgroup has used and what it was refused: the statistics of its controllers.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::uio::pread;
use nix::unistd::read;

use crate::cgroup::{Cgroup, open, open_at};
use crate::error::{Error, Result, gone};

/// The statistics of a cgroup and its descendants. What no controller counts there is `None`.
///
/// The names of the kernel's files are in cgroup-v2.rst of its documentation.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// `cpu.stat`, which is there without the controller too.
    pub cpu: Option<CpuStats>,
    /// The controller memory.
    pub memory: Option<MemoryStats>,
    /// The controller pids.
    pub pids: Option<PidsStats>,
    /// `io.stat` of the controller io; devices that were not used are not in it.
    pub io: Option<Vec<IoStats>>,
    /// The controller hugetlb, by the size of the pages as in the names of the files, for instance `2MB`. Empty without it.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// `rdma.current` and `rdma.max` of the controller rdma, by device.
    pub rdma: Option<BTreeMap<String, RdmaStats>>,
    /// `misc.current` and `misc.max` of the controller misc, by resource. Its unit is the resource's own.
    pub misc: Option<BTreeMap<String, MiscStats>>,
    /// `cpu.pressure`: time for which processes waited for a processor.
    pub cpu_pressure: Option<Pressure>,
    /// `memory.pressure`: time for which processes waited for memory.
    pub memory_pressure: Option<Pressure>,
    /// `io.pressure`: time for which processes waited for a device.
    pub io_pressure: Option<Pressure>,
}

/// `cpu.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// Processor time, in microseconds.
    pub usage_usec: u64,
    /// Of this, the time in programs.
    pub user_usec: u64,
    /// Of this, the time in the kernel.
    pub system_usec: u64,
    /// With the controller cpu.
    pub throttling: Option<Throttling>,
}

/// How often and for how long the quota of `cpu.max` was used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Throttling {
    /// How many periods of the quota there were.
    pub periods: u64,
    /// In how many of them it was used up.
    pub throttled_periods: u64,
    /// For how long processes were kept from running, in microseconds.
    pub throttled_usec: u64,
    /// In how many periods more than the quota was used (`cpu.max.burst`; Linux 5.15).
    pub bursts: u64,
    /// How much more, in microseconds.
    pub burst_usec: u64,
}

/// The files `memory.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// `memory.current`.
    pub current_bytes: u64,
    /// `memory.peak`: the most that there was (Linux 5.19).
    pub peak_bytes: Option<u64>,
    /// `memory.max`; `None`: no limit.
    pub max_bytes: Option<u64>,
    /// `memory.stat`: bytes, for names that begin with `pg`, `workingset_` and the like numbers of events. Kernels differ in what is there.
    pub stat: BTreeMap<String, u64>,
    /// `memory.events`.
    pub events: MemoryEvents,
    /// `memory.events.local`: those of the cgroup itself, without its descendants (Linux 5.2).
    pub events_local: Option<MemoryEvents>,
    /// The files `memory.swap.*`, if swap is counted.
    pub swap: Option<SwapStats>,
}

/// How often something has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEvents {
    /// Memory was reclaimed although there was less than `memory.low`.
    pub low: u64,
    /// A process was made to reclaim memory, since there was more than `memory.high`.
    pub high: u64,
    /// There was about to be more than `memory.max`.
    pub max: u64,
    /// At `memory.max` nothing could be reclaimed.
    pub oom: u64,
    /// So many processes were killed then, or when the machine had no memory left.
    pub oom_kill: u64,
    /// So many times all were (`memory.oom.group`; Linux 5.17).
    pub oom_group_kill: u64,
}

/// The files `memory.swap.*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwapStats {
    /// `memory.swap.current`.
    pub current_bytes: u64,
    /// `memory.swap.peak` (Linux 6.5).
    pub peak_bytes: Option<u64>,
    /// `memory.swap.max`; `None`: no limit.
    pub max_bytes: Option<u64>,
}

/// The files `pids.*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PidsStats {
    /// `pids.current`: processes and threads.
    pub current: u64,
    /// `pids.max`; `None`: no limit.
    pub max: Option<u64>,
    /// `pids.events`: how often a fork was refused.
    pub refused: u64,
}

/// A device's line of `io.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// The device's major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// How many reads.
    pub reads: u64,
    /// How many writes.
    pub writes: u64,
    /// Bytes discarded.
    pub discarded_bytes: u64,
    /// How many discards.
    pub discards: u64,
}

/// The files `hugetlb.SIZE.*` of one size of pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HugetlbStats {
    /// `hugetlb.SIZE.current`.
    pub current_bytes: u64,
    /// `hugetlb.SIZE.max`; `None`: no limit.
    pub max_bytes: Option<u64>,
    /// `hugetlb.SIZE.rsvd.current`: reserved by mappings, whether used or not (Linux 5.7).
    pub reserved_bytes: Option<u64>,
    /// `hugetlb.SIZE.events`: how often the limit was hit.
    pub refused: u64,
}

/// What there is of a device's `hca_handle` and `hca_object`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RdmaStats {
    /// Open handles.
    pub handles: u64,
    /// The limit; `None`: none.
    pub max_handles: Option<u64>,
    /// Objects.
    pub objects: u64,
    /// The limit; `None`: none.
    pub max_objects: Option<u64>,
}

/// How much there is of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MiscStats {
    /// In use.
    pub current: u64,
    /// The limit; `None`: none.
    pub max: Option<u64>,
}

/// Pressure stall information (`psi.rst` of the kernel's documentation).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pressure {
    /// At least one process waited.
    pub some: Stall,
    /// All that were not idle waited. Absent from `cpu.pressure` before Linux 5.13.
    pub full: Option<Stall>,
}

/// A line of a pressure file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// Share of the last 10 seconds, in percent.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// In all, in microseconds.
    pub total_usec: u64,
}

impl Cgroup {
    /// Its statistics now. They are read one after the other.
    ///
    /// # Errors
    /// When there is no such cgroup, or what the kernel says is not understood.
    pub fn stats(&self) -> Result<Stats> {
        let opened = open(&self.path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        let dir = opened.map_err(|errno| Error::system("opening the cgroup", &self.path, errno))?;
        let files = Files { cgroup: self, dir };
        let pressure = |name| files.parsed(name, pressure);
        Ok(Stats {
            cpu: files.parsed("cpu.stat", cpu)?,
            memory: files.memory()?,
            pids: files.pids()?,
            io: files.parsed("io.stat", |text| text.lines().map(io).collect())?,
            hugetlb: files.hugetlb()?,
            rdma: files.rdma()?,
            misc: files.misc()?,
            cpu_pressure: pressure("cpu.pressure")?,
            memory_pressure: pressure("memory.pressure")?,
            io_pressure: pressure("io.pressure")?,
        })
    }

    /// How many of its processes the kernel has killed for lack of memory, those of its descendants included. `None`: the
    /// controller memory is not there, or the cgroup is gone.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        Ok(self.watch_oom()?.map(|watch| watch.seen))
    }

    /// Watches for processes that are killed for lack of memory. `None`: as with [`oom_kills`](Cgroup::oom_kills).
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let file = match open(&self.path.join("memory.events"), OFlag::O_RDONLY) {
            Err(errno) if gone(errno) => return Ok(None),
            result => result.map_err(|errno| self.unread("memory.events", errno))?,
        };
        let mut watch = OomWatch { file, cgroup: self.clone(), seen: 0 };
        watch.kills()?;
        Ok(Some(watch))
    }

    fn unread(&self, name: &str, errno: Errno) -> Error {
        Error::system("reading", &self.path.join(name), errno)
    }
}

/// Tells of processes that are killed for lack of memory.
#[derive(Debug)]
pub struct OomWatch {
    file: OwnedFd,
    cgroup: Cgroup,
    seen: u64,
}

impl OomWatch {
    /// How many were killed since it was last asked; at first, since it was made. None when the cgroup is gone.
    pub fn kills(&mut self) -> Result<u64> {
        let mut buffer = [0; 512];
        let length = match pread(&self.file, &mut buffer, 0) {
            Err(errno) if gone(errno) => return Ok(0),
            result => result.map_err(|errno| self.cgroup.unread("memory.events", errno))?,
        };
        let text = buffer.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        let events = text.and_then(memory_events);
        let now = events.ok_or_else(|| self.cgroup.unread("memory.events", Errno::EINVAL))?.oom_kill;
        let new = now.saturating_sub(self.seen);
        self.seen = now;
        Ok(new)
    }
}

/// To be polled for `POLLPRI`: it comes with any change of `memory.events`.
impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The files of an open cgroup.
struct Files<'a> {
    cgroup: &'a Cgroup,
    dir: OwnedFd,
}

impl Files<'_> {
    /// `None`: there is no such file, or the kernel was told not to count what it is about.
    fn text(&self, name: &str) -> Result<Option<String>> {
        let read_all = || -> Result<Vec<u8>, Errno> {
            let c_name = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
            let file = open_at(&self.dir, &c_name, OFlag::O_RDONLY)?;
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                match read(&file, &mut buffer) {
                    Ok(0) => return Ok(text),
                    Ok(length) => text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        };
        match read_all() {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(errno) if gone(errno) || errno == Errno::EOPNOTSUPP => Ok(None),
            Err(errno) => Err(self.cgroup.unread(name, errno)),
        }
    }

    fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| Error::System {
            action: "understanding",
            path: self.cgroup.path.join(name),
            hint: "",
            errno: Errno::EINVAL,
        })
    }

    /// A limit; that there is no such file is none too.
    fn limit(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.parsed(name, |text| limit(text.trim_end()))?.flatten())
    }

    fn memory(&self) -> Result<Option<MemoryStats>> {
        let Some(current_bytes) = self.parsed("memory.current", number)? else { return Ok(None) };
        let swap = match self.parsed("memory.swap.current", number)? {
            None => None,
            Some(current_bytes) => Some(SwapStats {
                current_bytes,
                peak_bytes: self.parsed("memory.swap.peak", number)?,
                max_bytes: self.limit("memory.swap.max")?,
            }),
        };
        Ok(Some(MemoryStats {
            current_bytes,
            peak_bytes: self.parsed("memory.peak", number)?,
            max_bytes: self.limit("memory.max")?,
            stat: self.parsed("memory.stat", keyed)?.unwrap_or_default(),
            events: self.parsed("memory.events", memory_events)?.unwrap_or_default(),
            events_local: self.parsed("memory.events.local", memory_events)?,
            swap,
        }))
    }

    fn pids(&self) -> Result<Option<PidsStats>> {
        let Some(current) = self.parsed("pids.current", number)? else { return Ok(None) };
        let refused = self.parsed("pids.events", |text| Some(value_of(&keyed(text)?, "max")))?;
        Ok(Some(PidsStats { current, max: self.limit("pids.max")?, refused: refused.unwrap_or_default() }))
    }

    fn hugetlb(&self) -> Result<BTreeMap<String, HugetlbStats>> {
        let unread =
            |error: std::io::Error| self.cgroup.unread("", Errno::from_raw(error.raw_os_error().unwrap_or_default()));
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(&self.cgroup.path).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            let Some(size) = name.to_str().and_then(page_size) else { continue };
            let Some(current_bytes) = self.parsed(&format!("hugetlb.{size}.current"), number)? else { continue };
            let events = self.parsed(&format!("hugetlb.{size}.events"), keyed)?;
            let stats = HugetlbStats {
                current_bytes,
                max_bytes: self.limit(&format!("hugetlb.{size}.max"))?,
                reserved_bytes: self.parsed(&format!("hugetlb.{size}.rsvd.current"), number)?,
                refused: events.map_or(0, |events| value_of(&events, "max")),
            };
            all.insert(size.to_owned(), stats);
        }
        Ok(all)
    }

    fn rdma(&self) -> Result<Option<BTreeMap<String, RdmaStats>>> {
        let Some(current) = self.parsed("rdma.current", rdma)? else { return Ok(None) };
        let max = self.parsed("rdma.max", rdma)?.unwrap_or_default();
        let stats = |(device, used): (String, Limits)| {
            let (max_handles, max_objects) = max.get(&device).copied().unwrap_or_default();
            let (handles, objects) = (used.0.unwrap_or_default(), used.1.unwrap_or_default());
            (device, RdmaStats { handles, max_handles, objects, max_objects })
        };
        Ok(Some(current.into_iter().map(stats).collect()))
    }

    fn misc(&self) -> Result<Option<BTreeMap<String, MiscStats>>> {
        let Some(current) = self.parsed("misc.current", keyed)? else { return Ok(None) };
        let max = self.parsed("misc.max", limits)?.unwrap_or_default();
        let stats = |(name, current)| {
            let max = max.get(&name).copied().flatten();
            (name, MiscStats { current, max })
        };
        Ok(Some(current.into_iter().map(stats).collect()))
    }
}

/// `2MB` of `hugetlb.2MB.current`.
fn page_size(name: &str) -> Option<&str> {
    name.strip_prefix("hugetlb.")?.strip_suffix(".current").filter(|size| !size.contains('.'))
}

fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// A number, or `max` for none.
fn limit(text: &str) -> Option<Option<u64>> {
    if text == "max" { Some(None) } else { text.parse().ok().map(Some) }
}

/// Lines of `KEY NUMBER`.
fn keyed(text: &str) -> Option<BTreeMap<String, u64>> {
    text.lines()
        .map(|line| line.split_once(' ').and_then(|(key, value)| Some((key.to_owned(), number(value)?))))
        .collect()
}

/// Lines of `KEY LIMIT`.
fn limits(text: &str) -> Option<BTreeMap<String, Option<u64>>> {
    text.lines()
        .map(|line| line.split_once(' ').and_then(|(key, value)| Some((key.to_owned(), limit(value)?))))
        .collect()
}

/// 0 for what a kernel does not have yet.
fn value_of(values: &BTreeMap<String, u64>, key: &str) -> u64 {
    values.get(key).copied().unwrap_or_default()
}

fn cpu(text: &str) -> Option<CpuStats> {
    let values = keyed(text)?;
    let value = |key| value_of(&values, key);
    Some(CpuStats {
        usage_usec: *values.get("usage_usec")?,
        user_usec: value("user_usec"),
        system_usec: value("system_usec"),
        throttling: values.contains_key("nr_periods").then(|| Throttling {
            periods: value("nr_periods"),
            throttled_periods: value("nr_throttled"),
            throttled_usec: value("throttled_usec"),
            bursts: value("nr_bursts"),
            burst_usec: value("burst_usec"),
        }),
    })
}

pub(crate) fn memory_events(text: &str) -> Option<MemoryEvents> {
    let values = keyed(text)?;
    let value = |key| value_of(&values, key);
    Some(MemoryEvents {
        low: value("low"),
        high: value("high"),
        max: value("max"),
        oom: value("oom"),
        oom_kill: value("oom_kill"),
        oom_group_kill: value("oom_group_kill"),
    })
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`, and what other policies add.
fn io(line: &str) -> Option<IoStats> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut stats = IoStats { major: major.parse().ok()?, minor: minor.parse().ok()?, ..IoStats::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let place = match key {
            "rbytes" => &mut stats.read_bytes,
            "wbytes" => &mut stats.written_bytes,
            "rios" => &mut stats.reads,
            "wios" => &mut stats.writes,
            "dbytes" => &mut stats.discarded_bytes,
            "dios" => &mut stats.discards,
            _ => continue,
        };
        *place = value.parse().ok()?;
    }
    Some(stats)
}

/// Of handles and objects.
type Limits = (Option<u64>, Option<u64>);

/// Lines of `DEVICE hca_handle=NUMBER hca_object=LIMIT`.
fn rdma(text: &str) -> Option<BTreeMap<String, Limits>> {
    let device = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let (mut handles, mut objects) = (None, None);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "hca_handle" => handles = limit(value)?,
                "hca_object" => objects = limit(value)?,
                _ => {}
            }
        }
        Some((name, (handles, objects)))
    };
    text.lines().map(device).collect()
}

fn pressure(text: &str) -> Option<Pressure> {
    let line = |begin: &str| text.lines().find_map(|line| line.strip_prefix(begin)).map(stall);
    let full = match line("full ") {
        None => None,
        Some(stall) => Some(stall?),
    };
    Some(Pressure { some: line("some ")??, full })
}

/// `avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn stall(line: &str) -> Option<Stall> {
    let value = |key: &str| {
        let mut pairs = line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        pairs.find(|(found, _)| *found == key).map(|(_, value)| value)
    };
    Some(Stall {
        avg10: value("avg10")?.parse().ok()?,
        avg60: value("avg60")?.parse().ok()?,
        avg300: value("avg300")?.parse().ok()?,
        total_usec: value("total")?.parse().ok()?,
    })
}

/// What a text is, read as each of the files.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// A file of the statistics.
    #[derive(Debug, PartialEq)]
    #[expect(missing_docs, reason = "the names are those of the files")]
    pub enum Read {
        Cpu(CpuStats),
        Io(Vec<IoStats>),
        Keyed(BTreeMap<String, u64>),
        Limit(Option<u64>),
        Limits(BTreeMap<String, Option<u64>>),
        MemoryEvents(MemoryEvents),
        Number(u64),
        Pressure(Pressure),
        Rdma(BTreeMap<String, (Option<u64>, Option<u64>)>),
    }

    /// Reads a text as one of them, by number.
    pub fn read_as(number_of_file: u8, text: &str) -> Option<Read> {
        match number_of_file {
            0 => cpu(text).map(Read::Cpu),
            1 => text.lines().map(io).collect::<Option<_>>().map(Read::Io),
            2 => keyed(text).map(Read::Keyed),
            3 => limit(text.trim_end()).map(Read::Limit),
            4 => limits(text).map(Read::Limits),
            5 => memory_events(text).map(Read::MemoryEvents),
            6 => number(text).map(Read::Number),
            7 => pressure(text).map(Read::Pressure),
            _ => rdma(text).map(Read::Rdma),
        }
    }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
