//! Creating a container: from a bundle to a process that is ready, or runs.
//!
//! ```text
//! compile (pure) -> find what it needs on the host -> claim the name, journal -> cgroup -> clone3 -> id maps
//!   -> plan to init -> journal the process -> Ready -> created        (create)
//!                                          -> Start -> the program runs   (run)
//! ```
//!
//! Up to the claim nothing has been made, so errors in the configuration leave nothing. From there on everything that is
//! made is in [`Launch`], whose `undo` takes it back in the reverse order; after a kill, `delete --force` does
//! the same from the journal.

mod cgroup;
mod hooks;
mod pid_file;
mod undo;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use no_frills_cgroups::{Cgroup, CgroupsPath, Hierarchy, resources};
use no_frills_plan::{Kind, Message};
use no_frills_sys::capability;
use no_frills_sys::spawn::Failure;

use crate::bundle::Bundle;
use crate::compile::{Caller, Forks, Program};
use crate::config::{Config, Moment, RESOURCES, namespace};
use crate::container::{CreateOptions, OwnCgroup};
use crate::error::{Error, Result};
use crate::hooks::Told;
use crate::init::{Descriptors, Init, open_first};
use crate::members::{Members, is_limited, may_not_set_groups};
use crate::net_devices::NetDevices;
use crate::resctrl::{self, Class, mount_points};
use crate::state::{Directory, Journal, Process, ProcessStat, Record, Status, UnlockedJournal, VERSION};
use crate::systemd::Making;
use crate::timings::mark;
use crate::{console, handover, own_namespaces, rootless, security, start, time};
use cgroup::{UNWANTED, callers_cgroup};
pub(crate) use cgroup::{explain_spawn, refuse_limits};
pub(crate) use pid_file::write_pid_file;

/// How long the removal of a cgroup waits for the processes in it to be gone, after they were killed. Only a process that
/// the kernel itself holds up, on a dead disk for instance, takes longer.
pub(crate) const CGROUP_DEADLINE: Duration = Duration::from_secs(10);

/// What is to become of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It waits for `start`.
    Created,
    /// Its program runs.
    Running,
}

/// A container that was launched.
pub(crate) struct Launched {
    pub(crate) record: Record,
    pub(crate) pidfd: OwnedFd,
    pub(crate) warnings: Vec<String>,
    pub(crate) console: Option<OwnedFd>,
    pub(crate) made_here: MadeHere,
}

/// What the process that made a container keeps of it, and others find on disk.
#[derive(Debug)]
pub(crate) struct MadeHere {
    pub(crate) journal: UnlockedJournal,
    pub(crate) members: Members,
    pub(crate) start_socket: bool,
}

/// Where the caller sees procfs and sysfs, the uppermost first. The kernel lets whoever has one of them in view mount another
/// one (mount_namespaces(7) has the rule), and without pivot_root(2) the host's stay in the container's mount namespace.
#[cold]
fn views_of_kernel() -> Result<Vec<(PathBuf, u32)>> {
    let path = Path::new("/proc/self/mountinfo");
    let mountinfo = fs::read_to_string(path).map_err(Error::at("reading", path))?;
    let mut found: Vec<(PathBuf, u32)> = Vec::new();
    for point in ["proc", "sysfs"].into_iter().flat_map(|kind| mount_points(&mountinfo, kind)) {
        match found.iter_mut().find(|(path, _)| *path == point) {
            Some((_, count)) => *count += 1,
            None => found.push((point, 1)),
        }
    }
    found.reverse();
    Ok(found)
}

