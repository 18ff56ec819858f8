//! A program as text, in the syntax of the kernel's bpf_asm (tools/bpf in its sources), for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::{Action, Architecture, Instruction};

/// What a register holds, as far as it is known without running the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// The word of `struct seccomp_data` at this offset.
    Word(u32),
    Else,
}

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// What is known before an instruction: what the accumulator holds, and the `AUDIT_ARCH_*` that the call can be of;
/// `None` is any that no instruction has compared it with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    held: Held,
    architectures: BTreeSet<Option<u32>>,
}

/// Writes a program down, an instruction a line, with labels at all targets of jumps. Comments say which calls the
/// numbers are that it is compared with, what is loaded, and what is returned.
#[must_use]
pub fn disassemble(program: &[Instruction]) -> String {
    let known = knowledge(program);
    let targets: BTreeSet<usize> = program.iter().enumerate().flat_map(|(at, one)| targets(at, one)).collect();
    let mut text = String::new();
    for (at, one) in program.iter().enumerate() {
        let label = if targets.contains(&at) { format!("L{at}:") } else { String::new() };
        let comment = known.get(at).and_then(Option::as_ref).map_or_else(String::new, |known| comment(one, known));
        let words = words(at, one);
        let line = if comment.is_empty() { words } else { format!("{words:36} ; {comment}") };
        // A String takes whatever is written.
        let written = writeln!(text, "{label:6} {line}");
        debug_assert!(written.is_ok());
    }
    text
}

/// Where an instruction may jump to; nowhere if it only goes on.
fn targets(at: usize, one: &Instruction) -> Vec<usize> {
    match one.code & 7 {
        JUMP if one.code & 0xf0 == 0 => vec![at + 1 + one.k as usize],
        JUMP => vec![at + 1 + usize::from(one.jt), at + 1 + usize::from(one.jf)],
        _ => Vec::new(),
    }
}

const JUMP: u16 = 5;
const RETURN: u16 = 6;
/// `BPF_LD | BPF_W | BPF_ABS`.
const LOAD: u16 = 0x20;
const COMPARES: [&str; 5] = ["ja", "jeq", "jgt", "jge", "jset"];
const OPERATIONS: [&str; 11] = ["add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor"];

/// An instruction without its comment.
fn words(at: usize, one: &Instruction) -> String {
    let Instruction { code, k, .. } = *one;
    let by_x = code & 8 != 0;
    // BPF_MODE for loads, BPF_OP for the rest.
    let (mode, operation) = (code & 0xe0, usize::from(code >> 4));
    let to = |offset: u8| format!("L{}", at + 1 + usize::from(offset));
    let text = match (code & 7, mode) {
        (0, 0x00) => Some(format!("ld #{k:#x}")),
        (0, 0x20) => Some(format!("ld [{k}]")),
        (0, 0x60) => Some(format!("ld M[{k}]")),
        (0, 0x80) => Some("ld #len".to_owned()),
        (1, 0x00) => Some(format!("ldx #{k:#x}")),
        (1, 0x60) => Some(format!("ldx M[{k}]")),
        (1, 0x80) => Some("ldx #len".to_owned()),
        (2, _) => Some(format!("st M[{k}]")),
        (3, _) => Some(format!("stx M[{k}]")),
        (4, 0x80) if operation == 8 => Some("neg".to_owned()),
        (4, _) => {
            OPERATIONS.get(operation).map(|name| if by_x { format!("{name} x") } else { format!("{name} #{k:#x}") })
        }
        (JUMP, _) if operation == 0 => Some(format!("jmp L{}", at + 1 + k as usize)),
        (JUMP, _) => COMPARES.get(operation).map(|name| {
            let operand = if by_x { "x".to_owned() } else { format!("#{k:#x}") };
            format!("{name} {operand}, {}, {}", to(one.jt), to(one.jf))
        }),
        (RETURN, _) => Some(if code & 0x18 == 0x10 { "ret a".to_owned() } else { format!("ret #{k:#x}") }),
        (7, 0x00) => Some("tax".to_owned()),
        (7, 0x80) => Some("txa".to_owned()),
        _ => None,
    };
    text.unwrap_or_else(|| format!("; no instruction: code {code:#x}, {k:#x}"))
}

/// What is known before each instruction, `None` for those that no way leads to. All jumps go forward, so that one
/// pass is enough.
fn knowledge(program: &[Instruction]) -> Vec<Option<Known>> {
    let mut known: Vec<Option<Known>> = vec![None; program.len()];
    // Every architecture that is compared with is one that the call can be of.
    let compared = program.iter().filter(|one| is_compare(one, 1)).map(|one| one.k);
    let tokens: BTreeSet<u32> = Architecture::ALL.iter().map(|one| one.audit_arch()).collect();
    let all = compared.filter(|k| tokens.contains(k)).map(Some).chain([None]).collect();
    reach(&mut known, 0, Known { held: Held::Else, architectures: all });
    for (at, one) in program.iter().enumerate() {
        let Some(before) = known.get(at).cloned().flatten() else { continue };
        match one.code & 7 {
            RETURN => {}
            JUMP => {
                let on_architecture = before.held == Held::Word(ARCHITECTURE) && is_compare(one, 1);
                for (target, holds) in targets(at, one).into_iter().zip([true, false]) {
                    let mut after = before.clone();
                    if on_architecture {
                        after.architectures.retain(|token| (*token == Some(one.k)) == holds);
                    }
                    reach(&mut known, target, after);
                }
            }
            class => {
                let held = match one.code {
                    LOAD => Held::Word(one.k),
                    _ if matches!(class, 0 | 4) || one.code == 0x87 => Held::Else,
                    _ => before.held,
                };
                reach(&mut known, at + 1, Known { held, ..before });
            }
        }
    }
    known
}

