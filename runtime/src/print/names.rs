//! Names of numbers and bits, as the manual pages have them.

use no_frills_plan::{Words, attach, change, join};
use no_frills_sys::seccomp;

use crate::config::{
    CAPABILITIES, IO_CLASSES, IoPriority, MEMORY_FLAGS, MEMORY_MODES, PERSONALITIES, POLICIES, RLIMITS, attr, legacy,
    namespace, propagation,
};

/// Names of bits, for [`flags`].
pub(super) type Names = &'static [(u64, &'static str)];

pub(super) const CLONE: Names = &[
    (namespace::TIME, "CLONE_NEWTIME"),
    (namespace::USER, "CLONE_NEWUSER"),
    (namespace::MOUNT, "CLONE_NEWNS"),
    (namespace::PID, "CLONE_NEWPID"),
    (namespace::NETWORK, "CLONE_NEWNET"),
    (namespace::IPC, "CLONE_NEWIPC"),
    (namespace::UTS, "CLONE_NEWUTS"),
    (namespace::CGROUP, "CLONE_NEWCGROUP"),
];
pub(super) const PROPAGATION: Names = &[
    (propagation::PRIVATE, "MS_PRIVATE"),
    (propagation::SHARED, "MS_SHARED"),
    (propagation::SLAVE, "MS_SLAVE"),
    (propagation::UNBINDABLE, "MS_UNBINDABLE"),
];
pub(super) const ATTRIBUTES: Names = &[
    (attr::RDONLY as u64, "MOUNT_ATTR_RDONLY"),
    (attr::NOSUID as u64, "MOUNT_ATTR_NOSUID"),
    (attr::NODEV as u64, "MOUNT_ATTR_NODEV"),
    (attr::NOEXEC as u64, "MOUNT_ATTR_NOEXEC"),
    (attr::ATIME as u64, "MOUNT_ATTR__ATIME"),
    (attr::NOATIME as u64, "MOUNT_ATTR_NOATIME"),
    (attr::STRICTATIME as u64, "MOUNT_ATTR_STRICTATIME"),
    (attr::NODIRATIME as u64, "MOUNT_ATTR_NODIRATIME"),
    (attr::NOSYMFOLLOW as u64, "MOUNT_ATTR_NOSYMFOLLOW"),
];
pub(super) const ATTACH: Names = &[
    (attach::NO_SYMLINKS as u64, "NO_SYMLINKS"),
    (attach::KEEP_MODE as u64, "KEEP_MODE"),
    (attach::NOT_IN_PROC as u64, "NOT_IN_PROC"),
    (attach::IN_DIRECTORY as u64, "IN_DIRECTORY"),
    (attach::NO_FOLLOW as u64, "NO_FOLLOW"),
];
pub(super) const CHANGE: Names =
    &[(change::MAY_BE_REFUSED as u64, "MAY_BE_REFUSED"), (change::IF_REFUSED as u64, "IF_REFUSED")];
pub(super) const FILTER_FLAGS: Names = &[
    (seccomp::TSYNC as u64, "SECCOMP_FILTER_FLAG_TSYNC"),
    (seccomp::LOG as u64, "SECCOMP_FILTER_FLAG_LOG"),
    (seccomp::SPEC_ALLOW as u64, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    (seccomp::NEW_LISTENER as u64, "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
    (seccomp::WAIT_KILLABLE_RECV as u64, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
];
pub(super) const LEGACY: Names = &[
    (legacy::RDONLY, "MS_RDONLY"),
    (legacy::SYNCHRONOUS, "MS_SYNCHRONOUS"),
    (legacy::DIRSYNC, "MS_DIRSYNC"),
    (legacy::LAZYTIME, "MS_LAZYTIME"),
];

/// The names of the bits of `value` that have one; what is left, in hexadecimal.
pub(super) fn flags(value: u64, names: Names) -> Vec<String> {
    let mut left = value;
    let mut found = Vec::new();
    for (bits, name) in names {
        if left & bits == *bits {
            found.push((*name).to_owned());
            left &= !bits;
        }
    }
    if left != 0 {
        found.push(format!("{left:#x}"));
    }
    found
}

/// Bit N stands for capability N.
pub(super) fn capabilities(set: u64) -> Vec<String> {
    (0..64).filter(|number| set & 1 << number != 0).map(capability).collect()
}

pub(super) fn capability(number: usize) -> String {
    CAPABILITIES.get(number).map_or_else(|| number.to_string(), |name| format!("CAP_{name}"))
}

pub(crate) fn rlimit(resource: u32) -> String {
    RLIMITS.get(resource as usize).map_or_else(|| resource.to_string(), |name| format!("RLIMIT_{name}"))
}

pub(crate) fn limit(value: u64) -> String {
    if value == u64::MAX { "RLIM_INFINITY".to_owned() } else { value.to_string() }
}

pub(super) fn personality(persona: u32) -> String {
    let known = PERSONALITIES.iter().find(|(_, value)| *value == persona);
    known.map_or_else(|| format!("{persona:#x}"), |(name, _)| format!("PER_{name}"))
}

/// The mode and the flags of a memory policy.
pub(super) fn memory_mode(mode: u32) -> Vec<String> {
    let (kind, bits) = (mode & 0x1fff, mode & !0x1fff);
    let kind = MEMORY_MODES.get(kind as usize).map_or_else(|| kind.to_string(), |name| format!("MPOL_{name}"));
    let set = MEMORY_FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| format!("MPOL_F_{name}"));
    [kind].into_iter().chain(set).collect()
}

/// A set of numbers as the kernel writes it: `0-3,7`.
pub(super) fn number_list(set: Words<'_>) -> String {
    let bits = (0..)
        .zip(set.iter())
        .flat_map(|(at, word)| (0..32).filter(move |bit| word & 1 << bit != 0).map(move |bit| at * 32 + bit));
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in bits {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    texts.join(",")
}

pub(crate) fn scheduling_policy(policy: u32) -> String {
    POLICIES.get(policy as usize).map_or_else(|| policy.to_string(), |name| format!("SCHED_{name}"))
}

pub(crate) fn io_class(priority: IoPriority) -> String {
    let name = (priority.class as usize).checked_sub(1).and_then(|place| IO_CLASSES.get(place));
    name.map_or_else(|| priority.class.to_string(), |name| format!("IOPRIO_CLASS_{name}"))
}

pub(super) fn join_mode(mode: u8) -> &'static str {
    match mode {
        join::MUST => "MUST",
        join::MAY => "MAY",
        join::IF_REFUSED => "IF_REFUSED",
        _ => "?",
    }
}

pub(super) fn file_type(mode: u32) -> &'static str {
    match mode >> 12 {
        0o01 => "S_IFIFO",
        0o02 => "S_IFCHR",
        0o06 => "S_IFBLK",
        _ => "0",
    }
}

/// Major and minor number, as makedev(3) put them together.
pub(super) fn device_numbers(device: u64) -> (u64, u64) {
    (device >> 8 & 0xfff | device >> 32 & !0xfff, device & 0xff | device >> 12 & !0xff)
}

pub(super) fn tree_flags(recursive: bool, itself: bool) -> Vec<String> {
    let names = [(true, "OPEN_TREE_CLONE"), (recursive, "AT_RECURSIVE"), (itself, "AT_SYMLINK_NOFOLLOW")];
    names.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| (*name).to_owned()).collect()
}
