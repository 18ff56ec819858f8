//! Device nodes, links in /dev, and the device program of the cgroup.

use serde_json::json;

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "devices/default",
            "null, zero, full, random, urandom and tty, each with its numbers and mode 0666",
            default_nodes,
        ),
        case("devices/default-work", "the default devices can be read and written", default_work),
        case("devices/default-links", "fd, stdin, stdout, stderr, ptmx and where they lead", default_links),
        case("devices/configured", "linux.devices: character, block and fifo, with mode, uid and gid", configured),
        case("devices/configured-in-new-directory", "directories on the way to a device are made", in_new_directory),
        case("devices/configured-default-mode", "mode 0666 and owner 0 where none is given", default_mode),
        case("devices/configured-replaces-default", "a default device may be named again", replaces_default),
        case("devices/cgroup-denies", "without a rule a device cannot be opened", cgroup_denies),
        case("devices/cgroup-allows", "a rule allows one device and no other", cgroup_allows),
        case("devices/cgroup-access", "r, w and m are told apart", cgroup_access),
        case("devices/cgroup-allow-all", "allow with nothing else allows all", cgroup_allow_all),
        case("devices/cgroup-order", "of rules for one device the last counts", cgroup_order),
        case("devices/cgroup-wildcard", "a rule without a minor number is for all of them", cgroup_wildcard),
        case("devices/user-namespace-other-device", "the host's node of that name is another device", other_device)
            .only(Kind::NoFrills, "runc and crun take what has the name"),
        case("devices/mknod-default", "nodes may be made, opened they may not be", mknod_default),
    ]
}

fn other_device(t: &Test) -> Verdict {
    let devices = json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 7}]);
    let b = t.bundle()?.user_namespace(100_000, 65_536).set("/linux/devices", devices).args(&["true"]);
    b.run()?.refuses(t, "/linux/devices/0: checking that the host has character device 1:7", &[])?;
    Ok(())
}

fn default_nodes(t: &Test) -> Verdict {
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u' null zero full random urandom tty";
    let expected = "null character special file 1:3 666 0\nzero character special file 1:5 666 0\n\
        full character special file 1:7 666 0\nrandom character special file 1:8 666 0\n\
        urandom character special file 1:9 666 0\ntty character special file 5:0 666 0\n";
    same("nodes", t.bundle()?.sh(script).stdout()?, expected)
}

fn default_work(t: &Test) -> Verdict {
    let script =
        "echo x >/dev/null && head -c 2 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c; echo x >/dev/full";
    let output = t.bundle()?.sh(script).run()?;
    same("stdout", output.stdout()?, "2\n3\n")?;
    contains("stderr", &output.stderr()?, "No space left on device")
}

fn default_links(t: &Test) -> Verdict {
    let script = "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done";
    let out = t.bundle()?.sh(script).stdout()?;
    same("links", out, "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n")?;
    same("in use", t.bundle()?.sh("echo out >/dev/stdout; echo x | cat /dev/fd/0").stdout()?, "out\nx\n")
}

fn configured(t: &Test) -> Verdict {
    let devices = json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 3, "fileMode": 0o600, "uid": 0, "gid": 0},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 2},
        {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3, "fileMode": 0o600},
    ]);
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' mine block pipe unbuffered";
    let out = t.bundle()?.set("/linux/devices", devices).sh(script).stdout()?;
    let expected = "mine character special file 1:5 640 7:8\nblock block special file 7:3 600 0:0\n\
        pipe fifo 0:0 622 1:2\nunbuffered character special file 1:3 600 0:0\n";
    same("nodes", out, expected)
}

