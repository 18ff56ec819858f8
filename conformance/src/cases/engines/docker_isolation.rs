//! Docker Engine: who a container's program is and what it may do.

use std::fs;

use serde_json::json;

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE};
use crate::expect::{Verdict, check, contains, lacks, same, some};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/docker/user", "-u by name and by number, --group-add, HOME", user),
        case("engines/docker/capabilities", "--cap-add and --cap-drop: the exact sets", capabilities),
        case("engines/docker/capabilities-user", "another user has none of them", capabilities_user),
        case(
            "engines/docker/privileged",
            "--privileged: all capabilities, devices, writable /sys, no filter",
            privileged,
        ),
        case("engines/docker/device", "--device with r, w and rwm: what is not given is denied", device),
        case("engines/docker/device-own", "a device that the container makes itself is denied", device_own),
        case("engines/docker/device-default", "the default devices are there and work", device_default),
        case("engines/docker/ulimit", "--ulimit", ulimit),
        case("engines/docker/sysctl", "--sysctl of the network and of IPC", sysctl),
        case(
            "engines/docker/seccomp-default",
            "the default profile denies unshare of a user namespace, unconfined does not",
            seccomp_default,
        ),
        case(
            "engines/docker/seccomp-profile",
            "a custom profile: the call it names fails with its error",
            seccomp_profile,
        ),
        case("engines/docker/no-new-privileges", "no-new-privileges", no_new_privileges),
        case(
            "engines/docker/masked",
            "masked and read-only paths of /proc and /sys, and systempaths=unconfined",
            masked,
        ),
        case("engines/docker/namespaces-own", "a container has namespaces of its own", namespaces_own),
        case("engines/docker/namespaces-host", "--pid, --ipc, --uts and --network host", namespaces_host),
        case(
            "engines/docker/namespaces-container",
            "--pid, --ipc and --network of another container",
            namespaces_container,
        ),
        case("engines/docker/cgroupns", "--cgroupns private and host", cgroupns),
        case("engines/docker/oom-score", "--oom-score-adj", oom_score),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

fn user(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let id = "echo $(id -u):$(id -g) $(id -G) $HOME";
    same("none", docker.sh(&[], id)?.as_str(), "0:0 0 /root")?;
    same("by name", docker.sh(&["-u", "user"], id)?.as_str(), "1000:1000 1000 /tmp")?;
    same(
        "by number",
        docker.sh(&["-u", "77:88", "--group-add", "99", "--group-add", "user"], id)?.as_str(),
        "77:88 88 99 1000 /",
    )?;
    let output = docker.call(&["run", "--rm", "-u", "nobody-here", IMAGE, "true"])?;
    check([125, 126].contains(&output.status), || format!("an unknown user: status {}", output.status))?;
    contains("stderr", &output.stderr()?, "nobody-here")
}

/// Prints the five sets, from CapInh to CapAmb.
const SETS: &str = "sed -n 's/^Cap[A-Za-z]*:.//p' /proc/self/status | tr '\\n' ' '";

fn capabilities(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    for (flags, set) in [
        (&[][..], "00000000a80425fb"),
        (&["--cap-drop", "ALL"], "0000000000000000"),
        (&["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"], "0000000000000400"),
        (&["--cap-add", "SYS_ADMIN", "--cap-drop", "CAP_MKNOD"], "00000000a02425fb"),
    ] {
        let none = "0000000000000000";
        same(&format!("{flags:?}"), docker.sh(flags, SETS)?, format!("{none} {set} {set} {set} {none}"))?;
    }
    Ok(())
}

fn capabilities_user(t: &Test) -> Verdict {
    let none = "0000000000000000";
    let sets = Docker::of(t).sh(&["-u", "1000", "--cap-add", "NET_ADMIN"], SETS)?;
    same("sets", sets, format!("{none} {none} {none} 00000000a80435fb {none}"))
}

fn privileged(t: &Test) -> Verdict {
    let own = fs::read_to_string("/proc/self/status")?;
    let all = some("CapEff", own.lines().find_map(|line| line.strip_prefix("CapEff:\t")))?;
    let script = "sed -n 's/^CapEff:.//p; s/^Seccomp:.//p' /proc/self/status; test -c /dev/kmsg && echo kmsg; \
                  : >/dev/kmsg && echo open; mount -t tmpfs x /mnt && echo mounted; test -w /sys/kernel/mm && echo writable";
    let expected = format!("{all}\n0\nkmsg\nopen\nmounted\nwritable");
    same("privileged", Docker::of(t).sh(&["--privileged"], &format!("mkdir -p /mnt; {script}"))?, expected)
}

