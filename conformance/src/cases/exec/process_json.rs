//! process.json, as engines write it.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use super::own::{CHOWN, KILL, SETS};
use super::{ENV, command, exec, output, pid_in, process, process_json, refuses, run, running};
use crate::bundle::{Test, code, ended};
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, contains, same};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/docker-process", "the process of a docker exec", docker_process),
        case("exec/docker-user-process", "the process of a docker exec -u", docker_user_process),
        case("exec/process", "everything that a process.json says", process_file),
        case("exec/process-oom-score", "oomScoreAdj of process.json", process_oom_score)
            .known_failure(Kind::Runc, "takes that of the container's process")
            .known_failure(Kind::Crun, "passes over it"),
        case("exec/process-umask", "user.umask of process.json", process_umask)
            .known_failure(Kind::Runc, "takes that of the container's process")
            .known_failure(Kind::Crun, "takes that of the container\'s process if the file has none"),
        case("exec/process-alone", "with process.json nothing is taken from the container's process", process_alone)
            .known_failure(Kind::Crun, "takes what is missing from it"),
        case(
            "exec/process-and-flags",
            "with process.json the flags that change a process do nothing",
            process_and_flags,
        ),
        case("exec/process-wrong", "a process.json that is wrong is refused", process_wrong)
            .known_failure(Kind::Crun, "takes what is missing from the container\'s process, or executes nothing"),
    ]
}

const DOCKER_EXEC: &str = include_str!("../../../fixtures/docker-exec-process.json");
const DOCKER_EXEC_USER: &str = include_str!("../../../fixtures/docker-exec-user-process.json");

fn docker_process(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = process_json(&b, &serde_json::from_str(DOCKER_EXEC)?)?;
    same("output", output(&b, &["--process", &path], &[])?, "hi\n")?;
    // As containerd calls it.
    let pid_file = b.dir.join("exec.pid");
    let out = b.dir.join("exec.out");
    let mut detached = command(&b, &["--process", &path, "--detach", "--pid-file", &pid_file.to_string_lossy()], &[]);
    let status = detached.stdin(Stdio::null()).stdout(fs::File::create(&out)?).status()?;
    same("status", code(status), 0)?;
    ended(pid_in(&pid_file)?)?;
    same("output", fs::read_to_string(out)?, "hi\n")
}

fn docker_user_process(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = process_json(&b, &serde_json::from_str(DOCKER_EXEC_USER)?)?;
    contains("id", &output(&b, &["-p", &path], &[])?, "uid=1 gid=0(root)")
}

fn process_file(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "pwd; ulimit -Sn; ulimit -Hn; echo $A; cat /proc/self/status";
    let process = json!({
        "args": ["sh", "-c", script],
        "cwd": "/tmp",
        "env": [ENV, "A=b"],
        "user": {"uid": 3, "gid": 4, "additionalGids": [7, 8]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
        "noNewPrivileges": true,
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_KILL"],
            "permitted": ["CAP_CHOWN"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"],
        },
    });
    let out = output(&b, &["--process", &process_json(&b, &process)?], &[])?;
    check(out.starts_with("/tmp\n50\n60\nb\n"), || format!("output: {out}"))?;
    same("Uid", status_line(&out, "Uid")?, "3\t3\t3\t3")?;
    same("Gid", status_line(&out, "Gid")?, "4\t4\t4\t4")?;
    contains("Groups", status_line(&out, "Groups")?, "7 8")?;
    same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, "1")?;
    for (set, bits) in SETS.iter().zip([CHOWN, CHOWN, CHOWN, CHOWN | KILL, CHOWN]) {
        same(set, u64::from_str_radix(status_line(&out, set)?, 16)?, bits)?;
    }
    Ok(())
}

fn process_oom_score(t: &Test) -> Verdict {
    let b = running(t)?;
    let mut process = process("cat /proc/self/oom_score_adj");
    process["oomScoreAdj"] = json!(333);
    same("score", output(&b, &["-p", &process_json(&b, &process)?], &[])?, "333\n")
}

fn process_umask(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user/umask", json!(0o007)))?;
    let mut process = process("umask");
    same("umask", output(&b, &["-p", &process_json(&b, &process)?], &[])?, "0022\n")?;
    process["user"] = json!({"umask": 0o027});
    same("umask", output(&b, &["-p", &process_json(&b, &process)?], &[])?, "0027\n")
}

fn process_alone(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}));
    let b = run(b.set("/process/env", json!([ENV, "A=1"])).set("/process/cwd", json!("/usr")))?;
    let path = process_json(&b, &process("pwd; id -u; id -g; echo ${A-unset}; cat /proc/self/status"))?;
    let out = output(&b, &["-p", &path], &[])?;
    check(out.starts_with("/\n0\n0\nunset\n"), || format!("output: {out}"))?;
    same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, "0")
}

fn process_and_flags(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = process_json(&b, &process("id -u; pwd; echo ${A-unset}; test -t 0 || echo no terminal"))?;
    let flags = ["--process", &path, "--user", "1000", "--cwd", "/tmp", "--env", "A=1"];
    same("output", output(&b, &flags, &["echo", "other"])?, "0\n/\nunset\nno terminal\n")
}

fn process_wrong(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--process", "/no/such/file"], &[])?;
    refuses(&b, refused, "/no/such/file", &["no such file", "No such file"])?;
    for (text, ours) in [
        ("{", "process.json"),
        ("[]", "process.json"),
        (r#"{"args": ["true"]}"#, "/cwd"),
        (r#"{"args": ["true"], "cwd": "x"}"#, "/cwd"),
        (r#"{"args": [], "cwd": "/"}"#, "/args"),
        (r#"{"cwd": "/"}"#, "/args"),
        (r#"{"args": ["true"], "cwd": "/", "user": {"uid": -1}}"#, "/user/uid"),
        (r#"{"args": ["true"], "cwd": "/", "env": 1}"#, "/env"),
    ] {
        let path = b.dir.join("process.json");
        fs::write(&path, text)?;
        let refused = exec(&b, &["--process", &path.to_string_lossy()], &[])?;
        refuses(&b, refused, ours, &[])?;
    }
    b.is("running")
}
