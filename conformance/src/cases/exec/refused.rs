//! When exec is refused, and what it says then.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use super::{command, exec, refuses, running};
use crate::bundle::{Bundle, Test, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/missing", "a container that does not exist", missing),
        case("exec/stopped", "a stopped container is refused", stopped),
        case("exec/paused", "a paused container is refused", paused),
        case(
            "exec/ignore-paused",
            "--ignore-paused takes a paused one: the process runs when it is thawed",
            ignore_paused,
        )
        .skip(Kind::Crun, "has no such flag"),
        case("exec/program-missing", "a program that is not there", program_missing),
        case("exec/program-not-executable", "a file that is no program", program_not_executable),
        case("exec/program-directory", "a directory", program_directory),
        case("exec/program-none", "no program at all", program_none),
        case("exec/error-in-log", "an error is one line of a JSON log", error_in_log)
            .known_failure(Kind::Crun, "its words differ"),
        case("exec/nothing-left", "an exec that failed leaves no process and no pid file", nothing_left)
            .skip(Kind::Crun, "returns before its process is gone"),
    ]
}

fn missing(t: &Test) -> Verdict {
    let b = t.bundle()?;
    let refused = exec(&b, &[], &["true"])?;
    refuses(&b, refused, "exec failed: container does not exist", &["does not exist"])
}

fn stopped(t: &Test) -> Verdict {
    let b = running(t)?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    let refused = exec(&b, &[], &["true"])?;
    refuses(&b, refused, "container not running", &["stopped container", "is not running"])?;
    b.is("stopped")
}

fn freeze(b: &Bundle, frozen: bool) -> Verdict {
    fs::write(b.cgroup_dir().join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    eventually("the cgroup is frozen or thawed", || {
        let events = fs::read_to_string(b.cgroup_dir().join("cgroup.events"))?;
        Ok(events.contains(if frozen { "frozen 1" } else { "frozen 0" }))
    })
}

fn paused(t: &Test) -> Verdict {
    let b = running(t)?;
    freeze(&b, true)?;
    let refused = exec(&b, &[], &["true"])?;
    refuses(&b, refused, "paused", &["paused"])?;
    freeze(&b, false)?;
    exec(&b, &[], &["true"])?.exits(0)?;
    Ok(())
}

fn ignore_paused(t: &Test) -> Verdict {
    let b = running(t)?;
    freeze(&b, true)?;
    let out = b.dir.join("exec.out");
    let mut command = command(&b, &["--ignore-paused"], &["echo", "thawed"]);
    let mut child = command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).spawn()?;
    let processes = || Ok(fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count() > 1);
    eventually("the process is in the cgroup", processes)?;
    same("output", fs::read_to_string(&out)?, "")?;
    freeze(&b, false)?;
    same("status", code(child.wait()?), 0)?;
    same("output", fs::read_to_string(&out)?, "thawed\n")
}

fn program_missing(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &["no-such-program"])?;
    let words = r#"exec: "no-such-program": executable file not found in $PATH"#;
    refuses(&b, refused, words, &[words, "executable file `no-such-program` not found in $PATH"])?;
    let refused = exec(&b, &[], &["/no/such/program"])?;
    let words = r#"exec: "/no/such/program": stat /no/such/program: no such file or directory"#;
    refuses(&b, refused, words, &[words, "No such file or directory"])?;
    let refused = exec(&b, &[], &[""])?;
    refuses(
        &b,
        refused,
        "executable file not found in $PATH",
        &["executable file not found in $PATH", "cannot find ``"],
    )
}

fn program_not_executable(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &["/etc/passwd"])?;
    let words = r#"exec: "/etc/passwd": permission denied"#;
    refuses(&b, refused, words, &[words, "not executable"])
}

fn program_directory(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &["/etc"])?;
    let words = r#"exec: "/etc": is a directory"#;
    refuses(&b, refused, words, &[words, "not a regular file"])
}

fn program_none(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &[])?;
    refuses(&b, refused, "exec takes a command", &["args", "arguments"])
}

fn error_in_log(t: &Test) -> Verdict {
    let b = running(t)?;
    let log = t.path("log.json");
    let prefix = ["--log", &log.to_string_lossy(), "--log-format", "json", "exec", &b.id, "nope"].map(str::to_owned);
    t.runtime(&prefix)?.exits(255)?;
    let text = fs::read_to_string(&log)?;
    let errors: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let errors: Vec<&Value> = errors.iter().filter(|line| line["level"] == "error").collect();
    same("lines", errors.len(), 1)?;
    let message = errors.first().and_then(|line| line["msg"].as_str()).unwrap_or_default();
    check(message.starts_with("exec failed: "), || format!("message: {message}"))?;
    contains("message", message, r#"exec: "nope": executable file not found in $PATH"#)
}

fn nothing_left(t: &Test) -> Verdict {
    let b = running(t)?;
    let pid_file = b.dir.join("exec.pid");
    for flags in [&["--detach"][..], &[]] {
        let path = pid_file.to_string_lossy();
        let flags = [flags, &["--pid-file", &path]].concat();
        let refused = exec(&b, &flags, &["no-such-program"])?;
        refuses(&b, refused, "executable file not found in $PATH", &[])?;
        check(!pid_file.exists(), || "the pid file is there".to_owned())?;
        same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)?;
    }
    b.is("running")
}
