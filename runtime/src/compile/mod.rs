//! From a [`Config`] to what is done for it: a [`Program`], with the parent's part as data and init's
//! part as steps. Pure, as reading the configuration is.
//!
//! The order of init's steps:
//!
//! ```text
//! user ids -> namespaces -> propagation -> rootfs -> names -> loopback -> mounts -> devices
//! -> working directory, terminal -> (hooks) -> pivot_root -> masks, read-only -> session, keyring, stdio, umask
//! -> privileges -> chdir -> find the program -> Ready -> resource limits -> seccomp filter -> execve
//! ```
//!
//! A process that is run in a container which is there (`compile_exec`) joins its namespaces and goes on from "session".
//!
//! Deliberately absent: anything that needs the host's state. Whether a path exists, what the kernel
//! supports or where cgroup2 is mounted is found out where it is used.

mod device_nodes;
mod filter;
mod hook;
#[cfg(test)]
mod mount_tests;
mod mounts;
mod pointer;
mod process;
#[cfg(test)]
mod tests;
mod unprivileged;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use no_frills_cgroups::devices::{self, Rule};
use no_frills_cgroups::resources::{Target, Write};
use no_frills_cgroups::{CgroupsPath, Resources};
use no_frills_plan::{KEPT_MAX, PlanBuilder, Step, Text, attach, join};

use crate::config::{
    Asked, Config, ConfigError, Hooks, IdMapping, IntelRdt, IoPriority, Moment, Mount, MountIdMap, NAMESPACES,
    NetDevice, Process, Propagation, RESOURCES, Scheduler, Seccomp, attr, is_mapped, misfit, namespace, propagation,
};
use crate::timings::of_init;
pub(crate) use filter::{Filtered, compile_profile};
pub(crate) use hook::compile_hook;
pub use pointer::Pointer;
pub use unprivileged::Caller;

/// What, beside the configuration, decides what is done.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions<'a> {
    /// The bundle's directory, absolute: relative paths count from it.
    pub bundle: &'a Path,
    /// The container's id.
    pub id: &'a str,
    /// Enter the rootfs without pivot_root(2), for hosts whose root is the initial ramfs.
    pub no_pivot: bool,
    /// Keep the session keyring of the caller.
    pub no_new_keyring: bool,
    /// How many descriptors, from 3 on, the process is told of as `LISTEN_FDS`.
    pub listen_fds: u32,
    /// The directory on the host, of the runtime's own, in which the socket is bound that the process is told of as
    /// `NOTIFY_SOCKET`.
    pub notify: Option<&'a Path>,
    /// The cgroup is made by systemd.
    pub systemd_cgroup: bool,
    /// The container stays in the caller's cgroup.
    pub no_cgroup: bool,
    /// Init tells when it is done with a phase.
    pub timings: bool,
}

impl<'a> CompileOptions<'a> {
    /// For a container of this id; nothing else is asked for.
    pub fn new(bundle: &'a Path, id: &'a str) -> CompileOptions<'a> {
        CompileOptions {
            bundle,
            id,
            no_pivot: false,
            no_new_keyring: false,
            listen_fds: 0,
            notify: None,
            systemd_cgroup: false,
            no_cgroup: false,
            timings: false,
        }
    }
}

/// A descriptor that the parent opens and sends to init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Of what.
    pub kind: SourceKind,
    /// The setting that asks for it.
    pub pointer: Pointer,
}

/// What a [`Source`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A tree of mounts, cloned from the host's and detached, for init to attach.
    Tree {
        /// Its path on the host, absolute.
        path: PathBuf,
        /// Whether the mounts below it come along.
        recursive: bool,
        /// Whether a symbolic link at the end of the path is the tree, instead of where it leads.
        itself: bool,
        /// Ids that are other ones in the container than in the file system.
        ids: Option<MappedIds>,
    },
    /// A user namespace with these mappings, for the new file system that is to have them.
    UserNamespace(Ids),
    /// The container's own cgroup, as a bind mount of its directory.
    Cgroup,
    /// A directory of the host.
    Directory {
        /// Its path, absolute.
        path: PathBuf,
    },
    /// A namespace to join.
    Namespace {
        /// Its path on the host.
        path: PathBuf,
        /// Its type, `CLONE_NEW*`: what the path leads to is held against it.
        kind: u64,
    },
    /// The container's first process, whose namespaces are joined.
    Container,
    /// A procfs that nobody else reaches.
    Procfs,
}

