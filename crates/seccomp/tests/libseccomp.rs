//! Compares our programs with those of libseccomp, driven as runc drives it, for random profiles and calls.
//!
//! Both run in the interpreter. `PROFILES` is how many are tried; a difference is printed with its seed, and `SEED`
//! starts with that.
//!
//! Where libseccomp is wrong, our answer counts if the profile allows it. What it does wrong (seen with 2.5.4):
//!
//! - Rules are ways through one tree. Tests that are equal are one node, even of conditions that have different operators
//!   (`<= 5` is `> 5` with the answers exchanged), and the ways below are shared by all ways that lead there. What is added
//!   to one of them appears in the others: a rule matches what it should not, or hides another one.
//! - A rule that looks as if it were contained in another one is dropped, but a test and its contrary look the same.
//! - A block that is reached with different halves of an argument in the accumulator is compiled for one of them.
//! - The tree can get a circle, in which libseccomp then runs forever.
//!
//! What it refuses and we take: rules that contradict each other on architectures that do not have the call, or before a rule
//! without conditions that overrules them.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the functions around the tests are tests too")]

mod common;
#[path = "common/naive.rs"]
mod naive;
#[path = "common/oracle.rs"]
mod oracle;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use common::Unstructured;
use libseccomp::ScmpSyscall;
use no_frills_seccomp::{Action, Architecture, Call, Condition, Operator, Profile, Program, Rule, compile};
use serde_json::Value;

/// Both programs of a profile.
struct Pair<'a> {
    profile: &'a Profile<'a>,
    ours: Program<'static>,
    /// None if libseccomp or the kernel refuses it.
    theirs: Option<Program<'static>>,
}

/// What a comparison says.
#[derive(PartialEq)]
enum Verdict {
    Same,
    /// libseccomp says nothing, and we what the profile says.
    Alone,
    /// libseccomp's program does what no rule asks for, or the default although a rule matches.
    Wrong,
    /// libseccomp itself says what we say if the rules that do not match the call are left out.
    Inconsistent,
    Different(String),
}

impl<'a> Pair<'a> {
    /// None if both refuse the profile.
    fn new(profile: &'a Profile<'a>) -> Result<Option<Pair<'a>>, String> {
        let theirs = oracle::program(profile).ok().and_then(|program| Program::new(program).ok());
        let ours = match compile(profile) {
            Ok(filter) => filter.instructions,
            Err(_) if theirs.is_none() => return Ok(None),
            Err(error) => return Err(format!("refused: {error}")),
        };
        let ours = Program::new(ours).map_err(|error| error.to_string())?;
        Ok(Some(Pair { profile, ours, theirs }))
    }

    fn compare(&self, call: &Call) -> Verdict {
        let ours = self.ours.run(call).action;
        let allows = |action| naive::allows(self.profile, call, action);
        let Some(theirs) = &self.theirs else {
            return if allows(ours) { Verdict::Alone } else { Verdict::Different(format!("ours {ours:?}")) };
        };
        let theirs = match naive::newer(self.profile, call) {
            true => Action::Errno(libc::ENOSYS as u16),
            false => theirs.run(call).action,
        };
        if theirs == ours {
            Verdict::Same
        } else if allows(ours) && !allows(theirs) {
            Verdict::Wrong
        } else if allows(ours) && plainly(self.profile, call) == Some(ours) {
            Verdict::Inconsistent
        } else {
            Verdict::Different(format!("ours {ours:?}, libseccomp's {theirs:?}"))
        }
    }
}

/// What libseccomp says of a call with nothing in the profile but what matters for it.
fn plainly(profile: &Profile, call: &Call) -> Option<Action> {
    let profile = naive::without_the_rest(profile, call);
    Some(Program::new(oracle::program(&profile).ok()?).ok()?.run(call).action)
}

/// What is wrong with a profile, or with what becomes of this one call.
fn finding(profile: &Profile, call: Option<&Call>) -> Option<String> {
    match (Pair::new(profile), call) {
        (Err(error), _) => Some(error),
        (Ok(Some(pair)), Some(call)) => match pair.compare(call) {
            Verdict::Different(how) => Some(how),
            _ => None,
        },
        _ => None,
    }
}

