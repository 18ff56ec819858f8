//! The cgroup2 hierarchy: where it is, a private pure view of it, and the cgroups of the suite in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::mountinfo;

const PLACE: &str = "/sys/fs/cgroup";

/// Gives this process (before it has threads) a mount namespace of its own, in which /sys/fs/cgroup is
/// cgroup2. Runtimes that read the hybrid layout need controllers where version 1 has them.
pub fn private_view() -> Result<(), String> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|e| format!("unshare(CLONE_NEWNS): {e}"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|e| format!("making / private: {e}"))?;
    if is_cgroup2(Path::new(PLACE)) {
        return Ok(());
    }
    rustix::mount::unmount(PLACE, UnmountFlags::DETACH).map_err(|e| format!("umount {PLACE}: {e}"))?;
    rustix::mount::mount("cgroup2", PLACE, "cgroup2", MountFlags::empty(), None)
        .map_err(|e| format!("mounting cgroup2 on {PLACE}: {e}"))
}

/// Where cgroup2 is mounted in this process's view.
pub fn mount_point() -> Result<PathBuf, String> {
    if is_cgroup2(Path::new(PLACE)) {
        return Ok(PLACE.into());
    }
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    let found = mountinfo::parse(&text).into_iter().find(|mount| mount.fs_type == "cgroup2");
    found.map(|mount| mount.point.into()).ok_or_else(|| "cgroup2 is not mounted".to_owned())
}

/// The controllers that this machine has in cgroup2.
pub fn controllers() -> Result<String, String> {
    let path = mount_point()?.join("cgroup.controllers");
    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
}

fn is_cgroup2(path: &Path) -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between architectures")]
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type as i64 == CGROUP2_SUPER_MAGIC)
}

/// The cgroup and all above it hand on these controllers.
pub fn hand_on(dir: &Path, controllers: &[&str]) -> io::Result<()> {
    let mut all: Vec<_> = dir.ancestors().take_while(|dir| dir.join("cgroup.subtree_control").exists()).collect();
    all.reverse();
    for cgroup in all {
        for controller in controllers {
            fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// The cgroups beneath `dir`, deepest first, without `dir` itself.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
            found.push(entry.path());
        }
    }
    found
}

/// Kills what is in the cgroup and beneath it, and removes them all.
pub fn kill_and_remove(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    // Before Linux 5.14 there is none.
    let kill = dir.join("cgroup.kill");
    let has_kill = kill.exists();
    if has_kill {
        fs::write(kill, "1")?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        for cgroup in below(dir).into_iter().chain([dir.to_owned()]).filter(|_| !has_kill) {
            kill_listed(&cgroup);
        }
        let mut busy = None;
        for cgroup in below(dir).into_iter().chain([dir.to_owned()]) {
            match fs::remove_dir(&cgroup) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => busy = Some(e),
                _ => {}
            }
        }
        match busy {
            None => return Ok(()),
            Some(e) if Instant::now() > deadline => return Err(e),
            // Killed processes leave the cgroup when they are gone, and nothing can be waited for here
            // that works for processes of others: cgroup.events does not tell of a dying one.
            Some(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Kills the processes that a cgroup lists.
fn kill_listed(cgroup: &Path) {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in listed.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
        // Who is gone meanwhile needs no signal; who is not will be in the next list.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap_or_default();
    }
}
