//! Configs as engines wrote them, from `fixtures/`, with the paths of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::cgroup2;
use crate::expect::{Stop, Verdict, check, contains, lacks, same, some};
use crate::kind::Kind;
use crate::mountinfo;
use crate::terminal;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("engines/docker-default", "a config of docker run", docker_default),
        case("engines/docker-tty", "a config of docker run -t", docker_tty),
        case(
            "engines/docker-privileged",
            "a config of docker run --privileged: all devices, nothing masked",
            docker_privileged,
        ),
        case(
            "engines/docker-user-caps-readonly-volume",
            "a user, one capability, a read-only root, volumes",
            docker_user,
        ),
        case("engines/docker-exec-process", "the process of a docker exec as a container's own", docker_exec),
        case(
            "engines/docker-exec-user-process",
            "the process of a docker exec -u as a container's own",
            docker_exec_user,
        ),
        case("engines/podman-default", "a config of podman run", podman_default),
        case("engines/podman-userns", "a config of podman run with a user namespace", podman_userns),
        case(
            "engines/docker-lifecycle",
            "docker's config through create, start, state, kill, delete",
            docker_lifecycle,
        ),
        case("engines/zeros-count-as-absent", "zero, empty and null settings that engines send ask for nothing", zeros)
            .known_failure(Kind::Crun, "sets empty labels"),
        case("engines/unknown-properties", "properties that nobody knows are no error", unknown_properties),
        case("engines/log-before-command", "the prefix of containerd's calls", containerd_prefix),
    ]
}

const DOCKER_DEFAULT: &str = include_str!("../../../fixtures/docker-default.json");
const DOCKER_TTY: &str = include_str!("../../../fixtures/docker-tty.json");
const DOCKER_PRIVILEGED: &str = include_str!("../../../fixtures/docker-privileged.json");
const DOCKER_USER: &str = include_str!("../../../fixtures/docker-user-caps-readonly-volume.json");
const DOCKER_EXEC: &str = include_str!("../../../fixtures/docker-exec-process.json");
const DOCKER_EXEC_USER: &str = include_str!("../../../fixtures/docker-exec-user-process.json");
const PODMAN_DEFAULT: &str = include_str!("../../../fixtures/podman-default.json");
const PODMAN_USERNS: &str = include_str!("../../../fixtures/podman-userns.json");

/// A bundle of the fixture, with what the case's machine has in place of the engine's machine's.
fn fixture<'t>(t: &'t Test, text: &str) -> Verdict<Bundle<'t>> {
    let config: Value = serde_json::from_str(text)?;
    let terminal = config["process"]["terminal"].as_bool().unwrap_or(false);
    let b = t.bundle_of(config)?.set("/root/path", json!("rootfs")).set("/process/terminal", json!(terminal));
    within_reach(t, hooks(sources(b)?)?)
}

/// Hooks of the engine become a script that wants its arguments and the state.
fn hooks(mut b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    let script = b.dir.join("hook");
    fs::write(&script, "#!/bin/sh\n[ \"$0\" ] && [ $# -gt 0 ] && grep -q '\"pid\": *[0-9]'\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    for moments in b.config["hooks"].as_object_mut().into_iter().flat_map(|hooks| hooks.values_mut()) {
        for hook in moments.as_array_mut().into_iter().flatten() {
            hook["path"] = json!(script);
        }
    }
    Ok(b)
}

/// Sources of bind mounts become files and directories of the bundle.
fn sources(mut b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    let mounts = some("mounts", b.config["mounts"].as_array_mut())?;
    for (index, mount) in mounts.iter_mut().enumerate().filter(|(_, mount)| mount["type"] == "bind") {
        let source = b.dir.join(format!("source{index}"));
        let destination = some("a destination", mount["destination"].as_str())?;
        if matches!(destination, "/dev/shm" | "/mnt") {
            fs::create_dir(&source)?;
            fs::write(source.join("mark"), "")?;
        } else {
            fs::write(&source, format!("for {destination}\n"))?;
        }
        mount["source"] = json!(source);
    }
    Ok(b)
}

