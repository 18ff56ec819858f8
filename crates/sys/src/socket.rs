//! Datagrams with descriptors attached, over `SOCK_SEQPACKET` sockets of the Unix domain (unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    sendmsg, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// Two connected sockets.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Connects to a `SOCK_STREAM` socket. Where the queue of those who want to is full, and whenever what is sent finds no room,
/// it is waited for, but not longer than `patience`, of whole seconds.
///
/// # Errors
/// As socket(2) and connect(2); `ETIMEDOUT` when nobody has made room in time; `ENAMETOOLONG`.
pub fn connect_stream(path: &Path, patience: Duration) -> nix::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&stream, sockopt::SendTimeout, &TimeVal::new(patience.as_secs() as i64, 0))?;
    match connect(stream.as_raw_fd(), &address) {
        // As the others may answer, too, for other reasons.
        Err(Errno::EAGAIN) => Err(Errno::ETIMEDOUT),
        result => result.map(|()| stream),
    }
}

/// Sends one datagram made of parts, with descriptors attached (at most 253).
///
/// # Errors
/// As sendmsg(2); `EPIPE` when the other end is closed, never a signal.
pub fn send(socket: &impl AsFd, parts: &[&[u8]], attached: &[RawFd]) -> nix::Result<()> {
    let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let rights = [ControlMessage::ScmRights(attached)];
    let control: &[ControlMessage<'_>] = if attached.is_empty() { &[] } else { &rights };
    let fd = socket.as_fd().as_raw_fd();
    loop {
        match sendmsg::<()>(fd, &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Ends the conversation: the other end hears nothing any more, also if it is somewhere else still open here.
///
/// # Errors
/// As shutdown(2); not when the other end was closed before.
pub fn shut_down(socket: &impl AsFd) -> nix::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: no pointers.
    match Errno::result(unsafe { libc::syscall(libc::SYS_shutdown, fd, libc::SHUT_RDWR) }) {
        Ok(_) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// What was received.
#[derive(Debug)]
pub struct Datagram {
    /// How many bytes; 0 when the other end is closed.
    pub length: usize,
    /// At most one descriptor.
    pub attached: Option<OwnedFd>,
    /// The other end was closed before it had read all that we said. Told once.
    pub unread: bool,
}

/// Receives one datagram.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> nix::Result<Datagram> {
    let fd = socket.as_fd().as_raw_fd();
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut unread = false;
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = match recvmsg::<()>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => continue,
            // The kernel tells it ahead of what the other end said last; the next call has that, or the
            // end of file.
            Err(Errno::ECONNRESET) => {
                unread = true;
                continue;
            }
            result => result?,
        };
        let mut attached = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                for fd in fds {
                    // SAFETY: the kernel has just made this descriptor for us.
                    attached = Some(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
        return Ok(Datagram { length: message.bytes, attached, unread });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_an_end_that_did_not_listen_are_heard() {
        let (left, right) = pair().unwrap();
        send(&left, &[b"unread"], &[]).unwrap();
        send(&right, &[b"last words"], &[]).unwrap();
        drop(right);
        let mut buffer = [0; 16];
        let last = receive(&left, &mut buffer).unwrap();
        assert_eq!((&buffer[..last.length], last.unread), (b"last words" as &[u8], true));
        let end = receive(&left, &mut buffer).unwrap();
        assert_eq!((end.length, end.unread), (0, false));
    }

    #[test]
    fn a_datagram_brings_its_descriptor() {
        let (left, right) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&left, &[b"ab", b"c"], &[file.as_raw_fd()]).unwrap();
        let mut buffer = [0; 8];
        let datagram = receive(&right, &mut buffer).unwrap();
        assert_eq!((&buffer[..datagram.length], datagram.attached.is_some()), (b"abc" as &[u8], true));
        drop(left);
        assert_eq!(receive(&right, &mut buffer).unwrap().length, 0);
        assert_eq!(send(&right, &[b"x"], &[]), Err(Errno::EPIPE));
    }
}
