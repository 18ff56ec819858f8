//! Where a hook is run, as whom, and with what.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("hooks/namespaces-runtime", "prestart, createRuntime, poststart, poststop: the runtime's", |t| {
            ["prestart", "createRuntime", "poststart", "poststop"].iter().try_for_each(|moment| in_runtime(t, moment))
        }),
        case("hooks/namespaces-create-container", "createContainer: the container's", |t| {
            in_container(t, "createContainer")
        }),
        case("hooks/namespaces-start-container", "startContainer: the container's", |t| {
            in_container(t, "startContainer")
        }),
        case("hooks/create-container-sees-the-host", "its path and files are the host's", create_container_root),
        case("hooks/start-container-sees-the-root", "its path and files are the container's", start_container_root),
        case("hooks/start-container-user", "it is the process's user, with its capabilities", start_container_user),
        case("hooks/create-container-user", "it is root, with all capabilities", create_container_user),
        case("hooks/user-namespace", "in the container's user namespace it is root there", user_namespace),
        case("hooks/user-namespace-afar", "a bundle that its root cannot reach", user_namespace_afar)
            .differs(Kind::Runc, "createContainer hooks begin in the rootfs"),
        case("hooks/environment", "exactly what env says", environment),
        case("hooks/environment-absent", "without env it is the surroundings'", environment_absent)
            .differs(Kind::Crun, "a createContainer hook has the runtime's environment"),
        case("hooks/arguments", "args as they are, args[0] too", arguments),
        case("hooks/arguments-absent", "without args the path alone", arguments_absent),
        case("hooks/directory", "the working directory is the bundle", directory)
            .differs(Kind::Runc, "poststop hooks have the caller's, createContainer hooks the rootfs"),
        case("hooks/descriptors", "none but the three standard ones", descriptors)
            .known_failure(Kind::Runc, "createContainer hooks get its own"),
        case("hooks/signals", "no signal is blocked or ignored", signals),
        case("hooks/stdin-by-path", "the state can be read through /dev/stdin", stdin_by_path),
        case("hooks/output-is-not-ours", "what hooks print is not printed by the runtime", output),
        case("hooks/with-a-terminal", "a container with a terminal", terminal),
    ]
}

const NAMESPACES: &str = "for n in mnt uts ipc net pid; do readlink /proc/self/ns/$n; done";

fn namespaces_of(pid: &str) -> Verdict<Vec<String>> {
    let link = |name| Ok(fs::read_link(format!("/proc/{pid}/ns/{name}"))?.to_string_lossy().into_owned());
    ["mnt", "uts", "ipc", "net", "pid"].into_iter().map(link).collect()
}

fn in_runtime(t: &Test, moment: &str) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.reports(moment, &dir, &format!("{NAMESPACES}; grep ^0: /proc/self/cgroup"));
    b.live()?;
    let text = read(&dir, moment)?;
    let mut found: Vec<&str> = text.lines().collect();
    let cgroup = found.pop().unwrap_or_default();
    same(moment, found, namespaces_of("self")?)?;
    check(!cgroup.ends_with(&b.id), || format!("{moment} is in the container's cgroup: {cgroup}"))
}

fn in_container(t: &Test, moment: &str) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.reports(moment, &dir, &format!("{NAMESPACES}; grep ^0: /proc/self/cgroup"));
    b.create()?;
    let expected = namespaces_of(&b.pid()?.as_raw_nonzero().to_string())?;
    b.start_idle()?;
    b.kill_and_delete()?;
    let text = read(&dir, moment)?;
    let mut found: Vec<&str> = text.lines().collect();
    let cgroup = found.pop().unwrap_or_default();
    same(moment, found, expected)?;
    // Of the container's cgroup namespace: its root.
    same("cgroup", cgroup, "0::/")
}

fn create_container_root(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let mark = t.path("mark");
    fs::write(&mark, "of the host")?;
    let b = b.reports("createContainer", &dir, &format!("cat {}; ls {}", mark.display(), b_root(t)));
    b.live()?;
    contains("createContainer", &read(&dir, "createContainer")?, "of the host")?;
    contains("createContainer", &read(&dir, "createContainer")?, "config.json")
}

/// The first bundle's directory.
fn b_root(t: &Test) -> String {
    t.path("b1").display().to_string()
}

fn start_container_root(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.with_file("etc/inside", "inside\n", 0o644)?;
    let b =
        b.reports("startContainer", &dir, "cat /etc/inside; ls /etc/debian_version; grep -c . /proc/mounts; ls /dev");
    b.live()?;
    let text = read(&dir, "startContainer")?;
    contains("startContainer", &text, "inside\n")?;
    contains("startContainer", &text, "No such file")?;
    contains("startContainer", &text, "null\n")
}

const WHO: &str = "id -u; id -g; grep -e CapPrm -e CapEff -e CapBnd -e NoNewPrivs /proc/self/status";

