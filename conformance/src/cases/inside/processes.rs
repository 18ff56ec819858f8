//! What the container's processes do: fork without end, ignore signals, leave orphans, share pid namespaces, make cgroups, mounts and namespaces.

use std::fs;
use std::time::Instant;

use serde_json::json;

use super::{deleted, deleted_reaping, verb};
use crate::bundle::{Bundle, PATIENCE, Test, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same, some};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/inside-fork-bomb",
            "processes that fork without end: kill and delete end them all",
            fork_bomb,
        ),
        case("reliability/inside-fork-bomb-shared", "the same in the host's pid namespace", fork_bomb_shared),
        case("reliability/inside-ignores-signals", "a process that ignores all signals that can be ignored", ignores),
        case("reliability/inside-orphans", "orphans, and zombies that nobody reaps", orphans),
        case(
            "reliability/inside-outlived",
            "without a pid namespace, what outlives the first process ends with delete",
            outlived,
        ),
        case(
            "reliability/inside-joined-pids",
            "a container in another's pid namespace ends without it, and with it",
            joined_pids,
        ),
        case(
            "reliability/inside-builds",
            "cgroups, mounts, and namespaces that the container has made are gone after it is killed",
            builds,
        ),
        case(
            "reliability/inside-paused",
            "a paused container with stopped processes and a frozen cgroup of its own is killed and deleted",
            paused,
        )
        .known_failure(Kind::Runc, "1.3.6 leaves the cgroup of one without a pid namespace frozen"),
    ]
}

/// It is bounded by a limit for a user that nobody else is.
fn bomb(t: &Test, shared: bool) -> Verdict<Bundle<'_>> {
    let user = if shared { 51_042 } else { 51_043 };
    Ok(t.bundle()?
        .set("/process/user", json!({"uid": user, "gid": user}))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NPROC", "soft": 60, "hard": 60}]))
        // A shell ends when it cannot fork; awk goes on.
        .sh("echo lit; exec 2>/dev/null; forks='BEGIN { while (1) system(\"sleep 0.3 &\") }'
             awk \"$forks\" & awk \"$forks\" & awk \"$forks\" & exec sleep 1000"))
}

fn count(b: &Bundle<'_>) -> Verdict<usize> {
    Ok(fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count())
}

fn lit(b: &Bundle<'_>) -> Verdict {
    let mut lines = b.started()?;
    same("line", lines.next()?, "lit")?;
    eventually("it forks", || {
        // Zombies count, too, and orphans become this case's children in its pid namespace.
        crate::left::reap();
        Ok(count(b)? > 20)
    })
}

/// All are gone in time.
fn bombs_end(b: &Bundle<'_>) -> Verdict {
    lit(b)?;
    let begun = Instant::now();
    deleted(b)?;
    lit(b)?;
    verb(b, "kill", &["--all"], &["KILL"])?.exits(0)?;
    b.ended()?;
    verb(b, "delete", &[], &[])?.exits(0)?;
    b.is_gone()?;
    lit(b)?;
    verb(b, "kill", &[], &["KILL"])?.exits(0)?;
    b.ended()?;
    verb(b, "delete", &[], &[])?.exits(0)?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    check(begun.elapsed() < PATIENCE * 2, || format!("it took {:?}", begun.elapsed()))
}

fn fork_bomb(t: &Test) -> Verdict {
    bombs_end(&bomb(t, false)?)
}

fn fork_bomb_shared(t: &Test) -> Verdict {
    bombs_end(&bomb(t, true)?.no_namespace("pid"))
}

fn ignores(t: &Test) -> Verdict {
    let ignored: Vec<String> =
        (1..=64).filter(|signal| ![9, 19, 32, 33].contains(signal)).map(|signal: i32| signal.to_string()).collect();
    let script = format!("trap '' {}; echo ready; while :; do sleep 1000; done", ignored.join(" "));
    for own in [true, false] {
        let b = t.bundle()?.sh(&script);
        let b = if own { b } else { b.no_namespace("pid") };
        let mut lines = b.started()?;
        same("line", lines.next()?, "ready")?;
        for signal in ["TERM", "INT", "QUIT", "HUP", "SEGV", "TSTP"] {
            verb(&b, "kill", &[], &[signal])?.exits(0)?;
            b.is("running")?;
        }
        verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
        same("status", b.ended()?, 137)?;
        verb(&b, "delete", &[], &[])?.exits(0)?;

        let mut lines = b.started()?;
        same("line", lines.next()?, "ready")?;
        deleted(&b)?;
    }
    Ok(())
}

fn orphans(t: &Test) -> Verdict {
    // The first process becomes one that reaps nobody; what is left to it are zombies and running orphans.
    let script = "for n in 1 2 3 4 5 6 7 8 9 10; do (true &); (sleep 1000 &); done; true & true & exec sleep 1017";
    let b = t.bundle()?.sh(script);
    for force in [true, false] {
        b.create()?;
        b.start()?;
        b.executes_in_time(&["sleep", "1017"])?;
        eventually("zombies", || {
            let pids: Vec<i32> =
                serde_json::from_str(&verb(&b, "ps", &["--format", "json"], &[])?.exits(0)?.stdout()?)?;
            Ok(pids.len() >= 11)
        })?;
        if force {
            deleted(&b)?;
        } else {
            verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
            b.ended()?;
            verb(&b, "delete", &[], &[])?.exits(0)?;
        }
        b.is_gone()?;
    }
    Ok(())
}

