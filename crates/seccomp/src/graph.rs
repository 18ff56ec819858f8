//! The filter as a graph of decisions, in which equal parts are there once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Where a field lies in `struct seccomp_data` of linux/seccomp.h.
pub(crate) mod field {
    pub(crate) const NUMBER: u8 = 0;
    pub(crate) const ARCHITECTURE: u8 = 4;
    /// The first argument; each has 8 bytes.
    pub(crate) const ARGUMENTS: u8 = 16;
}

/// A node of a [`Graph`]. What a node leads to has lower numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node(u32);

impl Node {
    pub(crate) fn from_index(index: usize) -> Node {
        Node(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A question about 32 bits of `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Test {
    /// Where the bits lie.
    pub(crate) offset: u8,
    /// Which of them are looked at.
    pub(crate) mask: u32,
    pub(crate) relation: Relation,
    /// What they are compared with.
    pub(crate) value: u32,
}

/// What a [`Test`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Whether a bit is set in both.
    CommonBit,
}

impl Test {
    /// The answer for 32 bits.
    fn holds(&self, bits: u32) -> bool {
        let bits = bits & self.mask;
        match self.relation {
            Relation::Equal => bits == self.value,
            Relation::Greater => bits > self.value,
            Relation::GreaterOrEqual => bits >= self.value,
            Relation::CommonBit => bits & self.value != 0,
        }
    }
}

/// What happens at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    /// The filter ends with this.
    Return(u32),
    /// It goes on here or there.
    Branch { test: Test, yes: Node, no: Node },
}

/// All nodes.
pub(crate) struct Graph {
    decisions: Vec<Decision>,
    known: HashMap<Decision, Node, BuildHasherDefault<Mix>>,
}

/// Mixes a few small numbers: several times faster than the standard hash. Whoever wrote a profile for bad luck with it
/// would slow down his own container, within what the length of programs allows.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u32(number.into());
    }

    fn write_isize(&mut self, number: isize) {
        // An enum's discriminant.
        self.write_u32(number as u32);
    }

    fn write_u32(&mut self, number: u32) {
        // The golden ratio of 64 bits.
        self.0 = (self.0.rotate_left(23) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// As many nodes as the filters of engines have, and more.
const USUAL_SIZE: usize = 1024;

impl Graph {
    pub(crate) fn new() -> Graph {
        let known = HashMap::with_capacity_and_hasher(USUAL_SIZE, BuildHasherDefault::default());
        Graph { decisions: Vec::with_capacity(USUAL_SIZE), known }
    }

    pub(crate) fn decision(&self, node: Node) -> Decision {
        self.decisions.get(node.index()).copied().unwrap_or(Decision::Return(0))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.decisions.len()
    }

    /// How many tests there are from a node on.
    pub(crate) fn size(&self, node: Node) -> usize {
        let mut reached = vec![false; node.index() + 1];
        reached[node.index()] = true;
        let mut size = 0;
        for index in (0..=node.index()).rev() {
            if reached[index]
                && let Decision::Branch { yes, no, .. } = self.decision(Node::from_index(index))
            {
                size += 1;
                reached[yes.index()] = true;
                reached[no.index()] = true;
            }
        }
        size
    }

    fn node(&mut self, decision: Decision) -> Node {
        let next = Node(u32::try_from(self.decisions.len()).unwrap_or(u32::MAX));
        *self.known.entry(decision).or_insert_with(|| {
            self.decisions.push(decision);
            next
        })
    }

    pub(crate) fn ret(&mut self, value: u32) -> Node {
        self.node(Decision::Return(value))
    }

    /// The node for a test, in the form in which equal ones look equal; none if it would decide nothing.
    pub(crate) fn branch(&mut self, test: Test, yes: Node, no: Node) -> Node {
        let mut test = test;
        let (mut yes, mut no) = (yes, no);
        if test.relation == Relation::Greater {
            let Some(value) = test.value.checked_add(1) else { return no };
            test = Test { relation: Relation::GreaterOrEqual, value, ..test };
        }
        if test.relation == Relation::GreaterOrEqual && test.value == 0 {
            return yes;
        }
        if test.relation == Relation::Equal && test.mask != u32::MAX {
            if test.value & !test.mask != 0 {
                return no;
            }
            // A test for common bits needs no masking, and leaves the bits for the next test.
            let bits = Test { mask: u32::MAX, relation: Relation::CommonBit, value: test.mask, ..test };
            if test.value == 0 {
                (test, yes, no) = (bits, no, yes);
            } else if test.mask.is_power_of_two() {
                test = bits;
            }
        }
        if test.relation == Relation::CommonBit && test.value == 0 {
            return no;
        }
        if yes == no {
            return yes;
        }
        self.node(Decision::Branch { test, yes, no })
    }

    /// The same decisions as those of `node`, without the tests whose answer is known from those before.
    ///
    /// The work is bounded: in a graph that is unusually large some of them stay.
    pub(crate) fn simplify(&mut self, node: Node) -> Node {
        self.simplify_after(node, &mut Vec::new(), &mut 1024)
    }

    fn simplify_after(&mut self, node: Node, answers: &mut Vec<(Test, bool)>, budget: &mut u32) -> Node {
        let Decision::Branch { test, yes, no } = self.decision(node) else { return node };
        if *budget == 0 {
            return node;
        }
        *budget -= 1;
        match known_answer(&test, answers) {
            Some(true) => self.simplify_after(yes, answers, budget),
            Some(false) => self.simplify_after(no, answers, budget),
            None => {
                let mut side = |graph: &mut Graph, node, answer| {
                    answers.push((test, answer));
                    let simple = graph.simplify_after(node, answers, budget);
                    answers.pop();
                    simple
                };
                let yes = side(self, yes, true);
                let no = side(self, no, false);
                self.branch(test, yes, no)
            }
        }
    }
}

/// The answer to a test that follows from earlier answers.
fn known_answer(test: &Test, answers: &[(Test, bool)]) -> Option<bool> {
    let (mut low, mut high) = (0, u32::MAX);
    for (earlier, answer) in answers.iter().filter(|(earlier, _)| earlier.offset == test.offset) {
        if earlier == test {
            return Some(*answer);
        }
        if earlier.mask != u32::MAX {
            continue;
        }
        match (earlier.relation, answer) {
            (Relation::Equal, true) => (low, high) = (earlier.value, earlier.value),
            (Relation::Equal, false) if earlier.value == low => low = low.saturating_add(1),
            (Relation::Equal, false) if earlier.value == high => high = high.saturating_sub(1),
            (Relation::GreaterOrEqual, true) => low = low.max(earlier.value),
            (Relation::GreaterOrEqual, false) => high = high.min(earlier.value.saturating_sub(1)),
            _ => {}
        }
    }
    if low == high {
        return Some(test.holds(low));
    }
    match test.relation {
        _ if test.mask != u32::MAX => None,
        Relation::Equal if test.value < low || test.value > high => Some(false),
        Relation::GreaterOrEqual if test.value <= low => Some(true),
        Relation::GreaterOrEqual if test.value > high => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(relation: Relation, value: u32) -> Test {
        Test { offset: 16, mask: u32::MAX, relation, value }
    }

    /// What a graph returns if all words are `bits`, and how many tests that takes.
    fn run(graph: &Graph, mut node: Node, bits: u32) -> (u32, usize) {
        let mut tests = 0;
        loop {
            match graph.decision(node) {
                Decision::Return(value) => return (value, tests),
                Decision::Branch { test, yes, no } => node = if test.holds(bits) { yes } else { no },
            }
            tests += 1;
        }
    }

    #[test]
    fn equal_nodes_are_one() {
        let mut graph = Graph::new();
        let (a, b) = (graph.ret(1), graph.ret(2));
        let one = graph.branch(test(Relation::Greater, 4), a, b);
        assert_eq!(graph.branch(test(Relation::GreaterOrEqual, 5), a, b), one);
        assert_eq!(graph.branch(test(Relation::Equal, 5), a, a), a);
        assert_eq!(graph.branch(test(Relation::GreaterOrEqual, 0), a, b), a);
        assert_eq!(graph.branch(test(Relation::Greater, u32::MAX), a, b), b);
    }

    #[test]
    fn simplifying_changes_no_answer() {
        let masked = |mask, value| Test { mask, ..test(Relation::Equal, value) };
        // Every pair and triple of tests, each with an end of its own.
        let all = [
            test(Relation::Equal, 0),
            test(Relation::Equal, 5),
            test(Relation::Equal, 6),
            test(Relation::Equal, u32::MAX),
            test(Relation::Greater, 5),
            test(Relation::GreaterOrEqual, 5),
            test(Relation::Greater, 0),
            test(Relation::GreaterOrEqual, u32::MAX),
            masked(0, 0),
            masked(4, 0),
            masked(4, 4),
            masked(6, 4),
        ];
        let mut graph = Graph::new();
        let mut fewer = 0;
        let number = all.len();
        for triple in 0..number * number * number {
            let [a, b, c] = [triple / number / number, triple / number % number, triple % number].map(|one| &all[one]);
            let ends: Vec<Node> = (0..8).map(|value| graph.ret(value)).collect();
            let last = |graph: &mut Graph, from: usize| graph.branch(*c, ends[from], ends[from + 1]);
            let sides = [last(&mut graph, 0), last(&mut graph, 2), last(&mut graph, 4), last(&mut graph, 6)];
            let [yes, no] = [[sides[0], sides[1]], [sides[2], sides[3]]].map(|[yes, no]| graph.branch(*b, yes, no));
            let whole = graph.branch(*a, yes, no);
            let simple = graph.simplify(whole);
            for bits in [0, 1, 4, 5, 6, 7, u32::MAX - 1, u32::MAX] {
                let (before, after) = (run(&graph, whole, bits), run(&graph, simple, bits));
                assert_eq!(before.0, after.0, "{a:?} {b:?} {c:?} {bits}");
                assert!(after.1 <= before.1);
                fewer += usize::from(after.1 < before.1);
            }
        }
        assert!(fewer > 1000, "{fewer}");
    }
}
