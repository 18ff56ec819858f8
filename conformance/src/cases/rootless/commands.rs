//! Every command as an ordinary user runs it, with nothing given but what a login gives.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};

use super::{USER, bundle};
use crate::bundle::{Bundle, Output, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same, some};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("rootless/spec", "what spec --rootless writes runs as it is", spec),
        case("rootless/commands", "all commands, with the state in XDG_RUNTIME_DIR", commands)
            .skip(Kind::Runc, "needs a cgroup for some")
            .skip(Kind::Crun, "needs a cgroup for some, and has no events"),
    ]
}

/// The runtime as the user calls it, in a directory.
fn call(b: &Bundle, args: &[&str]) -> Verdict<Output> {
    let mut command = Command::new(&b.test.runtime);
    command.args(args).uid(USER).gid(USER).current_dir(&b.dir);
    crate::bundle::bare(&mut command);
    command.env("XDG_RUNTIME_DIR", b.test.path("run"));
    b.test.output_of(command)
}

fn runtime_dir(t: &Test) -> Verdict {
    fs::create_dir(t.path("run"))?;
    Ok(chown(t.path("run"), Some(USER), Some(USER))?)
}

fn spec(t: &Test) -> Verdict {
    runtime_dir(t)?;
    let b = bundle(t)?;
    call(&b, &["spec", "--rootless"])?.exits(0)?;
    let path = b.dir.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    // No more than a program without a terminal.
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "id -u; cat /proc/self/uid_map; ls /sys/kernel | wc -l"]);
    fs::write(&path, config.to_string())?;
    let out = call(&b, &["run", &b.id])?.exits(0)?.stdout()?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("ids", words.get(..4), Some(&["0", "0", &USER.to_string(), "1"][..]))?;
    check(words.get(4).is_some_and(|count| *count != "0"), || format!("/sys is empty: {out}"))
}

fn commands(t: &Test) -> Verdict {
    runtime_dir(t)?;
    let b = bundle(t)?.idle();
    b.save()?;
    let fine = |args: &[&str]| -> Verdict<String> { call(&b, args)?.exits(0)?.stdout() };
    let status =
        || -> Verdict<Value> { Ok(serde_json::from_str::<Value>(&fine(&["state", &b.id])?)?["status"].clone()) };
    same("list", fine(&["list", "--format", "json"])?.as_str(), "null\n")?;
    fine(&["create", "--pid-file", "pid", &b.id])?;
    check(t.path("run").join(t.kind.name()).join(&b.id).is_dir(), || "the state is elsewhere".to_owned())?;
    same("status", status()?, "created")?;
    fine(&["start", &b.id])?;
    same("exec", fine(&["exec", &b.id, "id", "-u"])?.as_str(), "0\n")?;
    same("exec with a status", call(&b, &["exec", &b.id, "sh", "-c", "exit 7"])?.status, 7)?;
    let refused = call(&b, &["exec", "--user", "5", &b.id, "true"])?;
    check(refused.status != 0, || "an id that is not mapped".to_owned())?;
    let pid = b.pid()?.as_raw_nonzero();
    same("ps", fine(&["ps", "--format", "json", &b.id])?, format!("[{pid}]\n"))?;
    let listed: Value = serde_json::from_str(&fine(&["list", "--format", "json"])?)?;
    same("the owner", &listed[0]["owner"], &json!(format!("#{USER}")))?;
    same("list --quiet", fine(&["list", "--quiet"])?, format!("{}\n", b.id))?;
    for (args, told) in [
        (&["pause", &b.id][..], "without which it cannot be paused"),
        (&["update", "--pids-limit", "5", &b.id], "so that it cannot be limited"),
        (&["events", "--stats", &b.id], "without which it cannot be"),
    ] {
        let refused = call(&b, args)?;
        same("status", refused.status, 1)?;
        contains("stderr", &refused.stderr()?, told)?;
    }
    // Another user sees nothing of it, and root all.
    let state = some("a state", t.path("run").join(t.kind.name()).to_str().map(str::to_owned))?;
    let mut other = Command::new(&t.runtime);
    other.args(["--root", &state, "kill", &b.id, "KILL"]).uid(USER + 1).gid(USER + 1).current_dir("/");
    crate::bundle::bare(&mut other);
    check(t.output_of(other)?.status != 0, || "another user killed it".to_owned())?;
    same("status", status()?, "running")?;
    fine(&["kill", &b.id, "KILL"])?;
    b.ended()?;
    same("status", status()?, "stopped")?;
    fine(&["delete", &b.id])?;
    let gone = call(&b, &["state", &b.id])?;
    contains("stderr", &gone.stderr()?, "does not exist")
}
