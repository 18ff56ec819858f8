//! NOTIFY: the descriptor goes to a supervisor, who answers calls.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use libc::{SYS_getpgid, SYS_getppid, SYS_getpriority, SYS_getsid};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::*;
use crate::bundle::{PATIENCE, bare, readable};
use crate::expect::{contains, fail};

pub(super) fn cases() -> Vec<Case> {
    const CREATING: &str = "sends it in create, with the status creating";
    let mut cases = vec![
        case("seccomp/notify-state", "what the supervisor is told with the descriptor", state)
            .differs(Kind::Runc, CREATING)
            .differs(Kind::Crun, CREATING),
        case("seccomp/notify-no-metadata", "without listenerMetadata there is none", no_metadata),
        case("seccomp/notify-answers", "the supervisor gives a value, an errno, or lets the call go on", answers),
        case("seccomp/notify-conditions", "NOTIFY for some values of an argument", conditions),
        case("seccomp/notify-create", "create and start with a supervisor", created),
        case("seccomp/notify-exec", "a process of exec brings a descriptor of its own", exec)
            .known_failure(Kind::Crun, "says 0 for the pids"),
        case("seccomp/notify-supervisor-gone", "a call that no supervisor can answer is ENOSYS", supervisor_gone),
        case("seccomp/notify-unanswered", "a process that waits for an answer can be killed", unanswered),
        case("seccomp/notify-set-up", "NOTIFY for calls that a runtime makes itself, and for execve", set_up)
            .differs(Kind::Runc, "refuses write, and waits for the answer to others")
            .differs(Kind::Crun, "its own calls are asked for, too"),
        case("seccomp/notify-default", "NOTIFY as the default", default).differs(Kind::Runc, "refuses it"),
        case("seccomp/notify-no-listener", "NOTIFY without listenerPath is refused", no_listener)
            .known_failure(Kind::Crun, "its calls get ENOSYS"),
        case(
            "seccomp/notify-nowhere",
            "a listenerPath that nobody listens on is an error, and nothing is left",
            nowhere,
        ),
        case("seccomp/notify-backlog-full", "a supervisor that accepts nothing: an error in finite time", backlog_full)
            .skip(Kind::Crun, "waits for ever"),
        case("seccomp/notify-without-rule", "listenerPath without a NOTIFY is not connected to", without_rule)
            .differs(Kind::Crun, "connects"),
        case("seccomp/notify-metadata-alone", "listenerMetadata without listenerPath is refused", metadata_alone)
            .differs(Kind::Runc, "takes no notice of it")
            .differs(Kind::Crun, "takes no notice of it"),
    ];
    cases = cases.into_iter().map(|case| case.needs(&["pidfd_getfd"])).collect();
    cases.push(
        case(
            "seccomp/notify-pidfd-getfd-missing",
            "without pidfd_getfd the error names it, and nothing is left",
            pidfd_getfd,
        )
        .only(Kind::NoFrills, "the others need it for nothing"),
    );
    cases
}

/// With a listener for the supervisor's descriptor.
pub(super) fn supervised(b: Bundle<'_>) -> Verdict<(Bundle<'_>, UnixListener)> {
    let path = b.dir.join("supervisor");
    let listener = UnixListener::bind(&path)?;
    Ok((b.set("/linux/seccomp/listenerPath", json!(path)), listener))
}

/// The container process state and the descriptor that the one connection brings, which ends with them (crun leaves it open).
pub(super) fn receive(kind: Kind, listener: &UnixListener) -> Verdict<(Value, OwnedFd)> {
    if !readable(listener, PATIENCE)? {
        return fail("nothing connected to the supervisor's socket");
    }
    let (mut connection, _) = listener.accept()?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut data = vec![0; 1 << 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(&connection, &mut [IoSliceMut::new(&mut data)], &mut messages, flags)?;
    data.truncate(received.bytes);
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in messages.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    same("descriptors received by the supervisor", fds.len(), 1)?;
    if kind != Kind::Crun {
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest)?;
        same("what comes after the message", rest, Vec::<u8>::new())?;
    }
    Ok((serde_json::from_slice(&data)?, some("the descriptor", fds.pop())?))
}

