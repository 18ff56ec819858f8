//! What the first instruction of a container's process finds, of the host and of the runtime that was in its place: held
//! against a fixed list, in which everything that is not named is a finding.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::bundle::{Bundle, Lines, Test};
use crate::case::{Case, case};
use crate::cases::settings::scheduling::own_nice;
use crate::expect::{Verdict, check, same, some};
use crate::kind::Kind;
use crate::mountinfo;
use crate::probe::with_probe;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("security/reach-run", "run leaves the process what was promised, and nothing else", run),
        case("security/reach-start", "nor do create and start", start),
        case("security/reach-exec", "nor does exec", exec).known_failure(
            Kind::Crun,
            "1.28 leaves it the caller's session keyring, and takes no_new_privs from a flag alone",
        ),
        case("security/reach-user-namespace", "nor is there more in a user namespace", user_namespace),
        case("security/keyring-of-another", "no container can lay out a session keyring for another", laid_out)
            .known_failure(Kind::Runc, "1.3.6 joins a keyring by its name, whoever has made it")
            .known_failure(Kind::Crun, "1.28 joins a keyring by its name, whoever has made it"),
    ]
}

/// What the probe printed: values by their names.
struct Reach(BTreeMap<String, Vec<String>>);

impl Reach {
    fn new(text: &str) -> Self {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            all.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Self(all)
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn one(&self, name: &str) -> &str {
        self.all(name).first().map_or("", String::as_str)
    }

    /// What follows these words in the names.
    fn names(&self, start: &str) -> Vec<&str> {
        self.0.keys().filter_map(|name| name.strip_prefix(start)).collect()
    }
}

fn bundle(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(with_probe(t.bundle()?)?.args(&["/bin/probe", "reach"]))
}

fn run(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let reach = Reach::new(&b.stdout()?);
    first(&reach)?;
    common(&b, &reach)
}

fn start(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let created = b.create()?;
    b.start()?;
    same("status", b.ended()?, 0)?;
    let reach = Reach::new(&created.stdout()?);
    first(&reach)?;
    common(&b, &reach)
}

fn user_namespace(t: &Test) -> Verdict {
    let b = bundle(t)?.user_namespace(100_000, 65_536);
    let reach = Reach::new(&b.stdout()?);
    first(&reach)?;
    common(&b, &reach)
}

fn exec(t: &Test) -> Verdict {
    let b = with_probe(t.bundle()?)?.idle();
    b.create()?;
    b.start()?;
    let reach = Reach::new(&t.runtime(&["exec", &b.id, "/bin/probe", "reach"])?.exits(0)?.stdout()?);
    let own = reach.one("Pid");
    same("processes", reach.one("processes"), format!("1 {own}").as_str())?;
    same("process group", reach.one("process group"), own)?;
    same("session", reach.one("session"), own)?;
    common(&b, &reach)
}

/// Seen to fail: runc 1.1.5 and 1.3.6, crun 1.8.1 and 1.28, which join a keyring by its name, whoever has made it.
fn laid_out(t: &Test) -> Verdict {
    let victim = bundle(t)?;
    let names = [victim.id.clone(), format!("_ses.{}", victim.id), format!("_ses_{}", victim.id)];
    let attacker = with_probe(t.bundle()?)?.args(&["/bin/probe", "keyring", &names[0], &names[1], &names[2]]);
    attacker.save()?;
    let (input, end) = std::io::pipe()?;
    let (reader, writer) = std::io::pipe()?;
    let mut child = attacker.command("run", &[]).stdin(input).stdout(writer).spawn()?;
    let mut lines = Lines::new(reader);
    for name in names {
        same("a keyring", lines.next()?, format!("{name} true"))?;
    }
    same("the attacker", lines.next()?, "ready")?;
    let reach = Reach::new(&victim.stdout()?);
    let found = reach.one("keys in the session keyring").to_owned();
    drop(end);
    check(child.wait()?.success(), || "the attacker failed".to_owned())?;
    same("keys that another container has put into the session keyring", found, "0")
}

/// What the first process of a pid namespace is.
fn first(reach: &Reach) -> Verdict {
    for (name, value) in [("processes", "1"), ("process group", "1"), ("session", "1"), ("Pid", "1"), ("NSpid", "1")] {
        same(name, reach.one(name), value)?;
    }
    Ok(())
}

/// Names and values that are the same for every process of the default configuration.
const FIXED: &[(&str, &str)] = &[
    ("shared maps", "0"),
    ("locked", "0"),
    ("VmLck", "0 kB"),
    ("VmPin", "0 kB"),
    ("cmdline", "/bin/probe reach"),
    ("comm", "probe"),
    ("Name", "probe"),
    ("exe", "/bin/probe"),
    ("cwd", "/"),
    ("root", "/"),
    // Whoever made it is not here.
    ("PPid", "0"),
    ("TracerPid", "0"),
    ("Threads", "1"),
    ("children", "-10"),
    ("Uid", "0 0 0 0"),
    ("Gid", "0 0 0 0"),
    ("Groups", ""),
    ("Umask", "0022"),
    ("SigPnd", "0000000000000000"),
    ("ShdPnd", "0000000000000000"),
    ("SigBlk", "0000000000000000"),
    ("SigCgt", "0000000000000000"),
    ("signal stack", "0 [0, 2, 0]"),
    ("signal at the parent's death", "0 0"),
    ("subreaper", "0 0"),
    ("CapInh", "0000000000000000"),
    ("CapPrm", "0000000020000420"),
    ("CapEff", "0000000020000420"),
    ("CapBnd", "0000000020000420"),
    ("CapAmb", "0000000000000000"),
    ("NoNewPrivs", "1"),
    ("no_new_privs", "1"),
    ("Seccomp", "0"),
    ("Seccomp_filters", "0"),
    ("CoreDumping", "0"),
    ("dumpable", "1"),
    ("keepcaps", "0"),
    ("securebits", "0"),
    ("thp disabled", "0"),
    ("mdwe", "0"),
    ("personality", "0"),
    ("terminal", "0"),
    ("real-time priority", "0"),
    ("policy", "0"),
    ("io priority", "0"),
    ("memory policy", "0 0"),
    ("oom_score_adj", "0"),
    ("timerslack_ns", "50000"),
    ("timers", ""),
    ("real timer", "0 [0, 0, 0, 0]"),
    ("virtual timer", "0 [0, 0, 0, 0]"),
    ("profiling timer", "0 [0, 0, 0, 0]"),
    ("coredump_filter", "00000033"),
    ("thread keyring", "-126"),
    ("process keyring", "-126"),
    ("keys in the session keyring", "0"),
    ("unix sockets", "0"),
];

/// What may be mapped: the program, what libc asks for, and what the kernel gives every process.
const MAPS: &[&str] = &["", "/bin/probe", "[heap]", "[stack]", "[vdso]", "[vsyscall]", "[vvar]", "[vvar_vclock]"];

fn common(b: &Bundle, reach: &Reach) -> Verdict {
    // The filter by which the suite feigns an old kernel is inherited.
    let is_filtered = |name: &str| !b.test.without.is_empty() && name.starts_with("Seccomp");
    for (name, value) in FIXED.iter().filter(|(name, _)| !is_filtered(name)) {
        same(name, reach.one(name), *value)?;
    }
    same("nice", reach.one("nice"), own_nice()?.to_string().as_str())?;
    // The fourth is the one by which the probe has read the directory: it is gone when it is looked at.
    same("descriptors", reach.names("fd "), ["0", "1", "2", "3"])?;
    same("the directory of descriptors", reach.one("fd 3"), "NotFound")?;
    for name in reach.names("map ") {
        check(MAPS.contains(&name), || format!("{name:?} is mapped"))?;
    }
    let mut environment = reach.all("env").to_vec();
    environment.sort();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    same("environment", environment, ["HOME=/root", path, "TERM=xterm"])?;
    check(reach.one("cgroup").split('|').all(|line| line.ends_with(":/")), || {
        format!("a cgroup of the host: {}", reach.one("cgroup"))
    })?;
    signals(reach)?;
    limits(reach)?;
    namespaces(b, reach)?;
    keyring(b, reach)?;
    mounts(b, reach)
}

/// Nothing is ignored, but what libc has for itself (signals 32 and 33) and whoever runs the suite may have ignored.
fn signals(reach: &Reach) -> Verdict {
    let ignored = u64::from_str_radix(reach.one("SigIgn"), 16)?;
    check(ignored & 0x7fff_ffff == 0, || format!("signals are ignored: {ignored:x}"))
}

/// As the runtime itself had them, but for the one that the configuration names.
fn limits(reach: &Reach) -> Verdict {
    let text = fs::read_to_string("/proc/self/limits")?;
    let (own, its) = (text.trim_end().split('\n'), reach.one("limits").split('|'));
    for (own, its) in own.zip(its) {
        let own = if own.starts_with("Max open files") { own.replace(own.split_at(20).1, "") } else { own.to_owned() };
        check(its.trim_end().starts_with(own.trim_end()), || format!("a limit: {its}, not {own}"))?;
    }
    let files = some("files", reach.one("limits").split('|').find(|limit| limit.starts_with("Max open files")))?;
    same("open files", files.split_whitespace().collect::<Vec<_>>(), ["Max", "open", "files", "1024", "1024", "files"])
}

fn namespaces(b: &Bundle, reach: &Reach) -> Verdict {
    let has_users = b.config.pointer("/linux/uidMappings").is_some();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"] {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?.to_string_lossy().into_owned();
        let is_new = !matches!(name, "time" | "user") || name == "user" && has_users;
        check((reach.one(&format!("ns {name}")) != own) == is_new, || format!("the {name} namespace"))?;
    }
    same("pid namespace", reach.one("ns pid"), reach.one("ns pid_for_children"))
}

