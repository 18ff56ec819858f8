//! Flags, seen where they are given to the kernel.

use std::process::Command;

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::notify::{receive, supervised};
use super::*;
use crate::bundle::bare;
use crate::expect::{contains, skip};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("seccomp/flags", "the filter is installed with the flags that the profile names", named)
            .differs(Kind::Crun, "names TSYNC, too, which changes nothing in a process with one thread"),
        case("seccomp/flags-default", "without flags it is SPEC_ALLOW, with an empty list none", default)
            .differs(Kind::Runc, "takes null for an empty list")
            .differs(Kind::Crun, "takes null for an empty list"),
        case("seccomp/flags-wait-killable", "WAIT_KILLABLE_RECV counts where there is a supervisor", wait_killable)
            .skip(Kind::Runc, "does not know it")
            .skip(Kind::Crun, "cannot set it with the listener")
            .needs(&["pidfd_getfd"]),
        case(
            "seccomp/flags-wait-killable-alone",
            "WAIT_KILLABLE_RECV without NOTIFY does no harm",
            wait_killable_alone,
        )
        .known_failure(Kind::Runc, "does not know it"),
        case("seccomp/log-action", "a call with LOG is in the kernel's log", log_action),
        case("seccomp/log-flag", "with the flag LOG a denied call is in the kernel's log", log_flag),
    ]
}

/// The flags of the filters that were installed while a container ran, as strace(1) names them.
pub(super) fn installed(b: &Bundle, args: &[&str]) -> Verdict<Vec<String>> {
    let trace = b.dir.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=seccomp,prctl", "-e", "signal=none", "-o"]).arg(&trace);
    command.arg(&b.test.runtime).args(&b.test.runtime_args).arg("--root").arg(b.test.state_root()).args(args);
    bare(&mut command);
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("no strace in $PATH");
    }
    b.test.output_of(command)?.exits(0)?;
    let text = fs::read_to_string(trace)?;
    let flags = text.lines().filter(|line| !line.contains("= -1")).filter_map(|line| {
        // prctl(2) takes none.
        let none = line.contains("prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER").then_some("0");
        line.split_once("(SECCOMP_SET_MODE_FILTER, ").and_then(|(_, rest)| rest.split(", ").next()).or(none)
    });
    Ok(flags.map(|flags| flags.replace("SECCOMP_FILTER_FLAG_", "")).collect())
}

fn of_run(t: &Test, flags: Option<Value>) -> Verdict<Vec<String>> {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["acct"], MARK)])?.args(&["true"]);
    let b = match flags {
        Some(flags) => b.set("/linux/seccomp/flags", flags),
        None => b,
    };
    b.save()?;
    installed(&b, &["run", "--bundle", &b.dir.to_string_lossy(), &b.id])
}

fn named(t: &Test) -> Verdict {
    // It concerns other threads, and there are none.
    let thread_sync = if t.kind == Kind::Crun { "TSYNC" } else { "0" };
    same("TSYNC", of_run(t, Some(json!(["SECCOMP_FILTER_FLAG_TSYNC"])))?, [thread_sync])?;
    for name in ["LOG", "SPEC_ALLOW"] {
        same(name, of_run(t, Some(json!([format!("SECCOMP_FILTER_FLAG_{name}")])))?, [name])?;
    }
    let two = json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]);
    same("two", of_run(t, Some(two))?, ["LOG|SPEC_ALLOW"])
}

fn default(t: &Test) -> Verdict {
    same("none", of_run(t, None)?, ["SPEC_ALLOW"])?;
    same("an empty list", of_run(t, Some(json!([])))?, ["0"])
}

fn wait_killable_alone(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getsid"], MARK)])?;
    let b = b.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
    same("answers", each(b, &[call(libc::SYS_getsid, &[])])?, [MARKED])
}

fn wait_killable(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getsid"], "SCMP_ACT_NOTIFY")])?.args(&["true"]);
    let (b, listener) = supervised(b)?;
    let b = b.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
    b.save()?;
    let flags = installed(&b, &["run", "--bundle", &b.dir.to_string_lossy(), &b.id])?;
    same("flags", flags, ["NEW_LISTENER|WAIT_KILLABLE_RECV"])?;
    receive(t.kind, &listener)?;
    Ok(())
}

/// A program of this container alone makes the call again and again until the kernel's log tells of it: the log drops
/// lines when there are many.
fn is_logged(b: Bundle, code: &str) -> Verdict {
    let name = format!("l{}", b.id.replace(|digit: char| !digit.is_ascii_digit(), ""));
    fs::hard_link(b.rootfs("bin/probe"), b.rootfs("bin").join(&name))?;
    let Ok(log) = rustix::fs::open("/dev/kmsg", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    else {
        return skip("/dev/kmsg cannot be read");
    };
    rustix::fs::seek(&log, SeekFrom::End(0))?;
    let b = b.args(&[&format!("/bin/{name}"), "here", &call(libc::SYS_getsid, &[])]);
    eventually("the kernel logs the call", || {
        b.run()?.exits(0)?;
        loop {
            let mut line = [0; 8192];
            match rustix::io::read(&log, &mut line) {
                Ok(length) => {
                    let line = String::from_utf8_lossy(line.get(..length).unwrap_or_default()).into_owned();
                    // Not comm, which is cut.
                    if line.contains(&format!("exe=\"/bin/{name}\"")) {
                        contains("the log", &line, &format!("syscall={} ", libc::SYS_getsid))?;
                        contains("the log", &line, &format!("code={code}"))?;
                        return Ok(true);
                    }
                }
                // Lines were overwritten before they were read.
                Err(Errno::PIPE) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    })
}

fn log_action(t: &Test) -> Verdict {
    is_logged(filtered(t, "SCMP_ACT_ALLOW", &[rule(&["getsid"], "SCMP_ACT_LOG")])?, "0x7ffc0000")
}

fn log_flag(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getsid"], 5)])?;
    is_logged(b.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_LOG"])), "0x50000")
}
