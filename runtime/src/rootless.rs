//! What stands in the way of who has no rights on the host, and what to do about it (docs/rootless.md).
//!
//! All of it is looked for after something failed: a container that works costs nothing of this.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::FsFlags;
use nix::unistd::geteuid;

use crate::compile::{Caller, Program};
use crate::config::{Config, MountKind, namespace};
use crate::error::Error;

/// The error with what stands in the way, if that can be found.
#[cold]
pub(crate) fn explain(error: Error, program: &Program, config: &Config, caller: Option<Caller>) -> Error {
    let remedy = match &error {
        Error::System { action, errno: Errno::EACCES, .. } if action.ends_with(" to mount it") => {
            let path = action.trim_start_matches("opening ").trim_end_matches(" to mount it");
            blocked(Path::new(path))
        }
        Error::Step { pointer, errno: Errno::EACCES, .. } if pointer == "/root/path" => {
            blocked(program.rootfs()).or_else(|| Some(for_mapped_root(program, caller)))
        }
        Error::Step { pointer, errno: Errno::EACCES, call, .. } if pointer.starts_with("/mounts/") => {
            let makes = matches!(*call, "mkdirat" | "openat2" | "openat" | "mknodat");
            makes.then(|| {
                "the root file system lacks the mount point, and is not this user's to change: make it beforehand, or \
                 give the user the root file system (chown -R)"
                    .to_owned()
            })
        }
        Error::Step { pointer, errno: Errno::EPERM, .. } if pointer.starts_with("/mounts/") => {
            about_mount(config, pointer)
        }
        _ => None,
    };
    let remedy = remedy.or_else(|| match &error {
        Error::Step { errno: Errno::EPERM | Errno::EACCES, .. } => restricted_by_apparmor(),
        _ => None,
    });
    error.with_remedy(remedy)
}

/// The error of opening or making something at a path, with who does not let the caller through.
#[cold]
pub(crate) fn explain_path(error: Error, path: &Path, otherwise: &str) -> Error {
    match error {
        Error::System { errno: Errno::EACCES, .. } => {
            let remedy = blocked(path).map(|why| format!("{why}{otherwise}"));
            error.with_remedy(remedy)
        }
        error => error,
    }
}

/// The directory on the way to `path`, or itself, that the caller may not enter.
fn blocked(path: &Path) -> Option<String> {
    let mut all: Vec<&Path> = path.ancestors().collect();
    all.reverse();
    let mut last = Path::new("/");
    for next in all {
        match fs::metadata(next) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Some(closed(last)),
            Err(_) => break,
            Ok(_) => last = next,
        }
    }
    // Itself: a file that cannot be read, or a directory that cannot be entered or written to.
    let metadata = fs::metadata(last).ok()?;
    let enters = !metadata.is_dir() || fs::metadata(last.join(".")).is_ok();
    (!enters || last != path || File::open(last).is_err()).then(|| closed(last))
}

fn closed(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else { return format!("{} is closed to this user", path.display()) };
    let (mode, owner) = (metadata.permissions().mode() & 0o7777, metadata.uid());
    format!(
        "user {} is kept out by {}, which belongs to user {owner} and has the mode {mode:04o}: chown or chmod it",
        geteuid(),
        path.display()
    )
}

/// The caller gets there; root in the container is somebody else.
fn for_mapped_root(program: &Program, caller: Option<Caller>) -> String {
    let map = program.id_maps.as_ref().map(|maps| maps.uid.as_str()).unwrap_or_default();
    let root = ranges(map).find(|range| range.inside == 0).map(|range| range.first);
    match (root, caller) {
        (Some(root), Some(caller)) if root != u64::from(caller.uid) => format!(
            "root in the container is user {root} of the host (/linux/uidMappings), who must be able to enter every \
             directory on the way"
        ),
        _ => "the container's user must be able to enter every directory on the way".to_owned(),
    }
}

