//! One case in a process of its own, which the suite starts and, if need be, kills.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags};
use serde_json::json;

use crate::bundle::{self, PATIENCE, Test};
use crate::case::Case;
use crate::cases;
use crate::cgroup2;
use crate::engines;
use crate::expect::{Stop, Verdict};
use crate::kind::Kind;
use crate::left;

/// What the suite tells this process.
#[derive(Debug)]
pub(crate) struct Solo {
    pub(crate) name: String,
    /// Whether this is the process in the pid namespace already.
    pub(crate) inside: bool,
    pub(crate) runtime: PathBuf,
    pub(crate) runtime_args: Vec<OsString>,
    pub(crate) without: String,
    pub(crate) kind: Kind,
    pub(crate) work: PathBuf,
    pub(crate) cgroup: String,
}

/// Runs the case and prints its outcome as a JSON object.
pub(crate) fn run(solo: &Solo) -> Result<(), String> {
    if !solo.inside {
        return go_inside();
    }
    let case = cases::all().into_iter().find(|case| case.name == solo.name);
    let case = case.ok_or_else(|| format!("no case is named {}", solo.name))?;
    if !case.engines.is_empty() {
        bundle::be_patient();
    }
    let test = prepare(solo).map_err(|stop| format!("{stop:?}"))?;
    let before = left::mounts().map_err(|stop| format!("{stop:?}"))?;

    let verdict = (case.run)(&test);
    let verdict = finish(&test, &case, &before, verdict);
    left::kill_descendants();
    let outcome = match verdict {
        Ok(()) => json!({"outcome": "ok"}),
        Err(Stop::Failed(why)) => json!({"outcome": "not ok", "why": why}),
        Err(Stop::Skipped(why)) => json!({"outcome": "skip", "why": why}),
    };
    println!("{outcome}");
    Ok(())
}

/// Starts this program again as the first process of a new pid namespace. No runtime under test, however
/// wrong, can then reach a process of the machine (crun 1.28 kills all that are in the root cgroup when
/// `cgroupsPath` is empty), and what a case starts ends with it.
fn go_inside() -> Result<(), String> {
    use nix::sched::CloneFlags;
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    nix::sched::unshare(flags).map_err(|e| format!("unshare(CLONE_NEWPID | CLONE_NEWNS): {e}"))?;
    let program = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
    let mut command = Command::new(program);
    let status = command.args(std::env::args_os().skip(1)).arg("--inside").status();
    let status = status.map_err(|e| format!("starting the case in a pid namespace: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("the case's process ended with {status}")) }
}

/// A mount namespace with a procfs, a cgroup, and the orphans of all runtimes for this process alone.
fn prepare(solo: &Solo) -> Verdict<Test> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mount = cgroup2::mount_point().map_err(Stop::Failed)?;
    let test = Test::new(
        solo.kind,
        solo.runtime.clone(),
        solo.runtime_args.clone(),
        solo.without.clone(),
        solo.work.clone(),
        solo.cgroup.clone(),
        mount,
    );
    let own = test.cgroup_dir().join("solo");
    fs::create_dir_all(&own)?;
    fs::write(own.join("cgroup.procs"), "0")?;
    Ok(test)
}

/// Deletes the containers that the case left to be deleted, then looks for what should not be there.
fn finish(test: &Test, case: &Case, before: &[String], verdict: Verdict) -> Verdict {
    let mut problems = Vec::new();
    if let Err(Stop::Failed(why)) = engines::clean_up(test, &case.engines) {
        problems.push(format!("cleaning up: {why}"));
    }
    for id in test.ids() {
        if !test.state_root().join(&id).exists() {
            continue;
        }
        if let Err(Stop::Failed(why)) = delete(test, &id) {
            problems.push(format!("cleaning up: {why}"));
        }
    }
    for left in left::look(test, before)? {
        problems.push(format!("left behind: {left}"));
    }
    match (verdict, problems.is_empty()) {
        (verdict, true) => verdict,
        (Err(Stop::Failed(why)), false) => Err(Stop::Failed(format!("{why}\n{}", problems.join("\n")))),
        (_, false) => Err(Stop::Failed(problems.join("\n"))),
    }
}

/// `delete --force`, which must succeed or find that the container has gone by itself, as that of an attached run does.
/// A peer may try again for a while: what it has killed, or a cgroup, may not be gone yet.
fn delete(test: &Test, id: &str) -> Verdict {
    let deadline = Instant::now() + if test.ours() { Duration::ZERO } else { PATIENCE };
    loop {
        let deleted = test.output_by(test.command(&["delete", "--force", id]), left::reap_until)?.exits(0).map(drop);
        if deleted.is_ok() || !test.state_root().join(id).exists() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return deleted;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
