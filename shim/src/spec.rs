//! `spec`: a config.json to start from, with the settings that runc's has.
//!
//! There is always a cgroup namespace. runc leaves it out where cgroup v1 is about, but what is mounted here
//! is cgroup2 on any host.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use nix::unistd::{getegid, geteuid};

use crate::cause::cause;
use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::parse::Arguments;

/// Writes config.json.
pub(crate) fn spec(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let text = if arguments.flags.has(&flags::SPEC_ROOTLESS) {
        rootless(geteuid().as_raw(), getegid().as_raw())
    } else {
        rootful()
    };
    let mut path = PathBuf::from(arguments.flags.value(&flags::SPEC_BUNDLE).unwrap_or_default());
    path.push("config.json");
    // create_new neither follows a link nor replaces what another process writes meanwhile.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => "File config.json exists. Remove it first".to_owned(),
        _ => format!("creating {}: {}", path.display(), cause(error)),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| format!("writing {}: {}", path.display(), cause(error)))?;
    Ok(0)
}

fn rootful() -> String {
    let mut text = String::with_capacity(4096);
    text.push_str(PROCESS_AND_ROOT);
    text.push_str(PROC_AND_DEV);
    text.push_str(TERMINAL_GROUP);
    text.push_str(SHM_AND_MQUEUE);
    text.push_str(SYSFS);
    text.push_str(CGROUP);
    text.push_str(DEVICES);
    push_namespaces(&mut text, &["pid", "network", "ipc", "uts", "mount", "cgroup"]);
    text.push_str(HIDDEN_PATHS);
    text
}

/// What a user can do alone: one id is mapped, the network is the host's (and so sysfs cannot be mounted,
/// only bound), and there is no group for terminals.
fn rootless(uid: u32, gid: u32) -> String {
    let mut text = String::with_capacity(4096);
    text.push_str(PROCESS_AND_ROOT);
    text.push_str(PROC_AND_DEV);
    text.push_str(SHM_AND_MQUEUE);
    text.push_str(HOST_SYS);
    text.push_str(CGROUP);
    push_mapping(&mut text, "uid", uid);
    push_mapping(&mut text, "gid", gid);
    push_namespaces(&mut text, &["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    text.push_str(HIDDEN_PATHS);
    text
}

fn push_mapping(text: &mut String, kind: &str, host: u32) {
    text.push_str("\t\t\"");
    text.push_str(kind);
    text.push_str("Mappings\": [\n\t\t\t{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": ");
    text.push_str(&host.to_string());
    text.push_str(",\n\t\t\t\t\"size\": 1\n\t\t\t}\n\t\t],\n");
}

fn push_namespaces(text: &mut String, namespaces: &[&str]) {
    text.push_str("\t\t\"namespaces\": [\n");
    for (index, namespace) in namespaces.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ",\n" });
        text.push_str("\t\t\t{\n\t\t\t\t\"type\": \"");
        text.push_str(namespace);
        text.push_str("\"\n\t\t\t}");
    }
    text.push_str("\n\t\t],\n");
}

const PROCESS_AND_ROOT: &str = r#"{
	"ociVersion": "1.3.0",
	"process": {
		"terminal": true,
		"user": {
			"uid": 0,
			"gid": 0
		},
		"args": [
			"sh"
		],
		"env": [
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"TERM=xterm"
		],
		"cwd": "/",
		"capabilities": {
			"bounding": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"effective": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"permitted": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			]
		},
		"rlimits": [
			{
				"type": "RLIMIT_NOFILE",
				"hard": 1024,
				"soft": 1024
			}
		],
		"noNewPrivileges": true
	},
	"root": {
		"path": "rootfs",
		"readonly": true
	},
	"hostname": "no-frills",
	"mounts": [
"#;

const PROC_AND_DEV: &str = r#"		{
			"destination": "/proc",
			"type": "proc",
			"source": "proc"
		},
		{
			"destination": "/dev",
			"type": "tmpfs",
			"source": "tmpfs",
			"options": [
				"nosuid",
				"strictatime",
				"mode=755",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/pts",
			"type": "devpts",
			"source": "devpts",
			"options": [
				"nosuid",
				"noexec",
				"newinstance",
				"ptmxmode=0666",
				"mode=0620""#;

/// Continues the options of devpts: the group `tty`.
const TERMINAL_GROUP: &str = r#",
				"gid=5""#;

const SHM_AND_MQUEUE: &str = r#"
			]
		},
		{
			"destination": "/dev/shm",
			"type": "tmpfs",
			"source": "shm",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"mode=1777",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/mqueue",
			"type": "mqueue",
			"source": "mqueue",
			"options": [
				"nosuid",
				"noexec",
				"nodev"
			]
		},
"#;

const SYSFS: &str = r#"		{
			"destination": "/sys",
			"type": "sysfs",
			"source": "sysfs",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"ro"
			]
		},
