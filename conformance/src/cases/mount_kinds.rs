//! Mounts by what they are: file systems and their options, sources and destinations of every kind.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::cases::mount_extensions::userns;
use crate::cases::mounts::{at, has, has_not, mounts_of};
use crate::expect::{Verdict, check, contains, same, skip, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = option_cases();
    cases.extend(filesystem_cases());
    cases.extend(path_cases());
    cases.extend(cgroup_cases());
    cases
}

fn option_cases() -> Vec<Case> {
    vec![
        case("mounts/remount-attributes", "remount changes the mount that is there", remount_attributes),
        case("mounts/remount-data", "remount changes options of the file system", remount_data),
        case("mounts/remount-data-of-another", "also of one that the configuration did not mount", remount_other),
        case("mounts/remount-bad-data", "an option that it cannot take is refused", remount_bad),
        case("mounts/sync-dirsync-lazytime", "flags of whole file systems reach a new one", sync_dirsync),
        case("mounts/mand-iversion-silent", "what no kernel does any more is no error", mand_iversion)
            .known_failure(Kind::Crun, "1.28 hands iversion and silent to the file system as data"),
        case("mounts/atime-family", "noatime, relatime, strictatime, nodiratime", atime_family),
        case("mounts/rnoexec-rnosuid-rnodev", "the recursive ones reach mounts below", recursive_all)
            .needs(&["mount_setattr"]),
        case("mounts/recursive-taken-back", "rrw, rexec and others undo on all", recursive_back)
            .needs(&["mount_setattr"])
            .known_failure(Kind::Crun, "1.28 leaves them set"),
        case("mounts/nosymfollow", "nosymfollow: no symlink is followed", nosymfollow)
            .known_failure(Kind::Crun, "1.28 hands it to the file system as data"),
        case("mounts/defaults", "defaults and the opposites of what is the default", defaults)
            .known_failure(Kind::Runc, "1.3 hands defaults to the file system as data")
            .known_failure(Kind::Crun, "1.28 does not know all of them"),
    ]
}

fn filesystem_cases() -> Vec<Case> {
    vec![
        case("mounts/ramfs", "a ramfs", |t| fstype(t, "ramfs", &[])),
        case("mounts/mqueue", "an mqueue", |t| fstype(t, "mqueue", &[])),
        case("mounts/devpts", "a devpts with options", |t| fstype(t, "devpts", &["newinstance", "ptmxmode=0666"])),
        case("mounts/bpf", "a bpf file system", |t| fstype(t, "bpf", &[])),
        case("mounts/tracefs", "a tracefs", |t| fstype(t, "tracefs", &[])),
        case("mounts/securityfs", "a securityfs", |t| fstype(t, "securityfs", &[])),
        case("mounts/overlay", "an overlay with lower, upper and work directories", overlay),
        case("mounts/overlay-long-options", "options of more than 255 bytes", overlay_long),
        case("mounts/overlay-long-option-readonly", "the same with ro, nosuid and others", overlay_long_readonly),
        case("mounts/ext4", "a file system on a block device, with ro for the whole of it", ext4)
            .known_failure(Kind::Crun, "its own device program denies the device"),
        case("mounts/unknown-type", "a file system that there is not", unknown_type),
        case("mounts/many-mixed", "a thousand mounts of several kinds", many_mixed),
        case(
            "mounts/many-few-descriptors",
            "hundreds of mounts where the caller may have 64 descriptors",
            few_descriptors,
        ),
    ]
}

