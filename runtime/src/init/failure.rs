//! What init says that went wrong, in the words of the configuration.

use nix::errno::Errno;
use no_frills_plan::{Message, Step, call};

use crate::compile::Program;
use crate::config::CAPABILITIES;
use crate::error::{Error, Explained, Pointed};
use crate::handover::filter_refused;

/// The error of a step that failed, with the setting it came from.
pub(crate) fn step_failed(program: &Program, name: &str, message: &Message<'_>) -> Error {
    let errno = Errno::from_raw(message.errno);
    let steps = no_frills_plan::Plan::decode(program.steps.bytes());
    let step = steps.ok().and_then(|plan| plan.steps().nth(message.step as usize)?.ok());
    match step {
        Some(Step::FindProgram { .. } | Step::Execute { .. })
            if message.call != call::MMAP && errno != Errno::ENOSYS =>
        {
            program_failed(name, errno)
        }
        Some(Step::InstallFilter {}) if message.call == call::SECCOMP => {
            filter_refused(program.seccomp.as_ref().map_or(0, |seccomp| seccomp.flags), errno)
        }
        Some(Step::SetUser { .. }) if message.call == call::SETGROUPS => Error::Step {
            pointer: "/process/user/additionalGids".to_owned(),
            action: "setting the additional groups".to_owned(),
            call: call::name(message.call),
            errno,
            said: String::new(),
        },
        _ => Error::Step {
            pointer: program.pointer(message.step),
            action: program.action(message.step),
            call: call::name(message.call),
            errno,
            said: String::from_utf8_lossy(message.text).trim().to_owned(),
        },
    }
}

/// Why a program cannot be executed, in the words that engines look for (Go's `exec.LookPath`).
pub(crate) fn program_failed(name: &str, errno: Errno) -> Error {
    let reason = match errno {
        Errno::ENOENT if !name.contains('/') => "executable file not found in $PATH".to_owned(),
        Errno::ENOENT => format!("stat {name}: no such file or directory"),
        Errno::EACCES | Errno::EPERM if !name.contains('/') => {
            "executable file not found in $PATH: permission denied".to_owned()
        }
        Errno::EACCES | Errno::EPERM => "permission denied".to_owned(),
        Errno::EISDIR => "is a directory".to_owned(),
        Errno::ENOTDIR => "not a directory".to_owned(),
        Errno::ENOEXEC => "exec format error".to_owned(),
        errno => errno.desc().to_lowercase(),
    };
    Error::Program { program: name.to_owned(), reason }
}

fn capability_name(number: usize) -> String {
    match CAPABILITIES.get(number) {
        Some(name) => format!("CAP_{name}"),
        None => format!("capability {number}"),
    }
}

pub(crate) fn warning(program: &Program, message: &Message<'_>) -> String {
    let pointer = program.pointer(message.step);
    let what = format!("{}{}", Pointed(&pointer), program.action(message.step));
    if message.errno != 0 {
        let errno = Explained(Errno::from_raw(message.errno));
        return format!("{what}: {}: {errno}", call::name(message.call));
    }
    let missing = (0..64).filter(|bit| message.detail & (1 << bit) != 0);
    let names: Vec<String> = missing.map(capability_name).collect();
    format!("{what}: this host cannot grant {}", names.join(", "))
}
