//! spec, features, --version, and flags as engines write them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::Value;

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, contains, same, some};
use crate::kind::Kind;
use crate::terminal;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("commands/version", "--version prints a line with the name and `version`", version),
        case("commands/spec", "spec writes the default config and does not overwrite one", spec),
        case("commands/spec-equals", "the default config is the one that cases start from", spec_equals)
            .known_failure(Kind::Crun, "its default config differs"),
        case("commands/spec-runs", "a container of the default config runs", spec_runs),
        case("commands/config", "--config names another file than config.json", config_elsewhere)
            .known_failure(Kind::Runc, "crun's"),
        case("commands/features", "features prints JSON on stdout and nothing on stderr", features),
        case(
            "commands/features-lists",
            "features names namespaces, capabilities, mount options, hooks",
            features_lists,
        ),
        case("commands/features-seccomp", "features names the actions and operators of seccomp", features_seccomp),
        case(
            "commands/features-seccomp-flags",
            "features names architectures and flags of seccomp, and which of these the kernel has",
            features_seccomp_flags,
        )
        .known_failure(Kind::Crun, "it lists neither"),
        case(
            "commands/global-flags",
            "--debug, --log, --log-format, --systemd-cgroup=false, --rootless are taken",
            global_flags,
        )
        .known_failure(Kind::Crun, "has no --rootless"),
        case("commands/create-flags", "the flags of create and run that engines pass", create_flags),
        case("commands/single-dash", "long flags with one dash are taken", single_dash)
            .known_failure(Kind::Crun, "a flag with one dash and many letters is read letter by letter"),
        case("commands/flags-after-id", "flags after the id are taken", flags_after)
            .known_failure(Kind::Crun, "flags come before the id"),
        case("commands/pidfd-socket", "create --pidfd-socket and run --pidfd-socket send a pidfd", pidfd_socket)
            .skip(Kind::Crun, "has no such flag"),
        case("commands/pidfd-socket-nowhere", "a pidfd socket that nobody listens on is refused", pidfd_nowhere)
            .known_failure(Kind::Runc, "1.3.6 leaves the container behind")
            .skip(Kind::Crun, "has no such flag"),
        case("commands/root-made", "the state root is made, with its parents", root_made),
        case("commands/plan", "plan prints the steps with their pointers and needs nothing but the bundle", plan)
            .only(Kind::NoFrills, "its own command"),
        case(
            "commands/seccomp",
            "seccomp prints what a bundle's filter does, by action and call, as any user",
            seccomp,
        )
        .only(Kind::NoFrills, "its own command"),
        case(
            "commands/seccomp-errors",
            "seccomp says where a profile is wrong, and that there is none",
            seccomp_errors,
        )
        .only(Kind::NoFrills, "its own command"),
        case("commands/completion", "completion prints a script", completion).only(Kind::NoFrills, "its own command"),
    ]
}

fn version(t: &Test) -> Verdict {
    let out = t.runtime(&["--version"])?.exits(0)?.stdout()?;
    let first = some("a line", out.lines().next())?;
    contains("the first line", first, "version")?;
    check(first.starts_with(t.kind.name()), || format!("the first line: {first}"))?;
    check(out.lines().any(|line| line.starts_with("commit: ")), || format!("no commit: {out}"))?;
    check(out.lines().any(|line| line.starts_with("spec: ")), || format!("no spec: {out}"))
}

fn spec_in(t: &Test) -> Verdict<(std::path::PathBuf, Value)> {
    let dir = t.path("spec");
    fs::create_dir(&dir)?;
    let mut command = t.command(&["spec"]);
    command.current_dir(&dir);
    t.output_of(command)?.exits(0)?.prints("")?;
    let config = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
    Ok((dir, config))
}

fn spec(t: &Test) -> Verdict {
    let (dir, config) = spec_in(t)?;
    same("args", &config["process"]["args"], &serde_json::json!(["sh"]))?;
    same("terminal", config["process"]["terminal"].as_bool(), Some(true))?;
    same("root", config["root"]["path"].as_str(), Some("rootfs"))?;
    let again = t.runtime(&["spec", "--bundle", &dir.to_string_lossy()])?;
    again.refuses(t, "exists", &["exists"])?;
    Ok(())
}

