//! The systemd cgroup driver, on a machine that systemd runs.
//!
//! systemd is told the pids of processes, which would be others in a case's pid namespace. So what a case does is a script
//! that `systemd-run` runs beside all namespaces of the suite.

mod user;

use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::json;

use crate::bundle::{Bundle, Output, Test};
use crate::case::{Case, case};
use crate::cases::cgroups::writable;
use crate::expect::{Verdict, check, contains, lacks, same};
use crate::features::Feature;
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("systemd/scope", "a container is in a scope PREFIX-NAME.scope of its slice, which is delegated", scope),
        case(
            "systemd/limits",
            "limits are properties of the scope, and in its files; daemon-reload changes nothing",
            limits,
        ),
        case("systemd/update", "update, without the flag, changes both", update)
            .known_failure(Kind::Crun, "passes over a quota without a period"),
        case("systemd/annotations", "org.systemd.property.* are properties of the scope", annotations)
            .known_failure(Kind::Crun, "1.28 takes no seconds or arrays"),
        case(
            "systemd/annotations-refused",
            "what is no value, or no property, fails and leaves nothing",
            annotations_refused,
        )
        .skip(Kind::Crun, "leaves its cache of filters when it fails so early"),
        case("systemd/exec", "exec, without the flag, is in the scope", exec),
        case("systemd/delete", "delete of a container that runs or has ended leaves neither scope nor cgroup", delete),
        case("systemd/failed", "a create that fails leaves no unit, not even a failed one", failed),
        case("systemd/killed", "a scope whose processes were killed for want of memory is gone after delete", killed),
        case(
            "systemd/too-little-memory",
            "the error of a create that is short of memory says so, every time",
            too_little,
        )
        .only(Kind::NoFrills, "it is about the words"),
        case(
            "systemd/owner",
            "root of a user namespace owns the cgroup, and of the files those that the kernel says",
            owner,
        ),
        case("systemd/devices", "rules for devices hold, also after daemon-reload", devices),
        case("systemd/interrupted", "delete --force clears up after a create that was killed", interrupted)
            .only(Kind::NoFrills, "peers keep no record of what they are about to make"),
        case("systemd/slice", "of two containers in one slice one is deleted", slice),
        case("systemd/defaults", "what is left out of slice:prefix:name, and the topmost slice", defaults)
            .only(Kind::NoFrills, "a runtime names them as it likes"),
        case("systemd/subgroup", "run.oci.systemd.subgroup names a cgroup in the scope", subgroup)
            .skip(Kind::Runc, "an annotation of crun's"),
        case("systemd/taken", "the name of a unit that is there is refused, and the unit left alone", taken),
        case("systemd/path", "with the flag another form of cgroupsPath is refused", path)
            .skip(Kind::Crun, "takes it for a name"),
        case("systemd/form", "without the flag the form means nothing", form),
        case("systemd/pause", "pause, resume and kill of a paused container, without the flag", pause)
            .known_failure(Kind::Crun, "1.28 leaves the cgroup frozen after a kill"),
        case("systemd/reload", "daemon-reload changes no file of a container that is limited", reload),
        case("systemd/killed-early", "a create that the kernel killed for want of memory leaves no unit", killed_early)
            .only(Kind::NoFrills, "the peers start elsewhere"),
        case("systemd/failed-before", "a unit of the name that failed before is no hindrance", failed_before),
    ];
    let cases = cases.into_iter().map(|case| case.needs_features(&[Feature::Systemd]));
    cases.chain(user::cases()).collect()
}

/// Shell functions for the scripts: `rt` is the runtime, `made` tells where the container's process is, `left` what is left.
const FUNCTIONS: &str = r#"
rt() { "$RT" --root "$ROOT" "$@" </dev/null; }
sd() { rt --systemd-cgroup "$@"; }
run() { sd run --detach --bundle "$B" --pid-file "$B/pid" "$ID" >"$B/out" 2>&1 || { cat "$B/out"; exit 1; }; }
sc() { systemctl $MANAGER "$@"; }
show() { sc show "$UNIT" --property "$1" --value; }
inside() { sed -n 's/^0:://p' "/proc/$(cat "$B/pid")/cgroup"; }
file() { cat "/sys/fs/cgroup$SLICEDIR/$UNIT/$1"; }
left() {
    sc list-units --all --plain --no-legend "$UNIT"
    # A slice goes with the last of its units, in its own time.
    if [ -e "/sys/fs/cgroup$SLICEDIR/$UNIT" ]; then echo "the cgroup is left"; fi
}
trap 'rt delete --force "$ID" >/dev/null 2>&1; sc stop "$UNIT" 2>/dev/null' EXIT
"#;

