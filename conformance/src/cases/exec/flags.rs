//! The flags that change the process.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::own::{CHOWN, KILL, NET_RAW, capabilities, groups, no_new, with_inheritable};
use super::{ENV, detached, exec, output, redirected, refuses, run, running, sh};
use crate::bundle::{Test, ended};
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;
use crate::terminal;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/env", "--env adds to the environment and replaces in it", env),
        case("exec/env-path", "the program is looked up in the PATH of --env", env_path),
        case("exec/env-malformed", "--env without a name or a = is refused", env_malformed)
            .differs(Kind::Crun, "passes it over or on"),
        case("exec/cwd", "--cwd is the working directory", cwd),
        case("exec/cwd-missing", "--cwd of no directory is an error that says so", cwd_missing),
        case("exec/cwd-relative", "--cwd takes an absolute path", cwd_relative)
            .differs(Kind::Crun, "takes it from the root"),
        case(
            "exec/cve-2024-21626-cwd",
            "--cwd through /proc/self/fd does not lead out of the container",
            cwd_by_descriptor,
        ),
        case("exec/user", "--user sets the uid, and the gid if it names one", user)
            .differs(Kind::Crun, "has gid 0 and no other groups when no gid is named"),
        case("exec/user-home", "HOME is that of the user in the container's passwd", user_home),
        case(
            "exec/cve-2016-3697-user",
            "--user is a number, even if passwd has somebody of that name",
            user_is_a_number,
        ),
        case("exec/user-malformed", "--user takes no names and nothing that is nearly a number", user_malformed),
        case("exec/cve-2026-30892-user", "--user takes no number that does not fit in an id", user_too_large)
            .known_failure(Kind::Runc, "1.3.6 cuts 4294967296 to 0: the process runs as root")
            .known_failure(Kind::Crun, "1.28 takes -1 for 0: the process runs as root"),
        case("exec/additional-gids", "--additional-gids adds groups", additional_gids)
            .skip(Kind::Crun, "has no such flag"),
        case("exec/cap", "--cap adds to the bounding, permitted and effective sets", cap)
            .differs(Kind::Crun, "replaces all sets"),
        case(
            "exec/cve-2022-29162-cap",
            "--cap leaves the inheritable set as it is, and ambient within it",
            cap_not_inheritable,
        )
        .known_failure(Kind::Crun, "replaces all sets"),
        case("exec/cap-unknown", "a capability that nobody knows is no error", cap_unknown),
        case("exec/no-new-privs", "--no-new-privs sets it", no_new_privs),
        case("exec/preserve-fds", "--preserve-fds N passes N descriptors from 3", preserve_fds),
        case("exec/preserve-fds-closed", "--preserve-fds of a closed descriptor is an error", preserve_closed)
            .differs(Kind::Crun, "passes what there is")
            .differs(Kind::Runc, "passes a descriptor of its own"),
        case("exec/pidfd-socket", "--pidfd-socket receives a pidfd of the process", pidfd_socket)
            .skip(Kind::Crun, "has no such flag"),
        case("exec/labels", "labels that this machine cannot set are an error", labels)
            .known_failure(Kind::Crun, "passes over them"),
    ]
}

fn env(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "A=1", "KEPT=1"])))?;
    let script = "echo $A,$KEPT,$B,$C,${EMPTY-unset}";
    let flags = ["--env", "A=2", "--env", "B=a=b c", "--env=EMPTY=", "--env", "C=1", "--env", "C=2"];
    same("output", sh(&b, &flags, script)?, "2,1,a=b c,2,\n")?;
    same("output", sh(&b, &["-e", "B=3", "-e", "A="], script)?, ",1,3,,unset\n")
}

fn env_path(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("opt")?.with_file("opt/tool", "#!/bin/sh\necho tool\n", 0o755)?;
    let b = run(b)?;
    same("output", output(&b, &["-e", "PATH=/opt:/bin"], &["tool"])?, "tool\n")?;
    let refused = exec(&b, &["-e", "PATH=/nowhere"], &["sh"])?;
    refuses(&b, refused, "executable file not found in $PATH", &["not found in $PATH"])
}

fn env_malformed(t: &Test) -> Verdict {
    let b = running(t)?;
    for variable in ["A", "=x", ""] {
        let refused = exec(&b, &["--env", variable], &["true"])?;
        if t.kind == Kind::Crun {
            refused.exits(0)?;
        } else {
            refuses(&b, refused, "NAME=VALUE", &["invalid environment variable"])?;
        }
    }
    Ok(())
}

