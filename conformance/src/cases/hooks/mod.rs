//! Hooks: when they are run, where, with what, and what becomes of a container whose hook fails.

mod failures;
mod nasty;
mod surroundings;
mod uses;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, PATIENCE, Test, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = moments();
    cases.extend(surroundings::cases());
    cases.extend(failures::cases());
    cases.extend(nasty::cases());
    cases.extend(uses::cases());
    cases
}

const POSTSTART_IN_CREATE: &str = "runs poststart hooks in create (until 1.5)";

const AT_ONCE: &str = "runs poststart hooks while startContainer hooks run";

const NO_POSTSTOP: &str = "runs no poststop hooks then";

fn moments() -> Vec<Case> {
    vec![
        case("hooks/order", "each moment's hooks, in their order, over create, start, delete", order)
            .differs(Kind::Runc, POSTSTART_IN_CREATE)
            .differs(Kind::Crun, AT_ONCE),
        case("hooks/order-in-run", "the same in run", order_in_run)
            .differs(Kind::Runc, POSTSTART_IN_CREATE)
            .differs(Kind::Crun, AT_ONCE),
        case("hooks/empty", "no hooks, empty lists, null", empty),
        case("hooks/state-prestart", "the state that a prestart hook reads", |t| told(t, "prestart", "creating"))
            .differs(Kind::Crun, "says created"),
        case("hooks/state-create-runtime", "the state that a createRuntime hook reads", |t| {
            told(t, "createRuntime", "creating")
        })
        .differs(Kind::Crun, "says created"),
        case("hooks/state-create-container", "the state that a createContainer hook reads", |t| {
            told(t, "createContainer", "creating")
        })
        .differs(Kind::Crun, "says created, and no pid"),
        case("hooks/state-start-container", "the state that a startContainer hook reads", |t| {
            told(t, "startContainer", "created")
        })
        .differs(Kind::Crun, "says starting, no pid, and another bundle"),
        case("hooks/state-poststart", "the state that a poststart hook reads", |t| told(t, "poststart", "running"))
            .differs(Kind::Runc, "runs it before start, and says created"),
        case("hooks/state-poststop", "the state that a poststop hook reads", |t| told(t, "poststop", "stopped")),
        case("hooks/state-command", "a hook can ask the runtime for the state", state_command),
        case("hooks/config-as-at-create", "a config.json that changes later changes no hook", config_as_at_create),
        case("hooks/bundle-gone", "poststop hooks are run though the bundle is gone", bundle_gone)
            .known_failure(Kind::Crun, "wants the bundle"),
        case("hooks/delete-created", "delete of a created container runs poststop hooks", delete_created),
        case("hooks/delete-force", "delete --force of a running container runs poststop hooks, once", delete_force),
        case("hooks/process-ended-first", "a process that ends at once: poststart and poststop are run", short_lived),
        case("hooks/many", "a hundred hooks", many),
    ]
}

/// A hook that is a shell script.
fn sh(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

const MOMENTS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle, and a directory that has the same path inside and outside.
fn shared<'t>(t: &'t Test) -> Verdict<(Bundle<'t>, PathBuf)> {
    let dir = t.path(&format!("log{}", t.ids().len()));
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    let b = t.bundle()?.bind(&dir, &dir.to_string_lossy(), &["rbind", "rw"]).idle();
    Ok((b, dir))
}

impl Bundle<'_> {
    fn hook(self, moment: &str, hook: Value) -> Self {
        let b = if self.config["hooks"].is_object() { self } else { self.set("/hooks", json!({})) };
        b.push(&format!("/hooks/{moment}"), hook)
    }

    /// A hook of a moment writes what a script prints to a file, which it makes whole before it has its name. It reads
    /// what the script has left of the state: crun may die of one that does not.
    fn reports(self, moment: &str, dir: &Path, script: &str) -> Self {
        let file = dir.join(moment);
        let file = file.display();
        self.hook(moment, sh(&format!("{{ {script}; }} >{file}.new 2>&1; cat >/dev/null; mv {file}.new {file}")))
    }

    /// create, start, and the end of it.
    fn live(&self) -> Verdict {
        self.create()?;
        self.start_idle()?;
        self.kill_and_delete()
    }
}

