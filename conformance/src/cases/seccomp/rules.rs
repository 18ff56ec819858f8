//! Conditions on arguments, and which of several rules holds.

use libc::{SYS_getppid, SYS_getpriority};

use super::*;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("seccomp/operators", "the seven operators, on both halves of an argument", operators),
        case("seccomp/masked-equal", "MASKED_EQ: the argument under the mask `value` is `valueTwo`", masked),
        case("seccomp/unsigned", "arguments are compared as unsigned numbers", unsigned),
        case("seccomp/every-argument", "conditions on each of the six arguments", every_argument),
        case("seccomp/conditions-all", "conditions on several arguments all have to hold", all_hold),
        case("seccomp/conditions-one-argument", "of conditions on one argument one has to hold", one_holds),
        case("seccomp/conditions-mixed", "conditions of which some are on one argument: each holds alone", mixed),
        case("seccomp/rules-of-one-call", "one of several rules for a call has to hold", several_rules),
        case(
            "seccomp/precedence-unconditional",
            "a rule without conditions precedes those with, in any order",
            unconditional,
        ),
        case("seccomp/precedence-disjoint", "rules with other actions for other values of an argument", disjoint),
        case("seccomp/allowed-else-errno", "a rule that allows some of what is denied by default", allowed_else_errno),
        case("seccomp/as-the-default", "a rule with the default's action changes nothing", as_default),
        case("seccomp/precedence-first", "of two rules without conditions the first holds", first_of_two),
        case("seccomp/precedence-equal", "EQ precedes what holds for a range, in any order", equal_first),
        case(
            "seccomp/precedence-arguments",
            "a later argument precedes an earlier one, in any order",
            later_argument_first,
        ),
        case("seccomp/precedence-subset", "a rule precedes a later one with more conditions", subset),
        case(
            "seccomp/contradiction",
            "two rules with the same conditions and other actions are refused",
            contradiction,
        ),
        case("seccomp/names-in-two-rules", "a call that two rules name", two_rules),
    ]
}

/// Whether getpriority(2) is filtered with these rules, by first two arguments.
fn hits(t: &Test, rules: &[Value], arguments: &[[u64; 2]]) -> Verdict<Vec<String>> {
    let calls: Vec<String> = arguments.iter().map(|arguments| call(SYS_getpriority, arguments)).collect();
    let answers = each(filtered(t, "SCMP_ACT_ALLOW", rules)?, &calls)?;
    // EINVAL and priorities are the kernel's own.
    let own = |answer: &String| answer.starts_with("-22") || !answer.starts_with('-');
    Ok(answers.into_iter().map(|answer| if own(&answer) { "passes".to_owned() } else { answer }).collect())
}

fn on(errno_value: u16) -> Value {
    errno(&["getpriority"], errno_value)
}

/// With this one condition on the first argument these values are filtered and those not.
fn holds(t: &Test, operator: &str, value: u64, value_two: u64, hit: &[u64], missed: &[u64]) -> Verdict {
    let rule = when(on(MARK), 0, operator, value, value_two);
    let arguments: Vec<[u64; 2]> = hit.iter().chain(missed).map(|argument| [*argument, 0]).collect();
    let expected: Vec<&str> = hit.iter().map(|_| MARKED).chain(missed.iter().map(|_| "passes")).collect();
    same(&format!("{operator} {value:#x} on {hit:#x?}, {missed:#x?}"), hits(t, &[rule], &arguments)?, expected)
}

const HIGH: u64 = 1 << 32;

fn operators(t: &Test) -> Verdict {
    let value = 7 * HIGH + 7;
    // Less and greater in either half, and in each against the other.
    let less = [0, 7, value - 1, value - HIGH, value - HIGH + 1, 7 * HIGH, 6 * HIGH + 0xffff_ffff];
    let greater = [value + 1, value + HIGH, value + HIGH - 1, 8 * HIGH, 7 * HIGH + 0xffff_ffff, u64::MAX];
    let with = |values: &[u64]| [values, &[value]].concat();
    let other = [&less[..], &greater[..]].concat();
    holds(t, "SCMP_CMP_NE", value, 0, &other, &[value])?;
    holds(t, "SCMP_CMP_LT", value, 0, &less, &with(&greater))?;
    holds(t, "SCMP_CMP_LE", value, 0, &with(&less), &greater)?;
    holds(t, "SCMP_CMP_EQ", value, 0, &[value], &other)?;
    holds(t, "SCMP_CMP_GE", value, 0, &with(&greater), &less)?;
    holds(t, "SCMP_CMP_GT", value, 0, &greater, &with(&less))
}

