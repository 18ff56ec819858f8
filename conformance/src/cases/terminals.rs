//! Terminals: console sockets, sizes, /dev/console, and a terminal passed through.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, Test, bare, code};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;
use crate::terminal;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "terminals/console-socket",
            "create sends one descriptor, a master, and the process has its slave",
            console_socket,
        ),
        case("terminals/controlling", "the terminal controls the process's session", controlling),
        case("terminals/console-size", "consoleSize is the terminal's size at start", console_size),
        case("terminals/dev-console", "/dev/console is the terminal", dev_console),
        case("terminals/path-in-container", "the terminal has a name within the container", path),
        case("terminals/two-way", "what is written to the master arrives, echo and signals work", two_way),
        case("terminals/owner", "the terminal belongs to the process's user", owner),
        case("terminals/run-detached", "run --detach with a console socket", run_detached),
        case("terminals/socket-missing", "a terminal without a console socket is refused by create", socket_missing),
        case("terminals/socket-nowhere", "a console socket that nobody listens on is refused", socket_nowhere),
        case(
            "terminals/socket-without-terminal",
            "a console socket without a terminal is refused",
            socket_without_terminal,
        )
        .known_failure(Kind::Crun, "takes no notice of it"),
        case("terminals/run-attached", "run passes a terminal through: output, input, size, exit status", run_attached)
            .known_failure(Kind::Crun, "tells no size until the first change of it"),
        case("terminals/run-line-ends", "run passes the ends of lines on as the program writes them", line_ends)
            .known_failure(Kind::Runc, "wants to have a terminal itself, at /dev/tty")
            .known_failure(Kind::Crun, "has a carriage return before each"),
        case("terminals/run-restores", "run gives the terminal back as it was", run_restores),
        case("terminals/run-resizes", "a new window size reaches the container", run_resizes),
        case("terminals/none", "without a terminal there is no /dev/console and no controlling terminal", none),
    ]
}

/// Creates the container, takes its console and starts it.
pub(crate) fn with_console(t: &Test, b: &Bundle) -> Verdict<File> {
    let socket = t.path("console.sock");
    let listener = terminal::listen(&socket)?;
    b.create_with(&["--console-socket", &socket.to_string_lossy()])?.exits(0)?;
    let master = terminal::receive(&listener)?;
    b.start()?;
    Ok(master)
}

fn in_terminal<'t>(t: &'t Test, script: &str) -> Verdict<Bundle<'t>> {
    Ok(t.bundle()?.set("/process/terminal", json!(true)).sh(script))
}

fn line_ends(t: &Test) -> Verdict {
    same("to a file", in_terminal(t, "echo one; echo two")?.stdout()?, "one\ntwo\n")?;
    let b = t.bundle()?.running_idle()?;
    let output = t.runtime(&["exec", "--tty", b.id.as_str(), "sh", "-c", "echo one; echo two"])?;
    same("of exec", output.exits(0)?.stdout()?, "one\ntwo\n")
}

fn console_socket(t: &Test) -> Verdict {
    let b =
        in_terminal(t, "for fd in 0 1 2; do test -t $fd && echo is $fd; done; cd /proc/self/fd; echo open *; read x")?;
    let mut master = with_console(t, &b)?;
    check(rustix::termios::isatty(&master), || "what came over the socket is no terminal".to_owned())?;
    let text = terminal::read_until(&mut master, "open ")?;
    contains("descriptors", &text, "is 0\nis 1\nis 2\n")
}

fn controlling(t: &Test) -> Verdict {
    let b = in_terminal(t, "echo by tty >/dev/tty; cut -d' ' -f4-8 /proc/self/stat; echo end; read x")?;
    let mut master = with_console(t, &b)?;
    let text = terminal::read_until(&mut master, "end")?;
    contains("/dev/tty", &text, "by tty")
}

fn console_size(t: &Test) -> Verdict {
    let b =
        in_terminal(t, "stty size; echo end; read x")?.set("/process/consoleSize", json!({"height": 43, "width": 121}));
    let mut master = with_console(t, &b)?;
    contains("size", &terminal::read_until(&mut master, "end")?, "43 121")
}

fn dev_console(t: &Test) -> Verdict {
    let b = in_terminal(t, "echo by console >/dev/console; stat -L -c %F /dev/console; echo end; read x")?;
    let mut master = with_console(t, &b)?;
    let text = terminal::read_until(&mut master, "end")?;
    contains("output", &text, "by console")?;
    contains("output", &text, "character special file")
}

fn path(t: &Test) -> Verdict {
    let b = in_terminal(t, "tty; test -c $(tty) && echo there; echo end; read x")?;
    let mut master = with_console(t, &b)?;
    let text = terminal::read_until(&mut master, "end")?;
    contains("tty", &text, "/dev/pts/0")?;
    contains("tty", &text, "there")
}

fn two_way(t: &Test) -> Verdict {
    let b = in_terminal(
        t,
        "trap 'echo interrupted; exit 5' INT; read x; echo got:$x; while :; do sleep 1000 & wait; done",
    )?;
    let mut master = with_console(t, &b)?;
    master.write_all(b"hello\n")?;
    terminal::read_until(&mut master, "got:hello")?;
    // Control-C.
    master.write_all(b"\x03")?;
    terminal::read_until(&mut master, "interrupted")?;
    same("status", b.ended()?, 5)
}

