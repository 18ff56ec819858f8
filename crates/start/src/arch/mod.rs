//! What depends on the machine: one file per architecture.

mod x86_64;
pub(crate) use x86_64::*;
