//! What mounts can be given beyond mount(8): other ids, and a copy of what they cover.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = id_map_cases();
    cases.extend(copy_up_cases());
    cases.into_iter().map(|case| case.needs(&["mount_setattr"])).collect()
}

fn id_map_cases() -> Vec<Case> {
    vec![
        case("idmap/bind", "uidMappings and gidMappings of a mount: owners as mapped, both ways", idmap_bind),
        case("idmap/without-option", "mappings without the option idmap count too", idmap_no_option),
        case("idmap/several-ranges", "several ranges, and what is in none is nobody's", idmap_ranges),
        case("idmap/user-namespace", "in a user namespace, with the container's own ids on disk", idmap_userns),
        case("idmap/user-namespace-mappings", "without mappings those of the user namespace count", idmap_own),
        case("idmap/no-mappings", "without mappings and without a user namespace it is refused", idmap_none)
            .known_failure(Kind::Crun, "leaves the cgroup behind"),
        case("idmap/one-mapping", "one of uidMappings and gidMappings alone is refused", idmap_half)
            .known_failure(Kind::Crun, "leaves the cgroup behind"),
        case("idmap/rbind-idmap", "idmap is for the mount itself alone", |t| idmap_below(t, "idmap", "0\n")),
        case("idmap/rbind-ridmap", "ridmap is for mounts below too", |t| idmap_below(t, "ridmap", "1000\n")),
        case("idmap/readonly", "together with ro", idmap_readonly),
        case("idmap/file", "a file can be mapped", idmap_file),
        case("idmap/tmpfs", "a new tmpfs can be mapped", idmap_tmpfs).known_failure(Kind::Runc, "bind mounts alone"),
        case("idmap/unsupported", "a file system that cannot be mapped is an error", idmap_unsupported)
            .known_failure(Kind::Crun, "leaves the cgroup behind"),
        case("idmap/many", "many mounts with the same and other mappings", idmap_many),
    ]
}

fn copy_up_cases() -> Vec<Case> {
    vec![
        case("tmpcopyup/tree", "files, directories and links with owners and modes", copy_tree),
        case("tmpcopyup/image-untouched", "changes stay in the tmpfs", copy_untouched),
        case("tmpcopyup/fifos-and-devices", "fifos and devices are made anew, never opened", copy_special)
            .known_failure(Kind::Runc, "1.3 fails on them"),
        case("tmpcopyup/times-and-attributes", "times, extended attributes and holes", copy_times)
            .known_failure(Kind::Runc, "keeps none of these")
            .known_failure(Kind::Crun, "keeps no times"),
        case("tmpcopyup/missing", "a destination that is not there is empty", copy_missing),
        case("tmpcopyup/too-large", "what does not fit is an error", copy_large),
        case("tmpcopyup/deep", "100 directories deep", copy_deep),
        case("tmpcopyup/links-out", "links are copied, not followed", copy_links),
        case("tmpcopyup/many-files", "3000 files and directories", copy_many),
        case("tmpcopyup/user-namespace", "in a user namespace owners are kept", copy_userns),
        case("tmpcopyup/readonly", "together with ro", copy_readonly),
        case("tmpcopyup/not-tmpfs", "for anything but a tmpfs it is refused", copy_bind)
            .only(Kind::NoFrills, "runc and crun pass over it"),
    ]
}

fn map(ranges: &[(u32, u32, u32)]) -> Value {
    let range =
        |(container, host, size): &(u32, u32, u32)| json!({"containerID": container, "hostID": host, "size": size});
    ranges.iter().map(range).collect()
}

/// The bundle with a bind mount that has these mappings for users and groups.
fn mapped<'t>(b: Bundle<'t>, source: &std::path::Path, options: &[&str], ranges: &[(u32, u32, u32)]) -> Bundle<'t> {
    let (uids, gids) = (map(ranges), map(ranges));
    let mount = json!({"destination": "/mnt", "type": "bind", "source": source, "options": options,
        "uidMappings": uids, "gidMappings": gids});
    b.push("/mounts", mount)
}

