//! Docker Engine, through containerd's shim for runc: a container's life.

use std::fs;

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE, RUNTIME};
use crate::expect::{Verdict, check, contains, contains_one, same, some};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/docker/run", "run prints, exits with the status, and the runtime is the one under test", run),
        case("engines/docker/stdin", "run -i hands its input on, and its end", stdin),
        case("engines/docker/create-start", "create, then start -a", create_start),
        case("engines/docker/status-125", "a wrong option of the engine: 125", status_125),
        case("engines/docker/status-126", "a program that may not be executed: 126", status_126),
        case("engines/docker/status-127", "a program that is not there: 127", status_127),
        case("engines/docker/status-signal", "a program that a signal ends: 128 and its number", status_signal),
        case("engines/docker/workdir-missing", "--workdir makes the directory, for the user", workdir),
        case("engines/docker/env", "-e and --env-file", env),
        case("engines/docker/exec", "exec prints, has input, and exits with the status", exec),
        case(
            "engines/docker/exec-status",
            "exec of what is not there or may not be executed fails, and does the container no harm",
            exec_status,
        ),
        case("engines/docker/exec-user", "exec -u by name and by number", exec_user),
        case("engines/docker/exec-place", "exec -w and -e", exec_place),
        case(
            "engines/docker/exec-privileged",
            "exec --privileged has all capabilities, without it those of run",
            exec_privileged,
        ),
        case("engines/docker/exec-detached", "exec -d runs on", exec_detached),
        case("engines/docker/exec-at-once", "ten exec at a time", exec_at_once),
        case("engines/docker/logs", "logs keeps stdout and stderr apart", logs),
        case(
            "engines/docker/logs-follow",
            "logs -f shows a line when it is written, and ends with the container",
            logs_follow,
        ),
        case("engines/docker/logs-large", "two MB of output arrive whole, attached and in the log", logs_large),
        case("engines/docker/stop", "stop sends SIGTERM, and the program's own status is kept", stop),
        case("engines/docker/stop-timeout", "stop kills what takes no notice: 137", stop_timeout),
        case("engines/docker/stop-signal", "--stop-signal", stop_signal),
        case("engines/docker/kill", "kill, and kill -s", kill),
        case("engines/docker/restart", "restart: another process in the same container", restart),
        case("engines/docker/pause", "pause and unpause", pause),
        case("engines/docker/top", "top shows the processes", top),
        case("engines/docker/stats", "stats --no-stream answers", stats),
        case("engines/docker/wait", "wait tells the status of each", wait),
        case("engines/docker/rm-running", "rm -f of a running container, and of a paused one", rm_running),
        case("engines/docker/events", "events: create, start, exec, die with the status, destroy", events),
        case("engines/docker/many", "20 containers at a time, each with its own status", many),
        case("engines/docker/cp", "cp both ways, running and stopped", cp),
        case("engines/docker/init", "--init: a first process that hands signals on and reaps", init),
        case("engines/docker/on-failure", "--restart on-failure:2 runs it three times", on_failure),
        case("engines/docker/always", "--restart always, until it is stopped", always),
        case("engines/docker/healthy", "a health check becomes healthy, and unhealthy", healthy),
        case("engines/docker/commit", "commit makes an image of what was written", commit),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

fn run(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let name = docker.name("run");
    docker.call(&["run", "--name", &name, IMAGE, "sh", "-c", "echo out; exit 7"])?.exits(7)?.prints("out\n")?;
    docker.existing(&name).is("{{.HostConfig.Runtime}}", RUNTIME)?;
    docker.existing(&name).is("{{.State.Status}} {{.State.ExitCode}}", "exited 7")
}

fn stdin(t: &Test) -> Verdict {
    let (status, out) = Docker::of(t).fed(&["run", "--rm", "-i", IMAGE, "wc", "-c"], &[b'x'; 100_000])?;
    same("status", status, 0)?;
    same("what was read", String::from_utf8_lossy(&out), "100000\n")
}

