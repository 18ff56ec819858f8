use serde_json::{Value, json};

use super::reader::escape;
use super::*;

/// What `spec` writes: every setting of it is known and of the right type.
fn default_spec() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/default.json")).unwrap()
}

/// The default with the value at `pointer` replaced, or added to the object or array it is in.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut spec = default_spec();
    set(&mut spec, pointer, value);
    spec
}

fn set(spec: &mut Value, pointer: &str, value: Value) {
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

fn remove(spec: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.remove(name)),
        Value::Array(array) => drop(array.remove(name.parse().unwrap())),
        other => panic!("{parent} is {other}"),
    }
}

fn error(spec: &Value) -> String {
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
fn warned(pointer: &str, value: Value, message: &str) {
    assert_eq!(accepted(pointer, value).warnings(), [message]);
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

fn mount(destination: &str, kind: &str, options: &[&str]) -> Value {
    json!([{"destination": destination, "type": kind, "source": "/s", "options": options}])
}

fn read_mount(options: &[&str]) -> Mount {
    accepted("/mounts", mount("/m", "tmpfs", options)).mounts[0].clone()
}

#[test]
fn options_are_sorted_and_known_once() {
    let names: Vec<&str> = mount_options().collect();
    assert!(names.is_sorted() && names.contains(&"rro") && names.contains(&"idmap"));
    // Every one that config.md lists, and every one of runc's `features`.
    for name in [
        "async",
        "atime",
        "bind",
        "defaults",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "idmap",
        "iversion",
        "lazytime",
        "loud",
        "mand",
        "noatime",
        "nodev",
        "nodiratime",
        "noexec",
        "noiversion",
        "nolazytime",
        "nomand",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "nosymfollow",
        "private",
        "ratime",
        "rbind",
        "rdev",
        "rdiratime",
        "relatime",
        "remount",
        "rexec",
        "ridmap",
        "rnoatime",
        "rnodev",
        "rnodiratime",
        "rnoexec",
        "rnorelatime",
        "rnostrictatime",
        "rnosuid",
        "rnosymfollow",
        "ro",
        "rprivate",
        "rrelatime",
        "rro",
        "rrw",
        "rshared",
        "rslave",
        "rstrictatime",
        "rsuid",
        "rsymfollow",
        "runbindable",
        "rw",
        "shared",
        "silent",
        "slave",
        "strictatime",
        "suid",
        "symfollow",
        "sync",
        "tmpcopyup",
        "unbindable",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn later_options_override_earlier_ones() {
    let attributes = read_mount(&["ro", "nosuid", "rw", "noatime", "strictatime"]).attributes;
    assert_eq!(attributes, Attributes { set: attr::NOSUID | attr::STRICTATIME, clear: attr::RDONLY | attr::ATIME });
    let mount = read_mount(&["rw", "ro", "rro", "rdev", "rnoatime", "relatime"]);
    assert_eq!(mount.attributes, Attributes { set: attr::RDONLY, clear: attr::ATIME });
    let recursive = Attributes { set: attr::RDONLY | attr::NOATIME, clear: attr::NODEV | attr::ATIME };
    assert_eq!(mount.recursive_attributes, recursive);
}

#[test]
fn other_options_are_the_file_systems() {
    let read = read_mount(&["", "mode=755", "size=", "newinstance", "sync", "async", "defaults", "a=b=c"]);
    let parameters: Vec<_> = read.parameters.iter().map(|p| (p.option, p.key.as_str(), p.value.as_deref())).collect();
    let expected = [
        (1, "mode", Some("755")),
        (2, "size", Some("")),
        (3, "newinstance", None),
        (4, "sync", None),
        (7, "a", Some("b=c")),
    ];
    assert_eq!(parameters, expected);
    let message = "/mounts/0/options/0: an option without a name";
    refused("/mounts", mount("/m", "tmpfs", &["=x"]), message);
    // mount(2) takes more, in one piece.
    let long = |length: usize| format!("a={}", "x".repeat(length));
    read_mount(&[&long(4093)]);
    let message = "with options as long as this mount(2) takes 4095 bytes of them, not";
    let error = |options: &[&str]| error(&with("/mounts", mount("/m", "tmpfs", options)));
    assert_eq!(error(&["size=1", &long(4090)]), format!("/mounts/0/options/1: {message} 4099"));
    assert_eq!(
        error(&[&long(256), "b=1,2"]),
        "/mounts/0/options/0: with options as long as this none may hold a comma: mount(2) takes them as a list"
    );
    assert_eq!(error(&["remount", &long(256)]), "/mounts/0/options/1: 256 bytes, but fsconfig(2) takes at most 255");
}

#[test]
fn options_that_cannot_be_honoured_are_refused_or_warned_about() {
    warned(
        "/mounts",
        mount("/m", "tmpfs", &["mand"]),
        "/mounts/0/options/0: \"mand\" is ignored: Linux has no mandatory locks since 5.15",
    );
    warned(
        "/mounts",
        mount("/m", "bind", &["ro", "sync"]),
        "/mounts/0/options/1: \"sync\" is ignored: a bind mount cannot change it",
    );
    refused(
        "/mounts",
        mount("/m", "bind", &["size=1"]),
        "/mounts/0/options/0: \"size\" is not an option of bind mounts",
    );
    refused(
        "/mounts",
        mount("/m", "tmpfs", &["bind", "remount", "size=1"]),
        "/mounts/0/options/2: \"size\" is not an option of bind mounts",
    );
    assert!(read_mount(&["remount", "bind", "sync"]).parameters.is_empty());
    assert_eq!(read_mount(&["remount", "sync", "size=1"]).parameters.len(), 2);
}

#[test]
fn extensions_are_for_some_mounts_alone() {
    let options = |kind: &str, options: &[&str], message: &str| {
        refused("/mounts", mount("/m", kind, options), &format!("/mounts/0/options: {message}"));
    };
    options("bind", &["tmpcopyup"], "\"tmpcopyup\" is for a tmpfs alone");
    options("tmpfs", &["remount", "tmpcopyup"], "\"tmpcopyup\" is for a tmpfs alone");
    options("tmpfs", &["src-nofollow"], "\"src-nofollow\" is for bind mounts alone");
    let message = "a mount that is there already can be given neither id mappings nor another destination";
    options("tmpfs", &["remount", "dest-nofollow"], message);
    let read = read_mount(&["tmpcopyup", "dest-nofollow"]);
    assert!(read.copy_up && read.destination_itself && !read.source_itself);
}

#[test]
fn id_mappings_of_a_mount_come_in_pairs_or_from_the_user_namespace() {
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let spec = |uids: &Value, gids: &Value, options: &[&str]| {
        let mut spec = with("/mounts", mount("/m", "bind", options));
        set(&mut spec, "/mounts/0/uidMappings", uids.clone());
        set(&mut spec, "/mounts/0/gidMappings", gids.clone());
        spec
    };
    let none = json!([]);
    let read = |spec: &Value| Config::from_value(spec).unwrap().mounts[0].id_map.clone();
    assert!(read(&spec(&none, &none, &[])).is_none());
    let id_map = read(&spec(&map, &map, &["ridmap"])).unwrap();
    assert!(id_map.recursive && id_map.own.is_some_and(|(uids, gids)| uids.len() == 1 && gids.len() == 1));
    // Mappings say it by themselves; the option says how far.
    assert!(!read(&spec(&map, &map, &[])).unwrap().recursive);
    assert_eq!(error(&spec(&map, &none, &["idmap"])), "/mounts/0/gidMappings: required, but missing");
    assert_eq!(error(&spec(&none, &map, &["idmap"])), "/mounts/0/uidMappings: required, but missing");
    let empty = json!([{"containerID": 0, "hostID": 1, "size": 0}]);
    assert_eq!(error(&spec(&map, &empty, &[])), "/mounts/0/gidMappings/0/size: maps no id");
    assert_eq!(
        error(&spec(&none, &none, &["idmap"])),
        "/mounts/0/uidMappings: required: there is no user namespace whose mappings would count"
    );
    let mut with_user = spec(&none, &none, &["idmap"]);
    set(&mut with_user, "/linux/namespaces/9", json!({"type": "user"}));
    set(&mut with_user, "/linux/uidMappings", map.clone());
    set(&mut with_user, "/linux/gidMappings", map);
    assert!(read(&with_user).unwrap().own.is_none());
}

#[test]
fn the_kind_of_a_mount_follows_from_type_and_options() {
    let kind = |kind: &str, options: &[&str]| accepted("/mounts", mount("/m", kind, options)).mounts[0].kind.clone();
    assert_eq!(kind("cgroup", &[]), MountKind::Filesystem("cgroup2".into()));
    assert_eq!(kind("bind", &[]), MountKind::Bind { recursive: false });
    assert_eq!(kind("bind", &["rbind"]), MountKind::Bind { recursive: true });
    assert_eq!(kind("none", &["rbind", "ro"]), MountKind::Bind { recursive: true });
    assert_eq!(kind("tmpfs", &["bind"]), MountKind::Bind { recursive: false });
    assert_eq!(kind("bind", &["remount", "bind", "ro"]), MountKind::Remount);
    refused("/mounts", mount("/m", "none", &[]), "/mounts/0/type: \"none\" needs the option bind, rbind or remount");
    refused("/mounts", mount("/m", "", &[]), "/mounts/0/type: required, but missing");
    refused("/mounts", json!([{"destination": "/m", "type": "bind"}]), "/mounts/0/source: required, but missing");
    refused("/mounts", json!([{"type": "tmpfs"}]), "/mounts/0/destination: required, but missing");
}

#[test]
fn destinations_lie_in_the_container() {
    let destination = |path: &str| accepted("/mounts", mount(path, "tmpfs", &[])).mounts[0].destination.clone();
    assert_eq!(destination("/a//b/./../c/"), "/a/c");
    let message = "/mounts/0/destination: \"a\" is not absolute, taken as relative to /";
    warned("/mounts", mount("a", "tmpfs", &[]), message);
    for path in ["/..", "/../../etc", "/a/../../b"] {
        let message = format!("/mounts/0/destination: {path:?} leads out of the root");
        refused("/mounts", mount(path, "tmpfs", &[]), &message);
    }
    refused("/mounts", mount("/a/..", "tmpfs", &[]), "/mounts/0/destination: the root itself cannot be mounted over");
    accepted("/mounts", mount("/", "", &["remount", "ro"]));
}

#[test]
fn nothing_but_procfs_covers_proc() {
    let at = |destination: &str, kind: &str, source: &str| {
        Config::from_value(&with("/mounts", json!([{"destination": destination, "type": kind, "source": source}])))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(at("/proc", "proc", "proc"), Ok(()));
    assert_eq!(at("/proc/", "bind", "/proc/"), Ok(()));
    assert_eq!(at("/proc/cpuinfo", "bind", "/lxcfs/cpuinfo"), Ok(()));
    assert_eq!(at("/process", "tmpfs", ""), Ok(()));
    let only = "/mounts/0/destination: only a mount of type proc, or a bind of the host's /proc, may cover /proc";
    for (kind, source) in [("tmpfs", ""), ("bind", "/srv"), ("sysfs", ""), ("bind", "proc/../x")] {
        assert_eq!(at("/x/../proc", kind, source), Err(only.into()), "{kind}");
    }
    let inside = "/mounts/0/destination: nothing may be mounted in /proc but binds over the files that lxcfs provides";
    for (destination, kind) in
        [("/proc/sys", "bind"), ("/proc/cpuinfo", "tmpfs"), ("/proc/self/attr", "bind"), ("/proc/cpuinfo/x", "bind")]
    {
        assert_eq!(at(destination, kind, "/x"), Err(inside.into()), "{destination}");
    }
}

#[test]
fn what_cannot_be_is_refused_where_it_asks_for_something() {
    for (pointer, value) in [
        ("/linux/resources/memory/swappiness", json!(60)),
        ("/linux/resources/memory/disableOOMKiller", json!(true)),
        ("/linux/resources/cpu/realtimeRuntime", json!(950_000)),
        ("/linux/resources/cpu/realtimePeriod", json!(u64::MAX)),
        ("/linux/resources/blockIO/leafWeight", json!(10)),
        ("/linux/resources/network/classID", json!(1)),
        ("/linux/resources/network/priorities", json!([{}])),
    ] {
        refuse_at(pointer, value, "a setting of cgroup v1, for which cgroup v2 has nothing");
    }
    for platform in ["windows", "solaris", "vm", "zos", "freebsd"] {
        refuse_at(&format!("/{platform}/x"), json!(1), OTHER_PLATFORM);
    }
}

/// Puts a value where it may need objects around it; the pointer named is its own, or that of an
/// object around it that is refused as a whole.
#[track_caller]
fn refuse_at(pointer: &str, value: Value, why: &str) {
    let mut spec = default_spec();
    let names: Vec<&str> = pointer.split('/').skip(1).collect();
    let mut at = String::new();
    for name in &names[..names.len() - 1] {
        at = format!("{at}/{name}");
        if spec.pointer(&at).is_none() {
            set(&mut spec, &at, json!({}));
        }
    }
    set(&mut spec, pointer, value);
    let error = Config::from_value(&spec).expect_err(pointer);
    assert_eq!(error.message, why, "{pointer}");
    assert!(
        pointer == error.pointer || why == OTHER_PLATFORM && pointer.starts_with(&error.pointer),
        "{pointer}: {error}"
    );
}

#[test]
fn what_asks_for_nothing_is_absent() {
    for (pointer, value) in [
        ("/hooks", json!({})),
        ("/hooks", json!({"prestart": [], "poststop": null})),
        ("/process/apparmorProfile", json!("")),
        ("/process/selinuxLabel", json!("")),
        ("/process/ioPriority", json!({})),
        ("/process/scheduler", json!({})),
        ("/linux/personality", json!({"domain": "", "flags": []})),
        ("/linux/memoryPolicy", json!({"mode": "", "nodes": "", "flags": null})),
        ("/process/oomScoreAdj", json!(0)),
        ("/process/execCPUAffinity", json!({"initial": "0-3"})),
        ("/linux/seccomp", Value::Null),
        ("/linux/seccomp", json!({})),
        ("/linux/sysctl", json!({})),
        ("/linux/intelRdt", json!({})),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 0, "nanosecs": 0}})),
        ("/linux/rootfsPropagation", json!("")),
        ("/linux/rootfsPropagation", json!("rslave")),
        ("/linux/rootfsPropagation", json!("slave")),
        ("/linux/resources", json!({"memory": {}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}})),
        ("/linux/resources/pids", json!({"limit": -1})),
        ("/linux/resources/memory", json!({"limit": -1, "swap": 0, "swappiness": 0, "disableOOMKiller": false})),
        ("/linux/resources/cpu", json!({"quota": -1, "period": 0, "cpus": "", "realtimeRuntime": 0, "idle": 0})),
        ("/linux/resources/hugepageLimits", json!([])),
        ("/linux/resources/unified", json!({})),
        ("/linux/resources/network", json!({"priorities": []})),
        ("/windows", json!({})),
        ("/zos", json!({})),
    ] {
        assert_eq!(accepted(pointer, value).warnings(), [""; 0], "{pointer}");
    }
    refused("/linux/rootfsPropagation", "rr".into(), "/linux/rootfsPropagation: unknown propagation \"rr\"");
    refused("/linux/rootfsPropagation", "foo".into(), "/linux/rootfsPropagation: unknown propagation \"foo\"");
}

