//! pause and resume, and what other commands do with a paused container.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bundle::{Bundle, Test, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, skip, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("freezer/pause-resume", "pause stops all processes, resume lets them go on", pause_resume),
        case("freezer/told", "state, list and ps tell of a paused container", told),
        case("freezer/signals-wait", "a signal to a paused container comes when it is resumed", signals_wait),
        case("freezer/created", "a created container can be paused, and started when it is resumed", created)
            .differs(Kind::Crun, "1.28 still calls it created, and a start of it waits"),
        case("freezer/start", "start of a paused container is refused", start)
            .skip(Kind::Crun, "1.28 waits for it to be resumed"),
        case("freezer/missing", "pause and resume of a container that does not exist", missing),
        case("freezer/stopped", "pause and resume of a stopped container", stopped),
        case("freezer/twice", "pause of a paused and resume of a running container are refused", twice)
            .differs(Kind::Crun, "1.28 takes both for done"),
        case("freezer/kill", "SIGKILL ends a paused container, and its cgroup is thawed", kill)
            .known_failure(Kind::Crun, "1.28 leaves the cgroup frozen"),
        case("freezer/kill-all", "so does kill --all, also without a pid namespace", kill_all)
            .known_failure(Kind::Runc, "1.3.6 leaves the cgroup frozen")
            .known_failure(Kind::Crun, "1.28 leaves the cgroup frozen"),
        case("freezer/delete", "delete of a paused container takes --force", delete),
        case("freezer/sub-cgroups", "cgroups that the container made are frozen with it", sub_cgroups),
        case(
            "freezer/waiting-exec",
            "exec --ignore-paused waits, hinders nobody, and ends with the container",
            waiting_exec,
        )
        .only(Kind::NoFrills, "runc 1.3.6 leaves its helper behind, and crun has no such flag"),
        case("freezer/exec-waits-for-resume", "what exec --ignore-paused runs goes on after resume", exec_resumed)
            .skip(Kind::Crun, "has no such flag"),
        case("freezer/cannot-freeze", "a process that cannot be stopped: an error, and nothing stays frozen", cannot)
            .known_failure(Kind::Runc, "1.3.6 leaves the cgroup to be frozen")
            .known_failure(Kind::Crun, "1.28 does not wait for it"),
        case("freezer/frozen-above", "what a cgroup above keeps frozen is told", above)
            .only(Kind::NoFrills, "peers look at the container's own cgroup"),
        case("freezer/races-exec", "pause, resume and exec at once: none is stuck", races_exec)
            .only(Kind::NoFrills, "an exec of the peers is frozen half-way"),
        case(
            "freezer/races-kill",
            "pause and SIGKILL at once: the container ends and its cgroup is not frozen",
            races_kill,
        )
        .only(Kind::NoFrills, "peers leave a frozen cgroup now and then"),
        case(
            "freezer/races-pause",
            "of two pauses at once one is refused; a pause and a resume are as one after the other",
            races_pause,
        )
        .skip(Kind::Runc, "keeps no lock: both may be done")
        .skip(Kind::Crun, "takes both for done"),
        case("freezer/races-delete", "pause and delete --force at once leave nothing", races_delete),
    ]
}

fn file(b: &Bundle, name: &str) -> Verdict<String> {
    Ok(fs::read_to_string(b.cgroup_dir().join(name))?)
}

fn frozen(b: &Bundle, expected: bool) -> Verdict {
    contains("cgroup.events", &file(b, "cgroup.events")?, if expected { "frozen 1" } else { "frozen 0" })
}

fn pause(b: &Bundle) -> Verdict {
    b.verb("pause", &[])?.exits(0)?.prints("")?;
    if b.test.kind == Kind::Crun {
        // It does not wait.
        return eventually("it is frozen", || Ok(file(b, "cgroup.events")?.contains("frozen 1")));
    }
    frozen(b, true)
}

fn resume(b: &Bundle) -> Verdict {
    b.verb("resume", &[])?.exits(0)?.prints("")?;
    frozen(b, false)
}

