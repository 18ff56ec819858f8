//! Whole profiles.

use std::hint::black_box;
use std::time::Instant;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use serde_json::Value;

use crate::compile::compile_for;
use crate::{
    Action, Architecture, Call, Condition, Filter, Instruction, Operator, Profile, Program, Rule, bpf, compile,
};

/// What Docker and Podman pass by default.
const BUNDLES: [(&str, &str); 2] = [
    ("Docker", include_str!("../../../runtime/tests/fixtures/docker-default.json")),
    ("Podman", include_str!("../../../runtime/tests/fixtures/podman-default.json")),
];

/// The profile in a bundle's config.json.
fn profile(config: &Value) -> Profile<'_> {
    let seccomp = &config["linux"]["seccomp"];
    Profile {
        default_action: action(&seccomp["defaultAction"], &seccomp["defaultErrnoRet"]),
        architectures: all(&seccomp["architectures"], |one| Architecture::from_name(text(one)).unwrap()),
        rules: all(&seccomp["syscalls"], |rule| Rule {
            names: all(&rule["names"], text),
            action: action(&rule["action"], &rule["errnoRet"]),
            conditions: all(&rule["args"], |one| Condition {
                argument: one["index"].as_u64().unwrap() as u8,
                operator: match text(&one["op"]) {
                    "SCMP_CMP_EQ" => Operator::Equal,
                    "SCMP_CMP_NE" => Operator::NotEqual,
                    "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual,
                    other => panic!("{other}"),
                },
                value: one["value"].as_u64().unwrap(),
                value_two: one["valueTwo"].as_u64().unwrap_or_default(),
            }),
        }),
    }
}

fn all<'a, T>(list: &'a Value, make: impl Fn(&'a Value) -> T) -> Vec<T> {
    list.as_array().into_iter().flatten().map(make).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn action(name: &Value, errno: &Value) -> Action {
    match text(name) {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.as_u64().unwrap_or(1) as u16),
        other => panic!("{other}"),
    }
}

fn each_bundle(check: impl Fn(&str, &Profile)) {
    for (name, config) in BUNDLES {
        let config = serde_json::from_str(config).unwrap();
        check(name, &profile(&config));
    }
}

/// How long libseccomp's program is, as runc has it made, without what runc puts before it.
#[cfg(target_arch = "x86_64")]
fn length_of_libseccomp(profile: &Profile) -> usize {
    let action = |action| match action {
        Action::Allow => ScmpAction::Allow,
        Action::Errno(errno) => ScmpAction::Errno(errno.into()),
        other => panic!("{other:?}"),
    };
    let condition = |one: &Condition| {
        let operator = match one.operator {
            Operator::MaskedEqual => ScmpCompareOp::MaskedEqual(one.value),
            Operator::NotEqual => ScmpCompareOp::NotEqual,
            _ => ScmpCompareOp::Equal,
        };
        let value = if one.operator == Operator::MaskedEqual { one.value_two } else { one.value };
        ScmpArgCompare::new(one.argument.into(), operator, value)
    };
    let mut filter = ScmpFilterContext::new(action(profile.default_action)).unwrap();
    for one in [ScmpArch::X86, ScmpArch::X8664, ScmpArch::X32] {
        filter.add_arch(one).unwrap();
    }
    filter.set_ctl_optimize(2).unwrap();
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default_action) {
        let conditions: Vec<_> = rule.conditions.iter().map(condition).collect();
        for number in rule.names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
            filter.add_rule_conditional(action(rule.action), number, &conditions).unwrap();
        }
    }
    let file = tempfile::tempfile().unwrap();
    filter.export_bpf(&file).unwrap();
    file.metadata().unwrap().len() as usize / 8
}

#[test]
#[cfg(target_arch = "x86_64")]
fn at_most_half_as_long_as_libseccomp() {
    each_bundle(|name, profile| {
        let (ours, theirs) = (compile(profile).unwrap().instructions.len(), length_of_libseccomp(profile));
        println!("{name}: {ours} instructions, libseccomp {theirs}");
        assert!(2 * ours <= theirs, "{name}: {ours}, libseccomp {theirs}");
    });
}

