//! The same of processes that are run in a container.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, Test, bare};
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, contains, same, skip, some};
use crate::kind::Kind;

use super::scheduling::scheduling_of;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("settings/exec-scheduler", "the scheduler of a process that is run in a container", |t| {
            let stat =
                exec(t, json!({"scheduler": {"policy": "SCHED_BATCH", "nice": -6}}), &["cat", "/proc/self/stat"])?;
            same("policy, priority, nice", scheduling_of(&stat)?, (3, 0, -6))
        })
        .skip(Kind::Crun, "sets it at some moment while the process runs already"),
        case(
            "settings/exec-scheduler-reset-on-fork",
            "SCHED_FLAG_RESET_ON_FORK is for its children, not for it",
            |t| {
                let scheduler = json!({"policy": "SCHED_BATCH", "nice": -6, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
                let script = "cat /proc/$$/stat; cat /proc/self/stat; true";
                let out = exec(t, json!({"scheduler": scheduler}), &["sh", "-c", script])?;
                let mut lines = out.lines();
                same("the process", scheduling_of(some("a line", lines.next())?)?, (3, 0, -6))?;
                same("its child", scheduling_of(some("a second line", lines.next())?)?, (3, 0, 0))
            },
        )
        .skip(Kind::Crun, "sets it at some moment while the process runs already"),
        case("settings/exec-io-priority", "the I/O priority of a process that is run in a container", |t| {
            let priority = json!({"class": "IOPRIO_CLASS_BE", "priority": 2});
            let out = exec(t, json!({"ioPriority": priority}), &["sh", "-c", "ionice -p $$"])?;
            same("ionice", out.as_str(), "best-effort: prio 2\n")
        }),
        case("settings/exec-affinity-final", "execCPUAffinity.final is where it runs", |t| {
            let out = exec(t, json!({"execCPUAffinity": {"final": "0"}}), &["cat", "/proc/self/status"])?;
            same("CPUs", status_line(&out, "Cpus_allowed_list")?, "0")
        }),
        case("settings/exec-affinity-initial", "without final it runs on all CPUs, whatever initial", |t| {
            let out = exec(t, json!({"execCPUAffinity": {"initial": "0"}}), &["cat", "/proc/self/status"])?;
            same("CPUs", status_line(&out, "Cpus_allowed_list")?, all_cpus()?)
        })
        .known_failure(Kind::Runc, "stays where it was initially")
        .known_failure(Kind::Crun, "stays where it was initially"),
        case("settings/exec-affinity-of-config", "execCPUAffinity of config.json is for exec alone", |t| {
            let b = t.bundle()?.set("/process/execCPUAffinity", json!({"final": "0"}));
            let b = b.sh("cat /proc/self/status; echo end; exec sleep 1000");
            let mut lines = b.started()?;
            let mut first = String::new();
            while !first.ends_with("end\n") {
                first += &format!("{}\n", lines.next()?);
            }
            same("at first", status_line(&first, "Cpus_allowed_list")?, all_cpus()?)?;
            let out = b.verb("exec", &["cat", "/proc/self/status"])?.exits(0)?.stdout()?;
            same("exec", status_line(&out, "Cpus_allowed_list")?, "0")
        })
        .known_failure(Kind::Crun, "reads it from process.json alone"),
        case(
            "settings/exec-affinity-reset",
            "without execCPUAffinity it is not kept to the CPUs of its caller",
            exec_reset,
        ),
        case("settings/exec-affinity-absent-cpu", "a CPU that is not there is an error", |t| {
            let b = t.bundle()?.idle();
            b.create()?;
            b.start()?;
            let refused = exec_in(&b, json!({"execCPUAffinity": {"final": "1023"}}), &["true"])?;
            check(refused.status != 0, || "it was run".to_owned())?;
            if !t.ours() {
                return Ok(());
            }
            contains("stderr", &refused.stderr()?, "/process/execCPUAffinity/final: moving to CPUs 1023")
        }),
        case("settings/exec-personality", "the container's personality is that of what is run in it", |t| {
            let b = t.bundle()?.idle().set("/linux/personality", json!({"domain": "LINUX32"}));
            b.create()?;
            b.start()?;
            same("uname -m", b.verb("exec", &["uname", "-m"])?.exits(0)?.stdout()?.as_str(), "i686\n")
        }),
        case("settings/exec-memory-policy", "the container's memory policy is that of what is run in it", |t| {
            let b = t.bundle()?.idle().set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
            b.create()?;
            b.start()?;
            let out = b.verb("exec", &["head", "-n", "1", "/proc/self/numa_maps"])?.exits(0)?.stdout()?;
            same("the policy of the first mapping", out.split(' ').nth(1), Some("bind:0"))
        })
        .known_failure(Kind::Runc, "1.3 does not know the setting")
        .known_failure(Kind::Crun, "sets it for the first process alone"),
    ]
}

/// All CPUs of this machine that the case may use, as a list: whoever started the suite may keep it to some of them.
fn all_cpus() -> Verdict<String> {
    use rustix::thread::CpuSet;
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    rustix::thread::sched_setaffinity(None, &all)?;
    Ok(status_line(&fs::read_to_string("/proc/self/status")?, "Cpus_allowed_list")?.to_owned())
}

/// Runs a process in a container, given as process.json with these settings.
fn exec_in(b: &Bundle, settings: Value, args: &[&str]) -> Verdict<Output> {
    let mut process = json!({"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    if let (Some(process), Value::Object(settings)) = (process.as_object_mut(), settings) {
        process.extend(settings);
    }
    let file = b.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process)?)?;
    b.test.runtime(&["exec", "--process", &file.to_string_lossy(), &b.id])
}

/// What such a process prints.
fn exec(t: &Test, settings: Value, args: &[&str]) -> Verdict<String> {
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    exec_in(&b, settings, args)?.exits(0)?.stdout()
}

fn exec_reset(t: &Test) -> Verdict {
    let all = all_cpus()?;
    if !all.contains(['-', ',']) {
        return skip("a single CPU");
    }
    let first = some("a CPU", all.split(['-', ',']).next())?;
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    let inner = t.command(&["exec", &b.id, "cat", "/proc/self/status"]);
    let mut command = Command::new("busybox");
    command.args(["taskset", "-c", first]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    same("CPUs", status_line(&out, "Cpus_allowed_list")?, all)
}
