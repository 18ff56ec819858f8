//! Any bytes as `linux.seccomp`, or changes to profiles of engines: a profile that is accepted is a program that the kernel would
//! take, that is the same each time, and that does with calls near to its limits what a naive reading of the profile lets
//! it do; what is refused names a place in the document.
#![no_main]

#[path = "../../crates/seccomp/tests/common/mod.rs"]
#[expect(dead_code, reason = "profiles come from JSON here")]
mod common;
#[path = "../../crates/seccomp/tests/common/naive.rs"]
#[expect(dead_code, reason = "the comparison with libseccomp needs more of it")]
mod naive;

use common::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::{Config, SeccompFilter, fuzzing};
use no_frills_fuzz::{check_place, default_config, document, within};
use no_frills_seccomp::{Architecture, Program};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let (profile, calls) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if bytes.first() == Some(&b'{') => (&bytes[..end], &bytes[end..]),
        // So many changes, and the rest for the calls.
        _ => bytes.split_at(bytes.len().min(24)),
    };
    let Some(profile) = document(|| base(profile), profile) else { return Corpus::Reject };
    let mut config = default_config();
    config["linux"]["seccomp"] = profile;
    // Where the agent is does not matter.
    let read = match Config::from_value(&config) {
        Ok(read) => read,
        Err(error) => {
            check_place(&config, &error.pointer, &error.message);
            return Corpus::Keep;
        }
    };
    let Some(profile) = fuzzing::profile(&read) else { return Corpus::Keep };
    let filter = match within(64 << 20, || fuzzing::filter(&profile)) {
        Ok(filter) => filter,
        Err(error) => {
            check_place(&config, &error.pointer, &error.message);
            return Corpus::Keep;
        }
    };
    assert_eq!(filter.instructions, fuzzing::filter(&profile).expect("as before").instructions);
    let shown = SeccompFilter::new(&read).expect("as before").expect("a filter");
    assert_eq!(shown.instructions(), filter.instructions.len());
    assert_eq!(
        shown.disassemble().lines().filter(|line| !line.trim().is_empty()).count() >= shown.instructions(),
        true
    );
    let count = filter.instructions.len();
    let program = Program::new(filter.instructions).expect("a program that the kernel takes");
    // The naive reading knows the names and the architectures of x86 alone, and takes the first name of a rule.
    let x86 = [Architecture::X86, Architecture::X86_64, Architecture::X32];
    let is_known = profile.architectures.iter().all(|one| x86.contains(one))
        && profile.rules.iter().all(|rule| !rule.names.is_empty());
    let mut u = Unstructured::new(calls);
    for _ in 0..16 {
        let Ok(call) = common::call(&mut u, &profile) else { break };
        let outcome = program.run(&call);
        assert!(outcome.executed <= count);
        assert!(!is_known || naive::allows(&profile, &call, outcome.action), "{outcome:x?}\n{call:x?}\n{profile:#?}");
    }
    Corpus::Keep
});

/// A profile with something of everything.
fn base(bytes: &[u8]) -> Value {
    if bytes.len() % 2 == 1 {
        let docker: Value =
            serde_json::from_str(include_str!("../../conformance/fixtures/docker-default.json")).expect("JSON");
        return docker["linux"]["seccomp"].clone();
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/agent", "listenerMetadata": "m",
        "syscalls": [
            {"names": ["read", "write", "execve", "socket", "clone"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
            {"names": ["clone", "ipc"], "action": "SCMP_ACT_LOG",
             "args": [{"index": 0, "value": 2_114_060_288_u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_GE"}]},
            {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["mount", "no_such_call"], "action": "SCMP_ACT_TRACE", "errnoRet": 5},
            {"names": ["ioctl"], "action": "SCMP_ACT_NOTIFY", "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_NE"}, {"index": 1, "value": 9, "op": "SCMP_CMP_LT"}]},
        ],
    })
}
