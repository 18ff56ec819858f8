//! IBM Z.

use super::{ByteOrder, COMMON, Facts};
use crate::table;

pub(super) const S390X: Facts = Facts {
    name: "SCMP_ARCH_S390X",
    machine: 22,
    order: ByteOrder::Big,
    column: table::S390X,
    // A number above 255 is passed in a register, the instruction has 0, which stays when the kernel knows no such call.
    unknown_number: Some(0),
    native: cfg!(target_arch = "s390x"),
    ..COMMON
};
