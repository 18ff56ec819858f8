//! Profiles as a whole: names that mean nothing here, calls newer than the profile, size, what is refused.

use libc::{SYS_getpid, SYS_getppid, SYS_getpriority};

use super::*;
use crate::expect::contains;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "seccomp/names-unknown",
            "names that no architecture has, or this one has not, are passed over",
            names_unknown,
        ),
        case("seccomp/names-unknown-logged", "with --debug it is said which names were passed over", names_logged)
            .only(Kind::NoFrills, "its log"),
        case("seccomp/names-empty", "an empty name is refused", name_empty).differs(Kind::Crun, "passes over it"),
        case("seccomp/names-none", "a rule that names no calls is refused", names_none)
            .differs(Kind::Runc, "passes over it")
            .differs(Kind::Crun, "passes over an empty list"),
        case("seccomp/newer-than-profile", "a call newer than any that the profile names is ENOSYS, not denied", newer)
            .differs(Kind::Crun, "such a call has the default action"),
        case(
            "seccomp/newer-by-number",
            "what is newer is told by the highest number that the profile names",
            newer_by_number,
        )
        .differs(Kind::Crun, "such a call has the default action"),
        case("seccomp/newer-allowed", "a default that lets calls go on lets newer ones, too", newer_allowed),
        case("seccomp/newer-than-empty", "a default that denies, and no rules", newer_than_empty),
        case("seccomp/many-rules", "a thousand rules with conditions", many_rules),
        case(
            "seccomp/too-many-instructions",
            "a profile that needs more than the kernel's 4096 instructions is refused",
            too_many,
        ),
        case("seccomp/default-action-missing", "a profile without defaultAction is refused", default_missing),
        case("seccomp/action-unknown", "an action that nobody knows is refused", action_unknown),
        case("seccomp/operator-unknown", "an operator that nobody knows is refused", operator_unknown),
        case("seccomp/index-too-large", "a condition on a seventh argument is refused", index_too_large),
        case("seccomp/flag-unknown", "a flag that nobody knows is refused", flag_unknown),
        case(
            "seccomp/errno-of-other-actions",
            "an errno for an action that has none is refused",
            errno_of_other_actions,
        )
        .differs(Kind::Runc, "takes no notice of it"),
        case("seccomp/condition-incomplete", "a condition without index, operator or value is refused", incomplete)
            .differs(Kind::Runc, "takes 0 for a missing index or value")
            .differs(Kind::Crun, "takes 0 for a missing index or value"),
        case("seccomp/wrong-types", "values of other types are refused", wrong_types)
            .known_failure(Kind::Crun, "passes over some of them"),
        case("seccomp/null", "a profile that is null is none", null),
    ]
}

fn names_unknown(t: &Test) -> Verdict {
    // The last three are calls of ARM, of x86, of s390x.
    let names = ["no_such_call", "getppid", "SYS_getpid", "110", "breakpoint", "socketcall", "s390_runtime_instr"];
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&names, MARK), errno(&["none_either"], MARK)])?;
    let found = each(b, &[SYS_getppid, SYS_getpriority].map(|number| call(number, &[99])))?;
    same("answers", found, [MARKED, "-22"])
}

fn names_logged(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["no_such_call", "getppid", "breakpoint"], MARK)])?.args(&["true"]);
    b.save()?;
    let bundle = b.dir.to_string_lossy();
    let log = |flags: &[&str]| -> Verdict<String> {
        t.runtime(&[flags, &["run", "--bundle", &bundle, &b.id]].concat())?.exits(0)?.stderr()
    };
    let debug = log(&["--debug"])?;
    for name in ["no_such_call", "breakpoint"] {
        contains("the log", &debug, name)?;
    }
    check(!debug.contains("getppid"), || format!("the log: {debug}"))?;
    same("stderr without --debug", log(&[])?, "")
}

fn name_empty(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["", "getppid"], MARK)])?;
    if t.kind != Kind::Crun {
        return refused(b, "/linux/seccomp/syscalls/0/names/0", &["empty string is not a valid syscall"]);
    }
    same("answers", each(b, &[call(SYS_getppid, &[])])?, [MARKED])
}

