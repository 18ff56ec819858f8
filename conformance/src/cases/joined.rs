//! Namespaces that are joined by path, and containers that share them.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::{Bundle, Test, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same, some};
use crate::kind::Kind;

const LEAVES_CGROUP: &str = "leaves the cgroup behind when a namespace cannot be joined";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("joined/network", "a network namespace by path", |t| one(t, "network", "--net")),
        case("joined/ipc", "an ipc namespace by path", |t| one(t, "ipc", "--ipc")),
        case("joined/uts", "a uts namespace by path", |t| one(t, "uts", "--uts")),
        case("joined/cgroup", "a cgroup namespace by path", |t| one(t, "cgroup", "--cgroup")),
        case("joined/time", "a time namespace by path", time).known_failure(Kind::Crun, "fails to enter it"),
        case("joined/hostname", "hostname is set in a uts namespace that is joined", hostname),
        case(
            "joined/hostname-absent",
            "without hostname the name of a uts namespace that is joined stays",
            keeps_hostname,
        ),
        case("joined/loopback", "lo of a network namespace that is joined is left alone", loopback),
        case("joined/bound-file", "a namespace that a file is bound to, as ip-netns(8) does it", bound_file),
        case("joined/own", "the caller's own namespace by path", own),
        case("joined/mount", "a mount namespace by path", mount),
        case("joined/order", "the order of the entries changes nothing", order),
    ];
    cases.extend(pid_cases());
    cases.extend(user_cases());
    cases.extend(error_cases());
    cases
}

fn pid_cases() -> Vec<Case> {
    vec![
        case("joined/pid", "the pid namespace of a running container", pid),
        case("joined/pid-proc", "procfs shows the pid namespace that is joined", pid_proc),
        case("joined/pid-unshared", "a pid namespace of another program", pid_unshared),
        case("joined/pid-dead", "a pid namespace whose first process has ended is refused", pid_dead)
            .known_failure(Kind::Crun, LEAVES_CGROUP),
        case("joined/pod", "network, ipc, uts and pid of another container", pod),
        case("joined/pod-kill", "SIGKILL ends one container of a pid namespace and not the others", pod_kill),
        case("joined/pod-children", "what outlives the first process ends with the container", pod_children),
        case("joined/pod-ps", "ps tells each container its own processes", pod_ps),
        case("joined/pod-end", "all end with the container whose pid namespace it is", pod_end),
        case("joined/pod-run", "run, attached, in the pid namespace of another container", pod_run),
        case("joined/pod-not-found", "a program that is not found there is told, and nothing is left", pod_not_found),
    ]
}

fn user_cases() -> Vec<Case> {
    vec![
        case("joined/user", "a user namespace by path", user),
        case("joined/user-owned", "a user namespace by path, and others that it owns", user_owned),
        case("joined/user-new-others", "a user namespace by path, the others new in it", user_new_others),
        case("joined/user-pid", "a user namespace and a pid namespace by path", user_pid),
        case(
            "joined/new-user-host-network",
            "a new user namespace, a network namespace of the host's",
            new_user_network,
        ),
    ]
}

fn error_cases() -> Vec<Case> {
    vec![
        case("joined/wrong-type", "a path to a namespace of another type is refused", wrong_type)
            .known_failure(Kind::Crun, LEAVES_CGROUP),
        case("joined/no-namespace", "a path to what is no namespace is refused", no_namespace)
            .known_failure(Kind::Crun, LEAVES_CGROUP),
        case("joined/missing", "a path to nothing is refused", missing).known_failure(Kind::Crun, LEAVES_CGROUP),
        case("joined/relative", "a relative path is refused", relative).known_failure(Kind::Crun, LEAVES_CGROUP),
        case("joined/twice", "a type that is there twice, once by path, is refused", twice)
            .known_failure(Kind::Crun, LEAVES_CGROUP),
        case("joined/hostname-of-host", "a hostname with the host's uts namespace by path", hostname_of_host),
    ]
}

