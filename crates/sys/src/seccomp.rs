//! seccomp(2), as far as it answers questions: which actions and flags this kernel has. Nothing is installed here; init
//! does that in the container's process.

use nix::errno::Errno;

/// `SECCOMP_FILTER_FLAG_TSYNC`: the filter is for all threads of the process (Linux 3.17).
pub const TSYNC: u32 = libc::SECCOMP_FILTER_FLAG_TSYNC as u32;
/// `SECCOMP_FILTER_FLAG_LOG`: all actions but allow are logged, where actions_logged says so too (Linux 4.14).
pub const LOG: u32 = libc::SECCOMP_FILTER_FLAG_LOG as u32;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation of Speculative Store Bypass (Linux 4.17).
pub const SPEC_ALLOW: u32 = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: a descriptor for notifications is returned (Linux 5.0).
pub const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: only fatal signals interrupt a call whose notification was received (Linux
/// 5.19). The kernel takes it with [`NEW_LISTENER`] alone.
pub const WAIT_KILLABLE_RECV: u32 = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32;

/// Whether a filter may be installed with these flags together. No filter is: the kernel checks the flags first, and
/// then finds no program.
///
/// # Errors
/// `ENOSYS`: the kernel was built without seccomp filters. Anything else (`EPERM` mostly) is what a filter that this
/// process itself is under says to seccomp(2).
pub fn flags_are_known(flags: u32) -> nix::Result<bool> {
    let program = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel takes any address for the program, and finds none at this one.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, program) };
    match Errno::result(result) {
        Err(Errno::EFAULT) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno),
        // Not with a kernel that has no program to install.
        Ok(_) => Err(Errno::UnknownErrno),
    }
}

/// Whether the kernel has an action, one of `SECCOMP_RET_*` without data (Linux 4.14; `SECCOMP_RET_USER_NOTIF`, for
/// instance, since 5.0). What it does not have, it treats as `SECCOMP_RET_KILL_PROCESS`.
///
/// # Errors
/// As [`flags_are_known`]; `EINVAL` before Linux 4.14.
pub fn action_is_available(action: u32) -> nix::Result<bool> {
    // SAFETY: the address is that of a live u32, which is what this operation reads.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    match Errno::result(result) {
        Ok(_) => Ok(true),
        Err(Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_the_kernel() {
        for flags in [0, TSYNC, LOG, SPEC_ALLOW, NEW_LISTENER, TSYNC | LOG | SPEC_ALLOW] {
            assert_eq!(flags_are_known(flags), Ok(true), "{flags:#x}");
        }
        assert_eq!(flags_are_known(1 << 31), Ok(false));
        // Whatever the kernel's version: alone it is never taken.
        assert_eq!(flags_are_known(WAIT_KILLABLE_RECV), Ok(false));
    }

    #[test]
    fn nothing_is_installed() {
        let filters = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let lines = status.lines().filter(|line| line.starts_with("Seccomp")).map(str::to_owned);
            lines.collect::<Vec<_>>()
        };
        let before = filters();
        assert_ne!(before, [] as [String; 0]);
        assert_eq!(flags_are_known(TSYNC), Ok(true));
        assert_eq!(filters(), before);
    }

    #[test]
    fn actions_are_those_of_the_kernel() {
        for action in [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_USER_NOTIF] {
            assert_eq!(action_is_available(action), Ok(true), "{action:#x}");
        }
        assert_eq!(action_is_available(0x1234_0000), Ok(false));
    }
}
