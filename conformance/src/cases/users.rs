//! What there is for people: `check`, `info`, `--timings` and `install`. Peers have none of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("check/clean", "the default bundle has no problems, and says so as text and JSON", clean),
        case(
            "check/all-at-once",
            "every error of a configuration at once, with places in the whole of it",
            all_at_once,
        ),
        case("check/host", "what the host lacks is an error with its place, and so it is to create or start", host),
        case("check/nodes", "a memory policy for nodes that are not there", nodes),
        case("check/cpuset", "processors and nodes that there can never be", cpuset).needs_controllers(&["cpuset"]),
        case("check/affinity", "processors that are not there are warnings, and so exec has it, or it fails", affinity),
        case("check/limits", "a hard limit above that of a caller who may not raise it", limits),
        case("check/rootfs", "a program, a working directory, a hook that are not in the rootfs", rootfs),
        case(
            "check/warnings",
            "misspelled, unknown, deprecated and repeated settings are warnings, and create takes them",
            warnings,
        ),
        case("check/links", "links in the rootfs are followed within it, and into mounts nobody looks", links),
        case("check/user", "a user's ids that are not granted, and a cgroup that is not delegated", user),
        case("check/not-json", "a file that is no JSON, or is not there, is one error", not_json),
        case("check/changes-nothing", "no hook is run, nothing is made", changes_nothing),
        case("info/text", "info prints sections and what is missing", info_text),
        case("info/json", "the same as JSON; a call that is hidden is told with its remedy", info_json),
        case("info/user", "info as a user without rights tells what a user may do", info_user),
        case(
            "timings/run",
            "run --timings tells on standard error alone, and the phases make up the whole",
            timings_run,
        ),
        case("timings/lifecycle", "create, start and exec with --timings, as a table and as JSON", timings_lifecycle),
        case(
            "timings/failed",
            "a run that fails tells its error first, and where the time went until then",
            timings_failed,
        ),
        case("install/destdir", "install puts program, manual and completions in place, again and away", install),
        case("install/manual", "groff and mandoc take the pages, if they are there", manual),
    ];
    cases.into_iter().map(|case| case.only(Kind::NoFrills, "its own command")).collect()
}

/// The report on a bundle: its errors and warnings, by place.
struct Report {
    text: Value,
    status: i32,
}

impl Report {
    fn of(t: &Test, b: &Bundle<'_>) -> Verdict<Report> {
        b.save()?;
        let output = t.runtime(&["check", "--format", "json", &b.dir.to_string_lossy()])?;
        Report::read(&output.stdout()?, output.status)
    }

    fn read(text: &str, status: i32) -> Verdict<Report> {
        let text: Value = serde_json::from_str(text)?;
        same("the status", status, i32::from(text["errors"] != json!(0)))?;
        Ok(Report { text, status })
    }

    fn problems(&self) -> impl Iterator<Item = &Value> {
        self.text["problems"].as_array().into_iter().flatten()
    }

    fn places(&self, severity: &str) -> BTreeSet<&str> {
        let of = self.problems().filter(|problem| problem["severity"] == severity);
        of.filter_map(|problem| problem["pointer"].as_str()).collect()
    }

    /// There are these problems of a severity, each with a remedy where `remedy` says so, and no others.
    fn has(&self, severity: &str, places: &[&str]) -> Verdict {
        same(
            &format!("places of {severity}s in {}", self.text),
            self.places(severity),
            places.iter().copied().collect(),
        )
    }

    fn about(&self, place: &str) -> Verdict<(&str, &str)> {
        let problem = some(place, self.problems().find(|problem| problem["pointer"] == place))?;
        Ok((some("a message", problem["message"].as_str())?, some("a remedy", problem["remedy"].as_str())?))
    }
}

fn clean(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    let report = Report::of(t, &b)?;
    same("problems", &report.text["problems"], &json!([]))?;
    same("the status", report.status, 0)?;
    let bundle = b.dir.to_string_lossy().into_owned();
    t.runtime(&["check", &bundle])?.exits(0)?.prints("0 errors, 0 warnings\n")?;
    // It is the current directory without an argument.
    let mut command = t.command(&["check"]);
    command.current_dir(&b.dir);
    t.output_of(command)?.exits(0)?.prints("0 errors, 0 warnings\n")?;
    b.run()?.exits(0)?;
    b.is_gone()
}

