//! What the programs of this package share: the conformance suite (`main.rs`), the benchmarks, the soak, the kills and failures, the mutations.
//!
//! What the suite's cases alone are written with (bundles, expectations, engines) is in the suite's own crate, where the compiler
//! tells what nobody uses any more.
#![forbid(unsafe_code)]

pub mod bench_world;
pub mod cgroup2;
pub mod daemon;
pub mod kind;
pub mod mountinfo;
pub mod rootfs;

/// What `runc spec` prints on a cgroup2 host.
pub const DEFAULT_SPEC: &str = include_str!("default_spec.json");

/// The probe, a static program for root file systems; `probe/main.rs` has what it does.
pub static PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));
