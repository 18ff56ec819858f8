//! containerd by `ctr`, through its shim for runc.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::bundle::{Test, code, eventually};
use crate::case::{Case, case};
use crate::cgroup2;
use crate::engines::Engine;
use crate::engines::console::Console;
use crate::engines::containerd::{self, Ctr, IMAGE};
use crate::expect::{Verdict, check, contains, contains_one, lacks, same, some};
use crate::features::Feature;
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/containerd/run", "run prints, exits with the status, and leaves nothing", run),
        case("engines/containerd/pull", "an image is pulled from a registry, and run", pull),
        case("engines/containerd/runtime", "the runtime under test is the one that runs", runtime),
        case("engines/containerd/terminal", "run -t and tasks exec -t through a pseudo-terminal", run_terminal),
        case("engines/containerd/start", "containers create, tasks start and tasks attach", start),
        case("engines/containerd/exec", "tasks exec: status, user, directory, input and error", exec),
        case("engines/containerd/kill", "tasks kill, with a signal and of all processes; the status of the task", kill),
        case("engines/containerd/delete", "tasks delete refuses what runs, and ends it by force", delete),
        case("engines/containerd/pause", "tasks pause and resume", pause),
        case("engines/containerd/ps-metrics", "tasks ps and metrics", ps_metrics),
        case("engines/containerd/process", "user, directory, environment and host name", process),
        case("engines/containerd/mounts", "bind mounts, tmpfs and a read-only root", mounts),
        case("engines/containerd/snapshotters", "the snapshotters overlayfs and native", snapshotters),
        case("engines/containerd/security", "seccomp, capabilities, new privileges, a privileged container", security),
        case("engines/containerd/devices", "a device of the host", devices),
        case("engines/containerd/namespaces", "namespaces of the host and of another container", namespaces),
        case("engines/containerd/userns", "a user namespace with ids of its own", userns),
        case(
            "engines/containerd/missing",
            "a program that is not there: the error's text, and nothing is left",
            missing,
        ),
        case("engines/containerd/at-once", "twenty containers at once", at_once),
        case("engines/containerd/restarted", "containers live on when containerd ends and starts again", restarted),
        case("engines/containerd/killed", "containers live on when containerd is killed and starts again", killed),
        case("engines/containerd/shim-killed", "a container whose shim is killed is ended and cleaned up", shim_killed),
        case("engines/containerd/limits", "limits of memory and CPU, and metrics of them", limits)
            .needs_controllers(&["memory", "cpu"]),
        case("engines/containerd/oom", "a container that is killed for want of memory", oom)
            .needs_controllers(&["memory"]),
        case("engines/containerd/systemd", "--runc-systemd-cgroup: the container is in a scope of its slice", systemd)
            .needs_features(&[Feature::Systemd]),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Containerd)).collect()
}

fn run(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let output = c.run("--rm", "c", &["sh", "-c", "echo out; echo err >&2; exit 7"])?.exits(7)?.prints("out\n")?;
    contains("stderr", &output.stderr()?, "err\n")?;
    same("what is left", c.status("c")?, "")?;
    lacks("containers", &c.gets("containers list --quiet", &[])?, &c.id("c"))?;
    c.run("--detach", "d", &["sh", "-c", "exit 5"])?.exits(0)?;
    c.becomes("d", "STOPPED")?;
    ended_with(&c, "d", 5)?;
    c.gets("containers delete", &[&c.id("d")]).map(drop)
}

/// `tasks delete` of a task that has ended with this status, of which it tells.
fn ended_with(c: &Ctr<'_>, name: &str, status: i32) -> Verdict {
    let told = c.call("tasks delete", &[&c.id(name)])?.exits(0)?.stderr()?;
    contains("the status", &told, &format!("exit with non-zero exit code {status}"))
}