fn create_start(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let name = docker.name("c");
    docker.ok(&["create", "--name", &name, IMAGE, "sh", "-c", "echo here; exit 3"])?;
    docker.existing(&name).is("{{.State.Status}} {{.State.Pid}}", "created 0")?;
    for _ in 0..2 {
        docker.call(&["start", "--attach", &name])?.exits(3)?.prints("here\n")?;
    }
    Ok(())
}

fn status_125(t: &Test) -> Verdict {
    Docker::of(t).call(&["run", "--rm", "--no-such-option", IMAGE, "true"])?.exits(125).map(drop)?;
    let output = Docker::of(t).call(&["run", "--rm", "--sysctl", "kernel.no_such=1", IMAGE, "true"])?.exits(125)?;
    contains_one("stderr", &output.stderr()?, &["no_such"])
}

fn status_126(t: &Test) -> Verdict {
    let output = Docker::of(t).call(&["run", "--rm", IMAGE, "/etc/passwd"])?.exits(126)?;
    contains("stderr", &output.stderr()?, "permission denied")?;
    let output = Docker::of(t).call(&["run", "--rm", IMAGE, "/etc"])?.exits(126)?;
    contains_one("stderr", &output.stderr()?, &["permission denied", "is a directory"])
}

fn status_127(t: &Test) -> Verdict {
    let output = Docker::of(t).call(&["run", "--rm", IMAGE, "no-such-program"])?.exits(127)?;
    contains("stderr", &output.stderr()?, "no-such-program")?;
    Docker::of(t).call(&["run", "--rm", IMAGE, "/no/such/program"])?.exits(127).map(drop)
}

fn status_signal(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    docker.call(&["run", "--rm", "--init", IMAGE, "sh", "-c", "kill -SEGV $$"])?.exits(139)?;
    // Without --init the program is process 1, which only a signal from outside ends.
    let c = docker.idle("c", &[])?;
    c.verb(&["kill", "--signal", "KILL"])?;
    same("the status", c.waited()?.as_str(), "137")
}

fn workdir(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    same("pwd", docker.sh(&["--workdir", "/a/b", "--user", "1000"], "pwd")?.as_str(), "/a/b")
}

fn env(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let file = t.path("env");
    fs::write(&file, "FROM_FILE=one two\n")?;
    let flags = ["-e", "A=1", "--env-file", &file.to_string_lossy(), "--hostname", "here"];
    let seen = docker.sh(&flags, "env | grep -v -e PWD -e SHLVL | sort")?;
    let expected = "A=1\nFROM_FILE=one two\nHOME=/root\nHOSTNAME=here\nPATH=/usr/sbin:/usr/bin:/sbin:/bin";
    same("env", seen.as_str(), expected)
}

fn exec(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["-e", "FROM=run"])?;
    let output = docker.call(&["exec", &c.name, "sh", "-c", "echo $FROM; echo err >&2; exit 5"])?.exits(5)?;
    same("stdout", output.stdout()?.as_str(), "run\n")?;
    same("stderr", output.stderr()?.as_str(), "err\n")?;
    let (status, out) = docker.fed(&["exec", "-i", &c.name, "wc", "-c"], &[b'x'; 100_000])?;
    same("status", status, 0)?;
    same("what was read", String::from_utf8_lossy(&out), "100000\n")?;
    docker.call(&["exec", &c.name, "sh", "-c", "kill -TERM $$"])?.exits(143).map(drop)
}

fn exec_status(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    for (program, status, why) in
        [("no-such-program", 127, "executable file not found in $PATH"), ("/etc/passwd", 126, "permission denied")]
    {
        let output = docker.call(&["exec", &c.name, program])?;
        // Docker 26.1 knows 126 alone for exec, and tells on stdout.
        check([status, 126].contains(&output.status), || format!("{program}: status {}", output.status))?;
        contains("why", &(output.stdout()? + &output.stderr()?), why)?;
    }
    // None of these has hurt it.
    c.is("{{.State.Status}}", "running")?;
    same("exec", c.exec(&["echo", "fine"])?.as_str(), "fine")?;
    c.verb(&["kill"])?;
    c.waited()?;
    docker.call(&["exec", &c.name, "true"])?.exits(1).map(drop)
}

