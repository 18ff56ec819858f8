//! Times: commands in turn, each from before it is spawned to its exit.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions};
use serde_json::Value;

use no_frills_conformance::bench_world::{self, Payload, Tool, World};
use no_frills_conformance::mountinfo;

/// The single commands of a container's life, and in between, the wait for the death of what was killed.
pub(crate) const COMMANDS: [&str; 5] = ["create", "start", "state", "kill", "delete"];

/// Commands on the container while it runs.
pub(crate) const LATER: [&str; 3] = ["update", "pause", "resume"];

/// Rounds whose times do not count.
const WARM_UP: usize = 5;

/// One tool's times, in microseconds, a value per round.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) run: Vec<f64>,
    /// As COMMANDS; empty for the floor.
    pub(crate) commands: [Vec<f64>; 5],
    /// The sum of the five.
    pub(crate) life: Vec<f64>,
    /// `exec` in the container while it runs, in no sum; empty for the floor.
    pub(crate) exec: Vec<f64>,
    /// As LATER, in no sum; empty for the floor.
    pub(crate) later: [Vec<f64>; 3],
    /// From the end of `kill` to the death, in no sum.
    pub(crate) death: Vec<f64>,
}

/// Runs all tools in turn, `rounds` times, beginning with another one each time: so none always has the
/// same predecessor, whose remains the kernel still clears up.
pub(crate) fn rounds(world: &World, rounds: usize, settle: u64) -> Result<Vec<Samples>, String> {
    let mut samples: Vec<Samples> = world.tools.iter().map(|_| Samples::default()).collect();
    let mut order: Vec<usize> = (0..world.tools.len()).collect();
    for round in 0..WARM_UP + rounds {
        for &index in &order {
            if let (Some(tool), Some(samples)) = (world.tools.get(index), samples.get_mut(index)) {
                let once = one_round(world, tool, Duration::from_millis(settle))?;
                if round >= WARM_UP {
                    samples.append(once);
                }
            }
        }
        order.rotate_left(1);
    }
    Ok(samples)
}

impl Samples {
    fn append(&mut self, other: Self) {
        self.run.extend(other.run);
        for (mine, theirs) in self.commands.iter_mut().zip(other.commands) {
            mine.extend(theirs);
        }
        self.life.extend(other.life);
        self.exec.extend(other.exec);
        for (mine, theirs) in self.later.iter_mut().zip(other.later) {
            mine.extend(theirs);
        }
        self.death.extend(other.death);
    }
}

fn one_round(world: &World, tool: &Tool, settle: Duration) -> Result<Samples, String> {
    let mut once = Samples::default();
    // Without a pause the sleep is left out altogether: even a sleep of nothing yields the processor.
    let pause = || {
        if !settle.is_zero() {
            std::thread::sleep(settle);
        }
    };
    pause();
    once.run.push(time(world, world.run(tool, Payload::True))?);
    if tool.is_floor() {
        return Ok(once);
    }
    pause();
    let create = time(world, world.create(tool, Payload::Sleep))?;
    let start = time(world, command(world, tool, "start"))?;
    let answer = world.scratch("answer");
    let mut state = command(world, tool, "state");
    state.stdout(File::create(&answer).map_err(|e| format!("{}: {e}", answer.display()))?);
    let state = time(world, state)?;
    // What the runtime says is checked, and the container's process found, between the measured commands.
    let init = running(&fs::read_to_string(&answer).map_err(|e| format!("{}: {e}", answer.display()))?)
        .map_err(|why| format!("{}: state: {why}", tool.name))?;
    pause();
    once.exec.push(time(world, world.exec(tool))?);
    for (list, name) in once.later.iter_mut().zip(LATER) {
        pause();
        let mut later = world.runtime(tool, name);
        if *name == *"update" {
            later.arg("--resources").arg(world.limits());
        }
        later.arg(bench_world::id(tool));
        list.push(time(world, later)?);
    }
    pause();
    let mut kill = command(world, tool, "kill");
    kill.arg("KILL");
    let kill = time(world, kill)?;
    let before = Instant::now();
    wait_for_death(init)?;
    once.death.push(microseconds(before));
    let delete = time(world, command(world, tool, "delete"))?;
    let times = [create, start, state, kill, delete];
    once.life.push(times.iter().sum());
    for (list, time) in once.commands.iter_mut().zip(times) {
        list.push(time);
    }
    Ok(once)
}

