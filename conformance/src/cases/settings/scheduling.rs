//! Scheduling policies and I/O priorities.

use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Test, bare};
use crate::case::{Case, case};
use crate::cases::namespaces::own;
use crate::expect::{Verdict, check, same, skip, some};
use crate::kind::Kind;

use super::refuses;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = scheduler_cases();
    cases.extend(scheduler_errors());
    cases.extend(io_cases());
    cases
}

fn scheduler_cases() -> Vec<Case> {
    vec![
        case("settings/scheduler-other", "SCHED_OTHER with a nice value", |t| {
            runs(t, json!({"policy": "SCHED_OTHER", "nice": 7}), (0, 0, 7))
        }),
        case("settings/scheduler-batch", "SCHED_BATCH with a nice value", |t| {
            runs(t, json!({"policy": "SCHED_BATCH", "nice": 5}), (3, 0, 5))
        }),
        case("settings/scheduler-idle", "SCHED_IDLE", |t| runs(t, json!({"policy": "SCHED_IDLE"}), (5, 0, 0))),
        case("settings/scheduler-fifo", "SCHED_FIFO with a priority", |t| {
            real_time(t, json!({"policy": "SCHED_FIFO", "priority": 10}), (1, 10, 0))
        }),
        case("settings/scheduler-rr", "SCHED_RR with a priority", |t| {
            real_time(t, json!({"policy": "SCHED_RR", "priority": 99}), (2, 99, 0))
        }),
        case("settings/scheduler-deadline", "SCHED_DEADLINE with runtime, deadline and period", deadline),
        case("settings/scheduler-negative-nice", "a negative nice value, with what the runtime may do", |t| {
            runs(t, json!({"policy": "SCHED_OTHER", "nice": -11}), (0, 0, -11))
        }),
        case(
            "settings/scheduler-reset-on-fork",
            "with SCHED_FLAG_RESET_ON_FORK children are not favoured",
            reset_on_fork,
        ),
        case("settings/scheduler-in-user-namespace", "a negative nice value in a user namespace too", |t| {
            let b = t.bundle()?.user_namespace(100_000, 65536);
            own(&b)?;
            scheduled(b.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": -5})), (3, 0, -5))
        })
        .known_failure(Kind::Runc, "sets it when it has no privileges over it any more"),
        case("settings/scheduler-absent", "without scheduler it is as the caller's", scheduler_absent),
        case("settings/scheduler-of-create", "what create sets is there after start", scheduler_of_create),
        case("settings/scheduler-as-user", "another user's process gets it too", |t| {
            let b = t.bundle()?.set("/process/user", json!({"uid": 1000, "gid": 1000}));
            scheduled(b.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": -3})), (3, 0, -3))
        }),
    ]
}

/// Policy, real-time priority and nice value of the container's process, proc_pid_stat(5).
pub(super) fn scheduling_of(stat: &str) -> Verdict<(u32, u32, i32)> {
    let (_, rest) = some("the name in parentheses", stat.rsplit_once(')'))?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first of them is field 3.
    let field = |number: usize| some("a field of stat", fields.get(number - 3).copied());
    Ok((field(41)?.parse()?, field(40)?.parse()?, field(19)?.parse()?))
}

/// The nice value that is left as it is: this process's, for whoever runs the suite may have made it nice.
pub(crate) fn own_nice() -> Verdict<i32> {
    Ok(rustix::process::getpriority_process(None)?)
}

/// A configuration that names no nice value leaves the caller's, which counts from 0 in `expected`.
fn scheduled(b: Bundle<'_>, (policy, priority, nice): (u32, u32, i32)) -> Verdict {
    let is_named = b.config.pointer("/process/scheduler/nice").is_some();
    let expected = (policy, priority, if is_named { nice } else { own_nice()? + nice });
    same("policy, priority, nice", scheduling_of(&b.args(&["cat", "/proc/self/stat"]).stdout()?)?, expected)
}

fn runs(t: &Test, scheduler: Value, expected: (u32, u32, i32)) -> Verdict {
    scheduled(t.bundle()?.set("/process/scheduler", scheduler), expected)
}

/// Whether this machine lets a process of the suite be a real-time one: a cgroup may have no budget for them.
fn real_time(t: &Test, scheduler: Value, expected: (u32, u32, i32)) -> Verdict {
    let allowed = Command::new("chrt").args(["-f", "1", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        return skip("no real-time processes here");
    }
    runs(t, scheduler, expected)
}

fn deadline(t: &Test) -> Verdict {
    let scheduler =
        json!({"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 20_000_000, "period": 40_000_000});
    let b = t.bundle()?.set("/process/scheduler", scheduler).args(&["cat", "/proc/self/stat", "/proc/self/sched"]);
    let out = b.stdout()?;
    same("policy", scheduling_of(some("a line", out.lines().next())?)?.0, 6)?;
    for line in out.lines().filter(|line| line.starts_with("dl.runtime") || line.starts_with("dl.deadline")) {
        let value: i64 = some("a value", line.rsplit(' ').next())?.parse()?;
        // Both are what is left of a period: less than nothing on a machine that is too slow for it.
        check(value != 0, || line.to_owned())?;
    }
    Ok(())
}

fn reset_on_fork(t: &Test) -> Verdict {
    let scheduler = json!({"policy": "SCHED_BATCH", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let b = t.bundle()?.set("/process/scheduler", scheduler).sh("cat /proc/$$/stat; cat /proc/self/stat; true");
    let out = b.stdout()?;
    let mut lines = out.lines();
    same("the process", scheduling_of(some("a line", lines.next())?)?, (3, 0, -5))?;
    same("its child", scheduling_of(some("a second line", lines.next())?)?, (3, 0, 0))
}

fn scheduler_absent(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["cat", "/proc/self/stat"]);
    b.save()?;
    let inner = b.command("run", &[]);
    let mut command = Command::new("nice");
    command.args(["-n", "3"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    same(
        "policy, priority, nice",
        scheduling_of(&t.output_of(command)?.exits(0)?.stdout()?)?,
        (0, 0, (own_nice()? + 3).min(19)),
    )
}

fn scheduler_of_create(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("cat /proc/self/stat; read x").set("/process/scheduler", json!({"policy": "SCHED_IDLE"}));
    let mut lines = b.started()?;
    same("policy, priority, nice", scheduling_of(&lines.next()?)?, (5, 0, own_nice()?))
}

/// A value that is refused: the pointer that is named.
macro_rules! refusals {
    ($(
        $name:literal, $doc:literal: $pointer:literal, $value:expr => $named:literal
        $(, $mark:ident $kind:ident $why:literal)*;
    )*) => {
        vec![$(case($name, $doc, |t| refuses(t, $pointer, $value, $named))$(.$mark(Kind::$kind, $why))*),*]
    };
}

fn scheduler_errors() -> Vec<Case> {
    refusals! {
        "settings/scheduler-unknown-policy", "a policy that nobody knows":
            "/process/scheduler", json!({"policy": "SCHED_FAIR"}) => "/process/scheduler/policy";
        "settings/scheduler-unknown-flag", "a flag that nobody knows":
            "/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]})
            => "/process/scheduler/flags/0";
        "settings/scheduler-nice-beyond", "nice values end at 19":
            "/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20}) => "/process/scheduler/nice",
            known_failure Crun "takes the nearest that there is";
        "settings/scheduler-priority-of-other", "only real-time policies have a priority":
            "/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 5}) => "/process/scheduler/priority";
        "settings/scheduler-no-priority", "real-time policies need a priority":
            "/process/scheduler", json!({"policy": "SCHED_FIFO"}) => "/process/scheduler";
        "settings/scheduler-runtime-of-other", "only SCHED_DEADLINE has a runtime":
            "/process/scheduler", json!({"policy": "SCHED_OTHER", "runtime": 5_000_000})
            => "/process/scheduler/runtime",
            known_failure Crun "passes it over";
        "settings/scheduler-deadline-too-early", "a deadline comes after the runtime":
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 4_000_000, "period": 9_000_000})
            => "/process/scheduler/deadline";
        "settings/scheduler-iso", "SCHED_ISO has a name and no kernel":
            "/process/scheduler", json!({"policy": "SCHED_ISO"})
            => "/process/scheduler: setting SCHED_ISO: sched_setattr: EINVAL";
        "settings/io-priority-unknown-class", "an I/O class that nobody knows":
            "/process/ioPriority", json!({"class": "IOPRIO_CLASS_FAST", "priority": 1}) => "/process/ioPriority/class";
        "settings/io-priority-beyond", "I/O priorities end at 7":
            "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}) => "/process/ioPriority/priority";
        "settings/personality-unknown", "a personality that nobody knows":
            "/linux/personality", json!({"domain": "MINIX"}) => "/linux/personality/domain";
        "settings/personality-flags", "there are no flags of a personality":
            "/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})
            => "/linux/personality/flags",
            known_failure Runc "passes them over", known_failure Crun "passes them over";
        "settings/memory-policy-unknown", "a memory policy that nobody knows":
            "/linux/memoryPolicy", json!({"mode": "MPOL_FAR", "nodes": "0"}) => "/linux/memoryPolicy/mode",
            known_failure Runc "1.3 does not know the setting";
        "settings/memory-policy-without-nodes", "binding to no node":
            "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": ""}) => "/linux/memoryPolicy",
            known_failure Runc "1.3 does not know the setting";
        "settings/memory-policy-no-such-node", "a node that this machine does not have":
            "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "1000"}) => "/linux/memoryPolicy",
            known_failure Runc "1.3 does not know the setting";
        "settings/memory-policy-nonsense", "a list of nodes that is none":
            "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0-"}) => "/linux/memoryPolicy/nodes",
            known_failure Runc "1.3 does not know the setting";
        "settings/memory-policy-unknown-flag", "a flag that nobody knows":
            "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]})
            => "/linux/memoryPolicy/flags/0",
            known_failure Runc "1.3 does not know the setting";
        "settings/exec-affinity-nonsense", "a list of CPUs that is none":
            "/process/execCPUAffinity", json!({"initial": "0,x"}) => "/process/execCPUAffinity/initial",
            known_failure Crun "does not look at it before exec";
        "settings/exec-affinity-backwards", "a range that ends before it begins":
            "/process/execCPUAffinity", json!({"final": "3-1"}) => "/process/execCPUAffinity/final",
            known_failure Crun "does not look at it before exec";
    }
}

fn io_cases() -> Vec<Case> {
    vec![
        case("settings/io-priority-best-effort", "IOPRIO_CLASS_BE with a priority", |t| {
            io(t, json!({"class": "IOPRIO_CLASS_BE", "priority": 3}), "best-effort: prio 3")
        }),
        case("settings/io-priority-idle", "IOPRIO_CLASS_IDLE", |t| {
            io(t, json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}), "idle")
        }),
        case("settings/io-priority-real-time", "IOPRIO_CLASS_RT with a priority", |t| {
            io(t, json!({"class": "IOPRIO_CLASS_RT", "priority": 1}), "realtime: prio 1")
        }),
        case("settings/io-priority-of-children", "what the process starts has it too", |t| {
            let b = t.bundle()?.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
            same("ionice", b.sh("sh -c 'ionice -p $$; true'; true").stdout()?, "best-effort: prio 6\n")
        }),
    ]
}

fn io(t: &Test, priority: Value, expected: &str) -> Verdict {
    let b = t.bundle()?.set("/process/ioPriority", priority).sh("ionice -p $$");
    same("ionice", b.stdout()?.trim_end(), expected)
}