fn device(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    // Opening it for reading needs CAP_SYSLOG besides, and for writing nothing.
    let script = "for how in '<' '>' '<>'; do eval \"true $how /dev/mine\" 2>/dev/null && echo \"$how\"; done; true";
    for (access, works) in [("r", "<"), ("w", ">"), ("rw", "<\n>\n<>"), ("rwm", "<\n>\n<>")] {
        let flags = ["--cap-add", "SYSLOG", "--device", &format!("/dev/kmsg:/dev/mine:{access}")];
        same(access, docker.sh(&flags, script)?.as_str(), works)?;
    }
    Ok(())
}

fn device_own(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "mknod /dev/own c 1 11 && echo made; : >/dev/own";
    let output = docker.call(&["run", "--rm", IMAGE, "sh", "-c", script])?;
    same("stdout", output.stdout()?.as_str(), "made\n")?;
    contains("stderr", &output.stderr()?, "Operation not permitted")?;
    let with_rule = docker.sh(&["--device-cgroup-rule", "c 1:11 w"], &format!("{script} && echo opened"))?;
    same("with --device-cgroup-rule", with_rule.as_str(), "made\nopened")
}

fn device_default(t: &Test) -> Verdict {
    let script = "echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; test -c /dev/tty && echo tty; \
                  : >/dev/full && echo full; readlink /dev/ptmx; readlink /dev/stdin; test -d /dev/mqueue && df /dev/shm | grep -c shm";
    let expected = "3\n3\ntty\nfull\npts/ptmx\n/proc/self/fd/0\n1";
    same("devices", Docker::of(t).sh(&[], script)?.as_str(), expected)
}

fn ulimit(t: &Test) -> Verdict {
    let flags = ["--ulimit", "nofile=77:88", "--ulimit", "core=0"];
    let limits = Docker::of(t).sh(&flags, "ulimit -n; ulimit -Hn; ulimit -c")?;
    same("limits", limits.as_str(), "77\n88\n0")
}

fn sysctl(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let flags = ["--sysctl", "net.ipv4.ip_default_ttl=77", "--sysctl", "kernel.msgmax=4321"];
    let script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax";
    same("sysctls", docker.sh(&flags, script)?.as_str(), "77\n4321")?;
    let others = docker.sh(&[], script)?;
    check(others != "77\n4321", || "another container has them too".to_owned())
}

fn seccomp_default(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "grep Seccomp: /proc/self/status | cut -f 2; unshare --user true 2>&1 && echo unshared";
    let default = docker.call(&["run", "--rm", IMAGE, "sh", "-c", script])?.exits(1)?.stdout()?;
    contains("mode", &default, "2\n")?;
    contains("unshare", &default, "Operation not permitted")?;
    let free = docker.sh(&["--security-opt", "seccomp=unconfined"], script)?;
    same("unconfined", free.as_str(), "0\nunshared")
}

fn seccomp_profile(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let profile = t.path("profile.json");
    let denied = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122});
    fs::write(&profile, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]}).to_string())?;
    let option = format!("seccomp={}", profile.display());
    let output = docker.call(&["run", "--rm", "--security-opt", &option, IMAGE, "mkdir", "/x"])?.exits(1)?;
    contains("stderr", &output.stderr()?, "Disk quota exceeded")?;
    // exec has it too.
    let c = docker.idle("c", &["--security-opt", &option])?;
    let output = docker.call(&["exec", &c.name, "mkdir", "/x"])?.exits(1)?;
    contains("stderr of exec", &output.stderr()?, "Disk quota exceeded")
}

fn no_new_privileges(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "grep NoNewPrivs: /proc/self/status | cut -f 2";
    same("with it", docker.sh(&["--security-opt", "no-new-privileges"], script)?.as_str(), "1")?;
    same("without it", docker.sh(&[], script)?.as_str(), "0")
}

