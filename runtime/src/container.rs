//! Containers: by name, in a state root.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use no_frills_cgroups::{Cgroup, Stats};
use no_frills_sys::{memfd, pidfd};
use serde_json::Value;

use crate::bundle::Bundle;
use crate::config::{Config, Moment};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::exec::{Exec, ExecOptions, ProcessConfig, There, exec, process_of};
use crate::hooks::{self, Inside, Occasion};
use crate::launch::{CGROUP_DEADLINE, Goal, MadeHere, launch};
use crate::members::Members;
use crate::notify::NotifySocket;
use crate::remains::{self, Remains};
use crate::resctrl;
use crate::signal::Signal;
use crate::state::{Directory, Journal, Process, ProcessStat, Record, State, Status, Whole, remove_file};
use crate::timings::{Timings, mark};
use crate::update::Update;
use crate::{start, systemd};

/// A state root: the directory that knows its containers.
///
/// Opening one does not touch the disk; the directory is made with the first container. It may be used
/// from any thread, and by several processes at once.
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    init: Arc<InitFile>,
}

/// Init in a sealed memfd, made when it is first needed.
#[derive(Debug, Default)]
struct InitFile(OnceLock<OwnedFd>);

impl InitFile {
    fn get(&self) -> Result<BorrowedFd<'_>> {
        if let Some(init) = self.0.get() {
            return Ok(init.as_fd());
        }
        let made =
            memfd::sealed(c"init", no_frills_init::ELF).map_err(Error::system("making init's memfd: memfd_create"))?;
        // Another thread may have been first: its memfd is as good.
        Ok(self.0.get_or_init(|| made).as_fd())
    }
}

/// The containers of a state root.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those whose state can be told, by name.
    pub states: Vec<State>,
    /// Those whose state cannot be told, by name, and why. [`Runtime::delete`] by force clears them away.
    pub damaged: Vec<(String, Error)>,
}

/// Whether a container has a cgroup of its own. One without stays in the caller's: it cannot be limited, paused or watched, and its
/// device rules are not enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnCgroup {
    /// It has; but a user who may make none goes without, and so does root of a user namespace.
    #[default]
    Auto,
    /// It has, or is not created.
    Required,
    /// It has, unless the caller, whoever that is, may make none.
    IfPermitted,
    /// It has none. `linux.cgroupsPath` is not looked at.
    None,
}

/// How a container is created.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// Standard input of the container's process; `None`: the caller's. Not used with a terminal.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
    /// A Unix socket that receives the master of the container's terminal. Without one,
    /// [`Container::take_console`] has it.
    pub console_socket: Option<PathBuf>,
    /// A file that gets the process's pid.
    pub pid_file: Option<PathBuf>,
    /// The caller's descriptors 3 to 2 + N are passed on as they are, for a command that was started with them.
    pub preserve_fds: u32,
    /// Descriptors that the process gets as 3 + `preserve_fds` and following.
    pub preserved_fds: Vec<OwnedFd>,
    /// Of the descriptors that the process gets from 3 on, so many are announced to it as `LISTEN_FDS`
    /// (sd_listen_fds(3)).
    pub listen_fds: u32,
    /// Give the process a socket of its own to tell on that it is ready (sd_notify(3)), as `NOTIFY_SOCKET` in its
    /// environment. It is listened to after [`Container::start_notifying`].
    pub notify: bool,
    /// Enter the rootfs without pivot_root(2), for hosts whose root is the initial ramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Have systemd make the container's cgroup: `linux.cgroupsPath` is `slice:prefix:name` then.
    pub systemd_cgroup: bool,
    /// Whether it has a cgroup of its own.
    pub own_cgroup: OwnCgroup,
    /// Takes the time of what is done.
    pub timings: Option<Timings>,
}

