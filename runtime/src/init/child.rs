//! The process that an init is, as its parent: killed, reaped, and reached by its files in procfs.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use no_frills_sys::pidfd;
use no_frills_sys::spawn::Child;

use crate::compile::Pointer;
use crate::error::{Error, Result};

/// Kills a child and reaps it; one that is dead already is only reaped.
pub(super) fn kill_and_reap(child: &Child) -> Result<()> {
    kill(&child.pidfd)?;
    reap(child)
}

/// Kills an init, if it is not dead already.
pub(crate) fn kill(init: &OwnedFd) -> Result<()> {
    match pidfd::send_signal(init, nix::libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::system("killing init: pidfd_send_signal")(errno)),
    }
}

/// Waits for the end of a child.
pub(super) fn reap(child: &Child) -> Result<()> {
    match pidfd::wait(&child.pidfd, child.pid) {
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(errno) => Err(Error::system("waiting for init")(errno)),
    }
}

pub(super) fn io_errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}

/// Writes a file of a process in the host's procfs, in one write as the kernel wants it.
pub(crate) fn write_proc(pid: i32, name: &str, text: &[u8], pointer: Pointer) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    let failed = |error: std::io::Error| Error::System {
        pointer: pointer.to_string(),
        action: format!("writing {:?} to {path}", String::from_utf8_lossy(text)),
        errno: io_errno(&error),
    };
    let mut file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
    match file.write(text) {
        Ok(written) if written == text.len() => Ok(()),
        Ok(_) => Err(failed(Errno::EINVAL.into())),
        Err(error) => Err(failed(error)),
    }
}
