//! A command of an engine on a pseudo-terminal, as a person has it.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::Instant;

use crate::bundle::{bare, code, patience};
use crate::expect::{Verdict, fail};
use crate::terminal;

/// A command whose controlling terminal is a new pseudo-terminal.
pub(crate) struct Console {
    master: File,
    child: Child,
}

impl Console {
    /// Starts the command with a window of this size.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16) -> Verdict<Self> {
        let (master, slave) = terminal::open()?;
        terminal::resize(&slave, rows, columns)?;
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        bare(&mut session);
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        session.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        Ok(Self { master, child: session.spawn()? })
    }

    /// Types this and the enter key.
    pub(crate) fn types(&mut self, text: &str) -> Verdict {
        Ok(self.master.write_all(format!("{text}\r").as_bytes())?)
    }

    /// Reads until the text is there; what was read, without carriage returns.
    pub(crate) fn reads(&mut self, text: &str) -> Verdict<String> {
        terminal::read_until(&mut self.master, text)
    }

    /// Gives the window another size, of which the command is told.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Verdict {
        terminal::resize(&self.master, rows, columns)
    }

    /// Waits for the end of the command: its exit status.
    pub(crate) fn ends(mut self) -> Verdict<i32> {
        let deadline = Instant::now() + patience();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(code(status));
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                return fail("the command on the terminal did not end");
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
