//! Mounts with extensions: whose ids, what is copied, what is shared with whom.

use std::path::Path;

use no_frills_plan::{Plan, Step};
use serde_json::{Value, json};

use super::*;

fn spec() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["prog"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}]}
    })
}

fn compiled(spec: &Value) -> Program {
    let options = CompileOptions::new(Path::new("/bundle"), "id");
    compile(&Config::from_value(spec).unwrap(), &options).unwrap()
}

/// The steps up to the first device, as they are printed, without numbers and settings.
fn mounts(spec: &Value) -> Vec<String> {
    let text = compiled(spec).describe();
    let steps =
        text.split_once("init\n").unwrap().1.lines().map(|line| line[6..].split("  ").next().unwrap().to_owned());
    steps
        .take_while(|step| !step.starts_with("OpenDirectory"))
        .skip_while(|step| !step.starts_with("AttachRoot"))
        .skip(1)
        .collect()
}

fn bind(options: &[&str]) -> Value {
    json!({"destination": "/v", "type": "bind", "source": "/s", "options": options})
}

#[test]
fn mounts_with_the_same_ids_ask_for_one_namespace() {
    let maps = json!([{"containerID": 0, "hostID": 5, "size": 2}]);
    let mut spec = spec();
    let mapped = |options: &[&str]| {
        let mut mount = bind(options);
        mount["uidMappings"] = maps.clone();
        mount["gidMappings"] = maps.clone();
        mount
    };
    spec["mounts"] =
        json!([mapped(&["rbind", "idmap"]), mapped(&["rbind", "ridmap"]), mapped(&["rbind"]), bind(&["bind"])]);
    let program = compiled(&spec);
    let ids: Vec<Option<MappedIds>> = program
        .sources
        .iter()
        .map(|source| match &source.kind {
            SourceKind::Tree { ids, .. } => ids.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let maps = IdMaps { uid: "0 5 2\n".to_owned(), gid: "0 5 2\n".to_owned() };
    let expected = |recursive| Some(MappedIds { ids: Ids::Maps(maps.clone()), recursive });
    assert_eq!(ids, [None, expected(false), expected(true), expected(false), None]);
    // Init has nothing to do for it.
    let steps = Plan::decode(program.steps.bytes()).unwrap().steps().map(Result::unwrap);
    assert_eq!(steps.filter(|step| matches!(step, Step::IdMapMount { .. })).count(), 0);
}

#[test]
fn mounts_without_ids_of_their_own_have_those_of_the_user_namespace() {
    let ids = |user: Value| {
        let mut spec = spec();
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(user);
        if spec["linux"]["namespaces"][3]["path"].is_null() {
            spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 9}]);
            spec["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 2000, "size": 9}]);
        }
        spec["mounts"] = json!([{"destination": "/t", "type": "tmpfs", "options": ["idmap"]}]);
        let program = compiled(&spec);
        program.sources.iter().find_map(|source| match &source.kind {
            SourceKind::UserNamespace(ids) => Some(ids.clone()),
            _ => None,
        })
    };
    let maps = IdMaps { uid: "0 1000 9\n".to_owned(), gid: "0 2000 9\n".to_owned() };
    assert_eq!(ids(json!({"type": "user"})), Some(Ids::Maps(maps)));
    assert_eq!(ids(json!({"type": "user", "path": "/n"})), Some(Ids::Namespace("/n".into())));
}

#[test]
fn only_in_a_shared_root_is_a_shared_volume_the_hosts() {
    let with_root = |propagation: Value| {
        let mut spec = spec();
        spec["linux"]["rootfsPropagation"] = propagation;
        spec["mounts"] = json!([bind(&["rbind", "rshared"])]);
        mounts(&spec)
    };
    let attached = ["UseSource(source=1)", "Attach(\"/v\", flags=NOT_IN_PROC)"];
    let shared = "SetMountAttributes(propagation=MS_SHARED, recursive)";
    assert_eq!(with_root("rshared".into()), [attached[0], attached[1], shared]);
    let slave = "SetMountAttributes(propagation=MS_SLAVE, recursive)";
    assert_eq!(with_root(Value::Null), [attached[0], slave, attached[1], shared]);
    let private = "SetMountAttributes(propagation=MS_PRIVATE, recursive)";
    assert_eq!(with_root("rprivate".into()), [attached[0], private, attached[1], shared]);
}

