//! Running hooks: programs that config.json names, at moments of a container's life (config.md, "POSIX-platform Hooks").
//!
//! A hook is started without a copy of the caller's memory, in a session of its own, with the container's state on its
//! standard input. What it prints is kept for the error. One loop looks after it: no thread, and no signal, whatever
//! the hook does: not read, not end, print without end, or leave a process behind that keeps its pipes open.

#[cfg(test)]
mod tests;

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use no_frills_sys::pidfd::{self, Exit};
use no_frills_sys::spawn::{Apart, Child, Executable, Failure, Spawn, spawn};
use serde::Serialize;

use crate::compile::{CompileOptions, compile_hook};
use crate::config::{Config, Hook, Hooks, Moment};
use crate::error::{Error, Explained, Result};
use crate::init::{Descriptors, Init, open_first};
use crate::launch::explain_spawn;
use crate::state::{Journal, Process, ProcessStat, Record, Status};

/// How much is kept of what a hook prints: the end.
const KEPT: usize = 4096;
/// How much is read after the hook's end, when others may go on writing: what a pipe holds.
const PIPE_MAX: usize = 64 * 1024;

/// The state that is told to a hook, and to a seccomp agent (runtime.md, "State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told<'a> {
    pub(crate) oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> Told<'a> {
    /// The pid is as the reader sees it; `None`: it is gone.
    pub(crate) fn new(record: &'a Record, id: &'a str, status: Status, pid: Option<i32>) -> Told<'a> {
        let Record { oci_version, bundle, annotations, .. } = record;
        Told { oci_version, id, status, pid, bundle, annotations }
    }
}

/// The state of a container as a hook reads it.
pub(crate) fn state(record: &Record, id: &str, status: Status, pid: Option<i32>) -> Result<Vec<u8>> {
    serde_json::to_vec(&Told::new(record, id, status, pid))
        .map_err(|error| Error::Option(format!("the state for hooks: {error}")))
}

/// How long who deletes a container by force waits for a hook that has no timeout.
pub(crate) const BY_FORCE: Duration = Duration::from_secs(30);

/// How long a hook may go on when the container's first process has ended, so that what it is a part of has failed.
const GRACE: Duration = Duration::from_secs(2);

/// What a hook that runs is part of.
pub(crate) struct Occasion<'a> {
    /// The container's first process, if the hook is in vain without it.
    pub(crate) first: Option<BorrowedFd<'a>>,
    /// Notes that this hook runs, for who deletes the container by force meanwhile, or after this was killed.
    pub(crate) note: &'a dyn Fn(Process) -> Result<()>,
    /// How long one may take that has no timeout.
    pub(crate) at_most: Option<Duration>,
}

/// Runs the hooks of a moment in the caller's own namespaces, one after the other, up to the first that fails.
pub(crate) fn run(hooks: &Hooks, moment: Moment, bundle: &Path, state: &[u8], occasion: &Occasion<'_>) -> Result<()> {
    for (index, hook) in hooks.of(moment).iter().enumerate() {
        run_one(hook, moment, index, state, occasion, |streams| start_here(hook, bundle, streams))?;
    }
    Ok(())
}

/// Runs the hooks for a container that is no more, all of them, whether or not one fails: what went wrong.
pub(crate) fn after_stop(
    record: &Record,
    id: &str,
    hooks: &Hooks,
    journal: &Journal,
    at_most: Option<Duration>,
) -> Result<Vec<Error>> {
    let moment = Moment::Poststop;
    if hooks.of(moment).is_empty() {
        return Ok(Vec::new());
    }
    let state = state(record, id, Status::Stopped, None)?;
    let note = |hook| {
        // A full disk must not keep them from being run: then nobody else can end one, and no more.
        let (Ok(()) | Err(_)) = journal.write(&Record { hook: Some(hook), ..record.clone() });
        Ok(())
    };
    let occasion = Occasion { first: None, note: &note, at_most };
    let run = |(index, hook)| {
        run_one(hook, moment, index, &state, &occasion, |streams| start_here(hook, &record.bundle, streams))
    };
    Ok(hooks.of(moment).iter().enumerate().filter_map(|each| run(each).err()).collect())
}

/// Kills a hook that was noted, and what it has started in its process group, if it still runs.
pub(crate) fn kill(hook: Process) -> Result<()> {
    let Some(opened) = hook.open_alive()? else { return Ok(()) };
    let killed = pidfd::kill_group(&opened, hook.pid);
    killed.map_err(Error::system(format!("killing the hook that is process {}", hook.pid)))
}

