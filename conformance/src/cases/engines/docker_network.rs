//! Docker Engine: networks.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use crate::bundle::{Test, eventually, patience};
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Container, Docker, IMAGE, REDIS_IMAGE};
use crate::expect::{Verdict, check, contains, same, some};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case(
            "engines/docker/port",
            "-p: a port is reached from the host, on the loopback and at the container's address",
            port,
        ),
        case(
            "engines/docker/network-names",
            "two containers on a bridge network find each other by name and alias",
            names,
        ),
        case("engines/docker/network-apart", "containers of two networks do not reach each other", apart),
        case("engines/docker/network-connect", "network connect and disconnect of a running container", connect),
        case("engines/docker/network-none", "--network none: the loopback alone", none),
        case("engines/docker/hosts", "--hostname, --domainname, --add-host, --dns: the files that tell of them", hosts),
        case(
            "engines/docker/redis",
            "redis-server from an image of the registry keeps a value for another container",
            redis,
        ),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

/// A program that answers each connection with a line.
const SERVES: &[&str] = &["sh", "-c", "while :; do echo answer | nc -l -p 8080 >/dev/null; done"];

/// The line that comes from this address at some time.
fn line_from(address: &str) -> Verdict<String> {
    let mut line = String::new();
    eventually(&format!("{address} answers"), || {
        // Docker's proxy takes the connection before the program listens, and ends it then.
        let Ok(stream) = TcpStream::connect(address) else { return Ok(false) };
        stream.set_read_timeout(Some(patience()))?;
        line.clear();
        Ok(BufReader::new(stream).read_line(&mut line).is_ok_and(|length| length > 0))
    })?;
    Ok(line)
}

fn port(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let c = docker.container("c", &["-p", "127.0.0.1::8080"], SERVES)?;
    let address = docker.ok(&["port", &c.name, "8080"])?;
    same("on the loopback", line_from(&address)?.as_str(), "answer\n")?;
    let own = c.inspect("{{.NetworkSettings.IPAddress}}")?;
    same("at the container's address", line_from(&format!("{own}:8080"))?.as_str(), "answer\n")
}

/// The container reaches what serves at this name.
fn reaches(c: &Container<'_>, name: &str) -> Verdict {
    let script = format!("nc {name} 8080 </dev/null");
    eventually(&format!("{} reaches {name}", c.name), || Ok(c.exec_sh(&[], &script).is_ok_and(|line| line == "answer")))
}

fn names(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let network = docker.name("net");
    docker.ok(&["network", "create", &network])?;
    let server = docker.container("server", &["--network", &network, "--network-alias", "alias"], SERVES)?;
    let client = docker.idle("client", &["--network", &network])?;
    reaches(&client, &server.name)?;
    reaches(&client, "alias")?;
    let missing = docker.call(&["exec", &client.name, "nc", "no-such-name", "8080"])?;
    check(missing.status != 0, || "a name that is not there was found".to_owned())
}

fn apart(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let networks = [docker.name("one"), docker.name("other")];
    for network in &networks {
        docker.ok(&["network", "create", network])?;
    }
    let server = docker.container("server", &["--network", &networks[0], "--network-alias", "alias"], SERVES)?;
    let near = docker.idle("near", &["--network", &networks[0]])?;
    let far = docker.idle("far", &["--network", &networks[1]])?;
    reaches(&near, "alias")?;
    let address =
        server.inspect(&format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", networks[0]))?;
    for target in ["alias", address.as_str()] {
        let output = docker.call(&["exec", &far.name, "nc", "-w", "1", target, "8080"])?;
        check(output.status != 0, || format!("{target} was reached from another network"))?;
    }
    Ok(())
}

fn connect(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let network = docker.name("net");
    docker.ok(&["network", "create", &network])?;
    let _server = docker.container("server", &["--network", &network, "--network-alias", "alias"], SERVES)?;
    let client = docker.idle("client", &["--network", "none"])?;
    docker.ok(&["network", "disconnect", "none", &client.name])?;
    docker.ok(&["network", "connect", &network, &client.name])?;
    reaches(&client, "alias")?;
    docker.ok(&["network", "disconnect", &network, &client.name])?;
    same("left", client.exec(&["ls", "/sys/class/net"])?.as_str(), "lo")
}

fn none(t: &Test) -> Verdict {
    let seen = Docker::of(t).sh(&["--network", "none"], "ls /sys/class/net; ip -o addr show lo | grep -c 127.0.0.1")?;
    same("network", seen.as_str(), "lo\n1")
}

fn hosts(t: &Test) -> Verdict {
    let flags = [
        "--hostname",
        "name",
        "--domainname",
        "example.net",
        "--add-host",
        "there:192.0.2.7",
        "--dns",
        "192.0.2.9",
        "--dns-search",
        "example.com",
    ];
    let script = "hostname; cat /proc/sys/kernel/domainname; grep there /etc/hosts; grep -c 'name.example.net' /etc/hosts; \
                  grep -v '^#' /etc/resolv.conf; cat /etc/hostname";
    let expected = "name\nexample.net\n192.0.2.7\tthere\n1\nnameserver 192.0.2.9\nsearch example.com\nname";
    let seen = Docker::of(t).sh(&flags, script)?;
    let seen: Vec<_> = seen.lines().filter(|line| !line.is_empty()).collect();
    same("files", seen.join("\n").as_str(), expected)
}

fn redis(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let network = docker.name("net");
    docker.ok(&["network", "create", &network])?;
    let name = docker.name("server");
    let flags = ["--detach", "--name", &name, "--network", &network, "--network-alias", "redis", "--read-only"];
    docker.ok(&[&["run"][..], &flags, &[REDIS_IMAGE, "--protected-mode", "no", "--save", ""]].concat())?;
    let asks = |commands: &str| {
        docker.call(&[
            "run",
            "--rm",
            "--network",
            &network,
            IMAGE,
            "sh",
            "-c",
            &format!("printf '{commands}QUIT\\r\\n' | nc redis 6379"),
        ])
    };
    eventually("the server answers", || Ok(asks("PING\\r\\n")?.stdout()?.contains("+PONG")))?;
    same("SET", asks("SET key value\\r\\n")?.exits(0)?.stdout()?.as_str(), "+OK\r\n+OK\r\n")?;
    same("GET", asks("GET key\\r\\n")?.exits(0)?.stdout()?.as_str(), "$5\r\nvalue\r\n+OK\r\n")?;
    let server = docker.existing(&name);
    same("its user", some("Uid", server.exec(&["grep", "Uid", "/proc/1/status"])?.split_whitespace().nth(1))?, "1000")?;
    server.verb(&["stop", "--time", "60"])?;
    server.is("{{.State.ExitCode}}", "0")?;
    contains("its last words", &server.logs()?, "Redis is now ready to exit")
}
