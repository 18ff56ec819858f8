//! A compiled device program, and its text.

use std::fmt;

use no_frills_sys::bpf::Insn;

use super::assemble::op;

/// A BPF program that decides over the accesses to devices; see
/// [`compile_container`](super::compile_container).
///
/// Its text (`Display`) is its instructions, one to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    insns: Vec<Insn>,
    allows_all: bool,
}

impl Program {
    pub(super) fn new(insns: Vec<Insn>, allows_all: bool) -> Program {
        Program { insns, allows_all }
    }

    /// The instructions.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// Whether everything is allowed, so that it need not be loaded.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        self.allows_all
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, insn) in self.insns.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{index}: {}", Text { index, insn: *insn })?;
        }
        Ok(())
    }
}

/// One instruction in the notation of bpftool(8).
struct Text {
    index: usize,
    insn: Insn,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Insn { code, offset, immediate, .. } = self.insn;
        let (to, from) = (self.insn.destination(), self.insn.source());
        let target = self.index as isize + 1 + isize::from(offset);
        match code {
            op::MOVE => write!(f, "r{to} = {immediate}"),
            op::AND => write!(f, "r{to} &= {immediate:#x}"),
            op::LOAD => write!(f, "r{to} = *(u32 *)(r{from} + {offset})"),
            op::JUMP_IF_EQUAL => write!(f, "if w{to} == {immediate} goto {target}"),
            op::JUMP_IF_NOT_EQUAL => write!(f, "if w{to} != {immediate} goto {target}"),
            op::JUMP_IF_LESS => write!(f, "if r{to} < {immediate:#x} goto {target}"),
            op::JUMP_IF_SET => write!(f, "if r{to} & {immediate:#x} goto {target}"),
            op::EXIT => f.write_str("exit"),
            _ => write!(f, "{:?}", self.insn),
        }
    }
}
