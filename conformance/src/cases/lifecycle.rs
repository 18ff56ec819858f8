//! create, start, state, kill, delete, list, ps.

mod refusals;
mod run;

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Test, ended, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, fail, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = verbs();
    cases.extend(refusals::cases());
    cases.extend(run::cases());
    cases
}

fn verbs() -> Vec<Case> {
    vec![
        case("lifecycle/all-steps", "create, start, state, kill, delete, each with its status", all_steps),
        case("lifecycle/create-does-not-run", "create runs nothing of the process until start", create_does_not_run),
        case("lifecycle/pid-file", "the pid file holds the pid in digits, without a newline", pid_file),
        case(
            "lifecycle/pid-is-the-process",
            "the pid is that of the container's process, before and after start",
            pid_is,
        ),
        case("lifecycle/state-fields", "state prints the specification's properties", state_fields),
        case("lifecycle/state-annotations", "state repeats the config's annotations", state_annotations),
        case("lifecycle/state-of-stopped", "state of a stopped container: pid 0, or absent", state_of_stopped),
        case(
            "lifecycle/bundle-is-the-working-directory",
            "without --bundle the working directory is the bundle",
            bundle_cwd,
        ),
        case(
            "lifecycle/kill-by-name-and-number",
            "kill takes TERM, SIGTERM, sigterm and 15; TERM is the default",
            kill_names,
        ),
        case("lifecycle/kill-created", "a created container can be killed", kill_created),
        case("lifecycle/kill-all", "kill --all reaches every process that shares the host's pid namespace", kill_all),
        case(
            "lifecycle/kill-all-below",
            "kill --all reaches processes in cgroups that the container made, with any signal",
            kill_all_below,
        )
        .skip(Kind::Runc, "1.3.6 reaches those in the container's own cgroup alone"),
        case(
            "lifecycle/kill-left",
            "kill KILL ends what the first process left in the host's pid namespace",
            kill_left,
        )
        .known_failure(Kind::Crun, "fails, since the first process has ended"),
        case("lifecycle/kill-zero", "signal 0 tests for life", kill_zero),
        case("lifecycle/delete-created", "delete of a created container needs no --force", delete_created),
        case(
            "lifecycle/delete-force-running",
            "delete --force of a running container kills and removes it",
            delete_force,
        ),
        case(
            "lifecycle/delete-force-flags",
            "-f, --force and -force=true mean the same, before and after the id",
            force_flags,
        )
        .differs(Kind::Crun, "flags come before the id, have two dashes and no value"),
        case(
            "lifecycle/delete-force-missing",
            "delete --force of a missing container is no error",
            delete_force_missing,
        ),
        case("lifecycle/delete-twice", "an id is free again after delete", delete_twice),
        case("lifecycle/list", "list as a table, as JSON, and ids alone", list),
        case("lifecycle/list-empty", "list with no container, and with no state root at all", list_empty)
            .differs(Kind::Runc, "a state root that does not exist is an error to it"),
        case("lifecycle/ps", "ps as a table and as JSON", ps),
        case("lifecycle/ps-options", "what follows the id are the options of the host's ps", ps_options)
            .skip(Kind::Crun, "takes none"),
        case("lifecycle/many-at-once", "containers are made, started and deleted side by side", many),
        case("lifecycle/same-id-at-once", "of parallel creates with one id exactly one succeeds", same_id),
        case(
            "lifecycle/zombie-is-stopped",
            "a container whose process has ended but was not reaped is stopped",
            zombie,
        ),
        case(
            "lifecycle/exec-failure-leaves-stopped",
            "the container is still listed after its process ended",
            listed_after_end,
        ),
    ]
}

fn all_steps(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?.prints("")?;
    b.is("created")?;
    b.start()?.prints("")?;
    b.is("running")?;
    b.verb("kill", &["KILL"])?.exits(0)?.prints("")?;
    b.ended()?;
    b.is("stopped")?;
    b.verb("delete", &[])?.exits(0)?.prints("")?;
    b.is_gone()
}

fn create_does_not_run(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("echo ran >/ran");
    b.create()?;
    check(!b.rootfs("ran").exists(), || "the process ran before start".to_owned())?;
    b.start()?;
    same("status", b.ended()?, 0)?;
    same("/ran", fs::read_to_string(b.rootfs("ran"))?, "ran\n")
}

