//! Running another process in a container that is there.
//!
//! ```text
//! lock (shared), read the configuration -> compile -> clone3 into the cgroup -> plan to init
//!   init joins the namespaces by the container's pidfd, becomes the user, finds the program
//!   -> a copy of it, born into the pid namespace, executes the program
//! ```
//!
//! What is done until then nobody in the container can see: it happens outside of its pid namespace. Nothing is recorded of
//! the process; it belongs to the container's cgroup and ends with it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use no_frills_cgroups::{Cgroup, Hierarchy};
use no_frills_sys::pidfd;
use serde_json::Value;

use crate::compile::{CompileOptions, compile_exec};
use crate::config::{Config, ConfigError, Process};
use crate::console;
use crate::container::{ExitStatus, wait_once};
use crate::error::{Error, Result};
use crate::hooks::Told;
use crate::init::{Descriptors, Init, open_first};
use crate::launch::{explain_spawn, write_pid_file};
use crate::members::may_not_set_groups;
use crate::security;
use crate::signal::Signal;
use crate::state::{Directory, ProcessStat, Record, Status, remove_file};
use crate::timings::{Timings, mark};

/// A process to be run in a container: what `process` is in a `config.json`, checked.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    pub(crate) process: Process,
    warnings: Vec<String>,
}

impl ProcessConfig {
    /// Reads a `process` object, as engines write it to a file for `exec --process`.
    ///
    /// # Errors
    /// When it is not JSON, or with the pointer of the first setting that is wrong, as it is in a `config.json`.
    pub fn from_json(bytes: &[u8]) -> std::result::Result<ProcessConfig, ConfigError> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| ConfigError::new("", format!("not JSON: {error}")))?;
        ProcessConfig::from_value(&value)
    }

    /// Takes an already parsed `process` object.
    ///
    /// # Errors
    /// As [`from_json`](ProcessConfig::from_json).
    pub fn from_value(value: &Value) -> std::result::Result<ProcessConfig, ConfigError> {
        let mut warnings = Vec::new();
        let process = Process::from_value(value, &mut warnings)?;
        Ok(ProcessConfig { process, warnings })
    }

    /// Whether it gets a terminal.
    #[must_use]
    pub fn terminal(&self) -> bool {
        self.process.terminal
    }

    /// The program and its arguments; at least one.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.process.args
    }
}

/// How a process is run in a container.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// Standard input; `None`: the caller's. Not used with a terminal.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
    /// A Unix socket that receives the master of the process's terminal. Without one, [`Exec::take_console`] has it.
    pub console_socket: Option<PathBuf>,
    /// A file that gets the process's pid.
    pub pid_file: Option<PathBuf>,
    /// The caller's descriptors 3 to 2 + N are passed on as they are, for a command that was started with them.
    pub preserve_fds: u32,
    /// Descriptors that the process gets as 3 + `preserve_fds` and following.
    pub preserved_fds: Vec<OwnedFd>,
    /// A cgroup below the container's, which exists, to run it in.
    pub cgroup: Option<PathBuf>,
    /// Wait, in a paused container, until it is resumed. Without this it is refused.
    pub ignore_paused: bool,
    /// Takes the time of what is done.
    pub timings: Option<Timings>,
}

/// A process that was run in a container.
#[derive(Debug)]
pub struct Exec {
    pid: i32,
    pidfd: OwnedFd,
    warnings: Vec<String>,
    console: Option<OwnedFd>,
    /// Kept, since a process can be reaped once.
    exit: OnceLock<ExitStatus>,
}

impl Exec {
    /// The process as the host sees it; it may have ended since.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A descriptor for it, to poll for its end.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What could not be honoured, and did not have to be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The master of its terminal, once, if it has one and there is no console socket; as
    /// [`Container::take_console`](crate::Container::take_console) has it.
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        match pidfd::send_signal(&self.pidfd, signal.number()) {
            Err(Errno::ESRCH) => Err(Error::NotRunning),
            result => {
                result.map_err(Error::system(format!("sending {signal} to process {}: pidfd_send_signal", self.pid)))
            }
        }
    }

    /// Waits until it has ended, and reaps it.
    ///
    /// # Errors
    /// [`Error::NotRunning`]: somebody else has reaped it, and how it ended cannot be told any more.
    pub fn wait(&self) -> Result<ExitStatus> {
        wait_once(&self.exit, Some(&self.pidfd), self.pid, "the process")
    }
}

