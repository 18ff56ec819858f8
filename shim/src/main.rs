//! The command `no-frills`: runc's command line over the library of the same name.
//!
//! It parses arguments, calls the library, and prints. The rest of this crate is tables (`flags`,
//! `commands`), what derives from them (`parse`, `help`, `completion`), and the terminal of an attached
//! container (`attach`, `relay`).
#![cfg_attr(not(test), no_main)]
#![deny(unsafe_code)]

mod attach;
mod cause;
mod check;
mod commands;
mod completion;
mod container;
mod descriptors;
mod environment;
mod events;
mod exec;
mod features;
mod flags;
mod help;
mod info;
mod install;
mod list;
mod log;
mod man;
mod manual;
mod output;
mod owner;
mod parse;
mod pidfd_socket;
mod plan;
mod processes;
mod relay;
mod root;
mod run;
mod seccomp;
mod spec;
mod table;
mod terminal;
mod timings;
mod update;
mod version;

/// The fuzz target `arguments`, which this file is the root of then (fuzz/README.md).
#[cfg(fuzzing)]
#[allow(unsafe_code)]
#[path = "../../fuzz/fuzz_targets/arguments.rs"]
mod fuzzing;

// It is the C library of this program then: entry, heap, system calls.
#[cfg(no_frills_start)]
use no_frills_start as _;

use log::Log;
use parse::{Arguments, Call, Values};

/// The entry point that libc calls.
///
/// Rust's own would first do what this command has no use for, by a dozen system calls: poll the standard
/// descriptors (see [`descriptors`] for what needs that), ignore SIGPIPE, and make an alternate signal
/// stack, for which it reads /proc/self/maps. SIGPIPE so keeps the action that the caller chose: a
/// container inherits no ignored signal from here, and a command whose output nobody reads ends quietly.
///
/// std::env::args_os works without it: on Linux, std keeps the arguments that the dynamic loader, or the
/// start-up code of a static binary, passes to the functions of `.init_array`.
#[cfg(not(any(test, fuzzing)))]
#[allow(unsafe_code)]
// SAFETY: no other function of this name is linked in, since `no_main` keeps rustc from making one, and
// its signature is the one of main in C.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: std::ffi::c_int, _arguments: *const *const std::ffi::c_char) -> std::ffi::c_int {
    std::ffi::c_int::from(command())
}

/// Runs the command and returns its exit status.
#[cfg_attr(any(test, fuzzing), allow(dead_code))]
fn command() -> u8 {
    let mut global = Values::default();
    let call = parse::parse(&mut std::env::args_os().skip(1), &mut global);
    // Before anything is opened, since what is opened takes the lowest free number.
    let call = call.and_then(|call| descriptors::check(&call).map(|()| call));
    let log = match Log::open(&global) {
        Ok(log) => log,
        Err(message) => {
            Log::default().error(&message);
            return 1;
        }
    };
    let outcome = call.and_then(|call| serve(&call, &global, &log));
    outcome.unwrap_or_else(|message| {
        log.error(&message);
        1
    })
}

fn serve(call: &Call, global: &Values, log: &Log) -> commands::Outcome {
    let text = match call {
        Call::Run(command, flags, positionals) => {
            let Some(run) = command.run else { return Err(help::lacks(command)) };
            let arguments = Arguments { global, flags, positionals };
            return if log.is_debug() { log.followed(command.name, &arguments, run) } else { run(&arguments, log) };
        }
        Call::Overview => help::overview(),
        Call::Version => version::describe(),
        Call::Help(command) => help::of(command),
    };
    output::print(&text).map(|()| 0)
}