/// Calls `visit` with the pointer of every value below `value`.
fn walk(value: &Value, pointer: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(pointer, value);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{pointer}/{index}"), visit);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, &format!("{pointer}/{}", escape(name)), visit);
            }
        }
        _ => {}
    }
}

fn pointers(spec: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    walk(spec, "", &mut |pointer, value| all.push((pointer.to_owned(), value.clone())));
    all
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
fn a_wrong_type_anywhere_is_an_error_that_names_the_place() {
    let wrong = [json!(true), json!(7), json!("x"), json!([]), json!({}), json!([null]), json!({"a": null})];
    let mut count = 0;
    for spec in fixtures().into_iter().chain([default_spec()]) {
        let all = pointers(&spec);
        // All of the many devices are alike.
        let all = all.into_iter().filter(|(pointer, _)| !pointer.starts_with("/linux/devices/2"));
        for (pointer, old) in all.filter(|(pointer, _)| !pointer.is_empty()) {
            for new in wrong.iter().filter(|new| std::mem::discriminant(*new) != std::mem::discriminant(&old)) {
                let mut changed = spec.clone();
                *changed.pointer_mut(&pointer).unwrap() = new.clone();
                let error = Config::from_value(&changed).expect_err(&pointer);
                assert_eq!(error.pointer, pointer, "{new}: {error}");
                assert!(error.message.starts_with("expected "), "{error}");
                count += 1;
            }
        }
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn odd_values_anywhere_do_not_panic() {
    use crate::compile::{CompileOptions, compile};
    let options = CompileOptions::new("/b".as_ref(), "x");
    let odd = [
        json!(""),
        json!("/"),
        json!(".."),
        json!("a\0"),
        json!("=:="),
        json!("\u{10ffff}"),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(0.5),
        Value::Null,
    ];
    for spec in [default_spec(), fixtures().pop().unwrap()] {
        for (pointer, _) in pointers(&spec).into_iter().filter(|(pointer, _)| !pointer.is_empty()) {
            for value in &odd {
                let mut changed = spec.clone();
                *changed.pointer_mut(&pointer).unwrap() = value.clone();
                if let Ok(program) = Config::from_value(&changed).and_then(|config| compile(&config, &options)) {
                    assert!(!program.describe().is_empty());
                }
            }
            let mut changed = spec.clone();
            remove(&mut changed, &pointer);
            match Config::from_value(&changed) {
                Ok(config) => drop(compile(&config, &options)),
                // The place that is missing, or another that needs it.
                Err(error) => assert!(error.pointer.starts_with('/'), "{pointer}: {error}"),
            }
        }
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

#[test]
fn a_scheduler_is_checked() {
    let at = "/process/scheduler";
    let read = |value| accepted(at, value).process.scheduler.unwrap();
    let other = Scheduler { policy: 0, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
    assert_eq!(read(json!({"policy": "SCHED_OTHER"})), other);
    assert_eq!(read(json!({"policy": "SCHED_BATCH", "nice": -20})), Scheduler { policy: 3, nice: -20, ..other });
    assert_eq!(read(json!({"policy": "SCHED_ISO", "nice": 19})), Scheduler { policy: 4, nice: 19, ..other });
    assert_eq!(read(json!({"policy": "SCHED_IDLE", "priority": 0})), Scheduler { policy: 5, ..other });
    assert_eq!(read(json!({"policy": "SCHED_FIFO", "priority": 1})), Scheduler { policy: 1, priority: 1, ..other });
    assert_eq!(read(json!({"policy": "SCHED_RR", "priority": 99})), Scheduler { policy: 2, priority: 99, ..other });
    let deadline = Scheduler { policy: 6, runtime: 1024, deadline: 2048, ..other };
    assert_eq!(read(json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048})), deadline);
    let flags: Vec<String> = SCHEDULER_FLAGS.iter().map(|name| format!("SCHED_FLAG_{name}")).collect();
    assert_eq!(read(json!({"policy": "SCHED_OTHER", "flags": flags})).flags, 0x7f);

    let wrong = |value, place: &str, message: &str| refused(at, value, &format!("{at}{place}: {message}"));
    wrong(json!({"nice": 1}), "/policy", "required, but missing");
    wrong(json!({"policy": "FIFO"}), "/policy", "unknown scheduling policy \"FIFO\"");
    let range = "expected an integer from -20 to 19, found";
    wrong(json!({"policy": "SCHED_OTHER", "nice": 20}), "/nice", &format!("{range} 20"));
    wrong(json!({"policy": "SCHED_OTHER", "nice": -21}), "/nice", &format!("{range} -21"));
    let only = "5, but only SCHED_FIFO and SCHED_RR have a priority, not SCHED_BATCH: did you mean nice?";
    wrong(json!({"policy": "SCHED_BATCH", "priority": 5}), "/priority", only);
    for (policy, priority) in [("SCHED_FIFO", 0), ("SCHED_RR", 100), ("SCHED_RR", -1)] {
        let message = format!("{policy} needs a priority from 1 to 99, found {priority}");
        wrong(json!({"policy": policy, "priority": priority}), "/priority", &message);
    }
    wrong(json!({"policy": "SCHED_FIFO"}), "", "SCHED_FIFO needs a priority from 1 to 99, found 0");
    for name in ["runtime", "deadline", "period"] {
        let message = format!("1, but only SCHED_DEADLINE has a {name}, not SCHED_OTHER");
        wrong(json!({"policy": "SCHED_OTHER", name: 1}), &format!("/{name}"), &message);
        read(json!({"policy": "SCHED_OTHER", name: 0}));
    }
    wrong(
        json!({"policy": "SCHED_DEADLINE"}),
        "",
        "SCHED_DEADLINE needs a runtime of 1024 nanoseconds at least, found 0",
    );
    wrong(
        json!({"policy": "SCHED_DEADLINE", "runtime": 5000}),
        "",
        "the deadline 0 comes before the runtime 5000 is over",
    );
    wrong(
        json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 6000, "period": 5999}),
        "/period",
        "the period 5999 is shorter than the deadline 6000",
    );
    wrong(json!({"policy": "SCHED_OTHER", "flags": ["X"]}), "/flags/0", "unknown scheduling flag \"X\"");
}

#[test]
fn an_io_priority_has_a_class() {
    let at = "/process/ioPriority";
    let read = |value| accepted(at, value).process.io_priority.unwrap().value();
    assert_eq!(read(json!({"class": "IOPRIO_CLASS_RT", "priority": 7})), 0x2007);
    assert_eq!(read(json!({"class": "IOPRIO_CLASS_BE"})), 0x4000);
    assert_eq!(read(json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0})), 0x6000);
    refused(at, json!({"priority": 1}), "/process/ioPriority/class: required, but missing");
    refused(
        at,
        json!({"class": "IOPRIO_CLASS_NONE"}),
        "/process/ioPriority/class: unknown I/O scheduling class \"IOPRIO_CLASS_NONE\"",
    );
    for priority in [-1, 8] {
        refused(
            at,
            json!({"class": "IOPRIO_CLASS_BE", "priority": priority}),
            &format!("/process/ioPriority/priority: expected an integer from 0 to 7, found {priority}"),
        );
    }
}

