//! What becomes of a container whose hook fails.

use serde_json::{Value, json};

use super::surroundings::script_file;
use super::*;

const KEEPS_IT: &str = "the container is kept, stopped, and delete runs the poststop hooks";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("hooks/fail-prestart", "create fails, everything is undone, poststop is run", |t| {
            fails_create(t, "prestart")
        })
        .known_failure(Kind::Crun, NO_POSTSTOP),
        case("hooks/fail-create-runtime", "the same", |t| fails_create(t, "createRuntime"))
            .known_failure(Kind::Crun, NO_POSTSTOP),
        case("hooks/fail-create-container", "the same", |t| fails_create(t, "createContainer"))
            .known_failure(Kind::Crun, NO_POSTSTOP),
        case("hooks/fail-start-container", "start fails, the container is destroyed, poststop is run", fails_start)
            .differs(Kind::Runc, KEEPS_IT)
            .differs(Kind::Crun, KEEPS_IT),
        case("hooks/fail-poststart", "start fails, the container is destroyed, poststop is run", fails_poststart)
            .differs(Kind::Runc, "create fails"),
        case("hooks/fail-poststop", "a warning: the others are run, and the container is gone", fails_poststop)
            .known_failure(Kind::Runc, "runs no more of them after one that failed"),
        case("hooks/fail-in-run", "run fails and leaves nothing", fails_run).known_failure(Kind::Crun, NO_POSTSTOP),
        case("hooks/fail-stops-the-list", "after one that fails no other is run", fails_first),
        case("hooks/fail-missing", "a path that is not there", |t| cannot(t, "/nope", "ENOENT", &["no such file"]))
            .known_failure(Kind::Crun, "it is no error to it"),
        case("hooks/fail-not-executable", "a file that is not executable", |t| {
            cannot(t, "/etc/passwd", "EACCES", &["permission denied"])
        })
        .known_failure(Kind::Crun, "does not say why"),
        case("hooks/fail-directory", "a directory", |t| cannot(t, "/etc", "EACCES", &["permission denied"]))
            .known_failure(Kind::Crun, "does not say why"),
        case("hooks/fail-no-program", "an executable file that is no program", no_program)
            .known_failure(Kind::Crun, "does not say why"),
        case("hooks/fail-missing-in-container", "a startContainer path of the host alone", missing_inside),
        case("hooks/fail-by-signal", "one that a signal kills is told by it", by_signal)
            .known_failure(Kind::Crun, "it is no error to it"),
        case("hooks/path-relative", "a relative path is refused", |t| {
            invalid(t, json!({"path": "bin/true"}), "/hooks/prestart/0/path")
        }),
        case("hooks/path-missing", "a hook without a path is refused", |t| {
            invalid(t, json!({"args": ["x"]}), "/hooks/prestart/0/path")
        }),
        case("hooks/timeout-zero", "a timeout of zero is refused", |t| {
            invalid(t, json!({"path": "/bin/true", "timeout": 0}), "/hooks/prestart/0/timeout")
        })
        .known_failure(Kind::Crun, "takes it for none"),
        case("hooks/timeout-negative", "a negative timeout is refused", |t| {
            invalid(t, json!({"path": "/bin/true", "timeout": -1}), "/hooks/prestart/0/timeout")
        }),
    ]
}

/// The text of a failed hook: ours has the pointer, the status and what it said.
fn says(t: &Test, output: Output, moment: &str, status: &str, said: &str) -> Verdict {
    let stderr = output.stderr()?;
    let output = output.refuses(t, &format!("/hooks/{moment}/0: hook "), &[])?;
    if t.ours() {
        contains("stderr", &output.stderr()?, &format!("{status}: {said}"))?;
    } else if t.kind == Kind::Runc {
        contains("stderr", &stderr, said)?;
    }
    Ok(())
}

const FAILING: &str = "cat >/dev/null; echo because of this >&2; exit 3";

fn fails_create(t: &Test, moment: &str) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.sh(&note(&dir, "process")).hook(moment, sh(FAILING)).hook("poststop", noting(&dir, "poststop"));
    says(t, b.create_with(&[])?, moment, "exit status 3", "because of this")?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    check(!t.ours() || !b.pid_file().exists(), || "the pid file is left".to_owned())?;
    same("hooks", noted(&dir)?, ["poststop"])?;
    // The name is free.
    b.remove("/hooks").idle().live()
}

