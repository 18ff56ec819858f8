//! MIPS: three sets of calls, each in both byte orders.

use super::{ByteOrder, COMMON, Facts};
use crate::table;

/// `EM_MIPS`.
const EM_MIPS: u32 = 8;
/// `__AUDIT_ARCH_CONVENTION_MIPS64_N32`.
const N32: u32 = 0x2000_0000;

pub(super) const MIPSEL: Facts = Facts {
    name: "SCMP_ARCH_MIPSEL",
    machine: EM_MIPS,
    machine_64: false,
    wide: false,
    column: table::MIPS,
    base: 4000,
    enosys: 89,
    native: cfg!(all(any(target_arch = "mips", target_arch = "mips32r6"), target_endian = "little")),
    ..COMMON
};

pub(super) const MIPS: Facts = Facts {
    name: "SCMP_ARCH_MIPS",
    order: ByteOrder::Big,
    native: cfg!(all(any(target_arch = "mips", target_arch = "mips32r6"), target_endian = "big")),
    ..MIPSEL
};

pub(super) const MIPSEL64: Facts = Facts {
    name: "SCMP_ARCH_MIPSEL64",
    machine_64: true,
    wide: true,
    column: table::MIPS64,
    base: 5000,
    native: cfg!(all(any(target_arch = "mips64", target_arch = "mips64r6"), target_endian = "little")),
    ..MIPSEL
};

pub(super) const MIPS64: Facts = Facts {
    name: "SCMP_ARCH_MIPS64",
    order: ByteOrder::Big,
    native: cfg!(all(any(target_arch = "mips64", target_arch = "mips64r6"), target_endian = "big")),
    ..MIPSEL64
};

pub(super) const MIPSEL64N32: Facts = Facts {
    name: "SCMP_ARCH_MIPSEL64N32",
    machine: EM_MIPS | N32,
    wide: false,
    column: table::MIPS64N32,
    base: 6000,
    // No target of the compiler has these calls.
    native: false,
    ..MIPSEL64
};

pub(super) const MIPS64N32: Facts =
    Facts { name: "SCMP_ARCH_MIPS64N32", order: ByteOrder::Big, native: false, ..MIPSEL64N32 };
