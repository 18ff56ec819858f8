//! exec: another process in a container, by flags and by process.json.

mod flags;
mod many;
mod own;
mod places;
mod process_json;
mod refused;
mod terminals;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;
use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, Test, bare, code, ended, eventually};
use crate::case::{Case, case};
use crate::cases::process::{clean_from_a_caller_that_ignores, status_line};
use crate::expect::{Verdict, check, contains, contains_one, lacks, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("exec/runs", "a program runs in the container, and exec ends when it does", runs),
        case("exec/exit-status", "the exit status is the program's", exit_status),
        case("exec/killed-by-signal", "a program that signal N ended gives 128 + N", killed_by_signal),
        case("exec/flags-end-at-id", "what follows the id belongs to the program", flags_end_at_id),
        case("exec/created", "a created container takes exec before its program runs", created),
        case("exec/session", "the process leads a session and process group, and its parent is outside", session),
        case("exec/signals-clean", "no signal is blocked or ignored, whatever the caller does", signals_clean)
            .differs(Kind::Runc, "passes on what its caller ignores"),
        case("exec/container-runs-on", "the end of an exec is not that of the container", container_runs_on),
        case("exec/dies-with-container", "the end of the container's process is that of an exec", dies_with_container),
        case("exec/mounts", "the process sees what the container's own sees", mounts),
        case("exec/read-only-root", "a read-only root is one for the process, too", read_only_root),
        case("exec/devices", "the container's device rules hold for the process", devices),
        case("exec/keyring", "the session keyring is not the caller's", keyring),
        case("exec/detach", "--detach returns while the process runs, and is not its parent", detach),
        case("exec/detach-status", "--detach tells nothing of how the program ends", detach_status),
        case("exec/pid-file", "--pid-file holds the process's pid in the caller's namespace and no newline", pid_file),
        case("exec/pid-file-nowhere", "--pid-file that cannot be written is an error", pid_file_nowhere)
            .skip(Kind::Crun, "leaves a process that may run or not"),
        case("exec/stdin", "a megabyte goes through stdin and stdout", stdin),
        case("exec/stderr", "stderr is apart from stdout", stderr),
        case("exec/descriptors", "descriptors 0 to 2 are open and no others", descriptors),
        case("exec/signals", "signals to exec go to the process", signals),
    ];
    for group in [
        own::cases(),
        flags::cases(),
        process_json::cases(),
        refused::cases(),
        places::cases(),
        terminals::cases(),
        many::cases(),
    ] {
        cases.extend(group);
    }
    cases
}

/// A container whose process does nothing.
fn running(t: &Test) -> Verdict<Bundle<'_>> {
    run(t.bundle()?)
}

/// Starts the container with a process that does nothing.
fn run(b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    b.running_idle()
}

fn command(b: &Bundle, flags: &[&str], args: &[&str]) -> Command {
    b.test.command(&[&["exec"], flags, &[&b.id], args].concat())
}

