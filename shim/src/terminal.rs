//! The caller's terminal: its modes, which are given back as they were, and the size of its window.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Result;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// Standard input in raw mode: what is typed reaches the container as it is, ^C included. Dropping it
/// gives the terminal back.
pub(crate) struct Raw {
    terminal: io::Stdin,
    before: Termios,
}

impl Raw {
    /// Changes the terminal on standard input; `None` if there is none.
    pub(crate) fn new() -> Result<Option<Raw>> {
        let terminal = io::stdin();
        if !isatty(&terminal) {
            return Ok(None);
        }
        let before = tcgetattr(&terminal)?;
        let raw = Raw { terminal, before };
        raw.set()?;
        Ok(Some(raw))
    }

    /// Sets raw mode, at first or again: a shell gives a continued job the modes of its own.
    ///
    /// In the background nothing is set: with SIGTTOU blocked it would be the terminal of whatever is in
    /// the foreground that changes.
    pub(crate) fn set(&self) -> Result<()> {
        if !self.in_foreground()? {
            return Ok(());
        }
        let mut raw = self.before.clone();
        raw.make_raw();
        // The container's terminal leaves the ends of lines to this one, whichever descriptor its output comes to us by.
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(&self.terminal, OptionalActions::Now, &raw)
    }

    fn in_foreground(&self) -> Result<bool> {
        match tcgetpgrp(&self.terminal) {
            Ok(group) => Ok(group.as_raw_nonzero().get() == nix::unistd::getpgrp().as_raw()),
            // Not our controlling terminal, so there is no job control about it.
            Err(rustix::io::Errno::NOTTY | rustix::io::Errno::OPNOTSUPP) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if tcsetattr(&self.terminal, OptionalActions::Now, &self.before).is_err() {
            // The terminal has hung up; there is nothing to give back.
        }
    }
}

/// The size of our window, rows and columns: that of the first standard descriptor that is a terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    window().map(|size| (size.ws_row, size.ws_col))
}

fn window() -> Option<Winsize> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().find_map(|fd| tcgetwinsize(fd).ok())
}

/// Gives the container's terminal the size of our window. If there is none, the size stays as the config has it.
pub(crate) fn copy_size(to: BorrowedFd<'_>) -> Result<()> {
    window().map_or(Ok(()), |size| tcsetwinsize(to, size))
}
