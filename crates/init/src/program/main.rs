//! The init program. Start reading at `start`, then `execute.rs`, which has one arm per step.
//!
//! ```text
//! start: mark what was inherited to be closed -> receive the plan -> execute step after step -> execve
//!                                                             | fails
//!                                                             v
//!                                               Failed{step, call, errno} -> exit
//! ```
//!
//! Files: `arch/` the machine, `kernel.rs` the calls with types, `talk.rs` the conversation with the
//! parent, `paths.rs` paths beneath the root, `mounts.rs`, `copy.rs`, `terminal.rs`, `identity.rs`, `home.rs`, `filter.rs`:
//! the longer idioms, `old.rs` what old kernels need. Deliberately absent: a heap, libc, paths of the host, and any choice that
//! the parent could make.
#![no_std]
#![no_main]

mod arch;
mod copy;
mod execute;
mod filter;
mod home;
mod identity;
mod kernel;
mod mounts;
mod old;
mod paths;
mod talk;
mod terminal;

use no_frills_plan::{BEFORE_STEPS, Kind, Message};

use crate::execute::Machine;
use crate::kernel::{Fd, exit};
use crate::talk::Received;

/// Called by the entry code with the address of the initial stack: argc, argv, NULL, ...
///
/// # Safety
/// `stack` is the stack as execve(2) lays it out.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: argc lies at the address, argv[0] after it, argv[1] behind that when argc says so.
    let number = unsafe {
        match *stack {
            2 => parse_number(*stack.add(2) as *const u8),
            _ => None,
        }
    };
    match number {
        Some(number) => run(Fd(number)),
        // Somebody ran it by hand.
        None => exit(2),
    }
}

/// A decimal number at an address, NUL-ended, of at most nine digits.
///
/// # Safety
/// `text` points at a C string.
unsafe fn parse_number(text: *const u8) -> Option<i32> {
    let mut number = 0;
    for index in 0..10 {
        // SAFETY: every byte before this one was not the NUL.
        match unsafe { *text.add(index) } {
            0 => return (index > 0).then_some(number),
            digit @ b'0'..=b'9' if index < 9 => number = number * 10 + i32::from(digit - b'0'),
            _ => return None,
        }
    }
    None
}

fn run(parent: Fd) -> ! {
    let mut machine = Machine::new(parent);
    machine.step = BEFORE_STEPS;
    let plan = match machine.prepare() {
        Ok(plan) => plan,
        Err(failure) => {
            machine.report(failure);
            exit(1)
        }
    };
    machine.step = 0;
    for step in plan.steps() {
        let outcome = match step {
            Ok(step) => machine.execute(&step),
            Err(_) => Err(kernel::Failure { call: 0, errno: kernel::errno::EPROTO }),
        };
        if let Err(failure) = outcome {
            machine.report(failure);
            exit(1)
        }
        machine.step += 1;
    }
    // A plan ends with an execve.
    machine.report(kernel::Failure { call: 0, errno: kernel::errno::EPROTO });
    exit(1)
}

impl Machine<'_> {
    /// Leaves nothing of the parent to the program, then receives the plan.
    fn prepare(&mut self) -> kernel::Result<no_frills_plan::Plan<'static>> {
        kernel::close_on_exec_from(self.parent)?;
        kernel::unblock_signals()?;
        talk::receive_plan(self.parent, &mut self.sources)
    }

    fn report(&mut self, failure: kernel::Failure) {
        let message = Message {
            call: failure.call,
            errno: failure.errno,
            step: self.step,
            detail: self.detail,
            text: self.text(),
            ..Message::new(Kind::Failed)
        };
        // Nobody is left to tell when the parent is gone: then init ends all the same.
        let _told = talk::send(self.parent, &message, None);
    }

    /// The start: says that all is ready, waits to be told to go on. The parent's end closes when it dies:
    /// then the container is not wanted any more.
    fn ready(&mut self) -> kernel::Result<()> {
        talk::send(self.parent, &Message::new(Kind::Ready), None)?;
        let ignored = match talk::receive(self.parent)? {
            Received { kind: Kind::Start, detail, attached } => {
                self.handover = attached;
                detail
            }
            Received { kind: Kind::Created, detail, attached: Some(socket) } => {
                // What is left of the preparations is not for those who enter the container before it is started. The parent takes
                // the end of its socket for success, so that this is last.
                let apart = Fd(self.parent.0 + 1);
                if socket != apart {
                    kernel::replace(socket, apart)?;
                }
                kernel::close_from(apart.0 + 1)?;
                kernel::replace(apart, self.parent)?;
                kernel::close(apart);
                self.forget_pending();
                (self.parent, self.handover) = await_start(self.parent)?;
                detail
            }
            _ => exit(1),
        };
        default_signals(ignored)
    }
}

/// execve keeps what is ignored, and a container's program expects the defaults. Bit N - 1 is signal N.
pub(crate) fn default_signals(ignored: u64) -> kernel::Result<()> {
    (1..=64).filter(|signal| ignored & (1 << (signal - 1)) != 0).try_for_each(kernel::default_signal)
}

/// So often in a row the start socket may fail to take a connection.
const MANY: u32 = 1000;

/// Takes connections on the start socket until one says `Start`. It becomes the parent's socket. What comes with that is returned
/// too.
fn await_start(socket: Fd) -> kernel::Result<(Fd, Option<Fd>)> {
    let mut failures = 0;
    loop {
        let connection = match kernel::accept(socket) {
            Ok(connection) => connection,
            // Nobody could be told that it has ended, and what is lacking now may be there in a moment.
            Err(_) if failures < MANY => {
                failures += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        failures = 0;
        // Who says nothing keeps those who come after it waiting; a start that was too slow says it again.
        if kernel::receive_within_a_second(connection).is_err() {
            kernel::close(connection);
            continue;
        }
        match talk::receive(connection) {
            Ok(Received { kind: Kind::Start, attached, .. }) => {
                kernel::close(socket);
                return Ok((connection, attached));
            }
            // A `start` that was killed or stopped, or something that is none: wait for the next.
            _ => kernel::close(connection),
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    arch::trap()
}
