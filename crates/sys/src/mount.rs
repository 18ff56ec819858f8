//! Detached mounts: copies of others by open_tree(2), and procfs.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

const OPEN_TREE_CLONE: u32 = 1;

/// A detached copy of the mount at a path, as a bind mount makes one; with `recursive` the mounts
/// below come along. A relative path counts from the current directory; a symbolic link at its end is followed.
///
/// # Errors
/// As open_tree(2) and path_resolution(7): `EPERM` without CAP_SYS_ADMIN over the mount namespace.
pub fn clone_tree(path: &CStr, recursive: bool) -> nix::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    // SAFETY: the path is a C string.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A procfs that is mounted nowhere: that of the caller's pid namespace, with nothing mounted over any file in it.
///
/// # Errors
/// As fsopen(2) and fsmount(2): `EPERM` without CAP_SYS_ADMIN over the user namespace of the caller's pid namespace.
pub fn procfs() -> nix::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_long = 1;
    const FSCONFIG_CMD_CREATE: libc::c_long = 6;
    const FSMOUNT_CLOEXEC: libc::c_long = 1;
    const NOSUID_NODEV_NOEXEC: libc::c_long = 2 | 4 | 8;
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: the type is a C string.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), FSOPEN_CLOEXEC) })?;
    // SAFETY: a new descriptor, which nobody else has.
    let opened = unsafe { OwnedFd::from_raw_fd(opened as i32) };
    let fd = opened.as_raw_fd();
    // SAFETY: the command takes neither key nor value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, null, null, 0) })?;
    // SAFETY: no pointers.
    let mount = unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, NOSUID_NODEV_NOEXEC) };
    let mount = Errno::result(mount)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(mount as i32) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    #[test]
    fn a_procfs_of_our_own() {
        let procfs = match super::procfs() {
            Err(nix::errno::Errno::EPERM) => return eprintln!("skipped: needs CAP_SYS_ADMIN"),
            procfs => procfs.unwrap(),
        };
        let own = std::fs::read_link(format!("/proc/self/fd/{}/self", procfs.as_raw_fd())).unwrap();
        assert_eq!(own.to_str().unwrap(), std::process::id().to_string());
    }
}
