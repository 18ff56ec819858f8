//! Bad input: each with its message and exit status, and nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, contains_one, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("errors/bundle-missing", "a bundle that does not exist", bundle_missing),
        case("errors/config-missing", "a bundle without config.json", config_missing),
        case("errors/config-is-a-directory", "config.json is a directory", config_directory),
        case("errors/config-not-json", "config.json is not JSON: the error says where", not_json),
        case("errors/config-empty", "config.json is empty", config_empty),
        case("errors/config-truncated", "config.json ends in the middle", config_truncated),
        case("errors/rootfs-missing", "root.path does not exist", rootfs_missing),
        case("errors/rootfs-is-a-file", "root.path is a file", rootfs_file),
    ];
    cases.extend(setting_cases());
    cases.extend(type_cases());
    cases.extend(executable_cases());
    cases.extend(place_cases());
    cases
}

/// A setting and how it is refused: the case's name and line, the change, our pointer, words of peers.
macro_rules! refused {
    ($name:literal, $doc:literal, $change:expr, $ours:literal, $peers:expr) => {
        case($name, $doc, |t| {
            let change: fn(Bundle) -> Bundle = $change;
            let b = change(t.bundle()?.args(&["true"]));
            let peers: &[&str] = $peers;
            b.create_with(&[])?.refuses(t, $ours, peers)?;
            check(!b.pid_file().exists(), || "a pid file was written".to_owned())?;
            b.is_gone()?;
            b.run()?.refuses(t, $ours, peers)?;
            Ok(())
        })
    };
}

