//! Where a step came from.

use std::fmt;

use crate::config::escape;

/// A JSON pointer into `config.json`, small enough to keep one for each step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    setting: &'static str,
    part: Part,
}

/// What of the setting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Item(u32),
    /// An option of a mount.
    Option(u32, u32),
    /// A member of an object, the number of its name in [`Program::members`](super::Program::members).
    Member(u32),
}

impl Pointer {
    /// For what no setting asked for.
    pub const NO_SETTING: Pointer = Pointer::to("");
    /// `linux.uidMappings`, the source of [`IdMaps::uid`](super::IdMaps::uid).
    pub const UID_MAPPINGS: Pointer = Pointer::to("/linux/uidMappings");
    /// `linux.gidMappings`, the source of [`IdMaps::gid`](super::IdMaps::gid).
    pub const GID_MAPPINGS: Pointer = Pointer::to("/linux/gidMappings");
    /// `linux.cgroupsPath`, the source of [`Program::cgroup`](super::Program::cgroup).
    pub const CGROUPS_PATH: Pointer = Pointer::to("/linux/cgroupsPath");
    /// `linux.resources.devices`, the source of [`Program::device_rules`](super::Program::device_rules).
    pub const DEVICE_RULES: Pointer = Pointer::to("/linux/resources/devices");
    /// `linux.namespaces`, the source of [`Program::clone_flags`](super::Program::clone_flags).
    pub const NAMESPACES: Pointer = Pointer::to("/linux/namespaces");
    /// `process.oomScoreAdj`, the source of [`Program::oom_score_adj`](super::Program::oom_score_adj).
    pub const OOM_SCORE_ADJ: Pointer = Pointer::to("/process/oomScoreAdj");
    /// `process.rlimits`, the source of [`Program::rlimits`](super::Program::rlimits).
    pub const RLIMITS: Pointer = Pointer::to("/process/rlimits");

    /// `process.scheduler`.
    pub(crate) const SCHEDULER: Pointer = Pointer::to("/process/scheduler");
    /// `process.ioPriority`.
    pub(crate) const IO_PRIORITY: Pointer = Pointer::to("/process/ioPriority");
    /// An entry of `linux.namespaces` that has a path.
    pub(crate) const fn namespace(index: u32) -> Pointer {
        Pointer { setting: "/linux/namespaces", part: Part::Item(index) }
    }

    pub(crate) const fn to(setting: &'static str) -> Pointer {
        Pointer { setting, part: Part::All }
    }

    pub(crate) const fn item(setting: &'static str, item: u32) -> Pointer {
        Pointer { setting, part: Part::Item(item) }
    }

    pub(crate) const fn option(mount: u32, option: u32) -> Pointer {
        Pointer { setting: "/mounts", part: Part::Option(mount, option) }
    }

    pub(super) const fn member(setting: &'static str, number: u32) -> Pointer {
        Pointer { setting, part: Part::Member(number) }
    }

    /// The whole of it, with a member's name.
    pub(super) fn with_name(self, names: &[String]) -> String {
        let named = if let Part::Member(number) = self.part { names.get(number as usize) } else { None };
        named.map_or_else(|| self.to_string(), |name| format!("{}/{}", self.setting, escape(name)))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.setting)?;
        match self.part {
            Part::All | Part::Member(_) => Ok(()),
            Part::Item(item) => write!(out, "/{item}"),
            Part::Option(mount, option) => write!(out, "/{mount}/options/{option}"),
        }
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}
