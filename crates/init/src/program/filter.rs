//! The seccomp filter: the last thing before the program, and how init can still be heard under it.

use core::mem::size_of;
use core::sync::atomic::{AtomicU32, Ordering};

use no_frills_plan::call;
use no_frills_plan::handover::{CALL, ERRNO, LENGTH, LISTENER, STATE, STEP, TAKEN, state};

use crate::arch;
use crate::execute::Machine;
use crate::kernel::{self, Failure, Result, errno};

/// A filter to be installed.
#[derive(Clone, Copy)]
pub(crate) struct Filter {
    program: &'static [u8],
    flags: u32,
    /// The step that asked for it.
    step: u32,
    handover: Handover,
}

impl Machine<'_> {
    /// Makes all ready for the filter. It is installed when nothing is left to do but to execute the program.
    pub(crate) fn prepare_filter(&mut self) -> Result<()> {
        let (Some(file), Some((flags, program))) = (self.handover.take(), self.received_filter) else {
            return Err(Failure { call: call::RECVMSG, errno: errno::EPROTO });
        };
        let handover = Handover::map(kernel::map_shared(file, LENGTH)?);
        kernel::close(file);
        self.filter = Some(Filter { program, flags, step: self.step, handover });
        Ok(())
    }
}

impl Filter {
    /// Installs it. Afterwards init makes no call but execve. The failure of a step comes with its number.
    pub(crate) fn install(&self) -> core::result::Result<(), (u32, Failure)> {
        let listener = kernel::seccomp(self.flags, self.program).map_err(|failure| (self.step, failure))?;
        if !self.has_listener() {
            self.handover.set(STATE, state::INSTALLED);
            return Ok(());
        }
        self.handover.set(LISTENER, listener as u32);
        self.handover.set(STATE, state::INSTALLED);
        // execve closes the listener. To wait for the parent in the kernel would be a call that the filter may forbid, or that
        // nobody answers before the parent has the listener.
        for _ in 0..PATIENCE {
            if self.handover.get(TAKEN) != 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        arch::trap()
    }

    fn has_listener(&self) -> bool {
        self.flags & kernel::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }

    /// Leaves word that the program cannot be executed, and ends.
    pub(crate) fn fail(&self, step: u32, failure: Failure) -> ! {
        self.handover.set(STEP, step);
        self.handover.set(CALL, failure.call.into());
        self.handover.set(ERRNO, failure.errno as u32);
        self.handover.set(STATE, state::FAILED);
        // To exit is a call too: the filter may deny it, or ask a supervisor who never answers.
        if !self.has_listener() {
            let _denied = kernel::exit_if_allowed(1);
        }
        arch::trap()
    }
}

/// How often init looks whether the parent has the listener: some seconds, for a parent that needs some microseconds,
/// but may have been killed.
const PATIENCE: u32 = 1 << 28;

/// The memory that is shared with the parent.
#[derive(Clone, Copy)]
struct Handover(usize);

impl Handover {
    /// Takes the address of a mapping that is never given back.
    fn map(address: usize) -> Handover {
        Handover(address)
    }

    fn word(&self, place: usize) -> &AtomicU32 {
        const { assert!(ERRNO + size_of::<u32>() <= LENGTH && TAKEN + size_of::<u32>() <= LENGTH) };
        // SAFETY: the mapping is page-aligned, of at least LENGTH bytes, is not unmapped, and every place is a multiple of four
        // below LENGTH. The other side is the kernel's read(2) and write(2).
        unsafe { AtomicU32::from_ptr((self.0 + place) as *mut u32) }
    }

    fn get(&self, place: usize) -> u32 {
        self.word(place).load(Ordering::Acquire)
    }

    fn set(&self, place: usize, value: u32) {
        self.word(place).store(value, Ordering::Release);
    }
}
