//! A connection to a manager: systemd's own socket, or the bus on which it is.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{Call, ERROR, Malformed, Message, REPLY, SIGNAL, Writer};
use crate::events::{Deadline, timeout};

/// How long one command waits for the manager in all.
const DEADLINE: Duration = Duration::from_secs(30);

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const JOB_REMOVED: &str = "JobRemoved";

/// EXTERNAL: the other side looks at whose the socket is, so that no id is told, which a user namespace would make another.
const AUTHENTICATION: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// Why the manager could not be asked, or what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It answered so: the error's name and text.
    Answer { name: String, text: String },
    /// A call failed.
    System { action: &'static str, errno: Errno },
    /// It did not answer in time.
    Late,
    /// What came was not D-Bus.
    Nonsense(String),
    /// There is none: where it was looked for.
    Nobody(String),
}

impl From<Malformed> for Failure {
    fn from(Malformed: Malformed) -> Failure {
        Failure::Nonsense("a message that is none".to_owned())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Answer { name, text } => write!(out, "systemd answered: {text} ({name})"),
            Failure::System { action, errno } => {
                write!(out, "{action}: {errno:?} ({})", errno.desc().to_lowercase())
            }
            Failure::Late => write!(out, "systemd did not answer within {DEADLINE:?}"),
            Failure::Nonsense(what) => write!(out, "systemd answered with {what}"),
            Failure::Nobody(looked) => write!(
                out,
                "no systemd can be reached ({looked}); the systemd cgroup driver needs it, without --systemd-cgroup \
                 cgroups are made directly"
            ),
        }
    }
}

fn system(action: &'static str) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure::System { action, errno }
}

/// Where a manager may be: its own socket, where no bus is in between, and then the bus.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    is_bus: bool,
}

