//! Where a step came from.

use std::fmt;

const NONE: u32 = u32::MAX;

/// A JSON pointer into `config.json`, small enough to keep one for each step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    setting: &'static str,
    item: u32,
    option: u32,
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
        Pointer { setting: "/linux/namespaces", item: index, option: NONE }
    }

    pub(crate) const fn to(setting: &'static str) -> Pointer {
        Pointer { setting, item: NONE, option: NONE }
    }

    pub(crate) const fn item(setting: &'static str, item: u32) -> Pointer {
        Pointer { setting, item, option: NONE }
    }

    pub(crate) const fn option(mount: u32, option: u32) -> Pointer {
        Pointer { setting: "/mounts", item: mount, option }
    }

    /// Whether no setting asked for it.
    pub fn is_none(self) -> bool {
        self.setting.is_empty()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.setting)?;
        if self.item != NONE {
            write!(out, "/{}", self.item)?;
        }
        if self.option != NONE {
            write!(out, "/options/{}", self.option)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}
