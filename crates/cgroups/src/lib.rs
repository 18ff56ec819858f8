//! cgroup v2 for container runtimes: make a cgroup, watch it, stop and kill what is in it, remove it,
//! and say which devices its processes may use.
//!
//! Everything is done on the files of a cgroup2 file system, with one exception: devices, for which
//! there is no file but a BPF program ([`devices`]). Where systemd is to make the cgroup, it is asked to
//! ([`systemd`]). None of it needs a controller but limits ([`resources`]), so that it works as well
//! on a hybrid host, where the controllers are bound to cgroup v1 and cgroup2 is mounted at
//! `/sys/fs/cgroup/unified`.
//!
//! ```no_run
//! use no_frills_cgroups::{Cgroup, CgroupsPath, Error, Hierarchy, devices};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Error> {
//! let program = devices::compile_container(&[])?;
//! let hierarchy = Hierarchy::find()?;
//! let CgroupsPath::Fs(path) = CgroupsPath::parse(Some("/pods/web"), "web")? else {
//!     return Ok(()); // never: the form of systemd is asked for otherwise
//! };
//!
//! let mut cgroup = Cgroup::new(&hierarchy, &path)?;
//! cgroup.claim()?; // it is free; so now it can be journaled ...
//! let dir = cgroup.create(|_more_to_remove| Ok::<(), Error>(()))?; // ... and made
//! dir.set_devices(&program)?;
//! // clone3(CLONE_INTO_CGROUP) with the descriptor `dir`, and then, at the end:
//! cgroup.kill()?;
//! cgroup.remove(Some(Duration::from_secs(10)))?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it leaves to its caller
//! [`Cgroup`] is a name, not a lock: two containers that use one cgroup at a time are kept apart by
//! [`Cgroup::claim`] only as far as the first has a process in it by then. Directories are made
//! with the mode 0755 less the umask of the process.
//!
//! # What is not here
//! cgroup v1.
//!
//! # Kernel
//! Linux 5.6 (`openat2`); from 5.14 on killing is one call. Device programs need `CAP_BPF` and `CAP_NET_ADMIN`, or
//! `CAP_SYS_ADMIN`, in the first user namespace.

#![forbid(unsafe_code)]

pub mod devices;
pub mod resources;
pub mod systemd;

mod cgroup;
mod cgroups_path;
mod controllers;
mod delegate;
mod dir;
mod error;
mod events;
mod freeze;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hierarchy;
mod kill_each;
mod mountinfo;
mod processes;
mod remove;
mod stats;
mod walk;

pub use cgroup::Cgroup;
pub use cgroups_path::{BASE, CgroupsPath};
pub use dir::Dir;
pub use error::{Error, Limit, Result};
pub use hierarchy::{Controller, Hierarchy};
pub use resources::Resources;
pub use stats::{
    CpuStats, HugetlbStats, IoStats, MemoryEvents, MemoryStats, MiscStats, OomWatch, PidsStats, Pressure, RdmaStats,
    Stall, Stats, SwapStats, Throttling,
};