fn pull(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let name = "127.0.0.1:5000/busybox:latest";
    contains("what pull says", &c.gets("images pull --plain-http", &[name])?, "done")?;
    contains("the images", &c.gets("images list --quiet", &[])?, name)?;
    same("what is run", IMAGE, name)?;
    c.run("--rm --null-io", "c", &["true"])?.exits(0).map(drop)
}

fn runtime(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.idle("", "c")?;
    let root = c.state_root().join("conformance");
    let mut command = std::process::Command::new(&t.runtime);
    crate::bundle::bare(&mut command);
    command.arg("--root").arg(&root).args(["list", "--quiet"]);
    contains("what the runtime under test lists", &t.output_of(command)?.exits(0)?.stdout()?, &c.id("c"))?;
    check(c.cgroup("c").is_dir(), || "the container has no cgroup".to_owned())?;
    let info: Value = serde_json::from_str(&c.gets("containers info", &[&c.id("c")])?)?;
    let named = info["Runtime"]["Options"].to_string();
    check(info["Runtime"]["Name"] == "io.containerd.runc.v2", || format!("the runtime: {named}"))
}

fn run_terminal(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let mut console = Console::start(&c.run_command("--rm --tty", "c", &["sh"]), 31, 97)?;
    console.types("echo $((6*7)); tty\r")?;
    console.shows("42\n/dev/pts/0")?;
    has_size(&mut console, "31 97")?;
    let command = c.command("tasks exec --tty --exec-id e", &[&c.id("c"), "sh"]);
    let mut other = Console::start(&command, 20, 60)?;
    other.types("echo $((6*7))\r")?;
    other.shows("42\n")?;
    has_size(&mut other, "20 60")?;
    other.types("exit 6\r")?;
    same("the exit status of exec", other.ended()?, 6)?;
    console.resize(22, 66)?;
    has_size(&mut console, "22 66")?;
    console.types("exit 5\r")?;
    same("the exit status", console.ended()?, 5)
}

/// The shell's terminal has this size, which ctr sets at some time after the start.
fn has_size(console: &mut Console, size: &str) -> Verdict {
    eventually("the terminal has the window's size", || {
        console.types("stty size 2>&1; echo size$((1))\r")?;
        Ok(console.shows("size1")?.contains(size))
    })
}

