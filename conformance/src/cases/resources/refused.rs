//! What is refused, with the setting's pointer; nothing is left then.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::with;
use crate::bundle::Test;
use crate::case::{Case, case};
use crate::cgroup2;
use crate::expect::{Stop, Verdict, skip};
use crate::kind::Kind;

/// Refused by all.
macro_rules! refused {
    ($name:literal, $resources:tt, $error:expr) => {
        case(concat!("resources/refused-", $name), "refused with its pointer", |t| {
            refuses(t, json!($resources), $error)
        })
        .known_failure(Kind::Crun, LEFT)
    };
}

/// Passed over by peers, or left to the kernel.
macro_rules! ours {
    ($name:literal, $resources:tt, $error:expr) => {
        refused!($name, $resources, $error).only(Kind::NoFrills, "the peers leave it to the kernel, or pass over it")
    };
}

const LEFT: &str = "leaves the cgroup behind";
const OF_V1: &str = "a setting of cgroup v1, for which cgroup v2 has nothing";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        refused!("swap-below-limit", {"memory": {"limit": 2_000_000, "swap": 1_000_000}}, "/memory/swap: 1000000 is"),
        refused!("swap-without-limit", {"memory": {"swap": 1_000_000}}, "/memory/swap: is that of memory and swap together"),
        ours!("memory-negative", {"memory": {"limit": -2}}, "/memory/limit: expected bytes, or -1 for no limit, found -2"),
        ours!("cpu-period", {"cpu": {"period": 999}}, "/cpu/period: expected microseconds from 1000 to 1000000, found 999"),
        ours!("cpu-quota", {"cpu": {"quota": 1}}, "/cpu/quota: expected at least 1000 microseconds, found 1"),
        ours!("cpu-burst", {"cpu": {"quota": 5000, "burst": 5001}}, "/cpu/burst: 5001 is more than the quota, 5000"),
        ours!("cpu-idle", {"cpu": {"idle": 2}}, "/cpu/idle: expected 0 or 1, found 2"),
        ours!("cpus", {"cpu": {"cpus": "0-"}}, "/cpu/cpus: \"0-\" is no number and no range such as 0-3"),
        ours!("block-io-weight", {"blockIO": {"weight": 5}}, "/blockIO/weight: expected a weight from 10 to 1000, found 5"),
        refused!(
            "page-size", {"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]},
            "/hugepageLimits/0/pageSize: this machine has no huge pages of 3MB; it has "
        ),
        ours!("rdma-without-limits", {"rdma": {"mlx5_1": {}}}, "/rdma/mlx5_1: needs hcaHandles or hcaObjects"),
        refused!("unified-path", {"unified": {"../memory.max": "1"}}, "/unified/..~1memory.max: is to be the name of a file"),
        ours!("unified-procs", {"unified": {"cgroup.procs": "1"}}, "/unified/cgroup.procs: is the runtime's own business"),
        ours!("unified-freeze", {"unified": {"cgroup.freeze": "1"}}, "/unified/cgroup.freeze: is the runtime's own business"),
        refused!("unified-name", {"unified": {"memory": "1"}}, "/unified/memory: is no name of the form"),
        ours!("realtime", {"cpu": {"realtimeRuntime": 950_000}}, &format!("/cpu/realtimeRuntime: {OF_V1}")),
        ours!("swappiness", {"memory": {"swappiness": 60}}, &format!("/memory/swappiness: {OF_V1}")),
        ours!("oom-killer", {"memory": {"disableOOMKiller": true}}, &format!("/memory/disableOOMKiller: {OF_V1}")),
        ours!("network", {"network": {"classID": 1_048_577}}, &format!("/network/classID: {OF_V1}")),
        case("resources/kernel-memory", "limits that no kernel has are passed over with a warning", kernel_memory)
            .known_failure(Kind::Crun, "refuses them"),
        case("resources/controller-of-v1", "a controller that is bound to cgroup v1: the error says so", of_v1)
            .only(Kind::NoFrills, "it is about the words"),
        case("resources/parent-with-processes", "a parent with processes hands no controllers on", busy_parent)
            .needs_controllers(&["hugetlb"]),
        case("resources/not-taken", "what the kernel refuses is told with file, text and reason", not_taken)
            .needs_controllers(&["hugetlb"])
            .known_failure(Kind::Crun, LEFT),
    ]
}

fn refuses(t: &Test, resources: Value, error: &str) -> Verdict {
    let b = with(t, resources)?.args(&["true"]);
    b.create_with(&[])?.refuses(t, &format!("/linux/resources{error}"), &[])?;
    b.is_gone()
}

fn kernel_memory(t: &Test) -> Verdict {
    let b = with(t, json!({"memory": {"kernel": 67_108_864, "kernelTCP": 67_108_864}}))?.args(&["true"]);
    let output = b.run()?.exits(0)?;
    if t.ours() {
        let warning = "/linux/resources/memory/kernelTCP: ignored: the kernel has no such limit any more";
        crate::expect::contains("stderr", &output.stderr()?, warning)?;
    }
    Ok(())
}

fn of_v1(t: &Test) -> Verdict {
    if cgroup2::controllers().map_err(Stop::Failed)?.contains("memory") {
        return skip("cgroup v2 has the controller here");
    }
    let bound = fs::read_to_string("/proc/self/cgroup")?.lines().any(|line| line.split(':').nth(1) == Some("memory"));
    if !bound {
        return skip("cgroup v1 does not have it either");
    }
    let needs = "/memory/limit: needs the cgroup controller \"memory\", which is bound to";
    // On the host's own view of cgroups it is mounted too.
    let place = if std::path::Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() {
        "cgroup v1 here, at /sys/fs/cgroup/memory"
    } else {
        "a hierarchy of cgroup v1 here (/proc/self/cgroup)"
    };
    let error = &format!("{needs} {place}; boot with systemd.unified_cgroup_hierarchy=1");
    refuses(t, json!({"memory": {"limit": 67_108_864}}), error)
}

fn busy_parent(t: &Test) -> Verdict {
    let parent = t.cgroup_dir().join("busy");
    fs::create_dir(&parent)?;
    let mut sleeper = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?;
    fs::write(parent.join("cgroup.procs"), sleeper.id().to_string())?;
    let b = with(t, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}))?.args(&["true"]);
    let b = b.set("/linux/cgroupsPath", json!(format!("{}/busy/c", t.cgroup)));
    let error = "/linux/resources/hugepageLimits/0: needs the cgroup controller \"hugetlb\", which ";
    let refused = b.create_with(&[])?.refuses(t, error, &[]);
    let refused = match refused {
        Ok(output) if t.ours() => crate::expect::contains(
            "stderr",
            &output.stderr()?,
            "cannot hand on, since it has 1 process(es) of its own",
        ),
        refused => refused.map(drop),
    };
    sleeper.kill()?;
    sleeper.wait()?;
    // What runtimes leave in it is not what the case is about.
    cgroup2::kill_and_remove(&parent)?;
    refused
}

fn not_taken(t: &Test) -> Verdict {
    let b = with(t, json!({"unified": {"hugetlb.2MB.max": "none"}}))?.args(&["true"]);
    let dir = b.cgroup_dir();
    let error =
        format!("/linux/resources/unified/hugetlb.2MB.max: writing \"none\" to {}/hugetlb.2MB.max", dir.display());
    let output = b.create_with(&[])?.refuses(t, &error, &[])?;
    if t.ours() {
        crate::expect::contains("stderr", &output.stderr()?, "EINVAL")?;
    }
    b.is_gone()
}
