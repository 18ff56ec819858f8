//! The console socket: where an engine gets the master side of a container's terminal.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use no_frills_sys::socket;

use crate::error::{Error, Result};

/// Connects to the console socket, before anything is made.
pub(crate) fn connect(path: Option<&Path>, terminal: bool) -> Result<Option<OwnedFd>> {
    match path {
        None => Ok(None),
        Some(_) if !terminal => Err(Error::Option(
            "a console socket is given, but /process/terminal does not ask for a terminal".to_owned(),
        )),
        Some(path) => {
            let stream = UnixStream::connect(path).map_err(Error::at("connecting to the console socket", path))?;
            Ok(Some(stream.into()))
        }
    }
}

/// Sends the terminal's master, with a name as runc does: one message, one descriptor.
pub(crate) fn send(socket: &OwnedFd, master: &OwnedFd) -> Result<()> {
    socket::send(socket, &[b"/dev/ptmx"], &[master.as_raw_fd()])
        .map_err(Error::system("sending the terminal to the console socket"))
}
