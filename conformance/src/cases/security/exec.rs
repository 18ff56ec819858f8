//! Advisories on `exec`: a process of the host enters a container whose processes are hostile.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bundle::{Bundle, Lines, Output, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, lacks, same};
use crate::kind::Kind;
use crate::probe::with_probe;
use crate::racer::{LONG_ENOUGH, directory, race};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "security/cve-2016-9962-user-namespace",
            "with all capabilities of its user namespace a container gets hold of nothing that enters it",
            scan_in_user_namespace,
        ),
        case(
            "security/cve-2016-9962-ptrace",
            "nothing of the host is in a process that enters a container with CAP_SYS_PTRACE",
            scan_with_ptrace,
        )
        .known_failure(Kind::Crun, "/proc/PID/exe of its exec is crun's own file"),
        case(
            "security/cve-2016-9962-joined-pids",
            "nor does one in whose user and pid namespace another is made",
            joined_pids,
        ),
        case("security/cve-2016-3697-numeric-user", "a number is a uid, whatever passwd calls by it", numeric_user),
        case("security/cve-2022-24769-exec-cap", "exec --cap gives no inheritable capability", exec_cap),
        case("security/cve-2024-21626-exec-cwd", "exec --cwd leads through no descriptor", exec_cwd),
        case("security/cve-2024-21626-exec-moved-cwd", "nor when the cwd becomes a link to one", exec_moved_cwd),
        case("security/cve-2026-30892-exec-user", "exec --user takes numbers as they are or refuses", exec_user)
            .known_failure(Kind::Runc, "1.3.6 takes 4294967296 for 0")
            .known_failure(Kind::Crun, "1.28 takes -1 for root"),
    ]
}

/// `exec` with flags before the id and the program behind it.
fn exec(b: &Bundle, flags: &[&str], program: &[&str]) -> Verdict<Output> {
    b.test.runtime(&[&["exec"], flags, &[b.id.as_str()], program].concat())
}

/// A container that does nothing.
fn idle(b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    b.running_idle()
}

/// Has the probe of one container look at what comes, while `enter` is done up to a thousand times.
fn scan(b: &Bundle, mut enter: impl FnMut() -> Verdict) -> Verdict<Vec<String>> {
    b.save()?;
    let (reader, writer) = std::io::pipe()?;
    let pid_file = b.pid_file();
    let mut command = b.command("create", &["--pid-file", &pid_file.to_string_lossy()]);
    let (input, mut end) = std::io::pipe()?;
    let errors = fs::File::create(b.dir.join("stderr"))?;
    let status = command.stdin(input).stdout(writer).stderr(Stdio::from(errors)).status()?;
    drop(command);
    check(status.success(), || format!("create: {:?}", fs::read_to_string(b.dir.join("stderr"))))?;
    b.start()?;
    let mut lines = Lines::new(reader);
    same("the probe", lines.next()?, "ready")?;
    let deadline = Instant::now() + 2 * LONG_ENOUGH;
    let mut times = 0;
    while times < 1000 && Instant::now() < deadline {
        enter()?;
        times += 1;
    }
    end.write_all(b"end\n")?;
    drop(end);
    let mut found = Vec::new();
    loop {
        let line = lines.next()?;
        if let Some(count) = line.strip_prefix("seen ") {
            // Too few would say that it has not looked.
            let seen: usize = count.parse()?;
            check(seen * 10 > times, || format!("of {times} processes only {seen} were seen"))?;
            return Ok(found);
        }
        found.push(line);
    }
}

/// `exec` of a runtime that has a secret in its environment.
fn enter(b: &Bundle) -> Verdict {
    let mut command = b.test.command(&["exec", &b.id, "/bin/true"]);
    command.env("NF_SECRET", "secret");
    b.test.output_of(command)?.exits(0)?;
    Ok(())
}