/// Every call that is allowed without conditions.
#[test]
fn at_most_12_instructions_for_an_allowed_call() {
    each_bundle(|name, profile| {
        let program = Program::new(compile_for(Architecture::X86_64, profile).unwrap().instructions).unwrap();
        let plain = profile.rules.iter().filter(|rule| rule.action == Action::Allow && rule.conditions.is_empty());
        let mut executed: Vec<usize> = plain
            .flat_map(|rule| &rule.names)
            .filter_map(|name| Architecture::X86_64.number(name))
            .map(|number| {
                let call = Call { architecture: Architecture::X86_64.audit_arch(), number, ..Call::default() };
                let outcome = program.run(&call);
                assert_eq!(outcome.action, Action::Allow, "{name}: {number}");
                outcome.executed
            })
            .collect();
        executed.sort();
        let (most, mean) = (executed.last().unwrap(), executed.iter().sum::<usize>() as f64 / executed.len() as f64);
        println!("{name}: {} calls, at most {most} instructions, {mean:.1} on average", executed.len());
        assert!(*most <= 12, "{name}: {most}");
    });
}

/// Prints it. In a release build Docker's profile may need 150 µs.
#[test]
#[ignore = "a measurement"]
fn time() {
    each_bundle(|name, profile| {
        let mut times: Vec<_> = (0..1000)
            .map(|_| {
                let start = Instant::now();
                drop(black_box(compile(black_box(profile))));
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{name}: {:?} at best, {:?} in the middle", times[0], times[times.len() / 2]);
    });
}

const X86_64: Architecture = Architecture::X86_64;
const X86: Architecture = Architecture::X86;
const X32: Architecture = Architecture::X32;
const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);

fn rule<'a>(names: &[&'a str], action: Action, conditions: &[Condition]) -> Rule<'a> {
    Rule { names: names.to_vec(), action, conditions: conditions.to_vec() }
}

fn when(argument: u8, operator: Operator, value: u64) -> Condition {
    Condition { argument, operator, value, value_two: 0 }
}

fn masked(argument: u8, mask: u64, value: u64) -> Condition {
    Condition { argument, operator: Operator::MaskedEqual, value: mask, value_two: value }
}

/// A profile for x86_64 and others.
fn with<'a>(default_action: Action, architectures: &[Architecture], rules: &[Rule<'a>]) -> Profile<'a> {
    Profile { default_action, architectures: architectures.to_vec(), rules: rules.to_vec() }
}

fn on_x86_64<'a>(profile: &Profile<'a>) -> Filter<'a> {
    compile_for(X86_64, profile).unwrap()
}

/// What becomes of a call with this number.
fn of_number(filter: &Filter, architecture: Architecture, number: u32, arguments: [u64; 6]) -> Action {
    let program = Program::new(filter.instructions.clone()).unwrap();
    program.run(&Call { architecture: architecture.audit_arch(), number, arguments, ..Call::default() }).action
}

/// What becomes of a call with this name.
fn of(filter: &Filter, architecture: Architecture, name: &str, arguments: &[u64]) -> Action {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    of_number(filter, architecture, architecture.number(name).unwrap(), all)
}

#[test]
fn without_rules_all_calls_get_the_default() {
    let filter = on_x86_64(&with(EPERM, &[], &[]));
    assert_eq!(of(&filter, X86_64, "read", &[]), EPERM);
    // What a tracer leaves of a call that it skips.
    assert_eq!(of_number(&filter, X86_64, u32::MAX, [0; 6]), EPERM);
    // Other architectures, x32 among them.
    assert_eq!(of(&filter, X86, "read", &[]), Action::KillThread);
    assert_eq!(of(&filter, X32, "read", &[]), Action::KillThread);
    assert_eq!(of(&filter, Architecture::Aarch64, "read", &[]), Action::KillThread);
}

#[test]
fn a_filter_that_only_kills_is_one_instruction() {
    let filter = on_x86_64(&with(Action::KillThread, &[], &[]));
    assert_eq!(filter.instructions, [Instruction { code: bpf::RETURN, jt: 0, jf: 0, k: 0 }]);
}

