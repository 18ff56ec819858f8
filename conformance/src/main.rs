//! A conformance suite for OCI runtimes: `conformance --runtime PATH [FILTER...]`.
//!
//! Every case is a function in [`cases`] that reads like a specification. It runs in a process, a mount
//! namespace, a cgroup, a state root and a bundle of its own, and ends with a check that nothing is left.
#![forbid(unsafe_code)]

mod bundle;
mod case;
mod cases;
mod cgroup2;
mod cli;
mod engines;
mod expect;
mod features;
mod kind;
mod left;
mod mountinfo;
mod probe;
mod racer;
mod report;
mod rootfs;
mod solo;
mod suite;
mod terminal;

use std::process::ExitCode;

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