fn exec_user(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    let id = "echo $(id -u) $(id -g) $(id -G) $HOME";
    same("by name", c.exec_sh(&["-u", "user"], id)?.as_str(), "1000 1000 1000 /tmp")?;
    same("by number", c.exec_sh(&["-u", "77:88"], id)?.as_str(), "77 88 88 /")?;
    same("of run", c.exec_sh(&[], id)?.as_str(), "0 0 0 /root")?;
    let output = docker.call(&["exec", "-u", "nobody-here", &c.name, "true"])?;
    check(output.status != 0, || "a user that is not there was accepted".to_owned())
}

fn exec_place(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["-e", "A=run", "--workdir", "/usr"])?;
    same("of run", c.exec_sh(&[], "echo $PWD $A $B")?.as_str(), "/usr run")?;
    same("of exec", c.exec_sh(&["-w", "/etc", "-e", "A=exec", "-e", "B=b"], "echo $PWD $A $B")?.as_str(), "/etc exec b")
}

fn exec_privileged(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"])?;
    let effective = "sed -n 's/CapEff:.//p' /proc/self/status";
    same("of run", c.exec_sh(&[], effective)?.as_str(), "0000000000000400")?;
    // All that there are: those of the daemon.
    let own = fs::read_to_string("/proc/self/status")?;
    let all = some("CapEff", own.lines().find_map(|line| line.strip_prefix("CapEff:\t")))?;
    same("with --privileged", c.exec_sh(&["--privileged"], effective)?.as_str(), all)
}

fn exec_detached(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    c.exec_sh(&["-d"], "mkfifo /tmp/made; cat /tmp/made; mv /tmp/made /tmp/done")?;
    c.exec_sh(&[], "while ! test -p /tmp/made; do :; done; echo >/tmp/made; while ! test -e /tmp/done; do :; done")
        .map(drop)
}

fn exec_at_once(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    let scripts: Vec<_> = (0..10).map(|number| format!("echo {number}; exit {number}")).collect();
    let children: Verdict<Vec<_>> =
        scripts.iter().map(|script| docker.piped(&["exec", &c.name, "sh", "-c", script])).collect();
    for (number, mut child) in children?.into_iter().enumerate() {
        same("output", child.lines.next()?, number.to_string())?;
        same("status", child.ended()?, i32::try_from(number)?)?;
    }
    Ok(())
}

fn logs(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", "echo out; echo err >&2; printf unfinished"])?;
    c.waited()?;
    let output = docker.call(&["logs", &c.name])?.exits(0)?;
    same("stdout", output.stdout()?.as_str(), "out\nunfinished")?;
    same("stderr", output.stderr()?.as_str(), "err\n")
}

fn logs_follow(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container(
        "c",
        &["-i"],
        &["sh", "-c", "echo first; while ! test -e /go; do sleep 0.05; done; echo last"],
    )?;
    let mut log = docker.piped(&["logs", "--follow", &c.name])?;
    same("first", log.lines.next()?.as_str(), "first")?;
    c.touch("/go")?;
    same("last", log.lines.next()?.as_str(), "last")?;
    same("the end", log.lines.next()?.as_str(), "")?;
    same("status of logs -f", log.ended()?, 0)
}

fn logs_large(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let name = docker.name("c");
    let output = docker.call(&["run", "--name", &name, IMAGE, "seq", "1", "300000"])?.exits(0)?.stdout()?;
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    check(output == expected, || format!("attached: {} bytes arrived of {}", output.len(), expected.len()))?;
    let log = docker.call(&["logs", &name])?.exits(0)?.stdout()?;
    check(log == expected, || format!("in the log: {} bytes of {}", log.len(), expected.len()))
}

/// A program that says `ready` when its handlers are there, and ends with 42 at SIGTERM, with 43 at SIGUSR1.
const HANDLES: &str = "trap 'exit 42' TERM; trap 'exit 43' USR1; echo ready; while :; do sleep 0.05; done";

fn stop(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", HANDLES])?;
    c.says("ready")?;
    c.verb(&["stop", "--time", "60"])?;
    c.is("{{.State.Status}} {{.State.ExitCode}}", "exited 42")
}

fn stop_timeout(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])?;
    c.says("ready")?;
    c.verb(&["stop", "--time", "1"])?;
    c.is("{{.State.Status}} {{.State.ExitCode}}", "exited 137")
}

