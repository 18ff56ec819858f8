//! What is mutated: the configurations of engines and of the golden plans, in the worker's world; and values that mean something
//! somewhere in them.

use serde_json::{Value, json};

use super::world;

/// A document that a command takes, and what it is called.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) name: &'static str,
    pub(crate) document: Value,
}

macro_rules! bases {
    ($directory:literal: $($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../", $directory, "/", $name, ".json")))),*]
    };
}

/// Configurations that `create` takes as they are.
pub(crate) fn configurations() -> Result<Vec<Base>, String> {
    let engines = bases!("conformance/fixtures": "docker-default", "docker-privileged", "docker-tty",
        "docker-user-caps-readonly-volume", "podman-default", "podman-userns");
    let golden = bases!("runtime/tests/golden": "bound-dev", "default", "devices", "hooks", "minimal");
    let read = |(name, text): (&'static str, &str)| {
        let document = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        Ok(Base { name, document: at_home(document) })
    };
    engines.into_iter().chain(golden).map(read).collect()
}

/// Processes that `exec` takes.
pub(crate) fn processes() -> Result<Vec<Base>, String> {
    let engines = bases!("conformance/fixtures": "docker-exec-process", "docker-exec-user-process");
    let read = |(name, text): (&'static str, &str)| {
        let document = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        Ok(Base { name, document })
    };
    engines.into_iter().map(read).collect()
}

/// Resources that `update` takes, if the machine has the controllers.
pub(crate) fn resources() -> Vec<Base> {
    let all = json!({
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "burst": 10_000, "idle": 0, "cpus": "0", "mems": "0"},
        "memory": {"limit": 1 << 30, "reservation": 1 << 20, "swap": 3_i64 << 30, "checkBeforeUpdate": true, "kernel": 1},
        "pids": {"limit": 100},
        "blockIO": {"weight": 500},
        "unified": {"cgroup.max.depth": "10", "cgroup.max.descendants": "100"},
        "devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "b", "major": -1, "access": "m"},
        ],
    });
    let devices = json!({"devices": all["devices"], "unified": all["unified"]});
    vec![Base { name: "resources", document: all }, Base { name: "devices-and-unified", document: devices }]
}

/// A configuration whose root file system, sources, hooks and cgroup are those of a worker's world.
fn at_home(mut config: Value) -> Value {
    config["root"]["path"] = json!("rootfs");
    if !config["process"].is_null() {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/true", "argument"]);
        // To raise a limit takes CAP_SYS_RESOURCE, which this machine's root may lack.
        if config["process"]["rlimits"].is_array() {
            config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
        }
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        let is_bind = mount["type"] == "bind"
            || mount["options"].as_array().is_some_and(|all| all.iter().any(|one| one == "bind" || one == "rbind"));
        if is_bind {
            let directory =
                matches!(mount["destination"].as_str(), Some("/dev/shm" | "/mnt" | "/dev" | "/sys" | "/data"));
            mount["source"] = json!(if directory { world::DIRECTORY } else { world::FILE });
        }
    }
    for hook in config["hooks"].as_object_mut().into_iter().flat_map(|hooks| hooks.values_mut()) {
        for hook in hook.as_array_mut().into_iter().flatten() {
            hook["path"] = json!("/bin/true");
            // A busybox goes by this.
            hook["args"] = json!(["true", "argument"]);
        }
    }
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.insert("cgroupsPath".into(), json!("/mutated/x"));
        // What this machine may lack controllers for is the matter of `update`.
        if let Some(resources) = linux.get_mut("resources").and_then(Value::as_object_mut) {
            resources.retain(|name, _| name == "devices");
        }
    }
    config
}

