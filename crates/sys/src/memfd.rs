//! Files in memory that nobody can change: memfd_create(2) with seals.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// `MFD_EXEC`, Linux 6.3: says that the file is meant to be executed, for hosts where
/// `vm.memfd_noexec` is set to 1.
const MFD_EXEC: u32 = 0x10;

/// A sealed, executable file in memory with this content.
///
/// # Errors
/// `EACCES` where `vm.memfd_noexec` is 2; `ENOMEM`; as memfd_create(2), write(2) and fcntl(2).
pub fn sealed(name: &CStr, content: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let fd = match create(name, flags | MFD_EXEC) {
        // Older kernels do not know the flag, and need none.
        Err(Errno::EINVAL) => create(name, flags)?,
        result => result?,
    };
    let mut file = File::from(fd);
    file.write_all(content)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no pointers.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file.into())
}

/// A file in memory of this length, all zeros, to be shared with another process. It cannot be executed.
///
/// # Errors
/// As memfd_create(2) and ftruncate(2).
pub fn shared(name: &CStr, length: u64) -> std::io::Result<File> {
    /// Linux 6.3, as [`MFD_EXEC`].
    const MFD_NOEXEC_SEAL: u32 = 8;
    let fd = match create(name, libc::MFD_CLOEXEC | MFD_NOEXEC_SEAL) {
        Err(Errno::EINVAL) => create(name, libc::MFD_CLOEXEC)?,
        result => result?,
    };
    let file = File::from(fd);
    file.set_len(length)?;
    Ok(file)
}

fn create(name: &CStr, flags: u32) -> nix::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = Errno::result(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_empty_and_not_executable() {
        let file = shared(c"test", 32).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 32);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let refused = std::process::Command::new(path).spawn().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn it_cannot_be_changed_any_more() {
        let mut file = File::from(sealed(c"test", b"abc").unwrap());
        assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(file.set_len(1).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(file.metadata().unwrap().len(), 3);
    }
}
