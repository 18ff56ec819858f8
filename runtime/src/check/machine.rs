//! Processors, memory nodes and limits that a bundle asks for, and that this machine, its kernel or the caller does not have.

use std::fs;

use no_frills_sys::{capability, limits};

use super::host::Found;
use super::{Report, Severity};
use crate::config::POLICIES;
use crate::config::number_list::{self, NumberSet};
use crate::members::is_limited;
use crate::print;

/// Above the number of any processor or node.
const MAX: u32 = 65_535;

pub(super) fn check(found: &Found<'_>, report: &mut Report) {
    cpusets(found, report);
    affinity(found, report);
    memory_policy(found, report);
    scheduler(found, report);
    rlimits(found, report);
}

/// A set that sysfs tells, and the text that it does so with. `None`: it tells nothing, as without NUMA.
fn told(file: &str) -> Option<(NumberSet, String)> {
    let text = fs::read_to_string(format!("/sys/devices/system/{file}")).ok()?;
    let text = text.trim().to_owned();
    let set = number_list::parse(&text, MAX).ok().filter(|set| !set.is_empty())?;
    Some((set, text))
}

/// cpuset(7): the kernel takes what can ever be there, and lets those count that are.
fn cpusets(found: &Found<'_>, report: &mut Report) {
    let cpu = &found.config.linux.resources.limits.cpu;
    for (name, asked, kind, what) in
        [("cpus", &cpu.cpus, "cpu", "processor"), ("mems", &cpu.mems, "node", "memory node")]
    {
        let Ok(set) = number_list::parse(asked, MAX) else { continue };
        let Some((possible, text)) = told(&format!("{kind}/possible")) else { continue };
        if let Some(number) = set.first_beyond(&possible) {
            let message = format!("this machine has no {what} {number}: those that it may have are {text}");
            let remedy = format!("choose among {text}");
            report.add_with(Severity::Error, format!("/linux/resources/cpu/{name}"), message, remedy);
        }
    }
}

/// sched_setaffinity(2), of exec alone.
fn affinity(found: &Found<'_>, report: &mut Report) {
    let affinity = &found.config.process.exec_affinity;
    let Some((online, text)) = told("cpu/online") else { return };
    for (name, asked, consequence) in
        [("initial", &affinity.initial, "is prepared on any"), ("final", &affinity.last, "fails")]
    {
        if !asked.is_empty() && !asked.meets(&online) {
            let message = format!("none of these processors is there, only {text}: exec {consequence}");
            let pointer = format!("/process/execCPUAffinity/{name}");
            report.add_with(Severity::Warning, pointer, message, format!("choose among {text}"));
        }
    }
}

/// set_mempolicy(2): of the nodes one has to be there, unless they are counted among those that are.
fn memory_policy(found: &Found<'_>, report: &mut Report) {
    const MPOL_F_RELATIVE_NODES: u32 = 1 << 14;
    let Some(policy) = &found.config.linux.memory_policy else { return };
    let Some((with_memory, text)) = told("node/has_memory") else { return };
    let is_relative = policy.mode & MPOL_F_RELATIVE_NODES != 0;
    if !policy.nodes.is_empty() && !is_relative && !policy.nodes.meets(&with_memory) {
        let message = format!("none of these nodes has memory here: those that have are {text}");
        let pointer = "/linux/memoryPolicy/nodes".to_owned();
        report.add_with(Severity::Error, pointer, message, format!("choose among {text}"));
    }
}

fn scheduler(found: &Found<'_>, report: &mut Report) {
    let Some(scheduler) = found.config.process.scheduler else { return };
    if POLICIES.get(scheduler.policy as usize) == Some(&"ISO") {
        let message = "no Linux has a scheduler for SCHED_ISO: the policy is but reserved";
        let remedy = "choose SCHED_OTHER, SCHED_BATCH or SCHED_IDLE";
        report.add_with(Severity::Error, "/process/scheduler/policy".to_owned(), message.to_owned(), remedy.to_owned());
    }
}

/// setrlimit(2): a hard limit is raised by CAP_SYS_RESOURCE alone, and that of descriptors never above a sysctl.
fn rlimits(found: &Found<'_>, report: &mut Report) {
    let may_raise = capability::has_sys_resource().unwrap_or(true) && is_limited().is_ok_and(|limited| !limited);
    let nr_open = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    for (index, limit) in found.config.process.rlimits.iter().enumerate() {
        let Ok(own) = limits::own_hard(limit.resource) else { continue };
        let (name, asked) = (print::rlimit(limit.resource), print::limit(limit.hard));
        let above: Option<u64> = nr_open.filter(|most| name == "RLIMIT_NOFILE" && limit.hard > *most);
        let (message, remedy) = if let Some(most) = above {
            let message = format!("{name}: {asked}, but the kernel lets no process have more than {most}");
            (message, "lower it, or let processes have more: the sysctl fs.nr_open".to_owned())
        } else if limit.hard > own && !may_raise {
            let message = format!("{name}: {asked}, but the caller's own hard limit is {own}");
            (message, "lower it, or call no-frills as root with CAP_SYS_RESOURCE".to_owned())
        } else {
            continue;
        };
        if let Some(pointer) = found.kept(&format!("/process/rlimits/{index}")) {
            report.add_with(Severity::Error, pointer, message, remedy);
        }
    }
}