fn setting_cases() -> Vec<Case> {
    const LEAVES: &str = "leaves the cgroup behind when the process cannot be set up";
    const STARTS: &str = "does not look, and runs it";
    vec![
        refused!(
            "errors/version-major",
            "an ociVersion of another major version",
            |b| b.set("/ociVersion", json!("2.0.0")),
            "/ociVersion",
            &[]
        )
        .known_failure(Kind::Runc, STARTS)
        .known_failure(Kind::Crun, STARTS),
        refused!(
            "errors/version-nonsense",
            "an ociVersion that is none",
            |b| b.set("/ociVersion", json!("one")),
            "/ociVersion",
            &[]
        )
        .known_failure(Kind::Runc, STARTS)
        .known_failure(Kind::Crun, STARTS),
        refused!("errors/version-missing", "no ociVersion", |b| b.remove("/ociVersion"), "/ociVersion", &[])
            .known_failure(Kind::Runc, STARTS),
        case("errors/process-missing", "without a process a container is created and cannot be started", no_process)
            .known_failure(Kind::Crun, "run prints nothing and ends well")
            .differs(Kind::Runc, "refuses to create it; the specification wants a process only by start"),
        refused!("errors/args-missing", "no process.args", |b| b.remove("/process/args"), "/process/args", &["args"])
            .known_failure(Kind::Crun, "starts nothing and ends well"),
        refused!(
            "errors/args-empty",
            "empty process.args",
            |b| b.set("/process/args", json!([])),
            "/process/args",
            &[]
        ),
        refused!(
            "errors/arg-with-nul",
            "an argument with a NUL",
            |b| b.set("/process/args", json!(["true", "a\u{0}b"])),
            "/process/args/1",
            &[]
        )
        .known_failure(Kind::Runc, "fails at start only")
        .known_failure(Kind::Crun, "cuts the argument off at the NUL"),
        refused!(
            "errors/env-with-nul",
            "a variable with a NUL",
            |b| b.set("/process/env", json!(["PATH=/bin", "A=a\u{0}b"])),
            "/process/env/1",
            &[]
        )
        .known_failure(Kind::Crun, "cuts the variable off at the NUL"),
        refused!(
            "errors/env-without-equals",
            "a variable without `=`",
            |b| b.set("/process/env", json!(["PATH=/bin", "NONSENSE"])),
            "/process/env/1",
            &[]
        )
        .known_failure(Kind::Crun, "passes it on"),
        refused!(
            "errors/cwd-relative",
            "a relative process.cwd",
            |b| b.set("/process/cwd", json!("tmp")),
            "/process/cwd",
            &["absolute", "cwd", "Cwd"]
        )
        .known_failure(Kind::Crun, "takes it from /"),
        refused!("errors/cwd-missing", "no process.cwd", |b| b.remove("/process/cwd"), "/process/cwd", &[]),
        refused!("errors/cwd-empty", "an empty process.cwd", |b| b.set("/process/cwd", json!("")), "/process/cwd", &[]),
        refused!(
            "errors/cwd-is-a-file",
            "process.cwd is a file",
            |b| b.set("/process/cwd", json!("/etc/passwd")),
            "/process/cwd",
            &["not a directory", "Not a directory"]
        ),
        refused!("errors/root-missing", "no root", |b| b.remove("/root"), "/root", &["root", "Root"]),
        refused!("errors/root-path-empty", "an empty root.path", |b| b.set("/root/path", json!("")), "/root/path", &[]),
        case(
            "errors/capability-unknown",
            "a capability that nobody knows is left out with a warning",
            capability_unknown,
        )
        .known_failure(Kind::Crun, "says nothing"),
        refused!(
            "errors/rlimit-unknown",
            "a resource limit that nobody knows",
            |b| b.set("/process/rlimits/0/type", json!("RLIMIT_NONSENSE")),
            "/process/rlimits/0/type",
            &["RLIMIT_NONSENSE"]
        )
        .known_failure(Kind::Crun, LEAVES),
        refused!(
            "errors/rlimit-twice",
            "a resource limit given twice",
            |b| b.push("/process/rlimits", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1})),
            "/process/rlimits/1",
            &[]
        )
        .known_failure(Kind::Crun, STARTS),
        refused!(
            "errors/rlimit-soft-above-hard",
            "a soft limit above the hard one",
            |b| b.set("/process/rlimits/0/soft", json!(2000)),
            "/process/rlimits/0",
            &[]
        )
        .known_failure(Kind::Crun, LEAVES),
        refused!(
            "errors/namespace-twice",
            "a namespace given twice",
            |b| b.push("/linux/namespaces", json!({"type": "pid"})),
            "/linux/namespaces/6",
            &[]
        )
        .known_failure(Kind::Crun, STARTS),
        refused!(
            "errors/namespace-without-type",
            "a namespace without a type",
            |b| b.push("/linux/namespaces", json!({})),
            "/linux/namespaces/6",
            &[]
        ),
        refused!(
            "errors/mount-source-missing",
            "a bind mount of what does not exist",
            |b| b.bind("/no/such/source", "/mnt", &["bind"]),
            "/mounts/7",
            &["/no/such/source"]
        ),
        refused!(
            "errors/mount-destination-missing",
            "a mount without a destination",
            |b| b.push("/mounts", json!({"type": "tmpfs", "source": "tmpfs"})),
            "/mounts/7/destination",
            &[]
        ),
        refused!(
            "errors/mount-type-unknown",
            "a file system that the kernel does not know",
            |b| b.mount("/mnt", "nonsensefs", "none", &[]),
            "/mounts/7",
            &["nonsensefs", "no such device"]
        )
        .known_failure(Kind::Crun, LEAVES),
        refused!(
            "errors/device-type-unknown",
            "a device of an unknown type",
            |b| b.set("/linux/devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}])),
            "/linux/devices/0/type",
            &[]
        )
        .known_failure(Kind::Crun, LEAVES),
        refused!(
            "errors/device-relative",
            "a device with a relative path",
            |b| b.set("/linux/devices", json!([{"path": "x", "type": "c", "major": 1, "minor": 3}])),
            "/linux/devices/0/path",
            &[]
        )
        .known_failure(Kind::Runc, "makes it in /")
        .known_failure(Kind::Crun, "makes it in /"),
        refused!(
            "errors/device-without-path",
            "a device without a path",
            |b| b.set("/linux/devices", json!([{"type": "c", "major": 1, "minor": 3}])),
            "/linux/devices/0/path",
            &[]
        )
        .known_failure(Kind::Runc, "makes nothing and runs it"),
        refused!(
            "errors/device-rule-access",
            "a device rule with an unknown access",
            |b| b.set("/linux/resources/devices", json!([{"allow": true, "type": "c", "access": "rwx"}])),
            "/linux/resources/devices/0/access",
            &[]
        )
        .known_failure(Kind::Runc, "leaves out what it does not know")
        .known_failure(Kind::Crun, "leaves out what it does not know"),
        refused!(
            "errors/rootfs-propagation",
            "an unknown linux.rootfsPropagation",
            |b| b.set("/linux/rootfsPropagation", json!("nonsense")),
            "/linux/rootfsPropagation",
            &[]
        )
        .known_failure(Kind::Crun, LEAVES),
        refused!(
            "errors/cgroups-path-dots",
            "a cgroupsPath that leaves the hierarchy",
            |b| b.set("/linux/cgroupsPath", json!("/nfc-none/../../../../tmp/x")),
            "/linux/cgroupsPath",
            &[]
        )
        .skip(Kind::Runc, "takes it from the root, which is the machine's")
        .skip(Kind::Crun, "takes it from the root, which is the machine's"),
        refused!(
            "errors/mappings-without-namespace",
            "mappings without a user namespace",
            |b| b.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1000, "size": 1}])),
            "/linux/uidMappings",
            &[]
        )
        .known_failure(Kind::Runc, STARTS)
        .known_failure(Kind::Crun, STARTS),
        refused!(
            "errors/mapping-of-size-zero",
            "a mapping of no ids",
            |b| b.user_namespace(1000, 0),
            "/linux/uidMappings/0",
            &[]
        )
        .known_failure(Kind::Crun, LEAVES),
    ]
}

