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

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::O_NOFOLLOW;
use no_frills_cgroups::resources::{self, Target};
use no_frills_cgroups::{Cgroup, CgroupsPath, Hierarchy};
use no_frills_plan::{Kind, Message};
use no_frills_sys::capability;
use no_frills_sys::spawn::Failure;

use crate::bundle::Bundle;
use crate::compile::{Caller, Forks, Pointer, Program, SourceKind};
use crate::config::{Config, ConfigError, Moment, RESOURCES, namespace};
use crate::container::{CreateOptions, OwnCgroup};
use crate::error::{Error, Result};
use crate::hooks::{self, Inside, Occasion, Told};
use crate::init::{Descriptors, Init, open_first};
use crate::members::{Members, is_limited, may_not_set_groups};
use crate::net_devices::NetDevices;
use crate::resctrl::{self, Class};
use crate::state::{Directory, Journal, Process, ProcessStat, Record, Status, UnlockedJournal, VERSION, remove_file};
use crate::systemd::Making;
use crate::timings::mark;
use crate::{console, handover, own_namespaces, rootless, security, start, time};

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

/// Creates a container.
pub(crate) fn launch<'i>(
    directory: &Directory,
    init: impl Fn() -> Result<BorrowedFd<'i>>,
    bundle: &Bundle,
    options: &CreateOptions,
    goal: Goal,
) -> Result<Launched> {
    let notify = options.notify.then(|| directory.notify_directory());
    let mut program = bundle.plan_with(directory.id(), options, notify.as_deref())?;
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
            let mut program = bundle.plan_with(directory.id(), options, notify.as_deref())?;
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
            if let (Some(socket), Some(console)) = (console_socket, &launch.init.console) {
                console::send(socket, console)?;
                launch.init.console = None;
            }
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
    /// `None`: the container goes without one.
    fn make_cgroup(&mut self, cgroup: Cgroup) -> Result<Option<no_frills_cgroups::Dir>> {
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
    fn make_scope(&mut self, scope: Making, init: BorrowedFd<'_>) -> Result<no_frills_cgroups::Dir> {
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
    fn set_limits(&mut self, dir: &no_frills_cgroups::Dir) -> Result<()> {
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
    fn give_cgroup(&self, dir: &no_frills_cgroups::Dir) -> Result<()> {
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
    fn release_scope(&mut self, dir: Option<&no_frills_cgroups::Dir>) -> Result<()> {
        let Some(scope) = &mut self.scope else { return Ok(()) };
        self.init.follow(Kind::Ready)?;
        scope.end_placeholder()?;
        scope.set(&self.later_limits)?;
        dir.map_or(Ok(()), |dir| dir.apply(&self.later_limits).map_err(Error::limit(RESOURCES)))
    }

    /// Whether it was the limit of memory that kept the container from starting.
    fn was_short_of_memory(&self) -> bool {
        let limited = self.program.limits.iter().any(|limit| limit.controller() == Some("memory"));
        // The error that is told otherwise is the better one if this cannot be found out.
        let ran_out = || self.cgroup.as_ref().filter(|_| limited)?.open().ok()?.ran_out_of_memory().ok();
        ran_out().unwrap_or(false)
    }

    /// Whether it is no error that the host lets the caller have no cgroup.
    fn may_go_without(&self) -> Result<bool> {
        match self.own_cgroup {
            OwnCgroup::Auto => is_limited(),
            OwnCgroup::Required => Ok(false),
            OwnCgroup::IfPermitted | OwnCgroup::None => Ok(true),
        }
    }

    /// Where the host lets the caller have no cgroup, the container's processes stay in the caller's, as with peers.
    fn do_without_cgroup(&mut self, error: &Error) -> Result<()> {
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
    fn explain_spawn(&self, failure: Failure) -> Error {
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

    /// Moves network devices to where init is.
    fn move_net_devices(&mut self) -> Result<()> {
        if let Some(network) = self.init.network.take() {
            let devices = self.net_devices.insert(NetDevices::new(network)?);
            devices.move_all(&self.program.net_devices)?;
        }
        Ok(())
    }

    fn set_devices(&self, dir: Option<&no_frills_cgroups::Dir>) -> Result<()> {
        let Some(program) = &self.program.device_program else { return Ok(()) };
        let Some(dir) = dir else { return Ok(()) };
        match dir.set_devices(program) {
            // From a user namespace no device can be made, and the host's decide for themselves.
            Err(error) if error.errno() == Some(Errno::EPERM) && is_limited()? => Ok(()),
            result => result.map_err(|source| Error::Cgroup { pointer: "/linux/resources/devices".into(), source }),
        }
    }

    /// Runs the hooks of a moment in the caller's namespaces.
    fn run_hooks(&mut self, moment: Moment, status: Status) -> Result<()> {
        let hooks = &self.config.hooks;
        if hooks.of(moment).is_empty() {
            return Ok(());
        }
        self.hooks_begun = true;
        let state = hooks::state(&self.record, self.directory.id(), status, Some(self.init.pid()))?;
        // It runs already when those of poststart do, and may end before them.
        let first = self.init.child.as_ref().filter(|_| status == Status::Creating).map(|child| child.pidfd.as_fd());
        let occasion = Occasion { first, note: &|hook| self.note_hook(hook, status), at_most: None };
        hooks::run(hooks, moment, &self.record.bundle, &state, &occasion)
    }

    /// Records that a hook runs. A container that is being created has no process yet.
    fn note_hook(&self, hook: Process, status: Status) -> Result<()> {
        let process = self.record.process.filter(|_| status != Status::Creating);
        self.journal.write(&Record { process, hook: Some(hook), ..self.record.clone() })
    }

    /// Runs the hooks of a moment in the container's namespaces.
    fn run_inside(
        &mut self,
        moment: Moment,
        status: Status,
        init: BorrowedFd<'_>,
        cgroup: Option<&no_frills_cgroups::Dir>,
    ) -> Result<()> {
        let Some(child) = &self.init.child else { return Err(self.init.ended()) };
        let inside = Inside {
            init,
            process: child.pidfd.as_fd(),
            pid: child.pid,
            cgroup: cgroup.map(AsFd::as_fd),
            config: self.config,
            record: &self.record,
            id: self.directory.id(),
        };
        let ran = inside.run(moment, status, &|hook| self.note_hook(hook, status));
        ran.map_err(|error| match (error, self.init.last_words()) {
            // A hook cannot enter a container that has ended.
            (Error::Hook { pointer, path, reason, said }, Some(last)) => {
                Error::Hook { pointer, path, reason: format!("{reason}: {last}"), said }
            }
            (error, _) => error,
        })
    }

    fn run_create_hooks(&mut self, init: BorrowedFd<'_>, cgroup: Option<&no_frills_cgroups::Dir>) -> Result<()> {
        self.run_hooks(Moment::Prestart, Status::Creating)?;
        self.run_hooks(Moment::CreateRuntime, Status::Creating)?;
        self.hooks_begun = true;
        self.run_inside(Moment::CreateContainer, Status::Creating, init, cgroup)
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

    fn write_pid_file(&mut self) -> Result<()> {
        let Some(path) = &self.record.pid_file else { return Ok(()) };
        self.pid_file_written = true;
        write_pid_file(path, self.init.pid())
    }

    /// From here on the pid file is the caller's, and stays when the container is deleted.
    fn release_pid_file(&mut self) -> Result<()> {
        let Some(path) = self.record.pid_file.take() else { return Ok(()) };
        let written = self.journal.write(&self.record);
        // For `undo`, which may still follow.
        self.record.pid_file = Some(path);
        written
    }

    /// Takes back what was made; all of it is tried, the first failure is told.
    fn undo(mut self) -> Result<()> {
        let mut outcome = Ok(());
        let mut note = |result: Result<()>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        if let Some(devices) = self.net_devices.take() {
            note(devices.move_back());
        }
        note(self.init.abandon());
        if let Some(cgroup) = self.cgroup.take() {
            // Without a pid namespace of its own, children of init may have outlived it.
            note(cgroup.kill().map_err(Error::cgroup));
            note(cgroup.remove(Some(CGROUP_DEADLINE)).map_err(Error::cgroup));
        }
        if let Some(scope) = &mut self.scope {
            note(scope.end_placeholder());
            note(scope.stop());
        }
        note(resctrl::remove(&self.record.resctrl));
        if let Some(class) = &self.class {
            note(class.take_back());
        }
        if let (true, Some(path)) = (self.pid_file_written, &self.record.pid_file) {
            note(remove_file(path));
        }
        // The name is given up last, and the journal with it: what could not be removed now, `delete --force` can.
        outcome?;
        let errors = match self.hooks_begun {
            true => {
                let half_made = Record { process: None, ..self.record.clone() };
                hooks::after_stop(&half_made, self.directory.id(), &self.config.hooks, &self.journal, None)?
            }
            false => Vec::new(),
        };
        self.directory.remove(true)?;
        // They fail for good: nothing is left to be done.
        errors.into_iter().next().map_or(Ok(()), Err)
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

/// Why there is no cgroup when nobody wants one.
const UNWANTED: &str = "it is not to have one (--cgroup-manager disabled)";

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
fn callers_cgroup(program: &Program) -> Result<Option<no_frills_cgroups::Dir>> {
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

/// Writes a pid to a file for the caller.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644).custom_flags(O_NOFOLLOW);
    let mut file = options.open(path).map_err(Error::at("creating the pid file", path))?;
    // Engines parse it without trimming: no newline.
    write!(file, "{pid}").map_err(Error::at("writing the pid file", path))
}
