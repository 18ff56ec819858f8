use serde_json::{Value, json};

use super::reader::escape;
use super::*;

/// What `spec` writes: every setting of it is known and of the right type.
pub(super) fn default_spec() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/default.json")).unwrap()
}

/// The default with the value at `pointer` replaced, or added to the object or array it is in.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut spec = default_spec();
    set(&mut spec, pointer, value);
    spec
}

pub(super) fn set(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap_or_else(|| panic!("{parent}")) {
        Value::Object(object) => {
            object.insert(name.to_owned(), value);
        }
        Value::Array(array) => {
            let index: usize = name.parse().unwrap();
            if index < array.len() { array[index] = value } else { array.push(value) }
        }
        other => panic!("{parent} is {other}"),
    }
}

pub(super) fn remove(spec: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.remove(name)),
        Value::Array(array) => drop(array.remove(name.parse().unwrap())),
        other => panic!("{parent} is {other}"),
    }
}

pub(super) fn error(spec: &Value) -> String {
    Config::from_value(spec).expect_err("refused").to_string()
}

#[track_caller]
pub(super) fn refused(pointer: &str, value: Value, message: &str) {
    assert_eq!(error(&with(pointer, value)), message);
}

#[track_caller]
pub(super) fn accepted(pointer: &str, value: Value) -> Config {
    Config::from_value(&with(pointer, value)).unwrap()
}

#[track_caller]
pub(super) fn warned(pointer: &str, value: Value, message: &str) {
    assert_eq!(accepted(pointer, value).warnings(), [message]);
}

pub(super) fn mount(destination: &str, kind: &str, options: &[&str]) -> Value {
    json!([{"destination": destination, "type": kind, "source": "/s", "options": options}])
}

