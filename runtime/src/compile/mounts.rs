//! The mounts, and what is hidden or made read-only when they are in place.

use std::collections::BTreeSet;

use no_frills_plan::{Step, Within, attach};

use super::{Builder, MappedIds, OpenDirectory, Pointer, SourceKind, device_nodes, receive_only, text};
use crate::config::{
    Attributes, Config, ConfigError, Mount, MountKind, Parameter, Propagation, attr, legacy, namespace, propagation,
};
use crate::notify;

pub(super) fn mount_all(steps: &mut Builder<'_>) -> Result<(), ConfigError> {
    let config = steps.config;
    let remounted = config.mounts.iter().filter(|mount| mount.kind == MountKind::Remount);
    let remounted: BTreeSet<&str> = remounted.map(|mount| mount.destination.as_str()).collect();
    // What is attached below a shared mount becomes shared: from then on propagation is set afterwards.
    let mut is_shared = false;
    for mount in &config.mounts {
        is_shared |= mount.propagation.iter().any(is_to_share);
        match &mount.kind {
            MountKind::Filesystem(fstype) if fstype == "cgroup2" && config.shows_own_cgroup() => {
                bind_cgroup(steps, mount, is_shared);
            }
            MountKind::Filesystem(fstype) => mount_filesystem(steps, mount, fstype, is_shared)?,
            MountKind::Bind { recursive } => {
                let path = steps.options.bundle.join(&mount.source);
                let ids = steps.mapped_ids(mount)?;
                let tree = SourceKind::Tree { path, recursive: *recursive, itself: mount.source_itself, ids };
                bind(steps, mount, tree, *recursive, is_shared);
            }
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
pub(super) fn mount_notify(steps: &mut Builder<'_>) -> Result<(), ConfigError> {
    let Some(directory) = steps.options.notify else { return Ok(()) };
    if !steps.has_mounts() {
        let message = "NOTIFY_SOCKET cannot be passed on without a namespace of type \"mount\"";
        return Err(ConfigError::new(Pointer::NAMESPACES, message));
    }
    let at = Pointer::NO_SETTING;
    let source = steps.tree(at, directory.to_owned(), false);
    steps.push(at, &Step::UseSource { source });
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let attributes = Attributes { set, ..Attributes::default() };
    steps.push(at, &set_attributes(attributes, propagation::SLAVE, false));
    steps.attach(at, notify::DESTINATION, 0);
    Ok(())
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
    let flags = keep_mode | if mount.destination_itself { attach::NO_FOLLOW } else { 0 };
    if is_kernels || destination.starts_with("/proc/") {
        // The runtime's own view of the kernel must not move elsewhere (CVE-2019-19921). The few files
        // that may be covered in it are where their paths say.
        let step = Step::Attach { path: text(destination), flags: attach::NO_SYMLINKS };
        steps.push(pointer(mount), &step);
    } else {
        steps.attach(pointer(mount), destination, flags);
    }
    if destination == "/dev" {
        steps.directory = OpenDirectory::None;
        // With a copy of the image's `/dev` in it, links may be among what it holds.
        if fstype == "tmpfs" && !mount.copy_up {
            steps.push(pointer(mount), &Step::UseMountAsDirectory {});
            steps.directory = OpenDirectory::FreshDev;
        }
    }
}

/// File systems without a device, whose superblock is in memory and may be shared: `ro` is for the
/// mount alone.
const NO_DEVICE: [&str; 10] =
    ["bpf", "cgroup2", "devpts", "hugetlbfs", "mqueue", "overlay", "proc", "ramfs", "sysfs", "tmpfs"];
/// Of these there is one for the whole machine.
const SINGLE: [&str; 8] =
    ["binfmt_misc", "configfs", "debugfs", "devtmpfs", "efivarfs", "pstore", "securityfs", "tracefs"];

fn has_device(fstype: &str) -> bool {
    !NO_DEVICE.contains(&fstype) && !SINGLE.contains(&fstype)
}

/// Whether one of them may be on a block device.
pub(super) fn need_devices(config: &Config) -> bool {
    config.mounts.iter().any(|mount| matches!(&mount.kind, MountKind::Filesystem(fstype) if has_device(fstype)))
}

fn mount_filesystem<'a>(
    steps: &mut Builder<'a>,
    mount: &'a Mount,
    fstype: &str,
    is_shared: bool,
) -> Result<(), ConfigError> {
    let at = pointer(mount);
    let ids = steps.mapped_ids(mount)?;
    let user_namespace = ids.map(|MappedIds { ids, .. }| steps.source(at, SourceKind::UserNamespace(ids)));
    let mut attributes = mount.attributes.and(mount.recursive_attributes).set;
    let is_readonly = attributes & attr::RDONLY != 0;
    if is_late_readonly(mount) {
        attributes &= !attr::RDONLY;
    }
    let is_readonly = is_readonly && !is_late_readonly(mount) && has_device(fstype);
    if mount.parameters.iter().any(Parameter::is_long) {
        mount_legacy(steps, mount, fstype, is_readonly);
        if attributes != 0 {
            steps.push(at, &set_attributes(Attributes { set: attributes, clear: 0 }, 0, false));
        }
    } else {
        steps.push(at, &Step::FsOpen { fstype: text(fstype) });
        if !mount.source.is_empty() {
            steps.push(at, &Step::FsString { key: text("source"), value: text(&mount.source) });
        }
        push_parameters(steps, mount, fstype);
        push_label(steps, fstype);
        if is_readonly {
            steps.push(at, &Step::FsFlag { key: text("ro") });
        }
        steps.push(at, &Step::FsMount { attributes });
    }
    if let Some(source) = user_namespace {
        steps.push(at, &Step::IdMapMount { source });
    }
    if mount.copy_up {
        let has_owner = mount.parameters.iter().any(|parameter| matches!(parameter.key.as_str(), "uid" | "gid"));
        let step = Step::CopyUp { path: text(&mount.destination), owner: (!has_owner).into() };
        steps.push(at, &step);
    }
    attach(steps, mount);
    for change in &mount.propagation {
        // A new mount is private, unless what it is attached to is shared.
        if is_shared || change.kind != propagation::PRIVATE {
            steps.push(at, &set_attributes(Attributes::default(), change.kind, change.recursive));
        }
    }
    Ok(())
}

/// Without a cgroup namespace a new mount would show the host's whole tree, and in a user namespace there could be none.
/// The container gets its own cgroup; in a user namespace, where its root may be somebody who may write there,
/// read-only (CVE-2023-25809).
fn bind_cgroup<'a>(steps: &mut Builder<'a>, mount: &'a Mount, is_shared: bool) {
    bind(steps, mount, SourceKind::Cgroup, false, is_shared);
    // It is the caller's then, and not the container's to change.
    if steps.options.no_cgroup {
        steps.push(pointer(mount), &set_attributes(Attributes { set: attr::RDONLY, clear: 0 }, 0, false));
    }
}

/// The options that are the file system's own.
fn push_parameters(steps: &mut Builder<'_>, mount: &Mount, fstype: &str) {
    for parameter in mount.parameters.iter().filter(|parameter| !is_implied(parameter, fstype)) {
        let at = Pointer::option(mount.index, parameter.option);
        let key = text(&parameter.key);
        let step = match &parameter.value {
            Some(value) => Step::FsString { key, value: text(value) },
            None => Step::FsFlag { key },
        };
        steps.push(at, &step);
    }
}

/// Every mount of devpts is an instance of its own since 4.7.
fn is_implied(parameter: &Parameter, fstype: &str) -> bool {
    fstype == "devpts" && parameter.key == "newinstance" && parameter.value.is_none()
}

/// File systems whose files the policy itself labels; and those of which there is one, which has its label.
const NO_LABEL: [&str; 3] = ["cgroup2", "proc", "sysfs"];

/// The label that files of a new file system get.
fn label<'a>(config: &'a Config, fstype: &str) -> Option<&'a str> {
    let label = config.linux.mount_label.as_str();
    (!label.is_empty() && !NO_LABEL.contains(&fstype) && !SINGLE.contains(&fstype)).then_some(label)
}