/// A supervisor that comes when it is called, while `act` does what brings the call. It answers as the probe takes it, and
/// lets a call go on that has no answer. What it was sent, and what it was asked: a line for each call.
fn while_supervised<R>(
    b: &Bundle,
    listener: &UnixListener,
    answers: &[String],
    act: impl FnOnce() -> Verdict<R>,
) -> Verdict<(R, Value, Vec<String>)> {
    let kind = b.test.kind;
    let mut command = Command::new(b.rootfs("bin/probe"));
    command.arg("supervise").args(answers).stdout(Stdio::piped());
    bare(&mut command);
    std::thread::scope(|scope| {
        let supervisor = scope.spawn(move || -> Verdict<(Value, Vec<String>)> {
            let (state, fd) = receive(kind, listener)?;
            let output = command.stdin(Stdio::from(fd)).spawn()?;
            // Only the process has the descriptor now, and not this command.
            drop(command);
            let output = output.wait_with_output()?;
            same("the supervisor's status", output.status.code(), Some(0))?;
            Ok((state, String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()))
        });
        let done = act()?;
        let (state, asked) = supervisor.join().map_err(|_| Stop::Failed("the supervisor's thread".to_owned()))??;
        Ok((done, state, asked))
    })
}

/// A bundle whose profile asks for these calls.
fn asking<'t>(t: &'t Test, names: &[&str]) -> Verdict<(Bundle<'t>, UnixListener)> {
    supervised(filtered(t, "SCMP_ACT_ALLOW", &[rule(names, "SCMP_ACT_NOTIFY")])?)
}

fn with_calls<'t>(b: Bundle<'t>, calls: &[String]) -> Bundle<'t> {
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    b.args(&[&["/bin/probe", "here"], &calls[..]].concat())
}

fn state(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["acct"])?;
    let b = b
        .set("/linux/seccomp/listenerMetadata", json!("a \"b\" \u{e9}\n"))
        .set("/annotations", json!({"com.example.a": "b"}));
    let b = b.idle();
    b.create()?;
    b.start()?;
    let (state, _fd) = receive(t.kind, &listener)?;
    let pid = b.pid()?.as_raw_nonzero().get();
    let version = some("ociVersion", state["ociVersion"].as_str())?;
    check(version.starts_with("1.") || version.starts_with("0.2."), || format!("ociVersion: {version}"))?;
    same("fds", &state["fds"], &json!(["seccompFd"]))?;
    same("pid", &state["pid"], pid)?;
    same("metadata", &state["metadata"], "a \"b\" \u{e9}\n")?;
    let state = &state["state"];
    same("state.ociVersion", state["ociVersion"].is_string(), true)?;
    same("state.id", &state["id"], b.id.as_str())?;
    same("state.pid", &state["pid"], pid)?;
    same("state.bundle", &state["bundle"], &json!(b.dir))?;
    same("state.annotations", &state["annotations"], &json!({"com.example.a": "b"}))?;
    same("state.status", &state["status"], if t.ours() { "created" } else { "creating" })?;
    b.kill_and_delete()
}

fn no_metadata(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["acct"])?;
    b.args(&["true"]).run()?.exits(0)?;
    let (state, _fd) = receive(t.kind, &listener)?;
    check(state["metadata"].is_null() || state["metadata"] == "", || format!("state: {state}"))?;
    check(state["state"]["annotations"].as_object().is_none_or(|them| !them.contains_key("com.example.a")), || {
        format!("{state}")
    })
}

fn answers(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["getppid", "getpgid", "getsid", "getpriority"])?;
    let calls = [
        call(SYS_getppid, &[77, u64::MAX]),
        call(SYS_getpgid, &[]),
        call(SYS_getsid, &[]),
        call(SYS_getpriority, &[99]),
    ];
    let b = with_calls(b, &calls);
    let answers =
        [format!("{SYS_getppid}=value:4711"), format!("{SYS_getpgid}=errno:{MARK}"), format!("{SYS_getsid}=value:0")];
    let (output, state, asked) = while_supervised(&b, &listener, &answers, || b.run())?;
    // The last goes on: the kernel's own answer.
    output.exits(0)?.prints("4711\n-1234\n0\n-22\n")?;
    let line = |number, first: u64, second: u64| format!("{number} {} {first} {second}", state["pid"]);
    same("calls", asked.len(), 4)?;
    same("asked", asked.first(), Some(&line(SYS_getppid, 77, u64::MAX)))?;
    check(asked.last().is_some_and(|asked| asked.starts_with(&format!("{SYS_getpriority} "))), || format!("{asked:?}"))
}

