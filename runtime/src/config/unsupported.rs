//! What the specification knows and a container of Linux with cgroup v2 cannot have. It is refused where a configuration
//! really asks for it, never ignored; zero and empty values, which engines send, ask for nothing.

use super::reader::{Node, Result};

/// The type of a setting, and which of its values ask for something.
pub(super) enum Ask {
    /// True asks.
    Flag,
    /// Every number but zero asks.
    Number,
    /// An array with elements asks.
    List,
    /// An object asks when a known member does; one whose members are not listed here: when it has any.
    Map(&'static [(&'static str, Ask)]),
}

use Ask::{Flag, List, Map, Number};

/// Sections for other platforms. config.md lets each be set only where the platform is the target, so
/// a bundle that sets one asks for something else than a container of this kernel.
pub(super) const OTHER_PLATFORMS: &[(&str, Ask)] =
    &[("freebsd", Map(&[])), ("solaris", Map(&[])), ("vm", Map(&[])), ("windows", Map(&[])), ("zos", Map(&[]))];

/// In `linux.resources`: what was for cgroup v1.
pub(super) const RESOURCES: &[(&str, Ask)] = &[
    ("blockIO", Map(LEAF_WEIGHT)),
    ("cpu", Map(&[("realtimeRuntime", Number), ("realtimePeriod", Number)])),
    ("memory", Map(&[("swappiness", Number), ("disableOOMKiller", Flag)])),
    ("network", Map(&[("classID", Number), ("priorities", List)])),
];

/// In `blockIO` and its `weightDevice`.
pub(super) const LEAF_WEIGHT: &[(&str, Ask)] = &[("leafWeight", Number)];

/// Refuses what `node` asks for of `settings`.
pub(super) fn refuse(node: &Node<'_, '_>, settings: &'static [(&'static str, Ask)], message: &str) -> Result<()> {
    for (name, ask) in settings {
        if let Some(member) = node.member(name)? {
            refuse_one(&member, ask, message)?;
        }
    }
    Ok(())
}

fn refuse_one(node: &Node<'_, '_>, ask: &'static Ask, message: &str) -> Result<()> {
    // cpu.realtimeRuntime and others are signed in the schema, the rest unsigned: take both.
    let number = || node.signed(i64::MIN, i64::MAX).or_else(|_| node.unsigned(u64::MAX).map(|_| 1));
    let asks = match ask {
        Flag => node.boolean()?,
        Number => number()? != 0,
        List => node.items()?.next().is_some(),
        Map([]) => node.members()?.next().is_some(),
        Map(members) => return refuse(node, members, message),
    };
    if asks { Err(node.error(message)) } else { Ok(()) }
}
