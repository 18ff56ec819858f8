//! What a container can be given: settings of `podman run`, of root's Podman and the user's.

use std::fs;

use serde_json::json;

use crate::bundle::{Test, eventually};
use crate::case::{Case, case};
use crate::engines::podman::IMAGE;
use crate::expect::{Verdict, check, contains, contains_one, lacks, same, some};
use crate::features::Feature;
use crate::kind::Kind;

use super::life::idle;
use super::{Place, Root, Session, Systemd, User};

macro_rules! cases_of {
    ($group:literal, $place:ty) => {
        vec![
            case(
                concat!($group, "/process"),
                "user, groups, directory, environment, umask and host name",
                process::<$place>,
            ),
            case(concat!($group, "/capabilities"), "capabilities added, dropped, all and none", capabilities::<$place>),
            case(
                concat!($group, "/privileged"),
                "a privileged container has all that its owner has",
                privileged::<$place>,
            ),
            case(
                concat!($group, "/seccomp"),
                "Podman's profile by default, one of the user's, and none",
                seccomp::<$place>,
            ),
            case(concat!($group, "/devices"), "a device of the host, with permissions", devices::<$place>),
            case(concat!($group, "/init"), "an init in front of the program", init::<$place>),
            case(concat!($group, "/ulimit-sysctl"), "ulimits and sysctls", ulimit_sysctl::<$place>),
            case(concat!($group, "/health"), "a health check tells healthy and unhealthy", health::<$place>),
            case(
                concat!($group, "/restart-policy"),
                "a container that fails is started again, so often",
                restart_policy::<$place>,
            ),
            case(concat!($group, "/masked"), "masked and read-only paths, and what lifts them", masked::<$place>),
            case(
                concat!($group, "/namespaces"),
                "namespaces of the host and of another container",
                namespaces::<$place>,
            ),
            case(concat!($group, "/descriptors"), "descriptors that are passed on", descriptors::<$place>),
        ]
    };
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = cases_of!("engines/podman", Root);
    all.push(case("engines/podman/userns", "--userns=auto and --uidmap, and who owns what is written", userns_root));
    all.push(case("engines/podman/idmap", "a bind mount with ids mapped for the container's user namespace", idmap));
    all.push(case("engines/podman/hooks", "OCI hooks of a hooks directory are run with the state", hooks));
    all.push(case(
        "engines/podman/checkpoint",
        "checkpoint is refused in words, and the container runs on",
        checkpoint,
    ));
    all.push(
        case("engines/podman/no-cgroups", "--cgroups=disabled makes no cgroup", no_cgroups)
            .known_failure(Kind::Runc, "has no --cgroup-manager"),
    );
    all.push(case("engines/podman/no-conmon", "--cgroups=no-conmon makes one for the container alone", no_conmon));
    let controlled = [
        case("engines/podman/limits", "limits of memory, processes and CPU, and their update", limits::<Root>),
        case("engines/podman/oom", "a container that is killed for want of memory tells so", oom::<Root>),
    ];
    all.extend(controlled.map(|case| case.needs_controllers(&["memory", "pids", "cpu"])));
    all.extend(cases_of!("engines/podman-rootless", User));
    all.push(case(
        "engines/podman-rootless/userns",
        "--userns=keep-id, nomap and auto, and who owns what is written",
        userns_user,
    ));
    let systemd = vec![
        case(
            "engines/podman-systemd/limits",
            "limits of memory, processes and CPU, and their update",
            limits::<Systemd>,
        ),
        case("engines/podman-systemd/oom", "a process that takes more memory than its limit is killed", oom::<Systemd>),
        case(
            "engines/podman-systemd/seccomp",
            "Podman's profile by default, one of the user's, and none",
            seccomp::<Systemd>,
        ),
        case(
            "engines/podman-systemd/restart-policy",
            "a container that fails is started again, so often",
            restart_policy::<Systemd>,
        ),
    ];
    all.extend(systemd.into_iter().map(|case| case.needs_features(&[Feature::Systemd])));
    let session = vec![
        case(
            "engines/podman-session/limits",
            "limits of memory, processes and CPU, and their update",
            limits::<Session>,
        ),
        case("engines/podman-session/oom", "a process that takes more memory than its limit is killed", oom::<Session>),
        case(
            "engines/podman-session/userns",
            "--userns=keep-id, nomap and auto, and who owns what is written",
            userns_session,
        ),
    ];
    all.extend(session.into_iter().map(|case| case.needs_features(&[Feature::Session])));
    all
}