/// Leaves out of a profile what is not needed for the finding, and says what is left.
fn shrink(mut profile: Profile<'static>, call: Option<&Call>) -> String {
    let smaller = |profile: &Profile| finding(profile, call).is_some();
    loop {
        let mut candidates = Vec::new();
        let mut candidate = |change: &dyn Fn(&mut Profile<'static>)| {
            let mut profile = profile.clone();
            change(&mut profile);
            candidates.push(profile);
        };
        for n in 0..profile.architectures.len() {
            candidate(&|profile| _ = profile.architectures.remove(n));
        }
        for (n, rule) in profile.rules.iter().enumerate() {
            candidate(&|profile| drop(profile.rules.remove(n)));
            for name in 0..rule.names.len() {
                candidate(&|profile| _ = profile.rules[n].names.remove(name));
            }
            for condition in 0..rule.conditions.len() {
                candidate(&|profile| _ = profile.rules[n].conditions.remove(condition));
            }
        }
        match candidates.into_iter().find(smaller) {
            Some(next) => profile = next,
            None => return format!("{}\n{call:#x?}\n{profile:#?}", finding(&profile, call).unwrap()),
        }
    }
}

/// What has been compared, in numbers.
#[derive(Debug, Default)]
struct Count {
    profiles: usize,
    calls: usize,
    /// Profiles that both refuse.
    refused: usize,
    /// Profiles that libseccomp alone refuses.
    refused_by_theirs: usize,
    /// Calls of which libseccomp says what the profile does not.
    wrong: usize,
    /// Calls of which libseccomp says something else if rules that do not match them are left out.
    inconsistent: usize,
    /// Profiles that libseccomp does not come to an end with.
    endless: usize,
}

