//! Compiles a seccomp profile of the OCI runtime specification (`linux.seccomp`) to one BPF program, as
//! seccomp(2) takes it. Pure: it makes no system call, reads no file and does not ask for the kernel's version.
//!
//! # What a profile means
//!
//! What runc makes of it with libseccomp:
//!
//! - The native architecture is always filtered. A call of an architecture that is not ends in [`Action::KillThread`];
//!   so does one of x32 when only x86_64 is.
//! - A rule with the default action is passed over.
//! - A name is looked up on each architecture by itself. One that an architecture does not know is passed over there.
//! - The conditions of a rule must all hold. If two are about one argument, each is a rule of its own.
//! - Arguments are unsigned, and of 32 bits on an architecture of 32 bits; of the values there, too, only the
//!   lower half counts.
//! - Where an architecture has socketcall(2) or ipc(2), a rule for, say, connect(2) is also one for
//!   socketcall(2) with the first argument of connect. What the rule says of its own first argument is lost there, since a
//!   filter cannot see it.
//! - The first rule without conditions for a call decides. If there is none, it is not the order of the rules that counts
//!   but their conditions: those for a higher argument come first; for one argument (masked) equality and inequality before less,
//!   less before greater; then the narrower one. A rule whose conditions are the first ones of another rule beats that one.
//! - Rules with the same conditions and different actions are an error.
//! - A number above all that the profile names on an architecture gets ENOSYS, so that programs fall back to an older
//!   call. Not so if the default action is allow, log or trace, which are fit for new calls.
//!
//! On purpose different from libseccomp 2.5 and 2.6 and runc 1.5, which in these cases do what no rule says:
//!
//! - With conditions on several arguments, of which one before the last is [`Operator::NotEqual`], less or greater, libseccomp
//!   shares tests within a rule, and what a second rule adds to them leaks into the first one; or it leaves out a rule
//!   whose start another rule decides only in part.
//! - libseccomp refuses a general rule after a special one with another action, and takes the general one in the other
//!   order. Here it decides in both orders.
//! - The numbers that rules name are never ENOSYS for being new, also those of calls that socketcall(2) can make, and a
//!   profile that names nothing but number 0 has an end too.
//!
//! # The program
//!
//! One test tells the architecture, a tree of comparisons finds the number, as many as can be in ranges with the
//! same outcome; then a return, or the tests of arguments. Nothing of these is loaded before: the kernel can remember
//! which calls are always allowed, and does not run the program for them at all.

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
