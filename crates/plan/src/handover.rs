//! The memory that init and its parent share from [`Step::InstallFilter`](crate::Step::InstallFilter) on: the filter may
//! forbid init every system call, so that it can say nothing any more.
//!
//! A file in memory, which comes to init with the message that lets it run its program. Numbers of 32 bits in the machine's
//! byte order, at these places. execve takes the memory from init: what the program does changes nothing in it.

/// How long the file is, in bytes.
pub const LENGTH: usize = 32;

/// One of [`state`], written by init last of all.
pub const STATE: usize = 0;
/// With [`state::INSTALLED`]: the number of the listener's descriptor in init, if the filter has one.
pub const LISTENER: usize = 4;
/// Written by the parent: 1 when it has the listener. Init waits for that.
pub const TAKEN: usize = 8;
/// With [`state::FAILED`]: the number of the step.
pub const STEP: usize = 12;
/// With [`state::FAILED`]: the [`call`](crate::call).
pub const CALL: usize = 16;
/// With [`state::FAILED`]: what the kernel answered.
pub const ERRNO: usize = 20;

/// What became of it.
pub mod state {
    /// The filter is in place; the program comes next.
    pub const INSTALLED: u32 = 1;
    /// The filter is in place, and the program cannot be executed.
    pub const FAILED: u32 = 2;
}
