//! The mounts, and what is hidden or made read-only when they are in place.

use std::collections::BTreeSet;

use no_frills_plan::{Step, Within, attach};

use super::{Builder, OpenDirectory, Pointer, device_nodes, receive_only, text};
use crate::config::{Attributes, Config, ConfigError, Mount, MountKind, Propagation, attr, propagation};
use crate::notify;

pub(super) fn mount_all(steps: &mut Builder<'_>) -> Result<(), ConfigError> {
    let config = steps.config;
    let remounted = config.mounts.iter().filter(|mount| mount.kind == MountKind::Remount);
    let remounted: BTreeSet<&str> = remounted.map(|mount| mount.destination.as_str()).collect();
    // What is attached below a shared mount becomes shared: from then on propagation is set afterwards.
    let mut is_shared = false;
    for mount in &config.mounts {
        is_shared |= mount.propagation.iter().any(|change| change.kind == propagation::SHARED);
        match &mount.kind {
            MountKind::Filesystem(fstype) => mount_filesystem(steps, mount, fstype, is_shared),
            MountKind::Bind { recursive } => bind(steps, mount, *recursive, is_shared),
            MountKind::Remount => remount(steps, mount),
        }
        let is_remounted = mount.kind != MountKind::Remount && remounted.contains(mount.destination.as_str());
        if is_remounted || is_late_readonly(mount) || holds_restricted(config, mount) {
            steps.keep(mount.index)?;
        }
    }
    Ok(())
}

/// The directory for the socket of notifications, last of all: nothing of the configuration's covers it.
pub(super) fn mount_notify(steps: &mut Builder<'_>) {
    let Some(directory) = steps.options.notify else { return };
    let at = Pointer::NO_SETTING;
    let source = steps.tree(at, directory.to_owned(), false);
    steps.push(at, &Step::UseSource { source });
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let attributes = Attributes { set, ..Attributes::default() };
    steps.push(at, &set_attributes(attributes, propagation::SLAVE, false));
    steps.attach(at, notify::DESTINATION, 0);
}

/// Whether it is the procfs or sysfs at its usual place.
fn is_kernels(mount: &Mount) -> bool {
    let destination = mount.destination.as_str();
    match &mount.kind {
        MountKind::Filesystem(fstype) => {
            matches!((fstype.as_str(), destination), ("proc", "/proc") | ("sysfs", "/sys"))
        }
        // Checked to be the host's procfs.
        MountKind::Bind { .. } => destination == "/proc",
        MountKind::Remount => false,
    }
}

/// Whether it is such a one, with paths in it that are hidden or made read-only.
fn holds_restricted(config: &Config, mount: &Mount) -> bool {
    let mut paths = config.linux.masked_paths.iter().chain(&config.linux.readonly_paths);
    is_kernels(mount) && paths.any(|path| is_below(path, &mount.destination))
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The mount that covers a destination after all of these.
fn last_at<'m>(mounts: &'m [Mount], destination: &str) -> Option<&'m Mount> {
    mounts.iter().rfind(|mount| mount.destination == destination && mount.kind != MountKind::Remount)
}

/// Where a path that is hidden or made read-only is resolved: in the procfs or sysfs itself, unless something
/// else is mounted on the way, whose links count from the root.
fn within(steps: &Builder<'_>, path: &str) -> Within {
    let mounts = &steps.config.mounts;
    let above = mounts.iter().map(|mount| mount.destination.as_str()).filter(|above| is_below(path, above));
    let nearest = above.max_by_key(|above| above.len()).and_then(|nearest| last_at(mounts, nearest));
    let kept = nearest.filter(|mount| is_kernels(mount)).and_then(|mount| Some((mount, steps.kept(mount.index)?)));
    // One of two paths of a few bytes.
    kept.map_or(Within::Root, |(mount, kept)| Within::Kept { kept, prefix: mount.destination.len() as u8 })
}

fn pointer(mount: &Mount) -> Pointer {
    Pointer::item("/mounts", mount.index)
}