fn places(user: bool, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Place> {
    let place = |path: PathBuf, is_bus| Place { path, is_bus };
    if !user {
        return vec![place("/run/systemd/private".into(), false), place("/run/dbus/system_bus_socket".into(), true)];
    }
    let mut places = Vec::new();
    let runtime = variable("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    places.extend(runtime.as_ref().map(|runtime| place(runtime.join("systemd/private"), false)));
    // unix:path=/run/user/1000/bus,guid=...
    let address = variable("DBUS_SESSION_BUS_ADDRESS");
    let address = address
        .as_ref()
        .and_then(|address| address.to_str()?.split(';').find_map(|one| one.strip_prefix("unix:path=")));
    let address = address.and_then(|keys| keys.split(',').next()).map(PathBuf::from);
    places.extend(address.or_else(|| Some(runtime?.join("bus"))).map(|path| place(path, true)));
    places
}

/// A connection. All that is asked over it has to be answered within one deadline.
pub(super) struct Bus {
    socket: OwnedFd,
    is_bus: bool,
    received: Vec<u8>,
    serial: u32,
    deadline: Deadline,
    /// Jobs that ended: their paths and results.
    ended: Vec<[String; 2]>,
}

impl Bus {
    /// Connects to the manager of the system, or of the user.
    pub(super) fn connect(user: bool) -> Result<Bus, Failure> {
        let mut looked = Vec::new();
        for Place { path, is_bus } in places(user, |name| std::env::var_os(name)) {
            match Bus::connect_to(&path, is_bus) {
                Err(Failure::System { action: "connecting", errno }) => {
                    looked.push(format!("{}: {errno:?}", path.display()));
                }
                result => return result,
            }
        }
        if looked.is_empty() {
            looked.push("neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS names a user's".to_owned());
        }
        let looked = looked.join(", ");
        Err(Failure::Nobody(match user {
            true => format!(
                "{looked}: a login starts the user's own and says where it is in XDG_RUNTIME_DIR, and so does `loginctl \
                 enable-linger {id}` with XDG_RUNTIME_DIR=/run/user/{id}",
                id = nix::unistd::getuid()
            ),
            false => looked,
        }))
    }

    pub(super) fn connect_to(path: &Path, is_bus: bool) -> Result<Bus, Failure> {
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .map_err(system("making a socket"))?;
        // connect and send wait no longer than this.
        let longest = TimeVal::seconds(DEADLINE.as_secs() as i64);
        setsockopt(&socket, sockopt::SendTimeout, &longest).map_err(system("limiting a wait"))?;
        let address = UnixAddr::new(path.as_os_str().as_bytes()).map_err(system("connecting"))?;
        connect(socket.as_raw_fd(), &address).map_err(system("connecting"))?;
        let deadline = Deadline::after(Some(DEADLINE));
        let mut bus = Bus { socket, is_bus, received: Vec::new(), serial: 0, deadline, ended: Vec::new() };
        bus.send(AUTHENTICATION)?;
        bus.read_authentication()?;
        if is_bus {
            bus.call_daemon("Hello", "", Writer::default())?;
            let mut rule = Writer::default();
            rule.string(&format!("type='signal',sender='{NAME}',interface='{INTERFACE}',member='{JOB_REMOVED}'"));
            bus.call_daemon("AddMatch", "s", rule)?;
            // On a socket of its own it tells everybody.
            bus.call("Subscribe", "", |_| {})?;
        }
        Ok(bus)
    }

    fn read_authentication(&mut self) -> Result<(), Failure> {
        loop {
            let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") else {
                self.receive()?;
                continue;
            };
            let line: Vec<u8> = self.received.drain(..end + 2).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            match line.split(' ').next() {
                Some("DATA") => {}
                Some("OK") => return Ok(()),
                _ => return Err(Failure::Nonsense(format!("{line:?} to who we are"))),
            }
        }
    }

    fn call_daemon(&mut self, member: &str, signature: &str, body: Writer) -> Result<Message, Failure> {
        const DAEMON: &str = "org.freedesktop.DBus";
        self.call_to(DAEMON, "/org/freedesktop/DBus", DAEMON, member, signature, body)
    }

    /// Calls a method of the manager.
    pub(super) fn call(
        &mut self,
        member: &str,
        signature: &str,
        arguments: impl FnOnce(&mut Writer),
    ) -> Result<Message, Failure> {
        let mut body = Writer::default();
        arguments(&mut body);
        self.call_to(NAME, PATH, INTERFACE, member, signature, body)
    }

    fn call_to(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        signature: &str,
        body: Writer,
    ) -> Result<Message, Failure> {
        self.serial += 1;
        let serial = self.serial;
        let destination = self.is_bus.then_some(destination);
        self.send(&Call { destination, path, interface, member, signature, body }.encode(serial))?;
        loop {
            let message = self.next()?;
            match message.kind {
                REPLY if message.reply_serial == serial => return Ok(message),
                ERROR if message.reply_serial == serial => {
                    let text = message.arguments::<1>("s").map(|[text]| text).unwrap_or_default();
                    return Err(Failure::Answer { name: message.error, text });
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a job that a call has begun, and returns its result: `done`, or how it failed.
    pub(super) fn wait(&mut self, begun: &Message) -> Result<String, Failure> {
        let [job] = begun.arguments("o")?;
        loop {
            if let Some(at) = self.ended.iter().position(|[path, _]| *path == job) {
                let [_, result] = self.ended.swap_remove(at);
                return Ok(result);
            }
            self.next()?;
        }
    }

    /// The next message. That a job ended is kept, since it may be told before its call is answered.
    fn next(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some((message, length)) = Message::decode(&self.received)? {
                self.received.drain(..length);
                if message.kind == SIGNAL && message.interface == INTERFACE && message.member == JOB_REMOVED {
                    let [_, job, _, result] = message.arguments("uoss")?;
                    self.ended.push([job, result]);
                }
                return Ok(message);
            }
            self.receive()?;
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(Failure::Late),
                Err(errno) => return Err(system("writing to systemd's socket")(errno)),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Failure> {
        const READING: &str = "reading from systemd's socket";
        let mut buffer = [0; 4096];
        loop {
            let left = self.deadline.left().map_err(system(READING))?;
            if left == Some(Duration::ZERO) {
                return Err(Failure::Late);
            }
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout(left)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(system(READING)(errno)),
            }
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(system(READING)(Errno::ECONNRESET)),
                Ok(length) => {
                    self.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    return Ok(());
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(system(READING)(errno)),
            }
        }
    }
}
