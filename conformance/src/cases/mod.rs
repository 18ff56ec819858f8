//! The cases, in groups.

mod apparmor;
mod at_once;
mod cgroups;
mod clocks;
mod command_line;
mod commands;
mod devices;
mod engines;
mod errors;
mod events;
mod exec;
mod freezer;
mod hooks;
mod inside;
mod intel_rdt;
mod joined;
mod kernel;
mod lifecycle;
mod many;
mod mount_extensions;
mod mount_kinds;
mod mounts;
mod namespaces;
mod net_devices;
mod process;
mod races;
mod reliability;
mod resources;
mod rootfs;
mod rootless;
mod seccomp;
mod security;
mod settings;
mod state;
mod sysctls;
mod systemd;
mod terminals;
mod users;

use crate::case::Case;

/// All cases, in the order in which they are run.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        lifecycle::cases(),
        process::cases(),
        settings::cases(),
        apparmor::cases(),
        mounts::cases(),
        mount_kinds::cases(),
        mount_extensions::cases(),
        rootfs::cases(),
        devices::cases(),
        namespaces::cases(),
        joined::cases(),
        clocks::cases(),
        sysctls::cases(),
        net_devices::cases(),
        intel_rdt::cases(),
        terminals::cases(),
        users::cases(),
        exec::cases(),
        commands::cases(),
        command_line::cases(),
        freezer::cases(),
        cgroups::cases(),
        events::cases(),
        security::cases(),
        seccomp::cases(),
        races::cases(),
        engines::cases(),
        errors::cases(),
        hooks::cases(),
        kernel::cases(),
        resources::cases(),
        systemd::cases(),
        reliability::cases(),
        inside::cases(),
        state::cases(),
        at_once::cases(),
        many::cases(),
        rootless::cases(),
    ];
    groups.into_iter().flatten().collect()
}
