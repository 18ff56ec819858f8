//! The search for a system call's number.

use crate::graph::{Graph, Node, Relation, Test, field};

/// What becomes of every number: each entry holds from its number on to the next entry's.
#[derive(Default)]
pub(crate) struct Ranges(Vec<(u32, Node)>);

impl Ranges {
    /// Says what becomes of the numbers from `start` on, which is not lower than those before.
    pub(crate) fn push(&mut self, start: u32, node: Node) {
        if let Some(last) = self.0.last_mut()
            && last.0 == start
        {
            last.1 = node;
            return;
        }
        if self.0.last().is_none_or(|last| last.1 != node) {
            self.0.push((start, node));
        }
    }

    /// The decisions that find out the range of a number.
    pub(crate) fn build(&self, graph: &mut Graph) -> Node {
        build(&self.0, graph)
    }
}

fn build(ranges: &[(u32, Node)], graph: &mut Graph) -> Node {
    let number = |relation, value| Test { offset: field::NUMBER, mask: u32::MAX, relation, value };
    match ranges {
        [] => graph.ret(0),
        [(_, only)] => *only,
        // One number between two equal ranges.
        [(_, around), (start, one), (end, after)] if around == after && *end == start + 1 => {
            graph.branch(number(Relation::Equal, *start), *one, *around)
        }
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let start = above.first().map_or(0, |first| first.0);
            let above = build(above, graph);
            let below = build(below, graph);
            graph.branch(number(Relation::GreaterOrEqual, start), above, below)
        }
    }
}
