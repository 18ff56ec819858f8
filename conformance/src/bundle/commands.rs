//! What the runtime is told to do with a bundle.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::expect::{Verdict, check, fail, same};

use super::{Bundle, Lines, Output, code, ended, eventually};

impl Bundle<'_> {
    /// `run` with more flags, attached unless these say otherwise.
    pub(crate) fn run_with(&self, flags: &[&str]) -> Verdict<Output> {
        self.save()?;
        self.test.output_of(self.command("run", flags))
    }

    /// `run`.
    pub(crate) fn run(&self) -> Verdict<Output> {
        self.run_with(&[])
    }

    /// `run`, which must succeed: what the container printed.
    pub(crate) fn stdout(&self) -> Verdict<String> {
        self.run()?.exits(0)?.stdout()
    }

    /// `create` with more flags.
    pub(crate) fn create_with(&self, flags: &[&str]) -> Verdict<Output> {
        self.save()?;
        let mut all = vec!["--pid-file", "pid"];
        all.extend(flags);
        let mut command = self.command("create", &all);
        // A relative pid file also shows that paths are the caller's, not the bundle's.
        command.current_dir(&self.dir);
        self.test.output_of(command)
    }

    /// `create`, which must succeed.
    pub(crate) fn create(&self) -> Verdict<Output> {
        self.create_with(&[])?.exits(0)
    }

    /// `create` and `start`, with the container's output on a pipe.
    pub(crate) fn started(&self) -> Verdict<Lines> {
        self.save()?;
        let (reader, writer) = io::pipe()?;
        let err = File::create(self.dir.join("stderr"))?;
        let pid_file = self.pid_file();
        let pid_file = pid_file.to_string_lossy();
        let mut command = self.command("create", &["--pid-file", &pid_file]);
        let status = command.stdin(Stdio::null()).stdout(writer).stderr(err).status()?;
        // The command holds the pipe's writing end too.
        drop(command);
        if code(status) != 0 {
            return fail(format!("create: status {}: {}", code(status), fs::read_to_string(self.dir.join("stderr"))?));
        }
        self.start()?;
        Ok(Lines::new(reader))
    }

    /// `start`, which must succeed.
    pub(crate) fn start(&self) -> Verdict<Output> {
        self.verb("start", &[])?.exits(0)
    }

    /// `create` and `start` with a process that does nothing, and until that runs.
    pub(crate) fn running_idle(self) -> Verdict<Self> {
        let b = self.idle();
        b.create()?;
        b.start_idle()?;
        Ok(b)
    }

    /// `start`, and until the process of [`idle`](Bundle::idle) runs.
    pub(crate) fn start_idle(&self) -> Verdict {
        self.start()?;
        self.executes(&["sleep", "1000"])
    }

    /// The container's process has executed its program, with these arguments: with ours when `start` returns, with
    /// others at some time after that.
    pub(crate) fn executes(&self, args: &[&str]) -> Verdict {
        let cmdline: String = args.iter().flat_map(|arg| [arg, "\0"]).collect();
        let path = format!("/proc/{}/cmdline", self.pid()?.as_raw_nonzero());
        if self.test.ours() {
            return same("the command line", fs::read_to_string(path)?, cmdline);
        }
        eventually("the process has executed its program", || Ok(fs::read_to_string(&path)? == cmdline))
    }

    /// A command with the id, then more arguments.
    pub(crate) fn verb(&self, verb: &str, rest: &[&str]) -> Verdict<Output> {
        let mut args = vec![verb, self.id.as_str()];
        args.extend(rest);
        self.test.runtime(&args)
    }

    /// `state`, parsed.
    pub(crate) fn state(&self) -> Verdict<Value> {
        self.test.state(&self.id)
    }

    /// `state` tells this status.
    pub(crate) fn is(&self, status: &str) -> Verdict {
        same("status", &self.state()?["status"], status)
    }

    /// `delete --force`, which must succeed.
    pub(crate) fn delete_force(&self) -> Verdict<Output> {
        self.test.runtime(&["delete", "--force", &self.id])?.exits(0)
    }

    /// Kills the process, waits for its end, deletes the container.
    pub(crate) fn kill_and_delete(&self) -> Verdict {
        self.verb("kill", &["KILL"])?.exits(0)?;
        self.ended()?;
        self.verb("delete", &[])?.exits(0)?;
        Ok(())
    }

    /// Waits for the container's process to end: its status as a shell would tell it.
    pub(crate) fn ended(&self) -> Verdict<i32> {
        ended(self.pid()?)
    }

    /// A command line of `run` or `create` for this bundle.
    pub(crate) fn command(&self, verb: &str, flags: &[&str]) -> Command {
        self.command_without(&self.test.without, verb, flags)
    }

    /// The same as if the kernel lacked these system calls, separated by commas.
    pub(crate) fn command_without(&self, calls: &str, verb: &str, flags: &[&str]) -> Command {
        let mut args: Vec<OsString> = vec![verb.into(), "--bundle".into(), self.dir.clone().into()];
        args.extend(flags.iter().map(Into::into));
        args.push(self.id.clone().into());
        self.test.command_without(calls, &args)
    }

    /// The runtime knows nothing of the container.
    pub(crate) fn is_gone(&self) -> Verdict {
        let output = self.verb("state", &[])?;
        check(output.status != 0, || format!("{} is still known", self.id))?;
        check(!self.test.state_root().join(&self.id).exists(), || "a directory is left in the state root".to_owned())
    }
}
