//! How the process runs: scheduling, personality, memory policy, labels, and what it gets from its caller's environment.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, PATIENCE, Test, bare, code, eventually};
use crate::case::{Case, case};
use crate::cases::namespaces::own;
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, contains, lacks, same, skip, some};
use crate::features::{Feature, has_apparmor};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = scheduler_cases();
    cases.extend(scheduler_errors());
    cases.extend(io_cases());
    cases.extend(treatment_cases());
    cases.extend(label_cases());
    cases.extend(environment_cases());
    cases.extend(exec_cases());
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
fn scheduling_of(stat: &str) -> Verdict<(u32, u32, i32)> {
    let (_, rest) = some("the name in parentheses", stat.rsplit_once(')'))?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first of them is field 3.
    let field = |number: usize| some("a field of stat", fields.get(number - 3).copied());
    Ok((field(41)?.parse()?, field(40)?.parse()?, field(19)?.parse()?))
}

fn scheduled(b: Bundle<'_>, expected: (u32, u32, i32)) -> Verdict {
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
    same("policy, priority, nice", scheduling_of(&t.output_of(command)?.exits(0)?.stdout()?)?, (0, 0, 3))
}

fn scheduler_of_create(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("cat /proc/self/stat; read x").set("/process/scheduler", json!({"policy": "SCHED_IDLE"}));
    let mut lines = b.started()?;
    same("policy, priority, nice", scheduling_of(&lines.next()?)?, (5, 0, 0))
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

fn refuses(t: &Test, pointer: &str, value: Value, named: &str) -> Verdict {
    let b = t.bundle()?.args(&["true"]).set(pointer, value);
    b.run()?.refuses(t, named, &[])?;
    b.is_gone()
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

fn treatment_cases() -> Vec<Case> {
    vec![
        case("settings/personality-linux32", "LINUX32 shows a 32-bit machine", |t| {
            let b = t.bundle()?.args(&["uname", "-m"]).set("/linux/personality", json!({"domain": "LINUX32"}));
            check(cfg!(target_arch = "x86_64"), || "no name for a 32-bit machine".to_owned())?;
            same("uname -m", b.stdout()?, "i686\n")
        }),
        case(
            "settings/personality-linux",
            "LINUX shows the machine as it is, whatever the caller's",
            personality_linux,
        ),
        case("settings/memory-policy-interleave", "MPOL_INTERLEAVE", |t| {
            policy(t, json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave:0")
        })
        .known_failure(Kind::Runc, "1.3 does not know the setting"),
        case("settings/memory-policy-bind-static", "MPOL_BIND with MPOL_F_STATIC_NODES", |t| {
            policy(t, json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "bind=static:0")
        })
        .known_failure(Kind::Runc, "1.3 does not know the setting"),
        case("settings/memory-policy-preferred-relative", "MPOL_PREFERRED with MPOL_F_RELATIVE_NODES", |t| {
            policy(
                t,
                json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
                "prefer=relative:0",
            )
        })
        .known_failure(Kind::Runc, "1.3 does not know the setting"),
        case("settings/memory-policy-local", "MPOL_LOCAL", |t| policy(t, json!({"mode": "MPOL_LOCAL"}), "local"))
            .known_failure(Kind::Runc, "1.3 does not know the setting"),
        case("settings/memory-policy-default", "MPOL_DEFAULT", |t| {
            policy(t, json!({"mode": "MPOL_DEFAULT"}), "default")
        }),
        case("settings/rlimits-by-every-name", "every resource limit by its name", every_rlimit),
        case("settings/groups-denied", "where groups may not be changed, a process that asks for none runs", |t| {
            same("output", groups_denied(t, &[])?.exits(0)?.stdout()?.as_str(), "ran\n")
        }),
        case(
            "settings/additional-groups-denied",
            "where groups may not be changed, one that asks for some does not",
            |t| groups_denied(t, &[0])?.refuses(t, "/process/user/additionalGids", &[]).map(drop),
        )
        .known_failure(Kind::Runc, "passes them over")
        .known_failure(Kind::Crun, "passes them over"),
        case("settings/command-line", "commandLine is for another platform and is passed over", |t| {
            let b = t.bundle()?.args(&["echo", "args"]).set("/process/commandLine", json!("cmd /c dir"));
            same("output", b.stdout()?, "args\n")
        }),
        case("settings/keyring-own", "the process has a session keyring of its own", |t| {
            let (id, keys) = keys(t, &[])?;
            // Ours has no name of its own, which others could take: it is new, and empty.
            contains("keys", &keys, if t.ours() { "_ses: empty" } else { &id })
        }),
        case("settings/keyring-of-caller", "with --no-new-keyring there is no new one", |t| {
            let (id, keys) = keys(t, &["--no-new-keyring"])?;
            lacks("keys", &keys, &id)
        }),
    ]
}

/// What a container prints in a user namespace that denies setgroups(2), as those of users do.
fn groups_denied(t: &Test, groups: &[u32]) -> Verdict<Output> {
    let mut holder = Command::new("busybox");
    holder.args(["unshare", "-U", "-r", "sleep", "1000"]).stdin(Stdio::null());
    let mut holder = holder.spawn()?;
    let of = |name: &str| format!("/proc/{}/{name}", holder.id());
    let mapped = || {
        Ok(fs::read_to_string(of("uid_map"))?.trim_start().starts_with("0 ")
            && fs::read_to_string(of("setgroups"))? == "deny\n")
    };
    let output = eventually("the user namespace has its maps", mapped).and_then(|()| {
        let b = t.bundle()?.args(&["echo", "ran"]).set("/process/user/additionalGids", json!(groups));
        let b = b.no_mount("/sys/fs/cgroup").no_mount("/dev/pts").remove("/process/rlimits");
        b.push("/linux/namespaces", json!({"type": "user", "path": of("ns/user")})).run()
    });
    holder.kill()?;
    holder.wait()?;
    output
}

/// The container's id, by which its keyring is named, and the keys that the process sees, a line each.
fn keys(t: &Test, flags: &[&str]) -> Verdict<(String, String)> {
    let b = t.bundle()?.args(&["cat", "/proc/keys"]).set("/linux/maskedPaths", json!([]));
    Ok((b.id.clone(), b.run_with(flags)?.exits(0)?.stdout()?))
}

fn personality_linux(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["uname", "-m"]).set("/linux/personality", json!({"domain": "LINUX"}));
    b.save()?;
    let inner = b.command("run", &[]);
    let mut command = Command::new("busybox");
    command.arg("linux32").arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    same("uname -m", t.output_of(command)?.exits(0)?.stdout()?.trim_end(), std::env::consts::ARCH)
}

fn policy(t: &Test, policy: Value, expected: &str) -> Verdict {
    if !fs::exists("/proc/self/numa_maps")? {
        return skip("this kernel has no memory policies");
    }
    let b = t.bundle()?.args(&["head", "-n", "1", "/proc/self/numa_maps"]).set("/linux/memoryPolicy", policy);
    let out = b.stdout()?;
    same("the policy of the first mapping", out.split(' ').nth(1), Some(expected))
}

/// The names of config.json beside those of proc_pid_limits(5), and a value that is not the usual one.
const RLIMITS: [(&str, &str, u64); 16] = [
    ("RLIMIT_CPU", "Max cpu time", 10_000),
    ("RLIMIT_FSIZE", "Max file size", 1 << 40),
    ("RLIMIT_DATA", "Max data size", 1 << 40),
    ("RLIMIT_STACK", "Max stack size", 1 << 22),
    ("RLIMIT_CORE", "Max core file size", 4096),
    ("RLIMIT_RSS", "Max resident set", 1 << 40),
    ("RLIMIT_NPROC", "Max processes", 3000),
    ("RLIMIT_NOFILE", "Max open files", 256),
    ("RLIMIT_MEMLOCK", "Max locked memory", 12_288),
    ("RLIMIT_AS", "Max address space", 1 << 40),
    ("RLIMIT_LOCKS", "Max file locks", 1000),
    ("RLIMIT_SIGPENDING", "Max pending signals", 2000),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 300_000),
    ("RLIMIT_NICE", "Max nice priority", 0),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0),
    ("RLIMIT_RTTIME", "Max realtime timeout", 1_000_000),
];