fn masked(t: &Test) -> Verdict {
    holds(t, "SCMP_CMP_MASKED_EQ", 0xf0, 0x30, &[0x30, 0x3f, 0xff30 - 0xff00, HIGH + 0x31], &[0, 0x40, 0x70, 0xf0])?;
    let mask = 0xff * HIGH;
    holds(t, "SCMP_CMP_MASKED_EQ", mask, 2 * HIGH, &[2 * HIGH, 2 * HIGH + 9, 0x102 * HIGH], &[0, 2, HIGH, 3 * HIGH])?;
    let mask = 0x8000_0000_0000_0001;
    holds(t, "SCMP_CMP_MASKED_EQ", mask, mask, &[mask, u64::MAX], &[1, mask - 1, u64::MAX - 1])
}

fn unsigned(t: &Test) -> Verdict {
    let (low, high) = (i64::MAX.cast_unsigned(), i64::MIN.cast_unsigned());
    holds(t, "SCMP_CMP_GT", low, 0, &[high, u64::MAX], &[0, 1, low])?;
    holds(t, "SCMP_CMP_LT", 0xffff_ffff, 0, &[0, 0x7fff_ffff, 0x8000_0000], &[0xffff_ffff, HIGH, high, u64::MAX])?;
    holds(t, "SCMP_CMP_GE", 0, 0, &[0, 1, high, u64::MAX], &[])?;
    holds(t, "SCMP_CMP_LE", u64::MAX, 0, &[0, 1, high, u64::MAX], &[])
}

fn every_argument(t: &Test) -> Verdict {
    // getppid takes none, and the filter sees six.
    for index in 0..6 {
        let rule = when(errno(&["getppid"], MARK), index, "SCMP_CMP_EQ", 5, 0);
        let arguments = |at: u32| (0..6).map(|place| if place == at { 5 } else { 4 }).collect::<Vec<u64>>();
        let calls: Vec<String> = (0..6).map(|at| call(SYS_getppid, &arguments(at))).collect();
        let expected: Vec<&str> = (0..6).map(|at| if at == index { MARKED } else { "1" }).collect();
        same(&format!("index {index}"), each(filtered(t, "SCMP_ACT_ALLOW", &[rule])?, &calls)?, expected)?;
    }
    Ok(())
}

fn all_hold(t: &Test) -> Verdict {
    let rule = when(when(on(MARK), 0, "SCMP_CMP_EQ", 7, 0), 1, "SCMP_CMP_GE", 9, 0);
    let found = hits(t, &[rule], &[[7, 9], [7, 10], [7, 8], [6, 9], [0, 0]])?;
    same("answers", found, [MARKED, MARKED, "passes", "passes", "passes"])
}

fn one_holds(t: &Test) -> Verdict {
    let rule = when(when(on(MARK), 0, "SCMP_CMP_EQ", 7, 0), 0, "SCMP_CMP_EQ", 9, 0);
    same("answers", hits(t, &[rule], &[[7, 0], [9, 0], [8, 0]])?, [MARKED, MARKED, "passes"])?;
    // What looks like a range is none.
    let rule = when(when(on(MARK), 0, "SCMP_CMP_GE", 7, 0), 0, "SCMP_CMP_LE", 9, 0);
    same("answers", hits(t, &[rule], &[[6, 0], [8, 0], [10, 0]])?, [MARKED, MARKED, MARKED])
}

fn mixed(t: &Test) -> Verdict {
    let rule = when(when(on(MARK), 0, "SCMP_CMP_EQ", 7, 0), 1, "SCMP_CMP_EQ", 8, 0);
    let rule = when(rule, 0, "SCMP_CMP_EQ", 9, 0);
    let found = hits(t, &[rule], &[[7, 0], [9, 0], [0, 8], [7, 8], [0, 0]])?;
    same("answers", found, [MARKED, MARKED, MARKED, MARKED, "passes"])
}

fn several_rules(t: &Test) -> Verdict {
    let rules = [
        when(on(MARK), 0, "SCMP_CMP_EQ", 7, 0),
        when(when(on(MARK), 0, "SCMP_CMP_EQ", 9, 0), 1, "SCMP_CMP_NE", 1, 0),
        when(on(MARK), 1, "SCMP_CMP_EQ", 50, 0),
    ];
    let found = hits(t, &rules, &[[7, 1], [9, 0], [9, 1], [3, 50], [3, 51]])?;
    same("answers", found, [MARKED, MARKED, "passes", MARKED, "passes"])
}

