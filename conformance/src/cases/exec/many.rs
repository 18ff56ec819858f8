//! Many processes, in a row and at once, and the end of the container meanwhile.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use super::{command, detached, exec, running, sh};
use crate::bundle::{PATIENCE, Test, code, ended};
use crate::case::{Case, case};
use crate::cgroup2;
use crate::expect::{Verdict, check, same};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/in-a-row", "hundreds in a row leave no process, zombie, descriptor or cgroup", in_a_row),
        case("exec/at-once", "twenty at once all work", at_once),
        case("exec/dies-at-once", "a process that ends at once is no error, attached and detached", dies_at_once),
        case(
            "exec/while-killed",
            "exec while the container is killed and deleted ends, and leaves nothing",
            while_killed,
        )
        .skip(
            Kind::Runc,
            "1.3.6 leaves processes for others to reap, and fails to delete the container until they are",
        ),
    ]
}

/// How often a peer does what ours does 500 times.
fn often(t: &Test) -> u32 {
    if t.ours() { 500 } else { 40 }
}

fn in_a_row(t: &Test) -> Verdict {
    let b = running(t)?;
    let pid = b.pid()?.as_raw_nonzero();
    let files = |pid| -> Verdict<usize> { Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count()) };
    let cgroups = cgroup2::below(&t.cgroup_dir());
    let (before, entries) = (files(pid)?, fs::read_dir(t.state_root().join(&b.id))?.count());
    let deadline = Instant::now() + PATIENCE;
    for times in 0..often(t) {
        exec(&b, &[], &["true"])?.exits(0)?;
        // On a slow machine a few less will do.
        if times >= 100 && Instant::now() > deadline {
            break;
        }
    }
    // Fewer: it was about to execute its program.
    check(files(pid)? <= before, || "the container's process has more descriptors than before".to_owned())?;
    same("cgroups", cgroup2::below(&t.cgroup_dir()), cgroups)?;
    same("files of the container's state", fs::read_dir(t.state_root().join(&b.id))?.count(), entries)?;
    // Zombies count as members.
    same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)?;
    let out = sh(&b, &[], "ls /proc | grep -c '^[0-9]'")?;
    // The container's, the shell, ls and grep.
    check(out.trim().parse::<u32>().is_ok_and(|count| count <= 4), || format!("processes: {out}"))
}

fn at_once(t: &Test) -> Verdict {
    let b = running(t)?;
    for _ in 0..often(t).div_ceil(100) {
        let mut children = Vec::new();
        for number in 0..20 {
            let mut command = command(&b, &[], &["sh", "-c", &format!("exit {number}")]);
            children.push((command.stdin(Stdio::null()).spawn()?, number));
        }
        for (mut child, number) in children {
            same("status", code(child.wait()?), number)?;
        }
    }
    b.is("running")
}

fn dies_at_once(t: &Test) -> Verdict {
    let b = running(t)?;
    for number in 0..often(t).div_ceil(10) {
        exec(&b, &[], &["sh", "-c", "kill -KILL $$"])?.exits(137)?;
        let pid = detached(&b, &[], &["sh", "-c", &format!("exit {number}")])?;
        same("status", ended(pid)?, i32::try_from(number)?)?;
    }
    Ok(())
}

fn while_killed(t: &Test) -> Verdict {
    for round in 0..often(t).div_ceil(20) {
        let b = running(t)?;
        let mut children = Vec::new();
        for _ in 0..3 {
            let mut command = command(&b, &[], &["sleep", "1000"]);
            children.push(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        // At another moment each time.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 200));
        b.delete_force()?;
        for mut child in children {
            let status = code(child.wait()?);
            check([1, 137, 255].contains(&status), || format!("exec ended with {status}"))?;
        }
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
        b.is_gone()?;
    }
    Ok(())
}
