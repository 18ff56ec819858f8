//! What a case runs in a container where busybox is not enough. The suite embeds it as a static program (see build.rs).
//!
//! ```text
//! probe reach    prints what this process can reach of those that were here before it: a line `name: value` each
//! probe scan     looks at every other process until its stdin ends, and prints what it got hold of, each thing once
//! probe calls N      prints the nanoseconds that system calls take, a line `name: time` each: medians of N batches
//! probe keyring NAME...    makes session keyrings that all may use, of these names, with a key in each; waits until its stdin ends
//! probe each CALL...    makes system calls, each in a process of its own, and prints what each answered; see filtered.rs
//! probe here CALL...    the same in this process
//! probe thread CALL...    the same in a thread
//! probe trap CALL...    prints what a handler of SIGSYS was told of each
//! probe trace CALL...    prints what a tracer was told of each
//! probe supervise ANSWER...    answers the calls that a seccomp filter tells of on stdin; see supervise.rs
//! ```
#![no_main]
#![allow(unsafe_code)]

mod calls;
mod filtered;
mod keyring;
mod reach;
mod scan;
mod supervise;

use std::ffi::{CStr, c_char, c_int};

/// The entry of libc, not Rust's: that one changes signals, stacks and descriptors, which are to be looked at.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: argv is as long as argc says.
    let argument = |index: c_int| unsafe { CStr::from_ptr(*arguments.add(index as usize)) };
    let verb = if count >= 2 { argument(1) } else { c"" };
    match verb.to_bytes() {
        b"reach" => reach::print(),
        b"scan" => scan::run(),
        b"calls" => calls::time((2..count).map(argument).next()),
        b"keyring" => keyring::lay_out((2..count).map(argument)),
        b"each" => filtered::each((2..count).map(argument)),
        b"here" => filtered::here((2..count).map(argument)),
        b"thread" => filtered::thread((2..count).map(argument)),
        b"trap" => filtered::trap((2..count).map(argument)),
        b"trace" => filtered::trace((2..count).map(argument)),
        b"supervise" => return supervise::run((2..count).map(argument)),
        _ => return 2,
    }
    0
}

unsafe extern "C" {
    /// syscall(2)
    pub(crate) safe fn syscall(number: i64, ...) -> i64;
    safe fn __errno_location() -> *mut c_int;
}

/// A system call's answer as the kernel gave it.
pub(crate) fn answer(result: i64) -> i64 {
    // SAFETY: the address of this thread's errno.
    if result == -1 { -i64::from(unsafe { *__errno_location() }) } else { result }
}