fn exec(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<Output> {
    b.test.output_of(command(b, flags, args))
}

/// What a program printed, which must succeed.
fn output(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<String> {
    exec(b, flags, args)?.exits(0)?.stdout()
}

/// A detached exec: the pid of the process. Whoever gets it ends it by [`end`]: its zombie would keep the container's
/// pid namespace, and thereby its first process, from ending.
fn detached(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<Pid> {
    let path = b.dir.join("exec.pid");
    let text = path.to_string_lossy();
    exec(b, &[&["--detach", "--pid-file", &text], flags].concat(), args)?.exits(0)?;
    pid_in(&path)
}

/// Kills a process and reaps it.
fn end(pid: Pid) -> Verdict {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    ended(pid)?;
    Ok(())
}

/// What a script printed.
fn sh(b: &Bundle, flags: &[&str], script: &str) -> Verdict<String> {
    output(b, flags, &["sh", "-c", script])
}

/// exec failed, with runc's status 255, and told why: `ours`, or one of `peers`.
fn refuses(b: &Bundle, output: Output, ours: &str, peers: &[&str]) -> Verdict {
    let stderr = output.stderr()?.replace("\\\"", "\"");
    if b.test.kind == Kind::Crun {
        check(output.status != 0, || format!("it succeeded: {output:?}"))?;
    } else {
        output.exits(255)?;
        contains("stderr", &stderr, "exec failed: ")?;
    }
    lacks("stderr", &stderr, "panicked")?;
    if b.test.ours() {
        return contains("stderr", &stderr, ours);
    }
    if peers.is_empty() { Ok(()) } else { contains_one("stderr", &stderr, peers) }
}

/// exec with redirections of a shell.
fn redirected(b: &Bundle, flags: &[&str], args: &[&str], redirections: &str) -> Command {
    let inner = command(b, flags, args);
    let mut command = Command::new("busybox");
    command.args(["sh", "-c", &format!(r#"exec "$@" {redirections}"#), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    command
}

/// Writes a process.json, and gives its path.
fn process_json(b: &Bundle, process: &Value) -> Verdict<String> {
    let path = b.dir.join("process.json");
    fs::write(&path, process.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

const ENV: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// The process of process.json for a script.
fn process(script: &str) -> Value {
    json!({"args": ["sh", "-c", script], "cwd": "/", "env": [ENV]})
}

fn runs(t: &Test) -> Verdict {
    let b = running(t)?;
    same("output", output(&b, &[], &["echo", "in the container"])?, "in the container\n")?;
    same("host name", output(&b, &[], &["hostname"])?.trim(), b.config["hostname"].as_str().unwrap_or_default())
}

fn exit_status(t: &Test) -> Verdict {
    let b = running(t)?;
    for status in [0, 1, 7, 126, 127, 254] {
        exec(&b, &[], &["sh", "-c", &format!("exit {status}")])?.exits(status)?;
    }
    Ok(())
}

fn killed_by_signal(t: &Test) -> Verdict {
    let b = running(t)?;
    for (name, number) in [("KILL", 9), ("TERM", 15), ("ABRT", 6)] {
        exec(&b, &[], &["sh", "-c", &format!("kill -{name} $$")])?.exits(128 + number)?;
    }
    Ok(())
}

fn flags_end_at_id(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = r#"echo "$@""#;
    let args = ["sh", "-c", script, "sh", "-u", "5", "--cwd", "-t", "--", "--help"];
    same("output", output(&b, &[], &args)?, "-u 5 --cwd -t -- --help\n")
}

fn created(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("echo ran >/ran; exec sleep 1000");
    b.create()?;
    same("output", output(&b, &[], &["echo", "before"])?, "before\n")?;
    b.is("created")?;
    check(!b.rootfs("ran").exists(), || "the container's program ran".to_owned())?;
    b.start()?;
    b.is("running")
}

fn session(t: &Test) -> Verdict {
    let b = running(t)?;
    let out = sh(&b, &[], "echo $$ $PPID; cut -d' ' -f5-7 /proc/$$/stat")?;
    let words: Vec<&str> = out.split_whitespace().collect();
    let [pid, parent, group, session, terminal] = words[..] else {
        return check(false, || format!("output: {out:?}"));
    };
    same("parent", parent, "0")?;
    same("process group, session", [group, session], [pid, pid])?;
    same("terminal", terminal, "0")
}

fn signals_clean(t: &Test) -> Verdict {
    let b = running(t)?;
    let inner = command(&b, &[], &["cat", "/proc/self/status"]);
    clean_from_a_caller_that_ignores(t, &inner)
}

fn container_runs_on(t: &Test) -> Verdict {
    let b = running(t)?;
    exec(&b, &[], &["false"])?.exits(1)?;
    b.is("running")?;
    same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)
}

fn dies_with_container(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut child, mut out) = spawn(&b, &[], "echo ready; exec sleep 1000")?;
    same("output", out.next_line()?, "ready\n")?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    same("status", code(child.wait()?), 137)
}

fn mounts(t: &Test) -> Verdict {
    let b = running(t)?;
    let out = sh(&b, &[], "cat /proc/self/mountinfo; echo ----; cat /proc/1/mountinfo")?;
    let (own, first) = some("both tables", out.split_once("----\n"))?;
    check(own.lines().count() > 5, || format!("mounts: {own}"))?;
    same("mounts", own, first)?;
    let out = sh(&b, &[], "readlink /proc/self/root; pwd; ls -id / /proc/1/root/.")?;
    check(out.starts_with("/\n/\n"), || format!("root and working directory: {out}"))?;
    same("bytes of a masked file", output(&b, &[], &["cat", "/proc/keys"])?.len(), 0)
}

fn read_only_root(t: &Test) -> Verdict {
    let b = running(t)?;
    same(
        "output",
        sh(&b, &[], "touch /x 2>/dev/null || echo refused; echo 1 >/proc/sys/kernel/panic || echo too")?,
        "refused\ntoo\n",
    )
}

fn devices(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().capabilities(&["CAP_MKNOD"]);
    let b = run(b.set("/process/noNewPrivileges", json!(false)))?;
    let script = "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg 2>/dev/null >/dev/null; test $? != 0 && echo refused; \
                  echo x >/dev/null && echo null";
    same("output", sh(&b, &[], script)?, "refused\nnull\n")
}

fn keyring(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/linux/maskedPaths", json!([])))?;
    let out = output(&b, &[], &["cat", "/proc/keys"])?;
    let own =
        out.lines().filter(|line| line.contains("keyring") && line.contains(" _ses") || line.contains(&b.id)).count();
    // One of its own, or the one of the container's process.
    check(own > 0, || format!("there is no session keyring of a container: {out}"))
}

fn pid_in(path: &Path) -> Verdict<Pid> {
    let text = fs::read_to_string(path)?;
    let pid = text.parse().ok().and_then(Pid::from_raw);
    some(&format!("a pid in the pid file, which holds {text:?}"), pid)
}

fn detach(t: &Test) -> Verdict {
    let b = running(t)?;
    let pid = detached(&b, &[], &["sleep", "1000"])?;
    let status = || -> Verdict<String> { Ok(fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?) };
    if !t.ours() {
        // The others' exec returns a moment before.
        eventually("the program runs", || Ok(status_line(&status()?, "Name")? == "sleep"))?;
    }
    let status = status()?;
    same("name", status_line(&status, "Name")?, "sleep")?;
    // The case's process adopts orphans.
    same("parent", status_line(&status, "PPid")?, std::process::id().to_string())?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    same("status", ended(pid)?, 143)?;
    b.is("running")
}

fn detach_status(t: &Test) -> Verdict {
    let b = running(t)?;
    same("status", ended(detached(&b, &[], &["sh", "-c", "exit 5"])?)?, 5)
}

fn pid_file(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = b.dir.join("exec.pid");
    let (mut child, mut out) = spawn(&b, &["--pid-file", &path.to_string_lossy()], "echo $$; read x")?;
    let inside = out.next_line()?;
    if !t.ours() {
        // Ours writes it before the program runs.
        eventually("the pid file is written", || Ok(fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())))?;
    }
    let pid = pid_in(&path)?;
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let pids: Vec<&str> = status_line(&status, "NSpid")?.split_whitespace().collect();
    same("the pid in the container", pids.last().copied(), Some(inside.trim()))?;
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn pid_file_nowhere(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--pid-file", "/no/such/file"], &["true"])?;
    refuses(&b, refused, "/no/such/file", &["/no/such/"])?;
    same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)
}

/// What a process prints, a line at a time.
struct Out(std::process::ChildStdout);

impl Out {
    fn next_line(&mut self) -> Verdict<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') && self.0.read(&mut byte)? == 1 {
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// An attached exec of a script, with pipes for stdin and stdout.
fn spawn(b: &Bundle, flags: &[&str], script: &str) -> Verdict<(Child, Out)> {
    let mut command = command(b, flags, &["sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = some("stdout", child.stdout.take())?;
    Ok((child, Out(out)))
}

fn stdin(t: &Test) -> Verdict {
    let b = running(t)?;
    let mut child = command(&b, &[], &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let sent: Vec<u8> = (0..1_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut input = some("stdin", child.stdin.take())?;
    let mut output = some("stdout", child.stdout.take())?;
    let mut received = Vec::new();
    std::thread::scope(|scope| -> Verdict {
        let writer = scope.spawn(|| {
            let written = input.write_all(&sent);
            drop(input);
            written
        });
        output.read_to_end(&mut received)?;
        writer.join().map_err(|_| crate::expect::Stop::Failed("the writing thread failed".to_owned()))??;
        Ok(())
    })?;
    same("status", code(child.wait()?), 0)?;
    same("bytes", received.len(), sent.len())?;
    check(received == sent, || "what came back differs".to_owned())
}

fn stderr(t: &Test) -> Verdict {
    let b = running(t)?;
    let out = exec(&b, &[], &["sh", "-c", "echo out; echo err >&2"])?.exits(0)?;
    same("stdout", out.stdout()?.as_str(), "out\n")?;
    same("stderr", out.stderr()?.as_str(), "err\n")
}

fn descriptors(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "cd /proc/self/fd; for fd in *; do test -e $fd && echo $fd; done; true";
    same("descriptors", sh(&b, &[], script)?, "0\n1\n2\n")?;
    let command = redirected(&b, &[], &["sh", "-c", script], "3</etc/hostname 4<. 9</dev/null");
    same("descriptors", t.output_of(command)?.exits(0)?.stdout()?, "0\n1\n2\n")
}

fn signals(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let (mut child, mut out) = spawn(&b, &[], script)?;
    same("output", out.next_line()?, "ready\n")?;
    let pid = some("a pid", i32::try_from(child.id()).ok().and_then(Pid::from_raw))?;
    rustix::process::kill_process(pid, rustix::process::Signal::USR1)?;
    same("output", out.next_line()?, "usr1\n")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    same("output", out.next_line()?, "term\n")?;
    same("status", code(child.wait()?), 9)
}
