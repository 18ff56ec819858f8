//! What is left when commands meet on one container, or wait for a first process that does not answer.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::bundle::{Bundle, Test, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same, skip};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/stopped-before-start",
            "a created container whose first process is stopped: state answers, start waits, delete --force ends both",
            stopped_before_start,
        )
        .skip(Kind::Runc, "its start is over once the first process has been told, before the program runs")
        .skip(Kind::Crun, "the same"),
        case(
            "reliability/create-and-delete-at-once",
            "create and delete --force of one id at once: at most one container, and it is whole",
            create_and_delete_at_once,
        )
        .only(Kind::NoFrills, "runc leaves processes and cgroups, and deletes of crun fail"),
        case(
            "reliability/delete-while-claimed",
            "delete --force between the claim of a name and its lock: the create fails or the container is there",
            delete_while_claimed,
        )
        .only(Kind::NoFrills, "it delays the calls of this lock"),
        case("reliability/start-at-once", "start many times at once: one of them starts it", start_at_once)
            .skip(Kind::Runc, "a second start may wait for ever at its fifo"),
        case("reliability/delete-at-once", "delete --force many times at once: all succeed", delete_at_once)
            .skip(Kind::Crun, "one fails when another is faster"),
    ]
}

/// A command that goes on while others are run.
fn begin(b: &Bundle<'_>, verb: &str, flags: &[&str]) -> Verdict<Child> {
    let mut command = match verb {
        "create" => b.command(verb, flags),
        _ => b.test.command(&[&[verb], flags, &[b.id.as_str()]].concat()),
    };
    // To a file: a pipe would be open as long as the container's process.
    let errors = File::options().create(true).append(true).open(b.test.path(ERRORS))?;
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()?)
}

/// What commands that were begun have said.
const ERRORS: &str = "errors";

/// Fails with what the commands have said.
fn same_or_say(b: &Bundle<'_>, what: &str, actual: usize, expected: usize) -> Verdict {
    let said = fs::read_to_string(b.test.path(ERRORS))?;
    check(actual == expected, || format!("{what}: {actual}, not {expected}\n{said}"))
}

/// How many of them succeed.
fn succeed(children: Vec<Child>) -> Verdict<usize> {
    let mut count = 0;
    for mut child in children {
        count += usize::from(child.wait()?.success());
    }
    Ok(count)
}

fn stopped_before_start(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    kill_process(b.pid()?, Signal::STOP)?;
    // More often than connections to the first process could wait in a queue.
    for _ in 0..40 {
        b.is("created")?;
    }
    b.kill_and_delete()?;

    b.create()?;
    kill_process(b.pid()?, Signal::STOP)?;
    let mut start = begin(&b, "start", &[])?;
    let stat = format!("/proc/{}/stat", start.id());
    eventually("start sleeps", || Ok(fs::read_to_string(&stat)?.contains(") S ")))?;
    b.delete_force()?;
    eventually("start ends", || Ok(start.try_wait()?.is_some()))?;
    b.is_gone()
}

fn create_and_delete_at_once(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    for _ in 0..20 {
        let (mut creates, mut deletes) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            creates.push(begin(&b, "create", &[])?);
            deletes.push(begin(&b, "delete", &["--force"])?);
        }
        same_or_say(&b, "how many deletes succeeded", succeed(deletes)?, 4)?;
        fs::remove_file(t.path(ERRORS))?;
        let created = succeed(creates)?;
        // What one deleted another may have made again, and the last word was either's.
        if b.verb("state", &[])?.status == 0 {
            check(created > 0, || "a create failed and left a container".to_owned())?;
            b.is("created")?;
            b.start()?;
        }
        b.delete_force()?;
        b.is_gone()?;
        check(!b.cgroup_dir().exists(), || "a cgroup is left".to_owned())?;
    }
    Ok(())
}

/// Seen to fail: no-frills whose delete let go of the lock before it removed what a create had only begun.
fn delete_while_claimed(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    let slow = |call: &str, milliseconds: u32, args: &[&str]| -> Verdict<Child> {
        let mut command = Command::new("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("inject={call}:delay_enter={milliseconds}ms:when=1")]);
        command.arg(&t.runtime).args(&t.runtime_args).arg("--root").arg(t.state_root()).args(args);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    };
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("no strace in $PATH");
    }
    let mut create = slow("flock", 500, &["create", "--bundle", &b.dir.to_string_lossy(), &b.id])?;
    eventually("the name is taken", || Ok(t.state_root().join(&b.id).join("state.json").exists()))?;
    let mut delete = slow("unlink", 1000, &["delete", "--force", &b.id])?;
    check(delete.wait()?.success(), || "delete failed".to_owned())?;
    let created = create.wait()?.success();
    same("whether there is a container", b.verb("state", &[])?.status == 0, created)?;
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "a cgroup is left".to_owned())
}

fn start_at_once(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    for _ in 0..5 {
        b.create()?;
        let starts: Verdict<Vec<Child>> = (0..8).map(|_| begin(&b, "start", &[])).collect();
        same("how many starts succeeded", succeed(starts?)?, 1)?;
        b.is("running")?;
        b.kill_and_delete()?;
    }
    Ok(())
}

fn delete_at_once(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    for _ in 0..5 {
        b.create()?;
        b.start()?;
        let deletes: Verdict<Vec<Child>> = (0..8).map(|_| begin(&b, "delete", &["--force"])).collect();
        same("how many deletes succeeded", succeed(deletes?)?, 8)?;
        b.is_gone()?;
    }
    Ok(())
}