/// Creates a container.
pub(crate) fn launch<'i>(
    directory: &Directory,
    init: impl Fn() -> Result<BorrowedFd<'i>>,
    bundle: &Bundle,
    options: &CreateOptions,
    goal: Goal,
) -> Result<Launched> {
    let notify = options.notify.then(|| directory.notify_directory());
    let hidden = if options.no_pivot { views_of_kernel()? } else { Vec::new() };
    let mut program = bundle.plan_with(directory.id(), options, notify.as_deref(), &hidden)?;
    mark(options.timings.as_ref(), "compiling the plan");
    let owner = nix::unistd::getuid();
    if !owner.is_root() && !capability::has_sys_admin().map_err(Error::system("reading the own capabilities"))? {
        let caller = Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
        program = program.unprivileged(caller)?;
    }
    security::check(&bundle.config().process)?;
    handover::check(bundle.config())?;
    let console_socket = console::connect(options.console_socket.as_deref(), program.terminal)?;
    let owner_is_root = owner.is_root();
    let owner = owner.as_raw();
    let attempt = Attempt { directory, bundle, options, goal, owner, console_socket: console_socket.as_ref() };
    let launched = match attempt.launch(&program, &init) {
        // Root of a user namespace, as under rootless Podman and Docker. To ask before would cost all others a system call.
        Err(error) if is_of_user_namespace(&error) && is_limited()? => {
            let bundle = bundle.in_user_namespace();
            let mut program = bundle.plan_with(directory.id(), options, notify.as_deref(), &hidden)?;
            if may_not_set_groups(None)? {
                program = program.without_setgroups()?;
            }
            Attempt { bundle: &bundle, ..attempt }.launch(&program, &init)
        }
        launched => launched,
    };
    match launched {
        Err(error) if !owner_is_root || is_limited()? => {
            Err(rootless::explain(error, &program, bundle.config(), program.caller))
        }
        launched => launched,
    }
}

/// Whether it may come from a user namespace, the caller's, that the plan does not know of.
fn is_of_user_namespace(error: &Error) -> bool {
    matches!(error, Error::Step { call: "mknodat", errno: Errno::EPERM, .. })
}

/// What is to be launched, and how.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    directory: &'a Directory,
    bundle: &'a Bundle,
    options: &'a CreateOptions,
    goal: Goal,
    owner: u32,
    console_socket: Option<&'a OwnedFd>,
}

