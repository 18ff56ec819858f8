//! The process: arguments, environment, ids, capabilities, limits, descriptors.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Test, bare};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, skip, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("process/args", "arguments arrive as they are, empty ones and newlines too", args),
        case("process/args-many", "a thousand arguments and a long one arrive", args_many),
        case("process/args-zero-name", "a name without a slash is looked up in the container's PATH", lookup),
        case("process/path-of-config", "PATH is that of process.env, not the caller's", lookup_path),
        case("process/relative-executable", "a relative path is taken from cwd", relative),
        case("process/env", "the environment is that of the config alone", env),
        case("process/env-duplicates", "of variables given twice the last one counts", env_duplicates),
        case("process/home", "HOME is set from the container's passwd if the config has none", home),
        case("process/home-empty", "an empty HOME is none", home_empty).known_failure(Kind::Crun, "leaves it empty"),
        case(
            "process/keep-groups",
            "run.oci.keep_original_groups keeps the caller's groups, also for exec",
            keep_groups,
        )
        .known_failure(Kind::Runc, "does not know it"),
        case("process/cwd-closed", "a cwd that is closed to the process itself", cwd_closed)
            .known_failure(Kind::Crun, "exec --user works in / then"),
        case("process/cwd", "cwd is the working directory", cwd),
        case("process/cwd-is-made", "a cwd that does not exist is made", cwd_is_made),
        case("process/user", "uid, gid and additionalGids", user),
        case("process/user-without-groups", "without additionalGids there are none", user_without_groups),
        case("process/user-without-passwd", "ids need no entry in passwd", user_unknown),
        case("process/umask", "user.umask, and 0022 without it", umask),
        case("process/session-leader", "the process leads a session and its own process group", session_leader),
        case("process/pid-one", "the process is pid 1 and alone", pid_one),
        case("process/oom-score-adj", "oomScoreAdj is set, and kept as it was without", oom_score_adj),
        case("process/affinity", "the process keeps to no CPU that its caller keeps to", affinity),
        case("process/dumpable", "the process can look at itself", dumpable),
    ];
    cases.extend(capability_cases());
    cases.extend(limit_cases());
    cases.extend(descriptor_cases());
    cases
}

fn capability_cases() -> Vec<Case> {
    vec![
        case("process/capabilities-root", "the five sets of uid 0", capabilities_root),
        case("process/capabilities-user", "another uid keeps ambient capabilities and no others", capabilities_user),
        case("process/capabilities-ambient", "ambient capabilities survive the change of uid", capabilities_ambient),
        case("process/capabilities-none", "empty sets leave nothing, for uid 0 too", capabilities_none),
        case("process/capabilities-absent", "without capabilities there are none", capabilities_absent)
            .differs(Kind::Runc, "the process keeps all capabilities of the runtime"),
        case("process/capabilities-bounding", "the bounding set limits what can be gained", capabilities_bounding),
        case(
            "process/capabilities-ungrantable",
            "a capability that the host lacks is left out with a warning, not an error",
            ungrantable,
        )
        .differs(Kind::Runc, "refuses to run, where the specification asks for a warning")
        .differs(Kind::Crun, "refuses to run, where the specification asks for a warning"),
        case("process/no-new-privileges", "noNewPrivileges true and false", no_new_privileges),
    ]
}

fn limit_cases() -> Vec<Case> {
    vec![
        case("process/rlimits", "rlimits are set, soft and hard", rlimits),
        case("process/rlimits-inherited", "without rlimits those of the caller stay", rlimits_inherited),
        case(
            "process/rlimit-beyond",
            "a hard limit above the caller's needs CAP_SYS_RESOURCE: the error names it",
            rlimit_beyond,
        )
        .known_failure(Kind::Crun, "leaves the cgroup behind when the process cannot be set up"),
        case("process/signals-clean", "no signal is blocked or ignored", signals_clean),
        case("process/signals-clean-whatever-the-caller", "even if the caller ignores some", signals_clean_caller)
            .differs(Kind::Runc, "passes on what its caller ignores"),
    ]
}

fn descriptor_cases() -> Vec<Case> {
    vec![
        case("process/descriptors", "descriptors 0 to 2 are open and no others", descriptors),
        case(
            "process/descriptors-not-leaked",
            "what the caller has open does not reach the process",
            descriptors_not_leaked,
        ),
        case("process/preserve-fds", "--preserve-fds N passes N descriptors from 3", preserve_fds),
        case(
            "process/preserve-fds-closed",
            "--preserve-fds of a descriptor that is not open is an error",
            preserve_closed,
        )
        .differs(Kind::Crun, "passes what there is")
        .differs(Kind::Runc, "takes descriptors of its own for the caller's"),
    ]
}