fn every_rlimit(t: &Test) -> Verdict {
    let limits = RLIMITS.map(|(name, _, value)| json!({"type": name, "soft": value, "hard": value}));
    let out = t.bundle()?.args(&["cat", "/proc/self/limits"]).set("/process/rlimits", json!(limits)).stdout()?;
    for (name, shown, value) in RLIMITS {
        let line = some(name, out.lines().find_map(|line| line.strip_prefix(shown)))?;
        let found: Vec<&str> = line.split_whitespace().take(2).collect();
        same(name, found, [value.to_string(), value.to_string()])?;
    }
    Ok(())
}

fn label_cases() -> Vec<Case> {
    vec![
        case("settings/selinux-absent", "a label on a kernel without SELinux is an error that names it", |t| {
            if fs::read_to_string("/proc/filesystems")?.contains("selinuxfs") {
                return skip("this kernel has SELinux");
            }
            refuses(
                t,
                "/process/selinuxLabel",
                json!("system_u:system_r:container_t:s0:c1,c2"),
                "/process/selinuxLabel",
            )
        }),
        case("settings/apparmor-absent", "a profile on a kernel without AppArmor is an error that names it", |t| {
            if has_apparmor() {
                return skip("this kernel has AppArmor");
            }
            refuses(t, "/process/apparmorProfile", json!("docker-default"), "/process/apparmorProfile")
        })
        .known_failure(Kind::Crun, "passes it over"),
        case("settings/apparmor-unconfined", "unconfined is what a process without AppArmor is", |t| {
            let b = t.bundle()?.args(&["echo", "runs"]).set("/process/apparmorProfile", json!("unconfined"));
            if t.kind == Kind::Runc && !has_apparmor() {
                return contains("stderr", &b.run()?.exits(1)?.stderr()?, "apparmor");
            }
            same("output", b.stdout()?, "runs\n")
        })
        .differs(Kind::Runc, "asks AppArmor even where there is none"),
        case("settings/apparmor-unknown-profile", "a profile that is not loaded is an error", |t| {
            refuses(t, "/process/apparmorProfile", json!("no-such-profile"), "/process/apparmorProfile")
        })
        .needs_features(&[Feature::AppArmor]),
    ]
}

