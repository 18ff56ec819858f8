use std::path::Path;

use no_frills_plan::{Plan, Step, Within};
use no_frills_sys::seccomp::{LOG, NEW_LISTENER, SPEC_ALLOW, WAIT_KILLABLE_RECV};
use serde_json::{Value, json};

use super::*;
use crate::config::CAPABILITIES;

fn spec() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["prog"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    })
}

fn options() -> CompileOptions<'static> {
    CompileOptions::new(Path::new("/bundle"), "id")
}

fn compiled(spec: &Value) -> Program {
    compile(&Config::from_value(spec).unwrap(), &options()).unwrap()
}

fn steps(program: &Program) -> Vec<Step<'_>> {
    Plan::decode(program.steps.bytes()).unwrap().steps().map(Result::unwrap).collect()
}

fn names(program: &Program) -> Vec<&'static str> {
    steps(program).iter().map(Step::name).collect()
}

#[test]
fn every_step_has_a_pointer() {
    let program = compiled(&spec());
    assert_eq!(program.pointers.len(), program.steps.count() as usize);
    assert_eq!(program.pointer(1), "/linux/namespaces");
    assert_eq!((program.pointer(0), program.pointer(u32::MAX)), (String::new(), String::new()));
    assert_eq!(program.rootfs(), Path::new("/bundle/rootfs"));
    assert_eq!(size_of::<Pointer>(), 32);
}

#[test]
fn a_rootfs_may_be_anywhere() {
    let mut spec = spec();
    spec["root"]["path"] = "/var/lib/x".into();
    assert_eq!(compiled(&spec).rootfs(), Path::new("/var/lib/x"));
}

/// What the kernel makes with namespaces is charged to who makes them.
#[test]
fn where_memory_is_limited_clone3_makes_the_namespaces() {
    let with = |namespaces: &[&str], resources: Value| {
        let mut spec = spec();
        spec["linux"]["namespaces"] = namespaces.iter().map(|name| json!({"type": name})).collect();
        spec["linux"]["resources"] = resources;
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        if namespaces.contains(&"user") {
            spec["linux"]["uidMappings"] = map.clone();
            spec["linux"]["gidMappings"] = map;
        }
        let program = compiled(&spec);
        let unshared = steps(&program).iter().find_map(|step| match step {
            Step::Unshare { flags } => Some(u64::from(*flags)),
            _ => None,
        });
        (program.clone_flags, unshared)
    };
    let all = ["pid", "network", "mount", "ipc", "uts", "cgroup"];
    let others = namespace::NETWORK | namespace::MOUNT | namespace::IPC | namespace::UTS;
    let limit = json!({"memory": {"limit": 1 << 20}});
    assert_eq!(with(&all, json!({})), (namespace::PID, Some(others | namespace::CGROUP)));
    assert_eq!(with(&all, json!({"pids": {"limit": 9}})), (namespace::PID, Some(others | namespace::CGROUP)));
    assert_eq!(with(&all, limit.clone()), (namespace::PID | others, Some(namespace::CGROUP)));
    assert_eq!(with(&all, json!({"unified": {"memory.max": "1"}})), (namespace::PID | others, Some(namespace::CGROUP)));
    assert_eq!(with(&["mount", "pid"], limit.clone()), (namespace::PID | namespace::MOUNT, None));
    // Nobody would own what comes with an ipc namespace in a user namespace that has no mappings yet.
    let user = with(&["pid", "mount", "ipc", "user"], limit);
    assert_eq!(user, (namespace::PID | namespace::USER, Some(namespace::MOUNT | namespace::IPC)));
}

#[test]
fn options_choose_steps() {
    let config = Config::from_value(&spec()).unwrap();
    let chosen = |no_pivot, no_new_keyring| {
        let options = CompileOptions { no_pivot, no_new_keyring, ..options() };
        let program = compile(&config, &options).unwrap();
        let names = names(&program);
        ["PivotRoot", "EnterRoot", "JoinSessionKeyring"].map(|name| names.contains(&name))
    };
    assert_eq!(chosen(false, false), [true, false, true]);
    assert_eq!(chosen(true, true), [false, true, false]);
}

fn tree(source: &Source) -> PathBuf {
    match &source.kind {
        SourceKind::Tree { path, .. } => path.clone(),
        other => panic!("{other:?}"),
    }
}

