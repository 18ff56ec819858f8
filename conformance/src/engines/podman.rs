//! Podman and Buildah, which have no daemon: each case has their files, locks and network for itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev};
use rustix::mount::{MountFlags, UnmountFlags};

use super::images::{self, BUSYBOX};
use super::{call, place};
use crate::bundle::{Output, Test, bare, eventually};
use crate::cgroup2;
use crate::expect::{Stop, Verdict, check};
use crate::features;

/// The image of busybox, in a store that all cases read.
pub(crate) const IMAGE: &str = "busybox";

/// The image of a pod's infra container, which holds its namespaces: Podman's own needs catatonit, which not every
/// machine has.
const PAUSE: &str = "127.0.0.1:5000/pause:latest";

/// Whose Podman it is, and who makes its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root's, with cgroups that it makes itself.
    Root,
    /// An ordinary user's, with cgroups in one that is given to the user.
    User,
    /// Root's, with cgroups that systemd makes, and beside all namespaces of the suite: systemd is told the pids of processes.
    Systemd,
    /// An ordinary user's, with cgroups that the user's systemd makes, beside all namespaces of the suite.
    Session,
}

/// The user's cgroup in the case's. What is started is in one below it, beside those of the containers.
const DELEGATED: &str = "delegated";

/// The ordinary user: of the guest's image (conformance/guest/image.sh).
const USER: u32 = 1000;

impl Who {
    const ALL: [Self; 4] = [Self::Root, Self::User, Self::Systemd, Self::Session];

    fn dir(self) -> &'static str {
        match self {
            Self::Root => "podman-root",
            Self::User => "podman-user",
            Self::Systemd => "podman-systemd",
            Self::Session => "podman-session",
        }
    }

    /// Whether it is an ordinary user's.
    pub(crate) fn is_user(self) -> bool {
        matches!(self, Self::User | Self::Session)
    }

    /// Whether systemd makes the cgroups.
    pub(crate) fn has_systemd(self) -> bool {
        matches!(self, Self::Systemd | Self::Session)
    }

    fn cgroup_manager(self) -> &'static str {
        if self.has_systemd() { "systemd" } else { "cgroupfs" }
    }

    /// The store that all of them read.
    fn images(self, place: &Path) -> PathBuf {
        place.join(if self.is_user() { "podman-images-user" } else { "podman-images" })
    }
}

/// Fills the stores of images, root's and the user's.
pub(super) fn prepare(place: &Path) -> Result<(), String> {
    images::push(place, &place.join("busybox"), PAUSE, &["--cmd", "sh -c 'trap exit TERM; sleep 1000 & wait'"])?;
    for who in [Who::Root, Who::User] {
        let store = who.images(place);
        let tell = |e: std::io::Error| format!("{}: {e}", store.display());
        let run = store.with_extension("run");
        for dir in [&store, &run] {
            fs::create_dir_all(dir).map_err(tell)?;
            if who.is_user() {
                chown(dir, Some(USER), Some(USER)).map_err(tell)?;
            }
        }
        let mut command = if who.is_user() { as_user() } else { Command::new("podman") };
        bare(&mut command);
        if who.is_user() {
            command.arg("podman");
        }
        command.env("HOME", &store).env("XDG_RUNTIME_DIR", &run);
        command.arg("--root").arg(&store).arg("--runroot").arg(&run).args(["--storage-driver", "overlay"]);
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.args(["pull", "--quiet", "--tls-verify=false", BUSYBOX, PAUSE]);
        call(&mut command)?;
        // The driver mounts its directory on itself; nobody writes here any more.
        let overlay = store.join("overlay");
        if is_mounted(&overlay).map_err(|stop| format!("{stop:?}"))? {
            rustix::mount::unmount(&overlay, UnmountFlags::empty()).map_err(|e| tell(e.into()))?;
        }
    }
    end_pause(&Who::User.images(place).with_extension("run"))
}

