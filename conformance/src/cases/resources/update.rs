//! `update`.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{file, files, with};
use crate::bundle::{Bundle, Test, code};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, contains_one, same, some};
use crate::kind::Kind;

const MIB: i64 = 1 << 20;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("update/flags", "every flag of limits", flags)
            .needs_controllers(&["cpu", "cpuset", "memory", "pids"])
            .known_failure(Kind::Crun, "has no --cpu-burst and no --cpu-idle"),
        case("update/units", "sizes with units", units)
            .needs_controllers(&["memory"])
            .known_failure(Kind::Crun, "takes numbers alone, and other texts for 0"),
        case("update/grow-and-shrink", "memory and swap up and down again", grow_and_shrink)
            .needs_controllers(&["memory"]),
        case("update/unlimited", "-1 lifts a limit", unlimited)
            .needs_controllers(&["memory", "pids"])
            .known_failure(Kind::Crun, "leaves the limit of swap"),
        case("update/quota-and-burst", "in whatever order the kernel takes them", quota_and_burst)
            .needs_controllers(&["cpu"])
            .known_failure(Kind::Crun, "has no --cpu-burst"),
        case("update/period-alone", "a period keeps the quota", period_alone)
            .needs_controllers(&["cpu"])
            .known_failure(Kind::Crun, "a period alone lifts the quota"),
        case("update/check-before", "a limit below what is in use is refused, if so asked", check_before)
            .needs_controllers(&["memory"]),
        case("update/under-load", "a container that is busy stays so", under_load)
            .needs_controllers(&["cpu", "memory", "pids"]),
        case("update/created", "a container that has not been started", created).needs_controllers(&["hugetlb"]),
        case("update/file", "the file of --resources", from_file)
            .needs_controllers(&["hugetlb"])
            .known_failure(Kind::Runc, "passes over limits of huge pages"),
        case("update/standard-input", "--resources -", from_stdin).needs_controllers(&["hugetlb"]),
        case("update/flags-count-for-more", "a flag beside the file", flags_over_file)
            .needs_controllers(&["memory", "pids"])
            .known_failure(Kind::Runc, "passes over flags beside a file")
            .known_failure(Kind::Crun, "passes over flags beside a file"),
        case("update/seen-by-exec", "a process that comes later is in the same cgroup", seen_by_exec)
            .needs_controllers(&["hugetlb"]),
        case("update/devices", "new rules for devices replace the program", devices)
            .only(Kind::NoFrills, "runc leaves devices as they are"),
        case("update/refused", "what cannot be is refused before anything is written", refused)
            .needs_controllers(&["hugetlb"])
            .only(Kind::NoFrills, "it is about the words"),
        case("update/half-done", "the error tells what was changed before it", half_done)
            .needs_controllers(&["hugetlb"])
            .only(Kind::NoFrills, "it is about the words"),
        case("update/races-update", "of two at once the last one counts, as a whole", races_update)
            .skip(Kind::Runc, "keeps no lock: what is left may be of both")
            .skip(Kind::Crun, "keeps no lock: what is left may be of both"),
        case("update/races-load", "while the container forks and is entered, paused and resumed", races_load)
            .skip(Kind::Runc, "an exec of 1.3.6 is frozen half-way")
            .skip(Kind::Crun, "an exec of 1.28 is frozen half-way"),
        case("update/races-kill", "update and SIGKILL at once: done, or refused as after the end", races_kill)
            .skip(Kind::Crun, "changes a stopped container all the same"),
        case(
            "update/races-delete",
            "update and delete --force at once: done or refused, and nothing is left",
            races_delete,
        ),
        case("update/stopped", "a stopped container cannot be changed", stopped)
            .known_failure(Kind::Crun, "changes it all the same"),
        case("update/unknown", "nor one that is not there", |t| {
            t.runtime(&["update", "--memory", "-1", "no-such"])?.refuses(t, "container does not exist", &[]).map(drop)
        }),
    ]
}

fn update(b: &Bundle, flags: &[&str]) -> Verdict {
    let mut args = vec!["update"];
    args.extend(flags);
    args.push(&b.id);
    b.test.runtime(&args)?.exits(0).map(drop)
}

/// `update` with this in a file.
fn update_by(b: &Bundle, resources: &Value) -> Verdict<crate::bundle::Output> {
    let path = b.dir.join("resources.json");
    fs::write(&path, resources.to_string())?;
    b.test.runtime(&["update", "--resources", &path.to_string_lossy(), &b.id])
}