#[test]
fn every_action_has_its_result() {
    for action in [
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Errno(7),
        Action::Notify,
        Action::Trace(0xffff),
        Action::Log,
        Action::Allow,
    ] {
        let filter = on_x86_64(&with(EPERM, &[], &[rule(&["read"], action, &[])]));
        assert_eq!(of(&filter, X86_64, "read", &[]), action);
    }
}

#[test]
fn a_rule_without_conditions_wins() {
    let always = rule(&["read"], Action::Allow, &[]);
    let sometimes = rule(&["read"], Action::Trap, &[when(0, Operator::Equal, 1)]);
    let other = rule(&["read"], Action::Log, &[]);
    for rules in [[always.clone(), sometimes.clone(), other.clone()], [sometimes, always, other]] {
        let filter = on_x86_64(&with(EPERM, &[], &rules));
        assert_eq!(of(&filter, X86_64, "read", &[1]), Action::Allow);
    }
}

#[test]
fn a_rule_with_the_default_action_is_passed_over() {
    let rules = [rule(&["read"], EPERM, &[]), rule(&["read"], Action::Allow, &[when(0, Operator::Equal, 1)])];
    let filter = on_x86_64(&with(EPERM, &[], &rules));
    assert_eq!(of(&filter, X86_64, "read", &[1]), Action::Allow);
}

#[test]
fn operators() {
    const VALUE: u64 = 0x1_0000_0007;
    let values = [0, 7, 1 << 32, VALUE - 1, VALUE, VALUE + 1, 0x2_0000_0000, 0x2_0000_0007, u64::MAX];
    let check = |condition: Condition, holds: &dyn Fn(u64) -> bool| {
        let filter = on_x86_64(&with(EPERM, &[], &[rule(&["read"], Action::Allow, &[condition])]));
        for value in values {
            let expected = if holds(value) { Action::Allow } else { EPERM };
            assert_eq!(of(&filter, X86_64, "read", &[0, 0, value]), expected, "{condition:?} {value:#x}");
        }
    };
    check(when(2, Operator::Equal, VALUE), &|value| value == VALUE);
    check(when(2, Operator::NotEqual, VALUE), &|value| value != VALUE);
    check(when(2, Operator::Less, VALUE), &|value| value < VALUE);
    check(when(2, Operator::LessOrEqual, VALUE), &|value| value <= VALUE);
    check(when(2, Operator::Greater, VALUE), &|value| value > VALUE);
    check(when(2, Operator::GreaterOrEqual, VALUE), &|value| value >= VALUE);
    check(masked(2, 0x1_0000_0003, 0x1_0000_0003), &|value| value & 0x1_0000_0003 == 0x1_0000_0003);
    // Bits of the value that the mask has not do not count, and a mask of none is no condition.
    check(masked(2, 0xf, 0xf7), &|value| value & 0xf == 7);
    check(masked(2, 0, 5), &|_| true);
}

#[test]
fn arguments_of_32_bits() {
    let rules = [rule(&["read"], Action::Allow, &[when(0, Operator::Equal, 0x1_0000_0005)])];
    let filter = on_x86_64(&with(EPERM, &[X86, X32], &rules));
    assert_eq!(of(&filter, X86_64, "read", &[5]), EPERM);
    assert_eq!(of(&filter, X86, "read", &[5]), Action::Allow);
    assert_eq!(of(&filter, X32, "read", &[0x7_0000_0005]), Action::Allow);
}

#[test]
fn the_other_byte_order() {
    let rules = [rule(&["read"], Action::Allow, &[when(0, Operator::Less, 0x2_0000_0005)])];
    let filter = compile_for(Architecture::S390x, &with(EPERM, &[], &rules)).unwrap();
    // The interpreter is for this machine: it takes the halves as they lie on the other one.
    let read = |value: u64| of(&filter, Architecture::S390x, "read", &[value.rotate_left(32)]);
    assert_eq!(read(0x2_0000_0004), Action::Allow);
    assert_eq!(read(0x2_0000_0005), EPERM);
    assert_eq!(read(0x1_ffff_ffff), Action::Allow);
}