/// Ends the process that keeps the user's namespaces between commands.
fn end_pause(runtime_dir: &Path) -> Result<(), String> {
    let file = runtime_dir.join("libpod/tmp/pause.pid");
    let Ok(pid) = fs::read_to_string(&file) else { return Ok(()) };
    let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("{}: no pid", file.display()))?;
    match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(format!("ending the process of {}: {e}", file.display())),
    }
}

fn as_user() -> Command {
    let mut command = Command::new("setpriv");
    let user = USER.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--init-groups", "--"]);
    command
}

/// Directories of the machine that Podman, netavark and the runtimes write to and that cannot be set.
const TUN: &str = "/dev/net/tun";
const RUN: [&str; 6] = ["/run/containers", "/run/netns", "/run/libpod", "/run/no-frills", "/run/runc", "/run/crun"];

/// The `podman` and `buildah` commands of a case. What they make is removed when the case ends.
pub(crate) struct Podman<'t> {
    pub(crate) test: &'t Test,
    pub(crate) who: Who,
    dir: PathBuf,
}

impl<'t> Podman<'t> {
    /// Makes a Podman for this case: storage, locks, and, unless systemd is to see its processes, a network of its own.
    pub(crate) fn of(test: &'t Test, who: Who) -> Verdict<Self> {
        let podman = Self { test, who, dir: test.path(who.dir()) };
        fs::create_dir(&podman.dir)?;
        if !who.has_systemd() {
            own_machine(who, &podman.dir)?;
        }
        podman.write_config("")?;
        fs::write(
            podman.dir.join("storage.conf"),
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = \"{dir}/graph\"\nrunroot = \"{dir}/run\"\n\
                 [storage.options]\nadditionalimagestores = [\"{images}\"]\nroot-auto-userns-user = \"user\"\n",
                dir = podman.dir.display(),
                images = who.images(&place(test)).display(),
            ),
        )?;
        if who == Who::User {
            let cgroup = podman.cgroup_dir();
            fs::create_dir(&cgroup)?;
            let below = cgroup.join("user");
            fs::create_dir(&below)?;
            for dir in [&cgroup, &below] {
                for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                    chown(dir.join(file), Some(USER), Some(USER))?;
                }
            }
        }
        if who.is_user() {
            fs::create_dir(podman.runtime_dir())?;
            fs::set_permissions(podman.runtime_dir(), fs::Permissions::from_mode(0o700))?;
            for entry in [&podman.dir, &podman.runtime_dir()] {
                chown(entry, Some(USER), Some(USER))?;
            }
        }
        Ok(podman)
    }

    /// Writes containers.conf with more lines for the table `[containers]`.
    pub(crate) fn write_config(&self, containers: &str) -> Verdict {
        let name = self.test.runtime.file_name().unwrap_or_default().to_string_lossy();
        // As the configuration of Podman itself has it for the runtimes that it knows; the manual page has `nocgroups`, the
        // program `nocgroup`.
        let text = format!(
            "[engine]\ncgroup_manager = \"{manager}\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
             tmp_dir = \"{dir}/tmp\"\ninfra_image = \"{PAUSE}\"\n\
             runtime_supports_json = [\"{name}\"]\nruntime_supports_nocgroup = [\"{name}\"]\n\
             [network]\nnetwork_config_dir = \"{dir}/networks\"\n\
             [containers]\nlog_driver = \"k8s-file\"\nnetns = \"none\"\n{pids}{containers}\n",
            manager = self.who.cgroup_manager(),
            dir = self.dir.display(),
            // The limit that it sets by default, and that cannot be set without the controller.
            pids = if has_pids() { "" } else { "pids_limit = 0\n" },
        );
        Ok(fs::write(self.dir.join("containers.conf"), text)?)
    }

    fn cgroup_dir(&self) -> PathBuf {
        self.test.cgroup_dir().join(DELEGATED)
    }

    fn runtime_dir(&self) -> PathBuf {
        self.test.path("xdg")
    }

    /// A file or directory that the user who runs it may write to.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Gives a file to the user who runs it.
    pub(crate) fn give(&self, path: &Path) -> Verdict {
        if self.who.is_user() {
            chown(path, Some(USER), Some(USER))?;
        }
        Ok(())
    }

    /// A program as the one who runs Podman has it: with its configuration, in its place.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut env = vec![
            ("CONTAINERS_CONF", self.dir.join("containers.conf")),
            ("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf")),
            ("HOME", self.dir.clone()),
            ("TMPDIR", self.dir.clone()),
        ];
        match self.who {
            Who::User => env.push(("XDG_RUNTIME_DIR", self.runtime_dir())),
            Who::Session => {
                env.push(("XDG_RUNTIME_DIR", session_dir()));
                env.push(("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", session_dir().display()).into()));
            }
            Who::Root | Who::Systemd => {}
        }
        let mut command = match self.who {
            Who::Root => Command::new(name),
            Who::User => {
                let mut command = Command::new("sh");
                let user = USER.to_string();
                let procs = self.cgroup_dir().join("user/cgroup.procs");
                let script = "echo 0 >\"$0\" && user=$1 && shift && exec setpriv --reuid \"$user\" --regid \"$user\" --init-groups -- \"$@\"";
                command.args(["-c", script]).arg(procs).args([&user, name]);
                command
            }
            Who::Systemd | Who::Session => {
                let mut command = Command::new("systemd-run");
                command.args(["--pipe", "--wait", "--quiet", "--collect", "--property=Delegate=yes"]);
                // Scripts are for the container's shell: systemd would make $ of $$.
                command.arg("--expand-environment=no");
                if self.who == Who::Session {
                    use std::os::unix::process::CommandExt;
                    command.arg("--user").uid(USER).gid(USER).current_dir("/");
                }
                for (name, value) in &env {
                    command.arg(format!("--setenv={name}={}", value.display()));
                }
                // By this Podman would take itself for a service, and leave conmon in its cgroup.
                command.args(["env", "--unset=INVOCATION_ID", name]);
                command
            }
        };
        bare(&mut command);
        command.envs(env).current_dir("/");
        command
    }

    /// `podman WORDS REST`: the words are separated by spaces, the rest is taken as it is.
    pub(crate) fn command(&self, words: &str, rest: &[&str]) -> Command {
        let mut command = self.program("podman");
        command.arg("--runtime").arg(&self.test.runtime);
        let mut words: Vec<_> = words.split_ascii_whitespace().collect();
        let verb = match words.as_slice() {
            ["run" | "create", ..] => 1,
            ["pod", "create", ..] => 2,
            _ => 0,
        };
        let parent = match self.who {
            Who::Root => self.test.cgroup.clone(),
            Who::User => format!("{}/{DELEGATED}", self.test.cgroup),
            Who::Systemd | Who::Session => String::new(),
        };
        if verb > 0 && !parent.is_empty() && !words.iter().any(|word| word.starts_with("--cgroup")) {
            words.splice(verb..verb, ["--cgroup-parent", &parent]);
        }
        command.args(words).args(rest);
        command
    }

    /// Runs `podman WORDS REST`.
    pub(crate) fn call(&self, words: &str, rest: &[&str]) -> Verdict<Output> {
        self.test.output_of(self.command(words, rest))
    }

    /// Runs `podman WORDS REST`, which must succeed: what it prints, without white space at the ends.
    pub(crate) fn gets(&self, words: &str, rest: &[&str]) -> Verdict<String> {
        Ok(self.call(words, rest)?.exits(0)?.stdout()?.trim().to_owned())
    }

    /// `podman inspect` of one property.
    pub(crate) fn inspect(&self, name: &str, property: &str) -> Verdict<String> {
        self.gets(&format!("inspect --format {{{{{property}}}}} {name}"), &[])
    }

    fn clean_up(&self) -> Verdict {
        self.gets("pod rm --all --force --time 0", &[])?;
        self.gets("rm --all --force --time 0 --volumes", &[])?;
        self.gone()?;
        if self.who == Who::User {
            end_pause(&self.runtime_dir()).map_err(Stop::Failed)?;
            let busy = Some(rustix::io::Errno::BUSY.raw_os_error());
            for dir in [self.cgroup_dir().join("user"), self.cgroup_dir()] {
                // What is left there, and is not about to end, is found by those who look for it.
                eventually("the user's cgroup is empty", || {
                    crate::left::reap();
                    match fs::remove_dir(&dir) {
                        Err(e) if e.raw_os_error() == busy => Ok(false),
                        other => Ok(other.map(|()| true)?),
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Unmounts and removes what belongs to the engines and is empty by now. What is not is found by those who look for it.
    fn gone(&self) -> Verdict {
        // conmon's cgroup, and what is made where no parent can be named.
        for dir in [
            self.test.cgroup_dir().join("conmon"),
            self.cgroup_dir().join("conmon"),
            self.test.cgroup_mount.join("libpod_parent/conmon"),
        ] {
            if dir.exists() && !self.who.has_systemd() {
                eventually("conmon has ended", || Ok(fs::read_to_string(dir.join("cgroup.procs"))?.trim().is_empty()))?;
                // Another case may be about to use the one of the machine.
                fs::remove_dir(&dir).unwrap_or_default();
            }
        }
        let overlay = self.dir.join("graph/overlay");
        if self.who.has_systemd() {
            let mut command = Command::new("systemd-run");
            command.args(["--pipe", "--wait", "--quiet", "--collect", "umount", "--quiet"]).arg(&overlay);
            bare(&mut command);
            self.test.output_of(command)?;
            return Ok(());
        }
        if is_mounted(&overlay)? {
            rustix::mount::unmount(&overlay, UnmountFlags::empty())?;
        }
        if is_mounted(Path::new(TUN))? {
            rustix::mount::unmount(TUN, UnmountFlags::empty())?;
        }
        for dir in RUN.map(Path::new) {
            let kept = if dir.ends_with("containers") { None } else { first_left(dir)? };
            while is_mounted(dir)? {
                rustix::mount::unmount(dir, UnmountFlags::empty())?;
            }
            check(kept.is_none(), || format!("left behind: {}", kept.clone().unwrap_or_default().display()))?;
        }
        Ok(())
    }
}

fn session_dir() -> PathBuf {
    format!("/run/user/{}", features::session().unwrap_or(USER)).into()
}

fn has_pids() -> bool {
    cgroup2::controllers().is_ok_and(|all| all.split_ascii_whitespace().any(|name| name == "pids"))
}

/// The network and the directories for running things, for this process and what it starts.
fn own_machine(who: Who, dir: &Path) -> Verdict {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    check(status.success(), || format!("ip link set lo up: {status}"))?;
    for dir in RUN {
        fs::create_dir_all(dir)?;
        rustix::mount::mount("podman", dir, "tmpfs", MountFlags::empty(), Some(c"mode=755"))?;
    }
    if who.is_user() {
        // As udev has it, which not every machine does.
        let tun = dir.join("tun");
        rustix::fs::mknodat(CWD, &tun, FileType::CharacterDevice, Mode::empty(), makedev(10, 200))?;
        fs::set_permissions(&tun, fs::Permissions::from_mode(0o666))?;
        rustix::mount::mount_bind(&tun, TUN)?;
    }
    Ok(())
}

fn is_mounted(path: &Path) -> Verdict<bool> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(crate::mountinfo::parse(&text).iter().any(|mount| Path::new(&mount.point) == path))
}

/// What is left in a directory of a runtime, which may hold directories for all containers of its own.
fn first_left(dir: &Path) -> Verdict<Option<PathBuf>> {
    if dir.ends_with("libpod") {
        return Ok(None);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Removes what this case has made and left.
pub(super) fn clean_up(t: &Test) -> Verdict {
    for who in Who::ALL {
        let podman = Podman { test: t, who, dir: t.path(who.dir()) };
        if podman.dir.exists() {
            podman.clean_up()?;
        }
    }
    Ok(())
}
