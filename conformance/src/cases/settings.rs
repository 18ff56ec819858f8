//! How the process runs: scheduling, personality, memory policy, labels, and what it gets from its caller's environment.

mod environment;
mod exec;
pub(super) mod scheduling;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::{Output, Test, bare, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, skip, some};
use crate::features::{Feature, has_apparmor};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = scheduling::cases();
    cases.extend(treatment_cases());
    cases.extend(label_cases());
    cases.extend(environment::cases());
    cases.extend(exec::cases());
    cases
}

fn refuses(t: &Test, pointer: &str, value: Value, named: &str) -> Verdict {
    let b = t.bundle()?.args(&["true"]).set(pointer, value);
    b.run()?.refuses(t, named, &[])?;
    b.is_gone()
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
            contains("keys", &keys, " keyring ")?;
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