/// Status lines of a process: `CapEff` and the like.
pub(crate) fn status_line<'t>(text: &'t str, key: &str) -> Verdict<&'t str> {
    some(key, text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim))
}

fn args(t: &Test) -> Verdict {
    let script = r#"echo $#; for a; do printf '<%s>' "$a"; done"#;
    let b = t.bundle()?.args(&["sh", "-c", script, "sh", "", "a b", "x\ny", "$HOME", "\u{e9}"]);
    same("arguments", b.stdout()?, "5\n<><a b><x\ny><$HOME><\u{e9}>")
}

fn args_many(t: &Test) -> Verdict {
    let long = "x".repeat(100_000);
    let mut args = vec!["sh", "-c", "echo $# ${#1000}; eval echo \\${#$#}", "sh"];
    args.extend(["y"; 1000]);
    args.push(&long);
    let out = t.bundle()?.args(&args).stdout()?;
    contains("count", &out, "1001")?;
    contains("length of the last one", &out, "100000")
}

fn lookup(t: &Test) -> Verdict {
    let script = "#!/bin/sh\necho found $0\n";
    let b = t.bundle()?.with_dir("opt/one")?.with_dir("opt/two")?;
    // The first is not executable, the second is a directory: execvp goes on past both.
    let b =
        b.with_file("opt/one/tool", script, 0o644)?.with_dir("opt/two/tool")?.with_file("usr/tool", script, 0o755)?;
    let b = b.set("/process/env", json!(["PATH=/opt/none:/opt/one:/opt/two:/usr:/bin"])).args(&["tool"]);
    same("output", b.stdout()?, "found /usr/tool\n")
}

fn lookup_path(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("opt/only")?.with_file("opt/only/mine", "#!/bin/sh\necho $PATH\n", 0o755)?;
    let b = b.set("/process/env", json!(["PATH=/opt/only"])).args(&["mine"]);
    same("output", b.stdout()?, "/opt/only\n")
}

fn relative(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("opt/bin")?.with_file("opt/bin/mine", "#!/bin/sh\necho in $PWD\n", 0o755)?;
    let b = b.set("/process/cwd", json!("/opt")).args(&["bin/mine"]);
    same("output", b.stdout()?, "in /opt\n")?;
    let b = t.bundle()?.with_file("usr/mine", "#!/bin/sh\necho in $PWD\n", 0o755)?;
    same("output", b.set("/process/cwd", json!("/usr")).args(&["./mine"]).stdout()?, "in /usr\n")
}

fn env(t: &Test) -> Verdict {
    let b = t
        .bundle()?
        .args(&["env"])
        .set("/process/env", json!(["PATH=/bin", "A=1", "EMPTY=", "EQUALS=a=b", "SPACE=a b"]));
    let mut command = b.command("run", &[]);
    b.save()?;
    command.env("FROM_THE_CALLER", "1");
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    for line in ["PATH=/bin", "A=1", "EMPTY=", "EQUALS=a=b", "SPACE=a b"] {
        check(out.lines().any(|found| found == line), || format!("{line} is missing: {out}"))?;
    }
    lacks("the environment", &out, "FROM_THE_CALLER")?;
    lacks("the environment", &out, "_LIBCONTAINER")
}

fn env_duplicates(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["env"]).set("/process/env", json!(["PATH=/bin", "A=1", "B=0", "A=2", "HOME=/x"]));
    let out = b.stdout()?;
    if t.kind == Kind::Crun {
        // crun passes both, and what counts is up to the program.
        return contains("the environment", &out, "A=2");
    }
    let found: Vec<&str> = out.lines().filter(|line| line.starts_with("A=")).collect();
    same("A", found, ["A=2"])
}

fn home(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo $HOME").set("/process/env", json!(["PATH=/bin"]));
    same("HOME of root", b.stdout()?, "/root\n")?;
    let b =
        t.bundle()?.sh("echo $HOME").set("/process/env", json!(["PATH=/bin"])).set("/process/user/uid", json!(1000));
    same("HOME of 1000", b.stdout()?, "/tmp\n")?;
    let b =
        t.bundle()?.sh("echo $HOME").set("/process/env", json!(["PATH=/bin"])).set("/process/user/uid", json!(4321));
    same("HOME of an unknown uid", b.stdout()?, "/\n")?;
    let b = t.bundle()?.sh("echo $HOME").set("/process/env", json!(["PATH=/bin", "HOME=/given"]));
    same("HOME given", b.stdout()?, "/given\n")
}

