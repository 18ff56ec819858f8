//! The setting `linux.resources`: limits, and rules for devices.

use no_frills_cgroups::Resources;
use no_frills_cgroups::devices::{Access, Kind, Rule};
use no_frills_cgroups::resources::{BlockIo, Cpu, DeviceValue, HugepageLimit, Memory, Rdma, Target};

use serde_json::Value;

use super::linux::{MAJOR_MAX, MINOR_MAX};
use super::reader::{ConfigError, Node, Result};
use super::unsupported::{self, refuse};

/// Where it is in a configuration.
pub(crate) const POINTER: &str = "/linux/resources";

/// What is said of settings that cgroup v2 has nothing for.
const OF_V1: &str = "a setting of cgroup v1, for which cgroup v2 has nothing";

/// What `linux.resources` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) limits: Resources,
    /// `None` without `devices`.
    pub(crate) device_rules: Option<Vec<Rule>>,
}

/// Of `linux`.
pub(super) fn read(linux: &Node<'_, '_>, oci_version: &str, warnings: &mut Vec<String>) -> Result<Asked> {
    let Some(node) = linux.member("resources")? else { return Ok(Asked::default()) };
    let mut asked = read_node(&node, warnings)?;
    asked.limits.pids_limit = asked.limits.pids_limit.filter(|limit| *limit != 0 || zero_pids_is_a_limit(oci_version));
    // Whether it can be said to the kernel at all.
    match asked.limits.writes(Target::New) {
        Err(error) => Err(misfit(&node.pointer(), &error)),
        Ok(_) => Ok(asked),
    }
}

/// Before version 1.3 of the specification, a limit of no processes was what engines sent for an unset one.
pub(crate) fn zero_pids_is_a_limit(oci_version: &str) -> bool {
    !["1.0.", "1.1.", "1.2."].iter().any(|version| oci_version.starts_with(version))
}

/// The error for a value that cannot be; `pointer` is where the resources are.
pub(crate) fn misfit(pointer: &str, error: &no_frills_cgroups::Error) -> ConfigError {
    ConfigError::new(format_args!("{pointer}{}", error.setting().unwrap_or_default()), error.to_string())
}

/// Reads an object as that of `linux.resources`.
pub(crate) fn read_resources(value: &Value, warnings: &mut Vec<String>) -> Result<Asked> {
    let asked = read_node(&Node::document(value), warnings)?;
    asked.limits.writes(Target::Used).map_err(|error| misfit("", &error))?;
    Ok(asked)
}

