//! What a filter does with every system call, found out by running it.
//!
//! Nothing here knows how the compiler works. Which calls there are, the tables say; at which arguments a call's fate
//! may change, the conditions of the profile; what becomes of it, and in how many instructions, the program itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Action, Architecture, Call, Condition, Filter, Malformed, Operator, Profile, Program, Rule};

/// What a filter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// By architecture, the native one first.
    pub architectures: Vec<ArchitectureSurvey>,
    /// What becomes of calls of all other architectures.
    pub foreign: Action,
}

/// What a filter does with the calls of an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchitectureSurvey {
    /// Which one it is.
    pub architecture: Architecture,
    /// The calls that it has, by name.
    pub calls: Vec<CallSurvey>,
    /// What becomes of the numbers between and above these: the first and the last number, and the action.
    pub unnamed: Vec<(u32, u32, Action)>,
}

impl ArchitectureSurvey {
    /// The most instructions that are executed for a call that is allowed whatever its arguments are.
    #[must_use]
    pub fn most_for_allowed(&self) -> usize {
        let allowed = self.calls.iter().filter(|call| call.fate == Fate::Always(Action::Allow));
        allowed.map(|call| call.most).max().unwrap_or(0)
    }

    /// The highest number of a call with another fate than all above it, and that fate; `None` if all numbers share it.
    #[must_use]
    pub fn above(&self) -> Option<(u32, Action)> {
        let (_, _, action) = *self.unnamed.last()?;
        let named = self.calls.iter().filter(|call| call.fate != Fate::Always(action)).map(|call| call.number);
        let unnamed = self.unnamed.iter().filter(|(_, _, other)| *other != action).map(|(_, last, _)| *last);
        Some((named.chain(unnamed).max()?, action))
    }
}

/// What a filter does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSurvey {
    /// The name of the call.
    pub name: &'static str,
    /// Its number.
    pub number: u32,
    /// What becomes of it.
    pub fate: Fate,
    /// The fewest instructions that are executed for it.
    pub least: usize,
    /// The most.
    pub most: usize,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Always the same.
    Always(Action),
    /// What the first of these says whose conditions all hold: one of them always does.
    Depends(Vec<(Vec<Condition>, Action)>),
    /// One of these: it depends on the arguments, but not as any order of the profile's rules would have it.
    OneOf(Vec<Action>),
}

/// The most sets of arguments that a call is tried with. Few profiles come near it; where one does, `least`, `most`
/// and the fate are those of every so many of the sets.
const TRIES: usize = 1 << 16;

impl Survey {
    /// Runs the filter of a profile with all calls.
    ///
    /// # Errors
    /// When the kernel would refuse the program.
    pub fn new(profile: &Profile<'_>, filter: &Filter<'_>) -> Result<Survey, Malformed> {
        let program = Program::new(&filter.instructions)?;
        let mut architectures = vec![Architecture::NATIVE];
        for &architecture in &profile.architectures {
            if !architectures.contains(&architecture) {
                architectures.push(architecture);
            }
        }
        // No architecture has this one (EM_NONE).
        let foreign = program.run(&Call { architecture: 0, ..Call::default() }).action;
        let of = |&architecture: &Architecture| ArchitectureSurvey::new(architecture, profile, filter, &program);
        Ok(Survey { architectures: architectures.iter().map(of).collect(), foreign })
    }
}

impl ArchitectureSurvey {
    fn new(
        architecture: Architecture,
        profile: &Profile<'_>,
        filter: &Filter<'_>,
        program: &Program<'_>,
    ) -> ArchitectureSurvey {
        let mut rules: BTreeMap<&str, Vec<&Rule<'_>>> = BTreeMap::new();
        for rule in &profile.rules {
            for name in &rule.names {
                rules.entry(name).or_default().push(rule);
            }
        }
        let calls: Vec<CallSurvey> = architecture
            .calls()
            .map(|(name, number)| {
                let rules = rules.get(name).map_or(&[][..], Vec::as_slice);
                CallSurvey::new(architecture, (name, number), rules, profile.default_action, program)
            })
            .collect();
        let unnamed = unnamed(architecture, &calls, filter, program);
        ArchitectureSurvey { architecture, calls, unnamed }
    }
}

