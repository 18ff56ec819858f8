//! What commands printed, and how they ended.

use std::fs::{self};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use crate::expect::{Verdict, check, contains, contains_one, fail, lacks, same};

use super::Test;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    pub(super) what: String,
    /// The exit status as a shell would tell it.
    pub(crate) status: i32,
    pub(super) out: PathBuf,
    pub(super) err: PathBuf,
}

impl Output {
    /// What is on stdout by now.
    pub(crate) fn stdout(&self) -> Verdict<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.out)?).into_owned())
    }

    /// What is on stderr by now.
    pub(crate) fn stderr(&self) -> Verdict<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.err)?).into_owned())
    }

    /// The exit status is this.
    pub(crate) fn exits(self, status: i32) -> Verdict<Self> {
        if self.status == status {
            return Ok(self);
        }
        let Self { what, status: actual, .. } = &self;
        let (out, err) = (self.stdout()?, self.stderr()?);
        fail(format!("{what}\nexpected: exit status {status}\nactual:   {actual}\nstdout: {out}\nstderr: {err}"))
    }

    /// Stdout is exactly this.
    pub(crate) fn prints(self, text: &str) -> Verdict<Self> {
        same(&format!("stdout of {}", self.what), self.stdout()?.as_str(), text)?;
        Ok(self)
    }

    /// The command failed with status 1 and told why on stderr: `ours` if the runtime is ours, else one
    /// of `peers` (anything, if none is given).
    pub(crate) fn refuses(self, test: &Test, ours: &str, peers: &[&str]) -> Verdict<Self> {
        self.refuses_with(test, 1, ours, peers)
    }

    /// As [`refuses`](Output::refuses), with another status from ours.
    pub(crate) fn refuses_with(self, test: &Test, status: i32, ours: &str, peers: &[&str]) -> Verdict<Self> {
        // Log lines put messages in quotes.
        let stderr = self.stderr()?.replace("\\\"", "\"");
        if test.ours() {
            let output = self.exits(status)?;
            contains(&format!("stderr of {}", output.what), &stderr, ours)?;
            lacks("panics", &stderr, "panicked")?;
            return Ok(output);
        }
        check(self.status != 0, || format!("{}\nexpected: a failure\nactual:   status 0", self.what))?;
        if !peers.is_empty() {
            contains_one(&format!("stderr of {}", self.what), &stderr, peers)?;
        }
        Ok(self)
    }
}

/// The status as a shell would tell it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// The arguments of a command without the paths that vary.
pub(super) fn words(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let root = words.iter().position(|word| word == "--root").map_or(0, |at| at + 2);
    words.get(root..).unwrap_or(&words).join(" ")
}
