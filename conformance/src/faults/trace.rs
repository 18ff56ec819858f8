//! Runs a command under ptrace(2), notes every system call of each of its processes, and does harm to one.
//!
//! Not with strace: its `when=K` counts in each process, so that the third openat of init cannot be met if the command has a
//! third one, too. Here each process has its number. What executes busybox is not the runtime's any more and is let go: the
//! container's program, and the hooks'.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use no_frills_seccomp::Architecture;
use serde_json::{Value, json};

use super::fault::{Fault, Place};
use super::registers;

/// What a tracer is asked for.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Where harm is done, and which; `None`: nowhere.
    pub(crate) harm: Option<(Place, Fault)>,
    /// A process that is there already and belongs to it.
    pub(crate) also: Option<i32>,
}

/// What is known of a process.
#[derive(Debug)]
struct Process {
    number: usize,
    counts: HashMap<u32, u32>,
}

/// What is known of a thread.
#[derive(Debug, Default)]
struct Thread {
    group: i32,
    in_call: bool,
    /// At the end of the call that it is in, this is the answer.
    answer: Option<i32>,
}

/// A run under ptrace.
struct Tracer {
    order: Order,
    main: Pid,
    own: PathBuf,
    /// The command itself, not this program on the way to it.
    begun: bool,
    processes: HashMap<i32, Process>,
    threads: HashMap<i32, Thread>,
    calls: Vec<Place>,
    hit: bool,
}

/// The first half of starting a command: waits until it is traced, which its standard input tells, and executes it.
pub(crate) fn step_in(words: &[OsString]) -> Result<(), String> {
    let mut byte = [0];
    std::io::Read::read_exact(&mut std::io::stdin(), &mut byte).map_err(|e| format!("waiting for the tracer: {e}"))?;
    let (program, arguments) = words.split_first().ok_or("no command")?;
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    Err(format!("executing {}: {error}", program.display()))
}

/// Traces the command to its end, and prints what came of it as a JSON object.
pub(crate) fn trace(order: Order, words: &[OsString]) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
    let mut command = Command::new(&own);
    command.arg("--step-in").args(words).stdin(Stdio::piped());
    // Standard output and standard error are the command's.
    let answer = std::env::var_os("FAULTS_ANSWER").ok_or("no FAULTS_ANSWER")?;
    command.env_remove("FAULTS_ANSWER");
    let mut child = command.spawn().map_err(|e| format!("starting the command: {e}"))?;
    let main = Pid::from_raw(child.id().cast_signed());
    let mut tracer = Tracer {
        order,
        main,
        own,
        begun: false,
        processes: HashMap::new(),
        threads: HashMap::new(),
        calls: Vec::new(),
        hit: false,
    };
    tracer.seize(main)?;
    if let Some(also) = tracer.order.also {
        tracer.seize(Pid::from_raw(also))?;
    }
    let told = child.stdin.take().ok_or("no pipe to the command")?.write_all(b"x");
    told.map_err(|e| format!("telling the command to go on: {e}"))?;
    let status = tracer.follow()?;
    let answered = std::fs::write(&answer, tracer.answer(status).to_string());
    answered.map_err(|e| format!("{}: {e}", answer.display()))
}

