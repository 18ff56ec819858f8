//! Standard streams that are closed, full, or that nobody reads; and the same of the log.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::json;

use super::{begin, command_line, deleted, in_time, said, through, verb, within};
use crate::bundle::{Bundle, Test, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/inside-streams-closed",
            "commands and containers whose standard streams are closed, each and all",
            closed,
        )
        .known_failure(Kind::Crun, "1.28 dies of SIGSEGV when all three are closed"),
        case(
            "reliability/inside-streams-dead",
            "what nobody reads: a container's output, a command's output and errors",
            dead,
        ),
        case(
            "reliability/inside-streams-full",
            "a pipe that is full: the container waits for it, and is killed and deleted",
            full,
        )
        .skip(Kind::Runc, "passes the output on by itself: its container ends, and it waits for a reader"),
        case(
            "reliability/inside-errors-full",
            "a failing create whose errors nobody takes has cleaned up before it tells",
            errors_full,
        )
        .skip(Kind::Crun, "tells standard error first, and waits there"),
        case(
            "reliability/inside-warnings-dead",
            "a warning that nobody reads does not end the command that gives it",
            warnings_dead,
        ),
        case("reliability/inside-log", "a log that cannot be written: a full device, a fifo that nobody reads", log)
            .skip(Kind::Runc, "opens a fifo and waits for a reader")
            .skip(Kind::Crun, "waits for room in a full fifo"),
    ]
}

const CLOSED: [&str; 5] = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"];

fn closed(t: &Test) -> Verdict {
    // What the container has in their place is harmless, and no file of the host's that was opened meanwhile.
    let dir = t.path("seen");
    fs::create_dir(&dir)?;
    let script =
        format!("cd /proc/self/fd; for n in 0 1 2; do readlink $n; done >{0}/seen; ls >>{0}/seen", dir.display());
    for streams in CLOSED {
        let b = t.bundle()?.bind(&dir, &dir.to_string_lossy(), &["bind"]).sh(&script);
        b.save()?;
        within(t, through(&format!("exec \"$@\" {streams}"), &b.command("run", &[])))?.exits(0)?;
        let seen = fs::read_to_string(dir.join("seen"))?;
        let outside = t.work.to_string_lossy();
        for line in seen.lines() {
            let fine = !line.starts_with('/')
                || line == "/dev/null"
                || (line.starts_with(&*outside)
                    && (line.ends_with(".out") || line.ends_with(".err") || line.ends_with("/seen")));
            check(fine, || format!("{streams}: the container has {line}\n{seen}"))?;
        }
        // The redirection's own one aside.
        let b = t.bundle()?.idle();
        b.save()?;
        let pid_file = b.pid_file();
        let create = b.command("create", &["--pid-file", &pid_file.to_string_lossy()]);
        within(t, through(&format!("exec \"$@\" {streams}"), &create))?.exits(0)?;
        for args in [&["start"][..], &["exec"], &["pause"], &["resume"], &["kill"]] {
            let mut all = args.to_vec();
            all.push(&b.id);
            match args {
                ["exec", ..] => all.push("true"),
                ["kill"] => all.push("KILL"),
                _ => {}
            }
            within(t, through(&format!("exec \"$@\" {streams}"), &t.command(&all)))?.exits(0)?;
        }
        b.ended()?;
        within(t, through(&format!("exec \"$@\" {streams}"), &t.command(&["delete", &b.id])))?.exits(0)?;
        b.is_gone()?;
    }
    Ok(())
}

/// `"$@"` with a dead pipe for the output that this redirection names.
fn with_dead_pipe(redirection: &str) -> String {
    // The reader has ended when the fifo's other end is the shell's no more.
    format!("exec 7> >(exit 0); wait $!; exec \"$@\" {redirection}")
}

fn dead(t: &Test) -> Verdict {
    // By SIGPIPE, which has its default action (the first process of a pid namespace takes none); or told, by who ignores it.
    let b = t.bundle()?.sh("(while :; do echo x || exit 5; done); exit $?");
    b.save()?;
    let status = within(t, through(&with_dead_pipe(">&7"), &b.command("run", &[])))?.status;
    same("the container's status", status, 141)?;
    b.is_gone()?;
    let b = t.bundle()?.sh("trap '' PIPE; while :; do echo x 2>/dev/null || exit 5; done");
    b.save()?;
    same("the container's status", within(t, through(&with_dead_pipe(">&7"), &b.command("run", &[])))?.status, 5)?;

    let b = t.bundle()?.running_idle()?;
    for args in [&["state", &b.id][..], &["list"], &["ps", &b.id], &["events", "--stats", &b.id]] {
        let output = within(t, through(&with_dead_pipe(">&7"), &t.command(args)))?;
        check(output.status != 0 || !t.ours(), || format!("{args:?}: status 0, and nobody has read it"))?;
    }
    // A failure that nobody reads is one all the same.
    for redirection in ["2>&7", ">&7 2>&7"] {
        let output = within(t, through(&with_dead_pipe(redirection), &t.command(&["state", "no-such"])))?;
        check(output.status != 0, || "a failure has status 0".to_owned())?;
        if t.ours() {
            output.exits(1)?;
        }
    }
    b.kill_and_delete()
}