fn process<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let run = |flags: &str, script: &str| p.gets(&format!("run --rm {flags} {IMAGE} sh -c"), &[script]);
    same("ids", run("--user 1000:1000 --group-add 7 --group-add 8", "id -u; id -g; id -G")?, "1000\n1000\n1000 7 8")?;
    same("the user by name", run("--user user", "id -un; pwd; echo $HOME")?, "user\n/\n/tmp")?;
    same("the directory", run("--workdir /usr", "pwd")?, "/usr")?;
    same("the environment", run("--env A=b --env C", "echo $A$C")?, "b")?;
    same("the umask", run("--umask 0077", "umask")?, "0077")?;
    same("the host name", run("--hostname box", "hostname")?, "box")?;
    contains("the hosts", &run("--add-host other:10.0.0.9", "cat /etc/hosts")?, "10.0.0.9\tother")?;
    same("the score", run("--oom-score-adj 500", "cat /proc/self/oom_score_adj")?, "500")
}

/// The effective capabilities of a container with these flags.
fn effective<P: Place>(t: &Test, sets: &[(&str, &str)]) -> Verdict {
    let p = P::podman(t)?;
    for (flags, expected) in sets {
        let words = format!("run --rm {flags} {IMAGE} sed -n s/^CapEff:.//p /proc/self/status");
        same(&format!("capabilities with {flags:?}"), p.gets(&words, &[])?.as_str(), *expected)?;
    }
    Ok(())
}

fn capabilities<P: Place>(t: &Test) -> Verdict {
    // Those of Podman's own configuration: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, NET_BIND_SERVICE, SETFCAP,
    // SETGID, SETPCAP, SETUID, SYS_CHROOT.
    effective::<P>(
        t,
        &[
            ("", "00000000800405fb"),
            ("--cap-add SYS_TIME", "00000000820405fb"),
            ("--cap-drop CHOWN", "00000000800405fa"),
            ("--cap-drop all", "0000000000000000"),
            ("--cap-drop all --cap-add KILL", "0000000000000020"),
            ("--user 1000", "0000000000000000"),
        ],
    )
}

fn privileged<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let status = p.gets(&format!("run --rm --privileged {IMAGE} cat /proc/self/status"), &[])?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    // All that there are in a user namespace; without one, those that this machine gives to root.
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    let own = fs::read_to_string("/proc/self/status")?;
    let own = some("CapBnd", own.lines().find_map(|line| line.strip_prefix("CapBnd:")))?.trim().to_owned();
    let all = if p.who.is_user() { (1 << (last + 1)) - 1 } else { u64::from_str_radix(&own, 16)? };
    same("capabilities", u64::from_str_radix(&field("CapEff:"), 16)?, all)?;
    same("seccomp", field("Seccomp:"), "0")?;
    p.gets(&format!("run --rm --privileged {IMAGE} sh -c"), &["mount -t tmpfs x /tmp && umount /tmp"])?;
    // systemd's directory for a tmpfs in /dev is not there in all places.
    p.gets(&format!("run --rm --privileged {IMAGE} test -c /dev/full"), &[]).map(drop)
}

fn seccomp<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let mode = |flags: &str| p.gets(&format!("run --rm {flags} {IMAGE} sed -n s/^Seccomp:.//p /proc/self/status"), &[]);
    same("by default", mode("")?, "2")?;
    same("unconfined", mode("--security-opt seccomp=unconfined")?, "0")?;
    // Denied by Podman's profile to those without CAP_SYSLOG, and by the kernel on some machines only.
    let denied = p.call(&format!("run --rm {IMAGE} dmesg"), &[])?;
    check(denied.status != 0, || "syslog(2) is allowed by Podman's profile".to_owned())?;
    let profile = p.path("profile.json");
    let names = json!(["mkdir", "mkdirat"]);
    let rule = json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": []});
    fs::write(&profile, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}).to_string())?;
    p.give(&profile)?;
    let flags = format!("--security-opt seccomp={}", profile.display());
    let told = p.call(&format!("run --rm {flags} {IMAGE} mkdir /tmp/x"), &[])?.exits(1)?.stderr()?;
    contains("the error that the profile sets", &told, "No space left on device")
}

