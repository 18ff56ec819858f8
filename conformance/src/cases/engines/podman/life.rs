//! What is done with a container from its creation to its end, with each Podman.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::bundle::{Test, code, eventually};
use crate::case::{Case, case};
use crate::engines::console::Console;
use crate::engines::podman::{IMAGE, Podman};
use crate::expect::{Verdict, check, contains, contains_one, same, some};
use crate::features::Feature;

use super::{Place, Root, Session, Systemd, User};

macro_rules! cases_of {
    ($group:literal, $place:ty) => {
        vec![
            case(
                concat!($group, "/run"),
                "run prints, exits with the status, and the runtime is the one under test",
                run::<$place>,
            ),
            case(
                concat!($group, "/terminal"),
                "run -it through a pseudo-terminal, which takes the window's size",
                run_terminal::<$place>,
            ),
            case(concat!($group, "/exec"), "exec: status, user, directory, environment, input", exec::<$place>),
            case(concat!($group, "/exec-terminal"), "exec -it through a pseudo-terminal", exec_terminal::<$place>),
            case(concat!($group, "/logs"), "logs of both streams, and logs --follow until the end", logs::<$place>),
            case(
                concat!($group, "/attach"),
                "attach passes input and output through, and exits with the container",
                attach::<$place>,
            ),
            case(concat!($group, "/stop"), "stop sends TERM, and KILL to who does not listen", stop::<$place>),
            case(
                concat!($group, "/kill"),
                "kill sends a signal, and the container ends with its status",
                kill::<$place>,
            ),
            case(
                concat!($group, "/restart"),
                "restart, and start after stop, run the same container again",
                restart::<$place>,
            ),
            case(
                concat!($group, "/pause"),
                "pause freezes, unpause thaws; exec into a paused one is refused",
                pause::<$place>,
            ),
            case(concat!($group, "/top-stats"), "top, stats and inspect of a running container", top_stats::<$place>),
            case(
                concat!($group, "/exit-codes"),
                "125, 126 and 127, of run and exec, and in words",
                exit_codes::<$place>,
            ),
            case(concat!($group, "/volumes"), "named volumes, bind mounts, tmpfs and cp", volumes::<$place>),
            case(
                concat!($group, "/read-only"),
                "a read-only root with and without places to write",
                read_only::<$place>,
            ),
            case(concat!($group, "/many"), "ten containers at once", many::<$place>),
        ]
    };
}

pub(super) fn cases() -> Vec<Case> {
    let systemd = cases_of!("engines/podman-systemd", Systemd);
    let session = cases_of!("engines/podman-session", Session);
    let mut all = cases_of!("engines/podman", Root);
    all.extend(cases_of!("engines/podman-rootless", User));
    all.extend(systemd.into_iter().map(|case| case.needs_features(&[Feature::Systemd])));
    all.extend(session.into_iter().map(|case| case.needs_features(&[Feature::Session])));
    all
}

/// Starts a container named `c` that does nothing.
pub(super) fn idle(p: &Podman<'_>, flags: &str) -> Verdict {
    p.gets(&format!("run --detach --name c {flags} {IMAGE} sleep 1000"), &[]).map(drop)
}

/// The runtime under test tells that it is running, if it can be asked from here.
fn runtime_runs(p: &Podman<'_>, id: &str) -> Verdict {
    let mut command = p.program(&p.test.runtime.to_string_lossy());
    command.args(["state", id]);
    let state = p.test.output_of(command)?.exits(0)?.stdout()?;
    let state: serde_json::Value = serde_json::from_str(&state)?;
    same("the state that the runtime tells", &state["status"], "running")
}

