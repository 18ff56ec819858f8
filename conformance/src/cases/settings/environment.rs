//! What the process gets from its caller's environment: descriptors that are listened on, and the socket for notifications.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, PATIENCE, Test, bare, code, eventually};
use crate::case::{Case, case};
use crate::cases::namespaces::own;
use crate::expect::{Verdict, check, contains, same, some};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "settings/listen-fds",
            "LISTEN_FDS of the caller: the descriptors are passed on, with LISTEN_PID 1",
            |t| {
                let script =
                    "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; test -e /proc/self/fd/5 && echo five; true";
                same("output", listening(t, "$$", &[], script)?, "2 1\nthree\nfour\n")
            },
        )
        .known_failure(Kind::Crun, "leaves LISTEN_FDS to its caller"),
        case("settings/listen-fds-and-preserve-fds", "--preserve-fds counts from behind those of LISTEN_FDS", |t| {
            let script = "echo $LISTEN_FDS; cat <&3; cat <&4; cat <&5; test -e /proc/self/fd/6 && echo six; true";
            same("output", listening(t, "$$", &["--preserve-fds", "1"], script)?, "2\nthree\nfour\nfive\n")
        })
        .known_failure(Kind::Crun, "leaves LISTEN_FDS to its caller"),
        case("settings/listen-fds-of-another", "LISTEN_FDS is for the process that LISTEN_PID names", |t| {
            let script = "echo ${LISTEN_FDS-none}; test -e /proc/self/fd/3 && echo three; true";
            same("output", listening(t, "1", &[], script)?, "none\n")
        })
        .known_failure(Kind::Crun, "does not look at LISTEN_PID"),
        case(
            "settings/notify-run-detached",
            "run --detach passes READY=1 on, with the pid of the container",
            notify_detached,
        )
        .known_failure(Kind::Crun, "listens only as long as it stays, attached"),
        case("settings/notify-start", "start passes READY=1 on, with the pid of the container", notify_start)
            .known_failure(Kind::Crun, "listens only as long as it stays, attached"),
        case("settings/notify-run", "run passes READY=1 on and goes on until the end", notify_run)
            .differs(Kind::Crun, "does not tell the main process"),
        case("settings/notify-lines", "of several lines READY=1 alone is passed on", notify_lines)
            .skip(Kind::Crun, "listens only as long as it stays, attached")
            .skip(Kind::Runc, "waits for ever: READY=1 has to come first"),
        case("settings/notify-ended", "what ends without being ready ends the wait", notify_ended)
            .skip(Kind::Runc, "waits for ever, on a zombie of its own"),
        case("settings/notify-failed", "a create that fails leaves nothing of the socket either", |t| {
            let manager = Manager::new(t)?;
            let b = t.bundle()?.args(&["/bin/none"]);
            b.save()?;
            let mut creating = manager.spawn(t, b.command("create", &[]))?;
            check(code(creating.wait()?) != 0, || "it was created".to_owned())?;
            contains("the reason", &fs::read_to_string(t.path("err"))?, "/bin/none")?;
            b.is_gone()
        }),
        case("settings/notify-in-user-namespace", "a user of a user namespace may write to the socket", |t| {
            let manager = Manager::new(t)?;
            let b = t.bundle()?.user_namespace(100_000, 65536).set("/process/user/uid", json!(5));
            own(&b)?;
            let b = b.sh("test -S $NOTIFY_SOCKET && test -w $NOTIFY_SOCKET && echo can write");
            b.save()?;
            succeeds(t, manager.spawn(t, b.command("run", &[]))?)?;
            same("output", fs::read_to_string(t.path("out"))?, "can write\n")
        })
        .skip(Kind::Runc, "waits for ever when READY=1 never comes")
        .known_failure(Kind::Crun, "its directory is closed to others"),
        case("settings/notify-absent", "without NOTIFY_SOCKET the container has none", |t| {
            let b = t.bundle()?.sh("echo ${NOTIFY_SOCKET-none}; ls /run/notify 2>/dev/null; true");
            same("output", b.stdout()?, "none\n")
        }),
    ]
}