/// A directory with a file of root's, one of user 5, one of user 77.
fn owned(t: &Test) -> Verdict<std::path::PathBuf> {
    let dir = t.path("owned");
    fs::create_dir(&dir)?;
    for (name, id) in [("root", 0), ("five", 5), ("other", 77)] {
        fs::write(dir.join(name), "")?;
        chown(dir.join(name), Some(id), Some(id))?;
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    Ok(dir)
}

const OWNERS: &str = "cd /mnt; stat -c '%n %u:%g' root five other";

fn idmap_bind(t: &Test) -> Verdict {
    let dir = owned(t)?;
    let b = mapped(t.bundle()?, &dir, &["bind", "idmap"], &[(0, 1000, 10)]);
    let b = b
        .set("/process/user", json!({"uid": 1005, "gid": 1005}))
        .sh(&format!("{OWNERS}; echo x >new; stat -c %u:%g new"));
    same("owners", b.stdout()?, "root 1000:1000\nfive 1005:1005\nother 65534:65534\n1005:1005\n")?;
    let new = fs::metadata(dir.join("new"))?;
    same("on disk", (new.uid(), new.gid()), (5, 5))
}

fn idmap_no_option(t: &Test) -> Verdict {
    let b = mapped(t.bundle()?, &owned(t)?, &["bind"], &[(0, 1000, 10)]).sh(OWNERS);
    same("owners", b.stdout()?, "root 1000:1000\nfive 1005:1005\nother 65534:65534\n")
}

fn idmap_ranges(t: &Test) -> Verdict {
    let b = mapped(t.bundle()?, &owned(t)?, &["rbind", "idmap"], &[(0, 1000, 1), (70, 2000, 10)]).sh(OWNERS);
    same("owners", b.stdout()?, "root 1000:1000\nfive 65534:65534\nother 2007:2007\n")
}

/// In a user namespace whose root may not make anything in the image.
pub(crate) fn userns(t: &Test) -> Verdict<Bundle<'_>> {
    t.bundle()?.user_namespace(100_000, 65_536).with_dir("mnt")
}

fn idmap_userns(t: &Test) -> Verdict {
    let dir = owned(t)?;
    let b = mapped(userns(t)?, &dir, &["bind", "idmap"], &[(0, 100_000, 65_536)]).sh(&format!("{OWNERS}; echo x >new"));
    same("owners", b.stdout()?, "root 0:0\nfive 5:5\nother 77:77\n")?;
    same("on disk", fs::metadata(dir.join("new"))?.uid(), 0)
}

fn idmap_own(t: &Test) -> Verdict {
    let b = userns(t)?.bind(owned(t)?, "/mnt", &["bind", "idmap"]).sh(OWNERS);
    same("owners", b.stdout()?, "root 0:0\nfive 5:5\nother 77:77\n")
}

fn idmap_none(t: &Test) -> Verdict {
    let b = t.bundle()?.bind(owned(t)?, "/mnt", &["bind", "idmap"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/7", &["mapping", "mount_setattr"])?;
    Ok(())
}

fn idmap_half(t: &Test) -> Verdict {
    let mount = json!({"destination": "/mnt", "type": "bind", "source": owned(t)?, "options": ["bind", "idmap"],
        "uidMappings": map(&[(0, 1000, 10)])});
    t.bundle()?.push("/mounts", mount).args(&["true"]).run()?.refuses(t, "/mounts/7/gidMappings", &["mapping"])?;
    Ok(())
}

fn idmap_below(t: &Test, option: &str, expected: &str) -> Verdict {
    let dir = t.path("dir");
    fs::create_dir_all(dir.join("sub"))?;
    rustix::mount::mount("tmpfs", dir.join("sub"), "tmpfs", MountFlags::empty(), None)?;
    let b = mapped(t.bundle()?, &dir, &["rbind", option], &[(0, 1000, 10)]).sh("stat -c %u /mnt /mnt/sub");
    let out = b.stdout();
    rustix::mount::unmount(dir.join("sub"), UnmountFlags::DETACH)?;
    same("owners", out?, format!("1000\n{expected}"))
}

fn idmap_readonly(t: &Test) -> Verdict {
    let b = mapped(t.bundle()?, &owned(t)?, &["rbind", "idmap", "ro"], &[(0, 1000, 10)])
        .sh("stat -c %u /mnt/root; echo x >/mnt/x");
    let output = b.run()?;
    same("stdout", output.stdout()?, "1000\n")?;
    contains("stderr", &output.stderr()?, "Read-only file system")
}

fn idmap_file(t: &Test) -> Verdict {
    fs::write(t.path("file"), "")?;
    let b = mapped(t.bundle()?, &t.path("file"), &["bind", "idmap"], &[(0, 1000, 10)]).sh("stat -c %u /mnt");
    same("owner", b.stdout()?, "1000\n")
}

fn idmap_tmpfs(t: &Test) -> Verdict {
    let mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["idmap", "mode=777"],
        "uidMappings": map(&[(0, 1000, 10)]), "gidMappings": map(&[(0, 1000, 10)])});
    let b = t.bundle()?.push("/mounts", mount).set("/process/user", json!({"uid": 1003, "gid": 1003}));
    same("owners", b.sh("touch /mnt/x; stat -c %u:%g /mnt /mnt/x").stdout()?, "1000:1000\n1003:1003\n")
}

