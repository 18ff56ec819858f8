//! The container's first process killed or stopped before its program runs.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{LATE, begin, begin_making, command_line, deleted, in_time, said, state_of, verb};
use crate::bundle::{Bundle, PATIENCE, Test, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, fail, same, some};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/inside-killed-in-create",
            "init killed at any moment of create and run: told, and nothing left",
            killed_in_create,
        )
        .skip(Kind::Runc, "1.3.6 now and then waits without end")
        .skip(Kind::Crun, "1.28 leaves cgroups"),
        case(
            "reliability/inside-stopped-in-create",
            "init stopped at any moment of create: delete --force ends both",
            stopped_in_create,
        )
        .skip(Kind::Runc, LATE)
        .skip(Kind::Crun, LATE),
        case(
            "reliability/inside-killed-created",
            "init killed between create and start: stopped, not started, deleted",
            killed_created,
        ),
        case(
            "reliability/inside-stopped-start",
            "start of a container whose init is stopped fails in time, and works when it goes on",
            stopped_start,
        )
        .skip(Kind::Runc, "waits without end")
        .known_failure(
            Kind::Crun,
            "its start is over once the first process has been told, and it never runs if that is killed",
        ),
        case(
            "reliability/inside-stopped-kill",
            "a created container whose init is stopped is killed and deleted",
            stopped_kill,
        ),
        case(
            "reliability/inside-stopped-exec",
            "exec in a created and a running container whose first process is stopped",
            stopped_exec,
        ),
    ]
}

/// The first process in a container's cgroup but for one, as soon as there is one; `None`: the command was faster.
fn caught(b: &Bundle<'_>, command: &mut Child, not_before: Duration, but: Option<Pid>) -> Verdict<Option<Pid>> {
    let procs = b.cgroup_dir().join("cgroup.procs");
    let begun = Instant::now();
    loop {
        // Before the look: what a command has made is there when it has ended.
        let has_ended = command.try_wait()?.is_some();
        let first = fs::read_to_string(&procs).unwrap_or_default();
        let mut pids = first.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw);
        if let Some(pid) = pids.find(|pid| Some(*pid) != but)
            && begun.elapsed() >= not_before
        {
            return Ok(Some(pid));
        }
        if has_ended && first.is_empty() {
            return Ok(None);
        }
        if begun.elapsed() > PATIENCE {
            return fail("no process appears in the container's cgroup");
        }
    }
}

/// Does something to init at many moments of making a container.
fn at_many_moments(t: &Test, making: &str, mut deed: impl FnMut(&Bundle<'_>, &mut Child, Pid) -> Verdict) -> Verdict {
    let b = t.bundle()?.idle();
    let mut done = 0;
    for round in 0..60 {
        let mut command = begin_making(&b, making)?;
        // From its birth on, in steps of a fifth of a millisecond.
        if let Some(pid) = caught(&b, &mut command, Duration::from_micros(round % 20 * 200), None)? {
            deed(&b, &mut command, pid)?;
            done += 1;
        }
        command.kill().unwrap_or_default();
        command.wait()?;
        deleted(&b)?;
    }
    check(done > 10, || format!("of 60 only {done} were early enough"))
}

fn killed_in_create(t: &Test) -> Verdict {
    for making in ["create", "run"] {
        at_many_moments(t, making, |b, command, pid| {
            // It may have been another process than the container's, and gone by now.
            kill_process(pid, Signal::KILL).unwrap_or_default();
            // What was killed before its first instruction is made once more.
            if let Some(again) = caught(b, command, Duration::ZERO, Some(pid))? {
                kill_process(again, Signal::KILL).unwrap_or_default();
            }
            let status = code(in_time(command, making)?);
            let said = said(t)?;
            fs::remove_file(t.path(super::ERRORS))?;
            match status {
                // Whatever was done was done after it.
                0 => b.is("stopped"),
                // The program's end by the signal.
                137 if making == "run" => Ok(()),
                _ => check(!said.trim().is_empty(), || format!("status {status}, and nothing is said")),
            }
        })?;
    }
    Ok(())
}

fn stopped_in_create(t: &Test) -> Verdict {
    at_many_moments(t, "create", |b, command, pid| {
        kill_process(pid, Signal::STOP).unwrap_or_default();
        verb(b, "state", &[], &[])?;
        deleted(b)?;
        in_time(command, "create").map(drop)
    })
}

fn killed_created(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    kill_process(b.pid()?, Signal::KILL)?;
    b.ended()?;
    b.is("stopped")?;
    let stopped = "cannot start a container that has stopped";
    verb(&b, "start", &[], &[])?.refuses(t, stopped, &[stopped, "stopped", "not running", "No such process"])?;
    check(verb(&b, "exec", &[], &["true"])?.status != 0, || "exec in a stopped container".to_owned())?;
    check(verb(&b, "kill", &[], &["KILL"])?.status != 0, || "kill of a stopped container".to_owned())?;
    verb(&b, "delete", &[], &[])?.exits(0)?;
    b.is_gone()
}

/// Stops a container's process, and waits until it is.
fn stop(b: &Bundle<'_>) -> Verdict {
    let pid = b.pid()?;
    kill_process(pid, Signal::STOP)?;
    eventually("it is stopped", || Ok(state_of(pid.as_raw_nonzero().get())? == Some('T')))
}

fn stopped_start(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    stop(&b)?;
    let refused = "does not answer";
    verb(&b, "start", &[], &[])?.refuses(t, refused, &[])?;
    b.is("created")?;
    kill_process(b.pid()?, Signal::CONT)?;
    b.start_idle()?;
    b.kill_and_delete()
}

fn stopped_kill(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    for force in [false, true] {
        b.create()?;
        stop(&b)?;
        b.is("created")?;
        if !force {
            verb(&b, "kill", &[], &["TERM"])?.exits(0)?;
            verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
            b.ended()?;
            b.is("stopped")?;
            verb(&b, "delete", &[], &[])?.exits(0)?;
        } else {
            deleted(&b)?;
        }
        // delete without --force kills it too.
        b.create()?;
        stop(&b)?;
        verb(&b, "delete", &[], &[])?.exits(0)?;
        b.is_gone()?;
    }
    // While a start waits for it.
    b.create()?;
    stop(&b)?;
    let mut start = begin(t, t.command(&["start", &b.id]))?;
    let pid = i32::try_from(start.id())?;
    eventually("start sleeps", || Ok(matches!(state_of(pid)?, Some('S' | 'Z') | None)))?;
    verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
    in_time(&mut start, "start")?;
    deleted(&b)
}

fn stopped_exec(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    stop(&b)?;
    verb(&b, "exec", &[], &["echo", "hi"])?.exits(0)?.prints("hi\n")?;
    kill_process(b.pid()?, Signal::CONT)?;
    b.start_idle()?;
    stop(&b)?;
    verb(&b, "exec", &[], &["echo", "hi"])?.exits(0)?.prints("hi\n")?;
    b.is("running")?;
    let pid = some("a pid", b.state()?["pid"].as_i64())?;
    contains("its command line", &command_line(i32::try_from(pid)?), "sleep")?;
    verb(&b, "pause", &[], &[])?.exits(0)?;
    verb(&b, "resume", &[], &[])?.exits(0)?;
    same("its state", state_of(i32::try_from(pid)?)?, Some('T'))?;
    deleted(&b)
}
