//! Starting a created container: the socket on which its init waits.
//!
//! ```text
//! create: bind(start.sock), listen; the listening socket goes to init with `Created`
//! start:  connect, send `Start`;  end of file: the program runs;  `Failed`: it does not
//! ```
//!
//! The socket's path may be longer than the 108 bytes of a `sockaddr_un`, so it is reached through the
//! directory's descriptor in `/proc/self/fd`. A connection that says nothing does not disturb init: this is how the state of a
//! container is told whose `start` was killed half-way.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen as listen_on, socket as open_socket,
};
use no_frills_plan::{Kind, MESSAGE_MAX, Message};
use no_frills_sys::socket;

use crate::error::{Error, Result};
use crate::launch::{program_failed, socket_send};
use crate::state::{Directory, Record};

/// Calls `with` with the socket's address.
fn at_address<T>(directory: &Directory, with: impl FnOnce(&UnixAddr) -> nix::Result<T>) -> Result<nix::Result<T>> {
    let opened = File::open(directory.path()).map_err(Error::at("opening", directory.path()))?;
    let path = format!("/proc/self/fd/{}/start.sock", opened.as_raw_fd());
    let address = UnixAddr::new(path.as_str()).map_err(Error::at("addressing", &directory.start_socket()))?;
    Ok(with(&address))
}

fn new_socket() -> Result<OwnedFd> {
    open_socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .map_err(Error::system("making a socket"))
}

/// Makes the socket on which init will wait.
pub(crate) fn listen(directory: &Directory) -> Result<OwnedFd> {
    let socket = new_socket()?;
    let path = directory.start_socket();
    at_address(directory, |address| bind(socket.as_raw_fd(), address))?.map_err(Error::at("binding", &path))?;
    let backlog = Backlog::new(16).map_err(Error::at("listening on", &path))?;
    listen_on(&socket, backlog).map_err(Error::at("listening on", &path))?;
    Ok(socket)
}

/// Connects to a waiting init. `None`: nobody waits.
fn reach(directory: &Directory) -> Result<Option<OwnedFd>> {
    let socket = new_socket()?;
    match at_address(directory, |address| connect(socket.as_raw_fd(), address)) {
        Err(Error::System { errno: Errno::ENOENT, .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(Err(Errno::ENOENT | Errno::ECONNREFUSED)) => Ok(None),
        Ok(Err(errno)) => Err(Error::at("connecting to", &directory.start_socket())(errno)),
        Ok(Ok(())) => Ok(Some(socket)),
    }
}

/// Whether the container's init waits to be started.
pub(crate) fn is_waiting(directory: &Directory) -> Result<bool> {
    // Most containers that are looked at have been started: spare them the socket.
    match directory.start_socket().try_exists() {
        Ok(true) => Ok(reach(directory)?.is_some()),
        Ok(false) => Ok(false),
        Err(error) => Err(Error::at("finding", &directory.start_socket())(error)),
    }
}

/// Lets the container's program run, and returns when it does. `false`: init was not waiting.
pub(crate) fn start(directory: &Directory, record: &Record) -> Result<bool> {
    let Some(init) = reach(directory)? else { return Ok(false) };
    socket_send(&init, &Message::new(Kind::Start), &[])?;
    let mut buffer = [0; MESSAGE_MAX];
    let (length, _) = socket::receive(&init, &mut buffer).map_err(Error::system("receiving from init"))?;
    match buffer.get(..length).and_then(Message::decode) {
        _ if length == 0 => {}
        Some(message) if message.kind == Kind::Failed => {
            directory.remove_start_socket()?;
            return Err(program_failed(&record.program, Errno::from_raw(message.errno)));
        }
        _ => return Err(Error::InitEnded("it said something that is no message".to_owned())),
    }
    directory.remove_start_socket()?;
    Ok(true)
}
