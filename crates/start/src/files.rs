//! Directories, and the true names of paths.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;

use libc::dirent64;

use crate::arch::syscall;
use crate::errors::to_c;
use crate::malloc::malloc;
use crate::memory::Heap;

/// C's DIR: a descriptor and the entries that were read ahead.
pub(crate) struct Directory {
    fd: c_int,
    next: usize,
    end: usize,
    /// The kernel aligns entries to eight bytes.
    entries: Entries,
}

#[repr(align(8))]
struct Entries([u8; 4096]);

/// # Safety
/// `path` is a C string.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn opendir(path: *const c_char) -> *mut Directory {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the caller's promise.
    let fd = to_c(unsafe { syscall(libc::SYS_open, [path as usize, flags as usize, 0, 0, 0, 0]) });
    if fd < 0 {
        return null_mut();
    }
    let directory = fdopendir(fd as c_int);
    if directory.is_null() {
        // SAFETY: it takes a number; the descriptor is nobody's.
        unsafe { syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
    }
    directory
}

/// Takes the descriptor over. That it is one of a directory is not asked: reading will say it.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn fdopendir(fd: c_int) -> *mut Directory {
    // SAFETY: the layout is not empty; zero is a valid value of every field.
    unsafe {
        let directory = Heap.alloc_zeroed(Layout::new::<Directory>()).cast::<Directory>();
        if directory.is_null() {
            to_c(-(libc::ENOMEM as isize));
        } else {
            (*directory).fd = fd;
        }
        directory
    }
}

/// The next entry, valid until the next call; null at the end, or with errno.
///
/// # Safety
/// `directory` is open.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn readdir64(directory: *mut Directory) -> *mut dirent64 {
    // SAFETY: the caller's promise: it is a Directory that nobody else uses now.
    let directory = unsafe { &mut *directory };
    if directory.next >= directory.end {
        let buffer = directory.entries.0.as_mut_ptr();
        let arguments = [directory.fd as usize, buffer as usize, size_of::<Entries>(), 0, 0, 0];
        // SAFETY: the kernel writes within the buffer.
        let count = to_c(unsafe { syscall(libc::SYS_getdents64, arguments) });
        if count <= 0 {
            return null_mut();
        }
        (directory.next, directory.end) = (0, count as usize);
    }
    let entry = directory.entries.0.as_mut_ptr().wrapping_add(directory.next).cast::<dirent64>();
    // SAFETY: the kernel wrote whole entries, aligned, up to `end`; the length is each one's own.
    directory.next += usize::from(unsafe { (&raw const (*entry).d_reclen).read() });
    entry
}

/// # Safety
/// As [`readdir64`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn readdir(directory: *mut Directory) -> *mut dirent64 {
    // SAFETY: the caller's promise; on this machine both structures are the same.
    unsafe { readdir64(directory) }
}

/// # Safety
/// `directory` is open.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn rewinddir(directory: *mut Directory) {
    // SAFETY: the caller's promise.
    unsafe {
        syscall(libc::SYS_lseek, [(*directory).fd as usize, 0, libc::SEEK_SET as usize, 0, 0, 0]);
        (*directory).next = 0;
        (*directory).end = 0;
    }
}

/// # Safety
/// `directory` is open.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn dirfd(directory: *mut Directory) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { (*directory).fd }
}

/// # Safety
/// `directory` is open, and not used any more.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn closedir(directory: *mut Directory) -> c_int {
    // SAFETY: the caller's promise; it was allocated with this layout.
    unsafe {
        let fd = (*directory).fd;
        Heap.dealloc(directory.cast(), Layout::new::<Directory>());
        syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]);
    }
    // Linux closes it whatever it answers (close(2)), and std takes a failure for a mistake of the program's.
    0
}

