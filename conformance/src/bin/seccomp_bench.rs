//! What seccomp costs, against other runtimes: `seccomp_bench [--rounds N] [--runtime NAME=PATH...]`, as root.
//!
//! A system call in a container and `run` of /bin/true are timed with all runtimes in turn, round after round. The programs
//! themselves are what the kernel gives to a tracer of the container's process: so what is counted is what is installed,
//! whoever made it. How long it takes to make one is measured of the library alone.
#![deny(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use no_frills::{Config, SeccompFilter};
use no_frills_conformance::bench_world::{self, Tool, World};
use no_frills_conformance::{DEFAULT_SPEC, PROBE, cgroup2};
use no_frills_seccomp::{Action, Call, Instruction, Program};
use serde_json::{Value, json};

const HELP: &str = "\
Usage: seccomp_bench [OPTION...]        (as root)

  --runtime NAME=PATH   a runtime to measure, repeatable; the first is measured without a filter too
                        [no-frills beside this program, and crun and runc in ../peers]
  --rounds N            rounds that count [100]
  --help
";

const DOCKER: &str = include_str!("../../fixtures/docker-default.json");
const PODMAN: &str = include_str!("../../fixtures/podman-default.json");

/// Rounds whose times do not count.
const WARM_UP: usize = 3;
/// Batches of calls in one container.
const BATCHES: &str = "25";

fn main() -> ExitCode {
    let outcome = match options(lexopt::Parser::from_env()) {
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Some((runtimes, rounds))) => bench(&runtimes, rounds),
        Err(why) => Err(format!("{why}\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("seccomp_bench: {why}");
            ExitCode::FAILURE
        }
    }
}

type Runtimes = Vec<(String, PathBuf)>;

fn options(mut parser: lexopt::Parser) -> Result<Option<(Runtimes, usize)>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut runtimes, mut rounds) = (Vec::new(), 100);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => {
                let text = parser.value()?.string()?;
                let (name, path) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=PATH"))?;
                runtimes.push((name.to_owned(), path.into()));
            }
            Long("rounds") => rounds = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    if runtimes.is_empty() {
        let beside = beside()?;
        let peers = beside.join("../peers");
        let known =
            [("no-frills", beside.join("no-frills")), ("crun", peers.join("crun")), ("runc", peers.join("runc"))];
        runtimes
            .extend(known.into_iter().filter(|(_, path)| path.exists()).map(|(name, path)| (name.to_owned(), path)));
    }
    Ok(Some((runtimes, rounds)))
}

/// The directory of this program.
fn beside() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| format!("my own path: {e}"))?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

fn bench(runtimes: &Runtimes, rounds: usize) -> Result<(), String> {
    cgroup2::private_view()?;
    let world = World::new(&beside()?.join("floor"), runtimes)?;
    let probe = world.rootfs().join("bin/probe");
    fs::write(&probe, PROBE)
        .and_then(|()| fs::set_permissions(&probe, fs::Permissions::from_mode(0o755)))
        .map_err(|e| format!("{}: {e}", probe.display()))?;
    let docker = profile(DOCKER)?;
    let podman = profile(PODMAN)?;
    let with_rule = with_rule_on_openat(docker.clone())?;

    let tools: Vec<&Tool> = world.tools.iter().filter(|tool| !tool.is_floor()).collect();
    let first = tools.first().ok_or("there is no runtime")?;
    let mut subjects = vec![Subject::new(&world, first, "no filter", None)?];
    for tool in &tools {
        subjects.push(Subject::new(&world, tool, &tool.name, Some(&with_rule))?);
    }
    calls(&world, &subjects, rounds)?;

    let mut subjects = Vec::new();
    for tool in &tools {
        subjects.push(Subject::new(&world, tool, &format!("{}-without", tool.name), None)?);
        subjects.push(Subject::new(&world, tool, &tool.name, Some(&podman))?);
    }
    starts(&world, &subjects, rounds)?;

    for (name, profile) in [
        ("Docker's default profile", &docker),
        ("Podman's default profile", &podman),
        ("Docker's with a rule on openat", &with_rule),
    ] {
        println!("\n{name}: the program that is installed");
        println!("{:12} {:>12} {:>8} {:>8} {:>22}", "", "instructions", "getppid", "openat", "most for an allowed");
        let mut programs = Vec::new();
        for tool in &tools {
            let subject = Subject::new(&world, tool, &tool.name, Some(profile))?;
            let filters = subject.filters(&world)?;
            let count: usize = filters.iter().map(Vec::len).sum();
            let filters = filters.iter().map(Program::new).collect::<Result<Vec<_>, _>>();
            let filters = filters.map_err(|e| format!("{}: {e}", tool.name))?;
            let executed = |number| run(&filters, number, 0).1;
            // What is the same for all zeros and all ones does not depend on arguments.
            let plain = (0..NUMBERS).map(|number| [0, u64::MAX].map(|argument| run(&filters, number, argument)));
            let allowed = plain.filter(|[zeros, ones]| zeros == ones && zeros.0 == Action::Allow);
            let most = allowed.map(|[(_, executed), _]| executed).max().unwrap_or(0);
            println!(
                "{:12} {count:>12} {:>8} {:>8} {most:>22}",
                tool.name,
                executed(libc::SYS_getppid as u32),
                executed(libc::SYS_openat as u32)
            );
            programs.push((0..NUMBERS).map(|number| run(&filters, number, 0).0).collect::<Vec<_>>());
        }
        for (tool, theirs) in tools.iter().zip(&programs).skip(1) {
            tell_differences(&programs[0], &tool.name, theirs);
        }
    }
    compilation(&world, first, &[("Docker's", &docker), ("Podman's", &podman)])?;
    world.check_nothing_left()
}

