//! From a [`Profile`] to a [`Filter`].

use crate::assemble::assemble;
use crate::bpf;
use crate::conditions::ways;
use crate::graph::{Graph, Node, Relation, Test, field};
use crate::precedence::Level;
use crate::search::Ranges;
use crate::table::{Multiplexed, Name};
use crate::{Action, Architecture, Condition, Filter, Operator, Profile, Rule};

/// Why a profile cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Error {
    /// The number of the rule in the profile, if it is one rule's fault.
    pub rule: Option<usize>,
    /// What is wrong, for a reader who sees the rule. Other rules are named `syscalls/N`.
    pub cause: String,
}

/// Compiles a profile for the architecture that this program runs on.
///
/// # Errors
/// When rules contradict each other, an argument does not exist, an architecture has another byte order, or the
/// program would be longer than the kernel takes.
pub fn compile<'a>(profile: &Profile<'a>) -> Result<Filter<'a>, Error> {
    compile_for(Architecture::NATIVE, profile)
}

/// The highest number of an argument.
const LAST_ARGUMENT: u8 = 5;
/// The numbers of x32 have this bit.
const X32_BIT: u32 = 0x4000_0000;
/// What the calls of x32 together weigh among those of x86_64.
const X32_WEIGHT: u32 = 64;
/// The numbers that no call has.
const NEGATIVE: u32 = 0x8000_0000;
/// What a tracer sets to skip a call.
const SKIPPED: u32 = u32::MAX;

pub(crate) fn compile_for<'a>(native: Architecture, profile: &Profile<'a>) -> Result<Filter<'a>, Error> {
    let mut architectures = vec![native];
    for &one in &profile.architectures {
        if one.byte_order() != native.byte_order() {
            let cause = format!("{} has another byte order than {}, which this machine has", one.name(), native.name());
            return Err(Error { rule: None, cause });
        }
        if !architectures.contains(&one) {
            architectures.push(one);
        }
    }
    for (rule, one) in profile.rules.iter().enumerate() {
        if let Some(condition) = one.conditions.iter().find(|condition| condition.argument > LAST_ARGUMENT) {
            let cause = format!("no system call has an argument {}", condition.argument);
            return Err(Error { rule: Some(rule), cause });
        }
    }
    let multiplexers: Vec<_> = architectures.iter().map(|&one| (one, Multiplexers::of(one))).collect();
    let is_known = |name| {
        let has = |(one, through): &(Architecture, Multiplexers)| {
            one.number_of(name).or(through.find(name).map(|call| call.0))
        };
        multiplexers.iter().any(|one| has(one).is_some())
    };
    let mut names = Vec::with_capacity(profile.rules.iter().map(|rule| rule.names.len()).sum());
    let mut unknown = Vec::new();
    for (rule, one) in profile.rules.iter().enumerate() {
        for &text in &one.names {
            match Name::find(text) {
                Some(name) if is_known(name) => names.push((rule, name)),
                _ if unknown.contains(&text) => {}
                _ => unknown.push(text),
            }
        }
    }

    let mut compiler = Compiler { profile, graph: Graph::new(), names, costs: Vec::new() };
    let root = compiler.root(&architectures)?;
    let instructions = assemble(&compiler.graph, root);
    if instructions.len() > bpf::LONGEST {
        return Err(compiler.too_long(instructions.len()));
    }
    Ok(Filter { instructions, unknown })
}

/// The calls of an architecture through which others are reached.
#[derive(Clone, Copy)]
struct Multiplexers {
    socketcall: Option<u32>,
    ipc: Option<u32>,
}

impl Multiplexers {
    fn of(architecture: Architecture) -> Multiplexers {
        Multiplexers { socketcall: architecture.number("socketcall"), ipc: architecture.number("ipc") }
    }

    /// The number of the call through which the one with this name is reached as well.
    fn find(&self, name: Name) -> Option<(u32, Multiplexed)> {
        let multiplexed = name.multiplexed()?;
        let number = if multiplexed.by_ipc { self.ipc } else { self.socketcall };
        Some((number?, multiplexed))
    }
}

struct Compiler<'p, 'a> {
    profile: &'p Profile<'a>,
    graph: Graph,
    /// Every rule's names.
    names: Vec<(usize, Name)>,
    /// The decisions for arguments, with the rules that take part in them.
    costs: Vec<(Node, Vec<usize>)>,
}

/// A rule for a number.
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    rule: usize,
    /// The call is meant that the first argument selects.
    multiplexed: Option<Multiplexed>,
}

/// What becomes of the calls of one architecture.
struct Calls {
    /// By their numbers, in order, those that rules name.
    outcomes: Vec<(u32, Node)>,
    /// The highest number that the profile knows, if those above it are unknown calls (ENOSYS) for it.
    highest: Option<u32>,
    /// For numbers that no rule names.
    otherwise: Node,
    /// For numbers above the highest one.
    above: Node,
}

impl Calls {
    /// What becomes of all numbers from `start` on.
    fn ranges(&self, start: u32) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.push(start, self.otherwise, 0);
        for &(number, outcome) in &self.outcomes {
            ranges.push(number, outcome, u32::from(outcome != self.otherwise));
            if let Some(next) = number.checked_add(1) {
                ranges.push(next, self.otherwise, 0);
            }
        }
        if let Some(next) = self.highest.and_then(|highest| highest.checked_add(1)) {
            ranges.push(next, self.above, 0);
        }
        ranges
    }

    /// What becomes of numbers that are none of a call's.
    fn absurd(&self) -> Node {
        if self.highest.is_some() { self.above } else { self.otherwise }
    }
}

