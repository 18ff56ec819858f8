//! Signals: blocking, giving back the default action, sets of them, and descriptors that tell of them.
//!
//! There is no sigaction: this program has no handlers.

use core::ffi::c_int;

use libc::sigset_t;

use crate::arch::syscall;
use crate::errors::to_c;

/// The kernel's set: one bit for each signal, from 1.
pub(crate) type Mask = u64;

/// # Safety
/// `set` is valid for writing.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn sigemptyset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller's promise; a set is an array of numbers.
    unsafe { set.write_bytes(0, 1) };
    0
}

/// All signals but the two that C libraries keep for themselves: what this program starts with them blocked
/// may have such a library.
///
/// # Safety
/// `set` is valid for writing.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn sigfillset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller's promise; the set begins with the kernel's.
    unsafe {
        set.write_bytes(0, 1);
        set.cast::<Mask>().write(!(0b11 << (32 - 1)));
    }
    0
}

/// # Safety
/// `set` is valid.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn sigaddset(set: *mut sigset_t, signal: c_int) -> c_int {
    if !(1..=64).contains(&signal) {
        return to_c(-(libc::EINVAL as isize)) as c_int;
    }
    // SAFETY: the caller's promise; the set begins with the kernel's.
    unsafe { *set.cast::<Mask>() |= 1 << (signal - 1) };
    0
}

/// # Safety
/// `set` is valid.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn sigdelset(set: *mut sigset_t, signal: c_int) -> c_int {
    if !(1..=64).contains(&signal) {
        return to_c(-(libc::EINVAL as isize)) as c_int;
    }
    // SAFETY: the caller's promise; the set begins with the kernel's.
    unsafe { *set.cast::<Mask>() &= !(1 << (signal - 1)) };
    0
}

/// Changes what is blocked. Like all of pthread, it returns the error.
///
/// # Safety
/// `set` and `old` are valid or null.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: the caller's promise; the kernel reads and writes the sets' first eight bytes.
    unsafe {
        if !old.is_null() {
            old.write_bytes(0, 1);
        }
        let arguments = [how as usize, set as usize, old as usize, size_of::<Mask>(), 0, 0];
        -syscall(libc::SYS_rt_sigprocmask, arguments) as c_int
    }
}

/// A signal's action as the kernel takes it.
#[repr(C)]
struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: Mask,
}

/// Sets a signal's action to the default one, or ignores it; a handler is refused.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn signal(signal: c_int, handler: usize) -> usize {
    if handler != libc::SIG_DFL && handler != libc::SIG_IGN {
        return to_c(-(libc::EINVAL as isize)) as usize;
    }
    let action = Action { handler, flags: libc::SA_RESTART as usize, restorer: 0, mask: 0 };
    let mut old = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
    let arguments = [signal as usize, &raw const action as usize, &raw mut old as usize, size_of::<Mask>(), 0, 0];
    // SAFETY: both are the kernel's structures.
    let result = to_c(unsafe { syscall(libc::SYS_rt_sigaction, arguments) });
    if result < 0 { libc::SIG_ERR } else { old.handler }
}

/// # Safety
/// `set` is valid.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn signalfd(fd: c_int, set: *const sigset_t, flags: c_int) -> c_int {
    let arguments = [fd as usize, set as usize, size_of::<Mask>(), flags as usize, 0, 0];
    // SAFETY: the caller's promise; the kernel reads the set's first eight bytes.
    to_c(unsafe { syscall(libc::SYS_signalfd4, arguments) }) as c_int
}

#[cfg(test)]
mod tests {
    use core::mem::zeroed;

    use super::*;

    /// The part of a set that the kernel reads; the C library writes no more than that.
    fn mask(set: &sigset_t) -> Mask {
        // SAFETY: a set is larger than a mask.
        unsafe { (&raw const *set).cast::<Mask>().read() }
    }

    #[test]
    fn sets_are_the_c_librarys() {
        let _alone = crate::alone();
        // SAFETY: a set is an array of numbers; all pointers are to sets.
        unsafe {
            let (mut ours, mut theirs) = (zeroed(), zeroed());
            assert_eq!((sigfillset(&raw mut ours), libc::sigfillset(&raw mut theirs)), (0, 0));
            assert_eq!(mask(&ours), mask(&theirs));
            assert_eq!((sigemptyset(&raw mut ours), libc::sigemptyset(&raw mut theirs)), (0, 0));
            for signal in [1, 15, 31, 34, 64] {
                assert_eq!((sigaddset(&raw mut ours, signal), libc::sigaddset(&raw mut theirs, signal)), (0, 0));
                assert_eq!(mask(&ours), mask(&theirs));
            }
            assert_eq!((sigdelset(&raw mut ours, 31), libc::sigdelset(&raw mut theirs, 31)), (0, 0));
            assert_eq!(mask(&ours), mask(&theirs));
            assert_eq!((sigaddset(&raw mut ours, 0), sigaddset(&raw mut ours, 65)), (-1, -1));
            assert_eq!((sigdelset(&raw mut ours, 0), sigdelset(&raw mut ours, 65)), (-1, -1));
        }
    }

    #[test]
    fn what_is_blocked_is_what_the_c_library_sees() {
        // SAFETY: a set is an array of numbers; all pointers are to sets. The test's thread alone is changed.
        unsafe {
            let (mut set, mut old, mut theirs) = (zeroed(), zeroed(), zeroed());
            sigaddset(&raw mut set, libc::SIGUSR2);
            assert_eq!(pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut old), 0);
            libc::pthread_sigmask(libc::SIG_BLOCK, core::ptr::null(), &raw mut theirs);
            assert_eq!(mask(&theirs), mask(&old) | mask(&set));
            assert_eq!(pthread_sigmask(99, &raw const set, &raw mut old), libc::EINVAL);
            assert_eq!(pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, core::ptr::null_mut()), 0);
        }
    }

    #[test]
    fn actions_are_set_and_handlers_refused() {
        let _alone = crate::alone();
        assert_eq!(signal(libc::SIGUSR2, libc::SIG_IGN), libc::SIG_DFL);
        assert_eq!(signal(libc::SIGUSR2, libc::SIG_DFL), libc::SIG_IGN);
        assert_eq!(signal(libc::SIGUSR2, 0x1000), libc::SIG_ERR);
        assert_eq!(signal(libc::SIGKILL, libc::SIG_IGN), libc::SIG_ERR);
    }
}
