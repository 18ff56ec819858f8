//! The surroundings of one point: a process that is the first of its pid namespace, with what it needs to start commands, to wait
//! for them with a deadline, and to look for what is left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use no_frills_conformance::cgroup2;

/// How long the kernel may take to finish what a command has ordered.
const GRACE: Duration = Duration::from_secs(5);

/// A mount namespace with a procfs and a /run, and a cgroup, for this process alone.
pub(crate) fn prepare(cgroup: &Path) -> Result<(), String> {
    let tell = |what: &'static str| move |e: rustix::io::Errno| format!("{what}: {e}");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(tell("making / private"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None).map_err(tell("mounting /proc"))?;
    rustix::mount::mount("run", "/run", "tmpfs", MountFlags::NOSUID, None).map_err(tell("mounting /run"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let own = cgroup.join("solo");
    fs::create_dir_all(&own).map_err(|e| format!("making {}: {e}", own.display()))?;
    fs::write(own.join("cgroup.procs"), "0").map_err(|e| format!("entering {}: {e}", own.display()))
}

/// Waits for a child, and takes the statuses of all orphans that end meanwhile, as a first process has to. `None`: the time is
/// over, and `end` was called, which has to end the child.
pub(crate) fn wait(child: &Child, patience: Duration, end: impl FnOnce()) -> Result<Option<ExitStatus>, String> {
    let pid = Pid::from_child(child);
    let (sender, receiver) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((ended, status))) if ended == pid => {
                    // Nobody listens after the time is over.
                    return sender.send(ExitStatus::from_raw(status.as_raw())).unwrap_or_default();
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    let mut before = None;
    let ended = loop {
        match receiver.recv_timeout(patience) {
            Ok(status) => break Some(status),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let now = progress();
                // A loaded machine is slow: what hangs is what does nothing for all that time again.
                if now.is_some() && now == before {
                    end();
                    break None;
                }
                before = now;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("a command cannot be waited for".to_owned()),
        }
    };
    waiting.join().map_err(|_| "the waiting thread failed".to_owned())?;
    Ok(ended)
}

/// How often each process has given up its processor. `None`: one of them is about to do something.
fn progress() -> Option<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).filter(|pid| *pid != 1)
        else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        let state = line("State:");
        if state.contains("R (") || state.contains("D (") {
            return None;
        }
        found.push(format!("{pid} {state} {} {}", line("voluntary"), line("nonvoluntary")));
    }
    Some(found)
}

/// A process, in words.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) words: String,
}

/// The living processes but this one and its threads.
pub(crate) fn processes() -> Vec<Seen> {
    reap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let mut tail = tail.split(' ');
        let (state, parent) = (tail.next().unwrap_or_default(), tail.next().and_then(|parent| parent.parse().ok()));
        if pid == 1 || state == "Z" || state == "X" {
            continue;
        }
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default().trim().to_owned();
        let words = format!("{pid} {name} {state} {} [{}]", read("wchan"), read("syscall"));
        found.push(Seen { pid, parent: parent.unwrap_or_default(), words });
    }
    found
}

fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// Kills a process.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may just have ended by itself.
        rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
    }
}

/// The mounts of this process's namespace.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let without_options = |line: &str| line.rsplit_once(' ').map_or(line, |(mount, _)| mount).to_owned();
    text.lines().map(without_options).collect()
}

/// All files below a directory, without what is in those that are passed over.
fn files(dir: &Path, pass_over: &[&str], found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| pass_over.iter().any(|other| *other == name)) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path, pass_over, found);
        }
        found.insert(path);
    }
}

/// What is there, to be compared with what is there later.
#[derive(Debug)]
pub(crate) struct Inventory {
    mounts: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
    cgroups: BTreeSet<PathBuf>,
}

impl Inventory {
    /// Looks at mounts, at cgroups, at /run and at the work directory, where the point itself writes `own`.
    pub(crate) fn take(work: &Path, own: &[&str], cgroup: &Path) -> Inventory {
        let mut found = BTreeSet::new();
        files(work, own, &mut found);
        files(Path::new("/run"), &[], &mut found);
        Inventory { mounts: mounts(), files: found, cgroups: cgroup2::below(cgroup).into_iter().collect() }
    }

    /// What is there now and was not then: processes, cgroups, mounts, files. The kernel is given a moment.
    pub(crate) fn left(&self, work: &Path, own: &[&str], cgroup: &Path, ignore: impl Fn(&Path) -> bool) -> Vec<String> {
        let deadline = Instant::now() + GRACE;
        loop {
            let mut left: Vec<String> = processes().into_iter().map(|seen| format!("process {}", seen.words)).collect();
            let now = Inventory::take(work, own, cgroup);
            left.extend(now.cgroups.difference(&self.cgroups).map(|path| format!("cgroup {}", path.display())));
            left.extend(now.mounts.difference(&self.mounts).map(|mount| format!("mount {mount}")));
            let new = now.files.difference(&self.files).filter(|path| !ignore(path));
            left.extend(new.map(|path| format!("file {}", path.display())));
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts this program again as the first process of a new pid namespace, with a mount namespace of its own.
pub(crate) fn go_inside(args: impl Iterator<Item = std::ffi::OsString>) -> Result<(), String> {
    use nix::sched::CloneFlags;
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    nix::sched::unshare(flags).map_err(|e| format!("unshare(CLONE_NEWPID | CLONE_NEWNS): {e}"))?;
    let program = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
    let status = Command::new(program).args(args).arg("--first").status();
    let status = status.map_err(|e| format!("starting a point in a pid namespace: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("the point's process ended with {status}")) }
}