impl Runtime {
    /// The state root at a path, for instance `/run/no-frills`.
    ///
    /// # Errors
    /// When a relative path is given and there is no current directory.
    pub fn open(root: impl Into<PathBuf>) -> Result<Runtime> {
        let root: PathBuf = root.into();
        let absolute = std::path::absolute(&root).map_err(Error::at("finding the state root", &root))?;
        Ok(Runtime { root: absolute, init: Arc::default() })
    }

    /// The state root's path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a container: everything is ready, its program waits for [`Container::start`].
    ///
    /// # Errors
    /// Any; then nothing is left of it.
    pub fn create(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Container> {
        self.launch(id, bundle, options, Goal::Created)
    }

    /// Creates a container and starts it, with one conversation with its init less than
    /// [`create`](Runtime::create) and [`start`](Container::start).
    ///
    /// # Errors
    /// Any; then nothing is left of it.
    pub fn run(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Container> {
        self.launch(id, bundle, options, Goal::Running)
    }

    fn launch(&self, id: &str, bundle: &Bundle, options: CreateOptions, goal: Goal) -> Result<Container> {
        let directory = Directory::new(&self.root, id)?;
        let timings = options.timings.clone();
        let launched = launch(&directory, || self.init.get(), bundle, &options, goal);
        // Its descriptors are the container's now.
        drop(options);
        let launched = launched?;
        Ok(Container {
            document: OnceLock::new(),
            journal: Mutex::new(None),
            directory,
            record: launched.record,
            pidfd: Some(launched.pidfd),
            warnings: launched.warnings,
            console: launched.console,
            made_here: Some(launched.made_here),
            exit: OnceLock::new(),
            init: Arc::clone(&self.init),
            timings,
        })
    }

    /// The container of a name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incomplete`] when the command that creates it has not finished.
    pub fn container(&self, id: &str) -> Result<Container> {
        let directory = self.directory(id)?;
        let Some(Whole { record, document, file }) = directory.read_whole()? else {
            return Err(Error::Incomplete(id.to_owned()));
        };
        let pidfd = open_process(&record)?;
        Ok(Container {
            document: OnceLock::from(document),
            journal: Mutex::new(Some(file)),
            directory,
            record,
            pidfd,
            warnings: Vec::new(),
            console: None,
            made_here: None,
            exit: OnceLock::new(),
            init: Arc::clone(&self.init),
            timings: None,
        })
    }

    /// A name that cannot be one is that of no container.
    fn directory(&self, id: &str) -> Result<Directory> {
        Directory::new(&self.root, id)
    }

    /// The states of all containers, by name, and those that have none since something is wrong. A container that is removed
    /// meanwhile is left out, and so is one that is being made and has no state yet.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listing),
            result => result.map_err(Error::at("reading", &self.root))?,
        };
        for entry in entries {
            let name = entry.map_err(Error::at("reading", &self.root))?.file_name();
            // What is not a container's name does not belong to us.
            let Some(Ok(directory)) = name.to_str().map(|id| self.directory(id)) else { continue };
            match state_in(&directory) {
                Ok(Some(state)) => listing.states.push(state),
                Ok(None) | Err(Error::NotFound) => {}
                // Nor does a file: a log, for instance.
                Err(_) if directory.path().symlink_metadata().is_ok_and(|found| found.is_file()) => {}
                Err(error) => listing.damaged.push((directory.id().to_owned(), error)),
            }
        }
        listing.states.sort_by(|left, right| left.id.cmp(&right.id));
        listing.damaged.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(listing)
    }

    /// Deletes a container that is stopped, or created and not started (whose init is killed); with `force`
    /// one in any state, also one whose create was interrupted. With `force` it is no error when there is none.
    /// What is returned are warnings: its poststop hooks that failed.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotStopped`]; when something cannot be removed: then the name is kept, and deleting can be
    /// tried again.
    pub fn delete(&self, id: &str, force: bool) -> Result<Vec<String>> {
        let directory = self.directory(id)?;
        missing_is_deleted(delete(&directory, force), force)
    }
}