fn start_container_user(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b
        .set("/process/user", json!({"uid": 1000, "gid": 1001}))
        .set("/process/noNewPrivileges", json!(true))
        .capabilities(&["CAP_KILL", "CAP_NET_RAW"])
        .sh(&format!("{{ {WHO}; }} >{}/process; sleep 1000", dir.display()))
        .reports("startContainer", &dir, WHO);
    b.create()?;
    b.start()?;
    eventually("the process has said who it is", || Ok(read(&dir, "process")?.contains("NoNewPrivs")))?;
    b.kill_and_delete()?;
    let found = read(&dir, "startContainer")?;
    contains("startContainer", &found, "1000\n1001\n")?;
    same("startContainer", found, read(&dir, "process")?)
}

fn create_container_user(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.set("/process/user", json!({"uid": 1000, "gid": 1001})).capabilities(&[]).reports(
        "createContainer",
        &dir,
        "id -u; id -g; grep CapEff /proc/self/status",
    );
    b.live()?;
    let own = fs::read_to_string("/proc/self/status")?;
    let own = some("CapEff", own.lines().find(|line| line.starts_with("CapEff")))?;
    same("createContainer", read(&dir, "createContainer")?, format!("0\n0\n{own}\n"))
}

fn user_namespace(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let script = "id -u; readlink /proc/self/ns/user; grep CapEff /proc/self/status";
    let b = b
        .user_namespace(100_000, 65536)
        .reports("createRuntime", &dir, script)
        .reports("createContainer", &dir, script)
        .reports("startContainer", &dir, script);
    chown(&b.rootfs(""), 100_000)?;
    b.create()?;
    let own = fs::read_link(format!("/proc/{}/ns/user", b.pid()?.as_raw_nonzero()))?;
    b.start_idle()?;
    b.kill_and_delete()?;
    let own = own.to_string_lossy();
    lacks("createRuntime", &read(&dir, "createRuntime")?, &own)?;
    for moment in ["createContainer", "startContainer"] {
        contains(moment, &read(&dir, moment)?, &format!("0\n{own}\n"))?;
    }
    contains("createContainer", &read(&dir, "createContainer")?, "CapEff:\t000001ff")
}

fn user_namespace_afar(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let rootfs = t.path("rootfs-elsewhere");
    fs::rename(b.rootfs(""), &rootfs)?;
    chown(&rootfs, 100_000)?;
    fs::set_permissions(&b.dir, fs::Permissions::from_mode(0o700))?;
    let b = b
        .set("/root/path", json!(rootfs))
        .user_namespace(100_000, 65536)
        .reports("createRuntime", &dir, "/bin/pwd -P")
        .reports("createContainer", &dir, "/bin/pwd -P");
    b.live()?;
    let place = if t.kind == Kind::Runc { &rootfs } else { &b.dir };
    same("createContainer", read(&dir, "createContainer")?, format!("{}\n", place.display()))?;
    same("createRuntime", read(&dir, "createRuntime")?, format!("{}\n", b.dir.display()))
}

fn chown(path: &Path, id: u32) -> Verdict {
    Ok(std::os::unix::fs::chown(path, Some(id), Some(id))?)
}

/// What a shell adds to it left out.
const ENVIRONMENT: &str = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort";

/// The same where PATH is not expected: busybox's shell adds it.
const ENVIRONMENT_WITHOUT_PATH: &str = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= -e ^PATH= | sort";

fn with_env(hook: &mut Value, env: &[&str]) {
    hook["env"] = json!(env);
}

fn environment(t: &Test) -> Verdict {
    for moment in MOMENTS {
        let (mut b, dir) = shared(t)?;
        b = b.reports(moment, &dir, ENVIRONMENT_WITHOUT_PATH);
        with_env(&mut b.config["hooks"][moment][0], &["A=b c", "EMPTY=", "Z=x=y"]);
        b.live()?;
        same(moment, read(&dir, moment)?, "A=b c\nEMPTY=\nZ=x=y\n")?;
    }
    Ok(())
}

fn environment_absent(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.set("/process/env", json!(["PATH=/bin", "OF=process", "HOME=/"]));
    let b = MOMENTS.iter().fold(b, |b, moment| b.reports(moment, &dir, ENVIRONMENT));
    b.live()?;
    let ours = format!("PATH={}\n", std::env::var("PATH")?);
    for moment in ["prestart", "createRuntime", "poststart", "poststop"] {
        let found = read(&dir, moment)?.replace("_LIBCONTAINER_CLONED_BINARY=1\n", "");
        same(moment, found, ours.clone())?;
    }
    let own = if t.kind == Kind::Crun { ours } else { String::new() };
    same("createContainer", read(&dir, "createContainer")?.replace("_LIBCONTAINER_CLONED_BINARY=1\n", ""), own)?;
    same("startContainer", read(&dir, "startContainer")?, "HOME=/\nOF=process\nPATH=/bin\n")?;
    let (b, dir) = shared(t)?;
    b.set("/process/env", json!(["PATH=/bin"])).reports("startContainer", &dir, ENVIRONMENT).live()?;
    same("startContainer without HOME", read(&dir, "startContainer")?, "HOME=/root\nPATH=/bin\n")
}

