//! The worker's world: a root of its own on a tmpfs, with copies of a busybox and the runtime, and all namespaces, so that
//! whatever a mutated configuration names, it is not the machine's.
//!
//! What is the machine's in there is seen only: sysfs is read-only, and no file system that is one for all (devtmpfs, securityfs)
//! is mounted or named.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::sched::CloneFlags;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};

use no_frills_conformance::{cgroup2, rootfs};

/// For bind mounts.
pub(crate) const FILE: &str = "/source/file";
/// The same, a directory.
pub(crate) const DIRECTORY: &str = "/source/directory";
pub(crate) const BUNDLE: &str = "/bundle";
pub(crate) const STATE: &str = "/run/state";
pub(crate) const RUNTIME: &str = "/runtime";
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";
const BUSYBOX: &str = "/busybox";

fn at<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

/// Moves this process to a cgroup and to new namespaces, and runs this program again as the first process in them.
pub(crate) fn outside(cgroup: &Path) -> Result<(), String> {
    fs::create_dir_all(cgroup).map_err(at(cgroup.display()))?;
    fs::write(cgroup.join("cgroup.procs"), "0").map_err(at(cgroup.display()))?;
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    nix::sched::unshare(all).map_err(at("unshare"))?;
    let program = std::env::current_exe().map_err(at("/proc/self/exe"))?;
    let status = Command::new(program).args(std::env::args_os().skip(1)).arg("--inside").status();
    let status = status.map_err(at("starting a worker in its namespaces"))?;
    if status.success() { Ok(()) } else { Err(format!("the worker ended with {status}")) }
}

/// Makes the world and enters it.
pub(crate) fn make(runtime: &Path, root: &Path) -> Result<(), String> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(at("making / private"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(at("becoming a subreaper"))?;
    let none = MountFlags::empty();
    let limited = Some(c"mode=755,size=512m");
    mount("tmpfs", root, "tmpfs", none, limited).map_err(at(root.display()))?;
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    rootfs::make_base(&inside(BUSYBOX))?;
    rootfs::make(root, &inside(BUSYBOX)).map_err(at(root.display()))?;
    fs::copy(runtime, inside(RUNTIME)).map_err(at(runtime.display()))?;
    fs::set_permissions(inside(RUNTIME), fs::Permissions::from_mode(0o755)).map_err(at(RUNTIME))?;
    for directory in [BUNDLE, STATE, DIRECTORY, "/old"] {
        fs::create_dir_all(inside(directory)).map_err(at(directory))?;
    }
    fs::write(inside(FILE), "a file\n").map_err(at(FILE))?;
    mount("proc", inside("proc"), "proc", none, None).map_err(at("/proc"))?;
    mount("sysfs", inside("sys"), "sysfs", MountFlags::RDONLY, None).map_err(at("/sys"))?;
    mount("cgroup2", inside(CGROUPS), "cgroup2", none, None).map_err(at(CGROUPS))?;
    devices(&inside("dev"))?;
    rustix::process::pivot_root(root, inside("old")).map_err(at("pivot_root"))?;
    rustix::process::chdir("/").map_err(at("/"))?;
    unmount("/old", UnmountFlags::DETACH).map_err(at("/old"))?;
    fs::remove_dir("/old").map_err(at("/old"))?;
    // Its own cgroup, beside those that it looks for.
    let own = Path::new(CGROUPS).join("worker");
    fs::create_dir_all(&own).map_err(at("its own cgroup"))?;
    fs::write(own.join("cgroup.procs"), "0").map_err(at("its own cgroup"))
}

/// Those that every container has.
fn devices(dev: &Path) -> Result<(), String> {
    mount("tmpfs", dev, "tmpfs", MountFlags::empty(), Some(c"mode=755")).map_err(at("/dev"))?;
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        make_device(&dev.join(name), 1, minor)?;
    }
    make_device(&dev.join("tty"), 5, 0)?;
    fs::create_dir(dev.join("pts")).map_err(at("/dev/pts"))?;
    let options = Some(c"newinstance,ptmxmode=0666");
    mount("devpts", dev.join("pts"), "devpts", MountFlags::empty(), options).map_err(at("/dev/pts"))?;
    symlink("pts/ptmx", dev.join("ptmx")).map_err(at("/dev/ptmx"))
}

fn make_device(path: &Path, major: u32, minor: u32) -> Result<(), String> {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(major, minor)).map_err(at(path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(at(path.display()))
}

/// Makes the bundle anew.
pub(crate) fn make_bundle() -> Result<(), String> {
    let bundle = Path::new(BUNDLE);
    match fs::remove_dir_all(bundle) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(format!("{BUNDLE}: {error}")),
        _ => {}
    }
    fs::create_dir(bundle).map_err(at(BUNDLE))?;
    let rootfs = bundle.join("rootfs");
    rootfs::make(&rootfs, Path::new(BUSYBOX)).map_err(at(rootfs.display()))?;
    for directory in ["data", "mnt", "run", "t"] {
        fs::create_dir(rootfs.join(directory)).map_err(at(rootfs.display()))?;
    }
    // Where files are mounted in user namespaces that may not make them.
    for file in ["etc/hostname", "etc/hosts", "etc/resolv.conf", "run/.containerenv"] {
        fs::write(rootfs.join(file), "").map_err(at(rootfs.display()))?;
    }
    Ok(())
}

/// What there is beside the worker: processes, cgroups, mounts, and what is kept of containers.
pub(crate) fn contents() -> Vec<String> {
    let mut found = Vec::new();
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name();
        let is_other =
            pid.to_str().and_then(|pid| pid.parse::<u32>().ok()).is_some_and(|pid| pid != std::process::id());
        if is_other {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push(format!("process {} ({})", pid.display(), name.trim()));
        }
    }
    let names = |paths: Vec<std::path::PathBuf>| paths.into_iter().map(|path| format!("cgroup {}", path.display()));
    found.extend(names(cgroup2::below(Path::new(CGROUPS))));
    found.extend(
        fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().map(|line| format!("mount {line}")),
    );
    for entry in fs::read_dir(STATE).into_iter().flatten().flatten() {
        found.push(format!("state {}", entry.path().display()));
    }
    found
}

/// Kills all processes but this one, and removes what they leave: for who goes on after a finding.
pub(crate) fn clear(keep: &[String]) -> Result<(), String> {
    for found in contents().iter().filter(|found| !keep.contains(found)) {
        if let Some(pid) = found.strip_prefix("process ").and_then(|rest| rest.split(' ').next()?.parse().ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap_or_default();
        } else if let Some(path) = found.strip_prefix("state ") {
            fs::remove_dir_all(path).map_err(at(path))?;
        }
    }
    for cgroup in fs::read_dir(CGROUPS).into_iter().flatten().flatten() {
        if cgroup.file_type().is_ok_and(|kind| kind.is_dir()) && cgroup.file_name() != OsStr::new("worker") {
            cgroup2::kill_and_remove(&cgroup.path()).map_err(at(cgroup.path().display()))?;
        }
    }
    Ok(())
}
