//! Devices and links in `/dev`, and the devices that the configuration adds.

use no_frills_plan::{Step, attach};

use super::{Builder, OpenDirectory, Pointer, receive_only, text};
use crate::config::{Config, Device, DeviceKind, MountKind, namespace};

/// Name, major and minor number of what every container has (config-linux.md, "Default Devices").
const DEFAULTS: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links in `/dev` (runtime-linux.md, "Dev symbolic links").
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;

/// In a user namespace no devices may be made: there they are the host's, mounted over.
fn are_bound(config: &Config) -> bool {
    config.linux.own() & namespace::USER != 0 || config.caller_in_user_namespace
}

/// A `/dev` that was bound is somebody's own, perhaps the host's: nothing is made or changed in it.
fn has_own_dev(config: &Config) -> bool {
    let mut binds = config.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Bind { .. }));
    !binds.any(|mount| mount.destination == "/dev")
}

/// The default devices, without those in whose place the configuration has something else.
fn defaults(config: &Config) -> impl Iterator<Item = (&'static str, u32, u32)> {
    let wanted = if has_own_dev(config) { DEFAULTS.as_slice() } else { &[] };
    let devices = config.linux.devices.iter().map(|device| device.path.as_str());
    let others = devices.chain(config.mounts.iter().map(|mount| mount.destination.as_str()));
    let others: Vec<&str> = others.filter_map(|path| path.strip_prefix("/dev/")).collect();
    wanted.iter().copied().filter(move |(name, ..)| !others.contains(name))
}

/// Where the default devices come from: the mount at `/dev`, or the rootfs.
fn at_dev(config: &Config) -> Pointer {
    let dev = config.mounts.iter().rfind(|mount| mount.destination == "/dev");
    dev.map_or(Pointer::to("/root/path"), |mount| Pointer::item("/mounts", mount.index))
}

/// The host's `/dev/null` must be it, and not what somebody has put in its place.
pub(super) fn check_null() -> Step<'static> {
    Step::CheckDevice { kind: S_IFCHR, device: makedev(1, 3) }
}

/// The configured devices, without those that a bound `/dev` brings or should bring, and without the
/// multiplexer of terminals, which has to be that of the container's own devpts.
fn configured(config: &Config) -> impl Iterator<Item = &Device> {
    let own_dev = has_own_dev(config);
    config
        .linux
        .devices
        .iter()
        .filter(move |device| device.path != "/dev/ptmx" && (own_dev || !device.path.starts_with("/dev/")))
}

pub(super) fn make_all(steps: &mut Builder<'_>) {
    let config = steps.config;
    let are_bound = are_bound(config);
    let at_dev = at_dev(config);
    let mut directory = "";
    if has_own_dev(config) {
        directory = "/dev";
        if steps.directory != OpenDirectory::FreshDev {
            steps.push(at_dev, &open_directory(directory));
        }
        make_defaults(steps, at_dev, are_bound);
        for (name, target) in LINKS {
            steps.push(at_dev, &Step::MakeSymlink { name: text(name), target: text(target), replace: 0 });
        }
        let ptmx = Step::MakeSymlink { name: text("ptmx"), target: text("pts/ptmx"), replace: 1 };
        steps.push(at_dev, &ptmx);
    }
    for device in configured(config) {
        let at = Pointer::item("/linux/devices", device.index);
        if are_bound && device.kind != DeviceKind::Fifo {
            bind(steps, at, &device.path, device_type(device.kind), makedev(device.major, device.minor));
            continue;
        }
        let (parent, name) = device.path.rsplit_once('/').unwrap_or(("", &device.path));
        let parent = if parent.is_empty() { "/" } else { parent };
        if parent != directory {
            directory = parent;
            steps.directory = OpenDirectory::None;
            steps.push(at, &open_directory(directory));
        }
        steps.push(at, &make_node(device, name));
    }
}

/// Nodes and links must not come to lie, and none be removed, where a link in the place of `/dev` leads
/// (CVE-2026-41579).
fn open_directory(path: &str) -> Step<'_> {
    let flags = if path == "/dev" { attach::NO_SYMLINKS } else { 0 };
    Step::OpenDirectory { path: text(path), flags }
}

fn make_defaults(steps: &mut Builder<'_>, at_dev: Pointer, are_bound: bool) {
    for (name, major, minor) in defaults(steps.config) {
        let device = makedev(major, minor);
        if are_bound {
            bind(steps, at_dev, &format!("/dev/{name}"), S_IFCHR, device);
            continue;
        }
        let node = Step::MakeNode { name: text(name), mode: S_IFCHR | 0o666, device, uid: 0, gid: 0 };
        steps.push(at_dev, &node);
    }
}

fn make_node<'a>(device: &Device, name: &'a str) -> Step<'a> {
    let kind = device_type(device.kind);
    let number = if device.kind == DeviceKind::Fifo { 0 } else { makedev(device.major, device.minor) };
    Step::MakeNode { name: text(name), mode: kind | device.mode, device: number, uid: device.uid, gid: device.gid }
}

fn device_type(kind: DeviceKind) -> u32 {
    match kind {
        DeviceKind::Char => S_IFCHR,
        DeviceKind::Block => S_IFBLK,
        DeviceKind::Fifo => S_IFIFO,
    }
}

/// Mounts the host's device of the same path, if it is the one that is meant.
fn bind(steps: &mut Builder<'_>, at: Pointer, path: &str, kind: u32, device: u64) {
    let source = steps.tree(at, path.into(), false);
    steps.push(at, &Step::UseSource { source });
    steps.push(at, &Step::CheckDevice { kind, device });
    steps.push(at, &receive_only(false));
    steps.attach(at, path, 0);
}

/// makedev(3)
fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    minor & 0xff | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}
