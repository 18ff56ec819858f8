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
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen as listen_on, socket as open_socket,
};
use no_frills_plan::{Kind, MESSAGE_MAX, Message, call};
use no_frills_sys::socket;

use crate::compile::Pointer;
use crate::error::{Error, Result};
use crate::init::{program_failed, socket_send};
use crate::state::{Directory, Record};

/// Calls `with` with the socket's address.
fn at_address<T>(directory: &Directory, with: impl FnOnce(&UnixAddr) -> nix::Result<T>) -> Result<nix::Result<T>> {
    let opened = File::open(directory.path()).map_err(Error::at("opening", directory.path()))?;
    let path = format!("/proc/self/fd/{}/start.sock", opened.as_raw_fd());
    let address = UnixAddr::new(path.as_str()).map_err(Error::at("addressing", &directory.start_socket()))?;
    Ok(with(&address))
}

fn new_socket(flags: SockFlag) -> Result<OwnedFd> {
    open_socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC | flags, None)
        .map_err(Error::system("making a socket"))
}

/// Makes the socket on which init will wait.
pub(crate) fn listen(directory: &Directory) -> Result<OwnedFd> {
    let socket = new_socket(SockFlag::empty())?;
    let path = directory.start_socket();
    at_address(directory, |address| bind(socket.as_raw_fd(), address))?.map_err(Error::at("binding", &path))?;
    let backlog = Backlog::new(16).map_err(Error::at("listening on", &path))?;
    listen_on(&socket, backlog).map_err(Error::at("listening on", &path))?;
    Ok(socket)
}

/// How often a start is said again to an init that closed the connection before it had heard it.
const ATTEMPTS: usize = 16;

/// What came of connecting to init.
enum Reached {
    /// Init will hear what is said.
    Connected(OwnedFd),
    /// It waits, but has taken so few of those who came before that there is no room for another.
    Full,
    /// Nobody waits.
    Nobody,
}

/// Connects to a waiting init, without waiting for it.
fn reach(directory: &Directory) -> Result<Reached> {
    // Init may be stopped or frozen: then connections wait in the queue, and connect(2) for room in there.
    let socket = new_socket(SockFlag::SOCK_NONBLOCK)?;
    match at_address(directory, |address| connect(socket.as_raw_fd(), address)) {
        Err(Error::System { errno: Errno::ENOENT, .. }) => Ok(Reached::Nobody),
        Err(error) => Err(error),
        Ok(Err(Errno::ENOENT | Errno::ECONNREFUSED)) => Ok(Reached::Nobody),
        Ok(Err(Errno::EAGAIN)) => Ok(Reached::Full),
        Ok(Err(errno)) => Err(Error::at("connecting to", &directory.start_socket())(errno)),
        Ok(Ok(())) => Ok(Reached::Connected(socket)),
    }
}

/// Whether the container's init waits to be started.
pub(crate) fn is_waiting(directory: &Directory) -> Result<bool> {
    // Most containers that are looked at have been started: spare them the socket.
    match directory.start_socket().try_exists() {
        Ok(true) => Ok(!matches!(reach(directory)?, Reached::Nobody)),
        Ok(false) => Ok(false),
        Err(error) => Err(Error::at("finding", &directory.start_socket())(error)),
    }
}

/// Lets the container's program run, and returns when it does. `false`: init was not waiting.
pub(crate) fn start(directory: &Directory, record: &Record) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let init = match reach(directory)? {
            Reached::Connected(init) => init,
            Reached::Full => return Err(Error::InitMute),
            Reached::Nobody => return Ok(false),
        };
        if let Some(outcome) = request(&init, record)? {
            let removed = directory.remove_start_socket();
            return match outcome {
                Ok(()) => removed.map(|()| true),
                Err(error) => Err(error.and_cleanup(removed)),
            };
        }
    }
    Err(Error::InitMute)
}

/// Says `Start` and waits for what comes of it. `None`: init did not hear it; it has ended, or lacked something for a
/// moment and waits for the next.
fn request(init: &OwnedFd, record: &Record) -> Result<Option<Result<()>>> {
    let message = Message::new(Kind::Start);
    match socket_send(init, &message, &[]) {
        Err(Error::System { errno: Errno::EPIPE | Errno::ECONNRESET, .. }) => return Ok(None),
        result => result?,
    }
    fcntl(init, FcntlArg::F_SETFL(OFlag::empty())).map_err(Error::system("waiting for init"))?;
    let mut buffer = [0; MESSAGE_MAX];
    let received = socket::receive(init, &mut buffer).map_err(Error::system("receiving from init"))?;
    if received.length == 0 {
        // Closed by execve; or by its death right before, which is the same as right after.
        return Ok(if received.unread { None } else { Some(Ok(())) });
    }
    match buffer.get(..received.length).and_then(Message::decode) {
        Some(message) if message.kind == Kind::Failed => Ok(Some(Err(failed(record, &message)))),
        _ => Err(Error::InitEnded("it said something that is no message".to_owned())),
    }
}

/// Why the program does not run.
fn failed(record: &Record, message: &Message<'_>) -> Error {
    let errno = Errno::from_raw(message.errno);
    if message.call == call::EXECVE {
        return program_failed(&record.program, errno);
    }
    Error::Step {
        // The plan that the step belongs to is gone, but only resource limits are set by this call.
        pointer: if message.call == call::PRLIMIT64 { Pointer::RLIMITS.to_string() } else { String::new() },
        action: "starting the program".to_owned(),
        call: call::name(message.call),
        errno,
        said: String::new(),
    }
}