/// An instruction is reached in one more way.
fn reach(known: &mut [Option<Known>], at: usize, new: Known) {
    match known.get_mut(at) {
        Some(Some(old)) => {
            if old.held != new.held {
                old.held = Held::Else;
            }
            old.architectures.extend(new.architectures);
        }
        Some(place) => *place = Some(new),
        // A jump out of the program, which the kernel refuses.
        None => {}
    }
}

/// Whether it compares the accumulator with a constant, by the operation of this number.
fn is_compare(one: &Instruction, operation: u16) -> bool {
    one.code == JUMP | operation << 4
}

fn comment(one: &Instruction, known: &Known) -> String {
    match one.code & 7 {
        0 if one.code == LOAD => word(one.k),
        RETURN if one.code & 0x18 == 0 => Action::from_result(one.k).to_string(),
        JUMP if one.code & 8 == 0 && one.code & 0xf0 != 0 => match known.held {
            Held::Word(ARCHITECTURE) => architectures(|architecture| architecture.audit_arch() == one.k).join(", "),
            Held::Word(NUMBER) => match calls(one.k, &known.architectures) {
                name if name.is_empty() => name,
                name if is_compare(one, 3) => format!("from {name} on"),
                name if is_compare(one, 2) => format!("after {name}"),
                name => name,
            },
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// What lies at an offset of `struct seccomp_data`.
fn word(offset: u32) -> String {
    let low_first = cfg!(target_endian = "little");
    let half = if offset.is_multiple_of(8) == low_first { "low" } else { "high" };
    match offset {
        NUMBER => "number of the call".to_owned(),
        ARCHITECTURE => "architecture".to_owned(),
        8 | 12 => format!("instruction pointer, {half} half"),
        _ => format!("arg{}, {half} half", offset.saturating_sub(16) / 8),
    }
}

fn architectures(which: impl Fn(Architecture) -> bool) -> Vec<String> {
    let all = Architecture::ALL.iter().filter(|architecture| which(**architecture));
    all.map(ToString::to_string).collect()
}

/// The calls of this number on these architectures: the name alone where it is the same on all.
fn calls(number: u32, on: &BTreeSet<Option<u32>>) -> String {
    let possible = Architecture::ALL.iter().filter(|one| on.contains(&Some(one.audit_arch())));
    let named: Vec<_> = possible.filter_map(|one| Some((one.to_string(), one.call(number)?))).collect();
    match named.as_slice() {
        [] => String::new(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, name)| name == first) => (*first).to_owned(),
        all => all.iter().map(|(architecture, name)| format!("{name} ({architecture})")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    #[test]
    fn a_filter_is_explained() {
        let program = [
            op(0x20, 0, 0, 4),
            op(0x15, 0, 4, 0xc000_003e),
            op(0x20, 0, 0, 0),
            op(0x35, 3, 0, 0x4000_0000),
            op(0x15, 0, 1, 257),
            op(0x06, 0, 0, 0x0005_0026),
            op(0x06, 0, 0, 0x8000_0000),
            op(0x20, 0, 0, 16),
            op(0x45, 0, 1, 0x400),
            op(0x06, 0, 0, 0x7fff_0000),
            op(0x06, 0, 0, 0x7ff0_0005),
        ];
        let expected = "       ld [4]                               ; architecture
       jeq #0xc000003e, L2, L6              ; x86_64, x32
L2:    ld [0]                               ; number of the call
       jge #0x40000000, L7, L4              ; from read on
L4:    jeq #0x101, L5, L6                   ; openat
L5:    ret #0x50026                         ; ENOSYS
L6:    ret #0x80000000                      ; kill process
L7:    ld [16]                              ; arg0, low half
       jset #0x400, L9, L10
L9:    ret #0x7fff0000                      ; allow
L10:   ret #0x7ff00005                      ; trace 5
";
        assert_eq!(disassemble(&program), expected);
    }

    /// The number 5 is fstat or open, as long as nothing tells which architecture it is.
    #[test]
    fn names_are_those_of_the_architectures_that_are_possible() {
        let program = [
            op(0x20, 0, 0, 4),
            op(0x15, 1, 0, 0xc000_003e),
            op(0x15, 0, 2, 0x4000_0003),
            op(0x20, 0, 0, 0),
            op(0x15, 0, 0, 5),
            op(0x06, 0, 0, 0),
        ];
        let text = disassemble(&program);
        assert!(text.contains("; fstat (x86_64), open (x86)\n"), "{text}");
        let text = disassemble(&[&[op(0x20, 0, 0, 4), op(0x15, 0, 2, 0x4000_0003)], &program[3..]].concat());
        assert!(text.contains("; open\n"), "{text}");
    }

    #[test]
    fn every_instruction_has_words() {
        let text = |code| words(0, &op(code, 1, 2, 3));
        for (code, expected) in [
            (0x00, "ld #0x3"),
            (0x60, "ld M[3]"),
            (0x80, "ld #len"),
            (0x01, "ldx #0x3"),
            (0x61, "ldx M[3]"),
            (0x81, "ldx #len"),
            (0x02, "st M[3]"),
            (0x03, "stx M[3]"),
            (0x04, "add #0x3"),
            (0x54, "and #0x3"),
            (0xac, "xor x"),
            (0x7c, "rsh x"),
            (0x84, "neg"),
            (0x05, "jmp L4"),
            (0x1d, "jeq x, L2, L3"),
            (0x25, "jgt #0x3, L2, L3"),
            (0x16, "ret a"),
            (0x07, "tax"),
            (0x87, "txa"),
            (0xc0, "; no instruction: code 0xc0, 0x3"),
        ] {
            assert_eq!(text(code), expected, "{code:#x}");
        }
    }
}