fn outlived(t: &Test) -> Verdict {
    let b = t.bundle()?.no_namespace("pid").sh("trap '' HUP TERM; (sleep 1000 &); (sleep 1000 &); exit 3");
    b.create()?;
    b.start()?;
    same("status", b.ended()?, 3)?;
    b.is("stopped")?;
    verb(&b, "delete", &[], &[])?.exits(0)?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

/// A container in the pid namespace of another.
fn within_pids_of<'t>(t: &'t Test, other: &Bundle<'_>) -> Verdict<Bundle<'t>> {
    let pid = other.pid()?.as_raw_nonzero();
    let path = format!("/proc/{pid}/ns/pid");
    let b = t.bundle()?.no_namespace("pid").sh("sleep 1000 & exec sleep 1000");
    Ok(b.push("/linux/namespaces", json!({"type": "pid", "path": path})))
}

fn joined_pids(t: &Test) -> Verdict {
    let first = t.bundle()?.running_idle()?;
    let second = within_pids_of(t, &first)?;
    let live = || -> Verdict {
        second.create()?;
        second.start()?;
        eventually("two processes", || {
            Ok(fs::read_to_string(second.cgroup_dir().join("cgroup.procs"))?.lines().count() == 2)
        })
    };
    // All of it ends, and nothing of the other.
    live()?;
    verb(&second, "kill", &[], &["KILL"])?.exits(0)?;
    second.ended()?;
    verb(&second, "delete", &[], &[])?.exits(0)?;
    second.is_gone()?;
    live()?;
    deleted(&second)?;
    first.is("running")?;
    // With the other it ends, and stays to be deleted.
    live()?;
    deleted_reaping(&first)?;
    second.ended()?;
    second.is("stopped")?;
    verb(&second, "delete", &[], &[])?.exits(0)?;
    check(!second.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn builds(t: &Test) -> Verdict {
    let script = "
        mkdir -p /tmp/a && mount -t tmpfs x /tmp/a || exit 4
        n=0; while [ $n -lt 40 ]; do mkdir -p /tmp/a/$n && mount -t tmpfs x /tmp/a/$n || exit 5; n=$((n+1)); done
        cd /sys/fs/cgroup || exit 6
        n=0; while [ $n -lt 20 ]; do mkdir n && cd n || exit 7; sh -c 'echo 0 >cgroup.procs; exec sleep 1000' & n=$((n+1)); done
        cd /sys/fs/cgroup; n=0; while [ $n -lt 40 ]; do mkdir w$n || exit 8; n=$((n+1)); done
        echo threaded >w0/cgroup.type
        unshare -m -p -f -n -i -u sh -c 'mount -t proc p /proc; mount -t tmpfs x /tmp; exec sleep 1000' &
        sh -c 'echo 0 >w1/cgroup.procs; exec sleep 1000' & sleep 0.1; echo 1 >w1/cgroup.freeze
        echo built; wait; while :; do sleep 1000; done";
    for force in [true, false] {
        let b = t.bundle()?.writable().capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]).with_dir("tmp")?.sh(script);
        let at = some("the mount of cgroups", b.mount_index("/sys/fs/cgroup"))?;
        let b = b.set(&format!("/mounts/{at}/options"), json!(["nosuid", "noexec", "nodev"]));
        let mut lines = b.started()?;
        same("line", lines.next()?, "built")?;
        if force {
            deleted(&b)?;
        } else {
            verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
            b.ended()?;
            verb(&b, "delete", &[], &[])?.exits(0)?;
            b.is_gone()?;
            check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
        }
    }
    Ok(())
}

fn paused(t: &Test) -> Verdict {
    let script = "
        mkdir /sys/fs/cgroup/own || exit 4
        sh -c 'echo 0 >/sys/fs/cgroup/own/cgroup.procs; exec sleep 1000' & sleep 0.1; echo 1 >/sys/fs/cgroup/own/cgroup.freeze
        sh -c 'kill -STOP $$; sleep 1' &
        echo ready; while :; do sleep 1000; done";
    for how in 0..3 {
        let b = t.bundle()?.sh(script);
        let at = some("the mount of cgroups", b.mount_index("/sys/fs/cgroup"))?;
        let b = b.set(&format!("/mounts/{at}/options"), json!(["nosuid", "noexec", "nodev"]));
        let b = if how == 2 { b.no_namespace("pid") } else { b };
        let mut lines = b.started()?;
        same("line", lines.next()?, "ready")?;
        verb(&b, "pause", &[], &[])?.exits(0)?;
        if how == 0 {
            deleted(&b)?;
            continue;
        }
        verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
        same("status", b.ended()?, 137)?;
        verb(&b, "delete", &[], &[])?.exits(0)?;
        b.is_gone()?;
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    }
    Ok(())
}

impl Bundle<'_> {
    /// The container's process has these arguments, or comes to have them.
    fn executes_in_time(&self, args: &[&str]) -> Verdict {
        let wanted: String = args.iter().flat_map(|arg| [arg, "\0"]).collect();
        let path = format!("/proc/{}/cmdline", self.pid()?.as_raw_nonzero());
        eventually("it executes", || Ok(fs::read_to_string(&path)? == wanted))
    }
}
