//! What a bundle asks for of its rootfs: whether the program is there, the working directory is one, and the user has a name.
//!
//! The rootfs is looked at as it lies on the host. Nothing is known of what lies in a mount of the container's, and what may lie in one is
//! passed over. Paths are resolved component by component, without following a link out of the root.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use no_frills_plan::{Plan, Step};

use super::host::Found;
use super::{Report, Severity};
use crate::config::{Moment, MountKind};

/// What a path of the container leads to.
enum Resolved {
    There(PathBuf, Metadata),
    Missing(nix::errno::Errno),
    /// In a mount, or nobody can say.
    Unknown,
}

pub(super) fn check(found: &Found<'_>, report: &mut Report) {
    if found.kept("/root/path").is_none() || !found.program.rootfs().is_dir() {
        return;
    }
    program(found, report);
    working_directory(found, report);
    start_hooks(found, report);
    user(found, report);
}

/// Whether a path may be in what is mounted.
fn is_mounted(found: &Found<'_>, path: &Path) -> bool {
    let mounts = found.config.mounts.iter().filter(|mount| mount.kind != MountKind::Remount);
    mounts.into_iter().any(|mount| mount.destination == "/" || path.starts_with(&mount.destination))
}

/// Follows a path in the rootfs.
fn resolve(found: &Found<'_>, path: &Path) -> Resolved {
    const LINKS_MAX: u32 = 40;
    let root = found.program.rootfs();
    let mut links = 0;
    let mut rest: Vec<Vec<u8>> = split(path);
    let mut at = PathBuf::from("/");
    while let Some(name) = rest.pop() {
        if name == b".." {
            at.pop();
            continue;
        }
        let next = at.join(OsStr::from_bytes(&name));
        // What init makes there is a directory of devices.
        if is_mounted(found, &next) || next.starts_with("/dev") {
            return Resolved::Unknown;
        }
        let real = root.join(next.strip_prefix("/").unwrap_or(&next));
        let metadata = match fs::symlink_metadata(&real) {
            Ok(metadata) => metadata,
            Err(error) => {
                return match error.raw_os_error().map(nix::errno::Errno::from_raw) {
                    Some(errno @ (nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR)) => Resolved::Missing(errno),
                    _ => Resolved::Unknown,
                };
            }
        };
        if !metadata.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        let Ok(target) = fs::read_link(&real) else { return Resolved::Unknown };
        if links > LINKS_MAX {
            return Resolved::Missing(nix::errno::Errno::ELOOP);
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(split(&target));
    }
    match fs::symlink_metadata(root.join(at.strip_prefix("/").unwrap_or(&at))) {
        Ok(metadata) => Resolved::There(at, metadata),
        Err(_) => Resolved::Unknown,
    }
}

/// The components, the last one first.
fn split(path: &Path) -> Vec<Vec<u8>> {
    let components = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    components.filter(|name| !matches!(*name, b"" | b".")).rev().map(<[u8]>::to_vec).collect()
}

fn program(found: &Found<'_>, report: &mut Report) {
    let Ok(plan) = Plan::decode(found.program.steps.bytes()) else { return };
    let process = &found.config.process;
    let name = process.args.first().map_or("", String::as_str);
    if process.args.is_empty() {
        let remedy = "add it, with args and cwd".to_owned();
        report.add_with(
            Severity::Warning,
            "/process".to_owned(),
            "missing: the container can be created, but not started".to_owned(),
            remedy,
        );
        return;
    }
    let Some(pointer) = found.kept("/process/args/0") else { return };
    for step in plan.steps().flatten() {
        let Step::FindProgram { candidates } = step else { continue };
        let mut why = None;
        for candidate in candidates.iter() {
            let path = Path::new(&process.cwd).join(OsStr::from_bytes(candidate.bytes()));
            match resolve(found, &path) {
                Resolved::Unknown => return,
                Resolved::Missing(_) => {}
                Resolved::There(_, metadata) if !metadata.is_file() => why = why.or(Some("is not a file")),
                Resolved::There(_, metadata) if metadata.permissions().mode() & 0o111 == 0 => {
                    why = why.or(Some("is not executable"));
                }
                Resolved::There(..) => return,
            }
        }
        let (message, remedy) = match why {
            Some(why) => (format!("the program {name:?} {why}"), "correct the name, or the file's mode in the rootfs"),
            None if name.contains('/') => {
                (format!("the program {name:?} is not in the rootfs"), "correct the path, or put it there")
            }
            None => (
                format!("the program {name:?} is in no directory of the rootfs that PATH in /process/env names"),
                "correct the name, put it there, or complete PATH",
            ),
        };
        report.add_with(Severity::Error, pointer, message, remedy.to_owned());
        return;
    }
}

fn working_directory(found: &Found<'_>, report: &mut Report) {
    let Some(pointer) = found.kept("/process/cwd") else { return };
    let cwd = found.config.process.cwd.as_str();
    let what = match resolve(found, Path::new(cwd)) {
        Resolved::There(_, metadata) if !metadata.is_dir() => "is there, but no directory",
        Resolved::Missing(nix::errno::Errno::ENOTDIR) => "leads through what is no directory",
        // It is made.
        _ => return,
    };
    let remedy = "name a directory, or what does not exist: it is made".to_owned();
    report.add_with(Severity::Error, pointer, format!("{cwd:?} {what}"), remedy);
}

/// They are programs of the container's.
fn start_hooks(found: &Found<'_>, report: &mut Report) {
    for (index, hook) in found.config.hooks.of(Moment::StartContainer).iter().enumerate() {
        let Some(pointer) = found.kept(&format!("{}/{index}/path", Moment::StartContainer.pointer())) else { continue };
        let why = match resolve(found, Path::new(&hook.path)) {
            Resolved::Missing(_) => "is not in the rootfs, where it is looked for",
            Resolved::There(_, metadata) if !metadata.is_file() => "is not a file",
            Resolved::There(_, metadata) if metadata.permissions().mode() & 0o111 == 0 => "is not executable",
            _ => continue,
        };
        let remedy = "put it into the image, or use createContainer, whose hooks are programs of the host".to_owned();
        report.add_with(Severity::Error, pointer, format!("the hook {:?} {why}", hook.path), remedy);
    }
}

/// A user without a line in `/etc/passwd` has no name and no home.
fn user(found: &Found<'_>, report: &mut Report) {
    let uid = found.config.process.user.uid;
    let Some(pointer) = found.kept("/process/user/uid") else { return };
    if uid == 0 || found.document.value().pointer("/process/user/uid").is_none() {
        return;
    }
    let Resolved::There(path, metadata) = resolve(found, Path::new("/etc/passwd")) else { return };
    if !metadata.is_file() {
        return;
    }
    let Ok(text) = fs::read(found.program.rootfs().join(path.strip_prefix("/").unwrap_or(&path))) else { return };
    let is_there = text
        .split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b':').nth(2) == Some(uid.to_string().as_bytes()));
    if !is_there {
        let message =
            format!("the user {uid} has no line in the container's /etc/passwd: it has no name, and / as its HOME");
        let remedy = "add one to the image, or set HOME in /process/env and keep it so".to_owned();
        report.add_with(Severity::Warning, pointer, message, remedy);
    }
}
