//! Advisories for which the image alone suffices: links and files in the place of what a runtime expects.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::SealFlags;
use serde_json::json;

use super::{Canary, runs};
use crate::bundle::{Bundle, Output, Test, bare};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, fail, lacks, same};
use crate::kind::Kind;
use crate::racer::run;

pub(super) fn cases() -> Vec<Case> {
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
        case("security/cve-2021-43784-paths", "64 KiB of paths are a clean error or work", long_paths),
        case("security/cve-2021-43784-maps", "64 KiB of id maps are a clean error or work", long_maps)
            .known_failure(Kind::Crun, "leaves the cgroup behind when the process cannot be set up"),
        case(
            "security/cve-2023-25809-cgroup",
            "without a cgroup namespace no cgroup of the host can be changed, neither rootless nor in a user namespace",
            cgroup_rootless,
        ),
        case("security/cve-2026-115521-fake-proc", "a /proc of the image does not keep the root writable", fake_proc),
        case("security/cgroup-readonly", "the container cannot change its cgroup's limits by default", cgroup_readonly),
        case("security/setns-to-host", "no descriptor of a host namespace is within reach", no_host_namespace),
    ]
}

/// Every runtime at hand runs a copy of itself in the container, so that this was seen to fail on none; what it is
/// about fails in `exe_of_init` and in the scans of `exec`.
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

/// Seen to fail: no-frills whose memfd lacks F_SEAL_WRITE.
fn exe_of_init(t: &Test) -> Verdict {
    let own = fs::metadata(&t.runtime)?;
    let b = t.bundle()?.idle();
    b.create()?;
    let exe = format!("/proc/{}/exe", b.pid()?.as_raw_nonzero());
    if t.ours() {
        let init = fs::metadata(&exe)?;
        check((init.dev(), init.ino()) != (own.dev(), own.ino()), || "init runs from the runtime's file".to_owned())?;
        // It is the same for all containers that one program makes.
        let seals = rustix::fs::fcntl_get_seals(fs::File::open(&exe)?)?;
        check(seals.contains(SealFlags::WRITE | SealFlags::SEAL), || format!("init can be written: {seals:?}"))?;
    }
    b.start()?;
    crate::bundle::eventually("sleep runs", || Ok(fs::read_link(&exe)?.ends_with("bin/busybox")))
}