/// The ids of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedIds {
    /// What they are mapped by.
    pub ids: Ids,
    /// The mounts below too.
    pub recursive: bool,
}

/// Where id mappings of a mount come from. The kernel takes them from a user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// From one that the parent makes for it.
    Maps(IdMaps),
    /// From the one that the container joins.
    Namespace(PathBuf),
}

/// Descriptors go to init in batches of at most this many: few enough for a caller that may have no more than 64, and for
/// one message, which holds 253 (unix(7), `SCM_MAX_FD`).
pub const SOURCE_BATCH: usize = 32;

/// A process cannot move into another pid namespace, and whether it may make the others is decided by its
/// user namespace. Where namespaces are joined before, they are made by [`Step::Fork`].
const BORN_INTO: u64 = namespace::USER | namespace::PID;

/// What else is made by clone3(2) where memory is limited: the kernel charges namespaces to the memory cgroup of who makes them, which
/// is the parent's then, and they take some 94 KiB, most of it the network namespace.
const CHARGED: u64 = namespace::NETWORK | namespace::MOUNT | namespace::IPC | namespace::UTS;

/// The namespaces that an exec joins even if the container does not have its own.
const INHERITABLE: u64 = namespace::CGROUP | namespace::IPC | namespace::UTS | namespace::NETWORK | namespace::MOUNT;

/// Whether, and when, another process goes on in init's place ([`Step::Fork`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forks {
    /// Init is the container's process from the beginning.
    No,
    /// When the namespaces are joined.
    First,
    /// When nothing is left but to become the program: nothing with more rights than that is ever seen in the container.
    Last,
}

/// What the parent writes for a new user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// For `/proc/PID/uid_map`.
    pub uid: String,
    /// For `/proc/PID/gid_map`.
    pub gid: String,
}

/// Everything that is done to make one container.
#[derive(Clone, Debug)]
pub struct Program {
    /// `CLONE_NEW*` for clone3(2): the namespaces that init must be born into. The others it makes for itself.
    pub clone_flags: u64,
    /// Whether another process goes on in init's place: [`Step::Fork`].
    pub forks: Forks,
    /// Whether init waits for the parent before it enters the root: [`Step::Sync`].
    pub syncs: bool,
    /// Present with a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// What the parent clones and sends, in batches of [`SOURCE_BATCH`]: steps number the sources
    /// within their batch. The first tree of all is the rootfs.
    pub sources: Vec<Source>,
    /// Init's part.
    pub steps: PlanBuilder,
    /// The setting that each step came from.
    pub pointers: Vec<Pointer>,
    /// The number of [`Step::Ready`]. What follows it is done at the start, and depends on the configuration alone.
    pub(crate) ready: u32,
    /// Where the container's cgroup lies; `None`: it is there.
    pub cgroup: Option<CgroupsPath>,
    /// Whom on the host the container's cgroup is given to; `None`: it stays the caller's.
    pub(crate) cgroup_owner: Option<u32>,
    /// The limits of `resources`.
    pub resources: Resources,
    /// What is written for them to the files of a new cgroup, in this order.
    pub limits: Vec<Write>,
    /// The rules of `resources.devices`.
    pub device_rules: Vec<Rule>,
    /// What decides over accesses to devices: those rules, and after them what every container may do. `None`: it is in place.
    pub device_program: Option<devices::Program>,
    /// Whether init opens block devices, to mount what is on them. The program, which may deny them to the container, waits
    /// for that.
    pub mounts_devices: bool,
    /// Whether the configuration has rules. If not, a caller that may not load a BPF program can do
    /// without one.
    pub device_rules_asked: bool,
    /// For `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Resource, soft and hard limit. The parent raises hard limits that init may not.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// What the parent sets when init is ready, as the privileges for it are those of the initial user namespace.
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) io_priority: Option<IoPriority>,
    /// Whether init makes a terminal and sends its master.
    pub terminal: bool,
    /// What is run at moments of the container's life.
    pub(crate) hooks: Hooks,
    /// What is moved into the container's network namespace, before init enters the root.
    pub(crate) net_devices: Vec<NetDevice>,
    /// The class of service of the container's processes.
    pub(crate) intel_rdt: Option<IntelRdt>,
    /// Whether there is a user namespace of the container's own.
    pub(crate) has_user_namespace: bool,
    /// The profile of the process's seccomp filter, which is compiled when init is at work.
    pub(crate) seccomp: Option<Arc<Seccomp>>,
    /// Who makes the container without rights on the host: [`Program::unprivileged`].
    pub(crate) caller: Option<Caller>,
}