fn read_node(node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Asked> {
    refuse(node, unsupported::RESOURCES, OF_V1)?;
    let limits = Resources {
        cpu: node.member("cpu")?.map_or_else(|| Ok(Cpu::default()), |cpu| read_cpu(&cpu))?,
        memory: node
            .member("memory")?
            .map_or_else(|| Ok(Memory::default()), |memory| read_memory(&memory, warnings))?,
        pids_limit: node.member("pids")?.map_or(Ok(None), |pids| number_of(&pids, "limit"))?,
        block_io: node.member("blockIO")?.map_or_else(|| Ok(BlockIo::default()), |io| read_block_io(&io))?,
        hugepage_limits: node.each("hugepageLimits", |item| {
            let page_size = item.required_text("pageSize")?.to_owned();
            Ok(HugepageLimit { page_size, limit: item.required("limit")?.unsigned(u64::MAX)? })
        })?,
        rdma: read_rdma(node)?,
        unified: read_unified(node)?,
    };
    let rules = node.each("devices", read_rule)?;
    Ok(Asked { limits, device_rules: Some(rules).filter(|rules| !rules.is_empty()) })
}

fn number_of(node: &Node<'_, '_>, name: &'static str) -> Result<Option<i64>> {
    node.member(name)?.map(|number| number.signed(i64::MIN, i64::MAX)).transpose()
}

fn unsigned_of(node: &Node<'_, '_>, name: &'static str) -> Result<Option<u64>> {
    node.member(name)?.map(|number| number.unsigned(u64::MAX)).transpose()
}

fn read_cpu(node: &Node<'_, '_>) -> Result<Cpu> {
    Ok(Cpu {
        shares: unsigned_of(node, "shares")?.unwrap_or_default(),
        quota: number_of(node, "quota")?.unwrap_or_default(),
        period: unsigned_of(node, "period")?.unwrap_or_default(),
        burst: unsigned_of(node, "burst")?,
        idle: number_of(node, "idle")?,
        cpus: node.text_of("cpus")?.to_owned(),
        mems: node.text_of("mems")?.to_owned(),
    })
}

fn read_memory(node: &Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Memory> {
    // The specification itself has them ignored.
    for name in ["kernel", "kernelTCP"] {
        if let Some(limit) = node.member(name)?
            && limit.signed(i64::MIN, i64::MAX)? > 0
        {
            warnings.push(limit.error("ignored: the kernel has no such limit any more").to_string());
        }
    }
    // All of cgroup v2 is hierarchical.
    node.boolean_of("useHierarchy")?;
    Ok(Memory {
        limit: number_of(node, "limit")?.unwrap_or_default(),
        reservation: number_of(node, "reservation")?.unwrap_or_default(),
        swap: number_of(node, "swap")?.unwrap_or_default(),
        check_before_update: node.boolean_of("checkBeforeUpdate")?,
    })
}

fn read_block_io(node: &Node<'_, '_>) -> Result<BlockIo> {
    let weight = |node: &Node<'_, '_>| node.member("weight")?.map_or(Ok(0), |weight| weight.unsigned(u16::MAX.into()));
    let device = |item: &Node<'_, '_>, value| -> Result<DeviceValue> {
        let number = |name, max| Ok::<u32, ConfigError>(item.required(name)?.unsigned(max)? as u32);
        Ok(DeviceValue { major: number("major", MAJOR_MAX)?, minor: number("minor", MINOR_MAX)?, value })
    };
    let rates = |name| node.each(name, |item| device(item, item.required("rate")?.unsigned(u64::MAX)?));
    Ok(BlockIo {
        weight: weight(node)? as u16,
        weight_device: node.each("weightDevice", |item| {
            refuse(item, unsupported::LEAF_WEIGHT, OF_V1)?;
            device(item, weight(item)?)
        })?,
        read_bps: rates("throttleReadBpsDevice")?,
        write_bps: rates("throttleWriteBpsDevice")?,
        read_iops: rates("throttleReadIOPSDevice")?,
        write_iops: rates("throttleWriteIOPSDevice")?,
    })
}

fn read_rdma(node: &Node<'_, '_>) -> Result<Vec<Rdma>> {
    let Some(node) = node.member("rdma")? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for member in node.members()? {
        let number = |name| member.member(name)?.map(|number| number.u32()).transpose();
        let (hca_handles, hca_objects) = (number("hcaHandles")?, number("hcaObjects")?);
        all.push(Rdma { device: member.name().to_owned(), hca_handles, hca_objects });
    }
    Ok(all)
}

fn read_unified(node: &Node<'_, '_>) -> Result<Vec<(String, String)>> {
    let Some(node) = node.member("unified")? else { return Ok(Vec::new()) };
    node.members()?.map(|member| Ok((member.name().to_owned(), member.text()?.to_owned()))).collect()
}

fn read_rule(node: &Node<'_, '_>) -> Result<Rule> {
    let kind = match node.text_of("type")? {
        "" | "a" => Kind::All,
        "c" => Kind::Char,
        "b" => Kind::Block,
        other => return Err(node.required("type")?.error(format!("unknown device type {other:?}"))),
    };
    // -1 is the wildcard of engines that do not leave it out.
    let number = |name, max: u64| -> Result<Option<u32>> {
        let Some(number) = node.member(name)? else { return Ok(None) };
        Ok(u32::try_from(number.signed(-1, max as i64)?).ok())
    };
    let letters = node.required("access")?;
    let Some(access) = Access::parse(letters.text()?) else {
        return Err(letters.error("expected some of the letters r, w and m"));
    };
    Ok(Rule {
        allow: node.required("allow")?.boolean()?,
        kind,
        major: number("major", MAJOR_MAX)?,
        minor: number("minor", MINOR_MAX)?,
        access,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn spec(resources: &Value) -> Value {
        json!({"ociVersion": "1.3.0", "root": {"path": "r"}, "linux": {"resources": resources}})
    }

    fn accepted(resources: &Value) -> Config {
        Config::from_value(&spec(resources)).unwrap()
    }

    #[test]
    fn every_setting_is_read() {
        let config = accepted(&json!({
            "cpu": {
                "shares": 512, "quota": 50_000, "period": 100_000, "burst": 10_000, "idle": 0, "cpus": "0-1", "mems": "0",
            },
            "memory": {
                "limit": 1 << 30, "reservation": 1 << 20, "swap": 3_i64 << 30, "useHierarchy": true, "checkBeforeUpdate": true,
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 500, "leafWeight": 0,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 100, "leafWeight": 0}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 2, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 3, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 4, "rate": u64::MAX}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}, "mlx4_0": {"hcaObjects": 1}},
            "unified": {"memory.high": "max", "hugetlb.1GB.max": "1073741824"},
        }));
        assert_eq!(config.warnings(), [""; 0]);
        let device = |minor, value| DeviceValue { major: 8, minor, value };
        let text = str::to_owned;
        let expected = Resources {
            cpu: Cpu {
                shares: 512,
                quota: 50_000,
                period: 100_000,
                burst: Some(10_000),
                idle: Some(0),
                cpus: text("0-1"),
                mems: text("0"),
            },
            memory: Memory { limit: 1 << 30, reservation: 1 << 20, swap: 3 << 30, check_before_update: true },
            pids_limit: Some(0),
            block_io: BlockIo {
                weight: 500,
                weight_device: vec![device(0, 100)],
                read_bps: vec![device(1, 1)],
                write_bps: vec![device(2, 2)],
                read_iops: vec![device(3, 3)],
                write_iops: vec![device(4, u64::MAX)],
            },
            hugepage_limits: vec![HugepageLimit { page_size: text("2MB"), limit: 4_194_304 }],
            rdma: vec![
                Rdma { device: text("mlx4_0"), hca_handles: None, hca_objects: Some(1) },
                Rdma { device: text("mlx5_1"), hca_handles: Some(3), hca_objects: Some(10_000) },
            ],
            unified: vec![(text("hugetlb.1GB.max"), text("1073741824")), (text("memory.high"), text("max"))],
        };
        assert_eq!(config.linux.resources.limits, expected);
    }

    #[test]
    fn what_engines_send_for_nothing_asks_for_nothing() {
        for resources in [
            json!({"memory": {}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}}),
            json!({"memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": -1, "swappiness": 0}}),
            json!({"memory": {"limit": -1, "swap": -1, "disableOOMKiller": false, "useHierarchy": false}}),
            json!({"cpu": {"quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""}}),
            json!({"cpu": {"quota": -1, "idle": 0, "burst": 0}, "pids": {"limit": -1}}),
            json!({"blockIO": {"weightDevice": [], "throttleReadBpsDevice": null}, "hugepageLimits": [], "rdma": {}}),
            json!({"network": {"classID": 0, "priorities": []}, "unified": {}, "pids": null}),
        ] {
            let config = accepted(&resources);
            assert_eq!(config.warnings(), [""; 0], "{resources}");
            assert_eq!(config.linux.resources.limits.writes(Target::New).unwrap(), [], "{resources}");
        }
    }

    #[test]
    fn a_pids_limit_of_zero_is_a_limit_since_1_3() {
        for (version, limit) in [("1.0.2-dev", None), ("1.1.0", None), ("1.2.1", None), ("1.3.0", Some(0))] {
            let mut spec = spec(&json!({"pids": {"limit": 0}}));
            spec["ociVersion"] = version.into();
            assert_eq!(Config::from_value(&spec).unwrap().linux.resources.limits.pids_limit, limit, "{version}");
        }
    }

    #[test]
    fn limits_that_no_kernel_has_any_more_are_passed_over_with_a_warning() {
        let config = accepted(&json!({"memory": {"kernel": 1_048_576, "kernelTCP": 1}}));
        let ignored = "ignored: the kernel has no such limit any more";
        let expected = ["kernel", "kernelTCP"].map(|name| format!("/linux/resources/memory/{name}: {ignored}"));
        assert_eq!(config.warnings(), expected);
    }

    #[test]
    fn every_complaint_names_its_place() {
        for (resources, error) in [
            (json!({"cpu": {"period": 1}}), "/cpu/period: expected microseconds from 1000 to 1000000, found 1"),
            (json!({"cpu": {"cpus": "1-0"}}), "/cpu/cpus: the range 1-0 ends before it begins"),
            (
                json!({"cpu": {"shares": -1}}),
                "/cpu/shares: expected an integer from 0 to 18446744073709551615, found -1",
            ),
            (json!({"memory": {"limit": "1"}}), "/memory/limit: expected an integer, found a string"),
            (
                json!({"memory": {"swap": 1}}),
                "/memory/swap: is that of memory and swap together, and needs memory.limit, that of memory",
            ),
            (json!({"blockIO": {"weight": 9}}), "/blockIO/weight: expected a weight from 10 to 1000, found 9"),
            (
                json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1, "leafWeight": 0}]}}),
                "/blockIO/weightDevice/0/weight: expected a weight from 10 to 1000, found 1",
            ),
            (
                json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}}),
                "/blockIO/weightDevice/0/leafWeight: a setting of cgroup v1, for which cgroup v2 has nothing",
            ),
            (
                json!({"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0}]}}),
                "/blockIO/throttleWriteIOPSDevice/0/rate: required, but missing",
            ),
            (
                json!({"blockIO": {"throttleWriteIOPSDevice": [{"major": 4096, "minor": 0, "rate": 1}]}}),
                "/blockIO/throttleWriteIOPSDevice/0/major: expected an integer from 0 to 4095, found 4096",
            ),
            (
                json!({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}),
                "/hugepageLimits/0/pageSize: \"2M\" is no size such as 2MB",
            ),
            (json!({"hugepageLimits": [{"pageSize": "2MB"}]}), "/hugepageLimits/0/limit: required, but missing"),
            (json!({"rdma": {"a": {}}}), "/rdma/a: needs hcaHandles or hcaObjects"),
            (json!({"unified": {"a/b": "1"}}), "/unified/a~1b: is to be the name of a file, without a slash"),
            (json!({"unified": {"a.b": 1}}), "/unified/a.b: expected a string, found a number"),
            (
                json!({"pids": {"limit": 1.5}}),
                &format!("/pids/limit: expected an integer from {} to {}, found 1.5", i64::MIN, i64::MAX),
            ),
        ] {
            let found = Config::from_value(&spec(&resources)).unwrap_err().to_string();
            assert_eq!(found, format!("/linux/resources{error}"), "{resources}");
        }
    }
}
