//! The root file system and what is mounted in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::mount::MountFlags;
use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, some};
use crate::kind::Kind;
use crate::mountinfo::{self, Mount};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("rootfs/readonly", "root.readonly true and false", readonly),
        case("rootfs/relative-path", "root.path is taken from the bundle", relative_path),
        case("rootfs/absolute-path", "root.path may be absolute and elsewhere", absolute_path),
        case(
            "rootfs/is-all-there-is",
            "the old root is out of reach and mounts of the host are not seen",
            nothing_of_the_host,
        ),
        case("rootfs/file-system-untouched", "a read-only run with all mountpoints there changes no file", untouched),
        case("mounts/default", "the mounts of the default spec with their types and options", defaults),
        case("mounts/tmpfs-mode", "without mode, that of the directory that is covered, or 1777", tmpfs_mode),
        case("mounts/tmpfs-options", "size, mode, uid, gid and nr_inodes of a tmpfs", tmpfs_options),
        case("mounts/order", "mounts are made in order: later ones lie upon earlier ones", order),
        case("mounts/proc-is-of-the-container", "/proc shows the container's pid namespace", proc_own),
        case("mounts/sys-readonly", "/sys is read-only and /sys/fs/cgroup too", sys_readonly),
        case("mounts/destination-made", "missing destinations are made, files for files", destination_made),
        case(
            "mounts/destination-dangling-link",
            "a destination through symlinks to what does not exist is made where they lead",
            destination_dangling,
        )
        .known_failure(Kind::Crun, "1.28 makes no directory where a link leads"),
        case("mounts/destination-relative", "a relative destination is taken from /", destination_relative),
        case("mounts/type-none-bind", "bind mounts with type none or without a type", type_none),
        case("mounts/null-and-empty", "null and empty options count as none", null_options),
        case(
            "mounts/unknown-option",
            "an unknown option is data for the file system, which refuses it",
            unknown_option,
        ),
        case("mounts/propagation-private", "the container's mounts do not reach the host", private),
    ];
    cases.extend(bind_cases());
    cases.extend(path_cases());
    cases
}

fn bind_cases() -> Vec<Case> {
    vec![
        case("bind/directory", "a directory is seen, changes go both ways", bind_directory),
        case("bind/file", "a file is seen at a destination that is made", bind_file),
        case("bind/readonly", "ro: writes fail with EROFS, in the source they do not", bind_readonly),
        case("bind/flags", "nosuid, nodev, noexec, noatime and their opposites", bind_flags)
            .differs(Kind::Crun, "an option is not taken back by its opposite after it"),
        case("bind/noexec-works", "nothing can be run from a noexec mount", bind_noexec),
        case("bind/not-recursive", "bind leaves out mounts beneath the source", bind_not_recursive),
        case("bind/recursive", "rbind brings mounts beneath the source", bind_recursive),
        case("bind/rbind-ro-top-only", "rbind with ro makes the uppermost mount read-only alone", rbind_ro),
        case("bind/rro", "rro makes all of them read-only", rro).needs(&["mount_setattr"]),
        case("bind/propagation", "private, slave, shared and unbindable", bind_propagation)
            .known_failure(Kind::Crun, "makes no bind mount shared when the root is private"),
        case("bind/source-relative", "a relative source is taken from the bundle", source_relative),
        case("bind/source-with-odd-name", "spaces, colons, commas and backslashes in names", odd_names),
        case("bind/device-node", "a device of the host can be bound and used", bind_device),
        case("bind/over-file", "a file is bound over one that is there", bind_over),
        case("bind/over-default-device", "a device bound over a default one takes its place", bind_over_device),
        case("bind/device-keeps-its-mode", "the host's node that is bound keeps its mode", bind_device_mode),
        case("bind/many", "with hundreds of mounts the default devices are where they belong", bind_many),
    ]
}

fn path_cases() -> Vec<Case> {
    vec![
        case("paths/masked", "masked files are empty, masked directories too and read-only", masked),
        case("paths/masked-missing", "masked and read-only paths that do not exist are passed over", masked_missing),
        case("paths/readonly", "read-only paths can be read and not written", readonly_paths),
        case("paths/root-itself", "the root itself can neither be masked nor be a read-only path", root_itself)
            .only(Kind::NoFrills, "runc and crun try, each with an outcome of its own"),
        case("paths/default-masks", "those of the default spec", default_masks),
    ]
}

