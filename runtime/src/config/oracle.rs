//! The same configurations read by the specification's own types: both have to agree.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxDeviceType, LinuxNamespaceType, Spec};
use serde_json::Value;

use super::*;

fn specs() -> Vec<Value> {
    let default = serde_json::from_str(include_str!("../../tests/golden/default.json")).unwrap();
    let mut specs = tests::fixtures();
    specs.push(default);
    specs
}

fn both() -> impl Iterator<Item = (Config, Spec)> {
    specs().into_iter().map(|value| (Config::from_value(&value).unwrap(), serde_json::from_value(value).unwrap()))
}

/// Their names of capabilities to our bits.
fn bits(set: Option<&oci_spec::runtime::Capabilities>) -> u64 {
    let numbers = set.into_iter().flatten().map(|name| {
        let name = name.to_string();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        CAPABILITIES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name}"))
    });
    numbers.fold(0, |bits, number| bits | 1 << number)
}

#[test]
fn the_process_is_the_same() {
    for (config, spec) in both() {
        let (ours, theirs) = (&config.process, spec.process().as_ref().unwrap());
        assert_eq!(Some(&ours.args), theirs.args().as_ref());
        assert_eq!(Some(&ours.env), theirs.env().as_ref());
        assert_eq!(ours.cwd, theirs.cwd().to_str().unwrap());
        assert_eq!(
            (ours.user.uid, ours.user.gid, ours.user.umask),
            (theirs.user().uid(), theirs.user().gid(), theirs.user().umask())
        );
        assert_eq!(ours.user.additional_gids, theirs.user().additional_gids().clone().unwrap_or_default());
        assert_eq!(ours.terminal, theirs.terminal().unwrap_or_default());
        assert_eq!(ours.no_new_privileges, theirs.no_new_privileges().unwrap_or_default());
        assert_eq!(ours.oom_score_adj, theirs.oom_score_adj());
        let sets = theirs.capabilities().as_ref().unwrap();
        assert_eq!(ours.capabilities.bounding, bits(sets.bounding().as_ref()));
        assert_eq!(ours.capabilities.effective, bits(sets.effective().as_ref()));
        assert_eq!(ours.capabilities.permitted, bits(sets.permitted().as_ref()));
        assert_eq!(ours.capabilities.inheritable, bits(sets.inheritable().as_ref()));
        assert_eq!(ours.capabilities.ambient, bits(sets.ambient().as_ref()));
        let limits = theirs.rlimits().as_deref().unwrap_or_default();
        let limits = limits.iter().map(|limit| (limit.typ().to_string(), limit.soft(), limit.hard()));
        let own = ours
            .rlimits
            .iter()
            .map(|limit| (format!("RLIMIT_{}", RLIMITS[limit.resource as usize]), limit.soft, limit.hard));
        assert_eq!(own.collect::<Vec<_>>(), limits.collect::<Vec<_>>());
    }
}

#[test]
fn the_rest_of_the_document_is_the_same() {
    for (config, spec) in both() {
        assert_eq!(&config.oci_version, spec.version());
        let root = spec.root().as_ref().unwrap();
        assert_eq!(config.root.path, root.path().to_str().unwrap());
        assert_eq!(config.root.readonly, root.readonly().unwrap_or_default());
        assert_eq!(config.hostname(), spec.hostname().as_deref());
        let annotations: BTreeMap<_, _> = config.annotations().iter().cloned().collect();
        assert_eq!(annotations, spec.annotations().clone().unwrap_or_default().into_iter().collect());
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        assert_eq!(config.mounts.len(), mounts.len());
        for (ours, theirs) in config.mounts.iter().zip(mounts) {
            assert_eq!(ours.destination, theirs.destination().to_str().unwrap());
            assert_eq!(ours.source, theirs.source().as_ref().unwrap().to_str().unwrap());
            let expected = theirs.typ().as_deref().unwrap().replace("cgroup", "cgroup2");
            match &ours.kind {
                MountKind::Filesystem(fstype) => assert_eq!(fstype, &expected),
                MountKind::Bind { .. } => assert_eq!("bind", expected),
                MountKind::Remount => panic!("{ours:?}"),
            }
        }
    }
}

#[test]
fn the_hooks_are_the_same() {
    let mut found = 0;
    for (config, spec) in both() {
        let theirs = spec.hooks().clone().unwrap_or_default();
        #[allow(deprecated, reason = "engines use it")]
        let theirs = [
            theirs.prestart(),
            theirs.create_runtime(),
            theirs.create_container(),
            theirs.start_container(),
            theirs.poststart(),
            theirs.poststop(),
        ];
        for (moment, theirs) in Moment::ALL.into_iter().zip(theirs) {
            let theirs = theirs.as_deref().unwrap_or_default();
            assert_eq!(config.hooks.of(moment).len(), theirs.len());
            for (ours, theirs) in config.hooks.of(moment).iter().zip(theirs) {
                assert_eq!(ours.path, theirs.path().to_str().unwrap());
                assert_eq!(Some(&ours.args), theirs.args().as_ref());
                assert_eq!(&ours.env, theirs.env());
                assert_eq!(ours.timeout.map(|timeout| timeout.as_secs() as i64), theirs.timeout());
                found += 1;
            }
        }
    }
    assert!(found >= 4, "{found}");
}

