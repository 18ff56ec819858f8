//! A conformance suite for OCI runtimes: `conformance --runtime PATH [FILTER...]`.
//!
//! Every case is a function in [`cases`] that reads like a specification. It runs in a process, a mount
//! namespace, a cgroup, a state root and a bundle of its own, and ends with a check that nothing is left.
#![forbid(unsafe_code)]

mod bundle;
mod case;
mod cases;
mod cli;
mod engines;
mod expect;
mod features;
mod left;
mod probe;
mod racer;
mod report;
mod solo;
mod suite;
mod terminal;

use std::process::ExitCode;

use no_frills_conformance::{cgroup2, kind, mountinfo, rootfs};

fn main() -> ExitCode {
    let outcome = cli::parse(std::env::args_os()).and_then(|request| match request {
        cli::Request::Help => {
            print!("{}", cli::HELP);
            Ok(true)
        }
        cli::Request::List(filter, needs_guest) => suite::list(&filter, needs_guest).map(|()| true),
        cli::Request::Run(options) => suite::run(&options),
        cli::Request::Solo(solo) => solo::run(&solo).map(|()| true),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("conformance: {why}");
            ExitCode::from(2)
        }
    }
}