/// The `process` object of the configuration that a container was made with.
pub(crate) fn process_of(document: &[u8]) -> Result<Value> {
    let mut value: Value = serde_json::from_slice(document)
        .map_err(|error| ConfigError::new("", format!("not JSON any more: {error}")))?;
    Ok(value.get_mut("process").map(Value::take).unwrap_or_default())
}

/// A container, as it was when it was opened.
pub(crate) struct There<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) record: &'a Record,
    /// The configuration that it was made with.
    pub(crate) document: &'a [u8],
    /// A pidfd of its first process.
    pub(crate) process: BorrowedFd<'a>,
    /// Its journal, if it is open already.
    pub(crate) journal: Option<File>,
}

/// Runs a process in a container.
pub(crate) fn exec(
    there: There<'_>,
    init: BorrowedFd<'_>,
    process: &ProcessConfig,
    options: &ExecOptions,
) -> Result<Exec> {
    let (container, recorded) = (there.process, there.record.process);
    match exec_in(there, init, process, options) {
        // What cannot be done in a container that ends has nothing to say but that.
        Err(Error::Cgroup { .. } | Error::Step { .. } | Error::System { .. } | Error::InitEnded(_))
            if is_ending(container, recorded)? =>
        {
            Err(Error::NotRunning)
        }
        result => result,
    }
}

/// Whether the container's first process has ended, or is about to: then those in its pid namespace are killed, and its
/// namespaces cannot be joined any more. While it lives the container has not been deleted, and the name is no other's.
fn is_ending(process: BorrowedFd<'_>, recorded: Option<crate::state::Process>) -> Result<bool> {
    if pidfd::has_ended(&process).map_err(Error::system("looking at the container's process"))? {
        return Ok(true);
    }
    let stat = recorded.map(|process| ProcessStat::read(process.pid)).transpose()?.flatten();
    Ok(stat.is_none_or(|stat| stat.ending))
}

