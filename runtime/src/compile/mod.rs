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
mod ids;
#[cfg(test)]
mod mount_tests;
mod mounts;
mod namespaces;
mod pointer;
mod process;
mod program;
#[cfg(test)]
mod tests;
mod unprivileged;

use std::path::PathBuf;

use no_frills_cgroups::devices;
use no_frills_cgroups::resources::Target;
use no_frills_cgroups::{CgroupsPath, Resources};
use no_frills_plan::{KEPT_MAX, PlanBuilder, Step, Text, attach, join};

use crate::config::{
    Asked, Config, ConfigError, Hooks, Moment, Mount, MountIdMap, Process, Propagation, RESOURCES, misfit, namespace,
    propagation,
};
use crate::timings::of_init;
pub(crate) use filter::{Filtered, compile_profile};
pub(crate) use hook::compile_hook;
use ids::{cgroup_owner, id_map, id_maps};
use namespaces::{clone_flags, forks};
pub use pointer::Pointer;
pub use program::{CompileOptions, Forks, IdMaps, Program, SOURCE_BATCH, Source, SourceKind};
pub(crate) use program::{Ids, MappedIds};
pub use unprivileged::Caller;

/// The namespaces that an exec joins even if the container does not have its own.
const INHERITABLE: u64 = namespace::CGROUP | namespace::IPC | namespace::UTS | namespace::NETWORK | namespace::MOUNT;

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
        members: steps.members,
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
        members: steps.members,
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
    members: Vec<String>,
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
            members: Vec::new(),
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

    /// Sets kernel parameters; those of network devices too, which may have come by now.
    fn set_sysctls(&mut self) {
        let config = self.config;
        for sysctl in &config.linux.sysctls {
            // An empty write is none.
            let value = if sysctl.value.is_empty() { "\n" } else { sysctl.value.as_str() };
            let pointer = Pointer::member("/linux/sysctl", self.members.len() as u32);
            self.members.push(sysctl.name.clone());
            self.write_proc(pointer, &sysctl.path, value);
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
        if !self.is_exec && self.has_mounts() {
            for (path, count) in self.options.hidden_mounts {
                let path = path.to_string_lossy();
                let step = Step::HideMount { path: text(&path), count: *count };
                self.push(Pointer::NO_SETTING, &step);
            }
        }
        let step = if self.options.no_pivot || !self.has_mounts() { Step::EnterRoot {} } else { Step::PivotRoot {} };
        self.push(Pointer::to("/root/path"), &step);
    }
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

fn cgroup(config: &Config, options: &CompileOptions<'_>) -> Result<CgroupsPath, ConfigError> {
    let parse = if options.systemd_cgroup { CgroupsPath::parse_systemd } else { CgroupsPath::parse };
    let parsed = parse(config.cgroups_path(), options.id);
    parsed.map_err(|cause| ConfigError::new(Pointer::CGROUPS_PATH, cause.to_string()))
}
