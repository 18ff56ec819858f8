//! Docker: the daemon, and the command as a case calls it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::Daemon;
use super::images::BUSYBOX;
use super::{call, place};
use crate::bundle::{Output, Test, bare};
use crate::expect::Verdict;
use crate::features::Feature;

/// The name under which the daemon knows the runtime under test.
pub(crate) const RUNTIME: &str = "under-test";

/// The image of busybox, as it is known to the daemon of the suite.
pub(crate) const IMAGE: &str = "busybox";

/// Starts a daemon whose files are all in `place`/docker, whose default runtime is this one.
pub(crate) fn start(
    runtime: &Path,
    place: &Path,
    cgroup_dir: &Path,
    cgroup: &str,
    args: &[&str],
) -> Result<Daemon, String> {
    let dir = place.join("docker");
    let mut command = Command::new("dockerd");
    command.arg("--add-runtime").arg(format!("{RUNTIME}={}", runtime.display()));
    command.args(["--default-runtime", RUNTIME]);
    // Where systemd runs, it makes the cgroups unless told otherwise; and in its own slices alone.
    if Feature::Systemd.missing().is_some() {
        command.args(["--cgroup-parent", cgroup]);
    }
    command.arg("--host").arg(host(place)).arg("--data-root").arg(dir.join("data"));
    command.arg("--exec-root").arg(dir.join("exec")).arg("--pidfile").arg(dir.join("pid"));
    command.args(["--log-level", "warn"]).args(args);
    Daemon::start("dockerd", command, place.join("docker.log"), cgroup_dir, || {
        call(&mut client(place, &["version"])).is_ok()
    })
}

/// Gives the daemon the images.
pub(super) fn prepare(place: &Path) -> Result<(), String> {
    call(&mut client(place, &["pull", "--quiet", BUSYBOX]))?;
    call(&mut client(place, &["tag", BUSYBOX, IMAGE])).map(drop)
}

fn host(place: &Path) -> String {
    format!("unix://{}", place.join("docker.sock").display())
}

fn client<S: AsRef<OsStr>>(place: &Path, args: &[S]) -> Command {
    let mut command = Command::new("docker");
    bare(&mut command);
    command.env("HOME", place).arg("--host").arg(host(place)).args(args);
    command
}

/// The `docker` command of a case. What it makes is labelled, and removed when the case ends.
pub(crate) struct Docker<'t> {
    test: &'t Test,
    place: PathBuf,
}

impl<'t> Docker<'t> {
    /// The command that talks to the daemon of the suite.
    pub(crate) fn of(test: &'t Test) -> Self {
        Self { test, place: place(test) }
    }

    /// `docker ARGS`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let label = label(self.test);
        let own = ["--label", &label];
        match args {
            [verb @ ("run" | "create"), rest @ ..] => client(&self.place, &[&[*verb], &own[..], rest].concat()),
            [thing @ ("network" | "volume"), "create", rest @ ..] => {
                client(&self.place, &[&[*thing, "create"], &own[..], rest].concat())
            }
            _ => client(&self.place, args),
        }
    }

    /// Runs `docker ARGS`.
    pub(crate) fn call(&self, args: &[&str]) -> Verdict<Output> {
        self.test.output_of(self.command(args))
    }
}

fn label(t: &Test) -> String {
    format!("case={}", t.cgroup)
}

/// Removes what this case has made and left.
pub(super) fn clean_up(t: &Test) -> Verdict {
    let filter = format!("label={}", label(t));
    let docker = Docker::of(t);
    for (list, remove) in [
        (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls", "--quiet"], &["network", "rm"]),
        (&["volume", "ls", "--quiet"], &["volume", "rm"]),
    ] {
        let listed = docker.call(&[list, &["--filter", &filter]].concat())?.exits(0)?.stdout()?;
        let ids: Vec<_> = listed.lines().collect();
        if !ids.is_empty() {
            docker.call(&[remove, &ids].concat())?.exits(0)?;
        }
    }
    Ok(())
}