/// A container that hooks are run in.
pub(crate) struct Inside<'a> {
    /// Init's memfd.
    pub(crate) init: BorrowedFd<'a>,
    /// The container's process.
    pub(crate) process: BorrowedFd<'a>,
    pub(crate) pid: i32,
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    pub(crate) config: &'a Config,
    pub(crate) record: &'a Record,
    pub(crate) id: &'a str,
}

impl Inside<'_> {
    /// Runs the hooks of a moment in the container's namespaces and cgroup, up to the first that fails.
    pub(crate) fn run(&self, moment: Moment, status: Status, note: &dyn Fn(Process) -> Result<()>) -> Result<()> {
        let hooks = self.config.hooks.of(moment);
        if hooks.is_empty() {
            return Ok(());
        }
        let state = state(self.record, self.id, status, Some(inner_pid(self.pid)?))?;
        let occasion = Occasion { first: Some(self.process), note, at_most: None };
        for (index, hook) in hooks.iter().enumerate() {
            let start = |streams: [BorrowedFd<'_>; 3]| {
                self.start(moment, status, hook, streams).map_err(|error| error.to_string())
            };
            run_one(hook, moment, index, &state, &occasion, start)?;
        }
        Ok(())
    }

    /// Starts an init that joins the container and becomes the hook.
    fn start(&self, moment: Moment, status: Status, hook: &Hook, streams: [BorrowedFd<'_>; 3]) -> Result<Child> {
        let options = CompileOptions::new(&self.record.bundle, self.id);
        let program = compile_hook(self.config, &options, moment, hook);
        let sources = open_first(&program, Some(self.process))?;
        let mut init = Init::new(&program, &hook.path, sources, Some(self.process))?;
        let given = Descriptors { streams: streams.map(Some), preserve_fds: 0, preserved: &[] };
        let mut become_it = || -> Result<()> {
            init.begin()?;
            init.spawn(self.init, given, self.cgroup).map_err(|failure| explain_spawn(None, failure))?;
            init.provide()?;
            let Some(stat) = ProcessStat::read(init.pid())? else { return Err(init.ended()) };
            init.settle()?;
            // It has no filter.
            init.run(stat.ignored_signals.into(), &Told::new(self.record, self.id, status, Some(self.pid)))
        };
        match become_it() {
            Ok(()) => init.child.take().ok_or(Error::NotRunning),
            Err(error) => Err(error.and_cleanup(init.abandon())),
        }
    }
}

/// The pid that a process has in its own pid namespace.
fn inner_pid(pid: i32) -> Result<i32> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(Error::at("reading", Path::new(&path)))?;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let inner = line.and_then(|pids| pids.split_ascii_whitespace().last()?.parse().ok());
    inner.ok_or_else(|| Error::at("understanding", Path::new(&path))(Errno::EINVAL))
}