fn exec_in(there: There<'_>, init: BorrowedFd<'_>, process: &ProcessConfig, options: &ExecOptions) -> Result<Exec> {
    let There { directory, record, document, process: container, journal } = there;
    // Until the program runs, so that nobody deletes the container meanwhile.
    let _journal = directory.lock_shared(journal)?;
    let timings = options.timings.as_ref();
    mark(timings, "journal");
    let config = Config::from_json(document)?;
    config.check_ids(&process.process)?;
    security::check(&process.process)?;
    mark(timings, "reading the configuration");
    let mut compile = CompileOptions::new(&record.bundle, directory.id());
    compile.timings = timings.is_some();
    let mut program = compile_exec(&config, &process.process, &compile);
    // An ordinary user's container, as it was created.
    if record.owner_uid != 0 && may_not_set_groups(record.process.map(|process| process.pid))? {
        program = program.without_setgroups()?;
    }
    mark(timings, "compiling the plan");
    let cgroup = cgroup_for(record, options.cgroup.as_deref())?;
    if !options.ignore_paused && cgroup.as_ref().map_or(Ok(false), Cgroup::frozen)? {
        return Err(Error::Paused);
    }
    let console_socket = console::connect(options.console_socket.as_deref(), program.terminal)?;
    let sources = open_first(&program, Some(container))?;
    let name = process.process.args.first().map_or("", String::as_str);
    let mut conversation = Init::new(&program, name, sources, Some(container))?;
    conversation.warnings.extend_from_slice(&process.warnings);
    conversation.timings = timings;
    mark(timings, "finding the cgroup");

    let mut written = None;
    let mut steps = |conversation: &mut Init<'_>| -> Result<()> {
        let streams = [&options.stdin, &options.stdout, &options.stderr];
        let given = Descriptors::new(streams, options.preserve_fds, &options.preserved_fds);
        conversation.begin()?;
        let dir = cgroup.as_ref().map(Cgroup::open).transpose()?;
        mark(timings, "sending the plan");
        let spawned = conversation.spawn(init, given, dir.as_ref().map(AsFd::as_fd));
        match spawned {
            // It has handed its controllers down, as an init system in the container does: then no process may be
            // where they were, and the first one of the container has gone elsewhere.
            Err(failure) if failure.errno == Errno::EBUSY && options.cgroup.is_none() => {
                let cgroup = cgroup_of_process(record)?;
                let spawned = conversation.spawn(init, given, Some(cgroup.open()?.as_fd()));
                spawned.map_err(|failure| explain_spawn(Some(&cgroup), failure))?;
            }
            spawned => spawned.map_err(|failure| explain_spawn(cgroup.as_ref(), failure))?,
        }
        mark(timings, "clone");
        conversation.provide()?;
        let Some(stat) = ProcessStat::read(conversation.pid())? else {
            return Err(conversation.ended());
        };
        mark(timings, "limits and id maps of init");
        conversation.provide_filter()?;
        mark(timings, "seccomp filter");
        conversation.settle()?;
        mark(timings, "waiting for init");
        // Before the program runs, which may end at once.
        if let Some(path) = &options.pid_file {
            written = Some(path);
            write_pid_file(path, conversation.pid())?;
        }
        console::hand_over(console_socket.as_ref(), &mut conversation.console)?;
        let first = record.process.map(|process| process.pid);
        let told = Told::new(record, directory.id(), Status::Running, first);
        conversation.run(u64::from(stat.ignored_signals), &told)
    };
    let outcome = steps(&mut conversation);
    let outcome = outcome.map_err(|error| {
        let killed = conversation.abandon();
        error.and_cleanup(killed.and(written.map_or(Ok(()), |path| remove_file(path))))
    });
    outcome?;
    mark(timings, "starting the program");
    match conversation.child {
        Some(child) => Ok(Exec {
            pid: child.pid,
            pidfd: child.pidfd,
            warnings: conversation.warnings,
            console: conversation.console,
            exit: OnceLock::new(),
        }),
        None => Err(Error::InitEnded("it was never started".to_owned())),
    }
}

/// The container's cgroup, or the one below it. `None`: it has none.
fn cgroup_for(record: &Record, below: Option<&Path>) -> Result<Option<Cgroup>> {
    if record.cgroup.as_os_str().is_empty() {
        return match below {
            Some(_) => Err(Error::Option("the container has no cgroup of its own".to_owned())),
            None => Ok(None),
        };
    }
    let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
    let mut path = record.cgroup.clone();
    for component in below.into_iter().flat_map(Path::components) {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => {
                let below = below.unwrap_or(Path::new("")).display();
                return Err(Error::Option(format!(
                    "the path {below} is not a sub cgroup path of the container's cgroup"
                )));
            }
        }
    }
    Ok(Some(Cgroup::recorded(&hierarchy, &path, 0)?))
}

/// The cgroup in which the container's first process is, below the container's.
fn cgroup_of_process(record: &Record) -> Result<Cgroup> {
    let hierarchy = Hierarchy::find().map_err(Error::cgroup)?;
    let pid = record.process.map_or(0, |process| process.pid);
    let file = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NotRunning),
        result => result.map_err(Error::at("reading", &file))?,
    };
    let line = text.lines().find_map(|line| line.strip_prefix("0::/"));
    match line.map(Path::new).filter(|path| path.starts_with(&record.cgroup)) {
        Some(path) => Ok(Cgroup::recorded(&hierarchy, path, 0)?),
        None => Err(Error::Option(format!(
            "the container's first process is in the cgroup {:?}, which is not below the container's, /{}",
            line.unwrap_or_default(),
            record.cgroup.display()
        ))),
    }
}
