//! When the filter comes: after all that a runtime does for the container, so that a profile needs to allow none of that.

use super::*;
use crate::expect::{contains, lacks, skip};

pub(super) fn cases() -> Vec<Case> {
    const SET_UP: &str = "its own set-up is filtered";
    vec![
        case(
            "seccomp/nothing-but-execve",
            "a profile that allows execve and what the program does",
            nothing_but_execve,
        )
        .differs(Kind::Runc, SET_UP)
        .differs(Kind::Crun, SET_UP),
        case("seccomp/set-up-denied", "a profile may deny each call that a runtime makes", |t| set_up_denied(t, true))
            .differs(Kind::Runc, SET_UP)
            .differs(Kind::Crun, SET_UP),
        case("seccomp/set-up-denied-without-no-new-privs", "the same if the process may gain privileges", |t| {
            set_up_denied(t, false)
        })
        .differs(Kind::Runc, SET_UP)
        .differs(Kind::Crun, SET_UP),
        case(
            "seccomp/user-and-groups",
            "a user, groups and capabilities that the profile lets nobody set",
            user_and_groups,
        )
        .needs(&[UNFILTERED])
        .skip(Kind::Runc, SET_UP)
        .skip(Kind::Crun, SET_UP),
        case("seccomp/capabilities", "the process has the capabilities that it has without a profile", capabilities),
        case(
            "seccomp/user-namespace",
            "in a user namespace, also without CAP_SYS_ADMIN and no_new_privs",
            user_namespace,
        ),
        case(
            "seccomp/profile-as-at-create",
            "the profile is that of create, whatever config.json says at start",
            as_at_create,
        ),
        case("seccomp/execve-killed", "a profile that kills execve: the container does not start", |t| {
            execve_denied(t, "SCMP_ACT_KILL_PROCESS", "kills")
        }),
        case("seccomp/execve-errno", "a profile that denies execve: the container does not start", |t| {
            execve_denied(t, "SCMP_ACT_ERRNO", "denies")
        }),
        case(
            "seccomp/execve-errno-by-argument",
            "a condition that denies execve: the container does not start",
            execve_denied_by_argument,
        ),
        case("seccomp/nothing-allowed", "a profile that kills whatever is called", nothing_allowed)
            .differs(Kind::Runc, "hangs with other actions than KILL_PROCESS"),
    ]
}

/// A static program for x86_64 of these instructions alone: a C library makes calls before main().
fn elf(code: &[u8]) -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    // An executable of version 1, its entry, one program header and no section.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([AT + HEADERS, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // To be loaded, readable and executable, as a whole.
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let size = HEADERS + code.len() as u64;
    elf.extend([0, AT, AT, size, size, 4096].iter().flat_map(|word| word.to_le_bytes()));
    elf.extend(code);
    elf
}

/// exit_group(7)
pub(super) const EXITS: &[u8] = &[0xbf, 7, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 5];

/// pause(), again and again
pub(super) const PAUSES: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7];

/// The process is such a program.
pub(super) fn with_program<'t>(b: Bundle<'t>, code: &[u8]) -> Verdict<Bundle<'t>> {
    add_program(&b, "program", code)?;
    Ok(b.args(&["/bin/program"]))
}