fn missing_is_deleted(result: Result<Vec<String>>, force: bool) -> Result<Vec<String>> {
    match result {
        Err(Error::NotFound) if force => Ok(Vec::new()),
        result => result,
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    directory: Directory,
    record: Record,
    /// The configuration that it was created with, once it was read.
    document: OnceLock<Vec<u8>>,
    /// The open journal, for the first who locks it: a lock belongs to one open file.
    journal: Mutex<Option<File>>,
    /// `None`: its process has ended and is gone.
    pidfd: Option<OwnedFd>,
    warnings: Vec<String>,
    console: Option<OwnedFd>,
    made_here: Option<MadeHere>,
    /// Kept, since a process can be reaped once.
    exit: OnceLock<ExitStatus>,
    init: Arc<InitFile>,
    /// For [`start`](Container::start).
    timings: Option<Timings>,
}

/// How a container's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pidfd::Exit);

/// Waits until a process has ended, reaps it if it is a child, and keeps how it ended for who asks again. Without a
/// pidfd it is gone already.
pub(crate) fn wait_once(
    exit: &OnceLock<ExitStatus>,
    pidfd: Option<&OwnedFd>,
    pid: i32,
    what: &str,
) -> Result<ExitStatus> {
    if let Some(exit) = exit.get() {
        return Ok(*exit);
    }
    let Some(pidfd) = pidfd else { return Err(Error::NotRunning) };
    match pidfd::wait(pidfd, pid) {
        // Another thread that waits may have reaped it just now.
        Err(Errno::ECHILD) => exit.get().copied().ok_or(Error::NotRunning),
        Err(errno) => Err(Error::system(format!("waiting for {what}"))(errno)),
        Ok(status) => Ok(*exit.get_or_init(|| ExitStatus(status))),
    }
}

impl ExitStatus {
    /// The status as shells tell it: 128 + N for one that signal N ended.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self.0 {
            pidfd::Exit::Code(code) => code,
            pidfd::Exit::Signal(signal) => 128 + signal,
        }
    }

    /// The signal that ended it.
    #[must_use]
    pub const fn signal(self) -> Option<i32> {
        match self.0 {
            pidfd::Exit::Code(_) => None,
            pidfd::Exit::Signal(signal) => Some(signal),
        }
    }
}