fn masked(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "wc -c </proc/keys; ls /sys/firmware /proc/scsi 2>/dev/null | grep -v : | wc -w; \
                  (echo 0 >/proc/sys/vm/swappiness) 2>&1 | grep -o 'Read-only.*'; \
                  mkdir /sys/fs/cgroup/x 2>&1 | grep -o 'Read-only.*'";
    same("masked", docker.sh(&[], script)?.as_str(), "0\n0\nRead-only file system\nRead-only file system")?;
    let open = docker.sh(
        &["--security-opt", "systempaths=unconfined"],
        "grep -c keyring /proc/keys; grep -c ' /proc/' /proc/self/mountinfo; true",
    )?;
    check(open.ends_with("\n0") && !open.starts_with('0'), || format!("systempaths=unconfined: {open:?}"))
}

const KINDS: &[&str] = &["pid", "ipc", "uts", "net", "mnt", "cgroup"];

fn links(of: &str) -> String {
    KINDS.iter().map(|kind| format!("readlink {of}/ns/{kind}; ")).collect()
}

/// The namespaces of this kind in what [`links`] prints.
fn of<'a>(links: &'a str, kind: &str) -> Verdict<&'a str> {
    some(kind, links.lines().find(|line| line.starts_with(&format!("{kind}:"))))
}

fn namespaces_own(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let (one, other) = (docker.idle("one", &[])?, docker.idle("other", &[])?);
    let (a, b) = (one.exec_sh(&[], &links("/proc/self"))?, other.exec_sh(&[], &links("/proc/self"))?);
    // exec is in all of those of the first process.
    same("exec", a.as_str(), one.exec_sh(&[], &links("/proc/1"))?)?;
    for kind in KINDS {
        check(of(&a, kind)? != of(&b, kind)?, || format!("both have {}", of(&a, kind).unwrap_or_default()))?;
    }
    let processes = one.exec_sh(&[], "echo /proc/[0-9]*")?;
    check(processes.starts_with("/proc/1 ") && processes.split(' ').count() <= 3, || format!("it sees {processes}"))
}

fn namespaces_host(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let flags = ["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host"];
    let seen = docker
        .sh(&flags, &format!("{}hostname; cat /proc/[0-9]*/comm | grep -x dockerd | head -n 1", links("/proc/self")))?;
    // A case has a pid and a mount namespace of its own.
    for kind in ["ipc", "uts", "net"] {
        same(kind, of(&seen, kind)?, fs::read_link(format!("/proc/self/ns/{kind}"))?.to_string_lossy())?;
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    check(seen.ends_with(&format!("\n{}\ndockerd", host.trim())), || format!("--pid host and --uts host: {seen}"))
}

fn namespaces_container(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let first = docker.idle("first", &["--ipc", "shareable"])?;
    first.exec(&["touch", "/dev/shm/common"])?;
    let target = format!("container:{}", first.name);
    let flags = ["--pid", &target, "--ipc", &target, "--network", &target];
    let second = docker.sh(&flags, &format!("{}ls /dev/shm; cat /proc/1/comm", links("/proc/self")))?;
    let of_first = first.exec_sh(&[], &links("/proc/self"))?;
    for kind in ["pid", "ipc", "net"] {
        same(kind, of(&second, kind)?, of(&of_first, kind)?)?;
    }
    check(second.ends_with("\ncommon\nsleep"), || format!("/dev/shm and process 1: {second}"))
}

fn cgroupns(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    for (mode, whole) in [("private", false), ("host", true)] {
        let c = docker.idle(mode, &["--cgroupns", mode])?;
        let id = c.inspect("{{.Id}}")?;
        for cgroup in [c.exec(&["cat", "/proc/self/cgroup"])?, c.exec(&["cat", "/proc/1/cgroup"])?] {
            let line = some("the line of cgroup2", cgroup.lines().find(|line| line.starts_with("0::")))?.to_owned();
            match whole {
                true => contains(mode, &line, &id)?,
                false => lacks(mode, &line, &id)?,
            }
        }
    }
    Ok(())
}

fn oom_score(t: &Test) -> Verdict {
    let score = Docker::of(t).sh(&["--oom-score-adj", "567"], "cat /proc/self/oom_score_adj")?;
    same("oom_score_adj", score.as_str(), "567")
}