/// Runs the bundle with a look at its mounts.
pub(crate) fn mounts_of(b: Bundle) -> Verdict<Vec<Mount>> {
    Ok(mountinfo::parse(&b.args(&["cat", "/proc/self/mountinfo"]).stdout()?))
}

pub(crate) fn at<'m>(mounts: &'m [Mount], point: &str) -> Verdict<&'m Mount> {
    some(point, mounts.iter().rfind(|mount| mount.point == point))
}

pub(crate) fn has(mount: &Mount, options: &[&str]) -> Verdict {
    for option in options {
        check(mount.has(option), || format!("{} lacks {option}: {mount:?}", mount.point))?;
    }
    Ok(())
}

pub(crate) fn has_not(mount: &Mount, options: &[&str]) -> Verdict {
    for option in options {
        check(!mount.options.contains(*option), || format!("{} has {option}: {mount:?}", mount.point))?;
    }
    Ok(())
}

fn readonly(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo x >/file");
    let output = b.run()?;
    contains("stderr", &output.stderr()?, "Read-only file system")?;
    has(at(&mounts_of(t.bundle()?)?, "/")?, &["ro"])?;
    let b = t.bundle()?.writable().sh("echo x >/file");
    b.run()?.exits(0)?;
    same("/file", fs::read_to_string(b.rootfs("file"))?, "x\n")
}

fn relative_path(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("cat /mark").with_file("mark", "here", 0o644)?;
    fs::rename(b.rootfs(""), b.dir.join("other"))?;
    let b = b.set("/root/path", json!("other"));
    same("output", b.stdout()?, "here")?;
    let b = b.set("/root/path", json!("./../b1/other"));
    same("output", b.stdout()?, "here")
}

fn absolute_path(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("cat /mark").with_file("mark", "here", 0o644)?;
    fs::rename(b.rootfs(""), t.path("elsewhere"))?;
    let b = b.set("/root/path", json!(t.path("elsewhere")));
    same("output", b.stdout()?, "here")
}

fn nothing_of_the_host(t: &Test) -> Verdict {
    fs::write(t.path("secret"), "")?;
    let path = t.path("secret");
    let b =
        t.bundle()?.sh(&format!("test ! -e {0} && test ! -e /../..{0} && cat /proc/self/mountinfo", path.display()));
    let out = b.stdout()?;
    let mounts = mountinfo::parse(&out);
    let root = at(&mounts, "/")?;
    check(root.root.ends_with("/rootfs"), || format!("the root is {}", root.root))?;
    // One mount at /, and no more than the config makes: 7 mounts, devices are nodes, masks and read-only paths.
    same("mounts at /", mounts.iter().filter(|mount| mount.point == "/").count(), 1)?;
    check(mounts.len() < 40, || format!("{} mounts", mounts.len()))
}

fn untouched(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran");
    let list = || -> Verdict<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(b.rootfs(""))?
            .chain(fs::read_dir(b.rootfs("dev"))?)
            .chain(fs::read_dir(b.rootfs("sys"))?)
            .chain(fs::read_dir(b.rootfs("proc"))?)
            .map(|entry| Ok(entry?.path().to_string_lossy().into_owned()))
            .collect::<Verdict<_>>()?;
        names.sort();
        Ok(names)
    };
    let before = list()?;
    b.run()?.exits(0)?.prints("ran\n")?;
    same("files", list()?, before)
}

