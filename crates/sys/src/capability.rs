//! The caller's capabilities: capget(2).

use nix::errno::Errno;

/// Whether the calling thread may, in its own user namespace, do what CAP_SYS_ADMIN is for: make namespaces and mounts.
///
/// # Errors
/// As capget(2).
pub fn has_sys_admin() -> nix::Result<bool> {
    has(21)
}

/// Whether the calling thread may raise hard limits: CAP_SYS_RESOURCE. It counts in the initial user namespace alone.
///
/// # Errors
/// As capget(2).
pub fn has_sys_resource() -> nix::Result<bool> {
    has(24)
}

/// Whether a capability below 32 is effective.
fn has(number: u32) -> nix::Result<bool> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    // Effective, permitted, inheritable, twice 32 bits.
    let mut sets = [0_u32; 6];
    // SAFETY: both are as long as version 3 of the interface wants them, and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) })?;
    Ok(sets[0] & 1 << number != 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_what_the_kernel_says_of_us() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let effective = u64::from_str_radix(effective.trim(), 16).unwrap();
        assert_eq!(super::has_sys_admin(), Ok(effective & 1 << 21 != 0));
        assert_eq!(super::has_sys_resource(), Ok(effective & 1 << 24 != 0));
    }
}