impl Compiler<'_, '_> {
    /// The decisions of the whole filter.
    fn root(&mut self, architectures: &[Architecture]) -> Result<Node, Error> {
        // A call of another architecture.
        let mut next = self.graph.ret(value(Action::KillThread));
        let mut rest = architectures;
        // The native one, which is the first, is asked for first.
        while let Some((&one, before)) = rest.split_last() {
            rest = before;
            let number = if is_x86_64(one) {
                // Both are one architecture for the kernel.
                if before.iter().copied().any(is_x86_64) {
                    continue;
                }
                self.x86_64(architectures)?
            } else {
                let ranges = self.calls(one)?.ranges(0);
                ranges.build(&mut self.graph)
            };
            let test = Test {
                offset: field::ARCHITECTURE,
                mask: u32::MAX,
                relation: Relation::Equal,
                value: one.audit_arch(),
            };
            next = self.graph.branch(test, number, next);
        }
        Ok(next)
    }

    /// The decisions for x86_64 and x32, which a bit of the number tells apart, even if it is none of a call.
    fn x86_64(&mut self, architectures: &[Architecture]) -> Result<Node, Error> {
        let mut calls = |one| architectures.contains(&one).then(|| self.calls(one)).transpose();
        let (x32, x86_64) = (calls(Architecture::X32)?, calls(Architecture::X86_64)?);
        let other = self.graph.ret(value(Action::KillThread));
        let mut ranges = match &x86_64 {
            Some(calls) => calls.ranges(0),
            None => Ranges::default(),
        };
        let absurd = match (&x86_64, &x32) {
            (Some(calls), Some(_)) => calls.absurd(),
            (Some(calls), None) if calls.highest.is_some() => calls.above,
            _ => other,
        };
        if x86_64.is_none() {
            ranges.push(0, other, 0);
        }
        let of_x32 = match &x32 {
            Some(calls) => calls.ranges(X32_BIT).build(&mut self.graph),
            None => other,
        };
        ranges.push(X32_BIT, of_x32, X32_WEIGHT);
        ranges.push(NEGATIVE, absurd, 0);
        ranges.push(NEGATIVE | X32_BIT, x32.as_ref().map_or(other, Calls::absurd), 0);
        if let (Some(calls), None) = (&x86_64, &x32) {
            ranges.push(SKIPPED, calls.otherwise, 0);
        }
        Ok(ranges.build(&mut self.graph))
    }

    fn calls(&mut self, architecture: Architecture) -> Result<Calls, Error> {
        let default = self.profile.default_action;
        let multiplexers = Multiplexers::of(architecture);
        let mut entries = Vec::with_capacity(2 * self.names.len());
        let mut highest = None;
        for &(rule, name) in &self.names {
            let number = architecture.number_of(name);
            let through = multiplexers.find(name);
            highest = highest.max(number).max(through.map(|(number, _)| number));
            if self.profile.rules.get(rule).is_none_or(|rule| rule.action == default) {
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
        let rule = |entry: &Entry| profile.rules.get(entry.rule);
        let action = |rule: usize| profile.rules.get(rule).map_or(0, |rule| value(rule.action));
        // The first rule without conditions wins, whatever those with conditions say.
        let always = entries.iter().find(|entry| {
            let is_empty = |conditions: Vec<Condition>| conditions.is_empty();
            rule(entry).is_some_and(|rule| alternatives(rule, entry, architecture).any(is_empty))
        });
        if let Some(entry) = always {
            return Ok(self.graph.ret(action(entry.rule)));
        }
        let mut level = Level::default();
        for entry in entries {
            let Some(rule) = rule(entry) else { continue };
            for conditions in alternatives(rule, entry, architecture) {
                let ways = ways(&conditions, architecture);
                for (index, way) in ways.iter().enumerate() {
                    level.add(way, index + 1 == ways.len(), entry.rule, action).map_err(|other| Error {
                        rule: Some(entry.rule),
                        cause: contradiction(other, entry, architecture),
                    })?;
                }
            }
        }
        let node = level.build(&mut self.graph, otherwise, action);
        let node = self.graph.simplify(node);
        self.costs.push((node, entries.iter().map(|entry| entry.rule).collect()));
        Ok(node)
    }

    fn too_long(&self, length: usize) -> Error {
        let mut costs = vec![0; self.profile.rules.len()];
        for (node, rules) in &self.costs {
            let size = self.graph.size(*node);
            for &rule in rules {
                if let Some(cost) = costs.get_mut(rule) {
                    *cost += size;
                }
            }
        }
        let mut most: Vec<(usize, usize)> = costs.into_iter().enumerate().filter(|(_, cost)| *cost > 0).collect();
        most.sort_by_key(|&(rule, cost)| (std::cmp::Reverse(cost), rule));
        let names: Vec<String> =
            most.iter().take(3).map(|(rule, cost)| format!("syscalls/{rule} ({cost} tests)")).collect();
        let cause = format!(
            "the filter would have {length} instructions, the kernel takes {}; the calls of these rules need most: {}",
            bpf::LONGEST,
            names.join(", ")
        );
        Error { rule: most.first().map(|(rule, _)| *rule), cause }
    }
}

fn is_x86_64(architecture: Architecture) -> bool {
    matches!(architecture, Architecture::X86_64 | Architecture::X32)
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

/// An action as a filter returns it: `SECCOMP_RET_*` of linux/seccomp.h.
fn value(action: Action) -> u32 {
    match action {
        Action::KillProcess => 0x8000_0000,
        Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Action::Notify => 0x7fc0_0000,
        Action::Trace(message) => 0x7ff0_0000 | u32::from(message),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}
