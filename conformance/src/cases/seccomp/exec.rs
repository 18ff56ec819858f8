//! exec and hooks: whom the container's profile holds.

use std::process::Stdio;

use libc::SYS_getsid;

use super::order::{EXITS, PAUSES, add_program, with_program};
use super::*;

pub(super) fn cases() -> Vec<Case> {
    const FILTERED_HOOKS: &str = "startContainer hooks are filtered";
    vec![
        case("seccomp/exec", "a process of exec has the container's profile, and no other filter", exec)
            .needs(&[UNFILTERED]),
        case("seccomp/exec-created", "also before the container's program runs", exec_created),
        case(
            "seccomp/exec-profile-as-at-create",
            "it is that of create, whatever config.json says now",
            exec_as_at_create,
        ),
        case(
            "seccomp/exec-privileges",
            "no_new_privs and capabilities of exec are those that are asked for",
            exec_privileges,
        ),
        case("seccomp/exec-killed", "a call that kills ends the process of exec alone", exec_killed),
        case("seccomp/exec-user", "exec --user with a profile", exec_user),
        case(
            "seccomp/exec-bare",
            "a profile that allows execve and what the program does is enough for exec",
            exec_bare,
        )
        .only(Kind::NoFrills, "the others' own set-up is filtered"),
        case("seccomp/hooks", "hooks that are run in the container are not filtered, its process is", hooks)
            .differs(Kind::Runc, FILTERED_HOOKS)
            .differs(Kind::Crun, FILTERED_HOOKS),
        case("seccomp/exec-with-hooks", "exec in a container with hooks", exec_with_hooks),
        case("seccomp/run-detached", "run --detach", run_detached).needs(&[UNFILTERED]),
    ]
}

fn running<'t>(t: &'t Test, rules: &[Value]) -> Verdict<Bundle<'t>> {
    let b = filtered(t, "SCMP_ACT_ALLOW", rules)?.idle();
    b.create()?;
    b.start()?;
    Ok(b)
}

fn executed(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<Output> {
    b.test.output_of(b.test.command(&[&["exec"], flags, &[&b.id], args].concat()))
}

fn answered(b: &Bundle, flags: &[&str], number: i64) -> Verdict<String> {
    let output = executed(b, flags, &["/bin/probe", "each", &call(number, &[])])?.exits(0)?;
    Ok(output.stdout()?.trim_end().to_owned())
}

fn exec(t: &Test) -> Verdict {
    let b = running(t, &[errno(&["acct", "getsid"], MARK)])?;
    same("answer", answered(&b, &[], SYS_getsid)?, MARKED)?;
    let status = executed(&b, &[], &["cat", "/proc/self/status"])?.exits(0)?.stdout()?;
    same("Seccomp", status_line(&status, "Seccomp")?, "2")?;
    same("Seccomp_filters", status_line(&status, "Seccomp_filters")?, "1")?;
    // By process.json too.
    let process = json!({"args": ["/bin/probe", "each", call(SYS_getsid, &[])], "cwd": "/", "env": []});
    let path = b.dir.join("process.json");
    fs::write(&path, process.to_string())?;
    let output = executed(&b, &["--process", &path.to_string_lossy()], &[])?.exits(0)?;
    same("answer", output.stdout()?, format!("{MARKED}\n"))
}

fn exec_created(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getsid"], MARK)])?.idle();
    b.create()?;
    same("answer", answered(&b, &[], SYS_getsid)?, MARKED)?;
    b.start()?;
    same("answer", answered(&b, &[], SYS_getsid)?, MARKED)
}

fn exec_as_at_create(t: &Test) -> Verdict {
    let b = running(t, &[errno(&["getsid"], MARK)])?;
    let b = b.set("/linux/seccomp/syscalls", json!([errno(&["getpgid"], 99)]));
    b.save()?;
    same("answer", answered(&b, &[], SYS_getsid)?, MARKED)?;
    let b = b.remove("/linux/seccomp");
    b.save()?;
    same("answer", answered(&b, &[], SYS_getsid)?, MARKED)?;
    b.kill_and_delete()?;
    // And none comes to a container that had none.
    let b = filtered(t, "", &[])?.remove("/linux/seccomp").idle();
    b.create()?;
    b.start()?;
    let b = b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [errno(&["getsid"], MARK)]}));
    b.save()?;
    check(answered(&b, &[], SYS_getsid)? != MARKED, || "a profile that came later holds".to_owned())
}

fn exec_privileges(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["acct"], MARK)])?.idle();
    let b = b.set("/process/noNewPrivileges", json!(false)).capabilities(&["CAP_KILL"]);
    b.create()?;
    b.start()?;
    for (flags, privileges) in [(&[][..], "0"), (&["--no-new-privs"], "1")] {
        let status = executed(&b, flags, &["cat", "/proc/self/status"])?.exits(0)?.stdout()?;
        same("NoNewPrivs", status_line(&status, "NoNewPrivs")?, privileges)?;
        same("Seccomp", status_line(&status, "Seccomp")?, "2")?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            same(set, status_line(&status, set)?, "0000000000000020")?;
        }
    }
    Ok(())
}

