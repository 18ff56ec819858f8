//! Limits of other processes: prlimit(2).

use nix::errno::Errno;

/// Raises a child's hard limit to at least `hard`; its soft limit stays.
///
/// Whether that is needed is seen from the caller's own limit, which the child was born with: a child that has
/// changed its user since may not be asked any more without CAP_SYS_RESOURCE.
///
/// # Errors
/// `EPERM`: raising it needs CAP_SYS_RESOURCE in the initial user namespace; `EINVAL`: no such limit.
pub fn raise_hard(child: i32, resource: u32, hard: u64) -> nix::Result<()> {
    let mut now = own(resource)?;
    if now.rlim_max >= hard {
        return Ok(());
    }
    now.rlim_max = hard;
    // SAFETY: `now` outlives the call, and the old limit is not asked for.
    Errno::result(unsafe { libc::prlimit64(child, resource, &raw const now, std::ptr::null_mut()) }).map(drop)
}

/// The caller's own hard limit.
///
/// # Errors
/// `EINVAL`: no such limit.
pub fn own_hard(resource: u32) -> nix::Result<u64> {
    own(resource).map(|limit| limit.rlim_max)
}

fn own(resource: u32) -> nix::Result<libc::rlimit64> {
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` outlives the call; a null new limit only reads.
    Errno::result(unsafe { libc::prlimit64(0, resource, std::ptr::null(), &raw mut now) })?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_high_enough_needs_no_child() {
        // There is no such process: it is not asked.
        assert_eq!(raise_hard(i32::MAX, libc::RLIMIT_NOFILE, 1), Ok(()));
        assert_eq!(raise_hard(i32::MAX, 1000, 1), Err(Errno::EINVAL));
        assert_eq!(own_hard(1000), Err(Errno::EINVAL));
    }
}
