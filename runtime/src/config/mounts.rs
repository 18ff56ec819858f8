//! The setting `mounts`: destinations, types and the many options.

use super::reader::{Node, Result};
use super::unsupported::{self, refuse};
use super::{NOT_YET, path};

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
    Remount,
    /// A flag of the whole file system, which mounts of it cannot change.
    Filesystem,
    /// As it is without.
    Nothing,
    /// Has no effect on any kernel that this runtime runs on.
    Vain(&'static str),
    Refused,
}

use Effect::{
    Atime, AtimeAll, Bind, Clear, ClearAll, Filesystem, Nothing, Propagate, Refused, Remount, Set, SetAll, Vain,
};

/// Options that are not the file system's own business, sorted by name.
#[rustfmt::skip]
static OPTIONS: &[(&str, Effect)] = &[
    ("async", Nothing),
    ("atime", Atime(attr::RELATIME)),
    ("bind", Bind(false)),
    ("defaults", Nothing),
    ("dev", Clear(attr::NODEV)),
    ("diratime", Clear(attr::NODIRATIME)),
    ("dirsync", Filesystem),
    ("exec", Clear(attr::NOEXEC)),
    ("idmap", Refused),
    ("lazytime", Filesystem),
    ("loud", Nothing),
    ("mand", Vain("Linux has no mandatory locks since 5.15")),
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
    ("ratime", AtimeAll(attr::RELATIME)),
    ("rbind", Bind(true)),
    ("rdev", ClearAll(attr::NODEV)),
    ("rdiratime", ClearAll(attr::NODIRATIME)),
    ("relatime", Atime(attr::RELATIME)),
    ("remount", Remount),
    ("rexec", ClearAll(attr::NOEXEC)),
    ("ridmap", Refused),
    ("rnoatime", AtimeAll(attr::NOATIME)),
    ("rnodev", SetAll(attr::NODEV)),
    ("rnodiratime", SetAll(attr::NODIRATIME)),
    ("rnoexec", SetAll(attr::NOEXEC)),
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
    ("runbindable", Propagate(propagation::UNBINDABLE, true)),
    ("rw", Clear(attr::RDONLY)),
    ("shared", Propagate(propagation::SHARED, false)),
    ("silent", Vain("what the kernel logs cannot be changed by fsopen(2)")),
    ("slave", Propagate(propagation::SLAVE, false)),
    ("strictatime", Atime(attr::STRICTATIME)),
    ("suid", Clear(attr::NOSUID)),
    ("symfollow", Clear(attr::NOSYMFOLLOW)),
    ("sync", Filesystem),
    ("tmpcopyup", Refused),
    ("unbindable", Propagate(propagation::UNBINDABLE, false)),
];

/// The names of the options that the runtime itself understands, sorted.
pub fn mount_options() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().filter(|(_, effect)| !matches!(effect, Refused)).map(|(name, _)| *name)
}

/// fsconfig(2) copies at most this much of a value.
const PARAMETER_MAX: usize = 255;

pub(super) fn read(document: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Vec<Mount>> {
    document.each("mounts", |node| {
        refuse(node, unsupported::MOUNT, NOT_YET)?;
        let mut mount = Mount {
            index: node.index(),
            destination: read_destination(node, warnings)?,
            kind: MountKind::Filesystem(String::new()),
            source: node.text_of("source")?.to_owned(),
            attributes: Attributes::default(),
            recursive_attributes: Attributes::default(),
            propagation: Vec::new(),
            parameters: Vec::new(),
        };
        let fstype = node.text_of("type")?;
        if fstype == "bind" {
            mount.kind = MountKind::Bind { recursive: false };
        }
        if let Some(options) = node.member("options")? {
            for option in options.items()? {
                read_option(&mut mount, &option, warnings)?;
            }
        }
        check_kind(node, &mut mount, fstype)?;
        check_parameters(node, &mount, warnings)?;
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
        Some(Refused) => return Err(node.error(format!("{option:?} is {NOT_YET}"))),
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

fn check_parameters(node: &Node<'_, '_>, mount: &Mount, warnings: &mut Vec<String>) -> Result<()> {
    for parameter in &mount.parameters {
        let error = |message: String| {
            let mut error = node.error(message);
            error.pointer.push_str(&format!("/options/{}", parameter.option));
            error
        };
        let Parameter { key, value, .. } = parameter;
        let length = key.len().max(value.as_deref().map_or(0, str::len));
        if length > PARAMETER_MAX {
            return Err(error(format!("{length} bytes, but fsconfig(2) takes at most {PARAMETER_MAX}")));
        }
        match mount.kind {
            MountKind::Filesystem(_) if key.is_empty() => return Err(error("an option without a name".to_owned())),
            MountKind::Filesystem(_) => {}
            _ if value.is_none() && matches!(key.as_str(), "dirsync" | "lazytime" | "sync") => {
                warnings.push(error(format!("{key:?} is ignored: a bind mount cannot change it")).to_string());
            }
            MountKind::Bind { .. } => return Err(error(format!("{key:?} is not an option of bind mounts"))),
            MountKind::Remount => {
                return Err(error(format!("changing {key:?} of a mounted file system is {NOT_YET}")));
            }
        }
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
