//! The namespaces and the cgroup that the process runs in.

use std::fs;

use rustix::process::Pid;
use serde_json::json;

use super::own::{KILL, capabilities, groups};
use super::{detached, end, exec, output, refuses, run, running, sh};
use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same, some};
use crate::features::controller;
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/namespaces", "every namespace is that of the container's process", namespaces),
        case("exec/namespaces-user", "so is a user namespace, with its capabilities", namespaces_user),
        case("exec/namespaces-few", "a container that shares most namespaces of the host", namespaces_few),
        case("exec/namespaces-joined", "a container whose namespaces are another's, by path", namespaces_joined),
        case("exec/namespaces-user-joined", "a user namespace and all others by path", namespaces_user_joined),
        case("exec/namespaces-time", "a time namespace with its offsets", namespaces_time),
        case("exec/shared-pids", "a container in the host's pid namespace", shared_pids),
        case("exec/cgroup", "the cgroup is the container's", cgroup),
        case("exec/cgroup-sub", "--cgroup is a cgroup below it", cgroup_sub),
        case("exec/cgroup-missing", "--cgroup of none is refused", cgroup_missing),
        case("exec/cgroup-outside", "--cgroup does not lead out of the container's", cgroup_outside)
            .known_failure(Kind::Crun, "1.28 takes .. and leaves the container's cgroup"),
        case("exec/cgroup-controller", "--cgroup with a controller is about cgroup v1: refused", cgroup_controller),
        case("exec/cgroup-of-moved-init", "a container's process that has moved to a sub-cgroup", cgroup_moved),
        case(
            "exec/cgroup-with-controllers",
            "a cgroup that hands controllers on takes no process: exec's goes where the container's is",
            cgroup_with_controllers,
        )
        .needs_controllers(&["memory"]),
    ]
}

const NAMESPACES: &[&str] =
    &["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"];

fn same_namespaces(b: &Bundle) -> Verdict {
    let pid = b.pid()?.as_raw_nonzero();
    let other = detached(b, &[], &["sleep", "1000"])?;
    for name in NAMESPACES {
        let of = |pid| fs::read_link(format!("/proc/{pid}/ns/{name}"));
        same(name, of(other.as_raw_nonzero())?, of(pid)?)?;
    }
    end(other)
}

fn namespaces(t: &Test) -> Verdict {
    same_namespaces(&running(t)?)?;
    let b = running(t)?;
    let script = "cd /proc/self/ns; for n in *; do test $(readlink $n) = $(readlink /proc/1/ns/$n) || echo $n; done";
    same("namespaces that differ", sh(&b, &[], script)?, "")
}

fn namespaces_user(t: &Test) -> Verdict {
    let b = t.bundle()?.user_namespace(100_000, 65_536);
    let b = run(b.capabilities(&["CAP_SYS_ADMIN", "CAP_KILL"]).set("/process/noNewPrivileges", json!(false)))?;
    same_namespaces(&b)?;
    same("ids", sh(&b, &[], "id -u; id -g; cat /proc/self/uid_map | tr -s ' '")?, "0\n0\n 0 100000 65536\n")?;
    same("ids", groups(&b, &["--user", "1000:1000"])?.0, 1000)?;
    let all = KILL | 1 << 21;
    same("inh prm eff bnd amb", capabilities(&b, &[])?, [all; 5])?;
    let refused = exec(&b, &["--user", "70000"], &["true"])?;
    refuses(&b, refused, "/user", &[])?;
    b.is("running")
}

fn namespaces_few(t: &Test) -> Verdict {
    let mut b = t.bundle()?;
    for kind in ["ipc", "uts", "network", "cgroup"] {
        b = b.no_namespace(kind);
    }
    b = b.remove("/hostname").no_mount("/sys");
    let b = run(b)?;
    same_namespaces(&b)?;
    same("output", output(&b, &[], &["echo", "in"])?, "in\n")
}

/// A container in namespaces of another one, which runs.
fn joined<'t>(t: &'t Test, other: &Bundle, kinds: &[(&str, &str)]) -> Verdict<Bundle<'t>> {
    let pid = other.pid()?.as_raw_nonzero();
    let mut b = t.bundle()?.remove("/hostname");
    for (kind, file) in kinds {
        b = b.no_namespace(kind);
        b = b.push("/linux/namespaces", json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
    }
    Ok(b)
}

fn namespaces_joined(t: &Test) -> Verdict {
    let first = running(t)?;
    let b = run(joined(t, &first, &[("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")])?)?;
    same_namespaces(&b)?;
    same("output", output(&b, &[], &["hostname"])?.trim(), first.config["hostname"].as_str().unwrap_or_default())?;
    // Before the first process of the pid namespace, which waits for it.
    b.kill_and_delete()
}