fn read(dir: &Path, file: &str) -> Verdict<String> {
    fs::read_to_string(dir.join(file)).or_else(|error| Ok(format!("{file}: {error}")))
}

/// A script that notes that it was run.
fn note(dir: &Path, what: &str) -> String {
    format!("echo {what} >>{}/order", dir.display())
}

/// A hook that notes that it was run. It reads the state: crun may die of one that does not.
fn noting(dir: &Path, what: &str) -> Value {
    sh(&format!("cat >/dev/null; {}", note(dir, what)))
}

/// The names that were noted, in their order.
fn noted(dir: &Path) -> Verdict<Vec<String>> {
    let text = fs::read_to_string(dir.join("order")).unwrap_or_default();
    Ok(text.lines().map(str::to_owned).collect())
}

fn noting_all<'t>(t: &'t Test) -> Verdict<(Bundle<'t>, PathBuf)> {
    let (b, dir) = shared(t)?;
    let b = MOMENTS.iter().fold(b, |b, moment| {
        let first = noting(&dir, &format!("{moment}.0"));
        b.hook(moment, first).hook(moment, noting(&dir, &format!("{moment}.1")))
    });
    Ok((b, dir))
}

fn twice(moments: &[&str]) -> Vec<String> {
    moments.iter().flat_map(|moment| [format!("{moment}.0"), format!("{moment}.1")]).collect()
}

fn order(t: &Test) -> Verdict {
    let (b, dir) = noting_all(t)?;
    let b = b.sh(&format!("{}; sleep 1000", note(&dir, "process")));
    b.create()?;
    let mut expected = twice(if t.kind == Kind::Runc {
        &["prestart", "createRuntime", "createContainer", "poststart"]
    } else {
        &["prestart", "createRuntime", "createContainer"]
    });
    same("after create", noted(&dir)?, expected.clone())?;
    b.start()?;
    eventually("the process has run", || Ok(noted(&dir)?.contains(&"process".to_owned())))?;
    let mut after_start = noted(&dir)?;
    // Where it is said that the program runs, both go on at once.
    after_start.retain(|what| what != "process");
    expected.extend(twice(if t.kind == Kind::Runc { &["startContainer"] } else { &["startContainer", "poststart"] }));
    same_order(t, "after start", after_start, &expected)?;
    let all = noted(&dir)?;
    let place = |what: &str| all.iter().position(|noted| noted == what);
    check(place("startContainer.1") < place("process"), || "startContainer came after the process".to_owned())?;
    b.kill_and_delete()?;
    expected.extend(twice(&["poststop"]));
    let mut all = noted(&dir)?;
    all.retain(|what| what != "process");
    same_order(t, "after delete", all, &expected)
}

/// (crun's are as many, at least.)
fn same_order(t: &Test, what: &str, mut found: Vec<String>, expected: &[String]) -> Verdict {
    let mut expected = expected.to_vec();
    if t.kind == Kind::Crun {
        found.sort();
        expected.sort();
    }
    same(what, found, expected)
}

fn order_in_run(t: &Test) -> Verdict {
    let (b, dir) = noting_all(t)?;
    let b = b.sh(&format!("{}; sleep 0.5", note(&dir, "process")));
    b.run()?.exits(0)?;
    let expected = twice(if t.kind == Kind::Runc {
        &["prestart", "createRuntime", "createContainer", "poststart", "startContainer", "poststop"]
    } else {
        &MOMENTS
    });
    let mut found = noted(&dir)?;
    check(found.contains(&"process".to_owned()), || "the process did not run".to_owned())?;
    found.retain(|what| what != "process");
    same_order(t, "hooks", found, &expected)
}

fn empty(t: &Test) -> Verdict {
    for hooks in [json!({}), Value::Null, json!({"prestart": [], "poststop": null})] {
        t.bundle()?.set("/hooks", hooks).args(&["echo", "ran"]).run()?.exits(0)?.prints("ran\n")?;
    }
    Ok(())
}