fn pid_file(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    let text = fs::read_to_string(b.pid_file())?;
    check(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()), || format!("pid file: {text:?}"))?;
    same("pid in state", b.state()?["pid"].to_string(), text)
}

fn pid_is(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["sleep", "1001"]);
    b.create()?;
    let before = b.pid()?;
    b.start()?;
    same("pid after start", b.state()?["pid"].as_i64(), Some(i64::from(before.as_raw_nonzero().get())))?;
    b.executes(&["sleep", "1001"])
}

fn state_fields(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    let state = b.state()?;
    same("id", &state["id"], b.id.as_str())?;
    same("bundle", &state["bundle"], &json!(b.dir))?;
    same("status", &state["status"], "created")?;
    check(state["pid"].as_i64().is_some_and(|pid| pid > 1), || format!("pid: {}", state["pid"]))?;
    let version = some("ociVersion", state["ociVersion"].as_str())?;
    check(version.starts_with("1."), || format!("ociVersion: {version}"))?;
    check(state.get("annotations").is_none_or(|annotations| *annotations == json!({})), || {
        format!("annotations: {state}")
    })?;
    let created = some("created", state["created"].as_str())?;
    check(is_rfc3339(created), || format!("created is not of RFC 3339 in UTC: {created}"))?;
    if t.ours() || t.kind == Kind::Runc {
        same(
            "rootfs",
            &state["rootfs"],
            json!(b.rootfs("")).as_str().map(|path| path.trim_end_matches('/')).unwrap_or_default(),
        )?;
        check(state["owner"].is_string(), || format!("owner: {}", state["owner"]))?;
    }
    Ok(())
}

/// `2026-11-22T03:14:34.560011216Z`, the fraction optional.
fn is_rfc3339(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd";
    let Some((head, tail)) = text.split_at_checked(pattern.len()) else { return false };
    let fits = head.chars().zip(pattern.chars()).all(|(c, p)| if p == 'd' { c.is_ascii_digit() } else { c == p });
    let Some(fraction) = tail.strip_suffix('Z') else { return false };
    fits && (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(|f| f.bytes().all(|b| b.is_ascii_digit())))
}

fn state_annotations(t: &Test) -> Verdict {
    let b = t.bundle()?.idle().set("/annotations", json!({"com.example.key": "a \"value\"\n", "empty": ""}));
    b.create()?;
    same("annotations", &b.state()?["annotations"], &json!({"com.example.key": "a \"value\"\n", "empty": ""}))
}

fn state_of_stopped(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.create()?;
    b.start()?;
    b.ended()?;
    b.is("stopped")?;
    check(b.state()?["pid"].as_i64().unwrap_or(0) == 0, || "the pid of a stopped container is not 0".to_owned())
}

fn bundle_cwd(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo here");
    b.save()?;
    let mut command = t.command(&["run", &b.id]);
    command.current_dir(&b.dir);
    t.output_of(command)?.exits(0)?.prints("here\n")?;
    Ok(())
}

fn kill_names(t: &Test) -> Verdict {
    for signal in [&["TERM"][..], &["SIGTERM"], &["15"], &[]] {
        let b = t.bundle()?.sh("trap 'exit 3' TERM; echo ready; while :; do sleep 1000 & wait; done");
        let mut lines = b.started()?;
        same("first line", lines.next()?, "ready")?;
        b.verb("kill", signal)?.exits(0)?;
        same("status", b.ended()?, 3)?;
    }
    let b = t.bundle()?.sh("trap 'exit 4' USR2; echo ready; while :; do sleep 1000 & wait; done");
    let mut lines = b.started()?;
    same("first line", lines.next()?, "ready")?;
    b.verb("kill", &[if t.kind == Kind::Crun { "USR2" } else { "sigusr2" }])?.exits(0)?;
    same("status", b.ended()?, 4)
}

