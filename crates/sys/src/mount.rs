//! Detached copies of mounts: open_tree(2).

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};

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