fn start(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let id = c.id("c");
    // It names no runtime: the shim calls what it finds as runc.
    c.gets(&format!("containers create {IMAGE} {id} sh -c"), &["read -r line; echo got $line; exit 4"])?;
    same("the task of a container that is created", c.status("c")?, "")?;
    let mut command = c.command("tasks start", &[&id]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    use std::io::Write;
    some("stdin", child.stdin.take())?.write_all(b"line\n")?;
    let output = child.wait_with_output()?;
    same("the status", code(output.status), 4)?;
    same("what it says", String::from_utf8_lossy(&output.stdout).as_ref(), "got line\n")?;
    c.gets("containers delete", &[&id])?;
    // Where containers are that name no cgroup: a runtime may leave it, for others.
    let parent = t.cgroup_mount.join("conformance");
    if parent.exists() {
        fs::remove_dir(parent)?;
    }
    Ok(())
}

fn exec(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.idle("", "c")?;
    let id = c.id("c");
    let exec = |flags: &str, args: &[&str]| c.call(&format!("tasks exec --exec-id e {flags} {id}"), args);
    exec("", &["sh", "-c", "echo out; exit 9"])?.exits(9)?.prints("out\n")?;
    exec("--cwd /usr", &["pwd"])?.exits(0)?.prints("/usr\n")?;
    exec("--user 1000", &["id", "-u"])?.exits(0)?.prints("1000\n")?;
    exec("--detach", &["touch", "/tmp/done"])?.exits(0)?;
    eventually("the detached process has run", || {
        Ok(c.call(&format!("tasks exec --exec-id f {id}"), &["test", "-e", "/tmp/done"])?.status == 0)
    })?;
    let told = c.call(&format!("tasks exec --exec-id g {id}"), &["no-such-program"])?;
    check(told.status != 0, || "exec of no program succeeded".to_owned())?;
    not_found(t, &told.stderr()?)?;
    same("the task", c.status("c")?, "RUNNING")
}

/// What engines look for in the error of a program that is not there.
fn not_found(t: &Test, told: &str) -> Verdict {
    let crun = "executable file `no-such-program` not found in $PATH";
    let text = "exec: \"no-such-program\": executable file not found in $PATH";
    contains("the error", told, if t.kind == Kind::Crun { crun } else { text })
}

fn kill(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.run("--detach", "c", &["sh", "-c", "trap 'exit 3' USR1; touch /tmp/ready; while :; do sleep 0.05; done"])?
        .exits(0)?;
    eventually("it is ready", || {
        Ok(c.call(&format!("tasks exec --exec-id r {}", c.id("c")), &["test", "-e", "/tmp/ready"])?.status == 0)
    })?;
    c.gets("tasks kill --signal SIGUSR1", &[&c.id("c")])?;
    c.becomes("c", "STOPPED")?;
    let again = c.call("tasks kill", &[&c.id("c")])?;
    contains_one("kill of an ended task", &again.stderr()?, &["process already finished", "not found"])?;
    ended_with(&c, "c", 3)?;
    c.idle("", "d")?;
    c.gets("tasks kill --all --signal SIGKILL", &[&c.id("d")])?;
    c.becomes("d", "STOPPED")?;
    ended_with(&c, "d", 137)
}

fn delete(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.idle("", "c")?;
    let refused = c.call("tasks delete", &[&c.id("c")])?;
    check(refused.status != 0, || "a running task was deleted".to_owned())?;
    same("the task", c.status("c")?, "RUNNING")?;
    c.call("tasks delete --force", &[&c.id("c")])?;
    same("the task", c.status("c")?, "")?;
    check(!c.cgroup("c").exists(), || "its cgroup is left".to_owned())
}

fn pause(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.idle("", "c")?;
    c.gets("tasks pause", &[&c.id("c")])?;
    same("the task", c.status("c")?, "PAUSED")?;
    contains("the cgroup", &fs::read_to_string(c.cgroup("c").join("cgroup.events"))?, "frozen 1")?;
    let refused = c.call(&format!("tasks exec --exec-id e {}", c.id("c")), &["true"])?;
    check(refused.status != 0, || "exec in a paused container succeeded".to_owned())?;
    c.gets("tasks resume", &[&c.id("c")])?;
    same("the task", c.status("c")?, "RUNNING")?;
    contains("the cgroup", &fs::read_to_string(c.cgroup("c").join("cgroup.events"))?, "frozen 0")
}

fn ps_metrics(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.idle("", "c")?;
    c.gets(&format!("tasks exec --detach --exec-id second {}", c.id("c")), &["sleep", "2000"])?;
    let listed = c.gets("tasks ps", &[&c.id("c")])?;
    same("the processes", listed.lines().count(), 3)?;
    contains("the processes", &listed, "second")?;
    let metrics = c.gets("tasks metrics --format json", &[&c.id("c")])?;
    let metrics: Value = serde_json::from_str(&metrics)?;
    check(metrics["cpu"].is_object(), || format!("metrics: {metrics}"))
}

fn process(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let run = |flags: &str, script: &str| -> Verdict<String> {
        Ok(c.run(&format!("--rm {flags}"), "c", &["sh", "-c", script])?.exits(0)?.stdout()?.trim().to_owned())
    };
    same("the user", run("--user 1000:1000", "id -u; id -g")?, "1000\n1000")?;
    same("the user by name", run("--user user", "id -un")?, "user")?;
    same("the directory", run("--cwd /usr", "pwd")?, "/usr")?;
    same("the environment", run("--env A=b", "echo $A")?, "b")?;
    same("the host name", run("--hostname box", "hostname")?, "box")
}

fn mounts(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let host = t.path("host");
    fs::create_dir(&host)?;
    fs::write(host.join("in"), "from the host\n")?;
    let bind = format!("--mount type=bind,src={},dst=/h,options=rbind:rw", host.display());
    c.run(&format!("--rm {bind}"), "c", &["cp", "/h/in", "/h/out"])?.exits(0)?;
    same("what it wrote", fs::read_to_string(host.join("out"))?, "from the host\n")?;
    let bind = format!("--mount type=bind,src={},dst=/h,options=rbind:ro", host.display());
    c.run(&format!("--rm {bind}"), "c", &["touch", "/h/more"])?.exits(1)?;
    let tmpfs = "--mount type=tmpfs,dst=/t,options=size=1m";
    c.run(&format!("--rm {tmpfs}"), "c", &["dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=2"])?.exits(1)?;
    c.run("--rm --read-only", "c", &["touch", "/file"])?.exits(1)?;
    c.run("--rm", "c", &["touch", "/file"])?.exits(0).map(drop)
}

fn snapshotters(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    for snapshotter in ["overlayfs", "native"] {
        let flags = format!("--rm --snapshotter {snapshotter}");
        let output = c.run(&flags, snapshotter, &["sh", "-c", "touch /new && head -n 1 /etc/passwd"])?;
        output.exits(0)?.prints("root:x:0:0:root:/root:/bin/sh\n")?;
    }
    Ok(())
}

/// The lines of its status that the container's process has these names for.
fn status(c: &Ctr<'_>, flags: &str, names: &[&str]) -> Verdict<Vec<String>> {
    let text = c.run(&format!("--rm {flags}"), "c", &["cat", "/proc/self/status"])?.exits(0)?.stdout()?;
    let value = |name: &&str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_default().trim().to_owned()
    };
    Ok(names.iter().map(value).collect())
}

