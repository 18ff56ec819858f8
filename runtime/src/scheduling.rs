//! `process.scheduler` and `process.ioPriority`, set from outside: the privileges for them are those of the initial user
//! namespace, which a process in a user namespace of its own does not have.

use no_frills_sys::scheduling::{Attributes, set_io_priority, set_scheduler};

use crate::compile::Pointer;
use crate::config::{IoPriority, Scheduler};
use crate::error::{Error, Result};
use crate::print;

/// Sets them for a process that is ready and has not executed its program yet.
pub(crate) fn set(pid: i32, scheduler: Option<Scheduler>, io_priority: Option<IoPriority>) -> Result<()> {
    if let Some(Scheduler { policy, flags, nice, priority, runtime, deadline, period }) = scheduler {
        let attributes = Attributes { policy, flags, nice, priority, runtime, deadline, period };
        set_scheduler(pid, &attributes).map_err(|errno| Error::System {
            pointer: Pointer::SCHEDULER.to_string(),
            action: format!("setting {}: sched_setattr", print::scheduling_policy(policy)),
            errno,
        })?;
    }
    if let Some(priority) = io_priority {
        set_io_priority(pid, priority.value()).map_err(|errno| Error::System {
            pointer: Pointer::IO_PRIORITY.to_string(),
            action: format!("setting {}: ioprio_set", print::io_class(priority)),
            errno,
        })?;
    }
    Ok(())
}
