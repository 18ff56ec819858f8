//! The setting `linux`.

use std::sync::Arc;

use super::intel_rdt::{self, IntelRdt};
use super::memory::{self, MemoryPolicy};
use super::mounts::{Propagation, propagation};
use super::net_devices::{self, NetDevice};
use super::path;
use super::process::valid_id;
use super::reader::{Node, Result};
use super::resources::{self, Asked};
use super::seccomp::{self, Seccomp};
use super::sysctl::{self, Sysctl};
use super::time_offsets::{self, TimeOffset};

/// `CLONE_NEW*`, clone(2).
pub(crate) mod namespace {
    pub(crate) const TIME: u64 = 0x0000_0080;
    pub(crate) const MOUNT: u64 = 0x0002_0000;
    pub(crate) const CGROUP: u64 = 0x0200_0000;
    pub(crate) const UTS: u64 = 0x0400_0000;
    pub(crate) const IPC: u64 = 0x0800_0000;
    pub(crate) const USER: u64 = 0x1000_0000;
    pub(crate) const PID: u64 = 0x2000_0000;
    pub(crate) const NETWORK: u64 = 0x4000_0000;
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Linux {
    /// Bits of [`namespace`]: those to make.
    pub(crate) namespaces: u64,
    /// Those that are there already.
    pub(crate) joined: Vec<Joined>,
    pub(crate) uid_mappings: Vec<IdMapping>,
    pub(crate) gid_mappings: Vec<IdMapping>,
    pub(crate) devices: Vec<Device>,
    pub(crate) resources: Asked,
    pub(crate) cgroups_path: Option<String>,
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// For personality(2).
    pub(crate) personality: Option<u32>,
    /// Absolute and clean, as those below.
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) root_propagation: Option<Propagation>,
    /// Empty when not given.
    pub(crate) mount_label: String,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) net_devices: Vec<NetDevice>,
    pub(crate) intel_rdt: Option<IntelRdt>,
    /// Those that are not zero.
    pub(crate) time_offsets: Vec<TimeOffset>,
    /// Shared with what is compiled of it.
    pub(crate) seccomp: Option<Arc<Seccomp>>,
}

/// One of `namespaces` that has a path.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// Its place in the array.
    pub(crate) index: u32,
    /// A bit of [`namespace`].
    pub(crate) kind: u64,
    /// Absolute.
    pub(crate) path: String,
}

impl Linux {
    /// Bits of [`namespace`]: those that the container does not inherit, new ones and joined ones.
    pub(crate) fn own(&self) -> u64 {
        self.joined.iter().fold(self.namespaces, |own, joined| own | joined.kind)
    }

    /// Whether a namespace of the kind is joined.
    pub(crate) fn joins(&self, kind: u64) -> bool {
        self.joined.iter().any(|joined| joined.kind == kind)
    }
}

/// One of `uidMappings` or `gidMappings`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdMapping {
    pub(crate) container: u32,
    pub(crate) host: u32,
    pub(crate) size: u32,
}

/// One of `devices`.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Its place in the array.
    pub(crate) index: u32,
    /// Absolute and clean.
    pub(crate) path: String,
    pub(crate) kind: DeviceKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permissions alone.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Char,
    Block,
    Fifo,
}

/// The kernel's device numbers have 12 and 20 bits.
pub(super) const MAJOR_MAX: u64 = 0xfff;
pub(super) const MINOR_MAX: u64 = 0xf_ffff;

pub(super) fn read(document: &Node<'_, '_>, oci_version: &str, warnings: &mut Vec<String>) -> Result<Linux> {
    let Some(node) = document.member("linux")? else { return Ok(Linux::default()) };
    let (namespaces, joined) = read_namespaces(&node)?;
    let mappings_for = if namespaces & namespace::USER != 0 {
        MappingsFor::NewNamespace
    } else if joined.iter().any(|joined| joined.kind == namespace::USER) {
        MappingsFor::JoinedNamespace
    } else {
        MappingsFor::Nothing
    };
    let own = joined.iter().fold(namespaces, |own, joined| own | joined.kind);
    let linux = Linux {
        namespaces,
        joined,
        uid_mappings: read_mappings(&node, "uidMappings", mappings_for)?,
        gid_mappings: read_mappings(&node, "gidMappings", mappings_for)?,
        devices: read_devices(&node)?,
        resources: resources::read(&node, oci_version, warnings)?,
        cgroups_path: Some(node.text_of("cgroupsPath")?).filter(|path| !path.is_empty()).map(str::to_owned),
        memory_policy: memory::read_memory_policy(&node)?,
        personality: memory::read_personality(&node)?,
        masked_paths: node.each("maskedPaths", |path| not_the_root(path, "the root itself cannot be masked"))?,
        readonly_paths: node
            .each("readonlyPaths", |path| not_the_root(path, "the root itself is made read-only by root.readonly"))?,
        root_propagation: read_root_propagation(&node)?,
        mount_label: node.text_of("mountLabel")?.to_owned(),
        sysctls: sysctl::read(&node, own)?,
        net_devices: net_devices::read(&node, own)?,
        intel_rdt: intel_rdt::read(&node)?,
        time_offsets: time_offsets::read(&node, namespaces)?,
        seccomp: seccomp::read(&node)?.map(Arc::new),
    };
    Ok(linux)
}

