//! Motorola 68000.

use super::{ByteOrder, COMMON, Facts};
use crate::table;

pub(super) const M68K: Facts = Facts {
    name: "SCMP_ARCH_M68K",
    machine: 4,
    machine_64: false,
    order: ByteOrder::Big,
    wide: false,
    column: table::M68K,
    native: cfg!(target_arch = "m68k"),
    ..COMMON
};