fn conditions(t: &Test) -> Verdict {
    let rules = [
        when(rule(&["getpriority"], "SCMP_ACT_NOTIFY"), 0, "SCMP_CMP_EQ", 77, 0),
        when(errno(&["getpriority"], MARK), 0, "SCMP_CMP_EQ", 78, 0),
    ];
    let (b, listener) = supervised(filtered(t, "SCMP_ACT_ALLOW", &rules)?)?;
    let b = with_calls(b, &[77, 78, 79].map(|value| call(SYS_getpriority, &[value])));
    let answers = [format!("{SYS_getpriority}=value:3")];
    let (output, _, asked) = while_supervised(&b, &listener, &answers, || b.run())?;
    output.exits(0)?.prints("3\n-1234\n-22\n")?;
    same("calls", asked.len(), 1)
}

fn created(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["getsid"])?;
    let b = with_calls(b, &[call(SYS_getsid, &[])]);
    let answers = [format!("{SYS_getsid}=value:5")];
    let (status, _, asked) = while_supervised(&b, &listener, &answers, || {
        b.create()?;
        b.start()?;
        b.ended()
    })?;
    same("status", status, 0)?;
    same("calls", asked.len(), 1)
}

fn exec(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["getsid"])?;
    let b = b.idle();
    b.create()?;
    b.start()?;
    let (first, _fd) = receive(t.kind, &listener)?;
    let answers = [format!("{SYS_getsid}=value:4711")];
    let command = b.test.command(&["exec", &b.id, "/bin/probe", "here", &call(SYS_getsid, &[])]);
    let (output, second, asked) = while_supervised(&b, &listener, &answers, || t.output_of(command))?;
    output.exits(0)?.prints("4711\n")?;
    same("calls", asked.len(), 1)?;
    same("state.id", &second["state"]["id"], b.id.as_str())?;
    same("state.pid", &second["state"]["pid"], &first["state"]["pid"])?;
    same("state.status", &second["state"]["status"], "running")?;
    let pid = &second["pid"];
    check(*pid != first["pid"], || "the pid is that of the container's process".to_owned())?;
    check(asked.first().is_some_and(|line| line.starts_with(&format!("{SYS_getsid} {pid} "))), || {
        format!("{asked:?}, {second}")
    })
}

fn supervisor_gone(t: &Test) -> Verdict {
    // It is gone before it has answered anything, and while a call waits.
    let (b, listener) = asking(t, &["getsid"])?;
    let b = with_calls(b, &[call(SYS_getsid, &[]), call(SYS_getsid, &[])]);
    let (output, _, asked) = while_supervised(&b, &listener, &[format!("{SYS_getsid}=quit")], || b.run())?;
    output.exits(0)?.prints("-38\n-38\n")?;
    same("calls", asked.len(), 1)
}

fn unanswered(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["getsid"])?;
    let b = with_calls(b, &[call(SYS_getsid, &[])]);
    b.create()?;
    b.start()?;
    let (_, fd) = receive(t.kind, &listener)?;
    check(readable(&fd, PATIENCE)?, || "the call does not arrive".to_owned())?;
    b.is("running")?;
    b.kill_and_delete()
}

/// With NOTIFY for calls of the runtime, where the supervisor lets all of them go on.
fn goes_on(b: Bundle, listener: &UnixListener) -> Verdict<Vec<String>> {
    let b = b.sh("echo ran");
    let (output, _, asked) = while_supervised(&b, listener, &[], || b.run())?;
    output.exits(0)?.prints("ran\n")?;
    Ok(asked)
}

