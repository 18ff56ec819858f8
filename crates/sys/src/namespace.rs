//! Namespaces by descriptor (namespaces(7), ioctl_nsfs(2)).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// The type of the namespace that a descriptor is for, a `CLONE_NEW*` flag.
///
/// # Errors
/// `ENOTTY`: it is no namespace.
pub fn kind(fd: &impl AsFd) -> nix::Result<u64> {
    /// `NS_GET_NSTYPE`, Linux 4.11.
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) })?;
    Ok(kind as u64)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_namespace_says_its_type_and_another_file_that_it_is_none() {
        assert_eq!(kind(&File::open("/proc/self/ns/uts").unwrap()), Ok(libc::CLONE_NEWUTS as u64));
        assert_eq!(kind(&File::open("/proc/self/stat").unwrap()), Err(Errno::ENOTTY));
    }
}