fn defaults(t: &Test) -> Verdict {
    let mounts = mounts_of(t.bundle()?)?;
    let expected: [(&str, &str, &[&str]); 7] = [
        ("/proc", "proc", &["rw"]),
        ("/dev", "tmpfs", &["rw", "nosuid", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]),
        ("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        ("/sys/fs/cgroup", "cgroup2", &["ro", "nosuid", "nodev", "noexec", "relatime"]),
    ];
    for (point, kind, options) in expected {
        let mount = at(&mounts, point)?;
        same(point, mount.fs_type.as_str(), kind)?;
        has(mount, options)?;
    }
    // strictatime: neither relatime nor noatime is shown.
    has_not(at(&mounts, "/dev")?, &["relatime", "noatime", "noexec", "nodev"])?;
    let modes = t.bundle()?.sh("stat -c '%a %u %g' /dev /dev/shm /dev/pts /proc/1").stdout()?;
    same("modes", modes, "755 0 0\n1777 0 0\n755 0 0\n555 0 0\n")
}

fn tmpfs_mode(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().with_dir("there")?;
    fs::set_permissions(b.rootfs("there"), fs::Permissions::from_mode(0o710))?;
    let b = b.mount("/there", "tmpfs", "tmpfs", &[]).mount("/srv/made/here", "tmpfs", "tmpfs", &["nodev"]);
    same("modes", b.sh("stat -c %a /there /srv/made/here").stdout()?, "710\n1777\n")
}

fn tmpfs_options(t: &Test) -> Verdict {
    let options = ["size=1m", "mode=0711", "uid=7", "gid=8", "nr_inodes=100", "noexec"];
    let b = t.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &options).with_dir("mnt")?;
    let b = b.sh("stat -c '%a %u %g' /mnt; cat /proc/self/mountinfo");
    let out = b.stdout()?;
    same("mode and owner", out.lines().next(), Some("711 7 8"))?;
    has(at(&mountinfo::parse(&out), "/mnt")?, &["size=1024k", "mode=711", "uid=7", "gid=8", "nr_inodes=100", "noexec"])
}

fn order(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("dir/file"), "lower")?;
    fs::write(t.path("other"), "upper")?;
    let b = t.bundle()?.with_dir("mnt")?;
    let b = b.mount("/mnt", "tmpfs", "tmpfs", &[]).bind(t.path("dir"), "/mnt/dir", &["bind"]);
    let b = b.bind(t.path("other"), "/mnt/dir/file", &["bind"]).sh("cat /mnt/dir/file");
    same("output", b.stdout()?, "upper")
}

fn proc_own(t: &Test) -> Verdict {
    same("name", t.bundle()?.sh("cat /proc/1/comm; true").stdout()?, "sh\n")
}

fn sys_readonly(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("mkdir /sys/fs/cgroup/x; echo 1 >/sys/kernel/profiling; true");
    let stderr = b.run()?.exits(0)?.stderr()?;
    same("EROFS", stderr.matches("Read-only file system").count(), 2)
}

fn destination_made(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("file"), "content")?;
    let b = t.bundle()?.bind(t.path("dir"), "/srv/a/b/c", &["bind"]).bind(t.path("file"), "/srv/d/e", &["bind"]);
    let b =
        b.mount("/srv/f/g", "tmpfs", "tmpfs", &[]).sh("test -d /srv/a/b/c && cat /srv/d/e && stat -c %a /srv /srv/a/b");
    // crun sets the sticky bit on what it makes.
    same("output", b.stdout()?.replace("1755", "755"), "content755\n755\n")?;
    check(b.rootfs("srv/d/e").is_file(), || "the file's mountpoint is no file".to_owned())?;
    check(b.rootfs("srv/f/g").is_dir(), || "the tmpfs's mountpoint is no directory".to_owned())
}

fn destination_dangling(t: &Test) -> Verdict {
    fs::write(t.path("file"), "content\n")?;
    let b = t.bundle()?.with_link("etc/resolv.conf", "../run/resolve/stub.conf")?.with_link("etc/lib", "/new//lib/")?;
    let b = b.bind(t.path("file"), "/etc/resolv.conf", &["bind"]).mount("/etc/lib/a/b", "tmpfs", "tmpfs", &["size=2m"]);
    let output = b.sh("cat /etc/resolv.conf /run/resolve/stub.conf; grep -c ' /new/lib/a/b ' /proc/self/mountinfo");
    same("output", output.stdout()?, "content\ncontent\n1\n")?;
    check(output.rootfs("run/resolve/stub.conf").is_file(), || "no file was made where the link leads".to_owned())?;
    // Round and round.
    let b = t.bundle()?.with_link("etc/one", "two")?.with_link("etc/two", "one")?.args(&["true"]);
    b.bind(t.path("file"), "/etc/one", &["bind"]).run()?.refuses(t, "/mounts/7", &[])?;
    Ok(())
}

