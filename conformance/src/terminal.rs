//! Pseudo-terminals and console sockets.

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::bundle::{Test, eventually, patience, readable};
use crate::expect::{Verdict, check, fail, same, some};

/// A new pseudo-terminal: its master and its slave.
pub(crate) fn open() -> Verdict<(File, File)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty())?;
    Ok((master.into(), slave.into()))
}

/// Sets the window's size.
pub(crate) fn resize(terminal: &File, rows: u16, columns: u16) -> Verdict {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// The terminal is in raw mode, in which a runtime passes it through. Ours sets that before the program runs, others at
/// some time; what comes before that is echoed and may be held back.
pub(crate) fn is_raw(t: &Test, slave: &File) -> Verdict {
    use rustix::termios::LocalModes;
    let raw = || {
        let modes = rustix::termios::tcgetattr(slave)?.local_modes;
        Ok(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG))
    };
    if t.ours() {
        check(raw()?, || "the terminal is not raw".to_owned())
    } else {
        eventually("the terminal is raw", raw)
    }
}

/// Reads from a terminal's master until the text is there; what was read, without carriage returns.
pub(crate) fn read_until(master: &mut File, text: &str) -> Verdict<String> {
    let deadline = Instant::now() + patience();
    let mut seen = Vec::new();
    loop {
        let so_far = String::from_utf8_lossy(&seen).replace('\r', "");
        if so_far.contains(text) {
            return Ok(so_far);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO || !readable(master, left)? {
            return fail(format!("on the terminal\nexpected: {text:?}\nactual:   {so_far:?}"));
        }
        let mut buffer = [0; 4096];
        // EIO: the slave's last descriptor is closed.
        match master.read(&mut buffer) {
            Ok(0) => return fail(format!("on the terminal\nexpected: {text:?}\nactual:   {so_far:?}, then its end")),
            Ok(length) => seen.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(e) => return fail(format!("on the terminal\nexpected: {text:?}\nactual:   {so_far:?}, then {e}")),
        }
    }
}

/// Listens for a console.
pub(crate) fn listen(path: &Path) -> Verdict<UnixListener> {
    Ok(UnixListener::bind(path)?)
}

/// Takes the one connection with the one descriptor that a runtime sends.
pub(crate) fn receive(listener: &UnixListener) -> Verdict<File> {
    if !readable(listener, patience())? {
        return fail("nothing connected to the console socket");
    }
    let (connection, _) = listener.accept()?;
    let mut data = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(&connection, &mut [IoSliceMut::new(&mut data)], &mut messages, flags)?;
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in messages.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    same("descriptors received on the console socket", fds.len(), 1)?;
    // A stream socket cannot carry a descriptor without a byte.
    same("an empty message on the console socket", received.bytes == 0, false)?;
    Ok(some("the console", fds.pop())?.into())
}