impl Container {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        self.directory.id()
    }

    /// Its process as the host sees it; it may have ended since.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.record.process.map_or(0, |process| process.pid)
    }

    /// Its cgroup, from the root of the hierarchy on. `None`: it has none of its own.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Path> {
        Some(self.record.cgroup.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// A descriptor for its process, to poll for its end. `None`: it has ended and is gone.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(OwnedFd::as_fd)
    }

    /// What could not be honoured when it was created, and did not have to be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The master of its terminal, once, if it was created with one and without a console socket.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Its state now.
    ///
    /// # Errors
    /// When it has been deleted, or its state cannot be read.
    pub fn state(&self) -> Result<State> {
        match self.directory.read()? {
            Some(record) => state_of(&self.directory, &record),
            None => Err(Error::Incomplete(self.id().to_owned())),
        }
    }

    /// Starts a created container, and returns when its program runs.
    ///
    /// # Errors
    /// [`Error::NotCreated`] in any other state; [`Error::Program`] when the program cannot be executed.
    pub fn start(&self) -> Result<()> {
        let (journal, record) = lock(&self.directory)?;
        self.start_locked(&journal, &record)
    }

    /// Takes the time of what [`start`](Container::start) does. Whoever is created with
    /// [`CreateOptions::timings`] has the same clock for it.
    pub fn set_timings(&mut self, timings: Timings) {
        self.timings = Some(timings);
    }

    /// Whether its process was given a socket to tell on that it is ready ([`CreateOptions::notify`]).
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.record.notify
    }

    /// As [`start`](Container::start), with somebody to listen when it tells that it is ready.
    ///
    /// # Errors
    /// As `start`; [`Error::Option`] when it was created without [`CreateOptions::notify`].
    pub fn start_notifying(&self) -> Result<NotifySocket> {
        if !self.notifies() {
            return Err(Error::Option("the container was created without a socket for notifications".to_owned()));
        }
        let (journal, record) = lock(&self.directory)?;
        // Locked: no other start has bound its socket there, or will.
        let socket = NotifySocket::bind(&self.directory.notify_directory())?;
        self.start_locked(&journal, &record).map(|()| socket)
    }

    fn start_locked(&self, journal: &Journal, record: &Record) -> Result<()> {
        mark(self.timings.as_ref(), "journal");
        // Its init would not answer.
        if Members::of(record)?.frozen()? {
            return Err(Error::NotCreated(Status::Paused));
        }
        let Some(config) = later_hooks(journal, record)? else { return self.start_program(journal, record) };
        let outcome = self.start_with_hooks(journal, record, &config);
        // The specification has the container destroyed when a hook fails (runtime.md, "Lifecycle").
        if let Err(error @ Error::Hook { .. }) = outcome {
            let process = open_process(record)?;
            let (directory, process, members) = (&self.directory, process.as_ref(), Members::of(record)?);
            let deletion = Deletion { directory, journal, record, process, members, start_socket: true };
            return Err(match deletion.carry_out(true) {
                Ok(warnings) if warnings.is_empty() => error,
                Ok(warnings) => error.and_cleanup(Err(Error::Option(warnings.join("; ")))),
                Err(cleanup) => error.and_cleanup(Err(cleanup)),
            });
        }
        outcome
    }

    fn start_program(&self, journal: &Journal, record: &Record) -> Result<()> {
        if record.program.is_empty() {
            let document = journal.document()?.ok_or_else(|| Error::Incomplete(self.id().to_owned()))?;
            Config::from_json(&document)?.process.check_given()?;
        }
        if start::start(&self.directory, journal, record, self.timings.as_ref())? {
            mark(self.timings.as_ref(), "starting the program");
            return Ok(());
        }
        Err(Error::NotCreated(match status_of(&self.directory, record)? {
            // It waited no more a moment ago, so that it is about to end.
            Status::Created => Status::Stopped,
            status => status,
        }))
    }

    fn start_with_hooks(&self, journal: &Journal, record: &Record, config: &Config) -> Result<()> {
        let (id, hooks) = (self.id(), &config.hooks);
        let note = |hook| journal.write(&Record { hook: Some(hook), ..record.clone() });
        if !hooks.of(Moment::StartContainer).is_empty() {
            let status = status_of(&self.directory, record)?;
            let process = open_process(record)?;
            let Some(process) = process.filter(|_| status == Status::Created) else {
                return Err(Error::NotCreated(status));
            };
            let cgroup = Members::of(record)?.open()?;
            let inside = Inside {
                init: self.init.get()?,
                process: process.as_fd(),
                pid: self.pid(),
                cgroup: cgroup.as_ref().map(AsFd::as_fd),
                config,
                record,
                id,
            };
            inside.run(Moment::StartContainer, status, &note).map_err(|error| {
                match (error, ProcessStat::is_ending(self.pid())) {
                    // A hook cannot enter a container that has ended.
                    (Error::Hook { pointer, path, reason, said }, Ok(true)) => {
                        Error::Hook { pointer, path, reason: format!("{reason}: the container has stopped"), said }
                    }
                    (error, _) => error,
                }
            })?;
        }
        self.start_program(journal, record)?;
        if hooks.of(Moment::Poststart).is_empty() {
            return Ok(());
        }
        let state = hooks::state(record, id, Status::Running, record.process.map(|process| process.pid))?;
        // Its program may end before they do.
        let occasion = Occasion { first: None, note: &note, at_most: None };
        hooks::run(hooks, Moment::Poststart, &record.bundle, &state, &occasion)
    }

    /// Stops all its processes, and returns when they are stopped. They take no signal but SIGKILL until it is
    /// [resumed](Container::resume). Whoever starts a process in it at the time is waited for.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::AlreadyPaused`]; [`Error::NoCgroup`]; [`Error::Cgroup`] when a process cannot be stopped
    /// within 10 seconds. Then it is not paused.
    pub fn pause(&self) -> Result<()> {
        let cgroup = self.own_cgroup("paused")?;
        let refuse = || -> Result<()> {
            self.check_alive()?;
            if cgroup.frozen()? { Err(Error::AlreadyPaused) } else { Ok(()) }
        };
        // Before the lock too: who waits in a paused container for its being resumed has it locked.
        refuse()?;
        let _journal = lock(&self.directory)?;
        refuse()?;
        cgroup.freeze(CGROUP_DEADLINE)?;
        // A process that was killed meanwhile does not stop any more. Whoever kills it after this thaws the cgroup.
        let alive = self.check_alive().and_then(|()| match ProcessStat::is_ending(self.pid())? {
            true => Err(Error::NotRunning),
            false => Ok(()),
        });
        alive.map_err(|error| error.and_cleanup(cgroup.thaw().map(drop).map_err(Error::cgroup)))
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// [`Error::NotPaused`]; [`Error::PausedAbove`]; [`Error::NoCgroup`].
    pub fn resume(&self) -> Result<()> {
        let cgroup = self.own_cgroup("paused")?;
        // Not while somebody pauses it; but together with those who wait for this.
        let _journal = self.directory.lock_shared(None)?;
        // And one after the other, or two would say that it was they who resumed it.
        let _turn = self.directory.lock_itself()?;
        self.check_alive().map_err(|error| match error {
            Error::NotRunning => Error::NotPaused,
            error => error,
        })?;
        let was_told = cgroup.thaw()?;
        if cgroup.frozen()? {
            return Err(Error::PausedAbove { above: cgroup.frozen_above()? });
        }
        if was_told { Ok(()) } else { Err(Error::NotPaused) }
    }

    fn own_cgroup(&self, deed: &'static str) -> Result<Cgroup> {
        match Members::of(&self.record)? {
            Members::OfCgroup(cgroup) => Ok(cgroup),
            Members::OfNamespace(_) | Members::First(_) => Err(Error::NoCgroup(deed)),
        }
    }

    /// While it is being created it takes no signal (runtime.md, "Kill"), and nothing else.
    fn check_made(&self) -> Result<()> {
        match self.record.process {
            Some(_) => Ok(()),
            None => Err(Error::Incomplete(self.id().to_owned())),
        }
    }

    /// While its process lives it is not deleted, and its name and cgroup are no other's.
    fn check_alive(&self) -> Result<()> {
        self.check_made()?;
        let Some(pidfd) = &self.pidfd else { return Err(Error::NotRunning) };
        match pidfd::has_ended(pidfd).map_err(Error::system("looking at the container's process"))? {
            true => Err(Error::NotRunning),
            false => Ok(()),
        }
    }

    /// Sends a signal to its process. Where it has no pid namespace of its own, SIGKILL goes to all its processes, since
    /// they would not end with the first. Of a paused container that ends it; any other signal comes when it is resumed.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when its process has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        // A zombie takes signals, but nothing comes of them.
        self.check_alive()?;
        let Some(pidfd) = &self.pidfd else { return Err(Error::NotRunning) };
        if signal != Signal::KILL {
            return self.send(pidfd, signal);
        }
        let members = Members::of(&self.record)?;
        let killed = if self.record.own_pids {
            self.send(pidfd, signal)
        } else {
            members.kill()?;
            match self.send(pidfd, signal) {
                // By what was done before.
                Err(Error::NotRunning) => Ok(()),
                result => result,
            }
        };
        // Whoever was entering a paused container waits to find that it has ended.
        killed.and(members.thaw())
    }

    fn send(&self, process: &OwnedFd, signal: Signal) -> Result<()> {
        match pidfd::send_signal(process, signal.number()) {
            Err(Errno::ESRCH) => Err(Error::NotRunning),
            result => {
                result.map_err(Error::system(format!("sending {signal} to process {}: pidfd_send_signal", self.pid())))
            }
        }
    }

    /// Sends a signal to all its processes; that none are left is no error. A paused container is as with
    /// [`kill`](Container::kill).
    ///
    /// # Errors
    /// When its cgroup cannot be read.
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        self.check_made()?;
        let members = Members::of(&self.record)?;
        if signal == Signal::KILL {
            members.kill()?;
            return members.thaw();
        }
        for pid in members.processes()? {
            let process = match pidfd::open(pid) {
                Err(Errno::ESRCH) => continue,
                result => result.map_err(Error::system(format!("opening process {pid}: pidfd_open")))?,
            };
            // The pid may have gone to another process before it was opened: then it is not among them.
            if !members.processes()?.contains(&pid) {
                continue;
            }
            match pidfd::send_signal(&process, signal.number()) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(Error::system(format!("sending {signal} to process {pid}: pidfd_send_signal"))(errno));
                }
            }
        }
        Ok(())
    }

    /// Changes its limits, while it runs or before. Nothing else of its configuration changes, and what it was made with
    /// is still what [`process`](Container::process) tells.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; when a value cannot be, before anything is written; when the kernel refuses one: then the
    /// error names what was changed before.
    pub fn update(&self, update: &Update) -> Result<()> {
        let (_journal, record) = lock(&self.directory)?;
        match status_of(&self.directory, &record)? {
            Status::Created | Status::Running | Status::Paused => {}
            Status::Creating => return Err(Error::Incomplete(self.id().to_owned())),
            Status::Stopped => return Err(Error::NotRunning),
        }
        update.apply(self.id(), &record, || Ok(Config::from_json(self.document()?)?))
    }

    /// Waits until its process has ended. If it is a child of this process it is reaped.
    ///
    /// # Errors
    /// [`Error::NotRunning`]: it ended earlier, and how cannot be told any more.
    pub fn wait(&self) -> Result<ExitStatus> {
        wait_once(&self.exit, self.pidfd.as_ref(), self.pid(), "the container's process")
    }

    /// Runs another process in it, and returns when its program runs.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Paused`]; [`Error::Program`] when the program cannot be executed; any other: then nothing
    /// is left of it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller's descriptors in it are closed, now that the process has them"
    )]
    pub fn exec(&self, process: &ProcessConfig, options: ExecOptions) -> Result<Exec> {
        let Some(pidfd) = &self.pidfd else { return Err(Error::NotRunning) };
        let there = There {
            directory: &self.directory,
            record: &self.record,
            document: self.document()?,
            process: pidfd.as_fd(),
            journal: self.journal.lock().ok().and_then(|mut journal| journal.take()),
        };
        exec(there, self.init.get()?, process, &options)
    }

    /// The `process` object of the configuration that it was created with.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn process(&self) -> Result<Value> {
        process_of(self.document()?)
    }

    /// The configuration that it was created with. It never changes, so it is read once.
    fn document(&self) -> Result<&[u8]> {
        if let Some(document) = self.document.get() {
            return Ok(document);
        }
        let incomplete = || Error::Incomplete(self.id().to_owned());
        let Whole { document, .. } = self.directory.read_whole()?.ok_or_else(incomplete)?;
        Ok(self.document.get_or_init(|| document))
    }

    /// The pids of all its processes as the host sees them; none when it has stopped.
    ///
    /// # Errors
    /// When its cgroup cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Members::of(&self.record)?.processes()
    }

    /// What its processes have used: the statistics of its cgroup, until it is deleted.
    ///
    /// # Errors
    /// [`Error::NoCgroup`]; [`Error::NotRunning`] before its cgroup was made and after that was removed; when its cgroup cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        match self.own_cgroup("measured")?.stats() {
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Err(Error::NotRunning),
            result => Ok(result?),
        }
    }

    /// How many of its processes the kernel has killed for lack of memory, until it is deleted: with this and
    /// [`wait`](Container::wait) it is told why one was ended by SIGKILL. `None`: it has no cgroup, or that has not the
    /// controller memory.
    ///
    /// # Errors
    /// When its cgroup cannot be read.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        match Members::of(&self.record)? {
            Members::OfCgroup(cgroup) => Ok(cgroup.oom_kills()?),
            Members::OfNamespace(_) | Members::First(_) => Ok(None),
        }
    }

    /// What happens in it from now on; with an interval also its statistics, each time that has passed.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::NoCgroup`]; when its cgroup cannot be read.
    pub fn events(&self, interval: Option<Duration>) -> Result<Events> {
        self.check_alive()?;
        let process = self.pidfd.as_ref().ok_or(Error::NotRunning)?;
        let process = process.try_clone().map_err(Error::system("duplicating the container's pidfd"))?;
        Events::new(self.own_cgroup("measured")?, process, interval)
    }

    /// Deletes it; see [`Runtime::delete`].
    ///
    /// # Errors
    /// As [`Runtime::delete`].
    pub fn delete(self, force: bool) -> Result<Vec<String>> {
        let Container { directory, record, pidfd, made_here, exit, .. } = self;
        let deleted = match made_here {
            None => delete(&directory, force),
            Some(made_here) => made_here.journal.lock().and_then(|journal| {
                let process = if exit.get().is_some() { None } else { pidfd.as_ref() };
                let members = made_here.members;
                Deletion {
                    journal: &journal,
                    directory: &directory,
                    record: &record,
                    process,
                    members,
                    start_socket: made_here.start_socket,
                }
                .carry_out(force)
            }),
        };
        missing_is_deleted(deleted, force)
    }
}