/// A property of a wrong type: the pointer is named.
macro_rules! wrong_type {
    ($name:literal, $pointer:literal, $value:expr) => {
        case($name, "a property of a wrong type: the error names it", |t| {
            let b = t.bundle()?.args(&["true"]).set($pointer, $value);
            b.run()?.refuses(t, $pointer, &[])?;
            Ok(())
        })
    };
}

fn type_cases() -> Vec<Case> {
    vec![
        case("errors/type-of-config", "a configuration of a wrong type: the error names the file", |t| {
            let b = t.bundle()?.args(&["true"]).set("", json!([]));
            b.run()?.refuses(t, "config.json: expected an object, found an array", &[])?;
            b.is_gone()
        }),
        wrong_type!("errors/type-of-process", "/process", json!("true")),
        wrong_type!("errors/type-of-args", "/process/args", json!("true")),
        wrong_type!("errors/type-of-arg", "/process/args/0", json!(7)),
        wrong_type!("errors/type-of-terminal", "/process/terminal", json!("yes"))
            .known_failure(Kind::Crun, "takes another type for none, or for its text"),
        wrong_type!("errors/type-of-uid", "/process/user/uid", json!("0"))
            .known_failure(Kind::Crun, "takes another type for none, or for its text"),
        wrong_type!("errors/uid-negative", "/process/user/uid", json!(-1)),
        wrong_type!("errors/uid-too-big", "/process/user/uid", json!(4_294_967_296_u64)),
        wrong_type!("errors/type-of-mounts", "/mounts", json!({})),
        wrong_type!("errors/type-of-mount-options", "/mounts/0/options", json!("ro"))
            .known_failure(Kind::Crun, "takes another type for none, or for its text"),
        wrong_type!("errors/type-of-hostname", "/hostname", json!(["x"]))
            .known_failure(Kind::Crun, "takes another type for none, or for its text"),
        wrong_type!("errors/type-of-namespaces", "/linux/namespaces", json!("all"))
            .skip(Kind::Crun, "sets the container up in its own namespaces"),
        wrong_type!("errors/type-of-annotation", "/annotations/key", json!(1)),
        wrong_type!("errors/rlimit-negative", "/process/rlimits/0/soft", json!(-1))
            .known_failure(Kind::Crun, "leaves the cgroup behind when the process cannot be set up"),
    ]
}

fn executable_cases() -> Vec<Case> {
    vec![
        case("errors/executable-not-found", "a name that is not in PATH fails at create already", not_found),
        case("errors/executable-no-such-file", "a path that does not exist fails at create already", no_such_file),
        case(
            "errors/executable-permission-denied",
            "a file without the x bit fails at create already",
            permission_denied,
        ),
        case("errors/executable-is-a-directory", "a directory fails at create already", is_a_directory),
        case(
            "errors/executable-without-interpreter",
            "a script whose interpreter is missing fails, at start at the latest",
            no_interpreter,
        )
        .known_failure(Kind::Runc, "start ends well, the process with status 255")
        .known_failure(Kind::Crun, "start ends well"),
        case(
            "errors/executable-not-executable-format",
            "a file that is no program fails, at start at the latest",
            bad_format,
        ),
        case("errors/path-unset", "without PATH in the config no name is found, but a path is", path_unset),
        case("errors/pid-file-unwritable", "a pid file that cannot be written", pid_file_unwritable),
        case(
            "errors/log-json",
            "with --log-format json the error is one JSON object in the log, and on stderr",
            log_json,
        ),
        case("errors/log-text", "with --log FILE the error is in the file and on stderr", log_text),
    ]
}

