//! Containers of an ordinary user in scopes of the user's own manager.

use serde_json::json;

use super::{Who, says_to, script_as};
use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::cases::rootless::{self, guide};
use crate::expect::{Verdict, contains, lacks, same, some};
use crate::features::{Feature, session};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    let cases = vec![
        case("systemd/user-scope", "a user's container is in a scope of the user's manager", scope),
        case("systemd/user-default-slice", "user.slice, if none is named", default_slice),
        case("systemd/user-limits", "limits, update and daemon-reload of the user's manager", limits),
        case("systemd/user-not-delegated", "a limit whose controller the user was not given is refused", not_delegated)
            .needs_controllers(&["hugetlb"]),
        case("systemd/user-delegated", "without the flag, in a cgroup that the user's manager delegated", delegated),
        case("systemd/user-verbs", "exec, ps, pause, resume, kill and delete", verbs)
            .skip(Kind::Crun, "its pause does not wait"),
        case(
            "systemd/user-killed",
            "a scope whose processes were killed for want of memory is gone after delete",
            killed,
        ),
        case("systemd/user-failed", "a create that fails leaves no unit", failed),
        case("systemd/user-subordinate", "with subordinate ids", subordinate),
        case("systemd/user-in-user-namespace", "root of a user namespace, as under rootless Podman", in_user_namespace)
            .skip(Kind::Crun, "its pause does not wait"),
        case(
            "systemd/user-elsewhere",
            "from outside of what the user was given: the container is, exec is not",
            elsewhere,
        )
        .differs(Kind::Runc, "has systemd move the process of exec too"),
        case("systemd/user-events", "events tells limits and use", events).skip(Kind::Crun, "has no events"),
        case("systemd/user-guide", "docs/rootless.md, with systemd", user_guide)
            .only(Kind::NoFrills, "it is the guide to this runtime"),
        case("systemd/user-alone", "without a manager it is refused, and nothing is left", alone),
    ];
    cases.into_iter().map(|case| case.needs_features(&[Feature::Systemd, Feature::Session])).collect()
}

fn user() -> Verdict<u32> {
    some("a user's session", session())
}

/// A bundle of the user's whose scope is in a slice of its own.
fn bundle(t: &Test) -> Verdict<Bundle<'_>> {
    let b = rootless::bundle_of(t, user()?)?.idle();
    let path = format!("conformance-user.slice:conf:{}", b.id);
    Ok(b.set("/linux/cgroupsPath", json!(path)))
}

fn says(b: &Bundle, text: &str, expected: &str) -> Verdict {
    says_to(Who::User(user()?), b, text, expected)
}

/// The cgroup of the user's manager.
fn base() -> Verdict<String> {
    let user = user()?;
    Ok(format!("/user.slice/user-{user}.slice/user@{user}.service"))
}

/// What a container's process is in, without the cgroup that crun makes within.
const INSIDE: &str = "inside | sed 's,/container$,,'";

fn scope(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let path = format!("{}/conformance.slice/conformance-user.slice/conf-{}.scope", base()?, b.id);
    says(
        &b,
        &format!(
            "run; {INSIDE}; show ControlGroup; show Slice; show Delegate; show ActiveState; rt delete --force \"$ID\"; left"
        ),
        &format!("{path}\n{path}\nconformance-user.slice\nyes\nactive\n"),
    )
}

fn default_slice(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let path = format!(":conf:{}", b.id);
    let b = b.set("/linux/cgroupsPath", json!(path));
    let path = format!("{}/user.slice/conf-{}.scope\n", base()?, b.id);
    says(&b, &format!("run; {INSIDE}; rt delete --force \"$ID\"; left"), &path)
}

fn limited(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(bundle(t)?.set(
        "/linux/resources",
        json!({
            "memory": {"limit": 104_857_600, "reservation": 52_428_800},
            "cpu": {"shares": 2048, "quota": 50_000, "period": 100_000},
            "pids": {"limit": 60},
        }),
    ))
}

const FILES: &str = "files() { for file in memory.max memory.low cpu.max cpu.weight pids.max; do file $file; done; }\n";

fn limits(t: &Test) -> Verdict {
    let (made, updated) =
        ("104857600\n52428800\n50000 100000\n174\n60\n", "209715200\n52428800\n70000 100000\n100\n50\n");
    says(
        &limited(t)?,
        &format!(
            "{FILES}run; files; sc daemon-reload; files; for name in MemoryMax CPUQuotaPerSecUSec TasksMax; do show $name; done
             rt update --memory 209715200 --cpu-period 100000 --cpu-quota 70000 --cpu-share 1024 --pids-limit 50 \"$ID\"
             files; sc daemon-reload; files; for name in MemoryMax CPUQuotaPerSecUSec TasksMax; do show $name; done"
        ),
        &format!("{made}{made}104857600\n500ms\n60\n{updated}{updated}209715200\n700ms\n50\n"),
    )
}

fn not_delegated(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    let text = "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; left; rt list --quiet";
    let output = script_as(Who::User(user()?), &b, text)?;
    same("the output", output.stdout()?, "status 1\n".to_owned())?;
    if t.ours() {
        contains("the error", &output.stderr()?, "/linux/resources/hugepageLimits/0: ")?;
        contains("the error", &output.stderr()?, "hugetlb")?;
    }
    Ok(())
}