fn devices<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets(
        &format!("run --rm --device /dev/full:/dev/brimful {IMAGE} sh -c"),
        &["test -c /dev/brimful && ! echo x >/dev/brimful"],
    )?;
    p.gets(
        &format!("run --rm {IMAGE} sh -c"),
        &["! test -e /dev/brimful && echo x >/dev/null && head -c 1 /dev/zero >/dev/null"],
    )
    .map(drop)
}

fn init<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    // catatonit is not on every machine. This takes the program as that does, and waits for it.
    let init = p.path("init");
    fs::write(&init, "#!/bin/sh\n[ \"$1\" != -- ] || shift\necho \"init is $$\"\n\"$@\"\n")?;
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    }
    let words = format!("run --rm --init --init-path {} {IMAGE} sh -c", init.display());
    same("what they print", p.gets(&words, &["test $$ != 1; echo $?"])?, "init is 1\n0")
}

fn ulimit_sysctl<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let words = format!("run --rm --ulimit nofile=123:456 --ulimit core=0 {IMAGE} sh -c");
    same("limits", p.gets(&words, &["ulimit -n; ulimit -Hn; ulimit -c"])?, "123\n456\n0")?;
    let words = format!("run --rm --sysctl kernel.msgmax=9999 --sysctl net.ipv4.ip_default_ttl=44 {IMAGE} cat");
    let files = ["/proc/sys/kernel/msgmax", "/proc/sys/net/ipv4/ip_default_ttl"];
    same("sysctls", p.gets(&words, &files)?, "9999\n44")?;
    let refused = p.call(&format!("run --rm --sysctl kernel.pid_max=9999 {IMAGE} true"), &[])?;
    check(refused.status != 0, || "a sysctl of the machine was set".to_owned())
}

fn health<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let flags = "--health-interval disable --health-retries 1 --health-start-period 0s";
    p.gets(&format!("run --detach --name c {flags} --health-cmd"), &["test -e /tmp/well", IMAGE, "sleep", "1000"])?;
    p.call("healthcheck run c", &[])?.exits(1)?;
    same("the state", p.inspect("c", ".State.Health.Status")?, "unhealthy")?;
    p.gets("exec c touch /tmp/well", &[])?;
    p.call("healthcheck run c", &[])?.exits(0)?;
    same("the state", p.inspect("c", ".State.Health.Status")?, "healthy")
}

fn restart_policy<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets(&format!("run --detach --restart on-failure:2 --name c {IMAGE} sh -c"), &["echo run; exit 3"])?;
    eventually("it has been started three times", || {
        Ok(p.inspect("c", ".RestartCount")? == "2" && p.inspect("c", ".State.Status")? == "exited")
    })?;
    same("the log", p.gets("logs c", &[])?, "run\nrun\nrun")?;
    same("the status", p.inspect("c", ".State.ExitCode")?, "3")
}

fn masked<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let script = "head -c 1 /proc/kcore | wc -c; ls /proc/acpi | wc -l; echo x 2>/dev/null >/proc/sys/kernel/domainname || echo denied";
    same("by default", p.gets(&format!("run --rm {IMAGE} sh -c"), &[script])?, "0\n0\ndenied")?;
    let words = format!("run --rm --security-opt mask=/etc {IMAGE} sh -c");
    same("one more", p.gets(&words, &["ls /etc | wc -l"])?, "0")?;
    let words = format!("run --rm --security-opt unmask=/proc/timer_list {IMAGE} grep -c");
    contains_one(
        "one less",
        &p.gets(&words, &[" /proc/timer_list ", "/proc/mounts"]).unwrap_or_else(|_| "0".to_owned()),
        &["0"],
    )?;
    let words =
        format!("run --rm --security-opt no-new-privileges {IMAGE} sed -n s/^NoNewPrivs:.//p /proc/self/status");
    same("no new privileges", p.gets(&words, &[])?, "1")
}