fn huge(limit: i64) -> Value {
    json!({"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]})
}

/// The same by the name of the file, which runc takes too.
fn huge_by_name(limit: i64) -> Value {
    json!({"unified": {"hugetlb.2MB.max": limit.to_string()}})
}

fn flags(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    update(&b, &["--memory", "67108864", "--memory-swap", "100663296", "--memory-reservation", "33554432"])?;
    files(&b, &[("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")])?;
    update(&b, &["--cpu-share", "512", "--cpu-quota", "50000", "--cpu-period", "200000"])?;
    files(&b, &[("cpu.weight", "59"), ("cpu.max", "50000 200000")])?;
    update(&b, &["--cpu-burst", "20000"])?;
    files(&b, &[("cpu.max.burst", "20000")])?;
    update(&b, &["--cpuset-cpus", "0", "--cpuset-mems", "0"])?;
    files(&b, &[("cpuset.cpus", "0"), ("cpuset.mems", "0")])?;
    update(&b, &["--pids-limit", "77"])?;
    files(&b, &[("pids.max", "77")])?;
    update(&b, &["--cpu-idle", "1"])?;
    files(&b, &[("cpu.idle", "1")])
}

fn units(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    update(&b, &["--memory", "64m"])?;
    files(&b, &[("memory.max", "67108864")])?;
    update(&b, &["--memory=1G"])?;
    files(&b, &[("memory.max", "1073741824")])
}

fn grow_and_shrink(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"limit": 32 * MIB, "swap": 48 * MIB}}))?.running_idle()?;
    files(&b, &[("memory.max", "33554432"), ("memory.swap.max", "16777216")])?;
    update(&b, &["--memory", "134217728", "--memory-swap", "268435456"])?;
    files(&b, &[("memory.max", "134217728"), ("memory.swap.max", "134217728")])?;
    update(&b, &["--memory", "16777216", "--memory-swap", "16777216"])?;
    files(&b, &[("memory.max", "16777216"), ("memory.swap.max", "0")])
}

fn unlimited(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "pids": {"limit": 10}}))?.running_idle()?;
    update(&b, &["--memory", "-1", "--pids-limit", "-1"])?;
    files(&b, &[("memory.max", "max"), ("memory.swap.max", "max"), ("pids.max", "max")])
}

fn quota_and_burst(t: &Test) -> Verdict {
    let b = with(t, json!({"cpu": {"quota": 100_000, "burst": 80_000}}))?.running_idle()?;
    // Now the quota may not come first, and then the burst may not.
    update(&b, &["--cpu-quota", "20000", "--cpu-burst", "10000"])?;
    files(&b, &[("cpu.max", "20000 100000"), ("cpu.max.burst", "10000")])?;
    update(&b, &["--cpu-quota", "90000", "--cpu-burst", "70000"])?;
    files(&b, &[("cpu.max", "90000 100000"), ("cpu.max.burst", "70000")])
}

fn period_alone(t: &Test) -> Verdict {
    let b = with(t, json!({"cpu": {"quota": 50_000}}))?.running_idle()?;
    update(&b, &["--cpu-period", "80000"])?;
    files(&b, &[("cpu.max", "50000 80000")])?;
    update(&b, &["--cpu-quota", "40000"])?;
    files(&b, &[("cpu.max", "40000 80000")])
}

fn check_before(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"limit": 64 * MIB}}))?
        .sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; echo; sleep 1000");
    b.started()?.next()?;
    let limit = |check: bool| json!({"memory": {"limit": 8 * MIB, "checkBeforeUpdate": check}});
    update_by(&b, &limit(true))?.refuses(t, "/memory/limit: 8388608 bytes, but ", &[])?;
    files(&b, &[("memory.max", "67108864")])?;
    b.is("running")
}

fn under_load(t: &Test) -> Verdict {
    let load = "while :; do :; done & while :; do dd if=/dev/zero of=/dev/shm/x bs=64k count=64 2>/dev/null; true & wait $!; done";
    let b = with(t, json!({"memory": {"limit": 64 * MIB}}))?.sh(load);
    b.create()?;
    b.start()?;
    for round in 1..=8 {
        let (memory, quota, pids) = (32 + round * 4, 20_000 + round * 5_000, 40 + round);
        let given = [memory * MIB, quota, pids].map(|number| number.to_string());
        let [memory, quota, pids] = given.each_ref().map(String::as_str);
        update(&b, &["--memory", memory, "--cpu-quota", quota, "--pids-limit", pids])?;
        files(&b, &[("memory.max", memory), ("cpu.max", &format!("{quota} 100000")), ("pids.max", pids)])?;
    }
    b.is("running")
}