fn names_none(t: &Test) -> Verdict {
    for names in [json!([]), Value::Null] {
        let mut rule = rule(&[], "SCMP_ACT_ERRNO");
        rule["names"] = names.clone();
        let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getppid"], MARK), rule])?;
        if t.ours() || t.kind == Kind::Crun && names.is_null() {
            refused(b, "/linux/seccomp/syscalls/1/names", &["names"])?;
            continue;
        }
        same("answers", each(b, &[call(SYS_getppid, &[])])?, [MARKED])?;
    }
    Ok(())
}

/// What Docker allows with a default that denies, and one more rule.
fn denying<'t>(t: &'t Test, more: &[Value]) -> Verdict<Bundle<'t>> {
    let allowed = json!({"names": allowed_by_docker()?, "action": "SCMP_ACT_ALLOW"});
    let b = filtered(t, "SCMP_ACT_ERRNO", &[&[allowed], more].concat())?;
    Ok(b.set("/linux/seccomp/defaultErrnoRet", json!(MARK)))
}

/// Far above what any kernel has.
const NEW: i64 = 1000;

fn newer(t: &Test) -> Verdict {
    // acct is older, and not among those allowed.
    let found = each(denying(t, &[])?, &[call(NEW, &[]), call(libc::SYS_acct, &[u64::MAX])])?;
    same("answers", found, [if t.kind == Kind::Crun { MARKED } else { "-38" }, MARKED])
}

fn newer_by_number(t: &Test) -> Verdict {
    // 463 (setxattrat) is the highest; whether a rule denies or allows does not matter. A name that is unknown names nothing.
    let more = [errno(&["setxattrat"], 99), errno(&["no_such_call"], 99)];
    let found = each(denying(t, &more)?, &[462, 463, 464].map(|number| call(number, &[u64::MAX; 6])))?;
    let theirs = if t.kind == Kind::Crun { MARKED } else { "-38" };
    same("answers", found.get(1..), Some(&["-99".to_owned(), theirs.to_owned()][..]))
}

fn newer_allowed(t: &Test) -> Verdict {
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        let b = filtered(t, action, &[errno(&["getppid"], MARK)])?;
        // One that this kernel has: it says that the address is wrong, and not that the call is unknown.
        let found = each(b, &[call(libc::SYS_openat2, &[0, 1, 1, 24]), call(NEW, &[])])?;
        same("answers", found, ["-14", "-38"])?;
    }
    Ok(())
}

fn newer_than_empty(t: &Test) -> Verdict {
    // Nothing can be executed; it must be said, and nothing be left.
    let b = filtered(t, "SCMP_ACT_ERRNO", &[])?.args(&["true"]);
    let output = b.run()?;
    check(output.status != 0, || "it ran".to_owned())?;
    if t.ours() {
        contains("stderr", &output.stderr()?, "/linux/seccomp: denies execve(2)")?;
    }
    Ok(())
}

fn many_rules(t: &Test) -> Verdict {
    let rules: Vec<Value> =
        (0..1000).map(|value| when(errno(&["getpriority"], MARK), 0, "SCMP_CMP_EQ", 1000 + value, 0)).collect();
    let b = filtered(t, "SCMP_ACT_ALLOW", &rules)?;
    let found = each(b, &[999, 1000, 1500, 1999, 2000].map(|value| call(SYS_getpriority, &[value])))?;
    same("answers", found, ["-22", MARKED, MARKED, MARKED, "-22"])
}

fn too_many(t: &Test) -> Verdict {
    let errnos = |value: u64| errno(&["getpriority"], u16::try_from(value % 1000).unwrap_or_default());
    let rules: Vec<Value> =
        (0..5000).map(|value| when(errnos(value), 0, "SCMP_CMP_EQ", value << 32 | value, 0)).collect();
    refused(filtered(t, "SCMP_ACT_ALLOW", &rules)?, "4096", &[])
}

fn default_missing(t: &Test) -> Verdict {
    let b = filtered(t, "", &[errno(&["getppid"], MARK)])?.remove("/linux/seccomp/defaultAction");
    refused(b, "/linux/seccomp/defaultAction", &[])
}

fn action_unknown(t: &Test) -> Verdict {
    refused(filtered(t, "SCMP_ACT_NO_SUCH", &[])?, "/linux/seccomp/defaultAction", &[])?;
    let rules = [errno(&["getpid"], MARK), rule(&["getppid"], "SCMP_ACT_NO_SUCH")];
    refused(filtered(t, "SCMP_ACT_ALLOW", &rules)?, "/linux/seccomp/syscalls/1/action", &[])?;
    let b = filtered(t, "SCMP_ACT_ALLOW", &[json!({"names": ["getppid"]})])?;
    refused(b, "/linux/seccomp/syscalls/0/action", &[])
}