/// A descriptor for a recorded process, if it is still the one that was recorded.
pub(crate) fn open_process(record: &Record) -> Result<Option<OwnedFd>> {
    record.process.map_or(Ok(None), Process::open)
}

fn status_of(directory: &Directory, record: &Record) -> Result<Status> {
    let Some(process) = record.process else { return Ok(Status::Creating) };
    let frozen = Members::of(record)?.frozen()?;
    // A paused init would not take the connection.
    let waiting = !frozen && start::is_waiting(directory)?;
    // After the others: one that ends does not wait any more, and is not running for that.
    Ok(match process.is_alive()? {
        false => Status::Stopped,
        true if frozen => Status::Paused,
        true if waiting => Status::Created,
        true => Status::Running,
    })
}

/// The state of a container that is on the list. `None`: it has none yet.
fn state_in(directory: &Directory) -> Result<Option<State>> {
    match directory.read()? {
        Some(record) => state_of(directory, &record).map(Some),
        // Its maker has it locked.
        None if directory.is_unlocked()? => Err(Error::Incomplete(directory.id().to_owned())),
        None => Ok(None),
    }
}

fn state_of(directory: &Directory, record: &Record) -> Result<State> {
    let status = status_of(directory, record)?;
    let alive = |process: Process| if status == Status::Stopped { 0 } else { process.pid };
    Ok(State {
        oci_version: record.oci_version.clone(),
        id: directory.id().to_owned(),
        pid: record.process.map_or(0, alive),
        status,
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        annotations: record.annotations.clone(),
        owner: String::new(),
        owner_uid: record.owner_uid,
    })
}

