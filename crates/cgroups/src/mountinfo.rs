//! /proc/self/mountinfo, as far as cgroups need it. See proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What is asked of one line.
pub(crate) struct Mount<'a> {
    /// The directory of the file system that is mounted.
    pub(crate) root: &'a [u8],
    mount_point: &'a [u8],
    /// `cgroup2`, or `cgroup` for v1.
    pub(crate) fs_type: &'a [u8],
    /// Of v1: the controllers, among others.
    pub(crate) super_options: &'a [u8],
}

impl Mount<'_> {
    /// Where it is mounted, with the escapes undone.
    pub(crate) fn mount_point(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(unescape(self.mount_point)))
    }
}

/// The mounts in a mountinfo text, in its order: a mount comes after what it was mounted upon.
pub(crate) fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(mount)
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS`.
fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let mount_point = fields.next()?;
    fields.find(|field| field == b"-")?;
    let fs_type = fields.next()?;
    let super_options = fields.nth(1)?;
    Some(Mount { root, mount_point, fs_type, super_options })
}

/// Blanks, tabs, newlines and backslashes appear as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => plain.push(*first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_and_without_tags() {
        let text = b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            7 6 0:9 /../a /mnt/with\\040blank\\134 rw shared:3 master:1 - cgroup c rw,cpu,cpuacct\n\
            broken line\n";
        let found: Vec<_> = mounts(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].fs_type, b"cgroup2");
        assert_eq!(found[0].root, b"/");
        assert_eq!(found[0].mount_point(), PathBuf::from("/sys/fs/cgroup/unified"));
        assert_eq!(found[1].root, b"/../a");
        assert_eq!(found[1].mount_point(), PathBuf::from("/mnt/with blank\\"));
        assert_eq!(found[1].super_options, b"rw,cpu,cpuacct");
    }
}
