//! Hooks that hang, without a timeout: whatever is done to the container or to the command meanwhile, it ends in time.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{
    LATE, appears, begin, begin_making, command_line, deleted, deleted_reaping, disappears, in_time, said, verb,
};
use crate::bundle::{Bundle, PATIENCE, Test, code, ended, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, fail, same, some};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/inside-hook-deleted",
            "delete --force of a container whose hook hangs, at each moment: the hook and the command end",
            hook_deleted,
        )
        .known_failure(Kind::Runc, LATE)
        .known_failure(Kind::Crun, LATE),
        case(
            "reliability/inside-hook-poststop",
            "a poststop hook that hangs: a second delete --force ends it",
            hook_poststop,
        )
        .skip(Kind::Runc, "waits without end")
        .skip(Kind::Crun, "waits without end"),
        case(
            "reliability/inside-hook-poststop-forced",
            "delete --force does not wait for ever for a poststop hook that hangs",
            hook_poststop_forced,
        )
        .skip(Kind::Runc, "waits without end")
        .skip(Kind::Crun, "waits without end"),
        case(
            "reliability/inside-hook-killed",
            "delete --force after the command was killed in a hook that hangs: the hook is ended too",
            hook_survives,
        )
        .known_failure(Kind::Runc, LATE)
        .known_failure(Kind::Crun, LATE),
        case(
            "reliability/inside-hook-alone",
            "a hook in the runtime's namespaces ends with the command that is killed, noted or not",
            hook_alone,
        )
        .known_failure(Kind::Runc, "it goes on")
        .known_failure(Kind::Crun, "it goes on"),
        case(
            "reliability/inside-hook-init-killed",
            "init killed while a hook hangs: the command fails in time",
            init_killed,
        )
        .skip(Kind::Runc, "waits for the hook without end")
        .skip(Kind::Crun, "waits for the hook without end"),
        case("reliability/inside-hook-init-stopped", "init stopped while a hook hangs: it is deleted", init_stopped)
            .known_failure(Kind::Runc, LATE)
            .known_failure(Kind::Crun, LATE),
        case(
            "reliability/inside-kill-creating",
            "kill of a container that is being created fails, and changes nothing (runtime.md, \"Kill\")",
            kill_creating,
        )
        .known_failure(Kind::Runc, LATE)
        .known_failure(Kind::Crun, LATE),
        case(
            "reliability/inside-holder-stopped",
            "a command that is stopped while it works on a container: others say who has it",
            holder_stopped,
        )
        .only(Kind::NoFrills, "peers have no lock"),
    ]
}

/// The moments, and the command that runs their hooks.
const MOMENTS: [(&str, &str); 5] = [
    ("prestart", "create"),
    ("createRuntime", "create"),
    ("createContainer", "create"),
    ("startContainer", "start"),
    ("poststart", "start"),
];

/// What a hook that hangs executes.
const HANGS: &str = "sleep 1042";

/// A container whose hook hangs at a moment.
fn hanging<'t>(t: &'t Test, moment: &str) -> Verdict<Bundle<'t>> {
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat >/dev/null; exec {HANGS}")]});
    let b = t.bundle()?.idle().set("/hooks", json!({}));
    Ok(b.set(&format!("/hooks/{moment}"), json!([hook])))
}

/// The command that is at this moment, when the hook hangs.
fn until_it_hangs(b: &Bundle<'_>, by: &str) -> Verdict<std::process::Child> {
    let child = match by {
        "create" | "run" => begin_making(b, by)?,
        _ => {
            // With runc, which runs poststart hooks in create, it hangs there.
            let mut create = begin_making(b, "create")?;
            eventually("create ends, or hangs in a hook", || {
                Ok(create.try_wait()?.is_some() || !super::with_command_line(HANGS)?.is_empty())
            })?;
            match create.try_wait()? {
                None => create,
                Some(status) if status.success() => begin(b.test, b.test.command(&[by, &b.id]))?,
                Some(_) => return fail(format!("create: {}", said(b.test)?)),
            }
        }
    };
    appears(HANGS)?;
    if b.test.ours() {
        // It is noted once it runs; until then nobody but the command can end it.
        let journal = b.test.state_root().join(&b.id).join("state.json");
        eventually("it is noted", || Ok(fs::read_to_string(&journal)?.contains("\"hook\":{")))?;
    }
    Ok(child)
}

