//! Detached mounts: copies of others by open_tree(2), and procfs.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

const OPEN_TREE_CLONE: u32 = 1;

/// A detached copy of the mount at a path, as a bind mount makes one; with `recursive` the mounts
/// below come along. A relative path counts from the current directory; a symbolic link at its end is followed.
///
/// # Errors
/// As open_tree(2) and path_resolution(7): `EPERM` without CAP_SYS_ADMIN over the mount namespace.
pub fn clone_tree(path: &CStr, recursive: bool) -> nix::Result<OwnedFd> {
    open_tree(libc::AT_FDCWD, path, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// As [`clone_tree`]; of a symbolic link at the end of the path the link is what the mount shows.
///
/// # Errors
/// As [`clone_tree`].
pub fn clone_tree_itself(path: &CStr, recursive: bool) -> nix::Result<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    open_tree(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW | recursive)
}

/// A detached bind mount of what a descriptor is open for.
///
/// # Errors
/// As [`clone_tree`].
pub fn clone_opened(opened: &impl AsFd) -> nix::Result<OwnedFd> {
    open_tree(opened.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn open_tree(at: libc::c_int, path: &CStr, flags: libc::c_int) -> nix::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | flags as u32;
    // SAFETY: the path is a C string.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, at, path.as_ptr(), flags) })?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Gives a detached tree of mounts the id mappings of a user namespace (Linux 5.12); with `recursive` also the mounts
/// below the uppermost.
///
/// # Errors
/// As mount_setattr(2): `EINVAL` when a file system in it does not support it.
pub fn map_ids(tree: &impl AsFd, user_namespace: &impl AsFd, recursive: bool) -> nix::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let attributes = MountAttr {
        set: MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        userns_fd: user_namespace.as_fd().as_raw_fd() as u64,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let tree = tree.as_fd().as_raw_fd();
    let size = size_of::<MountAttr>();
    // SAFETY: the path is a C string, the structure as long as the size says.
    let result =
        unsafe { libc::syscall(libc::SYS_mount_setattr, tree, c"".as_ptr(), flags, &raw const attributes, size) };
    Errno::result(result).map(drop)
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

/// A new file system in the making, fsopen(2): what parameters it takes can be asked without making it.
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// For a file system of a type.
    ///
    /// # Errors
    /// As fsopen(2): `ENODEV` for a type that the kernel does not have, `EPERM` without CAP_SYS_ADMIN.
    pub fn open(fstype: &CStr) -> nix::Result<FsContext> {
        const FSOPEN_CLOEXEC: libc::c_long = 1;
        // SAFETY: the type is a C string.
        let opened = Errno::result(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) })?;
        // SAFETY: a new descriptor, which nobody else has.
        Ok(FsContext(unsafe { OwnedFd::from_raw_fd(opened as i32) }))
    }

    /// Sets a parameter; `None`: one without a value.
    ///
    /// # Errors
    /// As fsconfig(2): `EINVAL` for one that the file system does not take.
    pub fn set(&self, key: &CStr, value: Option<&CStr>) -> nix::Result<()> {
        const FSCONFIG_SET_FLAG: libc::c_long = 0;
        const FSCONFIG_SET_STRING: libc::c_long = 1;
        let (command, value) = match value {
            None => (FSCONFIG_SET_FLAG, std::ptr::null()),
            Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
        };
        let fd = self.0.as_raw_fd();
        // SAFETY: key and value are C strings, or there is no value.
        let result = unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key.as_ptr(), value, 0) };
        Errno::result(result).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    #[test]
    fn what_a_file_system_takes() {
        let context = match super::FsContext::open(c"tmpfs") {
            Err(nix::errno::Errno::EPERM) => return eprintln!("skipped: needs CAP_SYS_ADMIN"),
            context => context.unwrap(),
        };
        assert_eq!(context.set(c"size", Some(c"1m")), Ok(()));
        assert_eq!(context.set(c"nothing", Some(c"1")), Err(nix::errno::Errno::EINVAL));
        assert_eq!(context.set(c"nothing", None), Err(nix::errno::Errno::EINVAL));
        assert_eq!(super::FsContext::open(c"nosuchfs").unwrap_err(), nix::errno::Errno::ENODEV);
    }

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