#[test]
fn several_conditions() {
    let both = [when(0, Operator::Equal, 1), when(1, Operator::Equal, 2)];
    let filter = on_x86_64(&with(EPERM, &[], &[rule(&["read"], Action::Allow, &both)]));
    assert_eq!(of(&filter, X86_64, "read", &[1, 2]), Action::Allow);
    assert_eq!(of(&filter, X86_64, "read", &[1, 3]), EPERM);
    // Two for one argument: each is a rule.
    let either = [when(0, Operator::Equal, 1), when(0, Operator::Equal, 4), when(1, Operator::Equal, 2)];
    let filter = on_x86_64(&with(EPERM, &[], &[rule(&["read"], Action::Allow, &either)]));
    assert_eq!(of(&filter, X86_64, "read", &[4, 0]), Action::Allow);
    assert_eq!(of(&filter, X86_64, "read", &[0, 2]), Action::Allow);
    assert_eq!(of(&filter, X86_64, "read", &[2, 1]), EPERM);
}

#[test]
fn precedence() {
    let winner = |a: Condition, b: Condition, arguments: &[u64]| {
        let rules = [rule(&["read"], Action::Trap, &[a]), rule(&["read"], Action::Log, &[b])];
        let swapped = [rules[1].clone(), rules[0].clone()];
        let [one, two] =
            [&rules, &swapped].map(|rules| of(&on_x86_64(&with(EPERM, &[], rules)), X86_64, "read", arguments));
        assert_eq!(one, two, "the order must not count");
        one
    };
    use Operator::{Equal, Greater, GreaterOrEqual, Less, NotEqual};
    // The higher argument.
    assert_eq!(winner(when(1, Greater, 0), when(0, Equal, 5), &[5, 5]), Action::Trap);
    // (In)equality before less, less before greater.
    assert_eq!(winner(when(0, NotEqual, 0), when(0, Less, 9), &[5]), Action::Trap);
    assert_eq!(winner(when(0, Less, 9), when(0, Greater, 1), &[5]), Action::Trap);
    // The narrower one of two.
    assert_eq!(winner(when(0, Less, 6), when(0, Less, 9), &[5]), Action::Trap);
    assert_eq!(winner(when(0, GreaterOrEqual, 4), when(0, Greater, 1), &[5]), Action::Trap);
    assert_eq!(winner(when(0, Greater, 4), when(0, Greater, 1), &[1 << 40]), Action::Trap);
}

#[test]
fn the_shorter_rule_wins() {
    let short = rule(&["read"], Action::Trap, &[when(0, Operator::Equal, 1)]);
    let long = rule(&["read"], Action::Log, &[when(0, Operator::Equal, 1), when(1, Operator::Equal, 2)]);
    for rules in [[short.clone(), long.clone()], [long, short]] {
        assert_eq!(of(&on_x86_64(&with(EPERM, &[], &rules)), X86_64, "read", &[1, 2]), Action::Trap);
    }
}

/// libseccomp shares the tests for the second argument between both ways in which the first condition can hold, and what it
/// adds to one of them for the second rule holds for the other one too.
#[test]
fn rules_do_not_leak_into_each_other() {
    let conditions = |value, flag| [when(0, Operator::Greater, value), when(1, Operator::Equal, flag)];
    let rules = [rule(&["read"], Action::Trap, &conditions(5, 1)), rule(&["read"], Action::Log, &conditions(7, 2))];
    let filter = on_x86_64(&with(EPERM, &[], &rules));
    assert_eq!(of(&filter, X86_64, "read", &[6, 1]), Action::Trap);
    assert_eq!(of(&filter, X86_64, "read", &[6, 2]), EPERM);
    assert_eq!(of(&filter, X86_64, "read", &[8, 2]), Action::Log);
}

#[test]
fn contradictions_name_both_rules() {
    let condition = [when(0, Operator::Greater, 1 << 40), when(1, Operator::NotEqual, 1)];
    let rules = [
        rule(&["write"], Action::Allow, &[]),
        rule(&["read"], Action::Trap, &condition),
        rule(&["read"], Action::Log, &condition),
    ];
    let error = compile_for(X86_64, &with(EPERM, &[], &rules)).unwrap_err();
    assert_eq!(error.rule, Some(2));
    assert!(error.to_string().starts_with("contradicts syscalls/1, "), "{error}");
    assert!(compile_for(X86_64, &with(EPERM, &[], &[rules[1].clone(), rules[1].clone()])).is_ok());
}