const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// Seen to fail: crun 0.17 (its own file as /proc/PID/exe), no-frills whose exec is dumpable (init's memory can be
/// written).
fn scan_in_user_namespace(t: &Test) -> Verdict {
    let b = with_probe(t.bundle()?)?.user_namespace(100_000, 65_536).capabilities(ALL);
    let b = b.set("/process/noNewPrivileges", json!(false)).args(&["/bin/probe", "scan"]);
    let found = scan(&b, || enter(&b))?;
    same("what was within reach", found, Vec::<String>::new())
}

/// With the capability in the host's user namespace a look is always possible: but there must be nothing to see.
fn harmless(t: &Test, found: &[String]) -> Verdict {
    let runtime = fs::metadata(&t.runtime)?;
    let runtime = format!(" {}:{}", runtime.dev(), runtime.ino());
    for line in found {
        check(!line.ends_with(&runtime), || format!("the runtime's own file: {line}"))?;
        check(line != "environment", || "the environment of the command".to_owned())?;
        check(!line.starts_with("directory"), || format!("a directory of the host: {line}"))?;
        // It may hold the file that it was executed from, which is looked at above.
        let is_exe = |file: &str| {
            found.iter().any(|exe| exe.starts_with("exe ") && exe.rsplit(' ').next() == file.rsplit(' ').next())
        };
        check(!line.starts_with("file") || is_exe(line), || format!("a file of the host: {line}"))?;
    }
    Ok(())
}

/// Seen to fail: runc 1.1.5, crun 0.17, 1.8.1, 1.21, 1.28: /proc/PID/exe is the runtime's
/// file on the host.
fn scan_with_ptrace(t: &Test) -> Verdict {
    let b = with_probe(t.bundle()?)?.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    let b = b.args(&["/bin/probe", "scan"]);
    harmless(t, &scan(&b, || enter(&b))?)
}

/// Seen to fail: no-frills that stays dumpable when it joins a pid namespace.
fn joined_pids(t: &Test) -> Verdict {
    let spy = with_probe(t.bundle()?)?.user_namespace(100_000, 65_536).capabilities(ALL);
    let spy = spy.set("/process/noNewPrivileges", json!(false)).args(&["/bin/probe", "scan"]);
    let found = scan(&spy, || {
        let path = |kind| format!("/proc/{}/ns/{kind}", spy.pid().map_or(0, |pid| pid.as_raw_nonzero().get()));
        let b = t.bundle()?.no_namespace("pid").push("/linux/namespaces", json!({"type": "pid", "path": path("pid")}));
        let b = b.push("/linux/namespaces", json!({"type": "user", "path": path("user")}));
        let b = b.args(&["true"]);
        b.run()?.exits(0)?;
        Ok(fs::remove_dir_all(&b.dir)?)
    })?;
    same("what was within reach", found, Vec::<String>::new())
}

/// Seen to fail: crun 1.21, which takes the name `1000` of uid 0.
fn numeric_user(t: &Test) -> Verdict {
    let passwd = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0:a name of digits:/root:/bin/sh\n";
    let group = "root:x:0:\n1000:x:0:\n";
    let b = t.bundle()?.with_file("etc/passwd", passwd, 0o644)?.with_file("etc/group", group, 0o644)?;
    let b = idle(b)?;
    same("uid of exec", exec(&b, &["--user", "1000"], &["id", "-u"])?.exits(0)?.stdout()?, "1000\n")?;
    same("gid of exec", exec(&b, &["--user", "1000:1000"], &["id", "-g"])?.exits(0)?.stdout()?, "1000\n")
}

