//! no-frills: an OCI container runtime for Linux, as a library.
//!
//! Containers are made from [`Bundle`]s in a state root, the [`Runtime`], and live independently of the
//! process that made them:
//!
//! ```no_run
//! use no_frills::{Bundle, CreateOptions, Runtime};
//!
//! # fn main() -> Result<(), no_frills::Error> {
//! let runtime = Runtime::open("/run/no-frills")?;
//! let bundle = Bundle::load("/var/lib/bundles/web")?;
//! let container = runtime.create("web", &bundle, CreateOptions::default())?;
//! container.start()?;
//! let status = container.wait()?;
//! container.delete(false)?;
//! println!("it exited with {}", status.code());
//! # Ok(())
//! # }
//! ```
//!
//! # For embedding
//! All handles are `Send + Sync` and every function may be called from any thread of a process of any size: no global state
//! is read or changed (current directory, umask, environment, signal handlers), nothing panics, and the
//! time to create a container does not depend on the caller's memory. The container's process runs a program of its own,
//! never the caller's binary. Its standard streams are the caller's unless [`CreateOptions`] says otherwise.
//! A caller that waits for all its children (`waitpid(-1)`) may reap a container's process;
//! [`Container::wait`] then still tells its status on Linux 6.15 and later.
//!
//! # How it is built
//! ```text
//! config.json --config--> Config --compile--> Program --launch--> init executes the plan
//! ```
//! See docs/architecture.md in the repository.
#![forbid(unsafe_code)]

mod bundle;
pub mod check;
mod compile;
mod config;
mod console;
mod container;
mod error;
mod events;
mod exec;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handover;
mod hooks;
mod id_maps;
pub mod info;
mod init;
mod launch;
mod members;
mod net_devices;
mod notify;
mod own_namespaces;
mod print;
mod remains;
mod resctrl;
mod rootless;
mod scheduling;
mod seccomp;
mod security;
mod signal;
mod start;
mod state;
mod systemd;
pub mod time;
mod timings;
mod update;

/// The README's example is tested with the others.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub use bundle::Bundle;
pub use compile::{Caller, CompileOptions, Forks, IdMaps, Pointer, Program, SOURCE_BATCH, Source, SourceKind, compile};
pub use config::{Config, ConfigError, mount_options};
pub use console::connect_to;
pub use container::{Container, CreateOptions, ExitStatus, Listing, OwnCgroup, Runtime};
pub use error::{Error, Result};
pub use events::{Event, Events};
pub use exec::{Exec, ExecOptions, ProcessConfig};
pub use no_frills_cgroups as cgroups;
pub use notify::{NotifyManager, NotifySocket};
pub use seccomp::{
    SeccompFilter, seccomp_actions, seccomp_architectures, seccomp_flags, seccomp_operators, supported_seccomp_flags,
};
pub use signal::{Signal, UnknownSignal};
pub use state::{State, Status};
pub use timings::{Phase, Times, Timings};
pub use update::Update;

/// All handles may be used from any thread.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Runtime>();
    is_shared::<Container>();
    is_shared::<Bundle>();
    is_shared::<Program>();
    is_shared::<Error>();
};
