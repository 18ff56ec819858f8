//! Settings that need a namespace of the container's own, and `intelRdt`.

use serde_json::json;

use super::tests::{accepted, refused};

#[test]
fn sysctls_belong_to_a_namespace_of_the_containers() {
    let config = accepted(
        "/linux/sysctl",
        json!({
            "net.ipv4.ip_forward": "1",
            "net/ipv4/conf/eth0.100/forwarding": "0",
            "kernel.shm_rmid_forced": "1",
            "kernel.msgmax": "8192",
            "kernel/sem": "250 32000 32 128",
            "fs.mqueue.msg_max": "20",
            "kernel.domainname": "",
        }),
    );
    let found: Vec<_> = config.linux.sysctls.iter().map(|one| (one.path.as_str(), one.value.as_str())).collect();
    assert_eq!(
        found,
        [
            ("sys/fs/mqueue/msg_max", "20"),
            ("sys/kernel/domainname", ""),
            ("sys/kernel/msgmax", "8192"),
            ("sys/kernel/shm_rmid_forced", "1"),
            ("sys/kernel/sem", "250 32000 32 128"),
            ("sys/net/ipv4/ip_forward", "1"),
            ("sys/net/ipv4/conf/eth0.100/forwarding", "0"),
        ]
    );
    let the_host = "belongs to no namespace: it would change the host";
    for name in ["kernel.panic", "vm.swappiness", "kernel.shm.x", "fs.file-max", "fs.mqueue.a.b", "nets.x", "user"] {
        let found = super::Config::from_value(&super::tests::with("/linux/sysctl", json!({name: "1"})));
        let error = found.expect_err(name).to_string();
        assert!(error.starts_with(&format!("/linux/sysctl/{name}: ")), "{error}");
        assert!(error.contains(the_host) || error.contains("is not the name"), "{error}");
    }
    refused(
        "/linux/sysctl",
        json!({"net/../kernel/panic": "1"}),
        "/linux/sysctl/net~1..~1kernel~1panic: \"net/../kernel/panic\" is not the name of a kernel parameter",
    );
    refused(
        "/linux/sysctl",
        json!({"kernel.hostname": "x"}),
        "/linux/sysctl/kernel.hostname: is set by the setting \"hostname\"",
    );
    refused(
        "/linux/sysctl",
        json!({"net.core.somaxconn": "1", "net/core/somaxconn": "1"}),
        "/linux/sysctl/net~1core~1somaxconn: the same parameter as \"net.core.somaxconn\"",
    );
    refused(
        "/linux/sysctl",
        json!({"user.max_user_namespaces": "1"}),
        "/linux/sysctl/user.max_user_namespaces: needs a namespace of type \"user\" that is not the host's",
    );
    refused("/linux/sysctl", json!({"net.x": 1}), "/linux/sysctl/net.x: expected a string, found a number");
}

#[test]
fn network_devices_have_names() {
    let config = accepted("/linux/netDevices", json!({"eth0": {"name": "in0"}, "ens4": {}, "ens5": {"name": ""}}));
    let found: Vec<_> = config.linux.net_devices.iter().map(|one| (one.host.as_str(), one.name.as_str())).collect();
    assert_eq!(found, [("ens4", "ens4"), ("ens5", "ens5"), ("eth0", "in0")]);
    for (devices, message) in [
        (
            json!({"a": {"name": "b%d"}}),
            "a/name: \"b%d\" cannot be the name of a network device: it has a per cent sign",
        ),
        (json!({"a": {}, "b": {"name": "a"}}), "b/name: \"a\" is the name of \"a\" in the container already"),
        (
            json!({"a b": {}}),
            "a b: \"a b\" is not the name of a network device: it has a slash, a colon, a blank or a NUL",
        ),
        (json!({"a": {"name": 23}}), "a/name: expected a string, found a number"),
    ] {
        refused("/linux/netDevices", devices, &format!("/linux/netDevices/{message}"));
    }
}

#[test]
fn clocks_of_a_time_namespace_have_offsets() {
    refused(
        "/linux/timeOffsets",
        json!({"realtime": {"secs": 1}}),
        "/linux/timeOffsets/realtime: a time namespace has no clock \"realtime\", only \"monotonic\" and \"boottime\"",
    );
    refused(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 1}}),
        "/linux/timeOffsets/monotonic: needs a new namespace of type \"time\"",
    );
    refused(
        "/linux/timeOffsets",
        json!({"monotonic": {"nanosecs": 1_000_000_000}}),
        "/linux/timeOffsets/monotonic/nanosecs: expected an integer from 0 to 999999999, found 1000000000",
    );
}

#[test]
fn classes_of_service_are_read() {
    let read = |value| accepted("/linux/intelRdt", value).linux.intel_rdt.unwrap();
    let rdt = read(json!({"closID": "gold", "l3CacheSchema": "L3:0=f\nMB:0=1\n", "memBwSchema": "MB:0=20;1=70"}));
    assert_eq!(rdt.clos_id.as_deref(), Some("gold"));
    assert_eq!(rdt.schema, ["L3:0=f", "MB:0=20;1=70"]);
    let rdt = read(json!({"schemata": ["L2:0=f", "MB:0=20\nL3:0=1"], "enableMonitoring": true}));
    assert_eq!((rdt.clos_id, rdt.monitoring), (None, true));
    assert_eq!(rdt.schemata, ["L2:0=f", "MB:0=20", "L3:0=1"]);
    assert!(read(json!({"closID": "/", "enableCMT": true})).monitoring);
    for id in [".", "..", "a/b", "info", "mon_groups"] {
        let message = format!("/linux/intelRdt/closID: {id:?} cannot be the name of a class of service");
        refused("/linux/intelRdt", json!({"closID": id}), &message);
    }
    refused(
        "/linux/intelRdt",
        json!({"memBwSchema": "MB:0=1\nL3:0=1"}),
        "/linux/intelRdt/memBwSchema: \"MB:0=1\\nL3:0=1\" is not one line that begins with \"MB:\"",
    );
}
