//! Docker Engine: daemons of a case's own, with other settings, which end and start again while containers live.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::bundle::{Test, eventually};
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{IMAGE, OwnDaemon};
use crate::expect::{Verdict, check, contains, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case(
            "engines/docker/live-restore",
            "with --live-restore a container outlives the daemon: exec, stop and its status work after it",
            live_restore,
        ),
        case(
            "engines/docker/live-restore-ended",
            "what ends while the daemon is away is known to have ended, and can be started again",
            live_restore_ended,
        ),
        case(
            "engines/docker/daemon-killed",
            "kill -9 of the daemon with --live-restore: the container runs on",
            daemon_killed,
        ),
        case(
            "engines/docker/daemon-restart",
            "without --live-restore containers end with the daemon, and those of --restart always come back",
            daemon_restart,
        ),
        case("engines/docker/userns-remap", "--userns-remap: mapped ids, files, exec, and --userns host", userns_remap),
        case("engines/docker/propagation", "bind mounts: rshared, rslave and rprivate", propagation),
        case(
            "engines/docker/recursive-read-only",
            "a read-only bind mount: recursive, or not if so asked",
            recursive_read_only,
        ),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

/// A program that ends with 42 at SIGTERM, and with 43 when there is /end.
const WAITS: &[&str] =
    &["sh", "-c", "trap 'exit 42' TERM; echo ready; while ! test -e /end; do sleep 0.05; done; exit 43"];

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("root/bin").exists()
}

fn live_restore(t: &Test) -> Verdict {
    let mut own = OwnDaemon::start(t, &["--live-restore"])?;
    let c = own.docker.container("c", &[], WAITS)?;
    c.says("ready")?;
    let (name, pid) = (c.name.clone(), c.inspect("{{.State.Pid}}")?);
    own.down()?;
    check(is_alive(&pid), || "the container ended with the daemon".to_owned())?;
    own.up()?;
    let c = own.docker.existing(&name);
    c.is("{{.State.Status}} {{.State.Pid}}", &format!("running {pid}"))?;
    same("exec", c.exec(&["echo", "fine"])?.as_str(), "fine")?;
    c.verb(&["pause"])?;
    c.verb(&["unpause"])?;
    c.verb(&["stop", "--time", "60"])?;
    c.is("{{.State.ExitCode}}", "42")?;
    own.end()
}

fn live_restore_ended(t: &Test) -> Verdict {
    let mut own = OwnDaemon::start(t, &["--live-restore"])?;
    let c = own.docker.container("c", &[], WAITS)?;
    c.says("ready")?;
    let (name, pid) = (c.name.clone(), c.inspect("{{.State.Pid}}")?);
    own.down()?;
    fs::write(Path::new("/proc").join(&pid).join("root/end"), "")?;
    eventually("the container has ended", || Ok(!is_alive(&pid)))?;
    own.up()?;
    let c = own.docker.existing(&name);
    c.becomes("{{.State.Status}}", "exited")?;
    // containerd 1.7 was away too: it removes the task, and with it the status, before Docker asks.
    let status = c.inspect("{{.State.ExitCode}}")?;
    check(["43", "255"].contains(&status.as_str()), || format!("the status: {status}"))?;
    // It can be started again.
    c.verb(&["start"])?;
    c.becomes("{{.State.Status}}", "exited")?;
    c.is("{{.State.ExitCode}}", "43")?;
    own.end()
}

fn daemon_killed(t: &Test) -> Verdict {
    let mut own = OwnDaemon::start(t, &["--live-restore"])?;
    let c = own.docker.container("c", &[], WAITS)?;
    c.says("ready")?;
    let (name, pid) = (c.name.clone(), c.inspect("{{.State.Pid}}")?);
    own.killed()?;
    check(is_alive(&pid), || "the container ended with the daemon".to_owned())?;
    own.up()?;
    let c = own.docker.existing(&name);
    c.is("{{.State.Status}} {{.State.Pid}}", &format!("running {pid}"))?;
    c.touch("/end")?;
    c.becomes("{{.State.Status}} {{.State.ExitCode}}", "exited 43")?;
    // And new ones can be made.
    same("another", own.docker.sh(&[], "echo made")?.as_str(), "made")?;
    own.end()
}

fn daemon_restart(t: &Test) -> Verdict {
    let mut own = OwnDaemon::start(t, &[])?;
    let c = own.docker.container("c", &[], WAITS)?;
    c.says("ready")?;
    let plain = c.name.clone();
    let c = own.docker.container("always", &["--restart", "always"], WAITS)?;
    c.says("ready")?;
    let (always, pid) = (c.name.clone(), c.inspect("{{.State.Pid}}")?);
    own.down()?;
    check(!is_alive(&pid), || "the container outlived the daemon".to_owned())?;
    own.up()?;
    own.docker.existing(&plain).is("{{.State.Status}} {{.State.ExitCode}}", "exited 42")?;
    let c = own.docker.existing(&always);
    c.becomes("{{.State.Status}}", "running")?;
    same("exec", c.exec(&["echo", "fine"])?.as_str(), "fine")?;
    own.end()
}

