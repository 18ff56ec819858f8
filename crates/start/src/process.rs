//! The process: environment, programs, the end by a signal, what little of pthread the standard library uses.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;

use crate::arch::{syscall, trap};
use crate::errors::to_c;
use crate::signals::{self, Mask};
use crate::start::{Strings, environment};

/// # Safety
/// `name` is a C string.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: the caller's promise; the environment is a list of C strings.
    unsafe {
        find(environment(), CStr::from_ptr(name).to_bytes()).map_or(null_mut(), |value| value.as_ptr().cast_mut())
    }
}

/// The value of a variable.
///
/// # Safety
/// `environment` is null or a list of C strings that stay as long as the result is used.
unsafe fn find<'a>(environment: Strings, name: &[u8]) -> Option<&'a CStr> {
    let mut at = environment;
    if at.is_null() {
        return None;
    }
    // SAFETY: the list ends with a null, which was not met yet; the byte behind the name is there, since
    // the NUL is behind that.
    unsafe {
        while !(*at).is_null() {
            let variable = CStr::from_ptr(*at);
            if variable.to_bytes().strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b'=')) {
                return Some(CStr::from_ptr(variable.as_ptr().add(name.len() + 1)));
            }
            at = at.add(1);
        }
    }
    None
}

/// Executes a program that is looked for in PATH when its name has no slash, with the present environment.
/// It returns when it failed.
///
/// # Safety
/// `file` is a C string, `arguments` a list of them.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn execvp(file: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let name = CStr::from_ptr(file);
        if name.to_bytes().contains(&b'/') {
            return to_c(execve(file, arguments)) as c_int;
        }
        let path = find(environment(), b"PATH").map_or(DEFAULT_PATH, CStr::to_bytes);
        to_c(-(search(path, name.to_bytes(), |candidate| execve(candidate, arguments)) as isize)) as c_int
    }
}

/// As the C library's, where PATH is not set.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Calls `execute` with the file of each directory until it does not return; says why it did.
fn search(path: &[u8], name: &[u8], mut execute: impl FnMut(*const c_char) -> isize) -> c_int {
    if name.is_empty() {
        return libc::ENOENT;
    }
    let mut refused = false;
    for directory in path.split(|byte| *byte == b':') {
        let mut buffer = [0; libc::PATH_MAX as usize];
        if directory.len() + name.len() + 2 > buffer.len() {
            continue;
        }
        // An empty directory is the present one.
        let at = if directory.is_empty() { 0 } else { directory.len() + 1 };
        buffer[..directory.len()].copy_from_slice(directory);
        if at > 0 {
            buffer[at - 1] = b'/';
        }
        buffer[at..at + name.len()].copy_from_slice(name);
        match -execute(buffer.as_ptr().cast()) as c_int {
            libc::EACCES => refused = true,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            error => return error,
        }
    }
    if refused { libc::EACCES } else { libc::ENOENT }
}

/// Unlike C's execvp, a file of no known format is not given to a shell: that is an error (ENOEXEC), as it is
/// for whatever the kernel executes.
///
/// # Safety
/// As [`execvp`].
unsafe fn execve(file: *const c_char, arguments: Strings) -> isize {
    // SAFETY: the caller's promise.
    unsafe { syscall(libc::SYS_execve, [file as usize, arguments as usize, environment() as usize, 0, 0, 0]) }
}

/// Ends the process by SIGABRT, whatever is done with that signal, so that the parent sees it and a core is
/// dumped where that is wanted.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn abort() -> ! {
    signals::signal(libc::SIGABRT, libc::SIG_DFL);
    let mask: Mask = 1 << (libc::SIGABRT - 1);
    // SAFETY: the kernel reads a mask of eight bytes; the other calls take numbers.
    unsafe {
        let arguments = [libc::SIG_UNBLOCK as usize, &raw const mask as usize, 0, size_of::<Mask>(), 0, 0];
        syscall(libc::SYS_rt_sigprocmask, arguments);
        let this = syscall(libc::SYS_getpid, [0; 6]);
        syscall(libc::SYS_kill, [this as usize, libc::SIGABRT as usize, 0, 0, 0, 0]);
    }
    trap()
}

