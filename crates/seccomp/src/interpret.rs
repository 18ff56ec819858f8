//! Runs a program as the kernel would: for tests, and to count instructions.
//!
//! The kernel's side is `bpf_check_classic` in net/core/filter.c and `seccomp_check_filter` in kernel/seccomp.c. Not
//! here: programs for a machine of the other byte order.

use std::borrow::Cow;

use crate::{Action, Instruction};

/// What the kernel shows to a filter of a call, `struct seccomp_data` of linux/seccomp.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// `nr`, the number of the call.
    pub number: u32,
    /// `arch`, an `AUDIT_ARCH_*` of linux/audit.h.
    pub architecture: u32,
    /// Where the caller is.
    pub instruction_pointer: u64,
    /// `args`.
    pub arguments: [u64; 6],
}

/// The size of `struct seccomp_data` in bytes.
const CALL_SIZE: u32 = 64;

impl Call {
    /// The word at an offset, in this machine's byte order.
    fn word(&self, offset: u32) -> u32 {
        let half = |number: u64, offset: u32| {
            let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
            u32::from_ne_bytes(if offset.is_multiple_of(8) { [a, b, c, d] } else { [e, f, g, h] })
        };
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => half(self.instruction_pointer, offset),
            _ => half(self.arguments[(offset as usize - 16) / 8], offset),
        }
    }
}

/// What a program says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it returned, `SECCOMP_RET_*` with 16 bits of data.
    pub result: u32,
    /// What the kernel makes of that.
    pub action: Action,
    /// How many instructions were executed.
    pub executed: usize,
}

impl Action {
    /// What the kernel makes of the result of a filter, as seccomp(2) describes it.
    pub fn from_result(result: u32) -> Action {
        let data = (result & 0xffff) as u16;
        match result & 0xffff_0000 {
            0 => Action::KillThread,
            0x0003_0000 => Action::Trap,
            // MAX_ERRNO is the limit of what a system call can return.
            0x0005_0000 => Action::Errno(data.min(4095)),
            0x7fc0_0000 => Action::Notify,
            0x7ff0_0000 => Action::Trace(data),
            0x7ffc_0000 => Action::Log,
            0x7fff_0000 => Action::Allow,
            _ => Action::KillProcess,
        }
    }
}

/// Why the kernel refuses a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is empty or has more than 4096 instructions (`BPF_MAXINSNS`).
    #[error("a program has 1 to 4096 instructions, not {0}")]
    Length(usize),
    /// No such instruction, or none that a seccomp filter may use, or an operand out of range.
    #[error("instruction {0} is not allowed")]
    Forbidden(usize),
    /// A jump to behind the last instruction.
    #[error("instruction {0} jumps out of the program")]
    Jump(usize),
    /// A load of scratch memory that nothing was stored in on some path.
    #[error("instruction {0} reads scratch memory that was not written")]
    Unwritten(usize),
    /// The last instruction returns nothing.
    #[error("the program does not end with a return")]
    NoReturn,
}

// The codes of linux/bpf_common.h and linux/filter.h.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
const IMM: u16 = 0x00;
const ABS: u16 = 0x20;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const ADD: u16 = 0x00;
const SUB: u16 = 0x10;
const MUL: u16 = 0x20;
const DIV: u16 = 0x30;
const OR: u16 = 0x40;
const AND: u16 = 0x50;
const LSH: u16 = 0x60;
const RSH: u16 = 0x70;
const NEG: u16 = 0x80;
const XOR: u16 = 0xa0;
const JA: u16 = 0x00;
const JEQ: u16 = 0x10;
const JGT: u16 = 0x20;
const JGE: u16 = 0x30;
const JSET: u16 = 0x40;
const X: u16 = 0x08;
const A: u16 = 0x10;
const TXA: u16 = 0x80;

