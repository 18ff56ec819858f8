//! Whole profiles.

use std::hint::black_box;
use std::time::Instant;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use serde_json::Value;

use crate::compile::compile_for;
use crate::{Action, Architecture, Call, Condition, Operator, Profile, Program, Rule, compile};

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
