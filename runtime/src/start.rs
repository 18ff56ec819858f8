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
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen as listen_on, socket as open_socket,
};
use nix::sys::stat::{Mode, fchmod};
use no_frills_plan::{Kind, MESSAGE_MAX, Message, call};
use no_frills_sys::{pidfd, socket};

use crate::compile::{CompileOptions, Program, compile_but_filter};
use crate::config::Config;
use crate::container::open_process;
use crate::error::{Error, Result};
use crate::handover::{Agent, Failed, Handover};
use crate::hooks::Told;
use crate::init::{kill, program_failed, socket_send, step_failed};
use crate::state::{Directory, Journal, Process, ProcessStat, Record, Status};
use crate::timings::{Timings, mark};

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
    // Its file has this mode, whatever the caller's umask: nobody else may connect.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(Error::at("making private", &path))?;
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
pub(crate) fn start(
    directory: &Directory,
    journal: &Journal,
    record: &Record,
    timings: Option<&Timings>,
) -> Result<bool> {
    await_going(record)?;
    mark(timings, "looking at the container");
    let mut filter = if record.filtered { Some(Filter::new(directory, journal, record)?) } else { None };
    if filter.is_some() {
        mark(timings, "seccomp filter");
    }
    for attempt in 0..ATTEMPTS {
        let init = match reach(directory)? {
            Reached::Connected(init) => init,
            Reached::Full => return Err(Error::InitMute),
            // It waited a moment ago, and nobody else can have started it.
            Reached::Nobody if attempt > 0 => return Err(Error::NotCreated(Status::Stopped)),
            Reached::Nobody => return Ok(false),
        };
        if let Some(outcome) = request(&init, record, filter.as_mut())? {
            let removed = directory.remove_start_socket();
            return match outcome {
                // The program runs, which is what was asked for. Nobody listens on the socket any more, and what could not be
                // removed, on a disk that is read-only by now, is removed with the container.
                Ok(()) => Ok(true),
                Err(last) => Err(failed(directory, journal, record, &last)?.and_cleanup(removed)),
            };
        }
    }
    Err(Error::InitMute)
}

/// How long init may be stopped before it is given up.
const STOPPED_AT_MOST: Duration = Duration::from_secs(5);

/// Waits until init is not stopped, but not for long: what is said to it then it would hear whenever it goes on.
fn await_going(record: &Record) -> Result<()> {
    let Some(process) = record.process else { return Ok(()) };
    let begun = Instant::now();
    while is_stopped(process)? == Some(true) {
        if begun.elapsed() > STOPPED_AT_MOST {
            return Err(Error::InitMute);
        }
        await_change(process)?;
    }
    Ok(())
}

/// Waits for the end of a process, but not for long: that it goes on no event tells.
fn await_change(process: Process) -> Result<()> {
    const NOT_FOR_LONG: u16 = 20;
    match pidfd::open(process.pid) {
        Err(Errno::ESRCH) => Ok(()),
        opened => opened
            .and_then(|opened| pidfd::wait_ended_within(&opened, NOT_FOR_LONG))
            .map(drop)
            .map_err(Error::system("waiting for init")),
    }
}

/// `None`: it has ended.
fn is_stopped(process: Process) -> Result<Option<bool>> {
    let stat = ProcessStat::read(process.pid)?;
    Ok(stat.filter(|stat| !stat.zombie && stat.start_time == process.start_time).map(|stat| stat.stopped))
}

/// Waits until init answers. The connection ends with it, unless another has it: so its end is looked for too. Once it is stopped
/// it is not waited for long.
fn await_answer(connection: &OwnedFd, record: &Record) -> Result<()> {
    const LOOK_AFTER: u16 = 1000;
    let mut stopped_since = None;
    loop {
        match poll(&mut [PollFd::new(connection.as_fd(), PollFlags::POLLIN)], LOOK_AFTER) {
            Ok(0) => {}
            Err(Errno::EINTR) => continue,
            result => return result.map(drop).map_err(Error::system("waiting for init")),
        }
        match record.process.map(is_stopped).transpose()?.flatten() {
            None => return Err(Error::NotRunning),
            Some(false) => stopped_since = None,
            Some(true) if stopped_since.get_or_insert_with(Instant::now).elapsed() > STOPPED_AT_MOST => {
                return Err(Error::InitMute);
            }
            Some(true) => {}
        }
    }
}

/// What is needed for a program that is run under a seccomp filter.
struct Filter<'a> {
    handover: Handover,
    /// Who gets the listener.
    agent: Option<Agent>,
    /// The process, if it has a listener, and its pid.
    process: Option<(OwnedFd, i32)>,
    told: Told<'a>,
}

impl<'a> Filter<'a> {
    fn new(directory: &'a Directory, journal: &Journal, record: &'a Record) -> Result<Filter<'a>> {
        let pid = record.process.map(|process| process.pid);
        let config = if record.listener { config(journal)? } else { None };
        let (agent, process) = match config.and_then(|config| config.linux.seccomp) {
            Some(seccomp) => {
                let process = open_process(record)?.zip(pid).ok_or(Error::NotRunning)?;
                (Some(Agent::connect(&seccomp.listener_path, &seccomp.listener_metadata)?), Some(process))
            }
            None => (None, None),
        };
        let told = Told::new(record, directory.id(), Status::Created, pid);
        Ok(Filter { handover: Handover::new()?, agent, process, told })
    }
}

