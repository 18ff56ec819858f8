//! Any bytes as a seccomp profile: compiled without a panic, to a program that the kernel would take and that does with calls
//! near to the limits of the rules what the profile lets become of them.
#![no_main]

#[path = "../../crates/seccomp/tests/common/mod.rs"]
mod common;
#[path = "../../crates/seccomp/tests/common/naive.rs"]
#[expect(dead_code, reason = "the comparison with libseccomp needs more of it")]
mod naive;

use common::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills_seccomp::{Architecture, Program, compile};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match check(&mut Unstructured::new(bytes)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});

fn check(u: &mut Unstructured) -> Result<()> {
    let mut profile = common::profile(u)?;
    if u.ratio(1, 16)? {
        // Of either byte order.
        profile.architectures.push(*u.choose(Architecture::ALL)?);
    }
    let mut conditions = profile.rules.iter_mut().flat_map(|rule| &mut rule.conditions);
    if u.ratio(1, 64)?
        && let Some(condition) = conditions.next()
    {
        condition.argument = u.arbitrary()?;
    }
    let Ok(filter) = compile(&profile) else { return Ok(()) };
    let instructions = filter.instructions.len();
    let program = Program::new(filter.instructions).expect("a program that the kernel takes");
    for _ in 0..16 {
        let call = common::call(u, &profile)?;
        let outcome = program.run(&call);
        assert!(outcome.executed <= instructions);
        assert!(naive::allows(&profile, &call, outcome.action), "{outcome:x?}\n{call:x?}\n{profile:#?}");
    }
    Ok(())
}