fn all_at_once(t: &Test) -> Verdict {
    let b = t
        .bundle()?
        .args(&["/bin/true"])
        .set("/process/cwd", json!("tmp"))
        .set("/process/user/uid", json!(-1))
        .set("/process/env", json!(["A=1", "B", 3, "C=2", "D"]))
        .set("/process/oomScoreAdj", json!(2000))
        .set("/linux/resources", json!({"memory": {"swappiness": 1}, "cpu": {"period": 1, "shares": "1"}}))
        .set("/linux/sysctl", json!({"kernel.panic": "1"}))
        .set("/hooks", json!({"poststart": [{"path": "bin/true"}, {"path": "/bin/true", "timeout": 0}]}))
        .push("/mounts", json!({"destination": "/x", "type": "bind", "options": ["bind"]}))
        .push("/mounts", json!({"destination": "/../x", "type": "tmpfs"}))
        .push("/linux/namespaces", json!({"type": "utss"}));
    let report = Report::of(t, &b)?;
    let mounts = b.config["mounts"].as_array().map_or(0, Vec::len);
    let namespaces = b.config["linux"]["namespaces"].as_array().map_or(0, Vec::len);
    let (first, second) = (format!("/mounts/{}/source", mounts - 2), format!("/mounts/{}/destination", mounts - 1));
    let namespace = format!("/linux/namespaces/{}/type", namespaces - 1);
    let expected = [
        "/process/cwd",
        "/process/user/uid",
        "/process/env/1",
        "/process/env/2",
        "/process/env/4",
        "/process/oomScoreAdj",
        "/linux/resources/memory/swappiness",
        "/linux/resources/cpu/period",
        "/linux/resources/cpu/shares",
        "/linux/sysctl/kernel.panic",
        "/hooks/poststart/0/path",
        "/hooks/poststart/1/timeout",
        &first,
        &second,
        &namespace,
    ];
    report.has("error", &expected)?;
    for place in expected {
        let (message, remedy) = report.about(place)?;
        check(!message.is_empty() && !remedy.is_empty(), || format!("{place}: {message}; {remedy}"))?;
    }
    same("the remedy", report.about(&namespace)?.1, "did you mean \"uts\"?")?;
    // The text says the same, for people.
    let text = t.runtime(&["check", &b.dir.to_string_lossy()])?.exits(1)?.stdout()?;
    for place in expected {
        contains("the text", &text, &format!("error: {place}: "))?;
    }
    contains("the text", &text, &format!("{} errors, ", expected.len()))?;
    // And create refuses one of them.
    let refused = b.run()?.exits(1)?.stderr()?;
    check(expected.iter().any(|place| refused.contains(&format!("{place}: "))), || refused.clone())?;
    b.is_gone()
}