/// Attaches the mount that was made.
fn attach<'a>(steps: &mut Builder<'a>, mount: &'a Mount) {
    let fstype = match &mount.kind {
        MountKind::Filesystem(fstype) => fstype.as_str(),
        MountKind::Bind { .. } | MountKind::Remount => "",
    };
    let destination = mount.destination.as_str();
    let is_kernels = matches!(fstype, "proc" | "sysfs") || matches!(destination, "/proc" | "/sys");
    let has_mode = mount.parameters.iter().any(|parameter| parameter.key == "mode");
    let keep_mode = if fstype == "tmpfs" && !has_mode { attach::KEEP_MODE } else { 0 };
    if is_kernels || destination.starts_with("/proc/") {
        // The runtime's own view of the kernel must not move elsewhere (CVE-2019-19921). The few files
        // that may be covered in it are where their paths say.
        let step = Step::Attach { path: text(destination), flags: attach::NO_SYMLINKS };
        steps.push(pointer(mount), &step);
    } else {
        steps.attach(pointer(mount), destination, keep_mode);
    }
    if destination == "/dev" {
        steps.directory = OpenDirectory::None;
        if fstype == "tmpfs" {
            steps.push(pointer(mount), &Step::UseMountAsDirectory {});
            steps.directory = OpenDirectory::FreshDev;
        }
    }
}

/// File systems without a device, whose superblock is in memory and may be shared: `ro` is for the
/// mount alone.
const NO_DEVICE: [&str; 8] = ["bpf", "cgroup2", "devpts", "mqueue", "overlay", "proc", "sysfs", "tmpfs"];

fn mount_filesystem<'a>(steps: &mut Builder<'a>, mount: &'a Mount, fstype: &str, is_shared: bool) {
    let at = pointer(mount);
    steps.push(at, &Step::FsOpen { fstype: text(fstype) });
    if !mount.source.is_empty() {
        steps.push(at, &Step::FsString { key: text("source"), value: text(&mount.source) });
    }
    for parameter in &mount.parameters {
        if fstype == "devpts" && parameter.key == "newinstance" && parameter.value.is_none() {
            // Every mount of devpts is an instance of its own since 4.7.
            continue;
        }
        let at = Pointer::option(mount.index, parameter.option);
        let key = text(&parameter.key);
        let step = match &parameter.value {
            Some(value) => Step::FsString { key, value: text(value) },
            None => Step::FsFlag { key },
        };
        steps.push(at, &step);
    }
    let mut attributes = mount.attributes.and(mount.recursive_attributes).set;
    if attributes & attr::RDONLY != 0 {
        if is_late_readonly(mount) {
            attributes &= !attr::RDONLY;
        } else if !NO_DEVICE.contains(&fstype) {
            steps.push(at, &Step::FsFlag { key: text("ro") });
        }
    }
    steps.push(at, &Step::FsMount { attributes });
    attach(steps, mount);
    for change in &mount.propagation {
        // A new mount is private, unless what it is attached to is shared.
        if is_shared || change.kind != propagation::PRIVATE {
            steps.push(at, &set_attributes(Attributes::default(), change.kind, change.recursive));
        }
    }
}

/// Whether it becomes read-only at the end: devices and the mountpoints of later mounts are made in it first.
fn is_late_readonly(mount: &Mount) -> bool {
    let MountKind::Filesystem(fstype) = &mount.kind else { return false };
    let attributes = mount.attributes.and(mount.recursive_attributes).set;
    attributes & attr::RDONLY != 0 && (fstype == "tmpfs" || mount.destination == "/dev")
}

fn bind<'a>(steps: &mut Builder<'a>, mount: &'a Mount, recursive: bool, is_shared: bool) {
    let at = pointer(mount);
    let source = steps.tree(at, steps.options.bundle.join(&mount.source), recursive);
    steps.push(at, &Step::UseSource { source });
    // The first change replaces the default, unless it would leave mounts below or above as peers.
    let (first, rest) = match mount.propagation.split_first() {
        Some((first, rest)) if !is_shared && (first.recursive || !recursive) && first.kind != propagation::SHARED => {
            (*first, rest)
        }
        _ => (Propagation { kind: propagation::SLAVE, recursive }, mount.propagation.as_slice()),
    };
    set_bind_attributes(steps, mount, recursive, first);
    if !is_shared {
        for change in rest {
            steps.push(at, &set_attributes(Attributes::default(), change.kind, change.recursive));
        }
    }
    attach(steps, mount);
    if is_shared {
        for change in rest {
            steps.push(at, &set_attributes(Attributes::default(), change.kind, change.recursive));
        }
    }
}

