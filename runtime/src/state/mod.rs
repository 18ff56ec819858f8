//! What is kept of a container on disk, and what is told of it.
//!
//! ```text
//! ROOT/ID/             the directory is the claim of the name: mkdir(2) decides between two creates
//!   state.json         the journal: the configuration, then one record a line, of which the last whole line counts
//!   cgroup             a symbolic link that names its cgroup again, relative to the mount, should the journal be damaged
//!   start.sock         where `start` connects, as long as the container is created and not started
//!   notify/            what is mounted at /run/notify, in a container that notifies
//!     notify.sock      where its process tells that it is ready, from its start on
//! ```
//!
//! The journal is written before what it speaks of is made: the first record names the cgroup and the pid file, later
//! ones add the process. Records are appended with one write(2) each; a line cut by a crash or a full disk
//! does not count. `flock(2)` on `state.json` keeps commands that change the container apart; readers take
//! no lock. Everything is removed in the order `start.sock`, `cgroup`, `state.json`, directory, so that a name is free only
//! when nothing is left. What is damaged is told by every command, and cleared away by `delete --force` ([`crate::remains`]).

mod directory;
mod journal;
mod process;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

pub(crate) use directory::{Directory, remove_file};
pub(crate) use journal::{Journal, Record, Unit, UnlockedJournal, VERSION, Whole};
pub(crate) use process::{Process, ProcessStat};

/// Where a container is in its life (runtime.md, "State").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A create is at work, or was interrupted.
    Creating,
    /// Everything is ready; the program has not been started.
    Created,
    /// The program runs.
    Running,
    /// All its processes are stopped by its cgroup, whether the program was started before or not.
    Paused,
    /// The program has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// A container's state, as runtime.md has it and `runc state` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification that the configuration follows.
    pub oci_version: String,
    /// The name.
    pub id: String,
    /// The process as the host sees it; 0 when it has ended.
    pub pid: i32,
    /// Where it is in its life.
    pub status: Status,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root filesystem's absolute path.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 in UTC.
    pub created: String,
    /// The configuration's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Always empty, as runc has it.
    pub owner: String,
    /// The user who created it.
    #[serde(skip)]
    pub owner_uid: u32,
}
