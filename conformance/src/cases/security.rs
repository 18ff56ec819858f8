//! Holes that runtimes have had, by their advisory. The root file system is hostile in each.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, fail, lacks, same};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "security/cve-2019-5736-self-exe",
            "what runs inside cannot open the runtime's binary for writing",
            self_exe,
        ),
        case("security/cve-2019-5736-exe-of-init", "no process of the container shows the runtime's file", exe_of_init),
        case("security/cve-2019-16884-tmpfs-on-proc", "a tmpfs may not be mounted on /proc", tmpfs_on_proc)
            .known_failure(Kind::Crun, "allows it"),
        case("security/cve-2019-16884-bind-on-proc", "a directory may not be bound on /proc", bind_on_proc)
            .known_failure(Kind::Crun, "allows it"),
        case(
            "security/cve-2019-18837-file-bind",
            "a symlink at a mountpoint is followed within the rootfs alone",
            file_bind,
        ),
        case("security/cve-2019-18837-directory", "symlinks to and above / end in the rootfs", directory_bind),
        case("security/cve-2019-19921-proc-symlink", "/proc as a symlink is refused or stays within", proc_symlink),
        case("security/cve-2019-19921-sys-symlink", "/sys as a symlink is refused or stays within", sys_symlink),
        case("security/cve-2024-21626-cwd", "a cwd through a leaked descriptor leads nowhere", cwd_leak),
        case("security/cve-2024-21626-symlink-cwd", "nor does a symlink to one", cwd_link_leak),
        case(
            "security/cve-2024-45310-no-host-files",
            "nothing is made outside for destinations through symlinks",
            no_host_files,
        ),
        case(
            "security/cve-2025-24965-generated-files",
            "files that runtimes make in the rootfs follow no link out of it",
            generated_files,
        ),
        case("security/cve-2025-31133-null-symlink", "a /dev/null that is a link is not used as a mask", null_symlink),
        case(
            "security/cve-2026-41579-dev-symlink",
            "/dev as a symlink: nothing is made or removed on the host",
            dev_symlink,
        ),
        case("security/cve-2026-41579-dev-symlink-relative", "nor by a relative one", dev_symlink_relative),
        case(
            "security/cve-2026-88264-console-symlink",
            "/dev/console as a symlink makes no file on the host",
            console_symlink,
        )
        .known_failure(Kind::Crun, "1.28 makes the file"),
        case("security/cve-2026-88265-null-bound-file", "a bound file at /dev/null is not chowned or used", null_bound)
            .known_failure(Kind::Crun, "1.28 gives the file to the process's user"),
        case("security/cve-2022-24769-inheritable", "spec gives no inheritable capabilities", inheritable),
        case("security/masked-symlink", "a masked path that is a symlink masks nothing outside", masked_symlink),
        case(
            "security/readonly-symlink",
            "a read-only path that is a symlink changes nothing outside",
            readonly_symlink,
        ),
        case("security/passwd-symlink", "passwd as a symlink is not read from the host", passwd_symlink),
        case("security/long-paths", "64 KiB of paths are a clean error or work", long_paths)
            .known_failure(Kind::Crun, "leaves the cgroup behind when the process cannot be set up"),
        case("security/cgroup-readonly", "the container cannot change its cgroup's limits by default", cgroup_readonly),
        case("security/setns-to-host", "no descriptor of a host namespace is within reach", no_host_namespace),
    ]
}

/// Names and kinds of what is in a directory of the host.
fn listing(dir: &Path) -> Verdict<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()?));
    }
    names.sort();
    Ok(names)
}

/// A directory on the host that must stay as it is, and a check of that.
struct Canary {
    dir: std::path::PathBuf,
    before: Vec<String>,
}

impl Canary {
    fn new(t: &Test) -> Verdict<Self> {
        runs(t)?;
        let dir = t.path("canary");
        fs::create_dir(&dir)?;
        fs::write(dir.join("ptmx"), "ptmx")?;
        fs::write(dir.join("there"), "there")?;
        Ok(Self { before: listing(&dir)?, dir })
    }

