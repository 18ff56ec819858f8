//! The command line of the suite.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::kind::Kind;
use crate::solo::Solo;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Runs the conformance suite against an OCI runtime.

conformance --runtime PATH [OPTION...] [FILTER...]

  --runtime PATH      the runtime to test
  --without CALLS     run it as if the kernel lacked these system calls, e.g. mount_setattr,open_tree_attr
  --runtime-arg ARG   an argument before every command, e.g. --debug; repeatable
  --peer NAME         test target/peers/NAME (see conformance/peers.sh)
  --jobs N            how many cases run at a time; default: the number of processors
  --timeout SECONDS   how long a case may take; default 180
  --second-attempt    run a case of no-frills that fails once more, alone, as is done with every other runtime
  --format FORMAT     lines (default), tap or json (one object per line)
  --host-view         leave /sys/fs/cgroup as it is, even if it is not cgroup2
  --needs-guest       those that need controllers, systemd or AppArmor, besides the cases that a FILTER names
  --engines           start Docker and others for the cases engines/*; they change the network of the machine, so
                      that they want a machine or a room of its own: see conformance/engines/room.sh
  --keep              keep the working directories
  --list              print the cases and their marks, run nothing
  --help              print this

A case runs if its name contains one of the filters, or if none is given. Exit status: 0 if every case
passed or was skipped, 1 if one failed or a known failure passed, 2 if the suite itself could not run.
Needs root.
";

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line per case for people.
    Lines,
    /// Test Anything Protocol, version 14.
    Tap,
    /// One JSON object per line.
    Json,
}

/// How the suite is to run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runtime: PathBuf,
    pub(crate) runtime_args: Vec<OsString>,
    /// System calls that are kept from it, separated by commas; empty for none.
    pub(crate) without: String,
    pub(crate) jobs: usize,
    pub(crate) timeout: Duration,
    pub(crate) format: Format,
    pub(crate) host_view: bool,
    /// Whether a case that fails is run once more with no-frills too.
    pub(crate) second_attempt: bool,
    /// Those cases too that need what the guest has.
    pub(crate) needs_guest: bool,
    /// Whether engines are started.
    pub(crate) engines: bool,
    pub(crate) keep: bool,
    pub(crate) filter: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    /// The names, and whether those that need the guest are listed too.
    List(Vec<String>, bool),
    Run(Options),
    /// One case, in the process that the suite started for it.
    Solo(Solo),
}

/// Reads the arguments, the program's name included.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    read(lexopt::Parser::from_iter(args)).map_err(|e| format!("{e} (--help lists the options)"))
}

fn read(mut parser: lexopt::Parser) -> Result<Request, lexopt::Error> {
    let mut runtime: Option<PathBuf> = None;
    let mut list = false;
    let (mut solo, mut inside) = (None, false);
    let (mut work, mut cgroup, mut kind) = (PathBuf::new(), String::new(), Kind::Other);
    let mut options = Options {
        runtime: PathBuf::new(),
        runtime_args: Vec::new(),
        without: String::new(),
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        timeout: Duration::from_secs(180),
        format: Format::Lines,
        host_view: false,
        second_attempt: false,
        needs_guest: false,
        engines: false,
        keep: false,
        filter: Vec::new(),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => runtime = Some(parser.value()?.into()),
            Long("peer") => runtime = Some(PathBuf::from("target/peers").join(parser.value()?)),
            Long("runtime-arg") => options.runtime_args.push(parser.value()?),
            Long("without") => options.without = parser.value()?.string()?,
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("timeout") => options.timeout = Duration::from_secs(parser.value()?.parse()?),
            Long("format") => options.format = parser.value()?.parse_with(format)?,
            Long("host-view") => options.host_view = true,
            Long("second-attempt") => options.second_attempt = true,
            Long("needs-guest") => options.needs_guest = true,
            Long("engines") => options.engines = true,
            Long("keep") => options.keep = true,
            Long("list") => list = true,
            Long("help") | Short('h') => return Ok(Request::Help),
            // What the suite tells the process of one case. Not for people.
            Long("solo") => solo = Some(parser.value()?.string()?),
            Long("inside") => inside = true,
            Long("work") => work = parser.value()?.into(),
            Long("cgroup") => cgroup = parser.value()?.string()?,
            Long("kind") => kind = Kind::named(&parser.value()?.string()?),
            Value(filter) => options.filter.push(filter.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if list {
        return Ok(Request::List(options.filter, options.needs_guest));
    }
    options.runtime = runtime.ok_or("--runtime PATH is missing")?;
    if let Some(name) = solo {
        let Options { runtime, runtime_args, without, .. } = options;
        return Ok(Request::Solo(Solo { name, inside, runtime, runtime_args, without, kind, work, cgroup }));
    }
    Ok(Request::Run(options))
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "lines" => Ok(Format::Lines),
        "tap" => Ok(Format::Tap),
        "json" => Ok(Format::Json),
        _ => Err("not one of lines, tap, json".to_owned()),
    }
}