/// Without what this machine cannot grant, which the peers do not pass over.
fn within_reach<'t>(t: &Test, mut b: Bundle<'t>) -> Verdict<Bundle<'t>> {
    if !cgroup2::controllers().map_err(Stop::Failed)?.contains("pids") {
        b = b.remove("/linux/resources/pids");
    }
    if t.kind == Kind::Crun {
        // It wants the controller even for a weight of 0.
        b = b.remove("/linux/resources/blockIO");
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = u64::from_str_radix(status_line(&status, "CapBnd")?, 16)?;
    // CAP_SYS_RESOURCE is 24.
    if bounding & (1 << 24) != 0 {
        return Ok(b);
    }
    // Limits above one's own need it.
    b = b.remove("/process/rlimits");
    if !t.ours()
        && let Some(Value::Object(sets)) = b.config.pointer_mut("/process/capabilities")
    {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|capability| capability != "CAP_SYS_RESOURCE");
        }
    }
    Ok(b)
}

fn docker_default(t: &Test) -> Verdict {
    fixture(t, DOCKER_DEFAULT)?.run()?.exits(0)?;
    let script = "hostname; cat /etc/hosts /etc/resolv.conf; id -u; cat /proc/self/mountinfo; cat /proc/self/status";
    let out = fixture(t, DOCKER_DEFAULT)?.sh(script).stdout()?;
    check(out.starts_with("bdb1d85ca400\nfor /etc/hosts\nfor /etc/resolv.conf\n0\n"), || format!("output: {out}"))?;
    same("CapEff", status_line(&out, "CapEff")?, "00000000a80425fb")?;
    same("CapInh", status_line(&out, "CapInh")?, "0000000000000000")?;
    let mounts = mountinfo::parse(&out);
    let shm = some("/dev/shm", mounts.iter().find(|mount| mount.point == "/dev/shm"))?;
    check(shm.has("size=65536k"), || format!("{shm:?}"))
}

fn docker_tty(t: &Test) -> Verdict {
    let b = fixture(t, DOCKER_TTY)?;
    let socket = t.path("console.sock");
    let listener = terminal::listen(&socket)?;
    b.create_with(&["--console-socket", &socket.to_string_lossy()])?.exits(0)?;
    let mut master = terminal::receive(&listener)?;
    b.start()?;
    terminal::read_until(&mut master, "tty\n")?;
    same("status", b.ended()?, 0)
}

fn docker_privileged(t: &Test) -> Verdict {
    fixture(t, DOCKER_PRIVILEGED)?.run()?.exits(0)?;
    let script = "cd /dev; stat -c '%n %F %t:%T %a' fuse net/tun loop0 kmsg cpu/0/cpuid; test -w /proc/sys/kernel/hostname && echo writable
        mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine && echo own";
    let out = fixture(t, DOCKER_PRIVILEGED)?.sh(script).stdout()?;
    let expected = "fuse character special file a:e5 600\nnet/tun character special file a:c8 600\n\
        loop0 block special file 7:0 600\nkmsg character special file 1:b 644\n\
        cpu/0/cpuid character special file cb:0 600\nwritable\nown\n";
    same("output", out, expected)
}

fn docker_user(t: &Test) -> Verdict {
    fixture(t, DOCKER_USER)?.run()?.exits(0)?;
    let script = "id -u; id -g; pwd; ls /mnt; echo $A; touch /mnt/x 2>/dev/null && echo wrote; cat /proc/self/status /proc/self/mountinfo";
    let out = fixture(t, DOCKER_USER)?.sh(script).stdout()?;
    check(out.starts_with("1000\n1000\n/tmp\nmark\nb\nName:"), || format!("output: {out}"))?;
    same("CapBnd", status_line(&out, "CapBnd")?, "0000000000001000")?;
    same("CapEff", status_line(&out, "CapEff")?, "0000000000000000")?;
    same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, "1")?;
    let mounts = mountinfo::parse(&out);
    for (point, option) in [("/", "ro"), ("/mnt", "ro"), ("/t", "noexec"), ("/etc/hosts", "ro")] {
        let mount = some(point, mounts.iter().find(|mount| mount.point == point))?;
        check(mount.options.contains(option), || format!("{point} lacks {option}: {mount:?}"))?;
    }
    Ok(())
}

