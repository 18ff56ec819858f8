//! The setting `linux.timeOffsets`.

use super::linux::namespace;
use super::reader::{Node, Result};

/// How far a clock of the container is from the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeOffset {
    /// `monotonic` or `boottime`, as `/proc/PID/timens_offsets` has it.
    pub(crate) clock: &'static str,
    pub(crate) secs: i64,
    pub(crate) nanosecs: u32,
}

/// Reads them; `new` are the namespaces that are made. Offsets of zero ask for nothing.
pub(super) fn read(linux: &Node<'_, '_>, new: u64) -> Result<Vec<TimeOffset>> {
    let Some(node) = linux.member("timeOffsets")? else { return Ok(Vec::new()) };
    let mut offsets = Vec::new();
    for member in node.members()? {
        let clock = match member.name() {
            "monotonic" => "monotonic",
            "boottime" => "boottime",
            other => {
                let message = format!("a time namespace has no clock {other:?}, only \"monotonic\" and \"boottime\"");
                return Err(member.error(message));
            }
        };
        let secs = member.member("secs")?.map_or(Ok(0), |secs| secs.signed(i64::MIN, i64::MAX))?;
        let nanosecs = member.member("nanosecs")?.map_or(Ok(0), |nanosecs| nanosecs.unsigned(999_999_999))? as u32;
        if (secs, nanosecs) == (0, 0) {
            continue;
        }
        if new & namespace::TIME == 0 {
            return Err(member.error("needs a new namespace of type \"time\""));
        }
        offsets.push(TimeOffset { clock, secs, nanosecs });
    }
    Ok(offsets)
}