fn in_new_directory(t: &Test) -> Verdict {
    let devices = json!([{"path": "/dev/net/deep/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666}]);
    let out = t
        .bundle()?
        .set("/linux/devices", devices)
        .sh("stat -c '%F %t:%T' /dev/net/deep/tun; stat -c %a /dev/net")
        .stdout()?;
    same("node and directory", out, "character special file a:c8\n755\n")
}

fn default_mode(t: &Test) -> Verdict {
    let devices = json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}]);
    same(
        "mode and owner",
        t.bundle()?.set("/linux/devices", devices).sh("stat -c '%a %u:%g' /dev/mine").stdout()?,
        "666 0:0\n",
    )
}

fn replaces_default(t: &Test) -> Verdict {
    let devices = json!([
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0},
        {"path": "/dev/full", "type": "c", "major": 1, "minor": 7, "fileMode": 0o666, "uid": 0, "gid": 0},
    ]);
    // As engines do it for privileged containers. With a rule that denies all, runc drops its own rule
    // for a default device that is named again.
    let b = t
        .bundle()?
        .set("/linux/devices", devices)
        .set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    let out = b.sh("stat -c '%t:%T' /dev/null /dev/full").stdout()?;
    same("nodes", out, "1:3\n1:7\n")
}

/// Makes a node for /dev/kmsg (1:11), which no default rule allows to be opened, and tries to read and
/// write it.
const TRY_KMSG: &str = "mknod /tmp/kmsg c 1 11 && echo made
    (exec 3</tmp/kmsg) && echo read; (exec 3>/tmp/kmsg) && echo written; true";

fn try_kmsg(t: &Test, rules: serde_json::Value) -> Verdict<String> {
    let b = t.bundle()?.capabilities(&["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYSLOG"]).mount(
        "/tmp",
        "tmpfs",
        "tmpfs",
        &["mode=777"],
    );
    b.set("/linux/resources/devices", rules).sh(TRY_KMSG).stdout()
}

fn cgroup_denies(t: &Test) -> Verdict {
    same("output", try_kmsg(t, json!([{"allow": false, "access": "rwm"}]))?, "made\n")
}

fn cgroup_allows(t: &Test) -> Verdict {
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"}]);
    same("output", try_kmsg(t, rules)?, "made\nread\nwritten\n")?;
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 12, "access": "rwm"}]);
    same("output", try_kmsg(t, rules)?, "made\n")
}

fn cgroup_access(t: &Test) -> Verdict {
    let rules = |access: &str| json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": access}]);
    same("r", try_kmsg(t, rules("r"))?, "made\nread\n")?;
    same("w", try_kmsg(t, rules("w"))?, "made\nwritten\n")?;
    same("m", try_kmsg(t, rules("m"))?, "made\n")
}

fn cgroup_allow_all(t: &Test) -> Verdict {
    same("output", try_kmsg(t, json!([{"allow": true, "access": "rwm"}]))?, "made\nread\nwritten\n")?;
    same("output", try_kmsg(t, json!([{"allow": true, "type": "a", "access": "rwm"}]))?, "made\nread\nwritten\n")
}

fn cgroup_order(t: &Test) -> Verdict {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"},
    ]);
    same("output", try_kmsg(t, rules)?, "made\nread\n")?;
    let rules = json!([
        {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
        {"allow": false, "access": "rwm"},
    ]);
    same("deny all at the end", try_kmsg(t, rules)?, "made\n")
}

fn cgroup_wildcard(t: &Test) -> Verdict {
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "rw"}]);
    same("output", try_kmsg(t, rules)?, "made\nread\nwritten\n")?;
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": 1, "access": "rw"}]);
    same("a block rule", try_kmsg(t, rules)?, "made\n")
}

fn mknod_default(t: &Test) -> Verdict {
    let b = t.bundle()?.capabilities(&["CAP_MKNOD"]).mount("/tmp", "tmpfs", "tmpfs", &["mode=777"]);
    let script =
        "mknod /tmp/loop b 7 0 && echo made; head -c 1 /tmp/loop 2>/dev/null && echo read; head -c 1 /dev/zero | wc -c";
    let out = b.sh(script).stdout()?;
    check(out == "made\n1\n", || format!("output: {out:?}"))
}
