//! What is interrupted: a command, in a container of a kind, and what is there before it.

use no_frills_conformance::DEFAULT_SPEC;
use serde_json::{Value, json};

/// Kinds of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixture {
    /// The default specification.
    Plain,
    /// With all hooks, a seccomp filter with a listener, a terminal over a console socket, devices, limits of huge pages, sysctls, a
    /// scheduling policy, an I/O priority, a pid file, masked files and a tmpfs with a copy of what it covers.
    Full,
    /// In a user namespace, with mounts whose ids are mapped, and with hooks.
    User,
    /// Without a pid namespace and a user namespace of its own.
    Shared,
}

/// What is there before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Created,
    Running,
    Paused,
    /// Its program has ended.
    Stopped,
}

/// A command in its surroundings.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The command, and after a slash what is special.
    pub(crate) name: &'static str,
    pub(crate) fixture: Fixture,
    pub(crate) before: Before,
    /// The arguments, with these words replaced: ID, BUNDLE, CONSOLE, PIDFILE, RESOURCES.
    pub(crate) arguments: &'static [&'static str],
    /// What the program of the container does when it has told what it sees.
    pub(crate) then: &'static str,
}

/// For one that is waited for.
const EXIT: &str = "exit 7";
/// For one that stays. It ends with SIGTERM.
const STAY: &str = "exec sleep 100000";

const fn scenario(
    name: &'static str,
    fixture: Fixture,
    before: Before,
    arguments: &'static [&'static str],
    then: &'static str,
) -> Scenario {
    Scenario { name, fixture, before, arguments, then }
}

/// What the shell of `exec` is told.
pub(crate) const EXEC_SCRIPT: &str = "SCRIPT";

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("create/plain", Fixture::Plain, Before::Nothing, &["create", "--bundle", "BUNDLE", "ID"], STAY),
    scenario(
        "create/full",
        Fixture::Full,
        Before::Nothing,
        &["create", "--bundle", "BUNDLE", "--console-socket", "CONSOLE", "--pid-file", "PIDFILE", "ID"],
        STAY,
    ),
    scenario("create/user", Fixture::User, Before::Nothing, &["create", "--bundle", "BUNDLE", "ID"], STAY),
    scenario("create/shared", Fixture::Shared, Before::Nothing, &["create", "--bundle", "BUNDLE", "ID"], STAY),
    scenario("start/plain", Fixture::Plain, Before::Created, &["start", "ID"], STAY),
    scenario("start/full", Fixture::Full, Before::Created, &["start", "ID"], STAY),
    scenario("start/user", Fixture::User, Before::Created, &["start", "ID"], STAY),
    scenario("run/plain", Fixture::Plain, Before::Nothing, &["run", "--bundle", "BUNDLE", "ID"], EXIT),
    scenario(
        "run/full",
        Fixture::Full,
        Before::Nothing,
        &["run", "--detach", "--bundle", "BUNDLE", "--console-socket", "CONSOLE", "--pid-file", "PIDFILE", "ID"],
        STAY,
    ),
    scenario("run/user", Fixture::User, Before::Nothing, &["run", "--bundle", "BUNDLE", "ID"], EXIT),
    scenario("exec/plain", Fixture::Plain, Before::Running, &["exec", "ID", "sh", "-c", EXEC_SCRIPT], EXIT),
    scenario(
        "exec/full",
        Fixture::Full,
        Before::Running,
        &[
            "exec",
            "--tty",
            "--detach",
            "--console-socket",
            "CONSOLE",
            "--pid-file",
            "PIDFILE",
            "ID",
            "sh",
            "-c",
            EXEC_SCRIPT,
        ],
        STAY,
    ),
    scenario("exec/user", Fixture::User, Before::Running, &["exec", "ID", "sh", "-c", EXEC_SCRIPT], EXIT),
    scenario("kill/plain", Fixture::Plain, Before::Running, &["kill", "ID", "KILL"], STAY),
    scenario("kill/shared", Fixture::Shared, Before::Running, &["kill", "ID", "KILL"], STAY),
    scenario("delete/stopped", Fixture::Plain, Before::Stopped, &["delete", "ID"], STAY),
    scenario("delete/created", Fixture::Full, Before::Created, &["delete", "--force", "ID"], STAY),
    scenario("delete/running", Fixture::Plain, Before::Running, &["delete", "--force", "ID"], STAY),
    scenario("delete/shared", Fixture::Shared, Before::Running, &["delete", "--force", "ID"], STAY),
    scenario("update/plain", Fixture::Plain, Before::Running, &["update", "--resources", "RESOURCES", "ID"], STAY),
    scenario("pause/plain", Fixture::Plain, Before::Running, &["pause", "ID"], STAY),
    scenario("resume/plain", Fixture::Plain, Before::Paused, &["resume", "ID"], STAY),
    scenario("delete/paused", Fixture::Plain, Before::Paused, &["delete", "--force", "ID"], STAY),
];

impl Scenario {
    /// The runtime's command.
    pub(crate) fn command(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(command, _)| command)
    }

    /// Whether its exit status is that of a program that it waits for.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.command(), "run" | "exec") && self.then == EXIT
    }

    pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

/// What the container's program tells of what it sees, into `/out/NAME`.
pub(crate) fn script(name: &str, then: &str) -> String {
    format!(
        "{{ echo =status; cat /proc/self/status; echo =mounts; cat /proc/self/mountinfo; echo =limits; cat /proc/self/limits; \
         echo =cgroup; cat /proc/self/cgroup; echo =maps; cat /proc/self/uid_map /proc/self/gid_map /proc/self/oom_score_adj; \
         echo =dev; ls -ln /dev /idm /tmp; echo =ns; ls -l /proc/self/ns; echo =stat; cat /proc/self/stat; \
         echo =fds; echo /proc/$$/fd/*; echo =env; env; echo =more; pwd; hostname; \
         cat /proc/sys/net/ipv4/ip_unprivileged_port_start; [ -t 0 ] && echo terminal; \
         ionice; (: </denied) 2>/dev/null && echo open; echo =hooks; cat /out/hooks; }} >/out/{name}.new 2>/dev/null; \
         mv /out/{name}.new /out/{name}; {then}"
    )
}