fn environment_cases() -> Vec<Case> {
    vec![
        case(
            "settings/listen-fds",
            "LISTEN_FDS of the caller: the descriptors are passed on, with LISTEN_PID 1",
            |t| {
                let script =
                    "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; test -e /proc/self/fd/5 && echo five; true";
                same("output", listening(t, "$$", &[], script)?, "2 1\nthree\nfour\n")
            },
        )
        .known_failure(Kind::Crun, "leaves LISTEN_FDS to its caller"),
        case("settings/listen-fds-and-preserve-fds", "--preserve-fds counts from behind those of LISTEN_FDS", |t| {
            let script = "echo $LISTEN_FDS; cat <&3; cat <&4; cat <&5; test -e /proc/self/fd/6 && echo six; true";
            same("output", listening(t, "$$", &["--preserve-fds", "1"], script)?, "2\nthree\nfour\nfive\n")
        })
        .known_failure(Kind::Crun, "leaves LISTEN_FDS to its caller"),
        case("settings/listen-fds-of-another", "LISTEN_FDS is for the process that LISTEN_PID names", |t| {
            let script = "echo ${LISTEN_FDS-none}; test -e /proc/self/fd/3 && echo three; true";
            same("output", listening(t, "1", &[], script)?, "none\n")
        })
        .known_failure(Kind::Crun, "does not look at LISTEN_PID"),
        case(
            "settings/notify-run-detached",
            "run --detach passes READY=1 on, with the pid of the container",
            notify_detached,
        )
        .known_failure(Kind::Crun, "listens only as long as it stays, attached"),
        case("settings/notify-start", "start passes READY=1 on, with the pid of the container", notify_start)
            .known_failure(Kind::Crun, "listens only as long as it stays, attached"),
        case("settings/notify-run", "run passes READY=1 on and goes on until the end", notify_run)
            .differs(Kind::Crun, "does not tell the main process"),
        case("settings/notify-lines", "of several lines READY=1 alone is passed on", notify_lines)
            .skip(Kind::Crun, "listens only as long as it stays, attached")
            .skip(Kind::Runc, "waits for ever: READY=1 has to come first"),
        case("settings/notify-ended", "what ends without being ready ends the wait", notify_ended)
            .skip(Kind::Runc, "waits for ever, on a zombie of its own"),
        case("settings/notify-failed", "a create that fails leaves nothing of the socket either", |t| {
            let manager = Manager::new(t)?;
            let b = t.bundle()?.args(&["/bin/none"]);
            b.save()?;
            let mut creating = manager.spawn(t, b.command("create", &[]))?;
            check(code(creating.wait()?) != 0, || "it was created".to_owned())?;
            b.is_gone()
        }),
        case("settings/notify-in-user-namespace", "a user of a user namespace may write to the socket", |t| {
            let manager = Manager::new(t)?;
            let b = t.bundle()?.user_namespace(100_000, 65536).set("/process/user/uid", json!(5));
            own(&b)?;
            let b = b.sh("test -S $NOTIFY_SOCKET && test -w $NOTIFY_SOCKET && echo can write");
            b.save()?;
            succeeds(t, manager.spawn(t, b.command("run", &[]))?)?;
            same("output", fs::read_to_string(t.path("out"))?, "can write\n")
        })
        .skip(Kind::Runc, "waits for ever when READY=1 never comes")
        .known_failure(Kind::Crun, "its directory is closed to others"),
        case("settings/notify-absent", "without NOTIFY_SOCKET the container has none", |t| {
            let b = t.bundle()?.sh("echo ${NOTIFY_SOCKET-none}; ls /run/notify 2>/dev/null; true");
            same("output", b.stdout()?, "none\n")
        }),
    ]
}

