//! The binary, as far as it needs no container: output, exit status and log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary under test. Not by `env!("CARGO_BIN_EXE_no-frills")`: rustc is started by a shell script (see
/// .cargo/config.toml), and shells drop variables whose names are not theirs.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("no-frills")
}

fn no_frills(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    no_frills(arguments).output().unwrap()
}

/// Exit status, standard output, standard error without the time of log lines.
fn outcome(arguments: &[&str]) -> (i32, String, String) {
    let output = run(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let stderr = stderr.lines().map(|line| match line.split_once("\" level=") {
        Some((_, rest)) => format!("level={rest}\n"),
        None => format!("{line}\n"),
    });
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), stderr.collect())
}

/// Compares with a file of tests/golden; `BLESS=1` writes it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; run with BLESS=1 if it is right", path.display());
}

#[test]
fn help_texts() {
    let mut text = run(&["--help"]).stdout;
    for command in [
        "run",
        "create",
        "start",
        "state",
        "pause",
        "resume",
        "kill",
        "delete",
        "exec",
        "list",
        "ps",
        "events",
        "spec",
        "features",
        "info",
        "check",
        "plan",
        "seccomp",
        "completion",
        "install",
        "help",
        "restore",
    ] {
        let (status, help, stderr) = outcome(&[command, "--help"]);
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert_eq!(help, outcome(&["help", command]).1);
        text.extend_from_slice(b"\n# ");
        text.extend_from_slice(help.as_bytes());
    }
    golden("help.txt", &String::from_utf8(text).unwrap());
}