fn path_cases() -> Vec<Case> {
    vec![
        case("bind/source-missing", "a source that does not exist is refused", source_missing),
        case("bind/source-socket", "a socket is bound", source_socket),
        case("bind/source-fifo", "a fifo is bound", source_fifo),
        case("bind/source-symlink", "a source that is a link is followed", source_link),
        case("bind/src-nofollow", "src-nofollow: the link itself is bound", source_nofollow)
            .known_failure(Kind::Runc, "does not know it")
            .known_failure(Kind::Crun, "1.28 follows it when it attaches the mount"),
        case("bind/dest-nofollow", "dest-nofollow: a link at the destination is covered", destination_nofollow)
            .known_failure(Kind::Runc, "does not know it"),
        case("bind/destination-link-absolute", "an absolute link at the destination ends in the root", |t| {
            destination_link(t, "/srv/real")
        }),
        case("bind/destination-link-relative", "a relative one too", |t| destination_link(t, "../srv/real")),
        case("bind/directory-on-file", "a directory cannot be bound on a file", directory_on_file),
        case("bind/file-on-directory", "a file cannot be bound on a directory", file_on_directory),
        case("paths/masked-many", "hundreds of masks", masked_many),
        case("paths/masked-special", "fifos, sockets and links can be masked", masked_special),
        case("paths/readonly-below", "mounts below a read-only path are read-only too", readonly_below)
            .needs(&["mount_setattr"])
            .known_failure(Kind::Runc, "leaves them writable")
            .known_failure(Kind::Crun, "leaves them writable"),
        case("devices/mode-beyond-permissions", "a fileMode with more than permissions", device_mode)
            .known_failure(Kind::Crun, "mknod: invalid argument"),
        case(
            "devices/user-namespace-configured",
            "in a user namespace devices are the host's, by bind mount",
            device_userns,
        ),
        case("mounts/label", "linux.mountLabel is an error where the kernel has no SELinux", label)
            .known_failure(Kind::Crun, "passes over it"),
    ]
}

fn cgroup_cases() -> Vec<Case> {
    vec![
        case("cgroup-mount/own-namespace", "with a cgroup namespace the root is the container's own", cgroup_own),
        case(
            "cgroup-mount/no-namespace",
            "without one: the container's own cgroup, not the host's whole tree",
            cgroup_host,
        )
        .known_failure(Kind::Runc, "shows the whole tree")
        .known_failure(Kind::Crun, "shows the whole tree"),
        case(
            "cgroup-mount/no-namespace-readonly",
            "and read-only where the configuration says so",
            cgroup_host_readonly,
        ),
        case("cgroup-mount/user-namespace", "with a user namespace and a cgroup namespace", cgroup_userns),
        case(
            "cgroup-mount/user-namespace-no-cgroup-namespace",
            "CVE-2023-25809: with a user namespace and without a cgroup namespace nothing can be made there",
            cgroup_userns_host,
        ),
        case("cgroup-mount/type-cgroup2", "the type cgroup2 is as good as cgroup", cgroup2_type),
    ]
}

fn tmp<'t>(t: &'t Test, options: &[&str]) -> Verdict<Bundle<'t>> {
    Ok(t.bundle()?.mount("/tmp", "tmpfs", "tmpfs", options))
}

fn remount_attributes(t: &Test) -> Verdict {
    let remount = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro", "nosuid", "noexec"]});
    let mounts = mounts_of(tmp(t, &["size=1m"])?.push("/mounts", remount))?;
    same("mounts at /tmp", mounts.iter().filter(|mount| mount.point == "/tmp").count(), 1)?;
    has(at(&mounts, "/tmp")?, &["ro", "nosuid", "noexec"])
}

fn remount_data(t: &Test) -> Verdict {
    let remount = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "size=2m", "nr_inodes=50"]});
    let mounts = mounts_of(tmp(t, &["size=1m"])?.push("/mounts", remount))?;
    has(at(&mounts, "/tmp")?, &["size=2048k", "nr_inodes=50", "rw"])
}

fn remount_other(t: &Test) -> Verdict {
    with_below(t, &["rbind"], |b| {
        let remount =
            json!({"destination": "/mnt/sub", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "size=3m"]});
        has(at(&mounts_of(b.push("/mounts", remount))?, "/mnt/sub")?, &["size=3072k"])
    })
}

fn remount_bad(t: &Test) -> Verdict {
    let remount = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "bogus=1"]});
    let b = tmp(t, &[])?.push("/mounts", remount).args(&["true"]);
    b.run()?.refuses(t, "/mounts/8/options/1", &["/tmp", "tmp"])?;
    Ok(())
}