fn pause_resume(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let pid = b.pid()?;
    for _ in 0..10 {
        pause(&b)?;
        b.is("paused")?;
        same("cgroup.freeze", file(&b, "cgroup.freeze")?, "1\n")?;
        resume(&b)?;
        b.is("running")?;
        same("cgroup.freeze", file(&b, "cgroup.freeze")?, "0\n")?;
        same("pid", &b.state()?["pid"], pid.as_raw_nonzero().get())?;
    }
    Ok(())
}

fn told(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    pause(&b)?;
    let pid = b.pid()?.as_raw_nonzero().get();
    let state = b.state()?;
    same("pid", &state["pid"], pid)?;
    let list: Value = serde_json::from_str(&t.runtime(&["list", "--format", "json"])?.exits(0)?.stdout()?)?;
    let listed =
        some("the container in the list", list.as_array().and_then(|list| list.iter().find(|one| one["id"] == *b.id)))?;
    same("status", &listed["status"], "paused")?;
    contains("list", &t.runtime(&["list"])?.exits(0)?.stdout()?, "paused")?;
    let ps: Value = serde_json::from_str(&t.runtime(&["ps", "--format", "json", &b.id])?.exits(0)?.stdout()?)?;
    same("ps", ps, serde_json::json!([pid]))
}

fn signals_wait(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let mut lines = b.started()?;
    same("line", lines.next()?, "ready")?;
    pause(&b)?;
    b.verb("kill", &["TERM"])?.exits(0)?;
    b.is("paused")?;
    frozen(&b, true)?;
    resume(&b)?;
    same("line", lines.next()?, "term")?;
    b.ended()?;
    b.is("stopped")
}

fn created(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    pause(&b)?;
    b.is(if t.kind == Kind::Crun { "created" } else { "paused" })?;
    resume(&b)?;
    b.is("created")?;
    b.start_idle()
}

fn start(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    pause(&b)?;
    b.verb("start", &[])?.refuses(t, "cannot start a container in the paused state", &["paused state"])?;
    resume(&b)?;
    b.start_idle()?;
    pause(&b)?;
    b.verb("start", &[])?.refuses(t, "cannot start a container in the paused state", &["paused state"])?;
    Ok(())
}

fn missing(t: &Test) -> Verdict {
    for verb in ["pause", "resume"] {
        t.runtime(&[verb, "no-such"])?.refuses(t, "container does not exist", &["does not exist"])?;
    }
    Ok(())
}

fn stopped(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    b.verb("pause", &[])?.refuses(t, "container not running", &["not running"])?;
    b.verb("resume", &[])?.refuses(t, "container not paused", &["not paused", "not running"])?;
    same("cgroup.freeze", file(&b, "cgroup.freeze")?, "0\n")
}

fn twice(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let resumed = b.verb("resume", &[])?;
    if t.kind == Kind::Crun {
        resumed.exits(0)?;
    } else {
        resumed.refuses(t, "container not paused", &["container not paused"])?;
    }
    b.is("running")?;
    pause(&b)?;
    let paused = b.verb("pause", &[])?;
    if t.kind == Kind::Crun {
        paused.exits(0)?;
    } else {
        paused.refuses(t, "container already paused", &["container not running"])?;
    }
    b.is("paused")?;
    resume(&b)
}

