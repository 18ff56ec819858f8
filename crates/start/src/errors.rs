//! errno, and what its values mean.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};

use crate::arch::{syscall, trap};

/// errno. There is one thread and there are no signal handlers, so a plain variable does.
struct Errno(UnsafeCell<c_int>);

// SAFETY: the program has one thread; a second does not link.
unsafe impl Sync for Errno {}

static ERRNO: Errno = Errno(UnsafeCell::new(0));

/// Where errno is.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn __errno_location() -> *mut c_int {
    ERRNO.0.get()
}

/// Stores the kernel's `-errno` and returns what C functions return for a failure.
pub(crate) extern "C" fn fail(result: isize) -> isize {
    // SAFETY: the one thread writes its own errno.
    unsafe { *__errno_location() = -result as c_int };
    -1
}

/// The result of a system call in C's way.
pub(crate) fn to_c(result: isize) -> isize {
    if (-4095..0).contains(&result) { fail(result) } else { result }
}

/// Says what failed, and ends the process: before there are thread-local variables the program cannot say anything itself.
pub(crate) fn give_up(what: &str, result: isize) -> ! {
    let say = |text: &str| {
        // SAFETY: the kernel reads the text. That nobody hears it does not change the end.
        unsafe { syscall(libc::SYS_write, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
    };
    let text = usize::try_from(-result).ok().and_then(|errno| TEXTS.split('\0').nth(errno));
    for part in ["cannot start: ", what, ": ", text.unwrap_or("unknown error"), "\n"] {
        say(part);
    }
    // SAFETY: it takes a number.
    unsafe { syscall(libc::SYS_exit_group, [1, 0, 0, 0, 0, 0]) };
    trap()
}

/// Writes the text of `errno` to a buffer, cut to its length: POSIX's strerror_r.
///
/// # Safety
/// `buffer` is valid for writing `length` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn __xpg_strerror_r(errno: c_int, buffer: *mut c_char, length: usize) -> c_int {
    let known =
        usize::try_from(errno).ok().and_then(|errno| TEXTS.split('\0').nth(errno)).filter(|text| !text.is_empty());
    let text = known.unwrap_or("Unknown error");
    if length == 0 {
        return libc::ERANGE;
    }
    let count = text.len().min(length - 1);
    // SAFETY: count + 1 bytes are within the buffer.
    unsafe {
        text.as_ptr().copy_to_nonoverlapping(buffer.cast(), count);
        buffer.add(count).write(0);
    }
    match known {
        None => libc::EINVAL,
        Some(_) if count < text.len() => libc::ERANGE,
        Some(_) => 0,
    }
}

/// The texts that users know, in the order of the numbers, which are those of x86_64 and of the generic
/// asm/errno.h.
const TEXTS: &str = "\
    Success\0\
    Operation not permitted\0\
    No such file or directory\0\
    No such process\0\
    Interrupted system call\0\
    Input/output error\0\
    No such device or address\0\
    Argument list too long\0\
    Exec format error\0\
    Bad file descriptor\0\
    No child processes\0\
    Resource temporarily unavailable\0\
    Cannot allocate memory\0\
    Permission denied\0\
    Bad address\0\
    Block device required\0\
    Device or resource busy\0\
    File exists\0\
    Invalid cross-device link\0\
    No such device\0\
    Not a directory\0\
    Is a directory\0\
    Invalid argument\0\
    Too many open files in system\0\
    Too many open files\0\
    Inappropriate ioctl for device\0\
    Text file busy\0\
    File too large\0\
    No space left on device\0\
    Illegal seek\0\
    Read-only file system\0\
    Too many links\0\
    Broken pipe\0\
    Numerical argument out of domain\0\
    Numerical result out of range\0\
    Resource deadlock avoided\0\
    File name too long\0\
    No locks available\0\
    Function not implemented\0\
    Directory not empty\0\
    Too many levels of symbolic links\0\
    \0\
    No message of desired type\0\
    Identifier removed\0\
    Channel number out of range\0\
    Level 2 not synchronized\0\
    Level 3 halted\0\
    Level 3 reset\0\
    Link number out of range\0\
    Protocol driver not attached\0\
    No CSI structure available\0\
    Level 2 halted\0\
    Invalid exchange\0\
    Invalid request descriptor\0\
    Exchange full\0\
    No anode\0\
    Invalid request code\0\
    Invalid slot\0\
    \0\
    Bad font file format\0\
    Device not a stream\0\
    No data available\0\
    Timer expired\0\
    Out of streams resources\0\
    Machine is not on the network\0\
    Package not installed\0\
    Object is remote\0\
    Link has been severed\0\
    Advertise error\0\
    Srmount error\0\
    Communication error on send\0\
    Protocol error\0\
    Multihop attempted\0\
    RFS specific error\0\
    Bad message\0\
    Value too large for defined data type\0\
    Name not unique on network\0\
    File descriptor in bad state\0\
    Remote address changed\0\
    Can not access a needed shared library\0\
    Accessing a corrupted shared library\0\
    .lib section in a.out corrupted\0\
    Attempting to link in too many shared libraries\0\
    Cannot exec a shared library directly\0\
    Invalid or incomplete multibyte or wide character\0\
    Interrupted system call should be restarted\0\
    Streams pipe error\0\
    Too many users\0\
    Socket operation on non-socket\0\
    Destination address required\0\
    Message too long\0\
    Protocol wrong type for socket\0\
    Protocol not available\0\
    Protocol not supported\0\
    Socket type not supported\0\
    Operation not supported\0\
    Protocol family not supported\0\
    Address family not supported by protocol\0\
    Address already in use\0\
    Cannot assign requested address\0\
    Network is down\0\
    Network is unreachable\0\
    Network dropped connection on reset\0\
    Software caused connection abort\0\
    Connection reset by peer\0\
    No buffer space available\0\
    Transport endpoint is already connected\0\
    Transport endpoint is not connected\0\
    Cannot send after transport endpoint shutdown\0\
    Too many references: cannot splice\0\
    Connection timed out\0\
    Connection refused\0\
    Host is down\0\
    No route to host\0\
    Operation already in progress\0\
    Operation now in progress\0\
    Stale file handle\0\
    Structure needs cleaning\0\
    Not a XENIX named type file\0\
    No XENIX semaphores available\0\
    Is a named type file\0\
    Remote I/O error\0\
    Disk quota exceeded\0\
    No medium found\0\
    Wrong medium type\0\
    Operation canceled\0\
    Required key not available\0\
    Key has expired\0\
    Key has been revoked\0\
    Key was rejected by service\0\
    Owner died\0\
    State not recoverable\0\
    Operation not possible due to RF-kill\0\
    Memory page has hardware error\0\
";

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    #[test]
    fn texts_are_those_of_the_c_library() {
        for errno in -1..200 {
            let mut ours = [1; 128];
            let mut theirs = [1; 128];
            // SAFETY: both buffers are as long as said.
            let (our_result, their_result, ours, theirs) = unsafe {
                (
                    __xpg_strerror_r(errno, ours.as_mut_ptr(), 128),
                    libc::strerror_r(errno, theirs.as_mut_ptr(), 128),
                    CStr::from_ptr(ours.as_ptr()).to_str().unwrap(),
                    CStr::from_ptr(theirs.as_ptr()).to_str().unwrap(),
                )
            };
            assert_eq!(our_result, their_result, "{errno}");
            // glibc adds the number, and std adds it again.
            let theirs = if their_result == 0 { theirs } else { "Unknown error" };
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_short_buffer_gets_what_fits() {
        let mut buffer = [1; 6];
        // SAFETY: the buffer is as long as said.
        let result = unsafe { __xpg_strerror_r(libc::ENOENT, buffer.as_mut_ptr(), buffer.len()) };
        assert_eq!(result, libc::ERANGE);
        assert_eq!(buffer.map(|byte| byte as u8), *b"No su\0");
    }

    #[test]
    fn failures_are_stored() {
        let _alone = crate::alone();
        assert_eq!(to_c(-4095), -1);
        // SAFETY: errno is there.
        assert_eq!(unsafe { *__errno_location() }, 4095);
        assert_eq!(to_c(-4096), -4096);
        assert_eq!(to_c(7), 7);
    }
}
