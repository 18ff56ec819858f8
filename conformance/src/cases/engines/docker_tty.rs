//! Docker Engine: terminals.

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE};
use crate::expect::{Verdict, contains, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/docker/tty-run", "run -it: a terminal with the window's size, input and status", run),
        case("engines/docker/tty-resize", "run -it: a new window size arrives, and SIGWINCH", resize),
        case("engines/docker/tty-interrupt", "run -it: Ctrl-C reaches the program in the foreground", interrupt),
        case("engines/docker/tty-exec", "exec -it: a terminal of its own, size, Ctrl-C and status", exec),
        case("engines/docker/tty-detach", "detach keys leave it running; attach shows it again", detach),
        case("engines/docker/attach", "attach without a terminal: output, signals and status", attach),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

// What is typed is echoed: so that a text is not found in the echo of its own command, it is put together there.

fn run(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let mut session = docker.in_terminal(31, 97, &["run", "--rm", "-it", IMAGE, "sh"])?;
    session.types("test -t 0 && test -t 1 && test -t 2 && echo is' a 'terminal; tty\n")?;
    session.shows("is a terminal")?;
    session.shows("/dev/pts/0")?;
    // Docker tells the size after the start.
    session.types("until test \"$(stty size)\" = '31 97'; do sleep 0.05; done; echo size is' right'\n")?;
    session.shows("size is right")?;
    session.types("exit 33\n")?;
    same("status", session.ended()?, 33)
}

fn resize(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let script = "trap 'echo winch: $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut session = docker.in_terminal(24, 80, &["run", "--rm", "-it", IMAGE, "sh", "-c", script])?;
    session.shows("ready")?;
    session.resizes(50, 132, "winch: 50 132")?;
    session.types("\x03")?;
    same("status", session.ended()?, 130)
}

fn interrupt(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let mut session = docker.in_terminal(24, 80, &["run", "--rm", "-it", IMAGE, "sh"])?;
    session.types("(echo run''ning; exec sleep 1000)\n")?;
    session.shows("running")?;
    session.types("\x03")?;
    // Its prompt: what is typed before the signal is thrown away.
    session.shows("# ")?;
    session.types("echo sta''tus $?\n")?;
    session.shows("status 130")?;
    session.types("exit 5\n")?;
    same("status", session.ended()?, 5)
}

fn exec(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.idle("c", &[])?;
    let mut session = docker.in_terminal(22, 66, &["exec", "-it", &c.name, "sh"])?;
    session.types("until test \"$(stty size)\" = '22 66'; do sleep 0.05; done; echo size is' right'\n")?;
    session.shows("size is right")?;
    session.types("until test \"$(stty size)\" = '40 120'; do sleep 0.05; done; echo new is' right'\n")?;
    session.resizes(40, 120, "new is right")?;
    session.types("(echo run''ning; exec sleep 1000)\n")?;
    session.shows("running")?;
    session.types("\x03")?;
    // Its prompt: what is typed before the signal is thrown away.
    session.shows("# ")?;
    session.types("echo sta''tus $?\n")?;
    session.shows("status 130")?;
    session.types("tty </dev/console; exit 6\n")?;
    same("status", session.ended()?, 6)?;
    c.is("{{.State.Status}}", "running")
}

fn detach(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let name = docker.name("c");
    let mut session = docker.in_terminal(24, 80, &["run", "--name", &name, "-it", IMAGE, "sh"])?;
    session.types("echo be''fore\n")?;
    session.shows("before")?;
    session.types("\x10\x11")?;
    same("status of what detached", session.ended()?, 0)?;
    let c = docker.existing(&name);
    c.is("{{.State.Status}}", "running")?;
    let mut session = docker.in_terminal(24, 80, &["attach", "--detach-keys", "ctrl-a,d", &name])?;
    session.types("echo af''ter\n")?;
    session.shows("after")?;
    session.types("\x01d")?;
    session.ended()?;
    c.is("{{.State.Status}}", "running")?;
    let mut session = docker.in_terminal(24, 80, &["attach", &name])?;
    session.types("exit 7\n")?;
    same("status of what attached", session.ended()?, 7)?;
    contains("the log has it all", &c.logs()?, "after")
}

fn attach(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    // Again and again: nothing tells when attach listens.
    let script = "trap 'exit 42' TERM; while :; do echo attached; sleep 0.05; done";
    let c = docker.container("c", &[], &["sh", "-c", script])?;
    let mut attached = docker.piped(&["attach", &c.name])?;
    same("output", attached.lines.next()?.as_str(), "attached")?;
    attached.signal(rustix::process::Signal::TERM)?;
    same("status", attached.ended()?, 42)?;
    same("of the container", c.waited()?.as_str(), "42")
}