/// What a container prints whose caller has files open as descriptors 3 to 6, two of them as `LISTEN_FDS`.
fn listening(t: &Test, listen_pid: &str, flags: &[&str], script: &str) -> Verdict<String> {
    let mut redirections = String::new();
    for (number, name) in [(3, "three"), (4, "four"), (5, "five"), (6, "six")] {
        fs::write(t.path(name), format!("{name}\n"))?;
        redirections += &format!(" {number}<{}", t.path(name).display());
    }
    let b = t.bundle()?.sh(script);
    b.save()?;
    let inner = b.command("run", flags);
    let mut command = Command::new("busybox");
    let outer = format!(r#"export LISTEN_FDS=2 LISTEN_PID={listen_pid}; exec "$@" {redirections}"#);
    command.args(["sh", "-c", &outer, "sh"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    t.output_of(command)?.exits(0)?.stdout()
}

/// Somebody who waits to be notified, as systemd does.
struct Manager {
    path: std::path::PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new(t: &Test) -> Verdict<Manager> {
        let path = t.path("notify.sock");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Manager { path, socket })
    }

    /// Starts a command that may wait for the container.
    fn spawn(&self, t: &Test, mut command: Command) -> Verdict<Child> {
        command.env("NOTIFY_SOCKET", &self.path).stdin(Stdio::null());
        command.stdout(fs::File::create(t.path("out"))?).stderr(fs::File::create(t.path("err"))?);
        Ok(command.spawn()?)
    }

    /// What is said, until a line that begins so.
    fn heard(&self, last: &str) -> Verdict<Vec<String>> {
        let mut all = Vec::new();
        while !all.iter().any(|line: &String| line.starts_with(last)) {
            let mut buffer = [0; 4096];
            let count = self.socket.recv(&mut buffer)?;
            let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
            all.extend(text.lines().map(str::to_owned));
        }
        Ok(all)
    }

    /// Nothing is said, nor was.
    fn is_silent(&self) -> Verdict {
        self.socket.set_nonblocking(true)?;
        check(self.socket.recv(&mut [0; 16]).is_err(), || "a notification".to_owned())
    }
}

/// Says something on the socket of a container, as its process would: through its root.
fn say(b: &Bundle, text: &str) -> Verdict {
    let mut environment = String::new();
    eventually("the process has NOTIFY_SOCKET", || {
        let Ok(pid) = b.pid() else { return Ok(false) };
        let of = |file| fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default();
        // A runtime's first process may have that of its caller until it executes the program.
        let runs = of("cmdline").starts_with(b"sleep\0");
        environment = String::from_utf8_lossy(&of("environ")).into_owned();
        Ok(runs && environment.contains("NOTIFY_SOCKET="))
    })?;
    let socket = some("it", environment.split('\0').find_map(|variable| variable.strip_prefix("NOTIFY_SOCKET=")))?;
    let path = format!("/proc/{}/root{socket}", b.pid()?.as_raw_nonzero());
    UnixDatagram::unbound()?.send_to(text.as_bytes(), path)?;
    Ok(())
}

/// The command must end well.
fn succeeds(t: &Test, mut command: Child) -> Verdict {
    let status = code(command.wait()?);
    check(status == 0, || format!("status {status}: {}", fs::read_to_string(t.path("err")).unwrap_or_default()))
}

fn notify_detached(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let running = manager.spawn(t, b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]))?;
    say(&b, "READY=1")?;
    told_of(&manager, b.pid()?.as_raw_nonzero().get())?;
    succeeds(t, running)
}