"#;

const HOST_SYS: &str = r#"		{
			"destination": "/sys",
			"type": "none",
			"source": "/sys",
			"options": [
				"rbind",
				"nosuid",
				"noexec",
				"nodev",
				"ro"
			]
		},
"#;

const CGROUP: &str = r#"		{
			"destination": "/sys/fs/cgroup",
			"type": "cgroup",
			"source": "cgroup",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"relatime",
				"ro"
			]
		}
	],
	"linux": {
"#;

const DEVICES: &str = r#"		"resources": {
			"devices": [
				{
					"allow": false,
					"access": "rwm"
				}
			]
		},
"#;

const HIDDEN_PATHS: &str = r#"		"maskedPaths": [
			"/proc/acpi",
			"/proc/asound",
			"/proc/kcore",
			"/proc/keys",
			"/proc/latency_stats",
			"/proc/timer_list",
			"/proc/timer_stats",
			"/proc/sched_debug",
			"/sys/firmware",
			"/proc/scsi"
		],
		"readonlyPaths": [
			"/proc/bus",
			"/proc/fs",
			"/proc/irq",
			"/proc/sys",
			"/proc/sysrq-trigger"
		]
	}
}
"#;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{rootful, rootless};

    #[test]
    fn rootful_has_what_runc_has() {
        let spec: Value = serde_json::from_str(&rootful()).unwrap();
        // runc 1.3's own, but for the host name and the version.
        let runc: Value = serde_json::from_str(include_str!("../tests/runc-spec.json")).unwrap();
        let mut ours = spec.clone();
        ours["hostname"] = runc["hostname"].clone();
        ours["ociVersion"] = runc["ociVersion"].clone();
        assert_eq!(ours, runc);
    }

    #[test]
    fn rootless_maps_the_caller() {
        let spec: Value = serde_json::from_str(&rootless(1000, 100)).unwrap();
        assert_eq!(spec["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(spec["linux"]["gidMappings"][0]["hostID"], 100);
        let runc: Value = serde_json::from_str(include_str!("../tests/runc-spec-rootless.json")).unwrap();
        let mut ours = spec.clone();
        for pointer in ["/hostname", "/ociVersion", "/linux/uidMappings", "/linux/gidMappings"] {
            *ours.pointer_mut(pointer).unwrap() = runc.pointer(pointer).unwrap().clone();
        }
        assert_eq!(ours, runc);
    }

    #[test]
    fn the_specification_s_types_take_it() {
        for text in [rootful(), rootless(1000, 100)] {
            let spec: oci_spec::runtime::Spec = serde_json::from_str(&text).unwrap();
            assert_eq!(spec.version(), "1.3.0");
            // Nothing is lost on the way: it has no property that the types do not know.
            let without_order = |mut value: Value| {
                for set in ["bounding", "effective", "permitted"] {
                    let names = value["process"]["capabilities"][set].as_array_mut().unwrap();
                    names.sort_by_key(Value::to_string);
                }
                value
            };
            let ours: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(without_order(serde_json::to_value(&spec).unwrap()), without_order(ours));
        }
    }

    #[test]
    fn indented_by_tabs_alone() {
        for text in [rootful(), rootless(0, 0)] {
            assert!(text.lines().all(|line| !line.trim_start_matches('\t').starts_with(' ')));
        }
    }
}
