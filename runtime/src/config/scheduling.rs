//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`: when and where the process runs.

use super::number_list::{self, NumberSet};
use super::reader::{Node, Result};

/// `process.scheduler`, as sched_setattr(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheduler {
    /// The place in [`POLICIES`].
    pub(crate) policy: u32,
    /// Bits of [`SCHEDULER_FLAGS`].
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    /// From 1 to 99 for the real-time policies, else 0.
    pub(crate) priority: u32,
    /// Nanoseconds, as the two below; 0 but for `SCHED_DEADLINE`.
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

/// The names by number, sched(7), without `SCHED_`. The kernel has a number for `ISO`, and no such scheduler.
pub(crate) const POLICIES: [&str; 7] = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];

/// The names by bit, sched_setattr(2), without `SCHED_FLAG_`.
pub(crate) const SCHEDULER_FLAGS: [&str; 7] =
    ["RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX"];

pub(super) fn read_scheduler(process: &Node<'_, '_>) -> Result<Option<Scheduler>> {
    let Some(node) = process.given("scheduler")? else { return Ok(None) };
    let name = node.required_text("policy")?;
    let policy = POLICIES.iter().position(|known| name.strip_prefix("SCHED_") == Some(*known));
    let Some(policy) = policy else {
        return Err(node.required("policy")?.error(format!("unknown scheduling policy {name:?}")));
    };
    let (is_realtime, is_deadline) = (matches!(name, "SCHED_FIFO" | "SCHED_RR"), name == "SCHED_DEADLINE");
    let mut flags = 0;
    node.each("flags", |item| {
        let flag = item.text()?;
        let bit = SCHEDULER_FLAGS.iter().position(|known| flag.strip_prefix("SCHED_FLAG_") == Some(*known));
        flags |= 1 << bit.ok_or_else(|| item.error(format!("unknown scheduling flag {flag:?}")))?;
        Ok(())
    })?;
    let time = |member: &'static str| -> Result<u64> {
        let Some(time) = node.member(member)? else { return Ok(0) };
        match time.unsigned(u64::MAX)? {
            nonzero @ 1.. if !is_deadline => {
                Err(time.error(format!("{nonzero}, but only SCHED_DEADLINE has a {member}, not {name}")))
            }
            value => Ok(value),
        }
    };
    let scheduler = Scheduler {
        policy: policy as u32,
        flags,
        nice: node.member("nice")?.map_or(Ok(0), |nice| nice.signed(-20, 19))? as i32,
        priority: read_priority(&node, name, is_realtime)?,
        runtime: time("runtime")?,
        deadline: time("deadline")?,
        period: time("period")?,
    };
    if is_deadline {
        check_deadline(&node, &scheduler)?;
    }
    Ok(Some(scheduler))
}

/// Only the real-time policies have a priority, and have to have one (sched(7)).
fn read_priority(node: &Node<'_, '_>, policy: &str, is_realtime: bool) -> Result<u32> {
    let member = node.member("priority")?;
    let value = member.as_ref().map_or(Ok(0), |priority| priority.signed(i32::MIN.into(), i32::MAX.into()))?;
    match (is_realtime, value) {
        (true, 1..=99) => Ok(value as u32),
        (false, 0) => Ok(0),
        (true, _) => {
            let message = format!("{policy} needs a priority from 1 to 99, found {value}");
            Err(member.map_or_else(|| node.error(&message), |priority| priority.error(&message)))
        }
        (false, _) => Err(node.required("priority")?.error(format!(
            "{value}, but only SCHED_FIFO and SCHED_RR have a priority, not {policy}: did you mean nice?"
        ))),
    }
}

/// What the kernel answers to with no more than EINVAL.
fn check_deadline(node: &Node<'_, '_>, scheduler: &Scheduler) -> Result<()> {
    /// The shortest that the kernel takes.
    const RUNTIME_MIN: u64 = 1024;
    let Scheduler { runtime, deadline, period, .. } = *scheduler;
    if runtime < RUNTIME_MIN {
        let message = format!("SCHED_DEADLINE needs a runtime of {RUNTIME_MIN} nanoseconds at least, found {runtime}");
        return Err(node.member("runtime")?.map_or_else(|| node.error(&message), |member| member.error(&message)));
    }
    if deadline < runtime {
        let message = format!("the deadline {deadline} comes before the runtime {runtime} is over");
        return Err(node.member("deadline")?.map_or_else(|| node.error(&message), |member| member.error(&message)));
    }
    if period != 0 && period < deadline {
        return Err(node
            .required("period")?
            .error(format!("the period {period} is shorter than the deadline {deadline}")));
    }
    Ok(())
}

/// `process.ioPriority`, ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoPriority {
    /// One more than the place in [`IO_CLASSES`].
    pub(crate) class: u32,
    /// From 0, the highest, to 7.
    pub(crate) priority: u32,
}

/// The names from number 1 on, without `IOPRIO_CLASS_`.
pub(crate) const IO_CLASSES: [&str; 3] = ["RT", "BE", "IDLE"];

impl IoPriority {
    /// Class and priority as the kernel puts them together.
    pub(crate) fn value(self) -> u32 {
        self.class << 13 | self.priority
    }
}

pub(super) fn read_io_priority(process: &Node<'_, '_>) -> Result<Option<IoPriority>> {
    let Some(node) = process.given("ioPriority")? else { return Ok(None) };
    let name = node.required_text("class")?;
    let class = IO_CLASSES.iter().position(|known| name.strip_prefix("IOPRIO_CLASS_") == Some(*known));
    let Some(class) = class else {
        return Err(node.required("class")?.error(format!("unknown I/O scheduling class {name:?}")));
    };
    // Required, says the text; the Go types of engines leave a zero out.
    let priority = node.member("priority")?.map_or(Ok(0), |priority| priority.unsigned(7))? as u32;
    Ok(Some(IoPriority { class: class as u32 + 1, priority }))
}

/// `process.execCPUAffinity`. It is for the processes of `exec` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Where the process is prepared; empty: wherever the caller may run.
    pub(crate) initial: NumberSet,
    /// Where the program runs; empty: on all CPUs of the container's cgroup.
    pub(crate) last: NumberSet,
}

pub(super) fn read_affinity(process: &Node<'_, '_>) -> Result<Affinity> {
    /// More than any kernel is built for (`CONFIG_NR_CPUS`).
    const CPU_MAX: u32 = 65_535;
    let Some(node) = process.member("execCPUAffinity")? else { return Ok(Affinity::default()) };
    let cpus =
        |name| node.member(name)?.map_or_else(|| Ok(NumberSet::default()), |list| number_list::read(&list, CPU_MAX));
    Ok(Affinity { initial: cpus("initial")?, last: cpus("final")? })
}
