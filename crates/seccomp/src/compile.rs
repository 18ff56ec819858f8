//! From a [`Profile`] to a [`Filter`].

use crate::assemble::assemble;
use crate::bpf;
use crate::calls::{Calls, Multiplexers};
use crate::graph::{Graph, Node, Relation, Test, field};
use crate::search::Ranges;
use crate::table::Name;
use crate::{Action, Architecture, Filter, Profile};

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
    for (rule, one) in (0..).zip(&profile.rules) {
        for &text in &one.names {
            match Name::find(text) {
                Some(name) if is_known(name) => names.push((rule, name)),
                _ if unknown.contains(&text) => {}
                _ => unknown.push(text),
            }
        }
    }

    let mut graph = Graph::new();
    let actions = profile.rules.iter().map(|rule| graph.ret(value(rule.action))).collect();
    let mut compiler = Compiler { profile, graph, names, actions, costs: Vec::new(), steps: 0 };
    let root = compiler.root(&architectures)?;
    let instructions = assemble(&compiler.graph, root);
    if instructions.len() > bpf::LONGEST {
        return Err(compiler.too_long(instructions.len()));
    }
    Ok(Filter { instructions, unknown })
}

/// What is at work.
pub(crate) struct Compiler<'p, 'a> {
    pub(crate) profile: &'p Profile<'a>,
    pub(crate) graph: Graph,
    /// Every rule's names.
    pub(crate) names: Vec<(u32, Name)>,
    /// Every rule's action.
    pub(crate) actions: Vec<Node>,
    /// The decisions for arguments, with the rules that take part in them.
    pub(crate) costs: Vec<(Node, Vec<usize>)>,
    /// How many tests of conditions there were so far.
    pub(crate) steps: usize,
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
        let x32 = calls(Architecture::X32)?;
        let x86_64 = calls(Architecture::X86_64)?;
        let foreign = self.graph.ret(value(Action::KillThread));
        let mut ranges = Ranges::default();
        ranges.push(0, foreign, 0);
        if let Some(x86_64) = &x86_64 {
            ranges = x86_64.ranges(0);
        }
        let mut negative = x86_64.as_ref().and_then(Calls::above);
        let mut negative_x32 = foreign;
        if let Some(x32) = &x32 {
            ranges.push(X32_BIT, x32.ranges(X32_BIT).build(&mut self.graph), X32_WEIGHT);
            negative = negative.or(Some(x32.otherwise));
            negative_x32 = x32.above().unwrap_or(x32.otherwise);
        } else {
            ranges.push(X32_BIT, foreign, 0);
        }
        ranges.push(NEGATIVE, negative.unwrap_or(foreign), 0);
        ranges.push(NEGATIVE | X32_BIT, negative_x32, 0);
        if let (Some(x86_64), None) = (&x86_64, &x32) {
            ranges.push(SKIPPED, x86_64.otherwise, 0);
        }
        Ok(ranges.build(&mut self.graph))
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

/// An action as a filter returns it: `SECCOMP_RET_*` of linux/seccomp.h.
pub(crate) fn value(action: Action) -> u32 {
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
