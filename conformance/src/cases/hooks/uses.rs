//! What hooks are used for.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("hooks/mount-by-create-runtime", "a mount made through the container's namespace is there", |t| {
            let script = r#"nsenter -t $PID -m sh -c "mount -t tmpfs made $BUNDLE/rootfs/mnt && echo hi >$BUNDLE/rootfs/mnt/file""#;
            mounts(t, "createRuntime", script)
        }),
        case("hooks/mount-by-prestart", "the same by a prestart hook, as NVIDIA's does", |t| {
            let script = r#"nsenter -t $PID -m sh -c "mount -t tmpfs made $BUNDLE/rootfs/mnt && echo hi >$BUNDLE/rootfs/mnt/file""#;
            mounts(t, "prestart", script)
        }),
        case("hooks/mount-without-pivot", "the same with --no-pivot", |t| {
            let script = r#"nsenter -t $PID -m sh -c "mount -t tmpfs made $BUNDLE/rootfs/mnt && echo hi >$BUNDLE/rootfs/mnt/file""#;
            let b = mounting(t, "createRuntime", script)?;
            same("seen", b.run_with(&["--no-pivot"])?.exits(0)?.stdout()?, "hi\n")
        }),
        case("hooks/mount-by-create-container", "a mount made by a createContainer hook is there", |t| {
            mounts(t, "createContainer", "mount -t tmpfs made $BUNDLE/rootfs/mnt && echo hi >$BUNDLE/rootfs/mnt/file")
        }),
        case("hooks/file-by-create-container", "a file that it writes into the rootfs is there", |t| {
            mounts(t, "createContainer", "echo hi >$BUNDLE/rootfs/mnt/file")
        }),
        case(
            "hooks/network-namespace-by-prestart",
            "a prestart hook keeps the network namespace, as Docker's",
            set_key,
        ),
        case("hooks/veth", "a bridge and a veth by a createRuntime hook, with traffic over it", veth),
        case("hooks/features", "features lists the moments", features),
    ]
}

/// Sets PID and BUNDLE from the state.
pub(super) const FROM_STATE: &str =
    r#"S=$(cat | tr -d '\\\n'); PID=$(echo "$S" | sed 's/.*"pid": *\([0-9]*\).*/\1/'); "#;

fn mounts(t: &Test, moment: &str, script: &str) -> Verdict {
    same("seen", mounting(t, moment, script)?.stdout()?, "hi\n")
}

fn mounting<'t>(t: &'t Test, moment: &str, script: &str) -> Verdict<Bundle<'t>> {
    let b = t.bundle()?.with_dir("mnt")?.sh("cat /mnt/file");
    let script = format!("{FROM_STATE} BUNDLE={}; {script}", b.dir.display());
    Ok(b.hook(moment, sh(&script)))
}

fn set_key(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let key = dir.join("netns");
    fs::write(&key, "")?;
    // Docker's hook reads the pid and keeps the namespace by a bind mount.
    let b = b.hook("prestart", sh(&format!("{FROM_STATE} mount --bind /proc/$PID/ns/net {}", key.display())));
    b.create()?;
    let own = fs::metadata(format!("/proc/{}/ns/net", b.pid()?.as_raw_nonzero()))?;
    let kept = fs::metadata(&key)?;
    same("network namespace", (kept.dev(), kept.ino()), (own.dev(), own.ino()))?;
    b.start()?;
    b.kill_and_delete()?;
    rustix::mount::unmount(&key, rustix::mount::UnmountFlags::DETACH)?;
    Ok(())
}

/// Which interfaces a case makes is its own: their names are short, and the host's network is everybody's.
fn veth(t: &Test) -> Verdict {
    if std::process::Command::new("ip").arg("-V").output().is_err() {
        return crate::expect::skip("there is no ip (Debian: iproute2)");
    }
    let (b, dir) = shared(t)?;
    // A network of the case's own in place of the host's, in which the bridge is.
    let host = dir.join("hostnet");
    fs::write(&host, "")?;
    let script = format!(
        "{FROM_STATE} set -e
        unshare --net={host} true
        h() {{ nsenter --net={host} \"$@\"; }}
        h ip link set lo up
        h ip link add br0 type bridge
        h ip addr add 10.77.0.1/24 dev br0
        h ip link set br0 up
        h ip link add v0 type veth peer name v1
        h ip link set v0 master br0 up
        h ip link set v1 netns $PID name eth0
        nsenter -t $PID -n ip addr add 10.77.0.2/24 dev eth0
        nsenter -t $PID -n ip link set eth0 up
        nsenter -t $PID -n ip route add default via 10.77.0.1
        echo hello over the bridge >{dir}/page
        # It listens when this returns.
        h {busybox} httpd -p 10.77.0.1:7777 -h {dir} </dev/null >/dev/null 2>&1",
        host = host.display(),
        busybox = t.work.join("../busybox").display(),
        dir = dir.display(),
    );
    let b = b
        .hook("createRuntime", sh(&script))
        .sh("ip -4 addr show dev eth0 | grep -o '10.77.0.2/24'; busybox wget -q -O - http://10.77.0.1:7777/page");
    // Not by run: crun's would wait for the server.
    let heard = b.started().and_then(|mut lines| Ok((lines.next()?, lines.next()?)));
    crate::left::kill_descendants();
    rustix::mount::unmount(&host, rustix::mount::UnmountFlags::DETACH)?;
    same("what the container heard", heard?, ("10.77.0.2/24".to_owned(), "hello over the bridge".to_owned()))
}

fn features(t: &Test) -> Verdict {
    let features: Value = serde_json::from_str(&t.runtime(&["features"])?.exits(0)?.stdout()?)?;
    let mut found: Vec<&str> = some("hooks", features["hooks"].as_array())?.iter().filter_map(Value::as_str).collect();
    let mut expected = MOMENTS.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    same("hooks", found, expected)
}