/// Locks a container that is whole.
fn lock(directory: &Directory) -> Result<(Journal, Record)> {
    let incomplete = || Error::Incomplete(directory.id().to_owned());
    let journal = directory.lock()?.ok_or_else(incomplete)?;
    let record = journal.read()?.ok_or_else(incomplete)?;
    Ok((journal, record))
}

/// The configuration of a container that has hooks to be run after it was created: as it was then.
fn later_hooks(journal: &Journal, record: &Record) -> Result<Option<Config>> {
    if !record.hooks {
        return Ok(None);
    }
    let document = journal.document()?;
    Ok(document.map(|document| Config::from_json(&document)).transpose()?)
}

/// Deletes the container of a directory.
fn delete(directory: &Directory, force: bool) -> Result<Vec<String>> {
    if !force {
        let (journal, record) = lock(directory)?;
        return delete_recorded(directory, &journal, &record, false);
    }
    let Some(journal) = remains::lock_by_force(directory)? else { return Ok(Vec::new()) };
    let remains = Remains::of(directory, &journal)?;
    remains.clear()?;
    match &remains.record {
        Some(record) => delete_recorded(directory, &journal, record, true),
        None => directory.remove(true).map(|()| Vec::new()),
    }
}

fn delete_recorded(directory: &Directory, journal: &Journal, record: &Record, force: bool) -> Result<Vec<String>> {
    let process = open_process(record)?;
    let members = Members::of(record)?;
    let process = process.as_ref();
    Deletion { directory, journal, record, process, members, start_socket: true }.carry_out(force)
}