fn created(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    update_by(&b, &huge_by_name(4 * MIB))?.exits(0)?;
    b.start_idle()?;
    files(&b, &[("hugetlb.2MB.max", "4194304")])
}

fn from_file(t: &Test) -> Verdict {
    let b = with(t, huge(2 * MIB))?.running_idle()?;
    update_by(&b, &huge(6 * MIB))?.exits(0)?;
    files(&b, &[("hugetlb.2MB.max", "6291456")])?;
    update_by(&b, &json!({"unified": {"hugetlb.2MB.max": "max"}}))?.exits(0)?;
    files(&b, &[("hugetlb.2MB.max", "max")])?;
    update_by(&b, &json!({}))?.exits(0)?;
    files(&b, &[("hugetlb.2MB.max", "max")])
}

fn from_stdin(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let path = b.dir.join("resources.json");
    fs::write(&path, huge_by_name(8 * MIB).to_string())?;
    let status = t.command(&["update", "-r", "-", &b.id]).stdin(fs::File::open(&path)?).status()?;
    check(status.success(), || format!("update: {status}"))?;
    files(&b, &[("hugetlb.2MB.max", "8388608")])
}

fn flags_over_file(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let path = b.dir.join("resources.json");
    fs::write(&path, json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 10}}).to_string())?;
    update(&b, &["--pids-limit", "20", "--resources", &path.to_string_lossy()])?;
    files(&b, &[("memory.max", "67108864"), ("pids.max", "20")])
}

fn seen_by_exec(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    update_by(&b, &huge_by_name(4 * MIB))?.exits(0)?;
    let output = b.verb("exec", &["cat", "/sys/fs/cgroup/hugetlb.2MB.max"])?.exits(0)?;
    same("output", output.stdout()?, "4194304\n")?;
    // What it was made with is what it was.
    b.kill_and_delete()
}

fn devices(t: &Test) -> Verdict {
    let kmsg =
        json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666, "uid": 0, "gid": 0}]);
    let b = t.bundle()?.set("/linux/devices", kmsg).capabilities(&["CAP_SYS_ADMIN", "CAP_SYSLOG"]).running_idle()?;
    let tries = |expected: &str| -> Verdict {
        let script = "(exec 3</dev/mine) && echo read; (exec 3>/dev/mine) && echo written; : >/dev/null && echo null";
        same("output", b.verb("exec", &["sh", "-c", script])?.exits(0)?.stdout()?.as_str(), expected)
    };
    let rule =
        |access: &str| json!({"devices": [{"allow": true, "type": "c", "major": 1, "minor": 11, "access": access}]});
    tries("null\n")?;
    update_by(&b, &rule("rw"))?.exits(0)?;
    tries("read\nwritten\nnull\n")?;
    update_by(&b, &rule("r"))?.exits(0)?;
    tries("read\nnull\n")?;
    update_by(&b, &json!({"devices": [{"allow": false, "access": "rwm"}]}))?.exits(0)?;
    tries("null\n")
}

fn refused(t: &Test) -> Verdict {
    let b = with(t, huge(2 * MIB))?.running_idle()?;
    let mut wanted = huge(4 * MIB);
    wanted["cpu"] = json!({"period": 1});
    let error = "/cpu/period: expected microseconds from 1000 to 1000000, found 1";
    update_by(&b, &wanted)?.refuses(t, error, &[])?;
    update_by(&b, &json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}))?.refuses(
        t,
        "/hugepageLimits/0/pageSize: this machine has no huge pages of 3MB",
        &[],
    )?;
    t.runtime(&["update", "--memory", "1x", &b.id])?.refuses(t, "--memory: \"1x\" is not what it takes", &[])?;
    t.runtime(&["update", "--cpu-rt-period", "1", &b.id])?.refuses(
        t,
        "--cpu-rt-period: a setting of cgroup v1",
        &[],
    )?;
    t.runtime(&["update", "--l3-cache-schema", "L3:0=f", &b.id])?.refuses(
        t,
        "the container was made without linux.intelRdt",
        &[],
    )?;
    files(&b, &[("hugetlb.2MB.max", "2097152")])
}

fn half_done(t: &Test) -> Verdict {
    let b = with(t, huge(2 * MIB))?.running_idle()?;
    let mut wanted = huge(4 * MIB);
    wanted["unified"] = json!({"hugetlb.2MB.max": "none"});
    let output = update_by(&b, &wanted)?.refuses(t, "/unified/hugetlb.2MB.max: writing \"none\" to ", &[])?;
    contains("stderr", &output.stderr()?, "(already changed: hugetlb.2MB.max, hugetlb.2MB.rsvd.max)")?;
    same("hugetlb.2MB.max", file(&b, "hugetlb.2MB.max")?.as_str(), "4194304")?;
    b.is("running")
}

