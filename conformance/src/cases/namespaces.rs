//! Namespaces, host names, user namespaces, cgroups.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, contains, lacks, same, some};
use crate::features::controller;
use crate::kind::Kind;
use crate::mountinfo;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("namespaces/pid", "new with the config's entry, the caller's without", |t| new_and_absent(t, "pid")),
        case("namespaces/network", "new with the config's entry, the caller's without", |t| new_and_absent(t, "net")),
        case("namespaces/ipc", "new with the config's entry, the caller's without", |t| new_and_absent(t, "ipc")),
        case("namespaces/uts", "new with the config's entry, the caller's without", |t| new_and_absent(t, "uts")),
        case("namespaces/cgroup", "new with the config's entry, the caller's without", |t| new_and_absent(t, "cgroup")),
        case("namespaces/mount", "the mount namespace is new", mount_new),
        case("namespaces/none-but-mount", "with the mount namespace alone", none_but_mount),
        case("namespaces/loopback-up", "lo is up in a new network namespace, and alone", loopback),
        case("namespaces/hostname", "hostname is set, and the host's stays", hostname),
        case("namespaces/domainname", "domainname is set", domainname),
        case("namespaces/hostname-absent", "without hostname the new namespace keeps the host's", hostname_absent),
        case("namespaces/hostname-without-uts", "a hostname without a uts namespace is refused", hostname_without_uts),
        case("namespaces/unknown-type", "a type that nobody knows is refused", unknown_type)
            .known_failure(Kind::Crun, "leaves the cgroup behind when the process cannot be set up"),
    ];
    cases.extend(user_cases());
    cases.extend(cgroup_cases());
    cases
}

fn user_cases() -> Vec<Case> {
    vec![
        case("users/ids", "root inside, an ordinary user outside", user_ids),
        case("users/maps", "uid_map, gid_map and setgroups as given", user_maps),
        case("users/other-user", "a uid other than 0 inside", user_other),
        case("users/file-owners", "files that the container makes belong to mapped ids", user_files),
        case("users/devices", "default devices work in a user namespace", user_devices),
        case("users/mounts", "the default mounts are there", user_mounts),
        case("users/capabilities", "all five sets count within", user_capabilities),
        case("users/all-namespaces-owned", "the other namespaces belong to the new user namespace", user_owner),
        case("users/unmapped-uid", "a process.user that is not mapped is refused", user_unmapped),
        case("users/lifecycle", "create, start, kill and delete with a user namespace", user_lifecycle),
        case("users/several-mappings", "maps with several lines", user_several),
        case("users/mappings-missing", "a new user namespace without mappings is refused", user_no_maps)
            .differs(Kind::Crun, "makes a map of its own"),
        case("users/cgroup-mount", "/sys/fs/cgroup is the container's own", user_cgroup),
    ]
}

fn cgroup_cases() -> Vec<Case> {
    vec![
        case("cgroups/absolute-path", "the process is in cgroupsPath, from create on", cgroup_absolute),
        case("cgroups/deep-path", "directories on the way are made", cgroup_deep),
        case("cgroups/path-absent", "without cgroupsPath the container gets a cgroup of its own", cgroup_absent),
        case("cgroups/path-empty", "an empty cgroupsPath counts as absent", cgroup_empty)
            .skip(Kind::Crun, "takes the root cgroup for the container's and kills all processes of the machine"),
        case("cgroups/namespace-view", "in a cgroup namespace the container's cgroup is the root", cgroup_view),
        case("cgroups/mount-shows-own", "/sys/fs/cgroup holds the container's cgroup alone", cgroup_mount),
        case("cgroups/removed-with-children", "delete removes cgroups that the container made", cgroup_children),
        case("cgroups/processes-die-with-delete", "delete --force kills what left the process's session", cgroup_kill),
        case("cgroups/reused-when-empty", "a cgroup that is there and empty is used", cgroup_reused),
        case(
            "cgroups/hands-controllers-on",
            "a cgroup that hands controllers on takes no process: an error that says so",
            cgroup_hands_on,
        )
        .needs_controllers(&["memory"]),
    ]
}

fn link(name: &str) -> Verdict<String> {
    Ok(fs::read_link(format!("/proc/self/ns/{name}"))?.to_string_lossy().into_owned())
}

fn inside(b: Bundle, name: &str) -> Verdict<String> {
    Ok(b.args(&["readlink", &format!("/proc/self/ns/{name}")]).stdout()?.trim().to_owned())
}