fn spec_equals(t: &Test) -> Verdict {
    let (_, mut found) = spec_in(t)?;
    let mut expected: Value = serde_json::from_str(no_frills_conformance::DEFAULT_SPEC)?;
    for config in [&mut found, &mut expected] {
        // Each runtime names the version that it knows, and itself.
        config["ociVersion"] = Value::Null;
        config["hostname"] = Value::Null;
        for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
            if let Some(Value::Array(paths)) = config.pointer_mut(list) {
                paths.sort_by_key(Value::to_string);
            }
        }
    }
    for key in ["process", "root", "mounts", "linux"] {
        same(key, &found[key], &expected[key])?;
    }
    Ok(())
}

fn spec_runs(t: &Test) -> Verdict {
    let (_, config) = spec_in(t)?;
    same("output", t.bundle_of(config)?.sh("echo runs").stdout()?, "runs\n")
}

fn features(t: &Test) -> Verdict {
    let output = t.runtime(&["features"])?.exits(0)?;
    same("stderr", output.stderr()?.as_str(), "")?;
    let features: Value = serde_json::from_str(&output.stdout()?)?;
    for key in ["ociVersionMin", "ociVersionMax"] {
        check(features[key].as_str().is_some_and(|version| version.starts_with("1.")), || {
            format!("{key}: {features}")
        })?;
    }
    Ok(())
}

fn features_lists(t: &Test) -> Verdict {
    let features: Value = serde_json::from_str(&t.runtime(&["features"])?.exits(0)?.stdout()?)?;
    let has = |pointer: &str, value: &str| -> Verdict {
        let list = features.pointer(pointer).and_then(Value::as_array);
        check(list.is_some_and(|list| list.iter().any(|item| item == value)), || format!("{pointer} lacks {value}"))
    };
    for namespace in ["pid", "network", "ipc", "uts", "mount", "user", "cgroup"] {
        has("/linux/namespaces", namespace)?;
    }
    for capability in ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"] {
        has("/linux/capabilities", capability)?;
    }
    for option in ["ro", "rw", "bind", "rbind", "nosuid", "noexec", "rprivate", "rro"] {
        has("/mountOptions", option)?;
    }
    if !t.ours() {
        // Hooks come to ours with a later issue.
        has("/hooks", "prestart")?;
    }
    same("cgroup v2", features.pointer("/linux/cgroup/v2").and_then(Value::as_bool), Some(true))
}

/// Sorted.
fn listed(features: &Value, key: &str) -> Verdict<Vec<String>> {
    let list = features["linux"]["seccomp"][key].as_array();
    let mut list: Vec<String> = some(key, list)?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    list.sort_unstable();
    Ok(list)
}

fn features_seccomp(t: &Test) -> Verdict {
    let features: Value = serde_json::from_str(&t.runtime(&["features"])?.exits(0)?.stdout()?)?;
    same("enabled", &features["linux"]["seccomp"]["enabled"], &Value::Bool(true))?;
    // All that the specification knows.
    let actions = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP"];
    let actions = actions.map(|name| format!("SCMP_ACT_{name}"));
    same("actions", listed(&features, "actions")?, actions.to_vec())?;
    let operators = ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"].map(|name| format!("SCMP_CMP_{name}"));
    same("operators", listed(&features, "operators")?, operators.to_vec())
}

fn features_seccomp_flags(t: &Test) -> Verdict {
    let features: Value = serde_json::from_str(&t.runtime(&["features"])?.exits(0)?.stdout()?)?;
    let architectures = listed(&features, "archs")?;
    for name in ["X86", "X86_64", "X32"] {
        check(architectures.contains(&format!("SCMP_ARCH_{name}")), || format!("archs: {architectures:?}"))?;
    }
    let (known, supported) = (listed(&features, "knownFlags")?, listed(&features, "supportedFlags")?);
    for name in ["LOG", "SPEC_ALLOW", "TSYNC"] {
        let name = format!("SECCOMP_FILTER_FLAG_{name}");
        // Older than any kernel that the suite runs on.
        check(known.contains(&name) && supported.contains(&name), || format!("{known:?}, {supported:?}"))?;
    }
    check(supported.iter().all(|flag| known.contains(flag)), || format!("{known:?}, {supported:?}"))
}