fn run<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.call(&format!("run --rm {IMAGE} sh -c"), &["echo out; echo err >&2; exit 7"])?.exits(7)?.prints("out\n")?;
    p.call(&format!("run --name ended {IMAGE} true"), &[])?.exits(0)?;
    // conmon lets it be cleaned up when `run` may have ended already.
    eventually("it is cleaned up", || Ok(p.inspect("ended", ".State.Status")? == "exited"))?;
    p.gets("rm ended", &[])?;
    idle(&p, "")?;
    same("the runtime", p.inspect("c", ".OCIRuntime")?, t.runtime.to_string_lossy())?;
    runtime_runs(&p, &p.inspect("c", ".Id")?)?;
    p.gets("rm --force --time 0 c", &[])?;
    same("what is left", p.gets("ps --all --quiet", &[])?, "")
}

fn run_terminal<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let mut console = Console::start(&p.command(&format!("run --rm -it --name c {IMAGE} sh"), &[]), 31, 97)?;
    console.types("echo $((6*7)); tty\r")?;
    console.shows("42\n/dev/pts/0")?;
    // Podman sets the size at some time after the start, from the window's.
    eventually("the terminal has the window's size", || Ok(p.gets("exec c stty -F /dev/pts/0 size", &[])? == "31 97"))?;
    if !p.who.has_systemd() {
        console.resize(20, 60)?;
        eventually("the terminal has the new size", || Ok(p.gets("exec c stty -F /dev/pts/0 size", &[])? == "20 60"))?;
    }
    console.types("exit 5\r")?;
    same("the exit status", console.ended()?, 5)
}

fn exec<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    idle(&p, "")?;
    p.call("exec c sh -c", &["echo out; exit 9"])?.exits(9)?.prints("out\n")?;
    same("the user", p.gets("exec --user 1000:1000 c id -u", &[])?, "1000")?;
    same("the user by name", p.gets("exec --user user c id -un", &[])?, "user")?;
    same("the directory", p.gets("exec --workdir /usr c pwd", &[])?, "/usr")?;
    same("the environment", p.gets("exec --env A=b c sh -c", &["echo $A"])?, "b")?;
    let mut command = p.command("exec -i c cat", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    some("stdin", child.stdin.take())?.write_all(b"through\n")?;
    let output = child.wait_with_output()?;
    same("the output", String::from_utf8_lossy(&output.stdout).as_ref(), "through\n")?;
    same("the status", code(output.status), 0)?;
    p.gets("exec --detach c sh -c", &["echo done >/tmp/done"])?;
    eventually("the detached process has run", || Ok(p.call("exec c cat /tmp/done", &[])?.stdout()? == "done\n"))?;
    same(
        "the privileges",
        p.gets("exec --privileged c grep CapEff /proc/self/status", &[])?.contains("0000000000000000"),
        false,
    )
}

fn exec_terminal<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    idle(&p, "")?;
    let mut console = Console::start(&p.command("exec -it c sh", &[]), 31, 97)?;
    console.types("echo $((6*7)); tty; test -t 0 && test -t 2 && echo yes$((1))\r")?;
    console.shows("yes1")?;
    console.types("exit 6\r")?;
    same("the exit status", console.ended()?, 6)?;
    same("the container", p.inspect("c", ".State.Status")?, "running")
}

fn logs<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let script = "echo one; echo two >&2; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo three";
    p.gets(&format!("run --detach --name c {IMAGE} sh -c"), &[script])?;
    let mut command = p.command("logs --follow c", &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(some("stdout", child.stdout.take())?).lines();
    same("the first line", some("a line", lines.next())??.as_str(), "one")?;
    p.gets("exec c touch /tmp/go", &[])?;
    same("the last line", some("a line", lines.next())??.as_str(), "three")?;
    same("lines after the end", lines.count(), 0)?;
    same("the status", code(child.wait()?), 0)?;
    same("the container's status", p.gets("wait c", &[])?, "0")?;
    let output = p.call("logs c", &[])?.exits(0)?.prints("one\nthree\n")?;
    same("the other stream", output.stderr()?, "two\n")?;
    same("the last line", p.gets("logs --tail 1 c", &[])?, "three")
}