/// Why a file system cannot be mounted by root of a user namespace.
fn about_mount(config: &Config, pointer: &str) -> Option<String> {
    let index: usize = pointer.split('/').nth(2)?.parse().ok()?;
    let mount = config.mounts.get(index)?;
    let MountKind::Filesystem(fstype) = &mount.kind else { return None };
    let text = match fstype.as_str() {
        "sysfs" if !config.makes_namespace(namespace::NETWORK) => {
            "in a user namespace sysfs needs a network namespace of its own: add one to /linux/namespaces, or bind the \
             host's /sys (options rbind, nosuid, noexec, nodev, ro) as `no-frills spec --rootless` does"
        }
        "proc" if !config.makes_namespace(namespace::PID) => {
            "in a user namespace proc needs a pid namespace of its own: add one to /linux/namespaces, or bind the host's /proc"
        }
        "proc" | "sysfs" => {
            "the kernel refuses it where the host's own is covered in part, as in a container: bind that, or have it uncovered"
        }
        "cgroup2" => {
            "in a user namespace cgroup2 needs a cgroup namespace of its own: add one to /linux/namespaces, or bind the \
             host's /sys/fs/cgroup"
        }
        _ => {
            return Some(format!(
                "in a user namespace the kernel lets nobody mount {fstype}: leave it out, or bind what the host has"
            ));
        }
    };
    Some(text.to_owned())
}

/// Why clone3(2) has made no user namespace.
#[cold]
pub(crate) fn no_user_namespace(errno: Errno) -> String {
    let value =
        |name: &str| -> Option<u64> { fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok() };
    let keep = "(in a file of /etc/sysctl.d to keep it)";
    if errno == Errno::ENOSPC {
        let limits = ["user", "pid"].map(|kind| format!("user/max_{kind}_namespaces"));
        let told = limits.iter().map(|name| format!("{} is {}", name.replace('/', "."), value(name).unwrap_or(0)));
        let told = told.collect::<Vec<_>>().join(", ");
        return format!(
            "the kernel allows no more namespaces: {told}: `sysctl -w user.max_user_namespaces=15000` {keep}"
        );
    }
    if value("kernel/unprivileged_userns_clone") == Some(0) {
        return format!(
            "users may make no user namespaces, since kernel.unprivileged_userns_clone is 0: \
             `sysctl -w kernel.unprivileged_userns_clone=1` {keep}"
        );
    }
    // Of the processes that it confines AppArmor says `PROFILE (enforce)`.
    let label = fs::read_to_string("/proc/self/attr/apparmor/current").unwrap_or_default();
    if let Some((profile, _)) = label.trim().split_once(" (") {
        return format!("AppArmor confines the caller by the profile {profile}, which has to have the rule `userns,`");
    }
    restricted_by_apparmor().unwrap_or_else(|| {
        "users may make no user namespaces here: a seccomp filter or a security module around the caller forbids it, or it \
         is in a chroot"
            .to_owned()
    })
}

/// Whether AppArmor lets only programs with a profile have rights in a user namespace.
fn restricted_by_apparmor() -> Option<String> {
    const SYSCTL: &str = "kernel.apparmor_restrict_unprivileged_userns";
    let path = format!("/proc/sys/{}", SYSCTL.replace('.', "/"));
    let restricted = fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    let program = || std::env::current_exe().unwrap_or_else(|_| PathBuf::from("no-frills"));
    restricted.then(|| {
        format!(
            "{SYSCTL} is 1, and lets programs with an AppArmor profile alone use user namespaces: load one for {}, with \
             the rule `userns,`, or `sysctl -w {SYSCTL}=0`",
            program().display()
        )
    })
}

/// One line of a map of ids.
struct Range {
    inside: u64,
    first: u64,
    count: u64,
}

fn ranges(map: &str) -> impl Iterator<Item = Range> {
    map.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().map(|word| word.parse().ok());
        Some(Range { inside: words.next()??, first: words.next()??, count: words.next()?? })
    })
}

/// What newuidmap(1) and newgidmap(1) need.
pub(crate) struct Helper {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) option: &'static str,
}