fn idmap_unsupported(t: &Test) -> Verdict {
    let b = mapped(t.bundle()?, std::path::Path::new("/proc"), &["bind", "idmap"], &[(0, 1000, 10)]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/7: ", &["invalid argument", "Invalid argument"])?;
    Ok(())
}

fn idmap_many(t: &Test) -> Verdict {
    let dir = owned(t)?;
    let b = (0..60).fold(t.bundle()?.writable(), |b, number| {
        let ranges = map(&[(0, 1000 * (number % 3 + 1), 10)]);
        let mount = json!({"destination": format!("/srv/{number}"), "type": "bind", "source": dir, "options": ["bind", "idmap"],
            "uidMappings": ranges, "gidMappings": ranges});
        b.push("/mounts", mount)
    });
    let out = b.sh("for n in $(seq 0 59); do stat -c %u /srv/$n/root; done | sort | uniq -c | awk '{print $1, $2}'");
    let b = out.with_link("bin/uniq", "busybox")?;
    same("owners", b.stdout()?, "20 1000\n20 2000\n20 3000\n")
}

/// Something in the image at /var/data.
fn copied<'t>(t: &'t Test, options: &[&str]) -> Verdict<Bundle<'t>> {
    let b = t.bundle()?.with_dir("var/data/sub/deep")?.with_file("var/data/file", "content\n", 0o604)?;
    let b = b
        .with_file("var/data/sub/deep/script", "#!/bin/sh\necho ran\n", 0o4755)?
        .with_link("var/data/link", "sub/none")?;
    chown(b.rootfs("var/data/file"), Some(7), Some(8))?;
    chown(b.rootfs("var/data/sub"), Some(9), Some(9))?;
    fs::set_permissions(b.rootfs("var/data/sub"), fs::Permissions::from_mode(0o2775))?;
    chown(b.rootfs("var/data"), Some(3), Some(4))?;
    fs::set_permissions(b.rootfs("var/data"), fs::Permissions::from_mode(0o1777))?;
    let mut all = vec!["tmpcopyup"];
    all.extend(options);
    Ok(b.mount("/var/data", "tmpfs", "tmpfs", &all))
}

fn copy_tree(t: &Test) -> Verdict {
    let script =
        "cd /var/data; stat -c '%n %F %a %u:%g %s' file sub sub/deep/script; cat file; readlink link; stat -c %a .
        grep -c ' /var/data .* tmpfs ' /proc/self/mountinfo; ls | wc -l";
    let expected = "file regular file 604 7:8 8\nsub directory 2775 9:9 60\nsub/deep/script regular file 4755 0:0 19\n\
        content\nsub/none\n1777\n1\n3\n";
    same("the copy", copied(t, &[])?.sh(script).stdout()?, expected)?;
    if t.ours() {
        same("the owner", copied(t, &[])?.sh("stat -c %u:%g /var/data").stdout()?, "3:4\n")?;
        let b = copied(t, &["uid=5", "mode=700"])?.sh("stat -c '%a %u' /var/data");
        same("its own owner and mode", b.stdout()?, "700 5\n")?;
    }
    Ok(())
}

fn copy_untouched(t: &Test) -> Verdict {
    let b = copied(t, &[])?.capabilities(&["CAP_DAC_OVERRIDE", "CAP_FOWNER"]);
    let b = b.sh("cd /var/data; echo more >>file; rm -r sub; echo x >new; ls");
    same("output", b.stdout()?, "file\nlink\nnew\n")?;
    same("the image's file", fs::read_to_string(b.rootfs("var/data/file"))?, "content\n")?;
    check(!b.rootfs("var/data/new").exists(), || "the image has the new file".to_owned())?;
    check(b.rootfs("var/data/sub/deep/script").exists(), || "the image has lost a file".to_owned())
}

fn copy_special(t: &Test) -> Verdict {
    let b = copied(t, &[])?;
    rustix::fs::mknodat(CWD, b.rootfs("var/data/fifo"), FileType::Fifo, Mode::from_raw_mode(0o622), 0)?;
    let device = rustix::fs::makedev(1, 7);
    rustix::fs::mknodat(CWD, b.rootfs("var/data/full"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), device)?;
    chown(b.rootfs("var/data/full"), Some(6), Some(6))?;
    let _socket = UnixListener::bind(b.rootfs("var/data/socket"))?;
    let b = b.sh("cd /var/data; stat -c '%F %a %u %t:%T' full; stat -c %F fifo socket");
    same("the copy", b.stdout()?, "character special file 600 6 1:7\nfifo\nsocket\n")
}