/// Does something while a container of the tool's runs.
pub(crate) fn while_running<T>(
    world: &World,
    tool: &Tool,
    deed: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    time(world, world.create(tool, Payload::Sleep))?;
    time(world, command(world, tool, "start"))?;
    let state = command(world, tool, "state").stdout(Stdio::piped()).output();
    let state = state.map_err(|e| format!("{}: state: {e}", tool.name))?;
    let init = running(&String::from_utf8_lossy(&state.stdout))?;
    let outcome = deed();
    let mut kill = command(world, tool, "kill");
    kill.arg("KILL");
    time(world, kill)?;
    wait_for_death(init)?;
    time(world, command(world, tool, "delete"))?;
    outcome
}

fn command(world: &World, tool: &Tool, name: &str) -> Command {
    let mut command = world.runtime(tool, name);
    command.arg(bench_world::id(tool));
    command
}

/// Runs a command (std uses posix_spawn, hence vfork) and says how long it took.
fn time(world: &World, mut command: Command) -> Result<f64, String> {
    world.go_on()?;
    let before = Instant::now();
    let status = command.spawn().and_then(|mut child| child.wait());
    let time = microseconds(before);
    match status {
        Ok(status) if status.success() => Ok(time),
        Ok(status) => Err(format!("{command:?}: {status}\n{}", world.errors())),
        Err(e) => Err(format!("{command:?}: {e}")),
    }
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

/// The pid in the answer of `state`, which must be of a running container.
fn running(state: &str) -> Result<Pid, String> {
    let state: Value = serde_json::from_str(state).map_err(|e| format!("{e}: {state}"))?;
    if state.get("status").and_then(Value::as_str) != Some("running") {
        return Err(format!("not running: {state}"));
    }
    let pid = state.get("pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(Pid::from_raw).ok_or_else(|| format!("no pid: {state}"))
}

/// Waits for a container's process to die, and reaps it: its runtime is gone, so it is a child of ours.
fn wait_for_death(init: Pid) -> Result<(), String> {
    let tell = |what: &str, e: rustix::io::Errno| format!("{what} of the killed process {init}: {e}");
    let pidfd = rustix::process::pidfd_open(init, PidfdFlags::empty()).map_err(|e| tell("pidfd_open", e))?;
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    let events = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).map_err(|e| tell("poll", e))?;
    if events == 0 {
        return Err(format!("process {init} was killed and lives"));
    }
    rustix::process::waitpid(Some(init), WaitOptions::empty()).map_err(|e| tell("waitpid", e))?;
    Ok(())
}

/// Checks that all containers have the mount points of the floor's; says which differ, by tool.
pub(crate) fn compare_mounts(world: &World) -> Result<Vec<String>, String> {
    let mut expected = None;
    let mut different = Vec::new();
    for tool in &world.tools {
        let mut command = world.run(tool, Payload::Mounts);
        let output = command.stdout(Stdio::piped()).output().map_err(|e| format!("{command:?}: {e}"))?;
        if !output.status.success() {
            return Err(format!("{command:?}: {}\n{}", output.status, world.errors()));
        }
        let mounts = mountinfo::parse(&String::from_utf8_lossy(&output.stdout));
        let points: BTreeSet<String> = mounts.into_iter().map(|mount| mount.point).collect();
        if points.is_empty() {
            return Err(format!("{command:?}: it succeeded, but no container ran\n{}", world.errors()));
        }
        let floor = expected.get_or_insert_with(|| points.clone());
        different.extend(floor.difference(&points).map(|point| format!("{} lacks {point}", tool.name)));
        different.extend(points.difference(floor).map(|point| format!("{} also mounts {point}", tool.name)));
    }
    Ok(different)
}