/// Follows the sources through the batches as init would.
#[test]
fn sources_come_in_batches() {
    let mut spec = spec();
    let binds = (0..1000)
        .map(|number| json!({"destination": format!("/m/{number}"), "type": "bind", "source": format!("/s/{number}")}));
    spec["mounts"] = binds.collect();
    spec["linux"]["maskedPaths"] = json!(["/a", "/b"]);
    let program = compiled(&spec);
    assert_eq!(program.sources.len(), 1002);
    let (mut batches, mut taken) = (program.sources.chunks(SOURCE_BATCH), Vec::new());
    let mut batch = batches.next().unwrap();
    for step in steps(&program) {
        match step {
            Step::ReceiveSources {} => batch = batches.next().unwrap(),
            Step::UseSource { source } => taken.push(tree(&batch[source as usize])),
            Step::Mask { null, .. } => assert_eq!(tree(&batch[null as usize]), Path::new("/dev/null")),
            _ => {}
        }
    }
    assert!(batches.next().is_none());
    let all: Vec<PathBuf> = program.sources.iter().map(tree).collect();
    assert_eq!(taken, all);
    let attached =
        steps(&program).iter().position(|step| matches!(step, Step::Attach { path, .. } if *path == text("/m/529")));
    assert_eq!(program.action(attached.unwrap() as u32), "mounting \"/s/529\" on \"/m/529\"");
}

#[test]
fn as_many_sources_as_a_batch_holds_need_no_second() {
    let mut spec = spec();
    let binds =
        (1..SOURCE_BATCH).map(|number| json!({"destination": format!("/{number}"), "type": "bind", "source": "/s"}));
    spec["mounts"] = binds.collect();
    assert!(!names(&compiled(&spec)).contains(&"ReceiveSources"));
    spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/x", "type": "bind", "source": "/s"}));
    assert_eq!(names(&compiled(&spec)).iter().filter(|name| **name == "ReceiveSources").count(), 1);
}

