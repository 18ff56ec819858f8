//! Containers: by name, in a state root.

mod delete;
mod exit;
mod options;
mod runtime;
mod start;
mod status;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use no_frills_cgroups::{Cgroup, Stats};
use no_frills_sys::pidfd;
use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::exec::{Exec, ExecOptions, ProcessConfig, There, exec, process_of};
use crate::launch::{CGROUP_DEADLINE, MadeHere};
use crate::members::Members;
use crate::signal::Signal;
use crate::state::{Directory, ProcessStat, Record, State, Status, Whole};
use crate::timings::Timings;
use crate::update::Update;
pub use exit::ExitStatus;
pub(crate) use exit::wait_once;
pub use options::{CreateOptions, OwnCgroup};
use runtime::InitFile;
pub use runtime::{Listing, Runtime};
pub(crate) use status::open_process;
use status::{lock, state_of, status_of};

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

    /// The master of its terminal, once, if it was created with one and without a console socket. Its lines end as the program
    /// writes them: `ONLCR` is off.
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
    /// they would not end with the first, or have outlived it. Of a paused container that ends it; any other signal comes when it is resumed.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when its process has ended and none is left.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        // A zombie takes signals, but nothing comes of them.
        match self.check_alive() {
            Err(Error::NotRunning) if signal == Signal::KILL && !self.record.own_pids => return self.kill_left(),
            alive => alive?,
        }
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

    /// Kills what the first process has left, which did not end with it.
    #[cold]
    fn kill_left(&self) -> Result<()> {
        // So that the cgroup is not another's by now.
        let _journal = self.directory.lock_shared(None)?;
        let members = Members::of(&self.record)?;
        if members.processes()?.is_empty() {
            return Err(Error::NotRunning);
        }
        members.kill()?;
        members.thaw()
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
}