fn home_empty(t: &Test) -> Verdict {
    for env in [json!(["PATH=/bin", "HOME="]), json!(["HOME=/given", "HOME=", "PATH=/bin"])] {
        let b = t.bundle()?.sh("env | grep HOME").set("/process/env", env);
        same("HOME", b.stdout()?, "HOME=/root\n")?;
    }
    Ok(())
}

/// What Podman makes of `--group-add keep-groups`.
fn keep_groups(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["cat", "/proc/self/status"]);
    let groups = |b: &Bundle, verb: &str, rest: &[&str]| -> Verdict<String> {
        b.save()?;
        let inner = b.command(verb, &[]);
        let mut command = Command::new("setpriv");
        command.args(["--groups", "7,1234"]).arg(inner.get_program()).args(inner.get_args()).args(rest);
        bare(&mut command);
        Ok(status_line(&t.output_of(command)?.exits(0)?.stdout()?, "Groups")?.trim().to_owned())
    };
    same("without it", groups(&b, "run", &[])?, "")?;
    let b = b.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    same("the groups", groups(&b, "run", &[])?, "7 1234")?;
    let b = b.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}));
    same("with a user that has groups", groups(&b, "run", &[])?, "7 1234")?;
    let b = b.running_idle()?;
    let inner = t.command(&["exec", b.id.as_str(), "cat", "/proc/self/status"]);
    let mut command = Command::new("setpriv");
    command.args(["--groups", "8"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    same("of exec", status_line(&t.output_of(command)?.exits(0)?.stdout()?, "Groups")?.trim(), "8")
}

fn cwd_closed(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("closed")?;
    std::os::unix::fs::chown(b.rootfs("closed"), Some(42), Some(42))?;
    fs::set_permissions(b.rootfs("closed"), fs::Permissions::from_mode(0o700))?;
    let b = b.set("/process/cwd", json!("/closed")).args(&["pwd"]).remove("/process/capabilities");
    same("root without CAP_DAC_OVERRIDE", b.stdout()?, "/closed\n")?;
    let b = b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    same("another user", b.stdout()?, "/closed\n")?;
    let b = b.set("/process/user", json!({"uid": 42, "gid": 42})).running_idle()?;
    let output = t.runtime(&["exec", "--user", "0", b.id.as_str(), "pwd"])?;
    same("exec", output.exits(0)?.stdout()?, "/closed\n")
}

fn cwd(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("usr/deep/er")?.set("/process/cwd", json!("/usr/deep/er")).args(&["pwd", "-P"]);
    same("pwd", b.stdout()?, "/usr/deep/er\n")?;
    let b = t.bundle()?.set("/process/cwd", json!("/proc/self")).sh("test -e status && echo in proc");
    same("a cwd in a mount", b.stdout()?, "in proc\n")
}

fn cwd_is_made(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().set("/process/cwd", json!("/srv/new/dir")).args(&["pwd", "-P"]);
    same("pwd", b.stdout()?, "/srv/new/dir\n")?;
    check(b.rootfs("srv/new/dir").is_dir(), || "the directory is not in the rootfs".to_owned())
}

fn user(t: &Test) -> Verdict {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 1002, 70000]});
    let b = t.bundle()?.args(&["cat", "/proc/self/status"]).set("/process/user", user);
    let out = b.stdout()?;
    same("Uid", status_line(&out, "Uid")?, "1000\t1000\t1000\t1000")?;
    same("Gid", status_line(&out, "Gid")?, "1001\t1001\t1001\t1001")?;
    let mut groups: Vec<u32> = status_line(&out, "Groups")?.split(' ').filter_map(|gid| gid.parse().ok()).collect();
    groups.sort_unstable();
    groups.retain(|gid| *gid != 1001);
    same("Groups", groups, [5, 1002, 70000])
}

fn user_without_groups(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["cat", "/proc/self/status"]).set("/process/user", json!({"uid": 0, "gid": 0}));
    let out = b.stdout()?;
    check(matches!(status_line(&out, "Groups")?, "" | "0"), || format!("groups in {out}"))
}

fn user_unknown(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("id -u; id -g").set("/process/user", json!({"uid": 2_000_000_000, "gid": 4321}));
    same("ids", b.stdout()?, "2000000000\n4321\n")
}

