//! The instructions of linux/filter.h that are used here.

/// `BPF_LD | BPF_W | BPF_ABS`: loads 32 bits of `struct seccomp_data`.
pub(crate) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(crate) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(crate) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(crate) const IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(crate) const IF_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(crate) const IF_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`.
pub(crate) const IF_COMMON_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`.
pub(crate) const RETURN: u16 = 0x06;

/// `BPF_MAXINSNS`: the longest program that the kernel takes.
pub(crate) const LONGEST: usize = 4096;