/// A container whose cgroupsPath is in a slice of its own.
fn bundle(t: &Test) -> Verdict<Bundle<'_>> {
    let b = t.bundle()?.idle();
    let path = format!("conformance-systemd.slice:conf:{}", b.id);
    Ok(b.set("/linux/cgroupsPath", json!(path)))
}

/// Whose processes a script and the runtime are.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Root,
    /// A user, in a service of the user's manager.
    User(u32),
    /// Root of a user namespace, there.
    InUserNamespace(u32),
    /// A user, beside what the user's manager has.
    Elsewhere(u32),
    /// The same, who does not know of the manager.
    Alone(u32),
}

/// Runs a script outside of the suite's namespaces.
fn script(b: &Bundle, text: &str) -> Verdict<Output> {
    script_as(Who::Root, b, text)
}

fn script_as(who: Who, b: &Bundle, script: &str) -> Verdict<Output> {
    b.save()?;
    let t = b.test;
    let mut command = Command::new("systemd-run");
    command.args(["--pipe", "--wait", "--quiet", "--collect", "--property=Delegate=yes"]);
    let (mut manager, mut base) = ("", String::new());
    if let Who::User(id) | Who::InUserNamespace(id) | Who::Elsewhere(id) | Who::Alone(id) = who {
        let runtime = format!("/run/user/{id}");
        if matches!(who, Who::Elsewhere(_) | Who::Alone(_)) {
            command.arg(format!("--property=User={id}"));
        } else {
            command.arg("--user").uid(id).gid(id).current_dir("/").env("XDG_RUNTIME_DIR", &runtime);
        }
        if !matches!(who, Who::Alone(_)) {
            command.arg(format!("--setenv=XDG_RUNTIME_DIR={runtime}"));
        }
        manager = "--user";
        base = format!("/user.slice/user-{id}.slice/user@{id}.service");
    }
    let slice = if who == Who::Root { "systemd" } else { "user" };
    for (name, value) in [
        ("RT", t.runtime.as_path()),
        ("ROOT", t.state_root().as_path()),
        ("B", b.dir.as_path()),
        ("ID", b.id.as_ref()),
        ("UNIT", format!("conf-{}.scope", b.id).as_ref()),
        ("SLICEDIR", format!("{base}/conformance.slice/conformance-{slice}.slice").as_ref()),
        ("MANAGER", manager.as_ref()),
    ] {
        command.arg(format!("--setenv={name}={}", value.display()));
    }
    if let Who::InUserNamespace(_) = who {
        command.args(["unshare", "--user", "--map-root-user", "--mount"]);
    }
    command.args(["sh", "-c", &format!("{FUNCTIONS}{script}")]);
    t.output_of(command)
}

fn says(b: &Bundle, text: &str, expected: &str) -> Verdict {
    says_to(Who::Root, b, text, expected)
}

fn says_to(who: Who, b: &Bundle, text: &str, expected: &str) -> Verdict {
    let output = script_as(who, b, text)?;
    let errors = output.stderr()?;
    let found = output.stdout()?;
    check(found == expected, || format!("expected:\n{expected}found:\n{found}{errors}"))
}

fn scope(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let unit = format!("conf-{}.scope", b.id);
    says(
        &b,
        "run; inside | sed 's,/container$,,'; show ControlGroup; show Slice; show Delegate; show DefaultDependencies; show ActiveState",
        &format!(
            "/conformance.slice/conformance-systemd.slice/{unit}\n/conformance.slice/conformance-systemd.slice/{unit}\n\
             conformance-systemd.slice\nyes\nno\nactive\n"
        ),
    )
}

/// With a limit of one process, which nobody but the container's may count for.
fn limited(t: &Test) -> Verdict<Bundle<'_>> {
    let b = bundle(t)?
        .set("/linux/resources/memory", json!({"limit": 104_857_600, "reservation": 52_428_800}))
        .set("/linux/resources/cpu", json!({"shares": 2048, "quota": 50_000, "period": 100_000, "cpus": "0"}));
    Ok(if t.ours() {
        b.set("/linux/resources/pids", json!({"limit": 1}))
    } else {
        b.set("/linux/resources/pids", json!({"limit": 60}))
    })
}

