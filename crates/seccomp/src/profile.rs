//! What is compiled: `linux.seccomp` without what concerns its installation (flags and listener).

use std::fmt;

use nix::errno::Errno;

use crate::Architecture;

/// A seccomp profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile<'a> {
    /// `defaultAction` with `defaultErrnoRet`: for a call that no rule matches.
    pub default_action: Action,
    /// `architectures`: those whose calls are filtered besides the native one.
    pub architectures: Vec<Architecture>,
    /// `syscalls`.
    pub rules: Vec<Rule<'a>>,
}

/// One of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// `names`.
    pub names: Vec<&'a str>,
    /// `action` with `errnoRet`.
    pub action: Action,
    /// `args`.
    pub conditions: Vec<Condition>,
}

/// What becomes of a call: `SCMP_ACT_*`. Ordered as the kernel orders them, the strictest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `SCMP_ACT_KILL_PROCESS`.
    KillProcess,
    /// `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL`.
    KillThread,
    /// `SCMP_ACT_TRAP`.
    Trap,
    /// `SCMP_ACT_ERRNO`, with the errno.
    Errno(u16),
    /// `SCMP_ACT_NOTIFY`.
    Notify,
    /// `SCMP_ACT_TRACE`, with what the tracer is told.
    Trace(u16),
    /// `SCMP_ACT_LOG`.
    Log,
    /// `SCMP_ACT_ALLOW`.
    #[default]
    Allow,
}

impl Action {
    /// Their names in the specification, sorted.
    pub const NAMES: &'static [&'static str] = &[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ];

    /// The one with this name in the specification; `data` is the number of those that have one.
    pub fn from_name(name: &str, data: u16) -> Option<Action> {
        Some(match name {
            "SCMP_ACT_ALLOW" => Action::Allow,
            "SCMP_ACT_ERRNO" => Action::Errno(data),
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_NOTIFY" => Action::Notify,
            "SCMP_ACT_TRACE" => Action::Trace(data),
            "SCMP_ACT_TRAP" => Action::Trap,
            _ => return None,
        })
    }
}

/// In few words; an errno by its name.
impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Action::KillProcess => out.write_str("kill process"),
            Action::KillThread => out.write_str("kill thread"),
            Action::Trap => out.write_str("trap"),
            Action::Errno(errno) => match Errno::from_raw(errno.into()) {
                Errno::UnknownErrno => write!(out, "errno {errno}"),
                known => write!(out, "{known:?}"),
            },
            Action::Notify => out.write_str("notify"),
            Action::Trace(data) => write!(out, "trace {data}"),
            Action::Log => out.write_str("log"),
            Action::Allow => out.write_str("allow"),
        }
    }
}

/// One of `args`: what an argument of the call must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// `index`, 0 to 5.
    pub argument: u8,
    /// `op`.
    pub operator: Operator,
    /// `value`; the mask of [`Operator::MaskedEqual`].
    pub value: u64,
    /// `valueTwo`: what the masked argument is compared with.
    pub value_two: u64,
}

/// `SCMP_CMP_*`. Arguments are compared as unsigned numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `SCMP_CMP_NE`.
    NotEqual,
    /// `SCMP_CMP_LT`.
    Less,
    /// `SCMP_CMP_LE`.
    LessOrEqual,
    /// `SCMP_CMP_EQ`.
    Equal,
    /// `SCMP_CMP_GE`.
    GreaterOrEqual,
    /// `SCMP_CMP_GT`.
    Greater,
    /// `SCMP_CMP_MASKED_EQ`.
    MaskedEqual,
}

impl Operator {
    /// All of them, with their names in the specification, sorted by name.
    const NAMED: [(&'static str, Operator); 7] = [
        ("SCMP_CMP_EQ", Operator::Equal),
        ("SCMP_CMP_GE", Operator::GreaterOrEqual),
        ("SCMP_CMP_GT", Operator::Greater),
        ("SCMP_CMP_LE", Operator::LessOrEqual),
        ("SCMP_CMP_LT", Operator::Less),
        ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
        ("SCMP_CMP_NE", Operator::NotEqual),
    ];

    /// The one with this name in the specification.
    pub fn from_name(name: &str) -> Option<Operator> {
        Operator::NAMED.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    /// Their names in the specification, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Operator::NAMED.iter().map(|(name, _)| *name)
    }
}

/// As in C, with the arguments called `arg0` to `arg5`.
impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { argument, operator, value, value_two } = *self;
        let comparison = match operator {
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Equal => "==",
            Operator::GreaterOrEqual => ">=",
            Operator::Greater => ">",
            Operator::MaskedEqual => return write!(out, "arg{argument} & {value:#x} == {}", number(value_two)),
        };
        write!(out, "arg{argument} {comparison} {}", number(value))
    }
}

/// Small numbers as people write them, others, which mostly are bits, in hexadecimal.
fn number(number: u64) -> String {
    if number < 100 { number.to_string() } else { format!("{number:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert!(Action::NAMES.is_sorted() && Operator::names().is_sorted());
        for name in Action::NAMES {
            assert!(Action::from_name(name, 1).is_some(), "{name}");
        }
        for name in Operator::names() {
            assert!(Operator::from_name(name).is_some(), "{name}");
        }
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::from_name(architecture.name()), Ok(*architecture));
        }
        assert_eq!(Action::from_name("SCMP_ACT_ERRNO", 38), Some(Action::Errno(38)));
        assert_eq!(Action::from_name("SCMP_ACT_NONE", 0), None);
    }

    #[test]
    fn actions_and_conditions_are_written() {
        assert_eq!(Action::Errno(38).to_string(), "ENOSYS");
        assert_eq!(Action::Errno(4095).to_string(), "errno 4095");
        assert_eq!(Action::Trace(5).to_string(), "trace 5");
        let condition = |operator, value, value_two| Condition { argument: 2, operator, value, value_two }.to_string();
        assert_eq!(condition(Operator::MaskedEqual, 0x7e02_0000, 0), "arg2 & 0x7e020000 == 0");
        assert_eq!(condition(Operator::Less, 9, 1), "arg2 < 9");
        assert_eq!(condition(Operator::NotEqual, 0xffff_ffff, 0), "arg2 != 0xffffffff");
    }
}
