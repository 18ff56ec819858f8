//! Devices and links in `/dev`, and the devices that the configuration adds.

use no_frills_plan::Step;

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

/// A new user namespace may not make devices: there they are the host's, mounted over.
fn are_bound(config: &Config) -> bool {
    config.linux.namespaces & namespace::USER != 0
}

/// A `/dev` that was bound is somebody's own, perhaps the host's: nothing is made or changed in it.
fn has_own_dev(config: &Config) -> bool {
    let mut binds = config.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Bind { .. }));
    !binds.any(|mount| mount.destination == "/dev")
}

/// The default devices, without those that the configuration gives another form.
fn defaults(config: &Config) -> impl Iterator<Item = (&'static str, u32, u32)> {
    let devices = &config.linux.devices;
    let wanted = if has_own_dev(config) { DEFAULTS.as_slice() } else { &[] };
    wanted
        .iter()
        .copied()
        .filter(|(name, ..)| !devices.iter().any(|device| device.path.strip_prefix("/dev/") == Some(name)))
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

/// How many devices need a tree from the host.
pub(super) fn count_sources(config: &Config) -> usize {
    if !are_bound(config) {
        return 0;
    }
    defaults(config).count() + configured(config).filter(|device| device.kind != DeviceKind::Fifo).count()
}

pub(super) fn make_all(steps: &mut Builder<'_>) {
    let config = steps.config;
    let are_bound = are_bound(config);
    let mut directory = "";
    if has_own_dev(config) {
        directory = "/dev";
        if steps.directory != OpenDirectory::FreshDev {
            steps.push(Pointer::NO_SETTING, &Step::OpenDirectory { path: text(directory) });
        }
        make_defaults(steps, are_bound);
        for (name, target) in LINKS {
            steps.push(Pointer::NO_SETTING, &Step::MakeSymlink { name: text(name), target: text(target), replace: 0 });
        }
        let ptmx = Step::MakeSymlink { name: text("ptmx"), target: text("pts/ptmx"), replace: 1 };
        steps.push(Pointer::NO_SETTING, &ptmx);
    }
    for device in configured(config) {
        let at = Pointer::item("/linux/devices", device.index);
        if are_bound && device.kind != DeviceKind::Fifo {
            bind(steps, at, &device.path);
            continue;
        }
        let (parent, name) = device.path.rsplit_once('/').unwrap_or(("", &device.path));
        let parent = if parent.is_empty() { "/" } else { parent };
        if parent != directory {
            directory = parent;
            steps.directory = OpenDirectory::None;
            steps.push(at, &Step::OpenDirectory { path: text(directory) });
        }
        steps.push(at, &make_node(device, name));
    }
}

fn make_defaults(steps: &mut Builder<'_>, are_bound: bool) {
    for (name, major, minor) in defaults(steps.config) {
        if are_bound {
            bind(steps, Pointer::NO_SETTING, &format!("/dev/{name}"));
            continue;
        }
        let device = makedev(major, minor);
        let node = Step::MakeNode { name: text(name), mode: S_IFCHR | 0o666, device, uid: 0, gid: 0 };
        steps.push(Pointer::NO_SETTING, &node);
    }
}

fn make_node<'a>(device: &Device, name: &'a str) -> Step<'a> {
    let kind = match device.kind {
        DeviceKind::Char => S_IFCHR,
        DeviceKind::Block => S_IFBLK,
        DeviceKind::Fifo => S_IFIFO,
    };
    let number = if device.kind == DeviceKind::Fifo { 0 } else { makedev(device.major, device.minor) };
    Step::MakeNode { name: text(name), mode: kind | device.mode, device: number, uid: device.uid, gid: device.gid }
}

/// Mounts the host's device of the same path.
fn bind(steps: &mut Builder<'_>, at: Pointer, path: &str) {
    let source = steps.source(at, path.into(), false);
    steps.push(at, &Step::UseSource { source });
    steps.push(at, &receive_only(false));
    steps.attach(at, path, 0);
}

/// makedev(3)
fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    minor & 0xff | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}
