//! The setting `mounts`: destinations, types and the many options.

use super::linux::{IdMapping, MappingsFor, read_mappings};
use super::path;
use super::reader::{Node, Result};

/// `MOUNT_ATTR_*`, mount_setattr(2).
pub(crate) mod attr {
    pub(crate) const RDONLY: u32 = 0x1;
    pub(crate) const NOSUID: u32 = 0x2;
    pub(crate) const NODEV: u32 = 0x4;
    pub(crate) const NOEXEC: u32 = 0x8;
    /// The field of the three modes below. Whoever sets one has to clear it all.
    pub(crate) const ATIME: u32 = 0x70;
    pub(crate) const RELATIME: u32 = 0;
    pub(crate) const NOATIME: u32 = 0x10;
    pub(crate) const STRICTATIME: u32 = 0x20;
    pub(crate) const NODIRATIME: u32 = 0x80;
    pub(crate) const NOSYMFOLLOW: u32 = 0x20_0000;
}

/// `MS_*` of propagation, mount(2).
pub(crate) mod propagation {
    pub(crate) const UNBINDABLE: u64 = 1 << 17;
    pub(crate) const PRIVATE: u64 = 1 << 18;
    pub(crate) const SLAVE: u64 = 1 << 19;
    pub(crate) const SHARED: u64 = 1 << 20;
}

/// `MS_*` of whole file systems, mount(2).
pub(crate) mod legacy {
    pub(crate) const RDONLY: u64 = 1;
    pub(crate) const SYNCHRONOUS: u64 = 16;
    pub(crate) const DIRSYNC: u64 = 128;
    pub(crate) const LAZYTIME: u64 = 1 << 25;
}

/// One of `mounts`.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Its place in the array.
    pub(crate) index: u32,
    /// Absolute and clean.
    pub(crate) destination: String,
    pub(crate) kind: MountKind,
    /// As written; empty when not given.
    pub(crate) source: String,
    pub(crate) attributes: Attributes,
    /// The options `rro` and the like: for the mounts below too.
    pub(crate) recursive_attributes: Attributes,
    /// In the order given.
    pub(crate) propagation: Vec<Propagation>,
    /// What is left for the file system.
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) id_map: Option<MountIdMap>,
    /// A tmpfs begins with a copy of what it covers (`tmpcopyup`).
    pub(crate) copy_up: bool,
    /// A symbolic link at the end of the source is the source (`src-nofollow`).
    pub(crate) source_itself: bool,
    /// A symbolic link at the end of the destination is covered itself (`dest-nofollow`).
    pub(crate) destination_itself: bool,
}

/// How the ids of a mount differ from those of its file system.
#[derive(Clone, Debug)]
pub(crate) struct MountIdMap {
    /// The mounts below too (`ridmap`).
    pub(crate) recursive: bool,
    /// `uidMappings` and `gidMappings` of the mount; without them those of the container's user namespace count.
    pub(crate) own: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// A new file system of this type.
    Filesystem(String),
    Bind {
        recursive: bool,
    },
    /// Changes the mount that is there already.
    Remount,
}

/// Attributes to set and to clear on a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) set: u32,
    pub(crate) clear: u32,
}

impl Attributes {
    fn set(&mut self, bits: u32) {
        self.set |= bits;
        self.clear &= !bits;
    }

    fn clear(&mut self, bits: u32) {
        self.set &= !bits;
        self.clear |= bits;
    }

    fn atime(&mut self, mode: u32) {
        self.set = self.set & !attr::ATIME | mode;
        self.clear |= attr::ATIME;
    }