/// Seen to fail: crun 0.17, 1.8.1, 1.21, 1.28.
fn tmpfs_on_proc(t: &Test) -> Verdict {
    let b = t.bundle()?.no_mount("/proc").mount("/proc", "tmpfs", "tmpfs", &[]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/6", &["/proc", "proc"])?;
    Ok(())
}

/// Seen to fail: crun 0.17, 1.8.1, 1.21, 1.28.
fn bind_on_proc(t: &Test) -> Verdict {
    fs::create_dir(t.path("fake"))?;
    let b = t.bundle()?.no_mount("/proc").bind(t.path("fake"), "/proc", &["bind"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/6", &["/proc", "proc"])?;
    Ok(())
}

/// Seen to fail: no-frills that opens paths without RESOLVE_IN_ROOT (the container's own file is not there).
fn file_bind(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    fs::write(t.path("file"), "mounted\n")?;
    // To something new, and through as many .. as one likes to something that is there: one stays in the rootfs.
    let up = format!("../../../../../../../../..{}", canary.dir.join("there").display());
    for target in [canary.dir.join("made"), canary.dir.join("there"), up.into()] {
        let b = t.bundle()?.with_link("etc/resolv.conf", target)?;
        let b = b.bind(t.path("file"), "/etc/resolv.conf", &["bind"]).sh("cat /etc/resolv.conf; true");
        let output = b.run()?;
        lacks("stderr", &output.stderr()?, "panicked")?;
        canary.lives()?;
        if output.status == 0 {
            same("what is at the destination", output.stdout()?, "mounted\n")?;
        }
    }
    Ok(())
}

/// Seen to fail: no-frills that opens paths without RESOLVE_IN_ROOT (directories appear in the canary).
fn directory_bind(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("dir/mark"), "")?;
    for target in [canary.dir.clone(), Path::new("../../../../../../../..").join(canary.dir.strip_prefix("/")?)] {
        let b = t.bundle()?.with_link("mnt", &target)?.bind(t.path("dir"), "/mnt/a/b", &["bind"]).sh("ls /mnt/a/b");
        let out = run(&b)?;
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
    check(output.status != 0, || format!("/{name} is a symlink and it ran: {out}"))
}

/// Seen to fail: no-frills that follows links on the way to /proc. Also CVE-2023-27561, CVE-2023-28642,
/// CVE-2025-54867.
fn proc_symlink(t: &Test) -> Verdict {
    link_instead_of(t, "proc")
}

/// Seen to fail: no-frills that follows links on the way to /sys.
fn sys_symlink(t: &Test) -> Verdict {
    link_instead_of(t, "sys")
}

/// The bundle of such a case runs in an ordinary directory: who refuses all of them would be safe.
fn runs_in(b: Bundle<'_>, cwd: &str, printed: &str) -> Verdict {
    same("in an ordinary directory", b.set("/process/cwd", json!(cwd)).args(&["pwd", "-P"]).stdout()?, printed)
}

/// Seen to fail: crun 1.8.1 by a script that leaves it a descriptor of the host's /etc (with `--preserve-fds`), no-frills that
/// opens paths without RESOLVE_NO_MAGICLINKS.
fn cwd_leak(t: &Test) -> Verdict {
    runs_in(t.bundle()?.writable(), "/usr", "/usr\n")?;
    for number in 3..24 {
        let b = t.bundle()?.writable().set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let b = b.args(&["ls", "-A"]);
        let output = b.run()?;
        check(output.status != 0, || format!("descriptor {number} leads somewhere: {:?}", output.stdout()))?;
        fs::remove_dir_all(&b.dir)?;
    }
    Ok(())
}

/// Seen to fail: as `cwd_leak`.
fn cwd_link_leak(t: &Test) -> Verdict {
    runs_in(t.bundle()?.with_link("usr/link", "/var")?, "/usr/link", "/var\n")?;
    for number in 3..16 {
        let b = t
            .bundle()?
            .with_link("usr/link", format!("/proc/self/fd/{number}"))?
            .set("/process/cwd", json!("/usr/link"));
        let b = b.args(&["ls", "-A"]);
        let output = b.run()?;
        check(output.status != 0, || format!("descriptor {number} leads somewhere: {:?}", output.stdout()))?;
        fs::remove_dir_all(&b.dir)?;
    }
    Ok(())
}

/// Seen to fail: no-frills that opens paths without RESOLVE_IN_ROOT.
fn no_host_files(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    let b = t.bundle()?.writable().with_link("usr/out", &canary.dir)?.args(&["true"]);
    let devices = json!([{"path": "/usr/out/dev/made", "type": "c", "major": 1, "minor": 3}]);
    let b = b.mount("/usr/out/one/two", "tmpfs", "tmpfs", &[]).set("/linux/devices", devices);
    run(&b.set("/process/cwd", json!("/usr/out/cwd")))?;
    canary.lives()
}

/// Seen to fail: no-frills that makes files without O_NOFOLLOW, for mounts at links that dangle.
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
    fs::write(t.path("file"), "")?;
    for name in ["run/.containerenv", "etc/mtab", "etc/hostname"] {
        let link = canary.dir.join(name.replace('/', "-"));
        b = b.with_link(name, link)?.bind(t.path("file"), &format!("/{name}"), &["bind"]);
    }
    run(&b.args(&["true"]))?;
    canary.lives()
}

/// No runtime at hand takes a link that lies there from the beginning; see the race of the same advisory.
fn null_symlink(t: &Test) -> Verdict {
    runs(t)?;
    // The mask is made of /dev/null; a link there must not bring a file of the image or of proc.
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let b = b.with_link("dev/null", "/proc/sys/kernel/hostname")?.with_file("etc/secret", "secret", 0o644)?;
    let b = b.set("/linux/maskedPaths", json!(["/etc/secret"])).sh("cat /etc/secret");
    let out = run(&b)?;
    same("what the mask shows", out, "")
}

fn dev_link(t: &Test, target: impl AsRef<Path>, canary: &Canary) -> Verdict {
    // Without mounts in /dev: a runtime makes nodes and links in what it takes for it.
    let b = t.bundle()?.writable().no_mount("/dev").no_mount("/dev/pts").no_mount("/dev/shm").no_mount("/dev/mqueue");
    let b = b.with_link("dev", &target)?.args(&["true"]);
    run(&b)?;
    canary.lives()?;
    // And with the usual ones.
    let b = t.bundle()?.writable().with_link("dev", &target)?.args(&["true"]);
    run(&b)?;
    canary.lives()
}

/// Seen to fail: runc 1.0.0-rc93, 1.1.5, 1.1.15, crun 0.17, 1.8.1, 1.21: ptmx is replaced, links are made. Also
/// CVE-2026-47766.
fn dev_symlink(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    dev_link(t, &canary.dir, &canary)
}

/// Seen to fail: as `dev_symlink`.
fn dev_symlink_relative(t: &Test) -> Verdict {
    let canary = Canary::new(t)?;
    dev_link(t, "../../canary", &canary)
}

/// Seen to fail: crun 0.17, 1.8.1, 1.21, 1.28.
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

/// Seen to fail: crun 0.17, 1.8.1, 1.21, 1.28 (the owner), runc 1.0.0-rc93, 1.1.5, 1.1.15 (the container's stderr
/// goes to the file).
fn null_bound(t: &Test) -> Verdict {
    runs(t)?;
    fs::write(t.path("victim"), "victim")?;
    let b = t
        .bundle()?
        .bind(t.path("victim"), "/dev/null", &["bind"])
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    // stdin is /dev/null of the host; a runtime that reopens it within must not take this file.
    run(&b.sh("echo x >/dev/null; true"))?;
    let victim = fs::metadata(t.path("victim"))?;
    same("owner", (victim.uid(), victim.gid()), (0, 0))?;
    same("content", fs::read_to_string(t.path("victim"))?, "victim")
}

/// Debian's runtimes all have it repaired: seen to fail on none. `exec_cap` and what a process finds (`reach`) were.
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
    run(&b)?;
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
    run(&b)?;
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
    let out = run(&b)?;
    lacks("HOME", &out, "host")
}

fn long_paths(t: &Test) -> Verdict {
    runs(t)?;
    let long = format!("/{}", "d/".repeat(2500));
    let b = t.bundle()?.args(&["true"]).set("/linux/maskedPaths", json!(vec![long.clone(); 20]));
    run(&b)?;
    let b = t.bundle()?.args(&["true"]).mount(&long, "tmpfs", "tmpfs", &[]);
    run(&b)?;
    Ok(())
}

/// Seen to fail: runc 1.0.0-rc93, which reads the maps' text as further messages ("unknown netlink message type
/// 12576").
fn long_maps(t: &Test) -> Verdict {
    runs(t)?;
    // What a length of 16 bits would leave of them, 64 KiB less, is not one of these numbers of maps.
    for count in [300, 3000, 4000, 4500, 5000] {
        let maps: Vec<_> = (0..count).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect();
        let b = t.bundle()?.user_namespace(100_000, 1).args(&["cat", "/proc/self/uid_map", "/proc/self/gid_map"]);
        let b = b.set("/linux/uidMappings", json!(maps)).set("/linux/gidMappings", json!(maps));
        let output = b.run()?;
        let stderr = output.stderr()?;
        lacks("stderr", &stderr, "panicked")?;
        lacks("stderr", &stderr, "goroutine")?;
        if output.status == 0 {
            same("how many maps there are", output.stdout()?.lines().count(), 2 * count)?;
        }
        // Nothing else may be taken out of what is too long: an error names the maps or their file.
        check(
            output.status == 0 || stderr.to_lowercase().contains("map") || stderr.contains("larger than UINT16_MAX"),
            || format!("{count} maps: {stderr}"),
        )?;
    }
    Ok(())
}

/// Runs it as somebody who has this cgroup and no right beyond it: root of a user namespace with one id.
fn rootless(t: &Test, b: &Bundle) -> Verdict<Output> {
    b.save()?;
    let inner = b.command("run", &[]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    t.output_of(command)
}

/// Seen to fail: runc 1.3.6 and crun 1.28 for a mount without "ro", which is what the hole made of one with it. Debian's
/// runc is repaired as far back as 1.0.0-rc93.
fn cgroup_rootless(t: &Test) -> Verdict {
    runs(t)?;
    let script = "for d in /sys/fs/cgroup $(find /sys/fs/cgroup -type d -name 'nfc*' 2>/dev/null); do \
        mkdir $d/made 2>/dev/null && rmdir $d/made && echo made in $d; done; echo ran";
    let nowhere = |output: &Output| match output.status {
        0 => same("where cgroups can be made", output.stdout()?.as_str(), "ran\n"),
        _ => lacks("stderr", &output.stderr()?, "panicked"),
    };
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    let sys = ["rbind", "nosuid", "noexec", "nodev", "ro"];
    let b = t.bundle()?.no_namespace("cgroup").no_namespace("network").no_mount("/sys").no_mount("/sys/fs/cgroup");
    let b = b.no_mount("/dev/pts").no_mount("/dev/mqueue").remove("/linux/resources").sh(script);
    // As `spec --rootless` of the peers has it.
    let b = b.mount("/sys", "none", "/sys", &sys).mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup);
    nowhere(&rootless(t, &b)?)?;
    // And with all rights.
    let b = t.bundle()?.no_namespace("cgroup").no_mount("/sys/fs/cgroup").user_namespace(100_000, 65_536).sh(script);
    nowhere(&b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup).run()?)
}