/// # Safety
/// `buffer` is valid for writing `size` bytes; a null one, for which glibc allocates, is refused.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn getcwd(buffer: *mut c_char, size: usize) -> *mut c_char {
    // SAFETY: the caller's promise.
    let result = unsafe { syscall(libc::SYS_getcwd, [buffer as usize, size, 0, 0, 0, 0]) };
    // Outside the root, the kernel's text is "(unreachable)/...".
    // SAFETY: where it succeeded there is a string.
    let result = if result > 0 && unsafe { *buffer } as u8 != b'/' { -(libc::ENOENT as isize) } else { result };
    if to_c(result) < 0 { null_mut() } else { buffer }
}

/// A key of thread-local values. std makes one only to have its destructor called when a thread ends; the one
/// thread ends with the process, and then nothing is called, as in C. So no value is kept, and there is no
/// pthread_getspecific.
///
/// # Safety
/// `key` is valid for writing.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn pthread_key_create(key: *mut libc::pthread_key_t, _destructor: *const c_void) -> c_int {
    // SAFETY: the caller's promise. Not zero: std keeps no key of that number.
    unsafe { key.write(1) };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn pthread_key_delete(_key: libc::pthread_key_t) -> c_int {
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn pthread_setspecific(_key: libc::pthread_key_t, _value: *const c_void) -> c_int {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_by_their_whole_name() {
        let list =
            [c"AB=1".as_ptr(), c"A=2".as_ptr(), c"A=3".as_ptr(), c"E=".as_ptr(), c"N".as_ptr(), core::ptr::null()];
        // SAFETY: a list of C strings with a null at its end.
        let find = |name: &str| unsafe { find(list.as_ptr(), name.as_bytes()) }.map(CStr::to_bytes);
        assert_eq!(find("AB"), Some(&b"1"[..]));
        assert_eq!(find("A"), Some(&b"2"[..]));
        assert_eq!(find("E"), Some(&b""[..]));
        assert_eq!(find("N"), None);
        assert_eq!(find("B"), None);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { super::find(core::ptr::null(), b"A") }, None);
        // SAFETY: the same; the test's program does not fill it in.
        assert!(unsafe { getenv(c"A".as_ptr()) }.is_null());
    }

    /// The files that are tried, each of which fails with what the list says, and what the search ends with.
    fn tried(path: &str, errors: &[c_int]) -> (Vec<String>, c_int) {
        let mut files = Vec::new();
        let error = search(path.as_bytes(), b"ps", |file| {
            // SAFETY: search passes C strings.
            files.push(unsafe { CStr::from_ptr(file) }.to_str().unwrap().to_owned());
            -(errors[files.len() - 1] as isize)
        });
        (files, error)
    }

    #[test]
    fn a_program_is_looked_for_in_each_directory() {
        let all = vec!["/a/ps".to_owned(), "ps".to_owned(), "/b/c/ps".to_owned()];
        assert_eq!(tried("/a::/b/c", &[libc::ENOENT; 3]), (all.clone(), libc::ENOENT));
        assert_eq!(tried("/a::/b/c", &[libc::ENOENT, libc::EACCES, libc::ENOTDIR]), (all.clone(), libc::EACCES));
        assert_eq!(tried("/a::/b/c", &[libc::E2BIG; 3]), (all[..1].to_vec(), libc::E2BIG));
        assert_eq!(tried(&"x".repeat(5000), &[]), (Vec::new(), libc::ENOENT));
        assert_eq!(search(b"/bin", b"", |_| 0), libc::ENOENT);
    }

    #[test]
    fn the_present_directory_is_the_c_librarys() {
        let _alone = crate::alone();
        let mut buffer = [0; 4096];
        // SAFETY: the buffer is as long as said.
        unsafe {
            assert!(!getcwd(buffer.as_mut_ptr(), buffer.len()).is_null());
            assert_eq!(
                CStr::from_ptr(buffer.as_ptr()).to_str().unwrap(),
                std::env::current_dir().unwrap().to_str().unwrap()
            );
            assert!(getcwd(buffer.as_mut_ptr(), 2).is_null());
            assert_eq!(*crate::errors::__errno_location(), libc::ERANGE);
        }
    }
}