impl Program {
    /// The rootfs on the host.
    pub fn rootfs(&self) -> &Path {
        let mut trees = self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Tree { path, .. } | SourceKind::Directory { path } => Some(path.as_path()),
            _ => None,
        });
        trees.next().unwrap_or(Path::new(""))
    }

    /// The setting that a step came from.
    pub fn pointer(&self, step: u32) -> Pointer {
        self.pointers.get(step as usize).copied().unwrap_or(Pointer::NO_SETTING)
    }
}

/// Compiles a configuration.
///
/// # Errors
/// When settings cannot be had together; the error names one of them.
pub fn compile(config: &Config, options: &CompileOptions<'_>) -> Result<Program, ConfigError> {
    let program = compile_but_filter(config, options)?;
    program.filter()?;
    Ok(program)
}

/// As [`compile`], but whether the seccomp profile can be compiled is left to [`Program::filter`].
pub(crate) fn compile_but_filter(config: &Config, options: &CompileOptions<'_>) -> Result<Program, ConfigError> {
    let Asked { limits: resources, device_rules } = config.linux.resources.clone();
    let limits = resources.writes(Target::New).map_err(|error| misfit(RESOURCES, &error))?;
    let clone_flags = clone_flags(config, &limits);
    let mut steps = Builder::new(config, options);
    steps.begin(clone_flags);
    steps.time(of_init::NAMESPACES);
    steps.attach_root();
    steps.set_names();
    steps.time(of_init::ROOT);
    mounts::mount_all(&mut steps)?;
    mounts::mount_notify(&mut steps)?;
    steps.time(of_init::MOUNTS);
    device_nodes::make_all(&mut steps);
    process::prepare(&mut steps);
    steps.time(of_init::DEVICES);
    steps.enter_root();
    steps.time(of_init::PIVOT);
    steps.set_sysctls();
    mounts::restrict(&mut steps);
    steps.time(of_init::MASKS);
    process::become_it(&mut steps, Forks::No);
    let device_rules_asked = device_rules.is_some();
    let device_rules = device_rules.unwrap_or_default();
    let device_program = devices::compile_container(&device_rules)
        .map_err(|error| ConfigError::new(Pointer::DEVICE_RULES, error.to_string()))?;
    Ok(Program {
        seccomp: filter::profile(&steps),
        clone_flags,
        forks: if forks(config) { Forks::First } else { Forks::No },
        syncs: syncs(config) || !config.linux.net_devices.is_empty(),
        id_maps: id_maps(config)?,
        sources: steps.sources,
        steps: steps.plan,
        pointers: steps.pointers,
        ready: steps.ready,
        cgroup: if options.no_cgroup { None } else { Some(cgroup(config, options)?) },
        cgroup_owner: cgroup_owner(config),
        resources,
        limits,
        device_rules,
        device_program: Some(device_program),
        mounts_devices: mounts::need_devices(config),
        device_rules_asked,
        oom_score_adj: config.process.oom_score_adj,
        rlimits: rlimits(&config.process),
        scheduler: config.process.scheduler,
        io_priority: config.process.io_priority,
        terminal: config.process.terminal,
        hooks: config.hooks.clone(),
        net_devices: config.linux.net_devices.clone(),
        intel_rdt: config.linux.intel_rdt.clone(),
        has_user_namespace: config.linux.own() & namespace::USER != 0,
        caller: None,
    })
}