impl Attempt<'_> {
    fn launch<'i>(self, program: &Program, init: &impl Fn() -> Result<BorrowedFd<'i>>) -> Result<Launched> {
        let Attempt { directory, bundle, options, goal, owner, console_socket } = self;
        let config = bundle.config();
        let timings = options.timings.as_ref();
        if goal == Goal::Running {
            config.process.check_given()?;
        }
        // Before anything is made, unless something of it has to be.
        let sources = if options.notify { Vec::new() } else { open_first(program, None)? };
        own_namespaces::check(config)?;
        mark(timings, "opening mounts and namespaces");
        let mut scope = Making::prepare(config, directory.id(), program.cgroup.as_ref())?;
        let cgroup = match (&program.cgroup, Hierarchy::find()) {
            (Some(CgroupsPath::Fs(relative)), hierarchy)
                if hierarchy.is_ok() || program.caller.is_none() || options.own_cgroup == OwnCgroup::Required =>
            {
                Some(Cgroup::new(&hierarchy.map_err(Error::cgroup)?, relative).map_err(Error::cgroup)?)
            }
            _ => None,
        };
        program.resources.check_host().map_err(Error::limit(RESOURCES))?;
        if cgroup.is_none() && scope.is_none() {
            refuse_limits(
                program,
                if program.cgroup.is_none() { UNWANTED } else { "there is no cgroup2 file system" },
            )?;
        }
        mark(timings, "finding the cgroup");
        let class = program.intel_rdt.as_ref().map(|rdt| resctrl::class(rdt, directory.id())).transpose()?;

        let record = Record {
            version: VERSION,
            id: directory.id().to_owned(),
            oci_version: config.oci_version().to_owned(),
            bundle: bundle.directory().to_owned(),
            rootfs: program.rootfs().to_owned(),
            created: time::rfc3339(time::now().map_err(Error::system("reading the clock"))?),
            annotations: config.annotations().iter().cloned().collect(),
            owner_uid: owner,
            cgroup: cgroup.as_ref().map(|cgroup| cgroup.relative().to_owned()).unwrap_or_default(),
            cgroup_parents: cgroup.as_ref().map_or(0, Cgroup::parents),
            pid_file: options.pid_file.clone(),
            program: config.args().first().cloned().unwrap_or_default(),
            ready: program.ready,
            own_pids: config.makes_namespace(namespace::PID),
            notify: options.notify,
            hooks: config.hooks.any(&Moment::LATER),
            filtered: program.seccomp.is_some(),
            listener: false,
            process: None,
            hook: None,
            resctrl: class.as_ref().map(Class::own_directories).unwrap_or_default(),
            unit: scope.as_ref().map(Making::unit),
        };
        let name = record.program.clone();
        let mut launch = Launch {
            directory,
            init: Init::new(program, &name, sources, None)?,
            journal: directory.claim()?,
            record,
            program,
            cgroup: None,
            pid_file_written: false,
            asks_for_cgroup: config.cgroups_path().is_some(),
            own_cgroup: options.own_cgroup,
            class,
            net_devices: None,
            config,
            hooks_begun: false,
            later_limits: Vec::new(),
            scope: None,
        };
        launch.init.warnings.extend_from_slice(config.warnings());
        launch.init.timings = timings;
        let steps = |launch: &mut Launch<'_>| -> Result<()> {
            // Before the record, or whoever clears up after it would kill what is not ours.
            cgroup.as_ref().map_or(Ok(()), Cgroup::claim)?;
            launch.journal.begin(config.document(), &launch.record)?;
            if cgroup.is_some() {
                directory.link_cgroup(&launch.record.cgroup)?;
            }
            if options.notify {
                directory.make_notify_directory()?;
                launch.init.open_sources()?;
            }
            mark(timings, "journal");
            let mut cgroup_dir = match (cgroup, scope.take()) {
                (_, Some(scope)) => Some(launch.make_scope(scope, init()?)?),
                (Some(cgroup), None) => launch.make_cgroup(cgroup)?,
                (None, None) => None,
            };
            if let Some(dir) = &cgroup_dir {
                launch.give_cgroup(dir)?;
            }
            if let Some(class) = &mut launch.class {
                class.make()?;
            }
            mark(timings, "cgroup");
            let listener = match goal {
                Goal::Created => Some(start::listen(directory)?),
                Goal::Running => None,
            };
            let streams = [&options.stdin, &options.stdout, &options.stderr];
            let given = Descriptors::new(streams, options.preserve_fds, &options.preserved_fds);
            let init = init()?;
            let callers = if options.own_cgroup == OwnCgroup::None { callers_cgroup(program)? } else { None };
            launch.init.complete(init, cgroup_dir.as_ref().or(callers.as_ref()).map(AsFd::as_fd))?;
            launch.init.begin()?;
            mark(timings, "sending the plan");
            let mut to_be_moved = false;
            let spawned = match launch.init.spawn(init, given, cgroup_dir.as_ref().map(AsFd::as_fd)) {
                // It may be made there, and not entered from here.
                Err(Failure { errno: Errno::EACCES, .. })
                    if cgroup_dir.is_some() && launch.scope.is_none() && launch.may_go_without()? =>
                {
                    cgroup_dir = None;
                    let refused = launch.cgroup.as_ref().map(|cgroup| Error::cgroup(cgroup.entering(Errno::EACCES)));
                    launch.do_without_cgroup(&refused.unwrap_or(Error::NoCgroup("entered")))?;
                    launch.init.spawn(init, given, None)
                }
                // A user's, called from beyond what is delegated to the user: systemd may move it, while it waits for its plan.
                Err(Failure { errno: Errno::EACCES, .. })
                    if launch.scope.is_some() && program.id_maps.is_some() && program.forks == Forks::No =>
                {
                    to_be_moved = true;
                    launch.init.spawn(init, given, None)
                }
                spawned => spawned,
            };
            spawned.map_err(|failure| launch.explain_spawn(failure))?;
            if let (true, Some(scope)) = (to_be_moved, &mut launch.scope) {
                scope.attach(launch.init.pid())?;
            }
            mark(timings, "clone");
            launch.init.provide()?;
            mark(timings, "limits and id maps of init");
            if let (Some(dir), None) = (&cgroup_dir, &launch.scope) {
                dir.apply(&launch.later_limits).map_err(Error::limit(RESOURCES))?;
            }
            // While init is at work: it needs no device but those that every container may use, and the
            // container's program does not run yet.
            if !program.mounts_devices {
                launch.set_devices(cgroup_dir.as_ref())?;
            }
            mark(timings, "device program");
            let ignored = launch.note_process()?;
            if program.syncs {
                launch.init.follow(Kind::Sync)?;
                mark(timings, "waiting for init");
                launch.move_net_devices()?;
                mark(timings, "network devices");
                if config.hooks.any(&Moment::CREATE) {
                    launch.run_create_hooks(init, cgroup_dir.as_ref())?;
                    mark(timings, "hooks");
                }
                launch.init.tell(&Message::new(Kind::Continue), &[])?;
            }
            launch.init.provide_filter()?;
            if program.seccomp.is_some() {
                mark(timings, "seccomp filter");
            }
            launch.record.listener = launch.init.has_listener();
            if program.mounts_devices {
                launch.init.follow(Kind::Ready)?;
                launch.set_devices(cgroup_dir.as_ref())?;
            }
            launch.release_scope(cgroup_dir.as_ref())?;
            match goal {
                Goal::Running => {
                    launch.write_pid_file()?;
                    launch.journal.write(&launch.record)?;
                    mark(timings, "journal");
                    if timings.is_some() || config.hooks.any(&[Moment::StartContainer]) {
                        launch.init.follow(Kind::Ready)?;
                        mark(timings, "waiting for init");
                    }
                    if config.hooks.any(&[Moment::StartContainer]) {
                        launch.hooks_begun = true;
                        launch.run_inside(Moment::StartContainer, Status::Created, init, cgroup_dir.as_ref())?;
                        mark(timings, "hooks");
                    }
                    let Launch { init, record, .. } = launch;
                    init.run(ignored, &Told::new(record, directory.id(), Status::Created, Some(init.pid())))?;
                    mark(timings, "starting the program");
                    if config.hooks.any(&[Moment::Poststart]) {
                        launch.run_hooks(Moment::Poststart, Status::Running)?;
                        mark(timings, "hooks");
                    }
                }
                Goal::Created => {
                    launch.init.follow(Kind::Ready)?;
                    mark(timings, "waiting for init");
                    launch.init.set_scheduling()?;
                    launch.write_pid_file()?;
                    launch.journal.write(&launch.record)?;
                    mark(timings, "journal");
                    let attached: Vec<RawFd> = listener.iter().map(AsRawFd::as_raw_fd).collect();
                    launch.init.tell(&Message { detail: ignored, ..Message::new(Kind::Created) }, &attached)?;
                    // Whoever is told that it is created can start it.
                    launch.init.follow(Kind::Created)?;
                    mark(timings, "handing over to init");
                }
            }
            console::hand_over(console_socket, &mut launch.init.console)?;
            launch.release_pid_file()?;
            let unlocked = launch.journal.unlock();
            mark(timings, "journal");
            unlocked
        };
        match steps(&mut launch) {
            Ok(()) => launch.finish(goal),
            Err(error) => {
                let error = if launch.was_short_of_memory() { Error::OutOfMemory } else { error };
                Err(error.and_cleanup(launch.undo()))
            }
        }
    }
}

