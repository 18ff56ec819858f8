//! Descriptors, inotify instances, processes and memory that run out.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{deleted, through, verb, within};
use crate::bundle::{Bundle, Output, Test, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains_one, lacks};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/inside-descriptors-create",
            "create and run with 3, 4, ... descriptors at most: they work, or say EMFILE and leave nothing",
            create,
        )
        .known_failure(Kind::Crun, "1.28 leaves cgroups"),
        case(
            "reliability/inside-descriptors-others",
            "so start, exec, state, list, pause, update, kill and delete",
            others,
        ),
        case("reliability/inside-descriptors-hooks", "so hooks, in create, start and delete", hooks)
            .known_failure(Kind::Crun, "1.28 leaves cgroups"),
        case("reliability/inside-inotify", "events where no inotify instance may be made", inotify)
            .skip(Kind::Crun, "has no such command")
            .known_failure(Kind::Runc, "cannot tell events without"),
        case(
            "reliability/inside-pids-above",
            "the processes of the cgroup above are used up: create and exec say so",
            pids_above,
        )
        .needs_controllers(&["pids"]),
        case(
            "reliability/inside-memory",
            "limits of memory from nothing to enough: it runs, or the limit is named",
            memory,
        )
        .needs_controllers(&["memory"]),
    ]
}

fn limited(number: u32, command: &Command) -> Command {
    through(&format!("ulimit -Sn {number}; exec \"$@\""), command)
}

/// It worked, or says that there are too few descriptors.
fn works_or_tells(t: &Test, number: u32, output: &Output) -> Verdict<bool> {
    if output.status == 0 {
        return Ok(true);
    }
    let stderr = output.stderr()?;
    lacks("panics", &stderr, "panicked")?;
    if t.ours() {
        // That of a failed exec is 255, as runc's.
        check(matches!(output.status, 1 | 255), || {
            format!("{number} descriptors: status {}: {stderr}", output.status)
        })?;
        // poll(2) and setrlimit(2) have words of their own for it; so has execve(2) of a program that is loaded with others'.
        contains_one(&format!("with {number} descriptors"), &stderr, &["EMFILE"])?;
        check(stderr.lines().count() == 1, || format!("with {number} descriptors more than one line: {stderr}"))?;
    }
    Ok(false)
}

/// What works with a number of descriptors works with more.
fn grows(what: &str, worked: &mut bool, works: bool, number: u32) -> Verdict {
    check(!*worked || works, || format!("{what} works with fewer than {number} descriptors, and not with {number}"))?;
    *worked = works;
    Ok(())
}

/// With the last of them everything works.
fn numbers() -> impl Iterator<Item = u32> {
    (3..=24).chain([28, 32, 40, 64])
}

fn create(t: &Test) -> Verdict {
    let (mut created, mut ran) = (false, false);
    for number in numbers() {
        let b = t.bundle()?.idle();
        b.save()?;
        let pid_file = b.pid_file();
        let output = within(t, limited(number, &b.command("create", &["--pid-file", &pid_file.to_string_lossy()])))?;
        let works = works_or_tells(t, number, &output)?;
        grows("create", &mut created, works, number)?;
        if works {
            b.start_idle()?;
        } else if t.ours() {
            b.is_gone()?;
        }
        deleted(&b)?;
        let b = t.bundle()?.sh("exit 0");
        b.save()?;
        let output = within(t, limited(number, &b.command("run", &[])))?;
        grows("run", &mut ran, works_or_tells(t, number, &output)?, number)?;
        if t.ours() {
            b.is_gone()?;
        }
        deleted(&b)?;
    }
    check(!t.ours() || (created && ran), || format!("enough descriptors: {created} {ran}"))
}

fn others(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    let mut worked = [false; 10];
    for number in numbers() {
        b.create()?;
        let id = b.id.as_str();
        let commands: [&[&str]; 10] = [
            &["state", id],
            &["list"],
            &["start", id],
            &["exec", id, "true"],
            &["ps", "--format", "json", id],
            &["events", "--stats", id],
            &["pause", id],
            &["resume", id],
            &["kill", id, "TERM"],
            &["delete", "--force", id],
        ];
        for (command, worked) in commands.iter().zip(&mut worked) {
            let output = within(t, limited(number, &t.command(command)))?;
            // What was not done before cannot go on.
            let told = output.stderr()?;
            let depends = ["container not paused", "container not running", "already paused", "is not running"];
            if output.status != 0 && depends.iter().any(|words| told.contains(words)) {
                continue;
            }
            let works = works_or_tells(t, number, &output)?;
            if t.ours() {
                grows(&command.join(" "), worked, works, number)?;
            }
        }
        deleted(&b)?;
    }
    check(!t.ours() || worked == [true; 10], || format!("with enough descriptors: {worked:?}"))
}

