//! A supervisor: answers the calls that a seccomp filter tells of, on the descriptor that is its stdin.

use std::ffi::{CStr, c_int, c_short};
use std::io::Write;

use crate::answer;

unsafe extern "C" {
    fn ioctl(fd: c_int, request: u64, ...) -> c_int;
    fn poll(fds: *mut Poll, count: u64, timeout: c_int) -> c_int;
}

#[repr(C)]
struct Poll {
    fd: c_int,
    events: c_short,
    found: c_short,
}

/// `struct seccomp_notif` of seccomp(2).
#[repr(C)]
#[derive(Default)]
struct Notice {
    id: u64,
    pid: u32,
    flags: u32,
    number: c_int,
    arch: u32,
    at: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Reply {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
const CONTINUE: u32 = 1;

/// Answers until no process has the filter any more. Prints a line for each call: its number, the process, and the first
/// two arguments.
///
/// An answer is `NUMBER=value:N`, `NUMBER=errno:N`, or `NUMBER=quit` to end without one. A call that has none goes on.
pub(crate) fn run<'w>(words: impl Iterator<Item = &'w CStr>) -> c_int {
    let answers: Vec<(&str, &str)> = words.filter_map(|word| word.to_str().ok()?.split_once('=')).collect();
    loop {
        let mut listener = Poll { fd: 0, events: 1, found: 0 };
        // SAFETY: one structure.
        let found = answer(unsafe { poll(&raw mut listener, 1, -1) }.into());
        if found < 1 || listener.found & 1 == 0 {
            return 0;
        }
        let mut notice = Notice::default();
        // SAFETY: a whole structure, zeroed, as the kernel wants it.
        if answer(unsafe { ioctl(0, RECEIVE, &raw mut notice) }.into()) != 0 {
            // The process was killed meanwhile.
            continue;
        }
        let number = notice.number.to_string();
        println!("{number} {} {} {}", notice.pid, notice.arguments[0], notice.arguments[1]);
        std::io::stdout().flush().unwrap_or_default();
        let mut reply = Reply { id: notice.id, value: 0, error: 0, flags: 0 };
        match answers
            .iter()
            .find(|(call, _)| *call == number)
            .map(|(_, what)| what.split_once(':').unwrap_or((what, "0")))
        {
            Some(("quit", _)) => return 0,
            Some(("value", value)) => reply.value = value.parse().unwrap_or_default(),
            Some(("errno", errno)) => reply.error = -errno.parse().unwrap_or(0),
            _ => reply.flags = CONTINUE,
        }
        // SAFETY: a whole structure. (The process may have been killed: nobody waits for this answer then.)
        unsafe { ioctl(0, SEND, &raw mut reply) };
    }
}