fn attach<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets(
        &format!("run --detach --interactive --name c {IMAGE} sh -c"),
        &["while read -r line; do echo \"got $line\"; [ $line != end ] || exit 4; done"],
    )?;
    let mut command = p.command("attach c", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = some("stdin", child.stdin.take())?;
    let mut lines = BufReader::new(some("stdout", child.stdout.take())?).lines();
    stdin.write_all(b"first\n")?;
    same("what comes back", some("a line", lines.next())??.as_str(), "got first")?;
    stdin.write_all(b"end\n")?;
    same("what comes back", some("a line", lines.next())??.as_str(), "got end")?;
    same("the status", code(child.wait()?), 0)?;
    same("the container's status", p.gets("wait c", &[])?, "4")
}

/// Runs a script that says `ready` when it is.
fn ready(p: &Podman<'_>, script: &str) -> Verdict {
    p.gets(&format!("run --detach --name c {IMAGE} sh -c"), &[script])?;
    eventually("it is ready", || Ok(p.gets("logs c", &[])?.contains("ready")))
}

fn stop<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    ready(&p, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")?;
    p.gets("stop --time 60 c", &[])?;
    same("the status of one that listens", p.gets("wait c", &[])?, "9")?;
    p.gets("rm c", &[])?;
    ready(&p, "trap '' TERM; echo ready; while :; do sleep 0.05; done")?;
    p.gets("stop --time 1 c", &[])?;
    same("the status of one that does not", p.gets("wait c", &[])?, "137")
}

fn kill<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    ready(&p, "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.05; done")?;
    p.gets("kill --signal USR1 c", &[])?;
    same("the status", p.gets("wait c", &[])?, "3")?;
    contains("the log", &p.gets("logs c", &[])?, "caught")?;
    let refused = p.call("kill c", &[])?;
    check(refused.status != 0, || "kill of an ended container succeeded".to_owned())?;
    p.gets("start c", &[])?;
    p.gets("kill c", &[])?;
    same("the status after KILL", p.gets("wait c", &[])?, "137")
}

fn restart<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets(&format!("run --detach --name c {IMAGE} sh -c"), &["echo run >>/tmp/runs; exec sleep 1000"])?;
    let runs = |count: usize| {
        eventually(&format!("it has run {count} times"), || {
            Ok(p.call("exec c cat /tmp/runs", &[])?.stdout()?.lines().count() == count)
        })
    };
    runs(1)?;
    let first = p.inspect("c", ".State.Pid")?;
    p.gets("restart --time 0 c", &[])?;
    runs(2)?;
    check(p.inspect("c", ".State.Pid")? != first, || "the pid is the same".to_owned())?;
    p.gets("stop --time 0 c", &[])?;
    same("the state", p.inspect("c", ".State.Running")?, "false")?;
    p.gets("start c", &[])?;
    runs(3)
}

fn pause<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    idle(&p, "")?;
    p.gets("pause c", &[])?;
    same("the state", p.inspect("c", ".State.Status")?, "paused")?;
    let events =
        t.cgroup_mount.join(p.inspect("c", ".State.CgroupPath")?.trim_start_matches('/')).join("cgroup.events");
    contains("the events of its cgroup", &fs::read_to_string(&events)?, "frozen 1")?;
    let refused = p.call("exec c true", &[])?;
    check(refused.status != 0, || "exec in a paused container succeeded".to_owned())?;
    p.gets("unpause c", &[])?;
    contains("the events of its cgroup", &fs::read_to_string(&events)?, "frozen 0")?;
    p.gets("exec c true", &[])?;
    // What is paused can be removed by force.
    p.gets("pause c", &[])?;
    p.gets("rm --force --time 0 c", &[]).map(drop)
}

fn top_stats<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    idle(&p, "")?;
    let top = p.gets("top c pid comm user", &[])?;
    let line: Vec<_> = some("a process", top.lines().nth(1))?.split_ascii_whitespace().collect();
    same("the process", line, ["1", "sleep", "root"])?;
    let stats: serde_json::Value = serde_json::from_str(&p.gets("stats --no-stream --format json c", &[])?)?;
    same("the container of stats", &stats[0]["name"], "c")?;
    same("inspect", p.inspect("c", ".State.ConmonPid")? != "0", true)
}

