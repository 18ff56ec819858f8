//! What this host cannot do of what a bundle asks for, as far as create finds that out when it is at work already. Questions are asked
//! of the plan where there are steps for it, so that what is asked for is what would be done.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use no_frills_plan::{Plan, Step};
use no_frills_sys::mount::FsContext;
use no_frills_sys::{capability, netlink::Netlink};

use super::distance::nearest;
use super::document::Document;
use super::{Report, id_maps, machine};
use crate::compile::Program;
use crate::config::{Config, Moment, NAMESPACES, escape, mount_options, namespace};
use crate::error::Explained;
use crate::members::is_limited;

/// What was found to be compiled without errors.
pub(super) struct Found<'a> {
    pub(super) config: &'a Config,
    pub(super) program: &'a Program,
    pub(super) document: &'a Document,
}

impl Found<'_> {
    /// Whether a place of the document, which was counted in what is left of it, is as it was read; that place in the whole.
    pub(super) fn kept(&self, pointer: &str) -> Option<String> {
        let pointer = self.document.original(pointer);
        (!self.document.is_changed(&pointer)).then_some(pointer)
    }
}

pub(super) fn check(found: &Found<'_>, report: &mut Report) {
    namespaces(found, report);
    id_maps::check(found, report);
    file_systems(found, report);
    sysctls(found, report);
    net_devices(found, report);
    hooks(found, report);
    seccomp(found, report);
    apparmor(found, report);
    overlong(found, report);
    machine::check(found, report);
}

/// The kernel's name of a namespace in `/proc/PID/ns`, and that of its limit in `/proc/sys/user`.
pub(crate) fn kernel_names(kind: u64) -> (&'static str, &'static str) {
    match kind {
        namespace::CGROUP => ("cgroup", "max_cgroup_namespaces"),
        namespace::IPC => ("ipc", "max_ipc_namespaces"),
        namespace::UTS => ("uts", "max_uts_namespaces"),
        namespace::NETWORK => ("net", "max_net_namespaces"),
        namespace::PID => ("pid", "max_pid_namespaces"),
        namespace::TIME => ("time", "max_time_namespaces"),
        namespace::MOUNT => ("mnt", "max_mnt_namespaces"),
        _ => ("user", "max_user_namespaces"),
    }
}

/// Why the caller may make no user namespaces, if that is so.
pub(crate) fn user_namespaces_forbidden() -> Option<&'static str> {
    let is = |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some("users may make no user namespaces here (kernel.unprivileged_userns_clone is 0)");
    }
    None
}

fn namespaces(found: &Found<'_>, report: &mut Report) {
    let limited = found.program.caller.is_some();
    let types = found.document.value().pointer("/linux/namespaces");
    for (index, entry) in types.and_then(serde_json::Value::as_array).into_iter().flatten().enumerate() {
        let name = entry.get("type").and_then(serde_json::Value::as_str).unwrap_or_default();
        let Some((kind, _)) = NAMESPACES.iter().find(|(_, known)| *known == name) else { continue };
        if !found.config.makes_namespace(*kind) {
            continue;
        }
        let pointer = format!("/linux/namespaces/{index}");
        let (file, limit) = kernel_names(*kind);
        if !Path::new("/proc/self/ns").join(file).exists() {
            let remedy = "use a kernel that was built with them, or remove the entry";
            let message = format!("this kernel has no namespaces of type {name:?}");
            report.add_with(super::Severity::Error, pointer, message, remedy.to_owned());
        } else if fs::read_to_string(Path::new("/proc/sys/user").join(limit)).is_ok_and(|text| text.trim() == "0") {
            let message = format!("no namespace of type {name:?} may be made here: the sysctl user.{limit} is 0");
            report.add_with(super::Severity::Error, pointer, message, format!("raise it: `sysctl user.{limit}=10000`"));
        } else if let (true, namespace::USER, Some(why)) = (limited, *kind, user_namespaces_forbidden()) {
            let remedy = "allow it: `sysctl kernel.unprivileged_userns_clone=1`, or call no-frills as root";
            report.add_with(super::Severity::Error, pointer, why.to_owned(), remedy.to_owned());
        }
    }
}

/// Has the kernel take the parameters of the new file systems, and makes none.
fn file_systems(found: &Found<'_>, report: &mut Report) {
    // In a user namespace others may be mounted, and not those that the caller may.
    let may_ask = capability::has_sys_admin().unwrap_or(false) && is_limited().is_ok_and(|limited| !limited);
    if found.program.has_user_namespace || !may_ask {
        return;
    }
    let Ok(plan) = Plan::decode(found.program.steps.bytes()) else { return };
    let mut context: Option<FsContext> = None;
    for (number, step) in (0..).zip(plan.steps().flatten()) {
        let asked = match step {
            Step::FsOpen { fstype } => {
                context = None;
                CString::new(fstype.bytes())
                    .ok()
                    .map(|fstype| ("fsopen", FsContext::open(&fstype).map(|made| context = Some(made))))
            }
            Step::FsString { key, value } => {
                let (key, value) = (CString::new(key.bytes()), CString::new(value.bytes()));
                context.as_ref().and_then(|context| Some(("fsconfig", context.set(&key.ok()?, Some(&value.ok()?)))))
            }
            Step::FsFlag { key } => context
                .as_ref()
                .and_then(|context| Some(("fsconfig", context.set(&CString::new(key.bytes()).ok()?, None)))),
            Step::FsMount { .. } => {
                context = None;
                None
            }
            _ => None,
        };
        let Some((call, Err(errno))) = asked else { continue };
        let Some(pointer) = found.kept(&found.program.pointer(number)) else { continue };
        let remedy = match call {
            _ if pointer == "/linux/mountLabel" => "boot with SELinux enabled, or remove the label",
            _ if errno == nix::errno::Errno::ENOENT => "create it, or correct the path",
            "fsopen" => {
                "correct the type, or load the module of the file system (modprobe(8)); /proc/filesystems lists what there is"
            }
            _ => "correct the option, or remove it: this file system does not take it",
        };
        let meant = match step {
            Step::FsFlag { key } => nearest(&String::from_utf8_lossy(key.bytes()), mount_options()),
            _ => None,
        };
        let remedy = meant.map_or_else(|| remedy.to_owned(), |meant| format!("did you mean {meant:?}?"));
        let message = format!("{}: {call}: {}", found.program.action(number), Explained(errno));
        report.add_with(super::Severity::Error, pointer, message, remedy);
        // The kernel takes nothing more of what it has refused something of.
        context = None;
    }
}