fn delegated(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/cgroupsPath", json!("OWN/c")).set("/linux/resources/pids", json!({"limit": 70}));
    says(
        &b,
        // Only a cgroup without processes can hand controllers on.
        "own=$(sed -n 's/^0:://p' /proc/self/cgroup); at=/sys/fs/cgroup$own; mkdir $at/leaf; echo 0 >$at/leaf/cgroup.procs
         sed -i \"s,OWN/c,$own/c,\" \"$B/config.json\"
         rt run --detach --bundle \"$B\" --pid-file \"$B/pid\" \"$ID\"; inside | grep -c \"^$own/c\"; cat $at/c/pids.max
         rt exec \"$ID\" echo runs; rt pause \"$ID\"; grep frozen $at/c/cgroup.events; rt delete --force \"$ID\"; ls -d $at/c 2>&1 | grep -c 'No such'",
        "1\n70\nruns\nfrozen 1\n1\n",
    )
}

fn verbs(t: &Test) -> Verdict {
    says(
        &bundle(t)?,
        "status() { rt state \"$ID\" | grep -o '\"status\": *\"[a-z]*\"' | grep -o '[a-z]*\"$' | tr -d '\"'; }
         run; rt exec \"$ID\" echo runs; rt exec \"$ID\" grep -o 'conf-.*[.]scope' /proc/self/cgroup | grep -c \"$ID\"
         rt exec --detach \"$ID\" sleep 1000; rt ps --format json \"$ID\" | grep -o , | wc -l
         rt pause \"$ID\"; status; file cgroup.events | grep frozen; rt resume \"$ID\"; status; file cgroup.events | grep frozen
         rt kill \"$ID\" KILL; until [ \"$(status)\" = stopped ]; do :; done; rt delete \"$ID\"; left; rt list --quiet",
        "runs\n1\n1\npaused\nfrozen 1\nrunning\nfrozen 0\n",
    )
}

fn killed(t: &Test) -> Verdict {
    let b = bundle(t)?
        .sh("x=xxxxxxxx; while :; do x=$x$x; done")
        .set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    says(&b, "run; until rt state \"$ID\" | grep -q stopped; do :; done; rt delete \"$ID\"; left", "")
}

fn failed(t: &Test) -> Verdict {
    let text = "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; left; rt list --quiet";
    let output = script_as(Who::User(user()?), &bundle(t)?.args(&["/nothing"]), text)?;
    let text = output.stdout()?;
    contains("the output", &text, "status ")?;
    for word in ["status 0", "scope", "left"] {
        lacks("the output", &text, word)?;
    }
    Ok(())
}

fn subordinate(t: &Test) -> Verdict {
    let user = user()?;
    let map = json!([
        {"containerID": 0, "hostID": user, "size": 1},
        {"containerID": 1, "hostID": 100_000, "size": 65_535},
    ]);
    let b = bundle(t)?.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let b = b.set("/linux/resources/pids", json!({"limit": 70})).set("/process/user", json!({"uid": 33, "gid": 34}));
    says(&b, "run; file pids.max; rt exec \"$ID\" id -u; rt delete --force \"$ID\"; left", "70\n33\n")
}

fn in_user_namespace(t: &Test) -> Verdict {
    let b = bundle(t)?.no_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    let b = b.set("/linux/resources/pids", json!({"limit": 70}));
    says_to(
        Who::InUserNamespace(user()?),
        &b,
        "run; file pids.max; rt exec \"$ID\" id -u; rt pause \"$ID\"; file cgroup.events | grep frozen
         rt delete --force \"$ID\"; left",
        "70\n0\nfrozen 1\n",
    )
}

fn events(t: &Test) -> Verdict {
    says(
        &limited(t)?,
        "run; rt events --stats \"$ID\" | grep -o '\"limit\": *[0-9]*' | grep -o '[0-9]*$' | sort -n | grep -x -e 60 -e 104857600 | uniq
         rt delete --force \"$ID\"; left",
        "60\n104857600\n",
    )
}

fn user_guide(t: &Test) -> Verdict {
    guide::home(t, user()?)?;
    let (first, limits) = (guide::script("A first container")?, guide::script("Limits")?);
    let (home, path) = (t.path("home").display().to_string(), guide::path(t));
    let script = format!("(export HOME={home} PATH={path} TERM=dumb\n{first}\n{limits}\n)\necho status $?");
    let output = script_as(Who::User(user()?), &bundle(t)?, &script)?;
    let (said, errors) = (output.stdout()?, output.stderr()?);
    for part in ["uid=0 gid=0", "running", "\"limit\":67108864", "status 0\n"] {
        contains(&errors, &said, part)?;
    }
    lacks("stderr", &errors, "level=error")
}

fn elsewhere(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/resources/pids", json!({"limit": 70}));
    let path = format!("{}/conformance.slice/conformance-user.slice/conf-{}.scope", base()?, b.id);
    let text =
        format!("run; {INSIDE}; file pids.max; rt exec \"$ID\" true; echo status $?; rt delete --force \"$ID\"; left");
    let output = script_as(Who::Elsewhere(user()?), &b, &text)?;
    let errors = output.stderr()?;
    let status = match t.kind {
        Kind::Runc => 0,
        Kind::Crun => 1,
        _ => 255,
    };
    same(&errors, output.stdout()?, format!("{path}\n70\nstatus {status}\n"))?;
    if t.ours() { contains("the error", &errors, "the caller must be able to write to cgroup.procs") } else { Ok(()) }
}

fn alone(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let output =
        script_as(Who::Alone(user()?), &b, "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; rt list --quiet")?;
    same("the output", output.stdout()?, "status 1\n".to_owned())?;
    if t.ours() { contains("the error", &output.stderr()?, "no systemd can be reached") } else { Ok(()) }
}
