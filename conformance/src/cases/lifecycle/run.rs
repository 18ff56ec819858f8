//! run.

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same, some};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("lifecycle/run-status", "run exits with the process's status", run_status),
        case("lifecycle/run-signal", "run exits with 128 and the signal that killed the process", run_signal),
        case("lifecycle/run-leaves-nothing", "an attached run removes its container", run_leaves_nothing),
        case("lifecycle/run-keep", "run --keep leaves a stopped container", run_keep),
        case("lifecycle/run-detached", "run --detach returns at once and leaves a running container", run_detached),
        case("lifecycle/run-forwards-signals", "a signal to an attached run reaches the process", run_forwards),
        case("lifecycle/run-stdin-pipe", "an attached run passes stdin, stdout and stderr through", run_stdio),
    ]
}

fn run_status(t: &Test) -> Verdict {
    t.bundle()?.sh("exit 7").run()?.exits(7)?;
    t.bundle()?.sh("exit 0").run()?.exits(0)?;
    t.bundle()?.sh("exit 255").run()?.exits(255)?;
    Ok(())
}

fn run_signal(t: &Test) -> Verdict {
    // A pid namespace's first process does not die of a signal from within; a child of the host's does.
    let b = t.bundle()?.no_namespace("pid").sh("kill -9 $$");
    b.run()?.exits(137)?;
    Ok(())
}

fn run_leaves_nothing(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["false"]);
    b.run()?.exits(1)?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn run_keep(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("exit 5");
    b.run_with(&["--keep"])?.exits(5)?;
    b.is("stopped")?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn run_detached(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.run_with(&["--detach", "--pid-file", &b.pid_file().to_string_lossy()])?.exits(0)?;
    b.is("running")?;
    b.kill_and_delete()?;
    b.is_gone()
}

fn run_forwards(t: &Test) -> Verdict {
    use std::process::Stdio;
    let b = t.bundle()?.sh("trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 1000 & wait $!; done");
    b.save()?;
    let (reader, writer) = std::io::pipe()?;
    let mut command = b.command("run", &[]);
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).spawn()?;
    drop(command);
    let mut lines = crate::bundle::Lines::new(reader);
    same("first line", lines.next()?, "ready")?;
    let pid = some("a pid", rustix::process::Pid::from_raw(i32::try_from(child.id())?))?;
    rustix::process::kill_process(pid, rustix::process::Signal::USR1)?;
    same("second line", lines.next()?, "got")?;
    same("status", crate::bundle::code(child.wait()?), 9)
}

fn run_stdio(t: &Test) -> Verdict {
    use std::io::{Read, Write};
    use std::process::Stdio;
    let b = t.bundle()?.sh("read line; echo out:$line; echo err:$line >&2; cat");
    b.save()?;
    let mut command = b.command("run", &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    some("stdin", child.stdin.take())?.write_all(b"one\ntwo\n")?;
    let (mut out, mut err) = (String::new(), String::new());
    some("stdout", child.stdout.take())?.read_to_string(&mut out)?;
    some("stderr", child.stderr.take())?.read_to_string(&mut err)?;
    same("status", crate::bundle::code(child.wait()?), 0)?;
    same("stdout", out, "out:one\ntwo\n")?;
    same("stderr", err, "err:one\n")
}