fn hook_deleted(t: &Test) -> Verdict {
    for (moment, by) in
        MOMENTS.into_iter().chain([("createRuntime", "run"), ("startContainer", "run"), ("poststart", "run")])
    {
        let b = hanging(t, moment)?;
        let mut command = until_it_hangs(&b, by)?;
        let begun = Instant::now();
        let outcome = deleted(&b);
        check(outcome.is_ok(), || format!("{moment} in {by}: {outcome:?}"))?;
        check(begun.elapsed() < Duration::from_secs(8), || format!("{moment} in {by}: it took {:?}", begun.elapsed()))?;
        let status = code(in_time(&mut command, by)?);
        check(status != 0, || format!("{moment} in {by}: it did not fail"))?;
        disappears(HANGS)?;
        b.is_gone()?;
        if t.ours() {
            contains("what it said", &said(t)?, &format!("/hooks/{moment}/0: hook \"/bin/sh\": "))?;
        }
        fs::remove_file(t.path(super::ERRORS))?;
    }
    Ok(())
}

fn hook_poststop(t: &Test) -> Verdict {
    let b = hanging(t, "poststop")?;
    b.create()?;
    b.start()?;
    verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
    b.ended()?;
    let mut first = begin(t, t.command(&["delete", &b.id]))?;
    appears(HANGS)?;
    verb(&b, "delete", &["--force"], &[])?.exits(0)?;
    in_time(&mut first, "the first delete")?;
    disappears(HANGS)?;
    b.is_gone()
}

fn hook_poststop_forced(t: &Test) -> Verdict {
    let b = hanging(t, "poststop")?;
    b.create()?;
    b.start()?;
    let begun = Instant::now();
    let mut command = begin(t, t.command(&["delete", "--force", &b.id]))?;
    let pidfd = rustix::process::pidfd_open(Pid::from_child(&command), rustix::process::PidfdFlags::empty())?;
    if !crate::bundle::readable(&pidfd, PATIENCE * 3)? {
        command.kill()?;
        command.wait()?;
        return fail("it waits for ever");
    }
    same("status", code(command.wait()?), 0)?;
    check(begun.elapsed() > Duration::from_secs(9), || "the hook had no time".to_owned())?;
    contains("what it said", &said(t)?, "/hooks/poststop/0: hook \"/bin/sh\": killed")?;
    disappears(HANGS)?;
    b.is_gone()
}

fn hook_survives(t: &Test) -> Verdict {
    for (moment, by) in MOMENTS {
        let b = hanging(t, moment)?;
        let mut command = until_it_hangs(&b, by)?;
        command.kill()?;
        command.wait()?;
        // A hook in the container, now a child of this case, has to be reaped before its first process can end.
        let outcome = deleted_reaping(&b).and_then(|()| disappears(HANGS));
        check(outcome.is_ok(), || format!("{moment}: {outcome:?}"))?;
    }
    Ok(())
}

/// Seen to fail: no-frills whose hooks did not hear of the command's end.
fn hook_alone(t: &Test) -> Verdict {
    for (moment, by) in [("prestart", "create"), ("createRuntime", "create"), ("poststart", "start")] {
        let b = hanging(t, moment)?;
        let mut command = until_it_hangs(&b, by)?;
        command.kill()?;
        command.wait()?;
        let outcome = disappears(HANGS);
        check(outcome.is_ok(), || format!("{moment}: {outcome:?}"))?;
        deleted_reaping(&b)?;
    }
    Ok(())
}