fn stop_signal(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &["--stop-signal", "USR1"], &["sh", "-c", HANDLES])?;
    c.says("ready")?;
    c.verb(&["stop", "--time", "60"])?;
    c.is("{{.State.Status}} {{.State.ExitCode}}", "exited 43")
}

fn kill(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container(
        "c",
        &[],
        &["sh", "-c", "trap 'echo got it' HUP; echo ready; while :; do sleep 0.05; done"],
    )?;
    c.says("ready")?;
    c.verb(&["kill", "--signal", "HUP"])?;
    c.says("got it")?;
    c.is("{{.State.Status}}", "running")?;
    c.verb(&["kill"])?;
    same("the status", c.waited()?.as_str(), "137")?;
    let output = docker.call(&["kill", &c.name])?.exits(1)?;
    contains("killing what has ended", &output.stderr()?, "is not running")
}

fn restart(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", "echo >>/starts; wc -l </starts; exec sleep 1000"])?;
    c.says("1")?;
    let before = c.inspect("{{.State.Pid}}")?;
    c.verb(&["restart", "--time", "0"])?;
    c.says("2")?;
    let after = c.inspect("{{.State.Pid}} {{.State.Status}}")?;
    check(after.ends_with(" running") && after != format!("{before} running"), || format!("{before}, then {after}"))
}

fn pause(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", "while :; do echo >>/beats; sleep 0.01; done"])?;
    c.verb(&["pause"])?;
    c.is("{{.State.Status}}", "paused")?;
    let output = docker.call(&["exec", &c.name, "true"])?.exits(1)?;
    contains("exec", &output.stderr()?, "is paused")?;
    // What it wrote, seen from outside: nothing is added.
    let beats = || docker.call(&["cp", &format!("{}:/beats", c.name), "-"])?.exits(0)?.stdout();
    let before = beats()?;
    same("while it is paused", beats()?, before.as_str())?;
    c.verb(&["unpause"])?;
    c.is("{{.State.Status}}", "running")?;
    crate::bundle::eventually("it runs on", || Ok(beats()? != before))
}

fn top(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    let text = docker.ok(&["top", &c.name, "-o", "pid,args"])?;
    let processes: Vec<_> = text.lines().skip(1).collect();
    let expected = format!("{} sleep 1000", c.inspect("{{.State.Pid}}")?);
    same("processes", processes.iter().map(|line| words(line)).collect::<Vec<_>>(), [expected])
}

fn stats(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    let seen = docker.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.NetIO}}", &c.name])?;
    check(seen.starts_with(&format!("{} ", c.name)) && !seen.contains("--"), || format!("stats: {seen:?}"))
}

fn wait(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let one = docker.container("one", &[], &["sh", "-c", "exit 11"])?;
    let other = docker.container("other", &[], &["sh", "-c", "while ! test -e /go; do sleep 0.05; done; exit 12"])?;
    let mut waiting = docker.piped(&["wait", &one.name, &other.name])?;
    same("one", waiting.lines.next()?.as_str(), "11")?;
    other.touch("/go")?;
    same("other", waiting.lines.next()?.as_str(), "12")?;
    same("status of wait", waiting.ended()?, 0)
}

fn rm_running(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let running = docker.idle("running", &[])?;
    let paused = docker.idle("paused", &[])?;
    paused.verb(&["pause"])?;
    for c in [running, paused] {
        docker.call(&["rm", &c.name])?.exits(1)?;
        c.verb(&["rm", "--force"])?;
        docker.call(&["inspect", &c.name])?.exits(1)?;
    }
    Ok(())
}

fn events(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let name = docker.name("c");
    let filters = ["--filter", "type=container", "--filter", &format!("container={name}")];
    let format = ["--format", "{{.Action}} {{.Actor.Attributes.exitCode}}"];
    let mut seen = docker.piped(&[&["events", "--since", "0"][..], &filters, &format].concat())?;
    let c = docker.container("c", &[], &["sh", "-c", "while ! test -e /go; do sleep 0.05; done; exit 9"])?;
    c.touch("/go")?;
    c.waited()?;
    c.verb(&["rm"])?;
    let mut told = Vec::new();
    while !told.last().is_some_and(|line: &String| line.starts_with("destroy")) {
        let line = seen.lines.next()?;
        told.push(line.replace("<no value>", "").trim().to_owned());
    }
    seen.end()?;
    // Of the two that end together, either may be told first.
    told.retain(|line| !line.starts_with("exec_die"));
    same("events", told, ["create", "start", "exec_create: touch /go", "exec_start: touch /go", "die 9", "destroy"])
}