/// In as few calls as possible: the attributes of the top mount, those of all, and the propagation
/// may differ in whether they concern the mounts below. Of a tree that is one mount they do not.
fn set_bind_attributes(steps: &mut Builder<'_>, mount: &Mount, recursive: bool, first: Propagation) {
    let at = pointer(mount);
    let Mount { attributes: top, recursive_attributes: all, .. } = mount;
    let (merged, left) = match (recursive, first.recursive) {
        (false, _) => (top.and(*all), Attributes::default()),
        (true, true) => (*all, *top),
        (true, false) => (*top, *all),
    };
    steps.push(at, &set_attributes(merged, first.kind, first.recursive));
    if !left.is_empty() {
        steps.push(at, &set_attributes(left, 0, !first.recursive));
    }
}

fn set_attributes(attributes: Attributes, propagation: u64, recursive: bool) -> Step<'static> {
    Step::SetMountAttributes {
        set: attributes.set.into(),
        clear: attributes.clear.into(),
        propagation,
        recursive: recursive.into(),
    }
}

/// The mount is the one that the configuration has made there, or else what is found at the path.
fn remount(steps: &mut Builder<'_>, mount: &Mount) {
    let top = (mount.attributes, 0, false);
    let all = (mount.recursive_attributes, 0, true);
    let changes = [top, all].into_iter().filter(|(attributes, ..)| !attributes.is_empty());
    let to = mount.propagation.iter().map(|change| (Attributes::default(), change.kind, change.recursive));
    let before = steps.config.mounts.get(..mount.index as usize).unwrap_or(&[]);
    let kept = last_at(before, &mount.destination).and_then(|covered| steps.kept(covered.index));
    let at = pointer(mount);
    if let Some(kept) = kept {
        steps.push(at, &Step::UseKept { kept });
    }
    for (attributes, propagation, recursive) in changes.chain(to) {
        let step = match set_attributes(attributes, propagation, recursive) {
            Step::SetMountAttributes { set, clear, propagation, recursive } if kept.is_none() => {
                Step::ChangeMount { path: text(&mount.destination), set, clear, propagation, recursive }
            }
            step => step,
        };
        steps.push(at, &step);
    }
}

/// Masks and read-only paths, when everything that has to be written was.
pub(super) fn restrict(steps: &mut Builder<'_>) {
    let config = steps.config;
    if !config.linux.masked_paths.is_empty() {
        let at = Pointer::to("/linux/maskedPaths");
        let null = steps.tree(at, "/dev/null".into(), false);
        steps.push(at, &Step::UseSource { source: null });
        steps.push(at, &device_nodes::check_null());
        steps.push(at, &receive_only(false));
        for (index, path) in (0..).zip(&config.linux.masked_paths) {
            let at = Pointer::item("/linux/maskedPaths", index);
            steps.push(at, &Step::Mask { path: text(path), within: within(steps, path), null });
        }
    }
    for (index, path) in (0..).zip(&config.linux.readonly_paths) {
        let at = Pointer::item("/linux/readonlyPaths", index);
        steps.push(at, &Step::MakeReadonly { path: text(path), within: within(steps, path) });
    }
    for mount in config.mounts.iter().filter(|mount| is_late_readonly(mount)) {
        let Some(kept) = steps.kept(mount.index) else { continue };
        let at = pointer(mount);
        steps.push(at, &Step::UseKept { kept });
        steps.push(at, &set_attributes(Attributes { set: attr::RDONLY, clear: 0 }, 0, false));
    }
    if config.root.readonly {
        steps.push(Pointer::to("/root/readonly"), &Step::MakeRootReadonly {});
    }
}
