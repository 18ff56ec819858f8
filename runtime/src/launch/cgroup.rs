//! The container's cgroup: made, limited, and left to the container.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use no_frills_cgroups::resources::Target;
use no_frills_cgroups::{Cgroup, Dir, Hierarchy};
use no_frills_plan::Kind;
use no_frills_sys::spawn::Failure;

use super::Launch;
use crate::compile::{Pointer, Program, SourceKind};
use crate::config::{ConfigError, RESOURCES};
use crate::container::OwnCgroup;
use crate::error::{Error, Result};
use crate::members::is_limited;
use crate::rootless;
use crate::systemd::Making;

impl Launch<'_> {
    /// `None`: the container goes without one.
    pub(super) fn make_cgroup(&mut self, cgroup: Cgroup) -> Result<Option<Dir>> {
        let mut cgroup = cgroup;
        let Launch { journal, record, .. } = self;
        let made = cgroup.create(|cgroup| -> Result<()> {
            record.cgroup_parents = cgroup.parents();
            journal.write(record)
        });
        match made {
            Ok(dir) => {
                self.cgroup = Some(cgroup);
                self.set_limits(&dir)?;
                Ok(Some(dir))
            }
            Err(error) => match refusal(&error) {
                Some(_) if self.may_go_without()? => {
                    self.do_without_cgroup(&error)?;
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    /// Has systemd make the cgroup.
    pub(super) fn make_scope(&mut self, scope: Making, init: BorrowedFd<'_>) -> Result<Dir> {
        let limits = self.program.resources.writes(Target::Used).map_err(Error::limit(RESOURCES))?;
        let now: Vec<_> = limits.into_iter().filter(|limit| !limit.limits_births()).collect();
        let cgroup = self.scope.insert(scope).start(init, self.directory.id(), &now)?;
        self.record.cgroup = cgroup.relative().to_owned();
        let dir = cgroup.open()?;
        self.cgroup = Some(cgroup);
        self.journal.write(&self.record)?;
        self.directory.link_cgroup(&self.record.cgroup)?;
        self.set_limits(&dir)?;
        Ok(dir)
    }

    /// Writes the limits, so that nothing of the container is ever without them.
    fn set_limits(&mut self, dir: &Dir) -> Result<()> {
        let (Program { resources, limits, .. }, Some(cgroup)) = (self.program, &self.cgroup) else { return Ok(()) };
        let used =
            if dir.existed() { Some(resources.writes(Target::Used).map_err(Error::limit(RESOURCES))?) } else { None };
        let limits = used.as_ref().unwrap_or(limits);
        if limits.is_empty() {
            return Ok(());
        }
        cgroup.enable_controllers(limits).map_err(Error::limit(RESOURCES))?;
        // Init would not be born into a cgroup that may have no process.
        let (later, now): (Vec<_>, Vec<_>) = limits.iter().partition(|limit| limit.limits_births());
        self.later_limits = later.into_iter().cloned().collect();
        dir.apply(now).map_err(Error::limit(RESOURCES))
    }

    /// Lets the container manage its cgroup, if it is to.
    pub(super) fn give_cgroup(&self, dir: &Dir) -> Result<()> {
        let Some(owner) = self.program.cgroup_owner else { return Ok(()) };
        // Of what is made here the owner is known.
        if owner == nix::unistd::geteuid().as_raw() && !dir.existed() {
            return Ok(());
        }
        match dir.give_to(owner) {
            // Who may not give it away keeps it.
            Err(error) if error.errno() == Some(Errno::EPERM) && is_limited()? => Ok(()),
            result => result.map_err(Error::cgroup),
        }
    }

    /// Leaves the scope to the container. Until init is ready the placeholder stays: systemd takes a scope away as soon as nobody is in
    /// it, and with it what tells that init was killed for lack of memory. Limits that count the placeholder wait for its end.
    pub(super) fn release_scope(&mut self, dir: Option<&Dir>) -> Result<()> {
        let Some(scope) = &mut self.scope else { return Ok(()) };
        self.init.follow(Kind::Ready)?;
        scope.end_placeholder()?;
        scope.set(&self.later_limits)?;
        dir.map_or(Ok(()), |dir| dir.apply(&self.later_limits).map_err(Error::limit(RESOURCES)))
    }

    /// Whether it was the limit of memory that kept the container from starting.
    pub(super) fn was_short_of_memory(&self) -> bool {
        let limited = self.program.limits.iter().any(|limit| limit.controller() == Some("memory"));
        // The error that is told otherwise is the better one if this cannot be found out.
        let ran_out = || self.cgroup.as_ref().filter(|_| limited)?.open().ok()?.ran_out_of_memory().ok();
        ran_out().unwrap_or(false)
    }

    /// Whether it is no error that the host lets the caller have no cgroup.
    pub(super) fn may_go_without(&self) -> Result<bool> {
        match self.own_cgroup {
            OwnCgroup::Auto => is_limited(),
            OwnCgroup::Required => Ok(false),
            OwnCgroup::IfPermitted | OwnCgroup::None => Ok(true),
        }
    }

    /// Where the host lets the caller have no cgroup, the container's processes stay in the caller's, as with peers.
    pub(super) fn do_without_cgroup(&mut self, error: &Error) -> Result<()> {
        let told = error.to_string();
        let why = told.strip_prefix("/linux/cgroupsPath: ").unwrap_or(&told);
        refuse_limits(self.program, why)?;
        if self.asks_for_cgroup {
            self.init.warnings.push(format!("{}: done without: {why}", Pointer::CGROUPS_PATH));
        }
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove(Some(Duration::ZERO))?;
        }
        self.directory.unlink_cgroup()?;
        self.record.cgroup = PathBuf::new();
        self.record.cgroup_parents = 0;
        self.journal.write(&self.record)
    }

    /// Why init could not be started.
    pub(super) fn explain_spawn(&self, failure: Failure) -> Error {
        let remedy = match failure {
            Failure { call: "clone3", errno: Errno::ENOSPC } => Some(rootless::no_user_namespace(Errno::ENOSPC)),
            Failure { call: "clone3", errno: Errno::EPERM } if self.program.caller.is_some() => {
                Some(rootless::no_user_namespace(Errno::EPERM))
            }
            // With a cgroup it is that which may not be entered.
            Failure { call: "clone3", errno: Errno::EACCES }
                if self.program.caller.is_some() && self.cgroup.is_none() =>
            {
                Some(rootless::no_user_namespace(Errno::EACCES))
            }
            _ => None,
        };
        explain_spawn(self.cgroup.as_ref(), failure).with_remedy(remedy)
    }

    pub(super) fn set_devices(&self, dir: Option<&Dir>) -> Result<()> {
        let Some(program) = &self.program.device_program else { return Ok(()) };
        let Some(dir) = dir else { return Ok(()) };
        match dir.set_devices(program) {
            // From a user namespace no device can be made, and the host's decide for themselves.
            Err(error) if error.errno() == Some(Errno::EPERM) && is_limited()? => Ok(()),
            result => result.map_err(|source| Error::Cgroup { pointer: "/linux/resources/devices".into(), source }),
        }
    }
}

/// Why there is no cgroup when nobody wants one.
pub(super) const UNWANTED: &str = "it is not to have one (--cgroup-manager disabled)";

/// Without a cgroup there are no limits, which nobody would notice if it was not told.
pub(crate) fn refuse_limits(program: &Program, why: &str) -> Result<()> {
    let Some(limit) = program.limits.first() else { return Ok(()) };
    let remedy = match program.cgroup {
        Some(_) => {
            "name one in linux.cgroupsPath that is delegated to this user (--systemd-cgroup, or below that of \
             `systemd-run --user --scope -p Delegate=yes`), or ask"
        }
        None => "ask",
    };
    let message = format!("the container gets no cgroup, so that it cannot be limited: {why}; {remedy} for no limits");
    Err(Error::Config(ConfigError::new(format_args!("{RESOURCES}{}", limit.setting), message)))
}

/// The cgroup that a container without one is in, for a mount that is to show the container's own.
pub(super) fn callers_cgroup(program: &Program) -> Result<Option<Dir>> {
    if !program.sources.iter().any(|source| matches!(source.kind, SourceKind::Cgroup)) {
        return Ok(None);
    }
    let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
    Ok(Some(Cgroup::of_process(&hierarchy, std::process::id() as i32)?.open()?))
}

/// What stands in the way of who has no rights on the host.
fn refusal(error: &Error) -> Option<Errno> {
    let Error::Cgroup { source, .. } = error else { return None };
    source.errno().filter(|errno| matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

/// Why init could not be started in a cgroup.
pub(crate) fn explain_spawn(cgroup: Option<&Cgroup>, Failure { call, errno }: Failure) -> Error {
    match (cgroup, errno) {
        // What the rules of cgroup v2 answer; what the namespaces answer is another errno.
        (Some(cgroup), Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP | Errno::EAGAIN) if call == "clone3" => {
            Error::cgroup(cgroup.entering(errno))
        }
        _ => Error::System {
            pointer: if call == "clone3" { Pointer::NAMESPACES.to_string() } else { String::new() },
            action: format!("starting a process in new namespaces: {call}"),
            errno,
        },
    }
}