fn many(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let scripts: Vec<_> = (0..20).map(|number| format!("echo {number}; exit {number}")).collect();
    let children: Verdict<Vec<_>> =
        scripts.iter().map(|script| docker.piped(&["run", "--rm", IMAGE, "sh", "-c", script])).collect();
    for (number, mut child) in children?.into_iter().enumerate() {
        same("output", child.lines.next()?, number.to_string())?;
        same("status", child.ended()?, i32::try_from(number)?)?;
    }
    Ok(())
}

fn cp(t: &Test) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    let docker = Docker::of(t);
    let c = docker.idle("c", &["--tmpfs", "/mem"])?;
    let (here, back) = (t.path("here"), t.path("back"));
    fs::write(&here, "content\n")?;
    fs::set_permissions(&here, fs::Permissions::from_mode(0o640))?;
    let (here, back_there) = (here.to_string_lossy(), back.to_string_lossy());
    docker.ok(&["cp", &here, &format!("{}:/usr/there", c.name)])?;
    same("in the container", c.exec_sh(&[], "stat -c '%a' /usr/there; cat /usr/there")?.as_str(), "640\ncontent")?;
    c.exec_sh(&[], "echo more >>/usr/there")?;
    c.verb(&["kill"])?;
    c.waited()?;
    docker.ok(&["cp", &format!("{}:/usr/there", c.name), &back_there])?;
    same("here again", fs::read_to_string(&back)?.as_str(), "content\nmore\n")
}

fn init(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &["--init"], &["sh", "-c", HANDLES])?;
    c.says("ready")?;
    same("process 1", c.exec(&["cat", "/proc/1/comm"])?.as_str(), "docker-init")?;
    // An orphan that ends is gone.
    let orphan = c.exec_sh(&[], "(sleep 0 & echo $!)")?;
    c.exec_sh(&[], &format!("while test -e /proc/{orphan}; do :; done"))?;
    c.verb(&["stop", "--time", "60"])?;
    c.is("{{.State.ExitCode}}", "42")
}

fn on_failure(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &["--restart", "on-failure:2"], &["sh", "-c", "echo run; exit 4"])?;
    c.becomes("{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "2 exited 4")?;
    same("runs", c.logs()?.as_str(), "run\nrun\nrun")
}

fn always(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "rm -f /end; echo run; while ! test -e /end; do sleep 0.05; done";
    let c = docker.container("c", &["--restart", "always"], &["sh", "-c", script])?;
    c.says("run")?;
    c.touch("/end")?;
    c.becomes("{{.RestartCount}} {{.State.Status}}", "1 running")?;
    c.verb(&["stop", "--time", "0"])?;
    c.is("{{.RestartCount}} {{.State.Status}}", "1 exited")
}

fn healthy(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let flags = ["--health-cmd", "test -e /tmp/well", "--health-interval", "100ms", "--health-retries", "2"];
    let c = docker.idle("c", &flags)?;
    c.exec(&["touch", "/tmp/well"])?;
    c.becomes("{{.State.Health.Status}}", "healthy")?;
    c.exec(&["rm", "/tmp/well"])?;
    c.becomes("{{.State.Health.Status}}", "unhealthy")?;
    c.is("{{.State.Status}}", "running")
}

fn commit(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &[], &["sh", "-c", "echo written >/usr/file"])?;
    c.waited()?;
    let image = docker.name("image");
    let change = format!("LABEL {}", crate::engines::docker::label(t));
    docker.ok(&["commit", "--change", &change, &c.name, &image])?;
    same("in the image", docker.ok(&["run", "--rm", &image, "cat", "/usr/file"])?.as_str(), "written")
}

/// The words of a line of a table.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