/// Compiles a process to be run in a container that is there.
///
/// All is set up by a process that the container does not see; the one that is born into its pid namespace has nothing
/// left to do but to become the program (CVE-2016-9962).
pub(crate) fn compile_exec(config: &Config, process: &Process, options: &CompileOptions<'_>) -> Program {
    let mut steps = Builder::new(config, options);
    (steps.process, steps.is_exec) = (process, true);
    process::start_on_cpus(&mut steps);
    let own = config.linux.own();
    let forks = if own & namespace::PID != 0 { Forks::Last } else { Forks::No };
    steps.push(Pointer::NAMESPACES, &Step::SetUndumpable {});
    let source = steps.source(Pointer::NAMESPACES, SourceKind::Container);
    // One without namespaces of its own may be joined in none.
    if own != 0 {
        steps.push(Pointer::NAMESPACES, &Step::JoinNamespaces { source, kinds: own as u32, mode: join::MUST });
    }
    // Those that it shares with who made it are ours too, mostly; if not, and we may, they are joined.
    let inherited = INHERITABLE & !own;
    if inherited != 0 {
        let step = Step::JoinNamespaces { source, kinds: inherited as u32, mode: join::MAY };
        steps.push(Pointer::NAMESPACES, &step);
    }
    if !steps.has_mounts() {
        steps.attach_root();
        steps.enter_root();
    } else if process.cwd != "/" || own & namespace::MOUNT == 0 {
        // Joining a mount namespace leads to its root, which is where init begins to resolve paths.
        steps.push(Pointer::NO_SETTING, &Step::UseCurrentRoot {});
    }
    if own & namespace::USER != 0 {
        steps.push(Pointer::NAMESPACES, &Step::BecomeRoot {});
    }
    steps.time(of_init::NAMESPACES);
    process::prepare_exec(&mut steps);
    process::become_it(&mut steps, forks);
    Program {
        oom_score_adj: process.oom_score_adj,
        rlimits: rlimits(process),
        scheduler: process.scheduler,
        io_priority: process.io_priority,
        terminal: process.terminal,
        ..joining(steps, forks)
    }
}

/// The program of an init that joins a container.
fn joining(steps: Builder<'_>, forks: Forks) -> Program {
    Program {
        seccomp: filter::profile(&steps),
        clone_flags: 0,
        forks,
        syncs: false,
        id_maps: None,
        sources: steps.sources,
        steps: steps.plan,
        pointers: steps.pointers,
        ready: steps.ready,
        cgroup: None,
        cgroup_owner: None,
        resources: Resources::default(),
        limits: Vec::new(),
        device_rules: Vec::new(),
        device_program: None,
        mounts_devices: false,
        device_rules_asked: false,
        oom_score_adj: None,
        rlimits: Vec::new(),
        scheduler: None,
        io_priority: None,
        terminal: false,
        hooks: Hooks::default(),
        net_devices: Vec::new(),
        intel_rdt: None,
        has_user_namespace: false,
        caller: None,
    }
}

fn rlimits(process: &Process) -> Vec<(u32, u64, u64)> {
    process.rlimits.iter().map(|limit| (limit.resource, limit.soft, limit.hard)).collect()
}

/// Collects steps, where they came from, and the sources that they use.
struct Builder<'a> {
    config: &'a Config,
    /// The configuration's, or another to be run in its container.
    process: &'a Process,
    is_exec: bool,
    options: &'a CompileOptions<'a>,
    plan: PlanBuilder,
    pointers: Vec<Pointer>,
    sources: Vec<Source>,
    /// Whether init has the procfs.
    has_procfs: bool,
    /// The number of `Ready`.
    ready: u32,
    /// The places in `mounts` of what init has kept.
    kept: Vec<u32>,
    directory: OpenDirectory,
}

/// The directory that init has open for making devices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenDirectory {
    None,
    /// The root of the tmpfs that was mounted at `/dev`.
    FreshDev,
}

