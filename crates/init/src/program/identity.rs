//! Who the process is: user, capabilities.

use no_frills_plan::{Kind, Message, Words, call};

use crate::execute::Machine;
use crate::kernel::{
    self, Capabilities, Failure, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP,
    PR_SET_KEEPCAPS, Result, S_IFCHR, errno,
};
use crate::talk;

impl Machine<'_> {
    /// Groups before users: a user that is not root may not change them any more.
    pub(crate) fn set_user(&mut self, uid: u32, gid: u32, groups: Words<'_>) -> Result<()> {
        match kernel::setgroups(groups.bytes(), groups.count()) {
            // Most likely a user namespace whose groups may not be changed (`/proc/PID/setgroups`). None are asked for, and
            // those of the caller stay, without a name in there.
            Err(failure) if failure.errno == errno::EPERM && groups.count() == 0 => self.warn_failure(failure)?,
            other => other?,
        }
        self.set_ids(uid, gid)
    }

    pub(crate) fn set_ids(&mut self, uid: u32, gid: u32) -> Result<()> {
        kernel::setresgid(gid)?;
        if uid != 0 {
            kernel::prctl(PR_SET_KEEPCAPS, 1, 0)?;
        }
        kernel::setresuid(uid)
    }

    /// Takes what is asked for and can be had. config.md: what cannot be granted is a warning, not a failure. What is to be
    /// kept for init itself is for it to miss.
    pub(crate) fn set_capabilities(&mut self, wanted: Capabilities, kept: u64) -> Result<()> {
        let with = |set: Capabilities, kept| Capabilities {
            effective: set.effective | kept,
            permitted: set.permitted | kept,
            inheritable: set.inheritable,
        };
        match kernel::capset(with(wanted, kept)) {
            Err(Failure { errno: errno::EPERM, .. }) => {}
            other => return other,
        }
        let have = kernel::capget()?;
        let inheritable = have.permitted | have.inheritable;
        let missing = (wanted.permitted | wanted.effective) & !have.permitted | wanted.inheritable & !inheritable;
        let permitted = wanted.permitted & have.permitted;
        let granted = Capabilities {
            effective: wanted.effective & permitted,
            permitted,
            inheritable: wanted.inheritable & inheritable,
        };
        kernel::capset(with(granted, kept & have.permitted))?;
        self.warn(missing)
    }

    pub(crate) fn set_ambient(&mut self, wanted: u64) -> Result<()> {
        kernel::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
        let mut missing = 0;
        for capability in (0..64).filter(|capability| wanted & (1 << capability) != 0) {
            if kernel::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability).is_err() {
                missing |= 1 << capability;
            }
        }
        self.warn(missing)
    }

    pub(crate) fn drop_bounding(&mut self, capability: u8) -> Result<()> {
        match kernel::prctl(PR_CAPBSET_DROP, usize::from(capability), 0) {
            // A capability that this kernel does not know: nobody has it.
            Err(Failure { errno: errno::EINVAL, .. }) => Ok(()),
            other => other,
        }
    }

    /// Tells the parent what a best-effort step could not do.
    fn warn(&mut self, missing: u64) -> Result<()> {
        if missing == 0 {
            return Ok(());
        }
        let message = Message { step: self.step, detail: missing, ..Message::new(Kind::Warning) };
        talk::send(self.parent, &message, None)
    }

    /// Tells the parent that a best-effort step failed.
    pub(crate) fn warn_failure(&mut self, failure: Failure) -> Result<()> {
        let Failure { call, errno } = failure;
        let message = Message { step: self.step, call, errno, ..Message::new(Kind::Warning) };
        talk::send(self.parent, &message, None)
    }

    /// Gives pipes, files and sockets on the standard streams to the user, so that it can open
    /// `/dev/stdout` again. Devices stay as they are: `/dev/null` belongs to the host (CVE-2026-88265).
    pub(crate) fn own_stdio(&mut self, uid: u32) -> Result<()> {
        for number in 0..3 {
            let stream = kernel::Fd(number);
            let owner = match kernel::stat_fd(stream) {
                Ok(stat) if stat.kind() != S_IFCHR && stat.uid != uid => stat,
                // A device, its own already, or not open.
                _ => continue,
            };
            match kernel::fchown(stream, uid, owner.gid) {
                Err(failure) if failure.call == call::FCHOWN => self.warn_failure(failure)?,
                _ => {}
            }
        }
        Ok(())
    }
}
