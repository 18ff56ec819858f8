//! The last words between the parent and an init that has a seccomp filter, and with it no system call left but execve.
//!
//! ```text
//! Start + [file]   ---->   maps the file
//!                          seccomp(2)
//!                  <----   INSTALLED, the listener's number     (in the memory of the file)
//! pidfd_getfd, to the agent
//! TAKEN            ---->   execve
//!                  <----   end of file on the socket: the program runs, unless FAILED says why not
//! ```
//!
//! No event can tell that the filter is installed, since the filter may forbid every call that would make one; so with a
//! listener the parent looks again and again until it is, or init ends. That takes some microseconds.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_LOG, SECCOMP_RET_USER_NOTIF};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use no_frills_plan::handover::{CALL, ERRNO, LENGTH, LISTENER, STATE, STEP, TAKEN, state};
use no_frills_seccomp::Action;
use no_frills_sys::seccomp::{self, NEW_LISTENER, WAIT_KILLABLE_RECV};
use no_frills_sys::{memfd, pidfd, socket as datagram};
use serde::Serialize;

use crate::config::{Config, ConfigError, SECCOMP_FLAGS};
use crate::error::{Error, Result};
use crate::hooks::Told;

const POINTER: &str = "/linux/seccomp/listenerPath";

/// How long an agent may take to accept a connection and what is sent on it.
const AGENT_DEADLINE: Duration = Duration::from_secs(10);

/// The memory that is shared with an init.
pub(crate) struct Handover(pub(crate) File);

/// Why the program does not run.
pub(crate) struct Failed {
    pub(crate) step: u32,
    pub(crate) call: u8,
    pub(crate) errno: Errno,
}

impl Handover {
    pub(crate) fn new() -> Result<Handover> {
        let file = memfd::shared(c"handover", LENGTH as u64);
        Ok(Handover(file.map_err(Error::system("making the memory that is shared with init: memfd_create"))?))
    }

    /// For init, with the message that lets it run its program.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// What init has left when it was heard no more.
    pub(crate) fn failed(&self) -> Result<Option<Failed>> {
        let words = self.words()?;
        let word = |place: usize| words.get(place / 4).copied().unwrap_or_default();
        Ok((word(STATE) == state::FAILED).then(|| Failed {
            step: word(STEP),
            call: word(CALL) as u8,
            errno: Errno::from_raw(word(ERRNO) as i32),
        }))
    }

    /// Hands the filter's listener to the agent, when it is there. `conversation` is the socket to init, which is readable when
    /// it says why it is not, or ends: then nothing was handed over, and the agent is still there.
    pub(crate) fn pass_listener(
        &self,
        conversation: BorrowedFd<'_>,
        init: BorrowedFd<'_>,
        pid: i32,
        agent: &mut Option<Agent>,
        state: &Told<'_>,
    ) -> Result<()> {
        let Some(number) = self.await_listener(conversation)? else { return Ok(()) };
        let listener = pidfd::get_descriptor(&init, number).map_err(|errno| Error::System {
            pointer: POINTER.to_owned(),
            action: "fetching the listener from init: pidfd_getfd".to_owned(),
            errno,
        })?;
        // It may be that the agent goes on only when the connection is closed.
        if let Some(agent) = agent.take() {
            agent.send(&agent.message(pid, state)?, &listener)?;
        }
        let taken = self.0.write_all_at(&1_u32.to_ne_bytes(), TAKEN as u64);
        taken.map_err(Error::system("writing to the memory that is shared with init"))
    }