fn place_cases() -> Vec<Case> {
    vec![
        case("errors/state-root-readonly", "the state root cannot be written to", state_root_readonly),
        case("errors/state-root-full", "the disk of the state root is full", state_root_full)
            .known_failure(Kind::Crun, "leaves its directory behind"),
        case("errors/state-root-is-a-file", "the state root is a file", state_root_file),
        case("errors/half-made-container", "a state directory without a state: delete --force removes it", half_made),
        case(
            "errors/broken-state",
            "a state that cannot be read: delete --force removes it, state tells",
            broken_state,
        )
        .known_failure(Kind::Runc, "delete --force does not remove it"),
        case("errors/bundle-removed", "a bundle removed between create and start does no harm", bundle_removed),
        case(
            "errors/rootfs-removed-before-delete",
            "a bundle removed while it runs: kill and delete work",
            rootfs_removed,
        ),
        case("errors/cgroup-in-use", "a cgroup with a process in it is refused", cgroup_in_use)
            .known_failure(Kind::Crun, "joins it"),
        case("errors/create-fails-id-is-free", "after a create that failed the id is free", id_is_free),
    ]
}

fn no_process(t: &Test) -> Verdict {
    let b = t.bundle()?.remove("/process");
    b.run()?.refuses(t, "/process", &["process"])?;
    if t.kind == Kind::Runc {
        b.create_with(&[])?.refuses(t, "", &["process"])?;
        return b.is_gone();
    }
    b.create()?;
    b.is("created")?;
    b.verb("start", &[])?.refuses(t, "/process: required to start", &["process"])?;
    b.is("created")
}

fn capability_unknown(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran").set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_NONSENSE"]));
    let output = b.run()?.exits(0)?.prints("ran\n")?;
    let stderr = output.stderr()?;
    contains("stderr", &stderr, "CAP_NONSENSE")?;
    contains("stderr", &stderr, "warn")?;
    if t.ours() {
        contains("stderr", &stderr, "/process/capabilities/bounding/1")?;
    }
    Ok(())
}

fn bundle_missing(t: &Test) -> Verdict {
    let missing = t.path("no-such-bundle");
    let args = ["run", "--bundle", &missing.to_string_lossy(), "x"].map(str::to_owned);
    t.runtime(&args)?.refuses(t, "no-such-bundle", &["no such file", "No such file"])?;
    Ok(())
}

fn config_missing(t: &Test) -> Verdict {
    let b = t.bundle()?;
    t.output_of(b.command("run", &[]))?.refuses(t, "config.json", &["config.json"])?;
    t.output_of(b.command("create", &[]))?.refuses(t, "config.json", &["config.json"])?;
    b.is_gone()
}

fn config_directory(t: &Test) -> Verdict {
    let b = t.bundle()?;
    fs::create_dir(b.dir.join("config.json"))?;
    t.output_of(b.command("run", &[]))?.refuses(t, "config.json", &[])?;
    Ok(())
}

fn raw_config<'t>(t: &'t Test, text: &str) -> Verdict<Bundle<'t>> {
    let b = t.bundle()?;
    fs::write(b.dir.join("config.json"), text)?;
    Ok(b)
}

fn not_json(t: &Test) -> Verdict {
    let b = raw_config(t, "{\n  \"ociVersion\": nonsense\n}\n")?;
    let output = t.output_of(b.command("run", &[]))?.refuses(t, "config.json", &[])?;
    if t.ours() {
        contains("where", &output.stderr()?, "line 2")?;
    }
    Ok(())
}

fn config_empty(t: &Test) -> Verdict {
    t.output_of(raw_config(t, "")?.command("run", &[]))?.refuses(t, "config.json", &[])?;
    Ok(())
}

fn config_truncated(t: &Test) -> Verdict {
    let b = t.bundle()?;
    let text = b.config.to_string();
    fs::write(b.dir.join("config.json"), text.get(..text.len() / 2).unwrap_or_default())?;
    t.output_of(b.command("run", &[]))?.refuses(t, "config.json", &[])?;
    Ok(())
}

fn rootfs_missing(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]).set("/root/path", json!("no-such-rootfs"));
    b.run()?.refuses(t, "/root/path", &["no-such-rootfs"])?;
    b.is_gone()
}