fn flags_of(spec: &Value, path: &str) -> u8 {
    let program = compiled(spec);
    let found = steps(&program).into_iter().find_map(|step| match step {
        Step::Attach { path: at, flags } if at == text(path) => Some(flags),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn destinations_that_others_made_are_kept_out_of_procfs() {
    let mut spec = spec();
    let tmpfs = |at: &str| json!({"destination": at, "type": "tmpfs", "options": ["mode=700"]});
    let bind = |at: &str| json!({"destination": at, "type": "bind", "source": "/s"});
    spec["mounts"] = json!([
        tmpfs("/t"), tmpfs("/t/a/b"), bind("/t/volume"), tmpfs("/t/volume/x"), tmpfs("/other"),
        {"destination": "/sys", "type": "sysfs"}, tmpfs("/sys/fs/x"), bind("/sys/kernel"), tmpfs("/sys/kernel/y"),
    ]);
    for (path, flags) in [
        ("/t", attach::NOT_IN_PROC),
        ("/t/a/b", attach::NOT_IN_PROC),
        ("/t/volume", attach::NOT_IN_PROC),
        ("/t/volume/x", attach::NOT_IN_PROC),
        ("/other", attach::NOT_IN_PROC),
        ("/sys", attach::NO_SYMLINKS),
        ("/sys/fs/x", attach::NO_SYMLINKS),
        ("/sys/kernel/y", attach::NOT_IN_PROC),
    ] {
        assert_eq!(flags_of(&spec, path), flags, "{path}");
    }
}

#[test]
fn only_a_fresh_dev_is_kept_open() {
    let dev = json!({"destination": "/dev", "type": "tmpfs"});
    let pts = json!({"destination": "/dev/pts", "type": "devpts"});
    let deep = json!({"destination": "/dev/a/b", "type": "mqueue"});
    let mut spec = spec();
    spec["mounts"] = json!([dev, pts, deep]);
    assert_eq!(flags_of(&spec, "pts"), attach::IN_DIRECTORY);
    assert_eq!(flags_of(&spec, "/dev/a/b"), attach::NOT_IN_PROC);
    // Its own links, if it is none of ours, could lead anywhere.
    assert_eq!(flags_of(&spec, "/dev"), attach::NO_SYMLINKS | attach::KEEP_MODE);
    assert!(!names(&compiled(&spec)).contains(&"OpenDirectory"));
    // Nothing says what is in this one.
    spec["mounts"] = json!([dev, {"destination": "/dev", "type": "devtmpfs"}, pts]);
    assert_eq!(flags_of(&spec, "/dev/pts"), attach::NOT_IN_PROC);
    assert!(names(&compiled(&spec)).contains(&"OpenDirectory"));
    spec["mounts"] = json!([pts]);
    assert_eq!(flags_of(&spec, "/dev/pts"), attach::NOT_IN_PROC);
}

fn candidates_for(program: &str, env: &[&str]) -> Vec<String> {
    let mut spec = spec();
    spec["process"]["args"] = json!([program]);
    spec["process"]["env"] = json!(env);
    let program = compiled(&spec);
    let found = steps(&program).into_iter().find_map(|step| match step {
        Step::FindProgram { candidates } => Some(candidates),
        _ => None,
    });
    found.unwrap().iter().map(|text| String::from_utf8(text.bytes().to_vec()).unwrap()).collect()
}

#[test]
fn a_program_is_looked_for_as_execvp_does() {
    assert_eq!(candidates_for("/bin/x", &["PATH=/a"]), ["/bin/x"]);
    assert_eq!(candidates_for("./x", &["PATH=/a"]), ["./x"]);
    assert_eq!(candidates_for("x", &["PATH=/old", "PATH=/a:/b/"]), ["/a/x", "/b//x"]);
    assert_eq!(candidates_for("x", &["PATH=/a::"]), ["/a/x", "./x", "./x"]);
    assert_eq!(candidates_for("x", &["PATH="]), ["./x"]);
    assert_eq!(candidates_for("x", &["XPATH=/a"]), [""; 0]);
    assert_eq!(candidates_for("", &["PATH=/a"]), [""; 0]);
}

#[test]
fn of_variables_with_one_name_the_last_counts() {
    let mut spec = spec();
    spec["process"]["env"] = json!(["A=1", "B=0", "C=", "A=2", "AB=3", "B=4"]);
    let program = compiled(&spec);
    let Some(Step::Execute { environment, .. }) = steps(&program).pop() else { panic!("no Execute") };
    let found: Vec<String> = environment.iter().map(|text| String::from_utf8_lossy(text.bytes()).into()).collect();
    assert_eq!(found, ["C=", "A=2", "AB=3", "B=4"]);
}

#[test]
fn the_whole_bounding_set_needs_no_steps() {
    let mut spec = spec();
    let all: Vec<String> = CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect();
    spec["process"]["capabilities"] = json!({"bounding": all});
    assert!(!names(&compiled(&spec)).contains(&"DropBounding"));
    spec["process"]["capabilities"] = json!({});
    assert_eq!(names(&compiled(&spec)).iter().filter(|name| **name == "DropBounding").count(), 41);
}

#[test]
fn ambient_capabilities_are_set_or_cleared_where_some_could_be() {
    let ambient = |sets: Value| {
        let mut spec = spec();
        spec["process"]["capabilities"] = sets;
        names(&compiled(&spec)).contains(&"SetAmbient")
    };
    assert!(!ambient(json!({"permitted": ["CAP_KILL"]})));
    assert!(!ambient(json!({"permitted": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]})));
    assert!(ambient(json!({"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"]})));
    assert!(ambient(json!({"ambient": ["CAP_KILL"]})));
}

#[test]
fn cgroups_are_placed_or_refused() {
    let place = |path: Value| {
        let mut spec = spec();
        spec["linux"]["cgroupsPath"] = path;
        compile(&Config::from_value(&spec).unwrap(), &options())
            .map(|program| program.cgroup)
            .map_err(|error| error.to_string())
    };
    let fs = |path: &str| Ok(Some(CgroupsPath::Fs(path.into())));
    assert_eq!(place(Value::Null), fs("no-frills/id"));
    assert_eq!(place("".into()), fs("no-frills/id"));
    assert_eq!(place("/a//b/".into()), fs("a/b"));
    assert_eq!(place("a/b".into()), fs("no-frills/a/b"));
    assert_eq!(place("system.slice:docker:1".into()), fs("no-frills/system.slice:docker:1"));
    assert!(place("/a/../..".into()).unwrap_err().starts_with("/linux/cgroupsPath: "));
    assert!(place("/".into()).unwrap_err().starts_with("/linux/cgroupsPath: "));
}

#[test]
fn with_systemd_paths_are_names_of_scopes() {
    let place = |path: Value| {
        let mut spec = spec();
        spec["linux"]["cgroupsPath"] = path;
        let options = CompileOptions { systemd_cgroup: true, ..options() };
        compile(&Config::from_value(&spec).unwrap(), &options)
            .map(|program| program.cgroup)
            .map_err(|error| error.to_string())
    };
    let scope = |slice: &str, prefix: &str, name: &str| {
        Ok(Some(CgroupsPath::Systemd { slice: slice.into(), prefix: prefix.into(), name: name.into() }))
    };
    assert_eq!(place("system.slice:docker:1".into()), scope("system.slice", "docker", "1"));
    assert_eq!(place(Value::Null), scope("", "no-frills", "id"));
    let refused = "/linux/cgroupsPath: cgroup path \"/a/b\": for the systemd driver it is to be slice:prefix:name";
    assert_eq!(place("/a/b".into()), Err(refused.to_owned()));
}

#[test]
fn maps_that_the_kernel_does_not_take_in_one_write_are_refused() {
    let mut spec = spec();
    spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}]);
    let maps: Vec<Value> =
        (0..300_u32).map(|id| json!({"containerID": id, "hostID": 4_000_000_000 + id, "size": 1})).collect();
    spec["linux"]["uidMappings"] = maps.into();
    spec["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let error = compile(&Config::from_value(&spec).unwrap(), &options()).unwrap_err();
    assert_eq!(error.to_string(), "/linux/uidMappings: 4990 bytes of maps, the kernel takes 4095");
}

