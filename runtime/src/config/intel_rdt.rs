//! The setting `linux.intelRdt`.

use super::reader::{Node, Result};

/// The class of service of the container's processes in a resctrl file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IntelRdt {
    /// The name of the class's directory; `/` is the class that all others of the host are in. `None`: one of the
    /// container's own, named after it.
    pub(crate) clos_id: Option<String>,
    /// Lines of `l3CacheSchema` and `memBwSchema`: written to a class that is made, compared with one that exists.
    pub(crate) schema: Vec<String>,
    /// Lines of `schemata`: written.
    pub(crate) schemata: Vec<String>,
    /// Whether the container is counted on its own.
    pub(crate) monitoring: bool,
}

pub(super) fn read(linux: &Node<'_, '_>) -> Result<Option<IntelRdt>> {
    let Some(node) = linux.member("intelRdt")? else { return Ok(None) };
    if node.members()?.next().is_none() {
        return Ok(None);
    }
    let bandwidth = read_bandwidth(&node)?;
    let mut schema: Vec<String> = lines(node.text_of("l3CacheSchema")?)
        // What memBwSchema says replaces it (config-linux.md, "IntelRdt").
        .filter(|line| bandwidth.is_none() || !line.starts_with("MB:"))
        .map(str::to_owned)
        .collect();
    schema.extend(bandwidth.map(str::to_owned));
    let texts = node.texts_of("schemata")?;
    let schemata = texts.iter().flat_map(|text| lines(text)).map(str::to_owned).collect();
    // Until version 1.2 of the specification there were two of them.
    let mut monitoring = false;
    for name in ["enableMonitoring", "enableCMT", "enableMBM"] {
        monitoring |= node.boolean_of(name)?;
    }
    Ok(Some(IntelRdt { clos_id: read_clos_id(&node)?, schema, schemata, monitoring }))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn read_bandwidth<'v>(node: &Node<'v, '_>) -> Result<Option<&'v str>> {
    let Some(member) = node.member("memBwSchema")? else { return Ok(None) };
    match member.text()? {
        "" => Ok(None),
        text if text.starts_with("MB:") && !text.contains('\n') => Ok(Some(text)),
        text => Err(member.error(format!("{text:?} is not one line that begins with \"MB:\""))),
    }
}

fn read_clos_id(node: &Node<'_, '_>) -> Result<Option<String>> {
    let Some(member) = node.member("closID")? else { return Ok(None) };
    let id = member.text()?;
    // What resctrl has in each of its directories is no class.
    let taken = matches!(id, "." | ".." | "info" | "mon_groups" | "mon_data");
    if taken || (id != "/" && id.contains(['/', '\n'])) {
        return Err(member.error(format!("{id:?} cannot be the name of a class of service")));
    }
    Ok(Some(id.to_owned()).filter(|id| !id.is_empty()))
}