    fn lives(&self) -> Verdict {
        same("the host's directory", listing(&self.dir)?, &self.before[..])?;
        same("ptmx", fs::read_to_string(self.dir.join("ptmx"))?, "ptmx")?;
        same("there", fs::read_to_string(self.dir.join("there"))?, "there")
    }
}

/// A runtime that runs nothing would be safe, so that what follows would show nothing.
fn runs(t: &Test) -> Verdict {
    same("an ordinary container", t.bundle()?.sh("echo ran").stdout()?, "ran\n")
}

/// It may run or fail, but cleanly.
fn whatever(b: &Bundle) -> Verdict<String> {
    let output = b.run()?;
    let stderr = output.stderr()?;
    lacks("stderr", &stderr, "panicked")?;
    check(output.status < 128, || format!("the runtime ended with {}: {stderr}", output.status))?;
    output.stdout()
}

fn self_exe(t: &Test) -> Verdict {
    let before = fs::read(&t.runtime)?;
    let b = t.bundle()?.with_file("etc/entry", "#!/proc/self/exe\n", 0o755)?.args(&["/etc/entry"]);
    let output = b.run()?;
    check(output.status != 0, || "an interpreter of /proc/self/exe ran".to_owned())?;
    let script = "for p in /proc/[0-9]*; do (exec 3>>$p/exe) 2>/dev/null && readlink $p/exe; done; true";
    let out = t.bundle()?.sh(script).stdout()?;
    for line in out.lines() {
        check(line.starts_with("/bin/"), || format!("{line} could be opened for writing"))?;
    }
    check(fs::read(&t.runtime)? == before, || "the runtime's binary has changed".to_owned())
}

fn exe_of_init(t: &Test) -> Verdict {
    let own = fs::metadata(&t.runtime)?;
    let b = t.bundle()?.idle();
    b.create()?;
    let exe = format!("/proc/{}/exe", b.pid()?.as_raw_nonzero());
    if t.ours() {
        let init = fs::metadata(&exe)?;
        check((init.dev(), init.ino()) != (own.dev(), own.ino()), || "init runs from the runtime's file".to_owned())?;
    }
    b.start()?;
    crate::bundle::eventually("sleep runs", || Ok(fs::read_link(&exe)?.ends_with("bin/busybox")))
}