fn namespaces<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    idle(&p, "--hostname first")?;
    let of = |flags: &str, kind: &str| p.gets(&format!("run --rm {flags} {IMAGE} readlink /proc/self/ns/{kind}"), &[]);
    for kind in ["net", "ipc", "pid"] {
        let first = p.gets(&format!("exec c readlink /proc/self/ns/{kind}"), &[])?;
        let flag = if kind == "net" { "network" } else { kind };
        same(kind, of(&format!("--{flag} container:c"), kind)?.as_str(), first.as_str())?;
        check(of("", kind)? != first, || format!("two containers share the {kind} namespace"))?;
    }
    let seen = p.gets(&format!("run --rm --pid container:c {IMAGE} ps -o comm"), &[])?;
    contains("processes of the other container", &seen, "sleep")?;
    if !p.who.has_systemd() {
        let own = fs::read_link("/proc/self/ns/uts")?;
        same("the host's", of("--uts host", "uts")?.as_str(), own.to_string_lossy().as_ref())?;
    }
    Ok(())
}

fn descriptors<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    if p.who.has_systemd() {
        // systemd-run passes no others than these three.
        return Ok(());
    }
    let podman = p.command(&format!("run --rm --preserve-fds 1 {IMAGE} sh -c"), &["cat <&3"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$@\" 3<<END\npassed on\nEND", "sh"]).arg(podman.get_program()).args(podman.get_args());
    command.env_clear().envs(podman.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
    t.output_of(command)?.exits(0)?.prints("passed on\n").map(drop)
}

fn userns_root(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    let words = format!("run --rm --userns=auto:size=1024 {IMAGE} cat /proc/self/uid_map");
    let map = p.gets(&words, &[])?;
    let fields: Vec<_> = map.split_ascii_whitespace().collect();
    same("the map", (fields.first(), fields.get(2), fields.len()), (Some(&"0"), Some(&"1024"), 3))?;
    check(some("a host id", fields.get(1))?.parse::<u32>()? >= 100_000, || format!("the map: {map}"))?;
    let host = p.path("host");
    fs::create_dir(&host)?;
    rustix::fs::chown(&host, Some(rustix::fs::Uid::from_raw(200_005)), Some(rustix::fs::Gid::from_raw(200_005)))?;
    let flags = format!("--uidmap 0:200000:1000 --gidmap 0:200000:1000 --user 5:5 -v {}:/h", host.display());
    p.gets(&format!("run --rm {flags} {IMAGE} touch /h/file"), &[])?;
    use std::os::unix::fs::MetadataExt;
    same("the owner", fs::metadata(host.join("file"))?.uid(), 200_005)?;
    idle(&p, "--uidmap 0:200000:1000")?;
    same("exec's map", p.gets("exec c cat /proc/self/uid_map", &[])?.split_ascii_whitespace().nth(1), Some("200000"))
}

fn userns_user(t: &Test) -> Verdict {
    userns::<User>(t)
}

fn userns_session(t: &Test) -> Verdict {
    userns::<Session>(t)
}

fn userns<P: Place>(t: &Test) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let p = P::podman(t)?;
    let run = |flags: &str, script: &str| p.gets(&format!("run --rm {flags} {IMAGE} sh -c"), &[script]);
    let host = p.path("host");
    fs::create_dir(&host)?;
    p.give(&host)?;
    let bind = format!("-v {}:/h", host.display());
    same("the user of keep-id", run(&format!("--userns=keep-id {bind}"), "touch /h/kept; id -u")?, "1000")?;
    same("the owner", fs::metadata(host.join("kept"))?.uid(), 1000)?;
    same("another id", run("--userns=keep-id:uid=7,gid=8", "id -u; id -g")?, "7\n8")?;
    run(&bind, "touch /h/root; chown 1:1 /h/root")?;
    same("the owner of what uid 1 owns", fs::metadata(host.join("root"))?.uid(), 100_000)?;
    lacks("the map of nomap", &run("--userns=nomap", "cat /proc/self/uid_map")?, " 1000 ")?;
    let auto = run("--userns=auto:size=500", "cat /proc/self/uid_map")?;
    same("the size of auto", auto.split_ascii_whitespace().last(), Some("500"))
}

fn idmap(t: &Test) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let p = Root::podman(t)?;
    let host = p.path("host");
    fs::create_dir(&host)?;
    let flags = format!("--uidmap 0:200000:1000 -v {}:/h:idmap", host.display());
    p.gets(&format!("run --rm {flags} {IMAGE} touch /h/file"), &[])?;
    same("the owner", fs::metadata(host.join("file"))?.uid(), 0)
}