fn copy_times(t: &Test) -> Verdict {
    let b = copied(t, &["size=10m"])?;
    let file = fs::File::options().write(true).open(b.rootfs("var/data/file"))?;
    file.set_len(100 << 20)?;
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_007);
    file.set_modified(then)?;
    rustix::fs::setxattr(b.rootfs("var/data/sub/deep/script"), "security.capability", CAPABILITY, XattrFlags::empty())?;
    fs::File::open(b.rootfs("var/data/sub"))?.set_modified(then)?;
    let script =
        "cd /var/data; stat -c '%Y %s' file; stat -c %Y sub; test $(stat -c %b file) -lt 100 && echo holes; sleep 1000";
    let b = b.sh(script);
    let mut out = b.started()?;
    for line in ["1000000007 104857600", "1000000007", "holes"] {
        same("a line", out.next()?, line)?;
    }
    let path = format!("/proc/{}/root/var/data/sub/deep/script", b.pid()?.as_raw_nonzero());
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path, "security.capability", &mut value)?;
    same("the file's capabilities", value.get(..length), Some(CAPABILITY))?;
    b.kill_and_delete()
}

/// `cap_net_raw=ep`, as the kernel keeps it (version 2).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn copy_missing(t: &Test) -> Verdict {
    let b = t.bundle()?.mount("/var/none", "tmpfs", "tmpfs", &["tmpcopyup"]).sh("ls /var/none | wc -l");
    same("entries", b.stdout()?, "0\n")
}

fn copy_large(t: &Test) -> Verdict {
    let b = copied(t, &["size=64k"])?.args(&["true"]);
    fs::write(b.rootfs("var/data/\x1b[1mlarge"), vec![1; 200_000])?;
    let ours = "copying what is there: sendfile: ENOSPC (no space left on device): ?[1mlarge";
    b.run()?.refuses(t, ours, &["no space left on device", "No space left on device"])?;
    Ok(())
}

fn copy_deep(t: &Test) -> Verdict {
    let b = copied(t, &[])?;
    let deep = "d/".repeat(100);
    fs::create_dir_all(b.rootfs(&format!("var/data/{deep}")))?;
    fs::write(b.rootfs(&format!("var/data/{deep}end")), "end\n")?;
    same("output", b.sh(&format!("cat /var/data/{deep}end; ls /var/data | wc -l")).stdout()?, "end\n4\n")
}

fn copy_links(t: &Test) -> Verdict {
    fs::write(t.path("secret"), "secret\n")?;
    let b = copied(t, &[])?.with_link("var/data/out", t.path("secret"))?.with_link("var/data/up", "/")?;
    let b = b.with_link("var/data/host", "/proc/1/root")?.sh("cd /var/data; cat out; readlink up; find . | wc -l");
    let output = b.run()?;
    same("stdout", output.stdout()?, "/\n9\n")
}

fn copy_many(t: &Test) -> Verdict {
    let b = copied(t, &[])?;
    for number in 0..30 {
        let dir = b.rootfs(&format!("var/data/many{number}"));
        fs::create_dir(&dir)?;
        for file in 0..99 {
            fs::write(dir.join(format!("a-name-of-some-length-{file}")), "x")?;
        }
    }
    same("entries", b.sh("find /var/data | wc -l; cat /var/data/many*/* | wc -c").stdout()?, "3006\n2970\n")
}

fn copy_userns(t: &Test) -> Verdict {
    let b = copied(t, &[])?.user_namespace(100_000, 65_536);
    for (path, id) in
        [("file", 100_007), ("sub", 100_009), ("sub/deep", 100_000), ("sub/deep/script", 100_000), ("", 100_003)]
    {
        chown(b.rootfs(&format!("var/data/{path}")), Some(id), Some(id))?;
    }
    rustix::fs::chownat(
        CWD,
        b.rootfs("var/data/link"),
        Some(rustix::fs::Uid::from_raw(100_000)),
        Some(rustix::fs::Gid::from_raw(100_000)),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )?;
    same("owners", b.sh("cd /var/data; stat -c %u:%g file sub sub/deep").stdout()?, "7:7\n9:9\n0:0\n")
}

fn copy_readonly(t: &Test) -> Verdict {
    let output = copied(t, &["ro"])?.sh("cat /var/data/file; echo x >/var/data/new").run()?;
    same("stdout", output.stdout()?, "content\n")?;
    contains("stderr", &output.stderr()?, "Read-only file system")
}

fn copy_bind(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["bind", "tmpcopyup"]).args(&["true"]);
    b.run()?.refuses(t, "/mounts/7/options", &[])?;
    Ok(())
}
