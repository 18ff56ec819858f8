//! What a case must not leave behind: processes, cgroups, mounts, state.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::bundle::Test;
use crate::cgroup2;
use crate::expect::Verdict;
use crate::kind::Kind;

/// How long the kernel may take to finish what a command has ordered.
const GRACE: Duration = Duration::from_secs(5);

/// The mounts of this process's namespace.
pub(crate) fn mounts() -> Verdict<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    // Without the file system's own options: whoever mounts cgroup2 outside a cgroup namespace, as crun does at times, sets
    // those of the machine's.
    let without_options = |line: &str| line.rsplit_once(' ').map_or(line, |(mount, _)| mount).to_owned();
    Ok(text.lines().map(without_options).collect())
}

/// What is left, in words, after what was there `before`.
pub(crate) fn look(test: &Test, before: &[String]) -> Verdict<Vec<String>> {
    let deadline = Instant::now() + GRACE;
    loop {
        let found = find(test, before)?;
        if found.is_empty() || Instant::now() > deadline {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn find(test: &Test, before: &[String]) -> Verdict<Vec<String>> {
    let mut found = Vec::new();
    reap();
    for (pid, name) in descendants() {
        found.push(format!("process {pid} ({name})"));
    }
    for cgroup in cgroup2::below(&test.cgroup_dir()) {
        if !cgroup.ends_with("solo") {
            found.push(format!("cgroup {}", cgroup.display()));
        }
    }
    for id in test.ids() {
        let cgroup = test.cgroup_mount.join(&id);
        if cgroup.exists() {
            found.push(format!("cgroup {}", cgroup.display()));
        }
    }
    for mount in mounts()? {
        if !before.contains(&mount) {
            found.push(format!("mount {mount}"));
        }
    }
    for entry in fs::read_dir(test.state_root()).into_iter().flatten().flatten() {
        // crun keeps directories of its own beside the containers' ones, one of them for compiled profiles.
        if test.kind == Kind::Crun && (entry.file_name() == ".empty-directory" || entry.file_name() == ".cache") {
            continue;
        }
        found.push(format!("state {}", entry.path().display()));
    }
    Ok(found)
}

/// Kills all processes that come from this one.
pub(crate) fn kill_descendants() {
    for (pid, _) in descendants() {
        if let Some(pid) = Pid::from_raw(pid) {
            // It may just have ended by itself.
            rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
    reap();
}

/// Waits for this child, and takes the statuses of all others that end meanwhile. The first process of a pid namespace
/// does not end before all processes in it are reaped, and those of exec are children of this process.
pub(crate) fn reap_until(child: &mut Child) -> Verdict<ExitStatus> {
    let pid = Pid::from_child(child);
    loop {
        if let Some((ended, status)) = rustix::process::wait(WaitOptions::empty())?
            && ended == pid
        {
            return Ok(ExitStatus::from_raw(status.as_raw()));
        }
    }
}

/// Takes the statuses of ended children: orphans of runtimes become children of this process.
pub(crate) fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// The living processes that come from this one, with their names.
fn descendants() -> Vec<(i32, String)> {
    let mut parents: HashMap<i32, (i32, String)> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state ppid ...; the name may hold anything, parentheses too.
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let mut tail = tail.split(' ');
        let (state, parent) = (tail.next(), tail.next().and_then(|parent| parent.parse().ok()));
        if let Some(parent) = parent
            && state != Some("Z")
            && state != Some("X")
        {
            let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
            parents.insert(pid, (parent, name));
        }
    }
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    let comes_from_me = |mut pid: i32| {
        // Bounded, for the table may hold a loop: it was not read at one instant.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some((parent, _)) if *parent == me => return true,
                Some((parent, _)) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let own = parents.iter().filter(|(pid, _)| comes_from_me(**pid));
    own.map(|(pid, (_, name))| (*pid, name.clone())).collect()
}