impl Tracer {
    fn seize(&mut self, pid: Pid) -> Result<(), String> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(pid, options).map_err(|e| format!("tracing process {pid}: {e}"))?;
        ptrace::interrupt(pid).map_err(|e| format!("stopping process {pid}: {e}"))?;
        self.know(pid);
        Ok(())
    }

    /// Notes a thread, and its process.
    fn know(&mut self, pid: Pid) -> i32 {
        if let Some(thread) = self.threads.get(&pid.as_raw()) {
            return thread.group;
        }
        let group = group(pid).unwrap_or(pid.as_raw());
        let number = self.processes.len();
        self.processes.entry(group).or_insert_with(|| Process { number, counts: HashMap::new() });
        self.threads.insert(pid.as_raw(), Thread { group, ..Thread::default() });
        group
    }

    /// Until the command has ended. What is left of the traced goes on when this program ends.
    fn follow(&mut self) -> Result<i32, String> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => continue,
                result => result.map_err(|e| format!("waiting for the command: {e}"))?,
            };
            let pid = status.pid().unwrap_or(self.main);
            let went_on = match status {
                WaitStatus::Exited(_, code) if pid == self.main => return Ok(code << 8),
                WaitStatus::Signaled(_, signal, _) if pid == self.main => return Ok(signal as i32),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                    self.threads.remove(&pid.as_raw());
                    continue;
                }
                WaitStatus::PtraceSyscall(_) => self.at_call(pid),
                WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => self.at_exec(pid),
                WaitStatus::PtraceEvent(..) => {
                    self.know(pid);
                    self.go_on(pid, None)
                }
                WaitStatus::Stopped(_, signal) => self.go_on(pid, Some(signal)),
                _ => continue,
            };
            match went_on {
                // Killed at this moment; its end is told next.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(format!("tracing process {pid}: {errno}")),
            }
        }
    }

    /// When the harm is done nobody needs to be traced any more, but for the end of the call that fails.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) -> nix::Result<()> {
        let awaited = self.threads.get(&pid.as_raw()).is_some_and(|thread| thread.answer.is_some());
        if self.hit && !awaited { ptrace::detach(pid, signal) } else { ptrace::syscall(pid, signal) }
    }

    fn at_exec(&mut self, pid: Pid) -> nix::Result<()> {
        self.know(pid);
        if let Some(thread) = self.threads.get_mut(&pid.as_raw()) {
            // Its end is still to come, also if another thread of the process has begun it.
            thread.in_call = true;
        }
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        // This program itself may be seen to be executed, if that was not over when it was seized.
        self.begun |= pid == self.main && program != self.own;
        if program.as_os_str().as_encoded_bytes().ends_with(b"busybox") {
            self.threads.remove(&pid.as_raw());
            return ptrace::detach(pid, None);
        }
        self.go_on(pid, None)
    }

    fn at_call(&mut self, pid: Pid) -> nix::Result<()> {
        let group = self.know(pid);
        let found = registers::call(pid)?;
        let Some(thread) = self.threads.get_mut(&pid.as_raw()) else { return self.go_on(pid, None) };
        let (begins, answer) = (!thread.in_call, thread.answer);
        thread.in_call = begins && found.is_some();
        let Some(number) = found.filter(|_| begins) else {
            if let Some(errno) = answer {
                registers::answer(pid, errno)?;
                thread.answer = None;
            }
            return self.go_on(pid, None);
        };
        if !self.begun {
            return self.go_on(pid, None);
        }
        let Some(process) = self.processes.get_mut(&group) else { return self.go_on(pid, None) };
        let count = process.counts.entry(number).or_default();
        *count += 1;
        let name = Architecture::NATIVE.call(number).map_or_else(|| number.to_string(), ToOwned::to_owned);
        let place = Place { process: process.number, call: name, count: *count };
        if !self.hit
            && let Some((at, fault)) = &self.order.harm
            && *at == place
        {
            self.hit = true;
            match *fault {
                Fault::Kill => return kill(Pid::from_raw(group), Signal::SIGKILL),
                Fault::Error(errno) => {
                    thread.answer = Some(errno as i32);
                    // Linux closes a descriptor whatever close(2) answers.
                    if place.call != "close" {
                        registers::skip(pid)?;
                    }
                }
            }
        }
        self.calls.push(place);
        self.go_on(pid, None)
    }

    fn answer(&self, status: i32) -> Value {
        let calls: Vec<String> = self.calls.iter().map(ToString::to_string).collect();
        // Of no use for a run with harm.
        let calls = if self.order.harm.is_none() { calls } else { Vec::new() };
        json!({"status": status, "hit": self.hit, "calls": calls})
    }
}

/// The process that a thread belongs to.
fn group(pid: Pid) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// How a command ended, as a tracer tells it.
pub(crate) fn status(raw: i64) -> ExitStatus {
    std::os::unix::process::ExitStatusExt::from_raw(raw as i32)
}