/// Why the helper has refused to map ids: `said` is what it said itself.
#[cold]
pub(crate) fn about_maps(helper: &Helper, map: &str, own: u32, said: &str) -> String {
    let Helper { name, file, option } = helper;
    let user = user_name();
    let text = fs::read_to_string(file).unwrap_or_default();
    let given: Vec<(u64, u64)> = text.lines().filter_map(|line| given(line, &user)).collect();
    let held = |range: &Range| {
        range.count == 1 && range.first == u64::from(own)
            || given.iter().any(|(first, count)| range.first >= *first && range.first + range.count <= first + count)
    };
    let Some(missing) = ranges(map).find(|range| !held(range)) else {
        return unprivileged(name).unwrap_or_else(|| format!("{said}: see {name}(1)"));
    };
    let last = missing.first + missing.count.saturating_sub(1);
    let has = match given.first() {
        None => "gives none to user".to_owned(),
        Some((first, count)) => format!("gives {first}-{} to user", first + count.saturating_sub(1)),
    };
    format!(
        "{said} ({file} {has} {user}, and not {}-{last}: `usermod {option} {}-{last} {user}` as root, or map other ids)",
        missing.first, missing.first
    )
}

/// What a line of /etc/subuid gives to a user: `NAME:FIRST:COUNT`, or with a number in place of the name.
fn given(line: &str, user: &str) -> Option<(u64, u64)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let is_theirs = name == user || name.parse() == Ok(geteuid().as_raw());
    let range = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
    is_theirs.then_some(range)
}

/// The caller's name, or its number.
fn user_name() -> String {
    let id = geteuid().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = users.lines().find(|line| line.split(':').nth(2) == Some(&id));
    entry.and_then(|line| line.split(':').next()).map_or(id, str::to_owned)
}

/// Why a set-uid program has no more rights than its caller.
fn unprivileged(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.strip_prefix("NoNewPrivs:").is_some_and(|value| value.trim() == "1")) {
        return Some(format!(
            "the caller can gain no privileges (no_new_privs; NoNewPrivileges= of a unit), and {name} is set-uid: call from \
             elsewhere, or map the user's own ids alone"
        ));
    }
    let path =
        std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())?;
    let file = File::open(&path).ok()?;
    let metadata = file.metadata().ok()?;
    let shown = path.display();
    if metadata.mode() & 0o4000 == 0 || metadata.uid() != 0 {
        let capability = if name == "newuidmap" { "cap_setuid" } else { "cap_setgid" };
        return Some(format!(
            "{shown} is neither set-uid root nor has it the capability: `chmod u+s {shown}`, or `setcap {capability}+ep {shown}`"
        ));
    }
    if fstatfs(&file).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_NOSUID)) {
        return Some(format!("{shown} lies on a file system that is mounted nosuid: mount it without"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_subuid() {
        let own = geteuid().to_string();
        assert_eq!(given("joe:100000:65536", "joe"), Some((100_000, 65536)));
        assert_eq!(given(&format!("{own}:5:6 "), "joe"), Some((5, 6)));
        for line in ["ann:100000:65536", "joe", "joe:1", "joe:a:b", "", "#joe:1:2"] {
            assert_eq!(given(line, "joe"), None, "{line}");
        }
    }

    #[test]
    fn what_is_missing_is_told_with_its_remedy() {
        let helper = Helper { name: "newuidmap", file: "/nonexistent", option: "--add-subuids" };
        let told = about_maps(&helper, "0 1000 1\n1 300000 65535\n", 1000, "refused");
        assert!(told.starts_with("refused (/nonexistent gives none to user "), "{told}");
        assert!(told.contains("usermod --add-subuids 300000-365534 "), "{told}");
    }

    #[test]
    fn who_keeps_the_caller_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // Root is kept out by nobody.
        assert_eq!(blocked(directory.path()), None);
        assert!(closed(directory.path()).contains("has the mode 0700"));
    }
}