/// Each is a bundle of its own, so that create is seen to refuse that.
fn host(t: &Test) -> Verdict {
    let script = t.path("not-executable");
    fs::write(&script, "#!/bin/sh\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644))?;
    let hook = |moment: &str, path: &str| json!({moment: [{"path": path}]});
    type Change = (&'static str, Value, String);
    let push = |value: Value| value;
    let changes: Vec<Change> = vec![
        ("/root/path", json!("nowhere"), "/root/path".to_owned()),
        (
            "/mounts/-",
            push(json!({"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]})),
            "/mounts/N".to_owned(),
        ),
        ("/mounts/-", push(json!({"destination": "/x", "type": "nosuchfs"})), "/mounts/N".to_owned()),
        (
            "/mounts/-",
            push(json!({"destination": "/x", "type": "tmpfs", "options": ["nosuid", "sise=1k"]})),
            "/mounts/N/options/1".to_owned(),
        ),
        ("/linux/netDevices", json!({"nosuch0": {}}), "/linux/netDevices/nosuch0".to_owned()),
        ("/linux/sysctl", json!({"net.ipv4.no_such": "1"}), "/linux/sysctl/net.ipv4.no_such".to_owned()),
        ("/hooks", hook("createRuntime", "/no/such"), "/hooks/createRuntime/0/path".to_owned()),
        ("/hooks", hook("prestart", "/"), "/hooks/prestart/0/path".to_owned()),
        ("/hooks", hook("createContainer", &script.to_string_lossy()), "/hooks/createContainer/0/path".to_owned()),
        ("/hooks", hook("poststart", "/no/such"), "/hooks/poststart/0/path".to_owned()),
        (
            "/linux/namespaces/-",
            push(json!({"type": "time", "path": "/proc/self/ns/uts"})),
            "/linux/namespaces/N/path".to_owned(),
        ),
        (
            "/linux/namespaces/-",
            push(json!({"type": "time", "path": "/no/such"})),
            "/linux/namespaces/N/path".to_owned(),
        ),
        (
            "/linux/namespaces/-",
            push(json!({"type": "time", "path": "/etc/passwd"})),
            "/linux/namespaces/N/path".to_owned(),
        ),
        ("/process/selinuxLabel", json!("system_u:system_r:container_t:s0"), "/process/selinuxLabel".to_owned()),
        ("/linux/intelRdt", json!({"closID": "x"}), "/linux/intelRdt".to_owned()),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
            "/linux/resources/hugepageLimits/0/pageSize".to_owned(),
        ),
        ("/linux/resources/unified", json!({"nosuch.max": "1"}), "/linux/resources/unified/nosuch.max".to_owned()),
        ("/process/scheduler", json!({"policy": "SCHED_ISO"}), "/process/scheduler/policy".to_owned()),
        (
            "/process/rlimits",
            json!([
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_NOFILE", "soft": 1, "hard": beyond("/proc/sys/fs/nr_open")?},
            ]),
            "/process/rlimits/1".to_owned(),
        ),
    ];
    let has_selinux = fs::read_to_string("/proc/filesystems")?.contains("selinuxfs");
    let has_resctrl = fs::read_to_string("/proc/self/mountinfo")?.contains(" - resctrl ");
    for (place, value, expected) in changes {
        if place == "/process/selinuxLabel" && has_selinux || place == "/linux/intelRdt" && has_resctrl {
            continue;
        }
        let b = t.bundle()?.args(&["true"]);
        let (b, expected) = match place.strip_suffix("/-") {
            Some(list) => {
                let b = b.push(list, value.clone());
                let last = b.config.pointer(list).and_then(Value::as_array).map_or(0, |items| items.len() - 1);
                (b, expected.replace('N', &last.to_string()))
            }
            None => (b.set(place, value.clone()), expected),
        };
        let report = Report::of(t, &b)?;
        report.has("error", &[&expected])?;
        let (message, remedy) = report.about(&expected)?;
        check(!message.is_empty() && (!remedy.is_empty() || message.contains("needs")), || report.text.to_string())?;
        let refused = b.run()?.exits(1)?.stderr()?;
        // It names the setting, or what that is in.
        let (parent, _) = expected.rsplit_once('/').unwrap_or_default();
        check(refused.contains(&format!("{expected}: ")) || refused.contains(&format!("{parent}: ")), || {
            format!("{expected}: {refused}")
        })?;
        b.is_gone()?;
    }
    Ok(())
}

/// One more than the last number of a file.
fn beyond(file: &str) -> Verdict<u64> {
    let text = fs::read_to_string(file)?;
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u64>().ok());
    Ok(some("a number", last)? + 1)
}

/// The report has an error there, and create or start refuses the bundle.
fn is_refused(t: &Test, b: &Bundle, place: &str) -> Verdict {
    let report = Report::of(t, b)?;
    report.has("error", &[place])?;
    contains("the remedy", report.about(place)?.1, "choose among")?;
    b.run()?.refuses(t, place.rsplit_once('/').unwrap_or_default().0, &[])?;
    b.is_gone()
}

fn nodes(t: &Test) -> Verdict {
    // Of a kernel without NUMA there is nothing to be told.
    let Ok(there) = fs::read_to_string("/sys/devices/system/node/has_memory") else { return Ok(()) };
    let with = |nodes: &str, flags: Value| -> Verdict<Bundle<'_>> {
        let policy = json!({"mode": "MPOL_BIND", "nodes": nodes, "flags": flags});
        Ok(t.bundle()?.args(&["true"]).set("/linux/memoryPolicy", policy))
    };
    is_refused(t, &with("63", json!([]))?, "/linux/memoryPolicy/nodes")?;
    // One that is there is enough; relative ones are counted among those that are.
    for (nodes, flags) in
        [(format!("{},63", there.trim()), json!([])), ("63".to_owned(), json!(["MPOL_F_RELATIVE_NODES"]))]
    {
        let b = with(&nodes, flags)?;
        Report::of(t, &b)?.has("error", &[])?;
        b.run()?.exits(0)?;
        b.is_gone()?;
    }
    Ok(())
}

fn cpuset(t: &Test) -> Verdict {
    for (name, kind) in [("cpus", "cpu"), ("mems", "node")] {
        let first = beyond(&format!("/sys/devices/system/{kind}/possible"))?;
        let with = |number: u64| -> Verdict<Bundle<'_>> {
            Ok(t.bundle()?.args(&["true"]).set("/linux/resources/cpu", json!({name: number.to_string()})))
        };
        is_refused(t, &with(first)?, &format!("/linux/resources/cpu/{name}"))?;
        let b = with(first - 1)?;
        Report::of(t, &b)?.has("error", &[])?;
        b.run()?.exits(0)?;
        b.is_gone()?;
    }
    Ok(())
}

fn affinity(t: &Test) -> Verdict {
    let first = beyond("/sys/devices/system/cpu/online")?;
    for (name, status) in [("initial", 0), ("final", 255)] {
        let place = format!("/process/execCPUAffinity/{name}");
        let b = t.bundle()?.set("/process/execCPUAffinity", json!({name: first.to_string()})).idle();
        let report = Report::of(t, &b)?;
        report.has("warning", &[&place])?;
        report.has("error", &[])?;
        b.create()?.exits(0)?;
        b.start()?.exits(0)?;
        let output = b.verb("exec", &["true"])?.exits(status)?;
        contains("the message", &output.stderr()?, &place)?;
        b.delete_force()?.exits(0)?;
        b.is_gone()?;
    }
    Ok(())
}

fn limits(t: &Test) -> Verdict {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let effective = some("capabilities", effective.and_then(|set| u64::from_str_radix(set, 16).ok()))?;
    let may_raise = effective & 1 << 24 != 0;
    let text = fs::read_to_string("/proc/self/limits")?;
    let most = text.lines().find_map(|line| line.strip_prefix("Max pending signals"));
    let most = some("a limit", most.and_then(|rest| rest.split_whitespace().nth(1)))?;
    let Ok(most) = most.parse::<u64>() else { return Ok(()) };
    let limit = |hard| json!([{"type": "RLIMIT_SIGPENDING", "soft": 1, "hard": hard}]);
    let b = t.bundle()?.args(&["true"]).set("/process/rlimits", limit(most + 1));
    let expected: &[&str] = if may_raise { &[] } else { &["/process/rlimits/0"] };
    Report::of(t, &b)?.has("error", expected)?;
    let refused = b.run()?.exits(if may_raise { 0 } else { 1 })?.stderr()?;
    check(
        may_raise || refused.contains("/process/rlimits/0: raising the hard limit of RLIMIT_SIGPENDING to "),
        || refused,
    )?;
    b.is_gone()?;
    let b = t.bundle()?.args(&["true"]).set("/process/rlimits", limit(most));
    Report::of(t, &b)?.has("error", &[])?;
    b.run()?.exits(0)?;
    b.is_gone()
}

fn rootfs(t: &Test) -> Verdict {
    let env = json!(["PATH=/usr/local/bin:/bin"]);
    for (args, cwd, expected) in [
        (json!(["no-such-program"]), "/", Some("/process/args/0")),
        (json!(["/bin/no-such-program"]), "/", Some("/process/args/0")),
        (json!(["/bin"]), "/", Some("/process/args/0")),
        (json!(["/data"]), "/", Some("/process/args/0")),
        (json!(["./true"]), "/bin", None),
        (json!(["true"]), "/made/by/init", None),
        (json!(["true"]), "/data", Some("/process/cwd")),
    ] {
        let b = t.bundle()?.with_file("data", "no program\n", 0o644)?;
        let b = b
            .set("/process/args", args.clone())
            .set("/process/env", env.clone())
            .set("/process/cwd", json!(cwd))
            .writable();
        let report = Report::of(t, &b)?;
        report.has("error", expected.as_slice())?;
        let output = b.run()?;
        same(&format!("the status of {args} in {cwd}"), output.status, i32::from(expected.is_some()))?;
        b.is_gone()?;
    }
    let b = t.bundle()?.args(&["true"]).set("/hooks", json!({"startContainer": [{"path": "/no/such"}]}));
    Report::of(t, &b)?.has("error", &["/hooks/startContainer/0/path"])?;
    b.run()?.exits(1)?;
    b.is_gone()
}

fn warnings(t: &Test) -> Verdict {
    let b = t
        .bundle()?
        .args(&["true"])
        .set("/linux/maskedPath", json!(["/x"]))
        .set("/process/noNewPrivilege", json!(true))
        .set("/com.example.engine", json!({"own": 1}))
        .set("/hooks", json!({"prestart": [{"path": "/bin/true"}]}))
        .set("/linux/resources/memory", json!({"useHierarchy": true, "kernel": 1024}))
        .push("/process/env", json!("PATH=/bin"))
        .push("/process/capabilities/bounding", json!("CAP_SYS_ADMN"))
        .set("/process/user/uid", json!(4711))
        .with_file("etc/passwd", "root:x:0:0::/:\n", 0o644)?;
    let report = Report::of(t, &b)?;
    report.has("error", &[])?;
    let env = b.config["process"]["env"].as_array().map_or(0, |items| items.len() - 1);
    let bounding = b.config["process"]["capabilities"]["bounding"].as_array().map_or(0, |items| items.len() - 1);
    let (env, bounding) = (format!("/process/env/{env}"), format!("/process/capabilities/bounding/{bounding}"));
    let expected = [
        "/linux/maskedPath",
        "/process/noNewPrivilege",
        "/com.example.engine",
        "/hooks/prestart",
        "/linux/resources/memory/useHierarchy",
        "/linux/resources/memory/kernel",
        "/process/user/uid",
        &env,
        &bounding,
    ];
    report.has("warning", &expected)?;
    same("the remedy", report.about("/linux/maskedPath")?.1, "did you mean \"maskedPaths\"?")?;
    same("the remedy", report.about("/process/noNewPrivilege")?.1, "did you mean \"noNewPrivileges\"?")?;
    same("the remedy", report.about(&bounding)?.1, "did you mean \"CAP_SYS_ADMIN\"?")?;
    lacks("the remedy", report.about("/com.example.engine")?.1, "did you mean")?;
    b.run()?.exits(0)?;
    // A name that is there twice; serde_json and Go take the last.
    let config = fs::read_to_string(b.dir.join("config.json"))?;
    fs::write(b.dir.join("config.json"), config.replacen('{', "{\"hostname\": \"first\", ", 1))?;
    let output = t.runtime(&["check", "--format", "json", &b.dir.to_string_lossy()])?.exits(0)?;
    let report = Report::read(&output.stdout()?, 0)?;
    check(report.places("warning").contains("/hostname"), || report.text.to_string())?;
    b.is_gone()
}

fn links(t: &Test) -> Verdict {
    // Out of the root by way of the host, in a circle, and to where a volume is.
    for (target, volume, expected) in [
        ("/bin/true", false, None),
        ("../../../bin/true", false, None),
        ("/proc/self/root/bin/true", false, None),
        ("/volume/true", true, None),
        ("/volume/true", false, Some("/process/args/0")),
        ("a-link", false, Some("/process/args/0")),
    ] {
        let b = t.bundle()?.with_link("a-link", target)?.args(&["/a-link"]);
        let source = b.rootfs("bin");
        let b = if volume { b.bind(source, "/volume", &["bind"]).writable() } else { b };
        Report::of(t, &b)?.has("error", expected.as_slice())?;
        let status = b.run()?.status;
        // busybox does not know itself by that name.
        check((status == 1) == expected.is_some() || status == 127, || format!("{target}: {status}"))?;
        b.is_gone()?;
    }
    Ok(())
}

fn user(t: &Test) -> Verdict {
    const NOBODY: u32 = 65534;
    let b =
        t.bundle()?.args(&["true"]).user_namespace(100_000, 65536).set("/linux/resources/pids", json!({"limit": 10}));
    b.save()?;
    for directory in [t.work.as_path(), &b.dir] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    let check_as_nobody = || -> Verdict<Report> {
        let mut command = t.command(&["check", "--format", "json", &b.dir.to_string_lossy()]);
        command.uid(NOBODY).gid(NOBODY);
        let output = t.output_of(command)?;
        Report::read(&output.stdout()?, output.status)
    };
    let report = check_as_nobody()?;
    let places = report.places("error");
    check(places.iter().any(|place| place.starts_with("/linux/uidMappings")), || report.text.to_string())?;
    check(places.contains("/linux/resources/pids/limit"), || report.text.to_string())?;
    let without = t.bundle()?.args(&["true"]).no_namespace("user");
    without.save()?;
    fs::set_permissions(&without.dir, fs::Permissions::from_mode(0o755))?;
    let mut command = t.command(&["check", "--format", "json", &without.dir.to_string_lossy()]);
    command.uid(NOBODY).gid(NOBODY);
    let output = t.output_of(command)?;
    let report = Report::read(&output.stdout()?, output.status)?;
    contains("the remedy", report.about("/linux/namespaces")?.1, "no-frills spec --rootless")?;
    b.is_gone()?;
    without.is_gone()
}

fn not_json(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.save()?;
    let file = b.dir.join("config.json");
    for (content, part) in [(Some("{\"a\": 1,"), "line 1 column"), (Some("[]"), "expected an object"), (None, "ENOENT")]
    {
        match content {
            Some(content) => fs::write(&file, content)?,
            None => fs::remove_file(&file)?,
        }
        let output = t.runtime(&["check", "--format", "json", &b.dir.to_string_lossy()])?.exits(1)?;
        let report = Report::read(&output.stdout()?, 1)?;
        report.has("error", &[""])?;
        contains("the message", report.about("")?.0, part)?;
    }
    Ok(())
}

fn changes_nothing(t: &Test) -> Verdict {
    let trace = t.path("ran");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("cat >{}", trace.display())]}]);
    let b = t.bundle()?.args(&["true"]).set("/hooks", json!({"createRuntime": hook, "poststop": hook}));
    let b = b.bind("/etc", "/made/for/it", &["bind"]).set("/process/cwd", json!("/made/too")).writable();
    let files = |b: &Bundle<'_>| -> Verdict<String> {
        let output = Command::new("find").arg(&b.dir).args(["-printf", "%p %m %i\\n"]).output();
        Ok(String::from_utf8(output?.stdout)?)
    };
    b.save()?;
    let before = (files(&b)?, fs::read_to_string("/proc/self/mountinfo")?);
    Report::of(t, &b)?.has("error", &[])?;
    same("the bundle and the mounts", (files(&b)?, fs::read_to_string("/proc/self/mountinfo")?), before)?;
    check(!trace.exists() && !b.cgroup_dir().exists(), || "something was made".to_owned())?;
    b.is_gone()
}

