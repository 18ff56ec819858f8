//! Hooks that take too long, do not read, print without end, or kill.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use super::uses::FROM_STATE;
use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("hooks/timeout-create", "a hook that takes too long is killed, and has failed", timeout_create)
            .known_failure(Kind::Crun, NO_POSTSTOP),
        case("hooks/timeout-family", "with what it has started", timeout_family)
            .skip(Kind::Runc, "waits for what it has started, without end")
            .known_failure(Kind::Crun, "kills the hook alone"),
        case("hooks/timeout-start-container", "so in the container", timeout_start),
        case("hooks/timeout-poststop", "so after it: a warning", timeout_poststop)
            .known_failure(Kind::Runc, "runs no more of them after one that failed"),
        case("hooks/timeout-long", "a timeout that is not needed", timeout_long),
        case("hooks/reads-nothing", "one that closes its input", |t| harmless(t, "exec <&-; sleep 0.1"))
            .skip(Kind::Crun, "may die of SIGPIPE, and cannot delete the container then"),
        case("hooks/large-state", "a state larger than a pipe, read in part, wholly or not", large_state)
            .skip(Kind::Crun, "dies of SIGPIPE, and cannot delete the container then"),
        case("hooks/prints-much", "one that prints megabytes", |t| {
            harmless(t, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
        }),
        case("hooks/leaves-a-process", "its end counts, not that of what it started", leaves_a_process)
            .known_failure(Kind::Runc, "waits for the pipes to be closed"),
        case("hooks/kills-the-container", "a hook that kills the container's process: create fails", kills_it)
            .known_failure(Kind::Crun, NO_POSTSTOP),
        case(
            "hooks/create-killed",
            "create killed in a hook: delete --force cleans up and runs poststop",
            create_killed,
        )
        .only(Kind::NoFrills, "the others leave what they cannot find"),
    ]
}

/// A hook that would take too long.
fn slow() -> Value {
    let mut hook = sh("exec sleep 1000");
    hook["timeout"] = json!(1);
    hook
}

fn timeout_create(t: &Test) -> Verdict {
    for moment in ["createRuntime", "createContainer"] {
        let (b, dir) = shared(t)?;
        let b = b.hook(moment, slow()).hook("poststop", noting(&dir, "poststop"));
        let begun = Instant::now();
        let ours = format!("/hooks/{moment}/0: hook \"/bin/sh\": killed: it took longer than its timeout of 1 s");
        b.create_with(&[])?.refuses(t, &ours, &["timed out", "imeout", "signal: killed"])?;
        check(begun.elapsed() < PATIENCE, || format!("it took {:?}", begun.elapsed()))?;
        b.is_gone()?;
        same("hooks", noted(&dir)?, ["poststop"])?;
    }
    Ok(())
}

fn timeout_family(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let mut hook = sh(&format!("sleep 1000 & echo $! >{}/pid; sleep 1000", dir.display()));
    hook["timeout"] = json!(1);
    let b = b.hook("createRuntime", hook);
    check(b.create_with(&[])?.status != 0, || "create did not fail".to_owned())?;
    let child: u32 = read(&dir, "pid")?.trim().parse()?;
    eventually("what the hook had started is dead", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat"));
        Ok(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z")))
    })
}

fn timeout_start(t: &Test) -> Verdict {
    let b = t.bundle()?.idle().hook("startContainer", slow());
    b.create()?;
    let output = b.verb("start", &[])?;
    if t.ours() {
        output.refuses(t, "/hooks/startContainer/0: hook \"/bin/sh\": killed: it took longer", &[])?;
        return b.is_gone();
    }
    b.ended()?;
    b.is("stopped")
}

fn timeout_poststop(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.hook("poststop", slow()).hook("poststop", noting(&dir, "second"));
    b.live()?;
    same("hooks", noted(&dir)?, ["second"])
}

fn timeout_long(t: &Test) -> Verdict {
    for timeout in [100, i64::from(i32::MAX)] {
        let (b, dir) = shared(t)?;
        let mut hook = noting(&dir, "ran");
        hook["timeout"] = json!(timeout);
        let b = MOMENTS.iter().fold(b, |b, moment| b.hook(moment, hook.clone()));
        b.live()?;
        same("hooks", noted(&dir)?.len(), MOMENTS.len())?;
    }
    Ok(())
}

/// A script that does no harm at any moment.
fn harmless(t: &Test, script: &str) -> Verdict {
    let (b, dir) = shared(t)?;
    let script = format!("{script}; {}; cat >/dev/null || true", note(&dir, "ran"));
    MOMENTS.iter().fold(b, |b, moment| b.hook(moment, sh(&script))).live()?;
    same("hooks", noted(&dir)?.len(), MOMENTS.len())
}

fn large_state(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.set("/annotations", json!({"large": "x".repeat(300_000)}));
    let b = MOMENTS.iter().fold(b, |b, moment| b.reports(moment, &dir, "head -c 10 >/dev/null; exec <&-; sleep 0.1"));
    let b = MOMENTS.iter().fold(b, |b, moment| b.hook(moment, sh("sleep 0.1")).reports(moment, &dir, "wc -c"));
    b.live()?;
    for moment in MOMENTS {
        let length: usize = read(&dir, moment)?.trim().parse()?;
        check(length > 300_000, || format!("{moment}: {length}"))?;
    }
    Ok(())
}

fn leaves_a_process(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.hook("createRuntime", sh(&format!("cat >/dev/null; sleep 30 & echo $! >{}/pid", dir.display())));
    b.live()?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", read(&dir, "pid")?.trim()));
    crate::left::kill_descendants();
    check(stat.is_ok_and(|stat| !stat.contains(") Z")), || "it waited for what the hook had started".to_owned())
}

fn kills_it(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b =
        b.hook("createRuntime", sh(&format!("{FROM_STATE} kill -9 $PID"))).hook("poststop", noting(&dir, "poststop"));
    let output = b.create_with(&[])?;
    check(output.status != 0, || "create did not fail".to_owned())?;
    if t.ours() {
        let output = output.exits(1)?;
        contains("stderr", &output.stderr()?, "killed by signal 9")?;
    }
    b.is_gone()?;
    same("hooks", noted(&dir)?, ["poststop"])
}

fn create_killed(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b
        .hook("createRuntime", sh(&format!("echo $$ >{}/pid; sleep 1000", dir.display())))
        .hook("poststop", noting(&dir, "poststop"));
    b.save()?;
    let mut create = b.command("create", &[]).spawn()?;
    eventually("the hook runs", || Ok(read(&dir, "pid")?.ends_with('\n')))?;
    same("status", &b.state()?["status"], "creating")?;
    create.kill()?;
    create.wait()?;
    b.delete_force()?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    crate::left::kill_descendants();
    same("hooks", noted(&dir)?, ["poststop"])
}
