//! `exec`: another process in a container.
//!
//! Without `--process` it is the container's own process (of the configuration that it was created with), changed
//! by the flags; with it the file says all, and those flags have no effect, as engines know it of runc.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use no_frills::{Container, Exec, ExecOptions, ProcessConfig, Signal, Timings};
use serde_json::{Map, Value, json};

use crate::attach::{Attached, Signals, Terminal};
use crate::cause::cause;
use crate::commands::Outcome;
use crate::container;
use crate::flags::{self, Flag};
use crate::log::Log;
use crate::parse::{Arguments, Values};
use crate::pidfd_socket::PidfdSocket;
use crate::run::{check_terminal, in_cgroup};
use crate::terminal;
use crate::timings;

/// What runc exits with when the process could not be started: callers so tell it from most of what
/// programs exit with.
const FAILED: u8 = 255;

/// Runs a process in a container; unless detached, also waits for its end.
pub(crate) fn exec(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let timings = timings::begin(arguments.flags);
    let outcome = attempt(arguments, log, timings.as_ref());
    timings::tell(timings, arguments.flags);
    outcome.or_else(|message| {
        log.error(&format!("exec failed: {message}"));
        Ok(FAILED)
    })
}

fn attempt(arguments: &Arguments<'_>, log: &Log, timings: Option<&Timings>) -> Outcome {
    let flags = arguments.flags;
    let container = container::open(arguments)?;
    timings::mark(timings, "reading the state");
    let detached = flags.has(&flags::DETACH);
    let process = read_process(&container, arguments, detached)?;
    let path = |flag| given(flags, flag).map(PathBuf::from);
    let options = ExecOptions {
        console_socket: path(&flags::CONSOLE_SOCKET),
        pid_file: path(&flags::PID_FILE),
        preserve_fds: flags.number(&flags::PRESERVE_FDS),
        cgroup: sub_cgroup(flags)?,
        ignore_paused: flags.has(&flags::IGNORE_PAUSED),
        timings: timings.cloned(),
        ..ExecOptions::default()
    };
    check_terminal(process.terminal(), detached, options.console_socket.is_some())?;
    let pidfd_socket = given(flags, &flags::PIDFD_SOCKET).map(PidfdSocket::connect).transpose()?;
    // Before the process is there, so that no signal is lost that is meant for it.
    let signals = if detached { None } else { Some(Signals::block(false)?) };
    let mut exec = container.exec(&process, options).map_err(|error| error.to_string())?;
    for warning in exec.warnings() {
        log.warning(warning);
    }
    log.debug(|| format!("container {}: process {} by exec{}", container.id(), exec.pid(), in_cgroup(&container)));
    let followed = follow(&mut exec, pidfd_socket, signals.as_ref(), log);
    timings::mark(timings, "running");
    let outcome = followed.map_err(|message| abandon(&exec, message));
    // The command ends: closing each descriptor first would be a system call each.
    std::mem::forget((exec, container, signals));
    outcome
}

/// Hands the pidfd over and, with signals to pass on, waits for the end of the process.
fn follow(exec: &mut Exec, pidfd_socket: Option<PidfdSocket>, signals: Option<&Signals>, log: &Log) -> Outcome {
    if let Some(socket) = pidfd_socket {
        socket.send(c"setns", exec.pidfd())?;
    }
    let Some(signals) = signals else { return Ok(0) };
    let terminal = exec.take_console().map(Terminal::connect).transpose()?;
    Attached { process: &*exec, signals, terminal, notify: None, log }.wait()?;
    let exit = exec.wait().map_err(|error| error.to_string())?;
    Ok(u8::try_from(exit.code()).unwrap_or(u8::MAX))
}

/// Ends a process that nobody would wait for; the text says why, and what else went wrong.
fn abandon(exec: &Exec, message: String) -> String {
    match exec.kill(Signal::KILL).and_then(|()| exec.wait()) {
        Ok(_) | Err(no_frills::Error::NotRunning) => message,
        Err(error) => format!("{message}; ending the process: {error}"),
    }
}

/// What a flag was given, if that is not empty.
fn given<'v>(flags: &'v Values, flag: &Flag) -> Option<&'v OsStr> {
    flags.value(flag).filter(|value| !value.is_empty())
}

fn read_process(container: &Container, arguments: &Arguments<'_>, detached: bool) -> Result<ProcessConfig, String> {
    let flags = arguments.flags;
    let (process, source) = match given(flags, &flags::PROCESS) {
        Some(path) => (read_file(Path::new(path))?, Some(path)),
        None => {
            let own = container.process().map_err(|error| error.to_string())?;
            (change(own, flags, arguments.positionals.get(1..).unwrap_or_default())?, None)
        }
    };
    // The program may ask for the window's size at once, before the relay has told it.
    let process = if detached { process } else { with_size(process) };
    ProcessConfig::from_value(&process).map_err(|error| match source {
        Some(path) => format!("{}: {error}", path.display()),
        None => error.to_string(),
    })
}

fn read_file(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|error| format!("reading {}: {}", path.display(), cause(error)))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The terminal that is passed through has the size of ours, if we have one.
fn with_size(mut process: Value) -> Value {
    if let Value::Object(members) = &mut process
        && members.get("terminal") == Some(&Value::Bool(true))
        && let Some((rows, columns)) = terminal::size()
    {
        members.insert("consoleSize".to_owned(), json!({"height": rows, "width": columns}));
    }
    process
}

