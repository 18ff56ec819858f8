//! From the kernel's initial stack to C's `main`, and the end.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int};
use core::ptr::null;

use crate::arch::{syscall, trap};

/// A list of strings with a null at its end: arguments, environment.
pub(crate) type Strings = *const *const c_char;

/// The environment, where the standard library and execvp look for it.
#[repr(transparent)]
pub(crate) struct Environment(UnsafeCell<Strings>);

// SAFETY: the program has one thread; a second does not link.
unsafe impl Sync for Environment {}

#[allow(non_upper_case_globals, reason = "it is C's name")]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) static environ: Environment = Environment(UnsafeCell::new(null()));

/// The present environment.
pub(crate) fn environment() -> Strings {
    // SAFETY: the one thread reads it; std replaces it between fork and execvp only.
    unsafe { *environ.0.get() }
}

#[cfg(not(test))]
unsafe extern "C" {
    fn main(count: c_int, arguments: Strings, environment: Strings) -> c_int;

    /// The linker's bounds of `.init_array`, where the standard library has a function that keeps the arguments.
    static __init_array_start: [Initializer; 0];
    static __init_array_end: [Initializer; 0];
}

/// Functions of `.init_array` get what `main` gets, as glibc does it.
#[cfg(not(test))]
type Initializer = unsafe extern "C" fn(c_int, Strings, Strings);

/// Called by the entry code with the address of the initial stack: argc, argv, NULL, environment, NULL,
/// auxiliary vector.
///
/// # Safety
/// `stack` is the stack as execve(2) lays it out, and this is the first that the program does.
#[cfg(not(test))]
pub(crate) unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the layout of the stack; the variables are still nobody else's. The linker's two symbols enclose
    // functions of this type.
    unsafe {
        let count = *stack;
        let arguments: Strings = stack.add(1).cast();
        let environment = arguments.add(count).add(1);
        *environ.0.get() = environment;
        crate::tls::set_up(&Auxiliary::read(behind(environment)));
        let mut initializer = (&raw const __init_array_start).cast::<Initializer>();
        while initializer < (&raw const __init_array_end).cast() {
            (*initializer)(count as c_int, arguments, environment);
            initializer = initializer.add(1);
        }
        exit(main(count as c_int, arguments, environment))
    }
}

/// What follows a list's null.
///
/// # Safety
/// `strings` is such a list.
unsafe fn behind(strings: Strings) -> *const usize {
    let mut at = strings;
    // SAFETY: the caller's promise: there is a null, and the stack goes on behind it.
    unsafe {
        while !(*at).is_null() {
            at = at.add(1);
        }
        at.add(1).cast()
    }
}

/// What the kernel says of the program, as far as it is needed.
#[derive(Default)]
pub(crate) struct Auxiliary {
    pub(crate) program_headers: usize,
    pub(crate) program_header_count: usize,
    /// The address of 16 random bytes.
    pub(crate) random: usize,
}

impl Auxiliary {
    /// # Safety
    /// `vector` points at pairs of type and value, the last of type `AT_NULL`.
    unsafe fn read(vector: *const usize) -> Auxiliary {
        let mut found = Auxiliary::default();
        let mut at = vector;
        loop {
            // SAFETY: the caller's promise; the last pair was not met yet.
            let (kind, value) = unsafe { (*at, *at.add(1)) };
            match kind as libc::c_ulong {
                libc::AT_NULL => return found,
                libc::AT_PHDR => found.program_headers = value,
                libc::AT_PHNUM => found.program_header_count = value,
                libc::AT_RANDOM => found.random = value,
                _ => {}
            }
            // SAFETY: as above.
            at = unsafe { at.add(2) };
        }
    }
}

/// Ends the process. There is nothing to run before: no atexit, no stdio, no destructors.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn exit(status: c_int) -> ! {
    // SAFETY: it takes a number.
    unsafe { syscall(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    trap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_behind_the_environment_is_read() {
        let stack = [c"A=b".as_ptr() as usize, 0, libc::AT_PHNUM as usize, 9, 77, 1, libc::AT_PHDR as usize, 64, 0, 0];
        // SAFETY: the array is laid out as the functions want it.
        let auxiliary = unsafe { Auxiliary::read(behind(stack.as_ptr().cast())) };
        assert_eq!(auxiliary.program_header_count, 9);
        assert_eq!(auxiliary.program_headers, 64);
        assert_eq!(auxiliary.random, 0);
    }
}
