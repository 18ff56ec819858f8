//! The process of exec without process.json is the container's own, with other arguments.

use std::fs;

use serde_json::json;

use super::{ENV, command, output, run, running, sh};
use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::cases::process::status_line;
use crate::expect::{Verdict, check, lacks, same, some};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec/own-env", "the environment is that of the container's process", own_env),
        case("exec/own-cwd", "the working directory is that of the container's process", own_cwd)
            .known_failure(Kind::Crun, "starts in /"),
        case("exec/own-user", "ids and groups are those of the container's process", own_user),
        case("exec/own-limits", "resource limits are those of the container's process", own_limits)
            .known_failure(Kind::Crun, "has those of the caller"),
        case("exec/own-oom-score", "oomScoreAdj is that of the container's process", own_oom_score)
            .known_failure(Kind::Crun, "has that of the caller"),
        case("exec/own-umask", "the umask is that of the container's process", own_umask),
        case("exec/own-capabilities", "capabilities are those of the container's process", own_capabilities)
            .known_failure(Kind::Crun, "has no noNewPrivileges then, so that the kernel adds for root"),
        case("exec/own-no-new-privileges", "noNewPrivileges is that of the container's process", own_no_new_privileges)
            .known_failure(Kind::Crun, "is off without the flag"),
        case("exec/own-config", "the configuration counts that the container was created with", own_config)
            .known_failure(Kind::Runc, "reads the bundle's config.json anew"),
    ]
}

fn own_env(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "A=1", "EMPTY="])))?;
    let mut command = command(&b, &[], &["env"]);
    command.env("FROM_THE_CALLER", "1");
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    for line in [ENV, "A=1", "EMPTY="] {
        check(out.lines().any(|found| found == line), || format!("{line} is missing: {out}"))?;
    }
    lacks("the environment", &out, "FROM_THE_CALLER")?;
    lacks("the environment", &out, "_LIBCONTAINER")
}

fn own_cwd(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/cwd", json!("/usr")))?;
    same("working directory", output(&b, &[], &["pwd", "-P"])?, "/usr\n")
}

fn own_user(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 77]})))?;
    same("ids", groups(&b, &[])?, (1000, 1001, vec![5, 77]))
}

/// uid, gid, and the other groups of a process.
pub(super) fn groups(b: &Bundle, flags: &[&str]) -> Verdict<(u32, u32, Vec<u32>)> {
    let out = output(b, flags, &["cat", "/proc/self/status"])?;
    let number = |key| -> Verdict<u32> {
        let ids: Vec<&str> = status_line(&out, key)?.split_whitespace().collect();
        check(ids.windows(2).all(|pair| pair.first() == pair.last()), || format!("{key}: {ids:?}"))?;
        Ok(some(key, ids.first())?.parse()?)
    };
    let (uid, gid) = (number("Uid")?, number("Gid")?);
    let mut groups: Vec<u32> = status_line(&out, "Groups")?.split(' ').filter_map(|gid| gid.parse().ok()).collect();
    groups.sort_unstable();
    groups.dedup();
    // Whether the first group is in the list again is nobody's business.
    groups.retain(|group| *group != gid);
    Ok((uid, gid, groups))
}

fn own_limits(t: &Test) -> Verdict {
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    let b = run(t.bundle()?.set("/process/rlimits", limits))?;
    same("limits", sh(&b, &[], "ulimit -Sn; ulimit -Hn")?, "77\n88\n")
}

fn own_oom_score(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/oomScoreAdj", json!(321)))?;
    same("score", output(&b, &[], &["cat", "/proc/self/oom_score_adj"])?, "321\n")
}

fn own_umask(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user/umask", json!(0o027)))?;
    same("umask", sh(&b, &[], "umask")?, "0027\n")?;
    let b = running(t)?;
    same("umask", sh(&b, &[], "umask")?, "0022\n")
}

pub(super) const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
pub(super) const CHOWN: u64 = 1;
pub(super) const KILL: u64 = 1 << 5;
pub(super) const NET_RAW: u64 = 1 << 13;

pub(super) fn capabilities(b: &Bundle, flags: &[&str]) -> Verdict<Vec<u64>> {
    let out = output(b, flags, &["cat", "/proc/self/status"])?;
    SETS.iter().map(|set| Ok(u64::from_str_radix(status_line(&out, set)?, 16)?)).collect()
}

/// A container with these inheritable capabilities, and some others.
pub(super) fn with_inheritable<'t>(t: &'t Test, names: &[&str]) -> Verdict<Bundle<'t>> {
    let (few, more) = (["CAP_KILL", "CAP_CHOWN"], ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"]);
    run(t.bundle()?.set(
        "/process/capabilities",
        json!({"inheritable": names, "permitted": few, "effective": few, "bounding": more, "ambient": []}),
    ))
}

fn own_capabilities(t: &Test) -> Verdict {
    let b = with_inheritable(t, &["CAP_KILL"])?;
    let expected = [KILL, KILL | CHOWN, KILL | CHOWN, KILL | CHOWN | NET_RAW, 0];
    same("inh prm eff bnd amb", capabilities(&b, &[])?, expected)?;
    let expected = [KILL, 0, 0, KILL | CHOWN | NET_RAW, 0];
    same("inh prm eff bnd amb of another user", capabilities(&b, &["--user", "1000"])?, expected)
}

pub(super) fn no_new(b: &Bundle, flags: &[&str]) -> Verdict<String> {
    let out = output(b, flags, &["cat", "/proc/self/status"])?;
    Ok(status_line(&out, "NoNewPrivs")?.to_owned())
}

fn own_no_new_privileges(t: &Test) -> Verdict {
    same("NoNewPrivs", no_new(&running(t)?, &[])?, "1")?;
    let b = run(t.bundle()?.set("/process/noNewPrivileges", json!(false)))?;
    same("NoNewPrivs", no_new(&b, &[])?, "0")
}

fn own_config(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "A=before"])))?;
    let b = b.set("/process/env", json!([ENV, "A=after"])).set("/process/user/uid", json!(1000));
    b.save()?;
    same("output", sh(&b, &[], "echo $A; id -u")?, "before\n0\n")?;
    fs::remove_file(b.dir.join("config.json"))?;
    same("output", sh(&b, &[], "echo $A; id -u")?, "before\n0\n")
}
