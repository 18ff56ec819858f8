//! Docker: the daemon, and the command as a case calls it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

use super::console::Console;
use super::images::{BUSYBOX, REDIS};
use super::{call, place};
use crate::bundle::{Lines, Output, Test, bare, becomes, ended, eventually};
use crate::expect::{Stop, Verdict, fail, same};
use crate::features::Feature;
use crate::left;
use no_frills_conformance::daemon::{DAEMONS, Daemon};

/// The name under which the daemon knows the runtime under test.
pub(crate) const RUNTIME: &str = "under-test";

/// The cgroup of an own daemon's containers, in the case's.
const CONTAINERS: &str = "own";

/// The image of busybox, as it is known to the daemons.
pub(crate) const IMAGE: &str = "busybox";

/// The image of redis-server, as it is known to the daemon of the suite.
pub(crate) const REDIS_IMAGE: &str = "redis";

/// The names of a daemon's files in a directory, and how it is called.
fn daemon(runtime: &Path, dir: &Path) -> Command {
    let mut command = Command::new("dockerd");
    command.arg("--add-runtime").arg(format!("{RUNTIME}={}", runtime.display()));
    command.args(["--default-runtime", RUNTIME]);
    command.arg("--host").arg(host(dir)).arg("--data-root").arg(dir.join("docker/data"));
    command.arg("--exec-root").arg(dir.join("docker/exec")).arg("--pidfile").arg(dir.join("docker/pid"));
    command.args(["--log-level", "warn"]);
    // Not the program of that name in PATH, which is another runtime.
    command.env("DOCKER_BUILDKIT_RUNC_COMMAND", runtime);
    command
}

/// Starts a daemon whose files are all in `place`/docker, whose default runtime is this one.
pub(super) fn start(runtime: &Path, place: &Path, cgroup_dir: &Path, cgroup: &str) -> Result<Daemon, String> {
    let mut command = daemon(runtime, place);
    // Where systemd runs, it makes the cgroups unless told otherwise; and in its own slices alone.
    if Feature::Systemd.missing().is_some() {
        command.args(["--cgroup-parent", cgroup]);
    }
    Daemon::start("dockerd", command, place.join("docker.log"), cgroup_dir, || {
        call(&mut client(place, &["version"])).is_ok()
    })
}

/// Gives the daemon the images, and makes the archive that other daemons take one from.
pub(super) fn prepare(place: &Path) -> Result<(), String> {
    for (from, name) in [(BUSYBOX, IMAGE), (REDIS, REDIS_IMAGE)] {
        call(&mut client(place, &["pull", "--quiet", from]))?;
        call(&mut client(place, &["tag", from, name]))?;
    }
    let archive = archive(place);
    call(&mut client(place, &["save", "--output", &archive.to_string_lossy(), IMAGE])).map(drop)
}

/// The image of busybox as an archive.
fn archive(place: &Path) -> PathBuf {
    place.join("busybox.tar")
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
    pub(crate) test: &'t Test,
    place: PathBuf,
}

impl<'t> Docker<'t> {
    /// The command that talks to the daemon of the suite.
    pub(crate) fn of(test: &'t Test) -> Self {
        Self { test, place: place(test) }
    }

    /// A name that no other case gives to anything of this daemon.
    pub(crate) fn name(&self, what: &str) -> String {
        self.test.name(what)
    }

