//! The seccomp filter of the process.

use std::sync::Arc;

use no_frills_plan::Step;
use no_frills_seccomp::{Action, Architecture, Call, Filter, Profile, Program as Filtering};
use no_frills_sys::seccomp::{NEW_LISTENER, TSYNC, WAIT_KILLABLE_RECV};

use super::{Builder, Pointer, Program};
use crate::config::{ConfigError, Seccomp, SyscallRule};

const SECCOMP: Pointer = Pointer::to("/linux/seccomp");

/// `CAP_SYS_ADMIN`, which installing a filter takes where noNewPrivileges is not set (seccomp(2)).
const SYS_ADMIN: u64 = 1 << 21;

/// A filter that is ready to be sent to init.
#[derive(Clone, Debug)]
pub(crate) struct Filtered {
    /// The program, 8 bytes an instruction.
    pub(crate) program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) flags: u32,
    /// Present when the filter notifies of calls.
    pub(crate) listener: Option<Listener>,
}

/// Where the listener goes.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) path: String,
    pub(crate) metadata: String,
}

/// The profile for the process; a hook has none.
pub(super) fn profile(steps: &Builder<'_>) -> Option<Arc<Seccomp>> {
    steps.config.linux.seccomp.clone().filter(|_| steps.process.executable.is_none())
}

/// What init keeps until the filter is installed.
pub(super) fn kept_capabilities(steps: &Builder<'_>) -> u64 {
    if profile(steps).is_some() && !steps.process.no_new_privileges { SYS_ADMIN } else { 0 }
}

/// Has init get its filter, if there is one, as late as it can: compiling it takes the parent some time.
pub(super) fn receive(steps: &mut Builder<'_>) {
    if profile(steps).is_some() {
        steps.push(SECCOMP, &Step::ReceiveFilter {});
    }
}

/// Has init install the filter, if there is one. This is the last step but the execve, also where noNewPrivileges is not set and
/// init is no more than the program's user: what execve gives to the program does not come from what init has then.
pub(super) fn install(steps: &mut Builder<'_>) {
    if profile(steps).is_some() {
        steps.push(SECCOMP, &Step::InstallFilter {});
    }
}

impl Program {
    /// Compiles the filter. `None`: the process has none.
    ///
    /// # Errors
    /// When the profile cannot be compiled, or lets no program start.
    pub(crate) fn filter(&self) -> Result<Option<Filtered>, ConfigError> {
        let Some(seccomp) = &self.seccomp else { return Ok(None) };
        let profile = seccomp.profile();
        let filter = compile_profile(&profile)?;
        check_start(seccomp, &filter)?;
        // The call is of the one thread that init has; and the kernel takes the flag with a listener only when it is told how
        // to tell of a failure with other threads.
        let mut flags = seccomp.flags & !TSYNC;
        let listener = filter
            .notifies()
            .then(|| Listener { path: seccomp.listener_path.clone(), metadata: seccomp.listener_metadata.clone() });
        if listener.is_some() {
            flags |= NEW_LISTENER;
        } else {
            // It says how to wait for who listens.
            flags &= !WAIT_KILLABLE_RECV;
        }
        Ok(Some(Filtered { program: filter.bytes(), flags, listener }))
    }
}

/// Refuses a filter under which no program can be started.
fn check_start(seccomp: &Seccomp, filter: &Filter<'_>) -> Result<(), ConfigError> {
    let Some(number) = Architecture::NATIVE.number("execve") else { return Ok(()) };
    let is_about = |(_, rule): &(u32, &SyscallRule)| rule.names().any(|name| name == "execve");
    let rules: Vec<(u32, &SyscallRule)> = (0..).zip(&seccomp.rules).filter(is_about).collect();
    if rules.iter().any(|(_, rule)| !rule.conditions.is_empty()) {
        // It depends on addresses in init.
        return Ok(());
    }
    let call = Call { number, architecture: Architecture::NATIVE.audit_arch(), ..Call::default() };
    let pointer = rules.first().map_or(SECCOMP, |(index, _)| Pointer::item("/linux/seccomp/syscalls", *index));
    let program = Filtering::new(&filter.instructions).map_err(|error| ConfigError::new(SECCOMP, error.to_string()))?;
    let what = match program.run(&call).action {
        Action::KillProcess | Action::KillThread | Action::Trap => "kills",
        Action::Errno(_) => "denies",
        _ => return Ok(()),
    };
    Err(ConfigError::new(pointer, format!("{what} execve(2), by which the program is started")))
}

/// Compiles a profile to a filter.
pub(crate) fn compile_profile<'a>(profile: &Profile<'a>) -> Result<Filter<'a>, ConfigError> {
    no_frills_seccomp::compile(profile).map_err(|error| {
        let pointer = error.rule.map_or(SECCOMP, |rule| Pointer::item("/linux/seccomp/syscalls", rule as u32));
        ConfigError::new(pointer, error.to_string())
    })
}