fn operator_unknown(t: &Test) -> Verdict {
    let rule = when(when(errno(&["getppid"], MARK), 0, "SCMP_CMP_EQ", 1, 0), 1, "SCMP_CMP_NO_SUCH", 1, 0);
    refused(filtered(t, "SCMP_ACT_ALLOW", &[rule])?, "/linux/seccomp/syscalls/0/args/1/op", &[])
}

fn index_too_large(t: &Test) -> Verdict {
    let rule = when(errno(&["getppid"], MARK), 6, "SCMP_CMP_EQ", 1, 0);
    refused(filtered(t, "SCMP_ACT_ALLOW", &[rule])?, "/linux/seccomp/syscalls/0/args/0/index", &[])
}

fn flag_unknown(t: &Test) -> Verdict {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[])?;
    let flags = json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_NO_SUCH"]);
    refused(b.set("/linux/seccomp/flags", flags), "/linux/seccomp/flags/1", &[])
}

fn errno_of_other_actions(t: &Test) -> Verdict {
    let (pointer, default) = ("/linux/seccomp/syscalls/0/errnoRet", "/linux/seccomp/defaultErrnoRet");
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        let rule = json!({"names": allowed_by_docker()?, "action": action, "errnoRet": 5});
        let b = filtered(t, "SCMP_ACT_ERRNO", &[rule])?;
        let by_default = filtered(t, action, &[])?.set(default, json!(5));
        if t.kind == Kind::Runc {
            check(!each(b, &[call(SYS_getpid, &[])])?.is_empty(), || "no answer".to_owned())?;
            check(!each(by_default, &[call(SYS_getpid, &[])])?.is_empty(), || "no answer".to_owned())?;
            continue;
        }
        refused(b, pointer, &["errno value specified"])?;
        refused(by_default, default, &["errno value specified"])?;
    }
    Ok(())
}

fn incomplete(t: &Test) -> Verdict {
    for key in ["index", "op", "value"] {
        let pointer = format!("/linux/seccomp/syscalls/0/args/0/{key}");
        let rule = when(errno(&["getpriority"], MARK), 0, "SCMP_CMP_EQ", 0, 0);
        let b = filtered(t, "SCMP_ACT_ALLOW", &[rule])?.remove(&pointer);
        if !t.ours() && key != "op" {
            same(key, each(b, &[call(SYS_getpriority, &[0])])?, [MARKED])?;
        } else {
            refused(b, &pointer, &[])?;
        }
    }
    Ok(())
}

fn wrong_types(t: &Test) -> Verdict {
    for (pointer, value) in [
        ("/linux/seccomp", json!([])),
        ("/linux/seccomp/defaultAction", json!(1)),
        ("/linux/seccomp/architectures", json!("SCMP_ARCH_X86_64")),
        ("/linux/seccomp/syscalls", json!({})),
        ("/linux/seccomp/syscalls/0/names", json!("getppid")),
        ("/linux/seccomp/syscalls/0/errnoRet", json!("EPERM")),
        ("/linux/seccomp/syscalls/0/errnoRet", json!(-1)),
        ("/linux/seccomp/syscalls/0/args", json!({})),
        ("/linux/seccomp/syscalls/0/args/0/value", json!("1")),
        ("/linux/seccomp/syscalls/0/args/0/value", json!(-1)),
        ("/linux/seccomp/flags", json!("SECCOMP_FILTER_FLAG_LOG")),
    ] {
        let rule = when(errno(&["getppid"], MARK), 0, "SCMP_CMP_EQ", 1, 0);
        refused(filtered(t, "SCMP_ACT_ALLOW", &[rule])?.set(pointer, value), pointer, &[])?;
    }
    Ok(())
}

fn null(t: &Test) -> Verdict {
    let out = filtered(t, "", &[])?.set("/linux/seccomp", Value::Null).args(&["cat", "/proc/self/status"]).stdout()?;
    same("Seccomp", status_line(&out, "Seccomp")?, "0")?;
    let found = each(filtered(t, "", &[])?.set("/linux/seccomp", Value::Null), &[call(SYS_getpid, &[])])?;
    check(found.len() == 1, || format!("answers: {found:?}"))
}