/// Numbers that are run whatever the program compares with: a program may know them by other means.
const DENSE: u32 = 1024;

/// What becomes of numbers that are no call's. Between the numbers that a program compares with nothing changes.
fn unnamed(
    architecture: Architecture,
    calls: &[CallSurvey],
    filter: &Filter<'_>,
    program: &Program<'_>,
) -> Vec<(u32, u32, Action)> {
    const X32: u32 = 0x4000_0000;
    let (first, last) = match architecture {
        Architecture::X32 => (X32, u32::MAX),
        Architecture::X86_64 => (0, X32 - 1),
        _ => (0, u32::MAX),
    };
    let named: BTreeSet<u32> = calls.iter().map(|call| call.number).collect();
    let compared = filter.instructions.iter().filter(|one| one.code & 7 == 5);
    let changes = compared.flat_map(|one| [one.k, one.k.saturating_add(1)]);
    let changes = changes.chain(named.iter().map(|number| number + 1));
    let numbers: BTreeSet<u32> = changes
        .chain(first..first + DENSE)
        .filter(|number| (first..=last).contains(number) && !named.contains(number))
        .collect();
    let mut ranges: Vec<(u32, u32, Action)> = Vec::new();
    for number in numbers {
        let action = program.run(&call(architecture, number, [0; 6])).action;
        match ranges.last_mut() {
            Some((_, _, before)) if *before == action => {}
            Some(before) => {
                // The last one before it that has no name: there is one, the first of the range.
                before.1 = (before.0..number).rev().find(|number| !named.contains(number)).unwrap_or(before.0);
                ranges.push((number, last, action));
            }
            None => ranges.push((number, last, action)),
        }
    }
    ranges
}

fn call(architecture: Architecture, number: u32, arguments: [u64; 6]) -> Call {
    Call { number, architecture: architecture.audit_arch(), arguments, ..Call::default() }
}