#[test]
fn nothing_asks_for_help() {
    assert_eq!(outcome(&[]), (0, outcome(&["--help"]).1, String::new()));
    // Podman's probe.
    let (status, _, stderr) = outcome(&["checkpoint", "--help"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
}

#[test]
fn version() {
    let (status, stdout, stderr) = outcome(&["--version"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], concat!("no-frills version ", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("commit: "));
    assert_eq!(lines[2], "spec: 1.3.0");
}

#[test]
fn features() {
    let (status, stdout, stderr) = outcome(&["features"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    // The kernel's share.
    let (rest, supported) = stdout.split_once("\"supportedFlags\": [").unwrap();
    let (supported, end) = supported.split_once(']').unwrap();
    assert!(supported.contains("\"SECCOMP_FILTER_FLAG_TSYNC\""), "{supported}");
    golden("features.json", &without_commit(&format!("{rest}\"supportedFlags\": []{end}")));
}

fn without_commit(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("no-frills.commit") && !line.contains("no-frills.version"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A bundle with what engines write, but for what this version does not support; its root is not there.
fn engine_bundle(name: &str) -> tempfile::TempDir {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures");
    let text = fs::read_to_string(fixtures.join(name)).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["linux"].as_object_mut().unwrap().remove("resources");
    bundle_of(&config)
}

fn bundle_of(config: &serde_json::Value) -> tempfile::TempDir {
    let bundle = tempfile::tempdir().unwrap();
    fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
    bundle
}

/// Instruction counts are the filter's, not those of an older one: they change with the compiler, the rest does not.
#[test]
fn seccomp() {
    for engine in ["docker", "podman"] {
        let bundle = engine_bundle(&format!("{engine}-default.json"));
        let path = bundle.path().to_str().unwrap();
        let (status, stdout, stderr) = outcome(&["seccomp", path]);
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert_eq!(outcome(&["seccomp", "-b", path]).1, stdout);
        golden(&format!("seccomp-{engine}.txt"), &without_counts(&stdout));

        let (status, stdout, stderr) = outcome(&["seccomp", "--bpf", path]);
        assert_eq!((status, stderr.as_str()), (0, ""));
        // An instruction a line.
        let (_, described, _) = outcome(&["seccomp", path]);
        assert!(described.contains(&format!("\ninstructions: {}\n", stdout.lines().count())), "{described}");
        assert!(stdout.contains("; architecture\n") && stdout.contains("; allow\n"), "{stdout}");
    }
}

/// Without the counts, and with each call in a line: where lines end, they decide as well.
fn without_counts(text: &str) -> String {
    let name = |call: &str| call.rsplit_once(' ').map_or(call, |(name, _)| name).trim().to_owned();
    let line = |line: &str| match line.split_once(':') {
        Some((name @ ("instructions" | "most for an allowed call"), _)) => vec![format!("{name}: N")],
        Some((call, clauses)) if line.starts_with("    ") => vec![format!("    {}:{clauses}", name(call))],
        None if line.starts_with("    ") => {
            line.trim_end_matches(',').split(", ").map(|call| format!("    {}", name(call))).collect()
        }
        _ => match line.strip_suffix(" instructions").and_then(|rest| rest.rsplit_once(' ')) {
            Some((rest, _)) => vec![format!("{rest} N instructions")],
            None => vec![line.to_owned()],
        },
    };
    text.lines().flat_map(line).map(|line| line + "\n").collect()
}

#[test]
fn seccomp_of_bundles_without_a_filter_or_with_a_wrong_one() {
    let config = |seccomp: serde_json::Value| {
        serde_json::json!({
            "ociVersion": "1.3.0",
            "process": { "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } },
            "root": { "path": "rootfs" },
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }], "seccomp": seccomp },
        })
    };
    let none = bundle_of(&config(serde_json::Value::Null));
    let none = none.path().to_str().unwrap();
    for flags in [&["seccomp", none][..], &["seccomp", "--bpf", "--bundle", none]] {
        let text = "no filter: the configuration has no linux.seccomp\n";
        assert_eq!(outcome(flags), (0, text.to_owned(), String::new()));
    }
    let wrong = bundle_of(&config(serde_json::json!({ "defaultAction": "SCMP_ACT_NONE" })));
    let (status, _, stderr) = outcome(&["seccomp", wrong.path().to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(stderr.contains("/linux/seccomp/defaultAction: unknown action"), "{stderr}");
    let (status, _, stderr) = outcome(&["seccomp", "--bundle", none, none]);
    assert_eq!((status, stderr.contains("given twice")), (1, true), "{stderr}");
}

#[test]
fn completion_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let (status, stdout, stderr) = outcome(&["completion", shell]);
        assert_eq!((status, stderr.as_str()), (0, ""));
        golden(&format!("completion.{shell}"), &stdout);
    }
    assert_eq!(
        outcome(&["completion", "csh"]),
        (1, String::new(), "level=error msg=\"completion takes bash, zsh or fish, not \\\"csh\\\"\"\n".to_owned())
    );
}

/// Completes a line in bash and returns the proposals.
fn complete(words: &[&str]) -> Vec<String> {
    let script = format!(
        "PATH={}:$PATH\n{}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_no_frills\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        binary().parent().unwrap().display(),
        outcome(&["completion", "bash"]).1,
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn completion_in_bash() {
    assert_eq!(complete(&["no-frills", "st"]), ["start", "state"]);
    assert_eq!(complete(&["no-frills", "--log-f"]), ["--log-format"]);
    assert_eq!(complete(&["no-frills", "--log-format", ""]), ["text", "json"]);
    assert_eq!(complete(&["no-frills", "--root", "/nowhere", "delete", "--f"]), ["--force"]);
    assert_eq!(complete(&["no-frills", "--root", "/nowhere", "run", "--pid"]), ["--pidfd-socket", "--pid-file"]);
    assert_eq!(complete(&["no-frills", "run", "--bundle", "/pro"]), ["/proc"]);
    assert_eq!(complete(&["no-frills", "list", "-f", ""]), ["table", "json"]);
    assert_eq!(complete(&["no-frills", "plan", "/pro"]), ["/proc"]);
    assert_eq!(complete(&["no-frills", "completion", ""])[..3], ["bash", "zsh", "fish"]);
}

#[test]
fn spec_is_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().to_str().unwrap();
    assert_eq!(outcome(&["spec", "--bundle", bundle]), (0, String::new(), String::new()));
    let first = fs::read(directory.path().join("config.json")).unwrap();
    let (status, _, stderr) = outcome(&["spec", "-b", bundle]);
    assert_eq!((status, stderr.as_str()), (1, "level=error msg=\"File config.json exists. Remove it first\"\n"));
    assert_eq!(fs::read(directory.path().join("config.json")).unwrap(), first);
    let (status, _, stderr) = outcome(&["spec", "-b", "/nonexistent"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("/nonexistent/config.json"), "{stderr}");
}

#[test]
fn a_written_spec_can_be_planned() {
    for rootless in ["--rootless=false", "--rootless"] {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().to_str().unwrap();
        assert_eq!(outcome(&["spec", rootless, "-b", bundle]).0, 0);
        let (status, text, stderr) = outcome(&["plan", bundle]);
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert!(text.contains("/mounts/0"), "{text}");
        let (status, text, stderr) = outcome(&["plan", "--json", bundle]);
        assert_eq!((status, stderr.as_str()), (0, ""));
        let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(plan["init"].as_array().is_some_and(|steps| steps.len() > 20));
    }
}

#[test]
fn missing_containers() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    for command in ["state", "start", "kill", "delete", "ps"] {
        assert_eq!(
            outcome(&["--root", root, command, "missing"]),
            (1, String::new(), "level=error msg=\"container does not exist\"\n".to_owned()),
            "{command}"
        );
    }
    assert_eq!(outcome(&["--root", root, "delete", "--force", "missing"]), (0, String::new(), String::new()));
    assert_eq!(outcome(&["--root", root, "list", "-f", "json"]), (0, "null\n".to_owned(), String::new()));
    assert_eq!(outcome(&["--root", root, "list", "-q"]), (0, String::new(), String::new()));
    let (_, table, _) = outcome(&["--root", root, "list"]);
    assert_eq!(table, "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
}

#[test]
fn a_failure_is_one_line_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let log = directory.path().join("log.json");
    let arguments = ["--root", root, "--log", log.to_str().unwrap(), "--log-format", "json"];
    for (command, message) in [
        (&["state", "missing"][..], "container does not exist"),
        (&["create", "--bundle"], "flag needs an argument: --bundle"),
        (&["bogus"], "unknown command: bogus (see no-frills --help)"),
        (
            &["create", "--bundle", "/nonexistent", "a"],
            "opening /nonexistent/config.json: ENOENT (no such file or directory)",
        ),
        (&["pause", "a"], "container does not exist"),
        (&["checkpoint", "a"], "checkpoint: this build of no-frills has no checkpoint and restore"),
    ] {
        let (status, stdout, stderr) = outcome(&[&arguments[..], command].concat());
        assert_eq!((status, stdout.as_str()), (1, ""), "{command:?}");
        assert_eq!(stderr, format!("{message}\n"));
        let lines = fs::read_to_string(&log).unwrap();
        let value: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!((&value["level"], &value["msg"]), (&"error".into(), &message.into()));
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        fs::remove_file(&log).unwrap();
    }
    // Nothing is logged when all is well, and lines are appended.
    outcome(&[&arguments[..], &["list"]].concat());
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
    outcome(&[&arguments[..], &["state", "a"]].concat());
    outcome(&[&arguments[..], &["state", "b"]].concat());
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let (status, _, stderr) = outcome(&["--log", "/nonexistent/log", "list"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("/nonexistent/log"), "{stderr}");
}

#[test]
fn other_cgroup_managers_are_refused() {
    let (status, _, stderr) = outcome(&["--cgroup-manager=v1", "create", "a"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("--cgroup-manager takes cgroupfs or systemd or disabled"), "{stderr}");
}

#[test]
fn a_preserved_descriptor_must_be_open() {
    let (status, _, stderr) = outcome(&["run", "--preserve-fds", "1", "a"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("--preserve-fds 1: file descriptor 3: "), "{stderr}");
}

#[test]
fn closed_standard_descriptors_are_not_reused() {
    let log = tempfile::NamedTempFile::new().unwrap();
    // Were 2 not opened first, the log would get the number, and the copy of the message would go there.
    let command =
        format!("'{}' --root /nonexistent --log '{}' state a <&- >&- 2>&-", binary().display(), log.path().display());
    let status = Command::new("sh").args(["-c", &command]).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read_to_string(log.path()).unwrap().lines().count(), 1);
}

#[test]
fn nobody_reading_ends_it_by_sigpipe() {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // Tests ignore SIGPIPE, and env gives the default action back.
    let mut command = Command::new("env");
    command.arg0("env").arg("--default-signal=PIPE").arg(binary()).arg("--help");
    let status = command.stdout(writer).status().unwrap();
    assert_eq!(status.signal(), Some(13));
}

#[test]
fn a_user_needs_a_place_for_state() {
    // The root of the tests may be any user.
    let output = no_frills(&["list"]).output().unwrap();
    let as_root = fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t");
    if !as_root {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("XDG_RUNTIME_DIR"), "{stderr}");
        let directory = tempfile::tempdir().unwrap();
        let output = no_frills(&["list"]).env("XDG_RUNTIME_DIR", directory.path()).output().unwrap();
        assert!(output.status.success());
    }
}