fn umask(t: &Test) -> Verdict {
    same("default", t.bundle()?.sh("umask").stdout()?, "0022\n")?;
    same("027", t.bundle()?.sh("umask").set("/process/user/umask", json!(0o027)).stdout()?, "0027\n")?;
    same("0", t.bundle()?.sh("umask").set("/process/user/umask", json!(0)).stdout()?, "0000\n")
}

fn session_leader(t: &Test) -> Verdict {
    let out = t.bundle()?.args(&["cat", "/proc/self/stat"]).stdout()?;
    let fields: Vec<&str> = out.split(' ').collect();
    // pid (name) state ppid pgrp session tty_nr
    same("pid", fields.first().copied(), Some("1"))?;
    same("process group", fields.get(4).copied(), Some("1"))?;
    same("session", fields.get(5).copied(), Some("1"))?;
    same("terminal", fields.get(6).copied(), Some("0"))
}

fn pid_one(t: &Test) -> Verdict {
    let out = t.bundle()?.sh("echo $$; ls /proc | grep -c '^[0-9]'; echo $PPID").stdout()?;
    let lines: Vec<&str> = out.lines().collect();
    same("pid", lines.first().copied(), Some("1"))?;
    // The shell, ls and grep.
    check(lines.get(1).and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n <= 3), || format!("processes: {out}"))?;
    same("parent", lines.get(2).copied(), Some("0"))
}

fn oom_score_adj(t: &Test) -> Verdict {
    let own = fs::read_to_string("/proc/self/oom_score_adj")?;
    let b = t.bundle()?.args(&["cat", "/proc/self/oom_score_adj"]);
    same("as the caller's", b.stdout()?, own)?;
    let b = t.bundle()?.args(&["cat", "/proc/self/oom_score_adj"]).set("/process/oomScoreAdj", json!(321));
    same("given", b.stdout()?, "321\n")
}