impl<'a> Builder<'a> {
    fn new(config: &'a Config, options: &'a CompileOptions<'a>) -> Builder<'a> {
        Builder {
            config,
            process: &config.process,
            is_exec: false,
            options,
            plan: PlanBuilder::new(),
            pointers: Vec::with_capacity(128),
            sources: Vec::with_capacity(8),
            has_procfs: false,
            ready: 0,
            kept: Vec::new(),
            directory: OpenDirectory::None,
        }
    }

    fn push(&mut self, pointer: Pointer, step: &Step<'_>) {
        self.plan.push(step);
        self.pointers.push(pointer);
    }

    /// Adds a tree of mounts and returns its number in its batch.
    fn tree(&mut self, pointer: Pointer, path: PathBuf, recursive: bool) -> u32 {
        self.source(pointer, SourceKind::Tree { path, recursive, itself: false, ids: None })
    }

    /// Adds a source and returns its number in its batch.
    fn source(&mut self, pointer: Pointer, kind: SourceKind) -> u32 {
        let number = self.sources.len();
        let in_batch = number % SOURCE_BATCH;
        if number > 0 && in_batch == 0 {
            self.push(pointer, &Step::ReceiveSources {});
        }
        self.sources.push(Source { kind, pointer });
        in_batch as u32
    }

    /// Has init write to a file of procfs, by its path there.
    /// Says that a phase is over, if somebody asked where the time goes.
    fn time(&mut self, phase: u8) {
        if self.options.timings {
            self.push(Pointer::NO_SETTING, &Step::Time { phase });
        }
    }

    fn write_proc(&mut self, pointer: Pointer, path: &str, content: &str) {
        self.use_procfs(pointer);
        self.push(pointer, &Step::WriteProc { path: text(path), content: text(content) });
    }

    fn use_procfs(&mut self, pointer: Pointer) {
        if !self.has_procfs {
            self.has_procfs = true;
            let source = self.source(pointer, SourceKind::Procfs);
            self.push(pointer, &Step::UseProcfs { source });
        }
    }

    /// Attaches the mount that was made; `flags` are bits of [`attach`]. Symbolic links of the image or
    /// of a volume must not lead into procfs; in a `/dev` made just before there is not even a look-up.
    fn attach(&mut self, pointer: Pointer, destination: &str, flags: u8) {
        let in_dev = destination.strip_prefix("/dev/").filter(|name| !name.contains('/'));
        let (path, place) = match in_dev {
            Some(name) if self.directory == OpenDirectory::FreshDev => (name, attach::IN_DIRECTORY),
            _ => (destination, place(destination)),
        };
        self.push(pointer, &Step::Attach { path: text(path), flags: flags | place });
    }

    /// Has init keep the mount that was attached.
    fn keep(&mut self, mount: u32) -> Result<(), ConfigError> {
        let pointer = Pointer::item("/mounts", mount);
        if self.kept.len() == KEPT_MAX {
            let message = format!("more than {KEPT_MAX} mounts that have to be changed when others are in place");
            return Err(ConfigError::new(pointer, message));
        }
        self.push(pointer, &Step::KeepMount {});
        self.kept.push(mount);
        Ok(())
    }

    /// The number under which init has kept a mount.
    fn kept(&self, mount: u32) -> Option<u8> {
        self.kept.iter().position(|kept| *kept == mount).map(|number| number as u8)
    }

    /// Whether a new namespace is made.
    fn has(&self, namespace: u64) -> bool {
        self.config.linux.namespaces & namespace != 0
    }

    /// Whether the container has mounts of its own.
    fn has_mounts(&self) -> bool {
        self.config.linux.own() & namespace::MOUNT != 0
    }

    /// The ids of a mount: its own, or those of the container's user namespace.
    fn mapped_ids(&self, mount: &Mount) -> Result<Option<MappedIds>, ConfigError> {
        let Some(MountIdMap { recursive, own }) = &mount.id_map else { return Ok(None) };
        let linux = &self.config.linux;
        let joined = linux.joined.iter().find(|joined| joined.kind == namespace::USER);
        let (uids, gids) = match (own, joined) {
            (Some((uids, gids)), _) => (uids, gids),
            (None, Some(joined)) => {
                return Ok(Some(MappedIds { ids: Ids::Namespace(joined.path.as_str().into()), recursive: *recursive }));
            }
            (None, None) => (&linux.uid_mappings, &linux.gid_mappings),
        };
        let at = Pointer::item("/mounts", mount.index);
        let ids = Ids::Maps(IdMaps { uid: id_map(uids, at)?, gid: id_map(gids, at)? });
        Ok(Some(MappedIds { ids, recursive: *recursive }))
    }

    /// What becomes of the host's mounts in the container where nothing else is asked for: they receive what is mounted on
    /// the host, or not even that.
    fn default_propagation(&self) -> u64 {
        match self.config.linux.root_propagation {
            Some(Propagation { kind: propagation::PRIVATE | propagation::UNBINDABLE, recursive: true }) => {
                propagation::PRIVATE
            }
            _ => propagation::SLAVE,
        }
    }

    /// Whether mounts that are asked to be shared are shared with the host.
    fn shares_with_host(&self) -> bool {
        let is_shared = |root: Propagation| root.kind == propagation::SHARED;
        self.config.linux.root_propagation.is_some_and(is_shared) && self.config.linux.own() & namespace::USER == 0
    }

    /// The beginning, in an init that was born into these namespaces.
    fn begin(&mut self, born_into: u64) {
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
    fn join_namespaces(&mut self) {
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
    fn send_network(&mut self, mode: u8) {
        if !self.config.linux.net_devices.is_empty() {
            self.push(Pointer::to("/linux/netDevices"), &Step::SendNetwork { mode });
        }
    }

    /// Sets the clocks of a new time namespace, before anybody is in it, and enters it.
    fn set_clocks(&mut self) {
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

    /// Sets kernel parameters; those of network devices too, which may have come by now.
    fn set_sysctls(&mut self) {
        let config = self.config;
        for sysctl in &config.linux.sysctls {
            // An empty write is none.
            let value = if sysctl.value.is_empty() { "\n" } else { sysctl.value.as_str() };
            self.write_proc(Pointer::to("/linux/sysctl"), &sysctl.path, value);
        }
    }

    fn attach_root(&mut self) {
        let pointer = Pointer::to("/root/path");
        if !self.has_mounts() {
            let path = self.options.bundle.join(&self.config.root.path);
            let source = self.source(pointer, SourceKind::Directory { path });
            self.push(pointer, &Step::UseRoot { source });
            return;
        }
        // Before anything is attached, or a shared root of the host would get it too.
        self.push(Pointer::NO_SETTING, &Step::SetPropagation { propagation: propagation::SLAVE });
        let path = self.options.bundle.join(&self.config.root.path);
        let source = self.tree(pointer, path, true);
        self.push(pointer, &Step::UseSource { source });
        let propagation = self.default_propagation();
        self.push(pointer, &Step::SetMountAttributes { set: 0, clear: 0, propagation, recursive: 1 });
        let path = self.options.bundle.join(&self.config.root.path);
        match path.to_str() {
            // In a root that is "/" itself it makes no difference.
            Some(path) if syncs(self.config) && path != "/" => {
                self.push(pointer, &Step::AttachRootAt { source, path: text(path) });
            }
            _ => self.push(pointer, &Step::AttachRoot { source }),
        }
    }

    fn set_names(&mut self) {
        let Config { hostname, domainname, .. } = self.config;
        if !hostname.is_empty() {
            self.push(Pointer::to("/hostname"), &Step::SetHostname { name: text(hostname) });
        }
        if !domainname.is_empty() {
            self.push(Pointer::to("/domainname"), &Step::SetDomainname { name: text(domainname) });
        }
        if self.has(namespace::NETWORK) {
            self.push(Pointer::NAMESPACES, &Step::LoopbackUp {});
        }
    }

    fn enter_root(&mut self) {
        // Who joins a container comes when all that its init waited for was done.
        if !self.is_exec {
            if syncs(self.config) {
                self.push(Pointer::to("/hooks"), &Step::Sync {});
                if self.has_mounts() {
                    self.push(Pointer::to("/root/path"), &Step::MoveRoot {});
                }
            } else if !self.config.linux.net_devices.is_empty() {
                self.push(Pointer::to("/linux/netDevices"), &Step::Sync {});
            }
        }
        let step = if self.options.no_pivot || !self.has_mounts() { Step::EnterRoot {} } else { Step::PivotRoot {} };
        self.push(Pointer::to("/root/path"), &step);
    }
}

/// The namespaces that clone3 makes. Those that belong to a user namespace are not among them: while that has no mappings, nobody
/// in it could own what comes with them.
fn clone_flags(config: &Config, limits: &[Write]) -> u64 {
    if forks(config) {
        return 0;
    }
    let limits_memory = limits.iter().any(|limit| limit.controller() == Some("memory"));
    let has_users = config.linux.own() & namespace::USER != 0;
    config.linux.namespaces & if limits_memory && !has_users { BORN_INTO | CHARGED } else { BORN_INTO }
}

/// Whether the container's process cannot be the one that clone3 makes: it has to be born into a pid namespace that is
/// joined, or into a new one of a user namespace that is joined; and from within a new user namespace others could not be joined.
fn forks(config: &Config) -> bool {
    let linux = &config.linux;
    let user = linux.own() & namespace::USER != 0;
    !linux.joined.is_empty() && (linux.joins(namespace::PID) || user && linux.namespaces & BORN_INTO != 0)
}

/// Whether there is something that the parent does when all is set up but for entering the root.
fn syncs(config: &Config) -> bool {
    config.hooks.any(&Moment::CREATE)
}

/// How the way to a destination is guarded. Where nobody has links they lead nowhere, and what they do not lead to
/// needs no check.
fn place(destination: &str) -> u8 {
    let has_no_links = destination == "/dev" || destination.starts_with("/sys/fs/");
    if has_no_links { attach::NO_SYMLINKS } else { attach::NOT_IN_PROC }
}

fn text(text: &str) -> Text<'_> {
    Text::new(text.as_bytes())
}

/// A clone of the host's mounts is their peer: what is mounted in one appears in the other. A slave
/// only receives.
fn receive_only(recursive: bool) -> Step<'static> {
    Step::SetMountAttributes { set: 0, clear: 0, propagation: propagation::SLAVE, recursive: recursive.into() }
}

fn id_maps(config: &Config) -> Result<Option<IdMaps>, ConfigError> {
    let linux = &config.linux;
    if linux.namespaces & namespace::USER == 0 {
        return Ok(None);
    }
    Ok(Some(IdMaps {
        uid: id_map(&linux.uid_mappings, Pointer::UID_MAPPINGS)?,
        gid: id_map(&linux.gid_mappings, Pointer::GID_MAPPINGS)?,
    }))
}

fn id_map(mappings: &[IdMapping], pointer: Pointer) -> Result<String, ConfigError> {
    /// The kernel takes a map in one write of less than a page (user_namespaces(7)).
    const TEXT_MAX: usize = 4095;
    let mut map = String::new();
    for IdMapping { container, host, size } in mappings {
        map.push_str(&format!("{container} {host} {size}\n"));
    }
    if map.len() > TEXT_MAX {
        return Err(ConfigError::new(pointer, format!("{} bytes of maps, the kernel takes {TEXT_MAX}", map.len())));
    }
    Ok(map)
}

/// The user of the process, as the host knows it, if the container is to manage its cgroup: it has a cgroup namespace of its
/// own and can write to the file system ("Cgroup ownership" in the specification).
fn cgroup_owner(config: &Config) -> Option<u32> {
    let linux = &config.linux;
    let is_writable = |mount: &Mount| {
        mount.source == "cgroup"
            && mount.destination == "/sys/fs/cgroup"
            && mount.attributes.and(mount.recursive_attributes).set & attr::RDONLY == 0
    };
    if linux.namespaces & namespace::CGROUP == 0 || !config.mounts.iter().any(is_writable) {
        return None;
    }
    let uid = config.process.user.uid;
    if linux.own() & namespace::USER == 0 {
        return Some(uid);
    }
    // Of one that is joined they may not be known.
    let of =
        linux.uid_mappings.iter().find(|map| uid.checked_sub(map.container).is_some_and(|offset| offset < map.size));
    of.and_then(|map| map.host.checked_add(uid - map.container))
}

fn cgroup(config: &Config, options: &CompileOptions<'_>) -> Result<CgroupsPath, ConfigError> {
    let parse = if options.systemd_cgroup { CgroupsPath::parse_systemd } else { CgroupsPath::parse };
    let parsed = parse(config.cgroups_path(), options.id);
    parsed.map_err(|cause| ConfigError::new(Pointer::CGROUPS_PATH, cause.to_string()))
}