fn hooks(t: &Test) -> Verdict {
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null"]}]);
    let moments = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let mut worked = [false; 3];
    for number in numbers() {
        let b = moments.iter().fold(t.bundle()?.idle(), |b, moment| b.set(&format!("/hooks/{moment}"), hook.clone()));
        b.save()?;
        let [created, started, over] = &mut worked;
        let pid_file = b.pid_file();
        let create = b.command("create", &["--pid-file", &pid_file.to_string_lossy()]);
        let works = works_or_tells(t, number, &within(t, limited(number, &create))?)?;
        grows("create", created, works, number)?;
        if works {
            let start = works_or_tells(t, number, &within(t, limited(number, &t.command(&["start", &b.id])))?)?;
            grows("start", started, start, number)?;
            let delete = limited(number, &t.command(&["delete", "--force", &b.id]));
            grows("delete", over, works_or_tells(t, number, &within(t, delete)?)?, number)?;
        }
        deleted(&b)?;
    }
    check(!t.ours() || worked == [true; 3], || format!("with enough descriptors: {worked:?}"))
}

fn inotify(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    // Of a user namespace of its own: the machine's others keep theirs.
    let none = |command: &Command| {
        let script = "echo 0 >/proc/sys/user/max_inotify_instances || exit 77; exec \"$@\"";
        let inner = through(script, command);
        let mut outer = Command::new("unshare");
        outer.args(["--user", "--map-root-user"]).arg(inner.get_program()).args(inner.get_args());
        crate::bundle::bare(&mut outer);
        outer
    };
    for args in [&["events", "--stats", &b.id][..], &["state", &b.id], &["list"]] {
        let output = within(t, none(&t.command(args)))?;
        check(output.status != 77, || "the limit cannot be set".to_owned())?;
        output.exits(0)?;
    }
    // There before the shell that opens it is.
    let told = t.path("told");
    fs::write(&told, "")?;
    let events = none(&t.command(&["events", "--interval", "100ms", &b.id]));
    let mut events = super::begin(t, through(&format!("exec \"$@\" >{}", told.display()), &events))?;
    eventually("events has told of it twice, or ended", || {
        Ok(fs::read_to_string(&told)?.lines().count() > 1 || events.try_wait()?.is_some())
    })?;
    check(events.try_wait()?.is_none(), || format!("events has ended: {}", super::said(t).unwrap_or_default()))?;
    b.kill_and_delete()?;
    super::in_time(&mut events, "events")?;
    Ok(())
}

fn pids_above(t: &Test) -> Verdict {
    let b = t.bundle()?;
    let own = format!("{}/above/{}", t.cgroup, b.id);
    let b = b.set("/linux/cgroupsPath", own.into()).idle();
    let above = t.cgroup_dir().join("above");
    fs::create_dir(&above)?;
    for dir in [t.cgroup_dir().as_path(), &above] {
        for dir in dir.ancestors().take_while(|dir| dir.starts_with(&t.cgroup_mount)).collect::<Vec<_>>().iter().rev() {
            if *dir != above {
                fs::write(dir.join("cgroup.subtree_control"), "+pids")?;
            }
        }
    }
    for most in 0..6 {
        fs::write(above.join("pids.max"), most.to_string())?;
        let create = b.create_with(&[])?;
        if create.status == 0 {
            let exec = verb(&b, "exec", &[], &["true"])?;
            check(exec.status == 0 || !exec.stderr()?.is_empty(), || format!("pids.max {most}: exec says nothing"))?;
            if t.ours() && exec.status != 0 {
                contains_one("exec", &exec.stderr()?, &["pids.max", "EAGAIN"])?;
            }
            verb(&b, "start", &[], &[])?.exits(0)?;
        } else if t.ours() {
            contains_one("create", &create.exits(1)?.stderr()?, &["pids.max", "EAGAIN"])?;
            b.is_gone()?;
        }
        deleted(&b)?;
    }
    fs::remove_dir(&above)?;
    Ok(())
}

fn memory(t: &Test) -> Verdict {
    let mut worked = false;
    for kib in [0, 4, 16, 64, 128, 256, 512, 768, 1024, 1536, 2048, 4096, 8192, 65536] {
        let b: Bundle<'_> = t.bundle()?.sh("exit 0").set("/linux/resources/memory/limit", json!(kib * 1024));
        b.save()?;
        let run = within(t, b.command("run", &[]))?;
        match run.status {
            0 => worked = true,
            // The program itself, which is larger than init.
            137 => {}
            _ if t.ours() => {
                contains_one(&format!("with {kib} KiB"), &run.exits(1)?.stderr()?, &["/linux/resources/memory/limit"])?;
            }
            _ => {}
        }
        if t.ours() {
            b.is_gone()?;
        }
        deleted(&b)?;
    }
    check(worked, || "it works with no limit".to_owned())
}
