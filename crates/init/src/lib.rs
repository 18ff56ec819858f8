//! Init: the program that a new container's first process runs, until it becomes what the
//! configuration says.
//!
//! It is an ELF of its own ([`ELF`]), without libc, heap or any decision: it receives a plan
//! (`no-frills-plan`) from its parent and executes the steps with raw system calls. Its sources are in
//! `src/program`; the build script compiles them. It is run from a sealed memfd, so that what
//! `/proc/PID/exe` shows in the container is a copy that nobody can write to (CVE-2019-5736) and that
//! holds nothing of the host.
//!
//! How it is started: `argv[1]` is the number of its socket, in decimal. Standard input, output and
//! error are those of the container; descriptors between 3 and the socket are passed on to the
//! container's process; all above are closed.
#![forbid(unsafe_code)]

/// The program, a static ELF for the target that this crate was built for.
pub static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

#[cfg(test)]
mod tests {
    use super::ELF;

    /// The numbers are typed by hand: hold each against libc's.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_numbers_are_those_of_libc() {
        macro_rules! numbers {
            ($($name:ident $libc:ident = $number:literal)*) => { [$((stringify!($name), libc::$libc, $number)),*] };
        }
        for (name, theirs, ours) in include!("program/arch/x86_64_numbers.rs") {
            assert_eq!(theirs, ours, "{name}");
        }
    }

    #[test]
    fn it_is_a_small_static_elf() {
        assert_eq!(&ELF[..4], b"\x7fELF");
        assert!(ELF.len() <= 50 * 1024, "{} bytes", ELF.len());
        let text = |needle: &[u8]| ELF.windows(needle.len()).any(|window| window == needle);
        assert!(!text(b"/lib64/ld-linux"), "it has a dynamic linker");
        assert!(!text(b"GLIBC"), "it has a libc");
        assert!(!text(b"panicked"), "it can panic with a message");
    }
}