#[test]
fn root_of_the_namespace_is_become_where_there_is_one() {
    let becomes = |uid: u32, gid: u32| {
        let mut spec = spec();
        spec["process"]["user"] = json!({"uid": uid, "gid": gid});
        spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}]);
        spec["linux"]["uidMappings"] = json!([{"containerID": uid, "hostID": 1000, "size": 1}]);
        spec["linux"]["gidMappings"] = json!([{"containerID": gid, "hostID": 1000, "size": 1}]);
        names(&compiled(&spec)).contains(&"BecomeRoot")
    };
    assert!(becomes(0, 0) && !becomes(5, 5) && !becomes(0, 5));
}

#[test]
fn processes_that_others_could_see_close_themselves_first() {
    let mut spec = spec();
    assert!(!names(&compiled(&spec)).contains(&"SetUndumpable"));
    spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
    assert_eq!(names(&compiled(&spec))[0], "SetUndumpable");
}

/// The steps after the first of this name, as they are printed.
fn printed(spec: &Value, from: &str) -> Vec<String> {
    let text = compiled(spec).describe();
    let steps = text.split_once("init\n").unwrap().1.lines().map(|line| line[6..].to_owned());
    steps.skip_while(|step| !step.starts_with(from)).collect()
}

#[test]
fn what_is_changed_late_is_changed_by_its_descriptor() {
    let mut spec = spec();
    spec["mounts"] = json!([
        {"destination": "/v", "type": "bind", "source": "/s", "options": ["shared"]},
        {"destination": "/v/t", "type": "tmpfs", "options": ["ro", "mode=755", "slave"]},
        {"destination": "/v/b", "type": "bind", "source": "/s", "options": ["rbind", "shared"]},
        {"destination": "/v/b", "options": ["remount", "nosuid"]},
        {"destination": "/other", "options": ["remount", "ro"]},
    ]);
    let program = compiled(&spec);
    let names = names(&program);
    // Of all these only what the configuration did not mount is looked up once more.
    assert_eq!(names.iter().filter(|name| **name == "ChangeMount").count(), 1);
    let attached = printed(&spec, "Attach(\"/v/t\"");
    assert!(attached[1].starts_with("SetMountAttributes(propagation=MS_SLAVE)"), "{attached:#?}");
    assert!(attached[2].starts_with("KeepMount()"), "{attached:#?}");
    let late = printed(&spec, "PivotRoot");
    assert!(late[1].starts_with("UseKept(kept=0)") && late[1].ends_with("/mounts/1"), "{late:#?}");
    assert!(late[2].starts_with("SetMountAttributes(set=MOUNT_ATTR_RDONLY)"), "{late:#?}");
    let remount = printed(&spec, "UseKept(kept=1)");
    assert!(remount[1].starts_with("SetMountAttributes(set=MOUNT_ATTR_NOSUID)"), "{remount:#?}");
    let index = names.iter().rposition(|name| *name == "UseKept").unwrap() as u32;
    assert_eq!(program.action(index + 1), "changing the mount at \"/v/t\"");
}

