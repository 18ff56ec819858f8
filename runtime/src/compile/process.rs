//! The process: where it works, what it may do, and what it executes.

use std::collections::BTreeMap;

use no_frills_plan::{Step, Texts, Words};

use super::{Builder, Forks, Pointer, text};
use crate::config::CAPABILITIES;

/// What is used when the configuration has no umask: the one that peers have.
const DEFAULT_UMASK: u32 = 0o022;

/// What has to be made in the rootfs before it is entered.
pub(super) fn prepare(steps: &mut Builder<'_>) {
    let process = &steps.config.process;
    if process.cwd != "/" {
        steps.push(Pointer::to("/process/cwd"), &Step::MakeDirectory { path: text(&process.cwd) });
    }
    if process.terminal {
        let (rows, columns) = process.console_size.unwrap_or((0, 0));
        let step = Step::OpenTerminal { rows, columns, uid: process.user.uid, console: 1 };
        steps.push(Pointer::to("/process/terminal"), &step);
    }
}

/// What a process that is run in a container needs of it.
pub(super) fn prepare_exec(steps: &mut Builder<'_>) {
    let process = steps.process;
    if process.terminal {
        let (rows, columns) = process.console_size.unwrap_or((0, 0));
        let step = Step::OpenTerminal { rows, columns, uid: process.user.uid, console: 0 };
        steps.push(Pointer::to("/process/terminal"), &step);
    }
}

fn start_session(steps: &mut Builder<'_>) {
    let terminal = steps.process.terminal;
    let at = if terminal { Pointer::to("/process/terminal") } else { Pointer::NO_SETTING };
    steps.push(at, &Step::StartSession { terminal: terminal.into() });
}

/// From init to the process, step by step with less privilege.
pub(super) fn become_it(steps: &mut Builder<'_>, forks: Forks) {
    let process = steps.process;
    if forks != Forks::Last {
        start_session(steps);
    }
    if !steps.options.no_new_keyring {
        let name = format!("_ses.{}", steps.options.id);
        steps.push(Pointer::NO_SETTING, &Step::JoinSessionKeyring { name: text(&name) });
    }
    if process.user.uid != 0 && !process.terminal {
        steps.push(Pointer::to("/process/user/uid"), &Step::OwnStdio { uid: process.user.uid });
    }
    let umask = process.user.umask;
    let at = umask.map_or(Pointer::NO_SETTING, |_| Pointer::to("/process/user/umask"));
    steps.push(at, &Step::SetUmask { mask: umask.unwrap_or(DEFAULT_UMASK) });
    set_privileges(steps);
    if process.cwd != "/" {
        // Entering the root has left it in "/".
        steps.push(Pointer::to("/process/cwd"), &Step::ChangeDirectory { path: text(&process.cwd) });
    }
    let environment = environment(&process.env);
    let candidates = candidates(process.args.first().map_or("", String::as_str), &environment);
    steps.push(Pointer::item("/process/args", 0), &Step::FindProgram { candidates: Texts::new(&candidates) });
    steps.push(Pointer::NO_SETTING, &Step::Ready {});
    // Only now: by then the parent has set the device program.
    if !process.env.iter().any(|variable| variable.starts_with("HOME=")) {
        steps.push(Pointer::to("/process/env"), &Step::LookUpHome { uid: process.user.uid });
    }
    if forks == Forks::Last {
        // A change of user may have made it dumpable again (proc(5), fs.suid_dumpable).
        steps.push(Pointer::NAMESPACES, &Step::SetUndumpable {});
        steps.push(Pointer::NAMESPACES, &Step::Fork { flags: 0, last: 1 });
        start_session(steps);
    }
    for (index, limit) in (0..).zip(&process.rlimits) {
        let step = Step::SetRlimit { resource: limit.resource, soft: limit.soft, hard: limit.hard };
        steps.push(Pointer::item("/process/rlimits", index), &step);
    }
    let arguments = join(process.args.iter().map(String::as_str));
    let environment = join(environment.into_iter());
    let step = Step::Execute { arguments: Texts::new(&arguments), environment: Texts::new(&environment) };
    steps.push(Pointer::to("/process/args"), &step);
}

fn set_privileges(steps: &mut Builder<'_>) {
    let process = steps.process;
    let sets = process.capabilities;
    let at = Pointer::to("/process/capabilities/bounding");
    for capability in (0_u8..).take(CAPABILITIES.len()).filter(|number| sets.bounding & 1 << number == 0) {
        steps.push(at, &Step::DropBounding { capability });
    }
    if process.no_new_privileges {
        steps.push(Pointer::to("/process/noNewPrivileges"), &Step::SetNoNewPrivileges {});
    }
    let user = &process.user;
    let groups: Vec<u8> = user.additional_gids.iter().flat_map(|gid| gid.to_le_bytes()).collect();
    let step = Step::SetUser { uid: user.uid, gid: user.gid, groups: Words::new(&groups) };
    steps.push(Pointer::to("/process/user"), &step);
    let step =
        Step::SetCapabilities { effective: sets.effective, permitted: sets.permitted, inheritable: sets.inheritable };
    steps.push(Pointer::to("/process/capabilities"), &step);
    // Ambient capabilities of the caller go with the inheritable ones; only those left need clearing.
    if sets.ambient != 0 || sets.permitted & sets.inheritable != 0 {
        steps.push(Pointer::to("/process/capabilities/ambient"), &Step::SetAmbient { ambient: sets.ambient });
    }
}

/// Texts one after the other, each with its NUL.
fn join<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> Vec<u8> {
    let mut joined = Vec::with_capacity(texts.clone().map(|text| text.len() + 1).sum());
    for text in texts {
        joined.extend_from_slice(text.as_bytes());
        joined.push(0);
    }
    joined
}

/// The environment, each variable once: of several with one name the last counts. Programs differ in
/// which they would take, so that what the program is looked for by might not be what it sees.
fn environment(env: &[String]) -> Vec<&str> {
    let name = |entry: &str| entry.find('=').map_or(entry.len(), |end| end);
    let mut last = BTreeMap::new();
    for (index, entry) in env.iter().enumerate() {
        last.insert(entry.get(..name(entry)), index);
    }
    let entries = env.iter().enumerate();
    entries
        .filter(|(index, entry)| last.get(&entry.get(..name(entry))) == Some(index))
        .map(|(_, entry)| entry.as_str())
        .collect()
}

/// The paths to try for the program, as execvp(3) does: itself if it has a slash, else in the
/// directories of `PATH`, where an empty one is the working directory. None without a `PATH`: peers
/// have no default either.
fn candidates(program: &str, environment: &[&str]) -> Vec<u8> {
    if program.contains('/') {
        return join([program].into_iter());
    }
    let mut candidates = Vec::new();
    let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH=")).filter(|_| !program.is_empty());
    for directory in path.into_iter().flat_map(|path| path.split(':')) {
        let directory = if directory.is_empty() { "." } else { directory };
        candidates.extend_from_slice(directory.as_bytes());
        candidates.push(b'/');
        candidates.extend_from_slice(program.as_bytes());
        candidates.push(0);
    }
    candidates
}
