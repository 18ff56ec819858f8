//! Kernel parameters of the container's namespaces.

use std::fs;

use serde_json::json;

use super::joined::Holder;
use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, same};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("sysctl/dots", "a name in dots", |t| reads(t, "net.ipv4.ip_forward", "net/ipv4/ip_forward", "1")),
        case("sysctl/slashes", "a name in slashes", |t| reads(t, "net/ipv4/ip_forward", "net/ipv4/ip_forward", "1")),
        case("sysctl/dot-in-slashes", "a dot in a name in slashes stands for itself", |t| {
            device(t, "net/ipv4/conf/v.1/forwarding")
        })
        .known_failure(Kind::Runc, "takes every dot for a separator")
        .known_failure(Kind::Crun, "takes every dot for a separator"),
        case("sysctl/slash-in-dots", "a slash in a name in dots stands for a dot", |t| {
            device(t, "net.ipv4.conf.v/1.forwarding")
        })
        .known_failure(Kind::Runc, "looks for the file in a directory")
        .known_failure(Kind::Crun, "looks for the file in a directory"),
        case("sysctl/ports", "an unprivileged port", |t| {
            reads(t, "net.ipv4.ip_unprivileged_port_start", "net/ipv4/ip_unprivileged_port_start", "80")
        }),
        case("sysctl/several-numbers", "a value of several numbers", |t| {
            reads(t, "kernel.sem", "kernel/sem", "250 32000 32 100")
        }),
        case("sysctl/ipc", "parameters of the ipc namespace", |t| {
            reads(t, "kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "1")?;
            reads(t, "kernel.msgmax", "kernel/msgmax", "65537")
        }),
        case("sysctl/mqueue", "parameters of message queues", |t| {
            reads(t, "fs.mqueue.msg_max", "fs/mqueue/msg_max", "25")
        }),
        case("sysctl/domainname", "the domain name", |t| {
            reads(t, "kernel.domainname", "kernel/domainname", "some.where")
        }),
        case("sysctl/many", "several at once", many),
        case("sysctl/host-stays", "the host's parameter stays", host_stays),
        case("sysctl/before-readonly", "with /proc/sys read-only, as engines have it", before_readonly),
        case("sysctl/user-namespace", "of the network, in a new user namespace", user_namespace),
        case("sysctl/of-user-namespace", "user.* in a new user namespace", of_user_namespace)
            .differs(Kind::Runc, "refuses user.*")
            .differs(Kind::Crun, "refuses user.*"),
        case("sysctl/joined", "in a network namespace that is joined by path", joined),
        case("sysctl/host-network", "net.* with the host's network namespace is refused", host_network),
        case("sysctl/host-network-path", "net.* with the host's network namespace by path is refused", host_path)
            .known_failure(Kind::Crun, "sets the host's"),
        case("sysctl/host-ipc", "kernel.shm* with the host's ipc namespace is refused", host_ipc),
        case("sysctl/host-uts", "kernel.domainname with the host's uts namespace is refused", host_uts),
        case("sysctl/not-namespaced", "a parameter of the whole host is refused", |t| refused(t, "kernel.panic", "0")),
        case("sysctl/hostname", "kernel.hostname is refused: hostname is there for it", |t| {
            refused(t, "kernel.hostname", "x")
        }),
        case("sysctl/traversal", "a name that leads elsewhere is refused", |t| {
            refused(t, "net/../kernel/panic_on_warn", "0")
        }),
        case("sysctl/unknown", "a name that the kernel does not know is an error", |t| {
            refused(t, "net.ipv4.no_such_parameter", "0")
        }),
        case("sysctl/bad-value", "a value that the kernel does not take is an error", |t| {
            refused(t, "net.ipv4.ip_unprivileged_port_start", "many")
        }),
    ]
}

fn reads(t: &Test, name: &str, file: &str, value: &str) -> Verdict {
    let b = t.bundle()?.set("/linux/sysctl", json!({name: value})).args(&["cat", &format!("/proc/sys/{file}")]);
    let out = b.stdout()?;
    same(name, out.split_whitespace().collect::<Vec<_>>().join(" ").as_str(), value)
}

