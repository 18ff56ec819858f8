//! One call of the runtime: its status, what it logged and what it said, within some time.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open};
use serde_json::Value;

use super::world::{RUNTIME, STATE};

const LOG: &str = "/log";
const STDERR: &str = "/stderr";
const STDOUT: &str = "/stdout";
/// How much longer one that is too slow is waited for, to tell it from one that would never end.
const PATIENCE: u32 = 6;

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) status: ExitStatus,
    /// The messages of level error.
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: usize,
    /// What was on standard output.
    pub(crate) stdout: String,
    /// What was on standard error, the container's processes' too.
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// Calls the runtime. `Ok(None)`: it did not end, and was killed.
pub(crate) fn call(arguments: &[&str], limit: Duration) -> Result<Option<Called>, String> {
    let tell = |error: std::io::Error| format!("{arguments:?}: {error}");
    match fs::remove_file(LOG) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(tell(error)),
        _ => {}
    }
    let begin = Instant::now();
    let mut command = Command::new(RUNTIME);
    command.args(["--root", STATE, "--log", LOG, "--log-format", "json"]).args(arguments);
    command.env_clear().env("PATH", "/bin").stdin(Stdio::null());
    command.stdout(File::create(STDOUT).map_err(tell)?).stderr(File::create(STDERR).map_err(tell)?);
    let mut child = command.spawn().map_err(tell)?;
    let status = wait(&mut child, limit * PATIENCE)?;
    let took = begin.elapsed();
    let Some(status) = status else { return Ok(None) };
    let log = fs::read(LOG).unwrap_or_default();
    let mut called =
        Called { status, errors: Vec::new(), warnings: 0, stdout: String::new(), stderr: String::new(), took };
    called.stdout = String::from_utf8_lossy(&fs::read(STDOUT).map_err(tell)?).into_owned();
    called.stderr = String::from_utf8_lossy(&fs::read(STDERR).map_err(tell)?).into_owned();
    for line in String::from_utf8_lossy(&log).lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| format!("the log has {line:?}: {error}"))?;
        match (line["level"].as_str(), line["msg"].as_str()) {
            (Some("error"), Some(message)) => called.errors.push(message.to_owned()),
            (Some("warning"), Some(_)) => called.warnings += 1,
            _ => return Err(format!("the log has {line}")),
        }
    }
    Ok(Some(called))
}

/// Waits for a child, and takes the statuses of all others that end meanwhile: those of a container are this process's.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, String> {
    let pid = Pid::from_child(child);
    let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| format!("pidfd_open: {error}"))?;
    let timeout = Timespec::try_from(limit).map_err(|error| error.to_string())?;
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let ended = poll(&mut fds, Some(&timeout)).map_err(|error| format!("poll: {error}"))?;
    if ended == 0 {
        child.kill().map_err(|error| format!("kill: {error}"))?;
    }
    let mut status = None;
    while status.is_none() {
        match rustix::process::wait(WaitOptions::empty()).map_err(|error| format!("wait: {error}"))? {
            Some((ended, how)) if ended == pid => status = Some(ExitStatus::from_raw(how.as_raw())),
            _ => {}
        }
    }
    Ok(status.filter(|_| ended > 0))
}
