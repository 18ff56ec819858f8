//! Console sockets that nobody serves, and the socket or fifo on which a created container waits.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::json;

use super::{begin, deleted, deleted_reaping, in_time, said, through, verb, within};
use crate::bundle::{Bundle, Test, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, fail, same, some};
use crate::kind::Kind;
use crate::terminal;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "reliability/inside-console-nobody",
            "a console socket that is not there, is no socket, or has no listener",
            nobody,
        ),
        case("reliability/inside-console-full", "a console socket whose queue is full: an error, in time", full)
            .skip(Kind::Crun, "waits without end"),
        case(
            "reliability/inside-console-closed",
            "a console socket that is closed by its owner at each moment",
            closed,
        ),
        case(
            "reliability/inside-console-mute",
            "who takes the connection to the console socket and does nothing holds nobody up",
            mute,
        ),
        case(
            "reliability/inside-start-deleted",
            "the start socket or fifo deleted: start fails in time, delete --force works",
            start_deleted,
        ),
        case(
            "reliability/inside-start-replaced",
            "so when it is replaced: by a file, a fifo, another's socket",
            start_replaced,
        )
        .known_failure(Kind::Crun, "1.28 writes to a file in its place, and says that it has started")
        .skip(Kind::Runc, "waits without end at another fifo"),
        case(
            "reliability/inside-start-taken",
            "others connect to it, or open it, and say nothing: start starts all the same",
            start_taken,
        )
        .skip(Kind::Runc, "whoever opens the fifo is taken for a start, and start waits without end"),
        case(
            "reliability/inside-start-private",
            "nobody but its owner can start a container, whatever the umask of create",
            start_private,
        )
        .known_failure(Kind::Runc, "exec.fifo has the mode 0622, and its directory 0711"),
    ]
}

fn in_terminal(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(t.bundle()?.set("/process/terminal", json!(true)).idle())
}

/// create, run --detach and exec with this console socket fail in time, tell `ours`, and leave nothing.
fn refused(t: &Test, socket: &Path, ours: &str) -> Verdict {
    let path = socket.to_string_lossy();
    let ours = format!("connecting to the console socket {path}: {ours}");
    let b = in_terminal(t)?;
    b.save()?;
    let create = within(t, b.command("create", &["--console-socket", &path]))?;
    create.refuses(t, &ours, &[])?;
    b.is_gone()?;
    let run = within(t, b.command("run", &["--detach", "--console-socket", &path]))?;
    run.refuses(t, &ours, &[])?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    let b = t.bundle()?.running_idle()?;
    let exec = verb(&b, "exec", &["--tty", "--detach", "--console-socket", &path], &["sleep", "1000"])?;
    if t.ours() {
        contains("stderr", &exec.stderr()?, &ours)?;
    }
    check(exec.status != 0, || "exec did not fail".to_owned())?;
    eventually("one process", || Ok(fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count() == 1))?;
    deleted_reaping(&b)
}

fn nobody(t: &Test) -> Verdict {
    refused(t, &t.path("absent"), "ENOENT")?;
    let file = t.path("file");
    fs::write(&file, "")?;
    refused(t, &file, "ECONNREFUSED")?;
    let left = t.path("left");
    drop(UnixListener::bind(&left)?);
    refused(t, &left, "ECONNREFUSED")?;
    let datagrams = t.path("datagrams");
    let _datagrams = UnixDatagram::bind(&datagrams)?;
    refused(t, &datagrams, "EPROTOTYPE")
}

