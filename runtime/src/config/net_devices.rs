//! The setting `linux.netDevices`.

use super::linux::namespace;
use super::reader::{Node, Result};

/// A network device that is moved into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// Its name on the host.
    pub(crate) host: String,
    /// Its name in the container.
    pub(crate) name: String,
}

/// Reads them; `own` are the namespaces that the container does not share with the caller, new or joined.
pub(super) fn read(linux: &Node<'_, '_>, own: u64) -> Result<Vec<NetDevice>> {
    let Some(node) = linux.member("netDevices")? else { return Ok(Vec::new()) };
    let mut devices: Vec<NetDevice> = Vec::new();
    for member in node.members()? {
        if own & namespace::NETWORK == 0 {
            return Err(member.error("needs a namespace of type \"network\" that is not the host's"));
        }
        let host = member.name();
        if let Some(reason) = refusal(host) {
            return Err(member.error(format!("{host:?} is not the name of a network device: {reason}")));
        }
        let name = match member.text_of("name")? {
            "" => host,
            name => name,
        };
        // The kernel would take a per cent sign for a pattern.
        let reason = if name.contains('%') { Some("it has a per cent sign") } else { refusal(name) };
        let at = member.member("name")?;
        let at = at.as_ref().unwrap_or(&member);
        if let Some(reason) = reason {
            return Err(at.error(format!("{name:?} cannot be the name of a network device: {reason}")));
        }
        if let Some(other) = devices.iter().find(|other| other.name == name) {
            return Err(at.error(format!("{name:?} is the name of {:?} in the container already", other.host)));
        }
        devices.push(NetDevice { host: host.to_owned(), name: name.to_owned() });
    }
    Ok(devices)
}

/// Why the kernel does not take the name (its `dev_valid_name`).
fn refusal(name: &str) -> Option<&'static str> {
    /// `IFNAMSIZ` less the NUL.
    const LENGTH_MAX: usize = 15;
    let space = |byte: u8| byte.is_ascii_whitespace() || byte == b'\x0b';
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LENGTH_MAX {
        Some("it is longer than 15 bytes")
    } else if name == "." || name == ".." {
        Some("it names a directory")
    } else if name.bytes().any(|byte| matches!(byte, b'/' | b':' | 0) || space(byte)) {
        Some("it has a slash, a colon, a blank or a NUL")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn names() {
        for name in ["eth0", "eth0.100", "a", "exactly15bytes!", "ü"] {
            assert_eq!(refusal(name), None, "{name}");
        }
        for name in ["", ".", "..", "a/b", "a:0", "a b", "a\tb", "a\u{b}b", "sixteen-bytes-xx", "a\0"] {
            assert!(refusal(name).is_some(), "{name}");
        }
    }
}
