//! What is written where: a row of the table each.

use std::fs;

use serde_json::json;

use super::{files, makes, with};
use crate::bundle::Test;
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same, skip, some};
use crate::kind::Kind;

const MIB: i64 = 1 << 20;

macro_rules! makes {
    ($name:literal, $controllers:expr, $resources:tt, $($file:literal: $content:expr),+) => {
        case(concat!("resources/", $name), "what is in the container's cgroup", |t| {
            makes(t, json!($resources), &[$(($file, $content)),+])
        })
        .needs_controllers($controllers)
    };
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        makes!("cpu-shares", &["cpu"], {"cpu": {"shares": 512}}, "cpu.weight": "59"),
        makes!("cpu-shares-least", &["cpu"], {"cpu": {"shares": 2}}, "cpu.weight": "1"),
        makes!("cpu-shares-default", &["cpu"], {"cpu": {"shares": 1024}}, "cpu.weight": "100"),
        makes!("cpu-shares-most", &["cpu"], {"cpu": {"shares": 262_144}}, "cpu.weight": "10000"),
        makes!("cpu-quota", &["cpu"], {"cpu": {"quota": 50_000}}, "cpu.max": "50000 100000"),
        makes!("cpu-quota-period", &["cpu"], {"cpu": {"quota": 30_000, "period": 40_000}}, "cpu.max": "30000 40000"),
        makes!("cpu-period", &["cpu"], {"cpu": {"period": 40_000}}, "cpu.max": "max 40000"),
        makes!("cpu-no-quota", &["cpu"], {"cpu": {"quota": -1, "shares": 1024}}, "cpu.max": "max 100000"),
        makes!(
            "cpu-burst", &["cpu"], {"cpu": {"quota": 50_000, "burst": 20_000}},
            "cpu.max": "50000 100000", "cpu.max.burst": "20000"
        ),
        makes!("cpu-idle", &["cpu"], {"cpu": {"idle": 1}}, "cpu.idle": "1"),
        makes!("cpuset", &["cpuset"], {"cpu": {"cpus": "0", "mems": "0"}}, "cpuset.cpus": "0", "cpuset.mems": "0"),
        makes!("memory-limit", &["memory"], {"memory": {"limit": 64 * MIB}}, "memory.max": "67108864"),
        makes!("memory-reservation", &["memory"], {"memory": {"reservation": 8 * MIB}}, "memory.low": "8388608"),
        makes!(
            "memory-swap", &["memory"], {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
            "memory.max": "67108864", "memory.swap.max": "33554432"
        ),
        makes!(
            "memory-no-swap", &["memory"], {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
            "memory.max": "67108864", "memory.swap.max": "0"
        ),
        makes!(
            "memory-unlimited-swap", &["memory"], {"memory": {"limit": 64 * MIB, "swap": -1}},
            "memory.max": "67108864", "memory.swap.max": "max"
        ),
        makes!(
            "memory-unlimited", &["memory"], {"memory": {"limit": -1, "reservation": 8 * MIB}},
            "memory.max": "max", "memory.swap.max": "max"
        ),
        makes!(
            "memory-oom-group", &["memory"], {"memory": {"limit": 64 * MIB}}, "memory.oom.group": "0"
        ),
        makes!("pids-limit", &["pids"], {"pids": {"limit": 100}}, "pids.max": "100"),
        case("resources/pids-limit-zero", "a limit of 0, which is one since version 1.3", |t| {
            let b = with(t, json!({"pids": {"limit": 0}}))?.set("/ociVersion", json!("1.3.0")).args(&["true"]);
            b.create()?;
            files(&b, &[("pids.max", "0")])
        })
        .needs_controllers(&["pids"])
        .only(Kind::NoFrills, "the peers here follow version 1.2"),
        makes!(
            "hugepages", &["hugetlb"], {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
            "hugetlb.2MB.max": "4194304"
        ),
        case("resources/hugepages-reserved", "pages that are reserved count too", |t| {
            let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]});
            makes(t, resources, &[("hugetlb.2MB.rsvd.max", "4194304")])
        })
        .needs_controllers(&["hugetlb"])
        .known_failure(Kind::Crun, "limits pages in use alone"),
        makes!("unified", &["memory"], {"unified": {"memory.high": "33554432"}}, "memory.high": "33554432"),
        makes!(
            "unified-is-last", &["memory"],
            {"memory": {"limit": 64 * MIB}, "unified": {"memory.max": "33554432", "memory.oom.group": "1"}},
            "memory.max": "33554432", "memory.oom.group": "1"
        ),
        makes!(
            "unified-hugepages", &["hugetlb"], {"unified": {"hugetlb.2MB.max": "6291456"}},
            "hugetlb.2MB.max": "6291456"
        ),
        makes!("unified-of-every-cgroup", &[], {"unified": {"cgroup.max.descendants": "7"}}, "cgroup.max.descendants": "7"),
        case("resources/block-io-weight", "as BFQ has it, or from 1 to 10000", block_io_weight)
            .needs_controllers(&["io"]),
        case("resources/block-io-weight-device", "a weight for one device", block_io_weight_device)
            .needs_controllers(&["io"])
            .known_failure(Kind::Runc, "passes over it where the device does not use BFQ")
            .known_failure(Kind::Crun, "leaves the cgroup behind where the device does not use BFQ"),
        case("resources/block-io-throttle", "all limits of one device", block_io_throttle).needs_controllers(&["io"]),
        case("resources/rdma", "a device that the machine lacks", rdma)
            .needs_controllers(&["rdma"])
            .known_failure(Kind::Crun, "passes over it"),
        case("resources/all-at-once", "a bit of everything", all_at_once)
            .needs_controllers(&["cpu", "cpuset", "memory", "pids"]),
        case("resources/no-controller-without-limits", "what needs no controller enables none", no_controller)
            .only(Kind::NoFrills, "the peers enable all"),
        case("resources/controllers-needed", "those that are needed are enabled, and no others", needed)
            .needs_controllers(&["hugetlb"])
            .only(Kind::NoFrills, "the peers enable all"),
        case("resources/existing-cgroup", "limits that are lifted in a cgroup that was there", existing)
            .needs_controllers(&["memory", "pids"]),
    ]
}

