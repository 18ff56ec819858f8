//! RISC-V.

use super::{COMMON, Facts};
use crate::table;

pub(super) const RISCV64: Facts = Facts {
    name: "SCMP_ARCH_RISCV64",
    machine: 243,
    column: table::RISCV64,
    native: cfg!(target_arch = "riscv64"),
    ..COMMON
};