fn rootfs_file(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    fs::write(b.dir.join("file"), "")?;
    b.set("/root/path", json!("file")).run()?.refuses(t, "/root/path", &[])?;
    Ok(())
}

/// `create` and `run` fail with words that engines look for.
fn fails_to_create(t: &Test, b: &Bundle, words: &str) -> Verdict {
    let insensitive = words.to_lowercase();
    for output in [b.create_with(&[])?, b.run()?] {
        check(output.status != 0, || "it succeeded".to_owned())?;
        let stderr = output.stderr()?.replace("\\\"", "\"");
        if t.ours() {
            same("status", output.status, 1)?;
            contains("stderr", &stderr, words)?;
        } else {
            // crun tells the same of a file without the x bit in other words.
            contains_one("stderr", &stderr.to_lowercase(), &[&insensitive, "not executable: operation not permitted"])?;
        }
        check(!b.pid_file().exists(), || "a pid file was written".to_owned())?;
        b.is_gone()?;
    }
    Ok(())
}

fn not_found(t: &Test) -> Verdict {
    let words = match t.kind {
        Kind::Crun => "executable file `no-such-program` not found in $PATH",
        _ => "exec: \"no-such-program\": executable file not found in $PATH",
    };
    fails_to_create(t, &t.bundle()?.args(&["no-such-program"]), words)
}

fn no_such_file(t: &Test) -> Verdict {
    fails_to_create(t, &t.bundle()?.args(&["/no/such/program"]), "no such file or directory")
}

fn permission_denied(t: &Test) -> Verdict {
    let b = t.bundle()?.with_file("etc/program", "#!/bin/sh\n", 0o644)?.args(&["/etc/program"]);
    fails_to_create(t, &b, "permission denied")
}

fn is_a_directory(t: &Test) -> Verdict {
    let words = if t.ours() || t.kind == Kind::Runc { "is a directory" } else { "" };
    fails_to_create(t, &t.bundle()?.args(&["/etc"]), words)
}

/// It fails either at create or at start, and is then stopped and can be deleted.
fn fails_by_start(b: &Bundle) -> Verdict {
    if b.create_with(&[])?.status != 0 {
        return b.is_gone();
    }
    let started = b.verb("start", &[])?;
    let status = b.ended()?;
    check(started.status != 0, || format!("start succeeded; the process ended with {status}"))?;
    b.delete_force()?;
    b.is_gone()
}

fn no_interpreter(t: &Test) -> Verdict {
    fails_by_start(&t.bundle()?.with_file("etc/program", "#!/no/such/interpreter\n", 0o755)?.args(&["/etc/program"]))
}

fn bad_format(t: &Test) -> Verdict {
    let b = t.bundle()?.with_file("etc/program", "\x7fELF nonsense", 0o755)?.args(&["/etc/program"]);
    check(b.run()?.status != 0, || "it succeeded".to_owned())
}

fn path_unset(t: &Test) -> Verdict {
    let b = t.bundle()?.remove("/process/env").args(&["echo", "ran"]);
    b.run()?.refuses(t, "exec: \"echo\": executable file not found in $PATH", &["not found in $PATH"])?;
    // A path needs no PATH.
    let b = t.bundle()?.remove("/process/env").args(&["/bin/echo", "ran"]);
    same("output", b.stdout()?, "ran\n")
}

fn pid_file_unwritable(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    let output = b.create_with(&["--pid-file", "/no/such/dir/pid"])?;
    check(output.status != 0, || "create succeeded".to_owned())?;
    contains("stderr", &output.stderr()?, "/no/such/dir")?;
    b.is_gone()
}

fn log_json(t: &Test) -> Verdict {
    let log = t.path("log.json");
    let args = ["--log", &log.to_string_lossy(), "--log-format", "json", "state", "no-such"].map(str::to_owned);
    let output = t.runtime(&args)?.exits(1)?;
    contains("stderr", &output.stderr()?, "does not exist")?;
    let text = fs::read_to_string(&log)?;
    if t.ours() {
        // Engines parse the whole file as one object.
        same("lines in the log", text.lines().count(), 1)?;
    }
    let entry: Value = serde_json::from_str(&text)?;
    same("level", &entry["level"], "error")?;
    contains("msg", some("msg", entry["msg"].as_str())?, "does not exist")?;
    check(entry["time"].is_string(), || format!("time: {entry}"))
}