const FILES: &str =
    "files() { for file in memory.max memory.low cpu.max cpu.weight cpuset.cpus pids.max; do file $file; done; }\n";

fn limits(t: &Test) -> Verdict {
    let tasks = if t.ours() { 1 } else { 60 };
    let weight = 174;
    let files = format!("104857600\n52428800\n50000 100000\n{weight}\n0\n{tasks}\n");
    says(
        &limited(t)?,
        &format!(
            "{FILES}run; files; systemctl daemon-reload; files
             for name in MemoryMax MemoryLow CPUQuotaPerSecUSec CPUWeight AllowedCPUs TasksMax; do show $name; done"
        ),
        &format!("{files}{files}104857600\n52428800\n500ms\n{weight}\n0\n{tasks}\n"),
    )
}

fn update(t: &Test) -> Verdict {
    says(
        &limited(t)?,
        &format!(
            "{FILES}run; rt update --memory 209715200 --cpu-quota 70000 --cpu-share 1024 --pids-limit 50 \"$ID\"
             files; systemctl daemon-reload; files
             for name in MemoryMax CPUQuotaPerSecUSec CPUWeight TasksMax; do show $name; done"
        ),
        &{
            let files = "209715200\n52428800\n70000 100000\n100\n0\n50\n";
            format!("{files}{files}209715200\n700ms\n100\n50\n")
        },
    )
}

fn annotations(t: &Test) -> Verdict {
    let b = bundle(t)?.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.MemoryAccounting": "true",
            "org.systemd.property.RuntimeMaxSec": "uint32 900",
            "org.systemd.property.Before": "['a.target', 'b.target']",
        }),
    );
    says(
        &b,
        "run; for name in TimeoutStopUSec CollectMode MemoryAccounting RuntimeMaxUSec; do show $name; done
         show Before | tr ' ' '\n' | grep '^[ab][.]' | sort",
        "7s\ninactive-or-failed\nyes\n15min\na.target\nb.target\n",
    )
}

fn annotations_refused(t: &Test) -> Verdict {
    for (name, value, ours) in [
        ("TimeoutStopUSec", "uint64 x", "/annotations/org.systemd.property.TimeoutStopUSec: "),
        ("NoSuchProperty", "true", "/linux/cgroupsPath: starting conf-"),
    ] {
        let b = bundle(t)?.set("/annotations", json!({ format!("org.systemd.property.{name}"): value }));
        let output = script(&b, "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; left")?;
        same(name, output.stdout()?, "status 1\n".to_owned())?;
        if t.ours() {
            contains("the error", &output.stderr()?, ours)?;
            contains("the error", &output.stderr()?, name)?;
        }
    }
    Ok(())
}

fn exec(t: &Test) -> Verdict {
    says(
        &bundle(t)?,
        "run; rt exec \"$ID\" cat /proc/self/cgroup; rt exec --detach \"$ID\" sleep 1000; file cgroup.events | head -n 1",
        "0::/\npopulated 1\n",
    )
}

fn delete(t: &Test) -> Verdict {
    says(
        &bundle(t)?,
        "run; rt delete --force \"$ID\"; left
         run; rt kill \"$ID\" KILL; until rt state \"$ID\" | grep -q stopped; do :; done; rt delete \"$ID\"; left; rt list --quiet
         run; rt delete --force \"$ID\"; left",
        "",
    )
}

fn failed(t: &Test) -> Verdict {
    let output = script(
        &bundle(t)?.args(&["/nothing"]),
        "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; left; rt list --quiet",
    )?;
    let text = output.stdout()?;
    contains("the output", &text, "status ")?;
    lacks("the output", &text, "status 0")?;
    lacks("the output", &text, "scope")?;
    lacks("the output", &text, "left")
}

fn killed(t: &Test) -> Verdict {
    let b = bundle(t)?
        .sh("x=xxxxxxxx; while :; do x=$x$x; done")
        .set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    says(&b, "run; until rt state \"$ID\" | grep -q stopped; do :; done; rt delete \"$ID\"; left", "")
}

