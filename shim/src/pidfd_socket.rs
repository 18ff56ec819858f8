//! `--pidfd-socket`: where an engine gets a pidfd of the process.

use std::ffi::{CStr, OsStr};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use no_frills::connect_to;

use crate::cause::cause;

/// A connection to whoever wants the pidfd.
pub(crate) struct PidfdSocket(OwnedFd);

impl PidfdSocket {
    /// Connects, before anything is made.
    pub(crate) fn connect(path: &OsStr) -> Result<PidfdSocket, String> {
        connect_to("pidfd", Path::new(path)).map(PidfdSocket).map_err(|error| error.to_string())
    }

    /// Sends the descriptor, in one message with a text that says what it is of: runc's is `standard` for a container's
    /// first process and `setns` for another one.
    pub(crate) fn send(self, text: &CStr, pidfd: BorrowedFd<'_>) -> Result<(), String> {
        let rights = [pidfd.as_raw_fd()];
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(text.to_bytes())],
            &[ControlMessage::ScmRights(&rights)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map(drop)
        .map_err(|error| format!("sending to the pidfd socket: {}", cause(error)))
    }
}
