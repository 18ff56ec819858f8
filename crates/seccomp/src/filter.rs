//! What comes out: a BPF program and what is known about it.

use crate::compile::value;
use crate::{Action, bpf};

/// A BPF instruction, `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does, `BPF_*`.
    pub code: u16,
    /// How many instructions are left out when the condition holds.
    pub jt: u8,
    /// How many instructions are left out when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A compiled profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The program for seccomp(2), at most 4096 instructions.
    pub instructions: Vec<Instruction>,
    /// Names in rules that no architecture of the filter knows; they were passed over.
    pub unknown: Vec<&'a str>,
}

impl Filter<'_> {
    /// Whether it notifies of any call (`SECCOMP_RET_USER_NOTIF`).
    pub fn notifies(&self) -> bool {
        self.instructions.iter().any(|one| one.code == bpf::RETURN && one.k == value(Action::Notify))
    }

    /// The program as the kernel takes it: 8 bytes an instruction, in this machine's byte order.
    pub fn bytes(&self) -> Vec<u8> {
        let encode = |one: &Instruction| {
            let [a, b] = one.code.to_ne_bytes();
            let [c, d, e, f] = one.k.to_ne_bytes();
            [a, b, one.jt, one.jf, c, d, e, f]
        };
        self.instructions.iter().flat_map(encode).collect()
    }
}