#[test]
fn more_mounts_than_init_can_keep_are_refused() {
    let mut spec = spec();
    let tmpfs = |number| json!({"destination": format!("/{number}"), "type": "tmpfs", "options": ["ro"]});
    spec["mounts"] = (0..64).map(tmpfs).collect();
    compiled(&spec);
    spec["mounts"] = (0..65).map(tmpfs).collect();
    let error = compile(&Config::from_value(&spec).unwrap(), &options()).unwrap_err();
    assert!(error.to_string().starts_with("/mounts/64: more than 64 mounts"), "{error}");
}

#[test]
fn the_kernels_paths_are_hidden_in_the_mount_that_has_them() {
    let mut spec = spec();
    spec["linux"]["maskedPaths"] = json!(["/proc/x", "/sys/fs/cgroup/y", "/sys/z", "/proc", "/etc/x", "/proc2/x"]);
    spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    let masks = |mounts: Value| {
        let mut spec = spec.clone();
        spec["mounts"] = mounts;
        let program = compiled(&spec);
        let found = steps(&program).into_iter().filter_map(|step| match step {
            Step::Mask { within, .. } | Step::MakeReadonly { within, .. } => Some(match within {
                Within::Root => None,
                Within::Kept { kept, prefix } => Some((kept, prefix)),
            }),
            _ => None,
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(masks(json!([])), [None; 7]);
    let proc = json!({"destination": "/proc", "type": "proc"});
    let sys = json!({"destination": "/sys", "type": "sysfs"});
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup"});
    let (in_proc, in_sys) = (Some((0, 5)), Some((1, 4)));
    assert_eq!(masks(json!([proc, sys])), [in_proc, in_sys, in_sys, None, None, None, in_proc]);
    assert_eq!(masks(json!([proc, sys, cgroup])), [in_proc, None, in_sys, None, None, None, in_proc]);
    // What covers it counts.
    let host = json!({"destination": "/proc", "type": "bind", "source": "/proc"});
    let own = json!({"destination": "/sys", "type": "bind", "source": "/s"});
    let late = Some((2, 5));
    assert_eq!(masks(json!([proc, sys, host, own])), [late, None, None, None, None, None, late]);
}

#[test]
fn devices_of_the_host_are_checked() {
    let mut spec = spec();
    spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}]);
    spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 9}]);
    spec["linux"]["gidMappings"] = spec["linux"]["uidMappings"].clone();
    spec["linux"]["devices"] = json!([{"path": "/dev/disk", "type": "b", "major": 259, "minor": 300}]);
    let program = compiled(&spec);
    let checks = steps(&program).into_iter().filter(|step| matches!(step, Step::CheckDevice { .. })).count();
    assert_eq!(checks, 7);
    let index = names(&program).iter().rposition(|name| *name == "CheckDevice").unwrap() as u32;
    assert_eq!(program.action(index), "checking that the host has block device 259:300 there");
    assert_eq!(program.pointer(index).to_string(), "/linux/devices/0");
    assert_eq!(program.action(index - 1), "mounting \"/dev/disk\" on \"/dev/disk\"");
}

#[test]
fn what_is_mounted_on_a_default_device_takes_its_place() {
    let mut spec = spec();
    let made = |spec: &Value| printed(spec, "OpenDirectory").iter().filter(|step| step.contains("S_IFCHR")).count();
    assert_eq!(made(&spec), 6);
    spec["mounts"] = json!([{"destination": "/dev/random", "type": "bind", "source": "/dev/urandom"}]);
    assert_eq!(made(&spec), 5);
}

/// Text and pointer of the steps whose names are given.
fn shown(program: &Program, wanted: &[&str]) -> Vec<String> {
    let text = program.describe();
    let init = text.split_once("init\n").unwrap().1.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = |words: Vec<&str>| words.get(1..).unwrap().join(" ");
    init.map(line).filter(|line| wanted.iter().any(|name| line.starts_with(name))).collect()
}

