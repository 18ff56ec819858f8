//! What this version and the kernel know of seccomp, for those who ask before they write a configuration.

use no_frills_seccomp::{Action, Architecture, Operator};
use no_frills_sys::seccomp;

/// The flags of seccomp(2) that a configuration may name, and what the kernel is asked about each.
const FLAGS: &[(&str, u32)] = &[
    ("SECCOMP_FILTER_FLAG_LOG", seccomp::LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", seccomp::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", seccomp::TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", seccomp::WAIT_KILLABLE_RECV | seccomp::NEW_LISTENER),
];

/// The actions that a configuration may name, sorted.
pub fn seccomp_actions() -> impl Iterator<Item = &'static str> {
    Action::NAMES.iter().copied()
}

/// The operators that a configuration may name, sorted.
pub fn seccomp_operators() -> impl Iterator<Item = &'static str> {
    Operator::names()
}

/// The architectures that a configuration may name, sorted.
pub fn seccomp_architectures() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<_> = Architecture::ALL.iter().map(|architecture| architecture.name()).collect();
    names.sort_unstable();
    names.into_iter()
}

/// The flags that a configuration may name, sorted.
pub fn seccomp_flags() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|(name, _)| *name)
}

/// Those of [`seccomp_flags`] that the kernel has as well; it is asked. None where it has no seccomp, and where this
/// process may not ask it.
pub fn supported_seccomp_flags() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().filter(|(_, flags)| seccomp::flags_are_known(*flags) == Ok(true)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_sorted() {
        assert!(seccomp_actions().is_sorted() && seccomp_operators().is_sorted());
        assert!(seccomp_architectures().is_sorted() && seccomp_flags().is_sorted());
    }

    /// The first three are older than any kernel that containers of this runtime run on.
    #[test]
    fn the_kernel_has_the_flags() {
        let supported: Vec<_> = supported_seccomp_flags().collect();
        let known: Vec<_> = seccomp_flags().collect();
        assert_eq!(supported[..3], known[..3]);
    }
}
