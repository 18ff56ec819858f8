//! Terminals of processes that exec runs.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;
use serde_json::json;

use super::{command, detached, end, exec, process, process_json, refuses, run, running};
use crate::bundle::{Bundle, Test, bare, code, ended};
use crate::case::{Case, case};
use crate::cases::terminals::{PRINTS_SIZES, is_resized, until_sized};
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;
use crate::terminal;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/tty", "--tty passes a terminal through: output, input, size, exit status", tty),
        case("exec/tty-restores", "the terminal is given back as it was", tty_restores),
        case("exec/tty-resizes", "a new window size reaches the process", tty_resizes),
        case("exec/tty-controlling", "the terminal controls the process's session", tty_controlling),
        case("exec/console-socket", "--console-socket receives a master of the container's", console_socket),
        case("exec/console-size", "consoleSize of process.json is the terminal's size", console_size)
            .skip(Kind::Crun, "sets it at some time or other"),
        case("exec/tty-owner", "the terminal belongs to the user", tty_owner),
        case("exec/tty-in-user-namespace", "a terminal in a user namespace", tty_in_user_namespace),
        case("exec/tty-without-socket", "--tty --detach without a console socket is refused", tty_without_socket),
        case("exec/socket-without-tty", "a console socket without a terminal is refused", socket_without_tty)
            .known_failure(Kind::Crun, "takes no notice of it"),
    ]
}

/// An attached exec with a terminal, in a session that a pseudo-terminal of the case's controls.
fn at_terminal(b: &Bundle, slave: &fs::File, flags: &[&str], script: &str) -> Verdict<Child> {
    let inner = command(b, flags, &["sh", "-c", script]);
    let mut command = Command::new("busybox");
    command.args(["setsid", "-c"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    Ok(command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(Stdio::from(slave.try_clone()?)).spawn()?)
}

fn tty(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, slave) = terminal::open()?;
    terminal::resize(&master, 31, 97)?;
    let size = until_sized(t, "31 97");
    let script = format!("test -t 0 && {size}; tty; read x; echo got:$x; exit 9");
    let mut child = at_terminal(&b, &slave, &["--tty"], &script)?;
    let seen = terminal::read_until(&mut master, "/dev/pts/0")?;
    contains("size", &seen, "31 97")?;
    terminal::is_raw(t, &slave)?;
    master.write_all(b"hello\n")?;
    terminal::read_until(&mut master, "got:hello")?;
    same("status", code(child.wait()?), 9)
}

fn tty_restores(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, slave) = terminal::open()?;
    let before = rustix::termios::tcgetattr(&slave)?;
    let mut child = at_terminal(&b, &slave, &["-t"], "stty raw; echo changed; exit 3")?;
    terminal::read_until(&mut master, "changed")?;
    same("status", code(child.wait()?), 3)?;
    let after = rustix::termios::tcgetattr(&slave)?;
    same("input modes", after.input_modes, before.input_modes)?;
    same("output modes", after.output_modes, before.output_modes)?;
    same("local modes", after.local_modes, before.local_modes)
}

fn tty_resizes(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, slave) = terminal::open()?;
    terminal::resize(&master, 24, 80)?;
    is_resized(t, at_terminal(&b, &slave, &["-t"], PRINTS_SIZES)?, &mut master, &slave)
}

/// A detached exec whose terminal comes by a console socket.
fn with_console(t: &Test, b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<(fs::File, Pid)> {
    let socket = t.path("console.sock");
    let listener = terminal::listen(&socket)?;
    let pid = detached(b, &[flags, &["--console-socket", &socket.to_string_lossy()]].concat(), args)?;
    Ok((terminal::receive(&listener)?, pid))
}

fn tty_controlling(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "echo by tty >/dev/tty; trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done";
    let (mut master, pid) = with_console(t, &b, &["-t"], &["sh", "-c", script])?;
    contains("/dev/tty", &terminal::read_until(&mut master, "ready")?, "by tty")?;
    // Control-C.
    master.write_all(b"\x03")?;
    terminal::read_until(&mut master, "interrupted")?;
    same("status", ended(pid)?, 5)
}

fn console_socket(t: &Test) -> Verdict {
    let b = running(t)?;
    let script =
        "for fd in 0 1 2; do test -t $fd && echo is $fd; done; tty; cd /proc/self/fd; echo open *; read x; echo got:$x";
    let (mut master, pid) = with_console(t, &b, &["--tty"], &["sh", "-c", script])?;
    check(rustix::termios::isatty(&master), || "what came over the socket is no terminal".to_owned())?;
    let text = terminal::read_until(&mut master, "open ")?;
    contains("descriptors", &text, "is 0\nis 1\nis 2\n/dev/pts/0\n")?;
    master.write_all(b"hello\n")?;
    terminal::read_until(&mut master, "got:hello")?;
    same("status", ended(pid)?, 0)
}

fn console_size(t: &Test) -> Verdict {
    let b = running(t)?;
    let mut process = process("stty size; echo end; read x");
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({"height": 43, "width": 121});
    let path = process_json(&b, &process)?;
    let (mut master, pid) = with_console(t, &b, &["--process", &path], &[])?;
    contains("size", &terminal::read_until(&mut master, "end")?, "43 121")?;
    end(pid)
}

fn tty_owner(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, pid) =
        with_console(t, &b, &["-t", "-u", "1000:1000"], &["sh", "-c", "stat -c '%u' $(tty); echo end; read x"])?;
    contains("owner", &terminal::read_until(&mut master, "end")?, "1000")?;
    end(pid)
}

fn tty_in_user_namespace(t: &Test) -> Verdict {
    let b = run(t.bundle()?.user_namespace(100_000, 65_536))?;
    let (mut master, pid) =
        with_console(t, &b, &["-t"], &["sh", "-c", "stat -c '%u' $(tty); echo by tty >/dev/tty; echo end; read x"])?;
    let text = terminal::read_until(&mut master, "end")?;
    contains("owner", &text, "0\n")?;
    contains("/dev/tty", &text, "by tty")?;
    end(pid)
}

fn tty_without_socket(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--tty", "--detach"], &["true"])?;
    refuses(&b, refused, "console socket", &["console socket", "tcgetattr"])
}

fn socket_without_tty(t: &Test) -> Verdict {
    let b = running(t)?;
    let socket = t.path("console.sock");
    let _listener = terminal::listen(&socket)?;
    for flags in [&[][..], &["--detach"]] {
        let path = socket.to_string_lossy();
        let flags = [flags, &["--console-socket", &path]].concat();
        let refused = exec(&b, &flags, &["true"])?;
        refuses(&b, refused, "console socket", &["console socket"])?;
    }
    Ok(())
}