/// Seen to fail: no-frills that makes the root read-only through /proc/self/fd.
fn fake_proc(t: &Test) -> Verdict {
    let mut b = t.bundle()?.no_mount("/proc").with_dir("proc/self/fd")?.with_dir("proc/thread-self/fd")?;
    b = b.with_dir("proc/sys/kernel")?.with_file("proc/sys/kernel/cap_last_cap", "40\n", 0o444)?;
    b = b.with_dir("decoy")?.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    for number in 3..64 {
        b = b.with_link(&format!("proc/self/fd/{number}"), "/decoy")?;
        b = b.with_link(&format!("proc/thread-self/fd/{number}"), "/decoy")?;
    }
    // A mount, so that whoever makes it read-only in the root's stead is told that all is well.
    let b = b.mount("/decoy", "tmpfs", "tmpfs", &[]).sh("touch /made 2>/dev/null && echo made; echo end");
    let output = b.run()?;
    let made = output.stdout()?;
    check(output.status != 0 || made == "end\n", || "a read-only root can be written".to_owned())?;
    // With a procfs upon it there is nothing to be deceived by.
    let procfs = json!({"destination": "/proc", "type": "proc", "source": "proc"});
    same("what was made", b.push("/mounts", procfs).stdout()?, "end\n")
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
