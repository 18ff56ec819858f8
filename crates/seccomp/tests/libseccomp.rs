//! Compares our programs with those of libseccomp, driven as runc drives it, for random profiles and calls.
//!
//! Both run in the interpreter. `PROFILES` is how many are tried; a difference is printed with its seed, and `SEED`
//! starts with that.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the functions around the tests are tests too")]

mod common;
#[path = "common/naive.rs"]
mod naive;
#[path = "common/oracle.rs"]
mod oracle;

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use common::Unstructured;
use libseccomp::ScmpSyscall;
use no_frills_seccomp::{Action, Architecture, Call, Profile, Program, compile};

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
    assert!((count.wrong + count.inconsistent) * 20 < count.calls, "libseccomp cannot be wrong so often: {count:?}");
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
