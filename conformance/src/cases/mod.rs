//! The cases, in groups.

mod commands;
mod devices;
mod engines;
mod errors;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod refused;
mod security;
mod terminals;

use crate::case::Case;

/// All cases, in the order in which they are run.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        lifecycle::cases(),
        process::cases(),
        mounts::cases(),
        devices::cases(),
        namespaces::cases(),
        terminals::cases(),
        commands::cases(),
        security::cases(),
        engines::cases(),
        errors::cases(),
        refused::cases(),
    ];
    groups.into_iter().flatten().collect()
}