/// Compares what the profile that grows from a seed says of random calls.
fn compare(seed: u64) -> Count {
    // splitmix64.
    let random = |n: u64| {
        let mut x = seed.wrapping_mul(1 << 20).wrapping_add(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    let bytes =
        |from: u64, words: u64| -> Vec<u8> { (from..from + words).flat_map(|n| random(n).to_ne_bytes()).collect() };
    // Few bytes are a small profile.
    let profile = common::profile(&mut Unstructured::new(&bytes(1, 8 << (random(0) % 7)))).unwrap();
    let mut count = Count { profiles: 1, ..Count::default() };
    let pair = match Pair::new(&profile) {
        Ok(Some(pair)) => pair,
        Ok(None) => return Count { refused: 1, ..count },
        Err(error) => panic!("{error}, seed {seed}: {}", shrink(profile, None)),
    };
    count.refused_by_theirs = usize::from(pair.theirs.is_none());
    let bytes = bytes(1000, 1000);
    let mut u = Unstructured::new(&bytes);
    for _ in 0..64 {
        let call = common::call(&mut u, &profile).unwrap();
        count.calls += 1;
        match pair.compare(&call) {
            Verdict::Same | Verdict::Alone => {}
            Verdict::Wrong => count.wrong += 1,
            Verdict::Inconsistent => count.inconsistent += 1,
            Verdict::Different(how) => panic!("{how}, seed {seed}: {}", shrink(profile, Some(&call))),
        }
    }
    count
}

/// libseccomp runs in a circle with some profiles, so that it has to run in a process that can be ended.
#[test]
#[ignore = "a part of random_profiles"]
fn worker() {
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    for seed in number("FROM")..number("TO") {
        let one = compare(seed);
        let numbers = [one.calls, one.refused, one.refused_by_theirs, one.wrong, one.inconsistent];
        println!("\n= {}", numbers.map(|number| number.to_string()).join(" "));
    }
}

/// Compares the profiles of these seeds.
fn compare_all(seeds: Range<u64>, count: &mut Count) {
    let mut next = seeds.start;
    while next < seeds.end {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--ignored", "--nocapture"])
            .envs([("FROM", next), ("TO", seeds.end)].map(|(name, value)| (name, value.to_string())))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let reader =
            std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        loop {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => {
                    let Some(numbers) = line.strip_prefix("= ") else { continue };
                    let numbers: Vec<usize> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                    count.profiles += 1;
                    count.calls += numbers[0];
                    count.refused += numbers[1];
                    count.refused_by_theirs += numbers[2];
                    count.wrong += numbers[3];
                    count.inconsistent += numbers[4];
                    next += 1;
                }
                Err(RecvTimeoutError::Timeout) => {
                    count.endless += 1;
                    next += 1;
                    child.kill().unwrap();
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.wait().unwrap();
        drop(lines);
        assert!(reader.join().is_ok());
        assert!(status.success() || status.signal() == Some(libc::SIGKILL), "seed {next}: {status}");
    }
}

/// The same profiles in every run, and others.
#[test]
fn random_profiles() {
    let number = |name, default: u64| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let profiles = number("PROFILES", 250);
    let from = number("SEED", BuildHasher::hash_one(&RandomState::new(), 0) >> 24);
    let mut count = Count::default();
    compare_all(0..profiles, &mut count);
    compare_all(from..from + profiles, &mut count);
    println!("{count:?}");
    assert!((count.wrong + count.inconsistent) * 50 < count.calls, "libseccomp cannot be wrong so often: {count:?}");
}

/// The numbers of calls are libseccomp's, on all architectures that it knows.
#[test]
fn numbers() {
    let mut compared = 0;
    let mut missing = Vec::new();
    for architecture in Architecture::ALL {
        let Ok(theirs) = architecture.name().parse() else { continue };
        // Those of mips begin at 4000 to 6000, those of x32 have a bit, and arm has some of its own.
        let first = architecture.number("read").unwrap() as i32 / 1000 * 1000;
        for number in (first..first + 2048).chain(0xf_0000..0xf_0010) {
            let Ok(name) = ScmpSyscall::from(number).get_name_by_arch(theirs) else { continue };
            compared += 1;
            if architecture.number(&name) != Some(number as u32) {
                missing.push(format!("{architecture:?} {name} {number}"));
            }
        }
    }
    assert!(compared > 6000, "{compared}");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What Docker and Podman pass by default, for every number, with arguments near to those that it speaks of.
#[test]
fn engines() {
    for config in [
        include_str!("../../../runtime/tests/fixtures/docker-default.json"),
        include_str!("../../../runtime/tests/fixtures/podman-default.json"),
    ] {
        let config: Value = serde_json::from_str(config).unwrap();
        let mut profile = read(&config["linux"]["seccomp"]);
        for rule in &mut profile.rules {
            // Newer than libseccomp.
            rule.names.retain(|name| ScmpSyscall::from_name(name).is_ok());
        }
        let pair = Pair::new(&profile).unwrap().unwrap();
        let conditional = || profile.rules.iter().filter(|rule| !rule.conditions.is_empty());
        let conditions = || profile.rules.iter().flat_map(|rule| &rule.conditions);
        let values: BTreeSet<u64> = [0, 1, u64::MAX]
            .into_iter()
            .chain(conditions().flat_map(|one| [one.value, one.value_two]))
            .flat_map(|value| [value.wrapping_sub(1), value, value.wrapping_add(1), value | 1 << 32, value ^ 1 << 31])
            .collect();
        assert!(values.len() > 20);
        for (audit, architecture, base) in [
            (common::AUDIT_X86_64, Architecture::X86_64, 0),
            (common::AUDIT_X86_64, Architecture::X32, common::X32_BIT),
            (common::AUDIT_X86, Architecture::X86, 0),
        ] {
            for number in base..base + 1000 {
                let known = ScmpSyscall::from(number as i32).get_name_by_arch(architecture.name().parse().unwrap());
                let names = ["socketcall", "ipc"].into_iter().chain(conditional().flat_map(|rule| rule.names.clone()));
                let conditional = names.into_iter().any(|name| architecture.number(name) == Some(number));
                for &value in values.iter().take(if conditional { values.len() } else { 1 }) {
                    let value = if architecture == Architecture::X86 { value & u64::from(u32::MAX) } else { value };
                    let call = Call { number, architecture: audit, instruction_pointer: 0, arguments: [value; 6] };
                    match pair.compare(&call) {
                        Verdict::Same => {}
                        // libseccomp 2.5 does not know it on x32.
                        Verdict::Wrong if known.is_err() && architecture == Architecture::X32 => {}
                        Verdict::Different(how) => panic!("{how}: {call:#x?}"),
                        _ => panic!("libseccomp is wrong about {call:#x?}"),
                    }
                }
            }
        }
    }
}

/// `linux.seccomp`, as far as the engines use it.
fn read(seccomp: &Value) -> Profile<'_> {
    fn all<'a, T>(list: &'a Value, make: impl Fn(&'a Value) -> T) -> Vec<T> {
        list.as_array().into_iter().flatten().map(make).collect()
    }
    let action = |name: &Value, errno: &Value| match name.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.as_u64().unwrap_or(1) as u16),
        other => panic!("{other}"),
    };
    Profile {
        default_action: action(&seccomp["defaultAction"], &seccomp["defaultErrnoRet"]),
        architectures: all(&seccomp["architectures"], |one| Architecture::from_name(one.as_str().unwrap()).unwrap()),
        rules: all(&seccomp["syscalls"], |rule| Rule {
            names: all(&rule["names"], |name| name.as_str().unwrap()),
            action: action(&rule["action"], &rule["errnoRet"]),
            conditions: all(&rule["args"], |one| Condition {
                argument: one["index"].as_u64().unwrap() as u8,
                operator: match one["op"].as_str().unwrap() {
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