fn kill(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    pause(&b)?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    same("status", b.ended()?, 137)?;
    b.is("stopped")?;
    same("cgroup.freeze", file(&b, "cgroup.freeze")?, "0\n")?;
    b.verb("delete", &[])?.exits(0)?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn kill_all(t: &Test) -> Verdict {
    let b = t.bundle()?.no_namespace("pid").sh("sleep 1000 & exec sleep 1000");
    b.create()?;
    b.start()?;
    eventually("two processes", || Ok(file(&b, "cgroup.procs")?.lines().count() == 2))?;
    pause(&b)?;
    t.runtime(&["kill", "--all", &b.id, "KILL"])?.exits(0)?;
    same("status", b.ended()?, 137)?;
    eventually("the cgroup is empty", || Ok(file(&b, "cgroup.events")?.contains("populated 0")))?;
    same("cgroup.freeze", file(&b, "cgroup.freeze")?, "0\n")?;
    b.verb("delete", &[])?.exits(0)?;
    Ok(())
}

fn delete(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    pause(&b)?;
    let refused = format!("cannot delete container {} that is not stopped: paused", b.id);
    b.verb("delete", &[])?.refuses(t, &refused, &[&refused, "is not in `created` or `stopped` state"])?;
    b.is("paused")?;
    frozen(&b, true)?;
    b.delete_force()?;
    b.ended()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    b.is_gone()
}

fn sub_cgroups(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let below = b.cgroup_dir().join("deep/deeper");
    fs::create_dir_all(&below)?;
    let script = format!("echo 0 >{}/cgroup.procs; exec sleep 1000", below.display());
    let mut placed = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn()?;
    eventually("it is there", || Ok(!fs::read_to_string(below.join("cgroup.procs"))?.is_empty()))?;
    pause(&b)?;
    contains("cgroup.events", &fs::read_to_string(below.join("cgroup.events"))?, "frozen 1")?;
    let ps: Vec<i32> = serde_json::from_str(&t.runtime(&["ps", "--format", "json", &b.id])?.exits(0)?.stdout()?)?;
    check(ps.contains(&(placed.id() as i32)), || format!("ps lacks process {}: {ps:?}", placed.id()))?;
    let table = b.verb("ps", &[])?.exits(0)?.stdout()?;
    contains("ps", &table, &placed.id().to_string())?;
    resume(&b)?;
    contains("cgroup.events", &fs::read_to_string(below.join("cgroup.events"))?, "frozen 0")?;
    placed.kill()?;
    placed.wait()?;
    b.kill_and_delete()
}

fn exec_command(b: &Bundle, args: &[&str]) -> Command {
    let mut words = vec!["exec", "--ignore-paused", b.id.as_str()];
    words.extend(args);
    b.test.command(&words)
}

fn waiting_exec(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    pause(&b)?;
    let errors = fs::File::create(b.dir.join("exec.err"))?;
    let mut exec = exec_command(&b, &["true"]).stdin(Stdio::null()).stderr(errors).spawn()?;
    eventually("the process is in the cgroup", || Ok(file(&b, "cgroup.procs")?.lines().count() > 1))?;
    b.verb("pause", &[])?.refuses(t, "container already paused", &[])?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    // The thaw lets it go on for a moment: as far as before its process is there, until that is killed, or to its end.
    let status = code(exec.wait()?);
    check([0, 137, 255].contains(&status), || format!("the status of exec is {status}"))?;
    lacks("exec", &fs::read_to_string(b.dir.join("exec.err"))?, "panicked")?;
    b.ended()?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn exec_resumed(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    pause(&b)?;
    let mut exec = exec_command(&b, &["true"]).stdin(Stdio::null()).spawn()?;
    eventually("the process is in the cgroup", || Ok(file(&b, "cgroup.procs")?.lines().count() > 1))?;
    resume(&b)?;
    same("status of exec", code(exec.wait()?), 0)?;
    b.is("running")
}

fn cannot(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    // It asks a FUSE file system of which nobody serves the requests: that is no sleep that a signal ends.
    let point = t.path("fuse");
    fs::create_dir(&point)?;
    let script = format!(
        "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 x {0} || exit 1
        sh -c 'echo 0 >{1}/cgroup.procs; exec stat {0}' 3>&- & echo $! >{0}.pid; exec sleep 1000",
        point.display(),
        b.cgroup_dir().display()
    );
    let mut holder = Command::new("unshare");
    holder.args(["-m", "sh", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut holder = holder.spawn()?;
    let pid = point.with_extension("pid");
    let sleeps = || -> Verdict<bool> {
        let pid = fs::read_to_string(&pid).unwrap_or_default();
        Ok(fs::read_to_string(format!("/proc/{}/stack", pid.trim())).unwrap_or_default().contains("fuse_"))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !sleeps()? {
        if holder.try_wait()?.is_some() || Instant::now() > deadline {
            return skip("no FUSE here");
        }
    }
    let paused = b.verb("pause", &[]);
    let (told, events) = (file(&b, "cgroup.freeze"), b.is("running"));
    holder.kill()?;
    holder.wait()?;
    paused?.refuses(t, "did not freeze within 10s, and was thawed again", &["freeze", "timeout"])?;
    same("cgroup.freeze", told?, "0\n")?;
    events?;
    // Now that it is gone:
    eventually("it has ended", || Ok(file(&b, "cgroup.procs")?.lines().count() == 1))?;
    pause(&b)?;
    resume(&b)
}

fn above(t: &Test) -> Verdict {
    let b = t.bundle()?;
    let own = format!("{}/above/{}", t.cgroup, b.id);
    let b = b.set("/linux/cgroupsPath", own.into()).running_idle()?;
    let above = some("the cgroup above", b.cgroup_dir().parent().map(Path::to_owned))?;
    fs::write(above.join("cgroup.freeze"), "1")?;
    eventually("it is frozen", || Ok(file(&b, "cgroup.events")?.contains("frozen 1")))?;
    b.is("paused")?;
    b.verb("pause", &[])?.refuses(t, "container already paused", &[])?;
    let refused =
        format!("the container stays paused: the cgroup {}, which is above its own, is frozen", above.display());
    b.verb("resume", &[])?.refuses(t, &refused, &[])?;
    // It ends all the same.
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    fs::write(above.join("cgroup.freeze"), "0")?;
    b.verb("delete", &[])?.exits(0)?;
    Ok(())
}

/// How long races go on.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

fn races_exec(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let deadline = Instant::now() + LONG_ENOUGH;
    let mut refused = 0;
    while Instant::now() < deadline {
        let quiet =
            |args: &[&str]| t.command(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut pause = quiet(&["pause", &b.id])?;
        let mut execs = [quiet(&["exec", &b.id, "true"])?, quiet(&["exec", &b.id, "true"])?];
        // It waits for those that enter the container, but not for their end.
        same("status of pause", code(pause.wait()?), 0)?;
        resume(&b)?;
        for exec in &mut execs {
            refused += i32::from(code(exec.wait()?) != 0);
        }
        same("processes", file(&b, "cgroup.procs")?.lines().count(), 1)?;
    }
    check(refused > 0, || "no exec came after the pause".to_owned())?;
    b.kill_and_delete()
}

fn races_kill(t: &Test) -> Verdict {
    let deadline = Instant::now() + LONG_ENOUGH;
    while Instant::now() < deadline {
        let b = t.bundle()?.running_idle()?;
        let mut pause = t.command(&["pause", &b.id]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        b.verb("kill", &["KILL"])?.exits(0)?;
        pause.wait()?;
        same("status", b.ended()?, 137)?;
        b.is("stopped")?;
        same("cgroup.freeze", file(&b, "cgroup.freeze")?, "0\n")?;
        b.verb("delete", &[])?.exits(0)?;
    }
    Ok(())
}

fn races_pause(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let quiet = |verb: &str| t.command(&[verb, &b.id]).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    let deadline = Instant::now() + LONG_ENOUGH;
    while Instant::now() < deadline {
        let mut both = [quiet("pause")?, quiet("pause")?];
        let mut done = 0;
        for pause in &mut both {
            done += i32::from(code(pause.wait()?) == 0);
        }
        same("pauses that were done", done, 1)?;
        b.is("paused")?;
        let (mut resumed, mut pause) = (quiet("resume")?, quiet("pause")?);
        same("status of resume", code(resumed.wait()?), 0)?;
        // After it, or refused before it.
        let paused = code(pause.wait()?) == 0;
        b.is(if paused { "paused" } else { "running" })?;
        frozen(&b, paused)?;
        if paused {
            resume(&b)?;
        }
    }
    b.kill_and_delete()
}

fn races_delete(t: &Test) -> Verdict {
    let deadline = Instant::now() + LONG_ENOUGH;
    while Instant::now() < deadline {
        let b = t.bundle()?.running_idle()?;
        let mut pause = t.command(&["pause", &b.id]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        b.delete_force()?;
        pause.wait()?;
        b.ended()?;
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
        b.is_gone()?;
    }
    Ok(())
}
