//! From decisions to instructions.
//!
//! The program is made from its end: jumps lead forward alone, so that where a jump leads to is known when it is made. What
//! is too far away for the 8 bits of a conditional jump gets a copy (of an end) or a jump nearby.

use crate::Instruction;
use crate::bpf;
use crate::graph::{Decision, Graph, Node, Relation, Test};

/// What the accumulator holds when a node is entered, as the node sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Something else: it is to be loaded.
    Unknown = 0,
    /// The bits that the node tests.
    Loaded = 1,
    /// The same, and masked as the node does.
    Masked = 2,
}

/// Where the entries of a node are, as numbers of instructions counted from the end of the program.
type Places = [Option<usize>; 3];

/// The entry of a node after a test.
fn entry(before: Option<&Test>, decision: Decision) -> Entry {
    let Decision::Branch { test, .. } = decision else { return Entry::Unknown };
    match before {
        Some(before) if before.offset == test.offset && before.mask == test.mask && test.mask != u32::MAX => {
            Entry::Masked
        }
        Some(before) if before.offset == test.offset && before.mask == u32::MAX => Entry::Loaded,
        _ => Entry::Unknown,
    }
}

/// The program that decides as `root` does.
pub(crate) fn assemble(graph: &Graph, root: Node) -> Vec<Instruction> {
    // What is reached at all, and with what in the accumulator.
    let mut entered = vec![[false; 3]; graph.len()];
    enter(&mut entered, root, Entry::Unknown);
    for node in (0..=root.index()).rev().map(Node::from_index) {
        if let Decision::Branch { test, yes, no } = graph.decision(node)
            && is_reached(&entered, node)
        {
            for side in [yes, no] {
                enter(&mut entered, side, entry(Some(&test), graph.decision(side)));
            }
        }
    }

    let mut program = Program { graph, reversed: Vec::new(), places: vec![Places::default(); graph.len()] };
    for node in (0..=root.index()).rev().map(Node::from_index).rev() {
        if is_reached(&entered, node) {
            program.emit(node, entered.get(node.index()).copied().unwrap_or_default());
        }
    }
    if program.reversed.is_empty() {
        program.end(root);
    }
    program.reversed.reverse();
    program.reversed
}

fn enter(entered: &mut [[bool; 3]], node: Node, entry: Entry) {
    if let Some(flag) = entered.get_mut(node.index()).and_then(|flags| flags.get_mut(entry as usize)) {
        *flag = true;
    }
}

fn is_reached(entered: &[[bool; 3]], node: Node) -> bool {
    entered.get(node.index()).is_some_and(|flags| flags.contains(&true))
}

struct Program<'a> {
    graph: &'a Graph,
    /// The instructions from the last one on.
    reversed: Vec<Instruction>,
    places: Vec<Places>,
}

impl Program<'_> {
    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    fn place(&mut self, node: Node, entry: Entry) -> Option<&mut Option<usize>> {
        self.places.get_mut(node.index()).and_then(|places| places.get_mut(entry as usize))
    }

    fn emit(&mut self, node: Node, entered: [bool; 3]) {
        let Decision::Branch { test, yes, no } = self.graph.decision(node) else { return };
        let yes = self.near(yes, &test);
        let no = self.near(no, &test);
        let next = self.reversed.len();
        let jump = |place: usize| u8::try_from(next - place - 1).unwrap_or(u8::MAX);
        let code = match test.relation {
            Relation::Equal => bpf::IF_EQUAL,
            Relation::Greater => bpf::IF_GREATER,
            Relation::GreaterOrEqual => bpf::IF_GREATER_OR_EQUAL,
            Relation::CommonBit => bpf::IF_COMMON_BIT,
        };
        let mut last = self.push(code, test.value, jump(yes), jump(no));
        let [unknown, loaded, _] = entered;
        let mut places = [None, None, Some(last)];
        if test.mask != u32::MAX && (unknown || loaded) {
            last = self.push(bpf::AND, test.mask, 0, 0);
        }
        places[Entry::Loaded as usize] = Some(last);
        if unknown {
            last = self.push(bpf::LOAD, test.offset.into(), 0, 0);
        }
        places[Entry::Unknown as usize] = Some(last);
        if let Some(all) = self.places.get_mut(node.index()) {
            *all = places;
        }
    }

    fn end(&mut self, node: Node) -> usize {
        let value = match self.graph.decision(node) {
            Decision::Return(value) => value,
            Decision::Branch { .. } => 0,
        };
        self.push(bpf::RETURN, value, 0, 0)
    }

    /// A place that leads to the node and is near enough for a conditional jump that is made next but one at the
    /// latest.
    fn near(&mut self, node: Node, before: &Test) -> usize {
        let decision = self.graph.decision(node);
        let entry = entry(Some(before), decision);
        let known = self.place(node, entry).and_then(|place| *place);
        let next = self.reversed.len();
        let place = match known {
            Some(place) if next - place <= usize::from(u8::MAX) => return place,
            Some(place) if matches!(decision, Decision::Branch { .. }) => {
                let far = u32::try_from(next - place - 1).unwrap_or(u32::MAX);
                self.push(bpf::JUMP, far, 0, 0)
            }
            _ => self.end(node),
        };
        if let Some(known) = self.place(node, entry) {
            *known = Some(place);
        }
        place
    }
}
