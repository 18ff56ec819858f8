//! The console socket: where an engine gets the master side of a container's terminal.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use no_frills_sys::socket;
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

use crate::error::{Error, Result};

/// How long whoever listens on a socket of the caller's may take to take a connection.
const DEADLINE: Duration = Duration::from_secs(10);

/// Connects to the console socket, before anything is made.
pub(crate) fn connect(path: Option<&Path>, terminal: bool) -> Result<Option<OwnedFd>> {
    match path {
        None => Ok(None),
        Some(_) if !terminal => Err(Error::Option(
            "a console socket is given, but /process/terminal does not ask for a terminal".to_owned(),
        )),
        Some(path) => connect_to("console", path).map(Some),
    }
}

/// Connects to a socket of the caller's, which is to get a descriptor.
///
/// # Errors
/// As connect(2); [`Error::Mute`] when nobody takes the connection within 10 seconds.
pub fn connect_to(what: &'static str, path: &Path) -> Result<OwnedFd> {
    match socket::connect_stream(path, DEADLINE) {
        Err(Errno::ETIMEDOUT) => Err(Error::Mute { what, path: path.to_owned(), seconds: DEADLINE.as_secs() }),
        result => result.map_err(Error::system(format!("connecting to the {what} socket {}", path.display()))),
    }
}

/// Sends the terminal's master to the console socket, or, where the caller keeps it, has it leave the ends of lines as they are
/// (`ONLCR` off): that caller's own terminal, if there is one, makes them its own, and a pipe or a file gets none but what the
/// program wrote. As runc does; who is sent the terminal decides for itself.
pub(crate) fn hand_over(socket: Option<&OwnedFd>, console: &mut Option<OwnedFd>) -> Result<()> {
    match (socket, console.as_ref()) {
        (Some(socket), Some(master)) => {
            send(socket, master)?;
            *console = None;
            Ok(())
        }
        (None, Some(master)) => leave_line_ends(master)
            .map_err(|errno| Error::system("setting the modes of the terminal")(Errno::from_raw(errno.raw_os_error()))),
        (_, None) => Ok(()),
    }
}

fn leave_line_ends(terminal: &OwnedFd) -> rustix::io::Result<()> {
    let mut modes = tcgetattr(terminal)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(terminal, OptionalActions::Now, &modes)
}

/// With a name as runc does: one message, one descriptor.
fn send(socket: &OwnedFd, master: &OwnedFd) -> Result<()> {
    socket::send(socket, &[b"/dev/ptmx"], &[master.as_raw_fd()])
        .map_err(Error::system("sending the terminal to the console socket"))
}
