//! The default profiles of Docker and Podman: what becomes of every call.

use std::collections::BTreeMap;

use super::*;
use crate::expect::skip;

pub(super) fn cases() -> Vec<Case> {
    const LATER: &str = "calls newer than the profile have the default action";
    vec![
        case("seccomp/docker-every-call", "Docker's default profile, every call of x86_64, x86 and x32", |t| {
            every_call(t, DOCKER, include_str!("../../../fixtures/docker-default.calls"))
        })
        .differs(Kind::Crun, LATER),
        case("seccomp/podman-every-call", "Podman's default profile, every call of x86_64, x86 and x32", |t| {
            every_call(t, PODMAN, include_str!("../../../fixtures/podman-default.calls"))
        })
        .differs(Kind::Crun, LATER),
    ]
}

const PODMAN: &str = include_str!("../../../fixtures/podman-default.json");

/// The profile's default answers this errno, and a rule with an errno that and [`RULES`]: no call answers so by itself.
const DEFAULT: i64 = 2000;
const RULES: i64 = 1000;

/// What the profiles do not name from here on is newer than they are.
const NEWER: i64 = 449;

/// Makes every call, with -1 for all arguments and in a process of its own, and compares the answers that are the filter's.
///
/// `expected` is what runc and crun agree on: lines of an ABI, an answer, and the numbers of calls. (Of x32, the
/// numbers up to 547 are none newer than the profile.)
fn every_call(t: &Test, config: &str, expected: &str) -> Verdict {
    if cfg!(not(target_arch = "x86_64")) {
        return skip("the numbers are those of x86_64");
    }
    let mut config: Value = serde_json::from_str(config)?;
    let mut profile = config["linux"]["seccomp"].take();
    profile["defaultErrnoRet"] = json!(DEFAULT);
    for rule in profile["syscalls"].as_array_mut().into_iter().flatten() {
        if rule["action"] == "SCMP_ACT_ERRNO" {
            rule["errnoRet"] = json!(RULES + rule["errnoRet"].as_i64().unwrap_or(1));
        }
    }
    let mut found = String::new();
    // These wait for a signal: pause, and pause and sigsuspend of i386. uretprobe and uprobe some kernels let pass whatever
    // a filter says. x32 has numbers of its own from 512.
    for (abi, numbers, without) in
        [("", 0..=480, &[34, 335, 336][..]), ("i386:", 0..=480, &[29, 72]), ("x32:", 0..=547, &[])]
    {
        let numbers: Vec<i64> = numbers.filter(|number| !without.contains(number)).collect();
        let calls: Vec<String> =
            numbers.iter().map(|number| format!("{abi}{}", call(*number, &[u64::MAX; 6]))).collect();
        let b = filtered(t, "", &[])?.set("/linux/seccomp", profile.clone());
        let answers = each(b, &calls)?;
        same("how many calls were answered", answers.len(), calls.len())?;
        let mut by_answer: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (number, answer) in numbers.into_iter().zip(answers) {
            let answer = answer.parse().unwrap_or(0);
            let newer = t.kind == Kind::Crun && abi != "x32:" && number >= NEWER;
            if (-4095..=-RULES).contains(&answer) && !newer {
                by_answer.entry(-answer).or_default().push(number);
            }
        }
        for (answer, numbers) in by_answer {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            found += &format!("{abi} {answer} {}\n", numbers.join(" "));
        }
    }
    same("calls that are not allowed", found.as_str(), expected)
}