fn kill_created(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    b.is("stopped")?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn kill_all(t: &Test) -> Verdict {
    let b = t.bundle()?.no_namespace("pid").sh("sleep 1000 & sleep 1000 & echo $!; wait");
    let mut lines = b.started()?;
    let last: i32 = lines.next()?.parse()?;
    t.runtime(&["kill", "--all", &b.id, "KILL"])?.exits(0)?;
    b.ended()?;
    ended(some("a pid", rustix::process::Pid::from_raw(last))?)?;
    eventually("no process is left in the cgroup", || {
        Ok(fs::read_to_string(b.cgroup_dir().join("cgroup.procs")).unwrap_or_default().is_empty())
    })?;
    b.verb("delete", &[])?.exits(0)?;
    Ok(())
}

fn kill_left(t: &Test) -> Verdict {
    let b = t.bundle()?.no_namespace("pid").sh("sleep 1000 & echo $!; exit");
    let mut lines = b.started()?;
    let left: i32 = lines.next()?.parse()?;
    b.ended()?;
    b.is("stopped")?;
    check(b.verb("kill", &["TERM"])?.status != 0, || "kill TERM of a stopped container succeeds".to_owned())?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    ended(some("a pid", rustix::process::Pid::from_raw(left))?)?;
    b.verb("delete", &[])?.exits(0)?;
    Ok(())
}

fn kill_all_below(t: &Test) -> Verdict {
    // The first one in a pid namespace takes no signal that it has no handler for.
    let b = t.bundle()?.no_namespace("pid").sh("trap 'echo first' TERM; echo ready; while :; do sleep 0.01; done");
    let mut lines = b.started()?;
    same("line", lines.next()?, "ready")?;
    let below = b.cgroup_dir().join("deep/deeper");
    fs::create_dir_all(&below)?;
    let script = format!("echo 0 >{}/cgroup.procs; exec sleep 1000", below.display());
    let mut placed = std::process::Command::new("sh").args(["-c", &script]).spawn()?;
    eventually("it is there", || Ok(!fs::read_to_string(below.join("cgroup.procs"))?.is_empty()))?;
    t.runtime(&["kill", "--all", &b.id, "TERM"])?.exits(0)?;
    same("line", lines.next()?, "first")?;
    let status = placed.wait()?;
    same("status", crate::bundle::code(status), 143)?;
    b.kill_and_delete()
}

fn kill_zero(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.verb("kill", &["0"])?.exits(0)?;
    b.is("created")
}

fn delete_created(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn delete_force(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("trap '' TERM INT HUP; sleep 1000 & sleep 1000 & wait");
    b.create()?;
    b.start()?;
    b.delete_force()?.prints("")?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn force_flags(t: &Test) -> Verdict {
    let all: [&[&str]; 6] = [
        &["delete", "-f", "ID"],
        &["delete", "ID", "--force"],
        &["delete", "ID", "-f"],
        &["delete", "-force=true", "ID"],
        &["delete", "-force", "ID"],
        &["delete", "--force=true", "ID"],
    ];
    for args in all.iter().take(if t.kind == Kind::Crun { 1 } else { all.len() }) {
        let b = t.bundle()?.idle();
        b.create()?;
        b.start()?;
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "ID" { b.id.as_str() } else { arg }).collect();
        t.runtime(&args)?.exits(0)?;
        b.is_gone()?;
    }
    if t.kind == Kind::Crun {
        return Ok(());
    }
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    t.runtime(&["delete", "--force=false", &b.id])?.exits(1)?;
    b.is("running")
}

fn delete_force_missing(t: &Test) -> Verdict {
    t.runtime(&["delete", "no-such-container"])?.exits(1)?;
    t.runtime(&["delete", "--force", "no-such-container"])?.exits(0)?.prints("")?;
    Ok(())
}

fn delete_twice(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    for _ in 0..2 {
        b.create()?;
        b.start()?;
        b.kill_and_delete()?;
        b.is_gone()?;
    }
    Ok(())
}

fn list(t: &Test) -> Verdict {
    let (one, two) = (t.bundle()?.idle(), t.bundle()?.idle());
    one.create()?;
    two.create()?;
    two.start()?;
    let ids = t.runtime(&["list", "-q"])?.exits(0)?.stdout()?;
    let mut ids: Vec<&str> = ids.lines().collect();
    ids.sort_unstable();
    same("list -q", ids, [one.id.as_str(), two.id.as_str()])?;

    let table = t.runtime(&["list"])?.exits(0)?.stdout()?;
    for part in [&one.id, &two.id, "created", "running", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] {
        contains("the table", &table, part)?;
    }
    same("lines of the table", table.lines().count(), 3)?;
    if t.ours() {
        check(table.starts_with("ID "), || format!("the table begins with ID: {table}"))?;
    }

    let list: Value = serde_json::from_str(&t.runtime(&["list", "--format", "json"])?.exits(0)?.stdout()?)?;
    let list = some("an array", list.as_array())?;
    same("containers in the list", list.len(), 2)?;
    for b in [&one, &two] {
        let entry = some("an entry", list.iter().find(|entry| entry["id"] == b.id.as_str()))?;
        let state = b.state()?;
        for key in ["pid", "status", "bundle", "created"] {
            same(key, &entry[key], &state[key])?;
        }
        same("owner", &entry["owner"], "root")?;
    }
    Ok(())
}

fn list_empty(t: &Test) -> Verdict {
    if t.kind == Kind::Runc {
        t.runtime(&["list"])?.exits(1)?;
        fs::create_dir(t.state_root())?;
    }
    let (none, header) = if t.kind == Kind::Crun { ("[]", "NAME") } else { ("null", "ID") };
    same("JSON", t.runtime(&["list", "-f", "json"])?.exits(0)?.stdout()?.trim(), none)?;
    t.runtime(&["list", "-q"])?.exits(0)?.prints("")?;
    let table = t.runtime(&["list"])?.exits(0)?.stdout()?;
    check(table.starts_with(header) && table.lines().count() == 1, || format!("the table: {table:?}"))
}

fn ps(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    let pid = b.state()?["pid"].clone();
    let table = b.verb("ps", &[])?.exits(0)?.stdout()?;
    check(table.lines().next().is_some_and(|line| line.contains("PID")), || format!("the header: {table}"))?;
    contains("the table", &table, &pid.to_string())?;
    let json: Value = serde_json::from_str(&t.runtime(&["ps", "--format", "json", &b.id])?.exits(0)?.stdout()?)?;
    same("ps --format json", json, json!([pid]))?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    let json = t.runtime(&["ps", "-f", "json", &b.id])?.exits(0)?.stdout()?;
    let none: Value = if t.kind == Kind::Crun { json!([]) } else { Value::Null };
    same("ps of a stopped container", serde_json::from_str::<Value>(&json)?, none)
}

fn ps_options(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let pid = b.pid()?.as_raw_nonzero();
    let table = b.verb("ps", &["-e", "-o", "pid,args"])?.exits(0)?.stdout()?;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    same("lines", lines, [vec!["PID", "COMMAND"], vec![&pid.to_string(), "sleep", "1000"]])?;
    b.verb("ps", &["-e", "-o", "args"])?.refuses(t, "no column PID", &["PID"])?;
    b.verb("ps", &["--no-such-option"])?.refuses(t, "ps: exit status", &["exit status"])?;
    Ok(())
}

fn many(t: &Test) -> Verdict {
    let bundles = (0..8).map(|_| t.bundle().map(Bundle::idle)).collect::<Verdict<Vec<_>>>()?;
    for verb in ["create", "start", "delete"] {
        let mut children = Vec::new();
        for b in &bundles {
            b.save()?;
            let mut command = match verb {
                "create" => b.command("create", &[]),
                "start" => t.command(&["start", &b.id]),
                _ => t.command(&["delete", "--force", &b.id]),
            };
            let err = fs::File::create(b.dir.join(verb))?;
            let null = std::process::Stdio::null;
            children.push((b, command.stdin(null()).stdout(null()).stderr(err).spawn()?));
        }
        for (b, mut child) in children {
            let status = child.wait()?;
            if !status.success() {
                return fail(format!("{verb}: {status}: {}", fs::read_to_string(b.dir.join(verb))?));
            }
            match verb {
                "create" => b.is("created")?,
                "start" => b.is("running")?,
                _ => b.is_gone()?,
            }
        }
    }
    Ok(())
}

fn same_id(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    let null = std::process::Stdio::null;
    let mut children = Vec::new();
    for _ in 0..6 {
        let mut command = b.command("create", &[]);
        children.push(command.stdin(null()).stdout(null()).stderr(null()).spawn()?);
    }
    let mut created = 0;
    for mut child in children {
        created += u32::from(child.wait()?.success());
    }
    same("how many succeeded", created, 1)?;
    b.is("created")?;
    b.start()?;
    b.is("running")
}

fn zombie(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.create()?;
    let stat = format!("/proc/{}/stat", b.pid()?.as_raw_nonzero());
    b.start()?;
    // The process is this one's child by now, and nobody has waited for it.
    eventually("the process is a zombie", || Ok(fs::read_to_string(&stat)?.contains(") Z ")))?;
    b.is("stopped")?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn listed_after_end(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["false"]);
    b.create()?;
    b.start()?;
    same("status", b.ended()?, 1)?;
    same("list -q", t.runtime(&["list", "-q"])?.exits(0)?.stdout()?.trim(), b.id.as_str())
}