fn keyring(b: &Bundle, reach: &Reach) -> Verdict {
    let keyring = reach.one("session keyring");
    check(keyring.starts_with("keyring;") && (keyring.ends_with(&b.id) || keyring.ends_with(";_ses")), || {
        format!("session keyring: {keyring}")
    })
}

/// Where mounts are, and with what options, in no-frills. The peers' masks differ; their places do not.
const MOUNTS: &[(&str, &str, &str)] = &[
    // Its options are further those of the file system that the bundle is on.
    ("/", "ro", ""),
    ("/dev", "rw,nosuid", "tmpfs"),
    ("/dev/mqueue", "rw,nosuid,nodev,noexec,relatime", "mqueue"),
    ("/dev/pts", "rw,nosuid,noexec,relatime", "devpts"),
    ("/dev/shm", "rw,nosuid,nodev,noexec,relatime", "tmpfs"),
    ("/proc", "rw,relatime", "proc"),
    ("/proc/bus", "ro,relatime", "proc"),
    ("/proc/fs", "ro,relatime", "proc"),
    ("/proc/irq", "ro,relatime", "proc"),
    ("/proc/sys", "ro,relatime", "proc"),
    ("/sys", "ro,nosuid,nodev,noexec,relatime", "sysfs"),
    ("/sys/fs/cgroup", "ro,nosuid,nodev,noexec,relatime", "cgroup2"),
];