fn dumpable(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("readlink /proc/self/exe && ls /proc/1/fd >/dev/null && echo yes");
    same("output", b.stdout()?, "/bin/busybox\nyes\n")
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn capability_sets(b: Bundle) -> Verdict<Vec<u64>> {
    let out = b.args(&["cat", "/proc/self/status"]).stdout()?;
    SETS.iter().map(|set| Ok(u64::from_str_radix(status_line(&out, set)?, 16)?)).collect()
}

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const BIND: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;

fn sets(inheritable: &[&str], permitted: &[&str], effective: &[&str], bounding: &[&str], ambient: &[&str]) -> Value {
    json!({"inheritable": inheritable, "permitted": permitted, "effective": effective, "bounding": bounding, "ambient": ambient})
}

fn capabilities_root(t: &Test) -> Verdict {
    let (few, more) = (["CAP_KILL", "CAP_CHOWN"], ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"]);
    let b = t.bundle()?.set("/process/capabilities", sets(&[], &few, &few, &more, &[]));
    // With no_new_privs, execve adds nothing.
    same("inh prm eff bnd amb", capability_sets(b)?, [0, KILL | CHOWN, KILL | CHOWN, KILL | CHOWN | NET_RAW, 0])?;
    let b = t.bundle()?.set("/process/capabilities", sets(&[], &few, &few, &more, &[]));
    let b = b.set("/process/noNewPrivileges", json!(false));
    // Else it gives uid 0 all that the bounding set allows.
    same(
        "inh prm eff bnd amb",
        capability_sets(b)?,
        [0, KILL | CHOWN | NET_RAW, KILL | CHOWN | NET_RAW, KILL | CHOWN | NET_RAW, 0],
    )
}

fn capabilities_user(t: &Test) -> Verdict {
    let few = ["CAP_KILL", "CAP_CHOWN"];
    let b = t
        .bundle()?
        .set("/process/capabilities", sets(&[], &few, &few, &few, &[]))
        .set("/process/user/uid", json!(1000));
    same("inh prm eff bnd amb", capability_sets(b)?, [0, 0, 0, KILL | CHOWN, 0])
}

fn capabilities_ambient(t: &Test) -> Verdict {
    let (one, few) = (["CAP_NET_BIND_SERVICE"], ["CAP_NET_BIND_SERVICE", "CAP_KILL"]);
    let b = t
        .bundle()?
        .set("/process/capabilities", sets(&few, &few, &few, &few, &one))
        .set("/process/user/uid", json!(1000));
    same("inh prm eff bnd amb", capability_sets(b)?, [BIND | KILL, BIND, BIND, BIND | KILL, BIND])
}

fn capabilities_none(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/process/capabilities", sets(&[], &[], &[], &[], &[]));
    same("inh prm eff bnd amb", capability_sets(b)?, [0; 5])?;
    let b = t.bundle()?.set("/process/capabilities", json!({}));
    same("inh prm eff bnd amb", capability_sets(b)?, [0; 5])
}

fn capabilities_absent(t: &Test) -> Verdict {
    let found = capability_sets(t.bundle()?.remove("/process/capabilities"))?;
    if t.kind == Kind::Runc {
        return check(found.get(2).is_some_and(|effective| *effective != 0), || format!("{found:?}"));
    }
    same("inh prm eff bnd amb", found, [0; 5])
}

fn capabilities_bounding(t: &Test) -> Verdict {
    let b = t.bundle()?.capabilities(&["CAP_KILL"]).writable().sh("chown 5:5 /tmp && echo done || echo refused");
    contains("output", &b.stdout()?, "refused")?;
    let b = t.bundle()?.capabilities(&["CAP_CHOWN"]).writable().sh("chown 5:5 /tmp && echo done || echo refused");
    contains("output", &b.stdout()?, "done")
}

fn ungrantable(t: &Test) -> Verdict {
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = u64::from_str_radix(status_line(&status, "CapBnd")?, 16)?;
    // CAP_SYS_RESOURCE is 24.
    if bounding & (1 << 24) != 0 {
        return skip("this machine grants CAP_SYS_RESOURCE, so nothing is out of reach");
    }
    let b = t.bundle()?.capabilities(&["CAP_KILL", "CAP_SYS_RESOURCE"]);
    if matches!(t.kind, Kind::Runc | Kind::Crun) {
        return check(b.args(&["true"]).run()?.status != 0, || "it runs".to_owned());
    }
    let found = capability_sets(b)?;
    same("effective", found.get(2), Some(&KILL))
}

fn no_new_privileges(t: &Test) -> Verdict {
    for (value, text) in [(true, "1"), (false, "0")] {
        let b = t.bundle()?.args(&["cat", "/proc/self/status"]).set("/process/noNewPrivileges", json!(value));
        same("NoNewPrivs", status_line(&b.stdout()?, "NoNewPrivs")?, text)?;
    }
    let b = t.bundle()?.args(&["cat", "/proc/self/status"]).remove("/process/noNewPrivileges");
    same("NoNewPrivs", status_line(&b.stdout()?, "NoNewPrivs")?, "0")
}

fn rlimits(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["cat", "/proc/self/limits"]);
    let b = b.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 600},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608},
            {"type": "RLIMIT_NPROC", "soft": 100, "hard": 200},
            {"type": "RLIMIT_RTPRIO", "soft": 0, "hard": 0},
        ]),
    );
    let out = b.stdout()?;
    let words = |name: &str| -> Vec<String> {
        let line = out.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().take(2).map(str::to_owned).collect()
    };
    same("open files", words("Max open files"), ["512", "600"])?;
    same("core", words("Max core file size"), ["0", "0"])?;
    same("stack", words("Max stack size"), ["4194304", "8388608"])?;
    same("processes", words("Max processes"), ["100", "200"])
}

fn rlimits_inherited(t: &Test) -> Verdict {
    // Above 1024 open files so that a runtime's own adjustment of the soft limit shows.
    let script = r#"ulimit -S -n 300; ulimit -S -c 0; exec "$@""#;
    let b = t.bundle()?.args(&["cat", "/proc/self/limits"]).remove("/process/rlimits");
    b.save()?;
    let inner = b.command("run", &[]);
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    let line = some("Max open files", out.lines().find_map(|line| line.strip_prefix("Max open files")))?;
    same("soft limit of open files", line.split_whitespace().next(), Some("300"))
}

fn rlimit_beyond(t: &Test) -> Verdict {
    let status = fs::read_to_string("/proc/self/status")?;
    if u64::from_str_radix(status_line(&status, "CapEff")?, 16)? & (1 << 24) != 0 {
        return skip("this machine grants CAP_SYS_RESOURCE, so no limit is out of reach");
    }
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = some("Max open files", limits.lines().find_map(|line| line.strip_prefix("Max open files")))?;
    let hard: u64 = some("a hard limit", line.split_whitespace().nth(1))?.parse()?;
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]);
    t.bundle()?.args(&["true"]).set("/process/rlimits", limit).run()?.refuses(t, "/process/rlimits/0", &[])?;
    Ok(())
}

