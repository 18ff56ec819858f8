//! The plan: what a container's first process (init) executes, as a flat list of [`Step`]s.
//!
//! ```text
//! config.json --compile--> steps --encode--> bytes (memfd) --decode--> init executes
//! ```
//!
//! The parent compiles a configuration into an encoded plan ([`PlanBuilder`]), keeps beside it where
//! each step came from, and hands the bytes to init. Init decodes them in place ([`Plan`]): no heap,
//! no copies. Both talk in [`Message`]s over a `SOCK_SEQPACKET` socket pair:
//!
//! ```text
//! parent                                init
//!   Setup + [plan, sources...]   --->     executes the steps; on failure: Failed{step, call, errno}
//!                                <---   Warning{step, ...}, Console + [terminal]   (where a step says so)
//!   Filter + [BPF program]       --->     (where a step says so)
//!                                <---   Ready
//!   Created + [start socket]     --->     waits for a connection, then for Start on it   (create)
//!   Start                        --->     goes on at once                                (run)
//!                                <---   end of file: the program runs;  or Failed{...}
//! ```
//!
//! This crate does no I/O, holds no `unsafe` code and, without the feature `encode`, does not
//! allocate. Deliberately absent: versions of the encoding; both sides are always built together.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "encode")]
extern crate alloc;

#[cfg(feature = "encode")]
mod builder;
mod encoding;
pub mod handover;
mod message;
mod step;

#[cfg(feature = "encode")]
pub use builder::PlanBuilder;
pub use encoding::{Bytes, DecodeError, Plan, Steps, Text, Texts, Words};
pub use message::{BEFORE_STEPS, Kind, MESSAGE_MAX, MESSAGE_TEXT_MAX, Message};
pub use step::{KEPT_MAX, Step, Within, attach, call, change, join};