/// A process in namespaces of its own. It ends with this.
pub(crate) struct Holder {
    child: Child,
    /// Its user namespace's first process.
    root: Option<Box<Holder>>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let (Ok(()) | Err(_)) = self.child.kill();
        let (Ok(_) | Err(_)) = self.child.wait();
    }
}

impl Holder {
    /// One that `unshare FLAGS` makes.
    pub(crate) fn new(flags: &[&str]) -> Verdict<Self> {
        let mut command = Command::new("unshare");
        command.args(flags);
        Self::start(command)
    }

    fn start(mut command: Command) -> Verdict<Self> {
        command.args(["sh", "-c", "echo; exec sleep 1000"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let out = child.stdout.take();
        let holder = Self { child, root: None };
        std::io::Read::read_exact(&mut some("stdout", out)?, &mut [0; 1])?;
        Ok(holder)
    }

    /// One in a new user namespace, in which ids from 0 are those from `host`, and in the others that `flags` say,
    /// which belong to that.
    pub(crate) fn mapped(flags: &[&str], host: u32, size: u32) -> Verdict<Self> {
        let root = Self::new(&["--user"])?;
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", root.child.id()), format!("0 {host} {size}"))?;
        }
        let mut command = Command::new("nsenter");
        command.arg(format!("--user={}", root.path("user"))).args(["--setuid", "0", "--setgid", "0", "unshare"]);
        command.args(flags);
        let mut holder = Self::start(command)?;
        holder.root = Some(Box::new(root));
        Ok(holder)
    }

    pub(crate) fn path(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.child.id())
    }
}

/// The file of a type of namespace.
fn file(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

fn link(path: &str) -> Verdict<String> {
    Ok(fs::read_link(path)?.to_string_lossy().into_owned())
}

impl Bundle<'_> {
    /// The namespace of this type is that of a path.
    pub(crate) fn join(self, kind: &str, path: &str) -> Self {
        self.no_namespace(kind).push("/linux/namespaces", json!({"type": kind, "path": path}))
    }
}

/// Shows the namespaces of these types from inside.
fn shows(b: Bundle, kinds: &[&str]) -> Verdict<Vec<String>> {
    let files: Vec<_> = kinds.iter().map(|kind| format!("/proc/self/ns/{}", file(kind))).collect();
    let script = format!("for f in {}; do readlink $f; done", files.join(" "));
    Ok(b.sh(&script).stdout()?.lines().map(str::to_owned).collect())
}

fn one(t: &Test, kind: &str, flag: &str) -> Verdict {
    let holder = Holder::new(&[flag])?;
    let path = holder.path(file(kind));
    let b = t.bundle()?.remove("/hostname").join(kind, &path);
    same("the namespace", shows(b, &[kind])?, [link(&path)?])
}

fn time(t: &Test) -> Verdict {
    let holder = Holder::new(&["--time", "--boottime", "100000000"])?;
    let path = holder.path("time_for_children");
    let b = t.bundle()?.join("time", &path);
    let out = b.sh("readlink /proc/self/ns/time; cut -d. -f1 /proc/uptime").stdout()?;
    let mut lines = out.lines();
    same("the namespace", lines.next(), Some(link(&path)?.as_str()))?;
    let uptime: u64 = some("the uptime", lines.next())?.parse()?;
    check(uptime >= 100_000_000, || format!("uptime: {uptime}"))
}

fn hostname(t: &Test) -> Verdict {
    let holder = Holder::new(&["--uts"])?;
    let b = t.bundle()?.join("uts", &holder.path("uts")).set("/hostname", json!("joined")).args(&["hostname"]);
    same("inside", b.stdout()?, "joined\n")?;
    let output = Command::new("nsenter").arg(format!("--uts={}", holder.path("uts"))).arg("hostname").output()?;
    same("in the namespace", String::from_utf8_lossy(&output.stdout).as_ref(), "joined\n")
}