fn global_flags(t: &Test) -> Verdict {
    let log = t.path("log");
    let log = log.to_string_lossy();
    let b = t.bundle()?.sh("echo ran");
    b.save()?;
    let bundle = b.dir.to_string_lossy();
    for flags in [
        &["--log", &log, "--log-format", "json"][..],
        &["--log", &log, "--log-format=text", "--debug"],
        &["--systemd-cgroup=false", "--rootless=false"],
        &["--rootless", "auto"],
    ] {
        let mut args = flags.to_vec();
        args.extend(["run", "--bundle", &bundle, &b.id]);
        t.runtime(&args)?.exits(0)?.prints("ran\n")?;
    }
    Ok(())
}

fn config_elsewhere(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo elsewhere");
    b.save()?;
    let elsewhere = t.path("elsewhere.json");
    fs::rename(b.dir.join("config.json"), &elsewhere)?;
    let bundle = b.dir.to_string_lossy();
    let elsewhere = elsewhere.to_string_lossy();
    for flag in ["--config", "-f"] {
        t.runtime(&["run", "--bundle", &bundle, flag, &elsewhere, &b.id])?.exits(0)?.prints("elsewhere\n")?;
    }
    let inside = ["run", "--bundle", bundle.as_ref(), "--config", "none.json", b.id.as_str()];
    t.runtime(&inside)?.refuses(t, "none.json", &["none.json"])?;
    Ok(())
}

fn create_flags(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create_with(&["--no-new-keyring"])?.exits(0)?;
    b.delete_force()?;
    b.create_with(&["--no-pivot"])?.exits(0)?;
    b.start()?;
    b.delete_force()?;
    b.create_with(&["--preserve-fds", "0"])?.exits(0)?;
    b.is("created")
}

fn single_dash(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran");
    b.save()?;
    let pid_file = b.pid_file();
    let args =
        ["run", "-bundle", &b.dir.to_string_lossy(), "-pid-file", &pid_file.to_string_lossy(), "-no-subreaper", &b.id]
            .map(str::to_owned);
    t.runtime(&args)?.exits(0)?.prints("ran\n")?;
    let args = ["run", &format!("-bundle={}", b.dir.to_string_lossy()), "-no-subreaper=true", &b.id].map(str::to_owned);
    t.runtime(&args)?.exits(0)?.prints("ran\n")?;
    let args = ["run", "-b", &b.dir.to_string_lossy(), &b.id].map(str::to_owned);
    t.runtime(&args)?.exits(0)?.prints("ran\n")?;
    Ok(())
}

fn flags_after(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    let args = ["create", &b.id, "--bundle", &b.dir.to_string_lossy()].map(str::to_owned);
    t.runtime(&args)?.exits(0)?;
    t.runtime(&["delete", &b.id, "-f"])?.exits(0)?;
    b.is_gone()
}

fn pidfd_socket(t: &Test) -> Verdict {
    for verb in ["create", "run"] {
        let b = t.bundle()?.idle();
        b.save()?;
        let path = t.path(&format!("{verb}.sock"));
        let listener = terminal::listen(&path)?;
        let (socket, pid_file) = (path.to_string_lossy(), b.pid_file());
        let pid_file = pid_file.to_string_lossy();
        let mut flags = vec!["--pid-file", &pid_file, "--pidfd-socket", &socket];
        flags.extend((verb == "run").then_some("--detach"));
        t.output_of(b.command(verb, &flags))?.exits(0)?;
        let pidfd = terminal::receive(&listener)?;
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd)))?;
        same("the pid of the pidfd", status_line(&info, "Pid")?, b.pid()?.as_raw_nonzero().to_string())?;
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)?;
        same("status", b.ended()?, 137)?;
    }
    Ok(())
}

fn pidfd_nowhere(t: &Test) -> Verdict {
    for verb in ["create", "run"] {
        let b = t.bundle()?.args(&["true"]);
        b.save()?;
        let refused = t.output_of(b.command(verb, &["--pidfd-socket", "/no/such/socket"]))?;
        refused.refuses(t, "/no/such/socket", &["/no/such/socket"])?;
        b.is_gone()?;
    }
    Ok(())
}

fn root_made(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran");
    b.save()?;
    let root = t.path("some/where/deep");
    let args =
        ["--root", &root.to_string_lossy(), "run", "--bundle", &b.dir.to_string_lossy(), &b.id].map(str::to_owned);
    t.runtime(&args)?.exits(0)?.prints("ran\n")?;
    check(root.is_dir(), || "the root is not there".to_owned())
}

