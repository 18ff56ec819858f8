//! What the fuzz targets reach beyond the public interface (fuzz/README.md). There with `--cfg fuzzing` alone.

use std::path::PathBuf;

pub use crate::stats::fuzzing::{Read, read_as};
pub use crate::systemd::fuzzing::{Heard, annotation, decode, encode};

/// Mount point and type of each mount.
pub fn mounts(mountinfo: &[u8]) -> Vec<(PathBuf, Vec<u8>)> {
    crate::mountinfo::mounts(mountinfo).map(|mount| (mount.mount_point(), mount.fs_type.to_vec())).collect()
}

/// Where cgroup2 may be.
pub fn candidates(mountinfo: &[u8]) -> Vec<PathBuf> {
    crate::hierarchy::candidates(mountinfo)
}

/// `populated` and `frozen` of `cgroup.events`.
pub fn events(text: &[u8]) -> (bool, bool) {
    let events = crate::events::parse(text);
    (events.populated, events.frozen)
}