fn keeps_hostname(t: &Test) -> Verdict {
    let holder = Holder::new(&["--uts", "sh", "-c", "hostname before && exec \"$@\"", "sh"])?;
    let b = t.bundle()?.join("uts", &holder.path("uts")).remove("/hostname").args(&["hostname"]);
    same("inside", b.stdout()?, "before\n")
}

fn loopback(t: &Test) -> Verdict {
    let holder = Holder::new(&["--net"])?;
    let b = t.bundle()?.join("network", &holder.path("net")).args(&["ip", "link", "show", "lo"]);
    contains("lo", &b.stdout()?, "<LOOPBACK>")
}

fn bound_file(t: &Test) -> Verdict {
    let holder = Holder::new(&["--net"])?;
    let file = t.path("netns");
    fs::write(&file, "")?;
    rustix::mount::mount_bind(holder.path("net"), &file)?;
    let expected = link(&holder.path("net"))?;
    drop(holder);
    let found = shows(t.bundle()?.join("network", &file.to_string_lossy()), &["network"]);
    rustix::mount::unmount(&file, rustix::mount::UnmountFlags::DETACH)?;
    same("the namespace", found?, [expected])
}

fn own(t: &Test) -> Verdict {
    let b = t.bundle()?.join("ipc", "/proc/self/ns/ipc");
    same("the namespace", shows(b, &["ipc"])?, [link("/proc/self/ns/ipc")?])
}

fn mount(t: &Test) -> Verdict {
    let holder = Holder::new(&["--mount"])?;
    let b = t.bundle()?.join("mount", &holder.path("mnt"));
    let found = shows(b, &["mount"])?;
    same("the namespace", found, [link(&holder.path("mnt"))?])
}

fn order(t: &Test) -> Verdict {
    let holder = Holder::new(&["--net", "--ipc", "--uts"])?;
    let kinds = ["network", "ipc", "uts"];
    let expected = kinds.iter().map(|kind| link(&holder.path(file(kind)))).collect::<Verdict<Vec<_>>>()?;
    for turn in 0..2 {
        let mut b =
            kinds.iter().fold(t.bundle()?.remove("/hostname"), |b, kind| b.join(kind, &holder.path(file(kind))));
        if turn == 1
            && let Some(Value::Array(entries)) = b.config.pointer_mut("/linux/namespaces")
        {
            entries.reverse();
        }
        same("the namespaces", shows(b, &kinds)?, expected.clone())?;
    }
    Ok(())
}

/// A container that holds its namespaces.
fn first(t: &Test) -> Verdict<Bundle<'_>> {
    t.bundle()?.running_idle()
}

fn of(b: &Bundle, kind: &str) -> Verdict<String> {
    Ok(format!("/proc/{}/ns/{}", b.pid()?.as_raw_nonzero(), file(kind)))
}

fn pid(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = t.bundle()?.join("pid", &of(&a, "pid")?).sh("readlink /proc/self/ns/pid; echo $$");
    let out = b.stdout()?;
    let mut lines = out.lines();
    same("the namespace", lines.next(), Some(link(&of(&a, "pid")?)?.as_str()))?;
    check(lines.next() != Some("1"), || "the process is the first of its namespace".to_owned())
}

fn pid_proc(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = t.bundle()?.join("pid", &of(&a, "pid")?).sh("cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/self/ns/pid");
    contains("output", &b.stdout()?, "sleep 1000 /proc/self/ns/pid")
}

fn pid_unshared(t: &Test) -> Verdict {
    let holder = Holder::new(&["--pid", "--fork", "--kill-child"])?;
    let path = holder.path("pid_for_children");
    let b = t.bundle()?.join("pid", &path);
    same("the namespace", shows(b, &["pid"])?, [link(&path)?])
}

fn pid_dead(t: &Test) -> Verdict {
    let a = first(t)?;
    let file = t.path("pidns");
    fs::write(&file, "")?;
    rustix::mount::mount_bind(of(&a, "pid")?, &file)?;
    a.kill_and_delete()?;
    let output = t.bundle()?.join("pid", &file.to_string_lossy()).args(&["true"]).run();
    rustix::mount::unmount(&file, rustix::mount::UnmountFlags::DETACH)?;
    output?.refuses(t, "/linux/namespaces", &[])?;
    Ok(())
}