fn hooks(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    let (dir, log) = (p.path("hooks.d"), p.path("hooks.log"));
    fs::create_dir(&dir)?;
    let script = format!("echo $0 $(grep -c '\"id\"') >>{}", log.display());
    for stage in ["createRuntime", "poststop"] {
        let hook = json!({"version": "1.0.0", "hook": {"path": "/bin/sh", "args": ["sh", "-c", script, stage]},
            "when": {"always": true}, "stages": [stage]});
        fs::write(dir.join(format!("{stage}.json")), hook.to_string())?;
    }
    let mut command = p.program("podman");
    command.arg("--runtime").arg(&t.runtime).arg("--hooks-dir").arg(&dir);
    command.args(["run", "--rm", "--cgroup-parent", &t.cgroup, IMAGE, "true"]);
    t.output_of(command)?.exits(0)?;
    same("what the hooks say", fs::read_to_string(log)?, "createRuntime 1\npoststop 1\n")
}

fn checkpoint(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    idle(&p, "")?;
    let told = p.call("container checkpoint c", &[])?.exits(125)?.stderr()?;
    contains_one("the error", &told, &["criu", "CRIU", "checkpoint"])?;
    same("the state", p.inspect("c", ".State.Status")?, "running")
}

fn no_cgroups(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    idle(&p, "--cgroups=disabled")?;
    same("the cgroup", p.inspect("c", ".HostConfig.Cgroups")?, "disabled")?;
    let line = |name: &str| -> Verdict<String> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", p.inspect("c", name)?))?;
        Ok(text.lines().find(|line| line.starts_with("0::")).unwrap_or_default().to_owned())
    };
    same("the container's, and conmon's", line(".State.Pid")?, line(".State.ConmonPid")?)?;
    p.gets("exec c true", &[])?;
    p.gets("stop --time 0 c", &[]).map(drop)
}

fn no_conmon(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    let parent = &t.cgroup;
    p.gets(&format!("run --detach --cgroups=no-conmon --cgroup-parent {parent} --name c {IMAGE} sleep 1000"), &[])?;
    let id = p.inspect("c", ".Id")?;
    same("the cgroup", p.inspect("c", ".State.CgroupPath")?, format!("{parent}/libpod-{id}"))?;
    check(!t.cgroup_dir().join("conmon").exists(), || "conmon has a cgroup".to_owned())
}

/// A file of the container's cgroup, as the container sees it.
fn cgroup_file(p: &crate::engines::podman::Podman<'_>, name: &str) -> Verdict<String> {
    p.gets(&format!("exec c cat /sys/fs/cgroup/{name}"), &[])
}

fn limits<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    crate::cgroup2::hand_on(&t.cgroup_dir(), &["memory", "pids", "cpu"])?;
    idle(&p, "--memory 64m --memory-swap 64m --pids-limit 50 --cpus 0.5 --cpu-shares 512")?;
    same("memory", cgroup_file(&p, "memory.max")?, "67108864")?;
    same("swap", cgroup_file(&p, "memory.swap.max")?, "0")?;
    same("processes", cgroup_file(&p, "pids.max")?, "50")?;
    same("CPU", cgroup_file(&p, "cpu.max")?, "50000 100000")?;
    p.gets("update --memory 128m --memory-swap 128m --pids-limit 70 --cpus 0.25 c", &[])?;
    same("memory after update", cgroup_file(&p, "memory.max")?, "134217728")?;
    same("processes after update", cgroup_file(&p, "pids.max")?, "70")?;
    same("CPU after update", cgroup_file(&p, "cpu.max")?, "25000 100000")?;
    let stats: serde_json::Value = serde_json::from_str(&p.gets("stats --no-stream --format json c", &[])?)?;
    contains("stats", &stats[0]["mem_usage"].to_string(), "134.2MB")
}

fn oom<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    crate::cgroup2::hand_on(&t.cgroup_dir(), &["memory", "pids", "cpu"])?;
    let words = format!("run --name c --memory 16m --memory-swap 16m {IMAGE} sh -c");
    p.call(&words, &["dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?"])?.exits(137)?;
    // Whether Podman knows is chance with systemd, which may remove the cgroup before conmon has read what it counted
    // (conmon issue 426).
    if P::WHO.has_systemd() {
        return Ok(());
    }
    eventually("it is known to be short of memory", || Ok(p.inspect("c", ".State.OOMKilled")? == "true"))
}