fn told(t: &Test, moment: &str, status: &str) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.set("/annotations", json!({"com.example.a": "b \"c\""})).reports(moment, &dir, "cat");
    b.create()?;
    let pid = b.pid()?.as_raw_nonzero().get();
    b.start_idle()?;
    b.kill_and_delete()?;
    let state: Value = serde_json::from_str(&read(&dir, moment)?)?;
    same("id", &state["id"], b.id.as_str())?;
    same("annotations", &state["annotations"], &json!({"com.example.a": "b \"c\""}))?;
    let version = some("ociVersion", state["ociVersion"].as_str())?;
    check(version.starts_with("1."), || format!("ociVersion: {version}"))?;
    let inside = matches!(moment, "createContainer" | "startContainer");
    if t.kind == Kind::Crun {
        let theirs = match (moment, status) {
            ("startContainer", _) => "starting",
            (_, "creating") => "created",
            (_, status) => status,
        };
        same("status", &state["status"], theirs)?;
        return if inside { Ok(()) } else { same("bundle", &state["bundle"], &json!(b.dir)) };
    }
    same("bundle", &state["bundle"], &json!(b.dir))?;
    let status = if t.kind == Kind::Runc && moment == "poststart" { "created" } else { status };
    same("status", &state["status"], status)?;
    let pid = match moment {
        "poststop" => 0,
        _ if inside => 1,
        _ => pid,
    };
    same("pid", state["pid"].as_i64().unwrap_or(0), i64::from(pid))
}

fn state_command(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let command = format!("{} --root {} state {}", t.runtime.display(), t.state_root().display(), b.id);
    let b = b.reports("createRuntime", &dir, &command).reports("poststart", &dir, &command);
    b.create()?;
    b.start()?;
    let at_start: Value = serde_json::from_str(&read(&dir, "poststart")?)?;
    same("id", &at_start["id"], b.id.as_str())?;
    if t.ours() {
        let at_create: Value = serde_json::from_str(&read(&dir, "createRuntime")?)?;
        same("status in createRuntime", &at_create["status"], "creating")?;
        same("status in poststart", &at_start["status"], "running")?;
    }
    b.kill_and_delete()
}

fn config_as_at_create(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.hook("startContainer", noting(&dir, "start")).hook("poststop", noting(&dir, "stop"));
    b.create()?;
    fs::write(b.dir.join("config.json"), "{}")?;
    b.start_idle()?;
    b.kill_and_delete()?;
    same("hooks", noted(&dir)?, ["start", "stop"])
}

fn bundle_gone(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.hook("poststop", noting(&dir, "stop"));
    b.create()?;
    b.start()?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    fs::remove_dir_all(&b.dir)?;
    b.verb("delete", &[])?.exits(0)?;
    same("hooks", noted(&dir)?, ["stop"])
}

fn delete_created(t: &Test) -> Verdict {
    let (b, dir) = noting_all(t)?;
    b.create()?;
    // (crun wants --force)
    b.delete_force()?;
    check(noted(&dir)?.ends_with(&twice(&["poststop"])), || "poststop hooks were not run".to_owned())?;
    check(!noted(&dir)?.contains(&"startContainer.0".to_owned()), || "startContainer hooks were run".to_owned())
}

fn delete_force(t: &Test) -> Verdict {
    let (b, dir) = noting_all(t)?;
    b.create()?;
    b.start()?;
    b.delete_force()?;
    b.delete_force()?;
    let stops = noted(&dir)?.iter().filter(|what| what.starts_with("poststop")).count();
    same("poststop hooks", stops, 2)
}

fn short_lived(t: &Test) -> Verdict {
    let (b, dir) = noting_all(t)?;
    let b = b.args(&["true"]);
    b.create()?;
    b.start()?;
    b.ended()?;
    b.verb("delete", &[])?.exits(0)?;
    let mut expected = twice(&MOMENTS);
    let mut found = noted(&dir)?;
    expected.sort();
    found.sort();
    same("hooks", found, expected)
}

fn many(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = (0..100).fold(b, |b, _| b.hook("createRuntime", noting(&dir, "x")));
    b.live()?;
    same("hooks", noted(&dir)?.len(), 100)
}
