//! SuperH, in both byte orders.

use super::{ByteOrder, COMMON, Facts};
use crate::table;

// No target of the compiler is one of them.
pub(super) const SH: Facts =
    Facts { name: "SCMP_ARCH_SH", machine: 42, machine_64: false, wide: false, column: table::SH, ..COMMON };

pub(super) const SHEB: Facts = Facts { name: "SCMP_ARCH_SHEB", order: ByteOrder::Big, ..SH };