/// The absolute path without links of an existing file, as /proc tells it: `free` releases it where `buffer` is
/// null. The C library follows link after link instead; both need what is asked for to stay as it is meanwhile.
///
/// # Safety
/// `path` is a C string; `buffer` is null or has room for `PATH_MAX` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn realpath(path: *const c_char, buffer: *mut c_char) -> *mut c_char {
    const ROOM: usize = libc::PATH_MAX as usize;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the caller's promise.
    let fd = to_c(unsafe { syscall(libc::SYS_open, [path as usize, flags as usize, 0, 0, 0, 0]) });
    if fd < 0 {
        return null_mut();
    }
    let link = link_of(fd as usize);
    let mut text = [0_u8; ROOM];
    // SAFETY: the link's name is a C string, and the kernel writes within the text, leaving it a NUL.
    let length = unsafe {
        let arguments = [link.as_ptr() as usize, text.as_mut_ptr() as usize, ROOM - 1, 0, 0, 0];
        let length = syscall(libc::SYS_readlink, arguments);
        syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]);
        length
    };
    // What lies outside the root has the path "(unreachable)/...".
    if to_c(if length > 0 && text[0] != b'/' { -(libc::ENOENT as isize) } else { length }) < 0 {
        return null_mut();
    }
    let count = length as usize + 1;
    // SAFETY: the caller's promise, or a block of that size.
    unsafe {
        let buffer = if buffer.is_null() { malloc(count).cast() } else { buffer };
        if !buffer.is_null() {
            buffer.copy_from_nonoverlapping(text.as_ptr().cast(), count);
        }
        buffer
    }
}

/// "/proc/self/fd/N", with a NUL.
fn link_of(fd: usize) -> [u8; 32] {
    const DIRECTORY: &[u8] = b"/proc/self/fd/";
    let mut name = [0; 32];
    name[..DIRECTORY.len()].copy_from_slice(DIRECTORY);
    let digits = 1 + fd.checked_ilog10().unwrap_or(0) as usize;
    let mut rest = fd;
    for at in (DIRECTORY.len()..DIRECTORY.len() + digits).rev() {
        name[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::errors::__errno_location;
    use crate::malloc::free;

    fn c(path: &Path) -> CString {
        CString::new(path.as_os_str().as_bytes()).unwrap()
    }

    fn real(path: &Path) -> Result<PathBuf, i32> {
        // SAFETY: a C string; the result is one too, and released once.
        unsafe {
            let text = realpath(c(path).as_ptr(), null_mut());
            if text.is_null() {
                return Err(*__errno_location());
            }
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(CStr::from_ptr(text).to_bytes()));
            free(text.cast());
            Ok(path)
        }
    }

    #[test]
    fn real_paths_are_those_of_the_c_library() {
        let _alone = crate::alone();
        for path in
            ["/", "/proc/self/cwd/../", ".", "src/../Cargo.toml", "/dev/fd", "/nope", "Cargo.toml/x", "", "/etc/mtab"]
        {
            let path = Path::new(path);
            let theirs = std::fs::canonicalize(path).map_err(|error| error.raw_os_error().unwrap());
            assert_eq!(real(path), theirs, "{path:?}");
        }
    }

    #[test]
    fn a_directory_of_many_entries_is_read_whole_and_again() {
        let _alone = crate::alone();
        let path = std::env::temp_dir().join(format!("no-frills-start-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let expected: BTreeSet<String> = (0..400).map(|n| format!("entry-with-a-long-name-{n}")).collect();
        for name in &expected {
            std::fs::write(path.join(name), "").unwrap();
        }
        // SAFETY: the directory is open until closedir; an entry is looked at before the next is asked for.
        unsafe {
            let directory = opendir(c(&path).as_ptr());
            assert!(!directory.is_null());
            assert!(dirfd(directory) > 2);
            for _ in 0..2 {
                let mut found = BTreeSet::new();
                loop {
                    let entry = readdir64(directory);
                    if entry.is_null() {
                        break;
                    }
                    let name = CStr::from_ptr((&raw const (*entry).d_name).cast()).to_str().unwrap().to_owned();
                    if !name.starts_with('.') {
                        assert!(found.insert(name));
                    }
                }
                assert_eq!(found, expected);
                rewinddir(directory);
            }
            assert_eq!(closedir(directory), 0);
        }
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let _alone = crate::alone();
        // SAFETY: a C string.
        assert!(unsafe { opendir(c"/etc/passwd".as_ptr()) }.is_null());
        // SAFETY: errno is there.
        assert_eq!(unsafe { *__errno_location() }, libc::ENOTDIR);
    }

    #[test]
    fn links_are_named_by_the_number() {
        for (fd, name) in [(0, c"/proc/self/fd/0"), (9, c"/proc/self/fd/9"), (1_048_576, c"/proc/self/fd/1048576")] {
            assert_eq!(CStr::from_bytes_until_nul(&link_of(fd)).unwrap(), name);
        }
    }
}