fn userns_remap(t: &Test) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let own = OwnDaemon::start(t, &["--userns-remap", "user"])?;
    let docker = &own.docker;
    let dir = t.path("dir");
    fs::create_dir(&dir)?;
    std::os::unix::fs::chown(&dir, Some(100_000), Some(100_000))?;
    let bind = format!("{}:/data", dir.display());
    let script = "awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map; id -u; touch /data/new; touch /usr/new; \
                  stat -c %u /usr/new /etc/passwd; chown 1000 /data/new; echo x >/proc/sys/kernel/domainname";
    let output = docker.call(&["run", "--rm", "-v", &bind, IMAGE, "sh", "-c", script])?;
    same("in it", output.stdout()?.as_str(), "0 100000 65536\n0 100000 65536\n0\n0\n0\n")?;
    same("the file's owner", fs::metadata(dir.join("new"))?.uid(), 101_000)?;
    let c = docker.idle("c", &["--init"])?;
    same("exec", c.exec_sh(&["-u", "user"], "id -u; awk '{print $2}' /proc/self/uid_map")?.as_str(), "1000\n100000")?;
    let pid = c.inspect("{{.State.Pid}}")?;
    same("the process's owner", fs::metadata(Path::new("/proc").join(pid))?.uid(), 100_000)?;
    let host = docker.sh(&["--userns", "host"], "awk '{print $1, $2}' /proc/self/uid_map; id -u")?;
    same("--userns host", host.as_str(), "0 0\n0")?;
    own.end()
}

/// A tmpfs at this path for as long as this lives.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path) -> Verdict<Self> {
        fs::create_dir_all(path)?;
        rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::empty(), None)?;
        Ok(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // What is still there is found as left behind.
        rustix::mount::unmount(self.0, UnmountFlags::DETACH).unwrap_or_default();
    }
}

fn propagation(t: &Test) -> Verdict {
    let dir = t.path("dir");
    let _mounted = Mounted::new(&dir)?;
    rustix::mount::mount_change(&dir, MountPropagationFlags::SHARED)?;
    for name in ["by-container", "by-host"] {
        fs::create_dir(dir.join(name))?;
    }
    let own = OwnDaemon::start(t, &[])?;
    let docker = &own.docker;
    let kinds = ["rshared", "rslave", "rprivate"];
    let containers: Verdict<Vec<_>> = kinds
        .iter()
        .map(|kind| {
            docker.idle(
                kind,
                &[
                    "--cap-add",
                    "SYS_ADMIN",
                    "--security-opt",
                    "apparmor=unconfined",
                    "-v",
                    &format!("{}:/data:{kind}", dir.display()),
                ],
            )
        })
        .collect();
    let containers = containers?;
    let seen = |path: &str| -> Verdict<Vec<String>> {
        containers
            .iter()
            .map(|c| c.exec_sh(&[], &format!("grep -c ' /data/{path} ' /proc/self/mountinfo; true")))
            .collect()
    };
    let by_host = dir.join("by-host");
    let mounted = Mounted::new(&by_host)?;
    same("what the host mounts", seen("by-host")?, ["1", "1", "0"])?;
    drop(mounted);
    same("what the host unmounts", seen("by-host")?, ["0", "0", "0"])?;
    for (at, expected) in [["1", "1", "0"], ["0", "1", "0"], ["0", "0", "1"]].into_iter().enumerate() {
        let c = containers.get(at).map_or_else(|| crate::expect::fail("no container"), Ok)?;
        c.exec_sh(&[], "mount -t tmpfs x /data/by-container")?;
        same(&format!("what {} mounts", kinds[at]), seen("by-container")?, expected)?;
        c.exec_sh(&[], "umount /data/by-container")?;
    }
    own.end()
}

fn recursive_read_only(t: &Test) -> Verdict {
    let dir = t.path("dir");
    let _mounted = Mounted::new(&dir)?;
    let sub = dir.join("sub");
    let _inner = Mounted::new(&sub)?;
    let own = OwnDaemon::start(t, &[])?;
    let docker = &own.docker;
    let script = "for file in /data/x /data/sub/x; do touch $file 2>/dev/null && echo wrote $file; done; true";
    let source = format!("type=bind,source={},target=/data,readonly", dir.display());
    same("ro", docker.sh(&["-v", &format!("{}:/data:ro", dir.display())], script)?.as_str(), "")?;
    let strict = format!("{source},bind-recursive=readonly,bind-propagation=rprivate");
    same("bind-recursive=readonly", docker.sh(&["--mount", &strict], script)?.as_str(), "")?;
    let loose = docker.sh(&["--mount", &format!("{source},bind-recursive=writable")], script)?;
    same("bind-recursive=writable", loose.as_str(), "wrote /data/sub/x")?;
    let alone = docker.sh(&["--mount", &format!("{source},bind-recursive=disabled")], "ls /data/sub | wc -l")?;
    same("bind-recursive=disabled", alone.as_str(), "0")?;
    contains("the daemon's runtime", &docker.ok(&["info", "--format", "{{json .Runtimes}}"])?, "under-test")?;
    own.end()
}
