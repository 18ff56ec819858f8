//! What the specification knows and this version does not do. It is refused where a configuration
//! really asks for it, never ignored; zero and empty values, which engines send, ask for nothing.

use super::reader::{Node, Result};

/// The type of a setting, and which of its values ask for something.
pub(super) enum Ask {
    /// True asks.
    Flag,
    /// Every number but zero asks.
    Number,
    /// As [`Ask::Number`], but negative numbers, which mean "unlimited", ask for nothing.
    Limit,
    /// As [`Ask::Limit`], but zero asks too: `pids.limit` 0 means no process at all since version 1.3.
    Count,
    /// A string that is not empty asks.
    Text,
    /// An array with elements asks.
    List,
    /// An object asks when a known member does; one whose members are not listed here: when it has any.
    Map(&'static [(&'static str, Ask)]),
}

use Ask::{Count, Flag, Limit, List, Map, Number, Text};

/// Sections for other platforms. config.md lets each be set only where the platform is the target, so
/// a bundle that sets one asks for something else than a container of this kernel.
pub(super) const OTHER_PLATFORMS: &[(&str, Ask)] =
    &[("freebsd", Map(&[])), ("solaris", Map(&[])), ("vm", Map(&[])), ("windows", Map(&[])), ("zos", Map(&[]))];

/// In `linux.resources`.
pub(super) const RESOURCES: &[(&str, Ask)] = &[
    (
        "blockIO",
        Map(&[
            ("weight", Number),
            ("leafWeight", Number),
            ("weightDevice", List),
            ("throttleReadBpsDevice", List),
            ("throttleWriteBpsDevice", List),
            ("throttleReadIOPSDevice", List),
            ("throttleWriteIOPSDevice", List),
        ]),
    ),
    (
        "cpu",
        Map(&[
            ("shares", Number),
            ("quota", Limit),
            ("period", Number),
            ("burst", Number),
            ("realtimeRuntime", Number),
            ("realtimePeriod", Number),
            ("cpus", Text),
            ("mems", Text),
            ("idle", Number),
        ]),
    ),
    ("hugepageLimits", List),
    (
        "memory",
        Map(&[
            ("limit", Limit),
            ("reservation", Limit),
            ("swap", Limit),
            ("kernel", Limit),
            ("kernelTCP", Limit),
            ("swappiness", Number),
            ("disableOOMKiller", Flag),
            ("useHierarchy", Flag),
            ("checkBeforeUpdate", Flag),
        ]),
    ),
    ("network", Map(&[("classID", Number), ("priorities", List)])),
    ("rdma", Map(&[])),
    ("unified", Map(&[])),
];

/// Since version 1.3 a limit of zero is one.
pub(super) const PIDS: &[(&str, Ask)] = &[("pids", Map(&[("limit", Count)]))];
/// Before, zero was what engines sent for an unset one.
pub(super) const PIDS_BEFORE_1_3: &[(&str, Ask)] = &[("pids", Map(&[("limit", Limit)]))];

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
        Limit => number()? > 0,
        Count => number()? >= 0,
        Text => !node.text()?.is_empty(),
        List => node.items()?.next().is_some(),
        Map([]) => node.members()?.next().is_some(),
        Map(members) => return refuse(node, members, message),
    };
    if asks { Err(node.error(message)) } else { Ok(()) }
}
