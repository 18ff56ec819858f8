//! Commands at the wrong time, and ids that are none.

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("lifecycle/missing-id", "state, start, kill, delete of a missing container fail", missing_id),
        case("lifecycle/delete-running", "delete of a running container fails and changes nothing", delete_running),
        case("lifecycle/start-twice", "start of a running or stopped container fails", start_twice),
        case("lifecycle/kill-stopped", "kill of a stopped container fails, kill --all of it does not", kill_stopped),
        case("lifecycle/kill-unknown-signal", "kill with an unknown signal names it and sends nothing", kill_unknown),
        case("lifecycle/id-in-use", "an id in use is refused and the container stays as it was", id_in_use),
        case("lifecycle/ids-accepted", "ids of letters, digits, _ + - . and of 200 characters", ids_accepted)
            .differs(Kind::Crun, "an id does not begin with a dot, since the state root holds files that do"),
        case(
            "lifecycle/ids-refused",
            "ids that are empty, `.`, `..`, hold / or others, or are 1025 characters long",
            ids_refused,
        ),
        case("lifecycle/missing-arguments", "a command without an id fails", missing_arguments),
    ]
}

fn missing_id(t: &Test) -> Verdict {
    let peers = ["does not exist", "No such file"];
    t.runtime(&["state", "no-such"])?.refuses(t, "container does not exist", &peers)?;
    t.runtime(&["start", "no-such"])?.refuses(t, "container does not exist", &peers)?;
    t.runtime(&["kill", "no-such", "9"])?.refuses(t, "container does not exist", &peers)?;
    t.runtime(&["delete", "no-such"])?.refuses(t, "container does not exist", &peers)?;
    t.runtime(&["ps", "no-such"])?.refuses(t, "container does not exist", &peers)?;
    Ok(())
}

fn delete_running(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    let ours = format!("cannot delete container {} that is not stopped: running", b.id);
    b.verb("delete", &[])?.refuses(t, &ours, &[&ours, "is not in `created` or `stopped` state"])?;
    b.is("running")
}

fn start_twice(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    b.verb("start", &[])?.refuses(t, "cannot start an already running container", &[])?;
    b.is("running")?;
    b.verb("kill", &["9"])?.exits(0)?;
    b.ended()?;
    b.verb("start", &[])?.refuses(t, "cannot start a container that has stopped", &[])?;
    b.is("stopped")
}

fn kill_stopped(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.create()?;
    b.start()?;
    b.ended()?;
    b.verb("kill", &["9"])?.refuses(t, "container not running", &["container not running", "No such process"])?;
    b.verb("kill", &["TERM"])?.refuses(t, "container not running", &["container not running", "No such process"])?;
    t.runtime(&["kill", "--all", &b.id, "9"])?.exits(0)?;
    t.runtime(&["kill", "-a", &b.id, "KILL"])?.exits(0)?;
    Ok(())
}

fn kill_unknown(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.verb("kill", &["SIGFOO"])?.refuses(t, "SIGFOO", &["unknown signal"])?;
    b.verb("kill", &["99"])?.refuses(t, "99", &[])?;
    b.is("created")
}

fn id_in_use(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    let pid = b.state()?["pid"].clone();
    let peers = ["already exists"];
    b.create_with(&[])?.refuses(t, "container with given ID already exists", &peers)?;
    b.run()?.refuses(t, "container with given ID already exists", &peers)?;
    b.is("created")?;
    same("pid", &b.state()?["pid"], &pid)?;
    b.start()?;
    b.is("running")
}

fn ids_accepted(t: &Test) -> Verdict {
    let long = "x".repeat(200);
    for id in ["a", "A_b+c-d.9", "0", "_", ".hidden", long.as_str()] {
        let mut b = t.bundle()?.idle();
        b.id = id.to_owned();
        t.clean_up_also(id);
        if t.kind == Kind::Crun && id.starts_with('.') {
            b.create_with(&[])?.exits(1)?;
            continue;
        }
        b.create()?;
        b.start()?;
        same("id", &b.state()?["id"], id)?;
        b.delete_force()?;
    }
    Ok(())
}

fn ids_refused(t: &Test) -> Verdict {
    let long = "x".repeat(1025);
    for id in ["", ".", "..", "a/b", "../x", "/", "a b", "a:b", "a\nb", "\u{e9}", long.as_str()] {
        let mut b = t.bundle()?.args(&["true"]);
        b.id = id.to_owned();
        let ours = if id.is_empty() { "container id cannot be empty" } else { "invalid container ID format" };
        b.run()?.refuses(t, ours, &[])?;
        b.create_with(&[])?.refuses(t, ours, &[])?;
        check(!b.pid_file().exists(), || "a pid file was written".to_owned())?;
        for verb in ["state", "delete", "start"] {
            let output = b.verb(verb, &[])?;
            check(output.status != 0, || format!("{verb} {id:?} succeeded"))?;
        }
    }
    Ok(())
}

fn missing_arguments(t: &Test) -> Verdict {
    for verb in ["create", "run", "start", "state", "kill", "delete", "ps"] {
        let output = t.runtime(&[verb])?;
        output.refuses(t, &format!("{verb} takes "), &["argument", "ID"])?;
    }
    let output = t.runtime(&["no-such-command"])?;
    output.refuses(t, "unknown command: no-such-command", &[])?;
    let output = t.runtime(&["state", "--no-such-flag", "x"])?;
    output.refuses(t, "unknown flag: --no-such-flag", &[]).map(drop)
}
