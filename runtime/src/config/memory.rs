//! `linux.memoryPolicy` and `linux.personality`: how the kernel treats the memory and the calls of the process.

use super::number_list::{self, NumberSet};
use super::reader::{Node, Result};

/// `linux.memoryPolicy`, set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    /// The place in [`MEMORY_MODES`] and bits of [`MEMORY_FLAGS`].
    pub(crate) mode: u32,
    pub(crate) nodes: NumberSet,
}

/// The names by number, without `MPOL_`.
pub(crate) const MEMORY_MODES: [&str; 7] =
    ["DEFAULT", "PREFERRED", "BIND", "INTERLEAVE", "LOCAL", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE"];

/// The bits by name, without `MPOL_F_`.
pub(crate) const MEMORY_FLAGS: [(&str, u32); 3] =
    [("NUMA_BALANCING", 1 << 13), ("RELATIVE_NODES", 1 << 14), ("STATIC_NODES", 1 << 15)];

pub(super) fn read_memory_policy(linux: &Node<'_, '_>) -> Result<Option<MemoryPolicy>> {
    /// More than any kernel is built for (`CONFIG_NODES_SHIFT`).
    const NODE_MAX: u32 = 1023;
    let Some(node) = linux.member("memoryPolicy")? else { return Ok(None) };
    let name = node.text_of("mode")?;
    let nodes = node.member("nodes")?;
    let nodes = nodes.map_or_else(|| Ok(NumberSet::default()), |list| number_list::read(&list, NODE_MAX))?;
    let mut flags = 0;
    node.each("flags", |item| {
        let flag = item.text()?;
        let known = MEMORY_FLAGS.iter().find(|(known, _)| flag.strip_prefix("MPOL_F_") == Some(*known));
        flags |= known.ok_or_else(|| item.error(format!("unknown flag of a memory policy {flag:?}")))?.1;
        Ok(())
    })?;
    if name.is_empty() && nodes.is_empty() && flags == 0 {
        return Ok(None);
    }
    let name = node.required_text("mode")?;
    let mode = MEMORY_MODES.iter().position(|known| name.strip_prefix("MPOL_") == Some(*known));
    let Some(mode) = mode else {
        return Err(node.required("mode")?.error(format!("unknown memory policy {name:?}")));
    };
    match (name, nodes.is_empty()) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", false) => {
            return Err(node.required("nodes")?.error(format!("{name} takes no nodes")));
        }
        // Without nodes it means MPOL_LOCAL.
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", _) | (_, false) => {}
        (_, true) => return Err(node.error(format!("{name} needs at least one of the memory nodes"))),
    }
    if name == "MPOL_DEFAULT" && flags != 0 {
        return Err(node.required("flags")?.error("MPOL_DEFAULT takes no flags"));
    }
    if flags >> 14 == 0b11 {
        return Err(node.required("flags")?.error("MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"));
    }
    Ok(Some(MemoryPolicy { mode: mode as u32 | flags, nodes }))
}

/// The domains of `linux.personality` with what personality(2) takes.
pub(crate) const PERSONALITIES: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];

pub(super) fn read_personality(linux: &Node<'_, '_>) -> Result<Option<u32>> {
    let Some(node) = linux.member("personality")? else { return Ok(None) };
    if !node.texts_of("flags")?.is_empty() {
        return Err(node.required("flags")?.error("the specification has no flags of a personality so far"));
    }
    let name = node.text_of("domain")?;
    if name.is_empty() {
        return Ok(None);
    }
    let known = PERSONALITIES.iter().find(|(known, _)| name == *known);
    known.map_or_else(
        || Err(node.required("domain")?.error(format!("unknown personality {name:?}"))),
        |(_, value)| Ok(Some(*value)),
    )
}