/// A locked container that is to be deleted.
struct Deletion<'a> {
    directory: &'a Directory,
    journal: &'a Journal,
    record: &'a Record,
    /// `None`: it is known to have ended.
    process: Option<&'a OwnedFd>,
    members: Members,
    start_socket: bool,
}

impl Deletion<'_> {
    /// Takes everything away that the journal names: processes, cgroup, pid file, directory. Each step can be
    /// repeated. The poststop hooks are run before the name is given up, so that they are run again when this is
    /// interrupted; what they fail with is returned.
    fn carry_out(&self, force: bool) -> Result<Vec<String>> {
        let Deletion { directory, record, process, members, start_socket, .. } = self;
        let ended = process.map(pidfd::has_ended).transpose();
        let alive = ended.map_err(Error::system("looking at the container's process"))? == Some(false);
        let half_made = record.process.is_none();
        if half_made && !force {
            return Err(Error::Incomplete(directory.id().to_owned()));
        }
        if alive && !force {
            match status_of(directory, record)? {
                Status::Created | Status::Stopped => {}
                status => return Err(Error::NotStopped { id: directory.id().to_owned(), status }),
            }
        }
        if alive || half_made {
            members.kill()?;
        }
        // Whoever ran it was killed.
        record.hook.map_or(Ok(()), hooks::kill)?;
        if let (true, Some(process)) = (alive, process) {
            end_process(process, record.process.map_or(0, |process| process.pid))?;
        }
        // Without a pid namespace of its own, other processes may have outlived the first.
        match members.remove(Some(if alive || half_made { CGROUP_DEADLINE } else { Duration::ZERO })) {
            Err(no_frills_cgroups::Error::Timeout { .. }) if !alive => {
                members.kill()?;
                members.remove(Some(CGROUP_DEADLINE))?;
            }
            result => result?,
        }
        record.unit.as_ref().map_or(Ok(()), systemd::stop)?;
        resctrl::remove(&record.resctrl)?;
        if let Some(path) = &record.pid_file {
            remove_file(path)?;
        }
        let warnings = self.run_poststop_hooks(force);
        directory.remove(*start_socket)?;
        Ok(warnings)
    }

    /// Whatever is wrong with them does not keep the container.
    fn run_poststop_hooks(&self, force: bool) -> Vec<String> {
        let at_most = force.then_some(hooks::BY_FORCE);
        let run = || match later_hooks(self.journal, self.record)? {
            Some(config) => hooks::after_stop(self.record, self.directory.id(), &config.hooks, self.journal, at_most),
            None => Ok(Vec::new()),
        };
        run().unwrap_or_else(|error| vec![error]).iter().map(ToString::to_string).collect()
    }
}

fn end_process(pidfd: &OwnedFd, pid: i32) -> Result<()> {
    match pidfd::send_signal(pidfd, Signal::KILL.number()) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(Error::system("killing the container's process: pidfd_send_signal")(errno)),
    }
    let milliseconds = CGROUP_DEADLINE.as_millis() as u16;
    match pidfd::wait_ended_within(pidfd, milliseconds).map_err(Error::system("waiting for the container's process"))? {
        true => Ok(()),
        false => Err(Error::NotEnding { pid, seconds: CGROUP_DEADLINE.as_secs() }),
    }
}