/// Seen to fail: no-frills that makes the permitted capabilities inheritable.
fn exec_cap(t: &Test) -> Verdict {
    let b = idle(t.bundle()?)?;
    let sets = ["grep", "Cap", "/proc/self/status"];
    let inheritable = |text: &str| {
        same("inheritable", text.lines().find(|line| line.starts_with("CapInh")), Some("CapInh:\t0000000000000000"))
    };
    inheritable(&exec(&b, &[], &sets)?.exits(0)?.stdout()?)?;
    let text = exec(&b, &["--cap", "CAP_NET_RAW"], &sets)?.exits(0)?.stdout()?;
    inheritable(&text)?;
    // CAP_NET_RAW is 13: it was given.
    let effective = text.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap_or_default();
    check(u64::from_str_radix(effective, 16)? & 1 << 13 != 0, || format!("--cap gave nothing: {text}"))?;
    // Nor from a process.json that names none.
    let process = json!({"args": sets, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    fs::write(t.path("process.json"), process.to_string())?;
    inheritable(&exec(&b, &["--process", &t.path("process.json").to_string_lossy()], &[])?.exits(0)?.stdout()?)
}

/// Seen to fail: crun 1.8.1 by a script that leaves it a descriptor of the host's /etc (with `--preserve-fds`).
fn exec_cwd(t: &Test) -> Verdict {
    let b = idle(t.bundle()?.with_link("usr/link", "/proc/self/fd")?)?;
    same("an ordinary one", exec(&b, &["--cwd", "/usr"], &["pwd"])?.exits(0)?.stdout()?, "/usr\n")?;
    for number in 3..64 {
        for cwd in [format!("/proc/self/fd/{number}"), format!("/usr/link/{number}")] {
            let output = exec(&b, &["--cwd", &cwd], &["ls", "-A"])?;
            check(output.status != 0, || format!("{cwd} leads somewhere: {:?}", output.stdout()))?;
        }
    }
    Ok(())
}

/// Seen to fail: as `exec_cwd`, within 2.3 s.
fn exec_moved_cwd(t: &Test) -> Verdict {
    let volume = directory(t, "volume")?;
    let b = idle(t.bundle()?.bind(&volume, "/vol", &["bind"]))?;
    same("an ordinary one", exec(&b, &["--cwd", "/usr"], &["pwd"])?.exits(0)?.stdout()?, "/usr\n")?;
    let (cwd, link) = (volume.join("cwd"), volume.join("link"));
    let begin = Instant::now();
    for number in (3..32).take_while(|_| begin.elapsed() < Duration::from_secs(6)) {
        crate::racer::remove(&cwd)?;
        crate::racer::remove(&link)?;
        fs::create_dir(&cwd)?;
        std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), &link)?;
        let mut runs = 0;
        race(&cwd, &link, 100, || {
            runs += 1;
            let output = exec(&b, &["--cwd", "/vol/cwd"], &["ls", "-A"])?;
            lacks("stderr", &output.stderr()?, "panicked")?;
            same("what is in the working directory", output.stdout()?.as_str(), "")?;
            Ok(runs < 10)
        })?;
    }
    Ok(())
}

/// Seen to fail: runc 1.0.0-rc93 to 1.3.6 (4294967296 is root), crun 0.17 to 1.28 (-1 is root).
fn exec_user(t: &Test) -> Verdict {
    let b = idle(t.bundle()?)?;
    let who = ["sh", "-c", "echo $(id -u):$(id -g)"];
    for (user, expected) in [("1", "1:0\n"), ("1:1", "1:1\n"), ("0:7", "0:7\n"), ("65534", "65534:0\n")] {
        same(user, exec(&b, &["--user", user], &who)?.exits(0)?.stdout()?, expected)?;
    }
    for user in ["4294967296", "-1", "1x", "x", "0x1", "1:-1", "1:4294967296", "18446744073709551617"] {
        let output = exec(&b, &["--user", user], &who)?;
        let stdout = output.stdout()?;
        // A number that is out of range must above all not become another one.
        check(output.status != 0 && !stdout.contains(':'), || format!("--user {user} ran as {stdout}"))?;
        lacks("stderr", &output.stderr()?, "panicked")?;
    }
    Ok(())
}
