//! The search for a system call's number.

use crate::graph::{Graph, Node, Relation, Test, field};

/// What becomes of every number: each entry holds from its number on to the next entry's.
#[derive(Default)]
pub(crate) struct Ranges(Vec<Range>);

#[derive(Clone, Copy)]
struct Range {
    start: u32,
    node: Node,
    /// How much it matters that the range is found soon.
    weight: u32,
}

/// What a range weighs by itself, so that none is far down.
const RANGE: u32 = 8;

impl Ranges {
    /// Says what becomes of the numbers from `start` on, which is not lower than those before, and how often they are
    /// asked for: like so many calls that a rule names.
    pub(crate) fn push(&mut self, start: u32, node: Node, calls: u32) {
        self.0.pop_if(|last| last.start == start);
        match self.0.last_mut() {
            Some(last) if last.node == node => last.weight += calls,
            _ => self.0.push(Range { start, node, weight: if calls == 0 { 1 } else { RANGE + calls } }),
        }
    }

    /// The decisions that find out the range of a number.
    pub(crate) fn build(&self, graph: &mut Graph) -> Node {
        let ranges = &self.0;
        let mut clusters = Vec::with_capacity(ranges.len());
        let mut at = 0;
        while let Some(range) = ranges.get(at) {
            match ranges.get(at + 1..at + 3) {
                // One number in a range is found by a test of its own.
                Some([one, end]) if end.node == range.node && end.start - one.start == 1 => {
                    let test =
                        Test { offset: field::NUMBER, mask: u32::MAX, relation: Relation::Equal, value: one.start };
                    let node = graph.branch(test, one.node, range.node);
                    let weight = 2 * range.weight.max(one.weight).max(end.weight);
                    clusters.push(Range { start: range.start, node, weight });
                    at += 3;
                }
                _ => {
                    clusters.push(*range);
                    at += 1;
                }
            }
        }
        build(&clusters, graph)
    }
}

/// A tree in which both sides of a test weigh as near to the same as can be.
fn build(ranges: &[Range], graph: &mut Graph) -> Node {
    match ranges {
        [] => graph.ret(0),
        [only] => only.node,
        [first, middle @ .., _] => {
            let total: u32 = ranges.iter().map(|range| range.weight).sum();
            let mut before = first.weight;
            let mut place = 1;
            for range in middle {
                if 2 * before + range.weight > total {
                    break;
                }
                before += range.weight;
                place += 1;
            }
            let (below, above) = ranges.split_at(place);
            let value = above.first().map_or(0, |first| first.start);
            let above = build(above, graph);
            let below = build(below, graph);
            let test = Test { offset: field::NUMBER, mask: u32::MAX, relation: Relation::GreaterOrEqual, value };
            graph.branch(test, above, below)
        }
    }
}