fn security(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let names = ["CapEff", "Seccomp", "NoNewPrivs"];
    same("by default", status(&c, "", &names)?, ["00000000a80425fb", "0", "1"].map(str::to_owned).to_vec())?;
    let found = status(&c, "--seccomp --allow-new-privs --cap-drop CAP_CHOWN --cap-add CAP_SYS_TIME", &names)?;
    same("with flags", found, ["00000000aa0425fa", "2", "0"].map(str::to_owned).to_vec())?;
    let profile = t.path("profile.json");
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": []});
    fs::write(&profile, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}).to_string())?;
    let flags = format!("--rm --seccomp --seccomp-profile {}", profile.display());
    let told = c.run(&flags, "c", &["mkdir", "/tmp/x"])?.exits(1)?.stderr()?;
    contains("the error that the profile sets", &told, "No space left on device")?;
    let script = "mount -t tmpfs x /tmp && umount /tmp && test -c /dev/full";
    c.run("--rm --privileged", "c", &["sh", "-c", script])?.exits(0).map(drop)
}

fn devices(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let script = "test -c /dev/loop-control && ! echo x >/dev/full && echo x >/dev/null";
    c.run("--rm --device /dev/loop-control", "c", &["sh", "-c", script])?.exits(0)?;
    c.run("--rm", "c", &["test", "-e", "/dev/loop-control"])?.exits(1).map(drop)
}

fn namespaces(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    c.idle("", "first")?;
    let first = |kind: &str| -> Verdict<String> {
        let words = format!("tasks exec --exec-id e {} readlink /proc/self/ns/{kind}", c.id("first"));
        c.gets(&words, &[])
    };
    let pid = c.pid("first")?;
    for (kind, flag) in [("net", "network"), ("ipc", "ipc"), ("pid", "pid")] {
        let flags = format!("--rm --with-ns {flag}:/proc/{pid}/ns/{kind}");
        let seen = c.run(&flags, "c", &["readlink", &format!("/proc/self/ns/{kind}")])?.exits(0)?.stdout()?;
        same(kind, seen.trim(), first(kind)?.as_str())?;
    }
    let host = fs::read_link("/proc/self/ns/net")?;
    let seen = c.run("--rm --net-host", "c", &["readlink", "/proc/self/ns/net"])?.exits(0)?.stdout()?;
    same("the host's network", seen.trim(), host.to_string_lossy().as_ref())
}

