//! The calls of one architecture.

use crate::compile::{Compiler, Error, value};
use crate::conditions::ways;
use crate::graph::Node;
use crate::precedence::Level;
use crate::search::Ranges;
use crate::table::{Multiplexed, Name};
use crate::{Action, Architecture, Condition, Operator, Rule};

/// How many tests are looked at, so that no profile keeps the compiler busy for long. Equal ones are counted as often as
/// they occur: what has so many is far too long for the kernel.
const MOST_STEPS: usize = 1 << 15;

/// The calls of an architecture through which others are reached.
#[derive(Clone, Copy)]
pub(crate) struct Multiplexers {
    socketcall: Option<u32>,
    ipc: Option<u32>,
}

impl Multiplexers {
    pub(crate) fn of(architecture: Architecture) -> Multiplexers {
        Multiplexers { socketcall: architecture.number("socketcall"), ipc: architecture.number("ipc") }
    }

    /// The number of the call through which the one with this name is reached as well.
    pub(crate) fn find(&self, name: Name) -> Option<(u32, Multiplexed)> {
        let multiplexed = name.multiplexed()?;
        let number = if multiplexed.by_ipc { self.ipc } else { self.socketcall };
        Some((number?, multiplexed))
    }
}

/// A rule for a number.
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    rule: u32,
    /// The call is meant that the first argument selects.
    multiplexed: Option<Multiplexed>,
}

impl Entry {
    fn rule(&self) -> usize {
        self.rule as usize
    }
}

/// What becomes of the calls of one architecture.
pub(crate) struct Calls {
    /// By their numbers, in order, those that rules name.
    outcomes: Vec<(u32, Node)>,
    /// The highest number that the profile knows, if those above it are unknown calls (ENOSYS) for it.
    highest: Option<u32>,
    /// For numbers that no rule names.
    pub(crate) otherwise: Node,
    /// For numbers above the highest one.
    above: Node,
}

impl Calls {
    /// What becomes of all numbers from `start` on.
    pub(crate) fn ranges(&self, start: u32) -> Ranges {
        let mut ranges = Ranges::default();
        let mut next = start;
        for &(number, outcome) in &self.outcomes {
            if number > next {
                ranges.push(next, self.otherwise, 0);
            }
            ranges.push(number, outcome, u32::from(outcome != self.otherwise));
            next = number + 1;
        }
        match self.highest {
            Some(highest) => {
                if highest >= next {
                    ranges.push(next, self.otherwise, 0);
                }
                ranges.push(highest + 1, self.above, 0);
            }
            None => ranges.push(next, self.otherwise, 0),
        }
        ranges
    }

    /// What becomes of numbers higher than that of any call, if not what becomes of any number that no rule names.
    pub(crate) fn above(&self) -> Option<Node> {
        self.highest.map(|_| self.above)
    }
}

impl Compiler<'_, '_> {
    /// What becomes of the calls of one architecture.
    pub(crate) fn calls(&mut self, architecture: Architecture) -> Result<Calls, Error> {
        let default = self.profile.default_action;
        let multiplexers = Multiplexers::of(architecture);
        let mut entries = Vec::with_capacity(2 * self.names.len());
        let mut highest = None;
        for &(rule, name) in &self.names {
            let number = architecture.number_of(name);
            let through = multiplexers.find(name);
            highest = highest.max(number).max(through.map(|(number, _)| number));
            if self.profile.rules.get(rule as usize).is_none_or(|rule| rule.action == default) {
                continue;
            }
            if let Some((number, multiplexed)) = through {
                entries.push(Entry { number, rule, multiplexed: Some(multiplexed) });
            }
            if let Some(number) = number {
                entries.push(Entry { number, rule, multiplexed: None });
            }
        }
        entries.sort_by_key(|entry| entry.number);

        let otherwise = self.graph.ret(value(default));
        let unknown = Action::Errno(architecture.enosys());
        let above = self.graph.ret(value(unknown));
        // Whoever traces or allows what is not named does so with new calls too.
        let permissive = matches!(default, Action::Allow | Action::Log | Action::Trace(_));
        let highest = highest.filter(|_| !permissive && default != unknown);
        let mut outcomes = Vec::with_capacity(entries.len() + 1);
        for of_one in entries.chunk_by(|a, b| a.number == b.number) {
            let Some(first) = of_one.first() else { continue };
            let outcome = match architecture.unknown_number() {
                Some(number) if highest.is_some() && number == first.number => above,
                _ => self.outcome(architecture, of_one, otherwise)?,
            };
            outcomes.push((first.number, outcome));
        }
        if let Some(number) = architecture.unknown_number()
            && highest.is_some()
            && outcomes.first().is_none_or(|first| first.0 > number)
        {
            outcomes.insert(0, (number, above));
        }
        Ok(Calls { outcomes, highest, otherwise, above })
    }

