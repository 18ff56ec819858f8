//! Locks on open files: flock(2).
//!
//! nix has a type for it that unlocks when it is dropped, with a system call of its own; here the lock
//! simply ends with the file.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Locks the file for this descriptor alone, and waits for others who have it locked.
///
/// # Errors
/// As flock(2).
pub fn exclusive(file: &impl AsFd) -> nix::Result<()> {
    loop {
        match flock(file, libc::LOCK_EX) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Locks the file together with others who do so, and waits for who has it alone.
///
/// # Errors
/// As flock(2).
pub fn shared(file: &impl AsFd) -> nix::Result<()> {
    loop {
        match flock(file, libc::LOCK_SH) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// As [`exclusive`], but does not wait: `false` while somebody else has it locked.
///
/// # Errors
/// As flock(2).
pub fn try_exclusive(file: &impl AsFd) -> nix::Result<bool> {
    loop {
        match flock(file, libc::LOCK_EX | libc::LOCK_NB) {
            Err(Errno::EINTR) => {}
            Err(Errno::EWOULDBLOCK) => return Ok(false),
            result => return result.map(|()| true),
        }
    }
}

/// Lets others lock the file.
///
/// # Errors
/// As flock(2).
pub fn unlock(file: &impl AsFd) -> nix::Result<()> {
    flock(file, libc::LOCK_UN)
}

fn flock(file: &impl AsFd, operation: i32) -> nix::Result<()> {
    // SAFETY: no pointers.
    Errno::result(unsafe { libc::flock(file.as_fd().as_raw_fd(), operation) }).map(drop)
}
