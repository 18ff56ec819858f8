//! An init that waits for a plan which never comes: a process that is there, and holds nothing. The kernel makes a user namespace,
//! and systemd a scope, only for a process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use no_frills_sys::socket;
use no_frills_sys::spawn::{Child, Executable, Failure, Spawn, spawn};

use super::child::kill_and_reap;
use crate::error::{Error, Result};

/// It would end by itself if we did.
pub(crate) struct Idle {
    child: Child,
    /// As long as this is open, it waits.
    _socket: OwnedFd,
}

impl Idle {
    /// Starts one from init's memfd, in these new namespaces; `failed` tells what for.
    pub(crate) fn start(init: BorrowedFd<'_>, namespaces: u64, failed: impl FnOnce(Failure) -> Error) -> Result<Idle> {
        let (ours, its) = socket::pair().map_err(Error::system("making a socket pair"))?;
        let child = spawn(&Spawn {
            program: Executable::File(init),
            arguments: &[c"init", c"3"],
            environment: &[],
            namespaces,
            keep_capabilities: false,
            leads_group: false,
            cgroup: None,
            descriptors: &[(its.as_fd(), 3)],
            apart: None,
        });
        Ok(Idle { child: child.map_err(failed)?, _socket: ours })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Kills and reaps it.
    pub(crate) fn end(&self) -> Result<()> {
        kill_and_reap(&self.child)
    }
}