fn tmpfs_on_proc(t: &Test) -> Verdict {
    let b = t.bundle()?.no_mount("/proc").mount("/proc", "tmpfs", "tmpfs", &[]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/6", &["/proc", "proc"])?;
    Ok(())
}

fn bind_on_proc(t: &Test) -> Verdict {
    fs::create_dir(t.path("fake"))?;
    let b = t.bundle()?.no_mount("/proc").bind(t.path("fake"), "/proc", &["bind"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/6", &["/proc", "proc"])?;
    Ok(())
}

fn file_bind(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    fs::write(t.path("file"), "mounted\n")?;
    let b = t.bundle()?.with_link("etc/resolv.conf", canary.dir.join("made"))?;
    let b = b.bind(t.path("file"), "/etc/resolv.conf", &["bind"]).sh("cat /etc/resolv.conf");
    let out = whatever(&b)?;
    canary.lives()?;
    check(matches!(out.as_str(), "" | "mounted\n"), || format!("output: {out:?}"))?;
    // Through as many .. as one likes, one stays in the rootfs.
    let b = t
        .bundle()?
        .with_link("etc/resolv.conf", format!("../../../../../../../../..{}", canary.dir.join("there").display()))?;
    whatever(&b.bind(t.path("file"), "/etc/resolv.conf", &["bind"]).args(&["true"]))?;
    canary.lives()
}

fn directory_bind(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("dir/mark"), "")?;
    for target in [canary.dir.clone(), Path::new("../../../../../../../..").join(canary.dir.strip_prefix("/")?)] {
        let b = t.bundle()?.with_link("mnt", &target)?.bind(t.path("dir"), "/mnt/a/b", &["bind"]).sh("ls /mnt/a/b");
        let out = whatever(&b)?;
        canary.lives()?;
        check(matches!(out.as_str(), "" | "mark\n"), || format!("output: {out:?}"))?;
    }
    Ok(())
}

fn link_instead_of(t: &Test, name: &str) -> Verdict {
    let canary = Canary::new(t)?;
    let b = t.bundle()?.with_dir("elsewhere")?.with_link(name, "/elsewhere")?.writable();
    let output = b.sh(&format!("grep -q ' /{name} ' /proc/self/mountinfo || echo fake")).run()?;
    let out = output.stdout()?;
    canary.lives()?;
    if t.ours() {
        return check(output.status != 0, || format!("/{name} is a symlink and it ran: {out}"));
    }
    Ok(())
}

fn proc_symlink(t: &Test) -> Verdict {
    link_instead_of(t, "proc")
}

fn sys_symlink(t: &Test) -> Verdict {
    link_instead_of(t, "sys")
}

fn cwd_leak(t: &Test) -> Verdict {
    for number in 3..24 {
        let b = t.bundle()?.writable().set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let b = b.sh("ls ../../../../../../etc/hostname; pwd");
        let output = b.run()?;
        check(output.status != 0, || format!("descriptor {number} leads somewhere: {:?}", output.stdout()))?;
        fs::remove_dir_all(&b.dir)?;
    }
    Ok(())
}

fn cwd_link_leak(t: &Test) -> Verdict {
    for number in 3..16 {
        let b = t
            .bundle()?
            .with_link("usr/link", format!("/proc/self/fd/{number}"))?
            .set("/process/cwd", json!("/usr/link"));
        let b = b.sh("pwd");
        let output = b.run()?;
        check(output.status != 0, || format!("descriptor {number} leads somewhere: {:?}", output.stdout()))?;
        fs::remove_dir_all(&b.dir)?;
    }
    Ok(())
}

fn no_host_files(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    let b = t.bundle()?.writable().with_link("usr/out", &canary.dir)?.args(&["true"]);
    let devices = json!([{"path": "/usr/out/dev/made", "type": "c", "major": 1, "minor": 3}]);
    let b = b.mount("/usr/out/one/two", "tmpfs", "tmpfs", &[]).set("/linux/devices", devices);
    whatever(&b.set("/process/cwd", json!("/usr/out/cwd")))?;
    canary.lives()
}

fn generated_files(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    // A /dev of the image: no tmpfs is mounted there, and every file that a runtime makes is a link.
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let names = [
        "null", "zero", "full", "random", "urandom", "tty", "console", "fd", "stdin", "stdout", "stderr", "ptmx",
        "core",
    ];
    let mut b = b.with_dir("run")?;
    for name in names {
        b = b.with_link(&format!("dev/{name}"), canary.dir.join(name))?;
    }
    let b = b.with_link("run/.containerenv", canary.dir.join("env"))?.with_link("etc/mtab", canary.dir.join("mtab"))?;
    whatever(&b.args(&["true"]))?;
    canary.lives()
}

fn null_symlink(t: &Test) -> Verdict {
    runs(t)?;
    // The mask is made of /dev/null; a link there must not bring a file of the image or of proc.
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let b = b.with_link("dev/null", "/proc/sys/kernel/hostname")?.with_file("etc/secret", "secret", 0o644)?;
    let b = b.set("/linux/maskedPaths", json!(["/etc/secret"])).sh("cat /etc/secret");
    let out = whatever(&b)?;
    same("what the mask shows", out, "")
}

fn dev_link(t: &Test, target: impl AsRef<Path>, canary: &Canary) -> Verdict {
    // Without mounts in /dev: a runtime makes nodes and links in what it takes for it.
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let b = b.with_link("dev", &target)?.args(&["true"]);
    whatever(&b)?;
    canary.lives()?;
    // And with the usual ones.
    let b = t.bundle()?.writable().with_link("dev", &target)?.args(&["true"]);
    whatever(&b)?;
    canary.lives()
}

fn dev_symlink(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    dev_link(t, &canary.dir, &canary)
}

fn dev_symlink_relative(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    dev_link(t, "../../canary", &canary)
}

fn console_symlink(t: &Test) -> Verdict {
    use crate::terminal;
    let canary = Canary::new(t)?;
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/shm").no_mount("/dev/mqueue").with_dir("dev/pts")?;
    let b =
        b.with_link("dev/console", canary.dir.join("console"))?.set("/process/terminal", json!(true)).args(&["true"]);
    let socket = t.path("console.sock");
    let _listener = terminal::listen(&socket)?;
    let output = b.create_with(&["--console-socket", &socket.to_string_lossy()])?;
    lacks("stderr", &output.stderr()?, "panicked")?;
    canary.lives()
}

fn null_bound(t: &Test) -> Verdict {
    runs(t)?;
    fs::write(t.path("victim"), "victim")?;
    let b = t
        .bundle()?
        .bind(t.path("victim"), "/dev/null", &["bind"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    // stdin is /dev/null of the host; a runtime that reopens it within must not take this file.
    whatever(&b.sh("echo x >/dev/null; true"))?;
    let victim = fs::metadata(t.path("victim"))?;
    same("owner", (victim.uid(), victim.gid()), (0, 0))?;
    same("content", fs::read_to_string(t.path("victim"))?, "victim")
}

fn inheritable(t: &Test) -> Verdict {
    let dir = t.path("spec");
    fs::create_dir(&dir)?;
    t.runtime(&["spec", "--bundle", &dir.to_string_lossy()])?.exits(0)?;
    let config: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
    let found = &config["process"]["capabilities"]["inheritable"];
    check(found.as_array().is_none_or(Vec::is_empty), || format!("inheritable: {found}"))
}

fn masked_symlink(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    let b = t.bundle()?.writable().with_link("etc/out", canary.dir.join("there"))?.with_link("usr/out", &canary.dir)?;
    let b = b.set("/linux/maskedPaths", json!(["/etc/out", "/usr/out", "/usr/out/ptmx"])).args(&["true"]);
    whatever(&b)?;
    canary.lives()
}

fn readonly_symlink(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    let b = t
        .bundle()?
        .writable()
        .with_link("usr/out", &canary.dir)?
        .set("/linux/readonlyPaths", json!(["/usr/out"]))
        .args(&["true"]);
    whatever(&b)?;
    fs::write(canary.dir.join("there"), "there")?;
    canary.lives()
}

fn passwd_symlink(t: &Test) -> Verdict {
    runs(t)?;
    fs::write(t.path("passwd"), "evil:x:4242:4242::/home/of/the/host:/bin/sh\n")?;
    let b = t.bundle()?;
    fs::remove_file(b.rootfs("etc/passwd"))?;
    let b = b.with_link("etc/passwd", t.path("passwd"))?.set("/process/user", json!({"uid": 4242, "gid": 4242}));
    let b = b.set("/process/env", json!(["PATH=/bin"])).sh("echo $HOME");
    let out = whatever(&b)?;
    lacks("HOME", &out, "host")
}

fn long_paths(t: &Test) -> Verdict {
    runs(t)?;
    let long = format!("/{}", "d/".repeat(2500));
    let b = t.bundle()?.args(&["true"]).set("/linux/maskedPaths", json!(vec![long.clone(); 20]));
    whatever(&b)?;
    let b = t.bundle()?.args(&["true"]).mount(&long, "tmpfs", "tmpfs", &[]);
    whatever(&b)?;
    let maps: Vec<_> = (0..4000).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect();
    let b = t.bundle()?.args(&["true"]).user_namespace(100_000, 1);
    whatever(&b.set("/linux/uidMappings", json!(maps)).set("/linux/gidMappings", json!(maps)))?;
    Ok(())
}

fn cgroup_readonly(t: &Test) -> Verdict {
    let b = t
        .bundle()?
        .writable()
        .sh("cd /sys/fs/cgroup; mkdir x; echo 1 >cgroup.max.depth; echo 1 >cgroup.freeze; echo end");
    let output = b.run()?;
    same("stdout", output.stdout()?, "end\n")?;
    same("refusals", output.stderr()?.matches("Read-only file system").count(), 3)
}

fn no_host_namespace(t: &Test) -> Verdict {
    let out = t.bundle()?.sh("ls -l /proc/self/fd /proc/1/fd; ls /proc/1/task").stdout()?;
    contains("the list", &out, "/proc/1/fd")?;
    for part in ["ns/", "/sys/fs/cgroup", "socket:", "memfd"] {
        if out.contains(part) {
            return fail(format!("{part} among the open files: {out}"));
        }
    }
    Ok(())
}
