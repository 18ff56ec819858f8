//! Where a container is in its life, by what is on disk and what its processes do.

use std::os::fd::OwnedFd;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::members::Members;
use crate::start;
use crate::state::{Directory, Journal, Process, Record, State, Status};

/// A descriptor for a recorded process, if it is still the one that was recorded.
pub(crate) fn open_process(record: &Record) -> Result<Option<OwnedFd>> {
    record.process.map_or(Ok(None), Process::open)
}

pub(super) fn status_of(directory: &Directory, record: &Record) -> Result<Status> {
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
pub(super) fn state_in(directory: &Directory) -> Result<Option<State>> {
    match directory.read()? {
        Some(record) => state_of(directory, &record).map(Some),
        // Its maker has it locked.
        None if directory.is_unlocked()? => Err(Error::Incomplete(directory.id().to_owned())),
        None => Ok(None),
    }
}

pub(super) fn state_of(directory: &Directory, record: &Record) -> Result<State> {
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
pub(super) fn lock(directory: &Directory) -> Result<(Journal, Record)> {
    let incomplete = || Error::Incomplete(directory.id().to_owned());
    let journal = directory.lock()?.ok_or_else(incomplete)?;
    let record = journal.read()?.ok_or_else(incomplete)?;
    Ok((journal, record))
}

/// The configuration of a container that has hooks to be run after it was created: as it was then.
pub(super) fn later_hooks(journal: &Journal, record: &Record) -> Result<Option<Config>> {
    if !record.hooks {
        return Ok(None);
    }
    let document = journal.document()?;
    Ok(document.map(|document| Config::from_json(&document)).transpose()?)
}