fn exec_killed(t: &Test) -> Verdict {
    let b = running(t, &[rule(&["getsid"], "SCMP_ACT_KILL_PROCESS")])?;
    executed(&b, &[], &["/bin/probe", "here", &call(SYS_getsid, &[])])?.exits(159)?.prints("")?;
    b.is("running")
}

fn exec_user(t: &Test) -> Verdict {
    let b = running(t, &[errno(&["getsid"], MARK)])?;
    same("answer", answered(&b, &["--user", "1000:1000"], SYS_getsid)?, MARKED)?;
    let status = executed(&b, &["--user", "1000:1000"], &["cat", "/proc/self/status"])?.exits(0)?.stdout()?;
    same("Uid", status_line(&status, "Uid")?, "1000\t1000\t1000\t1000")?;
    same("CapEff", status_line(&status, "CapEff")?, "0000000000000000")
}

fn exec_bare(t: &Test) -> Verdict {
    for privileges in [true, false] {
        let b = filtered(t, "SCMP_ACT_KILL_PROCESS", &[rule(&["execve", "exit_group", "pause"], "SCMP_ACT_ALLOW")])?;
        let b = with_program(b, PAUSES)?.set("/process/noNewPrivileges", json!(privileges));
        add_program(&b, "exits", EXITS)?;
        b.create()?;
        b.start()?;
        executed(&b, &[], &["/bin/exits"])?.exits(7)?;
        executed(&b, &["--user", "1000:1000", "--no-new-privs"], &["/bin/exits"])?.exits(7)?;
        b.kill_and_delete()?;
    }
    Ok(())
}

/// Hooks that print what a call of theirs answers.
fn with_hooks<'t>(t: &'t Test, rules: &[Value]) -> Verdict<(Bundle<'t>, PathBuf)> {
    let dir = t.path("log");
    fs::create_dir(&dir)?;
    let b = filtered(t, "SCMP_ACT_ALLOW", rules)?.bind(&dir, &dir.to_string_lossy(), &["rbind", "rw"]);
    let probe = b.rootfs("bin/probe");
    let hook = |probe: &Path, name: &str| {
        let file = dir.join(name);
        let script = format!("cat >/dev/null; {} each {} >{}", probe.display(), call(SYS_getsid, &[]), file.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let hooks = json!({
        "createRuntime": hook(&probe, "createRuntime"),
        "createContainer": hook(&probe, "createContainer"),
        "startContainer": hook(Path::new("/bin/probe"), "startContainer"),
        "poststart": hook(&probe, "poststart"),
        "poststop": hook(&probe, "poststop"),
    });
    Ok((b.set("/hooks", hooks), dir))
}

fn hooks(t: &Test) -> Verdict {
    for privileges in [true, false] {
        let (b, dir) = with_hooks(t, &[errno(&["getsid"], MARK)])?;
        let script = format!("/bin/probe each {} >{}/process; exec sleep 1000", call(SYS_getsid, &[]), dir.display());
        let b = b.set("/process/noNewPrivileges", json!(privileges)).sh(&script);
        b.create()?;
        b.start()?;
        let read = |name| fs::read_to_string(dir.join(name)).unwrap_or_default();
        eventually("the process has called", || Ok(!read("process").is_empty()))?;
        b.kill_and_delete()?;
        same("process", read("process"), format!("{MARKED}\n"))?;
        for name in ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
            if name == "startContainer" && !t.ours() {
                same(name, read(name), format!("{MARKED}\n"))?;
                continue;
            }
            check(read(name).trim().parse().is_ok_and(|session: i32| session >= 0), || {
                format!("{name}: {}", read(name))
            })?;
        }
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn exec_with_hooks(t: &Test) -> Verdict {
    let (b, _) = with_hooks(t, &[errno(&["getsid"], MARK)])?;
    let b = b.idle();
    b.create()?;
    b.start()?;
    same("answer", answered(&b, &[], SYS_getsid)?, MARKED)?;
    b.kill_and_delete()
}

fn run_detached(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getsid"], MARK)])?.idle();
    let pid_file = b.pid_file();
    b.save()?;
    let mut command = b.command("run", &["--detach", "--pid-file", &pid_file.to_string_lossy()]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    same("status", crate::bundle::code(status), 0)?;
    let status = fs::read_to_string(format!("/proc/{}/status", b.pid()?.as_raw_nonzero()))?;
    same("Seccomp", status_line(&status, "Seccomp")?, "2")?;
    same("Seccomp_filters", status_line(&status, "Seccomp_filters")?, "1")?;
    b.kill_and_delete()
}