#[test]
fn the_linux_section_is_the_same() {
    for (config, spec) in both() {
        let (ours, theirs) = (&config.linux, spec.linux().as_ref().unwrap());
        let namespaces = theirs.namespaces().as_ref().unwrap().iter().map(|namespace| match namespace.typ() {
            LinuxNamespaceType::Mount => namespace::MOUNT,
            LinuxNamespaceType::Cgroup => namespace::CGROUP,
            LinuxNamespaceType::Uts => namespace::UTS,
            LinuxNamespaceType::Ipc => namespace::IPC,
            LinuxNamespaceType::User => namespace::USER,
            LinuxNamespaceType::Pid => namespace::PID,
            LinuxNamespaceType::Network => namespace::NETWORK,
            LinuxNamespaceType::Time => panic!("refused"),
        });
        assert_eq!(ours.namespaces, namespaces.fold(0, |bits, bit| bits | bit));
        assert_eq!(ours.masked_paths, theirs.masked_paths().clone().unwrap_or_default());
        assert_eq!(ours.readonly_paths, theirs.readonly_paths().clone().unwrap_or_default());
        assert_eq!(ours.cgroups_path.as_deref(), theirs.cgroups_path().as_ref().map(|path| path.to_str().unwrap()));
        for (ours, theirs) in [(&ours.uid_mappings, theirs.uid_mappings()), (&ours.gid_mappings, theirs.gid_mappings())]
        {
            let theirs = theirs.as_deref().unwrap_or_default().iter();
            let theirs = theirs.map(|map| (map.container_id(), map.host_id(), map.size()));
            assert_eq!(
                ours.iter().map(|map| (map.container, map.host, map.size)).collect::<Vec<_>>(),
                theirs.collect::<Vec<_>>()
            );
        }
        devices_are_the_same(ours, theirs);
    }
}

fn devices_are_the_same(ours: &Linux, theirs: &oci_spec::runtime::Linux) {
    let devices = theirs.devices().as_deref().unwrap_or_default();
    assert_eq!(ours.devices.len(), devices.len());
    for (ours, theirs) in ours.devices.iter().zip(devices) {
        assert_eq!(ours.path, theirs.path().to_str().unwrap());
        assert_eq!((i64::from(ours.major), i64::from(ours.minor)), (theirs.major(), theirs.minor()));
        assert_eq!((Some(ours.mode), Some(ours.uid), Some(ours.gid)), (theirs.file_mode(), theirs.uid(), theirs.gid()));
        let kind = match theirs.typ() {
            LinuxDeviceType::B => DeviceKind::Block,
            LinuxDeviceType::P => DeviceKind::Fifo,
            _ => DeviceKind::Char,
        };
        assert_eq!(ours.kind, kind);
    }
    let rules = theirs.resources().as_ref().and_then(|resources| resources.devices().clone()).unwrap_or_default();
    let number = |number: Option<i64>| number.map_or("*".to_owned(), |number| number.to_string());
    let rules = rules.iter().map(|rule| {
        let verdict = if rule.allow() { "allow" } else { "deny" };
        let kind = rule.typ().map_or("a".to_owned(), |kind| kind.as_str().to_owned());
        let (major, minor) = (number(rule.major()), number(rule.minor()));
        format!("{verdict} {kind} {major}:{minor} {}", rule.access().as_deref().unwrap())
    });
    let own = ours.resources.device_rules.iter().flatten().map(ToString::to_string);
    assert_eq!(own.collect::<Vec<_>>(), rules.collect::<Vec<_>>());
}

#[cfg(feature = "oci-spec")]
#[test]
fn their_types_are_taken() {
    for (config, spec) in both() {
        let from_spec = Config::from_spec(&spec).unwrap();
        // Their types order members and drop what is empty.
        let (from_spec, config) = (without_document(from_spec), without_document(config));
        assert_eq!(format!("{from_spec:?}"), format!("{config:?}"));
    }
}

#[cfg(feature = "oci-spec")]
fn without_document(config: Config) -> Config {
    Config { document: Default::default(), ..config }
}

/// The examples that come with the specification.
fn examples(directory: &str) -> Vec<(String, Vec<u8>)> {
    let directory = format!("{}/tests/fixtures/spec/{directory}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn good_examples_are_accepted_or_refused_for_what_they_ask() {
    let expected: BTreeMap<&str, &str> = [
        ("freebsd-example", "/freebsd: for another platform: this runtime makes Linux containers"),
        ("freebsd-minimal", ""),
        ("linux-netdevice", NO_NETWORK),
        ("linux-rdma", ""),
        ("minimal", ""),
        ("minimal-for-start", ""),
        (
            "spec-example",
            "/linux/resources/blockIO/leafWeight: a setting of cgroup v1, for which cgroup v2 has nothing",
        ),
        ("zos-example", "/zos: for another platform: this runtime makes Linux containers"),
        ("zos-minimal", ""),
    ]
    .into();
    let found: BTreeMap<String, String> = examples("good")
        .into_iter()
        .map(|(name, json)| (name, Config::from_json(&json).map_or_else(|error| error.to_string(), |_| String::new())))
        .collect();
    assert_eq!(found.iter().map(|(name, error)| (name.as_str(), error.as_str())).collect::<BTreeMap<_, _>>(), expected);
}

const NO_NETWORK: &str = "/linux/netDevices/ens4: needs a namespace of type \"network\" that is not the host's";

#[test]
fn bad_examples_are_refused() {
    let examples = examples("bad");
    assert_eq!(examples.len(), 5);
    for (name, json) in examples {
        Config::from_json(&json).expect_err(&name);
    }
}