/// Runs one hook, which `start` starts with its three standard streams.
pub(crate) fn run_one(
    hook: &Hook,
    moment: Moment,
    index: usize,
    state: &[u8],
    occasion: &Occasion<'_>,
    start: impl FnOnce([BorrowedFd<'_>; 3]) -> std::result::Result<Child, String>,
) -> Result<()> {
    let mut errors = Tail::default();
    let mut output = Tail::default();
    let outcome = converse(hook, state, occasion, start, &mut output, &mut errors);
    outcome.map_err(|reason| Error::Hook {
        pointer: format!("{}/{index}", moment.pointer()),
        path: hook.path.clone(),
        reason,
        said: [errors, output].into_iter().map(Tail::into_line).find(|line| !line.is_empty()).unwrap_or_default(),
    })
}

/// Starts a hook in the caller's namespaces, in the bundle.
fn start_here(hook: &Hook, bundle: &Path, streams: [BorrowedFd<'_>; 3]) -> std::result::Result<Child, String> {
    // The caller's environment is what a hook without one has had from every runtime.
    let environment: Vec<OsString> = match &hook.env {
        Some(variables) => variables.iter().map(OsString::from).collect(),
        None => std::env::vars_os().map(|(name, value)| [name, value].join("=".as_ref())).collect(),
    };
    let c = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| "a NUL character in its arguments".to_owned());
    let path = c(hook.path.clone().into_bytes())?;
    let arguments = hook.args.iter().map(|argument| c(argument.clone().into_bytes())).collect::<Vec<_>>();
    let arguments = arguments.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let environment = environment.into_iter().map(|variable| c(variable.into_vec()));
    let environment = environment.collect::<std::result::Result<Vec<_>, _>>()?;
    let directory = c(bundle.as_os_str().as_bytes().to_vec())?;
    let [stdin, stdout, stderr] = streams;
    let start = |directory| {
        spawn(&Spawn {
            program: Executable::Path(&path),
            arguments: &arguments.iter().map(CString::as_c_str).collect::<Vec<_>>(),
            environment: &environment.iter().map(CString::as_c_str).collect::<Vec<_>>(),
            namespaces: 0,
            keep_capabilities: false,
            leads_group: false,
            cgroup: None,
            descriptors: &[(stdin, 0), (stdout, 1), (stderr, 2)],
            apart: Some(Apart { directory }),
        })
    };
    match start(directory.as_c_str()) {
        // An engine may have removed the bundle before it deletes the container.
        Err(Failure { call: "chdir", errno: Errno::ENOENT }) => start(c"/"),
        result => result,
    }
    .map_err(|Failure { call, errno }| format!("{call}: {}", Explained(errno)))
}

/// The end of what was printed.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * KEPT {
            self.0.drain(..self.0.len() - KEPT);
        }
    }

    /// In one line, and nothing in it that a terminal would obey: a hook may be the container's program.
    fn into_line(self) -> String {
        let kept = self.0.get(self.0.len().saturating_sub(KEPT)..).unwrap_or(&[]);
        let text = String::from_utf8_lossy(kept);
        let lines = text.split(['\n', '\r']).map(|line| line.replace(char::is_control, " "));
        let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        lines.join("; ")
    }
}

fn failed(doing: &str, cause: impl Into<io::Error>) -> String {
    let cause = cause.into();
    match cause.raw_os_error() {
        Some(errno) => format!("{doing}: {}", Explained(Errno::from_raw(errno))),
        None => format!("{doing}: {cause}"),
    }
}

/// A pipe whose one end, ours, does not wait.
fn pipe(ours_writes: bool) -> std::result::Result<(File, OwnedFd), String> {
    let made = || -> nix::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let (ours, theirs) = if ours_writes { (writer, reader) } else { (reader, writer) };
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((ours, theirs))
    };
    let (ours, theirs) = made().map_err(|errno| failed("making a pipe", errno))?;
    Ok((File::from(ours), theirs))
}

/// What of the state the hook has not been given yet.
struct Unsaid<'a> {
    rest: &'a [u8],
    writer: File,
    /// Held, so that no signal comes of writing to a hook that has closed its end.
    _reader: OwnedFd,
}

impl Unsaid<'_> {
    /// Writes what the pipe takes; `None` when all is written.
    fn go_on(mut self) -> std::result::Result<Option<Self>, String> {
        while !self.rest.is_empty() {
            match self.writer.write(self.rest) {
                Ok(count) => self.rest = self.rest.get(count..).unwrap_or(&[]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(self)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("writing the state to it", error)),
            }
        }
        Ok(None)
    }
}

/// Reads what there is; `false` at the end of file.
fn read_some(pipe: &mut File, tail: &mut Tail, most: usize) -> std::result::Result<bool, String> {
    let mut buffer = [0; 4096];
    let mut left = most;
    while left > 0 {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                tail.push(buffer.get(..count).unwrap_or(&buffer));
                left = left.saturating_sub(count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("reading what it says", error)),
        }
    }
    Ok(true)
}

