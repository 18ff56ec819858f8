//! Networks: bridges with names (netavark), ports, and what an ordinary user has in their place (pasta, slirp4netns).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::bundle::{PATIENCE, Test, eventually};
use crate::case::{Case, case};
use crate::engines::podman::{IMAGE, Podman};
use crate::expect::{Verdict, contains, same};

use super::{Place, Root, User};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("engines/podman/network", "two containers on a network reach each other by name", names),
        case(
            "engines/podman/network-connect",
            "a network is connected to a running container, and taken away",
            connect,
        ),
        case("engines/podman/ports", "a port is reached from the host, through a bridge", ports),
        case(
            "engines/podman-rootless/network",
            "two containers on a user's network reach each other by name",
            names_user,
        ),
        case("engines/podman-rootless/ports-pasta", "a port is reached from the host, through pasta", pasta),
        case("engines/podman-rootless/ports-slirp", "a port is reached from the host, through slirp4netns", slirp),
    ]
}

/// What a server in a container says on its port 80, with nc from busybox.
const SERVER: &str = "while :; do echo \"hello from $(hostname)\" | nc -l -p 80; done";

/// Starts the server and waits until it listens.
fn serve(p: &Podman<'_>, flags: &str) -> Verdict {
    p.gets(&format!("run --detach --name server --hostname server {flags} {IMAGE} sh -c"), &[SERVER])?;
    // 0050 is the port, 0A that it listens.
    eventually("the server listens", || {
        let tables = p.call("exec server cat /proc/net/tcp /proc/net/tcp6", &[])?.stdout()?;
        Ok(tables.lines().any(|line| line.contains(":0050 ") && line.contains(" 0A ")))
    })
}

/// What is said on this port of the host.
fn fetch(port: u16) -> Verdict<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"\n")?;
    let mut text = vec![0; 64];
    let length = stream.read(&mut text)?;
    Ok(String::from_utf8_lossy(text.get(..length).unwrap_or_default()).trim().to_owned())
}

/// A port is served again and again; between two of its rounds nobody listens.
fn reached(port: u16) -> Verdict {
    eventually(
        "the server answers on the host's port",
        || Ok(fetch(port).is_ok_and(|text| text == "hello from server")),
    )
}

fn two_by_name<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets("network create n", &[])?;
    serve(&p, "--network n")?;
    let words = format!("run --rm --network n {IMAGE} sh -c");
    let script = "for i in $(seq 200); do nc server 80 </dev/null | grep hello && break; done";
    same("what the other is told", p.gets(&words, &[script])?, "hello from server")?;
    let addresses = p.gets("exec server ip -o -4 addr show dev eth0", &[])?;
    contains(
        "the address",
        &addresses,
        &p.gets("inspect --format {{.NetworkSettings.Networks.n.IPAddress}} server", &[])?,
    )?;
    p.gets("rm --force --time 0 server", &[])?;
    p.gets("network rm n", &[]).map(drop)
}

fn names(t: &Test) -> Verdict {
    two_by_name::<Root>(t)
}

fn names_user(t: &Test) -> Verdict {
    two_by_name::<User>(t)
}

fn connect(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    p.gets("network create one", &[])?;
    p.gets("network create two", &[])?;
    p.gets(&format!("run --detach --name c --network one {IMAGE} sleep 1000"), &[])?;
    p.gets("network connect two c", &[])?;
    contains("interfaces", &p.gets("exec c ip -o link", &[])?, "eth1")?;
    p.gets("network disconnect two c", &[])?;
    same("interfaces", p.gets("exec c ip -o link", &[])?.contains("eth1"), false)
}

fn ports(t: &Test) -> Verdict {
    let p = Root::podman(t)?;
    serve(&p, "--network podman --publish 127.0.0.1:8080:80")?;
    same("the port", p.gets("port server", &[])?, "80/tcp -> 127.0.0.1:8080")?;
    reached(8080)
}

fn pasta(t: &Test) -> Verdict {
    let p = User::podman(t)?;
    uplink()?;
    serve(&p, "--network pasta --publish 127.0.0.1:8080:80")?;
    reached(8080)
}

fn slirp(t: &Test) -> Verdict {
    let p = User::podman(t)?;
    uplink()?;
    serve(&p, "--network slirp4netns --publish 127.0.0.1:8080:80")?;
    reached(8080)
}

/// pasta copies the addresses of an interface with a default route, so there has to be one.
fn uplink() -> Verdict {
    for words in [
        "link add uplink type veth peer name other",
        "link set other up",
        "addr add 192.0.2.2/24 dev uplink",
        "link set uplink up",
        "route add default via 192.0.2.1",
    ] {
        let status = std::process::Command::new("ip").args(words.split(' ')).status()?;
        same(words, status.success(), true)?;
    }
    Ok(())
}
