//! x86: 64 and 32 bits, and x32, the calls of 32-bit programs in 64-bit mode.

use super::{COMMON, Facts};
use crate::table;

/// `EM_X86_64`.
const EM_X86_64: u32 = 62;

pub(super) const X86_64: Facts = Facts {
    name: "SCMP_ARCH_X86_64",
    machine: EM_X86_64,
    column: table::X86_64,
    native: cfg!(all(target_arch = "x86_64", target_pointer_width = "64")),
    ..COMMON
};

pub(super) const X86: Facts = Facts {
    name: "SCMP_ARCH_X86",
    machine: 3,
    machine_64: false,
    wide: false,
    column: table::X86,
    native: cfg!(target_arch = "x86"),
    ..COMMON
};

pub(super) const X32: Facts = Facts {
    name: "SCMP_ARCH_X32",
    machine: EM_X86_64,
    wide: false,
    column: table::X32,
    // The kernel tells the calls by this bit of the number.
    base: 0x4000_0000,
    native: cfg!(all(target_arch = "x86_64", target_pointer_width = "32")),
    ..COMMON
};