fn info_text(t: &Test) -> Verdict {
    let out = t.runtime(&["info"])?.exits(0)?.stdout()?;
    for part in ["NO-FRILLS\n", "KERNEL\n", "CGROUPS\n", "NAMESPACES\n", "ROOTLESS\n", "SECURITY\n", "LIMITS\n"] {
        contains("info", &out, part)?;
    }
    let marked = out.lines().filter(|line| line.starts_with("- ")).count();
    same("remedies", out.lines().filter(|line| line.contains(" remedy: ")).count(), marked)
}

fn info_json(t: &Test) -> Verdict {
    let info: Value = serde_json::from_str(&t.runtime(&["info", "--format", "json"])?.exits(0)?.stdout()?)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    same("the release", &info["kernel"]["release"]["value"], &json!(release.trim()))?;
    same("the state root", &info["no-frills"]["state root"]["value"], &json!(t.state_root().to_string_lossy()))?;
    let top = crate::cgroup2::mount_point().or_else(crate::expect::fail)?;
    same("the mount point", &info["cgroups"]["mount point"]["value"], &json!(top.to_string_lossy()))?;
    let controllers = fs::read_to_string(top.join("cgroup.controllers"))?;
    for name in ["memory", "pids", "cpu", "io"] {
        let fact = &info["cgroups"][format!("controller {name}")];
        let there = controllers.split_ascii_whitespace().any(|controller| controller == name);
        same(&format!("{name}: {fact}"), fact.get("remedy").is_none(), there)?;
    }
    for (hidden, consequence) in [("mount_setattr", "id-mapped mounts"), ("openat2", "no container can be made")] {
        let output = t.output_of(t.command_without(hidden, &["info", "--format", "json"]))?.exits(0)?;
        let info: Value = serde_json::from_str(&output.stdout()?)?;
        let fact = &info["kernel"][hidden];
        same(hidden, &fact["value"], &json!("missing"))?;
        contains(hidden, fact["consequence"].as_str().unwrap_or_default(), consequence)?;
        contains(hidden, fact["remedy"].as_str().unwrap_or_default(), "use Linux 5.")?;
    }
    Ok(())
}