fn sync_dirsync(t: &Test) -> Verdict {
    let mounts = mounts_of(tmp(t, &["sync", "dirsync", "lazytime"])?)?;
    has(at(&mounts, "/tmp")?, &["sync", "dirsync", "lazytime"])
}

fn mand_iversion(t: &Test) -> Verdict {
    tmp(t, &["mand", "iversion", "silent", "size=1m"])?
        .sh("grep -c ' /tmp .*size=1024k' /proc/self/mountinfo")
        .run()?
        .exits(0)?
        .prints("1\n")?;
    Ok(())
}

fn atime_family(t: &Test) -> Verdict {
    for (options, present, absent) in [
        (&["noatime"] as &[&str], &["noatime"] as &[&str], &["relatime"] as &[&str]),
        (&["strictatime"], &[], &["relatime", "noatime"]),
        (&["relatime", "nodiratime"], &["relatime", "nodiratime"], &["noatime"]),
        (&["noatime", "relatime"], &["relatime"], &["noatime"]),
    ] {
        if !t.ours() && options == ["noatime", "relatime"] {
            // They do not take it back.
            continue;
        }
        let mounts = mounts_of(tmp(t, options)?)?;
        has(at(&mounts, "/tmp")?, present)?;
        has_not(at(&mounts, "/tmp")?, absent)?;
    }
    Ok(())
}

