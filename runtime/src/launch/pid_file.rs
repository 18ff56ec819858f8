//! The pid file.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::O_NOFOLLOW;

use super::Launch;
use crate::error::{Error, Result};

impl Launch<'_> {
    pub(super) fn write_pid_file(&mut self) -> Result<()> {
        let Some(path) = &self.record.pid_file else { return Ok(()) };
        self.pid_file_written = true;
        write_pid_file(path, self.init.pid())
    }

    /// From here on the pid file is the caller's, and stays when the container is deleted.
    pub(super) fn release_pid_file(&mut self) -> Result<()> {
        let Some(path) = self.record.pid_file.take() else { return Ok(()) };
        let written = self.journal.write(&self.record);
        // For `undo`, which may still follow.
        self.record.pid_file = Some(path);
        written
    }
}

/// Writes a pid to a file for the caller.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644).custom_flags(O_NOFOLLOW);
    let mut file = options.open(path).map_err(Error::at("creating the pid file", path))?;
    // Engines parse it without trimming: no newline.
    write!(file, "{pid}").map_err(Error::at("writing the pid file", path))
}