/// A container in the making.
struct Launch<'a> {
    directory: &'a Directory,
    init: Init<'a>,
    journal: Journal,
    record: Record,
    program: &'a Program,
    cgroup: Option<Cgroup>,
    pid_file_written: bool,
    /// Whether the configuration names a cgroup.
    asks_for_cgroup: bool,
    class: Option<Class<'a>>,
    net_devices: Option<NetDevices>,
    config: &'a Config,
    /// Whether hooks were run, so that those of poststop are to be when it fails.
    hooks_begun: bool,
    own_cgroup: OwnCgroup,
    /// Limits that are written when init has been born.
    later_limits: Vec<resources::Write>,
    /// The scope of systemd that its cgroup is.
    scope: Option<Making>,
}

impl Launch<'_> {
    /// Moves network devices to where init is.
    fn move_net_devices(&mut self) -> Result<()> {
        if let Some(network) = self.init.network.take() {
            let devices = self.net_devices.insert(NetDevices::new(network)?);
            devices.move_all(&self.program.net_devices)?;
        }
        Ok(())
    }

    /// Notes the process in the record, and returns which signals it ignores.
    fn note_process(&mut self) -> Result<u64> {
        let pid = self.init.pid();
        let Some(stat) = ProcessStat::read(pid)? else {
            return Err(self.init.ended());
        };
        self.record.process = Some(Process { pid, start_time: stat.start_time });
        if let Some(class) = &self.class {
            class.assign(pid)?;
        }
        Ok(u64::from(stat.ignored_signals))
    }

    fn finish(mut self, goal: Goal) -> Result<Launched> {
        self.record.pid_file = None;
        let journal = self.journal.into_unlocked();
        let members = match self.cgroup {
            Some(cgroup) => Members::OfCgroup(cgroup),
            None => Members::without_cgroup(&self.record),
        };
        match self.init.child {
            Some(child) => Ok(Launched {
                made_here: MadeHere { journal, members, start_socket: goal == Goal::Created },
                record: self.record,
                pidfd: child.pidfd,
                warnings: self.init.warnings,
                console: self.init.console,
            }),
            None => Err(Error::InitEnded("it was never started".to_owned())),
        }
    }
}