fn namespaces_user_joined(t: &Test) -> Verdict {
    let first = run(t.bundle()?.user_namespace(100_000, 65_536))?;
    let kinds = [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    let b = run(joined(t, &first, &kinds)?)?;
    same_namespaces(&b)?;
    same("ids", sh(&b, &[], "id -u; cat /proc/self/uid_map | tr -s ' '")?, "0\n 0 100000 65536\n")
}

fn namespaces_time(t: &Test) -> Verdict {
    let b = t.bundle()?.push("/linux/namespaces", json!({"type": "time"}));
    let b = run(b.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000_000, "nanosecs": 0}})))?;
    same_namespaces(&b)?;
    let uptime = output(&b, &[], &["cut", "-d.", "-f1", "/proc/uptime"])?;
    check(uptime.trim().parse::<u64>()? > 1_000_000_000, || format!("uptime: {uptime}"))
}

fn shared_pids(t: &Test) -> Verdict {
    let b = run(t.bundle()?.no_namespace("pid"))?;
    same_namespaces(&b)?;
    let pid_file = b.dir.join("exec.pid");
    let out = sh(&b, &["--pid-file", &pid_file.to_string_lossy()], "echo $$")?;
    same("pid", out.trim(), fs::read_to_string(pid_file)?)
}

/// The line of /proc/PID/cgroup for version 2, of a process as the case sees it.
fn cgroup_of(pid: Pid) -> Verdict<String> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
    Ok(some("the line of cgroup2", text.lines().find_map(|line| line.strip_prefix("0::")))?.to_owned())
}

/// The cgroup of a process that exec starts.
fn exec_cgroup(b: &Bundle, flags: &[&str]) -> Verdict<String> {
    let pid = detached(b, flags, &["sleep", "1000"])?;
    let cgroup = cgroup_of(pid)?;
    end(pid)?;
    Ok(cgroup)
}

fn cgroup(t: &Test) -> Verdict {
    let b = running(t)?;
    same("cgroup", exec_cgroup(&b, &[])?, cgroup_of(b.pid()?)?)?;
    same("cgroup", exec_cgroup(&b, &["--cgroup", "/"])?, cgroup_of(b.pid()?)?)
}

fn cgroup_sub(t: &Test) -> Verdict {
    let b = running(t)?;
    fs::create_dir_all(b.cgroup_dir().join("sub/deep"))?;
    let own = cgroup_of(b.pid()?)?;
    for (path, expected) in
        [("/sub", "/sub"), ("sub", "/sub"), ("sub/deep", "/sub/deep"), ("/sub/./deep/", "/sub/deep")]
    {
        same(path, exec_cgroup(&b, &["--cgroup", path])?, format!("{own}{expected}"))?;
    }
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn cgroup_missing(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--cgroup", "/none"], &["true"])?;
    refuses(&b, refused, "none", &["none"])?;
    check(!b.cgroup_dir().join("none").exists(), || "the cgroup was made".to_owned())
}

fn cgroup_outside(t: &Test) -> Verdict {
    let b = running(t)?;
    for path in ["../solo", "/../solo", "..", "sub/../../solo"] {
        let refused = exec(&b, &["--cgroup", path], &["true"])?;
        check(refused.status != 0, || format!("--cgroup {path} was taken"))?;
        refuses(&b, refused, "cgroup", &["is not a sub cgroup path", "cgroup"])?;
    }
    Ok(())
}

fn cgroup_controller(t: &Test) -> Verdict {
    let b = running(t)?;
    fs::create_dir(b.cgroup_dir().join("sub"))?;
    for path in ["memory:sub", ":sub"] {
        let refused = exec(&b, &["--cgroup", path], &["true"])?;
        refuses(&b, refused, "--cgroup", &[])?;
    }
    Ok(())
}

fn cgroup_moved(t: &Test) -> Verdict {
    let b = running(t)?;
    let own = cgroup_of(b.pid()?)?;
    let sub = b.cgroup_dir().join("sub");
    fs::create_dir(&sub)?;
    fs::write(sub.join("cgroup.procs"), b.pid()?.as_raw_nonzero().to_string())?;
    // The container's own, as long as the kernel lets a process in.
    same("cgroup", exec_cgroup(&b, &[])?, own.as_str())?;
    same("cgroup", exec_cgroup(&b, &["--cgroup", "sub"])?, format!("{own}/sub"))
}

fn cgroup_with_controllers(t: &Test) -> Verdict {
    let b = t.bundle()?;
    controller(&b, "memory")?;
    let b = run(b)?;
    let own = cgroup_of(b.pid()?)?;
    let sub = b.cgroup_dir().join("sub");
    fs::create_dir(&sub)?;
    fs::write(sub.join("cgroup.procs"), b.pid()?.as_raw_nonzero().to_string())?;
    fs::write(b.cgroup_dir().join("cgroup.subtree_control"), "+memory")?;
    same("cgroup", exec_cgroup(&b, &[])?, format!("{own}/sub"))?;
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}