    /// `docker ARGS`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let label = label(self.test);
        let own = ["--label", &label];
        match args {
            [verb @ ("run" | "create" | "build"), rest @ ..] => {
                client(&self.place, &[&[*verb], &own[..], rest].concat())
            }
            [thing @ ("network" | "volume" | "buildx"), verb @ ("create" | "build"), rest @ ..] => {
                client(&self.place, &[&[*thing, *verb], &own[..], rest].concat())
            }
            _ => client(&self.place, args),
        }
    }

    /// Runs `docker ARGS`.
    pub(crate) fn call(&self, args: &[&str]) -> Verdict<Output> {
        self.test.output_of(self.command(args))
    }

    /// Runs `docker ARGS`, which must succeed: what it prints, without the last line's end.
    pub(crate) fn ok(&self, args: &[&str]) -> Verdict<String> {
        Ok(self.call(args)?.exits(0)?.stdout()?.trim_end().to_owned())
    }

    /// What the shell prints in a container that goes away with it: `docker run --rm FLAGS busybox sh -c SCRIPT`.
    pub(crate) fn sh(&self, flags: &[&str], script: &str) -> Verdict<String> {
        self.ok(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", script]].concat())
    }

    /// Runs the command with this on its standard input: its status and what it prints.
    pub(crate) fn fed(&self, args: &[&str], input: &[u8]) -> Verdict<(i32, Vec<u8>)> {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input)?;
        }
        let output = child.wait_with_output()?;
        Ok((crate::bundle::code(output.status), output.stdout))
    }

    /// `docker run --detach FLAGS busybox ARGS`: a container with this name.
    pub(crate) fn container(&self, what: &str, flags: &[&str], args: &[&str]) -> Verdict<Container<'_>> {
        let name = self.name(what);
        self.ok(&[&["run", "--detach", "--name", &name], flags, &[IMAGE], args].concat())?;
        Ok(Container { docker: self, name })
    }

    /// A container that does nothing until it is killed.
    pub(crate) fn idle(&self, what: &str, flags: &[&str]) -> Verdict<Container<'_>> {
        self.container(what, flags, &["sleep", "1000"])
    }

    /// The container with this name, which is there already.
    pub(crate) fn existing(&self, name: &str) -> Container<'_> {
        Container { docker: self, name: name.to_owned() }
    }

    /// The command in a terminal of this size, which controls its session.
    pub(crate) fn in_terminal(&self, rows: u16, columns: u16, args: &[&str]) -> Verdict<Console> {
        Console::start(&self.command(args), rows, columns)
    }

    /// Removes what this case has made and left.
    pub(super) fn clean_up(&self) -> Verdict {
        let filter = format!("label={}", label(self.test));
        for (list, remove) in [
            (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm"]),
            (&["image", "ls", "--quiet"], &["image", "rm", "--force"]),
        ] {
            let listed = self.ok(&[list, &["--filter", &filter]].concat())?;
            let ids: Vec<_> = listed.lines().collect();
            if !ids.is_empty() {
                self.ok(&[remove, &ids].concat())?;
            }
        }
        Ok(())
    }

    /// The command with its output on a pipe.
    pub(crate) fn piped(&self, args: &[&str]) -> Verdict<Piped> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.command(args);
        let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).spawn()?;
        // The command holds the pipe's writing end too.
        drop(command);
        Ok(Piped { child, lines: Lines::new(reader) })
    }
}

/// A container of a daemon.
pub(crate) struct Container<'d> {
    docker: &'d Docker<'d>,
    pub(crate) name: String,
}

impl Container<'_> {
    /// `docker VERB ARGS NAME`.
    pub(crate) fn verb(&self, args: &[&str]) -> Verdict<String> {
        self.docker.ok(&[args, &[&self.name]].concat())
    }

    /// `docker exec NAME ARGS`.
    pub(crate) fn exec(&self, args: &[&str]) -> Verdict<String> {
        self.docker.ok(&[&["exec", &self.name], args].concat())
    }

    /// Makes the file that the container waits for to end. Its status says nothing: the end of the container may end it too.
    pub(crate) fn touch(&self, path: &str) -> Verdict {
        self.docker.call(&["exec", &self.name, "touch", path]).map(drop)
    }

    /// `docker exec FLAGS NAME sh -c SCRIPT`.
    pub(crate) fn exec_sh(&self, flags: &[&str], script: &str) -> Verdict<String> {
        self.docker.ok(&[&["exec"], flags, &[&self.name, "sh", "-c", script]].concat())
    }

    /// `docker inspect --format FORMAT NAME`.
    pub(crate) fn inspect(&self, format: &str) -> Verdict<String> {
        self.docker.ok(&["inspect", "--format", format, &self.name])
    }

    /// `inspect` tells this.
    pub(crate) fn is(&self, format: &str, expected: &str) -> Verdict {
        same(&format!("{format} of {}", self.name), self.inspect(format)?, expected)
    }

    /// `inspect` tells this at some time.
    pub(crate) fn becomes(&self, format: &str, expected: &str) -> Verdict {
        becomes(&format!("{format} of {}", self.name), expected, || self.inspect(format))
    }

    /// Waits for the line in its log.
    pub(crate) fn says(&self, line: &str) -> Verdict {
        let mut log = self.docker.piped(&["logs", "--follow", &self.name])?;
        loop {
            let next = log.lines.next()?;
            if next == line {
                return log.end();
            }
            if next.is_empty() {
                log.end()?;
                return fail(format!("{} never said {line:?}", self.name));
            }
        }
    }

    /// `docker wait NAME`: the exit status.
    pub(crate) fn waited(&self) -> Verdict<String> {
        self.verb(&["wait"])
    }

    /// `docker logs NAME`: what was on stdout, without the last line's end.
    pub(crate) fn logs(&self) -> Verdict<String> {
        self.verb(&["logs"])
    }
}

