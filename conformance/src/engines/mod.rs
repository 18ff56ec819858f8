//! Container engines with the runtime under test in runc's place: real ones, started for a run of the suite.
//!
//! [`Engines`] belongs to the suite: a registry with images that are made on the spot, and the daemons, which all cases
//! share. What a case calls them by is in [`docker`] and its neighbours. They change the network of the machine they
//! run in, so they want a room (`conformance/engines/room.sh`) or a machine of its own; hence `--engines`.

pub(crate) mod console;
pub(crate) mod containerd;
pub(crate) mod docker;
mod images;
pub(crate) mod podman;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bundle::Test;
use crate::cgroup2;
use crate::expect::Verdict;
use crate::mountinfo;
use no_frills_conformance::daemon::Daemon;
use rustix::mount::UnmountFlags;

/// The engines that cases need (`Case::needs_engine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// dockerd with its own containerd, and the `docker` command.
    Docker,
    /// containerd, by `ctr`.
    Containerd,
    /// Podman with conmon and netavark; root's and an ordinary user's.
    Podman,
    /// Buildah, with Podman's storage.
    Buildah,
}

impl Engine {
    /// The programs of it that a machine has to have.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["dockerd", "docker", "containerd", "containerd-shim-runc-v2", "redis-server"],
            Self::Containerd => &["containerd", "ctr", "containerd-shim-runc-v2"],
            Self::Podman => &["podman", "conmon", "setpriv"],
            Self::Buildah => &["podman", "buildah", "setpriv"],
        }
    }

    /// Why the machine does not have it, if it does not.
    pub(crate) fn missing(self) -> Option<String> {
        let common = ["docker-registry", "buildah"];
        let missing = self.programs().iter().chain(&common).find(|name| !is_installed(name))?;
        Some(format!("needs {self}, and {missing} is not installed"))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Containerd => "containerd",
            Self::Podman => "Podman",
            Self::Buildah => "Buildah",
        })
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Where everything of the engines is, seen from the working directory of the suite.
const PLACE: &str = "engines";

/// What a case sees of the engines that the suite runs.
pub(crate) fn place(t: &Test) -> PathBuf {
    t.work.with_file_name(PLACE)
}

/// The engines of a run of the suite.
pub(crate) struct Engines {
    daemons: Vec<Daemon>,
    cgroup_dir: PathBuf,
    place: PathBuf,
}

impl Engines {
    /// Starts what these engines need: in `work`/engines, with the runtime as their default one, and with the
    /// containers in `cgroup`/engines.
    pub(crate) fn start(wanted: &[Engine], runtime: &Path, work: &Path, cgroup: &str) -> Result<Self, String> {
        let cgroup_dir = cgroup2::mount_point()?.join(cgroup.trim_start_matches('/')).join(PLACE);
        let place = work.join(PLACE);
        let mut engines = Self { daemons: Vec::new(), cgroup_dir, place: place.clone() };
        if wanted.is_empty() {
            return Ok(engines);
        }
        let started = engines.start_all(wanted, runtime, work, &place, &format!("{cgroup}/{PLACE}"));
        match started {
            Ok(()) => Ok(engines),
            Err(why) => {
                let logs: Vec<_> = engines.daemons.iter().map(Daemon::last_words).collect();
                engines.stop().unwrap_or_default();
                Err(format!("{why}\n{}", logs.join("\n")))
            }
        }
    }

    fn start_all(
        &mut self,
        wanted: &[Engine],
        runtime: &Path,
        work: &Path,
        place: &Path,
        cgroup: &str,
    ) -> Result<(), String> {
        fs::create_dir_all(place).map_err(|e| format!("making {}: {e}", place.display()))?;
        fs::create_dir_all(&self.cgroup_dir).map_err(|e| format!("making {}: {e}", self.cgroup_dir.display()))?;
        hand_on_memory(&self.cgroup_dir)?;
        self.daemons.push(images::registry(place, &self.cgroup_dir)?);
        images::busybox(work, place)?;
        images::redis(work, place)?;
        name_servers()?;
        if wanted.contains(&Engine::Docker) {
            self.daemons.push(docker::start(runtime, place, &self.cgroup_dir, cgroup)?);
            docker::prepare(place)?;
        }
        if wanted.contains(&Engine::Containerd) {
            self.daemons.push(containerd::start(runtime, place, &self.cgroup_dir)?);
            containerd::prepare(place)?;
        }
        if wanted.contains(&Engine::Podman) || wanted.contains(&Engine::Buildah) {
            podman::prepare(place)?;
        }
        Ok(())
    }

    /// Ends the daemons. An error if one did not end well, or if processes of theirs outlive them.
    pub(crate) fn stop(self) -> Result<(), String> {
        let mut problems = Vec::new();
        for daemon in self.daemons.into_iter().rev() {
            problems.extend(daemon.stop().err());
        }
        unmount(&self.place)?;
        let mut cgroups = cgroup2::below(&self.cgroup_dir);
        cgroups.push(self.cgroup_dir);
        for cgroup in cgroups.iter().filter(|dir| dir.exists()) {
            let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines() {
                let name = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
                problems.push(format!("left behind by the engines: process {pid} ({name}) in {}", cgroup.display()));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}

/// Names name servers where the machine names none: ctr binds the file, and netavark's refuses to start without.
fn name_servers() -> Result<(), String> {
    let path = Path::new("/etc/resolv.conf");
    if path.exists() {
        return Ok(());
    }
    fs::write(path, "nameserver 127.0.0.1\n").map_err(|e| format!("{}: {e}", path.display()))
}

/// Hands the memory controller, where cgroup v2 has it, on to the daemons' cgroup: Docker looks there whether swap can be limited.
fn hand_on_memory(dir: &Path) -> Result<(), String> {
    for dir in dir.parent().into_iter().chain([dir]) {
        let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        if controllers.split_whitespace().any(|name| name == "memory") {
            let path = dir.join("cgroup.subtree_control");
            fs::write(&path, "+memory").map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

/// Unmounts what daemons have left mounted in their place, and tells: it is theirs, for no runtime mounts anything there.
fn unmount(place: &Path) -> Result<(), String> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    for mount in mountinfo::parse(&text).iter().rev().filter(|mount| Path::new(&mount.point).starts_with(place)) {
        eprintln!("conformance: a daemon has left a mount ({}) on {}", mount.fs_type, mount.point);
        rustix::mount::unmount(mount.point.as_str(), UnmountFlags::DETACH)
            .map_err(|e| format!("umount {}: {e}", mount.point))?;
    }
    Ok(())
}

/// Removes what the case has left in the engines it needs.
pub(crate) fn clean_up(t: &Test, needed: &[Engine]) -> Verdict {
    for engine in needed {
        match engine {
            Engine::Docker => docker::Docker::of(t).clean_up()?,
            Engine::Containerd => containerd::clean_up(t)?,
            Engine::Podman | Engine::Buildah => podman::clean_up(t)?,
        }
    }
    Ok(())
}

/// Runs a command of the preparation, which must succeed; returns what it prints.
fn call(command: &mut Command) -> Result<String, String> {
    let words = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{words}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{words}: {}: {}", output.status, text(&output.stderr))),
    }
}
