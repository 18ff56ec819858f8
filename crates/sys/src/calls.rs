//! Whether the kernel has a system call, and since when Linux does.

use nix::errno::Errno;

/// The calls that not every kernel in use has, or that old filters do not know (docs/kernel-features.md): their names, their
/// numbers, and the version of Linux that came with them.
const KNOWN: [(&str, libc::c_long, &str); 19] = [
    ("clone3", libc::SYS_clone3, "5.7"),
    ("close_range", libc::SYS_close_range, "5.9"),
    ("execveat", libc::SYS_execveat, "3.19"),
    ("faccessat2", libc::SYS_faccessat2, "5.8"),
    ("fsconfig", libc::SYS_fsconfig, "5.2"),
    ("fsmount", libc::SYS_fsmount, "5.2"),
    ("fsopen", libc::SYS_fsopen, "5.2"),
    ("fspick", libc::SYS_fspick, "5.2"),
    ("memfd_create", libc::SYS_memfd_create, "3.17"),
    ("mount_setattr", libc::SYS_mount_setattr, "5.12"),
    ("move_mount", libc::SYS_move_mount, "5.2"),
    ("open_tree", libc::SYS_open_tree, "5.2"),
    // On all machines; libc does not know it yet.
    ("open_tree_attr", 467, "6.15"),
    ("openat2", libc::SYS_openat2, "5.6"),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, "5.6"),
    ("pidfd_open", libc::SYS_pidfd_open, "5.3"),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, "5.1"),
    ("seccomp", libc::SYS_seccomp, "3.17"),
    ("statx", libc::SYS_statx, "4.11"),
];

/// The names of the calls that are known here.
pub fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, ..)| *name)
}

/// Since which version Linux has a call. `None`: not a call that is known here.
#[must_use]
pub fn since(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, ..)| *known == name).map(|(.., version)| *version)
}

/// Whether the kernel has a call, and no seccomp filter hides it. Nothing is done. `None`: not a call that is known here.
#[must_use]
pub fn is_there(name: &str) -> Option<bool> {
    let (_, number, _) = KNOWN.iter().find(|(known, ..)| *known == name)?;
    // No descriptor, address, length, command or set of flags has all bits set, so that each call refuses its arguments.
    const NOT_THIS: usize = usize::MAX;
    // SAFETY: the kernel reads from and writes to addresses alone that are the program's; this one cannot be.
    let result = unsafe { libc::syscall(*number, NOT_THIS, NOT_THIS, NOT_THIS, NOT_THIS, NOT_THIS, NOT_THIS) };
    Some(Errno::result(result) != Err(Errno::ENOSYS))
}