/// A command whose output comes line by line.
pub(crate) struct Piped {
    child: Child,
    pub(crate) lines: Lines,
}

impl Piped {
    /// Ends it.
    pub(crate) fn end(mut self) -> Verdict {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Verdict {
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end: the status.
    pub(crate) fn ended(&self) -> Verdict<i32> {
        ended(Pid::from_child(&self.child))
    }
}

/// A daemon of the case's own, with a network of its own, which the case may end and start again. It knows busybox. Its
/// containers have cgroups by cgroupfs: systemd would not know the processes of the case's pid namespace by their numbers.
pub(crate) struct OwnDaemon<'t> {
    pub(crate) docker: Docker<'t>,
    daemon: Option<Daemon>,
    runtime: PathBuf,
    args: Vec<OsString>,
}

impl<'t> OwnDaemon<'t> {
    /// Starts it with these arguments.
    pub(crate) fn start(test: &'t Test, args: &[&str]) -> Verdict<Self> {
        Self::start_with(test, &test.runtime, args)
    }

    /// Starts it with this program as its runtime.
    pub(crate) fn start_with(test: &'t Test, runtime: &Path, args: &[&str]) -> Verdict<Self> {
        let place = test.path("own");
        fs::create_dir(&place)?;
        // All that this process starts from now on is in it.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        call(Command::new("ip").args(["link", "set", "lo", "up"])).map_err(Stop::Failed)?;
        let mut own = Self {
            docker: Docker { test, place: place.clone() },
            daemon: None,
            runtime: runtime.to_owned(),
            args: args.iter().map(OsString::from).collect(),
        };
        own.up()?;
        let archive = archive(&super::place(test));
        own.docker.ok(&["load", "--quiet", "--input", &archive.to_string_lossy()])?;
        Ok(own)
    }

    /// Starts it again.
    pub(crate) fn up(&mut self) -> Verdict {
        let test = self.docker.test;
        let place = &self.docker.place;
        let mut command = daemon(&self.runtime, place);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        command.args(["--cgroup-parent", &format!("{}/{CONTAINERS}", test.cgroup)]).args(&self.args);
        let daemon = Daemon::start("dockerd", command, place.join("docker.log"), &test.cgroup_dir(), || {
            call(&mut client(place, &["version"])).is_ok()
        });
        self.daemon = Some(daemon.map_err(Stop::Failed)?);
        Ok(())
    }

    /// Asks it to end, and waits for that. What the runtime under test has left is found later.
    pub(crate) fn down(&mut self) -> Verdict {
        match self.daemon.take() {
            Some(daemon) => daemon.stop().map_err(Stop::Failed),
            None => fail("there is no daemon"),
        }
    }

    /// Kills it, and waits until it and its containerd, which the kernel kills then, have ended.
    pub(crate) fn killed(&mut self) -> Verdict {
        let containerd = fs::read_to_string(self.docker.place.join("docker/exec/containerd/containerd.pid"))?;
        let containerd = Path::new("/proc").join(containerd.trim());
        match self.daemon.take() {
            Some(daemon) => daemon.kill().map_err(Stop::Failed)?,
            None => return fail("there is no daemon"),
        }
        eventually("containerd has ended", || {
            // It is this process's child now.
            left::reap();
            Ok(!containerd.exists())
        })
    }

    /// Removes what the case has left in it and ends it.
    pub(crate) fn end(mut self) -> Verdict {
        if self.daemon.is_none() {
            self.up()?;
        }
        self.docker.clean_up()?;
        self.down()?;
        // A daemon that has ended once with live containers leaves this one.
        let data = self.docker.place.join("docker/data");
        match rustix::mount::unmount(&data, UnmountFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return fail(format!("umount {}: {e}", data.display())),
        }
        // BuildKit's is of Docker's making, and a runtime may leave it.
        for name in [&format!("{CONTAINERS}/buildkit"), CONTAINERS, DAEMONS] {
            match fs::remove_dir(self.docker.test.cgroup_dir().join(name)) {
                // A runtime may remove what it has made and nothing is in any more.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// The label of what a case makes.
pub(crate) fn label(t: &Test) -> String {
    format!("case={}", t.cgroup)
}