fn info_user(t: &Test) -> Verdict {
    let mut command = t.command(&["info", "--format", "json"]);
    command.uid(65534).gid(65534);
    let info: Value = serde_json::from_str(&t.output_of(command)?.exits(0)?.stdout()?)?;
    same("the rights", &info["caller"]["rights"]["value"], &json!("a user's own"))?;
    same("the capabilities", &info["caller"]["capabilities"]["value"], &json!("none"))?;
    check(info["rootless"]["/etc/subuid"].is_object(), || info["rootless"].to_string())?;
    check(info["cgroups"]["delegation"]["remedy"].is_string(), || info["cgroups"].to_string())
}

/// The phases of a report, which make up the whole.
fn phases(times: &Value) -> Verdict<BTreeSet<&str>> {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let phases = some("phases", times["phases"].as_array())?;
    same("the sum of the phases", phases.iter().map(|phase| number(&phase["ns"])).sum::<u64>(), number(&times["ns"]))?;
    let init: u64 = times["init"].as_array().into_iter().flatten().map(|phase| number(&phase["ns"])).sum();
    check(init <= number(&times["ns"]), || format!("init took longer than all: {times}"))?;
    Ok(phases.iter().filter_map(|phase| phase["name"].as_str()).collect())
}

fn timings_run(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo out; sleep 0.2; exit 7");
    b.save()?;
    let output = b.run_with(&["--timings=json"])?.exits(7)?.prints("out\n")?;
    let times: Value = serde_json::from_str(&output.stderr()?)?;
    let names = phases(&times)?;
    for name in [
        "reading config.json",
        "compiling the plan",
        "cgroup",
        "clone",
        "journal",
        "waiting for init",
        "running",
        "deleting",
        "other",
    ] {
        check(names.contains(name), || format!("{name} is not in {names:?}"))?;
    }
    let running = times["phases"].as_array().into_iter().flatten().find(|phase| phase["name"] == "running");
    check(some("running", running)?["ns"].as_u64() >= Some(150_000_000), || times.to_string())?;
    let init: Vec<&str> =
        times["init"].as_array().into_iter().flatten().filter_map(|phase| phase["name"].as_str()).collect();
    same("init", init.len(), 7)?;
    same("what is said without", b.run()?.exits(7)?.stderr()?, "")?;
    let table = b.run_with(&["--timings"])?.exits(7)?.stderr()?;
    for part in ["PHASE", "\ntotal ", "\n  mounts "] {
        contains("the table", &table, part)?;
    }
    b.is_gone()
}