pub(super) fn script_file(path: &Path, content: &str) -> Verdict {
    fs::write(path, content)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn arguments(t: &Test) -> Verdict {
    for moment in MOMENTS {
        let (b, dir) = shared(t)?;
        let script = "cat >/dev/null; for a; do echo \"[$a]\"; done";
        let script = format!("{script} >{}/{moment}; echo $0 >>{0}/{moment}", dir.display());
        let args = json!(["sh", "-c", script, "zero", "a b", "", "$HOME", "-x"]);
        let b = b.hook(moment, json!({"path": "/bin/sh", "args": args}));
        b.live()?;
        same(moment, read(&dir, moment)?, "[a b]\n[]\n[$HOME]\n[-x]\nzero\n")?;
    }
    // The name that a program is called by: bash takes the dash for a login shell.
    let (b, dir) = shared(t)?;
    let script = format!("cat >/dev/null; shopt -q login_shell && echo login >{}/bash", dir.display());
    b.hook("createRuntime", json!({"path": "/bin/bash", "args": ["-bash", "-c", script]})).live()?;
    same("args[0]", read(&dir, "bash")?, "login\n")
}

fn arguments_absent(t: &Test) -> Verdict {
    for (moment, args) in [("prestart", Value::Null), ("createContainer", json!([])), ("poststop", Value::Null)] {
        let (b, dir) = shared(t)?;
        let file = dir.join("script");
        script_file(&file, &format!("#!/bin/sh\ncat >/dev/null\necho $# $0 >{}/{moment}\n", dir.display()))?;
        b.hook(moment, json!({"path": file, "args": args})).live()?;
        same(moment, read(&dir, moment)?, format!("0 {}\n", file.display()))?;
    }
    Ok(())
}

fn directory(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.with_dir("usr/deep")?.set("/process/cwd", json!("/usr/deep"));
    let b = MOMENTS.iter().fold(b, |b, moment| b.reports(moment, &dir, "pwd -P"));
    b.live()?;
    let bundle = format!("{}\n", b.dir.display());
    for moment in ["prestart", "createRuntime", "poststart"] {
        same(moment, read(&dir, moment)?, bundle.clone())?;
    }
    if t.kind != Kind::Runc {
        same("poststop", read(&dir, "poststop")?, bundle.clone())?;
        same("createContainer", read(&dir, "createContainer")?, bundle)?;
    }
    // In the container the bundle is not.
    same("startContainer", read(&dir, "startContainer")?, "/usr/deep\n")
}

fn descriptors(t: &Test) -> Verdict {
    // ls itself opens the directory as 3.
    for moment in MOMENTS {
        let (b, dir) = shared(t)?;
        let b = b.hook(moment, sh(&format!("cat >/dev/null; ls -1 /proc/self/fd/ >{}/{moment}", dir.display())));
        b.live()?;
        same(moment, read(&dir, moment)?, "0\n1\n2\n3\n")?;
    }
    Ok(())
}

fn signals(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = MOMENTS.iter().fold(b, |b, moment| b.reports(moment, &dir, "grep -e SigBlk -e SigIgn /proc/self/status"));
    b.live()?;
    for moment in MOMENTS {
        let text = read(&dir, moment)?;
        let masks = text.lines().filter_map(|line| u64::from_str_radix(line.split_once('\t')?.1, 16).ok());
        // Signals from 32 on are those of C libraries and of applications.
        same(moment, masks.map(|mask| mask & 0x7fff_ffff).collect::<Vec<_>>(), vec![0, 0])?;
    }
    Ok(())
}

fn stdin_by_path(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = b.reports("createRuntime", &dir, "cat /proc/self/fd/0");
    b.live()?;
    contains("state", &read(&dir, "createRuntime")?, &b.id)
}

fn output(t: &Test) -> Verdict {
    let (b, dir) = shared(t)?;
    let b = MOMENTS
        .iter()
        .fold(b, |b, moment| b.hook(moment, sh("cat >/dev/null; echo from a hook; echo from a hook >&2")));
    let b = b.hook("poststop", noting(&dir, "ran"));
    let quiet = |what: &str, output: Output| {
        lacks(what, &output.stdout()?, "from a hook")?;
        lacks(what, &output.stderr()?, "from a hook")
    };
    quiet("create", b.create()?)?;
    quiet("start", b.start()?)?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    quiet("delete", b.verb("delete", &[])?.exits(0)?)?;
    same("hooks", noted(&dir)?, ["ran"])
}

fn terminal(t: &Test) -> Verdict {
    let (b, dir) = noting_all(t)?;
    let b = b.set("/process/terminal", json!(true));
    let master = crate::cases::terminals::with_console(t, &b)?;
    b.executes(&["sleep", "1000"])?;
    b.kill_and_delete()?;
    drop(master);
    let mut expected = twice(&MOMENTS);
    let mut found = noted(&dir)?;
    expected.sort();
    found.sort();
    same("hooks", found, expected)
}