/// Values for any place.
pub(crate) fn values() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "/",
        ".",
        "..",
        "/..",
        "../../../../etc",
        "a/../../b",
        "//",
        "a",
        "/proc",
        "/proc/self/fd",
        "/proc/self/exe",
        "/dev",
        "/dev/null",
        "/dev/pts/ptmx",
        "/sys",
        "rootfs",
        "/bundle/rootfs",
        "/nonexistent",
        "/bin/sh",
        "true",
        "tmpfs",
        "bind",
        "none",
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "mqueue",
        "devpts",
        "overlay",
        "nosuchfs",
        "ro",
        "rw",
        "rbind",
        "remount",
        "rshared",
        "private",
        "size=1",
        "size=100%",
        "mode=0777",
        "lowerdir=/",
        "idmap",
        "tmpcopyup",
        "user",
        "mount",
        "pid",
        "uts",
        "network",
        "time",
        "c",
        "b",
        "p",
        "u",
        "CAP_SYS_ADMIN",
        "CAP_NOPE",
        "cap_kill",
        "RLIMIT_NOFILE",
        "RLIMIT_NOPE",
        "a:b:c",
        "x.slice:y:z",
        "PATH=",
        "PATH=/bin",
        "=",
        "rwm",
        "1.0.0",
        "1.3.0",
        "9.9.9",
        "not a version",
        "\u{0}",
        "a\u{0}b",
        "a\nb",
        "\r\n",
        "\t",
        "\u{7f}",
        "\u{1b}[31m",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{202e}abc",
        "e\u{301}",
        "日本語",
        "%s%n%d",
        "$(id)",
        "'\"\\",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_NOPE",
        "SCMP_ARCH_X86",
        "SCHED_FIFO",
        "SCHED_DEADLINE",
        "IOPRIO_CLASS_RT",
        "LINUX32",
        "/proc/1/ns/net",
        "/proc/1/ns/user",
        "/proc/1/ns/pid",
        "/proc/self/ns/ipc",
        "max",
        "0-3,7",
        "0-4294967295",
        "8:0 rbps=1",
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(7),
        json!(255),
        json!(4095),
        json!(4096),
        json!(65536),
        json!(i32::MAX),
        json!(i32::MIN),
        json!(u32::MAX),
        json!(1_u64 << 32),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.5),
        json!(-0.5),
        json!(1e300),
    ];
    // What no JSON value is in serde_json, or none at all: written as it is.
    let raw = [
        "1e999",
        "-0",
        "-0.0",
        "18446744073709551616",
        "-9223372036854775809",
        "1E2",
        "01",
        "0x10",
        "NaN",
        "Infinity",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "'a'",
        "nul",
        "",
        "[,]",
        "{\"a\"}",
    ];
    let other = [
        Value::Null,
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!([""]),
        json!({"": ""}),
        json!({"a/b~c": "d"}),
        json!([0, 1]),
        json!(["a", "a"]),
        json!("a".repeat(5000)),
        json!("/".to_owned() + &"a".repeat(300)),
        json!("../".repeat(2000)),
        json!("\u{e9}".repeat(40_000)),
        json!(vec!["x"; 3000]),
        json!(vec![json!({}); 500]),
    ];
    let texts = texts.into_iter().map(Value::from);
    texts.chain(numbers).chain(raw.map(|token| json!(format!("{RAW}{token}")))).chain(other).collect()
}

/// A string that begins so is written without quotes.
pub(crate) const RAW: &str = "\u{f8ff}raw:";
/// A member's name that begins so is written without this, so that a name is there twice.
pub(crate) const AGAIN: &str = "\u{f8ff}again:";