fn with_process<'t>(t: &'t Test, text: &str) -> Verdict<Bundle<'t>> {
    Ok(t.bundle()?.set("/process", serde_json::from_str(text)?))
}

fn docker_exec(t: &Test) -> Verdict {
    same("output", with_process(t, DOCKER_EXEC)?.stdout()?, "hi\n")
}

fn docker_exec_user(t: &Test) -> Verdict {
    let out = with_process(t, DOCKER_EXEC_USER)?.stdout()?;
    contains("id", &out, "uid=1 gid=0(root)")
}

fn podman_default(t: &Test) -> Verdict {
    same("output", fixture(t, PODMAN_DEFAULT)?.stdout()?, "hi-podman\n")?;
    let b = fixture(t, PODMAN_DEFAULT)?.sh("ls /dev/shm; cat /run/.containerenv; umask");
    same("output", b.stdout()?, "mark\nfor /run/.containerenv\n0022\n")?;
    let b = fixture(t, PODMAN_DEFAULT)?.idle();
    b.create()?;
    same("an annotation", b.state()?["annotations"]["io.container.manager"].as_str(), Some("libpod"))
}

fn podman_userns(t: &Test) -> Verdict {
    let b = fixture(t, PODMAN_USERNS)?;
    for path in ["", "etc", "run", "dev"] {
        fs::create_dir_all(b.rootfs(path))?;
        std::os::unix::fs::chown(b.rootfs(path), Some(100_000), Some(100_000))?;
    }
    let out = b.stdout()?;
    contains("id", &out, "uid=0(root) gid=0(root)")?;
    lacks("id", &out, "65534")
}

fn docker_lifecycle(t: &Test) -> Verdict {
    let b = fixture(t, DOCKER_DEFAULT)?.idle();
    b.create()?;
    b.is("created")?;
    b.start()?;
    b.is("running")?;
    b.kill_and_delete()?;
    b.is_gone()
}

fn zeros(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran");
    let resources = json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""},
        "pids": {"limit": 0},
        "blockIO": {"weight": 0, "weightDevice": [], "throttleReadBpsDevice": null},
        "hugepageLimits": [],
        "network": {},
        "unified": {},
    });
    let b = b.set("/linux/resources", resources).set("/hooks", json!({})).set("/linux/sysctl", json!({}));
    let b = b
        .set("/process/apparmorProfile", json!(""))
        .set("/process/selinuxLabel", json!(""))
        .set("/linux/mountLabel", json!(""));
    let b = b
        .set("/process/user/additionalGids", json!(null))
        .set("/process/rlimits", json!(null))
        .set("/linux/devices", json!([]));
    let b =
        b.set("/annotations", json!(null)).set("/linux/uidMappings", json!([])).set("/linux/gidMappings", json!(null));
    let b = b
        .set("/linux/seccomp", json!(null))
        .set("/linux/intelRdt", json!(null))
        .set("/linux/rootfsPropagation", json!(""));
    let b = b.set("/process/consoleSize", json!({"height": 0, "width": 0})).set("/domainname", json!(""));
    same("output", b.stdout()?, "ran\n")
}

fn unknown_properties(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran").set("/x-unknown", json!({"a": [1, 2]})).set("/process/unknown", json!("x"));
    same("output", b.set("/linux/unknown", json!(1)).set("/mounts/0/unknown", json!(null)).stdout()?, "ran\n")
}

fn containerd_prefix(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let (log, bundle, pid_file) = (text(&t.path("log.json")), text(&b.dir), text(&b.pid_file()));
    let prefix = ["--log", &log, "--log-format", "json"];
    let call = |rest: &[&str]| -> Verdict { t.runtime(&[&prefix[..], rest].concat())?.exits(0).map(drop) };
    call(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &b.id])?;
    call(&["start", &b.id])?;
    call(&["state", &b.id])?;
    call(&["ps", "--format", "json", &b.id])?;
    call(&["kill", "--all", &b.id, "9"])?;
    b.ended()?;
    call(&["delete", &b.id])?;
    call(&["delete", "--force", &b.id])?;
    for line in fs::read_to_string(&log).unwrap_or_default().lines() {
        let entry: Value = serde_json::from_str(line)?;
        check(entry["level"] != "error", || format!("an error in the log: {line}"))?;
    }
    Ok(())
}
