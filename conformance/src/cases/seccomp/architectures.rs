//! Architectures: the numbers of calls, and calls by another ABI.

use libc::{SYS_getpid, SYS_getppid};

use super::*;
use crate::expect::skip;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("seccomp/native-alone", "calls of another ABI than the native one end the process", native_alone),
        case(
            "seccomp/native-implied",
            "the native architecture is filtered whether it is named or not",
            native_implied,
        ),
        case("seccomp/i386", "calls through int 0x80 are filtered by the numbers of x86", i386),
        case("seccomp/i386-socketcall", "calls that are multiplexed on x86 are filtered there, too", socketcall),
        case("seccomp/x32", "calls of the x32 ABI are filtered by its numbers", x32),
        case("seccomp/architecture-twice", "an architecture that is named twice is one", twice),
        case("seccomp/architecture-foreign", "an architecture that the machine cannot run does no harm", foreign),
        case("seccomp/architecture-byte-order", "one of another byte order is refused", byte_order),
        case("seccomp/architecture-unknown", "an architecture that nobody knows is refused", unknown),
    ]
}

fn on_x86_64() -> Verdict {
    if cfg!(target_arch = "x86_64") { Ok(()) } else { skip("int 0x80 and x32 are those of x86_64") }
}

/// getppid, getpid and mkdir of i386.
const I386: [&str; 3] = ["i386:64", "i386:20", "i386:39,0,0"];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn with_architectures<'t>(t: &'t Test, architectures: &[&str]) -> Verdict<Bundle<'t>> {
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["getppid", "mkdir"], MARK)])?;
    Ok(b.set("/linux/seccomp/architectures", json!(architectures)))
}

fn native_alone(t: &Test) -> Verdict {
    on_x86_64()?;
    for architectures in [&["SCMP_ARCH_X86_64"][..], &[]] {
        let b = with_architectures(t, architectures)?;
        let native = [call(SYS_getppid, &[]), "x32:39".to_owned()];
        let found = each(b, &[&words(&I386), &native[..]].concat())?;
        same("answers", found, ["signal 31", "signal 31", "signal 31", MARKED, "signal 31"])?;
    }
    Ok(())
}

fn native_implied(t: &Test) -> Verdict {
    on_x86_64()?;
    let found = each(with_architectures(t, &["SCMP_ARCH_X86"])?, &[call(SYS_getppid, &[]), "i386:64".to_owned()])?;
    same("answers", found, [MARKED, MARKED])?;
    let b = with_architectures(t, &[])?.remove("/linux/seccomp/architectures");
    same("answers", each(b, &[call(SYS_getppid, &[])])?, [MARKED])
}

fn i386(t: &Test) -> Verdict {
    on_x86_64()?;
    let b = with_architectures(t, &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])?;
    // 39 is mkdir there and getpid here.
    let native = [call(SYS_getppid, &[]), call(SYS_getpid, &[])];
    let found = each(b, &[&words(&I386), &native[..]].concat())?;
    let [a, b, c, d, e] = <[String; 5]>::try_from(found).map_err(|found| fail_of(&found))?;
    same("getppid of i386", a, MARKED)?;
    same("mkdir of i386", c, MARKED)?;
    same("getppid", d, MARKED)?;
    for own in [b, e] {
        check(own.parse().is_ok_and(|pid: i32| pid > 1), || format!("getpid: {own}"))?;
    }
    Ok(())
}

fn fail_of(found: &[String]) -> Stop {
    Stop::Failed(format!("answers: {found:?}"))
}

fn socketcall(t: &Test) -> Verdict {
    on_x86_64()?;
    let b = filtered(t, "SCMP_ACT_ALLOW", &[errno(&["socket", "shmat"], MARK)])?;
    let b = b.set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    // socket and shmat by themselves; socketcall for socket and for bind; ipc for shmat and for semget.
    let found = each(
        b,
        &words(&["i386:359,0,0,0", "i386:397,0,0,0", "i386:102,1,0", "i386:102,2,0", "i386:117,21", "i386:117,2"]),
    )?;
    same("answers", found, [MARKED, MARKED, MARKED, "-14", MARKED, "-22"])
}

fn x32(t: &Test) -> Verdict {
    on_x86_64()?;
    let b = with_architectures(t, &["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"])?;
    let found = each(b, &[format!("x32:{SYS_getppid}"), call(SYS_getppid, &[]), "i386:64".to_owned()])?;
    same("answers", found, [MARKED, MARKED, "signal 31"])
}

fn twice(t: &Test) -> Verdict {
    on_x86_64()?;
    let b = with_architectures(t, &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"])?;
    same("answers", each(b, &[call(SYS_getppid, &[]), "i386:64".to_owned()])?, [MARKED, MARKED])
}

fn unknown(t: &Test) -> Verdict {
    for name in ["SCMP_ARCH_NONE", "SCMP_ARCH_NO_SUCH"] {
        refused(with_architectures(t, &["SCMP_ARCH_X86_64", name])?, "/linux/seccomp/architectures/1", &["arch"])?;
    }
    Ok(())
}

fn foreign(t: &Test) -> Verdict {
    on_x86_64()?;
    let b = with_architectures(t, &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_RISCV64"])?;
    same("answers", each(b, &[call(SYS_getppid, &[]), "i386:64".to_owned()])?, [MARKED, "signal 31"])
}

fn byte_order(t: &Test) -> Verdict {
    on_x86_64()?;
    let b = with_architectures(t, &["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"])?;
    refused(b, "SCMP_ARCH_S390X", &["umerical argument out of domain"])
}