/// No signal is blocked or ignored in a process of this status.
fn signals_are_clean(status: &str) -> Verdict {
    // 32 and 33 belong to the C library, which lets nobody else set them.
    let library: u64 = 0b11 << 31;
    for key in ["SigBlk", "SigIgn", "SigPnd", "ShdPnd"] {
        same(key, u64::from_str_radix(status_line(status, key)?, 16)? & !library, 0)?;
    }
    Ok(())
}

fn signals_clean(t: &Test) -> Verdict {
    signals_are_clean(&t.bundle()?.args(&["cat", "/proc/self/status"]).stdout()?)
}

fn signals_clean_caller(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["cat", "/proc/self/status"]);
    b.save()?;
    let inner = b.command("run", &[]);
    clean_from_a_caller_that_ignores(t, &inner)
}

/// Runs a command that prints `/proc/self/status`, from a caller that ignores signals.
pub(crate) fn clean_from_a_caller_that_ignores(t: &Test, inner: &Command) -> Verdict {
    let mut command = Command::new("sh");
    // SIGPIPE, as a daemon written in Python or Rust has it, and others.
    command
        .args(["-c", r#"trap '' PIPE HUP USR1 QUIT; exec "$@""#, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    bare(&mut command);
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    if t.kind == Kind::Runc {
        return same("SigBlk", status_line(&out, "SigBlk")?, "0000000000000000");
    }
    signals_are_clean(&out)
}

fn descriptors(t: &Test) -> Verdict {
    // The shell lists its own descriptors with a glob, so that no other process opens one.
    let b = t.bundle()?.sh("cd /proc/self/fd; for fd in *; do test -e $fd && echo $fd; done; true");
    same("descriptors", b.stdout()?, "0\n1\n2\n")
}

fn with_descriptors(b: &Bundle, verb: &str, flags: &[&str], redirections: &str) -> Verdict<Command> {
    b.save()?;
    let inner = b.command(verb, flags);
    let mut command = Command::new("busybox");
    command.args(["sh", "-c", &format!(r#"exec "$@" {redirections}"#), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    Ok(command)
}

fn descriptors_not_leaked(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("cd /proc/self/fd; for fd in *; do test -e $fd && echo $fd; done; true");
    let command = with_descriptors(&b, "run", &[], "3</etc/hostname 4<. 9</dev/null")?;
    same("descriptors", t.output_of(command)?.exits(0)?.stdout()?, "0\n1\n2\n")
}

fn preserve_fds(t: &Test) -> Verdict {
    fs::write(t.path("three"), "content of three\n")?;
    fs::write(t.path("four"), "content of four\n")?;
    let open = format!("3<{} 4<{} 5</dev/null", t.path("three").display(), t.path("four").display());
    let b = t.bundle()?.sh("cat <&3; cat <&4; test -e /proc/self/fd/5 && echo five; true");
    let command = with_descriptors(&b, "run", &["--preserve-fds", "2"], &open)?;
    same("output", t.output_of(command)?.exits(0)?.stdout()?, "content of three\ncontent of four\n")?;
    // create keeps them for start.
    let b = t.bundle()?.writable().sh("cat <&3 >/out");
    let pid_file = b.pid_file().to_string_lossy().into_owned();
    let command = with_descriptors(&b, "create", &["--preserve-fds", "1", "--pid-file", &pid_file], &open)?;
    t.output_of(command)?.exits(0)?;
    b.start()?;
    b.ended()?;
    same("/out", fs::read_to_string(b.rootfs("out"))?, "content of three\n")
}

fn preserve_closed(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.save()?;
    let command = with_descriptors(&b, "run", &["--preserve-fds", "2"], "3</dev/null 4<&-")?;
    let output = t.output_of(command)?;
    if matches!(t.kind, Kind::Runc | Kind::Crun) {
        return same("status", output.status, 0);
    }
    output.refuses(t, "4", &[])?;
    Ok(())
}

fn affinity(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("grep Cpus_allowed_list: /proc/self/status");
    let all = b.stdout()?;
    if !all.contains(['-', ',']) {
        return skip("this machine has one CPU");
    }
    let run = b.command("run", &[]);
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(run.get_program()).args(run.get_args());
    bare(&mut command);
    same("Cpus_allowed_list", t.output_of(command)?.exits(0)?.stdout()?, all)
}