fn mounts(b: &Bundle, reach: &Reach) -> Verdict {
    let mut mounts = mountinfo::parse(&reach.all("mount").join("\n"));
    mounts.sort_by(|left, right| left.point.cmp(&right.point));
    let config = &b.config["linux"];
    let named = |list: &str, point: &str| {
        config[list].as_array().into_iter().flatten().any(|path| path.as_str() == Some(point))
    };
    let mut expected = MOUNTS.to_vec();
    for mount in &mounts {
        check(mount.propagation.is_empty(), || format!("something of the host can come here: {mount:?}"))?;
        let point = mount.point.as_str();
        if let Some(at) = expected.iter().position(|(there, ..)| *there == point) {
            let (_, options, fs_type) = expected.remove(at);
            if b.test.ours() {
                let mut options: BTreeSet<_> = options.split(',').map(str::to_owned).collect();
                if point == "/" {
                    options.extend(options_around(&b.dir)?);
                }
                same(point, &mount.options, &options)?;
            }
            check(fs_type.is_empty() || fs_type == mount.fs_type, || format!("{mount:?}"))?;
            continue;
        }
        // In a user namespace devices are the host's, mounted one by one.
        let device = point.strip_prefix("/dev").unwrap_or_default();
        if b.config.pointer("/linux/uidMappings").is_some() && mount.fs_type == "devtmpfs" && mount.root == device {
            continue;
        }
        // Which of them there are is the kernel's business.
        check(named("maskedPaths", point) || named("readonlyPaths", point), || format!("mounted: {mount:?}"))?;
        let of_host = mount.fs_type == "devtmpfs" && mount.root == "/null" || mount.fs_type == "tmpfs";
        let by_crun = b.test.kind == Kind::Crun && mount.root.ends_with("/.empty-directory");
        check(!named("maskedPaths", point) || of_host || by_crun, || format!("a mask: {mount:?}"))?;
    }
    // A path that this kernel does not have is not there to be made read-only.
    expected.retain(|(point, ..)| !named("readonlyPaths", point) || fs::exists(point).unwrap_or(true));
    same("mounts that are missing", expected, [])
}

/// The options of the mount that a directory is on, but for whether it can be written.
fn options_around(dir: &Path) -> Verdict<BTreeSet<String>> {
    let mounts = mountinfo::parse(&fs::read_to_string("/proc/self/mountinfo")?);
    let around = mounts.into_iter().filter(|mount| dir.starts_with(&mount.point)).max_by_key(|mount| mount.point.len());
    let mut options = some("a mount around the bundle", around)?.options;
    options.remove("rw");
    Ok(options)
}
