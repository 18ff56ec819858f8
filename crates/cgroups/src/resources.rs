//! Limits: `linux.resources` of a configuration in, what is written to which file out. Pure.
//!
//! The settings are those of cgroup v1; [`Resources::writes`] says what they are on cgroup v2. What every row of the
//! table below comes to is what runc and crun make of it, unless the last column says otherwise.
//!
//! | setting | file | text |
//! |---|---|---|
//! | `cpu.shares` | `cpu.weight` | 1 to 10000, see [`cpu_weight`] |
//! | `cpu.quota`, `cpu.period` | `cpu.max` | `QUOTA PERIOD`, or `QUOTA` alone, which leaves the period; no quota is `max` |
//! | `cpu.burst`, `cpu.idle` | `cpu.max.burst`, `cpu.idle` | the number; an idle cgroup has no weight, so that `shares` counts for nothing |
//! | `cpu.cpus`, `cpu.mems` | `cpuset.cpus`, `cpuset.mems` | the list |
//! | `memory.limit` | `memory.max` | -1 is `max` |
//! | `memory.reservation` | `memory.low` | -1 is `max` |
//! | `memory.swap` | `memory.swap.max` | without the limit that it includes; -1, or no limit at all, is `max` |
//! | `pids.limit` | `pids.max` | below 0 is `max` |
//! | `blockIO.weight` | `io.bfq.weight`, or `io.weight` | the number, or 1 to 10000, see [`io_weight`] |
//! | `blockIO.weightDevice` | the same | `MAJOR:MINOR WEIGHT` |
//! | `blockIO.throttle*Device` | `io.max` | one line a device, with all its limits; 0 is `max` |
//! | `hugepageLimits` | `hugetlb.SIZE.max`, `hugetlb.SIZE.rsvd.max` | the number, the second where the kernel has it |
//! | `rdma` | `rdma.max` | `DEVICE hca_handle=N hca_object=N` |
//! | `unified` | the name | line by line as it is, after all others |
//!
//! Nothing is written that nobody asked for; `memory.oom.group`, for one, is left to `unified`, as runc and crun do.
//!
//! In a new cgroup, without limits is what everything is: there `max` is not written, so that a configuration that says it
//! needs no controller.

mod apply;
mod convert;
#[cfg(test)]
mod tests;

pub use convert::{cpu_weight, io_weight};

use crate::error::Result;

/// What a container may use. Everything left out is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Processor time, and on which processors.
    pub cpu: Cpu,
    /// Memory and swap.
    pub memory: Memory,
    /// Processes and threads at a time; below 0 is no limit. A limit of 0 lets those that are there live.
    pub pids_limit: Option<i64>,
    /// Block devices.
    pub block_io: BlockIo,
    /// Huge pages, by size.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// RDMA devices.
    pub rdma: Vec<Rdma>,
    /// Files of the cgroup and what is written to them.
    pub unified: Vec<(String, String)>,
}

/// `cpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// The share of the time among siblings: 1024 is what everybody has; 0 asks for nothing.
    pub shares: u64,
    /// Microseconds of processor time in each period; below 0 is no limit, 0 asks for nothing.
    pub quota: i64,
    /// The period in microseconds; 0 asks for nothing.
    pub period: u64,
    /// Microseconds that may be saved up beyond the quota.
    pub burst: Option<u64>,
    /// 1: runs only when nobody else wants to; 0: not so.
    pub idle: Option<i64>,
    /// Processors, as in `0-3,7`; empty asks for nothing.
    pub cpus: String,
    /// Memory nodes; empty asks for nothing.
    pub mems: String,
}

/// `memory`, in bytes; -1 is no limit, 0 asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The most that it may have.
    pub limit: i64,
    /// What it keeps when others want memory.
    pub reservation: i64,
    /// The most that it may have of memory and swap together.
    pub swap: i64,
    /// Refuse a limit that is below what it has.
    pub check_before_update: bool,
}

/// `blockIO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// The share among siblings, from 10 to 1000; 0 asks for nothing.
    pub weight: u16,
    /// The same for single devices.
    pub weight_device: Vec<DeviceValue>,
    /// Bytes per second.
    pub read_bps: Vec<DeviceValue>,
    /// Bytes per second.
    pub write_bps: Vec<DeviceValue>,
    /// Operations per second.
    pub read_iops: Vec<DeviceValue>,
    /// Operations per second.
    pub write_iops: Vec<DeviceValue>,
}

/// A value for one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceValue {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// A weight, for which 0 asks for nothing, or a rate, for which 0 is no limit.
    pub value: u64,
}

/// One of `hugepageLimits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HugepageLimit {
    /// As the kernel names it: `2MB`.
    pub page_size: String,
    /// In bytes.
    pub limit: u64,
}

/// One of `rdma`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdma {
    /// The device.
    pub device: String,
    /// How many handles it may have.
    pub hca_handles: Option<u32>,
    /// How many objects.
    pub hca_objects: Option<u32>,
}

/// What the cgroup is like that limits are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It was made just now: everything in it is without limits.
    New,
    /// It may have limits already.
    Used,
}

/// Something to be written to a file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which setting asked for it: a JSON pointer from `linux.resources` on, for instance `/memory/limit`.
    pub setting: String,
    /// The file.
    pub file: String,
    /// What is written.
    pub text: String,
    /// What is done where there is no such file.
    pub absent: Absent,
    /// The kernel may refuse it before the write that follows is done.
    pub may_follow_next: bool,
}

/// What is done where a file does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is an error.
    Refuse,
    /// Without the file it is so anyway.
    Skip,
    /// Another file does it.
    Instead {
        /// Its name.
        file: &'static str,
        /// What is written to it.
        text: String,
    },
}

impl Resources {
    /// What is written to which file, in this order.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a value that cannot be.
    pub fn writes(&self, target: Target) -> Result<Vec<Write>> {
        convert::writes(self, target)
    }
}

impl Write {
    /// The controller that the file belongs to. `None`: every cgroup has it.
    #[must_use]
    pub fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        (controller != "cgroup").then_some(controller)
    }

    /// Whether it limits how many processes may be born, and so can be written after the first one was.
    #[must_use]
    pub fn limits_births(&self) -> bool {
        self.file == "pids.max"
    }
}
