//! What becomes of a call, by action.

use libc::{SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getsid, SYS_gettid};

use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("seccomp/errno-default", "ERRNO without errnoRet is EPERM", errno_default),
        case("seccomp/errno-values", "errnoRet is what the call answers", errno_values),
        case("seccomp/errno-too-large", "an errnoRet that no call can answer is refused", errno_too_large),
        case("seccomp/errno-zero", "errnoRet 0: the call does nothing and answers 0", errno_zero),
        case("seccomp/kill-process", "KILL_PROCESS: a thread's call ends the process by SIGSYS", kill_process),
        case("seccomp/kill-thread", "KILL_THREAD and KILL end the thread alone", kill_thread),
        case("seccomp/kill-last-thread", "a process whose last thread is killed ends by SIGSYS", kill_last_thread),
        case("seccomp/trap", "TRAP: a handler of SIGSYS is told of the call", trap),
        case("seccomp/trap-unhandled", "TRAP without a handler ends the process by SIGSYS", trap_unhandled),
        case("seccomp/trace", "TRACE: a tracer is told errnoRet, and the call goes on", trace),
        case("seccomp/trace-untraced", "TRACE without a tracer is ENOSYS", trace_untraced),
        case("seccomp/log", "LOG: the call goes on", log),
        case(
            "seccomp/default-actions",
            "each action as the default, with a rule that allows the rest",
            default_actions,
        ),
        case("seccomp/default-errno", "defaultErrnoRet is what calls answer that no rule names", default_errno),
        case("seccomp/allow-all", "a profile that allows all is one", allow_all),
        case("seccomp/status", "the process has one filter, and no_new_privs is as the config says", status)
            .needs(&[UNFILTERED]),
    ]
}

fn errno_default(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getppid"], "SCMP_ACT_ERRNO")])?;
    same("answers", each(b, &[call(SYS_getppid, &[])])?, ["-1"])
}

fn errno_values(t: &Test) -> Verdict {
    let rules = [errno(&["getppid"], 38), errno(&["getpid"], 1), errno(&["gettid"], 4094)];
    let b = filtered(t, "SCMP_ACT_ALLOW", &rules)?;
    let calls = [SYS_getppid, SYS_getpid, SYS_gettid].map(|number| call(number, &[]));
    same("answers", each(b, &calls)?, ["-38", "-1", "-4094"])
}

fn errno_too_large(t: &Test) -> Verdict {
    for value in [4096, 5000, 65535] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getppid"], value)])?;
        refused(b, "/linux/seccomp/syscalls/0/errnoRet", &[])?;
        let b = filtered(t, "SCMP_ACT_ERRNO", &[])?.set("/linux/seccomp/defaultErrnoRet", json!(value));
        refused(b, "/linux/seccomp/defaultErrnoRet", &[])?;
    }
    Ok(())
}

fn errno_zero(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getppid"], 0)])?;
    same("answers", each(b, &[call(SYS_getppid, &[])])?, ["0"])
}

fn kill_process(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getppid"], "SCMP_ACT_KILL_PROCESS")])?;
    let b = b.args(&["/bin/probe", "thread", &call(SYS_getppid, &[])]);
    b.run()?.exits(128 + libc::SIGSYS)?.prints("")?;
    Ok(())
}

fn kill_thread(t: &Test) -> Verdict {
    for action in ["SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL"] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getppid"], action)])?;
        let found = probe(b, "thread", &[call(SYS_getpid, &[]), call(SYS_getppid, &[])])?;
        same(action, found, ["the thread died, the process lives"])?;
    }
    Ok(())
}

fn kill_last_thread(t: &Test) -> Verdict {
    for action in ["SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL"] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getppid"], action)])?;
        b.args(&["/bin/probe", "here", &call(SYS_getppid, &[])]).run()?.exits(128 + libc::SIGSYS)?.prints("")?;
    }
    Ok(())
}

/// `AUDIT_ARCH_*` of this machine.
const ARCH: &str = if cfg!(target_arch = "aarch64") { "0xc00000b7" } else { "0xc000003e" };

