//! Where cgroup2 is mounted, and which controllers it has.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::error::{Error, Result};
use crate::mountinfo::{Mount, mounts};

/// Where systemd, and with it nearly every host, mounts cgroup2: alone, or beside cgroup v1.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The mounted cgroup2 file system. There is one hierarchy, but a mount of it may show a part: in a
/// container, only what is beneath the root of the cgroup namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    mount: PathBuf,
}

/// Where a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controller {
    /// At the top of this hierarchy.
    Here,
    /// In cgroup v1, mounted at this path. It can be had here only after that hierarchy is empty
    /// and unmounted, in practice by booting with `systemd.unified_cgroup_hierarchy=1` or
    /// `cgroup_no_v1=all`.
    BoundToV1(PathBuf),
    /// Neither here nor in any mounted v1 hierarchy: not in this kernel, disabled on its command
    /// line, not delegated to this cgroup namespace, or bound to a v1 hierarchy that is mounted
    /// elsewhere.
    Absent,
}

impl Hierarchy {
    /// The cgroup2 mount of this mount namespace: `/sys/fs/cgroup` if it is one, which costs one
    /// statfs(2), or `/sys/fs/cgroup/unified`; else the first in /proc/self/mountinfo, those that
    /// show the whole hierarchy before those that show a part. That file is the last resort, since
    /// it has a line for every mount of every container on the host.
    pub fn find() -> Result<Hierarchy> {
        for usual in USUAL {
            if is_cgroup2(Path::new(usual)) {
                return Ok(Hierarchy { mount: PathBuf::from(usual) });
            }
        }
        let text = mountinfo()?;
        candidates(&text)
            .into_iter()
            // Something else may be mounted on top of it.
            .find(|mount| is_cgroup2(mount))
            .map(|mount| Hierarchy { mount })
            .ok_or(Error::NoHierarchy)
    }

    /// The cgroup2 mount at an absolute path without symbolic links. A directory within one will do
    /// as well: it is then the top beneath which all cgroups are made.
    pub fn at(mount: impl Into<PathBuf>) -> Result<Hierarchy> {
        let mount = mount.into();
        if mount.is_absolute() && is_cgroup2(&mount) { Ok(Hierarchy { mount }) } else { Err(Error::NotCgroup2(mount)) }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The controllers at the top of the hierarchy, separated by blanks.
    pub fn controllers(&self) -> Result<String> {
        let path = self.mount.join("cgroup.controllers");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) => Err(Error::system("reading", &path, errno(&error))),
        }
    }

    /// Where the controller `name` is; for the words of an error, this looks at cgroup v1 too.
    pub fn controller(&self, name: &str) -> Result<Controller> {
        if self.controllers()?.split(' ').any(|controller| controller == name) {
            return Ok(Controller::Here);
        }
        let text = mountinfo()?;
        let v1 = mounts(&text).find(|mount| binds(mount, controller_of_v1(name)));
        Ok(v1.map_or(Controller::Absent, |mount| Controller::BoundToV1(mount.mount_point())))
    }
}

/// What a controller is called in cgroup v1.
pub(crate) fn controller_of_v1(name: &str) -> &str {
    if name == "io" { "blkio" } else { name }
}

fn is_cgroup2(path: &Path) -> bool {
    // Whatever the error is, this is not the mount to use; the caller says which ones were looked
    // at.
    statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn mountinfo() -> Result<Vec<u8>> {
    fs::read(MOUNTINFO).map_err(|error| Error::system("reading", Path::new(MOUNTINFO), errno(&error)))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// All cgroup2 mounts, those of the whole hierarchy first.
pub(crate) fn candidates(text: &[u8]) -> Vec<PathBuf> {
    let (whole, part): (Vec<_>, Vec<_>) =
        mounts(text).filter(|mount| mount.fs_type == b"cgroup2").partition(|mount| mount.root == b"/");
    whole.iter().chain(&part).map(Mount::mount_point).collect()
}

/// Whether this is the v1 hierarchy of a controller.
fn binds(mount: &Mount<'_>, controller: &str) -> bool {
    mount.fs_type == b"cgroup"
        && mount.super_options.split(|&byte| byte == b',').any(|option| option == controller.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        40 31 0:38 /part /mnt rw - cgroup2 cgroup2 rw\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_whole_hierarchy_comes_before_a_part() {
        let expected = ["/sys/fs/cgroup/unified", "/mnt"].map(PathBuf::from);
        assert_eq!(candidates(HYBRID), expected);
        assert!(candidates(b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n").is_empty());
    }

    #[test]
    fn a_controller_of_v1_is_found_among_the_options() {
        let at = |name| mounts(HYBRID).find(|mount| binds(mount, name)).map(|mount| mount.mount_point());
        assert_eq!(at("cpuacct"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(at("memory"), Some(PathBuf::from("/sys/fs/cgroup/memory")));
        assert_eq!(at("mem"), None);
    }

    #[test]
    fn what_is_no_cgroup2_is_refused() {
        for path in ["/proc", "/nonexistent", "sys/fs/cgroup"] {
            assert!(matches!(Hierarchy::at(path), Err(Error::NotCgroup2(_))), "{path}");
        }
    }
}
