//! `features`: what this build supports, for engines that ask before they use it.
//!
//! It says nothing of what only later versions will have. Of the mount options it lists those that a config may use; of
//! the flags of seccomp(2) those that this version knows, and those that the kernel knows as well, for which it is asked.

use crate::commands::Outcome;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;
use crate::version;

/// Prints the features as JSON.
pub(crate) fn features(_arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    output::print(&describe())?;
    Ok(0)
}

/// The oldest runtime specification whose configs are read.
const OLDEST_SPECIFICATION: &str = "1.0.0";

const HOOKS: &[&str] = &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Annotations that change what is done; a name that ends with a dot is that of all that begin so.
const ANNOTATIONS: &[&str] = &["org.systemd.property.", "run.oci.keep_original_groups", "run.oci.systemd.subgroup"];

const NAMESPACES: &[&str] = &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

/// Those that a config may name, in the order of the kernel's numbers.
#[rustfmt::skip]
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

fn describe() -> String {
    let mut text = String::with_capacity(4096);
    text.push_str("{\n  \"ociVersionMin\": \"");
    text.push_str(OLDEST_SPECIFICATION);
    text.push_str("\",\n  \"ociVersionMax\": \"");
    text.push_str(version::SPECIFICATION);
    text.push_str("\",\n  \"hooks\": ");
    push_list(&mut text, 2, HOOKS.iter().copied());
    text.push_str(",\n  \"mountOptions\": ");
    push_list(&mut text, 2, no_frills::mount_options());
    text.push_str(",\n  \"linux\": {\n    \"namespaces\": ");
    push_list(&mut text, 4, NAMESPACES.iter().copied());
    text.push_str(",\n    \"capabilities\": ");
    push_list(&mut text, 4, CAPABILITIES.iter().copied());
    text.push_str(",\n    \"seccomp\": {\n      \"enabled\": true");
    let seccomp: [(&str, &mut dyn Iterator<Item = &'static str>); 5] = [
        ("actions", &mut no_frills::seccomp_actions()),
        ("operators", &mut no_frills::seccomp_operators()),
        ("archs", &mut no_frills::seccomp_architectures()),
        ("knownFlags", &mut no_frills::seccomp_flags()),
        ("supportedFlags", &mut no_frills::supported_seccomp_flags()),
    ];
    for (key, words) in seccomp {
        text.push_str(",\n      \"");
        text.push_str(key);
        text.push_str("\": ");
        push_list(&mut text, 6, words);
    }
    text.push_str("\n    }");
    text.push_str(LINUX);
    text.push_str("\n  },\n  \"annotations\": {\n    \"io.github.no-frills.version\": \"");
    text.push_str(version::VERSION);
    if let Some(commit) = version::COMMIT {
        text.push_str("\",\n    \"io.github.no-frills.commit\": \"");
        text.push_str(commit);
    }
    text.push_str("\"\n  },\n  \"potentiallyUnsafeConfigAnnotations\": ");
    push_list(&mut text, 2, ANNOTATIONS.iter().copied());
    text.push_str("\n}\n");
    text
}

const LINUX: &str = r#",
    "cgroup": {
      "v1": false,
      "v2": true,
      "systemd": true,
      "systemdUser": true,
      "rdma": true
    },
    "apparmor": {
      "enabled": true
    },
    "selinux": {
      "enabled": true
    },
    "memoryPolicy": {
      "modes": [
        "MPOL_BIND",
        "MPOL_DEFAULT",
        "MPOL_INTERLEAVE",
        "MPOL_LOCAL",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE"
      ],
      "flags": [
        "MPOL_F_NUMA_BALANCING",
        "MPOL_F_RELATIVE_NODES",
        "MPOL_F_STATIC_NODES"
      ]
    },
    "intelRdt": {
      "enabled": true,
      "schemata": true,
      "monitoring": true
    },
    "mountExtensions": {
      "idmap": {
        "enabled": true
      }
    },
    "netDevices": {
      "enabled": true
    }"#;

/// Appends an array, the value of a key that is `indent` spaces deep, of words that need no escaping.
fn push_list(text: &mut String, indent: usize, words: impl Iterator<Item = &'static str>) {
    let line = |text: &mut String, indent| {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent));
    };
    text.push('[');
    for (index, word) in words.enumerate() {
        if index > 0 {
            text.push(',');
        }
        line(text, indent + 2);
        text.push('"');
        text.push_str(word);
        text.push('"');
    }
    line(text, indent);
    text.push(']');
}

#[cfg(test)]
mod tests {
    use no_frills::Config;
    use serde_json::{Value, json};

    use super::{CAPABILITIES, describe};

    fn features() -> Value {
        serde_json::from_str(&describe()).unwrap()
    }

    #[test]
    fn what_engines_read_is_there() {
        let features = features();
        assert_eq!(features["ociVersionMin"], "1.0.0");
        assert_eq!(features["ociVersionMax"], "1.3.0");
        assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
        assert_eq!(features["potentiallyUnsafeConfigAnnotations"], json!(super::ANNOTATIONS));
        assert_eq!(features["linux"]["cgroup"]["v2"], true);
        let seccomp = &features["linux"]["seccomp"];
        assert_eq!(seccomp["enabled"], true);
        for (kind, count) in [("actions", 9), ("operators", 7), ("knownFlags", 4)] {
            assert_eq!(seccomp[kind].as_array().map(Vec::len), Some(count), "{kind}");
        }
        assert!(seccomp["archs"].as_array().unwrap().contains(&json!("SCMP_ARCH_X86_64")));
        assert!(seccomp["supportedFlags"].as_array().unwrap().contains(&json!("SECCOMP_FILTER_FLAG_LOG")));
        for (kind, count) in [("modes", 7), ("flags", 3)] {
            assert_eq!(features["linux"]["memoryPolicy"][kind].as_array().map(Vec::len), Some(count));
        }
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    }

    #[test]
    fn the_specification_s_types_take_it() {
        let features: oci_spec::runtime::Features = serde_json::from_str(&describe()).unwrap();
        assert_eq!(features.oci_version_max(), "1.3.0");
    }

    /// The library knows exactly these: it warns of any other.
    #[test]
    fn capabilities_are_the_library_s() {
        let config = |names: &[&str]| {
            let config = json!({
                "ociVersion": "1.3.0",
                "process": {
                    "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 },
                    "capabilities": { "bounding": names },
                },
                "root": { "path": "rootfs" },
                "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
            });
            Config::from_value(&config).unwrap()
        };
        assert_eq!(config(CAPABILITIES).warnings(), [] as [String; 0]);
        assert_eq!(CAPABILITIES.len(), 41);
        assert_eq!(config(&["CAP_NONE"]).warnings().len(), 1);
    }
}
