//! Readiness: what a container's process tells on the socket that `NOTIFY_SOCKET` names (sd_notify(3)), and how it gets to
//! the service manager.
//!
//! ```text
//! create: ROOT/ID/notify, mounted read-only at /run/notify
//! start:  bind ROOT/ID/notify/notify.sock, start; wait for READY=1 or the end
//!         READY=1, MAINPID=N, BARRIER=1 + [pipe]  --->  manager, which closes the pipe when it has read them
//! ```
//!
//! Nothing but READY=1 is passed on: whatever else could be said there would be about the caller.

use std::fs::{File, Permissions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, recv, socket as open_socket,
};
use nix::unistd::pipe2;
use no_frills_sys::socket;

use crate::error::{Error, Result};
use crate::state::remove_file;

/// Where the container's process finds its socket.
pub(crate) const DESTINATION: &str = "/run/notify";
/// The socket's name there.
pub(crate) const SOCKET: &str = "notify.sock";

/// How long the manager may take to read: as long as sd_notify_barrier(3) has it in systemd's own programs.
const BARRIER: u16 = 30_000;

fn datagrams(flags: SockFlag) -> Result<OwnedFd> {
    open_socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC | flags, None)
        .map_err(Error::system("making a socket"))
}

/// The socket on which a container's process tells that it is ready.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
}

impl AsFd for NotifySocket {
    /// To be polled: it can be read when there is something for [`is_ready`](NotifySocket::is_ready).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NotifySocket {
    /// Binds the socket in the directory that is mounted in the container.
    pub(crate) fn bind(directory: &Path) -> Result<NotifySocket> {
        let path = directory.join(SOCKET);
        // By its descriptor: the path may be longer than an address.
        let opened = File::open(directory).map_err(Error::at("opening", directory))?;
        let near = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        // Left by a start that failed.
        remove_file(&path)?;
        let socket = datagrams(SockFlag::SOCK_NONBLOCK)?;
        let address = UnixAddr::new(near.as_str()).map_err(Error::at("addressing", &path))?;
        bind(socket.as_raw_fd(), &address).map_err(Error::at("binding", &path))?;
        // Any of the container's users may say it.
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).map_err(Error::at("opening up", &path))?;
        Ok(NotifySocket { socket })
    }

    /// Reads what was said so far; whether READY=1 was among it. Does not wait.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn is_ready(&self) -> Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("reading a notification")(errno)),
                Ok(length) => {
                    let said = buffer.get(..length).unwrap_or_default();
                    if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Waits until READY=1 is said, or (`false`) the process has ended without.
    ///
    /// # Errors
    /// When waiting or reading fails.
    pub fn wait(&self, process: BorrowedFd<'_>) -> Result<bool> {
        loop {
            let mut entries = [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(process, PollFlags::POLLIN)];
            match poll(&mut entries, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.map_err(Error::system("waiting for a notification"))?,
            };
            let [_, process] = entries;
            let ended = process.any().unwrap_or(true);
            // What it said last counts.
            match self.is_ready()? {
                true => return Ok(true),
                false if ended => return Ok(false),
                false => {}
            }
        }
    }
}

/// Who waits for the container to be ready: the service manager.
#[derive(Debug)]
pub struct NotifyManager {
    socket: OwnedFd,
}

impl NotifyManager {
    /// Connects to the socket that the manager gave its service as `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    ///
    /// # Errors
    /// When there is no such socket.
    pub fn connect(address: impl AsRef<Path>) -> Result<NotifyManager> {
        let path = address.as_ref();
        let address = match path.as_os_str().as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name),
            _ => UnixAddr::new(path),
        };
        let connecting = "connecting to the service manager at";
        let address = address.map_err(Error::at(connecting, path))?;
        let socket = datagrams(SockFlag::empty())?;
        connect(socket.as_raw_fd(), &address).map_err(Error::at(connecting, path))?;
        Ok(NotifyManager { socket })
    }

    /// Tells the manager that the service is ready and which process is its main one. Returns when the manager has read
    /// it: one that finds the sender gone does not know whose the message is. A manager that does not read is
    /// waited for half a minute.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn ready(&self, main_pid: i32) -> Result<()> {
        let send = |text: &[u8], attached: &[i32]| {
            socket::send(&self.socket, &[text], attached).map_err(Error::system("notifying the service manager"))
        };
        send(b"READY=1\n", &[])?;
        send(format!("MAINPID={main_pid}\n").as_bytes(), &[])?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(Error::system("making a pipe"))?;
        send(b"BARRIER=1", &[writer.as_raw_fd()])?;
        drop(writer);
        loop {
            // Its other end is closed.
            let mut entries = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            match poll(&mut entries, PollTimeout::from(BARRIER)) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop).map_err(Error::system("waiting for the service manager")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("no-frills-notify-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn only_readiness_counts() {
        let directory = directory("ready");
        let socket = NotifySocket::bind(&directory).unwrap();
        let say = |text: &str| {
            UnixDatagram::unbound().unwrap().send_to(text.as_bytes(), directory.join(SOCKET)).unwrap();
        };
        for text in ["STATUS=READY=1", "READY=0", "READY=11", "", "\n"] {
            say(text);
        }
        assert!(!socket.is_ready().unwrap());
        say("STATUS=x\nREADY=1\n");
        assert!(socket.is_ready().unwrap());
        // A second start finds the socket of the first.
        NotifySocket::bind(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_end_of_the_process_ends_the_wait() {
        let directory = directory("end");
        let socket = NotifySocket::bind(&directory).unwrap();
        // Its other end is closed: it can be read, as the pidfd of a process that has ended.
        let (ended, _) = pipe2(OFlag::O_CLOEXEC).unwrap();
        assert!(!socket.wait(ended.as_fd()).unwrap());
        UnixDatagram::unbound().unwrap().send_to(b"READY=1", directory.join(SOCKET)).unwrap();
        assert!(socket.wait(ended.as_fd()).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_manager_hears_who_is_ready() {
        let directory = directory("manager");
        let path = directory.join("manager.sock");
        assert!(NotifyManager::connect(&path).is_err());
        let manager = UnixDatagram::bind(&path).unwrap();
        let sender = NotifyManager::connect(&path).unwrap();
        let reader = std::thread::spawn(move || {
            let mut heard = Vec::new();
            let mut buffer = [0; 64];
            while heard.last().is_none_or(|last| last != "BARRIER=1") {
                let length = manager.recv(&mut buffer).unwrap();
                heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            heard
        });
        sender.ready(42).unwrap();
        assert_eq!(reader.join().unwrap(), ["READY=1\n", "MAINPID=42\n", "BARRIER=1"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