/// Says `Start` and waits for what comes of it. `None`: init did not hear it; it has ended, or lacked something for a
/// moment and waits for the next.
fn request(init: &OwnedFd, record: &Record, mut filter: Option<&mut Filter<'_>>) -> Result<Option<Result<(), Failed>>> {
    let message = Message::new(Kind::Start);
    let attached: Vec<RawFd> = filter.iter().map(|filter| filter.handover.descriptor()).collect();
    match socket_send(init, &message, &attached) {
        Err(Error::System { errno: Errno::EPIPE | Errno::ECONNRESET, .. }) => return Ok(None),
        result => result?,
    }
    fcntl(init, FcntlArg::F_SETFL(OFlag::empty())).map_err(Error::system("waiting for init"))?;
    if let Some(Filter { handover, agent, process: Some((process, pid)), told }) = &mut filter {
        let passed = handover.pass_listener(init.as_fd(), process.as_fd(), *pid, agent, told);
        if let Err(error) = passed {
            // The filter is in place, and init waits for what does not come.
            return Err(error.and_cleanup(kill(process)));
        }
    }
    await_answer(init, record)?;
    let mut buffer = [0; MESSAGE_MAX];
    let received = socket::receive(init, &mut buffer).map_err(Error::system("receiving from init"))?;
    if received.length == 0 {
        // Closed by execve; or by its death right before, which is the same as right after.
        return match filter {
            _ if received.unread => Ok(None),
            Some(filter) => Ok(Some(filter.handover.failed()?.map_or(Ok(()), Err))),
            None => Ok(Some(Ok(()))),
        };
    }
    match buffer.get(..received.length).and_then(Message::decode) {
        Some(Message { kind: Kind::Failed, step, call, errno, .. }) => {
            Ok(Some(Err(Failed { step, call, errno: Errno::from_raw(errno) })))
        }
        _ => Err(Error::InitEnded("it said something that is no message".to_owned())),
    }
}

/// Why the program does not run. The plan that the step belongs to is gone, but the same configuration is compiled to the same
/// steps after `Ready`.
fn failed(directory: &Directory, journal: &Journal, record: &Record, last: &Failed) -> Result<Error> {
    let Failed { step, call, errno } = *last;
    if call == call::EXECVE {
        return Ok(program_failed(&record.program, errno));
    }
    let program = compiled(directory, journal, record)?;
    Ok(match program.zip(step.checked_sub(record.ready)) {
        Some((program, after)) => {
            let step = program.ready.saturating_add(after);
            let message = Message { step, call, errno: errno as i32, ..Message::new(Kind::Failed) };
            step_failed(&program, &record.program, &message)
        }
        None => {
            let action = "starting the program".to_owned();
            Error::Step { pointer: String::new(), action, call: call::name(call), errno, said: String::new() }
        }
    })
}

/// The configuration that the container was made with. `None`: it is not there.
fn config(journal: &Journal) -> Result<Option<Config>> {
    Ok(journal.document()?.map(|document| Config::from_json(&document)).transpose()?)
}

/// As [`config`], compiled again.
fn compiled(directory: &Directory, journal: &Journal, record: &Record) -> Result<Option<Program>> {
    let options = CompileOptions::new(&record.bundle, directory.id());
    Ok(config(journal)?.map(|config| compile_but_filter(&config, &options)).transpose()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::tests::record;

    /// Its plan is gone, and was longer than the one that is compiled again: by the mount for notifications.
    #[test]
    fn a_step_after_ready_still_tells_its_setting() {
        let limits = ["CORE", "NOFILE"].map(|name| json!({"type": format!("RLIMIT_{name}"), "soft": 1, "hard": 2}));
        let spec = json!({
            "ociVersion": "1.3.0",
            "process": {"args": ["prog"], "cwd": "/", "env": ["HOME=/"], "rlimits": limits},
            "root": {"path": "rootfs"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        });
        let config = Config::from_value(&spec).unwrap();
        let options = CompileOptions { notify: Some("/notify".as_ref()), ..CompileOptions::new("/b".as_ref(), "x") };
        let program = compile_but_filter(&config, &options).unwrap();

        let root = std::env::temp_dir().join(format!("no-frills-start-{}", std::process::id()));
        let directory = Directory::new(&root, "x").unwrap();
        let mut journal = directory.claim().unwrap();
        let record = Record { ready: program.ready, ..record(1) };
        journal.begin(config.document(), &record).unwrap();
        drop(journal);
        let journal = directory.lock().unwrap().unwrap();
        let told = |after, call| {
            let last = Failed { step: program.ready + after, call, errno: Errno::EPERM };
            failed(&directory, &journal, &record, &last).unwrap().to_string()
        };
        assert_eq!(
            told(2, call::PRLIMIT64),
            "/process/rlimits/1: setting RLIMIT_NOFILE to 1, 2: prlimit64: EPERM (operation not permitted)"
        );
        assert!(told(1, call::PRLIMIT64).starts_with("/process/rlimits/0: setting RLIMIT_CORE"));
        assert_eq!(told(3, call::EXECVE), "exec: \"sh\": executable file not found in $PATH: permission denied");
        directory.remove(false).unwrap();
        std::fs::remove_dir(&root).unwrap();
    }
}
