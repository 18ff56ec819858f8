//! Docker Compose.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{Output, Test, becomes};
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE, label};
use crate::expect::{Verdict, check, contains, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case(
            "engines/compose/up",
            "up waits for a healthy dependency, by name on the project's network; down removes all",
            up,
        ),
        case("engines/compose/scale", "up --scale: more of a service, and fewer", scale),
        case("engines/compose/run-exec", "run with its status, exec, logs, stop, start, restart", run_exec),
        case(
            "engines/compose/settings",
            "what a service sets: user, capabilities, limits, files, read-only, sysctls",
            settings,
        ),
        case("engines/compose/completed", "a dependency that has to complete first, and one that fails", completed),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

/// A project of these services. A file of Compose may be JSON.
struct Project<'t> {
    docker: Docker<'t>,
    file: String,
    name: String,
}

impl<'t> Project<'t> {
    fn new(t: &'t Test, services: &Value) -> Verdict<Self> {
        let docker = Docker::of(t);
        let (file, name) = (t.path("compose.yaml"), docker.name("project"));
        let mut project = json!({"services": services, "networks": {"default": {"labels": [label(t)]}}});
        for service in project["services"].as_object_mut().into_iter().flat_map(|services| services.values_mut()) {
            service["labels"] = json!([label(t)]);
            service["image"] = json!(IMAGE);
            service["stop_grace_period"] = json!("0s");
        }
        fs::write(&file, project.to_string())?;
        Ok(Self { docker, file: file.to_string_lossy().into_owned(), name })
    }

    fn call(&self, args: &[&str]) -> Verdict<Output> {
        let own =
            ["compose", "--ansi", "never", "--progress", "plain", "--file", &self.file, "--project-name", &self.name];
        self.docker.call(&[&own[..], args].concat())
    }

    fn ok(&self, args: &[&str]) -> Verdict<String> {
        // Compose begins each line of a log so, whatever --ansi says.
        Ok(self.call(args)?.exits(0)?.stdout()?.replace("\x1b[2K", "").trim_end().to_owned())
    }

    /// How many containers of the service run.
    fn running(&self, service: &str) -> Verdict<usize> {
        Ok(self.ok(&["ps", "--quiet", "--status", "running", service])?.lines().count())
    }

    /// `down`, after which nothing of the project is left.
    fn down(&self) -> Verdict {
        self.ok(&["down", "--volumes"])?;
        let filter = format!("label=com.docker.compose.project={}", self.name);
        same("containers left", self.docker.ok(&["ps", "--all", "--quiet", "--filter", &filter])?.as_str(), "")?;
        same("networks left", self.docker.ok(&["network", "ls", "--quiet", "--filter", &filter])?.as_str(), "")
    }
}

fn up(t: &Test) -> Verdict {
    let serves = "rm -f /ready; sleep 0.3; touch /ready; while :; do echo answer | nc -l -p 8080 >/dev/null; done";
    let project = Project::new(
        t,
        &json!({
            "server": {
                "command": ["sh", "-c", serves],
                "healthcheck": {"test": ["CMD", "test", "-e", "/ready"], "interval": "100ms", "retries": 100},
            },
            "client": {
                "command": ["sh", "-c", "until nc server 8080 </dev/null | grep answer; do sleep 0.1; done; exec sleep 1000"],
                "depends_on": {"server": {"condition": "service_healthy"}},
            },
        }),
    )?;
    project.ok(&["up", "--detach", "--wait"])?;
    same("servers", project.running("server")?, 1)?;
    becomes("what the client has", "answer", || project.ok(&["logs", "--no-log-prefix", "client"]))?;
    // It was not started before the server was healthy.
    let of = |service: &str, format: &str| -> Verdict<String> {
        let id = project.ok(&["ps", "--quiet", service])?;
        project.docker.ok(&["inspect", "--format", format, &id])
    };
    let checks = of("server", "{{range .State.Health.Log}}{{.ExitCode}} {{end}}")?;
    contains("the server's checks", &checks, "0")?;
    let (server, client) = (of("server", "{{.State.StartedAt}}")?, of("client", "{{.State.StartedAt}}")?);
    check(server < client, || format!("the client started at {client}, the server at {server}"))?;
    project.down()
}

fn scale(t: &Test) -> Verdict {
    let project = Project::new(t, &json!({"worker": {"command": ["sleep", "1000"]}}))?;
    for count in [3, 1] {
        project.ok(&["up", "--detach", "--scale", &format!("worker={count}")])?;
        same("workers", project.running("worker")?, count)?;
    }
    project.down()
}

fn run_exec(t: &Test) -> Verdict {
    let project = Project::new(t, &json!({"one": {"command": ["sh", "-c", "echo started; exec sleep 1000"]}}))?;
    project.call(&["run", "--rm", "-T", "one", "sh", "-c", "exit 9"])?.exits(9)?;
    project.ok(&["up", "--detach"])?;
    same("exec", project.ok(&["exec", "-T", "one", "cat", "/proc/1/comm"])?.as_str(), "sleep")?;
    project.call(&["exec", "-T", "one", "sh", "-c", "exit 8"])?.exits(8)?;
    project.ok(&["stop"])?;
    same("running", project.running("one")?, 0)?;
    project.ok(&["start"])?;
    project.ok(&["restart"])?;
    same("running", project.running("one")?, 1)?;
    project.ok(&["pause"])?;
    project.ok(&["unpause"])?;
    becomes("what it said", "started\nstarted\nstarted", || project.ok(&["logs", "--no-log-prefix"]))?;
    project.down()
}

fn settings(t: &Test) -> Verdict {
    let script = "id -u; id -G; sed -n 's/CapBnd:.//p' /proc/self/status; ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl /conf; \
                  touch /x 2>/dev/null || echo read-only; touch /run/x && hostname; cat /proc/1/comm";
    let conf = t.path("conf");
    fs::write(&conf, "configured\n")?;
    let project = Project::new(
        t,
        &json!({
            "one": {
                "command": ["sh", "-c", script],
                "user": "77:88",
                "group_add": ["99"],
                "cap_drop": ["ALL"],
                "cap_add": ["NET_BIND_SERVICE"],
                "ulimits": {"nofile": {"soft": 77, "hard": 88}},
                "sysctls": {"net.ipv4.ip_default_ttl": 77},
                "volumes": [format!("{}:/conf:ro", conf.display())],
                "tmpfs": ["/run:mode=1777"],
                "read_only": true,
                "hostname": "named",
                "init": true,
            },
        }),
    )?;
    let seen = project.ok(&["run", "--rm", "-T", "one"])?;
    let expected = "77\n88 99\n0000000000000400\n77\n77\nconfigured\nread-only\nnamed\ndocker-init";
    same("settings", seen.as_str(), expected)?;
    project.down()
}

fn completed(t: &Test) -> Verdict {
    let services = |first: &str| {
        json!({
            "first": {"command": ["sh", "-c", first]},
            "second": {
                "command": ["sleep", "1000"],
                "depends_on": {"first": {"condition": "service_completed_successfully"}},
            },
        })
    };
    let project = Project::new(t, &services("exit 0"))?;
    project.ok(&["up", "--detach"])?;
    same("second", project.running("second")?, 1)?;
    project.down()?;
    let project = Project::new(t, &services("exit 3"))?;
    let output = project.call(&["up", "--detach"])?.exits(1)?;
    contains("why", &output.stderr()?, "exit 3")?;
    same("second", project.running("second")?, 0)?;
    project.down()
}