impl CallSurvey {
    fn new(
        architecture: Architecture,
        (name, number): (&'static str, u32),
        rules: &[&Rule<'_>],
        default: Action,
        program: &Program<'_>,
    ) -> CallSurvey {
        let conditions: Vec<Condition> = rules.iter().flat_map(|rule| &rule.conditions).copied().collect();
        // What socketcall(2) and ipc(2) do, their first argument says, and a filter may know.
        let multiplexed = if matches!(name, "socketcall" | "ipc") { 25 } else { 0 };
        let tries = arguments(architecture, &conditions, multiplexed);
        let runs: Vec<_> =
            tries.iter().map(|arguments| (arguments, program.run(&call(architecture, number, *arguments)))).collect();
        let outcomes: Vec<_> = runs.iter().map(|(arguments, outcome)| (**arguments, outcome.action)).collect();
        let executed = || runs.iter().map(|(_, outcome)| outcome.executed);
        CallSurvey {
            name,
            number,
            fate: fate(architecture, rules, default, &outcomes),
            least: executed().min().unwrap_or(0),
            most: executed().max().unwrap_or(0),
        }
    }
}

/// Arguments at which the conditions change, and on both sides.
fn arguments(architecture: Architecture, conditions: &[Condition], first_up_to: u64) -> Vec<[u64; 6]> {
    let width = if architecture.is_64_bit() { u64::MAX } else { u32::MAX.into() };
    let values = |argument: usize| {
        let mut values = BTreeSet::from([0]);
        if argument == 0 {
            values.extend(0..first_up_to);
        }
        for one in conditions.iter().filter(|one| usize::from(one.argument) == argument) {
            let bits = if one.operator == Operator::MaskedEqual {
                values.extend([one.value_two & one.value, one.value_two | !one.value, !one.value_two & one.value]);
                // A bit of each half of the mask, and one that is not in it.
                [one.value & u64::from(u32::MAX), one.value >> 32 << 32, !one.value]
                    .map(|bits| bits & bits.wrapping_neg())
            } else {
                [1, 1 << 32, 0]
            };
            let base = if one.operator == Operator::MaskedEqual { one.value_two } else { one.value };
            values.extend([base, base.wrapping_add(1), base.wrapping_sub(1), u64::MAX]);
            values.extend(bits.map(|bit| base ^ bit));
            values.extend([base.wrapping_add(1 << 32), base.wrapping_sub(1 << 32)]);
        }
        values.iter().map(|value| value & width).collect::<BTreeSet<u64>>()
    };
    let values: [BTreeSet<u64>; 6] = std::array::from_fn(values);
    let sets = values.iter().fold(1_usize, |sets, values| sets.saturating_mul(values.len()));
    let step = sets.div_ceil(TRIES).max(1);
    let values = values.map(|values| values.into_iter().collect::<Vec<u64>>());
    let set = |mut index: usize| {
        values.each_ref().map(|values| {
            let value = values.get(index % values.len()).copied().unwrap_or(0);
            index /= values.len();
            value
        })
    };
    (0..sets).step_by(step).map(set).collect()
}

/// Says it by the rules of the profile, in an order in which they explain all outcomes.
fn fate(architecture: Architecture, rules: &[&Rule<'_>], default: Action, outcomes: &[([u64; 6], Action)]) -> Fate {
    let actions: BTreeSet<Action> = outcomes.iter().map(|(_, action)| *action).collect();
    if let (1, Some(action)) = (actions.len(), actions.first()) {
        return Fate::Always(*action);
    }
    let mut clauses = Vec::new();
    for rule in rules {
        let several = rule.conditions.iter().enumerate().any(|(at, one)| {
            rule.conditions.get(..at).is_some_and(|before| before.iter().any(|other| other.argument == one.argument))
        });
        // Several conditions on one argument are rules of their own.
        let conditions: Vec<_> = if several {
            rule.conditions.iter().map(|one| vec![*one]).collect()
        } else {
            vec![rule.conditions.clone()]
        };
        clauses.extend(conditions.into_iter().map(|conditions| (conditions, rule.action)));
    }
    let mut strictest = clauses.clone();
    strictest.sort_by_key(|(_, action)| *action);
    let mut narrowest = clauses.clone();
    narrowest.sort_by_key(|(conditions, _)| std::cmp::Reverse(conditions.len()));
    let backwards = clauses.iter().rev().cloned().collect();
    for mut clauses in [clauses, narrowest, strictest, backwards] {
        clauses.push((Vec::new(), default));
        let decides = |arguments: &[u64; 6]| {
            clauses.iter().position(|(conditions, _)| conditions.iter().all(|one| holds(architecture, one, arguments)))
        };
        let explained = |(arguments, action): &([u64; 6], Action)| {
            decides(arguments).filter(|at| clauses.get(*at).is_some_and(|(_, said)| said == action))
        };
        if let Some(used) = outcomes.iter().map(explained).collect::<Option<BTreeSet<usize>>>() {
            let used = clauses.iter().enumerate().filter(|(at, _)| used.contains(at));
            return Fate::Depends(used.map(|(_, clause)| clause.clone()).collect());
        }
    }
    Fate::OneOf(actions.into_iter().collect())
}

fn holds(architecture: Architecture, condition: &Condition, arguments: &[u64; 6]) -> bool {
    let Condition { argument, operator, mut value, mut value_two } = *condition;
    if !architecture.is_64_bit() {
        value &= u64::from(u32::MAX);
        value_two &= u64::from(u32::MAX);
    }
    let argument = arguments.get(usize::from(argument)).copied().unwrap_or(0);
    match operator {
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessOrEqual => argument <= value,
        Operator::Equal => argument == value,
        Operator::GreaterOrEqual => argument >= value,
        Operator::Greater => argument > value,
        Operator::MaskedEqual => argument & value == value_two & value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instruction;

    const READ: u32 = 0;
    const CLONE: u32 = 56;

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    /// Allows read, and clone without the bits of a mask; EPERM up to 99, ENOSYS above, kills other architectures.
    fn filter() -> Filter<'static> {
        let instructions = vec![
            op(0x20, 0, 0, 4),
            op(0x15, 1, 0, Architecture::NATIVE.audit_arch()),
            op(0x06, 0, 0, 0x8000_0000),
            op(0x20, 0, 0, 0),
            op(0x35, 6, 0, 100),
            op(0x15, 4, 0, READ),
            op(0x15, 0, 2, CLONE),
            op(0x20, 0, 0, 16),
            op(0x45, 0, 1, 0x7e02_0000),
            op(0x06, 0, 0, 0x0005_0001),
            op(0x06, 0, 0, 0x7fff_0000),
            op(0x06, 0, 0, 0x0005_0026),
        ];
        Filter { instructions, unknown: Vec::new() }
    }

    fn profile(rules: Vec<Rule<'static>>) -> Profile<'static> {
        Profile { default_action: Action::Errno(1), architectures: Vec::new(), rules }
    }

    fn rule(name: &'static str, action: Action, conditions: &[Condition]) -> Rule<'static> {
        Rule { names: vec![name], action, conditions: conditions.to_vec() }
    }

    const NO_NAMESPACES: Condition =
        Condition { argument: 0, operator: Operator::MaskedEqual, value: 0x7e02_0000, value_two: 0 };

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_call_is_surveyed() {
        let profile = profile(vec![rule("read", Action::Allow, &[]), rule("clone", Action::Allow, &[NO_NAMESPACES])]);
        let survey = Survey::new(&profile, &filter()).unwrap();
        assert_eq!((survey.architectures.len(), survey.foreign), (1, Action::KillProcess));
        let native = &survey.architectures[0];
        assert_eq!(native.calls.len(), Architecture::NATIVE.calls().count());
        let call = |name| native.calls.iter().find(|call| call.name == name).unwrap();
        assert_eq!((&call("read").fate, call("read").least), (&Fate::Always(Action::Allow), 6));
        assert_eq!(call("write").fate, Fate::Always(Action::Errno(1)));
        assert_eq!(call("openat").fate, Fate::Always(Action::Errno(38)));
        let clone = call("clone");
        let clauses = vec![(vec![NO_NAMESPACES], Action::Allow), (vec![], Action::Errno(1))];
        assert_eq!((&clone.fate, clone.least, clone.most), (&Fate::Depends(clauses), 9, 9));
        // The table may learn new ones.
        assert_eq!(native.above(), Some((99, Action::Errno(38))));
        assert!(matches!(native.unnamed[..], [(335.., 0x3fff_ffff, Action::Errno(38))]), "{:?}", native.unnamed);
        assert_eq!(native.most_for_allowed(), 6);
    }

    /// What the text would say, and the program does not do, is not said.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn conditions_are_checked_against_the_program() {
        let wrong = Condition { value: 0x7e02_0001, ..NO_NAMESPACES };
        let survey = Survey::new(&profile(vec![rule("clone", Action::Allow, &[wrong])]), &filter()).unwrap();
        let fate = &survey.architectures[0].calls.iter().find(|call| call.name == "clone").unwrap().fate;
        assert_eq!(*fate, Fate::OneOf(vec![Action::Errno(1), Action::Allow]));
    }

    #[test]
    fn a_program_that_the_kernel_refuses_has_no_survey() {
        let filter = Filter { instructions: Vec::new(), unknown: Vec::new() };
        assert_eq!(Survey::new(&profile(Vec::new()), &filter), Err(Malformed::Length(0)));
    }
}