/// The container's process with what the flags change. What is of a wrong type in it is left to be refused.
pub(crate) fn change(process: Value, flags: &Values, command: &[OsString]) -> Result<Value, String> {
    if command.is_empty() {
        return Err("exec takes a command, or --process with a file that has one".to_owned());
    }
    let Value::Object(mut process) = process else {
        return Err("the container was created without a process: --process has to say all".to_owned());
    };
    let args: Result<Vec<Value>, String> = command.iter().map(|word| text(word, "the command")).collect();
    process.insert("args".to_owned(), Value::Array(args?));
    process.insert("terminal".to_owned(), Value::Bool(flags.has(&flags::TTY)));
    for (flag, name) in
        [(&flags::CWD, "cwd"), (&flags::APPARMOR, "apparmorProfile"), (&flags::PROCESS_LABEL, "selinuxLabel")]
    {
        if let Some(value) = given(flags, flag) {
            process.insert(name.to_owned(), text(value, flag.name)?);
        }
    }
    if flags.value(&flags::NO_NEW_PRIVS).is_some() {
        process.insert("noNewPrivileges".to_owned(), Value::Bool(flags.has(&flags::NO_NEW_PRIVS)));
    }
    let env: Result<Vec<Value>, String> = flags.values(&flags::ENV).map(|value| text(value, "--env")).collect();
    append(&mut process, "env", env?);
    change_user(&mut process, flags)?;
    add_capabilities(&mut process, flags)?;
    Ok(Value::Object(process))
}

/// JSON holds Unicode alone.
fn text(value: &OsStr, what: &str) -> Result<Value, String> {
    let text = value.to_str().ok_or_else(|| format!("{what}: {value:?} is not UTF-8"))?;
    Ok(Value::String(text.to_owned()))
}

/// Appends to a list, which is made if need be.
fn append(object: &mut Map<String, Value>, name: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    let place = object.entry(name).or_insert(Value::Null);
    match place {
        Value::Array(list) => list.extend(items),
        Value::Null => *place = Value::Array(items),
        _ => {}
    }
}

/// A member that is an object, made if need be; `None`: it is something else.
fn object<'o>(of: &'o mut Map<String, Value>, name: &str) -> Option<&'o mut Map<String, Value>> {
    let place = of.entry(name).or_insert(Value::Null);
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut()
}

/// `--user` changes the uid, and the gid if it names one; `--additional-gids` adds.
fn change_user(process: &mut Map<String, Value>, flags: &Values) -> Result<(), String> {
    let ids = given(flags, &flags::USER).map(parse_user).transpose()?;
    let groups: Vec<Value> = flags.numbers(&flags::ADDITIONAL_GIDS).map(Value::from).collect();
    if ids.is_none() && groups.is_empty() {
        return Ok(());
    }
    let Some(user) = object(process, "user") else { return Ok(()) };
    if let Some((uid, gid)) = ids {
        user.insert("uid".to_owned(), uid.into());
        if let Some(gid) = gid {
            user.insert("gid".to_owned(), gid.into());
        }
    }
    append(user, "additionalGids", groups);
    Ok(())
}

/// `UID[:GID]`, decimal numbers and nothing else: no name is looked up anywhere, since the container's passwd may
/// call anybody `1000` (CVE-2016-3697), and none is cut to 32 bits or taken for 0 (CVE-2026-30892).
fn parse_user(value: &OsStr) -> Result<(u32, Option<u32>), String> {
    let ids = value.to_str().and_then(|text| match text.split_once(':') {
        Some((uid, gid)) => Some((parse_id(uid)?, Some(parse_id(gid)?))),
        None => Some((parse_id(text)?, None)),
    });
    ids.ok_or_else(|| format!("--user takes UID or UID:GID, numbers from 0 to {}, not {value:?}", u32::MAX - 1))
}

/// The largest number means "unchanged" to setresuid(2) and is no id.
fn parse_id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().filter(|id| *id != u32::MAX) } else { None }
}

/// `--cap` adds to what the process may do, never to what it leaves to other programs (CVE-2022-29162): ambient
/// becomes only what the configuration made inheritable.
fn add_capabilities(process: &mut Map<String, Value>, flags: &Values) -> Result<(), String> {
    let added: Result<Vec<Value>, String> = flags.values(&flags::CAP).map(|value| text(value, "--cap")).collect();
    let added = added?;
    if added.is_empty() {
        return Ok(());
    }
    let Some(sets) = object(process, "capabilities") else { return Ok(()) };
    let inheritable = sets.get("inheritable").and_then(Value::as_array).cloned().unwrap_or_default();
    let ambient = added.iter().filter(|name| inheritable.contains(name)).cloned().collect();
    for set in ["bounding", "effective", "permitted"] {
        append(sets, set, added.clone());
    }
    append(sets, "ambient", ambient);
    Ok(())
}

/// `--cgroup`: runc's `CONTROLLER:PATH` is about hierarchies that version 2 does not have.
fn sub_cgroup(flags: &Values) -> Result<Option<PathBuf>, String> {
    let mut paths = flags.values(&flags::CGROUP);
    let path = match (paths.next(), paths.next()) {
        (None, _) => return Ok(None),
        (Some(path), None) => path,
        (Some(_), Some(_)) => return Err("--cgroup is taken once, since cgroup v2 has one hierarchy".to_owned()),
    };
    let text = path.to_str().ok_or_else(|| format!("--cgroup: {path:?} is not UTF-8"))?;
    if text.contains(':') {
        return Err(format!("--cgroup takes a path below the container's cgroup, not {text:?}: v2 has one hierarchy"));
    }
    let below = text.trim_start_matches('/');
    Ok((!below.is_empty()).then(|| PathBuf::from(below)))
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
