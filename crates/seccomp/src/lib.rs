//! Compiles a seccomp profile of the OCI runtime specification (`linux.seccomp`) to one BPF program, as
//! seccomp(2) takes it. Pure: it makes no system call, reads no file and does not ask for the kernel's version.

#![forbid(unsafe_code)]

mod architecture;
mod assemble;
mod bpf;
mod calls;
mod compile;
mod conditions;
mod disassemble;
mod filter;
mod graph;
mod interpret;
mod precedence;
mod profile;
mod search;
mod survey;
mod table;
#[cfg(test)]
mod tests;

pub use architecture::{Architecture, ByteOrder, UnknownArchitecture};
pub use compile::{Error, compile};
pub use disassemble::disassemble;
pub use filter::{Filter, Instruction};
pub use interpret::{Call, Malformed, Outcome, Program};
pub use profile::{Action, Condition, Operator, Profile, Rule};
pub use survey::{ArchitectureSurvey, CallSurvey, Fate, Survey};