fn destination_relative(t: &Test) -> Verdict {
    let b = t.bundle()?.mount("mnt/rel", "tmpfs", "tmpfs", &["size=2m"]);
    has(at(&mounts_of(b)?, "/mnt/rel")?, &["size=2048k"])
}

fn type_none(t: &Test) -> Verdict {
    fs::write(t.path("file"), "content")?;
    let none = json!({"destination": "/etc/one", "type": "none", "source": t.path("file"), "options": ["bind"]});
    let absent = json!({"destination": "/etc/two", "source": t.path("file"), "options": ["rbind", "ro"]});
    let b = t.bundle()?.push("/mounts", none).push("/mounts", absent).sh("cat /etc/one /etc/two");
    same("output", b.stdout()?, "contentcontent")
}

fn null_options(t: &Test) -> Verdict {
    let one = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": null});
    let two = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": []});
    let three = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"});
    let b = t.bundle()?.with_dir("mnt")?.push("/mounts", one).push("/mounts", two).push("/mounts", three);
    same("mounts", mounts_of(b)?.iter().filter(|mount| mount.point == "/mnt").count(), 3)
}

fn unknown_option(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("mnt")?.args(&["true"]).mount("/mnt", "tmpfs", "tmpfs", &["no-such-option"]);
    let ours = format!("/mounts/{}", some("the mount", b.mount_index("/mnt"))?);
    b.run()?.refuses(t, &ours, &["/mnt", "mnt"])?;
    Ok(())
}

fn private(t: &Test) -> Verdict {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let b = t.bundle()?.idle().mount("/mnt", "tmpfs", "tmpfs", &[]);
    b.create()?;
    b.start()?;
    b.is("running")?;
    same("the host's mounts", fs::read_to_string("/proc/self/mountinfo")?, before)
}

fn bind_directory(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("dir/in"), "from outside\n")?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind"]).sh("cat /mnt/in; echo inside >/mnt/out");
    same("output", b.stdout()?, "from outside\n")?;
    same("out", fs::read_to_string(t.path("dir/out"))?, "inside\n")
}

fn bind_file(t: &Test) -> Verdict {
    fs::write(t.path("file"), "content\n")?;
    let b = t.bundle()?.bind(t.path("file"), "/etc/resolv.conf", &["rbind", "rprivate"]);
    same("output", b.sh("cat /etc/resolv.conf; echo more >>/etc/resolv.conf").stdout()?, "content\n")?;
    same("file", fs::read_to_string(t.path("file"))?, "content\nmore\n")
}

fn bind_readonly(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind", "ro"]).sh("echo x >/mnt/file; true");
    contains("stderr", &b.run()?.exits(0)?.stderr()?, "Read-only file system")?;
    // The mount is read-only, not the file system.
    fs::write(t.path("dir/file"), "x")?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind", "ro"]);
    let mounts = mounts_of(b)?;
    check(at(&mounts, "/mnt")?.options.contains("ro"), || "no ro".to_owned())
}

fn bind_flags(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind", "nosuid", "nodev", "noexec", "noatime"]);
    has(at(&mounts_of(b)?, "/mnt")?, &["rw", "nosuid", "nodev", "noexec", "noatime"])?;
    if t.kind == Kind::Crun {
        return Ok(());
    }
    // Of opposites the last one counts.
    let b = t.bundle()?.bind(
        t.path("dir"),
        "/mnt",
        &["bind", "nosuid", "suid", "noexec", "exec", "ro", "rw", "dev", "nodev"],
    );
    let mounts = mounts_of(b)?;
    has(at(&mounts, "/mnt")?, &["rw", "nodev"])?;
    has_not(at(&mounts, "/mnt")?, &["nosuid", "noexec", "ro"])
}

