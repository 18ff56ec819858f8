//! The ids that a container's processes have on the host.

use super::{IdMaps, Pointer};
use crate::config::{Config, ConfigError, IdMapping, Mount, attr, namespace};

pub(super) fn id_maps(config: &Config) -> Result<Option<IdMaps>, ConfigError> {
    let linux = &config.linux;
    if linux.namespaces & namespace::USER == 0 {
        return Ok(None);
    }
    Ok(Some(IdMaps {
        uid: id_map(&linux.uid_mappings, Pointer::UID_MAPPINGS)?,
        gid: id_map(&linux.gid_mappings, Pointer::GID_MAPPINGS)?,
    }))
}

pub(super) fn id_map(mappings: &[IdMapping], pointer: Pointer) -> Result<String, ConfigError> {
    /// The kernel takes a map in one write of less than a page (user_namespaces(7)).
    const TEXT_MAX: usize = 4095;
    let mut map = String::new();
    for IdMapping { container, host, size } in mappings {
        map.push_str(&format!("{container} {host} {size}\n"));
    }
    if map.len() > TEXT_MAX {
        return Err(ConfigError::new(pointer, format!("{} bytes of maps, the kernel takes {TEXT_MAX}", map.len())));
    }
    Ok(map)
}

/// The user of the process, as the host knows it, if the container is to manage its cgroup: it has a cgroup namespace of its
/// own and can write to the file system ("Cgroup ownership" in the specification).
pub(super) fn cgroup_owner(config: &Config) -> Option<u32> {
    let linux = &config.linux;
    let is_writable = |mount: &Mount| {
        mount.source == "cgroup"
            && mount.destination == "/sys/fs/cgroup"
            && mount.attributes.and(mount.recursive_attributes).set & attr::RDONLY == 0
    };
    if linux.namespaces & namespace::CGROUP == 0 || !config.mounts.iter().any(is_writable) {
        return None;
    }
    let uid = config.process.user.uid;
    if linux.own() & namespace::USER == 0 {
        return Some(uid);
    }
    // Of one that is joined they may not be known.
    let of =
        linux.uid_mappings.iter().find(|map| uid.checked_sub(map.container).is_some_and(|offset| offset < map.size));
    of.and_then(|map| map.host.checked_add(uid - map.container))
}
