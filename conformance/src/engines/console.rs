//! A command of an engine on a pseudo-terminal, as a person has it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::bundle::{bare, ended, eventually, patience, readable};
use crate::expect::{Verdict, fail};
use crate::terminal;

/// A command whose controlling terminal is a new pseudo-terminal.
pub(crate) struct Console {
    child: Child,
    master: File,
    /// What was read and not asked for yet.
    seen: String,
}

impl Console {
    /// Starts the command with a window of this size.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16) -> Verdict<Self> {
        let (master, slave) = terminal::open()?;
        terminal::resize(&slave, rows, columns)?;
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        bare(&mut session);
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        let child = session.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave).spawn()?;
        Ok(Self { child, master, seen: String::new() })
    }

    /// Types this.
    pub(crate) fn types(&mut self, text: &str) -> Verdict {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// What is shown, up to and with this text, without carriage returns.
    pub(crate) fn shows(&mut self, text: &str) -> Verdict<String> {
        let deadline = Instant::now() + patience();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO || !self.more(left)? {
                return fail(format!("on the terminal\nexpected: {text:?}\nactual:   {:?}", self.seen));
            }
        }
    }

    /// Gives the window another size, of which the command is told.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Verdict {
        terminal::resize(&self.master, rows, columns)
    }

    /// Changes the window's size until this is shown: Docker's client listens to changes some time after the start.
    pub(crate) fn resizes(&mut self, rows: u16, columns: u16, text: &str) -> Verdict {
        let what = format!("the terminal shows {text:?}");
        eventually(&what, || {
            self.resize(rows, columns + 1)?;
            self.resize(rows, columns)?;
            while !self.seen.contains(text) && self.more(Duration::from_millis(500))? {}
            Ok(self.seen.contains(text))
        })
    }

    /// Reads what there is within this time; false if there is nothing.
    fn more(&mut self, limit: Duration) -> Verdict<bool> {
        if !readable(&self.master, limit)? {
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(length) => {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).replace('\r', "");
                self.seen.push_str(&text);
            }
            // EIO: the slave's last descriptor is closed.
            Err(e) => return fail(format!("on the terminal: {:?}, then {e}", self.seen)),
        }
        Ok(true)
    }

    /// Waits for the end of the command: its exit status.
    pub(crate) fn ended(&self) -> Verdict<i32> {
        ended(Pid::from_child(&self.child))
    }
}