/// The fixtures that are whole configurations.
pub(super) fn fixtures() -> Vec<Value> {
    let texts = [
        include_str!("../../tests/fixtures/docker-default.json"),
        include_str!("../../tests/fixtures/docker-privileged.json"),
        include_str!("../../tests/fixtures/docker-tty.json"),
        include_str!("../../tests/fixtures/docker-user-caps-readonly-volume.json"),
        include_str!("../../tests/fixtures/podman-default.json"),
        include_str!("../../tests/fixtures/podman-userns.json"),
    ];
    texts.into_iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[test]
fn the_default_is_accepted_without_warnings() {
    let config = Config::from_value(&default_spec()).unwrap();
    assert_eq!(config.warnings(), [""; 0]);
    assert_eq!((config.oci_version(), config.hostname()), ("1.3.0", Some("no-frills")));
    assert_eq!((config.root_path(), config.readonly_root()), ("rootfs", true));
    assert_eq!(config.args(), ["sh"]);
    assert!(config.has_namespace(namespace::PID) && !config.has_namespace(namespace::USER));
}

#[test]
fn what_is_not_json_is_named_by_line_and_column() {
    let error = Config::from_json(b"{]").unwrap_err();
    assert_eq!(
        (error.pointer.as_str(), error.to_string().as_str()),
        ("", "not JSON: key must be a string at line 1 column 2")
    );
    assert_eq!(Config::from_json(b"[]").unwrap_err().to_string(), "expected an object, found an array");
    let deep = "[".repeat(100_000);
    assert!(Config::from_json(deep.as_bytes()).unwrap_err().message.starts_with("not JSON: recursion limit"));
}

#[test]
fn pointers_are_escaped() {
    assert_eq!(escape("a/b~c"), "a~1b~0c");
    refused("/annotations", json!({"a/b~": 1}), "/annotations/a~1b~0: expected a string, found a number");
}

#[test]
fn null_is_absent() {
    for name in ["hostname", "mounts", "annotations", "hooks"] {
        accepted(&format!("/{name}"), Value::Null);
    }
    for name in ["seccomp", "resources", "devices", "maskedPaths", "cgroupsPath"] {
        accepted(&format!("/linux/{name}"), Value::Null);
    }
    let without = accepted("/process", Value::Null).process;
    assert_eq!(
        without.check_given().unwrap_err().to_string(),
        "/process: required to start the container, but missing"
    );
}

#[test]
fn unknown_properties_are_ignored() {
    for pointer in ["/x", "/process/x", "/root/x", "/linux/x", "/linux/resources/x", "/mounts/0/x", "/process/user/x"] {
        accepted(pointer, json!({"anything": [1, null]}));
    }
}

#[test]
fn the_version_has_to_be_1() {
    for version in ["1.0.2-dev", "1.3.0", "1.0.0", "1.2.1+build.5", "1.0.0-rc.1+x-y"] {
        accepted("/ociVersion", version.into());
    }
    refused("/ociVersion", "2.0.0".into(), "/ociVersion: version \"2.0.0\" is not supported, only 1.x.y");
    warned("/ociVersion", "0.5.0-dev".into(), "/ociVersion: version \"0.5.0-dev\" is taken as 1.0.0");
    for version in [
        "",
        "1",
        "1.0",
        "1.0.0.0",
        "1.0.x",
        "01.0.0",
        "1.0.00",
        "1.0.0-",
        "1.0.0+",
        "1.0.0-a..b",
        "v1.0.0",
        " 1.0.0",
        "-1.0.0",
    ] {
        let message = format!("/ociVersion: {version:?} is not a version such as 1.3.0");
        refused("/ociVersion", version.into(), &message);
    }
    refused("/ociVersion", Value::Null, "/ociVersion: required, but missing");
}

#[test]
fn a_process_needs_arguments_and_a_directory() {
    refused("/process/args", Value::Null, "/process/args: required, but missing");
    refused("/process/args", json!([]), "/process/args: must not be empty");
    refused("/process/args", json!(["a", 1]), "/process/args/1: expected a string, found a number");
    refused("/process/args", json!(["a", null]), "/process/args/1: expected a string, found null");
    refused("/process/args", json!(["a\0b"]), "/process/args/0: holds a NUL character");
    refused("/process/cwd", Value::Null, "/process/cwd: required, but missing");
    refused("/process/cwd", "".into(), "/process/cwd: must be an absolute path");
    refused("/process/cwd", "a".into(), "/process/cwd: must be an absolute path");
    assert_eq!(accepted("/process/cwd", "/a//b/../c/".into()).process.cwd, "/a/c");
    assert_eq!(accepted("/process/cwd", "/../..".into()).process.cwd, "/");
    warned("/process/commandLine", "x".into(), "/process/commandLine: ignored: only args count on Linux");
    refused("/process/commandLine", json!(1), "/process/commandLine: expected a string, found a number");
    refused("/root", Value::Null, "/root: required, but missing");
    refused("/root/path", Value::Null, "/root/path: required, but missing");
    refused("/root/path", "".into(), "/root/path: must not be empty");
}

#[test]
fn ids_are_numbers_in_range() {
    let user =
        accepted("/process/user", json!({"uid": 4294967294_u32, "gid": 7, "additionalGids": [0, 5], "umask": 0o77}))
            .process
            .user;
    assert_eq!((user.uid, user.gid, user.umask), (4294967294, 7, Some(0o77)));
    assert_eq!(user.additional_gids, [0, 5]);
    for (value, found) in [
        (json!(4294967295_u32), "4294967295"),
        (json!(-1), "-1"),
        (json!(1.5), "1.5"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let message = format!("/process/user/uid: expected an integer from 0 to 4294967294, found {found}");
        refused("/process/user/uid", value, &message);
    }
    refused("/process/user/uid", "0".into(), "/process/user/uid: expected an integer, found a string");
    refused(
        "/process/user/additionalGids",
        json!([1, "x"]),
        "/process/user/additionalGids/1: expected an integer, found a string",
    );
    refused("/process/user/umask", json!(512), "/process/user/umask: 512 is more than 511 (octal 777)");
    warned("/process/user/username", "root".into(), "/process/user/username: ignored: only uid and gid count on Linux");
    accepted("/process/user/username", "".into());
    accepted("/process/user", Value::Null);
}

#[test]
fn unknown_capabilities_are_warnings() {
    let sets = json!({"bounding": ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"], "ambient": ["CAP_KILL", "CAP_KILL"]});
    let config = accepted("/process/capabilities", sets);
    assert_eq!((config.process.capabilities.bounding, config.process.capabilities.ambient), (1 | 1 << 40, 1 << 5));
    assert_eq!(config.process.capabilities.effective, 0);
    for name in ["CAP_FOO", "KILL", "cap_kill", "", "CAP_CAP_KILL"] {
        let message = format!("/process/capabilities/effective/0: unknown capability {name:?}, ignored");
        warned("/process/capabilities/effective", json!([name]), &message);
    }
    refused(
        "/process/capabilities/effective",
        json!([5]),
        "/process/capabilities/effective/0: expected a string, found a number",
    );
}

#[test]
fn resource_limits_are_checked() {
    let limit = |name: &str, soft: u64, hard: u64| json!({"type": name, "soft": soft, "hard": hard});
    let config = accepted("/process/rlimits", json!([limit("RLIMIT_RTTIME", 1, u64::MAX), limit("RLIMIT_CPU", 0, 0)]));
    assert_eq!(config.process.rlimits[0], process::Rlimit { resource: 15, soft: 1, hard: u64::MAX });
    refused(
        "/process/rlimits",
        json!([limit("RLIMIT_FOO", 1, 1)]),
        "/process/rlimits/0/type: unknown resource limit \"RLIMIT_FOO\"",
    );
    refused("/process/rlimits", json!([limit("CPU", 1, 1)]), "/process/rlimits/0/type: unknown resource limit \"CPU\"");
    let twice = json!([limit("RLIMIT_AS", 1, 1), limit("RLIMIT_AS", 1, 1)]);
    refused("/process/rlimits", twice, "/process/rlimits/1/type: RLIMIT_AS is set twice");
    refused(
        "/process/rlimits",
        json!([limit("RLIMIT_AS", 2, 1)]),
        "/process/rlimits/0: the soft limit 2 is above the hard limit 1",
    );
    refused(
        "/process/rlimits",
        json!([{"type": "RLIMIT_AS", "soft": 1}]),
        "/process/rlimits/0/hard: required, but missing",
    );
}

#[test]
fn the_oom_score_and_the_console_have_ranges() {
    assert_eq!(accepted("/process/oomScoreAdj", json!(0)).process.oom_score_adj, Some(0));
    assert_eq!(accepted("/process/oomScoreAdj", Value::Null).process.oom_score_adj, None);
    refused(
        "/process/oomScoreAdj",
        json!(1001),
        "/process/oomScoreAdj: expected an integer from -1000 to 1000, found 1001",
    );
    assert_eq!(
        accepted("/process/consoleSize", json!({"height": 25, "width": 80})).process.console_size,
        Some((25, 80))
    );
    assert_eq!(accepted("/process/consoleSize", json!({"height": 0, "width": 0})).process.console_size, None);
    refused(
        "/process/consoleSize",
        json!({"height": 65536, "width": 1}),
        "/process/consoleSize/height: expected an integer from 0 to 65535, found 65536",
    );
}

#[test]
fn names_need_a_uts_namespace() {
    let mut spec = default_spec();
    set(&mut spec, "/linux/namespaces", json!([{"type": "mount"}]));
    assert_eq!(error(&spec), "/hostname: needs a new namespace of type \"uts\", or one to join");
    set(&mut spec, "/hostname", "".into());
    Config::from_value(&spec).unwrap();
    set(&mut spec, "/domainname", "x".into());
    assert_eq!(error(&spec), "/domainname: needs a new namespace of type \"uts\", or one to join");
    refused("/hostname", "x".repeat(65).into(), "/hostname: 65 bytes, but the kernel takes at most 64");
    accepted("/hostname", "x".repeat(64).into());
}

#[test]
fn namespaces_are_new_and_each_is_named_once() {
    let list = |more: Value| json!([{"type": "mount"}, {"type": "uts"}, more]);
    refused(
        "/linux/namespaces",
        list(json!({"type": "uts"})),
        "/linux/namespaces/2/type: a second namespace of type \"uts\"",
    );
    refused(
        "/linux/namespaces",
        list(json!({"type": "foo"})),
        "/linux/namespaces/2/type: unknown namespace type \"foo\"",
    );
    refused("/linux/namespaces", list(json!({})), "/linux/namespaces/2/type: required, but missing");
    accepted("/linux/namespaces", list(json!({"type": "time"})));
    let joined = list(json!({"type": "network", "path": "/proc/1/ns/net"}));
    let config = accepted("/linux/namespaces", joined);
    assert!(config.has_namespace(namespace::NETWORK) && !config.makes_namespace(namespace::NETWORK));
    let relative = list(json!({"type": "network", "path": "ns/net"}));
    refused("/linux/namespaces", relative, "/linux/namespaces/2/path: must be an absolute path");
    accepted("/linux/namespaces", list(json!({"type": "network", "path": ""})));
}

#[test]
fn without_a_mount_namespace_there_are_no_mounts() {
    let needs = "needs a namespace of type \"mount\", which there is not";
    let mut spec = with("/linux/namespaces", json!([{"type": "uts"}]));
    assert_eq!(error(&spec), format!("/mounts/0: {needs}"));
    set(&mut spec, "/mounts", json!([]));
    for (setting, nothing, item) in [
        ("/linux/maskedPaths", json!([]), "/0"),
        ("/linux/readonlyPaths", json!([]), "/0"),
        ("/root/readonly", json!(false), ""),
    ] {
        assert_eq!(error(&spec), format!("{setting}{item}: {needs}"));
        set(&mut spec, setting, nothing);
    }
    Config::from_value(&spec).unwrap();
    for (setting, value) in [("/linux/rootfsPropagation", json!("slave")), ("/process/terminal", json!(true))] {
        let mut spec = spec.clone();
        set(&mut spec, setting, value);
        assert_eq!(error(&spec), format!("{setting}: {needs}"));
    }
    set(&mut spec, "/linux", Value::Null);
    set(&mut spec, "/hostname", Value::Null);
    Config::from_value(&spec).unwrap();
}

#[test]
fn without_a_cgroup_namespace_the_container_sees_its_own_cgroup() {
    let cgroup = |options: &[&str]| mount("/sys/fs/cgroup", "cgroup", options);
    let mut spec = with("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}]));
    set(&mut spec, "/mounts", cgroup(&["nosuid", "nsdelegate"]));
    assert_eq!(
        error(&spec),
        "/mounts/0/options/1: without a new namespace of type \"cgroup\" this is a bind mount of the container's cgroup, \
         which has no such options"
    );
    set(&mut spec, "/mounts", cgroup(&["nosuid"]));
    assert!(Config::from_value(&spec).unwrap().warnings().is_empty());
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    set(&mut spec, "/linux/namespaces/2", json!({"type": "user"}));
    set(&mut spec, "/linux/uidMappings", map.clone());
    set(&mut spec, "/linux/gidMappings", map);
    let warning = "/mounts/0: mounted read-only: there is a user namespace, but no new namespace of type \"cgroup\"";
    assert_eq!(Config::from_value(&spec).unwrap().warnings(), [warning]);
    set(&mut spec, "/mounts", cgroup(&["ro"]));
    assert!(Config::from_value(&spec).unwrap().warnings().is_empty());
}

#[test]
fn maps_of_ids_go_with_a_user_namespace() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    refused(
        "/linux/uidMappings",
        map.clone(),
        "/linux/uidMappings: maps ids, but there is no new namespace of type \"user\"",
    );
    let spec = |uid: Value, gid: Value| {
        let mut spec = with("/linux/namespaces/6", json!({"type": "user"}));
        set(&mut spec, "/linux/uidMappings", uid);
        set(&mut spec, "/linux/gidMappings", gid);
        spec
    };
    let valid = spec(map.clone(), map.clone());
    Config::from_value(&valid).unwrap();
    let message = "required: a new user namespace without maps has no ids";
    assert_eq!(error(&spec(json!([]), map.clone())), format!("/linux/uidMappings: {message}"));
    assert_eq!(error(&spec(map.clone(), Value::Null)), format!("/linux/gidMappings: {message}"));
    let one = |container: u64, host: u64, size: u64| json!([{"containerID": container, "hostID": host, "size": size}]);
    assert_eq!(error(&spec(one(0, 0, 0), map.clone())), "/linux/uidMappings/0/size: maps no id");
    let message = "/linux/uidMappings/0: leads beyond the last id, 4294967294";
    assert_eq!(error(&spec(one(0, 4294967294, 2), map.clone())), message);
    Config::from_value(&spec(one(0, 0, 4294967295), map.clone())).unwrap();
    let many: Vec<Value> = (0..340).map(|id| one(id, id, 1)[0].clone()).collect();
    assert_eq!(error(&spec(many.into(), map.clone())), "/linux/uidMappings: the kernel takes fewer than 340 maps");
    for (pointer, value, at) in [
        ("/process/user/uid", json!(10), "/process/user/uid"),
        ("/process/user/gid", json!(10), "/process/user/gid"),
        ("/process/user/additionalGids", json!([3, 10]), "/process/user/additionalGids/1"),
    ] {
        let mut spec = valid.clone();
        set(&mut spec, pointer, value);
        assert_eq!(error(&spec), format!("{at}: 10 is not mapped in the container's user namespace"));
    }
}

#[test]
fn devices_are_checked() {
    let device = json!({"type": "c", "path": "/dev/x", "major": 1, "minor": 3});
    let config = accepted("/linux/devices", json!([device]));
    assert_eq!((config.linux.devices[0].mode, config.linux.devices[0].uid), (0o666, 0));
    let change = |name: &str, value: Value| {
        let mut device = device.clone();
        device[name] = value;
        json!([device])
    };
    // The engine's own mode, with the type.
    assert_eq!(accepted("/linux/devices", change("fileMode", json!(0o20640))).linux.devices[0].mode, 0o640);
    let refused = |name: &str, value: Value, message: &str| {
        refused("/linux/devices", change(name, value), &format!("/linux/devices/0/{name}: {message}"));
    };
    refused("fileMode", json!(0o200000), "expected an integer from 0 to 65535, found 65536");
    refused("type", "x".into(), "unknown device type \"x\"");
    refused("type", Value::Null, "required, but missing");
    refused("path", "dev/x".into(), "must be an absolute path");
    refused("path", "/../x".into(), "\"/../x\" leads out of the root");
    refused("path", "/".into(), "the root is no device");
    refused("path", "/dev/ptmx".into(), "is the multiplexer of terminals, c 5:2, in every container");
    refused("major", Value::Null, "required, but missing");
    refused("major", json!(4096), "expected an integer from 0 to 4095, found 4096");
    refused("minor", json!(-1), "expected an integer from 0 to 1048575, found -1");
    refused("uid", json!(-1), "expected an integer from 0 to 4294967294, found -1");
    accepted("/linux/devices", json!([{"type": "p", "path": "/fifo"}]));
}

#[test]
fn device_rules_are_checked() {
    let rules = json!([{"allow": true, "type": "c", "major": 1, "minor": -1, "access": "rm"}]);
    let rule = accepted("/linux/resources/devices", rules).linux.resources.device_rules.unwrap()[0];
    assert_eq!(rule.to_string(), "allow c 1:* rm");
    let refused = |rule: Value, message: &str| refused("/linux/resources/devices", json!([rule]), message);
    refused(json!({"access": "r"}), "/linux/resources/devices/0/allow: required, but missing");
    refused(json!({"allow": true}), "/linux/resources/devices/0/access: required, but missing");
    for access in ["", "x", "rw "] {
        let message = "/linux/resources/devices/0/access: expected some of the letters r, w and m";
        refused(json!({"allow": true, "access": access}), message);
    }
    refused(
        json!({"allow": true, "access": "r", "type": "p"}),
        "/linux/resources/devices/0/type: unknown device type \"p\"",
    );
    refused(
        json!({"allow": true, "access": "r", "major": -2}),
        "/linux/resources/devices/0/major: expected an integer from -1 to 4095, found -2",
    );
    assert!(accepted("/linux/resources/devices", json!([])).linux.resources.device_rules.is_none());
}

#[test]
fn hidden_and_readonly_paths_are_absolute() {
    for name in ["maskedPaths", "readonlyPaths"] {
        let pointer = format!("/linux/{name}");
        refused(&pointer, json!(["/a", "proc/kcore"]), &format!("{pointer}/1: must be an absolute path"));
        refused(&pointer, json!(["/../a"]), &format!("{pointer}/0: \"/../a\" leads out of the root"));
        accepted(&pointer, json!([]));
    }
}

#[test]
fn a_process_of_exec_is_read_as_one_of_create() {
    for text in [
        include_str!("../../tests/fixtures/docker-exec-process.json"),
        include_str!("../../tests/fixtures/docker-exec-user-process.json"),
    ] {
        let process: Value = serde_json::from_str(text).unwrap();
        let args = process["args"].clone();
        assert_eq!(json!(accepted("/process", process).args()), args);
    }
}

#[test]
fn variables_have_a_name() {
    for variable in ["A", "", "=x"] {
        let message = format!("/process/env/0: {variable:?} is not of the form NAME=VALUE");
        refused("/process/env", json!([variable]), &message);
    }
    accepted("/process/env", json!(["A=", "B=x=y"]));
}