fn sysctls(found: &Found<'_>, report: &mut Report) {
    for sysctl in &found.config.linux.sysctls {
        // Of devices that are in the container alone.
        let is_of_device = sysctl.path.contains("/conf/") || sysctl.path.contains("/neigh/");
        if !is_of_device && !Path::new("/proc").join(&sysctl.path).exists() {
            let message = format!("this kernel has no parameter {:?}", sysctl.name);
            let remedy =
                "correct the name, or load the module that it belongs to; `sysctl -a` lists those that there are";
            report.add_with(super::Severity::Error, sysctl.pointer(), message, remedy.to_owned());
        }
    }
}

fn net_devices(found: &Found<'_>, report: &mut Report) {
    if found.config.linux.net_devices.is_empty() {
        return;
    }
    let Ok(mut netlink) = Netlink::open() else { return };
    for device in &found.config.linux.net_devices {
        if let Err(errno) = netlink.link(&device.host) {
            let message = format!("finding the network device {:?}: {}", device.host, Explained(errno));
            let remedy = "make the device first, or correct its name; `ip link` lists those that there are";
            let pointer = format!("/linux/netDevices/{}", escape(&device.host));
            report.add_with(super::Severity::Error, pointer, message, remedy.to_owned());
        }
    }
}

/// Those that are programs of the host; `startContainer` is one of the container's.
fn hooks(found: &Found<'_>, report: &mut Report) {
    for moment in Moment::ALL.into_iter().filter(|moment| *moment != Moment::StartContainer) {
        for (index, hook) in found.config.hooks.of(moment).iter().enumerate() {
            let Some(pointer) = found.kept(&format!("{}/{index}/path", moment.pointer())) else { continue };
            let path = Path::new(&hook.path);
            let why = match may_execute(path) {
                Err(errno) => Explained(errno).to_string(),
                Ok(()) if path.is_dir() => "it is a directory".to_owned(),
                Ok(()) => continue,
            };
            let message = format!("the hook {path:?} cannot be executed: {why}");
            let remedy = "install it, correct the path, or make it executable: `chmod +x`".to_owned();
            // The container is gone by then, and what fails is told.
            let severity = if moment == Moment::Poststop { super::Severity::Warning } else { super::Severity::Error };
            report.add_with(severity, pointer, message, remedy);
        }
    }
}

/// Whether the caller may execute a file, or enter a directory.
pub(crate) fn may_execute(path: &Path) -> nix::Result<()> {
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

fn seccomp(found: &Found<'_>, report: &mut Report) {
    if found.config.linux.seccomp.is_some() && !Path::new("/proc/sys/kernel/seccomp").exists() {
        let message = "this kernel has no seccomp filters";
        let remedy = "use a kernel that was built with CONFIG_SECCOMP_FILTER, or remove linux.seccomp";
        report.add_with(super::Severity::Error, "/linux/seccomp".to_owned(), message.to_owned(), remedy.to_owned());
    }
}

fn apparmor(found: &Found<'_>, report: &mut Report) {
    let process = &found.config.process;
    // Root alone may read it.
    let Ok(loaded) = fs::read_to_string("/sys/kernel/security/apparmor/profiles") else { return };
    let is_loaded =
        loaded.lines().any(|line| line.rsplit_once(" (").is_some_and(|(name, _)| name == process.apparmor_profile));
    if process.needs_apparmor() && !is_loaded && !process.apparmor_profile.contains("//") {
        let message = format!("no profile {:?} is loaded", process.apparmor_profile);
        let remedy =
            "load it: `apparmor_parser --add FILE`, or correct the name; `aa-status` lists those that are loaded";
        report.add_with(super::Severity::Error, "/process/apparmorProfile".to_owned(), message, remedy.to_owned());
    }
}

/// A program cannot be executed with an argument that is longer than the kernel takes.
fn overlong(found: &Found<'_>, report: &mut Report) {
    /// MAX_ARG_STRLEN, with its NUL.
    const LONGEST: usize = 32 * 4096 - 1;
    let process = &found.config.process;
    for (setting, texts) in [("/process/args", &process.args), ("/process/env", &process.env)] {
        for (index, text) in texts.iter().enumerate().filter(|(_, text)| text.len() > LONGEST) {
            if let Some(pointer) = found.kept(&format!("{setting}/{index}")) {
                report.error(pointer, format!("{} bytes, but the kernel takes at most {LONGEST} in one", text.len()));
            }
        }
    }
}
