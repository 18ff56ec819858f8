//! The hooks that are run while a container is created.

use std::os::fd::{AsFd, BorrowedFd};

use no_frills_cgroups::Dir;

use super::Launch;
use crate::config::Moment;
use crate::error::{Error, Result};
use crate::hooks::{self, Inside, Occasion};
use crate::state::{Process, Record, Status};

impl Launch<'_> {
    /// Runs the hooks of a moment in the caller's namespaces.
    pub(super) fn run_hooks(&mut self, moment: Moment, status: Status) -> Result<()> {
        let hooks = &self.config.hooks;
        if hooks.of(moment).is_empty() {
            return Ok(());
        }
        self.hooks_begun = true;
        let state = hooks::state(&self.record, self.directory.id(), status, Some(self.init.pid()))?;
        // It runs already when those of poststart do, and may end before them.
        let first = self.init.child.as_ref().filter(|_| status == Status::Creating).map(|child| child.pidfd.as_fd());
        let occasion = Occasion { first, note: &|hook| self.note_hook(hook, status), at_most: None };
        hooks::run(hooks, moment, &self.record.bundle, &state, &occasion)
    }

    /// Records that a hook runs. A container that is being created has no process yet.
    fn note_hook(&self, hook: Process, status: Status) -> Result<()> {
        let process = self.record.process.filter(|_| status != Status::Creating);
        self.journal.write(&Record { process, hook: Some(hook), ..self.record.clone() })
    }

    /// Runs the hooks of a moment in the container's namespaces.
    pub(super) fn run_inside(
        &mut self,
        moment: Moment,
        status: Status,
        init: BorrowedFd<'_>,
        cgroup: Option<&Dir>,
    ) -> Result<()> {
        let Some(child) = &self.init.child else { return Err(self.init.ended()) };
        let inside = Inside {
            init,
            process: child.pidfd.as_fd(),
            pid: child.pid,
            cgroup: cgroup.map(AsFd::as_fd),
            config: self.config,
            record: &self.record,
            id: self.directory.id(),
        };
        let ran = inside.run(moment, status, &|hook| self.note_hook(hook, status));
        ran.map_err(|error| match (error, self.init.last_words()) {
            // A hook cannot enter a container that has ended.
            (Error::Hook { pointer, path, reason, said }, Some(last)) => {
                Error::Hook { pointer, path, reason: format!("{reason}: {last}"), said }
            }
            (error, _) => error,
        })
    }

    pub(super) fn run_create_hooks(&mut self, init: BorrowedFd<'_>, cgroup: Option<&Dir>) -> Result<()> {
        self.run_hooks(Moment::Prestart, Status::Creating)?;
        self.run_hooks(Moment::CreateRuntime, Status::Creating)?;
        self.hooks_begun = true;
        self.run_inside(Moment::CreateContainer, Status::Creating, init, cgroup)
    }
}
