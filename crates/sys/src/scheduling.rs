//! When a process gets the processor and the disks: sched_setattr(2), ioprio_set(2).

use nix::errno::Errno;

/// `struct sched_attr`, without the clamps of its second version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// From -20 to 19.
    pub nice: i32,
    /// Of `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Of `SCHED_DEADLINE`, nanoseconds, as the two below.
    pub runtime: u64,
    /// Of `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Of `SCHED_DEADLINE`; 0: the deadline.
    pub period: u64,
}

/// Sets the scheduling policy of a process, and what goes with it.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE in the initial user namespace where more than the caller's own is asked for, and where
/// the cgroup has no real-time budget; `EINVAL`: values that do not go together, or an unknown policy; `EBUSY`: no
/// bandwidth is left for another deadline.
pub fn set_scheduler(pid: i32, attributes: &Attributes) -> nix::Result<()> {
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
        /// The flags that these belong to are refused without them; zeros ask for nothing before Linux 5.3.
        clamps: [u32; 2],
    }
    let Attributes { policy, flags, nice, priority, runtime, deadline, period } = *attributes;
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr { size, policy, flags, nice, priority, runtime, deadline, period, clamps: [0; 2] };
    // SAFETY: the structure is as long as it says and outlives the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0_u32) }).map(drop)
}

/// Sets the class and the priority, as `IOPRIO_PRIO_VALUE` puts them together, of a process's input and output.
///
/// # Errors
/// `EPERM`: the real-time class without CAP_SYS_NICE or CAP_SYS_ADMIN.
pub fn set_io_priority(pid: i32, value: u32) -> nix::Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    // SAFETY: numbers alone.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of this thread alone, and only what needs no privileges.
    #[test]
    fn a_thread_can_ask_for_less() {
        std::thread::spawn(|| {
            let batch = Attributes { policy: libc::SCHED_BATCH as u32, nice: 19, ..Attributes::default() };
            assert_eq!(set_scheduler(0, &batch), Ok(()));
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_BATCH);
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }, 19);
            assert_eq!(set_io_priority(0, 3 << 13 | 7), Ok(()));
            // SAFETY: numbers alone.
            assert_eq!(unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) }, 3 << 13 | 7);
            let nonsense = Attributes { policy: 77, ..Attributes::default() };
            assert_eq!(set_scheduler(0, &nonsense), Err(Errno::EINVAL));
            assert_eq!(set_io_priority(0, 7 << 13), Err(Errno::EINVAL));
        })
        .join()
        .unwrap();
    }
}