fn unconditional(t: &Test) -> Verdict {
    let conditional = when(on(99), 0, "SCMP_CMP_EQ", 7, 0);
    for rules in [[conditional.clone(), on(MARK)], [on(MARK), conditional]] {
        same("answers", hits(t, &rules, &[[7, 0], [8, 0]])?, [MARKED, MARKED])?;
    }
    Ok(())
}

fn disjoint(t: &Test) -> Verdict {
    let rules = [
        when(on(1001), 0, "SCMP_CMP_EQ", 7, 0),
        when(on(1002), 0, "SCMP_CMP_EQ", 8, 0),
        when(on(1003), 0, "SCMP_CMP_GT", 100, 0),
    ];
    same("answers", hits(t, &rules, &[[7, 0], [8, 0], [9, 0], [101, 0]])?, ["-1001", "-1002", "passes", "-1003"])
}

fn allowed_else_errno(t: &Test) -> Verdict {
    let allowed = rule(&["getpriority"], "SCMP_ACT_ALLOW");
    let rules = [
        json!({"names": allowed_by_docker()?.iter().filter(|name| *name != "getpriority").collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"}),
        when(allowed.clone(), 0, "SCMP_CMP_EQ", 7, 0),
        when(allowed, 0, "SCMP_CMP_EQ", 9, 0),
    ];
    let b = filtered(t, "SCMP_ACT_ERRNO", &rules)?.set("/linux/seccomp/defaultErrnoRet", json!(MARK));
    let found = each(b, &[7, 8, 9].map(|value| call(SYS_getpriority, &[value, 0])))?;
    same("answers", found, ["-22", MARKED, "-22"])
}

fn as_default(t: &Test) -> Verdict {
    let rules = [rule(&["getpriority"], "SCMP_ACT_ALLOW"), when(on(MARK), 0, "SCMP_CMP_EQ", 7, 0)];
    same("answers", hits(t, &rules, &[[7, 0], [8, 0]])?, [MARKED, "passes"])
}

fn two_rules(t: &Test) -> Verdict {
    // The second of two that say the same of a call.
    let rules = [errno(&["getpriority", "getppid"], MARK), errno(&["getpid", "getpriority"], MARK)];
    same("answers", hits(t, &rules, &[[7, 0]])?, [MARKED])
}

fn first_of_two(t: &Test) -> Verdict {
    same("answers", hits(t, &[on(1001), on(1002)], &[[7, 0]])?, ["-1001"])?;
    let killing = rule(&["getpriority"], "SCMP_ACT_KILL");
    same("answers", hits(t, &[on(1001), killing], &[[7, 0]])?, ["-1001"])?;
    let logging = rule(&["getpriority"], "SCMP_ACT_LOG");
    same("answers", hits(t, &[logging, on(1001)], &[[7, 0]])?, ["passes"])
}

/// The two rules in both orders.
fn in_any_order(t: &Test, rules: [Value; 2], arguments: &[[u64; 2]], expected: &[&str]) -> Verdict {
    let [first, second] = rules;
    for rules in [[first.clone(), second.clone()], [second, first]] {
        same(&format!("{rules:?}"), hits(t, &rules, arguments)?, expected)?;
    }
    Ok(())
}

fn equal_first(t: &Test) -> Verdict {
    let rules = [when(on(1001), 0, "SCMP_CMP_EQ", 7, 0), when(on(1002), 0, "SCMP_CMP_GE", 5, 0)];
    in_any_order(t, rules, &[[7, 0], [8, 0], [4, 0]], &["-1001", "-1002", "passes"])
}

fn later_argument_first(t: &Test) -> Verdict {
    let rules = [when(on(1001), 0, "SCMP_CMP_EQ", 7, 0), when(on(1002), 1, "SCMP_CMP_EQ", 8, 0)];
    in_any_order(t, rules, &[[7, 8], [7, 0], [0, 8]], &["-1002", "-1001", "-1002"])
}

fn subset(t: &Test) -> Verdict {
    let one = |value| when(on(value), 0, "SCMP_CMP_EQ", 7, 0);
    let rules = [one(1001), when(one(1002), 1, "SCMP_CMP_EQ", 8, 0)];
    same("answers", hits(t, &rules, &[[7, 8], [7, 0]])?, ["-1001", "-1001"])
}

fn contradiction(t: &Test) -> Verdict {
    let rules = [when(on(1001), 0, "SCMP_CMP_EQ", 7, 0), when(on(1002), 0, "SCMP_CMP_EQ", 7, 0)];
    refused(filtered(t, "SCMP_ACT_ALLOW", &rules)?, "/linux/seccomp/syscalls/1", &["file exists", "File exists"])
}
