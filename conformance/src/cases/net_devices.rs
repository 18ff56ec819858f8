//! Network devices that are moved into the container. Each case has a network namespace of its own as the host's.

use std::process::Command;

use serde_json::{Value, json};

use super::joined::Holder;
use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("net-devices/moved", "a device is in the container, up, and on the host no more", moved),
        case("net-devices/renamed", "a device gets another name", renamed),
        case("net-devices/several", "several devices, two of which change their names", several),
        case("net-devices/addresses", "addresses of global scope stay", addresses)
            .skip(Kind::Crun, "at times it moves the device without its addresses"),
        case("net-devices/link-scope", "addresses of a smaller scope, and those that expire, do not stay", link_scope),
        case("net-devices/mtu", "the device's properties stay", mtu),
        case("net-devices/joined", "into a network namespace that is joined by path", joined),
        case("net-devices/user-namespace", "into a network namespace of a new user namespace", user_namespace),
        case("net-devices/missing", "a device that is not there is an error", missing),
        case("net-devices/name-taken", "a name that is taken in the container is an error", name_taken),
        case("net-devices/loopback", "a device that cannot be moved is an error", loopback),
        case("net-devices/failed", "a device is given back when the container cannot be made", failed)
            .known_failure(Kind::Crun, "loses the device"),
        case("net-devices/no-namespace", "without a network namespace it is refused", no_namespace)
            .known_failure(Kind::Crun, "passes over them"),
        case("net-devices/host-path", "with the host's network namespace by path it is refused", host_path)
            .known_failure(Kind::Crun, "runs the container"),
        case("net-devices/bad-name", "a name that is none is refused", bad_name),
        case("net-devices/same-name", "two devices of one name are refused", same_name),
        case("net-devices/create", "with create and start", create),
    ];
    cases.into_iter().map(|case| case.skip(Kind::Runc, "runc has them since version 1.4")).collect()
}