fn userns(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    // The options for the owner of the pipes take the place of those with the runtime's name: the shim calls what it finds as runc.
    let flags = "--rm --uidmap 0:200000:65536 --gidmap 0:200000:65536";
    let said = c
        .run(flags, "c", &["sh", "-c", "cat /proc/self/uid_map; touch /file && stat -c %u /file"])?
        .exits(0)?
        .stdout()?;
    same("what it says", said.split_ascii_whitespace().collect::<Vec<_>>(), vec!["0", "200000", "65536", "0"])
}

fn missing(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let told = c.run("--rm", "c", &["no-such-program"])?;
    check(told.status != 0, || "a container without a program succeeded".to_owned())?;
    not_found(t, &told.stderr()?)?;
    let told = c.run("--rm", "c", &["/etc/passwd"])?;
    contains("the error", &told.stderr()?, "permission denied")?;
    let told = c.run("--rm --cwd /etc/passwd", "c", &["true"])?;
    check(told.status != 0, || "a directory that is none is passed over".to_owned())?;
    let told = c.run("--rm --mount type=bind,src=/no/such/place,dst=/h,options=rbind:rw", "c", &["true"])?;
    contains("the error", &told.stderr()?, "/no/such/place")?;
    same("what is left", c.status("c")?, "")?;
    lacks("containers", &c.gets("containers list --quiet", &[])?, &c.id("c"))?;
    check(!c.cgroup("c").exists(), || "its cgroup is left".to_owned())
}

fn at_once(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let mut children = Vec::new();
    for number in 0..20 {
        let mut command = c.run_command("--rm", &number.to_string(), &["sh", "-c", &format!("exit {number}")]);
        children.push(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    }
    for (number, mut child) in (0..).zip(children) {
        same("the status", code(child.wait()?), number)?;
    }
    Ok(())
}

fn restarted(t: &Test) -> Verdict {
    again(t, false)
}

fn killed(t: &Test) -> Verdict {
    again(t, true)
}

/// Ends containerd while a container runs, starts it again, and goes on with the container.
fn again(t: &Test, by_force: bool) -> Verdict {
    use crate::expect::Stop;
    let place = t.path("own");
    let daemon = containerd::start(&t.runtime, &place, &t.cgroup_dir()).map_err(Stop::Failed)?;
    let c = Ctr::at(t, &place);
    c.gets("images pull --plain-http", &[IMAGE])?;
    c.idle("", "c")?;
    c.run("--detach", "short", &["sh", "-c", "while ! test -e /tmp/go; do sleep 0.05; done; exit 8"])?.exits(0)?;
    if by_force { daemon.kill() } else { daemon.stop() }.map_err(Stop::Failed)?;
    check(c.cgroup("c").is_dir(), || "the container has ended with containerd".to_owned())?;
    let daemon = containerd::start(&t.runtime, &place, &t.cgroup_dir()).map_err(Stop::Failed)?;
    same("the task", c.status("c")?, "RUNNING")?;
    let exec = |name: &str, args: &[&str]| c.call(&format!("tasks exec --exec-id e {}", c.id(name)), args);
    exec("c", &["echo", "again"])?.exits(0)?.prints("again\n")?;
    exec("short", &["touch", "/tmp/go"])?.exits(0)?;
    c.becomes("short", "STOPPED")?;
    ended_with(&c, "short", 8)?;
    c.gets("tasks kill --signal SIGKILL", &[&c.id("c")])?;
    c.becomes("c", "STOPPED")?;
    c.clean_up()?;
    daemon.stop().map_err(Stop::Failed)?;
    remove_daemons(t)
}

/// The cgroup that daemons of a case are started in, which is no container's.
fn remove_daemons(t: &Test) -> Verdict {
    let dir = t.cgroup_dir().join("daemons");
    eventually("the cgroup of the daemon is empty", || {
        crate::left::reap();
        Ok(fs::read_to_string(dir.join("cgroup.procs"))?.is_empty())
    })?;
    Ok(fs::remove_dir(dir)?)
}

fn shim_killed(t: &Test) -> Verdict {
    use crate::expect::Stop;
    let place = t.path("own");
    let daemon = containerd::start(&t.runtime, &place, &t.cgroup_dir()).map_err(Stop::Failed)?;
    let c = Ctr::at(t, &place);
    c.gets("images pull --plain-http", &[IMAGE])?;
    c.idle("", "c")?;
    let shim = some("the shim", find_process(&t.cgroup_dir().join("daemons"), "containerd-shim")?)?;
    rustix::process::kill_process(shim, rustix::process::Signal::KILL)?;
    eventually("containerd has cleaned up behind the shim", || {
        crate::left::reap();
        Ok(!c.cgroup("c").exists() && c.status("c")? != "RUNNING")
    })?;
    let root = c.state_root().join("conformance");
    eventually("nothing is left of it in the state root", || Ok(!root.join(c.id("c")).exists()))?;
    c.clean_up()?;
    daemon.stop().map_err(Stop::Failed)?;
    remove_daemons(t)
}

/// The first process of the cgroup whose command line has this in it.
fn find_process(cgroup: &Path, name: &str) -> Verdict<Option<rustix::process::Pid>> {
    for pid in fs::read_to_string(cgroup.join("cgroup.procs"))?.lines() {
        if fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text.contains(name)) {
            return Ok(rustix::process::Pid::from_raw(pid.parse()?));
        }
    }
    Ok(None)
}