/// `rootfsPropagation`; none is as good as `rslave`.
fn read_root_propagation(node: &Node<'_, '_>) -> Result<Option<Propagation>> {
    let Some(node) = node.member("rootfsPropagation")? else { return Ok(None) };
    let text = node.text()?;
    let (recursive, name) = match text.strip_prefix('r') {
        Some(name) => (true, name),
        None => (false, text),
    };
    let kind = match name {
        "" if text.is_empty() => return Ok(None),
        "shared" => propagation::SHARED,
        "slave" => propagation::SLAVE,
        "private" => propagation::PRIVATE,
        "unbindable" => propagation::UNBINDABLE,
        _ => return Err(node.error(format!("unknown propagation {text:?}"))),
    };
    Ok(Some(Propagation { kind, recursive }))
}

/// The namespaces to make, and those to join.
fn read_namespaces(node: &Node<'_, '_>) -> Result<(u64, Vec<Joined>)> {
    let mut seen = 0;
    let mut joined = Vec::new();
    node.each("namespaces", |item| {
        let name = item.required_text("type")?;
        let Some((kind, _)) = NAMESPACES.iter().find(|(_, known)| *known == name) else {
            return Err(item.required("type")?.error(format!("unknown namespace type {name:?}")));
        };
        if seen & kind != 0 {
            return Err(item.required("type")?.error(format!("a second namespace of type {name:?}")));
        }
        seen |= kind;
        if let Some(path) = item.member("path")?
            && !path.text()?.is_empty()
        {
            if !path.text()?.starts_with('/') {
                return Err(path.error("must be an absolute path"));
            }
            joined.push(Joined { index: item.index(), kind: *kind, path: path.text()?.to_owned() });
        }
        Ok(())
    })?;
    Ok((joined.iter().fold(seen, |new, joined| new & !joined.kind), joined))
}

/// The types by their names in the configuration, in the order in which they are joined (see `compile`).
pub(crate) const NAMESPACES: [(u64, &str); 8] = [
    (namespace::CGROUP, "cgroup"),
    (namespace::IPC, "ipc"),
    (namespace::UTS, "uts"),
    (namespace::NETWORK, "network"),
    (namespace::PID, "pid"),
    (namespace::TIME, "time"),
    (namespace::MOUNT, "mount"),
    (namespace::USER, "user"),
];

/// The kernel takes at most this many lines, and of text less than a page (user_namespaces(7)).
const MAPPINGS_MAX: usize = 340;

/// What id mappings are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MappingsFor {
    NewNamespace,
    /// It has its maps; engines repeat them.
    JoinedNamespace,
    /// There is no other user namespace.
    Nothing,
    Mount,
}

pub(super) fn read_mappings(node: &Node<'_, '_>, name: &'static str, what_for: MappingsFor) -> Result<Vec<IdMapping>> {
    let mappings = node.each(name, |item| {
        let mapping = IdMapping {
            container: valid_id(&item.required("containerID")?)?,
            host: valid_id(&item.required("hostID")?)?,
            size: item.required("size")?.u32()?,
        };
        if mapping.size == 0 {
            return Err(item.required("size")?.error("maps no id"));
        }
        let last = u64::from(mapping.container.max(mapping.host)) + u64::from(mapping.size) - 1;
        if last >= u64::from(u32::MAX) {
            return Err(item.error("leads beyond the last id, 4294967294"));
        }
        Ok(mapping)
    })?;
    let error = |message: &str| {
        let mut error = node.error(message);
        error.pointer.push('/');
        error.pointer.push_str(name);
        Err(error)
    };
    match (what_for, mappings.len()) {
        (MappingsFor::NewNamespace, 0) => error("required: a new user namespace without maps has no ids"),
        (MappingsFor::Nothing, 1..) => error("maps ids, but there is no new namespace of type \"user\""),
        (_, MAPPINGS_MAX..) => error("the kernel takes fewer than 340 maps"),
        _ => Ok(mappings),
    }
}

fn absolute(node: &Node<'_, '_>) -> Result<String> {
    let text = node.text()?;
    if !text.starts_with('/') {
        return Err(node.error("must be an absolute path"));
    }
    path::clean(text).ok_or_else(|| node.error(format!("{text:?} leads out of the root")))
}

/// What is mounted on the root itself nobody sees who has it as root already.
fn not_the_root(node: &Node<'_, '_>, message: &str) -> Result<String> {
    let path = absolute(node)?;
    if path == "/" { Err(node.error(message)) } else { Ok(path) }
}

fn read_devices(node: &Node<'_, '_>) -> Result<Vec<Device>> {
    node.each("devices", |item| {
        let kind = match item.required_text("type")? {
            "c" | "u" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            "p" => DeviceKind::Fifo,
            other => return Err(item.required("type")?.error(format!("unknown device type {other:?}"))),
        };
        let path = absolute(&item.required("path")?)?;
        if path == "/" {
            return Err(item.required("path")?.error("the root is no device"));
        }
        let number = |name, max| match item.member(name)? {
            Some(number) => number.unsigned(max),
            None if kind == DeviceKind::Fifo => Ok(0),
            None => Err(item.missing(name)),
        };
        let mode = match item.member("fileMode")? {
            // Some engines send the type along. It was said above.
            Some(mode) => mode.unsigned(0o177_777)? as u32 & 0o7777,
            None => 0o666,
        };
        let id = |name| item.member(name)?.map_or(Ok(0), |id| valid_id(&id));
        let device = Device {
            index: item.index(),
            path,
            kind,
            major: number("major", MAJOR_MAX)? as u32,
            minor: number("minor", MINOR_MAX)? as u32,
            mode,
            uid: id("uid")?,
            gid: id("gid")?,
        };
        // Engines that list all devices of the host list it too, and mean what every container has.
        if device.path == "/dev/ptmx" && (device.kind, device.major, device.minor) != (DeviceKind::Char, 5, 2) {
            return Err(item.required("path")?.error("is the multiplexer of terminals, c 5:2, in every container"));
        }
        Ok(device)
    })
}