#[test]
fn the_propagation_of_the_root_is_set_last_and_only_where_it_changes_something() {
    let set = |propagation: &str, options: &[&str]| {
        let mut spec = spec();
        spec["linux"]["rootfsPropagation"] = propagation.into();
        spec["linux"]["readonlyPaths"] = json!(["/x"]);
        spec["mounts"] = json!([bind(options)]);
        let text = compiled(&spec).describe();
        let (_, behind) = text.split_once("MakeReadonly(").unwrap();
        behind
            .lines()
            .find(|line| line.contains("SetRootPropagation"))
            .map(|line| line[6..].split("  ").next().unwrap().to_owned())
    };
    assert_eq!(set("slave", &["rshared"]), None);
    assert_eq!(set("rslave", &["rslave"]), None);
    assert_eq!(set("rslave", &["rshared"]).unwrap(), "SetRootPropagation(propagation=MS_SLAVE, recursive)");
    assert_eq!(set("private", &[]).unwrap(), "SetRootPropagation(propagation=MS_PRIVATE)");
    assert_eq!(set("shared", &[]).unwrap(), "SetRootPropagation(propagation=MS_SHARED)");
    assert_eq!(set("runbindable", &[]).unwrap(), "SetRootPropagation(propagation=MS_UNBINDABLE, recursive)");
}

#[test]
fn a_cgroup_mount_is_a_new_one_or_the_containers_own() {
    let cgroup = |namespaces: Value, options: &[&str]| {
        let mut spec = spec();
        spec["linux"]["namespaces"] = namespaces;
        spec["mounts"] = json!([{"destination": "/c", "type": "cgroup", "options": options}]);
        mounts(&spec)
    };
    let mount = json!({"type": "mount"});
    let new = json!([mount, {"type": "cgroup"}]);
    assert_eq!(cgroup(new, &["ro"]), ["FsOpen(\"cgroup2\")", "FsMount(attributes=MOUNT_ATTR_RDONLY)", ATTACH_C]);
    let joined = json!([mount, {"type": "cgroup", "path": "/n"}]);
    assert_eq!(cgroup(joined, &[])[0], "FsOpen(\"cgroup2\")");
    let bound = cgroup(json!([mount]), &["nosuid"]);
    let attributes = "SetMountAttributes(set=MOUNT_ATTR_NOSUID, propagation=MS_SLAVE)";
    assert_eq!(bound, ["UseSource(source=1)", attributes, ATTACH_C]);
    // CVE-2023-25809
    let bound = cgroup(json!([mount, {"type": "user", "path": "/n"}]), &["nosuid", "rw"]);
    let attributes = "SetMountAttributes(set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID, propagation=MS_SLAVE)";
    assert!(bound[1].starts_with(attributes), "{bound:#?}");
}

const ATTACH_C: &str = "Attach(\"/c\", flags=NOT_IN_PROC)";

#[test]
fn labels_are_for_file_systems_of_the_containers_own() {
    let mut spec = spec();
    spec["linux"]["mountLabel"] = "l".into();
    let types = ["proc", "sysfs", "cgroup", "tracefs", "tmpfs", "devpts", "mqueue", "overlay", "ext4"];
    spec["mounts"] = types.iter().map(|kind| json!({"destination": format!("/{kind}"), "type": kind})).collect();
    let steps = mounts(&spec);
    let labelled =
        steps.windows(2).filter(|pair| pair[1] == "FsString(\"context\", \"l\")").map(|pair| pair[0].as_str());
    let expected = ["tmpfs", "devpts", "mqueue", "overlay", "ext4"].map(|kind| format!("FsOpen({kind:?})"));
    assert_eq!(labelled.collect::<Vec<_>>(), expected);
}

#[test]
fn errors_of_extensions_say_what_was_done() {
    let mut spec = spec();
    spec["mounts"] = json!([
        {"destination": "/t", "type": "tmpfs", "options": ["tmpcopyup"]},
        {"destination": "/t", "options": ["remount", "size=1"]},
        {"destination": "/u", "options": ["remount", "sync"]},
        {"destination": "/l", "type": "overlay", "options": ["ro", format!("lowerdir={}", "x".repeat(300))]},
    ]);
    let program = compiled(&spec);
    let steps: Vec<Step<'_>> = Plan::decode(program.steps.bytes()).unwrap().steps().map(Result::unwrap).collect();
    let action = |name: &str, nth: usize| {
        let mut found = steps.iter().enumerate().filter(|(_, step)| step.name() == name);
        program.action(found.nth(nth).unwrap().0 as u32)
    };
    assert_eq!(action("CopyUp", 0), "mounting \"tmpfs\" on \"/t\": copying what is there");
    assert_eq!(action("FsPick", 0), "changing the file system at \"/t\"");
    assert_eq!(action("FsString", 0), "changing the file system at \"/t\": option \"size=1\"");
    assert_eq!(action("FsReconfigure", 1), "changing the file system at \"/u\"");
    assert_eq!(action("FsFlag", 0), "changing the file system at \"/u\": option \"sync\"");
    assert_eq!(action("MountLegacy", 0), "mounting \"overlay\" on \"/l\"");
}

#[test]
fn the_device_program_waits_for_mounts_of_devices() {
    let waits = |kind: &str| {
        let mut spec = spec();
        spec["mounts"] = json!([{"destination": "/x", "type": kind}]);
        compiled(&spec).mounts_devices
    };
    assert!(waits("ext4") && waits("squashfs") && !waits("tmpfs") && !waits("tracefs") && !waits("cgroup"));
}