fn set_up(t: &Test) -> Verdict {
    let names = [
        "write", "read", "close", "sendmsg", "sendto", "recvmsg", "openat", "fcntl", "futex", "prctl", "capset",
        "execve", "seccomp",
    ];
    for privileges in [true, false] {
        let (b, listener) = asking(t, &names)?;
        let b = b.set("/process/noNewPrivileges", json!(privileges));
        if t.kind == Kind::Runc {
            refused(b, "", &["SCMP_ACT_NOTIFY cannot be used for the write syscall"])?;
            continue;
        }
        let asked = goes_on(b, &listener)?;
        let execve = format!("{} ", libc::SYS_execve);
        let found = asked.iter().position(|line| line.starts_with(&execve));
        check(found == Some(0) || found.is_some() && t.kind == Kind::Crun, || format!("{asked:?}"))?;
    }
    Ok(())
}

fn default(t: &Test) -> Verdict {
    let (b, listener) = supervised(filtered(t, "SCMP_ACT_NOTIFY", &[])?)?;
    if t.kind == Kind::Runc {
        return refused(b, "", &["SCMP_ACT_NOTIFY cannot be used as default action"]);
    }
    check(!goes_on(b, &listener)?.is_empty(), || "nothing was asked".to_owned())
}

fn no_listener(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["acct"], "SCMP_ACT_NOTIFY")])?;
    refused(b, "/linux/seccomp/listenerPath", &["listenerPath is not set"])?;
    let b = filtered(t, "SCMP_ACT_NOTIFY", &[])?.set("/linux/seccomp/listenerPath", json!(""));
    refused(b, "/linux/seccomp/listenerPath", &[])
}

/// run fails, says `ours`, and leaves nothing; so does create, or start, and the container can be deleted.
fn cannot_tell(b: &Bundle, ours: &str) -> Verdict {
    let output = b.run()?;
    check(output.status != 0, || "it ran".to_owned())?;
    same("stdout", output.stdout()?.as_str(), "")?;
    if b.test.ours() {
        contains("stderr", &output.stderr()?, ours)?;
        contains("stderr", &output.stderr()?, "/linux/seccomp/listenerPath")?;
    }
    b.is_gone()?;
    let created = b.create_with(&[])?;
    if created.status == 0 {
        let started = b.verb("start", &[])?;
        check(started.status != 0, || "it started".to_owned())?;
        same("stdout", created.stdout()?.as_str(), "")?;
    }
    b.delete_force()?;
    b.is_gone()
}

fn nowhere(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["acct"])?;
    let b = b.sh("echo ran");
    // A socket that nobody has, a file, nothing.
    drop(listener);
    cannot_tell(&b, "ECONNREFUSED")?;
    let b = b.set("/linux/seccomp/listenerPath", json!(t.path("no-such")));
    cannot_tell(&b, "ENOENT")?;
    let file = t.path("file");
    fs::write(&file, "")?;
    let b = b.set("/linux/seccomp/listenerPath", json!(file));
    cannot_tell(&b, "is no socket")
}

fn backlog_full(t: &Test) -> Verdict {
    let (b, listener) = asking(t, &["acct"])?;
    rustix::net::listen(&listener, 0)?;
    let path = b.dir.join("supervisor");
    // It takes one that nobody accepts.
    let _first = UnixStream::connect(path)?;
    cannot_tell(&b.sh("echo ran"), "")
}

fn pidfd_getfd(t: &Test) -> Verdict {
    let (b, _listener) = asking(t, &["acct"])?;
    let b = b.sh("echo ran");
    b.save()?;
    let output = t.output_of(b.command_without("pidfd_getfd", "run", &[]))?;
    output.refuses(t, "pidfd_getfd", &[])?.prints("")?;
    b.is_gone()
}

fn without_rule(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getsid"], MARK)])?;
    let (b, _listener) = if t.kind == Kind::Crun {
        let (b, listener) = supervised(b)?;
        (b, Some(listener))
    } else {
        (b.set("/linux/seccomp/listenerPath", json!("/no/such")), None)
    };
    let b = b.set("/linux/seccomp/listenerMetadata", json!("x"));
    same("answers", each(b, &[call(SYS_getsid, &[])])?, [MARKED])
}

fn metadata_alone(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getsid"], MARK)])?;
    let b = b.set("/linux/seccomp/listenerMetadata", json!("x"));
    if t.ours() {
        return refused(b, "/linux/seccomp/listenerMetadata", &[]);
    }
    same("answers", each(b, &[call(SYS_getsid, &[])])?, [MARKED])
}