fn ip(args: &str) -> Verdict {
    let output = Command::new("ip").args(args.split(' ')).output()?;
    check(output.status.success(), || format!("ip {args}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn devices() -> Verdict<String> {
    Ok(String::from_utf8_lossy(&Command::new("ip").args(["-o", "addr"]).output()?.stdout).into_owned()
        + &String::from_utf8_lossy(&Command::new("ip").args(["-o", "link"]).output()?.stdout))
}

/// The case's process moves to a network namespace with a device `d0`.
fn host(t: &Test) -> Verdict<Bundle<'_>> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    ip("link add d0 type veth peer name p0")?;
    ip("link set p0 up")?;
    t.bundle()
}

fn with(b: Bundle<'_>, devices: Value) -> Bundle<'_> {
    b.set("/linux/netDevices", devices)
}

fn moved(t: &Test) -> Verdict {
    let b = with(host(t)?, json!({"d0": {}}));
    let out = b.sh("ip -o link show d0").stdout()?;
    contains("inside", &out, " d0@")?;
    contains("inside", &out, ",UP")?;
    Ok(())
}

fn renamed(t: &Test) -> Verdict {
    let b = with(host(t)?, json!({"d0": {"name": "eth0"}}));
    let out = b.sh("ls /sys/class/net").stdout()?;
    same("inside", out.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"])
}

fn several(t: &Test) -> Verdict {
    let b = host(t)?;
    ip("link add d1 type veth peer name p1")?;
    ip("link add d2 type veth peer name p2")?;
    let b = with(b, json!({"d0": {"name": "d1"}, "d1": {"name": "d0"}, "d2": {}}));
    let out = b.sh("ls /sys/class/net").stdout()?;
    same("inside", out.split_whitespace().collect::<Vec<_>>(), ["d0", "d1", "d2", "lo"])
}

fn addresses(t: &Test) -> Verdict {
    let b = host(t)?;
    ip("addr add 10.9.8.7/24 dev d0")?;
    ip("addr add 10.9.7.1 peer 10.9.7.2/32 dev d0")?;
    ip("addr add fd00:1::7/64 dev d0 nodad")?;
    ip("link set d0 up")?;
    let out = with(b, json!({"d0": {"name": "eth0"}})).sh("ip addr show eth0").stdout()?;
    contains("inside", &out, "10.9.8.7/24 ")?;
    contains("inside", &out, "10.9.7.1 peer 10.9.7.2/32")?;
    contains("inside", &out, "fd00:1::7/64")?;
    check(!out.lines().any(|line| line.contains("fd00:") && line.contains("tentative")), || out.clone())
}

fn link_scope(t: &Test) -> Verdict {
    let b = host(t)?;
    ip("addr add 10.9.8.7/24 dev d0 scope link")?;
    ip("addr add 10.9.7.8/24 dev d0 valid_lft 1000 preferred_lft 1000")?;
    let inside = with(b, json!({"d0": {}})).sh("ip addr").stdout()?;
    contains("inside", &inside, " d0@")?;
    lacks("inside", &inside, "10.9.")
}

fn mtu(t: &Test) -> Verdict {
    let b = host(t)?;
    ip("link set d0 mtu 1234 address 02:00:00:00:00:17")?;
    let out = with(b, json!({"d0": {"name": "eth0"}})).sh("cd /sys/class/net/eth0; cat mtu address").stdout()?;
    same("inside", out, "1234\n02:00:00:00:00:17\n")
}

fn joined(t: &Test) -> Verdict {
    let b = host(t)?;
    let holder = Holder::new(&["--net"])?;
    let b = with(b.join("network", &holder.path("net")), json!({"d0": {"name": "eth0"}}));
    contains("inside", &b.sh("ip link").stdout()?, "eth0@")?;
    lacks("on the host", &devices()?, " d0@")
}

fn user_namespace(t: &Test) -> Verdict {
    let b = host(t)?.user_namespace(100_000, 1000);
    ip("addr add 10.9.8.7/24 dev d0")?;
    contains("inside", &with(b, json!({"d0": {}})).sh("ip link show d0").stdout()?, ",UP")
}

fn missing(t: &Test) -> Verdict {
    let b = with(host(t)?, json!({"d7": {}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/netDevices/d7", &["d7"])?;
    b.is_gone()
}

fn name_taken(t: &Test) -> Verdict {
    let b = with(host(t)?, json!({"d0": {"name": "lo"}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/netDevices/d0", &[])?;
    b.is_gone()?;
    if t.ours() { contains("on the host", &devices()?, " d0@") } else { Ok(()) }
}

fn loopback(t: &Test) -> Verdict {
    let b = with(host(t)?, json!({"lo": {"name": "lo2"}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/netDevices/lo", &[])?;
    b.is_gone()
}

fn failed(t: &Test) -> Verdict {
    let b = host(t)?;
    ip("addr add 10.9.8.7/24 dev d0")?;
    ip("link set d0 up")?;
    let b = with(b, json!({"d0": {"name": "eth0"}})).args(&["no-such-program"]);
    b.run()?.refuses(t, "no-such-program", &["no-such-program"])?;
    b.is_gone()?;
    let devices = devices()?;
    contains("on the host", &devices, " d0@")?;
    contains("on the host", &devices, "10.9.8.7/24")
}

fn no_namespace(t: &Test) -> Verdict {
    let b = with(host(t)?.no_namespace("network"), json!({"d0": {}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/netDevices", &[])?;
    contains("on the host", &devices()?, " d0@")?;
    b.is_gone()
}

fn host_path(t: &Test) -> Verdict {
    let b = host(t)?.join("network", "/proc/self/ns/net");
    let b = with(b, json!({"d0": {"name": "eth0"}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/netDevices", &[])?;
    contains("on the host", &devices()?, " d0@")?;
    b.is_gone()
}

fn bad_name(t: &Test) -> Verdict {
    for name in ["a-name-that-is-too-long", "a b", "a/b", ".."] {
        let b = with(t.bundle()?, json!({name: {}})).args(&["true"]);
        b.run()?.refuses(t, "/linux/netDevices/", &[])?;
        b.is_gone()?;
        let b = with(t.bundle()?, json!({"no-device": {"name": name}})).args(&["true"]);
        b.run()?.refuses(t, "/linux/netDevices/no-device/name", &[])?;
        b.is_gone()?;
    }
    Ok(())
}

fn same_name(t: &Test) -> Verdict {
    let b = host(t)?;
    ip("link add d1 type veth peer name p1")?;
    let b = with(b, json!({"d0": {"name": "eth0"}, "d1": {"name": "eth0"}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/netDevices/d1/name", &[])?;
    b.is_gone()
}

fn create(t: &Test) -> Verdict {
    let b = with(host(t)?, json!({"d0": {}})).sh("ip -o link show d0; exec sleep 1000");
    let mut lines = b.started()?;
    contains("inside", &lines.next()?, ",UP")?;
    lacks("on the host", &devices()?, " d0@")?;
    b.kill_and_delete()?;
    b.is_gone()
}
