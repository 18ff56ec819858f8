//! PowerPC: 64 bits of both byte orders, and 32 bits.

use super::{ByteOrder, COMMON, Facts};
use crate::table;

pub(super) const PPC64LE: Facts = Facts {
    name: "SCMP_ARCH_PPC64LE",
    machine: 21,
    column: table::PPC64,
    native: cfg!(all(target_arch = "powerpc64", target_endian = "little")),
    ..COMMON
};

pub(super) const PPC64: Facts = Facts {
    name: "SCMP_ARCH_PPC64",
    order: ByteOrder::Big,
    native: cfg!(all(target_arch = "powerpc64", target_endian = "big")),
    ..PPC64LE
};

pub(super) const PPC: Facts = Facts {
    name: "SCMP_ARCH_PPC",
    machine: 20,
    machine_64: false,
    order: ByteOrder::Big,
    wide: false,
    column: table::PPC,
    native: cfg!(target_arch = "powerpc"),
    ..COMMON
};