fn trap(t: &Test) -> Verdict {
    let rules = [rule(&["getppid"], "SCMP_ACT_TRAP"), rule(&["gettid"], "SCMP_ACT_TRAP")];
    let b = filtered(t, "SCMP_ACT_ALLOW", &rules)?;
    let found = probe(b, "trap", &[SYS_getppid, SYS_getpid, SYS_gettid].map(|number| call(number, &[])))?;
    // SYS_SECCOMP is 1.
    let told = |number| format!("code 1 errno 0 call {number} arch {ARCH}");
    same("what the handler was told", found, [told(SYS_getppid), "no signal".to_owned(), told(SYS_gettid)])
}

fn trap_unhandled(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getppid"], "SCMP_ACT_TRAP")])?;
    same("answers", each(b, &[call(SYS_getppid, &[])])?, ["signal 31"])
}

fn traced(t: &Test) -> Verdict<Bundle<'_>> {
    let with = |name, data| {
        let mut rule = rule(&[name], "SCMP_ACT_TRACE");
        rule["errnoRet"] = data;
        rule
    };
    filtered(t, "SCMP_ACT_ALLOW", &[with("getppid", json!(77)), with("getpgid", json!(0)), with("getsid", Value::Null)])
}

fn trace(t: &Test) -> Verdict {
    let found = probe(traced(t)?, "trace", &[SYS_getppid, SYS_getpgid, SYS_getsid].map(|number| call(number, &[])))?;
    // The session is that of the first process of the container.
    same("what the tracer was told", found, ["told 77", "told 0", "told 1", "status 0, the last call answered 1"])
}

fn trace_untraced(t: &Test) -> Verdict {
    same("answers", each(traced(t)?, &[SYS_getppid, SYS_getsid].map(|number| call(number, &[])))?, ["-38", "-38"])
}

fn log(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getppid"], "SCMP_ACT_LOG")])?;
    same("answers", each(b, &[call(SYS_getppid, &[])])?, ["1"])
}

fn default_actions(t: &Test) -> Verdict {
    for (action, answer) in [
        ("SCMP_ACT_KILL", "signal 31"),
        ("SCMP_ACT_KILL_THREAD", "signal 31"),
        ("SCMP_ACT_KILL_PROCESS", "signal 31"),
        ("SCMP_ACT_TRAP", "signal 31"),
        ("SCMP_ACT_ERRNO", "-1"),
        ("SCMP_ACT_TRACE", "-38"),
        ("SCMP_ACT_LOG", "1"),
        ("SCMP_ACT_ALLOW", "1"),
    ] {
        let b = default_of(t, json!({"defaultAction": action}))?;
        same(
            action,
            each(b, &[call(SYS_getppid, &[]), call(SYS_getpid, &[])])?.first().map(String::as_str),
            Some(answer),
        )?;
    }
    Ok(())
}

/// This profile with what Docker allows, but for getppid.
fn default_of(t: &Test, profile: Value) -> Verdict<Bundle<'_>> {
    let b = filtered(t, "", &[])?.set("/linux/seccomp", profile);
    let mut names = allowed_by_docker()?;
    names.retain(|name| name != "getppid");
    Ok(b.set("/linux/seccomp/syscalls", json!([{"names": names, "action": "SCMP_ACT_ALLOW"}])))
}

fn default_errno(t: &Test) -> Verdict {
    let b = default_of(t, json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": MARK}))?;
    same(
        "answers",
        each(b, &[call(SYS_getppid, &[]), call(SYS_getpid, &[])])?.first().map(String::as_str),
        Some(MARKED),
    )?;
    let b = default_of(t, json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 0}))?;
    same("answers", each(b, &[call(SYS_getppid, &[])])?, ["0"])
}

fn allow_all(t: &Test) -> Verdict {
    for rules in [json!([]), Value::Null] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[])?.set("/linux/seccomp/syscalls", rules);
        same("answers", each(b, &[call(SYS_getppid, &[])])?, ["1"])?;
    }
    let b = filtered(t, "SCMP_ACT_ALLOW", &[])?.remove("/linux/seccomp/syscalls");
    same("answers", each(b, &[call(SYS_getppid, &[])])?, ["1"])
}

fn status(t: &Test) -> Verdict {
    for privileges in [false, true] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["acct"], MARK)])?;
        let out = b.set("/process/noNewPrivileges", json!(privileges)).args(&["cat", "/proc/self/status"]).stdout()?;
        same("Seccomp", status_line(&out, "Seccomp")?, "2")?;
        same("Seccomp_filters", status_line(&out, "Seccomp_filters")?, "1")?;
        same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, if privileges { "1" } else { "0" })?;
    }
    Ok(())
}
