//! LoongArch.

use super::{COMMON, Facts};
use crate::table;

pub(super) const LOONGARCH64: Facts = Facts {
    name: "SCMP_ARCH_LOONGARCH64",
    machine: 258,
    column: table::LOONGARCH64,
    native: cfg!(target_arch = "loongarch64"),
    ..COMMON
};