    /// What becomes of one call.
    fn outcome(&mut self, architecture: Architecture, entries: &[Entry], otherwise: Node) -> Result<Node, Error> {
        let profile = self.profile;
        let action = |rule: usize| self.actions.get(rule).copied().unwrap_or(otherwise);
        // The first rule without conditions wins, whatever those with conditions say.
        let always = entries.iter().find(|entry| {
            profile.rules.get(entry.rule()).is_some_and(|rule| match rule.conditions[..] {
                [] => entry.multiplexed.is_none(),
                _ => alternatives(rule, entry, architecture).any(|conditions| conditions.is_empty()),
            })
        });
        if let Some(entry) = always {
            return Ok(action(entry.rule()));
        }
        let mut level = Level::default();
        for entry in entries {
            let Some(rule) = profile.rules.get(entry.rule()) else { continue };
            for conditions in alternatives(rule, entry, architecture) {
                let ways = ways(&conditions, architecture);
                self.steps += ways.iter().map(Vec::len).sum::<usize>();
                if self.steps > MOST_STEPS {
                    let cause = "with the rules before it has more conditions than a filter can hold".to_owned();
                    return Err(Error { rule: Some(entry.rule()), cause });
                }
                for (index, way) in ways.iter().enumerate() {
                    level.add(way, index + 1 == ways.len(), entry.rule(), action).map_err(|other| Error {
                        rule: Some(entry.rule()),
                        cause: contradiction(other, entry, architecture),
                    })?;
                }
            }
        }
        let node = level.build(&mut self.graph, otherwise, action);
        let node = self.graph.simplify(node);
        self.costs.push((node, entries.iter().map(Entry::rule).collect()));
        Ok(node)
    }
}

fn contradiction(other: usize, entry: &Entry, architecture: Architecture) -> String {
    let through = match entry.multiplexed {
        Some(Multiplexed { by_ipc: true, .. }) => "ipc, which hides its arguments, ",
        Some(Multiplexed { by_ipc: false, .. }) => "socketcall, which hides its arguments, ",
        None => "",
    };
    format!(
        "contradicts syscalls/{other}, which has the same conditions for call {} and another action ({through}on {})",
        entry.number,
        architecture.name()
    )
}

/// The conditions of a rule for a call, of which one list must hold, each ordered by arguments: those that an architecture
/// can tell, and several ones for the same argument apart.
fn alternatives<'r>(
    rule: &'r Rule<'_>,
    entry: &Entry,
    architecture: Architecture,
) -> impl Iterator<Item = Vec<Condition>> + use<'r> {
    let multiplexed = entry.multiplexed;
    let all = &rule.conditions[..];
    let apart =
        all.iter().enumerate().any(|(index, one)| all.iter().skip(index + 1).any(|two| one.argument == two.argument));
    let lists = if apart { all.chunks(1) } else { all.chunks(all.len().max(1)) };
    let none = all.is_empty().then_some(&[][..]);
    lists.chain(none).map(move |list| {
        let mut list = list.to_vec();
        if let Some(multiplexed) = multiplexed {
            // The call's own arguments lie in memory. As with libseccomp, what is said of the first one is lost, and the
            // others are compared with those of the call that is made.
            list.retain(|condition| condition.argument != 0);
            let value = multiplexed.call.into();
            list.push(Condition { argument: 0, operator: Operator::Equal, value, value_two: 0 });
        }
        list.retain(|condition| !always_holds(condition, architecture));
        list.sort_by_key(|condition| condition.argument);
        list
    })
}

/// Whether a condition looks at no bit.
fn always_holds(condition: &Condition, architecture: Architecture) -> bool {
    let mask = if architecture.is_64_bit() { condition.value } else { condition.value & u64::from(u32::MAX) };
    condition.operator == Operator::MaskedEqual && mask == 0
}