fn fails_start(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b
        .sh(&note(&dir, "process"))
        .hook("startContainer", sh(FAILING))
        .hook("startContainer", noting(&dir, "second"))
        .hook("poststart", noting(&dir, "poststart"))
        .hook("poststop", noting(&dir, "poststop"));
    b.create()?;
    let output = b.verb("start", &[])?;
    if t.ours() {
        says(t, output, "startContainer", "exit status 3", "because of this")?;
        b.is_gone()?;
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    } else {
        // Their init dies of it, which start does not hear.
        b.ended()?;
        b.is("stopped")?;
        b.verb("delete", &[])?.exits(0)?;
    }
    let mut found = noted(&dir)?;
    // runc ran it in create, crun believes that the program runs.
    found.retain(|what| t.ours() || what != "poststart");
    same("hooks", found, ["poststop"])
}

fn fails_poststart(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.hook("poststart", sh(FAILING)).hook("poststop", noting(&dir, "poststop"));
    if t.kind == Kind::Runc {
        b.create_with(&[])?.refuses(t, "", &["because of this"])?;
        return Ok(());
    }
    b.create()?;
    let output = b.verb("start", &[])?;
    says(t, output, "poststart", "exit status 3", "because of this")?;
    b.is_gone()?;
    same("status", b.ended()?, 137)?;
    same("hooks", noted(&dir)?, ["poststop"])
}

fn fails_poststop(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b
        .hook("poststop", sh(FAILING))
        .hook("poststop", json!({"path": "/nope"}))
        .hook("poststop", noting(&dir, "third"));
    b.create()?;
    b.start()?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    let deleted = b.verb("delete", &[])?.exits(0)?;
    b.is_gone()?;
    same("hooks", noted(&dir)?, ["third"])?;
    if t.ours() {
        let stderr = deleted.stderr()?;
        contains("stderr", &stderr, "exit status 3: because of this")?;
        contains("stderr", &stderr, "/hooks/poststop/1: hook ")?;
    }
    Ok(())
}

fn fails_run(t: &Test) -> Verdict {
    for moment in ["prestart", "createContainer", "startContainer"] {
        let (b, dir) = shared(t)?;
        let b = b.sh(&note(&dir, "process")).hook(moment, sh(FAILING)).hook("poststop", noting(&dir, "poststop"));
        let output = b.run()?;
        if t.ours() {
            says(t, output, moment, "exit status 3", "because of this")?;
        } else {
            check(output.status != 0, || "run did not fail".to_owned())?;
        }
        b.is_gone()?;
        same(moment, noted(&dir)?, ["poststop"])?;
    }
    Ok(())
}

fn fails_first(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b
        .hook("prestart", noting(&dir, "before"))
        .hook("prestart", sh("cat >/dev/null; exit 1"))
        .hook("prestart", noting(&dir, "after"))
        .hook("createRuntime", noting(&dir, "later"))
        .hook("createContainer", noting(&dir, "later"));
    b.create_with(&[])?.refuses(t, "/hooks/prestart/1: hook \"/bin/sh\": exit status 1", &[])?;
    same("hooks", noted(&dir)?, ["before"])
}

fn cannot(t: &Test, path: &str, ours: &str, peers: &[&str]) -> Verdict {
    let b = t.bundle()?.hook("createRuntime", json!({"path": path, "args": ["x"]}));
    let ours = format!("/hooks/createRuntime/0: hook {path:?}: execve: {ours}");
    b.create_with(&[])?.refuses(t, &ours, peers)?;
    b.is_gone()
}

fn no_program(t: &Test) -> Verdict {
    let file = t.path("no-program");
    script_file(&file, "\x7fELF and then nothing")?;
    cannot(t, &file.to_string_lossy(), "ENOEXEC", &["exec format error"])
}

fn missing_inside(t: &Test) -> Verdict {
    let b = t.bundle()?.idle().hook("startContainer", json!({"path": "/etc/debian_version", "args": ["x"]}));
    b.create()?;
    let output = b.verb("start", &[])?;
    if t.ours() {
        output.refuses(t, "/hooks/startContainer/0: hook \"/etc/debian_version\": ", &[])?;
        return b.is_gone();
    }
    b.ended()?;
    b.is("stopped")
}

fn by_signal(t: &Test) -> Verdict {
    let b = t.bundle()?.hook("createRuntime", sh("kill -SEGV $$"));
    let ours = "/hooks/createRuntime/0: hook \"/bin/sh\": killed by signal 11";
    b.create_with(&[])?.refuses(t, ours, &["segmentation fault", "exit code: -11", "error executing hook"])?;
    b.is_gone()
}

fn invalid(t: &Test, hook: Value, pointer: &str) -> Verdict {
    let b = t.bundle()?.hook("prestart", hook);
    b.create_with(&[])?.refuses(t, &format!("{pointer}: "), &[])?;
    b.is_gone()
}