/// A network device with a dot in its name.
fn device(t: &Test, name: &str) -> Verdict {
    let holder = Holder::new(&["--net"])?;
    let status = std::process::Command::new("nsenter")
        .arg(format!("--net={}", holder.path("net")))
        .args(["ip", "link", "add", "v.1", "type", "veth", "peer", "name", "w"])
        .status()?;
    same("ip link add", status.code(), Some(0))?;
    for value in ["1", "0"] {
        let b = t.bundle()?.join("network", &holder.path("net")).set("/linux/sysctl", json!({name: value}));
        same(name, b.args(&["cat", "/proc/sys/net/ipv4/conf/v.1/forwarding"]).stdout()?.trim(), value)?;
    }
    Ok(())
}

fn many(t: &Test) -> Verdict {
    let values = json!({"net.core.somaxconn": "256", "net.ipv4.ping_group_range": "0 5", "kernel.msgmni": "99"});
    let b = t.bundle()?.set("/linux/sysctl", values);
    let out = b.sh("cd /proc/sys; cat net/core/somaxconn net/ipv4/ping_group_range kernel/msgmni").stdout()?;
    same("values", out.split_whitespace().collect::<Vec<_>>(), ["256", "0", "5", "99"])
}

fn host_stays(t: &Test) -> Verdict {
    let file = "/proc/sys/net/ipv4/ip_default_ttl";
    let before = fs::read_to_string(file)?;
    reads(t, "net.ipv4.ip_default_ttl", "net/ipv4/ip_default_ttl", "77")?;
    same("the host's", fs::read_to_string(file)?, before)
}

fn before_readonly(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    let b = b.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    let out = b.sh("cat /proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/ip_forward || echo readonly");
    same("output", out.stdout()?, "1\nreadonly\n")
}

fn user_namespace(t: &Test) -> Verdict {
    let b = t.bundle()?.user_namespace(100_000, 1000).set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    same("value", b.args(&["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout()?, "1\n")
}

fn of_user_namespace(t: &Test) -> Verdict {
    let values = json!({"user.max_net_namespaces": "3"});
    let b = t.bundle()?.user_namespace(100_000, 1000).set("/linux/sysctl", values);
    let b = b.args(&["cat", "/proc/sys/user/max_net_namespaces"]);
    if t.ours() {
        return same("value", b.stdout()?, "3\n");
    }
    b.run()?.refuses(t, "", &["user.max_net_namespaces", "user/max_net_namespaces"])?;
    Ok(())
}

fn joined(t: &Test) -> Verdict {
    let holder = Holder::new(&["--net"])?;
    let b = t.bundle()?.join("network", &holder.path("net")).set("/linux/sysctl", json!({"net.core.somaxconn": "77"}));
    same("value", b.args(&["cat", "/proc/sys/net/core/somaxconn"]).stdout()?, "77\n")
}

fn is_refused(t: &Test, b: &Bundle<'_>, name: &str) -> Verdict {
    b.run()?.refuses(t, &format!("/linux/sysctl/{name}: "), &[name, &name.replace('.', "/")])?;
    b.is_gone()
}

/// A bundle without namespaces of some types sets a parameter to what it is already.
fn same_as_host(t: &Test, kind: &str, name: &str) -> Verdict {
    let value = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))?;
    let b = t.bundle()?.no_namespace(kind).remove("/hostname").args(&["true"]);
    is_refused(t, &b.set("/linux/sysctl", json!({name: value.trim()})), name)
}

fn host_network(t: &Test) -> Verdict {
    same_as_host(t, "network", "net.ipv4.ip_default_ttl")
}

fn host_ipc(t: &Test) -> Verdict {
    same_as_host(t, "ipc", "kernel.shmmni")
}

fn host_uts(t: &Test) -> Verdict {
    same_as_host(t, "uts", "kernel.domainname")
}

fn host_path(t: &Test) -> Verdict {
    let value = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl")?;
    let b = t.bundle()?.join("network", "/proc/self/ns/net").args(&["true"]);
    let name = "net.ipv4.ip_default_ttl";
    is_refused(t, &b.set("/linux/sysctl", json!({name: value.trim()})), name)
}

fn refused(t: &Test, name: &str, value: &str) -> Verdict {
    let b = t.bundle()?.set("/linux/sysctl", json!({name: value})).args(&["true"]);
    let place = format!("/linux/sysctl/{}: ", name.replace('~', "~0").replace('/', "~1"));
    b.run()?.refuses(t, &place, &[])?;
    b.is_gone()
}
