//! What a command takes that no noise changes: system calls, page faults, memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::figures::median;
use crate::measure;
use no_frills_conformance::bench_world::{Payload, Tool, World};

/// How often memory and faults are looked at.
const TIMES: usize = 11;

pub(crate) struct Counts {
    /// System calls of all processes, the container's own included, by name. None without strace.
    pub(crate) calls: Option<BTreeMap<String, u64>>,
    /// Minor and major page faults of the command and of all that it waited for.
    pub(crate) faults: f64,
    /// The largest resident set of the command or of any child that it waited for, in KiB.
    pub(crate) maxrss: f64,
    /// The peak resident set of the command's own process, read at its exit, in KiB.
    pub(crate) own_peak: f64,
}

impl Counts {
    pub(crate) fn total_calls(&self) -> Option<u64> {
        self.calls.as_ref().map(|calls| calls.values().sum())
    }
}

/// Of a `run`.
pub(crate) fn of_run(world: &World, tool: &Tool) -> Result<Counts, String> {
    of(world, &world.run(tool, Payload::True))
}

/// Of an `exec` in a container that runs; none for the floor.
pub(crate) fn of_exec(world: &World, tool: &Tool) -> Result<Option<Counts>, String> {
    if tool.is_floor() {
        return Ok(None);
    }
    measure::while_running(world, tool, || of(world, &world.exec(tool))).map(Some)
}

fn of(world: &World, words: &Command) -> Result<Counts, String> {
    let (mut faults, mut maxrss, mut own_peak) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let used = used(world, words)?;
        faults.push(number(&used, "minflt") + number(&used, "majflt"));
        maxrss.push(number(&used, "maxrss_kb"));
        own_peak.push(number(&used, "vmhwm_kb"));
    }
    Ok(Counts {
        calls: calls(world, words)?,
        faults: median(&faults),
        maxrss: median(&maxrss),
        own_peak: median(&own_peak),
    })
}

fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// Runs the command under `floor --spawn`.
fn used(world: &World, words: &Command) -> Result<Value, String> {
    let floor = world.tools.iter().find(|tool| tool.is_floor()).ok_or("no floor")?;
    let mut command = world.quiet(&floor.path);
    command.arg("--spawn");
    append(&mut command, words);
    let output = command.stdout(Stdio::piped()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let used: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("{command:?}: {e}\n{}", world.errors()))?;
    match used.get("status").and_then(Value::as_u64) {
        Some(0) => Ok(used),
        status => Err(format!("{command:?}: status {status:?}\n{}", world.errors())),
    }
}

/// Runs the command under strace and counts the calls.
fn calls(world: &World, words: &Command) -> Result<Option<BTreeMap<String, u64>>, String> {
    let trace = world.scratch("trace");
    let mut command = world.quiet("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    append(&mut command, words);
    match command.status() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{command:?}: {e}")),
        Ok(status) if !status.success() => Err(format!("{command:?}: {status}\n{}", world.errors())),
        Ok(_) => count(&trace).map(Some),
    }
}

/// Each line is `PID NAME(ARGUMENTS) = RESULT`; a call that another process's interrupts goes on in a
/// line `PID <... NAME resumed>`, and signals and exits have lines that begin with --- and +++.
fn count(trace: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text = fs::read(trace).map_err(|e| format!("{}: {e}", trace.display()))?;
    let mut calls = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let call = line.split_whitespace().nth(1).and_then(|word| word.split_once('('));
        if let Some((name, _)) = call {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(calls)
}

fn append(command: &mut Command, words: &Command) {
    command.arg(words.get_program()).args(words.get_args());
}