/// The time that the library takes for a program, once the configuration is read.
fn compilation(world: &World, tool: &Tool, profiles: &[(&str, &Value)]) -> Result<(), String> {
    const TIMES: usize = 1_000;
    println!("\ncompiling a default profile, microseconds, {TIMES} times");
    println!("{:12} {:>8} {:>8}", "", "median", "p10");
    for (name, profile) in profiles {
        let config = Subject::new(world, tool, name, Some(profile))?.config;
        let config = Config::from_value(&config).map_err(|e| e.to_string())?;
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let before = Instant::now();
            let filter = SeccompFilter::new(&config).map_err(|e| e.to_string())?;
            times.push(before.elapsed().as_secs_f64() * 1e6);
            filter.ok_or("there is no filter")?;
        }
        println!("{name:12} {:>8.1} {:>8.1}", quantile(&times, 0.5), quantile(&times, 0.1));
    }
    Ok(())
}

/// A line for each range of calls that another runtime's filter decides otherwise.
fn tell_differences(ours: &[Action], name: &str, theirs: &[Action]) {
    let mut start = 0;
    let pairs: Vec<_> = ours.iter().zip(theirs).collect();
    for range in pairs.chunk_by(|a, b| a == b) {
        let end = start + range.len() - 1;
        if let Some((ours, theirs)) = range.first().filter(|(ours, theirs)| ours != theirs) {
            println!("NOTE: calls {start} to {end} with zeros: {ours:?}, but with {name} {theirs:?}");
        }
        start = end + 1;
    }
}

/// `linux.seccomp` of a configuration.
fn profile(config: &str) -> Result<Value, String> {
    let config: Value = serde_json::from_str(config).map_err(|e| format!("a fixture: {e}"))?;
    config.pointer("/linux/seccomp").cloned().ok_or_else(|| "a fixture without seccomp".to_owned())
}