fn exit_codes<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.call(&format!("run --rm --no-such-flag {IMAGE} true"), &[])?.exits(125)?;
    let missing = p.call(&format!("run --rm {IMAGE} no-such-program"), &[])?.exits(127)?.stderr()?;
    contains("the error", &missing, "no-such-program")?;
    contains_one(
        "the error",
        &missing,
        &["executable file not found in $PATH", "No such file or directory", "no such file or directory"],
    )?;
    let missing = p.call(&format!("run --rm {IMAGE} /no/such/program"), &[])?.exits(127)?.stderr()?;
    contains_one("the error", &missing, &["no such file or directory", "No such file or directory", "not found"])?;
    let directory = p.call(&format!("run --rm {IMAGE} /etc"), &[])?;
    check([126, 127].contains(&directory.status), || format!("a directory: status {}", directory.status))?;
    let denied = p.call(&format!("run --rm {IMAGE} /etc/passwd"), &[])?.exits(126)?.stderr()?;
    contains_one("the error", &denied, &["permission denied", "Permission denied"])?;
    idle(&p, "")?;
    p.call("exec c no-such-program", &[])?.exits(127)?;
    p.call("exec c /etc/passwd", &[])?.exits(126)?;
    p.call("exec nothing true", &[])?.exits(125)?;
    p.call("exec c sh -c", &["kill -TERM $$"])?.exits(143).map(drop)
}

fn volumes<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets("volume create v", &[])?;
    p.gets(&format!("run --rm -v v:/data {IMAGE} sh -c"), &["echo kept >/data/file"])?;
    same("the volume", p.gets(&format!("run --rm -v v:/data:ro {IMAGE} cat /data/file"), &[])?, "kept")?;
    let refused = p.call(&format!("run --rm -v v:/data:ro {IMAGE} touch /data/file2"), &[])?.exits(1)?.stderr()?;
    contains("the error", &refused, "Read-only file system")?;
    let host = p.path("host");
    fs::create_dir(&host)?;
    p.give(&host)?;
    fs::write(host.join("in"), "from the host\n")?;
    let bind = host.to_string_lossy().into_owned();
    p.gets(&format!("run --rm -v {bind}:/h {IMAGE} cp /h/in /h/out"), &[])?;
    same("what it wrote", fs::read_to_string(host.join("out"))?, "from the host\n")?;
    let tmpfs = format!("run --rm --tmpfs /t:size=1m,mode=1777 {IMAGE} sh -c");
    let script = "grep ' /t ' /proc/mounts; dd if=/dev/zero of=/t/x bs=1M count=2 2>&1";
    let filled = p.call(&tmpfs, &[script])?.exits(1)?.stdout()?;
    contains("the mount", &filled, "tmpfs /t tmpfs rw,nosuid,nodev")?;
    contains("what the second MiB meets", &filled, "No space left on device")?;
    idle(&p, "")?;
    p.gets(&format!("cp {bind}/in c:/tmp/copied"), &[])?;
    same("the file that was copied in", p.gets("exec c cat /tmp/copied", &[])?, "from the host")?;
    p.gets(&format!("cp c:/etc/passwd {bind}/passwd"), &[])?;
    contains("the file that was copied out", &fs::read_to_string(host.join("passwd"))?, "root:x:0:0")
}

fn read_only<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets(&format!("run --rm --read-only {IMAGE} sh -c"), &["touch /tmp/x /run/x /dev/shm/x && ! touch /x"])?;
    p.gets(&format!("run --rm --read-only --read-only-tmpfs=false {IMAGE} sh -c"), &["! touch /tmp/x"]).map(drop)
}

fn many<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let mut children = Vec::new();
    for number in 0..10 {
        let mut command = p.command(&format!("run --rm {IMAGE} sh -c"), &[&format!("exit {number}")]);
        children.push(command.stdin(Stdio::null()).spawn()?);
    }
    for (number, mut child) in (0..).zip(children) {
        same("the status", code(child.wait()?), number)?;
    }
    Ok(())
}
