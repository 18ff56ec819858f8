//! What the caller's environment says: descriptors that were opened for us (sd_listen_fds(3)), and who wants to know when
//! we are ready (sd_notify(3)). Both are meant for the container.

use std::env;
use std::ffi::OsString;

/// How many descriptors from 3 on were passed to this process as `LISTEN_FDS`.
pub(crate) fn listen_fds() -> Result<u32, String> {
    let of_whom = env::var_os("LISTEN_PID");
    // The variables of somebody else, which have been inherited too far.
    if of_whom.is_none_or(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) != Some(std::process::id())) {
        return Ok(0);
    }
    let Some(count) = env::var_os("LISTEN_FDS") else { return Ok(0) };
    count_of(&count.to_string_lossy())
}

fn count_of(count: &str) -> Result<u32, String> {
    /// As `--preserve-fds` has it.
    const MAX: u32 = 1 << 20;
    match count.parse() {
        Ok(count) if count <= MAX => Ok(count),
        _ => Err(format!("LISTEN_FDS: {count:?} is not a number of file descriptors")),
    }
}

/// Where to tell that the container is ready.
pub(crate) fn notify_socket() -> Option<OsString> {
    env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::count_of;

    #[test]
    fn counts() {
        assert_eq!((count_of("0"), count_of("3")), (Ok(0), Ok(3)));
        for nonsense in ["", "-1", "x", "4294967295"] {
            assert_eq!(
                count_of(nonsense),
                Err(format!("LISTEN_FDS: {nonsense:?} is not a number of file descriptors"))
            );
        }
    }
}