fn too_little(t: &Test) -> Verdict {
    // Killed in the middle, and at once; alone, and with all that are in the cgroup.
    for (limit, group) in [(100 << 10, "0"), (16 << 10, "0"), (100 << 10, "1")] {
        let b = bundle(t)?
            .set("/linux/resources/memory", json!({"limit": limit, "swap": limit}))
            .set("/linux/resources/unified", json!({"memory.oom.group": group}));
        let text = "for i in 1 2 3 4 5 6; do sd create --bundle \"$B\" \"$ID\" 2>&1 | grep -o 'container init was OOM-killed'; done; left";
        says(&b, text, &"container init was OOM-killed\n".repeat(6))?;
    }
    Ok(())
}

fn owner(t: &Test) -> Verdict {
    let b =
        writable(bundle(t)?.user_namespace(100_000, 65536))?.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    says(
        &b,
        "run; cd \"/sys/fs/cgroup$(inside)\"; stat -c '%n %u' . cgroup.procs cgroup.subtree_control memory.max
         rt delete --force \"$ID\"; left",
        ". 100000\ncgroup.procs 100000\ncgroup.subtree_control 100000\nmemory.max 0\n",
    )
}

fn devices(t: &Test) -> Verdict {
    let b = bundle(t)?.capabilities(&["CAP_MKNOD"]).set(
        "/linux/resources/devices",
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "m"}]),
    );
    let open = r#"rt exec "$ID" sh -c 'head -c 0 /dev/null && { : </dev/kernel; } 2>&1' | sed 's/.*: //'"#;
    says(
        &b,
        &format!("run; rt exec \"$ID\" mknod /dev/kernel c 1 11; {open}; systemctl daemon-reload; {open}"),
        "Operation not permitted\nOperation not permitted\n",
    )
}

fn interrupted(t: &Test) -> Verdict {
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; echo >\"$0\"; sleep 1000", "HERE"]}]);
    let b = bundle(t)?;
    let fifo = b.dir.join("fifo");
    let b = b.set("/hooks", json!({ "createRuntime": hook })).set("/hooks/createRuntime/0/args/3", json!(fifo));
    says(
        &b,
        "mkfifo \"$B/fifo\"; \"$RT\" --root \"$ROOT\" --systemd-cgroup create --bundle \"$B\" \"$ID\" </dev/null >/dev/null 2>&1 &
         maker=$!; read line <\"$B/fifo\"; show ActiveState; kill -9 $maker
         rt delete --force \"$ID\"; left; rt list --quiet",
        "active\n",
    )
}

fn slice(t: &Test) -> Verdict {
    let (b, other) = (bundle(t)?, bundle(t)?);
    other.save()?;
    let text = format!(
        "run; sd run --detach --bundle {other} {id} >/dev/null; systemctl is-active \"$UNIT\" conf-{id}.scope
         rt delete --force {id}; systemctl is-active \"$UNIT\" conf-{id}.scope",
        other = other.dir.display(),
        id = other.id
    );
    says(&b, &text, "active\nactive\nactive\ninactive\n")
}

fn defaults(t: &Test) -> Verdict {
    let text = "run; inside; rt delete --force \"$ID\"";
    let b = bundle(t)?.set("/linux/cgroupsPath", json!(":conf:"));
    says(&b, text, &format!("/system.slice/conf-{}.scope\n", b.id))?;
    let b = bundle(t)?.remove("/linux/cgroupsPath");
    says(&b, text, &format!("/system.slice/no-frills-{}.scope\n", b.id))?;
    let b = bundle(t)?.set("/linux/cgroupsPath", json!("-.slice:conf:top"));
    says(&b, text, "/conf-top.scope\n")
}

fn subgroup(t: &Test) -> Verdict {
    let b = bundle(t)?
        .set("/annotations", json!({"run.oci.systemd.subgroup": "within"}))
        .set("/linux/resources/memory", json!({"limit": 104_857_600}));
    let at = format!("/conformance.slice/conformance-systemd.slice/conf-{}.scope/within\n", b.id);
    says(
        &b,
        "run; inside; file memory.max; rt exec \"$ID\" cat /proc/self/cgroup; rt delete --force \"$ID\"; left",
        &format!("{at}104857600\n0::/\n"),
    )
}