#[test]
fn socketcall() {
    let rules = [rule(&["connect"], Action::Allow, &[]), rule(&["shmat"], Action::Log, &[])];
    let filter = on_x86_64(&with(EPERM, &[X86], &rules));
    assert_eq!(of(&filter, X86, "connect", &[]), Action::Allow);
    assert_eq!(of(&filter, X86, "socketcall", &[3]), Action::Allow);
    assert_eq!(of(&filter, X86, "socketcall", &[4]), EPERM);
    assert_eq!(of(&filter, X86, "ipc", &[21]), Action::Log);
    // What is said of the first argument is lost.
    let rules = [rule(&["socket"], Action::Allow, &[when(0, Operator::Equal, 40)])];
    let filter = on_x86_64(&with(EPERM, &[X86], &rules));
    assert_eq!(of(&filter, X86, "socketcall", &[1]), Action::Allow);
    assert_eq!(of(&filter, X86, "socket", &[1]), EPERM);
}

#[test]
fn calls_that_are_newer_than_the_profile() {
    let rules = [rule(&["read", "openat2"], Action::Allow, &[]), rule(&["faccessat2"], EPERM, &[])];
    let filter = on_x86_64(&with(EPERM, &[X86, X32], &rules));
    for architecture in [X86_64, X86, X32] {
        assert_eq!(of(&filter, architecture, "openat2", &[]), Action::Allow);
        assert_eq!(of(&filter, architecture, "pidfd_getfd", &[]), EPERM);
        assert_eq!(of(&filter, architecture, "faccessat2", &[]), EPERM);
        assert_eq!(of(&filter, architecture, "process_madvise", &[]), ENOSYS);
    }
    for default in [Action::Allow, Action::Log, Action::Trace(1)] {
        let filter = on_x86_64(&with(default, &[], &[rule(&["read"], EPERM, &[])]));
        assert_eq!(of(&filter, X86_64, "write", &[]), default);
    }
    // Then nothing is to be added: what x86_64 without x32 does not know is killed.
    let filter = on_x86_64(&with(ENOSYS, &[], &rules));
    assert_eq!(of_number(&filter, X86_64, 0x8000_0000, [0; 6]), Action::KillThread);
    let filter = compile_for(Architecture::Mipsel, &with(EPERM, &[], &rules)).unwrap();
    assert_eq!(of(&filter, Architecture::Mipsel, "process_madvise", &[]), Action::Errno(89));
    // On s390x 0 stands for a call that the kernel does not know.
    let filter = compile_for(Architecture::S390x, &with(EPERM, &[], &rules)).unwrap();
    assert_eq!(of_number(&filter, Architecture::S390x, 0, [0; 6]), ENOSYS);
    assert_eq!(of_number(&filter, Architecture::S390x, 1, [0; 6]), EPERM);
}

#[test]
fn names() {
    let rules = [rule(&["read", "no_such_call", "s390_pci_mmio_read", "waitpid", "no_such_call"], Action::Allow, &[])];
    assert_eq!(on_x86_64(&with(EPERM, &[], &rules)).unknown, ["no_such_call", "s390_pci_mmio_read", "waitpid"]);
    let filter = on_x86_64(&with(EPERM, &[X86], &rules));
    assert_eq!(filter.unknown, ["no_such_call", "s390_pci_mmio_read"]);
    assert_eq!(of(&filter, X86, "waitpid", &[]), Action::Allow);
}

#[test]
fn errors() {
    let error = compile_for(X86_64, &with(EPERM, &[Architecture::Ppc64], &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SCMP_ARCH_PPC64 has another byte order than SCMP_ARCH_X86_64, which this machine has"
    );
    let rules = [rule(&["read"], Action::Allow, &[when(6, Operator::Equal, 1)])];
    let error = compile_for(X86_64, &with(EPERM, &[], &rules)).unwrap_err();
    assert_eq!((error.rule, error.to_string().as_str()), (Some(0), "no system call has an argument 6"));
}

/// Actions that occur again after some distance, of many kinds.
fn action_of(value: u64) -> Action {
    Action::Errno((value * value % 997 + 2) as u16)
}

/// Rules of which each needs a test.
fn many(count: u64) -> Vec<Rule<'static>> {
    (0..count).map(|value| rule(&["openat"], action_of(value), &[when(1, Operator::Equal, value)])).collect()
}