fn new_and_absent(t: &Test, name: &str) -> Verdict {
    let kind = if name == "net" { "network" } else { name };
    let host = link(name)?;
    let new = inside(t.bundle()?, name)?;
    check(new != host, || format!("{kind}: {new} is the host's"))?;
    // sysfs needs a network namespace that belongs to the container, and a hostname a uts namespace.
    let b = t.bundle()?.no_namespace(kind).remove("/hostname");
    same("the host's", inside(b, name)?, host)
}

fn mount_new(t: &Test) -> Verdict {
    let found = inside(t.bundle()?, "mnt")?;
    check(found.starts_with("mnt:") && found != link("mnt")?, || format!("the mount namespace is {found}"))
}

fn none_but_mount(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/linux/namespaces", json!([{"type": "mount"}])).remove("/hostname");
    let out = b.sh("for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done").stdout()?;
    let host = ["pid", "net", "ipc", "uts", "cgroup"].iter().map(|name| link(name)).collect::<Verdict<Vec<_>>>()?;
    same("namespaces", out.lines().collect::<Vec<_>>(), host)
}

fn loopback(t: &Test) -> Verdict {
    let out = t
        .bundle()?
        .sh("ls /sys/class/net; cat /proc/net/dev | grep -c :; ip addr show lo | grep -c 'UP'; ip addr show lo")
        .stdout()?;
    contains("lo", &out, "lo\n")?;
    contains("the address", &out, "127.0.0.1/8")?;
    contains("flags", &out, "LOOPBACK,UP")
}

fn hostname(t: &Test) -> Verdict {
    let before = fs::read_to_string("/proc/sys/kernel/hostname")?;
    same(
        "inside",
        t.bundle()?.set("/hostname", json!("my-host.name")).args(&["hostname"]).stdout()?,
        "my-host.name\n",
    )?;
    same("outside", fs::read_to_string("/proc/sys/kernel/hostname")?, before)
}

fn domainname(t: &Test) -> Verdict {
    let before = fs::read_to_string("/proc/sys/kernel/domainname")?;
    let b = t.bundle()?.set("/domainname", json!("my.domain")).args(&["cat", "/proc/sys/kernel/domainname"]);
    same("inside", b.stdout()?, "my.domain\n")?;
    same("outside", fs::read_to_string("/proc/sys/kernel/domainname")?, before)
}

fn hostname_absent(t: &Test) -> Verdict {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    same("inside", t.bundle()?.remove("/hostname").args(&["hostname"]).stdout()?, host.clone())?;
    same("empty counts as absent", t.bundle()?.set("/hostname", json!("")).args(&["hostname"]).stdout()?, host)
}

fn hostname_without_uts(t: &Test) -> Verdict {
    t.bundle()?.no_namespace("uts").args(&["true"]).run()?.refuses(t, "/hostname", &["hostname", "uts", "UTS"])?;
    Ok(())
}

fn unknown_type(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]).push("/linux/namespaces", json!({"type": "nonsense"}));
    b.run()?.refuses(t, "/linux/namespaces/6", &[])?;
    Ok(())
}

const HOST: u32 = 100_000;
const SIZE: u32 = 5000;

/// A bundle with a user namespace, its root file system owned by the mapped root.
fn mapped(t: &Test) -> Verdict<Bundle<'_>> {
    let b = t.bundle()?.user_namespace(HOST, SIZE);
    own(&b)?;
    Ok(b)
}

pub(crate) fn own(b: &Bundle) -> Verdict {
    for dir in ["", "tmp", "root", "etc"] {
        std::os::unix::fs::chown(b.rootfs(dir), Some(HOST), Some(HOST))?;
    }
    Ok(())
}

fn user_ids(t: &Test) -> Verdict {
    let b = mapped(t)?.idle();
    b.create()?;
    let status = fs::read_to_string(format!("/proc/{}/status", b.pid()?.as_raw_nonzero()))?;
    same("uids outside", status_line(&status, "Uid")?, "100000\t100000\t100000\t100000")?;
    same("gids outside", status_line(&status, "Gid")?, "100000\t100000\t100000\t100000")?;
    b.delete_force()?;
    same("inside", mapped(t)?.sh("id -u; id -g").stdout()?, "0\n0\n")
}

fn user_maps(t: &Test) -> Verdict {
    let out = mapped(t)?.sh("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups").stdout()?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("maps", words, ["0", "100000", "5000", "0", "100000", "5000", "allow"])
}