/// A directory with a tmpfs in `sub`, as a bind mount with these options.
fn with_below(t: &Test, options: &[&str], b: impl FnOnce(Bundle<'_>) -> Verdict) -> Verdict {
    let dir = t.path("dir");
    fs::create_dir_all(dir.join("sub"))?;
    rustix::mount::mount("tmpfs", dir.join("sub"), "tmpfs", MountFlags::NODEV, Some(c"mode=755"))?;
    fs::write(dir.join("sub/file"), "")?;
    fs::write(dir.join("file"), "")?;
    let verdict = b(t.bundle()?.bind(&dir, "/mnt", options));
    rustix::mount::unmount(dir.join("sub"), UnmountFlags::DETACH)?;
    verdict
}

fn recursive_all(t: &Test) -> Verdict {
    with_below(t, &["rbind", "rnoexec", "rnosuid", "rnodev"], |b| {
        let mounts = mounts_of(b)?;
        has(at(&mounts, "/mnt")?, &["noexec", "nosuid", "nodev", "rw"])?;
        has(at(&mounts, "/mnt/sub")?, &["noexec", "nosuid", "nodev", "rw"])
    })?;
    if t.kind == Kind::Crun {
        // mount_setattr: invalid argument
        return Ok(());
    }
    with_below(t, &["rbind", "rnoatime"], |b| has(at(&mounts_of(b)?, "/mnt/sub")?, &["noatime", "rw"]))
}

fn recursive_back(t: &Test) -> Verdict {
    with_below(t, &["rbind", "rro", "rnoexec", "rrw", "rexec", "rdev"], |b| {
        let mounts = mounts_of(b)?;
        has_not(at(&mounts, "/mnt/sub")?, &["noexec", "ro", "nodev"])
    })
}

fn nosymfollow(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    symlink("/etc/passwd", t.path("dir/link"))?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind", "nosymfollow"]).sh("readlink /mnt/link; cat /mnt/link");
    let output = b.run()?;
    same("stdout", output.stdout()?, "/etc/passwd\n")?;
    contains("stderr", &output.stderr()?, "Too many levels of symbolic links")
}

fn defaults(t: &Test) -> Verdict {
    let options = [
        "defaults",
        "async",
        "atime",
        "dev",
        "diratime",
        "exec",
        "loud",
        "nolazytime",
        "noiversion",
        "nomand",
        "norelatime",
        "nostrictatime",
        "rw",
        "suid",
        "symfollow",
    ];
    let mounts = mounts_of(tmp(t, &options)?)?;
    has(at(&mounts, "/tmp")?, &["rw"])?;
    has_not(at(&mounts, "/tmp")?, &["nosuid", "nodev", "noexec", "sync", "noatime", "nosymfollow"])
}

/// Skips where the kernel lacks the type.
fn needs(fstype: &str) -> Verdict {
    let known = fs::read_to_string("/proc/filesystems")?;
    if known.lines().any(|line| line.split_whitespace().last() == Some(fstype)) {
        return Ok(());
    }
    skip(format!("this kernel has no {fstype}"))
}

fn fstype(t: &Test, name: &str, options: &[&str]) -> Verdict {
    needs(name)?;
    let mounts = mounts_of(t.bundle()?.mount("/mnt/fs", name, name, options))?;
    same("type", at(&mounts, "/mnt/fs")?.fs_type.as_str(), name)
}

/// The directories of an overlay: the lower one holds a file.
fn layers(t: &Test, name: &str) -> Verdict<[std::path::PathBuf; 3]> {
    let top = t.path("layers");
    if !top.exists() {
        fs::create_dir(&top)?;
        rustix::mount::mount("tmpfs", &top, "tmpfs", MountFlags::empty(), None)?;
    }
    let layers = ["lower", "upper", "work"].map(|layer| top.join(format!("{layer}{name}")));
    for layer in &layers {
        fs::create_dir(layer)?;
    }
    fs::write(layers[0].join(format!("file{name}")), "lower\n")?;
    Ok(layers)
}

fn end_layers(t: &Test) -> Verdict {
    Ok(rustix::mount::unmount(t.path("layers"), UnmountFlags::DETACH)?)
}

fn overlay(t: &Test) -> Verdict {
    let [lower, upper, work] = layers(t, "")?;
    let options = [("lowerdir", &lower), ("upperdir", &upper), ("workdir", &work)];
    let options: Vec<String> = options.iter().map(|(name, dir)| format!("{name}={}", dir.display())).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let b = t.bundle()?.mount("/mnt", "overlay", "overlay", &options).sh("cat /mnt/file; echo upper >/mnt/new");
    let out = b.stdout();
    let new = fs::read_to_string(upper.join("new"));
    end_layers(t)?;
    same("output", out?, "lower\n")?;
    same("the upper layer", new?, "upper\n")
}

fn long_overlay(t: &Test, more: &[&str], script: &str) -> Verdict<String> {
    let long = "x".repeat(100);
    let mut lowers = Vec::new();
    for number in 0..9 {
        let [lower, ..] = layers(t, &format!("{number}{long}"))?;
        lowers.push(lower.display().to_string());
    }
    let lower = format!("lowerdir={}", lowers.join(":"));
    let mut options = vec![lower.as_str()];
    options.extend(more);
    let out = t.bundle()?.mount("/mnt", "overlay", "overlay", &options).sh(script).stdout();
    end_layers(t)?;
    out
}

fn overlay_long(t: &Test) -> Verdict {
    same(
        "files",
        long_overlay(t, &[], "ls /mnt | wc -l; grep -c tmpfs /proc/self/mountinfo")?.lines().next(),
        Some("9"),
    )
}

fn overlay_long_readonly(t: &Test) -> Verdict {
    let out = long_overlay(t, &["ro", "nosuid", "noexec"], "cat /proc/self/mountinfo")?;
    let mounts = crate::mountinfo::parse(&out);
    has(at(&mounts, "/mnt")?, &["ro", "nosuid", "noexec"])?;
    // What it was mounted in is not to be seen.
    check(
        !mounts
            .iter()
            .any(|mount| mount.point.contains("/m") && mount.point != "/mnt" && !mount.point.starts_with("/dev")),
        || format!("{mounts:?}"),
    )
}

fn ext4(t: &Test) -> Verdict {
    needs("ext4")?;
    let image = t.path("image");
    fs::File::create(&image)?.set_len(4 << 20)?;
    let tool = |name: &str, args: &[&str]| {
        let output = std::process::Command::new(name).args(args).arg(&image).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    if tool("mkfs.ext4", &["-q", "-F"]).is_none() {
        return skip("no mkfs.ext4");
    }
    let Some(device) = tool("losetup", &["--find", "--show"]) else { return skip("no loop device") };
    let device = String::from_utf8_lossy(&device).trim().to_owned();
    let written = (|| {
        let b = t.bundle()?.mount("/mnt", "ext4", &device, &["data=ordered", "nosuid"]).sh("echo written >/mnt/file");
        b.run()?.exits(0)?;
        mounts_of(t.bundle()?.mount("/mnt", "ext4", &device, &["ro"]))
    })();
    std::process::Command::new("losetup").args(["-d", &device]).status()?;
    let mounts = written?;
    let mount = at(&mounts, "/mnt")?;
    same("type", mount.fs_type.as_str(), "ext4")?;
    has(mount, &["ro"])?;
    check(mount.fs_options.contains("ro"), || format!("the file system is not read-only: {mount:?}"))
}

fn unknown_type(t: &Test) -> Verdict {
    let b = t.bundle()?.mount("/mnt", "nosuchfs", "none", &[]).args(&["true"]);
    b.run()?.refuses(t, "/mnt", &["no such device", "No such device"])?;
    Ok(())
}

/// Binds of a directory, binds of a file, and tmpfs in turn.
fn mixed(t: &Test, count: usize) -> Verdict<Bundle<'_>> {
    fs::create_dir(t.path("source"))?;
    fs::write(t.path("file"), "content\n")?;
    let b = t.bundle()?.writable().mount("/srv", "tmpfs", "tmpfs", &["mode=755"]);
    Ok((0..count).fold(b, |b, number| {
        let destination = format!("/srv/{number}");
        match number % 3 {
            0 => b.bind(t.path("source"), &destination, &["rbind", "ro"]),
            1 => b.bind(t.path("file"), &destination, &["bind", "nosuid"]),
            _ => b.mount(&destination, "tmpfs", "tmpfs", &["size=64k"]),
        }
    }))
}

fn many_mixed(t: &Test) -> Verdict {
    let b = mixed(t, 1000)?
        .sh("ls /srv | wc -l; cat /srv/1 /srv/997; grep -c ' /srv/' /proc/self/mountinfo; ls /proc/self/fd | wc -l");
    same("output", b.stdout()?, "1000\ncontent\ncontent\n1000\n4\n")
}

fn few_descriptors(t: &Test) -> Verdict {
    let b = mixed(t, 300)?.sh("ls /srv | wc -l; grep -c ' /srv/' /proc/self/mountinfo");
    b.save()?;
    let mut command = std::process::Command::new("sh");
    let inner = b.command("run", &[]);
    command.args(["-c", "ulimit -S -n 64; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    crate::bundle::bare(&mut command);
    t.output_of(command)?.exits(0)?.prints("300\n300\n")?;
    Ok(())
}

fn source_missing(t: &Test) -> Verdict {
    let b = t.bundle()?.bind(t.path("none"), "/mnt", &["rbind"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/7", &["no such file", "No such file"])?;
    check(!b.rootfs("mnt").exists() || !t.ours(), || "the destination was made".to_owned())
}

fn source_socket(t: &Test) -> Verdict {
    let _listener = UnixListener::bind(t.path("socket"))?;
    let b = t.bundle()?.bind(t.path("socket"), "/run/a/socket", &["bind"]).sh("stat -c %F /run/a/socket");
    same("type", b.stdout()?, "socket\n")
}

fn source_fifo(t: &Test) -> Verdict {
    rustix::fs::mknodat(CWD, t.path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let b = t.bundle()?.bind(t.path("fifo"), "/run/fifo", &["bind"]).sh("stat -c %F /run/fifo");
    same("type", b.stdout()?, "fifo\n")
}

fn source_link(t: &Test) -> Verdict {
    fs::write(t.path("file"), "content\n")?;
    symlink("file", t.path("link"))?;
    same("output", t.bundle()?.bind(t.path("link"), "/etc/x", &["bind"]).sh("cat /etc/x").stdout()?, "content\n")
}

fn source_nofollow(t: &Test) -> Verdict {
    symlink("/none", t.path("link"))?;
    let b = t.bundle()?.bind(t.path("link"), "/etc/x", &["bind", "src-nofollow"]).sh("readlink /etc/x");
    same("output", b.stdout()?, "/none\n")
}

fn destination_nofollow(t: &Test) -> Verdict {
    fs::write(t.path("file"), "content\n")?;
    let b = t.bundle()?.with_file("etc/real", "real\n", 0o644)?.with_link("etc/link", "real")?;
    let b = b.bind(t.path("file"), "/etc/link", &["bind", "dest-nofollow"]).sh("cat /etc/link /etc/real");
    same("output", b.stdout()?, "content\nreal\n")
}

fn destination_link(t: &Test, target: &str) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("dir/file"), "content\n")?;
    let b =
        t.bundle()?.with_dir("srv/real")?.with_link("var/link", target)?.bind(t.path("dir"), "/var/link", &["rbind"]);
    same("output", b.sh("cat /srv/real/file; readlink /var/link").stdout()?, format!("content\n{target}\n"))
}

fn directory_on_file(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?.bind(t.path("dir"), "/etc/passwd", &["bind"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/7", &["not a directory", "Not a directory"])?;
    Ok(())
}

fn file_on_directory(t: &Test) -> Verdict {
    fs::write(t.path("file"), "")?;
    let b = t.bundle()?.bind(t.path("file"), "/etc", &["bind"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/7", &["not a directory", "Not a directory", "is a directory", "Is a directory"])?;
    Ok(())
}

fn masked_many(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("srv")?;
    let mut paths = Vec::new();
    for number in 0..300 {
        let path = format!("srv/{number}");
        if number % 2 == 0 {
            fs::create_dir(b.rootfs(&path))?;
        } else {
            fs::write(b.rootfs(&path), "secret")?;
        }
        paths.push(json!(format!("/{path}")));
    }
    let b = b.set("/linux/maskedPaths", paths.into());
    let script = "cd /srv; find . -type f | wc -l; find . -type c | wc -l; awk '$5 ~ \"^/srv/\" {print $3}' /proc/self/mountinfo | sort | uniq | wc -l";
    let b = b.with_link("bin/uniq", "busybox")?.sh(script);
    let out = b.stdout()?;
    same("files and masks", out.lines().take(2).collect::<Vec<_>>(), ["0", "150"])?;
    // One tmpfs for all directories, one devtmpfs for all files: memory for two, not for three hundred.
    check(!t.ours() || out.lines().nth(2) == Some("2"), || format!("file systems of the masks: {out}"))
}

fn masked_special(t: &Test) -> Verdict {
    let b =
        t.bundle()?.with_dir("srv/dir")?.with_file("srv/dir/secret", "secret", 0o644)?.with_link("srv/link", "dir")?;
    rustix::fs::mknodat(CWD, b.rootfs("srv/fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let b =
        b.set("/linux/maskedPaths", json!(["/srv/link", "/srv/fifo"])).sh("ls /srv/dir | wc -l; stat -c %F /srv/fifo");
    same("output", b.stdout()?, "0\ncharacter special file\n")
}

fn readonly_below(t: &Test) -> Verdict {
    let b = t.bundle()?.mount("/srv", "tmpfs", "tmpfs", &[]).mount("/srv/below", "tmpfs", "tmpfs", &[]);
    let output = b.set("/linux/readonlyPaths", json!(["/srv"])).sh("echo x >/srv/x; echo x >/srv/below/x").run()?;
    same("EROFS", output.stderr()?.matches("Read-only file system").count(), 2)
}

fn device_mode(t: &Test) -> Verdict {
    let device = json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o100_640}]);
    let b = t.bundle()?.set("/linux/devices", device).sh("stat -c '%a %F' /dev/x");
    same("mode and type", b.stdout()?, "640 character special file\n")
}

fn device_userns(t: &Test) -> Verdict {
    let devices = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11},
        {"path": "/dev/a/fifo", "type": "p", "fileMode": 0o640}]);
    let b = userns(t)?.set("/linux/devices", devices);
    let b = b.sh(
        "stat -c '%F %t:%T' /dev/kmsg /dev/null; grep -c ' /dev/kmsg ' /proc/self/mountinfo; stat -c %a /dev/a/fifo",
    );
    let expected = "character special file 1:b\ncharacter special file 1:3\n1\n640\n";
    if t.ours() {
        return same("devices", b.stdout()?, expected);
    }
    // Of fifos others bind the host's, which there is not.
    let b = b.set("/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]));
    let b = b.sh("stat -c '%F %t:%T' /dev/kmsg /dev/null; grep -c ' /dev/kmsg ' /proc/self/mountinfo; echo 640");
    same("devices", b.stdout()?, expected)
}

fn label(t: &Test) -> Verdict {
    if fs::read_to_string("/proc/filesystems")?.contains("selinuxfs") {
        return skip("this kernel has SELinux");
    }
    let b = t.bundle()?.set("/linux/mountLabel", json!("system_u:object_r:svirt_file_t:s0")).args(&["true"]);
    b.run()?.refuses(t, "/linux/mountLabel: ", &["context="])?;
    Ok(())
}

/// What the container sees of its cgroup mount, and whether its own process is in its uppermost cgroup.
const CGROUP: &str = "read first </sys/fs/cgroup/cgroup.procs; echo $first; mkdir /sys/fs/cgroup/x && echo made";

fn cgroup_own(t: &Test) -> Verdict {
    let output = t.bundle()?.sh(CGROUP).run()?;
    same("processes", output.stdout()?, "1\n")?;
    contains("stderr", &output.stderr()?, "Read-only file system")
}

fn writable_cgroup(b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    let index = some("the cgroup mount", b.mount_index("/sys/fs/cgroup"))?;
    Ok(b.set(&format!("/mounts/{index}/options"), json!(["nosuid", "nodev", "noexec", "relatime"])))
}

fn cgroup_host(t: &Test) -> Verdict {
    let b = writable_cgroup(t.bundle()?.no_namespace("cgroup"))?;
    let script =
        "read first </sys/fs/cgroup/cgroup.procs; echo $first; test -e /sys/fs/cgroup/cgroup.events && echo own
        grep ' /sys/fs/cgroup ' /proc/self/mountinfo";
    let b = b.sh(script);
    let out = b.stdout()?;
    let lines: Vec<&str> = out.lines().collect();
    // The root of the hierarchy has no cgroup.events.
    same("its cgroup", lines.get(..2), Some(&["1", "own"][..]))?;
    contains("the mount's root", lines.last().copied().unwrap_or_default(), &b.id)
}

fn cgroup_host_readonly(t: &Test) -> Verdict {
    let output = t.bundle()?.no_namespace("cgroup").sh("mkdir /sys/fs/cgroup/x && echo made; true").run()?.exits(0)?;
    same("stdout", output.stdout()?, "")?;
    contains("stderr", &output.stderr()?, "Read-only file system")
}

fn cgroup_userns(t: &Test) -> Verdict {
    let b = writable_cgroup(userns(t)?)?;
    same("processes", b.sh("read first </sys/fs/cgroup/cgroup.procs; echo $first").stdout()?, "1\n")
}

fn cgroup_userns_host(t: &Test) -> Verdict {
    let b = writable_cgroup(userns(t)?.no_namespace("cgroup"))?;
    let output = b.sh("mkdir /sys/fs/cgroup/x && echo made; test -d /sys/fs/cgroup && echo there").run()?.exits(0)?;
    same("stdout", output.stdout()?, "there\n")?;
    let expected = if t.ours() { "Read-only file system" } else { "" };
    contains("stderr", &output.stderr()?, expected)
}

fn cgroup2_type(t: &Test) -> Verdict {
    let b = t.bundle()?;
    let index = some("the cgroup mount", b.mount_index("/sys/fs/cgroup"))?;
    let mounts = mounts_of(b.set(&format!("/mounts/{index}/type"), json!("cgroup2")))?;
    same("type", at(&mounts, "/sys/fs/cgroup")?.fs_type.as_str(), "cgroup2")
}