/// Such a program in /bin.
pub(super) fn add_program(b: &Bundle, name: &str, code: &[u8]) -> Verdict {
    if cfg!(not(target_arch = "x86_64")) {
        return skip("a program for x86_64");
    }
    let path = b.rootfs("bin").join(name);
    fs::write(&path, elf(code))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn nothing_but_execve(t: &Test) -> Verdict {
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_TRACE"]
    {
        for privileges in [true, false] {
            let b = filtered(t, action, &[rule(&["execve", "exit_group"], "SCMP_ACT_ALLOW")])?;
            let b = with_program(b, EXITS)?.set("/process/noNewPrivileges", json!(privileges));
            let status = b.run()?.status;
            if t.ours() {
                same(&format!("status with {action}, no_new_privs {privileges}"), status, 7)?;
            } else {
                check(status != 7, || format!("with {action} it started"))?;
                if !privileges {
                    // Of the other actions they hang, or start by luck.
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// What runtimes call in a container before they execute its program, and then the program's own.
const SET_UP: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "execveat",
    "exit",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fchmod",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "fsync",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgid",
    "getpid",
    "getppid",
    "getrandom",
    "getrlimit",
    "gettid",
    "getuid",
    "ioctl",
    "keyctl",
    "kill",
    "listen",
    "lseek",
    "lstat",
    "madvise",
    "memfd_create",
    "mkdirat",
    "mmap",
    "mount",
    "mount_setattr",
    "move_mount",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "open_tree",
    "openat",
    "openat2",
    "personality",
    "pipe2",
    "pivot_root",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "recvfrom",
    "recvmsg",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "seccomp",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "sethostname",
    "setns",
    "setpgid",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setuid",
    "sigaltstack",
    "socket",
    "socketpair",
    "stat",
    "statfs",
    "statx",
    "tgkill",
    "umask",
    "umount2",
    "uname",
    "unshare",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];

fn set_up_denied(t: &Test, no_new_privileges: bool) -> Verdict {
    let starts = |names: &[&str], action| -> Verdict<bool> {
        let b = with_program(filtered(t, "SCMP_ACT_ALLOW", &[rule(names, action)])?, EXITS)?;
        Ok(b.set("/process/noNewPrivileges", json!(no_new_privileges)).run()?.status == 7)
    };
    if t.ours() {
        for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"] {
            check(starts(SET_UP, action)?, || format!("it does not start with {action} for {SET_UP:?}"))?;
        }
        return Ok(());
    }
    let theirs: &[&str] = match (t.kind, no_new_privileges) {
        (Kind::Runc, true) => &["close", "openat", "write"],
        (Kind::Runc, false) => &["capset", "chdir", "close", "openat", "prctl", "setgroups", "setuid", "write"],
        (Kind::Crun, true) => &["close_range"],
        (Kind::Crun, false) => &["capset", "close_range", "prctl", "setresgid", "setresuid", "write"],
        _ => &[],
    };
    for name in theirs {
        check(!starts(&[name], "SCMP_ACT_KILL_PROCESS")?, || format!("it starts without {name}"))?;
    }
    Ok(())
}

fn user_and_groups(t: &Test) -> Verdict {
    for privileges in [true, false] {
        let b = filtered(t, "SCMP_ACT_KILL_PROCESS", &[rule(&["execve", "pause"], "SCMP_ACT_ALLOW")])?;
        let b = with_program(b, PAUSES)?
            .set("/process/noNewPrivileges", json!(privileges))
            .set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o027}))
            .capabilities(&["CAP_KILL"]);
        b.create()?;
        b.start()?;
        let status =
            || -> Verdict<String> { Ok(fs::read_to_string(format!("/proc/{}/status", b.pid()?.as_raw_nonzero()))?) };
        eventually("the program runs", || Ok(status_line(&status()?, "Name")? == "program"))?;
        let status = status()?;
        for (key, value) in [
            ("Uid", "1000\t1000\t1000\t1000"),
            ("Gid", "1001\t1001\t1001\t1001"),
            ("Groups", "7 8"),
            ("Umask", "0027"),
            ("Seccomp", "2"),
            ("Seccomp_filters", "1"),
            ("NoNewPrivs", if privileges { "1" } else { "0" }),
        ] {
            same(key, status_line(&status, key)?, value)?;
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            same(set, status_line(&status, set)?, "0000000000000020")?;
        }
        b.kill_and_delete()?;
    }
    Ok(())
}

fn capabilities(t: &Test) -> Verdict {
    const KILL: &[&str] = &["CAP_KILL", "CAP_NET_RAW"];
    const ADMIN: &[&str] = &["CAP_KILL", "CAP_SYS_ADMIN"];
    for (sets, names) in [
        (&["bounding", "effective", "permitted", "inheritable", "ambient"][..], KILL),
        (&["bounding", "effective", "permitted"], KILL),
        (&["bounding"], ADMIN),
        (&["bounding", "effective", "permitted", "inheritable", "ambient"], ADMIN),
        (&[], KILL),
    ] {
        for (uid, privileges) in [(0, true), (0, false), (1000, true), (1000, false)] {
            let found = |profile: Value| -> Verdict<Vec<String>> {
                let b = t.bundle()?.set("/process/capabilities", json!({})).set("/linux/seccomp", profile);
                let b = sets.iter().fold(b, |b, set| b.set(&format!("/process/capabilities/{set}"), json!(names)));
                let b = b.set("/process/user", json!({"uid": uid, "gid": uid}));
                let b = b.set("/process/noNewPrivileges", json!(privileges)).args(&["cat", "/proc/self/status"]);
                let status = b.stdout()?;
                let wanted = ["Cap", "NoNewPrivs", "Uid", "Gid"];
                Ok(status
                    .lines()
                    .filter(|line| wanted.iter().any(|key| line.starts_with(key)))
                    .map(str::to_owned)
                    .collect())
            };
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [errno(&["acct"], MARK)]});
            let with = found(profile)?;
            same("sets, ids and no_new_privs", with.len(), 8)?;
            same(&format!("{sets:?}, user {uid}, no_new_privs {privileges}"), with, found(Value::Null)?)?;
        }
    }
    Ok(())
}

