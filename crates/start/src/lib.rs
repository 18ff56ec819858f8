//! Starts the command `no-frills`, and serves it, in the place of the C library.
//!
//! # Why
//!
//! glibc asks the processor about itself before `main`: 68 CPUID instructions in 2.36, static or dynamic
//! alike. On a virtual machine each one traps to the hypervisor. That costs 0.55 ms in every process, more
//! than all else that `no-frills state` does, and a container's life takes five processes (create, start,
//! state, kill, delete). No tunable turns it off, and musl would need another target to be installed.
//!
//! Measured on such a machine (2 cores, Linux 6.18; the same command with static glibc and without, started by
//! vfork in turns, medians of 300; peak memory is the command's own):
//!
//! | command | time until reaped | page faults | system calls | peak memory |
//! |---|---|---|---|---|
//! | `no-frills --version` | 590 -> 65 us | 33 -> 14 | 16 -> 4 | 1.16 -> 0.55 MB |
//! | `no-frills state` of no container | 606 -> 79 us | 35 -> 17 | 19 -> 8 | 1.23 -> 0.55 MB |
//! | `no-frills run` of /bin/true | 3.35 -> 2.64 ms | 109 -> 89, with /bin/true | 71 -> 60 | 1.42 -> 0.66 MB |
//!
//! The file shrinks from 1.5 MB to 0.6 MB.
//!
//! # What this is
//!
//! An entry point (`start`, `tls`), a heap (`memory`, and `malloc` for C), and the few C functions that the
//! standard library, `nix` and `libc` call in this one program. Most of them are one system call each: a table
//! (`calls`). `files`, `process`, `signals` and `errors` hold the others, `absent` what is named but never
//! called, `arch` all that depends on the machine.
//!
//! The command is linked with `-nostartfiles -nodefaultlibs`, and with empty archives in the place of the
//! libraries that std names, so **a function that is missing is an error of the linker** (`undefined symbol`),
//! never a surprise at run time. When one is missing: see first whether the need can be avoided, then add a line
//! to the table in `calls`, or the function with a test against glibc's. What nobody calls, the linker drops.
//!
//! # What is deliberately absent
//!
//! - Threads. `pthread_create` does not exist here, so a thread in the command does not link. Heap and errno rest
//!   on that.
//! - Signal handlers: there is no `sigaction`, so heap and errno are never interrupted.
//! - Unwinding and backtraces: a panic prints its message and aborts, in debug builds too.
//! - Users and groups (NSS), host names, locales, stdio, dynamic loading, `atexit`, destructors at exit.
//! - The vDSO, and a heap at a random address: the heap lies in `.bss`, and the command at a fixed address, as it
//!   does with glibc.
//!
//! # Where it is used, and how it is turned off
//!
//! Only by the command `no-frills`, on x86_64 Linux, where cargo builds it in this workspace: `.cargo/rustc` gives
//! rustc the cfg `no_frills_start`, by which the command takes this crate in, and the linker's arguments in one
//! and the same line, so that neither comes without the other. Tests, the library, other programs, other machines
//! and a build of the published package (without `.cargo/rustc`) have their C library as ever.
//!
//! **`--features glibc`** of the package `no-frills-shim` turns it off. Another machine needs a file in
//! `arch`, a look at the calls that it lacks (aarch64: `open`, `mkdir`, `poll` and other old ones), and a word in
//! `.cargo/rustc`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(dead_code, reason = "what only the linker joins has no caller in tests"))]

mod absent;
mod arch;
mod calls;
mod errors;
mod files;
mod malloc;
mod memory;
mod process;
mod signals;
mod start;
mod tls;

/// Tests run in threads, which heap and errno are not made for: what uses those holds this meanwhile.
#[cfg(test)]
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