fn user_other(t: &Test) -> Verdict {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [1002]});
    let b = mapped(t)?.set("/process/user", user).running_idle()?;
    let status = fs::read_to_string(format!("/proc/{}/status", b.pid()?.as_raw_nonzero()))?;
    same("uids outside", status_line(&status, "Uid")?, "101000\t101000\t101000\t101000")?;
    same("gids outside", status_line(&status, "Gid")?, "101001\t101001\t101001\t101001")?;
    contains("groups outside", status_line(&status, "Groups")?, "101002")
}

fn user_files(t: &Test) -> Verdict {
    let b = mapped(t)?.writable().sh("echo x >/tmp/file; mkdir /new");
    b.run()?.exits(0)?;
    let file = fs::metadata(b.rootfs("tmp/file"))?;
    same("owner", (file.uid(), file.gid()), (HOST, HOST))?;
    let dir = fs::metadata(b.rootfs("new"))?;
    same("owner", (dir.uid(), dir.gid()), (HOST, HOST))
}

fn user_devices(t: &Test) -> Verdict {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T' /dev/$d; done
        echo x >/dev/null && head -c 2 /dev/zero | wc -c";
    let out = mapped(t)?.sh(script).stdout()?;
    for part in [
        "/dev/null character special file 1:3",
        "/dev/tty character special file 5:0",
        "/dev/zero character special file 1:5",
    ] {
        contains("devices", &out, part)?;
    }
    same("last line", out.lines().last(), Some("2"))
}

fn user_mounts(t: &Test) -> Verdict {
    let out = mapped(t)?
        .sh("cat /proc/self/mountinfo; ls /proc/1/ns >/dev/null && test -d /sys/class && echo fine")
        .stdout()?;
    let mounts = mountinfo::parse(&out);
    for point in ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"] {
        some(point, mounts.iter().find(|mount| mount.point == point))?;
    }
    contains("output", &out, "fine")
}

fn user_capabilities(t: &Test) -> Verdict {
    let names = ["CAP_KILL", "CAP_SYS_ADMIN", "CAP_CHOWN"];
    let out = mapped(t)?.capabilities(&names).args(&["cat", "/proc/self/status"]).stdout()?;
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        same(set, status_line(&out, set)?, "0000000000200021")?;
    }
    let b =
        mapped(t)?.capabilities(&names).writable().sh("hostname other && hostname; chown 5:5 /tmp && stat -c %u /tmp");
    same("in use", b.stdout()?, "other\n5\n")
}

fn user_owner(t: &Test) -> Verdict {
    // Only who owns the network namespace can add a device to it.
    let b = mapped(t)?.capabilities(&["CAP_NET_ADMIN"]).sh("ip link set lo down && ip link set lo up && echo mine");
    same("output", b.stdout()?, "mine\n")
}

fn user_unmapped(t: &Test) -> Verdict {
    let b = mapped(t)?.args(&["true"]).set("/process/user/uid", json!(SIZE));
    b.run()?.refuses(t, "/process/user/uid", &[])?;
    Ok(())
}

fn user_lifecycle(t: &Test) -> Verdict {
    let b = mapped(t)?.idle();
    b.create()?;
    b.is("created")?;
    b.start()?;
    b.is("running")?;
    b.kill_and_delete()?;
    b.is_gone()
}

fn user_several(t: &Test) -> Verdict {
    let map = json!([
        {"containerID": 0, "hostID": HOST, "size": 1},
        {"containerID": 1, "hostID": 200_000, "size": 10},
        {"containerID": 1000, "hostID": 300_000, "size": 100},
    ]);
    let b = mapped(t)?.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let out = b.args(&["cat", "/proc/self/uid_map"]).stdout()?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("map", words, ["0", "100000", "1", "1", "200000", "10", "1000", "300000", "100"])
}

fn user_no_maps(t: &Test) -> Verdict {
    let b = mapped(t)?.args(&["true"]).remove("/linux/uidMappings").remove("/linux/gidMappings");
    if t.kind == Kind::Crun {
        return Ok(());
    }
    b.run()?.refuses(t, "/linux/uidMappings", &[])?;
    Ok(())
}

fn user_cgroup(t: &Test) -> Verdict {
    let out = mapped(t)?.sh("test -e /sys/fs/cgroup/cgroup.procs && cat /proc/self/cgroup").stdout()?;
    contains("cgroup", &out, "0::/\n")
}