const POD: [&str; 4] = ["network", "ipc", "uts", "pid"];

/// A container in the namespaces of another.
fn second<'t>(t: &'t Test, a: &Bundle) -> Verdict<Bundle<'t>> {
    POD.iter().try_fold(t.bundle()?.remove("/hostname"), |b, kind| Ok(b.join(kind, &of(a, kind)?)))
}

fn pod(t: &Test) -> Verdict {
    let a = first(t)?;
    let expected = POD.iter().map(|kind| link(&of(&a, kind)?)).collect::<Verdict<Vec<_>>>()?;
    same("the namespaces", shows(second(t, &a)?, &POD)?, expected)
}

fn pod_kill(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = second(t, &a)?.idle();
    b.create()?;
    b.is("created")?;
    b.start()?;
    b.is("running")?;
    b.kill_and_delete()?;
    b.is_gone()?;
    a.is("running")?;
    a.kill_and_delete()
}

fn pod_children(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = second(t, &a)?.sh("setsid sleep 1001 & echo up; exec sleep 1000");
    let mut lines = b.started()?;
    same("output", lines.next()?, "up")?;
    eventually("two processes", || Ok(fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count() == 2))?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    a.is("running")
}

fn pod_ps(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = second(t, &a)?.idle();
    b.create()?;
    b.start()?;
    let pids = |b: &Bundle| -> Verdict<Value> {
        Ok(serde_json::from_str(&t.runtime(&["ps", "--format", "json", &b.id])?.exits(0)?.stdout()?)?)
    };
    same("the first", pids(&a)?, json!([a.pid()?.as_raw_nonzero()]))?;
    same("the second", pids(&b)?, json!([b.pid()?.as_raw_nonzero()]))?;
    b.kill_and_delete()
}

fn pod_end(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = second(t, &a)?.idle();
    b.create()?;
    b.start()?;
    a.verb("kill", &["KILL"])?.exits(0)?;
    // Before the first: that ends when all others of its pid namespace are gone.
    b.ended()?;
    a.ended()?;
    b.is("stopped")?;
    for one in [b, a] {
        one.verb("delete", &[])?.exits(0)?;
        one.is_gone()?;
    }
    Ok(())
}

fn pod_run(t: &Test) -> Verdict {
    let a = first(t)?;
    second(t, &a)?.sh("exit 7").run()?.exits(7)?;
    second(t, &a)?.sh("kill -9 $$").run()?.exits(137)?;
    a.is("running")
}

fn pod_not_found(t: &Test) -> Verdict {
    let a = first(t)?;
    let b = second(t, &a)?.args(&["no-such-program"]);
    b.create_with(&[])?.refuses(t, "executable file not found in $PATH", &["not found"])?;
    b.is_gone()
}

const HOST: u32 = 100_000;
const SIZE: u32 = 5000;

/// A bundle whose root file system belongs to the mapped root.
fn mapped(t: &Test) -> Verdict<Bundle<'_>> {
    let b = t.bundle()?;
    for dir in ["", "tmp", "root", "etc"] {
        std::os::unix::fs::chown(b.rootfs(dir), Some(HOST), Some(HOST))?;
    }
    Ok(b)
}

fn user(t: &Test) -> Verdict {
    let holder = Holder::mapped(&["--uts"], HOST, SIZE)?;
    let b = mapped(t)?.join("user", &holder.path("user")).writable();
    let out = b.sh("readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map; echo x >/tmp/file").stdout()?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("output", words, [link(&holder.path("user"))?.as_str(), "0", "0", "100000", "5000"])?;
    Ok(())
}