/// A kernel without SELinux refuses it, and says so.
fn push_label(steps: &mut Builder<'_>, fstype: &str) {
    if let Some(label) = label(steps.config, fstype) {
        let step = Step::FsString { key: text("context"), value: text(label) };
        steps.push(Pointer::to("/linux/mountLabel"), &step);
    }
}

/// By mount(2), which knows some options as flags.
fn mount_legacy(steps: &mut Builder<'_>, mount: &Mount, fstype: &str, is_readonly: bool) {
    let mut flags = if is_readonly { legacy::RDONLY } else { 0 };
    let mut options = Vec::new();
    for parameter in mount.parameters.iter().filter(|parameter| !is_implied(parameter, fstype)) {
        match (parameter.key.as_str(), &parameter.value) {
            ("sync", None) => flags |= legacy::SYNCHRONOUS,
            ("dirsync", None) => flags |= legacy::DIRSYNC,
            ("lazytime", None) => flags |= legacy::LAZYTIME,
            (key, Some(value)) => options.push(format!("{key}={value}")),
            (key, None) => options.push(key.to_owned()),
        }
    }
    if let Some(label) = label(steps.config, fstype) {
        options.push(format!("context=\"{label}\""));
    }
    let options = options.join(",");
    let (device, options) = (text(&mount.source), text(&options));
    steps.push(pointer(mount), &Step::MountLegacy { fstype: text(fstype), device, options, flags });
}

