//! Which of several rules with conditions for one call decides.
//!
//! As with libseccomp: rules are tried argument by argument, those for a higher argument first, and for one argument
//! the upper half of it first; tests for (masked) equality and inequality come before those for less, these before
//! those for greater; then the higher value comes first, but for less the lower one. Equal tests are made once, where
//! the first of them was put. A rule whose tests are the first ones of another rule beats that one.

use crate::conditions::Step;
use crate::graph::{Graph, Node};

/// Tests for one call that are tried one after the other until one of them decides.
#[derive(Default)]
pub(crate) struct Level(Vec<Fork>);

struct Fork {
    step: Step,
    yes: End,
    no: End,
}

/// Where an answer leads.
enum End {
    /// To the next test of the level, or of the level above.
    Open,
    /// To the action of the rule with this number.
    Decided(usize),
    /// To further tests, then to the next test of the level.
    Further(Level),
}

use End::{Decided, Further, Open};

impl Level {
    /// Adds a way in which a rule can match, after all those of earlier rules. `whole` says that it is the one that
    /// tests everything which the rule's conditions say.
    ///
    /// # Errors
    /// With the number of an earlier rule that has the same conditions and another action.
    pub(crate) fn add(
        &mut self,
        way: &[Step],
        whole: bool,
        rule: usize,
        action: impl Fn(usize) -> Node + Copy,
    ) -> Result<(), usize> {
        let Some((step, rest)) = way.split_first() else { return Ok(()) };
        let fork = self.fork(step);
        let end = if step.answer { &mut fork.yes } else { &mut fork.no };
        match end {
            Further(level) if !rest.is_empty() => level.add(rest, whole, rule, action)?,
            // The shorter rule decides.
            Further(_) => *end = Decided(rule),
            Decided(_) if !rest.is_empty() => {}
            Decided(other) if action(*other) == action(rule) => {}
            Decided(other) if whole => return Err(*other),
            // Both rules match by the upper half alone: for greater numbers the one with the higher value comes first.
            Decided(other) if step.answer && step.value > fork.step.value => *other = rule,
            Decided(_) => {}
            Open if rest.is_empty() => *end = Decided(rule),
            Open => {
                let mut level = Level::default();
                level.add(rest, whole, rule, action)?;
                *end = Further(level);
            }
        }
        Ok(())
    }

    /// The fork for a test, which is made if there is none.
    fn fork(&mut self, step: &Step) -> &mut Fork {
        let same = |fork: &Fork| fork.step.test == step.test && fork.step.masked == step.masked;
        let place = self.0.iter().position(|fork| same(fork) || fork.step.rank < step.rank).unwrap_or(self.0.len());
        if !self.0.get(place).is_some_and(same) {
            self.0.insert(place, Fork { step: *step, yes: Open, no: Open });
        }
        &mut self.0[place]
    }

    /// The decisions as a graph; where no rule matches they lead to `otherwise`.
    pub(crate) fn build(&self, graph: &mut Graph, otherwise: Node, action: impl Fn(usize) -> Node + Copy) -> Node {
        let mut next = otherwise;
        for fork in self.0.iter().rev() {
            let mut side = |end: &End| match end {
                Open => next,
                Decided(rule) => action(*rule),
                Further(level) => level.build(graph, next, action),
            };
            let yes = side(&fork.yes);
            let no = side(&fork.no);
            next = graph.branch(fork.step.test, yes, no);
        }
        next
    }
}