fn user_namespace(t: &Test) -> Verdict {
    for (privileges, uid) in [(true, 0), (false, 0), (false, 1000)] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["acct"], MARK)])?;
        let b = b.user_namespace(100_000, 65_536).capabilities(&[]);
        std::os::unix::fs::chown(b.rootfs(""), Some(100_000), Some(100_000))?;
        let b =
            b.set("/process/user", json!({"uid": uid, "gid": uid})).set("/process/noNewPrivileges", json!(privileges));
        let out = b.args(&["cat", "/proc/self/status"]).stdout()?;
        same("Seccomp", status_line(&out, "Seccomp")?, "2")?;
        same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, if privileges { "1" } else { "0" })?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            same(set, status_line(&out, set)?, "0000000000000000")?;
        }
    }
    Ok(())
}

fn as_at_create(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["acct"], MARK)])?.idle();
    b.create()?;
    let b = b.remove("/linux/seccomp");
    b.save()?;
    b.start()?;
    let status =
        || -> Verdict<String> { Ok(fs::read_to_string(format!("/proc/{}/status", b.pid()?.as_raw_nonzero()))?) };
    eventually("the program runs", || Ok(status_line(&status()?, "Name")? == "sleep"))?;
    same("Seccomp", status_line(&status()?, "Seccomp")?, "2")?;
    b.kill_and_delete()
}

fn execve_denied(t: &Test, action: &str, ours: &str) -> Verdict {
    for privileges in [true, false] {
        let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["acct"], MARK), rule(&["execve", "execveat"], action)])?;
        let b = b.set("/process/noNewPrivileges", json!(privileges)).sh("echo ran");
        let output = b.run()?;
        check(output.status != 0, || "it ran".to_owned())?;
        same("stdout", output.stdout()?.as_str(), "")?;
        b.is_gone()?;
        // The same by create and start.
        let created = b.create_with(&[])?;
        if t.ours() {
            created.refuses(t, &format!("/linux/seccomp/syscalls/1: {ours} execve(2)"), &[])?;
        } else {
            b.verb("start", &[])?;
            b.ended()?;
            b.delete_force()?;
        }
        b.is_gone()?;
    }
    Ok(())
}

/// The filter is one of the first argument too, whose value nobody knows before the call.
fn execve_denied_by_argument(t: &Test) -> Verdict {
    let rule = when(rule(&["execve"], "SCMP_ACT_ERRNO"), 5, "SCMP_CMP_GE", 0, 0);
    let b = filtered(t, "SCMP_ACT_ALLOW", &[rule])?.sh("echo ran");
    let output = b.run()?;
    check(output.status != 0, || "it ran".to_owned())?;
    same("stdout", output.stdout()?.as_str(), "")?;
    if t.ours() {
        let stderr = output.stderr()?.replace("\\\"", "\"");
        lacks("stderr", &stderr, "panicked")?;
        contains("stderr", &stderr, "\"sh\"")?;
    }
    b.is_gone()
}

fn nothing_allowed(t: &Test) -> Verdict {
    let actions: &[&str] = if t.kind == Kind::Runc {
        // It hangs with the others.
        &["SCMP_ACT_KILL_PROCESS"]
    } else {
        &["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP"]
    };
    for action in actions {
        for privileges in [true, false] {
            let b = filtered(t, action, &[])?.set("/process/noNewPrivileges", json!(privileges)).sh("echo ran");
            let output = b.run()?;
            check(output.status != 0, || "it ran".to_owned())?;
            same("stdout", output.stdout()?.as_str(), "")?;
            b.is_gone()?;
        }
    }
    Ok(())
}