#[test]
fn labels_are_written_to_a_procfs_of_our_own() {
    let mut spec = spec();
    spec["process"]["selinuxLabel"] = "a:b:c".into();
    spec["process"]["apparmorProfile"] = "profile".into();
    spec["process"]["noNewPrivileges"] = true.into();
    let program = compiled(&spec);
    let names = ["UseProcfs", "WriteProc", "JoinSessionKeyring", "SetUnconfined", "SetNoNewPrivileges", "Ready"];
    let number = program.sources.iter().position(|source| source.kind == SourceKind::Procfs).unwrap();
    assert_eq!(
        shown(&program, &names),
        [
            &format!("UseProcfs(source={number}) /process/selinuxLabel"),
            "WriteProc(\"thread-self/attr/keycreate\", \"a:b:c\") /process/selinuxLabel",
            "JoinSessionKeyring()",
            "WriteProc(\"thread-self/attr/keycreate\", \"\\n\") /process/selinuxLabel",
            "WriteProc(\"thread-self/attr/exec\", \"a:b:c\") /process/selinuxLabel",
            "WriteProc(\"thread-self/attr/apparmor/exec\", \"exec profile\") /process/apparmorProfile",
            "SetNoNewPrivileges() /process/noNewPrivileges",
            "Ready()",
        ]
    );
    spec["process"]["selinuxLabel"] = "".into();
    spec["process"]["apparmorProfile"] = "unconfined".into();
    assert_eq!(
        shown(&compiled(&spec), &names)[..3],
        [
            "JoinSessionKeyring()",
            &format!("UseProcfs(source={number}) /process/apparmorProfile"),
            "SetUnconfined() /process/apparmorProfile",
        ]
    );
}

#[test]
fn cpus_of_exec_are_for_exec() {
    let mut spec = spec();
    spec["process"]["execCPUAffinity"] = json!({"initial": "0,1", "final": "4096"});
    let names = ["SetAffinity", "ResetAffinity"];
    assert_eq!(shown(&compiled(&spec), &names), ["ResetAffinity()"]);
    let of_exec = |spec: &Value| {
        let config = Config::from_value(spec).unwrap();
        let program = compile_exec(&config, &config.process, &options());
        shown(&program, &[names.as_slice(), &["JoinNamespaces"]].concat())
    };
    let at = "/process/execCPUAffinity";
    let found = of_exec(&spec);
    assert_eq!(found.first().unwrap(), &format!("SetAffinity(cpus=0-1, may_fail) {at}/initial"));
    assert_eq!(found.last().unwrap(), &format!("SetAffinity(cpus=4096) {at}/final"));
    spec["process"]["execCPUAffinity"] = Value::Null;
    let found = of_exec(&spec);
    assert!(found[0].starts_with("JoinNamespaces"), "{found:?}");
    assert_eq!(found.last().unwrap(), "ResetAffinity()");
}

#[test]
fn what_the_caller_was_given_is_in_the_environment() {
    let mut spec = spec();
    spec["process"]["env"] = json!(["PATH=/bin", "LISTEN_FDS=7", "HOME=/"]);
    let config = Config::from_value(&spec).unwrap();
    let options = CompileOptions { listen_fds: 2, notify: Some(Path::new("/run/x/id/notify")), ..options() };
    let program = compile(&config, &options).unwrap();
    let execute = shown(&program, &["Execute"]);
    assert_eq!(
        execute,
        ["Execute([\"prog\"], [\"PATH=/bin\", \"HOME=/\", \"LISTEN_FDS=2\", \"LISTEN_PID=1\", \
            \"NOTIFY_SOCKET=/run/notify/notify.sock\"]) /process/args"]
    );
    let text = program.describe();
    assert!(text.contains("\"/run/x/id/notify\", flags=OPEN_TREE_CLONE)"), "{text}");
    let attached = shown(&program, &["Attach("]);
    assert_eq!(attached, ["Attach(\"/run/notify\", flags=NOT_IN_PROC)"]);
    let attributes = shown(&program, &["SetMountAttributes"]).pop().unwrap();
    assert!(
        attributes.contains("MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC"),
        "{attributes}"
    );
}