fn plan(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.save()?;
    let out = t.runtime(&["plan", &b.dir.to_string_lossy()])?.exits(0)?.stdout()?;
    for part in ["/mounts/0", "/process", "/linux/maskedPaths", "/root"] {
        contains("the plan", &out, part)?;
    }
    let json = t.runtime(&["plan", "--json", &b.dir.to_string_lossy()])?.exits(0)?.stdout()?;
    serde_json::from_str::<Value>(&json)?;
    b.is_gone()
}

/// Profiles of engines, and a call of each kind.
fn seccomp(t: &Test) -> Verdict {
    let of =
        |config: &str| -> Verdict<Value> { Ok(serde_json::from_str::<Value>(config)?["linux"]["seccomp"].clone()) };
    let docker = of(include_str!("../../fixtures/docker-default.json"))?;
    let podman = of(include_str!("../../fixtures/podman-default.json"))?;
    let b = t.bundle()?.args(&["true"]).set("/linux/seccomp", docker);
    b.save()?;
    // Nobody in particular, who may read the bundle.
    for directory in [t.work.as_path(), &b.dir] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    let bundle = b.dir.to_string_lossy().into_owned();
    let mut command = t.command(&["seccomp", &bundle]);
    command.uid(65534).gid(65534);
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    let personality = "arg0 == 0 or arg0 == 8 or arg0 == 0x20000 or arg0 == 0x20008 or arg0 == 0xffffffff";
    for part in [
        "default: EPERM\n",
        "architectures: x86_64, x86, x32",
        "flags: SECCOMP_FILTER_FLAG_SPEC_ALLOW\n",
        "listener: none\n",
        ": allow if arg0 & 0x7e020000 == 0; else EPERM\n",
        &format!(": allow if {personality}; else EPERM\n"),
        "ENOSYS above 449\n",
    ] {
        contains("the filter of Docker", &out, part)?;
    }
    let number = |start: &str| -> Verdict<usize> {
        let line = some(start, out.lines().find_map(|line| line.strip_prefix(start)))?;
        Ok(line.split(' ').next().unwrap_or_default().parse()?)
    };
    let instructions = number("instructions: ")?;
    check(number("most for an allowed call: ")? < instructions, || out.clone())?;

    let bpf = t.runtime(&["seccomp", "--bpf", "--bundle", &bundle])?.exits(0)?.stdout()?;
    same("instructions", bpf.lines().count(), instructions)?;
    contains("the program", &bpf, "ld [4]  ")?;

    let b = b.set("/linux/seccomp", podman);
    b.save()?;
    let out = t.runtime(&["seccomp", "-b", &bundle])?.exits(0)?.stdout()?;
    contains("the filter of Podman", &out, "default: ENOSYS\n")?;
    contains("the filter of Podman", &out, ": EINVAL if arg0 == 16 and arg2 == 9; allow if arg2 != 9 or arg0 != 16\n")?;
    contains("the filter of Podman", &out, "passed over, since no such call is known: pciconfig_iobase")?;
    b.is_gone()
}

fn seccomp_errors(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.save()?;
    let bundle = b.dir.to_string_lossy().into_owned();
    let none = "no filter: the configuration has no linux.seccomp\n";
    t.runtime(&["seccomp", &bundle])?.exits(0)?.prints(none)?;
    let rule = |action: &str| {
        serde_json::json!({
            "names": ["clone"], "action": action, "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }],
        })
    };
    let contradiction = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("SCMP_ACT_ALLOW"), rule("SCMP_ACT_TRAP")],
    });
    let unknown = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("SCMP_ACT_NONE")] });
    let b = b.set("/linux/seccomp", contradiction);
    b.save()?;
    t.runtime(&["seccomp", &bundle])?.refuses(t, "/linux/seccomp/syscalls/1: ", &[])?;
    let b = b.set("/linux/seccomp", unknown);
    b.save()?;
    t.runtime(&["seccomp", &bundle])?.refuses(t, "/linux/seccomp/syscalls/0/action: ", &[])?;
    b.is_gone()
}

fn completion(t: &Test) -> Verdict {
    for shell in ["bash", "zsh", "fish"] {
        contains(shell, &t.runtime(&["completion", shell])?.exits(0)?.stdout()?, "no-frills")?;
    }
    Ok(())
}
