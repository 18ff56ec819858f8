//! `mounts`.

use serde_json::{Value, json};

use super::tests::{accepted, error, mount, refused, set, warned, with};
use super::*;

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