/// `LD | IMM` and the like, in a pattern.
macro_rules! codes {
    ($($name:ident = $class:ident | $($part:ident)|+;)+) => { $(const $name: u16 = $class $(| $part)+;)+ };
}
codes! {
    LD_IMM = LD | IMM; LD_ABS = LD | ABS; LD_MEM = LD | MEM; LD_LEN = LD | LEN;
    LDX_IMM = LDX | IMM; LDX_MEM = LDX | MEM; LDX_LEN = LDX | LEN;
    ADD_K = ALU | ADD; SUB_K = ALU | SUB; MUL_K = ALU | MUL; DIV_K = ALU | DIV; OR_K = ALU | OR; AND_K = ALU | AND;
    LSH_K = ALU | LSH; RSH_K = ALU | RSH; XOR_K = ALU | XOR;
    ADD_X = ALU | ADD | X; SUB_X = ALU | SUB | X; MUL_X = ALU | MUL | X; DIV_X = ALU | DIV | X; OR_X = ALU | OR | X;
    AND_X = ALU | AND | X; LSH_X = ALU | LSH | X; RSH_X = ALU | RSH | X; XOR_X = ALU | XOR | X; NEG_A = ALU | NEG;
    JA_K = JMP | JA;
    JEQ_K = JMP | JEQ; JGT_K = JMP | JGT; JGE_K = JMP | JGE; JSET_K = JMP | JSET;
    JEQ_X = JMP | JEQ | X; JGT_X = JMP | JGT | X; JGE_X = JMP | JGE | X; JSET_X = JMP | JSET | X;
    RET_A = RET | A;
    TXA_A = MISC | TXA;
}

/// The words of scratch memory, `BPF_MEMWORDS`.
const MEMORY: usize = 16;

/// A program that the kernel would take.
#[derive(Clone, Debug)]
pub struct Program<'a>(Cow<'a, [Instruction]>);

impl<'a> Program<'a> {
    /// Checks a program as the kernel does before it installs it.
    ///
    /// # Errors
    /// When the kernel would refuse it with EINVAL.
    pub fn new(instructions: impl Into<Cow<'a, [Instruction]>>) -> Result<Program<'a>, Malformed> {
        let instructions = instructions.into();
        let length = instructions.len();
        if !(1..=4096).contains(&length) {
            return Err(Malformed::Length(length));
        }
        // Per instruction, which words of the scratch memory are written on every way to it.
        let mut written = vec![u16::MAX; length];
        written[0] = 0;
        for (at, one) in instructions.iter().enumerate() {
            let k = one.k as usize;
            let mut after = written[at];
            let allowed = match one.code {
                LD_ABS => one.k < CALL_SIZE && one.k.is_multiple_of(4),
                ST | STX | LD_MEM | LDX_MEM => k < MEMORY,
                DIV_K => k != 0,
                LSH_K | RSH_K => k < 32,
                _ => known(one.code),
            };
            if !allowed {
                return Err(Malformed::Forbidden(at));
            }
            let ways: &[usize] = match one.code {
                ST | STX => {
                    after |= 1 << k;
                    &[1]
                }
                LD_MEM | LDX_MEM if after & 1 << k == 0 => return Err(Malformed::Unwritten(at)),
                RET | RET_A => &[],
                JA_K => &[k.saturating_add(1)],
                code if code & 7 == JMP => &[usize::from(one.jt) + 1, usize::from(one.jf) + 1],
                _ => &[1],
            };
            for way in ways {
                match written.get_mut(at.saturating_add(*way)) {
                    Some(there) => *there &= after,
                    None if one.code & 7 == JMP => return Err(Malformed::Jump(at)),
                    None => return Err(Malformed::NoReturn),
                }
            }
        }
        Ok(Program(instructions))
    }

    /// What it says of a call.
    pub fn run(&self, call: &Call) -> Outcome {
        let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; MEMORY]);
        let mut next = 0;
        let mut executed = 0;
        let result = loop {
            let Instruction { code, jt, jf, k } = self.0[next];
            executed += 1;
            next += 1;
            let mut jump = |holds: bool| next += usize::from(if holds { jt } else { jf });
            match code {
                LD_IMM => a = k,
                LD_ABS => a = call.word(k),
                LD_MEM => a = memory[k as usize],
                LD_LEN => a = CALL_SIZE,
                LDX_IMM => x = k,
                LDX_MEM => x = memory[k as usize],
                LDX_LEN => x = CALL_SIZE,
                ST => memory[k as usize] = a,
                STX => memory[k as usize] = x,
                ADD_K => a = a.wrapping_add(k),
                ADD_X => a = a.wrapping_add(x),
                SUB_K => a = a.wrapping_sub(k),
                SUB_X => a = a.wrapping_sub(x),
                MUL_K => a = a.wrapping_mul(k),
                MUL_X => a = a.wrapping_mul(x),
                DIV_K => a /= k,
                // A program that divides by zero returns zero.
                DIV_X => match a.checked_div(x) {
                    Some(quotient) => a = quotient,
                    None => break 0,
                },
                OR_K => a |= k,
                OR_X => a |= x,
                AND_K => a &= k,
                AND_X => a &= x,
                XOR_K => a ^= k,
                XOR_X => a ^= x,
                LSH_K => a <<= k,
                LSH_X => a = a.wrapping_shl(x),
                RSH_K => a >>= k,
                RSH_X => a = a.wrapping_shr(x),
                NEG_A => a = a.wrapping_neg(),
                JA_K => next += k as usize,
                JEQ_K => jump(a == k),
                JEQ_X => jump(a == x),
                JGT_K => jump(a > k),
                JGT_X => jump(a > x),
                JGE_K => jump(a >= k),
                JGE_X => jump(a >= x),
                JSET_K => jump(a & k != 0),
                JSET_X => jump(a & x != 0),
                MISC => x = a,
                TXA_A => a = x,
                RET => break k,
                // `known` lets nothing else pass.
                _ => break a,
            }
        };
        Outcome { result, action: Action::from_result(result), executed }
    }
}