fn owner(t: &Test) -> Verdict {
    let b = in_terminal(t, "stat -c '%u' $(tty); echo end; read x")?
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let mut master = with_console(t, &b)?;
    contains("owner", &terminal::read_until(&mut master, "end")?, "1000")
}

fn run_detached(t: &Test) -> Verdict {
    let socket = t.path("console.sock");
    let listener = terminal::listen(&socket)?;
    let b = in_terminal(t, "test -t 0 && echo is one; read x")?;
    b.run_with(&["--detach", "--console-socket", &socket.to_string_lossy()])?.exits(0)?;
    let mut master = terminal::receive(&listener)?;
    terminal::read_until(&mut master, "is one")?;
    Ok(())
}

fn socket_missing(t: &Test) -> Verdict {
    let b = in_terminal(t, "true")?;
    let words = "cannot allocate tty if runc will detach without setting console socket";
    b.create_with(&[])?.refuses(t, "console socket", &[words, "--console-socket"])?;
    b.is_gone()?;
    b.run_with(&["--detach"])?.refuses(t, "console socket", &[words, "--console-socket"])?;
    b.is_gone()
}

fn socket_nowhere(t: &Test) -> Verdict {
    let b = in_terminal(t, "true")?;
    b.create_with(&["--console-socket", "/no/such/socket"])?.refuses(t, "/no/such/socket", &[])?;
    b.is_gone()
}

fn socket_without_terminal(t: &Test) -> Verdict {
    let socket = t.path("console.sock");
    let _listener = terminal::listen(&socket)?;
    let b = t.bundle()?.args(&["true"]);
    b.create_with(&["--console-socket", &socket.to_string_lossy()])?.refuses(
        t,
        "console socket",
        &["console socket"],
    )?;
    b.is_gone()
}

/// An attached `run` whose controlling terminal is a pseudo-terminal of the case's.
fn attached(b: &Bundle, slave: &File) -> Verdict<Child> {
    b.save()?;
    let inner = b.command("run", &[]);
    let mut command = Command::new("busybox");
    command.args(["setsid", "-c"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    Ok(command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(Stdio::from(slave.try_clone()?)).spawn()?)
}

fn run_attached(t: &Test) -> Verdict {
    let (mut master, slave) = terminal::open()?;
    terminal::resize(&master, 31, 97)?;
    let size = until_sized(t, "31 97");
    let b = in_terminal(t, &format!("test -t 0 && {size}; read x; echo got:$x; exit 9"))?;
    let mut child = attached(&b, &slave)?;
    terminal::read_until(&mut master, "31 97")?;
    terminal::is_raw(t, &slave)?;
    master.write_all(b"hello\n")?;
    terminal::read_until(&mut master, "got:hello")?;
    same("status", code(child.wait()?), 9)
}

fn run_restores(t: &Test) -> Verdict {
    let (mut master, slave) = terminal::open()?;
    let before = rustix::termios::tcgetattr(&slave)?;
    let b = in_terminal(t, "stty raw; echo changed; exit 3")?;
    let mut child = attached(&b, &slave)?;
    terminal::read_until(&mut master, "changed")?;
    same("status", code(child.wait()?), 3)?;
    let after = rustix::termios::tcgetattr(&slave)?;
    same("input modes", after.input_modes, before.input_modes)?;
    same("output modes", after.output_modes, before.output_modes)?;
    same("local modes", after.local_modes, before.local_modes)?;
    same("control modes", after.control_modes, before.control_modes)
}

/// A program that prints its terminal's size at first and whenever that changes, and ends with Control-C. It goes on
/// waiting after changes that nobody asked for: some runtimes set the first size late.
pub(crate) const PRINTS_SIZES: &str =
    "trap 'stty size' WINCH; trap 'exit 0' INT; stty size; echo ready; while :; do sleep 1000 & wait $!; done";

/// A new size of the terminal that the runtime was given reaches the program that prints it.
pub(crate) fn is_resized(t: &Test, mut child: Child, master: &mut File, slave: &File) -> Verdict {
    terminal::read_until(master, "ready")?;
    terminal::is_raw(t, slave)?;
    terminal::resize(master, 50, 111)?;
    terminal::read_until(master, "50 111")?;
    // Control-C.
    master.write_all(b"\x03")?;
    same("status", code(child.wait()?), 0)
}

/// What a program with a terminal does until that has this size. Ours sets it before the program runs, others later.
pub(crate) fn until_sized(t: &Test, size: &str) -> String {
    if t.ours() { "stty size".to_owned() } else { format!("until stty size | grep '{size}'; do sleep 0.1; done") }
}

fn run_resizes(t: &Test) -> Verdict {
    let (mut master, slave) = terminal::open()?;
    terminal::resize(&master, 24, 80)?;
    let b = in_terminal(t, PRINTS_SIZES)?;
    is_resized(t, attached(&b, &slave)?, &mut master, &slave)
}

fn none(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("test -e /dev/console && echo console; (exec 3</dev/tty) 2>/dev/null && echo tty; test -t 0 && echo stdin; echo end");
    same("output", b.stdout()?, "end\n")
}
