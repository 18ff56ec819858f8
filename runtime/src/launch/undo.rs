//! What takes a container back that could not be created.

use super::{CGROUP_DEADLINE, Launch};
use crate::error::{Error, Result};
use crate::state::{Record, remove_file};
use crate::{hooks, resctrl};

impl Launch<'_> {
    /// Takes back what was made; all of it is tried, the first failure is told.
    pub(super) fn undo(mut self) -> Result<()> {
        let mut outcome = Ok(());
        let mut note = |result: Result<()>| {
            if outcome.is_ok() {
                outcome = result;
            }
        };
        if let Some(devices) = self.net_devices.take() {
            note(devices.move_back());
        }
        note(self.init.abandon());
        if let Some(cgroup) = self.cgroup.take() {
            // Without a pid namespace of its own, children of init may have outlived it.
            note(cgroup.kill().map_err(Error::cgroup));
            note(cgroup.remove(Some(CGROUP_DEADLINE)).map_err(Error::cgroup));
        }
        if let Some(scope) = &mut self.scope {
            note(scope.end_placeholder());
            note(scope.stop());
        }
        note(resctrl::remove(&self.record.resctrl));
        if let Some(class) = &self.class {
            note(class.take_back());
        }
        if let (true, Some(path)) = (self.pid_file_written, &self.record.pid_file) {
            note(remove_file(path));
        }
        // The name is given up last, and the journal with it: what could not be removed now, `delete --force` can.
        outcome?;
        let errors = match self.hooks_begun {
            true => {
                let half_made = Record { process: None, ..self.record.clone() };
                hooks::after_stop(&half_made, self.directory.id(), &self.config.hooks, &self.journal, None)?
            }
            false => Vec::new(),
        };
        self.directory.remove(true)?;
        // They fail for good: nothing is left to be done.
        errors.into_iter().next().map_or(Ok(()), Err)
    }
}