fn user_owned(t: &Test) -> Verdict {
    let holder = Holder::mapped(&["--net", "--ipc", "--uts"], HOST, SIZE)?;
    let kinds = ["user", "network", "ipc", "uts"];
    let b = kinds
        .iter()
        .fold(mapped(t)?.set("/hostname", json!("owned")), |b, kind| b.join(kind, &holder.path(file(kind))));
    let expected = kinds.iter().map(|kind| link(&holder.path(file(kind)))).collect::<Verdict<Vec<_>>>()?;
    same("the namespaces", shows(b, &kinds)?, expected)
}

fn user_new_others(t: &Test) -> Verdict {
    let holder = Holder::mapped(&["--uts"], HOST, SIZE)?;
    let b = mapped(t)?.join("user", &holder.path("user")).capabilities(&["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    // Only who owns them may.
    let out = b.sh("ip link set lo down && ip link set lo up && hostname other && hostname").stdout()?;
    same("output", out, "other\n")
}

fn user_pid(t: &Test) -> Verdict {
    let a = mapped(t)?.user_namespace(HOST, SIZE).running_idle()?;
    let kinds = ["user", "pid", "network", "ipc", "uts"];
    let expected = kinds.iter().map(|kind| link(&of(&a, kind)?)).collect::<Verdict<Vec<_>>>()?;
    let b = kinds.iter().try_fold(mapped(t)?.remove("/hostname"), |b, kind| {
        Ok::<_, crate::expect::Stop>(b.join(kind, &of(&a, kind)?))
    })?;
    same("the namespaces", shows(b, &kinds)?, expected)?;
    a.is("running")
}

fn new_user_network(t: &Test) -> Verdict {
    let holder = Holder::new(&["--net"])?;
    let path = holder.path("net");
    // sysfs asks for a network namespace of the user namespace's own.
    let b = mapped(t)?.user_namespace(HOST, SIZE).join("network", &path).no_mount("/sys").no_mount("/sys/fs/cgroup");
    same("the namespace", shows(b, &["network"])?, [link(&path)?])
}

fn wrong_type(t: &Test) -> Verdict {
    let holder = Holder::new(&["--net"])?;
    let b = t.bundle()?.join("ipc", &holder.path("net")).args(&["true"]);
    let at = b.config["linux"]["namespaces"].as_array().map_or(0, |entries| entries.len() - 1);
    b.run()?.refuses(t, &format!("/linux/namespaces/{at}/path"), &[])?;
    b.is_gone()
}

fn no_namespace(t: &Test) -> Verdict {
    for path in ["/etc/passwd", "/", "/dev/null"] {
        let b = t.bundle()?.join("ipc", path).args(&["true"]);
        b.run()?.refuses(t, "/path", &[])?;
        b.is_gone()?;
    }
    Ok(())
}

fn missing(t: &Test) -> Verdict {
    let b = t.bundle()?.join("ipc", "/no/such/file").args(&["true"]);
    b.run()?.refuses(t, "/path", &["no such file", "No such file"])?;
    b.is_gone()
}

fn relative(t: &Test) -> Verdict {
    let b = t.bundle()?.join("ipc", "proc/self/ns/ipc").args(&["true"]);
    b.run()?.refuses(t, "/path", &[])?;
    b.is_gone()
}

fn twice(t: &Test) -> Verdict {
    let b = t.bundle()?.push("/linux/namespaces", json!({"type": "ipc", "path": "/proc/self/ns/ipc"})).args(&["true"]);
    b.run()?.refuses(t, "/linux/namespaces/", &[])?;
    b.is_gone()
}

fn hostname_of_host(t: &Test) -> Verdict {
    let before = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let name = before.trim().to_owned();
    // The same name, so that nothing comes of it where it is done.
    let b = t.bundle()?.join("uts", "/proc/self/ns/uts").set("/hostname", json!(name)).args(&["true"]);
    let output = b.run()?;
    if t.ours() {
        output.refuses(t, "/hostname", &[])?;
    }
    same("the host's name", fs::read_to_string("/proc/sys/kernel/hostname")?, before)
}
