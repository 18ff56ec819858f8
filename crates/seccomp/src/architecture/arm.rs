//! Arm: 64 and 32 bits.

use super::{COMMON, Facts};
use crate::table;

pub(super) const AARCH64: Facts = Facts {
    name: "SCMP_ARCH_AARCH64",
    machine: 183,
    column: table::AARCH64,
    native: cfg!(all(target_arch = "aarch64", target_endian = "little")),
    ..COMMON
};

pub(super) const ARM: Facts = Facts {
    name: "SCMP_ARCH_ARM",
    machine: 40,
    machine_64: false,
    wide: false,
    column: table::ARM,
    native: cfg!(all(target_arch = "arm", target_endian = "little")),
    ..COMMON
};
