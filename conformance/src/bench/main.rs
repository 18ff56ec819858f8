//! Benchmarks runtimes against each other and against the floor: `bench [--runtime NAME=PATH...]`.
//!
//! In a mount namespace of its own, with cgroup2 at /sys/fs/cgroup, and with bundles on a tmpfs, the
//! commands of all runtimes run in turn, round after round, so that what disturbs the machine disturbs
//! all. Every command's exit status is checked, and before anything is measured, that all containers have
//! the same mount points: a benchmark of different work, or of failures, would be a lie.
#![forbid(unsafe_code)]

mod chart;
mod counts;
mod figures;
mod measure;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use no_frills_conformance::bench_world::World;
use no_frills_conformance::cgroup2;

const HELP: &str = "\
Usage: bench [OPTION...]        (as root)

  --runtime NAME=PATH   a runtime to measure, repeatable; the first is the one the others are peers of
                        [no-frills beside this program, and crun and runc in ../peers]
  --floor PATH          the floor [floor beside this program]
  --rounds N            rounds that count [200]
  --quick               20 rounds
  --settle MS           a pause before each measured command, for the kernel to finish what the one
                        before it left (network namespaces are taken down in the background) [0]
  --json FILE           write all figures
  --svg FILE            draw the chart
  --help
";

/// What the command line asks for.
struct Options {
    runtimes: Vec<(String, PathBuf)>,
    floor: PathBuf,
    rounds: usize,
    settle: u64,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match options() {
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Some(options)) => bench(&options),
        Err(why) => Err(why),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    cgroup2::private_view()?;
    let world = World::new(&options.floor, &options.runtimes)?;
    let different = measure::compare_mounts(&world)?;
    let samples = measure::rounds(&world, options.rounds, options.settle)?;
    let counts = world
        .tools
        .iter()
        .map(|tool| Ok((counts::of_run(&world, tool)?, counts::of_exec(&world, tool)?)))
        .collect::<Result<Vec<_>, String>>()?;
    world.check_nothing_left()?;
    let figures = figures::Figures::new(&world, options.rounds, &samples, counts, different);
    print!("{}", report::table(&figures));
    let write = |path: &Path, text: String| std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    if let Some(path) = &options.json {
        write(path, report::json(&figures))?;
    }
    if let Some(path) = &options.svg {
        write(path, chart::svg(&figures))?;
    }
    Ok(())
}

fn options() -> Result<Option<Options>, String> {
    read(lexopt::Parser::from_env()).map_err(|e| format!("{e}\n{HELP}"))
}

fn read(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let beside = std::env::current_exe().map_err(|e| format!("my own path: {e}"))?;
    let beside = beside.parent().unwrap_or(Path::new("/"));
    let mut options =
        Options { runtimes: Vec::new(), floor: beside.join("floor"), rounds: 200, settle: 0, json: None, svg: None };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => options.runtimes.push(runtime(&parser.value()?.string()?)?),
            Long("floor") => options.floor = parser.value()?.into(),
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("quick") => options.rounds = 20,
            Long("settle") => options.settle = parser.value()?.parse()?,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("svg") => options.svg = Some(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    if options.rounds == 0 {
        return Err("--rounds: at least one".into());
    }
    if options.runtimes.is_empty() {
        let peers = beside.join("../peers");
        let known =
            [("no-frills", beside.join("no-frills")), ("crun", peers.join("crun")), ("runc", peers.join("runc"))];
        options
            .runtimes
            .extend(known.into_iter().filter(|(_, path)| path.exists()).map(|(name, path)| (name.to_owned(), path)));
    }
    Ok(Some(options))
}

fn runtime(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or_else(|| format!("--runtime: \"{text}\" is not NAME=PATH"))?;
    // The name becomes part of paths and ids.
    if name.is_empty()
        || name == "floor"
        || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err(format!("--runtime: \"{name}\" is no name for a runtime"));
    }
    Ok((name.to_owned(), path.into()))
}