#[test]
fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
    let at = "/process/execCPUAffinity";
    let read = |list: &str| accepted(at, json!({ "final": list })).process.exec_affinity.last.bytes();
    assert_eq!(read(""), [0; 0]);
    assert_eq!(read("0"), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read("0-3,7, 9-9"), [0x8f, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read("31-32"), [0, 0, 0, 0x80, 1, 0, 0, 0]);
    // More than the 1024 of cpu_set_t.
    let far = read("2047");
    assert_eq!((far.len(), far.last()), (256, Some(&0x80)));
    assert_eq!(read("0-65535"), [0xff; 8192]);
    for (list, message) in [
        ("65536", "65536 is more than 65535"),
        ("3-1", "the range 3-1 ends before it begins"),
        ("0,x", "\"x\" is no number and no range such as 0-3"),
        ("1-", "\"1-\" is no number and no range such as 0-3"),
        ("-1", "\"-1\" is no number and no range such as 0-3"),
        ("+1", "\"+1\" is no number and no range such as 0-3"),
        ("1,,2", "\"\" is no number and no range such as 0-3"),
        ("99999999999", "\"99999999999\" is no number and no range such as 0-3"),
    ] {
        refused(at, json!({ "initial": list }), &format!("{at}/initial: {message}"));
    }
}

