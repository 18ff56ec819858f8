//! The cases, in groups.

mod commands;
mod devices;
mod engines;
mod errors;
mod exec;
mod hooks;
mod lifecycle;
mod mount_extensions;
mod mount_kinds;
mod mounts;
mod namespaces;
mod process;
mod races;
mod refused;
mod reliability;
mod rootfs;
mod security;
mod settings;
mod terminals;

use crate::case::Case;

/// All cases, in the order in which they are run.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        lifecycle::cases(),
        process::cases(),
        settings::cases(),
        mounts::cases(),
        mount_kinds::cases(),
        mount_extensions::cases(),
        rootfs::cases(),
        devices::cases(),
        namespaces::cases(),
        terminals::cases(),
        exec::cases(),
        commands::cases(),
        security::cases(),
        races::cases(),
        engines::cases(),
        errors::cases(),
        hooks::cases(),
        refused::cases(),
        reliability::cases(),
    ];
    groups.into_iter().flatten().collect()
}