/// Whether an instruction is one that seccomp allows.
fn known(code: u16) -> bool {
    match code & 7 {
        LD => matches!(code, LD_IMM | LD_ABS | LD_MEM | LD_LEN),
        LDX => matches!(code, LDX_IMM | LDX_MEM | LDX_LEN),
        ST => code == ST,
        STX => code == STX,
        ALU => match code & !X & !7 {
            ADD | SUB | MUL | DIV | OR | AND | LSH | RSH | XOR => true,
            NEG => code == NEG_A,
            _ => false,
        },
        JMP => match code & !X & !7 {
            JEQ | JGT | JGE | JSET => true,
            JA => code == JA_K,
            _ => false,
        },
        RET => matches!(code, RET | RET_A),
        _ => matches!(code, MISC | TXA_A),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(code: u16, k: u32) -> Instruction {
        Instruction { code, jt: 0, jf: 0, k }
    }

    fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    fn result(program: &[Instruction], call: &Call) -> (u32, usize) {
        let outcome = Program::new(program).unwrap().run(call);
        (outcome.result, outcome.executed)
    }

    fn refused(program: &[Instruction]) -> Malformed {
        Program::new(program).unwrap_err()
    }

    #[test]
    fn loads_every_word_of_the_call() {
        let call = Call {
            number: 1,
            architecture: 2,
            instruction_pointer: 0x0000_0004_0000_0003,
            arguments: std::array::from_fn(|n| (n as u64 * 2 + 6) << 32 | (n as u64 * 2 + 5)),
        };
        for offset in 0..16 {
            let low_first = if cfg!(target_endian = "little") || offset < 2 { offset } else { offset ^ 1 };
            assert_eq!(result(&[op(LD_ABS, low_first * 4), op(RET_A, 0)], &call), (offset + 1, 2));
        }
    }

    #[test]
    fn calculates_modulo_two_to_the_32() {
        for (code, a, b, expected) in [
            (ADD, u32::MAX, 2, 1),
            (SUB, 1, 2, u32::MAX),
            (MUL, 0x8000_0001, 2, 2),
            (DIV, 7, 2, 3),
            (OR, 5, 2, 7),
            (AND, 6, 3, 2),
            (XOR, 6, 3, 5),
            (LSH, 0x8000_0001, 1, 2),
            (RSH, 0x8000_0001, 1, 0x4000_0000),
        ] {
            let call = Call::default();
            let with_k = [op(LD_IMM, a), op(ALU | code, b), op(RET_A, 0)];
            assert_eq!(result(&with_k, &call), (expected, 3), "{code:#x}, K");
            let with_x = [op(LDX_IMM, b), op(LD_IMM, a), op(ALU | code | X, 0), op(RET_A, 0)];
            assert_eq!(result(&with_x, &call), (expected, 4), "{code:#x}, X");
        }
        assert_eq!(result(&[op(LD_IMM, 1), op(NEG_A, 0), op(RET_A, 0)], &Call::default()).0, u32::MAX);
        // The kernel takes five bits of a shift by X.
        let shift = [op(LDX_IMM, 33), op(LD_IMM, 1), op(LSH_X, 0), op(RET_A, 0)];
        assert_eq!(result(&shift, &Call::default()).0, 2);
        let zero = [op(LD_IMM, 1), op(DIV_X, 0), op(RET, 9)];
        assert_eq!(result(&zero, &Call::default()), (0, 2));
    }

    #[test]
    fn jumps_as_the_condition_says() {
        for (code, a, b, holds) in [
            (JEQ, 1, 1, true),
            (JEQ, 1, 2, false),
            (JGT, 0x8000_0000, 1, true),
            (JGT, 1, 1, false),
            (JGE, 1, 1, true),
            (JGE, 0, u32::MAX, false),
            (JSET, 6, 2, true),
            (JSET, 6, 1, false),
        ] {
            let expected = if holds { 1 } else { 2 };
            let with_k = [op(LD_IMM, a), jump(JMP | code, b, 1, 0), op(RET, 2), op(RET, 1)];
            assert_eq!(result(&with_k, &Call::default()), (expected, 3), "{code:#x}, K");
            let with_x = [op(LDX_IMM, b), op(LD_IMM, a), jump(JMP | code | X, 0, 1, 0), op(RET, 2), op(RET, 1)];
            assert_eq!(result(&with_x, &Call::default()), (expected, 4), "{code:#x}, X");
        }
        assert_eq!(result(&[op(JA_K, 1), op(RET, 1), op(RET, 2)], &Call::default()), (2, 2));
    }

    #[test]
    fn moves_between_the_registers_and_the_memory() {
        let program =
            [op(LD_IMM, 3), op(ST, 15), op(MISC, 0), op(STX, 0), op(LD_LEN, 0), op(LDX_MEM, 15), op(TXA_A, 0)];
        assert_eq!(result(&[&program[..], &[op(RET_A, 0)]].concat(), &Call::default()).0, 3);
        assert_eq!(result(&[&program[..], &[op(LD_LEN, 0), op(RET_A, 0)]].concat(), &Call::default()).0, 64);
        let len = [op(LDX_LEN, 0), op(STX, 2), op(LD_MEM, 2), op(RET_A, 0)];
        assert_eq!(result(&len, &Call::default()).0, 64);
    }

    #[test]
    fn refuses_what_the_kernel_refuses() {
        assert_eq!(refused(&[]), Malformed::Length(0));
        assert!(Program::new(vec![op(RET, 0); 4096]).is_ok());
        assert_eq!(refused(&[op(RET, 0); 4097]), Malformed::Length(4097));
        assert_eq!(refused(&[op(LD_IMM, 0)]), Malformed::NoReturn);
        assert_eq!(refused(&[op(JA_K, 1), op(RET, 0)]), Malformed::Jump(0));
        assert_eq!(refused(&[op(JA_K, u32::MAX), op(RET, 0)]), Malformed::Jump(0));
        assert_eq!(refused(&[jump(JEQ_K, 0, 1, 0), op(RET, 0)]), Malformed::Jump(0));
        assert_eq!(refused(&[jump(JEQ_K, 0, 0, 1), op(RET, 0)]), Malformed::Jump(0));
        let forbidden = [
            op(LD_ABS, 64),
            op(LD_ABS, 2),
            op(LD | ABS | 0x08, 0), // half a word
            op(LD | 0x40, 0),       // IND
            op(LDX | 0xa0, 0),      // MSH
            op(ALU | 0x90, 1),      // MOD
            op(DIV_K, 0),
            op(LSH_K, 32),
            op(RSH_K, 32),
            op(ST, 16),
            op(JA_K | X, 0),
            op(JMP | 0x50, 0), // JNE, of eBPF alone
            op(0x16 | X, 0),
            op(0x100, 0),
        ];
        for one in forbidden {
            assert_eq!(refused(&[one, op(RET, 0)]), Malformed::Forbidden(0), "{one:?}");
        }
        assert_eq!(refused(&[op(LD_MEM, 0), op(RET, 0)]), Malformed::Unwritten(0));
        let on_one_way = [jump(JEQ_K, 0, 0, 1), op(ST, 0), op(LD_MEM, 0), op(RET, 0)];
        assert_eq!(refused(&on_one_way), Malformed::Unwritten(2));
        let on_both_ways = [op(ST, 0), jump(JEQ_K, 0, 0, 1), op(ST, 1), op(LD_MEM, 0), op(RET, 0)];
        assert!(Program::new(&on_both_ways[..]).is_ok());
    }

    #[test]
    fn decodes_results_as_the_kernel_does() {
        for (result, action) in [
            (0x8000_0000, Action::KillProcess),
            (0x0000_0005, Action::KillThread),
            (0x0003_0001, Action::Trap),
            (0x0005_0001, Action::Errno(1)),
            (0x0005_ffff, Action::Errno(4095)),
            (0x7fc0_0001, Action::Notify),
            (0x7ff0_ffff, Action::Trace(0xffff)),
            (0x7ffc_0000, Action::Log),
            (0x7fff_0000, Action::Allow),
            (0x7ffe_0000, Action::KillProcess),
        ] {
            assert_eq!(Action::from_result(result), action, "{result:#x}");
        }
    }
}
