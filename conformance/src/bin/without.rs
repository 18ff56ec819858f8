//! Runs a program as if the kernel lacked some system calls: `without CALL[,CALL...] PROGRAM [ARG...]`.
//!
//! A seccomp filter answers ENOSYS to them, to the program and to all that it starts. It is installed without
//! `no_new_privs`, which containers would inherit: that needs CAP_SYS_ADMIN. A filter sees numbers, not what lies in
//! memory, so that of clone3 and openat2 the whole call is missing, and not a flag of it.
#![deny(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// The calls that an old kernel may lack. An architecture has the same numbers as every other for all that came after 5.0.
const CALLS: [(&str, libc::c_long); 16] = [
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("execveat", libc::SYS_execveat),
    ("faccessat2", libc::SYS_faccessat2),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("memfd_create", libc::SYS_memfd_create),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("open_tree_attr", 467),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(calls), Some(program)) = (args.next(), args.next()) else {
        eprintln!("usage: without CALL[,CALL...] PROGRAM [ARG...]");
        return ExitCode::from(2);
    };
    let why = match filter(&calls.to_string_lossy()).and_then(|filter| install(&filter)) {
        // What it inherits is this process's: standard streams and other descriptors, and the pid.
        Ok(()) => format!("{}: {}", program.display(), Command::new(&program).args(args).exec()),
        Err(why) => why,
    };
    eprintln!("without: {why}");
    ExitCode::from(2)
}

fn filter(calls: &str) -> Result<BpfProgram, String> {
    let mut rules = BTreeMap::new();
    for name in calls.split(',') {
        let known = CALLS.iter().find(|(known, _)| *known == name);
        let (_, number) = known
            .ok_or_else(|| format!("unknown call {name:?}; known are {}", CALLS.map(|(name, _)| name).join(", ")))?;
        // No condition: whatever the arguments are.
        rules.insert(*number, Vec::new());
    }
    let lacking = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = std::env::consts::ARCH.try_into().map_err(|e| format!("{}: {e}", std::env::consts::ARCH))?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, lacking, arch);
    filter.and_then(BpfProgram::try_from).map_err(|e| format!("making the filter: {e}"))
}

/// As seccompiler's own `apply_filter`, but without `no_new_privs`.
#[allow(unsafe_code)]
fn install(filter: &BpfProgram) -> Result<(), String> {
    let len = filter.len().try_into().map_err(|_| "too many calls".to_owned())?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: both packages have the kernel's layout of an instruction, the filter outlives the call, and is only read.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    if result == 0 { Ok(()) } else { Err(format!("PR_SET_SECCOMP: {}", std::io::Error::last_os_error())) }
}
