//! Kills and failures at every system call: `faults --runtime PATH`.
//!
//! A command is run once under ptrace(2), to see which system calls it and all its processes make. Then it is run again for each
//! of them: the process is killed instead of making it, or it fails. After that the container is deleted by force, and looked
//! for what is left; a failure has to be told, and a success has to be one.
#![forbid(unsafe_code)]

mod fault;
mod inside;
mod point;
mod registers;
mod scenario;
mod suite;
mod table;
mod trace;

use std::ffi::OsString;
use std::process::ExitCode;

use lexopt::prelude::*;

const HELP: &str = "\
Kills, or lets fail, every system call of a runtime's commands, and looks for what is left.

faults --runtime PATH [OPTION...]        (as root)

  --runtime PATH      the runtime to test
  --peer NAME         test target/peers/NAME (see conformance/peers.sh)
  --command NAME      this command (create) or scenario (create/plain) alone; repeatable
  --fault NAME        this fault alone: KILL, ENOMEM, EIO, EPERM, EINTR, EAGAIN, ENOSPC; repeatable
  --sample N          one of N points, scattered
  --seed N            which of them; below N
  --jobs N            how many at a time; default: the number of processors
  --deadline SECONDS  what takes longer hangs; default 10
  --point NAME        this point alone, as it is printed: create/plain/KILL/0:openat:3
  --list              print the points, run nothing but what finds them
  --verbose           print every point's outcome
  --help              print this

Exit status: 0 if nothing was wrong, 1 if something was, 2 if the harness itself failed. It needs root and a static busybox.
";

/// The program.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("faults: {why}");
            ExitCode::from(2)
        }
    }
}

fn serve() -> Result<bool, String> {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    match first.to_str() {
        // What this program is for itself, in the order in which it calls itself.
        Some("--inside") => inside_of_a_point(&rest).map(|()| true),
        Some("--trace") => traced(&rest).map(|()| true),
        Some("--step-in") => trace::step_in(&rest).map(|()| true),
        _ => match options(std::env::args_os())? {
            Some(options) => suite::run(&options),
            None => {
                print!("{HELP}");
                Ok(true)
            }
        },
    }
}

fn inside_of_a_point(words: &[OsString]) -> Result<(), String> {
    if words.len() < 2 {
        return inside::go_inside(std::env::args_os().skip(1));
    }
    let text = words.first().and_then(|word| word.to_str()).ok_or("no point")?;
    let value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    println!("{}", point::run(&point::Point::from_json(&value)?)?);
    Ok(())
}

/// PLACE FAULT PID COMMAND...
fn traced(words: &[OsString]) -> Result<(), String> {
    let [place, fault, also, command @ ..] = words else { return Err("a tracer without an order".to_owned()) };
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let harm = match text(place).as_str() {
        "-" => None,
        place => Some((place.parse()?, text(fault).parse()?)),
    };
    let also = text(also).parse().ok().filter(|pid| *pid > 0);
    trace::trace(trace::Order { harm, also }, command)
}

fn options(args: impl IntoIterator<Item = OsString>) -> Result<Option<suite::Options>, String> {
    let tell = |e: lexopt::Error| format!("{e} (--help)");
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut options = suite::Options { sample: 1, jobs, patience: 10, ..suite::Options::default() };
    let mut parser = lexopt::Parser::from_iter(args);
    while let Some(argument) = parser.next().map_err(tell)? {
        let name = match argument {
            Long(name) => name.to_owned(),
            other => return Err(tell(other.unexpected())),
        };
        let mut value = || parser.value().map_err(tell);
        match name.as_str() {
            "runtime" => options.runtime = value()?.into(),
            "peer" => {
                options.runtime = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/").into();
                options.runtime.push(value()?);
            }
            "command" => options.commands.push(value()?.string().map_err(tell)?),
            "fault" => options.faults.push(value()?.parse().map_err(tell)?),
            "sample" => options.sample = value()?.parse().map_err(tell)?,
            "seed" => options.seed = value()?.parse().map_err(tell)?,
            "jobs" => options.jobs = value()?.parse().map_err(tell)?,
            "deadline" => options.patience = value()?.parse().map_err(tell)?,
            "point" => options.point = Some(value()?.string().map_err(tell)?),
            "list" => options.list = true,
            "verbose" => options.verbose = true,
            "help" => return Ok(None),
            other => return Err(format!("no option is called --{other} (--help)")),
        }
    }
    if options.runtime.as_os_str().is_empty() {
        return Err("--runtime PATH is missing (--help)".to_owned());
    }
    Ok(Some(options))
}
