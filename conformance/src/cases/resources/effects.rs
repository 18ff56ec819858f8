//! What a process feels of its limits.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{file, with};
use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same, skip};
use crate::kind::Kind;

const MIB: i64 = 1 << 20;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("resources/killed-at-the-memory-limit", "who takes more memory is killed", killed)
            .needs_controllers(&["memory"]),
        case("resources/throttled-at-the-quota", "who takes more time than the quota waits", throttled)
            .needs_controllers(&["cpu"]),
        case("resources/fork-refused-at-pids-max", "who forks more often is refused", fork_refused)
            .needs_controllers(&["pids"]),
        case("resources/one-process", "a limit of one process is enough for a program", one_process)
            .needs_controllers(&["pids"]),
        case(
            "resources/no-process",
            "a limit of no process lets the first one live and refuses all others",
            no_process,
        )
        .needs_controllers(&["pids"])
        .only(Kind::NoFrills, "the peers here follow version 1.2"),
        case("resources/cpus-to-run-on", "the process runs on the processors that it is given", cpus)
            .needs_controllers(&["cpuset"]),
        case("resources/exec-is-limited-too", "another process is under the same limits", exec)
            .needs_controllers(&["pids"]),
        case("resources/exec-at-pids-max", "another process is refused with the reason", exec_refused)
            .needs_controllers(&["pids"])
            .only(Kind::NoFrills, "the peers start elsewhere"),
        case("resources/too-little-memory-to-start", "the error tells of the limit", too_little)
            .needs_controllers(&["memory"]),
        case(
            "resources/least-memory",
            "/bin/true starts with less memory than with crun, and 256 KiB at most",
            least_memory,
        )
        .needs_controllers(&["memory"])
        .only(Kind::NoFrills, "it holds ours against crun"),
        case("resources/limited-from-birth", "no process of the container is ever outside of its cgroup", from_birth)
            .needs_controllers(&["memory"])
            .only(Kind::NoFrills, "the peers start elsewhere"),
    ]
}

fn killed(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"limit": 24 * MIB, "swap": 24 * MIB}}))?;
    // What is in a tmpfs counts.
    let b = b.sh(
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo status $?; grep '^oom_kill ' /sys/fs/cgroup/memory.events",
    );
    let out = b.run()?.stdout()?;
    contains("the status of dd", &out, "status 137\n")?;
    check(out.lines().any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0"), || out.clone())
}

fn throttled(t: &Test) -> Verdict {
    let b = with(t, json!({"cpu": {"quota": 10_000, "period": 100_000}}))?;
    let b = b.sh("i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); done; grep ^nr_throttled /sys/fs/cgroup/cpu.stat");
    let out = b.stdout()?;
    check(out.starts_with("nr_throttled ") && out != "nr_throttled 0\n", || out.clone())
}

fn fork_refused(t: &Test) -> Verdict {
    let b = with(t, json!({"pids": {"limit": 8}}))?.sh("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo all");
    let output = b.run()?;
    contains("stderr", &output.stderr()?, "can't fork")?;
    same("stdout", output.stdout()?, "")
}

fn one_process(t: &Test) -> Verdict {
    let b = with(t, json!({"pids": {"limit": 1}}))?.sh("echo ran; true & echo not reached");
    let output = b.run()?;
    contains("stderr", &output.stderr()?, "can't fork")?;
    same("stdout", output.stdout()?, "ran\n")
}

fn no_process(t: &Test) -> Verdict {
    let b = with(t, json!({"pids": {"limit": 0}}))?.set("/ociVersion", json!("1.3.0"));
    let output = b.sh("echo ran; true & echo not reached").run()?;
    contains("stderr", &output.stderr()?, "can't fork")?;
    same("stdout", output.stdout()?, "ran\n")
}

fn cpus(t: &Test) -> Verdict {
    let out = with(t, json!({"cpu": {"cpus": "0"}}))?.sh("grep ^Cpus_allowed_list /proc/self/status").stdout()?;
    same("processors", out, "Cpus_allowed_list:\t0\n")
}

fn exec(t: &Test) -> Verdict {
    let b = with(t, json!({"pids": {"limit": 6}}))?.running_idle()?;
    let fork = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all";
    let output = b.verb("exec", &["sh", "-c", fork])?;
    contains("stderr", &output.stderr()?, "can't fork")?;
    same("stdout", output.stdout()?, "")?;
    same("pids.max", file(&b, "pids.max")?.as_str(), "6")
}

fn exec_refused(t: &Test) -> Verdict {
    let b = with(t, json!({"pids": {"limit": 1}}))?.running_idle()?;
    let error = "no more processes may be born there: pids.max, there or in an ancestor, is reached";
    // The status of an exec that fails, as runc has it.
    contains("stderr", &b.verb("exec", &["true"])?.exits(255)?.stderr()?, error)?;
    b.is("running")
}

fn too_little(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"limit": 16_384, "swap": 16_384}}))?.args(&["true"]);
    let error = "/linux/resources/memory/limit: container init was OOM-killed (memory limit too low?)";
    b.run()?.refuses(t, error, &[])?;
    b.is_gone()
}

/// The least limit, in KiB, with which the runtime starts the container every time. What the kernel has not yet given back decides
/// too, so that one try says little.
fn least(t: &Test, b: &Bundle, runtime: &Path) -> Verdict<u32> {
    const TRIES: usize = 6;
    const STEP: u32 = 8;
    let state = t.path("least");
    // What the program itself and the mounts take.
    let mut limit = 128;
    let mut started = 0;
    while started < TRIES {
        check(limit <= 8192, || format!("{} never starts", runtime.display()))?;
        let bytes = limit * 1024;
        let resources = json!({"memory": {"limit": bytes, "swap": bytes}});
        let mut config = b.config.clone();
        config["linux"]["resources"] = resources;
        fs::write(b.dir.join("config.json"), config.to_string())?;
        let command = |args: &[&str]| {
            let mut command = Command::new(runtime);
            command.arg("--root").arg(&state).args(args);
            command
        };
        let run = command(&["run", "--bundle", &b.dir.to_string_lossy(), &b.id]);
        if t.output_of(run)?.status == 0 {
            started += 1;
        } else {
            // Of a container that could not be made there may be nothing, or something, with a peer.
            t.output_of(command(&["delete", "--force", &b.id]))?;
            (limit, started) = (limit + STEP, 0);
        }
    }
    Ok(limit)
}

fn least_memory(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["/bin/true"]);
    let ours = least(t, &b, &t.runtime)?;
    check(ours <= 256, || format!("it takes {ours} KiB"))?;
    let crun = Path::new("target/peers/crun");
    if !crun.exists() {
        return skip(format!("no crun in target/peers to hold {ours} KiB against"));
    }
    let crun = least(t, &b, &crun.canonicalize()?)?;
    check(ours < crun, || format!("it takes {ours} KiB, and {crun} KiB with crun"))
}

fn from_birth(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"limit": 24 * MIB}}))?.args(&["sleep", "1000"]);
    b.create()?;
    // Memory is charged to the cgroup in which it is first used. What init needs was not charged to anybody else.
    let current: u64 = file(&b, "memory.current")?.parse()?;
    check(current > 0, || "nothing is charged to the container".to_owned())
}