/// Where things are for one container.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    /// As a path in the hierarchy.
    pub(crate) cgroups_path: &'a str,
    /// For what the container says; at `/out` in it.
    pub(crate) out: &'a str,
    /// For a mount whose ids are mapped.
    pub(crate) idm: &'a str,
    /// The seccomp agent's socket.
    pub(crate) agent: &'a str,
    /// A static busybox on the host.
    pub(crate) busybox: &'a str,
    /// A device that containers may not use.
    pub(crate) device: Option<&'a str>,
}

/// A configuration.
pub(crate) fn config(fixture: Fixture, args: &[&str], places: &Places<'_>) -> Result<Value, String> {
    let mut config: Value = serde_json::from_str(DEFAULT_SPEC).map_err(|e| e.to_string())?;
    let process = &mut config["process"];
    process["terminal"] = json!(fixture == Fixture::Full);
    process["args"] = json!(args);
    process["oomScoreAdj"] = json!(77);
    config["linux"]["cgroupsPath"] = json!(places.cgroups_path);
    push(
        &mut config["mounts"],
        json!({"type": "bind", "source": places.out, "destination": "/out", "options": ["rbind", "rw"]}),
    );
    if let Some(device) = places.device {
        push(
            &mut config["mounts"],
            json!({"type": "bind", "source": device, "destination": "/denied", "options": ["bind"]}),
        );
    }
    match fixture {
        Fixture::Plain => {}
        Fixture::Shared => {
            let namespaces = config["linux"]["namespaces"].as_array_mut().ok_or("no namespaces")?;
            namespaces.retain(|namespace| namespace["type"] != "pid");
        }
        Fixture::Full => fill(&mut config, places),
        Fixture::User => {
            push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
            let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            config["linux"]["uidMappings"] = ids.clone();
            config["linux"]["gidMappings"] = ids.clone();
            push(
                &mut config["mounts"],
                json!({"type": "bind", "source": places.idm, "destination": "/idm", "options": ["bind", "idmap"],
                       "uidMappings": ids, "gidMappings": ids}),
            );
            config["hooks"] = json!({
                "createRuntime": [hook(places.busybox, places.out, "createRuntime")],
                "startContainer": [hook("/bin/busybox", "/out", "startContainer")],
                "poststop": [hook(places.busybox, places.out, "poststop")],
            });
        }
    }
    Ok(config)
}

fn fill(config: &mut Value, places: &Places<'_>) {
    config["hooks"] = json!({
        "prestart": [hook(places.busybox, places.out, "prestart")],
        "createRuntime": [hook(places.busybox, places.out, "createRuntime")],
        "createContainer": [hook(places.busybox, places.out, "createContainer")],
        "startContainer": [hook("/bin/busybox", "/out", "startContainer")],
        "poststart": [hook(places.busybox, places.out, "poststart")],
        "poststop": [hook(places.busybox, places.out, "poststop")],
    });
    let process = &mut config["process"];
    process["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 3});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    process["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [10, 20]});
    let linux = &mut config["linux"];
    linux["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "80"});
    linux["devices"] =
        json!([{"path": "/dev/further", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 10, "gid": 20}]);
    linux["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": places.agent,
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_NOTIFY"}, {"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}],
    });
    push(
        &mut config["mounts"],
        json!({"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": ["tmpcopyup", "nosuid", "size=1m"]}),
    );
}

/// A hook that says that it was run.
fn hook(busybox: &str, out: &str, moment: &str) -> Value {
    let script = format!("cat >/dev/null; echo {moment} >>{out}/hooks");
    json!({"path": busybox, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// What is compared of what the program of a container tells: all that does not differ between two runs.
pub(crate) fn normal(text: &str, own_namespaces: &[String]) -> String {
    const STATUS: [&str; 16] = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "SigBlk",
        "SigIgn",
        "Cpus_allowed",
        "NStgid",
    ];
    let (mut lines, mut part) = (Vec::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('=') {
            part = name;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match part {
            "status" if STATUS.contains(&line.split(':').next().unwrap_or_default()) => {
                // The pid itself is another each time; how deep it is nested is not.
                let nested = line.starts_with("NStgid").then(|| format!("NStgid {}", words.len()));
                lines.push(nested.unwrap_or_else(|| words.join(" ")));
            }
            "status" => {}
            "mounts" => {
                let known = words.iter().skip(3).map(|word| {
                    word.split_once(':').map_or(*word, |(name, number)| {
                        if number.bytes().all(|byte| byte.is_ascii_digit()) { name } else { word }
                    })
                });
                lines.push(known.collect::<Vec<_>>().join(" "));
            }
            // Without the time, at which it was made.
            "dev" => {
                let time = words.iter().position(|word| word.contains(':') && word.len() <= 8);
                let kept = words
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| time.is_none_or(|time| *index + 2 < time || *index > time));
                lines.push(kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" "));
            }
            "ns" => {
                let name = words.last().copied().unwrap_or_default();
                let kind = name.split(':').next().unwrap_or_default();
                let whose = if own_namespaces.iter().any(|own| own == name) { "the caller's" } else { "its own" };
                lines.push(format!("{kind} {whose}"));
            }
            "stat" => lines.push(words.get(17..19).unwrap_or_default().join(" ")),
            "fds" => lines.push(words.len().to_string()),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}
