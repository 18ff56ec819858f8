//! The setting `linux.sysctl`.

use super::linux::namespace;
use super::reader::{Node, Result, escape};

/// A kernel parameter of one of the container's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// The name as the configuration has it.
    pub(crate) name: String,
    /// Its file in procfs: `sys/net/ipv4/ip_forward`.
    pub(crate) path: String,
    pub(crate) value: String,
    /// Which of the container's namespaces it belongs to, a bit of [`namespace`].
    pub(crate) namespace: u64,
}

impl Sysctl {
    /// Its JSON pointer.
    pub(crate) fn pointer(&self) -> String {
        format!("/linux/sysctl/{}", escape(&self.name))
    }
}

/// Reads them; `own` are the namespaces that the container does not share with the caller, new or joined.
pub(super) fn read(linux: &Node<'_, '_>, own: u64) -> Result<Vec<Sysctl>> {
    let Some(node) = linux.member("sysctl")? else { return Ok(Vec::new()) };
    let mut all: Vec<Sysctl> = Vec::new();
    for member in node.members()? {
        let name = member.name();
        if name.contains('\0') {
            return Err(member.error("holds a NUL character"));
        }
        let Some(components) = components(name) else {
            return Err(member.error(format!("{name:?} is not the name of a kernel parameter")));
        };
        let namespace = check(&member, &components, own)?;
        let path = format!("sys/{}", components.join("/"));
        if let Some(other) = all.iter().find(|other| other.path == path) {
            return Err(member.error(format!("the same parameter as {:?}", other.name)));
        }
        let value = member.text()?.to_owned();
        all.push(Sysctl { name: name.to_owned(), path, value, namespace });
    }
    Ok(all)
}

/// The name's parts. As sysctl(8) has it, the separator is the dot or the slash that comes first in the name, and the
/// other of them stands for itself: `net.ipv4.conf.eth0/100.forwarding`, `net/ipv4/conf/eth0.100/forwarding`.
fn components(name: &str) -> Option<Vec<String>> {
    let dots = name.chars().find(|character| matches!(character, '.' | '/')) == Some('.');
    let parts = name.split(if dots { '.' } else { '/' });
    let parts = parts.map(|part| if dots { part.replace('/', ".") } else { part.to_owned() });
    let parts: Vec<String> = parts.collect();
    let valid = |part: &String| !matches!(part.as_str(), "" | "." | "..");
    (parts.len() > 1 && parts.iter().all(valid)).then_some(parts)
}

/// The namespace that it belongs to: only what belongs to one of the container's own may be set.
fn check(member: &Node<'_, '_>, components: &[String], own: u64) -> Result<u64> {
    let components: Vec<&str> = components.iter().map(String::as_str).collect();
    let (needed, kind) = match components.as_slice() {
        ["kernel", "hostname"] => {
            return Err(member.error("is set by the setting \"hostname\""));
        }
        ["kernel", "domainname"] => (namespace::UTS, "uts"),
        ["kernel", name] if is_of_ipc(name) => (namespace::IPC, "ipc"),
        ["fs", "mqueue", _] => (namespace::IPC, "ipc"),
        ["net", _, ..] => (namespace::NETWORK, "network"),
        ["user", _] => (namespace::USER, "user"),
        _ => {
            let message = format!("{:?} belongs to no namespace: it would change the host", member.name());
            return Err(member.error(message));
        }
    };
    if own & needed != 0 {
        return Ok(needed);
    }
    Err(member.error(format!("needs a namespace of type {kind:?} that is not the host's")))
}

/// ipc_namespaces(7)
fn is_of_ipc(name: &str) -> bool {
    name == "sem" || name == "sem_next_id" || name.starts_with("msg") || name.starts_with("shm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_counts() {
        let cases: [(&str, Option<&[&str]>); 10] = [
            ("net.ipv4.ip_forward", Some(&["net", "ipv4", "ip_forward"])),
            ("net/ipv4/ip_forward", Some(&["net", "ipv4", "ip_forward"])),
            ("net.ipv4.conf.eth0/100.forwarding", Some(&["net", "ipv4", "conf", "eth0.100", "forwarding"])),
            ("net/ipv4/conf/eth0.100/forwarding", Some(&["net", "ipv4", "conf", "eth0.100", "forwarding"])),
            ("net", None),
            ("", None),
            ("net..x", None),
            ("/net/x", None),
            ("net/../kernel/panic", None),
            // In dots a slash is a dot.
            ("net.//.kernel", None),
        ];
        for (name, expected) in cases {
            let found = components(name);
            let found = found.as_ref().map(|parts| parts.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
