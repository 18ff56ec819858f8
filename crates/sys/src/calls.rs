//! Whether the kernel has a system call.

use nix::errno::Errno;

/// The calls that can be asked for, by name.
const KNOWN: [(&str, libc::c_long); 19] = [
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("execveat", libc::SYS_execveat),
    ("faccessat2", libc::SYS_faccessat2),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("fspick", libc::SYS_fspick),
    ("memfd_create", libc::SYS_memfd_create),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    // On all machines; libc does not know it yet.
    ("open_tree_attr", 467),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("seccomp", libc::SYS_seccomp),
    ("statx", libc::SYS_statx),
];

/// Whether the kernel has a call, and no seccomp filter hides it. Nothing is done. `None`: not a call that is known here.
#[must_use]
pub fn is_there(name: &str) -> Option<bool> {
    let (_, number) = KNOWN.iter().find(|(known, _)| *known == name)?;
    // No descriptor, address, length, command or set of flags has all bits set, so that each call refuses its arguments.
    const NOT_THIS: usize = usize::MAX;
    // SAFETY: the kernel reads from and writes to addresses alone that are the program's; this one cannot be.
    let result = unsafe { libc::syscall(*number, NOT_THIS, NOT_THIS, NOT_THIS, NOT_THIS, NOT_THIS, NOT_THIS) };
    Some(Errno::result(result) != Err(Errno::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_every_kernel_are_there() {
        // As many descriptors as before: nothing was opened or closed.
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for (name, _) in KNOWN {
            let there = is_there(name);
            assert!(there == Some(true) || name == "open_tree_attr", "{name}: {there:?}");
        }
        assert_eq!((is_there("nothing"), open()), (None, before));
    }
}
