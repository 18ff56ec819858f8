//! The mounts, and what is hidden or made read-only when they are in place.

use no_frills_plan::{Step, attach};

use super::{Builder, OpenDirectory, Pointer, receive_only, text};
use crate::config::{Attributes, Config, Mount, MountKind, Propagation, attr, propagation};

/// How many of the mounts need a tree from the host.
pub(super) fn count_sources(config: &Config) -> usize {
    config.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Bind { .. })).count()
}

/// Masks need the host's `/dev/null`, all of them the same.
pub(super) fn count_masks(config: &Config) -> usize {
    usize::from(!config.linux.masked_paths.is_empty())
}

pub(super) fn mount_all(steps: &mut Builder<'_>) {
    let config = steps.config;
    // What is attached below a shared mount becomes shared: from then on propagation is set afterwards.
    let mut is_shared = false;
    for mount in &config.mounts {
        is_shared |= mount.propagation.iter().any(|change| change.kind == propagation::SHARED);
        match &mount.kind {
            MountKind::Filesystem(fstype) => mount_filesystem(steps, mount, fstype, is_shared),
            MountKind::Bind { recursive } => bind(steps, mount, *recursive, is_shared),
            MountKind::Remount => remount(steps, mount),
        }
    }
}

fn pointer(mount: &Mount) -> Pointer {
    Pointer::item("/mounts", mount.index)
}

/// Attaches the mount that was made, and remembers what can be expected there.
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
    steps.mounted.insert(destination, matches!(fstype, "sysfs" | "tmpfs"));
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
        if is_late_readonly(mount, fstype) {
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
            change_propagation(steps, mount, *change);
        }
    }
}

/// Devices and the mountpoints of later mounts are made in it first.
fn is_late_readonly(mount: &Mount, fstype: &str) -> bool {
    fstype == "tmpfs" || mount.destination == "/dev"
}

fn change_propagation(steps: &mut Builder<'_>, mount: &Mount, change: Propagation) {
    let step = Step::ChangeMount {
        path: text(&mount.destination),
        set: 0,
        clear: 0,
        propagation: change.kind,
        recursive: change.recursive.into(),
    };
    steps.push(pointer(mount), &step);
}

fn bind<'a>(steps: &mut Builder<'a>, mount: &'a Mount, recursive: bool, is_shared: bool) {
    let at = pointer(mount);
    let source = steps.source(at, steps.options.bundle.join(&mount.source), recursive);
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
            change_propagation(steps, mount, *change);
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

fn remount(steps: &mut Builder<'_>, mount: &Mount) {
    let change = |attributes: Attributes, propagation: u64, recursive: bool| Step::ChangeMount {
        path: text(&mount.destination),
        set: attributes.set.into(),
        clear: attributes.clear.into(),
        propagation,
        recursive: recursive.into(),
    };
    if !mount.attributes.is_empty() {
        steps.push(pointer(mount), &change(mount.attributes, 0, false));
    }
    if !mount.recursive_attributes.is_empty() {
        steps.push(pointer(mount), &change(mount.recursive_attributes, 0, true));
    }
    for to in &mount.propagation {
        change_propagation(steps, mount, *to);
    }
}

/// Masks and read-only paths, when everything that has to be written was.
pub(super) fn restrict(steps: &mut Builder<'_>) {
    let config = steps.config;
    if count_masks(config) != 0 {
        let at = Pointer::to("/linux/maskedPaths");
        let null = steps.source(at, "/dev/null".into(), false);
        steps.push(at, &Step::UseSource { source: null });
        steps.push(at, &receive_only(false));
        for (index, path) in (0..).zip(&config.linux.masked_paths) {
            let at = Pointer::item("/linux/maskedPaths", index);
            steps.push(at, &Step::Mask { path: text(path), null });
        }
    }
    for (index, path) in (0..).zip(&config.linux.readonly_paths) {
        let at = Pointer::item("/linux/readonlyPaths", index);
        steps.push(at, &Step::MakeReadonly { path: text(path) });
    }
    for mount in &config.mounts {
        let MountKind::Filesystem(fstype) = &mount.kind else { continue };
        let attributes = mount.attributes.and(mount.recursive_attributes).set;
        if attributes & attr::RDONLY != 0 && is_late_readonly(mount, fstype) {
            let step = Step::ChangeMount {
                path: text(&mount.destination),
                set: attr::RDONLY.into(),
                clear: 0,
                propagation: 0,
                recursive: 0,
            };
            steps.push(pointer(mount), &step);
        }
    }
    if config.root.readonly {
        steps.push(Pointer::to("/root/readonly"), &Step::MakeRootReadonly {});
    }
}
