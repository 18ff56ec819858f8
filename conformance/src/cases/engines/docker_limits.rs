//! Docker Engine: limits of resources, which need controllers in cgroup v2.

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::Docker;
use crate::expect::{Verdict, check, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case(
            "engines/docker/limits",
            "--memory, --memory-swap, --memory-reservation, --cpus, --cpu-shares, --cpuset-cpus, --pids-limit",
            limits,
        )
        .needs_controllers(&["memory", "cpu", "cpuset", "pids"]),
        case("engines/docker/update", "update of memory, cpus and pids, seen in a running container", update)
            .needs_controllers(&["memory", "cpu", "pids"]),
        case("engines/docker/pids-limit", "--pids-limit holds", pids_limit).needs_controllers(&["pids"]),
        case("engines/docker/oom", "a process beyond --memory is killed: 137, and OOMKilled", oom)
            .needs_controllers(&["memory"]),
        case("engines/docker/stats-figures", "stats shows memory, its limit and the processes", stats)
            .needs_controllers(&["memory", "cpu", "pids"]),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

/// Prints these files of the container's cgroup.
fn files(names: &str) -> String {
    format!("cd /sys/fs/cgroup && for file in {names}; do cat $file; done")
}

fn limits(t: &Test) -> Verdict {
    let flags = [
        "--memory",
        "64m",
        "--memory-swap",
        "96m",
        "--memory-reservation",
        "32m",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "2048",
        "--cpuset-cpus",
        "0",
        "--pids-limit",
        "77",
    ];
    let names = "memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus pids.max";
    let seen = Docker::of(t).sh(&flags, &files(names))?;
    let lines: Vec<_> = seen.lines().collect();
    // How shares become a weight has changed: 79 by the first formula, 174 by the newer one.
    check(lines.get(4).is_some_and(|weight| ["79", "174"].contains(weight)), || format!("cpu.weight: {lines:?}"))?;
    let without: Vec<_> = lines.iter().enumerate().filter(|(at, _)| *at != 4).map(|(_, line)| *line).collect();
    same(names, without, ["67108864", "33554432", "33554432", "50000 100000", "0", "77"])
}

fn update(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["--memory", "64m", "--pids-limit", "50"])?;
    c.verb(&["update", "--memory", "128m", "--memory-swap", "128m", "--cpus", "0.25", "--pids-limit", "60"])?;
    let seen = c.exec_sh(&[], &files("memory.max memory.swap.max cpu.max pids.max"))?;
    same("files", seen.as_str(), "134217728\n0\n25000 100000\n60")?;
    // And after a restart.
    c.verb(&["restart", "--time", "0"])?;
    same("after a restart", c.exec_sh(&[], &files("memory.max memory.swap.max cpu.max pids.max"))?, seen)
}

fn pids_limit(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["--pids-limit", "5"])?;
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait";
    let output = docker.call(&["exec", &c.name, "sh", "-c", script])?;
    check(output.status != 0, || "more processes than the limit".to_owned())?;
    let most = c.inspect("{{.HostConfig.PidsLimit}}")?;
    same("the limit", most.as_str(), "5")
}

fn oom(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let flags = ["--memory", "16m", "--memory-swap", "16m"];
    // Not the first process, so that the container lives to see the event.
    let c = docker.container(
        "child",
        &flags,
        &["sh", "-c", "tail /dev/zero; echo $?; while ! test -e /go; do sleep 0.05; done"],
    )?;
    c.says("137")?;
    c.touch("/go")?;
    c.waited()?;
    let c = docker.container("first", &flags, &["tail", "/dev/zero"])?;
    same("status", c.waited()?.as_str(), "137")?;
    c.becomes("{{.State.OOMKilled}}", "true")
}

fn stats(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["--memory", "64m"])?;
    let seen = docker.ok(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", &c.name])?;
    check(seen.starts_with("1 ") && seen.ends_with(" / 64MiB") && !seen.starts_with("1 0B"), || {
        format!("stats: {seen:?}")
    })
}
