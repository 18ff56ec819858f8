//! Deleting a container.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use no_frills_sys::pidfd;

use super::Container;
use super::status::{later_hooks, lock, open_process, status_of};
use crate::error::{Error, Result};
use crate::launch::CGROUP_DEADLINE;
use crate::members::Members;
use crate::remains::{self, Remains};
use crate::signal::Signal;
use crate::state::{Directory, Journal, Record, Status, remove_file};
use crate::{hooks, resctrl, systemd};

impl Container {
    /// Deletes it; see [`Runtime::delete`](crate::Runtime::delete).
    ///
    /// # Errors
    /// As [`Runtime::delete`](crate::Runtime::delete).
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

pub(super) fn missing_is_deleted(result: Result<Vec<String>>, force: bool) -> Result<Vec<String>> {
    match result {
        Err(Error::NotFound) if force => Ok(Vec::new()),
        result => result,
    }
}

/// Deletes the container of a directory.
pub(super) fn delete(directory: &Directory, force: bool) -> Result<Vec<String>> {
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
pub(super) struct Deletion<'a> {
    pub(super) directory: &'a Directory,
    pub(super) journal: &'a Journal,
    pub(super) record: &'a Record,
    /// `None`: it is known to have ended.
    pub(super) process: Option<&'a OwnedFd>,
    pub(super) members: Members,
    pub(super) start_socket: bool,
}

impl Deletion<'_> {
    /// Takes everything away that the journal names: processes, cgroup, pid file, directory. Each step can be
    /// repeated. The poststop hooks are run before the name is given up, so that they are run again when this is
    /// interrupted; what they fail with is returned.
    pub(super) fn carry_out(&self, force: bool) -> Result<Vec<String>> {
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