fn bind_noexec(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?;
    fs::copy(b.rootfs("bin/busybox"), t.path("dir/true"))?;
    let output = b.bind(t.path("dir"), "/mnt", &["bind", "noexec"]).sh("/mnt/true").run()?;
    contains("stderr", &output.stderr()?, "Permission denied")
}

/// A directory `dir` with a tmpfs of its own at `dir/sub` that holds `file`.
fn nested(t: &Test) -> Verdict {
    fs::create_dir_all(t.path("dir/sub"))?;
    rustix::mount::mount("tmpfs", t.path("dir/sub"), "tmpfs", MountFlags::empty(), None)?;
    Ok(fs::write(t.path("dir/sub/file"), "nested\n")?)
}

fn end_nested(t: &Test) -> Verdict {
    Ok(rustix::mount::unmount(t.path("dir/sub"), rustix::mount::UnmountFlags::DETACH)?)
}

fn bind_not_recursive(t: &Test) -> Verdict {
    nested(t)?;
    let out = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind"]).sh("ls -d /mnt/sub; ls /mnt/sub").stdout();
    end_nested(t)?;
    same("output", out?, "/mnt/sub\n")
}

fn bind_recursive(t: &Test) -> Verdict {
    nested(t)?;
    let out = t.bundle()?.bind(t.path("dir"), "/mnt", &["rbind"]).sh("cat /mnt/sub/file").stdout();
    end_nested(t)?;
    same("output", out?, "nested\n")
}

fn rbind_ro(t: &Test) -> Verdict {
    nested(t)?;
    let mounts = t.bundle().and_then(|b| mounts_of(b.bind(t.path("dir"), "/mnt", &["rbind", "ro"])));
    end_nested(t)?;
    let mounts = mounts?;
    has(at(&mounts, "/mnt")?, &["ro"])?;
    has(at(&mounts, "/mnt/sub")?, &["rw"])
}

fn rro(t: &Test) -> Verdict {
    nested(t)?;
    let mounts = t.bundle().and_then(|b| mounts_of(b.bind(t.path("dir"), "/mnt", &["rbind", "rro"])));
    end_nested(t)?;
    let mounts = mounts?;
    has(at(&mounts, "/mnt")?, &["ro"])?;
    check(at(&mounts, "/mnt/sub")?.options.contains("ro"), || "the mount beneath is not read-only".to_owned())
}

fn bind_propagation(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    for (option, field) in [
        ("private", None),
        ("rprivate", None),
        ("shared", Some("shared:")),
        ("rshared", Some("shared:")),
        ("unbindable", Some("unbindable")),
    ] {
        let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind", option]);
        let mounts = mounts_of(b)?;
        let found = at(&mounts, "/mnt")?.propagation.join(" ");
        let fits = field.map_or(found.is_empty(), |field| found.contains(field));
        check(fits, || format!("{option}: {found:?}"))?;
    }
    Ok(())
}

fn source_relative(t: &Test) -> Verdict {
    let b = t.bundle()?;
    fs::write(b.dir.join("file"), "in the bundle")?;
    same("output", b.bind("file", "/etc/file", &["bind"]).sh("cat /etc/file").stdout()?, "in the bundle")
}

fn odd_names(t: &Test) -> Verdict {
    let name = "a b:c,d\\e\u{e9}";
    fs::write(t.path(name), "odd")?;
    let b = t.bundle()?.bind(t.path(name), &format!("/srv/{name}"), &["bind", "ro"]);
    same("output", b.args(&["cat", &format!("/srv/{name}")]).stdout()?, "odd")
}

fn bind_device(t: &Test) -> Verdict {
    let b = t.bundle()?.bind("/dev/zero", "/dev/mine", &["bind"]).sh("head -c 3 /dev/mine | od -An -tx1");
    same("output", b.stdout()?, " 00 00 00\n")
}

fn bind_over(t: &Test) -> Verdict {
    fs::write(t.path("file"), "upper")?;
    let b = t.bundle()?.with_file("etc/there", "lower", 0o644)?.bind(t.path("file"), "/etc/there", &["bind"]);
    same("output", b.sh("cat /etc/there").stdout()?, "upper")?;
    same("the file below", fs::read_to_string(b_lower(t))?, "lower")
}