#[test]
fn a_filter_is_the_last_thing_before_the_program() {
    let mut spec = spec();
    let names = ["SetCapabilities", "ReceiveFilter", "Ready", "SetRlimit", "InstallFilter", "Execute", "Fork"];
    let steps = |program: &Program| {
        let lines = shown(program, &names);
        let name = |line: &String| line.split('(').next().unwrap().to_owned();
        lines.iter().map(name).collect::<Vec<_>>()
    };
    let kept = |program: &Program| shown(program, &["SetCapabilities"])[0].contains("kept=CAP_SYS_ADMIN");
    assert!(compiled(&spec).seccomp.is_none());
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    for no_new_privileges in [false, true] {
        spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let program = compiled(&spec);
        assert_eq!(
            steps(&program),
            ["SetCapabilities", "ReceiveFilter", "Ready", "SetRlimit", "InstallFilter", "Execute"]
        );
        // What installing it takes; with no_new_privs, nothing.
        assert_eq!(kept(&program), !no_new_privileges);
        let config = Config::from_value(&spec).unwrap();
        let program = compile_exec(&config, &config.process, &options());
        assert_eq!(
            steps(&program),
            ["SetCapabilities", "ReceiveFilter", "Fork", "SetRlimit", "InstallFilter", "Execute"]
        );
    }
}

#[test]
fn hooks_have_no_filter() {
    let mut spec = spec();
    spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    spec["hooks"] = json!({"startContainer": [{"path": "/bin/true"}]});
    let config = Config::from_value(&spec).unwrap();
    let hook = &config.hooks.of(Moment::StartContainer)[0];
    let program = compile_hook(&config, &options(), Moment::StartContainer, hook);
    assert_eq!(shown(&program, &["InstallFilter"]), [""; 0]);
    assert!(!shown(&program, &["SetCapabilities"])[0].contains("kept"));
}

#[test]
fn flags_of_a_filter_are_those_that_make_a_difference() {
    let mut spec = spec();
    let filter = |spec: &Value| compiled(spec).filter().unwrap().unwrap();
    spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    assert_eq!(filter(&spec).flags, SPEC_ALLOW);
    let all = ["TSYNC", "LOG", "WAIT_KILLABLE_RECV"].map(|name| format!("SECCOMP_FILTER_FLAG_{name}"));
    spec["linux"]["seccomp"]["flags"] = json!(all);
    assert_eq!(filter(&spec).flags, LOG);
    spec["linux"]["seccomp"]["listenerPath"] = json!("/run/agent");
    // Nothing is notified of: nobody listens.
    spec["linux"]["seccomp"]["syscalls"] = json!([{"names": ["no_such_call"], "action": "SCMP_ACT_NOTIFY"}]);
    assert_eq!(filter(&spec).flags, LOG);
    assert!(filter(&spec).listener.is_none());
    spec["linux"]["seccomp"]["syscalls"] = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    assert_eq!(filter(&spec).flags, LOG | NEW_LISTENER | WAIT_KILLABLE_RECV);
    assert_eq!(filter(&spec).listener.unwrap().path, "/run/agent");
}

#[test]
fn a_filter_that_lets_no_program_start_is_refused() {
    let with = |action: &str, rules: Value| {
        let mut spec = spec();
        spec["linux"]["seccomp"] = json!({"defaultAction": action, "syscalls": rules});
        let config = Config::from_value(&spec).unwrap();
        compile(&config, &options()).map_or_else(|error| error.to_string(), |_| String::new())
    };
    let rule = |name: &str, action: &str| json!({"names": [name], "action": action});
    let denied = |pointer, what| format!("/linux/seccomp{pointer}: {what} execve(2), by which the program is started");
    assert_eq!(with("SCMP_ACT_KILL", json!([])), denied("", "kills"));
    assert_eq!(with("SCMP_ACT_ERRNO", json!([rule("read", "SCMP_ACT_ALLOW")])), denied("", "denies"));
    assert_eq!(with("SCMP_ACT_ERRNO", json!([rule("execve", "SCMP_ACT_ALLOW")])), "");
    let second = json!([rule("read", "SCMP_ACT_TRAP"), rule("execve", "SCMP_ACT_TRAP")]);
    assert_eq!(with("SCMP_ACT_ALLOW", second), denied("/syscalls/1", "kills"));
    let mut conditional = rule("execve", "SCMP_ACT_ERRNO");
    conditional["args"] = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]);
    assert_eq!(with("SCMP_ACT_ALLOW", json!([conditional])), "");
    let contradiction = json!([rule("read", "SCMP_ACT_ALLOW")]);
    assert!(with("SCMP_ACT_TRACE", contradiction).is_empty());
}