/// Two files that every cgroup has.
fn pair(number: usize) -> Value {
    json!({"unified": {"cgroup.max.depth": number.to_string(), "cgroup.max.descendants": number.to_string()}})
}

/// An update by a file of this name, not waited for.
fn begin(b: &Bundle, name: &str, resources: &Value) -> Verdict<Child> {
    let path = b.dir.join(name);
    fs::write(&path, resources.to_string())?;
    let mut command = b.test.command(&["update", "--resources", &path.to_string_lossy(), &b.id]);
    let errors = fs::File::create(b.dir.join(format!("{name}.err")))?;
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()?)
}

/// It was done, or refused as a container is that has ended or is gone.
fn done_or_refused(b: &Bundle, name: &str, mut update: Child) -> Verdict<bool> {
    let done = update.wait()?.success();
    let errors = fs::read_to_string(b.dir.join(format!("{name}.err")))?;
    if done || !b.test.ours() {
        return Ok(done);
    }
    contains_one("update", &errors, &["container not running", "container does not exist"])?;
    Ok(done)
}

const LONG_ENOUGH: Duration = Duration::from_secs(3);

fn races_update(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let deadline = Instant::now() + LONG_ENOUGH;
    let mut last = [0, 0];
    for round in 1.. {
        if Instant::now() > deadline {
            break;
        }
        let numbers = [round * 2, round * 2 + 1];
        let updates = [begin(&b, "a", &pair(numbers[0]))?, begin(&b, "b", &pair(numbers[1]))?];
        for mut update in updates {
            check(update.wait()?.success(), || "update failed".to_owned())?;
        }
        let (depth, descendants) = (file(&b, "cgroup.max.depth")?, file(&b, "cgroup.max.descendants")?);
        same("depth and descendants", &depth, &descendants)?;
        let winner = numbers.iter().position(|number| depth == number.to_string());
        last[some("one of both", winner)?] += 1;
    }
    check(last[0] + last[1] > 5, || format!("{last:?}"))?;
    b.kill_and_delete()
}

fn races_load(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("while :; do true & true & wait; done");
    b.create()?;
    b.start()?;
    let quiet =
        |args: &[&str]| t.command(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let deadline = Instant::now() + LONG_ENOUGH;
    for round in 1.. {
        if Instant::now() > deadline {
            break;
        }
        let mut exec = quiet(&["exec", &b.id, "true"])?;
        let mut pause = quiet(&["pause", &b.id])?;
        let update = begin(&b, "a", &pair(round))?;
        same("status of pause", code(pause.wait()?), 0)?;
        b.verb("resume", &[])?.exits(0)?;
        check(done_or_refused(&b, "a", update)?, || "update failed".to_owned())?;
        // Refused, when it came while the container was paused.
        exec.wait()?;
        same("cgroup.max.depth", file(&b, "cgroup.max.depth")?, round.to_string())?;
    }
    b.is("running")?;
    b.kill_and_delete()
}

fn races_kill(t: &Test) -> Verdict {
    let deadline = Instant::now() + LONG_ENOUGH;
    while Instant::now() < deadline {
        let b = t.bundle()?.running_idle()?;
        let update = begin(&b, "a", &pair(7))?;
        b.verb("kill", &["KILL"])?.exits(0)?;
        same("status", b.ended()?, 137)?;
        let done = done_or_refused(&b, "a", update)?;
        b.is("stopped")?;
        let depth = file(&b, "cgroup.max.depth")?;
        check(!done || depth == "7", || format!("done, but {depth}"))?;
        b.verb("delete", &[])?.exits(0)?;
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    }
    Ok(())
}

fn races_delete(t: &Test) -> Verdict {
    let deadline = Instant::now() + LONG_ENOUGH;
    while Instant::now() < deadline {
        let b = t.bundle()?.running_idle()?;
        let update = begin(&b, "a", &pair(7))?;
        b.delete_force()?;
        b.ended()?;
        done_or_refused(&b, "a", update)?;
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
        b.is_gone()?;
    }
    Ok(())
}

fn stopped(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    update_by(&b, &json!({"unified": {"cgroup.max.depth": "5"}}))?.refuses(t, "container not running", &[])?;
    Ok(())
}
