//! `linux.cgroupsPath`: which cgroup a container asks for. Pure.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The directory beneath which cgroups are made whose place is the runtime's to choose.
pub const BASE: &str = "no-frills";

/// What a `cgroupsPath` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupsPath {
    /// A directory of the cgroup2 file system; the path is relative to its mount.
    ///
    /// | cgroupsPath | path |
    /// |---|---|
    /// | `/a/b` | `a/b` |
    /// | `a/b` | `no-frills/a/b` |
    /// | absent or empty | `no-frills/ID` |
    ///
    /// The specification leaves the last two to the runtime. crun takes the mount for `no-frills`;
    /// runc takes the parent of the cgroup that it runs in itself, so that the place depends on who
    /// calls, which this crate does not follow.
    Fs(PathBuf),
    /// `slice:prefix:name`, for the systemd driver.
    Systemd {
        /// The slice that the scope goes into; may be empty, for the default. See [`Scope`](crate::systemd::Scope).
        slice: String,
        /// What the scope's name begins with.
        prefix: String,
        /// The rest of the scope's name.
        name: String,
    },
}

impl CgroupsPath {
    /// Reads a `cgroupsPath` for a cgroup that the runtime makes, where colons mean nothing, as with runc and crun. `id` is the container's, which names its cgroup where the path is
    /// absent.
    ///
    /// Empty and `.` components are dropped. `..` is refused: runc resolves it by the letter, crun
    /// hands it to the kernel and ends up outside of the cgroup file system, and neither is what
    /// anybody means.
    pub fn parse(cgroups_path: Option<&str>, id: &str) -> Result<CgroupsPath> {
        let Some(path) = cgroups_path.filter(|path| !path.is_empty()) else {
            return Ok(CgroupsPath::Fs(clean(BASE, id)?));
        };
        if path.starts_with('/') {
            return Ok(CgroupsPath::Fs(clean("", path)?));
        }
        Ok(CgroupsPath::Fs(clean(BASE, path)?))
    }

    /// Reads a `cgroupsPath` for the systemd driver: `slice:prefix:name`, and where it is absent or empty `:no-frills:ID`.
    /// Another form is refused, as by runc.
    pub fn parse_systemd(cgroups_path: Option<&str>, id: &str) -> Result<CgroupsPath> {
        let Some(path) = cgroups_path.filter(|path| !path.is_empty()) else {
            return Ok(CgroupsPath::Systemd { slice: String::new(), prefix: BASE.into(), name: id.into() });
        };
        let mut parts = path.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(slice), Some(prefix), Some(name), None) if !path.contains(['/', '\0', '\n']) => {
                Ok(CgroupsPath::Systemd { slice: slice.into(), prefix: prefix.into(), name: name.into() })
            }
            _ => {
                Err(Error::Path { path: path.to_owned(), why: "for the systemd driver it is to be slice:prefix:name" })
            }
        }
    }
}

/// `path` beneath `base`, without empty and `.` components.
fn clean(base: &str, path: &str) -> Result<PathBuf> {
    let mut cleaned = PathBuf::with_capacity(base.len() + 1 + path.len());
    cleaned.push(base);
    let mut any = false;
    for component in path.split('/').filter(|component| !matches!(*component, "" | ".")) {
        check_component(component.as_bytes()).map_err(|why| Error::Path { path: path.to_owned(), why })?;
        cleaned.push(component);
        any = true;
    }
    if any {
        Ok(cleaned)
    } else {
        Err(Error::Path { path: path.to_owned(), why: "it names no cgroup beneath the top of the hierarchy" })
    }
}

/// Checks a path that comes out of a record: relative, clean, and not empty.
pub(crate) fn check_clean(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .split(|&byte| byte == b'/')
        .try_for_each(|component| match component {
            b"" | b"." => Err("it is not a relative path without empty and `.` components"),
            component => check_component(component),
        })
        .map_err(|why| Error::Path { path: path.to_string_lossy().into_owned(), why })
}

fn check_component(component: &[u8]) -> Result<(), &'static str> {
    if component == b".." {
        Err("`..` is not allowed in it")
    } else if component.contains(&0) || component.contains(&b'\n') {
        // The kernel refuses a newline, since /proc/PID/cgroup could not be read then.
        Err("a zero byte or a newline is not allowed in it")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fs(path: Option<&str>, expected: &str) {
        assert_eq!(CgroupsPath::parse(path, "id1").unwrap(), CgroupsPath::Fs(PathBuf::from(expected)), "{path:?}");
    }

    #[test]
    fn where_paths_land() {
        fs(None, "no-frills/id1");
        fs(Some(""), "no-frills/id1");
        fs(Some("/a/b"), "a/b");
        fs(Some("//a///b/./c/"), "a/b/c");
        fs(Some("a/b"), "no-frills/a/b");
        fs(Some("./a"), "no-frills/a");
        fs(Some("a..b"), "no-frills/a..b");
        // The form of systemd means nothing here.
        fs(Some("a:b:c"), "no-frills/a:b:c");
        fs(Some("/a:b:c"), "a:b:c");
        fs(Some("x/a:b:c"), "no-frills/x/a:b:c");
    }

    #[test]
    fn the_form_of_systemd() {
        let systemd = |path| match CgroupsPath::parse_systemd(path, "id1").unwrap() {
            CgroupsPath::Systemd { slice, prefix, name } => (slice, prefix, name),
            CgroupsPath::Fs(path) => panic!("{path:?}"),
        };
        assert_eq!(systemd(Some("system.slice:docker:web")), ("system.slice".into(), "docker".into(), "web".into()));
        assert_eq!(systemd(Some(":p:n")), (String::new(), "p".into(), "n".into()));
        for absent in [None, Some("")] {
            assert_eq!(systemd(absent), (String::new(), "no-frills".into(), "id1".into()));
        }
        for path in ["/a/b", "a", "a:b", "a:b:c:d", "a/b:c:d", "/a:b:c", "a:b\n:c"] {
            assert!(matches!(CgroupsPath::parse_systemd(Some(path), "id1"), Err(Error::Path { .. })), "{path}");
        }
    }

    #[test]
    fn what_is_refused() {
        for path in ["/", "//", ".", "./", "/..", "..", "a/../b", "/a/..", "../x", "a\nb", "a\0b"] {
            assert!(matches!(CgroupsPath::parse(Some(path), "id1"), Err(Error::Path { .. })), "{path:?}");
        }
        assert!(CgroupsPath::parse(None, "..").is_err());
        assert!(CgroupsPath::parse(None, "").is_err());
        for path in ["", "/a", "a//b", "a/", "./a", "a/..", "a/./b"] {
            assert!(check_clean(Path::new(path)).is_err(), "{path:?}");
        }
        assert!(check_clean(Path::new("a/b")).is_ok());
    }
}