/// What a container prints whose caller has files open as descriptors 3 to 6, two of them as `LISTEN_FDS`.
fn listening(t: &Test, listen_pid: &str, flags: &[&str], script: &str) -> Verdict<String> {
    let mut redirections = String::new();
    for (number, name) in [(3, "three"), (4, "four"), (5, "five"), (6, "six")] {
        fs::write(t.path(name), format!("{name}\n"))?;
        redirections += &format!(" {number}<{}", t.path(name).display());
    }
    let b = t.bundle()?.sh(script);
    b.save()?;
    let inner = b.command("run", flags);
    let mut command = Command::new("busybox");
    let outer = format!(r#"export LISTEN_FDS=2 LISTEN_PID={listen_pid}; exec "$@" {redirections}"#);
    command.args(["sh", "-c", &outer, "sh"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    t.output_of(command)?.exits(0)?.stdout()
}

/// Somebody who waits to be notified, as systemd does.
struct Manager {
    path: std::path::PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new(t: &Test) -> Verdict<Manager> {
        let path = t.path("notify.sock");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Manager { path, socket })
    }

    /// Starts a command that may wait for the container.
    fn spawn(&self, t: &Test, mut command: Command) -> Verdict<Child> {
        command.env("NOTIFY_SOCKET", &self.path).stdin(Stdio::null());
        command.stdout(fs::File::create(t.path("out"))?).stderr(fs::File::create(t.path("err"))?);
        Ok(command.spawn()?)
    }

    /// What is said, until a line that begins so.
    fn heard(&self, last: &str) -> Verdict<Vec<String>> {
        let mut all = Vec::new();
        while !all.iter().any(|line: &String| line.starts_with(last)) {
            let mut buffer = [0; 4096];
            let count = self.socket.recv(&mut buffer)?;
            let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
            all.extend(text.lines().map(str::to_owned));
        }
        Ok(all)
    }

    /// Nothing is said, nor was.
    fn is_silent(&self) -> Verdict {
        self.socket.set_nonblocking(true)?;
        check(self.socket.recv(&mut [0; 16]).is_err(), || "a notification".to_owned())
    }
}

/// Says something on the socket of a container, as its process would: through its root.
fn say(b: &Bundle, text: &str) -> Verdict {
    let mut environment = String::new();
    eventually("the process has NOTIFY_SOCKET", || {
        let Ok(pid) = b.pid() else { return Ok(false) };
        let of = |file| fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default();
        // A runtime's first process may have that of its caller until it executes the program.
        let runs = of("cmdline").starts_with(b"sleep\0");
        environment = String::from_utf8_lossy(&of("environ")).into_owned();
        Ok(runs && environment.contains("NOTIFY_SOCKET="))
    })?;
    let socket = some("it", environment.split('\0').find_map(|variable| variable.strip_prefix("NOTIFY_SOCKET=")))?;
    let path = format!("/proc/{}/root{socket}", b.pid()?.as_raw_nonzero());
    UnixDatagram::unbound()?.send_to(text.as_bytes(), path)?;
    Ok(())
}

/// The command must end well.
fn succeeds(t: &Test, mut command: Child) -> Verdict {
    let status = code(command.wait()?);
    check(status == 0, || format!("status {status}: {}", fs::read_to_string(t.path("err")).unwrap_or_default()))
}

fn notify_detached(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let running = manager.spawn(t, b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]))?;
    say(&b, "READY=1")?;
    told_of(&manager, b.pid()?.as_raw_nonzero().get())?;
    succeeds(t, running)
}

/// The manager hears that this process is ready, and no more.
fn told_of(manager: &Manager, pid: i32) -> Verdict {
    same("notifications", manager.heard("MAINPID=")?, ["READY=1".to_owned(), format!("MAINPID={pid}")])?;
    barrier(manager)
}

/// A last message with a descriptor, which is closed when it is read.
fn barrier(manager: &Manager) -> Verdict {
    let mut buffer = [0; 64];
    let count = manager.socket.recv(&mut buffer)?;
    same("the last message", String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).as_ref(), "BARRIER=1")
}

fn notify_start(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let creating = manager.spawn(t, b.command("create", &["--pid-file", &pid_file.to_string_lossy()]))?;
    succeeds(t, creating)?;
    b.is("created")?;
    let starting = manager.spawn(t, t.command(&["start", &b.id]))?;
    say(&b, "READY=1")?;
    told_of(&manager, b.pid()?.as_raw_nonzero().get())?;
    succeeds(t, starting)?;
    b.is("running")
}

fn notify_run(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let mut running = manager.spawn(t, b.command("run", &["--pid-file", &pid_file.to_string_lossy()]))?;
    say(&b, "READY=1\n")?;
    if t.kind == Kind::Crun {
        manager.heard("READY=1")?;
        b.verb("kill", &["KILL"])?.exits(0)?;
        return check(code(running.wait()?) != 0, || "the status of the process is lost".to_owned());
    }
    told_of(&manager, running.id() as i32)?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    check(code(running.wait()?) != 0, || "the status of the process is lost".to_owned())
}

fn notify_lines(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let running = manager.spawn(t, b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]))?;
    say(&b, "STATUS=soon")?;
    say(&b, "STATUS=now\nMAINPID=1\nREADY=1\nEXTEND_TIMEOUT_USEC=1000")?;
    told_of(&manager, b.pid()?.as_raw_nonzero().get())?;
    succeeds(t, running)
}

fn notify_ended(t: &Test) -> Verdict {
    let manager = Manager::new(t)?;
    let b = t.bundle()?.args(&["echo", "ran"]);
    b.save()?;
    let pid_file = b.pid_file();
    succeeds(t, manager.spawn(t, b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]))?)?;
    b.ended()?;
    same("output", fs::read_to_string(t.path("out"))?, "ran\n")?;
    manager.is_silent()
}