fn taken(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let output = script(
        &b,
        "systemd-run --quiet --scope --slice conformance-systemd.slice --unit \"$UNIT\" sleep 1000 &
         until [ \"$(show ActiveState)\" = active ]; do :; done
         sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; show ActiveState; kill $!",
    )?;
    same("status and state", output.stdout()?, "status 1\nactive\n".to_owned())?;
    if t.ours() {
        contains("the error", &output.stderr()?, "there is such a unit already")?;
    }
    Ok(())
}

fn path(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/cgroupsPath", json!("/a/b"));
    let output = script(&b, "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?")?;
    same("the status", output.stdout()?, "status 1\n".to_owned())?;
    contains(
        "the error",
        &output.stderr()?,
        if t.ours() { "it is to be slice:prefix:name" } else { "slice:prefix:name" },
    )
}

fn form(t: &Test) -> Verdict {
    let b = bundle(t)?;
    let at = format!("/conformance-systemd.slice:conf:{}", b.id);
    let output = script(
        &b,
        "rt run --detach --bundle \"$B\" --pid-file \"$B/pid\" \"$ID\"; inside; rt delete --force \"$ID\"; left",
    )?;
    contains("the cgroup", &output.stdout()?, &at)?;
    lacks("what is left", &output.stdout()?, "scope")
}

fn pause(t: &Test) -> Verdict {
    says(
        &bundle(t)?,
        "status() { rt state \"$ID\" | grep -o '\"status\": *\"[a-z]*\"' | grep -o '[a-z]*\"$' | tr -d '\"'; }
         run; rt pause \"$ID\"; status; file cgroup.events | grep frozen; systemctl daemon-reload; file cgroup.events | grep frozen
         rt resume \"$ID\"; status; file cgroup.events | grep frozen; rt exec \"$ID\" echo runs
         rt pause \"$ID\"; rt kill \"$ID\" KILL; until [ \"$(status)\" = stopped ]; do :; done; rt delete \"$ID\"; left
         run; rt pause \"$ID\"; rt delete --force \"$ID\"; left",
        "paused\nfrozen 1\nfrozen 1\nrunning\nfrozen 0\nruns\n",
    )
}

/// All that a controller can be told.
const SETTINGS: &str = r#"settings() {
    cd "/sys/fs/cgroup$SLICEDIR/$UNIT"
    for file in cgroup.subtree_control cgroup.max.* *.max *.high *.low *.min *.weight cpu.idle *.max.burst cpuset.cpus \
        cpuset.mems memory.oom.group memory.zswap.writeback; do
        [ ! -w "$file" ] || { echo "$file:"; cat "$file"; }
    done
    cd /
}
"#;

fn reload(t: &Test) -> Verdict {
    let b = limited(t)?
        .set("/linux/resources/memory/swap", json!(125_829_120))
        .set("/linux/resources/cpu/mems", json!("0"))
        .set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]))
        .set("/linux/resources/blockIO", json!({"weight": 300}))
        .set(
            "/linux/resources/unified",
            json!({"memory.high": "94371840", "memory.min": "1048576", "memory.oom.group": "1"}),
        );
    let output = script(
        &b,
        &format!(
            "{SETTINGS}run; settings >\"$B/before\"
             systemctl daemon-reload; settings >\"$B/after\"; diff \"$B/before\" \"$B/after\"
             cat \"$B/before\""
        ),
    )?;
    let text = output.stdout()?;
    lacks("what changed", &text, "> ")?;
    // Else it would show nothing.
    for line in
        ["memory.max:\n104857600\n", "hugetlb.2MB.max:\n4194304\n", "memory.high:\n94371840\n", "cpuset.mems:\n0\n"]
    {
        contains("the files", &text, line)?;
    }
    Ok(())
}

fn killed_early(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
    let output = script(&b, "sd run --detach --bundle \"$B\" \"$ID\"; echo status $?; left; rt list --quiet")?;
    same("the status", output.stdout()?, "status 1\n".to_owned())?;
    contains("the error", &output.stderr()?, "memory")
}

fn failed_before(t: &Test) -> Verdict {
    let text = "systemd-run --quiet --scope --slice conformance-systemd.slice --unit \"$UNIT\" --property=MemoryMax=4M --property=MemorySwapMax=0 \\
            sh -c 'tail /dev/zero' 2>/dev/null
         until [ \"$(show ActiveState)\" = failed ]; do :; done
         run; show ActiveState; rt delete --force \"$ID\"; left";
    says(&bundle(t)?, text, "active\n")
}