fn timings_lifecycle(t: &Test) -> Verdict {
    let filter =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_LOG"}]});
    let b = t
        .bundle()?
        .idle()
        .set("/linux/seccomp", filter)
        .set("/hooks", json!({"createRuntime": [{"path": "/bin/true"}]}));
    b.save()?;
    let read =
        |output: crate::bundle::Output| -> Verdict<Value> { Ok(serde_json::from_str(&output.exits(0)?.stderr()?)?) };
    let times = read(b.create_with(&["--timings=json"])?)?;
    let names = phases(&times)?;
    for name in ["hooks", "seccomp filter", "handing over to init"] {
        check(names.contains(name), || format!("{name} is not in {names:?}"))?;
    }
    let times = read(t.runtime(&["start", "--timings=json", &b.id])?)?;
    check(phases(&times)?.contains("starting the program"), || times.to_string())?;
    let times = read(t.runtime(&["exec", "--timings=json", &b.id, "true"])?)?;
    check(phases(&times)?.contains("running"), || times.to_string())?;
    contains("the table", &t.runtime(&["exec", "--timings", &b.id, "true"])?.exits(0)?.stderr()?, "\ntotal ")?;
    same("what is said without", t.runtime(&["exec", &b.id, "true"])?.exits(0)?.stderr()?, "")?;
    t.runtime(&["exec", "--timings=yaml", &b.id, "true"])?.exits(1)?;
    b.kill_and_delete()
}

