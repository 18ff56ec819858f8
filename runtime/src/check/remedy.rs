//! What can be done about a problem. Where the message says it already, that is not said again.

use super::distance::nearest;
use super::document::meant_namespace;
use crate::config::{CAPABILITIES, POLICIES, RLIMITS, mount_options};
use crate::seccomp::seccomp_actions;

/// The words by which a message is known, and what helps.
const BY_MESSAGE: &[(&str, &str)] = &[
    ("required, but missing", "add it"),
    ("required: ", "add it"),
    (
        "needs a namespace of type \"user\"",
        "add {\"type\": \"user\"} to linux.namespaces with mappings of the caller's ids (`no-frills spec --rootless` shows them)",
    ),
    ("needs a new namespace of type", "add one of that type to linux.namespaces, or remove the setting"),
    ("needs a namespace of type", "add one of that type to linux.namespaces, or remove the setting"),
    ("that is not the host's", "add one of that type, without a path, to linux.namespaces, or remove the setting"),
    (
        "there is no new namespace of type \"user\"",
        "add {\"type\": \"user\"} to linux.namespaces, or remove the mappings",
    ),
    ("belongs to no namespace", "set it on the host (sysctl.d(5)), and remove it here"),
    ("expected an integer from", "write a number in that range"),
    ("expected an integer", "write it as a number without quotes and fraction"),
    ("expected an object", "write it in braces"),
    ("expected an array", "write it in brackets"),
    ("expected a string", "write it in quotes"),
    ("expected a boolean", "write true or false, without quotes"),
    ("must be an absolute path", "write it from / on"),
    ("leads out of the root", "write it without .., from the container's / on"),
    ("is not of the form NAME=VALUE", "write it as NAME=VALUE"),
    ("must not be empty", "fill it, or remove it"),
    (
        "cgroup v1, for which cgroup v2 has nothing",
        "remove it; what cgroup v2 has instead can be set in linux.resources.unified",
    ),
    ("another platform", "remove it"),
    ("is not supported, only 1.x.y", "write 1.3.0"),
    ("is not a version", "write 1.3.0"),
    ("is taken as 1.0.0", "write 1.3.0"),
    ("a second namespace", "remove one of them"),
    ("is set twice", "remove one of them"),
    ("there twice", "remove one of them"),
    ("an earlier", "remove one of them, unless it is meant"),
    (
        "is not mapped in the container's user namespace",
        "map the id in linux.uidMappings or gidMappings, or choose another",
    ),
    ("unknown namespace type", "one of cgroup, ipc, mount, network, pid, time, user, uts"),
    ("unknown capability", "correct the name (capabilities(7)), or remove it"),
    ("unknown", "correct the name, or remove it"),
    ("runs without SELinux", "boot with SELinux enabled, or remove the label"),
    ("runs without AppArmor", "boot with AppArmor enabled, or remove the profile"),
    ("is not an option of bind mounts", "remove the option"),
    ("no resctrl file system", ""),
    ("mounted read-only: there is a user namespace", "add a namespace of type \"cgroup\", or the option ro"),
    ("is ignored", "remove it"),
    ("ignored", "remove it"),
    ("is not absolute, taken as relative to /", "write it from / on"),
    ("the specification has", "write it as the specification has it: other runtimes may refuse it"),
    ("required by the specification", "add it: other runtimes may refuse the bundle without"),
    ("needs CAP_SYS_ADMIN", "call no-frills as root, or add a user namespace"),
    ("ENOENT", "create it, or correct the path"),
    ("ENOTDIR", "correct the path: a part of it is no directory"),
    ("ELOOP", "correct the path: symbolic links in it lead in a circle"),
    ("EACCES", "let the caller through, or choose another path"),
    ("joining a namespace", "correct the path, or the type"),
    ("not JSON", "correct the file at that place"),
    ("container's cgroup is not empty", "choose another linux.cgroupsPath, or end what is in there"),
    ("no cgroup2 file system", ""),
    ("needs the cgroup controller", ""),
    ("maps ids", "remove them"),
    ("maps no id", "write how many ids it maps, or remove it"),
];

/// What can be done.
pub(super) fn remedy(pointer: &str, message: &str) -> String {
    // A file that is read is told of with its path.
    if pointer.is_empty() && message.contains("ENOENT") {
        return "name a directory that has a config.json (`no-frills spec` writes one)".to_owned();
    }
    if let Some(meant) = meant(message) {
        return format!("did you mean {meant:?}?");
    }
    let known = BY_MESSAGE.iter().find(|(words, _)| message.contains(words));
    known.map_or("correct the setting, or remove it", |(_, remedy)| remedy).to_owned()
}

/// Which of the names that there are was probably meant by one that nobody knows: the text that the message quotes.
fn meant(message: &str) -> Option<String> {
    let name = message.split('"').nth(1)?;
    let prefixed = |prefix: &'static str, names: &[&str]| -> Option<String> {
        let names: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
        nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
    };
    let of = |words: &str| message.starts_with(words);
    if of("unknown namespace type") {
        meant_namespace(name).map(str::to_owned)
    } else if of("unknown capability") {
        prefixed("CAP_", &CAPABILITIES)
    } else if of("unknown resource limit") {
        prefixed("RLIMIT_", &RLIMITS)
    } else if of("unknown scheduling policy") {
        prefixed("SCHED_", &POLICIES)
    } else if of("unknown action") {
        nearest(name, seccomp_actions()).map(str::to_owned)
    } else if message.contains("is not an option of bind mounts") {
        nearest(name, mount_options()).map(str::to_owned)
    } else {
        None
    }
}
