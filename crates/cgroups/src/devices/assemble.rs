//! Simplified rules in, instructions out.
//!
//! The program is called with r1 pointing to `struct bpf_cgroup_dev_ctx`: the kind of device (lower
//! half) and the accesses (upper half) in one u32, then major and minor number. It returns 1 to
//! allow and 0 to deny.
//!
//! In r2 it keeps kind and accesses, and takes out those accesses that are allowed by then. When
//! none is left, all is allowed; a denial of any that is left denies all. Neither verdict takes
//! more than one jump, since the two ends are shared. Tests for one kind, and within it for one
//! major number, share the comparison with that.

use no_frills_sys::bpf::Insn;

use super::program::Program;
use super::simplify::{Simplified, Test};
use super::{Kind, Rule};
use crate::error::{Error, Result};

/// The operations in use.
pub(super) mod op {
    /// `BPF_ALU64 | BPF_MOV | BPF_K`
    pub(in crate::devices) const MOVE: u8 = 0xb7;
    /// `BPF_ALU64 | BPF_AND | BPF_K`; the operand's sign is extended.
    pub(in crate::devices) const AND: u8 = 0x57;
    /// `BPF_LDX | BPF_MEM | BPF_W`; fills up with zeroes.
    pub(in crate::devices) const LOAD: u8 = 0x61;
    /// `BPF_JMP32 | BPF_JEQ | BPF_K`. 32 bits, since a 64-bit comparison would extend the sign of a
    /// number above 2^31.
    pub(in crate::devices) const JUMP_IF_EQUAL: u8 = 0x16;
    /// `BPF_JMP32 | BPF_JNE | BPF_K`
    pub(in crate::devices) const JUMP_IF_NOT_EQUAL: u8 = 0x56;
    /// `BPF_JMP | BPF_JLT | BPF_K`
    pub(in crate::devices) const JUMP_IF_LESS: u8 = 0xa5;
    /// `BPF_JMP | BPF_JSET | BPF_K`
    pub(in crate::devices) const JUMP_IF_SET: u8 = 0x45;
    /// `BPF_JMP | BPF_EXIT`
    pub(in crate::devices) const EXIT: u8 = 0x95;
}

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const REQUEST: u8 = 2;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`: one bit each, and the kernel knows no third.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;
/// Where the accesses begin.
const ACCESS_SHIFT: i32 = 16;

pub(super) fn program(simplified: &Simplified) -> Result<Program> {
    let tests = || simplified.runs.iter().flatten();
    let mut out =
        Assembler { insns: Vec::with_capacity(8 + 4 * tests().count()), to_allow: Vec::new(), to_deny: Vec::new() };
    if !simplified.runs.is_empty() {
        out.emit(op::MOVE, RESULT, 0, 0);
        out.load(REQUEST, 0);
        if tests().any(|test| test.rule.major.is_some()) {
            out.load(MAJOR, 4);
        }
        if tests().any(|test| test.rule.minor.is_some()) {
            out.load(MINOR, 8);
        }
    }
    for run in &simplified.runs {
        for kind in run.chunk_by(|a, b| a.rule.kind == b.rule.kind) {
            out.kind(kind);
        }
    }
    out.end(simplified.default_allow);
    // No jump is longer than the program.
    if out.insns.len() > i16::MAX as usize {
        return Err(Error::TooManyRules(tests().count()));
    }
    Ok(Program::new(out.insns, simplified.runs.is_empty() && simplified.default_allow))
}

struct Assembler {
    insns: Vec<Insn>,
    /// Where the jumps to the one end are ...
    to_allow: Vec<usize>,
    /// ... and those to the other.
    to_deny: Vec<usize>,
}

impl Assembler {
    fn emit(&mut self, code: u8, to: u8, from: u8, immediate: i32) {
        self.insns.push(Insn::new(code, to, from, 0, immediate));
    }

    fn load(&mut self, register: u8, offset: i16) {
        self.insns.push(Insn::new(op::LOAD, register, CONTEXT, offset, 0));
    }

    /// A jump that is linked later; returns its place.
    fn jump(&mut self, code: u8, register: u8, immediate: i32) -> usize {
        self.emit(code, register, 0, immediate);
        self.insns.len() - 1
    }

    /// A jump to the verdict.
    fn decide(&mut self, allow: bool, code: u8, register: u8, immediate: i32) {
        let jump = self.jump(code, register, immediate);
        if allow {
            self.to_allow.push(jump);
        } else {
            self.to_deny.push(jump);
        }
    }

    /// Lets a jump go to what comes next.
    fn land(&mut self, jump: usize) {
        self.land_at(jump, self.insns.len());
    }

    fn land_at(&mut self, jump: usize, target: usize) {
        if let Some(insn) = self.insns.get_mut(jump) {
            // Where it does not fit, the program as a whole is refused.
            insn.offset = (target - jump - 1) as i16;
        }
    }

    /// Tests for one kind of device.
    fn kind(&mut self, tests: &[Test]) {
        let Some(first) = tests.first() else { return };
        let (this, other) = match first.rule.kind {
            Kind::All => return self.majors(tests),
            Kind::Char => (CHAR, BLOCK),
            Kind::Block => (BLOCK, CHAR),
        };
        match (first.is_final, first.rule) {
            (true, Rule { allow, major: None, minor: None, .. }) => self.decide(allow, op::JUMP_IF_SET, REQUEST, this),
            _ => {
                let past = self.jump(op::JUMP_IF_SET, REQUEST, other);
                self.majors(tests);
                self.land(past);
            }
        }
    }

    fn majors(&mut self, tests: &[Test]) {
        for tests in tests.chunk_by(|a, b| a.rule.major == b.rule.major) {
            match tests {
                [Test { is_final: true, rule: Rule { allow, major: Some(major), minor: None, .. } }] => {
                    self.decide(*allow, op::JUMP_IF_EQUAL, MAJOR, *major as i32);
                }
                [Test { rule: Rule { major: Some(major), .. }, .. }, ..] => {
                    let past = self.jump(op::JUMP_IF_NOT_EQUAL, MAJOR, *major as i32);
                    self.minors(tests);
                    self.land(past);
                }
                _ => self.minors(tests),
            }
        }
    }

    /// Tests for one kind and one major number, or all.
    fn minors(&mut self, tests: &[Test]) {
        for Test { rule, is_final } in tests {
            match (rule.minor, is_final) {
                (Some(minor), true) => {
                    self.decide(rule.allow, op::JUMP_IF_EQUAL, MINOR, minor as i32);
                }
                (Some(minor), false) => {
                    let past = self.jump(op::JUMP_IF_NOT_EQUAL, MINOR, minor as i32);
                    self.accesses(rule);
                    self.land(past);
                }
                (None, _) => self.accesses(rule),
            }
        }
    }

    fn accesses(&mut self, rule: &Rule) {
        let mask = i32::from(rule.access.bits()) << ACCESS_SHIFT;
        if rule.allow {
            self.emit(op::AND, REQUEST, 0, !mask);
            self.decide(true, op::JUMP_IF_LESS, REQUEST, 1 << ACCESS_SHIFT);
        } else {
            self.decide(false, op::JUMP_IF_SET, REQUEST, mask);
        }
    }

    /// The verdict on what has come through, and the two ends.
    fn end(&mut self, default_allow: bool) {
        if self.insns.is_empty() {
            self.emit(op::MOVE, RESULT, 0, i32::from(default_allow));
            self.emit(op::EXIT, 0, 0, 0);
            return;
        }
        let deny = usize::from(default_allow) + self.insns.len();
        let allow = usize::from(!default_allow) + self.insns.len();
        // r0 is 0 since the beginning, so that only the other verdict needs an instruction.
        if !default_allow {
            self.emit(op::EXIT, 0, 0, 0);
        }
        // The verifier refuses instructions that are never reached.
        if default_allow || !self.to_allow.is_empty() {
            self.emit(op::MOVE, RESULT, 0, 1);
            self.emit(op::EXIT, 0, 0, 0);
        }
        for jump in std::mem::take(&mut self.to_allow) {
            self.land_at(jump, allow);
        }
        for jump in std::mem::take(&mut self.to_deny) {
            self.land_at(jump, deny);
        }
    }
}
