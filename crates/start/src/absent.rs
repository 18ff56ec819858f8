//! What the standard library refers to in code that this program never gets to.
//!
//! Unwinding: `panic = "abort"`, but std itself was compiled with landing pads, and its panic message can end
//! with a backtrace. posix_spawn: std asks for the C library's version first and, below 2.24, forks.

use core::ffi::{CStr, c_char, c_int};

use crate::process::abort;

/// Defines functions that say at once that they did not do it. Their arguments are not looked at.
macro_rules! absent {
    ($($name:ident -> $type:ty = $value:expr)*) => {
        $(
            #[allow(non_snake_case, reason = "it is the ABI's name")]
            #[cfg_attr(not(test), unsafe(no_mangle))]
            pub(crate) extern "C" fn $name() -> $type {
                $value
            }
        )*
    };
}

absent! {
    // No frame: a backtrace is empty.
    _Unwind_Backtrace -> c_int = 5
    _Unwind_GetIP -> usize = 0
    // The end of the stack: std says so and aborts.
    _Unwind_RaiseException -> c_int = 5
    // No object: nothing to look an address up in.
    dl_iterate_phdr -> c_int = 0
    // Their results are not asked for: posix_spawnp is not got to.
    posix_spawnp -> c_int = libc::ENOSYS
    posix_spawnattr_init -> c_int = libc::ENOSYS
    posix_spawnattr_destroy -> c_int = libc::ENOSYS
    posix_spawnattr_setflags -> c_int = libc::ENOSYS
    posix_spawnattr_setpgroup -> c_int = libc::ENOSYS
    posix_spawnattr_setsigdefault -> c_int = libc::ENOSYS
    posix_spawn_file_actions_init -> c_int = libc::ENOSYS
    posix_spawn_file_actions_destroy -> c_int = libc::ENOSYS
    posix_spawn_file_actions_adddup2 -> c_int = libc::ENOSYS
    // What unwinding needs is got to by unwinding alone.
    _Unwind_Resume -> () = abort()
    _Unwind_GetDataRelBase -> usize = abort()
    _Unwind_GetIPInfo -> usize = abort()
    _Unwind_GetLanguageSpecificData -> usize = abort()
    _Unwind_GetRegionStart -> usize = abort()
    _Unwind_GetTextRelBase -> usize = abort()
    _Unwind_SetGR -> () = abort()
    _Unwind_SetIP -> () = abort()
}

/// Old enough that std forks and does not call posix_spawn.
const VERSION: &CStr = c"2.0";

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn gnu_get_libc_version() -> *const c_char {
    VERSION.as_ptr()
}