/// The container's init: what is in its cgroup and is no hook.
fn init_of(b: &Bundle<'_>) -> Verdict<Pid> {
    let procs = fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?;
    let mut pids = procs.lines().filter_map(|line| line.parse().ok());
    let init = pids.find(|pid: &i32| !command_line(*pid).starts_with(HANGS));
    some("init", init.and_then(Pid::from_raw))
}

fn init_killed(t: &Test) -> Verdict {
    for (moment, by) in MOMENTS {
        let b = hanging(t, moment)?;
        let mut command = until_it_hangs(&b, by)?;
        let init = init_of(&b)?;
        kill_process(init, Signal::KILL)?;
        if moment == "poststart" {
            // Its program ran, and how long it does is no matter of the hook's.
            ended(init)?;
            check(command.try_wait()?.is_none(), || "it did not wait for the hook".to_owned())?;
            deleted(&b)?;
        }
        let status = in_time(&mut command, &format!("{by} with {moment}"))?;
        check(!status.success(), || format!("{moment}: {by} succeeded"))?;
        if t.ours() && moment != "poststart" {
            // One in the container ends with its pid namespace.
            let inside = moment.ends_with("Container");
            let ended = if inside { "killed by signal 9" } else { "killed: the container's first process has ended" };
            contains("what it said", &said(t)?, &format!("/hooks/{moment}/0: hook \"/bin/sh\": {ended}"))?;
        }
        disappears(HANGS)?;
        deleted(&b)?;
    }
    Ok(())
}

fn init_stopped(t: &Test) -> Verdict {
    for (moment, by) in MOMENTS {
        let b = hanging(t, moment)?;
        let mut command = until_it_hangs(&b, by)?;
        kill_process(init_of(&b)?, Signal::STOP)?;
        verb(&b, "state", &[], &[])?.exits(0)?;
        deleted(&b)?;
        in_time(&mut command, by)?;
        disappears(HANGS)?;
    }
    Ok(())
}

fn kill_creating(t: &Test) -> Verdict {
    for moment in ["prestart", "createRuntime", "createContainer"] {
        let b = hanging(t, moment)?;
        let mut command = until_it_hangs(&b, "create")?;
        b.is("creating")?;
        let creating = format!("container {} is half-made", b.id);
        for args in [&["TERM"], &["KILL"]] {
            verb(&b, "kill", &[], args)?.refuses(t, &creating, &[])?;
        }
        verb(&b, "kill", &["--all"], &["KILL"])?.refuses(t, &creating, &[])?;
        check(command.try_wait()?.is_none(), || "create has ended".to_owned())?;
        appears(HANGS)?;
        deleted(&b)?;
        in_time(&mut command, "create")?;
    }
    Ok(())
}

fn holder_stopped(t: &Test) -> Verdict {
    let b = hanging(t, "createRuntime")?;
    let mut command = until_it_hangs(&b, "create")?;
    let pid = Pid::from_child(&command);
    kill_process(pid, Signal::STOP)?;
    // It can neither be waited for nor be done without.
    let begun = Instant::now();
    let holder = format!("by process {} (", pid.as_raw_nonzero());
    let mut delete = begin(t, t.command(&["delete", "--force", &b.id]))?;
    let pidfd = rustix::process::pidfd_open(Pid::from_child(&delete), rustix::process::PidfdFlags::empty())?;
    check(crate::bundle::readable(&pidfd, PATIENCE * 3)?, || "it waits for ever".to_owned())?;
    same("status", code(delete.wait()?), 1)?;
    contains("what it said", &said(t)?, &holder)?;
    check(begun.elapsed() > Duration::from_secs(5), || "it gave it no time".to_owned())?;
    kill_process(pid, Signal::KILL)?;
    command.wait()?;
    deleted(&b)?;
    disappears(HANGS)
}