    fn await_listener(&self, conversation: BorrowedFd<'_>) -> Result<Option<i32>> {
        /// As long as it mostly takes the machine is not left to others.
        const PATIENT: u32 = 200;
        for round in 0_u32.. {
            let words = self.words()?;
            if words.get(STATE / 4) == Some(&state::INSTALLED) {
                return Ok(words.get(LISTENER / 4).map(|number| *number as i32));
            }
            let timeout = if round < PATIENT { PollTimeout::ZERO } else { PollTimeout::from(1_u8) };
            let mut fds = [PollFd::new(conversation, PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => break,
                Err(errno) => return Err(Error::system("waiting for init")(errno)),
            }
        }
        Ok(None)
    }

    fn words(&self) -> Result<[u32; LENGTH / 4]> {
        let mut bytes = [0; LENGTH];
        self.0.read_exact_at(&mut bytes, 0).map_err(Error::system("reading the memory that is shared with init"))?;
        let mut words = [0; LENGTH / 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Ok(words)
    }
}

/// Goes on only if a filter can do what it is asked for: the kernel has its actions, and somebody may listen.
pub(crate) fn check(config: &Config) -> Result<()> {
    // As all kernels have the others that this runtime works with.
    const NEWER: [(Action, u32, &str); 3] = [
        (Action::KillProcess, SECCOMP_RET_KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"),
        (Action::Log, SECCOMP_RET_LOG, "SCMP_ACT_LOG"),
        (Action::Notify, SECCOMP_RET_USER_NOTIF, "SCMP_ACT_NOTIFY"),
    ];
    let Some(seccomp) = &config.linux.seccomp else { return Ok(()) };
    let refused = |pointer: String, message: String| Err(Error::from(ConfigError::new(pointer, message)));
    for (action, number, name) in NEWER {
        let rule = seccomp.rules.iter().position(|rule| rule.action == action);
        if rule.is_none() && seccomp.default_action != action {
            continue;
        }
        let available = seccomp::action_is_available(number);
        if !available.map_err(Error::system("asking for the actions of seccomp filters: seccomp"))? {
            let place = rule.map_or("/defaultAction".to_owned(), |rule| format!("/syscalls/{rule}/action"));
            return refused(format!("/linux/seccomp{place}"), format!("this kernel does not know {name}"));
        }
    }
    if !seccomp.notifies() {
        return Ok(());
    }
    let path = &seccomp.listener_path;
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(()),
        Ok(_) => refused(POINTER.to_owned(), format!("{path:?} is no socket")),
        Err(error) => Err(Error::System {
            pointer: POINTER.to_owned(),
            action: format!("looking for the agent's socket {path:?}"),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)),
        }),
    }
}

/// Why the kernel does not take a filter.
pub(crate) fn filter_refused(flags: u32, errno: Errno) -> Error {
    // The one flag that is not taken without another.
    let needs = |flag| if flag == WAIT_KILLABLE_RECV { flag | NEW_LISTENER } else { flag };
    let is_unknown =
        |(_, flag): &&(&str, u32)| flags & flag != 0 && seccomp::flags_are_known(needs(*flag)) == Ok(false);
    let (pointer, said) = match errno {
        Errno::EACCES => {
            ("", "without noNewPrivileges it takes CAP_SYS_ADMIN, which the process does not have".to_owned())
        }
        Errno::EBUSY => ("", "the process is under another filter that has a listener".to_owned()),
        Errno::EINVAL => match SECCOMP_FLAGS.iter().find(is_unknown) {
            Some((name, _)) => ("/flags", format!("this kernel does not know {name}")),
            None => ("", "is the kernel built with CONFIG_SECCOMP_FILTER?".to_owned()),
        },
        _ => ("", String::new()),
    };
    Error::Step {
        pointer: format!("/linux/seccomp{pointer}"),
        action: "installing the seccomp filter".to_owned(),
        call: "seccomp",
        errno,
        said,
    }
}

/// A connection to the agent that answers for the system calls of a container (config-linux.md, "listenerPath").
pub(crate) struct Agent {
    path: String,
    metadata: String,
    socket: OwnedFd,
}

/// What the agent is told (config-linux.md, "The Container Process State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a Told<'a>,
}

impl Agent {
    /// Connects to it, which it may refuse, and before anything depends on it.
    pub(crate) fn connect(path: &str, metadata: &str) -> Result<Agent> {
        let failed = |action: &str, errno| Error::System {
            pointer: POINTER.to_owned(),
            action: format!("{action} {path:?}"),
            errno,
        };
        let socket = datagram::connect_stream(Path::new(path), AGENT_DEADLINE);
        let socket = socket.map_err(|errno| failed("connecting to", errno))?;
        Ok(Agent { path: path.to_owned(), metadata: metadata.to_owned(), socket })
    }

    /// What it is told of a process.
    fn message(&self, pid: i32, state: &Told<'_>) -> Result<Vec<u8>> {
        let fds = ["seccompFd"];
        let message = ProcessState { oci_version: state.oci_version, fds, pid, metadata: &self.metadata, state };
        serde_json::to_vec(&message)
            .map_err(|error| Error::Option(format!("the state for the agent at {:?}: {error}", self.path)))
    }

    /// Sends it with the listener: agents take both with one recvmsg(2).
    fn send(&self, message: &[u8], listener: &OwnedFd) -> Result<()> {
        datagram::send(&self.socket, &[message], &[listener.as_raw_fd()]).map_err(|errno| Error::System {
            pointer: POINTER.to_owned(),
            action: format!("sending the listener to the agent at {:?}: sendmsg", self.path),
            errno,
        })
    }
}