fn timings_failed(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["no-such-program"]);
    b.save()?;
    let said = b.run_with(&["--timings"])?.exits(1)?.stderr()?;
    contains("the error", &said, "no-such-program")?;
    contains("the table", &said, "\ntotal ")?;
    b.is_gone()
}

fn install(t: &Test) -> Verdict {
    let top = t.path("dest");
    let dest = top.to_string_lossy().into_owned();
    let arguments = ["install", "--prefix", "/usr", "--destdir", &dest];
    let printed = t.runtime(&[arguments.as_slice(), &["--dry-run"]].concat())?.exits(0)?.stdout()?;
    check(!top.exists(), || "a dry run made something".to_owned())?;
    for _ in 0..2 {
        t.runtime(&arguments)?.exits(0)?.prints(&printed)?;
    }
    let mut expected: Vec<&str> = printed.lines().collect();
    let found = Command::new("find").args([&dest, "-type", "f"]).output()?;
    let found = String::from_utf8(found.stdout)?;
    let mut found: Vec<&str> = found.lines().collect();
    expected.sort_unstable();
    found.sort_unstable();
    same("the files", &found, &expected)?;
    for file in &found {
        let mode = fs::metadata(file)?.permissions().mode() & 0o7777;
        same(file, mode, if file.ends_with("/bin/no-frills") { 0o755 } else { 0o644 })?;
    }
    for part in [
        "/usr/share/man/man8/no-frills.8",
        "/usr/share/man/man8/no-frills-run.8",
        "/usr/share/zsh/site-functions/_no-frills",
    ] {
        check(found.contains(&format!("{dest}{part}").as_str()), || format!("{part} is not there"))?;
    }
    // What was installed is the program, and can take itself away, while it runs.
    let program = format!("{dest}/usr/bin/no-frills");
    let output = Command::new(&program).args(arguments).arg("--uninstall").output()?;
    same("removed", String::from_utf8(output.stdout)?, printed)?;
    let left = Command::new("find").args([&dest, "-type", "f"]).output()?;
    same("what is left", String::from_utf8(left.stdout)?, "")?;
    t.runtime(&["install", "--prefix", "usr"])?.refuses(t, "--prefix takes an absolute path", &[]).map(drop)
}

fn manual(t: &Test) -> Verdict {
    let top = t.path("dest");
    t.runtime(&["install", "--destdir", &top.to_string_lossy()])?.exits(0)?;
    let directory = top.join("usr/local/share/man/man8");
    let mut tried = false;
    for entry in fs::read_dir(&directory)? {
        let page = entry?.path();
        for (program, arguments) in
            [("mandoc", ["-T", "lint", "-W", "warning"].as_slice()), ("groff", &["-man", "-ww", "-Tutf8", "-z"])]
        {
            let output = Command::new(program).args(arguments).arg(&page).stdin(Stdio::null()).output();
            let Ok(output) = output else { continue };
            tried = true;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let lines: Vec<&str> = said.lines().filter(|line| !line.contains("missing date")).collect();
            check(lines.is_empty(), || format!("{program} {}: {lines:?}", page.display()))?;
        }
    }
    if tried { Ok(()) } else { crate::expect::skip("neither mandoc nor groff is there") }
}
