//! Typed wrappers for the Linux system calls that nix lacks.
//!
//! This crate is, beside init, the one place with `unsafe` code. A module holds one group of calls; each
//! function is one call or one plain idiom, takes and gives owned or borrowed descriptors, and answers with the
//! kernel's errno. Every descriptor is close-on-exec from birth. Deliberately absent: policy, paths that the
//! project knows, and anything that nix has.

mod arch;
pub mod bpf;
pub mod calls;
pub mod capability;
pub mod limits;
pub mod lock;
pub mod memfd;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod pidfd;
pub mod scheduling;
pub mod seccomp;
pub mod socket;
pub mod spawn;