    /// These, and then those of `later` where both say something.
    pub(crate) fn and(self, later: Attributes) -> Attributes {
        let kept = self.set & !later.clear;
        // The mode of atime is one field: what is later cleared of it and set anew was cleared above.
        Attributes { set: kept | later.set, clear: self.clear & !later.set | later.clear }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Attributes::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// [`propagation`]
    pub(crate) kind: u64,
    pub(crate) recursive: bool,
}

/// An option for the file system itself: `mode=755` or `newinstance`.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// Its place in the options.
    pub(crate) option: u32,
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

/// What an option does.
#[derive(Clone, Copy)]
enum Effect {
    Set(u32),
    Clear(u32),
    Atime(u32),
    SetAll(u32),
    ClearAll(u32),
    AtimeAll(u32),
    Propagate(u64, bool),
    Bind(bool),
    IdMap(bool),
    CopyUp,
    SourceItself,
    DestinationItself,
    Remount,
    /// A flag of the whole file system, which mounts of it cannot change.
    Filesystem,
    /// As it is without.
    Nothing,
    /// Has no effect on any kernel that this runtime runs on.
    Vain(&'static str),
}

use Effect::{
    Atime, AtimeAll, Bind, Clear, ClearAll, CopyUp, DestinationItself, Filesystem, IdMap, Nothing, Propagate, Remount,
    Set, SetAll, SourceItself, Vain,
};

const NO_MAND: &str = "Linux has no mandatory locks since 5.15";
const NO_IVERSION: &str = "file systems that count the versions of a file do so by themselves since Linux 6.1";
const NOT_OF_MOUNTS: &str = "it is a property of the file system, which mounts cannot change";

/// Options that are not the file system's own business, sorted by name.
#[rustfmt::skip]
static OPTIONS: &[(&str, Effect)] = &[
    ("async", Nothing),
    ("atime", Atime(attr::RELATIME)),
    ("bind", Bind(false)),
    ("defaults", Nothing),
    ("dest-nofollow", DestinationItself),
    ("dev", Clear(attr::NODEV)),
    ("diratime", Clear(attr::NODIRATIME)),
    ("dirsync", Filesystem),
    ("exec", Clear(attr::NOEXEC)),
    ("idmap", IdMap(false)),
    ("iversion", Vain(NO_IVERSION)),
    ("lazytime", Filesystem),
    ("loud", Nothing),
    ("mand", Vain(NO_MAND)),
    ("noatime", Atime(attr::NOATIME)),
    ("nodev", Set(attr::NODEV)),
    ("nodiratime", Set(attr::NODIRATIME)),
    ("noexec", Set(attr::NOEXEC)),
    ("noiversion", Nothing),
    ("nolazytime", Nothing),
    ("nomand", Nothing),
    ("norelatime", Atime(attr::RELATIME)),
    ("nostrictatime", Atime(attr::RELATIME)),
    ("nosuid", Set(attr::NOSUID)),
    ("nosymfollow", Set(attr::NOSYMFOLLOW)),
    ("private", Propagate(propagation::PRIVATE, false)),
    ("rasync", Nothing),
    ("ratime", AtimeAll(attr::RELATIME)),
    ("rbind", Bind(true)),
    ("rdev", ClearAll(attr::NODEV)),
    ("rdiratime", ClearAll(attr::NODIRATIME)),
    ("rdirsync", Vain(NOT_OF_MOUNTS)),
    ("relatime", Atime(attr::RELATIME)),
    ("remount", Remount),
    ("rexec", ClearAll(attr::NOEXEC)),
    ("ridmap", IdMap(true)),
    ("rmand", Vain(NO_MAND)),
    ("rnoatime", AtimeAll(attr::NOATIME)),
    ("rnodev", SetAll(attr::NODEV)),
    ("rnodiratime", SetAll(attr::NODIRATIME)),
    ("rnoexec", SetAll(attr::NOEXEC)),
    ("rnomand", Nothing),
    ("rnorelatime", AtimeAll(attr::RELATIME)),
    ("rnostrictatime", AtimeAll(attr::RELATIME)),
    ("rnosuid", SetAll(attr::NOSUID)),
    ("rnosymfollow", SetAll(attr::NOSYMFOLLOW)),
    ("ro", Set(attr::RDONLY)),
    ("rprivate", Propagate(propagation::PRIVATE, true)),
    ("rrelatime", AtimeAll(attr::RELATIME)),
    ("rro", SetAll(attr::RDONLY)),
    ("rrw", ClearAll(attr::RDONLY)),
    ("rshared", Propagate(propagation::SHARED, true)),
    ("rslave", Propagate(propagation::SLAVE, true)),
    ("rstrictatime", AtimeAll(attr::STRICTATIME)),
    ("rsuid", ClearAll(attr::NOSUID)),
    ("rsymfollow", ClearAll(attr::NOSYMFOLLOW)),
    ("rsync", Vain(NOT_OF_MOUNTS)),
    ("runbindable", Propagate(propagation::UNBINDABLE, true)),
    ("rw", Clear(attr::RDONLY)),
    ("shared", Propagate(propagation::SHARED, false)),
    ("silent", Vain("what the kernel logs cannot be changed by fsopen(2)")),
    ("slave", Propagate(propagation::SLAVE, false)),
    ("src-nofollow", SourceItself),
    ("strictatime", Atime(attr::STRICTATIME)),
    ("suid", Clear(attr::NOSUID)),
    ("symfollow", Clear(attr::NOSYMFOLLOW)),
    ("sync", Filesystem),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(propagation::UNBINDABLE, false)),
];

/// The names of the options that the runtime itself understands, sorted.
pub fn mount_options() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

/// fsconfig(2) copies at most this much of a value.
const PARAMETER_MAX: usize = 255;
/// mount(2), which takes the place of fsconfig(2) for longer ones, takes all of them in less than a page.
const OPTIONS_MAX: usize = 4095;

pub(super) fn read(document: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Vec<Mount>> {
    document.each("mounts", |node| {
        let mut mount = Mount {
            index: node.index(),
            destination: read_destination(node, warnings)?,
            kind: MountKind::Filesystem(String::new()),
            source: node.text_of("source")?.to_owned(),
            attributes: Attributes::default(),
            recursive_attributes: Attributes::default(),
            propagation: Vec::new(),
            parameters: Vec::new(),
            id_map: read_id_map(node)?,
            copy_up: false,
            source_itself: false,
            destination_itself: false,
        };
        let fstype = node.text_of("type")?;
        if fstype == "bind" {
            mount.kind = MountKind::Bind { recursive: false };
        }
        let mut is_bind = false;
        if let Some(options) = node.member("options")? {
            for option in options.items()? {
                is_bind |= matches!(option.text()?, "bind" | "rbind");
                read_option(&mut mount, &option, warnings)?;
            }
        }
        check_kind(node, &mut mount, fstype)?;
        check_parameters(node, &mut mount, is_bind, warnings)?;
        check_extensions(node, &mount)?;
        check_destination(node, &mount)?;
        Ok(mount)
    })
}

fn read_destination(node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<String> {
    let destination = node.required("destination")?;
    let text = node.required_text("destination")?;
    if !text.starts_with('/') {
        // Allowed before version 1.0.0 of the specification, and still sent.
        warnings.push(destination.error(format!("{text:?} is not absolute, taken as relative to /")).to_string());
    }
    path::clean(text).ok_or_else(|| destination.error(format!("{text:?} leads out of the root")))
}

fn read_id_map(node: &Node<'_, '_>) -> Result<Option<MountIdMap>> {
    let read = |name| read_mappings(node, name, MappingsFor::Mount);
    let (uids, gids) = (read("uidMappings")?, read("gidMappings")?);
    match (uids.is_empty(), gids.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(MountIdMap { recursive: false, own: Some((uids, gids)) })),
        (true, false) => Err(node.missing("uidMappings")),
        (false, true) => Err(node.missing("gidMappings")),
    }
}

fn read_option(mount: &mut Mount, node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<()> {
    let option = node.text()?;
    let effect = OPTIONS.binary_search_by_key(&option, |(name, _)| name).ok().and_then(|found| OPTIONS.get(found));
    match effect.map(|(_, effect)| *effect) {
        Some(Set(bits)) => mount.attributes.set(bits),
        Some(Clear(bits)) => mount.attributes.clear(bits),
        Some(Atime(mode)) => mount.attributes.atime(mode),
        Some(SetAll(bits)) => mount.recursive_attributes.set(bits),
        Some(ClearAll(bits)) => mount.recursive_attributes.clear(bits),
        Some(AtimeAll(mode)) => mount.recursive_attributes.atime(mode),
        Some(Propagate(kind, recursive)) => mount.propagation.push(Propagation { kind, recursive }),
        Some(Bind(recursive)) if mount.kind != MountKind::Remount => mount.kind = MountKind::Bind { recursive },
        Some(Remount) => mount.kind = MountKind::Remount,
        Some(Bind(_) | Nothing) => {}
        Some(Vain(why)) => warnings.push(node.error(format!("{option:?} is ignored: {why}")).to_string()),
        Some(IdMap(recursive)) => {
            let own = mount.id_map.take().and_then(|id_map| id_map.own);
            mount.id_map = Some(MountIdMap { recursive, own });
        }
        Some(CopyUp) => mount.copy_up = true,
        Some(SourceItself) => mount.source_itself = true,
        Some(DestinationItself) => mount.destination_itself = true,
        Some(Filesystem) | None if option.is_empty() => {}
        Some(Filesystem) | None => {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (option, None),
            };
            mount.parameters.push(Parameter { option: node.index(), key: key.to_owned(), value });
        }
    }
    Ok(())
}

fn check_kind(node: &Node<'_, '_>, mount: &mut Mount, fstype: &str) -> Result<()> {
    match &mut mount.kind {
        MountKind::Bind { .. } if mount.source.is_empty() => Err(node.missing("source")),
        MountKind::Bind { .. } | MountKind::Remount => Ok(()),
        MountKind::Filesystem(name) => match fstype {
            "" => Err(node.missing("type")),
            "none" => Err(node.required("type")?.error("\"none\" needs the option bind, rbind or remount")),
            // Only version 2 is driven, whatever the name of the first says.
            "cgroup" => {
                name.push_str("cgroup2");
                Ok(())
            }
            other => {
                name.push_str(other);
                Ok(())
            }
        },
    }
}

fn check_parameters(node: &Node<'_, '_>, mount: &mut Mount, is_bind: bool, warnings: &mut Vec<String>) -> Result<()> {
    let error = |parameter: &Parameter, message: String| {
        let mut error = node.error(message);
        error.pointer.push_str(&format!("/options/{}", parameter.option));
        error
    };
    let (mut sum, mut longest) = (0, None);
    for parameter in &mount.parameters {
        let error = |message| error(parameter, message);
        let Parameter { key, value, .. } = parameter;
        match mount.kind {
            MountKind::Filesystem(_) | MountKind::Remount if key.is_empty() => {
                return Err(error("an option without a name".to_owned()));
            }
            MountKind::Filesystem(_) => {}
            MountKind::Remount if !is_bind => {}
            _ if value.is_none() && matches!(key.as_str(), "dirsync" | "lazytime" | "sync") => {
                warnings.push(error(format!("{key:?} is ignored: a bind mount cannot change it")).to_string());
            }
            MountKind::Bind { .. } | MountKind::Remount => {
                return Err(error(format!("{key:?} is not an option of bind mounts")));
            }
        }
        let length = key.len().max(value.as_deref().map_or(0, str::len));
        sum += parameter.text_length() + 1;
        if length > PARAMETER_MAX {
            longest = Some((parameter, length));
        }
    }
    if matches!(mount.kind, MountKind::Bind { .. }) || is_bind {
        mount.parameters.clear();
        return Ok(());
    }
    let Some((parameter, length)) = longest else { return Ok(()) };
    let error = |message| Err(error(parameter, message));
    if mount.kind == MountKind::Remount {
        return error(format!("{length} bytes, but fsconfig(2) takes at most {PARAMETER_MAX}"));
    }
    // One comma fewer than there are options.
    sum -= 1;
    if sum > OPTIONS_MAX {
        return error(format!("with options as long as this mount(2) takes {OPTIONS_MAX} bytes of them, not {sum}"));
    }
    let with_comma =
        mount.parameters.iter().find(|parameter| parameter.value.as_ref().is_some_and(|v| v.contains(',')));
    match with_comma {
        Some(_) => {
            error("with options as long as this none may hold a comma: mount(2) takes them as a list".to_owned())
        }
        None => Ok(()),
    }
}

impl Parameter {
    fn text_length(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len() + 1)
    }

    /// Whether fsconfig(2) cannot take it.
    pub(crate) fn is_long(&self) -> bool {
        self.key.len().max(self.value.as_deref().map_or(0, str::len)) > PARAMETER_MAX
    }
}

/// What a mount of this kind cannot have.
fn check_extensions(node: &Node<'_, '_>, mount: &Mount) -> Result<()> {
    let refused = |message: &str| Err(node.required("options")?.error(message));
    let is_bind = matches!(mount.kind, MountKind::Bind { .. });
    match &mount.kind {
        MountKind::Filesystem(fstype) if fstype == "tmpfs" => {}
        _ if mount.copy_up => return refused("\"tmpcopyup\" is for a tmpfs alone"),
        _ => {}
    }
    if mount.source_itself && !is_bind {
        return refused("\"src-nofollow\" is for bind mounts alone");
    }
    if mount.kind == MountKind::Remount && (mount.id_map.is_some() || mount.destination_itself) {
        return refused("a mount that is there already can be given neither id mappings nor another destination");
    }
    Ok(())
}

/// Files in procfs that programs such as lxcfs cover with their own view of the machine.
const MAY_COVER: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

fn check_destination(node: &Node<'_, '_>, mount: &Mount) -> Result<()> {
    let destination = mount.destination.as_str();
    let refused = |message: &str| Err(node.required("destination")?.error(message));
    if mount.kind == MountKind::Remount {
        return Ok(());
    }
    if destination == "/" {
        return refused("the root itself cannot be mounted over");
    }
    // What the runtime and the container's programs read and write in /proc must be procfs, not a
    // stand-in that the image or a volume brings (CVE-2019-16884).
    let Some(below) = destination.strip_prefix("/proc") else { return Ok(()) };
    let is_bind = matches!(mount.kind, MountKind::Bind { .. });
    match below.strip_prefix('/') {
        Some(file) if is_bind && MAY_COVER.contains(&file) => Ok(()),
        Some(_) => refused("nothing may be mounted in /proc but binds over the files that lxcfs provides"),
        None if !below.is_empty() => Ok(()),
        None if mount.kind == MountKind::Filesystem("proc".to_owned()) => Ok(()),
        None if is_bind && path::clean(&mount.source).as_deref() == Some("/proc") => Ok(()),
        None => refused("only a mount of type proc, or a bind of the host's /proc, may cover /proc"),
    }
}
