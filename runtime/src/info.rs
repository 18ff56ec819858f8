//! `info`: what this host can do for this caller. Each fact is asked for where create would meet it; what is missing is told with the
//! consequence and a remedy. Nothing is made or changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid};
use no_frills_cgroups::systemd::Manager;
use no_frills_cgroups::{Controller, Hierarchy};
use no_frills_sys::{calls, seccomp};

use crate::check::host::{kernel_names, may_execute, user_namespaces_forbidden};
use crate::check::id_maps::{own_ranges, subordinate_ranges, user_name};
use crate::config::{CAPABILITIES, NAMESPACES};
use crate::members::is_limited;
use crate::resctrl;
use crate::seccomp::{seccomp_actions, supported_seccomp_flags};

/// Facts of one kind.
#[derive(Clone, Debug)]
pub struct Section {
    /// What they are about.
    pub name: &'static str,
    /// One after the other.
    pub facts: Vec<Fact>,
}

/// Something that is known of the host.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What.
    pub name: String,
    /// What it is.
    pub value: String,
    /// Present when it is less than it could be.
    pub lack: Option<Lack>,
}

/// What follows from something that is missing.
#[derive(Clone, Debug)]
pub struct Lack {
    /// What cannot be done.
    pub consequence: String,
    /// What helps.
    pub remedy: String,
}

impl Section {
    fn new(name: &'static str) -> Section {
        Section { name, facts: Vec::new() }
    }

    fn has(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.push(Fact { name: name.into(), value: value.into(), lack: None });
    }

    fn lacks(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
        consequence: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let lack = Lack { consequence: consequence.into(), remedy: remedy.into() };
        self.facts.push(Fact { name: name.into(), value: value.into(), lack: Some(lack) });
    }
}

