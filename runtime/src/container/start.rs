//! Starting a created container.

use std::os::fd::AsFd;

use super::Container;
use super::delete::Deletion;
use super::status::{later_hooks, lock, open_process, status_of};
use crate::config::{Config, Moment};
use crate::error::{Error, Result};
use crate::hooks::{self, Inside, Occasion};
use crate::members::Members;
use crate::notify::NotifySocket;
use crate::start;
use crate::state::{Journal, ProcessStat, Record, Status};
use crate::timings::{Timings, mark};

impl Container {
    /// Starts a created container, and returns when its program runs.
    ///
    /// # Errors
    /// [`Error::NotCreated`] in any other state; [`Error::Program`] when the program cannot be executed.
    pub fn start(&self) -> Result<()> {
        let (journal, record) = lock(&self.directory)?;
        self.start_locked(&journal, &record)
    }

    /// Takes the time of what [`start`](Container::start) does. Whoever is created with
    /// [`CreateOptions::timings`](super::CreateOptions::timings) has the same clock for it.
    pub fn set_timings(&mut self, timings: Timings) {
        self.timings = Some(timings);
    }

    /// Whether its process was given a socket to tell on that it is ready ([`CreateOptions::notify`](super::CreateOptions::notify)).
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.record.notify
    }

    /// As [`start`](Container::start), with somebody to listen when it tells that it is ready.
    ///
    /// # Errors
    /// As `start`; [`Error::Option`] when it was created without [`CreateOptions::notify`](super::CreateOptions::notify).
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
}