#[test]
fn long_programs() {
    let filter = on_x86_64(&with(EPERM, &[], &many(2000)));
    assert!(filter.instructions.len() < bpf::LONGEST);
    let program = Program::new(filter.instructions.clone()).unwrap();
    for value in 0..2000 {
        let call = Call {
            architecture: X86_64.audit_arch(),
            number: X86_64.number("openat").unwrap(),
            arguments: [0, value, 0, 0, 0, 0],
            ..Call::default()
        };
        assert_eq!(program.run(&call).action, action_of(value), "{value}");
    }
    assert_eq!(of(&filter, X86_64, "openat", &[0, 2000]), EPERM);
    assert_eq!(of(&filter, X86_64, "openat", &[0, 1 << 32]), EPERM);
}

#[test]
fn too_long_programs() {
    let mut rules = vec![rule(&["read"], Action::Allow, &[])];
    rules.extend(many(5000));
    let error = compile_for(X86_64, &with(EPERM, &[], &rules)).unwrap_err();
    assert_eq!(error.rule, Some(1));
    assert!(
        error.to_string().contains("the kernel takes 4096; the calls of these rules need most: syscalls/1 ("),
        "{error}"
    );
}

#[test]
fn far_too_long_programs() {
    let error = compile_for(X86_64, &with(EPERM, &[], &many(1 << 16))).unwrap_err();
    assert!(error.rule.is_some());
    assert!(error.to_string().ends_with("more conditions than a filter can hold"), "{error}");
}

/// What the kernel finds out of a call when the filter is installed, as `seccomp_is_const_allow` in its kernel/seccomp.c does:
/// nothing if an argument is loaded.
fn constant(instructions: &[Instruction], architecture: u32, number: u32) -> Option<u32> {
    let (mut at, mut loaded) = (0, 0);
    loop {
        let one = instructions[at];
        at += 1;
        let condition = match one.code {
            bpf::LOAD if one.k == 0 => {
                loaded = number;
                continue;
            }
            bpf::LOAD if one.k == 4 => {
                loaded = architecture;
                continue;
            }
            bpf::AND => {
                loaded &= one.k;
                continue;
            }
            bpf::RETURN => return Some(one.k),
            bpf::JUMP => {
                at += one.k as usize;
                continue;
            }
            bpf::IF_EQUAL => loaded == one.k,
            bpf::IF_GREATER_OR_EQUAL => loaded >= one.k,
            bpf::IF_COMMON_BIT => loaded & one.k != 0,
            _ => return None,
        };
        at += usize::from(if condition { one.jt } else { one.jf });
    }
}

#[test]
fn the_kernel_can_remember_what_is_always_allowed() {
    each_bundle(|name, profile| {
        let filter = on_x86_64(profile);
        for rule in profile.rules.iter().filter(|rule| rule.action == Action::Allow && rule.conditions.is_empty()) {
            for (one, call) in [X86_64, X86, X32].iter().flat_map(|one| rule.names.iter().map(move |call| (one, call)))
            {
                let Some(number) = one.number(call) else { continue };
                assert_eq!(
                    constant(&filter.instructions, one.audit_arch(), number),
                    Some(0x7fff_0000),
                    "{name}: {call}"
                );
            }
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn the_kernel_takes_the_programs() {
    let load = |filter: Filter| {
        let program: Vec<_> = filter
            .instructions
            .iter()
            .map(|one| seccompiler::sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
            .collect();
        // A filter is for one thread, which ends.
        std::thread::spawn(move || seccompiler::apply_filter(&program)).join().unwrap().unwrap();
    };
    load(compile(&with(Action::Allow, &[], &many(2000))).unwrap());
    each_bundle(|_, profile| load(compile(profile).unwrap()));
}
