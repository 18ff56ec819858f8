//! containerd with its shim for runc, and `ctr` as a case calls it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::images::BUSYBOX;
use super::{call, place};
use crate::bundle::{Output, Test, bare, eventually};
use crate::cgroup2;
use crate::expect::Verdict;
use no_frills_conformance::daemon::Daemon;

/// The image of busybox, as it is known to the daemon of the suite.
pub(crate) const IMAGE: &str = BUSYBOX;

/// containerd's namespace, in which all is done.
const NAMESPACE: &str = "conformance";

/// Starts a daemon whose files are all in `place`/containerd.
pub(crate) fn start(runtime: &Path, place: &Path, cgroup_dir: &Path) -> Result<Daemon, String> {
    let dir = place.join("containerd");
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).map_err(|e| format!("{}: {e}", bin.display()))?;
    // What its shim calls where no runtime is named.
    let link = bin.join("runc");
    if !link.exists() {
        symlink(runtime, &link).map_err(|e| format!("{}: {e}", link.display()))?;
    }
    let config = dir.join("config.toml");
    let text = format!(
        "version = 2\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{socket}\"\n[debug]\nlevel = \"warn\"\n",
        dir = dir.display(),
        socket = socket(place).display(),
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut command = Command::new("containerd");
    let path = std::env::var("PATH").unwrap_or_default();
    command.arg("--config").arg(config).env("PATH", format!("{}:{path}", bin.display()));
    Daemon::start("containerd", command, place.join("containerd.log"), cgroup_dir, || {
        call(&mut client(place, &["version"])).is_ok()
    })
}

/// Gives the daemon the image, for all snapshotters that cases use.
pub(crate) fn prepare(place: &Path) -> Result<(), String> {
    for snapshotter in ["overlayfs", "native"] {
        call(&mut client(place, &["images", "pull", "--plain-http", "--snapshotter", snapshotter, IMAGE]))?;
    }
    Ok(())
}

fn socket(place: &Path) -> PathBuf {
    place.join("containerd.sock")
}

fn client(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    bare(&mut command);
    command.arg("--address").arg(socket(place)).args(["--namespace", NAMESPACE]).args(args);
    command
}

/// The `ctr` command of a case. Its containers have names that begin with the case's, and are removed when it ends.
pub(crate) struct Ctr<'t> {
    pub(crate) test: &'t Test,
    place: PathBuf,
}

impl<'t> Ctr<'t> {
    /// The command that talks to the daemon of the suite.
    pub(crate) fn of(test: &'t Test) -> Self {
        Self { test, place: place(test) }
    }

    /// The command that talks to a daemon that the case has started in `place`.
    pub(crate) fn at(test: &'t Test, place: &Path) -> Self {
        Self { test, place: place.to_owned() }
    }

    /// The id of a container of this case.
    pub(crate) fn id(&self, name: &str) -> String {
        self.test.name(name)
    }

    /// The container's cgroup.
    pub(crate) fn cgroup(&self, name: &str) -> PathBuf {
        self.test.cgroup_dir().join(self.id(name))
    }

    /// Where the runtime under test has its state.
    pub(crate) fn state_root(&self) -> PathBuf {
        self.place.join("containerd/runtime")
    }

    /// `ctr WORDS REST`: the words are separated by spaces, the rest is taken as it is.
    pub(crate) fn command(&self, words: &str, rest: &[&str]) -> Command {
        let words: Vec<_> = words.split_ascii_whitespace().chain(rest.iter().copied()).collect();
        client(&self.place, &words)
    }

    /// Runs `ctr WORDS REST`.
    pub(crate) fn call(&self, words: &str, rest: &[&str]) -> Verdict<Output> {
        self.test.output_of(self.command(words, rest))
    }

    /// Runs `ctr WORDS REST`, which must succeed: what it prints, without white space at the ends.
    pub(crate) fn gets(&self, words: &str, rest: &[&str]) -> Verdict<String> {
        Ok(self.call(words, rest)?.exits(0)?.stdout()?.trim().to_owned())
    }

    /// `ctr run FLAGS IMAGE ID ARGS` with the runtime under test and the container in the case's cgroup.
    pub(crate) fn run_command(&self, flags: &str, name: &str, args: &[&str]) -> Command {
        let cgroup = format!("{}/{}", self.test.cgroup, self.id(name));
        self.run_command_in(&cgroup, flags, name, args)
    }

    /// The same in this cgroup.
    pub(crate) fn run_command_in(&self, cgroup: &str, flags: &str, name: &str, args: &[&str]) -> Command {
        let (runtime, root) = (self.test.runtime.to_string_lossy(), self.state_root());
        let mut words =
            vec!["run", "--runtime", "io.containerd.runc.v2", "--runc-binary", &runtime, "--cgroup", cgroup];
        let root = root.to_string_lossy();
        words.extend(["--runc-root", &root]);
        // By default it sets a weight, which needs the controller.
        if !cgroup2::controllers().is_ok_and(|all| all.split_ascii_whitespace().any(|name| name == "cpu")) {
            words.extend(["--cpu-shares", "0"]);
        }
        words.extend(flags.split_ascii_whitespace());
        let id = self.id(name);
        words.extend([IMAGE, &id]);
        words.extend(args);
        client(&self.place, &words)
    }

    /// Runs `ctr run`.
    pub(crate) fn run(&self, flags: &str, name: &str, args: &[&str]) -> Verdict<Output> {
        self.test.output_of(self.run_command(flags, name, args))
    }

    /// `ctr run --detach` of a process that does nothing.
    pub(crate) fn idle(&self, flags: &str, name: &str) -> Verdict {
        self.run(&format!("--detach {flags}"), name, &["sleep", "1000"])?.exits(0).map(drop)
    }

    /// The column of a task in `tasks list`; empty if there is no such task.
    fn column(&self, name: &str, column: usize) -> Verdict<String> {
        let (all, id) = (self.gets("tasks list", &[])?, self.id(name));
        let line = all.lines().find(|line| line.split_ascii_whitespace().next() == Some(&id));
        Ok(line.and_then(|line| line.split_ascii_whitespace().nth(column)).unwrap_or_default().to_owned())
    }

    /// The pid of a task, in containerd's pid namespace.
    pub(crate) fn pid(&self, name: &str) -> Verdict<String> {
        self.column(name, 1)
    }

    /// The status of a task, as `tasks list` has it; empty if there is none.
    pub(crate) fn status(&self, name: &str) -> Verdict<String> {
        self.column(name, 2)
    }

    /// Waits until the task has this status: containerd tells of ends after the fact.
    pub(crate) fn becomes(&self, name: &str, status: &str) -> Verdict {
        eventually(&format!("the task {name} is {status}"), || Ok(self.status(name)? == status))
    }

    /// Removes all containers of the case.
    pub(crate) fn clean_up(&self) -> Verdict {
        let prefix = self.test.name("");
        let listed = |what: &str| -> Verdict<Vec<String>> {
            let all = self.gets(&format!("{what} list --quiet"), &[])?;
            Ok(all.lines().filter(|id| id.starts_with(&prefix)).map(str::to_owned).collect())
        };
        for id in listed("tasks")? {
            self.gets("tasks delete --force", &[&id])?;
        }
        for id in listed("containers")? {
            // The snapshotter is not that of the daemon by default for all of them.
            self.gets("containers delete", &[&id])?;
        }
        Ok(())
    }
}

/// Removes what this case has made and left.
pub(super) fn clean_up(t: &Test) -> Verdict {
    Ctr::of(t).clean_up()
}