fn limits(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    cgroup2::hand_on(&t.cgroup_dir(), &["memory", "cpu"])?;
    c.idle("--memory-limit 67108864 --cpus 0.5", "c")?;
    let file = |name: &str| -> Verdict<String> { Ok(fs::read_to_string(c.cgroup("c").join(name))?.trim().to_owned()) };
    same("memory", file("memory.max")?, "67108864")?;
    same("CPU", file("cpu.max")?, "50000 100000")?;
    let metrics: Value = serde_json::from_str(&c.gets("tasks metrics --format json", &[&c.id("c")])?)?;
    same("the limit in the metrics", &metrics["memory"]["usage_limit"], 67_108_864)?;
    check(metrics["cpu"]["usage_usec"].as_u64().is_some_and(|used| used > 0), || format!("metrics: {metrics}"))
}

fn oom(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    cgroup2::hand_on(&t.cgroup_dir(), &["memory"])?;
    let script = "dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?";
    c.run("--memory-limit 16777216 --detach", "c", &["sh", "-c", script])?.exits(0)?;
    c.becomes("c", "STOPPED")?;
    let events = fs::read_to_string(c.cgroup("c").join("memory.events"))?;
    check(events.lines().any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0"), || events.clone())?;
    ended_with(&c, "c", 137)
}

fn systemd(t: &Test) -> Verdict {
    let c = Ctr::of(t);
    let id = c.id("c");
    let cgroup = format!("system.slice:conformance:{id}");
    let command = c.run_command_in(&cgroup, "--detach --runc-systemd-cgroup", "c", &["sleep", "1000"]);
    t.output_of(command)?.exits(0)?;
    let scope = t.cgroup_mount.join(format!("system.slice/conformance-{id}.scope"));
    check(scope.is_dir(), || format!("{} is missing", scope.display()))?;
    c.gets("tasks pause", &[&id])?;
    contains("the scope", &fs::read_to_string(scope.join("cgroup.events"))?, "frozen 1")?;
    c.gets("tasks resume", &[&id])?;
    c.gets("tasks kill --signal SIGKILL", &[&id])?;
    c.becomes("c", "STOPPED")?;
    ended_with(&c, "c", 137)?;
    eventually("the scope is gone", || Ok(!scope.exists()))
}