fn cgroup_of(pid: rustix::process::Pid) -> Verdict<String> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
    Ok(some("the line of cgroup2", text.lines().find_map(|line| line.strip_prefix("0::")))?.to_owned())
}

fn cgroup_absolute(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    same("created", cgroup_of(b.pid()?)?, format!("{}/{}", t.cgroup, b.id))?;
    b.start()?;
    same("running", cgroup_of(b.pid()?)?, format!("{}/{}", t.cgroup, b.id))?;
    b.kill_and_delete()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn cgroup_deep(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    let path = format!("{}/deep/er/{}", t.cgroup, b.id);
    let b = b.set("/linux/cgroupsPath", json!(path));
    b.create()?;
    same("cgroup", cgroup_of(b.pid()?)?, path)?;
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    // Whether the directories on the way stay is the runtime's affair: others may use them by now.
    for dir in ["deep/er", "deep"] {
        let dir = t.cgroup_dir().join(dir);
        if dir.exists() {
            fs::remove_dir(dir)?;
        }
    }
    Ok(())
}

fn cgroup_absent(t: &Test) -> Verdict {
    let b = t.bundle()?.idle().remove("/linux/cgroupsPath");
    b.create()?;
    let cgroup = cgroup_of(b.pid()?)?;
    check(cgroup.ends_with(&b.id), || format!("the cgroup is {cgroup}"))?;
    b.delete_force()?;
    let dir = t.cgroup_mount.join(cgroup.trim_start_matches('/'));
    check(!dir.exists(), || format!("{} is left", dir.display()))?;
    Ok(())
}

fn cgroup_empty(t: &Test) -> Verdict {
    let b = t.bundle()?.idle().set("/linux/cgroupsPath", json!(""));
    b.create()?;
    let cgroup = cgroup_of(b.pid()?)?;
    check(cgroup.ends_with(&b.id), || format!("the cgroup is {cgroup}"))
}

fn cgroup_view(t: &Test) -> Verdict {
    let out = t.bundle()?.args(&["cat", "/proc/self/cgroup"]).stdout()?;
    contains("with a cgroup namespace", &out, "0::/\n")?;
    let b = t.bundle()?.no_namespace("cgroup").args(&["cat", "/proc/self/cgroup"]);
    let expected = format!("0::{}/{}\n", t.cgroup, b.id);
    contains("without", &b.stdout()?, &expected)
}

fn cgroup_mount(t: &Test) -> Verdict {
    let out = t.bundle()?.sh("cat /sys/fs/cgroup/cgroup.procs; ls /sys/fs/cgroup").stdout()?;
    check(out.starts_with("1\n"), || format!("cgroup.procs: {out}"))?;
    lacks("the suite's cgroup", &out, "nfc-")
}

fn cgroup_children(t: &Test) -> Verdict {
    let b = t.bundle()?.capabilities(&["CAP_SYS_ADMIN"]);
    let index = some("the mount", b.mount_index("/sys/fs/cgroup"))?;
    let b = b.set(&format!("/mounts/{index}/options"), json!(["nosuid", "noexec", "nodev"]));
    let b = b.sh("mkdir -p /sys/fs/cgroup/a/b && sh -c 'echo 0 >/sys/fs/cgroup/a/b/cgroup.procs; exec sleep 1000' & sleep 0; while ! grep -q . /sys/fs/cgroup/a/b/cgroup.procs; do :; done; echo ready; sleep 1000");
    let mut lines = b.started()?;
    same("line", lines.next()?, "ready")?;
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn cgroup_kill(t: &Test) -> Verdict {
    let b = t.bundle()?.no_namespace("pid").sh("setsid sh -c '(sleep 1000 &) ; sleep 1000' & echo ready; sleep 1000");
    let mut lines = b.started()?;
    same("line", lines.next()?, "ready")?;
    b.delete_force()?;
    b.is_gone()
}

fn cgroup_reused(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran");
    fs::create_dir(b.cgroup_dir())?;
    same("output", b.stdout()?, "ran\n")
}

fn cgroup_hands_on(t: &Test) -> Verdict {
    let b = t.bundle()?;
    controller(&b, "memory")?;
    fs::create_dir(b.cgroup_dir())?;
    fs::write(b.cgroup_dir().join("cgroup.subtree_control"), "+memory")?;
    b.run()?.refuses(t, "it hands controllers on to its children", &["busy"])?;
    // It was there before.
    if b.cgroup_dir().exists() {
        fs::remove_dir(b.cgroup_dir())?;
    }
    Ok(())
}
