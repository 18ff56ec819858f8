//! What containers, and those who call a runtime, do to it: init killed or stopped at any moment, hooks that hang, forks without end, standard
//! streams and console sockets that nobody serves, and limits that are reached. Every command answers in time, and nothing is left.

mod consoles;
mod descriptors;
mod first;
mod hooks;
mod processes;
mod streams;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags};

use crate::bundle::{Bundle, Output, PATIENCE, Test, bare, eventually, readable};
use crate::case::Case;
use crate::expect::{Verdict, check, fail, some};

pub(crate) fn cases() -> Vec<Case> {
    let groups =
        [processes::cases(), first::cases(), hooks::cases(), streams::cases(), consoles::cases(), descriptors::cases()];
    groups.into_iter().flatten().collect()
}

/// Of peers.
const LATE: &str = "it is known when create is done: until then delete finds nothing, and what was made is left";

/// Waits for a command, but not for ever; what does not end is killed, and the case fails.
fn in_time(child: &mut Child, what: &str) -> Verdict<std::process::ExitStatus> {
    // It may have been waited for already.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    if !readable(&pidfd, PATIENCE)? {
        child.kill()?;
        child.wait()?;
        return fail(format!("{what}: no end after {PATIENCE:?}"));
    }
    Ok(child.wait()?)
}

/// As [`Test::output_of`], but not for ever.
fn within(t: &Test, command: Command) -> Verdict<Output> {
    let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
    t.output_by(command, |child| in_time(child, &what))
}

/// As [`Bundle::verb`], but not for ever.
fn verb(b: &Bundle<'_>, verb: &str, flags: &[&str], rest: &[&str]) -> Verdict<Output> {
    within(b.test, b.test.command(&[&[verb], flags, &[b.id.as_str()], rest].concat()))
}

/// `delete --force`, which succeeds in time and leaves nothing.
fn deleted(b: &Bundle<'_>) -> Verdict {
    verb(b, "delete", &["--force"], &[])?.exits(0)?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

/// As [`deleted`], for a container in whose pid namespace there are children of the case: its first process ends when they are
/// reaped. Statuses of other children are lost.
fn deleted_reaping(b: &Bundle<'_>) -> Verdict {
    b.test.output_by(b.test.command(&["delete", "--force", &b.id]), crate::left::reap_until)?.exits(0)?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

/// A command line that a shell script executes as `"$@"`, with what it has done to its descriptors and limits.
fn through(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    bare(&mut shell);
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    shell
}

/// A command that goes on while others are run; what it says is in the file [`ERRORS`].
fn begin(t: &Test, mut command: Command) -> Verdict<Child> {
    let errors = File::options().create(true).append(true).open(t.path(ERRORS))?;
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()?)
}

const ERRORS: &str = "errors";

/// What commands that were begun have said.
fn said(t: &Test) -> Verdict<String> {
    Ok(fs::read_to_string(t.path(ERRORS))?.replace("\\\"", "\""))
}

/// `create` or `run`, begun.
fn begin_making(b: &Bundle<'_>, verb: &str) -> Verdict<Child> {
    b.save()?;
    begin(b.test, b.command(verb, &["--pid-file", &b.pid_file().to_string_lossy()]))
}

fn command_line(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// The living processes with this command line.
fn with_command_line(line: &str) -> Verdict<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if command_line(pid).trim_end() == line {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Waits until a process with this command line is there: `sleep` with a number that nobody else has.
fn appears(line: &str) -> Verdict<i32> {
    eventually(line, || Ok(!with_command_line(line)?.is_empty()))?;
    some(line, with_command_line(line)?.first().copied())
}

/// Waits until no process has this command line.
fn disappears(line: &str) -> Verdict {
    eventually(&format!("no {line}"), || Ok(with_command_line(line)?.is_empty()))
}

/// A letter of proc_pid_stat(5): `T` for a stopped process.
fn state_of(pid: i32) -> Verdict<Option<char>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    Ok(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()))
}