/// A socket that listens, with as many in its queue as fit.
fn listen_full(path: &Path) -> Verdict<(std::os::fd::OwnedFd, Vec<std::os::fd::OwnedFd>)> {
    let address = SocketAddrUnix::new(path)?;
    let new = || {
        rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
    };
    let listener = new()?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, 0)?;
    let mut waiting = Vec::new();
    loop {
        let one = new()?;
        match rustix::net::connect(&one, &address) {
            Ok(()) => waiting.push(one),
            Err(rustix::io::Errno::AGAIN) => return Ok((listener, waiting)),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn full(t: &Test) -> Verdict {
    let path = t.path("console.sock");
    let _queue = listen_full(&path)?;
    refused(t, &path, "nobody takes the connection within 10 s")
}

fn closed(t: &Test) -> Verdict {
    let path = t.path("console.sock");
    let listener = terminal::listen(&path)?;
    // Once it is connected, and before the terminal is sent: a hook is between the two.
    let (accepted, closed) = (t.path("accepted"), t.path("closed"));
    let script =
        format!("cat >/dev/null; echo >{}; until [ -e {} ]; do sleep 0.02; done", accepted.display(), closed.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 20});
    let b = in_terminal(t)?.set("/hooks", json!({"createRuntime": [hook]}));
    b.save()?;
    let mut create = begin(t, b.command("create", &["--console-socket", &path.to_string_lossy()]))?;
    eventually("the hook runs", || Ok(accepted.exists()))?;
    drop(listener);
    fs::write(&closed, "")?;
    let status = code(in_time(&mut create, "create")?);
    same("status", status, 1)?;
    if t.ours() {
        contains("what it said", &said(t)?, "sending the terminal to the console socket")?;
        contains("what it said", &said(t)?, "EPIPE")?;
        b.is_gone()?;
    }
    verb(&b, "delete", &["--force"], &[])?.exits(0)?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;

    // As soon as it is there: whichever is first, nothing is left, and no success is told without a terminal.
    fs::remove_file(&path)?;
    let listener = terminal::listen(&path)?;
    let closer = std::thread::spawn(move || {
        for _ in 0..10 {
            if let Ok((connection, _)) = listener.accept() {
                drop(connection);
            }
        }
    });
    for _ in 0..10 {
        let b = in_terminal(t)?;
        b.save()?;
        within(t, b.command("create", &["--console-socket", &path.to_string_lossy()]))?;
        verb(&b, "delete", &["--force"], &[])?.exits(0)?;
        b.is_gone()?;
    }
    // Who did not connect is stood in for.
    while !closer.is_finished() {
        drop(UnixStream::connect(&path));
    }
    Ok(())
}

fn mute(t: &Test) -> Verdict {
    let path = t.path("console.sock");
    let listener = terminal::listen(&path)?;
    let b = in_terminal(t)?;
    b.save()?;
    let pid_file = b.pid_file();
    let flags = ["--console-socket", &path.to_string_lossy(), "--pid-file", &pid_file.to_string_lossy()];
    within(t, b.command("create", &flags))?.exits(0)?;
    let (_connection, _) = listener.accept()?;
    verb(&b, "start", &[], &[])?.exits(0)?;
    b.is("running")?;
    verb(&b, "exec", &["--tty", "--detach", "--console-socket", &path.to_string_lossy()], &["sleep", "1000"])?
        .exits(0)?;
    deleted_reaping(&b)
}

/// Where a created container waits to be started.
fn start_file(b: &Bundle<'_>) -> Verdict<PathBuf> {
    let dir = b.test.state_root().join(&b.id);
    let name = if b.test.ours() { "start.sock" } else { "exec.fifo" };
    let path = dir.join(name);
    if path.exists() { Ok(path) } else { fail(format!("{} is not there", path.display())) }
}

/// start fails in time, nothing has run, and delete --force leaves nothing.
fn cannot_be_started(b: &Bundle<'_>) -> Verdict {
    verb(b, "state", &[], &[])?.exits(0)?;
    let start = verb(b, "start", &[], &[])?;
    start.refuses(b.test, "cannot start", &[])?;
    check(!b.rootfs("ran").exists(), || "the program ran".to_owned())?;
    deleted(b)
}

fn start_deleted(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("echo >/ran; exec sleep 1000");
    b.create()?;
    fs::remove_file(start_file(&b)?)?;
    cannot_be_started(&b)
}

fn start_replaced(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("echo >/ran; exec sleep 1000");
    for kind in ["file", "fifo"] {
        b.create()?;
        let path = start_file(&b)?;
        fs::remove_file(&path)?;
        match kind {
            "file" => fs::write(&path, "")?,
            _ => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?,
        }
        let outcome = cannot_be_started(&b);
        check(outcome.is_ok(), || format!("{kind}: {outcome:?}"))?;
    }
    if !t.ours() {
        return Ok(());
    }
    // Somebody else's socket: what is said there may be answered some time, as long as init lives.
    b.create()?;
    let path = start_file(&b)?;
    fs::remove_file(&path)?;
    let _listener = listen_seqpacket(&path)?;
    let mut start = begin(t, t.command(&["start", &b.id]))?;
    eventually("start sleeps", || Ok(super::state_of(i32::try_from(start.id())?)? == Some('S')))?;
    deleted(&b)?;
    same("status of start", code(in_time(&mut start, "start")?), 1)?;
    contains("what it said", &said(t)?, "container not running")?;
    // So when it is killed.
    b.create()?;
    fs::remove_file(&path)?;
    let _listener = listen_seqpacket(&path)?;
    let mut start = begin(t, t.command(&["start", &b.id]))?;
    eventually("start sleeps", || Ok(super::state_of(i32::try_from(start.id())?)? == Some('S')))?;
    verb(&b, "kill", &[], &["KILL"])?.exits(0)?;
    same("status of start", code(in_time(&mut start, "start")?), 1)?;
    check(!b.rootfs("ran").exists(), || "the program ran".to_owned())?;
    deleted(&b)
}

/// A listener of the kind that ours waits on, which says nothing to anybody.
fn listen_seqpacket(path: &Path) -> Verdict<std::os::fd::OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

fn start_taken(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    for number in [1, 3] {
        b.create()?;
        let path = start_file(&b)?;
        let mut taken = Vec::new();
        if path.metadata()?.file_type().is_socket() {
            for _ in 0..number {
                let socket =
                    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
                rustix::net::connect(&socket, &SocketAddrUnix::new(&path)?)?;
                taken.push(socket);
            }
        } else {
            // Whoever opens it reads nothing of what init writes to it.
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
            taken.push(rustix::fs::open(&path, flags, Mode::empty())?);
            std::thread::sleep(Duration::from_millis(100));
        }
        b.is("created")?;
        verb(&b, "start", &[], &[])?.exits(0)?;
        b.is("running")?;
        drop(taken);
        b.kill_and_delete()?;
    }
    Ok(())
}

fn start_private(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    let pid_file = b.pid_file();
    let create = b.command("create", &["--pid-file", &pid_file.to_string_lossy()]);
    within(t, through("umask 0; exec \"$@\"", &create))?.exits(0)?;
    let path = start_file(&b)?;
    // Either it may not be reached, or it may not be opened.
    let reached = some("its directory", path.parent())?.metadata()?.permissions().mode() & 0o011 != 0;
    let mode = path.metadata()?.permissions().mode();
    check(!reached || mode & 0o022 == 0, || format!("{} has the mode {mode:o}", path.display()))?;
    if t.kind == Kind::NoFrills {
        same("mode", mode & 0o777, 0o600)?;
    }
    deleted(&b)
}
