//! A service of Docker Swarm, on a daemon of the case's own.

use crate::bundle::{Test, becomes, eventually};
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{IMAGE, OwnDaemon};
use crate::expect::{Verdict, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/swarm/service", "a service: created, scaled, rolled to another version, removed", service),
        case("engines/swarm/restarts", "a task that ends is replaced; a secret and a config are files in it", restarts),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

struct Swarm<'t>(OwnDaemon<'t>);

impl<'t> Swarm<'t> {
    fn start(t: &'t Test) -> Verdict<Self> {
        let own = OwnDaemon::start(t, &[])?;
        own.docker.ok(&["swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"])?;
        Ok(Self(own))
    }

    fn ok(&self, args: &[&str]) -> Verdict<String> {
        self.0.docker.ok(args)
    }

    /// The containers of the service that run.
    fn running(&self, service: &str) -> Verdict<Vec<String>> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        Ok(self.ok(&["ps", "--quiet", "--filter", &filter])?.lines().map(str::to_owned).collect())
    }

    /// So many containers of the service run, at some time, and each prints this when asked for VERSION.
    fn becomes(&self, service: &str, count: usize, version: &str) -> Verdict {
        eventually(&format!("{count} of {service} run with {version}"), || {
            let containers = self.running(service)?;
            let versions = containers.iter().map(|id| self.ok(&["exec", id, "sh", "-c", "echo $VERSION"]));
            // One that ends meanwhile is asked in vain.
            Ok(containers.len() == count && versions.flatten().filter(|seen| seen == version).count() == count)
        })
    }

    fn end(self) -> Verdict {
        self.ok(&["swarm", "leave", "--force"])?;
        self.0.end()
    }
}

fn service(t: &Test) -> Verdict {
    let swarm = Swarm::start(t)?;
    swarm.ok(&["network", "create", "--driver", "overlay", "--attachable", "net"])?;
    let flags =
        ["--name", "one", "--replicas", "1", "--env", "VERSION=first", "--network", "net", "--endpoint-mode", "dnsrr"];
    let rolls = ["--detach", "--update-delay", "0s", "--update-monitor", "100ms", "--stop-signal", "KILL"];
    let more = ["--restart-delay", "0s", "--no-resolve-image"];
    let serves = "while :; do echo answer | nc -l -p 8080 >/dev/null; done";
    let program = [IMAGE, "sh", "-c", serves];
    swarm.ok(&[&["service", "create", "--quiet"][..], &flags, &rolls, &more, &program].concat())?;
    swarm.becomes("one", 1, "first")?;
    let client =
        swarm.ok(&["run", "--detach", "--label", "case=client", "--network", "net", IMAGE, "sleep", "1000"])?;
    eventually("the service is found by its name", || {
        Ok(swarm.ok(&["exec", &client, "sh", "-c", "nc one 8080 </dev/null"]).is_ok_and(|line| line == "answer"))
    })?;
    swarm.ok(&["rm", "--force", &client])?;
    swarm.ok(&["service", "scale", "--detach", "one=2"])?;
    swarm.becomes("one", 2, "first")?;
    swarm.ok(&["service", "update", "--quiet", "--detach", "--env-add", "VERSION=second", "one"])?;
    swarm.becomes("one", 2, "second")?;
    let state = ["service", "inspect", "--format", "{{.UpdateStatus.State}}", "one"];
    becomes("the update", "completed", || swarm.ok(&state))?;
    swarm.ok(&["service", "rm", "one"])?;
    eventually("no container is left", || Ok(swarm.ok(&["ps", "--all", "--quiet"])?.is_empty()))?;
    swarm.end()
}

fn restarts(t: &Test) -> Verdict {
    let swarm = Swarm::start(t)?;
    for thing in ["secret", "config"] {
        let (status, _) = swarm.0.docker.fed(&[thing, "create", thing, "-"], format!("a {thing}\n").as_bytes())?;
        same("status", status, 0)?;
    }
    let flags =
        ["--name", "one", "--secret", "secret", "--config", "config", "--env", "VERSION=v", "--restart-delay", "0s"];
    let more = ["--no-resolve-image", "--stop-signal", "KILL", IMAGE, "sleep", "1000"];
    swarm.ok(&[&["service", "create", "--quiet"][..], &flags, &more].concat())?;
    swarm.becomes("one", 1, "v")?;
    let first = swarm.running("one")?.concat();
    same(
        "files",
        swarm.ok(&["exec", &first, "cat", "/run/secrets/secret", "/config"])?.as_str(),
        "a secret\na config",
    )?;
    swarm.ok(&["kill", &first])?;
    eventually("another task runs", || Ok(swarm.running("one")?.iter().any(|id| *id != first)))?;
    swarm.ok(&["service", "rm", "one"])?;
    eventually("no container runs", || Ok(swarm.running("one")?.is_empty()))?;
    swarm.end()
}