fn b_lower(t: &Test) -> std::path::PathBuf {
    t.path("b1/rootfs/etc/there")
}

fn bind_over_device(t: &Test) -> Verdict {
    // Done where /dev/random blocks.
    let b = t.bundle()?.bind("/dev/urandom", "/dev/random", &["bind"]);
    same("node", b.sh("stat -c %t:%T /dev/random").stdout()?, "1:9\n")
}

fn bind_device_mode(t: &Test) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let node = t.path("zero");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &node,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::RUSR,
        rustix::fs::makedev(1, 5),
    )?;
    let b = t.bundle()?.bind(&node, "/dev/zero", &["bind"]).sh("grep -c ' /dev/zero ' /proc/self/mountinfo");
    b.run()?.exits(0)?.prints("1\n")?;
    same("the mode of the host's node", fs::metadata(&node)?.mode() & 0o777, 0o400)
}

fn bind_many(t: &Test) -> Verdict {
    fs::create_dir(t.path("source"))?;
    let names = (0..300).map(|number| format!("/srv/{number}"));
    let b = names.fold(t.bundle()?.writable(), |b, name| b.bind(t.path("source"), &name, &["bind"]));
    let b = b.sh("cd /dev; stat -c %F null fd; ls /srv | wc -l");
    same("output", b.stdout()?, "character special file\nsymbolic link\n300\n")?;
    same("what was made in the source", fs::read_dir(t.path("source"))?.count(), 0)?;
    for covered in fs::read_dir(b.rootfs("srv"))? {
        let covered = covered?.path();
        check(fs::read_dir(&covered)?.next().is_none(), || format!("{} is not empty", covered.display()))?;
    }
    Ok(())
}

fn root_itself(t: &Test) -> Verdict {
    for setting in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        let b = t.bundle()?.writable().set(setting, json!(["/"])).args(&["touch", "/file"]);
        b.run()?.refuses(t, &format!("{setting}/0"), &[])?;
    }
    Ok(())
}

fn masked(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().with_file("etc/secret", "secret", 0o644)?.with_dir("srv/secret")?;
    let b = b
        .with_file("srv/secret/file", "secret", 0o644)?
        .set("/linux/maskedPaths", json!(["/etc/secret", "/srv/secret"]));
    let b =
        b.sh("cat /etc/secret; ls /srv/secret; echo x >/srv/secret/new; echo x >/etc/secret; stat -c %F /etc/secret");
    let output = b.run()?.exits(0)?;
    same("stdout", output.stdout()?, "character special file\n")?;
    contains("stderr", &output.stderr()?, "Read-only file system")?;
    same("the file", fs::read_to_string(b.rootfs("etc/secret"))?, "secret")
}

fn masked_missing(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran").set("/linux/maskedPaths", json!(["/none", "/proc/none/none"]));
    let b = b.set("/linux/readonlyPaths", json!(["/none", "/etc/none"]));
    b.run()?.exits(0)?.prints("ran\n")?;
    check(!b.rootfs("none").exists(), || "a masked path was made".to_owned())
}

fn readonly_paths(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().with_file("etc/file", "content\n", 0o644)?.with_dir("srv/dir")?;
    let b = b.set("/linux/readonlyPaths", json!(["/etc/file", "/srv/dir"]));
    let output = b.sh("cat /etc/file; echo x >/etc/file; echo x >/srv/dir/x; echo fine >/etc/other").run()?.exits(0)?;
    same("stdout", output.stdout()?, "content\n")?;
    same("EROFS", output.stderr()?.matches("Read-only file system").count(), 2)
}

fn default_masks(t: &Test) -> Verdict {
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list; do test -e $f && stat -c %F $f; done
        ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v '^/' | grep -c .
        echo 1 >/proc/sys/kernel/panic; true";
    let output = t.bundle()?.sh(script).run()?.exits(0)?;
    let out = output.stdout()?;
    lacks("regular files", &out, "regular")?;
    same("entries in masked directories", out.lines().last(), Some("0"))?;
    same("EROFS", output.stderr()?.matches("Read-only file system").count(), 1)
}