#[test]
fn a_memory_policy_is_checked() {
    let at = "/linux/memoryPolicy";
    let read = |value| {
        let policy = accepted(at, value).linux.memory_policy.unwrap();
        (policy.mode, policy.nodes.bytes())
    };
    assert_eq!(read(json!({"mode": "MPOL_DEFAULT"})), (0, vec![]));
    assert_eq!(read(json!({"mode": "MPOL_PREFERRED"})), (1, vec![]));
    assert_eq!(read(json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "1"})), (6, vec![2, 0, 0, 0, 0, 0, 0, 0]));
    let flags = json!(["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]);
    assert_eq!(read(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": flags})).0, 2 | 1 << 13 | 1 << 15);

    let wrong = |value, place: &str, message: &str| refused(at, value, &format!("{at}{place}: {message}"));
    wrong(json!({"nodes": "0"}), "/mode", "required, but missing");
    wrong(json!({"mode": "BIND", "nodes": "0"}), "/mode", "unknown memory policy \"BIND\"");
    for mode in ["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"] {
        wrong(json!({ "mode": mode }), "", &format!("{mode} needs at least one of the memory nodes"));
    }
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL"] {
        wrong(json!({"mode": mode, "nodes": "0"}), "/nodes", &format!("{mode} takes no nodes"));
    }
    wrong(json!({"mode": "MPOL_BIND", "nodes": "1024"}), "/nodes", "1024 is more than 1023");
    wrong(
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}),
        "/flags/0",
        "unknown flag of a memory policy \"MPOL_F_X\"",
    );
    wrong(
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
        "/flags",
        "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
    );
    wrong(json!({"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_STATIC_NODES"]}), "/flags", "MPOL_DEFAULT takes no flags");
}

#[test]
fn a_personality_is_a_known_one() {
    let at = "/linux/personality";
    assert_eq!(accepted(at, json!({"domain": "LINUX"})).linux.personality, Some(0));
    assert_eq!(accepted(at, json!({"domain": "LINUX32"})).linux.personality, Some(8));
    refused(at, json!({"domain": "PER_LINUX"}), "/linux/personality/domain: unknown personality \"PER_LINUX\"");
    refused(
        at,
        json!({"domain": "LINUX", "flags": ["X"]}),
        "/linux/personality/flags: the specification has no flags of a personality so far",
    );
}
