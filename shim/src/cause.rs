//! The causes of failures, in the library's words.

use std::io;

use nix::errno::Errno;

/// `ENOENT (no such file or directory)`. Engines look for the words in lower case.
pub(crate) fn cause(error: impl Into<io::Error>) -> String {
    let error = error.into();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => format!("{errno:?} ({})", errno.desc().to_lowercase()),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::errno::Errno;

    use super::cause;

    #[test]
    fn every_kind_of_error_reads_the_same() {
        for text in [cause(Errno::EPERM), cause(io::Error::from_raw_os_error(1)), cause(rustix::io::Errno::PERM)] {
            assert_eq!(text, "EPERM (operation not permitted)");
        }
        assert_eq!(cause(io::Error::other("of its own")), "of its own");
    }
}
