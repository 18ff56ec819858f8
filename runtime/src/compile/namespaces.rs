//! The namespaces that a container is made in: those that are new, and those that are there.

use no_frills_cgroups::resources::Write;
use no_frills_plan::{Step, join};

use super::{Builder, Pointer, SourceKind};
use crate::config::{Config, NAMESPACES, is_mapped, namespace};

/// A process cannot move into another pid namespace, and whether it may make the others is decided by its
/// user namespace. Where namespaces are joined before, they are made by [`Step::Fork`].
const BORN_INTO: u64 = namespace::USER | namespace::PID;

/// What else is made by clone3(2) where memory is limited: the kernel charges namespaces to the memory cgroup of who makes them, which
/// is the parent's then, and they take some 94 KiB, most of it the network namespace.
const CHARGED: u64 = namespace::NETWORK | namespace::MOUNT | namespace::IPC | namespace::UTS;

/// The namespaces that clone3 makes. Those that belong to a user namespace are not among them: while that has no mappings, nobody
/// in it could own what comes with them.
pub(super) fn clone_flags(config: &Config, limits: &[Write]) -> u64 {
    if forks(config) {
        return 0;
    }
    let limits_memory = limits.iter().any(|limit| limit.controller() == Some("memory"));
    let has_users = config.linux.own() & namespace::USER != 0;
    config.linux.namespaces & if limits_memory && !has_users { BORN_INTO | CHARGED } else { BORN_INTO }
}

/// Whether the container's process cannot be the one that clone3 makes: it has to be born into a pid namespace that is
/// joined, or into a new one of a user namespace that is joined; and from within a new user namespace others could not be joined.
pub(super) fn forks(config: &Config) -> bool {
    let linux = &config.linux;
    let user = linux.own() & namespace::USER != 0;
    !linux.joined.is_empty() && (linux.joins(namespace::PID) || user && linux.namespaces & BORN_INTO != 0)
}

impl Builder<'_> {
    /// The beginning, in an init that was born into these namespaces.
    pub(super) fn begin(&mut self, born_into: u64) {
        let linux = &self.config.linux;
        if linux.namespaces & namespace::PID == 0 || forks(self.config) {
            self.push(Pointer::NAMESPACES, &Step::SetUndumpable {});
        }
        // What is made has the modes that are asked for.
        self.push(Pointer::NO_SETTING, &Step::SetUmask { mask: 0 });
        self.join_namespaces();
        if forks(self.config) {
            let flags = (linux.namespaces & BORN_INTO) as u32;
            self.push(Pointer::NAMESPACES, &Step::Fork { flags, last: 0 });
        }
        // Without a root of its own the namespace has nobody to become.
        let has_root = is_mapped(&linux.uid_mappings, 0) && is_mapped(&linux.gid_mappings, 0);
        if self.has(namespace::USER) && has_root || linux.joins(namespace::USER) {
            self.push(Pointer::UID_MAPPINGS, &Step::BecomeRoot {});
        }
        // What is made with a namespace, as the queues of the ipc namespace, belongs to who makes it; and while the kernel
        // works at the network namespace, the longest part of a start, the parent goes on.
        let unshared = linux.namespaces & !BORN_INTO & !born_into;
        if unshared != 0 {
            self.push(Pointer::NAMESPACES, &Step::Unshare { flags: unshared as u32 });
        }
        if self.has(namespace::NETWORK) {
            self.send_network(join::MUST);
        }
        self.set_clocks();
    }

    /// Joins what the configuration names by path. The caller, who may be root, tries what it can before it joins the user
    /// namespace, since it loses its rights over the others with that; the rest, which may belong to it, comes after.
    pub(super) fn join_namespaces(&mut self) {
        let linux = &self.config.linux;
        let in_order = |kind| linux.joined.iter().find(move |joined| joined.kind == kind);
        let mut sources = Vec::with_capacity(linux.joined.len());
        for joined in NAMESPACES.iter().filter_map(|(kind, _)| in_order(*kind)) {
            let at = Pointer::namespace(joined.index);
            let kind = SourceKind::Namespace { path: joined.path.as_str().into(), kind: joined.kind };
            sources.push((at, self.source(at, kind), joined.kind));
        }
        let joins_user = linux.joins(namespace::USER);
        for (at, source, kind) in &sources {
            let mode = if joins_user && *kind != namespace::USER { join::MAY } else { join::MUST };
            self.push(*at, &Step::JoinNamespaces { source: *source, kinds: *kind as u32, mode });
            if *kind == namespace::NETWORK {
                self.send_network(mode);
            }
        }
        let others = sources.iter().filter(|(_, _, kind)| joins_user && *kind != namespace::USER);
        for (at, source, kind) in others {
            let step = Step::JoinNamespaces { source: *source, kinds: *kind as u32, mode: join::IF_REFUSED };
            self.push(*at, &step);
            if *kind == namespace::NETWORK {
                self.send_network(join::IF_REFUSED);
            }
        }
    }

    /// Lets the parent into the network namespace, as soon as init is in it: later it may have no rights over it.
    pub(super) fn send_network(&mut self, mode: u8) {
        if !self.config.linux.net_devices.is_empty() {
            self.push(Pointer::to("/linux/netDevices"), &Step::SendNetwork { mode });
        }
    }

    /// Sets the clocks of a new time namespace, before anybody is in it, and enters it.
    pub(super) fn set_clocks(&mut self) {
        if !self.has(namespace::TIME) {
            return;
        }
        let offsets = &self.config.linux.time_offsets;
        let lines = offsets.iter().map(|offset| format!("{} {} {}\n", offset.clock, offset.secs, offset.nanosecs));
        let lines: String = lines.collect();
        if !lines.is_empty() {
            self.write_proc(Pointer::to("/linux/timeOffsets"), "self/timens_offsets", &lines);
        }
        self.use_procfs(Pointer::NAMESPACES);
        self.push(Pointer::NAMESPACES, &Step::EnterTimeNamespace {});
    }
}