/// What this host can do for this caller.
#[must_use]
pub fn info() -> Vec<Section> {
    vec![caller(), kernel(), cgroups(), namespaces(), rootless(), security(), limits()]
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn caller() -> Section {
    let mut section = Section::new("caller");
    section.has("user", format!("{} ({})", geteuid(), user_name(geteuid().as_raw())));
    section.has("group", getegid().to_string());
    match is_limited() {
        Ok(false) => section.has("rights", "root of the host"),
        _ if geteuid().is_root() => section.lacks(
            "rights",
            "root of a user namespace",
            "no devices can be made, and no limits are set in cgroups that are not delegated",
            "call no-frills as root of the host",
        ),
        _ => section.lacks(
            "rights",
            "a user's own",
            "every container needs a user namespace (no-frills spec --rootless)",
            "call no-frills as root, or see the section rootless",
        ),
    }
    let effective = read("/proc/self/status").and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    let set = effective.unwrap_or_default();
    let has = |number: usize| set & 1 << number != 0;
    let names = |wanted: bool| -> Vec<&str> {
        CAPABILITIES.iter().enumerate().filter(|(number, _)| has(*number) == wanted).map(|(_, name)| *name).collect()
    };
    let (there, missing) = (names(true), names(false));
    match (missing.is_empty(), there.is_empty()) {
        (true, _) => section.has("capabilities", format!("all {}", there.len())),
        (_, true) => section.has("capabilities", "none"),
        _ if missing.len() > there.len() => section.has("capabilities", there.join(" ")),
        _ => section.has("capabilities", format!("all but {}", missing.join(" "))),
    }
    section
}

/// Calls that some kernels in use lack (docs/kernel-features.md), and what cannot be done without.
const ABOVE_THE_FLOOR: [(&str, &str); 3] = [
    (
        "mount_setattr",
        "id-mapped mounts, tmpcopyup and recursive attributes such as rro are errors; the rest goes by mount(2)",
    ),
    ("open_tree_attr", "readonlyPaths take two calls instead of one"),
    ("pidfd_getfd", "seccomp filters with SCMP_ACT_NOTIFY are errors"),
];

/// Without one of these there are no containers.
const FLOOR: [&str; 14] = [
    "clone3",
    "close_range",
    "execveat",
    "faccessat2",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "memfd_create",
    "move_mount",
    "open_tree",
    "openat2",
    "pidfd_open",
    "pidfd_send_signal",
];

/// What helps where a call is missing.
fn remedy_for(call: &str) -> String {
    let since = calls::since(call).unwrap_or_default();
    format!("use Linux {since} or later, without a seccomp filter that hides {call}")
}

fn kernel() -> Section {
    let mut section = Section::new("kernel");
    section.has("release", read("/proc/sys/kernel/osrelease").unwrap_or_default());
    section.has("machine", std::env::consts::ARCH);
    let missing: Vec<_> = FLOOR.iter().filter(|call| calls::is_there(call) == Some(false)).collect();
    for call in &missing {
        section.lacks(**call, "missing", "no container can be made", remedy_for(call));
    }
    if missing.is_empty() {
        section.has("needed calls", format!("all {}", FLOOR.len()));
    }
    for (call, consequence) in ABOVE_THE_FLOOR {
        match calls::is_there(call) {
            Some(true) => section.has(call, "there"),
            _ => section.lacks(call, "missing", consequence, remedy_for(call)),
        }
    }
    match read("/proc/sys/vm/memfd_noexec").as_deref() {
        Some("2") => section.lacks(
            "vm.memfd_noexec",
            "2",
            "no container can be started: init is a file in memory",
            "`sysctl vm.memfd_noexec=1`",
        ),
        Some(value) => section.has("vm.memfd_noexec", value),
        None => section.has("vm.memfd_noexec", "not known to this kernel"),
    }
    let systems = read("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| systems.lines().any(|line| line.split('\t').next_back() == Some(name));
    for name in ["overlay", "mqueue", "fuse"] {
        if has(name) {
            section.has(format!("file system {name}"), "there");
        } else {
            section.lacks(
                format!("file system {name}"),
                "not loaded",
                "mounts of that type fail, unless the kernel loads it when asked",
                format!("`modprobe {name}`"),
            );
        }
    }
    match read("/proc/self/mountinfo").and_then(|text| resctrl::mount_point(&text)) {
        Some(path) => section.has("resctrl", path.display().to_string()),
        None => section.lacks(
            "resctrl",
            "not mounted",
            "linux.intelRdt is an error",
            "`mount -t resctrl resctrl /sys/fs/resctrl`, if the processor has it",
        ),
    }
    section
}

/// Controllers, and what is lost without.
const CONTROLLERS: [(&str, &str); 7] = [
    ("cpu", "linux.resources.cpu shares, quota, period, burst and idle are errors"),
    ("cpuset", "linux.resources.cpu.cpus and mems are errors"),
    ("hugetlb", "linux.resources.hugepageLimits are errors"),
    ("io", "linux.resources.blockIO is an error"),
    ("memory", "linux.resources.memory is an error"),
    ("pids", "linux.resources.pids is an error"),
    ("rdma", "linux.resources.rdma is an error"),
];

fn cgroups() -> Section {
    const BOOT: &str = "boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all";
    let mut section = Section::new("cgroups");
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(error) => {
            section.lacks(
                "cgroup v2",
                error.to_string(),
                "no container can be made, but a user's without limits",
                "`mount -t cgroup2 cgroup2 /sys/fs/cgroup`",
            );
            return section;
        }
    };
    let mount = hierarchy.mount();
    section.has("mount point", mount.display().to_string());
    let binds_v1 = read("/proc/self/cgroup").unwrap_or_default().lines().any(|line| {
        line.split(':').nth(1).is_some_and(|controllers| !controllers.is_empty() && !controllers.starts_with("name="))
    });
    match binds_v1 {
        false => section.has("version", "2 alone"),
        true => section.lacks(
            "version",
            "2, beside version 1, which has controllers",
            "limits of the controllers that version 1 has are errors",
            BOOT,
        ),
    }
    for (name, consequence) in CONTROLLERS {
        let name = name.to_owned();
        match hierarchy.controller(&name) {
            Ok(Controller::Here) => section.has(format!("controller {name}"), "there"),
            Ok(Controller::BoundToV1(path)) => {
                section.lacks(
                    format!("controller {name}"),
                    format!("in cgroup v1, at {}", path.display()),
                    consequence,
                    BOOT,
                );
            }
            _ => section.lacks(
                format!("controller {name}"),
                "missing",
                consequence,
                "have it handed on by who made this cgroup namespace, or use a kernel that has it",
            ),
        }
    }
    own_cgroup(&mut section, mount);
    manager(&mut section);
    section
}

/// The caller's own cgroup, and what may be done in it.
fn own_cgroup(section: &mut Section, mount: &Path) {
    let own = read("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return };
    let directory = mount.join(path);
    section.has("own cgroup", format!("/{path}"));
    let may_write = |path: &Path| faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
    let delegated = read(directory.join("cgroup.controllers")).unwrap_or_default();
    let is_delegated = may_write(&directory) && may_write(&directory.join("cgroup.subtree_control"));
    // Containers of root lie beneath the top.
    if !is_delegated && !may_write(mount) {
        section.lacks(
            "delegation",
            "none: the caller may make no cgroups",
            "containers run in the caller's cgroup, and limits are errors",
            "`systemd-run --user --scope -p Delegate=yes COMMAND`, or --systemd-cgroup",
        );
    } else if is_delegated && !may_write(mount) {
        section.has("delegation", if delegated.is_empty() { "without controllers".to_owned() } else { delegated });
    } else {
        section.has("delegation", "the whole hierarchy");
    }
    if directory.join("cgroup.kill").exists() || path.is_empty() {
        section.has("cgroup.kill", "there");
    } else {
        section.lacks(
            "cgroup.kill",
            "missing",
            "what is left in a cgroup is frozen and killed one by one",
            "use Linux 5.14 or later",
        );
    }
}

fn manager(section: &mut Section) {
    let user = !geteuid().is_root();
    let who = if user { "systemd of the user" } else { "systemd" };
    match Manager::connect(user) {
        Ok(_) => section.has(who, "reachable"),
        Err(error) => {
            let remedy = if user {
                "log in by a way that starts a session (`loginctl enable-linger`), and set XDG_RUNTIME_DIR"
            } else {
                "boot with systemd, or do without --systemd-cgroup"
            };
            section.lacks(who, error.to_string(), "--systemd-cgroup is an error", remedy);
        }
    }
}

fn namespaces() -> Section {
    let mut section = Section::new("namespaces");
    for (kind, name) in NAMESPACES {
        let (file, limit) = kernel_names(kind);
        let most = read(Path::new("/proc/sys/user").join(limit)).unwrap_or_default();
        if !Path::new("/proc/self/ns").join(file).exists() {
            section.lacks(
                name,
                "missing",
                format!("containers cannot have a {name} namespace of their own"),
                "use a kernel that was built with them",
            );
        } else if most == "0" {
            section.lacks(
                name,
                "none may be made",
                format!("containers cannot have a {name} namespace of their own"),
                format!("`sysctl user.{limit}=10000`"),
            );
        } else {
            section.has(name, format!("at most {most}"));
        }
    }
    section
}

fn rootless() -> Section {
    let mut section = Section::new("rootless");
    match user_namespaces_forbidden() {
        Some(why) => section.lacks(
            "user namespaces",
            why,
            "a user cannot make containers",
            "`sysctl kernel.unprivileged_userns_clone=1`",
        ),
        None if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") => section
            .lacks(
                "user namespaces",
                "restricted by AppArmor",
                "a user cannot make containers unless a profile allows it",
                "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or a profile with `userns,` for no-frills",
            ),
        None => section.has("user namespaces", "may be made by users"),
    }
    for (helper, file, option) in
        [("newuidmap", "/etc/subuid", "--add-subuids"), ("newgidmap", "/etc/subgid", "--add-subgids")]
    {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&path).map(|directory| directory.join(helper)).find(|path| may_execute(path).is_ok());
        match found {
            None => section.lacks(
                helper,
                "not in $PATH",
                "a user's container has the user's own id alone",
                "install it (Debian: the package uidmap)",
            ),
            Some(path) => {
                let is_set_uid = fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o6000 != 0);
                section.has(helper, format!("{}{}", path.display(), if is_set_uid { "" } else { ", not set-uid" }));
            }
        }
        if geteuid().is_root() {
            continue;
        }
        let name = user_name(geteuid().as_raw());
        let ranges = subordinate_ranges(&read(file).unwrap_or_default(), &name, geteuid().as_raw());
        let count: u64 = ranges.iter().map(|(_, count)| count).sum();
        match count {
            0 => section.lacks(
                file,
                format!("grants {name} nothing"),
                "a user's container has the user's own id alone",
                format!("`usermod {option} 100000-165535 {name}`"),
            ),
            count => section.has(file, format!("grants {name} {count} ids")),
        }
    }
    if let Some(map) = read("/proc/self/uid_map") {
        let count: u64 = own_ranges(&map).iter().map(|(_, count)| count).sum();
        section.has("ids here", count.to_string());
    }
    section
}

