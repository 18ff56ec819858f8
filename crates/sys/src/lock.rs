//! Locks on open files: flock(2).
//!
//! nix has a type for it that unlocks when it is dropped, with a system call of its own; here the lock
//! simply ends with the file.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::arch::clone_onto;
use crate::spawn::{CLONE_CLEAR_SIGHAND, Child, CloneArguments, Stack};

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

/// As [`exclusive`], by a child that ends with 0 when the file is locked, or else with the errno. flock(2) knows no deadline, but a
/// child can be waited for with one, and killed. The lock belongs to the open file, which is the caller's too, so that it
/// is the caller's lock when the child has ended. The caller is to reap the child. It ends with the calling thread.
///
/// # Errors
/// As clone3(2).
pub fn exclusive_by_child(file: &impl AsFd) -> nix::Result<Child> {
    // SAFETY: no pointers, and it cannot fail.
    let parent = unsafe { libc::syscall(libc::SYS_getpid) };
    let mut lock = Lock { file: file.as_fd().as_raw_fd(), parent };
    let mut stack = MaybeUninit::<Stack>::uninit();
    let mut pidfd: RawFd = -1;
    let arguments = CloneArguments {
        flags: libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: size_of::<Stack>() as u64,
        ..CloneArguments::default()
    };
    // SAFETY: the arguments are complete. The child has a copy of all memory, and there this frame stays as it is; `lock_and_end`
    // allocates nothing and takes no lock that another thread of the caller's could hold.
    let result = unsafe {
        let arguments = (&raw const arguments).cast();
        clone_onto(arguments, size_of::<CloneArguments>(), lock_and_end, (&raw mut lock).cast())
    };
    if result < 0 {
        return Err(Errno::from_raw(-result as i32));
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so it stored a new descriptor here.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: result as i32, pidfd })
}

/// What the child of [`exclusive_by_child`] is to do.
struct Lock {
    file: RawFd,
    parent: libc::c_long,
}

/// # Safety
/// `lock` points at a [`Lock`].
unsafe extern "C" fn lock_and_end(lock: *mut u8) -> ! {
    // SAFETY: as promised; only raw system calls are made, and errno is the calling thread's in a copy of its memory.
    unsafe {
        let Lock { file, parent } = *lock.cast::<Lock>();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64);
        // It may have ended before that.
        if libc::syscall(libc::SYS_getppid) != parent {
            libc::_exit(libc::ESRCH);
        }
        while libc::flock(file, libc::LOCK_EX) < 0 {
            let errno = *libc::__errno_location();
            if errno != libc::EINTR {
                libc::_exit(errno);
            }
        }
        libc::_exit(0)
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::pidfd::{self, Exit};

    #[test]
    fn a_child_waits_for_the_lock_which_is_then_its_parents() {
        let path = std::env::temp_dir().join(format!("no-frills-lock-{}", std::process::id()));
        let (one, other) = (File::create(&path).unwrap(), File::open(&path).unwrap());
        exclusive(&one).unwrap();
        let child = exclusive_by_child(&other).unwrap();
        assert!(!pidfd::has_ended(&child.pidfd).unwrap());
        unlock(&one).unwrap();
        assert_eq!(pidfd::reap(&child.pidfd), Ok(Exit::Code(0)));
        assert!(!try_exclusive(&one).unwrap());
        // One that is killed leaves no lock.
        let child = exclusive_by_child(&one).unwrap();
        pidfd::send_signal(&child.pidfd, libc::SIGKILL).unwrap();
        assert_eq!(pidfd::reap(&child.pidfd), Ok(Exit::Signal(libc::SIGKILL)));
        unlock(&other).unwrap();
        assert!(try_exclusive(&one).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