fn block_io_weight(t: &Test) -> Verdict {
    let b = with(t, json!({"blockIO": {"weight": 500}}))?.args(&["true"]);
    b.create()?;
    match b.cgroup_dir().join("io.bfq.weight").exists() {
        true => files(&b, &[("io.bfq.weight", "default 500")]),
        false => files(&b, &[("io.weight", "default 4950")]),
    }
}

/// A whole block device of this machine.
fn disk() -> Verdict<Option<(u64, u64)>> {
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        // Others have no queue of their own.
        if !entry.path().join("device").exists() {
            continue;
        }
        let text = fs::read_to_string(entry.path().join("dev"))?;
        if let Some((major, minor)) = text.trim().split_once(':') {
            return Ok(Some((major.parse()?, minor.parse()?)));
        }
    }
    Ok(None)
}

fn block_io_weight_device(t: &Test) -> Verdict {
    let Some((major, minor)) = disk()? else { return skip("there is no disk") };
    let b = with(t, json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 100}]}}))?;
    let b = b.args(&["true"]);
    let output = b.create_with(&[])?;
    if output.status != 0 {
        // No scheduler with weights is in use for it.
        let error = format!("/linux/resources/blockIO/weightDevice/0: writing \"{major}:{minor} 100\" to ");
        return output.refuses(t, &error, &[]).map(drop);
    }
    let has = |name, weight| -> Verdict<bool> {
        if !b.cgroup_dir().join(name).exists() {
            return Ok(false);
        }
        Ok(super::file(&b, name)?.lines().any(|line| line == format!("{major}:{minor} {weight}")))
    };
    let bfq = has("io.bfq.weight", 100)?;
    check(bfq || has("io.weight", 910)?, || "neither file has the weight".to_owned())
}

fn block_io_throttle(t: &Test) -> Verdict {
    let Some((major, minor)) = disk()? else { return skip("there is no disk") };
    let rate = |rate| json!([{"major": major, "minor": minor, "rate": rate}]);
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
    }});
    makes(t, resources, &[("io.max", &format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200"))])
}

fn rdma(t: &Test) -> Verdict {
    if fs::read_dir("/sys/class/infiniband").is_ok_and(|mut devices| devices.next().is_some()) {
        return skip("there are RDMA devices");
    }
    let b = with(t, json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}))?.args(&["true"]);
    b.create_with(&[])?.refuses(t, "/linux/resources/rdma/mlx5_1: writing \"mlx5_1 hca_handle=3\" to", &[])?;
    b.is_gone()
}

fn all_at_once(t: &Test) -> Verdict {
    let resources = json!({
        "cpu": {"shares": 1024, "quota": 100_000, "period": 100_000, "cpus": "0", "mems": "0"},
        "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 64 * MIB, "checkBeforeUpdate": false},
        "pids": {"limit": 50},
    });
    let b = with(t, resources)?.sh("echo ran");
    same("output", b.stdout()?, "ran\n")
}

fn no_controller(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    b.create()?;
    check(b.cgroup_dir().is_dir(), || "there is no cgroup".to_owned())?;
    let parent = some("a parent", b.cgroup_dir().parent().map(std::path::Path::to_owned))?;
    same("cgroup.subtree_control", fs::read_to_string(parent.join("cgroup.subtree_control"))?.as_str(), "")
}

fn needed(t: &Test) -> Verdict {
    let b = with(t, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}))?;
    // Parents that the runtime makes.
    let path = format!("{}/a/b", b.config["linux"]["cgroupsPath"].as_str().unwrap_or_default());
    let b = b.set("/linux/cgroupsPath", json!(path)).args(&["true"]);
    b.create()?;
    for up in 1..=2 {
        let parent = some("a parent", b.cgroup_dir().ancestors().nth(up).map(std::path::Path::to_owned))?;
        same(
            "cgroup.subtree_control",
            fs::read_to_string(parent.join("cgroup.subtree_control"))?.as_str(),
            "hugetlb\n",
        )?;
    }
    files(&b, &[("cgroup.subtree_control", ""), ("hugetlb.2MB.max", "0")])
}

fn existing(t: &Test) -> Verdict {
    // Something has the controllers enabled in the parent.
    let other = with(t, json!({"memory": {"limit": MIB * 64}, "pids": {"limit": 10}}))?.args(&["true"]);
    other.create()?;
    let b = with(t, json!({"memory": {"limit": -1}, "pids": {"limit": -1}}))?.args(&["true"]);
    fs::create_dir(b.cgroup_dir())?;
    fs::write(b.cgroup_dir().join("memory.max"), "67108864")?;
    fs::write(b.cgroup_dir().join("pids.max"), "10")?;
    b.create()?;
    files(&b, &[("memory.max", "max"), ("pids.max", "max")])
}