/// A fifo that is full, and its other end, which nobody reads until that is asked for.
fn full_pipe(path: &Path) -> Verdict<File> {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut pipe = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    loop {
        match pipe.write(&[b'x'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(pipe),
            Err(error) => return Err(error.into()),
        }
    }
}

fn with_full_pipe(path: &Path, redirection: &str, command: &Command) -> Command {
    through(&format!("exec \"$@\" {redirection}'{}'", path.display()), command)
}

fn full(t: &Test) -> Verdict {
    let path = t.path("full");
    let _pipe = full_pipe(&path)?;
    let b = t.bundle()?.sh("echo x; exit 7");
    b.save()?;
    let pid_file = b.pid_file();
    let pid_file = pid_file.to_string_lossy();
    let create = b.command("create", &["--pid-file", &pid_file]);
    within(t, with_full_pipe(&path, "2>&1 >", &create))?.exits(0)?;
    verb(&b, "start", &[], &[])?.exits(0)?;
    b.is("running")?;
    deleted(&b)?;
    // An attached run waits for it, and ends with it.
    let mut run = begin(t, with_full_pipe(&path, ">", &b.command("run", &["--pid-file", &pid_file])))?;
    // Killed before its program runs it would be a run that has failed.
    eventually("its program runs", || {
        Ok(b.pid().is_ok_and(|pid| command_line(pid.as_raw_nonzero().get()).starts_with("sh ")))
    })?;
    verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
    let status = code(in_time(&mut run, "run")?);
    check(status == 137, || format!("status {status}: {}", said(t).unwrap_or_default()))?;
    b.is_gone()
}

fn errors_full(t: &Test) -> Verdict {
    let path = t.path("full");
    let mut pipe = full_pipe(&path)?;
    let b = t.bundle()?.args(&["/no/such/program"]);
    b.save()?;
    let log = t.path("log");
    let create = t.command(&["--log", &log.to_string_lossy(), "create", "--bundle", &b.dir.to_string_lossy(), &b.id]);
    let mut create = begin(t, with_full_pipe(&path, "2>", &create))?;
    eventually("the log tells", || Ok(fs::read_to_string(&log).unwrap_or_default().contains("/no/such/program")))?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    check(!t.ours() || create.try_wait()?.is_none(), || "it did not wait to be heard".to_owned())?;
    // Somebody reads at last.
    let mut buffer = vec![0; 1 << 20];
    let length = pipe.read(&mut buffer)?;
    check(length > 4096, || "the pipe was not full".to_owned())?;
    same("status", code(in_time(&mut create, "create")?), 1)
}

/// A bundle of which a warning is given: a capability that does not exist.
fn with_warning(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(t.bundle()?.idle().push("/process/capabilities/bounding", json!("CAP_NO_SUCH")))
}

fn warnings_dead(t: &Test) -> Verdict {
    let b = with_warning(t)?;
    let told = b.create()?;
    if t.ours() {
        contains("the warning", &told.stderr()?, "CAP_NO_SUCH")?;
    }
    deleted(&b)?;
    let pid_file = b.pid_file();
    let create = b.command("create", &["--pid-file", &pid_file.to_string_lossy()]);
    within(t, through(&with_dead_pipe("2>&7"), &create))?.exits(0)?;
    b.start_idle()?;
    deleted(&b)?;
    let run = b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]);
    within(t, through(&with_dead_pipe("2>&7"), &run))?.exits(0)?;
    b.is("running")?;
    deleted(&b)
}

fn log(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    // The failure goes where it can be read, with the log's own.
    let refused = t.runtime(&["--log", "/dev/full", "state", "no-such"])?;
    check(refused.status == 1, || format!("status {}", refused.status))?;
    if t.ours() {
        contains("stderr", &refused.stderr()?, "writing to the log: ENOSPC")?;
        contains("stderr", &refused.stderr()?, "container does not exist")?;
    }
    t.runtime(&["--log", "/dev/full", "state", &b.id])?.exits(0)?;
    for place in ["/no/such/directory/log", "/"] {
        t.runtime(&["--log", place, "state", &b.id])?.refuses(t, &format!("opening the log {place}: "), &[])?;
    }
    // A fifo that nobody reads, one that is full, and one whose reader has gone.
    let fifo = t.path("log");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let path = fifo.to_string_lossy();
    let none = within(t, t.command(&["--log", &path, "state", "no-such"]))?;
    none.refuses(t, &format!("opening the log {path}: ENXIO"), &[])?;
    let path = t.path("full");
    let _pipe = full_pipe(&path)?;
    let full = within(t, t.command(&["--log", &path.to_string_lossy(), "state", "no-such"]))?;
    if t.ours() {
        contains("stderr", &full.stderr()?, "writing to the log: EAGAIN")?;
    }
    full.refuses(t, "container does not exist", &[])?;
    let gone = t.command(&["--log", &format!("/proc/self/fd/{}", 7), "state", "no-such"]);
    let gone = within(t, through(&with_dead_pipe(""), &gone))?;
    gone.refuses(t, "container does not exist", &[])?;
    b.kill_and_delete()
}