/// Starts the hook, gives it the state, and hears it until it ends.
fn converse(
    hook: &Hook,
    state: &[u8],
    occasion: &Occasion<'_>,
    start: impl FnOnce([BorrowedFd<'_>; 3]) -> std::result::Result<Child, String>,
    output: &mut Tail,
    errors: &mut Tail,
) -> std::result::Result<(), String> {
    let (writer, stdin) = pipe(true)?;
    let (stdout, their_stdout) = pipe(false)?;
    let (stderr, their_stderr) = pipe(false)?;
    // Most states fit into the pipe: then nothing is left to be said.
    let stdin_for_hook = stdin.try_clone().map_err(|error| failed("making a pipe", error))?;
    let unsaid = Unsaid { rest: state, writer, _reader: stdin }.go_on()?;
    // The time counts from here: the start itself waits for nobody but the file's disk.
    let at_most = hook.timeout.or(occasion.at_most);
    let deadline = at_most.and_then(|timeout| Instant::now().checked_add(timeout));
    let child = start([stdin_for_hook.as_fd(), their_stdout.as_fd(), their_stderr.as_fd()])?;
    drop((stdin_for_hook, their_stdout, their_stderr));
    if let Err(error) = note(&child, occasion) {
        return Err(end(&child).err().unwrap_or_else(|| error.to_string()));
    }
    let streams = [(stdout, output), (stderr, errors)];
    match attend(&child, unsaid, streams, deadline, occasion.first) {
        Ok(End::Its) => {}
        Ok(End::First) => {
            end(&child)?;
            return Err("killed: the container's first process has ended, and the hook did not".to_owned());
        }
        Ok(End::TimeUp) => {
            end(&child)?;
            let seconds = at_most.unwrap_or_default().as_secs();
            return Err(match hook.timeout {
                Some(_) => format!("killed: it took longer than its timeout of {seconds} s"),
                None => {
                    format!("killed: it has no timeout, and a delete by force waits for it no longer than {seconds} s")
                }
            });
        }
        // It is not left to itself.
        Err(reason) => return Err(end(&child).err().unwrap_or(reason)),
    }
    match pidfd::wait(&child.pidfd, child.pid) {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(Exit::Code(status)) => Err(format!("exit status {status}")),
        Ok(Exit::Signal(signal)) => Err(format!("killed by signal {signal}")),
        // Not reaped, it would keep the pid namespace that it may be in.
        Err(errno) => Err(end(&child).err().unwrap_or(failed("how it ended cannot be told", errno))),
    }
}

/// Notes that a hook runs.
fn note(child: &Child, occasion: &Occasion<'_>) -> Result<()> {
    match ProcessStat::read(child.pid)? {
        Some(stat) => (occasion.note)(Process { pid: child.pid, start_time: stat.start_time }),
        None => Ok(()),
    }
}

/// Kills a hook, with what it has started as long as that is in its process group, and reaps it.
fn end(child: &Child) -> std::result::Result<(), String> {
    pidfd::kill_group(&child.pidfd, child.pid).map_err(|errno| failed("killing it", errno))?;
    match pidfd::wait(&child.pidfd, child.pid) {
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(errno) => Err(failed("waiting for its end", errno)),
    }
}

/// What the waiting for a hook has come to an end with.
enum End {
    Its,
    /// That of the container's first process, and the hook has not ended within [`GRACE`].
    First,
    TimeUp,
}

/// Hears a hook until it has ended, its time is up, or the container's first process has ended.
fn attend(
    child: &Child,
    mut unsaid: Option<Unsaid<'_>>,
    streams: [(File, &mut Tail); 2],
    mut deadline: Option<Instant>,
    mut first: Option<BorrowedFd<'_>>,
) -> std::result::Result<End, String> {
    let mut streams = streams.map(|(pipe, tail)| (Some(pipe), tail));
    let mut in_vain = false;
    loop {
        let mut fds = vec![PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        fds.extend(first.map(|first| PollFd::new(first, PollFlags::POLLIN)));
        fds.extend(streams.iter().filter_map(|(pipe, _)| Some(PollFd::new(pipe.as_ref()?.as_fd(), PollFlags::POLLIN))));
        fds.extend(unsaid.as_ref().map(|unsaid| PollFd::new(unsaid.writer.as_fd(), PollFlags::POLLOUT)));
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(&mut fds, left.map_or(PollTimeout::NONE, timeout)) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(failed("waiting for it", errno)),
            Ok(0) if left == Some(Duration::ZERO) => return Ok(if in_vain { End::First } else { End::TimeUp }),
            Ok(_) => {}
        }
        let happened = |place: usize| fds.get(place).and_then(PollFd::any) == Some(true);
        let (ended, first_ended) = (happened(0), first.is_some() && happened(1));
        // What cannot be read or written does not wait, so all of them are tried.
        for (pipe, tail) in &mut streams {
            if let Some(open) = pipe
                && !read_some(open, tail, PIPE_MAX)?
            {
                *pipe = None;
            }
        }
        if ended {
            return Ok(End::Its);
        }
        if first_ended {
            // It may have done that itself, and have more to do.
            first = None;
            in_vain = true;
            let grace = Instant::now() + GRACE;
            deadline = Some(deadline.map_or(grace, |deadline| deadline.min(grace)));
        }
        if let Some(rest) = unsaid.take() {
            unsaid = rest.go_on()?;
        }
    }
}

/// In milliseconds, and not too early.
fn timeout(left: Duration) -> PollTimeout {
    let milliseconds = left.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(milliseconds).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}