/// Settings that no base has, or few, by the place of their parent.
pub(crate) fn settings() -> Vec<(&'static str, &'static str, Value)> {
    let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let hook = json!([{"path": "/bin/true", "args": ["true"], "timeout": 5}, {"path": "/bin/false"}]);
    vec![
        ("", "hostname", json!("h".repeat(65))),
        ("", "hostname", json!("host")),
        ("", "domainname", json!("d")),
        ("", "annotations", json!({"a": "b", "org.systemd.property.X": "true"})),
        ("", "vm", json!({})),
        ("", "windows", json!({})),
        ("", "hooks", json!({"prestart": hook, "createRuntime": hook})),
        (
            "",
            "hooks",
            json!({"createContainer": [{"path": "/bin/true"}], "poststop": [{"path": "/nonexistent"}], "poststart": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}),
        ),
        ("", "hooks", json!({"startContainer": [{"path": "/bin/true", "env": ["A=1", "B"], "timeout": 0}]})),
        ("", "mounts", json!([])),
        ("/process", "terminal", json!(true)),
        ("/process", "consoleSize", json!({"height": 10, "width": 99999})),
        ("/process", "oomScoreAdj", json!(1001)),
        ("/process", "oomScoreAdj", json!(100)),
        ("/process", "rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5}])),
        (
            "/process",
            "rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 10, "hard": 10}, {"type": "RLIMIT_CPU", "soft": 10, "hard": 10}]),
        ),
        ("/process", "scheduler", json!({"policy": "SCHED_BATCH", "nice": 5})),
        ("/process", "scheduler", json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3})),
        ("/process", "ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 7})),
        ("/process", "execCPUAffinity", json!({"initial": "0", "final": "0-1"})),
        ("/process", "apparmorProfile", json!("no-such-profile")),
        ("/process", "selinuxLabel", json!("system_u:system_r:x_t:s0")),
        ("/process", "noNewPrivileges", json!(true)),
        ("/process", "commandLine", json!("x")),
        ("/process/user", "additionalGids", json!([1, 2, 4_294_967_295_u32])),
        ("/process/user", "umask", json!(0o1000)),
        ("/process/user", "username", json!("x")),
        ("/process/capabilities", "ambient", json!(["CAP_KILL", "CAP_NET_RAW"])),
        ("/linux", "uidMappings", ids.clone()),
        ("/linux", "gidMappings", ids.clone()),
        (
            "/linux",
            "timeOffsets",
            json!({"boottime": {"secs": 5, "nanosecs": 0}, "monotonic": {"secs": -1, "nanosecs": 1_000_000_000}}),
        ),
        ("/linux", "sysctl", json!({"kernel.msgmax": "65536", "net.ipv4.ip_forward": "1"})),
        ("/linux", "sysctl", json!({"kernel.no_such": "1", "../x": "", "net/ipv4/x": "y"})),
        (
            "/linux",
            "devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0}, {"path": "/dev/../etc/y", "type": "p"}]),
        ),
        ("/linux", "netDevices", json!({"lo": {"name": "lo1"}, "no-such": {}})),
        ("/linux", "intelRdt", json!({"closID": "x", "l3CacheSchema": "L3:0=f"})),
        ("/linux", "memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})),
        ("/linux", "personality", json!({"domain": "LINUX32"})),
        ("/linux", "rootfsPropagation", json!("shared")),
        ("/linux", "mountLabel", json!("x")),
        ("/linux", "maskedPaths", json!(["/proc/kcore", "relative", "/etc/passwd", "/nonexistent/x"])),
        ("/linux", "readonlyPaths", json!(["/proc/sys", "/", "/bin"])),
        ("/linux", "cgroupsPath", json!("../../x")),
        ("/linux", "cgroupsPath", json!("/")),
        ("/linux", "cgroupsPath", json!("mutated:x")),
        ("/linux", "cgroupsPath", json!("/mutated/".to_owned() + &"y".repeat(256))),
        (
            "/linux",
            "seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}]}),
        ),
        ("/linux", "seccomp", json!({"defaultAction": "SCMP_ACT_KILL"})),
        (
            "/linux",
            "seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent", "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]}),
        ),
        ("/linux", "resources", json!({"cpu": {"shares": 2}, "pids": {"limit": 5}})),
        ("/linux", "resources", json!({"unified": {"cgroup.procs": "1", "a/b": "c"}})),
        ("/linux", "resources", json!({"memory": {"limit": 4096, "swap": 1}})),
        (
            "/linux",
            "resources",
            json!({"network": {"classID": 1}, "hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}),
        ),
        ("/mounts/0", "uidMappings", ids.clone()),
        ("/mounts/0", "gidMappings", ids),
        ("/mounts/0", "options", json!(["ro", "rro", "nosuid", "noexec", "bind", "size=5"])),
        ("/mounts/1", "options", json!(["mode=755", "mode=7777777", "size=-1", "uid=notanumber"])),
        ("/linux/namespaces/0", "path", json!("/proc/self/ns/net")),
        ("/linux/namespaces/1", "path", json!("/bundle/config.json")),
        ("/cpu", "realtimeRuntime", json!(5)),
        ("/memory", "swappiness", json!(5)),
        ("", "rdma", json!({"mlx5": {"hcaHandles": 1}})),
        ("/unified", "cgroup.freeze", json!("1")),
        ("/unified", "memory.high", json!("1\n2")),
    ]
}
