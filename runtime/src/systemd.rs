//! A container's cgroup as systemd makes it.
//!
//! systemd makes a scope around a process that is there. So that the container's own is born into its cgroup as ever, an
//! idle init ([`Idle`]) is that process, until the container's is ready ([`Making::start`]).

use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;
use no_frills_cgroups::resources::Write;
use no_frills_cgroups::systemd::{Manager, PERIOD, Property, Scope, properties};
use no_frills_cgroups::{Cgroup, CgroupsPath, Hierarchy};
use no_frills_sys::spawn::Failure;

use crate::compile::Pointer;
use crate::config::{Config, ConfigError, RESOURCES, escape};
use crate::error::{Error, Result};
use crate::init::{Idle, write_proc};
use crate::members::is_limited;
use crate::state::Unit;

/// The annotation that names a cgroup to be made within the scope, for the container; crun's.
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// A scope in the making.
pub(crate) struct Making {
    scope: Scope,
    user: bool,
    annotated: Vec<Property>,
    subgroup: Option<String>,
    hierarchy: Hierarchy,
    manager: Manager,
    /// Who is in it until the container's process is ready.
    placeholder: Option<Idle>,
    /// Whether there is something to be stopped.
    begun: bool,
}

impl Making {
    /// What a configuration asks for; `None`: it is to have a cgroup that the runtime makes.
    pub(crate) fn prepare(config: &Config, id: &str, path: Option<&CgroupsPath>) -> Result<Option<Making>> {
        let Some(CgroupsPath::Systemd { slice, prefix, name }) = path else { return Ok(None) };
        let user = is_limited()?;
        let scope = Scope::new(slice, prefix, name, id, user).map_err(Error::cgroup)?;
        let mut annotated = Vec::new();
        let mut subgroup = None;
        for (name, value) in config.annotations() {
            let pointer = || format!("/annotations/{}", escape(name));
            if let Some(property) = Property::from_annotation(name, value) {
                annotated.push(property.map_err(|why| ConfigError::new(pointer(), why))?);
            } else if name == SUBGROUP && !value.is_empty() {
                if value.contains('/') || value == "." || value == ".." {
                    return Err(ConfigError::new(pointer(), "expected the name of one cgroup, without a slash").into());
                }
                subgroup = Some(value.clone());
            }
        }
        let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
        let mut manager = Manager::connect(user).map_err(Error::cgroup)?;
        // Before the record, or whoever clears up after it would stop what is not ours.
        manager.claim(&scope.unit).map_err(Error::cgroup)?;
        Ok(Some(Making { scope, user, annotated, subgroup, hierarchy, manager, placeholder: None, begun: false }))
    }

    /// For the record.
    pub(crate) fn unit(&self) -> Unit {
        Unit { name: self.scope.unit.clone(), user: self.user }
    }

    /// Has the scope started, with limits, and returns the container's cgroup.
    pub(crate) fn start(&mut self, init: BorrowedFd<'_>, id: &str, limits: &[Write]) -> Result<Cgroup> {
        let idle = Idle::start(init, 0, |Failure { call, errno }| {
            Error::system(format!("starting a process for {}: {call}", self.scope.unit))(errno)
        })?;
        let pid = idle.pid();
        self.placeholder = Some(idle);
        if limits.iter().any(|limit| limit.controller() == Some("memory")) {
            // Not in the place of the container's, or with it (memory.oom.group). Who may not say so has it killed, too.
            match write_proc(pid, "oom_score_adj", b"-1000", Pointer::NO_SETTING) {
                Err(Error::System { errno: Errno::EACCES | Errno::EPERM, .. }) => {}
                written => written?,
            }
        }
        let mut asked = properties(limits, PERIOD);
        asked.extend_from_slice(&self.annotated);
        let description = format!("no-frills container {id}");
        self.manager.start(&self.scope, &description, pid, &asked, &mut self.begun).map_err(Error::cgroup)?;
        let cgroup = Cgroup::of_process(&self.hierarchy, pid).map_err(Error::cgroup)?;
        if cgroup.path().file_name() != Some(self.scope.unit.as_ref()) {
            return Err(Error::Option(format!(
                "systemd has put the process for {} elsewhere: {}",
                self.scope.unit,
                cgroup.path().display()
            )));
        }
        let Some(name) = &self.subgroup else { return Ok(cgroup) };
        let relative = cgroup.relative().join(name);
        let mut cgroup = Cgroup::recorded(&self.hierarchy, Path::new(&relative), 0).map_err(Error::cgroup)?;
        // Controllers cannot be handed on by a cgroup with a process of its own.
        cgroup.create(|_| Ok::<(), Error>(()))?.place(pid).map_err(Error::cgroup)?;
        Ok(cgroup)
    }

    /// Has the container's process moved there, where it cannot be born.
    pub(crate) fn attach(&mut self, pid: i32) -> Result<()> {
        self.manager.attach(&self.scope.unit, self.subgroup.as_deref(), pid).map_err(Error::cgroup)
    }

    /// Changes limits.
    pub(crate) fn set(&mut self, limits: &[Write]) -> Result<()> {
        self.manager.set(&self.scope.unit, &properties(limits, PERIOD)).map_err(Error::limit(RESOURCES))
    }

    /// The container's process is there, and ready.
    pub(crate) fn end_placeholder(&mut self) -> Result<()> {
        self.placeholder.take().map_or(Ok(()), |idle| idle.end())
    }

    /// Takes it back.
    pub(crate) fn stop(&self) -> Result<()> {
        // Over a connection of its own: the time of this one may be over.
        if self.begun { stop(&self.unit()) } else { Ok(()) }
    }
}

/// Changes the limits of a container that is there; `period` as in [`properties`].
pub(crate) fn set(unit: &Unit, limits: &[Write], period: Option<u64>) -> Result<()> {
    let asked = properties(limits, period.unwrap_or(PERIOD));
    if asked.is_empty() {
        return Ok(());
    }
    let set = Manager::connect(unit.user).and_then(|mut manager| manager.set(&unit.name, &asked));
    set.map_err(Error::cgroup)
}

/// Sees to it that nothing is left of a unit.
pub(crate) fn stop(unit: &Unit) -> Result<()> {
    Manager::connect(unit.user).and_then(|mut manager| manager.stop(&unit.name)).map_err(Error::cgroup)
}
