//! libseccomp, driven as runc drives it.

use std::io::{Read as _, Seek as _};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use no_frills_seccomp::{Action, Condition, Instruction, Operator, Profile};

/// A profile in libseccomp.
fn filter(profile: &Profile) -> Result<ScmpFilterContext, SeccompError> {
    // All actions, whatever the kernel has.
    libseccomp::set_api(6)?;
    let mut filter = ScmpFilterContext::new(action(profile.default_action))?;
    for one in &profile.architectures {
        filter.add_arch(one.name().parse()?)?;
    }
    // runc counts the names. If libseccomp 2.5 makes no tree, it forgets to load the number for architectures that lack the
    // first of the names.
    let names: usize = profile.rules.iter().map(|rule| rule.names.len()).sum();
    if names > 32 || !profile.architectures.is_empty() && names > 0 {
        filter.set_ctl_optimize(2)?;
    }
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default_action) {
        let conditions: Vec<_> = rule.conditions.iter().map(condition).collect();
        let twice = (0..6).any(|index| rule.conditions.iter().filter(|one| one.argument == index).count() > 1);
        for name in &rule.names {
            let Ok(number) = ScmpSyscall::from_name(name) else { continue };
            if twice {
                for one in &conditions {
                    filter.add_rule_conditional(action(rule.action), number, &[*one])?;
                }
            } else {
                filter.add_rule_conditional(action(rule.action), number, &conditions)?;
            }
        }
    }
    Ok(filter)
}

/// libseccomp's program for a profile, without the stub for newer calls.
pub(crate) fn program(profile: &Profile) -> Result<Vec<Instruction>, SeccompError> {
    let filter = filter(profile)?;
    let mut file = tempfile::tempfile().unwrap();
    filter.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let decode = |one: &[u8]| Instruction {
        code: u16::from_ne_bytes([one[0], one[1]]),
        jt: one[2],
        jf: one[3],
        k: u32::from_ne_bytes([one[4], one[5], one[6], one[7]]),
    };
    Ok(bytes.chunks_exact(8).map(decode).collect())
}

fn action(action: Action) -> ScmpAction {
    match action {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::KillThread => ScmpAction::KillThread,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(errno) => ScmpAction::Errno(errno.into()),
        Action::Notify => ScmpAction::Notify,
        Action::Trace(data) => ScmpAction::Trace(data),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

fn condition(condition: &Condition) -> ScmpArgCompare {
    let operator = match condition.operator {
        Operator::NotEqual => ScmpCompareOp::NotEqual,
        Operator::Less => ScmpCompareOp::Less,
        Operator::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Operator::Equal => ScmpCompareOp::Equal,
        Operator::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
        Operator::Greater => ScmpCompareOp::Greater,
        Operator::MaskedEqual => {
            let masked = ScmpCompareOp::MaskedEqual(condition.value);
            return ScmpArgCompare::new(condition.argument.into(), masked, condition.value_two);
        }
    };
    ScmpArgCompare::new(condition.argument.into(), operator, condition.value)
}
