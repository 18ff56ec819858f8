//! What compiling makes, and what it is made by.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use no_frills_cgroups::devices::{self, Rule};
use no_frills_cgroups::resources::Write;
use no_frills_cgroups::{CgroupsPath, Resources};
use no_frills_plan::PlanBuilder;

use super::{Caller, Pointer};
use crate::config::{Hooks, IntelRdt, IoPriority, NetDevice, Scheduler, Seccomp};

/// What, beside the configuration, decides what is done.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions<'a> {
    /// The bundle's directory, absolute: relative paths count from it.
    pub bundle: &'a Path,
    /// The container's id.
    pub id: &'a str,
    /// Enter the rootfs without pivot_root(2), for hosts whose root is the initial ramfs.
    pub no_pivot: bool,
    /// Without pivot_root(2), the host's mounts that are to be out of the container's mount namespace, the uppermost first,
    /// and how many there are at each path.
    pub hidden_mounts: &'a [(PathBuf, u32)],
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
            hidden_mounts: &[],
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

/// Whether, and when, another process goes on in init's place ([`Step::Fork`](no_frills_plan::Step::Fork)).
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
    /// Whether another process goes on in init's place: [`Step::Fork`](no_frills_plan::Step::Fork).
    pub forks: Forks,
    /// Whether init waits for the parent before it enters the root: [`Step::Sync`](no_frills_plan::Step::Sync).
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
    /// Names of members that pointers tell by number.
    pub members: Vec<String>,
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

    /// The setting that a step came from, a JSON pointer; empty: none.
    pub fn pointer(&self, step: u32) -> String {
        let pointer = self.pointers.get(step as usize).copied().unwrap_or(Pointer::NO_SETTING);
        pointer.with_name(&self.members)
    }
}
