//! events: statistics, and kills for lack of memory.

use std::fs;
use std::io;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::bundle::{Bundle, Lines, Test, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same, skip, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("events/stats", "events --stats prints one line with the keys that engines read", stats),
        case("events/stats-used", "processor time is told in nanoseconds, and grows", used),
        case("events/stats-controllers", "what the cgroup's files say is told", controllers),
        case("events/stats-paused", "a created and a paused container have statistics too", paused),
        case(
            "events/refused",
            "events of a stopped or missing container, or without an interval, are refused",
            refused,
        ),
        case("events/until-the-end", "events prints statistics until the container ends", until_the_end),
        case("events/oom", "a kill for lack of memory is an event", oom).needs_controllers(&["memory"]),
    ];
    cases.into_iter().map(|case| case.skip(Kind::Crun, "has no such command")).collect()
}

fn once(b: &Bundle) -> Verdict<Value> {
    let text = b.test.runtime(&["events", "--stats", &b.id])?.exits(0)?.stdout()?;
    same("lines", text.lines().count(), 1)?;
    let event: Value = serde_json::from_str(&text)?;
    same("type", &event["type"], "stats")?;
    // What scripts look for.
    contains("the line's beginning", &text, &format!(r#"{{"type":"stats","id":"{}","data":{{"#, b.id))?;
    same("id", &event["id"], b.id.as_str())?;
    some("data", event.get("data").cloned())
}

fn stats(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let data = once(&b)?;
    let keys: Vec<&str> = data.as_object().map(|data| data.keys().map(String::as_str).collect()).unwrap_or_default();
    for key in ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"] {
        check(keys.contains(&key), || format!("no {key} among {keys:?}"))?;
    }
    for pointer in ["/cpu/usage/total", "/cpu/usage/kernel", "/cpu/usage/user", "/pids/current"] {
        check(data.pointer(pointer).is_some_and(Value::is_u64), || format!("{pointer}: {data}"))?;
    }
    same("processes", &data["pids"]["current"], 1)?;
    for kind in ["usage", "swap", "kernel", "kernelTCP"] {
        for key in ["limit", "failcnt"] {
            check(data["memory"][kind][key].is_u64(), || format!("memory {kind} {key}: {data}"))?;
        }
    }
    for key in ["cpu_exclusive", "memory_migrate", "sched_relax_domain_level"] {
        same(key, &data["cpuset"][key], 0)?;
    }
    for part in ["cpu", "memory", "blkio"] {
        let file = b.cgroup_dir().join(format!("{}.pressure", if part == "blkio" { "io" } else { part }));
        if fs::read(file).is_ok() {
            for key in ["avg10", "avg60", "avg300", "total"] {
                check(data[part]["psi"]["some"][key].is_number(), || format!("{part} psi {key}: {data}"))?;
                check(data[part]["psi"]["full"][key].is_number(), || format!("{part} psi {key}: {data}"))?;
            }
        }
    }
    Ok(())
}

fn cpu_file(b: &Bundle) -> Verdict<u64> {
    let text = fs::read_to_string(b.cgroup_dir().join("cpu.stat"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    Ok(some("usage_usec", value)?.parse::<u64>()? * 1000)
}

fn used(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo done; exec sleep 1000");
    let mut lines = b.started()?;
    same("line", lines.next()?, "done")?;
    let before = cpu_file(&b)?;
    let total = some("total", once(&b)?["cpu"]["usage"]["total"].as_u64())?;
    let after = cpu_file(&b)?;
    check((before..=after).contains(&total), || format!("{total} is not from {before} to {after}"))?;
    check(total > 1_000_000, || format!("only {total} ns"))
}

/// Hands all controllers down to the case's containers, as far as they are here.
fn enable_controllers(t: &Test) -> Verdict {
    let case = t.cgroup_dir();
    let dirs: Vec<_> = case.ancestors().take_while(|dir| dir.starts_with(&t.cgroup_mount)).collect();
    for dir in dirs.iter().rev() {
        for controller in fs::read_to_string(dir.join("cgroup.controllers"))?.split_ascii_whitespace() {
            // One that cannot be had is not looked for.
            let (Ok(()) | Err(_)) = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(())
}

fn controllers(t: &Test) -> Verdict {
    enable_controllers(t)?;
    let b = t.bundle()?.running_idle()?;
    let there = |name: &str| b.cgroup_dir().join(name).exists();
    let data = once(&b)?;
    if there("memory.current") {
        check(data["memory"]["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), || data.to_string())?;
        same("limit", &data["memory"]["usage"]["limit"], u64::MAX)?;
        check(data["memory"]["raw"]["anon"].is_u64(), || data.to_string())?;
    }
    if there("pids.max") {
        fs::write(b.cgroup_dir().join("pids.max"), "77")?;
        same("limit", &once(&b)?["pids"]["limit"], 77)?;
    }
    if there("hugetlb.2MB.current") {
        same("hugetlb", &data["hugetlb"]["2MB"]["failcnt"], 0)?;
    }
    check(["memory.current", "pids.max", "hugetlb.2MB.current"].iter().any(|name| there(name)), String::new)
        .or_else(|_| skip("there is no controller here"))
}

fn paused(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    once(&b)?;
    b.start_idle()?;
    b.verb("pause", &[])?.exits(0)?;
    once(&b)?;
    b.is("paused")
}

fn refused(t: &Test) -> Verdict {
    for flag in [&["--stats"][..], &[]] {
        t.runtime(&[&["events"], flag, &["no-such"]].concat())?.refuses(
            t,
            "container does not exist",
            &["does not exist"],
        )?;
    }
    let b = t.bundle()?.running_idle()?;
    for interval in ["0s", "x"] {
        let peers = ["must be greater than 0", "invalid value"];
        let ours = if interval == "x" { "takes a duration" } else { "must be greater than 0" };
        t.runtime(&["events", "--interval", interval, &b.id])?.refuses(t, ours, &peers)?;
    }
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    for flag in [&["--stats"][..], &[]] {
        t.runtime(&[&["events"], flag, &[b.id.as_str()]].concat())?.refuses(
            t,
            "container not running",
            &["is not running"],
        )?;
    }
    Ok(())
}

/// `events` with what it prints.
fn watching(b: &Bundle, interval: &str) -> Verdict<(Child, Lines)> {
    let (reader, writer) = io::pipe()?;
    let mut command = b.test.command(&["events", "--interval", interval, &b.id]);
    let child = command.stdin(Stdio::null()).stdout(writer).spawn()?;
    Ok((child, Lines::new(reader)))
}

/// Without the controller memory runc fails to watch for what that tells.
fn check_memory(b: &Bundle) -> Verdict {
    if b.cgroup_dir().join("memory.events").exists() { Ok(()) } else { skip("the controller memory is not here") }
}

fn until_the_end(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    if !t.ours() {
        check_memory(&b)?;
    }
    let (mut events, mut lines) = watching(&b, "20ms")?;
    let mut totals = Vec::new();
    for _ in 0..3 {
        let event: Value = serde_json::from_str(&lines.next()?)?;
        same("type", &event["type"], "stats")?;
        same("id", &event["id"], b.id.as_str())?;
        totals.push(some("total", event["data"]["cpu"]["usage"]["total"].as_u64())?);
    }
    check(totals.is_sorted(), || format!("{totals:?}"))?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    same("status", code(events.wait()?), 0)?;
    b.ended()?;
    // Somebody deletes it meanwhile.
    let b = t.bundle()?.running_idle()?;
    let (mut events, mut lines) = watching(&b, "20ms")?;
    lines.next()?;
    b.delete_force()?;
    same("status", code(events.wait()?), 0)
}

fn oom(t: &Test) -> Verdict {
    enable_controllers(t)?;
    let b = t.bundle()?.sh("tail /dev/zero; exec sleep 1000");
    b.create()?;
    check_memory(&b)?;
    fs::write(b.cgroup_dir().join("memory.max"), "8388608")?;
    let swap = b.cgroup_dir().join("memory.swap.max");
    if swap.exists() {
        fs::write(swap, "0")?;
    }
    let (mut events, mut lines) = watching(&b, "1h")?;
    // Until it watches, nothing tells.
    eventually("it waits", || {
        Ok(fs::read_to_string(format!("/proc/{}/wchan", events.id()))?.contains("poll")
            || fs::read_to_string(format!("/proc/{}/stat", events.id()))?.contains(") S "))
    })?;
    b.start()?;
    let event: Value = serde_json::from_str(&lines.next()?)?;
    same("type", &event["type"], "oom")?;
    same("id", &event["id"], b.id.as_str())?;
    check(event.get("data").is_none(), || event.to_string())?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    same("status", code(events.wait()?), 0)
}
