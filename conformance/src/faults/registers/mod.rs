//! The registers of a process at a system call: which call it is, and what it answers.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod native;
#[cfg(not(target_arch = "x86_64"))]
#[path = "other.rs"]
mod native;

pub(crate) use native::{answer, call, skip};