fn cwd(t: &Test) -> Verdict {
    let b = run(t.bundle()?.with_dir("usr/deep/er")?)?;
    same("working directory", output(&b, &["--cwd", "/usr/deep/er"], &["pwd", "-P"])?, "/usr/deep/er\n")?;
    same("working directory", output(&b, &["--cwd", "/usr/../tmp/"], &["pwd", "-P"])?, "/tmp\n")
}

fn cwd_missing(t: &Test) -> Verdict {
    let b = run(t.bundle()?.writable())?;
    let refused = exec(&b, &["--cwd", "/no/such"], &["true"])?;
    refuses(&b, refused, "no such file or directory", &["No such file or directory", "no such file or directory"])?;
    check(!b.rootfs("no").exists(), || "the directory was made".to_owned())?;
    let refused = exec(&b, &["--cwd", "/etc/passwd"], &["true"])?;
    refuses(&b, refused, "not a directory", &["Not a directory", "not a directory"])
}

fn cwd_relative(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--cwd", "usr"], &["true"])?;
    if t.kind == Kind::Crun {
        return refused.exits(0).map(drop);
    }
    refuses(&b, refused, "absolute path", &["absolute path"])
}

fn cwd_by_descriptor(t: &Test) -> Verdict {
    let b = running(t)?;
    for number in 3..24 {
        for path in [format!("/proc/self/fd/{number}"), format!("/proc/1/fd/{number}")] {
            let refused = exec(&b, &["--cwd", &path], &["ls"])?;
            check(refused.status != 0, || format!("--cwd {path}: {:?}", refused.stdout()))?;
            same("output", refused.stdout()?.as_str(), "")?;
        }
    }
    Ok(())
}

fn user(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user", json!({"uid": 7, "gid": 8, "additionalGids": [5]})))?;
    if t.kind == Kind::Crun {
        same("ids", groups(&b, &["--user", "1000"])?, (1000, 0, vec![]))?;
        return same("ids", groups(&b, &["-u", "1000:77"])?, (1000, 77, vec![]));
    }
    same("ids", groups(&b, &["--user", "1000"])?, (1000, 8, vec![5]))?;
    same("ids", groups(&b, &["-u", "1000:77"])?, (1000, 77, vec![5]))?;
    same("ids", groups(&b, &["--user", "0:0"])?, (0, 0, vec![5]))?;
    same("ids", groups(&b, &["--user=2000000000:2000000000"])?, (2_000_000_000, 2_000_000_000, vec![5]))
}

fn user_home(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV])))?;
    same("HOME", sh(&b, &[], "echo $HOME")?, "/root\n")?;
    same("HOME", sh(&b, &["--user", "1000"], "echo $HOME")?, "/tmp\n")?;
    same("HOME", sh(&b, &["--user", "4321"], "echo $HOME")?, "/\n")?;
    same("HOME", sh(&b, &["--user", "1000", "--env", "HOME=/given"], "echo $HOME")?, "/given\n")?;
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "HOME=/of/config"])))?;
    same("HOME", sh(&b, &["--user", "1000"], "echo $HOME")?, "/of/config\n")
}

fn user_is_a_number(t: &Test) -> Verdict {
    let passwd = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0:root:/root:/bin/sh\n";
    let b = run(t.bundle()?.with_file("etc/passwd", passwd, 0o644)?)?;
    same("uid", output(&b, &["--user", "1000"], &["id", "-u"])?, "1000\n")
}

fn user_malformed(t: &Test) -> Verdict {
    let b = running(t)?;
    for text in ["1x", "root", "root:root", "1:", ":1", "1:x", "1:2:3", "0x1"] {
        let refused = exec(&b, &["--user", text], &["true"])?;
        refuses(&b, refused, "--user takes UID or UID:GID", &["invalid syntax", "invalid U", "invalid G"])?;
    }
    Ok(())
}

fn user_too_large(t: &Test) -> Verdict {
    let b = running(t)?;
    for text in ["4294967296", "4294967295", "-1", "18446744073709551616", "1:4294967296"] {
        let refused = exec(&b, &["--user", text], &["id", "-u"])?;
        check(refused.status != 0, || format!("--user {text} ran as {:?}", refused.stdout()))?;
        refuses(&b, refused, "--user takes UID or UID:GID", &[])?;
    }
    Ok(())
}

fn additional_gids(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [5]})))?;
    same(
        "ids",
        groups(&b, &["--additional-gids", "77", "--additional-gids", "4294967294"])?,
        (0, 0, vec![5, 77, 4_294_967_294]),
    )?;
    same("ids", groups(&b, &["-u", "1000:1000", "-g", "6"])?, (1000, 1000, vec![5, 6]))?;
    for text in ["x", "5,6", "-1", "1.5", ""] {
        let refused = exec(&b, &["--additional-gids", text], &["true"])?;
        check(refused.status != 0, || format!("--additional-gids {text:?} was taken"))?;
    }
    Ok(())
}

