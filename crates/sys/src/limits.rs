//! Limits of other processes: prlimit(2).

use nix::errno::Errno;

/// Raises a process's hard limit to at least `hard`, its soft limit stays.
///
/// # Errors
/// `EPERM`: raising it needs CAP_SYS_RESOURCE in the initial user namespace; `EINVAL`: no such limit.
pub fn raise_hard(pid: i32, resource: u32, hard: u64) -> nix::Result<()> {
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` outlives the call; a null new limit only reads.
    Errno::result(unsafe { libc::prlimit64(pid, resource, std::ptr::null(), &raw mut now) })?;
    if now.rlim_max >= hard {
        return Ok(());
    }
    now.rlim_max = hard;
    // SAFETY: as above.
    Errno::result(unsafe { libc::prlimit64(pid, resource, &raw const now, std::ptr::null_mut()) }).map(drop)
}