fn log_text(t: &Test) -> Verdict {
    let log = t.path("log");
    let args = ["--log", &log.to_string_lossy(), "state", "no-such"].map(str::to_owned);
    let output = t.runtime(&args)?.exits(1)?;
    contains("stderr", &output.stderr()?, "does not exist")?;
    let text = fs::read_to_string(&log)?;
    contains("the log", &text, "does not exist")?;
    same("lines in the log", text.lines().count(), 1)
}

fn state_root_readonly(t: &Test) -> Verdict {
    let root = t.state_root();
    fs::create_dir(&root)?;
    rustix::mount::mount("tmpfs", &root, "tmpfs", MountFlags::RDONLY, None)?;
    let b = t.bundle()?.args(&["true"]);
    let created = b.create_with(&[]).and_then(|output| {
        output.refuses(t, "ead-only file system", &["ead-only file system", "cannot create state directory"])
    });
    rustix::mount::unmount(&root, UnmountFlags::DETACH)?;
    created?;
    check(!b.pid_file().exists(), || "a pid file was written".to_owned())
}

fn state_root_full(t: &Test) -> Verdict {
    let root = t.state_root();
    fs::create_dir(&root)?;
    rustix::mount::mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(c"size=64k"))?;
    // Fills the disk; the write fails when it is full.
    let filled = fs::write(root.join(".filling"), vec![0; 200_000]);
    check(filled.is_err(), || "the disk did not fill".to_owned())?;
    let b = t.bundle()?.args(&["true"]);
    let created = b.create_with(&[]);
    let left: Vec<_> = fs::read_dir(&root)?.flatten().map(|entry| entry.file_name()).collect();
    rustix::mount::unmount(&root, UnmountFlags::DETACH)?;
    created?.refuses(t, "o space left on device", &["o space left on device"])?;
    let left: Vec<_> = left.into_iter().filter(|name| name != ".filling" && name != ".empty-directory").collect();
    check(left.is_empty(), || format!("left in the state root: {left:?}"))?;
    check(!b.pid_file().exists(), || "a pid file was written".to_owned())
}

fn state_root_file(t: &Test) -> Verdict {
    fs::write(t.state_root(), "")?;
    let output = t.bundle()?.args(&["true"]).create_with(&[]);
    fs::remove_file(t.state_root())?;
    output?.refuses(t, "ot a directory", &[])?;
    Ok(())
}

fn half_made(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    fs::create_dir_all(t.state_root().join(&b.id))?;
    check(b.verb("start", &[])?.status != 0, || "start succeeded".to_owned())?;
    b.delete_force()?;
    b.is_gone()?;
    b.create()?;
    b.is("created")
}

fn broken_state(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    let dir = t.state_root().join(&b.id);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(if t.kind == Kind::Crun { "status" } else { "state.json" }), "{\"nonsense\": ")?;
    check(b.verb("state", &[])?.status != 0, || "state succeeded".to_owned())?;
    // One broken container does not hide the others.
    let other = t.bundle()?.idle();
    other.create()?;
    contains("list -q", &t.runtime(&["list", "-q"])?.stdout()?, &other.id)?;
    let deleted = b.delete_force().and_then(|_| b.is_gone());
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    deleted
}

fn bundle_removed(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    let pid = b.pid()?;
    fs::rename(&b.dir, t.path("moved"))?;
    fs::remove_file(t.path("moved/config.json"))?;
    b.start()?;
    b.is("running")?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    crate::bundle::ended(pid)?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn rootfs_removed(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    let pid = b.pid()?;
    fs::remove_dir_all(&b.dir)?;
    b.is("running")?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    crate::bundle::ended(pid)?;
    b.verb("delete", &[])?.exits(0)?;
    b.is_gone()
}

fn cgroup_in_use(t: &Test) -> Verdict {
    let one = t.bundle()?.idle();
    one.create()?;
    let two = t.bundle()?.idle().set("/linux/cgroupsPath", one.config["linux"]["cgroupsPath"].clone());
    let output = two.create_with(&[])?;
    output.refuses(t, "/linux/cgroupsPath", &["cgroup"])?;
    one.is("created")
}

fn id_is_free(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["no-such-program"]);
    check(b.create_with(&[])?.status != 0, || "create succeeded".to_owned())?;
    let b = b.idle();
    b.create()?;
    b.is("created")?;
    // The permissions of what is kept: nobody else reads states.
    let mode = fs::metadata(t.state_root().join(&b.id))?.permissions().mode() & 0o077;
    check(mode & 0o022 == 0, || format!("others can write to the state directory: {mode:o}"))
}