/// openat may make no temporary file; so the kernel has to run the program for every openat.
fn with_rule_on_openat(mut profile: Value) -> Result<Value, String> {
    const O_TMPFILE: u32 = 0o20_000_000;
    let rules = profile.get_mut("syscalls").and_then(Value::as_array_mut).ok_or("a profile without rules")?;
    for rule in rules.iter_mut() {
        rule.get_mut("names")
            .and_then(Value::as_array_mut)
            .ok_or("a rule without names")?
            .retain(|name| name != "openat");
    }
    rules.push(json!({
        "names": ["openat"], "action": "SCMP_ACT_ALLOW",
        "args": [{ "index": 2, "value": O_TMPFILE, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
    }));
    Ok(profile)
}

/// A runtime with or without a profile.
struct Subject<'a> {
    name: String,
    tool: &'a Tool,
    config: Value,
}

impl<'a> Subject<'a> {
    fn new(world: &World, tool: &'a Tool, name: &str, profile: Option<&Value>) -> Result<Subject<'a>, String> {
        let mut config: Value = serde_json::from_str(DEFAULT_SPEC).map_err(|e| format!("the default spec: {e}"))?;
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!(world.rootfs());
        config["linux"]["cgroupsPath"] = json!(format!("/{}", bench_world::id(tool)));
        if let Some(profile) = profile {
            config["linux"]["seccomp"] = profile.clone();
        }
        Ok(Subject { name: name.to_owned(), tool, config })
    }

    /// `run` of these words, from a bundle of their own.
    fn run(&self, world: &World, words: &[&str]) -> Result<Command, String> {
        let mut config = self.config.clone();
        config["process"]["args"] = json!(words);
        let bundle = world.scratch(&format!("seccomp-{}", self.name.replace(' ', "-")));
        fs::create_dir_all(&bundle)
            .and_then(|()| fs::write(bundle.join("config.json"), config.to_string()))
            .map_err(|e| format!("{}: {e}", bundle.display()))?;
        let mut command = world.runtime(self.tool, "run");
        command.arg("--bundle").arg(bundle);
        Ok(command)
    }

    /// The filters that a container's process is under, in the order of their installation.
    fn filters(&self, world: &World) -> Result<Vec<Vec<Instruction>>, String> {
        let pid_file = world.scratch("pid");
        let mut command = self.run(world, &["/bin/sh", "-c", "echo ready; cat"])?;
        command
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(bench_world::id(self.tool))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no pipe")?;
        let read = BufReader::new(output).read_line(&mut line);
        let filters = match read {
            Ok(_) if line == "ready\n" => {
                let pid = fs::read_to_string(&pid_file).map_err(|e| format!("{}: {e}", pid_file.display()))?;
                let pid = pid.trim().parse().map_err(|e| format!("{pid:?}: {e}"))?;
                filters_of(pid).map_err(|e| format!("{}: {e}", self.name))
            }
            _ => Err(format!("{command:?}: {line:?}\n{}", world.errors())),
        };
        // The end of its input ends it.
        drop(child.stdin.take());
        let status = child.wait().map_err(|e| format!("{command:?}: {e}"))?;
        if status.success() { filters } else { Err(format!("{command:?}: {status}\n{}", world.errors())) }
    }
}

/// Runs all subjects in turn, and gives what each round of each said.
fn in_turn<T>(
    subjects: &[Subject<'_>],
    rounds: usize,
    mut deed: impl FnMut(usize, &Subject<'_>) -> Result<T, String>,
) -> Result<Vec<Vec<T>>, String> {
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    let mut all: Vec<Vec<T>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..WARM_UP + rounds {
        for &index in &order {
            let once = deed(index, &subjects[index])?;
            if round >= WARM_UP {
                all[index].push(once);
            }
        }
        order.rotate_left(1);
    }
    Ok(all)
}

/// The nanoseconds of a call, as the probe says them.
fn calls(world: &World, subjects: &[Subject<'_>], rounds: usize) -> Result<(), String> {
    let all = in_turn(subjects, rounds, |_, subject| {
        let mut command = subject.run(world, &["/bin/probe", "calls", BATCHES])?;
        command.arg(bench_world::id(subject.tool)).stdout(Stdio::piped());
        world.go_on()?;
        let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
        if !output.status.success() {
            return Err(format!("{command:?}: {}\n{}", output.status, world.errors()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = |line: &str| Some((line.split_once(": ")?.0.to_owned(), line.split_once(": ")?.1.parse().ok()?));
        Ok(text.lines().filter_map(line).collect::<BTreeMap<String, f64>>())
    })?;
    println!("one system call, nanoseconds: medians of {rounds} containers");
    println!("{:12} {:>10} {:>12} {:>10} {:>12}", "", "getppid", "/ no filter", "openat", "/ no filter");
    let median_of = |times: &[BTreeMap<String, f64>], name: &str| {
        quantile(&times.iter().filter_map(|time| time.get(name).copied()).collect::<Vec<_>>(), 0.5)
    };
    let base = ["getppid", "openat"].map(|name| all.first().map_or(f64::NAN, |times| median_of(times, name)));
    for (subject, times) in subjects.iter().zip(&all) {
        let [getppid, openat] = ["getppid", "openat"].map(|name| median_of(times, name));
        println!(
            "{:12} {getppid:>10.1} {:>12.2} {openat:>10.1} {:>12.2}",
            subject.name,
            getppid / base[0],
            openat / base[1]
        );
    }
    Ok(())
}

/// `run` of /bin/true, with and without a profile.
fn starts(world: &World, subjects: &[Subject<'_>], rounds: usize) -> Result<(), String> {
    let mut commands = Vec::new();
    for subject in subjects {
        let mut command = subject.run(world, &["/bin/true"])?;
        command.arg(bench_world::id(subject.tool));
        commands.push(command);
    }
    let all = in_turn(subjects, rounds, |index, _| {
        world.go_on()?;
        let command = &mut commands[index];
        let before = Instant::now();
        let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
        let time = before.elapsed().as_secs_f64() * 1e3;
        if status.success() { Ok(time) } else { Err(format!("{command:?}: {status}\n{}", world.errors())) }
    })?;
    println!("\nrun of /bin/true with Podman's default profile, milliseconds, {rounds} rounds");
    println!("{:12} {:>8} {:>8} {:>11} {:>15}", "medians", "without", "with", "difference", "difference, p10");
    for (pair, times) in subjects.chunks(2).zip(all.chunks(2)) {
        if let ([_, subject], [without, with]) = (pair, times) {
            let [median, low] = [0.5, 0.1].map(|part| [quantile(without, part), quantile(with, part)]);
            println!(
                "{:12} {:>8.2} {:>8.2} {:>11.2} {:>15.2}",
                subject.name,
                median[0],
                median[1],
                median[1] - median[0],
                low[1] - low[0]
            );
        }
    }
    Ok(())
}

/// The sample that this part of all is smaller than.
fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}

/// More than any kernel has.
const NUMBERS: u32 = 512;

/// What several filters together do with a call of this architecture whose arguments are all the same: the kernel runs all of
/// them, and the strictest action counts. With it, the instructions that are executed.
fn run(filters: &[Program<'_>], number: u32, argument: u64) -> (Action, usize) {
    #[cfg(target_arch = "x86_64")]
    const AUDIT_ARCH: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const AUDIT_ARCH: u32 = 0xc000_00b7;
    let call = Call { number, architecture: AUDIT_ARCH, arguments: [argument; 6], ..Call::default() };
    let outcomes: Vec<_> = filters.iter().map(|filter| filter.run(&call)).collect();
    // Actions are ordered as signed numbers.
    let strictest = outcomes.iter().map(|outcome| outcome.result.cast_signed()).min().unwrap_or(0x7fff_0000);
    (Action::from_result(strictest.cast_unsigned()), outcomes.iter().map(|outcome| outcome.executed).sum())
}

/// The filters of a process, which is stopped for that, oldest first.
#[allow(unsafe_code)]
fn filters_of(pid: i32) -> Result<Vec<Vec<Instruction>>, std::io::Error> {
    const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
    let checked = |result: i64| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result as usize) };
    // SAFETY: neither takes a pointer.
    let ask = |request| unsafe { libc::ptrace(request, pid, 0, 0) };
    checked(ask(libc::PTRACE_SEIZE))?;
    checked(ask(libc::PTRACE_INTERRUPT))?;
    // SAFETY: no status is asked for.
    checked(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }.into())?;
    let mut filters = Vec::new();
    loop {
        let index = filters.len();
        // SAFETY: without an address the kernel tells the length alone.
        let length = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, 0) };
        let length = match checked(length) {
            // There are no more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            length => length?,
        };
        let mut filter = vec![Instruction { code: 0, jt: 0, jf: 0, k: 0 }; length];
        // SAFETY: `filter` has room for as many instructions as the kernel said that there are; nobody can change that
        // while the process is stopped.
        checked(unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, filter.as_mut_ptr()) })?;
        filters.push(filter);
    }
    checked(ask(libc::PTRACE_DETACH))?;
    Ok(filters)
}