fn cap(t: &Test) -> Verdict {
    let b = with_inheritable(t, &[])?;
    let flags = ["--cap", "CAP_NET_RAW"];
    if t.kind == Kind::Crun {
        return same("inh prm eff bnd amb", capabilities(&b, &flags)?, [0, NET_RAW, NET_RAW, NET_RAW, 0]);
    }
    let all = KILL | CHOWN | NET_RAW;
    same("inh prm eff bnd amb", capabilities(&b, &flags)?, [0, all, all, all, 0])?;
    // Beyond the bounding set of the container's process too, as with runc.
    let more = all | 1 << 19;
    same(
        "inh prm eff bnd amb",
        capabilities(&b, &["-c", "CAP_NET_RAW", "-c", "CAP_SYS_PTRACE"])?,
        [0, more, more, more, 0],
    )?;
    same("inh prm eff bnd amb of a user", capabilities(&b, &["-c", "CAP_NET_RAW", "-u", "1000"])?, [0, 0, 0, all, 0])
}

fn cap_not_inheritable(t: &Test) -> Verdict {
    let b = with_inheritable(t, &["CAP_KILL"])?;
    let found = capabilities(&b, &["--cap", "CAP_NET_RAW"])?;
    same("inheritable", found.first(), Some(&KILL))?;
    same("ambient", found.last(), Some(&0))?;
    let found = capabilities(&b, &["--cap", "CAP_KILL", "--user", "1000"])?;
    same("inh prm eff bnd amb", found, [KILL, KILL, KILL, KILL | CHOWN | NET_RAW, KILL])
}

fn cap_unknown(t: &Test) -> Verdict {
    let b = with_inheritable(t, &[])?;
    for name in ["CAP_BOGUS", "NET_RAW"] {
        let out = exec(&b, &["--cap", name], &["cat", "/proc/self/status"])?.exits(0)?;
        same("CapInh", status_line(&out.stdout()?, "CapInh")?, "0000000000000000")?;
        if t.ours() {
            contains("stderr", &out.stderr()?, name)?;
        }
    }
    Ok(())
}

fn no_new_privs(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/noNewPrivileges", json!(false)))?;
    same("NoNewPrivs", no_new(&b, &["--no-new-privs"])?, "1")
}

fn preserve_fds(t: &Test) -> Verdict {
    fs::write(t.path("three"), "content of three\n")?;
    fs::write(t.path("four"), "content of four\n")?;
    let open = format!("3<{} 4<{} 5</dev/null", t.path("three").display(), t.path("four").display());
    let b = running(t)?;
    let args = ["sh", "-c", "cat <&3; cat <&4; test -e /proc/self/fd/5 && echo five; true"];
    let command = redirected(&b, &["--preserve-fds", "2"], &args, &open);
    same("output", t.output_of(command)?.exits(0)?.stdout()?, "content of three\ncontent of four\n")
}

fn preserve_closed(t: &Test) -> Verdict {
    let b = running(t)?;
    let command = redirected(&b, &["--preserve-fds", "2"], &["true"], "3</dev/null 4<&-");
    let output = t.output_of(command)?;
    if matches!(t.kind, Kind::Runc | Kind::Crun) {
        return same("status", output.status, 0);
    }
    check(output.status != 0, || "it succeeded".to_owned())?;
    contains("stderr", &output.stderr()?, "4")
}

fn pidfd_socket(t: &Test) -> Verdict {
    let b = running(t)?;
    let socket = t.path("pidfd.sock");
    let listener = terminal::listen(&socket)?;
    let pid = detached(&b, &["--pidfd-socket", &socket.to_string_lossy()], &["sleep", "1000"])?;
    let pidfd = terminal::receive(&listener)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd)))?;
    same("the pid of the pidfd", status_line(&info, "Pid")?, pid.as_raw_nonzero().to_string())?;
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)?;
    same("status", ended(pid)?, 137)
}

fn labels(t: &Test) -> Verdict {
    if Path::new("/sys/kernel/security/apparmor/profiles").exists() || Path::new("/sys/fs/selinux/enforce").exists() {
        return crate::expect::skip("this machine has security modules");
    }
    let b = running(t)?;
    let refused = exec(&b, &["--apparmor", "no-such-profile"], &["true"])?;
    refuses(&b, refused, "apparmorProfile", &["apparmor"])?;
    let refused = exec(&b, &["--process-label", "a:b:c:d"], &["true"])?;
    refuses(&b, refused, "selinuxLabel", &["selinux"])
}