/// The manager hears that this process is ready, and no more.
fn told_of(manager: &Manager, pid: i32) -> Verdict {
    same("notifications", manager.heard("MAINPID=")?, ["READY=1".to_owned(), format!("MAINPID={pid}")])?;
    barrier(manager)
}

/// A last message with a descriptor, which is closed when it is read.
fn barrier(manager: &Manager) -> Verdict {
    let mut buffer = [0; 64];
    let count = manager.socket.recv(&mut buffer)?;
    same("the last message", String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).as_ref(), "BARRIER=1")
}

fn notify_start(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let creating = manager.spawn(t, b.command("create", &["--pid-file", &pid_file.to_string_lossy()]))?;
    succeeds(t, creating)?;
    b.is("created")?;
    let starting = manager.spawn(t, t.command(&["start", &b.id]))?;
    say(&b, "READY=1")?;
    told_of(&manager, b.pid()?.as_raw_nonzero().get())?;
    succeeds(t, starting)?;
    b.is("running")
}

fn notify_run(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let mut running = manager.spawn(t, b.command("run", &["--pid-file", &pid_file.to_string_lossy()]))?;
    say(&b, "READY=1\n")?;
    if t.kind == Kind::Crun {
        manager.heard("READY=1")?;
        b.verb("kill", &["KILL"])?.exits(0)?;
        return check(code(running.wait()?) != 0, || "the status of the process is lost".to_owned());
    }
    told_of(&manager, running.id() as i32)?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    check(code(running.wait()?) != 0, || "the status of the process is lost".to_owned())
}

fn notify_lines(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let running = manager.spawn(t, b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]))?;
    say(&b, "STATUS=soon")?;
    say(&b, "STATUS=now\nMAINPID=1\nREADY=1\nEXTEND_TIMEOUT_USEC=1000")?;
    told_of(&manager, b.pid()?.as_raw_nonzero().get())?;
    succeeds(t, running)
}

fn notify_ended(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.args(&["true"]);
    b.save()?;
    succeeds(t, manager.spawn(t, b.command("run", &["--detach"]))?)?;
    manager.is_silent()
}

fn exec_cases() -> Vec<Case> {
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
