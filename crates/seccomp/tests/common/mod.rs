//! Random profiles and calls. Shared with the fuzz target.

pub(crate) use arbitrary::{Result, Unstructured};
use no_frills_seccomp::{Action, Architecture, Call, Condition, Operator, Profile, Rule};

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386` of linux/audit.h.
pub(crate) const AUDIT_X86_64: u32 = 0xc000_003e;
pub(crate) const AUDIT_X86: u32 = 0x4000_0003;
/// `AUDIT_ARCH_ALPHA`: one that no profile has.
pub(crate) const AUDIT_FOREIGN: u32 = 0xc000_9026;
/// `__X32_SYSCALL_BIT` of asm/unistd.h.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// The calls of which x86 has made one, with the first argument that stands for each: linux/net.h and linux/ipc.h.
const MULTIPLEXED: &[(&str, &[(&str, u32)])] = &[
    (
        "socketcall",
        &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    ),
    (
        "ipc",
        &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    ),
];

/// The number of the call that stands for this one, and its first argument.
pub(crate) fn multiplexed(architecture: Architecture, name: &str) -> Option<(u32, u32)> {
    if architecture != Architecture::X86 {
        return None;
    }
    let (mux, (_, operation)) =
        MULTIPLEXED.iter().find_map(|(mux, all)| Some((mux, all.iter().find(|one| one.0 == name)?)))?;
    Some((architecture.number(mux)?, *operation))
}

/// The highest number that a rule names.
pub(crate) fn last(profile: &Profile, architecture: Architecture) -> Option<u32> {
    let names = profile.rules.iter().flat_map(|rule| &rule.names);
    names.filter_map(|name| architecture.number(name).max(multiplexed(architecture, name).map(|one| one.0))).max()
}

/// Names of every kind: in all tables, in one alone, multiplexed on x86, with a number of their own for x32, unknown.
const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "openat",
    "clone",
    "personality",
    "socket",
    "socket",
    "bind",
    "accept",
    "accept4",
    "send",
    "recvmmsg",
    "socketcall",
    "socketcall",
    "semop",
    "semtimedop",
    "shmat",
    "msgctl",
    "ipc",
    "waitpid",
    "stat64",
    "ioctl",
    "rt_sigaction",
    "execve",
    "preadv",
    "preadv2",
    "getppid",
    "kill",
    "clone3",
    "openat2",
    "faccessat2",
    "arch_prctl",
    "no_such_call",
];

/// A random profile. A name, an argument and a value are taken from few, so that rules meet.
pub(crate) fn profile(u: &mut Unstructured) -> Result<Profile<'static>> {
    let mut profile = Profile { default_action: action(u)?, ..Profile::default() };
    for one in [Architecture::X86, Architecture::X32, Architecture::X86_64] {
        if u.arbitrary()? {
            profile.architectures.push(one);
        }
    }
    let names = &NAMES[u.int_in_range(0..=NAMES.len() - 1)?..];
    let names = &names[..u.int_in_range(1..=names.len().min(8))?];
    let actions: Vec<Action> = (0..u.int_in_range(1..=3)?).map(|_| action(u)).collect::<Result<_>>()?;
    let values: Vec<u64> = (0..4).map(|_| value(u)).collect::<Result<_>>()?;
    let arguments = u.int_in_range(1..=6)?;
    for _ in 0..u.int_in_range(0..=40)? {
        if u.is_empty() {
            break;
        }
        let mut rule = Rule { names: Vec::new(), action: *u.choose(&actions)?, conditions: Vec::new() };
        for _ in 0..u.int_in_range(1..=2)? {
            let names = if u.ratio(1, 8)? { NAMES } else { names };
            rule.names.push(*u.choose(names)?);
        }
        for _ in 0..u.choose(&[0, 1, 1, 1, 2, 2, 3, 4]).copied()? {
            rule.conditions.push(Condition {
                argument: u.int_in_range(0..=arguments - 1)?,
                operator: *u.choose(&[
                    Operator::NotEqual,
                    Operator::Less,
                    Operator::LessOrEqual,
                    Operator::Equal,
                    Operator::GreaterOrEqual,
                    Operator::Greater,
                    Operator::MaskedEqual,
                ])?,
                value: *u.choose(&values)?,
                value_two: *u.choose(&values)?,
            });
        }
        profile.rules.push(rule);
    }
    Ok(profile)
}

/// A random call, near to what the profile speaks of.
pub(crate) fn call(u: &mut Unstructured, profile: &Profile) -> Result<Call> {
    let mut call = Call { instruction_pointer: u.arbitrary()?, ..Call::default() };
    let architecture = *u.choose(&[Architecture::X86, Architecture::X86_64, Architecture::X32])?;
    call.architecture = if architecture == Architecture::X86 { AUDIT_X86 } else { AUDIT_X86_64 };
    let rule = if profile.rules.is_empty() { None } else { Some(u.choose(&profile.rules)?) };
    let name = match rule {
        Some(rule) => u.choose(&rule.names)?,
        None => u.choose(NAMES)?,
    };
    let mux = multiplexed(architecture, name);
    call.number = architecture.number(name).or(mux.map(|one| one.0)).unwrap_or(7);
    match u.int_in_range(0..=19)? {
        0 => call.number = call.number.wrapping_sub(1),
        1 => call.number = call.number.wrapping_add(1),
        2 => {
            let last = last(profile, architecture).unwrap_or(0).max(1);
            call.number = last - 1 + u.int_in_range(0..=2)?;
        }
        3 => call.number = u.int_in_range(0..=600)?,
        4 => call.number ^= X32_BIT,
        5 => call.number ^= 1 << 31,
        6 => call.number = u32::MAX - u.int_in_range(0..=1)?,
        7 => call.architecture = AUDIT_FOREIGN,
        _ => {}
    }
    for (index, argument) in call.arguments.iter_mut().enumerate() {
        let conditions = rule.map_or(&[][..], |rule| &rule.conditions);
        let about: Vec<_> = conditions.iter().filter(|one| usize::from(one.argument) == index).collect();
        let near = match about.is_empty() {
            false => u.choose(&about)?,
            // Also of other rules.
            true => match profile.rules.iter().flat_map(|rule| &rule.conditions).next() {
                Some(one) => one,
                None => continue,
            },
        };
        *argument = match u.int_in_range(0..=9)? {
            0 => near.value.wrapping_add(1),
            1 => near.value.wrapping_sub(1),
            2 => near.value_two,
            3 => near.value & near.value_two,
            4 => near.value.rotate_left(32),
            5 => near.value ^ 1 << 32,
            6 => near.value ^ 1 << u.int_in_range(0..=63)?,
            7 => value(u)?,
            _ => near.value,
        };
    }
    if let Some((number, operation)) = mux
        && u.ratio(1, 2)?
    {
        call.number = number;
        call.arguments[0] = operation.into();
    }
    if call.architecture == AUDIT_X86 {
        // The kernel shows 32 bits of every argument.
        call.arguments = call.arguments.map(|argument| argument & u64::from(u32::MAX));
    }
    Ok(call)
}

fn action(u: &mut Unstructured) -> Result<Action> {
    Ok(match u.int_in_range(0..=9)? {
        0 | 1 => Action::Allow,
        2 => Action::Errno(1),
        3 => Action::Errno(u.int_in_range(0..=4095)?),
        4 => Action::KillProcess,
        5 => Action::KillThread,
        6 => Action::Trap,
        7 => Action::Notify,
        8 => Action::Trace(u.arbitrary()?),
        _ => Action::Log,
    })
}

/// A number whose halves are near to a limit.
fn value(u: &mut Unstructured) -> Result<u64> {
    let mut half = || -> Result<u64> {
        let near = *u.choose(&[0, 0, 1, 40, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff])?;
        Ok(if u.ratio(1, 8)? { u64::from(u.arbitrary::<u32>()?) } else { near })
    };
    Ok(half()? << 32 | half()?)
}