/// Whether it becomes read-only at the end: devices and the mountpoints of later mounts are made in it first.
fn is_late_readonly(mount: &Mount) -> bool {
    let MountKind::Filesystem(fstype) = &mount.kind else { return false };
    let attributes = mount.attributes.and(mount.recursive_attributes).set;
    attributes & attr::RDONLY != 0 && (fstype == "tmpfs" || mount.destination == "/dev")
}

fn bind<'a>(steps: &mut Builder<'a>, mount: &'a Mount, tree: SourceKind, recursive: bool, is_shared: bool) {
    let at = pointer(mount);
    let source = steps.source(at, tree);
    steps.push(at, &Step::UseSource { source });
    // The first change replaces the default, unless it would leave mounts below or above as peers.
    let default = steps.default_propagation();
    let (first, rest) = match mount.propagation.split_first() {
        // In a shared root it stays the peer of the host's mount that it is: what the container mounts there the
        // host gets too, which is what Kubernetes calls bidirectional. Not so in a user namespace, as the kernel
        // has it.
        Some((first, _)) if first.kind == propagation::SHARED && steps.shares_with_host() => {
            (Propagation { kind: 0, recursive: first.recursive }, mount.propagation.as_slice())
        }
        Some((first, rest)) if !is_shared && (first.recursive || !recursive) && first.kind != propagation::SHARED => {
            (*first, rest)
        }
        _ => (Propagation { kind: default, recursive }, mount.propagation.as_slice()),
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
    let hidden = Attributes { set: attr::RDONLY, clear: 0 };
    let must_be_readonly =
        matches!(mount.kind, MountKind::Filesystem(_)) && steps.config.linux.own() & namespace::USER != 0;
    let top = if must_be_readonly { top.and(*all).and(hidden) } else { *top };
    let (merged, left) = match (recursive, first.recursive) {
        (false, _) => (top.and(*all), Attributes::default()),
        (true, true) => (*all, top),
        (true, false) => (top, *all),
    };
    if !merged.is_empty() || first.kind != 0 {
        // Of a tree that is one mount, none are below; and only recursive attributes cannot do without mount_setattr.
        steps.push(at, &set_attributes(merged, first.kind, first.recursive && recursive));
    }
    if !left.is_empty() {
        steps.push(at, &set_attributes(left, 0, !first.recursive));
    }
}

fn is_to_share(change: &Propagation) -> bool {
    change.kind == propagation::SHARED
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
    if !mount.parameters.is_empty() {
        let path = if kept.is_some() { "" } else { mount.destination.as_str() };
        steps.push(at, &Step::FsPick { path: text(path) });
        push_parameters(steps, mount, "");
        steps.push(at, &Step::FsReconfigure {});
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
    if let Some(Propagation { kind, recursive }) = config.linux.root_propagation {
        // Last, for then nothing is attached or cloned any more.
        let at = Pointer::to("/linux/rootfsPropagation");
        let has_shared = config.mounts.iter().flat_map(|mount| &mount.propagation).any(is_to_share);
        if kind != propagation::SLAVE || recursive && has_shared {
            steps.push(at, &Step::SetRootPropagation { propagation: kind, recursive: recursive.into() });
        }
    }
    if config.root.readonly {
        steps.push(Pointer::to("/root/readonly"), &Step::MakeRootReadonly {});
    }
}
