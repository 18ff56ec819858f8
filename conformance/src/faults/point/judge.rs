//! Whether the command of a point did what it said, and said what it did.

use std::fs::{self};
use std::os::unix::process::ExitStatusExt;

use nix::errno::Errno;
use serde_json::Value;

use super::super::fault::Fault;
use super::super::inside::Inventory;
use super::super::scenario::Fixture;
use super::{Ended, OWN, Work, Wrong};
use no_frills_conformance::kind::Kind;

impl Work<'_> {
    /// Finds out whether the command did what it said. Returns what it did.
    pub(super) fn judge(&mut self, ended: &Ended, before: &Inventory) -> Result<String, String> {
        let scenario = self.point.scenario;
        let killed = matches!(&self.point.harm, Some((_, Fault::Kill)));
        let Some(status) = ended.status else {
            let seen: Vec<_> = ended.hanging.iter().map(|seen| seen.words.as_str()).collect();
            self.wrong(Wrong::Hang, format!("{} hangs: {}", scenario.command(), seen.join("; ")));
            return Ok(String::new());
        };
        let errors = ended
            .stderr
            .lines()
            .filter(|line| self.point.kind != Kind::NoFrills || line.contains("level=error"))
            .count();
        let success = status.code() == Some(if scenario.is_attached() { 7 } else { 0 });
        if success && errors == 0 && killed && self.point.late && !scenario.is_attached() && self.ended()? {
            return Ok(String::new());
        }
        if success && errors == 0 {
            return Ok(match self.did(before) {
                Ok(seen) => {
                    self.compare(&seen, &ended.stderr)?;
                    seen
                }
                Err(why) => {
                    self.wrong(Wrong::False, why);
                    String::new()
                }
            });
        }
        // The command itself was killed.
        if killed && status.signal() == Some(9) {
            return Ok(String::new());
        }
        // The container's process was, which is what it tells.
        if killed && scenario.is_attached() && status.code() == Some(128 + 9) && errors == 0 {
            return Ok(String::new());
        }
        if self.point.kind == Kind::NoFrills && self.path("pid").exists() {
            self.wrong(Wrong::Left, "a pid file of what was not made");
        }
        if ended.stderr.trim().is_empty() {
            self.wrong(Wrong::Silent, format!("{status}, and no message"));
        } else if self.point.kind == Kind::NoFrills && status.signal().is_some() {
            self.wrong(Wrong::Unclear, ended.how());
        } else if self.point.kind == Kind::NoFrills {
            self.check_words(&ended.stderr);
        }
        Ok(String::new())
    }

    /// Whether the process that the command has made is no more.
    fn ended(&self) -> Result<bool, String> {
        Ok(match self.point.scenario.command() {
            "exec" => !self.path("out/exec").exists(),
            _ => self.state()?["status"] == "stopped",
        })
    }

    /// Ours says one thing, and in it what the cause was.
    fn check_words(&mut self, stderr: &str) {
        let mut lines = stderr.lines().filter(|line| !line.contains("level=warning"));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return self.wrong(Wrong::Unclear, format!("not one message: {stderr}"));
        };
        let causes = match &self.point.harm {
            // By its name, or in words, those of the kernel's library or of Go's, for engines.
            Some((_, Fault::Error(errno))) => {
                let words = std::io::Error::from_raw_os_error(*errno as i32).to_string();
                let words = words.split(" (").next().unwrap_or_default().to_owned();
                let mut known = vec![format!("{errno:?}"), errno.desc().to_lowercase(), words];
                if *errno == Errno::EPERM {
                    known.extend(["permission denied".to_owned(), "may not".to_owned()]);
                }
                // What connect(2) answers when the queue is full, or its time is up, and what that means.
                if *errno == Errno::EAGAIN {
                    known
                        .extend(["ETIMEDOUT", "nobody takes the connection", "does not answer"].map(ToOwned::to_owned));
                }
                known
            }
            Some((_, Fault::Kill)) => ["signal 9", "has stopped", "not running"].map(ToOwned::to_owned).to_vec(),
            None => Vec::new(),
        };
        // Before it has a log.
        let is_message = line.contains("level=error") || line.starts_with("cannot start: ");
        if !is_message || !causes.iter().any(|cause| line.contains(cause)) {
            self.wrong(Wrong::Unclear, format!("without the cause: {line}"));
        }
    }

    /// What the command did, after it said that it had succeeded.
    fn did(&self, before: &Inventory) -> Result<String, String> {
        let scenario = self.point.scenario;
        let hooks = || fs::read_to_string(self.path("out/hooks")).unwrap_or_default();
        let limit = || fs::read_to_string(self.container.join("hugetlb.2MB.max")).unwrap_or_default();
        match scenario.command() {
            "create" => {
                let state = self.state()?;
                if state["status"] != "created" {
                    return Err(format!("after create its state is {state}"));
                }
                self.check_pid_file(&state)?;
                self.check_console()?;
                let started = self.runtime(&["start", "ID"])?;
                if !started.succeeded() {
                    return Err(format!("created, and not started: {}", started.how()));
                }
                Ok(format!("{}\n{}{}", self.told("first")?, hooks(), limit()))
            }
            "start" => Ok(format!("{}\n{}{}", self.told("first")?, hooks(), limit())),
            "run" if scenario.is_attached() => {
                let left = before.left(&self.point.work, OWN, &self.cgroup, |path| self.is_of_no_concern(path));
                if !left.is_empty() {
                    return Err(format!("run left {}", left.join(", ")));
                }
                Ok(format!("{}\n{}", self.told("first")?, hooks()))
            }
            "run" => {
                self.check_pid_file(&self.state()?)?;
                self.check_console()?;
                Ok(format!("{}\n{}{}", self.told("first")?, hooks(), limit()))
            }
            "exec" => {
                let text = self.told("exec")?;
                if scenario.fixture == Fixture::Full && !self.path("pid").exists() {
                    return Err("no pid file".to_owned());
                }
                Ok(text)
            }
            "kill" => self.until("the killed container stops", || self.is_empty()).map(|()| hooks()),
            "delete" => {
                let left = before.left(&self.point.work, OWN, &self.cgroup, |path| self.is_of_no_concern(path));
                if left.is_empty() { Ok(hooks()) } else { Err(format!("delete left {}", left.join(", "))) }
            }
            "pause" if self.event("frozen") => Ok(String::new()),
            "pause" => Err("it is not frozen".to_owned()),
            "resume" if !self.event("frozen") => Ok(String::new()),
            "resume" => Err("it is frozen".to_owned()),
            _ => Ok(limit()),
        }
    }

    fn check_pid_file(&self, state: &Value) -> Result<(), String> {
        if self.point.scenario.fixture != Fixture::Full {
            return Ok(());
        }
        let text = fs::read_to_string(self.path("pid")).map_err(|e| format!("the pid file: {e}"))?;
        if text.parse().is_ok_and(|pid: i64| state["pid"] == pid) {
            Ok(())
        } else {
            Err(format!("the pid file says {text:?}, and state {state}"))
        }
    }

    fn check_console(&self) -> Result<(), String> {
        if self.point.scenario.fixture != Fixture::Full {
            return Ok(());
        }
        // It was sent before the command ended, and is taken by a thread.
        let received = || self.consoles.lock().is_ok_and(|consoles| !consoles.is_empty());
        self.until("the console arrives", received)
    }

    fn compare(&mut self, seen: &str, stderr: &str) -> Result<(), String> {
        let Some(path) = &self.point.reference else { return Ok(()) };
        let reference = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        if seen == reference || stderr.contains("level=warning") {
            return Ok(());
        }
        let one_sided = |these: &str, those: &str, sign: char| {
            let lines = these.lines().filter(|line| !those.lines().any(|other| other == *line));
            lines.take(4).map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
        };
        let mut differences = one_sided(&reference, seen, '-');
        differences.extend(one_sided(seen, &reference, '+'));
        self.wrong(Wrong::False, format!("not as without harm: {}", differences.join("\n      ")));
        Ok(())
    }
}
