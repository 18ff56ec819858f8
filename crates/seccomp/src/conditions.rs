//! The conditions of rules, compiled by seccompiler and taken apart again into the ways in which they can hold.

use seccompiler::{BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, sock_filter};

use crate::bpf;
use crate::graph::{Relation, Test, field};
use crate::{Architecture, ByteOrder, Condition, Operator};

/// A test on the way to a match, and the answer that leads on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) test: Test,
    /// Whether the test masks the bits, if only with ones.
    pub(crate) masked: bool,
    pub(crate) answer: bool,
    /// Tests with a higher rank come first.
    pub(crate) rank: Rank,
    /// The value of the whole condition.
    pub(crate) value: u64,
}

/// What comes first among the tests for different rules: see [`crate::precedence`]. In this order: the argument and
/// whether it is its upper half, the kind of the operator, the value.
pub(crate) type Rank = (u8, u8, u32);

/// A way in which conditions can hold: all these tests have these answers.
pub(crate) type Way = Vec<Step>;

/// All ways in which all the conditions can hold. Empty conditions hold in one way, without a test.
///
/// The last way is the longest, which has a test of every kind that the conditions need.
pub(crate) fn ways(conditions: &[Condition], architecture: Architecture) -> Vec<Way> {
    let mut ways = vec![Way::new()];
    for condition in conditions {
        let further = ways_of_one(condition, architecture);
        ways = ways.iter().flat_map(|way| further.iter().map(move |more| [&way[..], &more[..]].concat())).collect();
    }
    ways
}

fn ways_of_one(condition: &Condition, architecture: Architecture) -> Vec<Way> {
    let program = compiled(condition, architecture);
    let mut found = Vec::new();
    follow(&program, 0, Loaded::default(), &Way::new(), &mut found);
    for step in found.iter_mut().flatten() {
        let upper = !(step.test.offset - field::ARGUMENTS).is_multiple_of(8);
        if architecture.byte_order() == ByteOrder::Big {
            // seccompiler knows machines of the other order alone.
            step.test.offset ^= 4;
        }
        step.rank = rank(condition, upper, step.test.value);
        step.value = condition.value;
    }
    found.sort_by_key(Vec::len);
    found
}

/// The condition as seccompiler compiles it: the end of the program is a match, the place after it is none.
fn compiled(condition: &Condition, architecture: Architecture) -> BpfProgram {
    let (operator, value) = match condition.operator {
        Operator::NotEqual => (SeccompCmpOp::Ne, condition.value),
        Operator::Less => (SeccompCmpOp::Lt, condition.value),
        Operator::LessOrEqual => (SeccompCmpOp::Le, condition.value),
        Operator::Equal => (SeccompCmpOp::Eq, condition.value),
        Operator::GreaterOrEqual => (SeccompCmpOp::Ge, condition.value),
        Operator::Greater => (SeccompCmpOp::Gt, condition.value),
        Operator::MaskedEqual => (SeccompCmpOp::MaskedEq(condition.value), condition.value_two),
    };
    let length = if architecture.is_64_bit() { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
    SeccompCondition::new(condition.argument, length, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map(BpfProgram::from)
        .unwrap_or_default()
}

/// What the accumulator holds.
#[derive(Clone, Copy, Default)]
struct Loaded {
    offset: u8,
    mask: Option<u32>,
}

/// Finds the ways from `at` to the end of a program.
fn follow(program: &[sock_filter], at: usize, loaded: Loaded, way: &Way, found: &mut Vec<Way>) {
    let Some(instruction) = program.get(at) else {
        if at == program.len() {
            found.push(way.clone());
        }
        return;
    };
    let next = at + 1;
    let relation = match instruction.code {
        bpf::LOAD => {
            let offset = u8::try_from(instruction.k).unwrap_or_default();
            return follow(program, next, Loaded { offset, mask: None }, way, found);
        }
        bpf::AND => return follow(program, next, Loaded { mask: Some(instruction.k), ..loaded }, way, found),
        bpf::JUMP => return follow(program, next + instruction.k as usize, loaded, way, found),
        bpf::IF_EQUAL => Relation::Equal,
        bpf::IF_GREATER => Relation::Greater,
        bpf::IF_GREATER_OR_EQUAL => Relation::GreaterOrEqual,
        _ => return,
    };
    let mask = loaded.mask.unwrap_or(u32::MAX);
    let test = Test { offset: loaded.offset, mask, relation, value: instruction.k };
    for (answer, jump) in [(true, instruction.jt), (false, instruction.jf)] {
        let mut way = way.clone();
        way.push(Step { test, masked: loaded.mask.is_some(), answer, rank: Rank::default(), value: 0 });
        follow(program, next + usize::from(jump), loaded, &way, found);
    }
}

fn rank(condition: &Condition, upper: bool, value: u32) -> Rank {
    let (kind, value) = match condition.operator {
        Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => (3, value),
        Operator::Less | Operator::LessOrEqual => (2, !value),
        Operator::Greater | Operator::GreaterOrEqual => (1, value),
    };
    (2 * condition.argument + u8::from(upper), kind, value)
}