fn security() -> Section {
    let mut section = Section::new("security");
    let known = |name: &&str| -> bool {
        // Of the older ones all kernels have, only these can be missing.
        let number = match *name {
            "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
            "SCMP_ACT_LOG" => 0x7ffc_0000,
            "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
            _ => return true,
        };
        seccomp::action_is_available(number) == Ok(true)
    };
    if Path::new("/proc/sys/kernel/seccomp").exists() {
        let actions: Vec<&str> =
            seccomp_actions().filter(known).map(|name| name.trim_start_matches("SCMP_ACT_")).collect();
        section.has("seccomp actions", actions.join(" "));
        let flags: Vec<&str> =
            supported_seccomp_flags().map(|name| name.trim_start_matches("SECCOMP_FILTER_FLAG_")).collect();
        section.has("seccomp flags", flags.join(" "));
    } else {
        section.lacks(
            "seccomp",
            "missing",
            "linux.seccomp is an error",
            "use a kernel that was built with CONFIG_SECCOMP_FILTER",
        );
    }
    if let Some(modules) = read("/sys/kernel/security/lsm") {
        section.has("security modules", modules.replace(',', " "));
    }
    let apparmor = read("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text.starts_with('Y'));
    match apparmor {
        true => section.has("AppArmor", "enabled"),
        false => section.lacks(
            "AppArmor",
            "not enabled",
            "process.apparmorProfile is an error",
            "boot with `apparmor=1 security=apparmor`, if the kernel has it",
        ),
    }
    let selinux = read("/proc/filesystems").unwrap_or_default().lines().any(|line| line == "nodev\tselinuxfs");
    match selinux {
        true => section.has("SELinux", "enabled"),
        false => section.lacks(
            "SELinux",
            "not enabled",
            "process.selinuxLabel and linux.mountLabel are errors",
            "boot with `security=selinux`, if the kernel has it",
        ),
    }
    section
}

fn limits() -> Section {
    let mut section = Section::new("limits");
    for (name, file) in [
        ("processes", "/proc/sys/kernel/pid_max"),
        ("mounts of a namespace", "/proc/sys/fs/mount-max"),
        ("keys of a user", "/proc/sys/kernel/keys/maxkeys"),
    ] {
        if let Some(value) = read(file) {
            section.has(name, value);
        }
    }
    let own = read("/proc/self/limits").unwrap_or_default();
    for (name, line) in [("own open files", "Max open files"), ("own locked memory", "Max locked memory")] {
        let values = own.lines().find_map(|text| text.strip_prefix(line));
        if let Some(values) = values {
            let mut words = values.split_ascii_whitespace();
            section.has(name, format!("{}, at most {}", words.next().unwrap_or("?"), words.next().unwrap_or("?")));
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_version() {
        let above = ABOVE_THE_FLOOR.map(|(call, _)| call);
        let unknown: Vec<_> = FLOOR.iter().chain(&above).filter(|call| calls::since(call).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
