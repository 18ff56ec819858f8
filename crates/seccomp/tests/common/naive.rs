//! What the specification lets become of a call: the naive reading of a profile. Shared with the fuzz target.

use no_frills_seccomp::{Action, Architecture, Call, Condition, Operator, Profile, Rule};

use crate::common::{AUDIT_X86, AUDIT_X86_64, X32_BIT, last, multiplexed};

/// The architecture whose call it is, if the profile has it.
fn architecture(profile: &Profile, call: &Call) -> Option<Architecture> {
    let has = |one| profile.architectures.contains(&one).then_some(one);
    match call.architecture {
        AUDIT_X86 => has(Architecture::X86),
        // -1 is what a tracer leaves behind that passes over a call.
        AUDIT_X86_64 if call.number == u32::MAX => has(Architecture::X32).or(Some(Architecture::X86_64)),
        AUDIT_X86_64 if call.number & X32_BIT != 0 => has(Architecture::X32),
        // Beyond x32's numbers, where no call is.
        AUDIT_X86_64 if call.number > X32_BIT => has(Architecture::X32).and(Some(Architecture::X86_64)),
        AUDIT_X86_64 => Some(Architecture::X86_64),
        _ => None,
    }
}

/// Whether a call is newer than the profile and ends in ENOSYS for that, as in the stub that runc puts before its filter.
pub(crate) fn newer(profile: &Profile, call: &Call) -> bool {
    let has = |one| profile.architectures.contains(&one).then_some(one);
    let architecture = match call.architecture {
        AUDIT_X86 => has(Architecture::X86),
        AUDIT_X86_64 if call.number & X32_BIT != 0 => has(Architecture::X32),
        AUDIT_X86_64 => Some(Architecture::X86_64),
        _ => None,
    };
    !matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace(_))
        && architecture.and_then(|one| last(profile, one)).is_some_and(|last| call.number > last)
}

/// Whether the specification lets a call end in this action: the naive reading of a profile.
///
/// Rules that match with different actions contradict each other, and the specification does not say which one wins; here
/// each may.
pub(crate) fn allows(profile: &Profile, call: &Call, action: Action) -> bool {
    if newer(profile, call) {
        return action == Action::Errno(libc::ENOSYS as u16);
    }
    let Some(architecture) = architecture(profile, call) else {
        return action == Action::KillThread;
    };
    let matching = matching(profile, architecture, call);
    // A rule without conditions speaks of all calls with the number; the first such rule counts.
    let whole = |rule: &&Rule| architecture.number(rule.names[0]) == Some(call.number) && is_whole(rule, architecture);
    if let Some(first) = matching.iter().find(whole) {
        return action == first.action;
    }
    if matching.is_empty() { action == profile.default_action } else { matching.iter().any(|one| one.action == action) }
}

/// The profile without what does not matter for this call: the rules that do not match it, alternatives of rules that do
/// not, and other names. Nothing but the action for other calls may change with it.
pub(crate) fn without_the_rest<'a>(profile: &Profile<'a>, call: &Call) -> Profile<'a> {
    let rules = architecture(profile, call).map(|architecture| matching(profile, architecture, call));
    Profile { rules: rules.unwrap_or_default(), ..profile.clone() }
}

/// The rules that match a call, each with one name, and alternatives apart.
fn matching<'a>(profile: &Profile<'a>, architecture: Architecture, call: &Call) -> Vec<Rule<'a>> {
    let mut matching = Vec::new();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default_action) {
        for conditions in alternatives(&rule.conditions) {
            let hold = |one: &&Condition| holds(one, architecture, call);
            for &name in &rule.names {
                let direct = architecture.number(name) == Some(call.number) && conditions.iter().all(|one| hold(&one));
                // socketcall's further arguments are not those of the call that is meant, but are taken for them.
                let through = multiplexed(architecture, name).is_some_and(|(number, operation)| {
                    call.number == number
                        && call.arguments[0] == u64::from(operation)
                        && conditions.iter().filter(|one| one.argument != 0).all(|one| hold(&one))
                });
                if direct || through {
                    matching.push(Rule { names: vec![name], action: rule.action, conditions: conditions.clone() });
                }
            }
        }
    }
    matching
}

/// Several conditions on one argument are alternatives; otherwise all have to hold.
fn alternatives(conditions: &[Condition]) -> Vec<Vec<Condition>> {
    let twice = conditions.iter().enumerate().any(|(n, a)| conditions[..n].iter().any(|b| a.argument == b.argument));
    if twice { conditions.iter().map(|one| vec![*one]).collect() } else { vec![conditions.to_vec()] }
}

/// What a condition compares on this architecture: values and arguments are cut to 32 bits where arguments have them.
fn width(architecture: Architecture) -> u64 {
    if architecture == Architecture::X86_64 { u64::MAX } else { u32::MAX.into() }
}

/// Whether a rule speaks of all calls with a number.
fn is_whole(rule: &Rule, architecture: Architecture) -> bool {
    let always = |one: &Condition| one.operator == Operator::MaskedEqual && one.value & width(architecture) == 0;
    rule.conditions.iter().all(always)
}

/// Whether a condition holds.
fn holds(condition: &Condition, architecture: Architecture, call: &Call) -> bool {
    let width = width(architecture);
    let argument = call.arguments[usize::from(condition.argument)] & width;
    let value = condition.value & width;
    match condition.operator {
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessOrEqual => argument <= value,
        Operator::Equal => argument == value,
        Operator::GreaterOrEqual => argument >= value,
        Operator::Greater => argument > value,
        // Bits of the second value that are not in the mask are passed over.
        Operator::MaskedEqual => argument & value == condition.value_two & value,
    }
}
