//! The process: where it works, what it may do, and what it executes.

use std::collections::BTreeMap;

use no_frills_plan::{Step, Texts, Words, change};

use super::{Builder, CompileOptions, Forks, Pointer, filter, text};
use crate::config::{CAPABILITIES, Hook};
use crate::notify;
use crate::timings::of_init;

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
    join_keyring(steps);
    if process.user.uid != 0 && !process.terminal {
        steps.push(Pointer::to("/process/user/uid"), &Step::OwnStdio { uid: process.user.uid });
    }
    let umask = process.user.umask;
    let at = umask.map_or(Pointer::NO_SETTING, |_| Pointer::to("/process/user/umask"));
    steps.push(at, &Step::SetUmask { mask: umask.unwrap_or(DEFAULT_UMASK) });
    set_labels(steps);
    set_treatment(steps);
    // Entering the root has left it in "/". Into a directory that is closed to the process itself the runtime leads it, as peers
    // do; one that is closed to root, as on NFS, the user may reach.
    let change_directory = |steps: &mut Builder<'_>, flags| {
        if process.cwd != "/" {
            steps.push(Pointer::to("/process/cwd"), &Step::ChangeDirectory { path: text(&process.cwd), flags });
        }
    };
    change_directory(steps, change::MAY_BE_REFUSED);
    set_privileges(steps);
    change_directory(steps, change::IF_REFUSED);
    let given = from_caller(steps.options);
    let mut environment = environment(process.env.iter().chain(&given));
    // An empty one is none, as with runc; a shell would go to the working directory by it.
    let wants_home =
        !process.env_is_exact && !environment.iter().any(|entry| entry.len() > 5 && entry.starts_with("HOME="));
    if wants_home {
        environment.retain(|entry| *entry != "HOME=");
    }
    let program = process.executable.as_ref().or(process.args.first()).map_or("", String::as_str);
    // Nobody waits between the search and the execve: a path is what it is.
    let is_searched = forks != Forks::Last || process.executable.is_some() || !program.contains('/');
    if is_searched && process.check_given().is_ok() {
        let candidates = candidates(program, &environment);
        steps.push(Pointer::item("/process/args", 0), &Step::FindProgram { candidates: Texts::new(&candidates) });
    }
    if steps.is_exec {
        run_on_cpus(steps);
    } else {
        // What its caller keeps to is the caller's business; the container's is said by its cgroup.
        steps.push(Pointer::NO_SETTING, &Step::ResetAffinity {});
    }
    steps.time(of_init::PRIVILEGES);
    filter::receive(steps);
    steps.ready = steps.plan.count();
    // The last one to be born is ready by being born.
    if forks != Forks::Last {
        steps.push(Pointer::NO_SETTING, &Step::Ready {});
    }
    // Only now: by then the parent has set the device program.
    if wants_home {
        steps.push(Pointer::to("/process/env"), &Step::LookUpHome { uid: process.user.uid });
    }
    if forks == Forks::Last {
        if process.user.uid != 0 || process.user.gid != 0 {
            // A change of user may have made it dumpable again (proc(5), fs.suid_dumpable).
            steps.push(Pointer::NAMESPACES, &Step::SetUndumpable {});
        }
        steps.push(Pointer::NAMESPACES, &Step::Fork { flags: 0, last: 1 });
        start_session(steps);
    }
    for (index, limit) in (0..).zip(&process.rlimits) {
        let step = Step::SetRlimit { resource: limit.resource, soft: limit.soft, hard: limit.hard };
        steps.push(Pointer::item("/process/rlimits", index), &step);
    }
    filter::install(steps);
    let arguments = join(process.args.iter().map(String::as_str));
    let environment = join(environment.into_iter());
    let step = Step::Execute { arguments: Texts::new(&arguments), environment: Texts::new(&environment) };
    steps.push(Pointer::to("/process/args"), &step);
}

const SELINUX_LABEL: Pointer = Pointer::to("/process/selinuxLabel");
const APPARMOR_PROFILE: Pointer = Pointer::to("/process/apparmorProfile");

/// The new keyring has the label of the process, which could not use it else.
fn join_keyring(steps: &mut Builder<'_>) {
    const LABEL: &str = "thread-self/attr/keycreate";
    if steps.options.no_new_keyring {
        return;
    }
    let label = steps.process.selinux_label.as_str();
    if !label.is_empty() {
        steps.write_proc(SELINUX_LABEL, LABEL, label);
    }
    steps.push(Pointer::NO_SETTING, &Step::JoinSessionKeyring {});
    if !label.is_empty() {
        // Nothing but a line's end: as before.
        steps.write_proc(SELINUX_LABEL, LABEL, "\n");
    }
}

/// What the security modules are to take the program for. It holds from execve on; to ask for it may need what init is about
/// to give up, and noNewPrivileges would forbid it.
fn set_labels(steps: &mut Builder<'_>) {
    let process = steps.process;
    if !process.selinux_label.is_empty() {
        steps.write_proc(SELINUX_LABEL, "thread-self/attr/exec", &process.selinux_label);
    }
    if process.needs_apparmor() {
        let content = format!("exec {}", process.apparmor_profile);
        steps.write_proc(APPARMOR_PROFILE, "thread-self/attr/apparmor/exec", &content);
    } else if !process.apparmor_profile.is_empty() {
        steps.use_procfs(APPARMOR_PROFILE);
        steps.push(APPARMOR_PROFILE, &Step::SetUnconfined {});
    }
}

/// Where a process of `exec` is prepared; first of all.
pub(super) fn start_on_cpus(steps: &mut Builder<'_>) {
    let cpus = steps.process.exec_affinity.initial.bytes();
    if !cpus.is_empty() {
        let step = Step::SetAffinity { cpus: Words::new(&cpus), may_fail: 1 };
        steps.push(Pointer::to("/process/execCPUAffinity/initial"), &step);
    }
}

/// Where the program of an `exec` runs; before `Ready`, after which its scheduler is set, and a deadline keeps to its CPUs.
pub(super) fn run_on_cpus(steps: &mut Builder<'_>) {
    let cpus = steps.process.exec_affinity.last.bytes();
    if cpus.is_empty() {
        steps.push(Pointer::NO_SETTING, &Step::ResetAffinity {});
    } else {
        let step = Step::SetAffinity { cpus: Words::new(&cpus), may_fail: 0 };
        steps.push(Pointer::to("/process/execCPUAffinity/final"), &step);
    }
}

/// How the kernel is to treat the program's calls and its memory.
fn set_treatment(steps: &mut Builder<'_>) {
    let linux = &steps.config.linux;
    if let Some(persona) = linux.personality {
        steps.push(Pointer::to("/linux/personality/domain"), &Step::SetPersonality { persona });
    }
    if let Some(policy) = &linux.memory_policy {
        let nodes = policy.nodes.bytes();
        let step = Step::SetMemoryPolicy { mode: policy.mode, nodes: Words::new(&nodes) };
        steps.push(Pointer::to("/linux/memoryPolicy"), &step);
    }
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
    set_user(steps);
    let step = Step::SetCapabilities {
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
        kept: filter::kept_capabilities(steps),
    };
    steps.push(Pointer::to("/process/capabilities"), &step);
    // Ambient capabilities of the caller go with the inheritable ones; only those left need clearing.
    if sets.ambient != 0 || sets.permitted & sets.inheritable != 0 {
        steps.push(Pointer::to("/process/capabilities/ambient"), &Step::SetAmbient { ambient: sets.ambient });
    }
}

fn set_user(steps: &mut Builder<'_>) {
    let user = &steps.process.user;
    let (uid, gid) = (user.uid, user.gid);
    let at = Pointer::to("/process/user");
    if steps.config.keeps_groups() {
        steps.push(at, &Step::SetIds { uid, gid });
        return;
    }
    let groups: Vec<u8> = user.additional_gids.iter().flat_map(|gid| gid.to_le_bytes()).collect();
    steps.push(at, &Step::SetUser { uid, gid, groups: Words::new(&groups) });
}

/// How an init that joins a container to execute one of its hooks becomes that hook, as root with the host's files in view.
pub(super) fn become_hook_of_host(steps: &mut Builder<'_>, hook: &Hook, forks: Forks) {
    steps.push(Pointer::NO_SETTING, &Step::SetUmask { mask: DEFAULT_UMASK });
    let candidates = join([hook.path.as_str()].into_iter());
    steps.push(Pointer::NO_SETTING, &Step::FindProgram { candidates: Texts::new(&candidates) });
    steps.ready = steps.plan.count();
    // The last one to be born is ready by being born.
    if forks != Forks::Last {
        steps.push(Pointer::NO_SETTING, &Step::Ready {});
    }
    if forks == Forks::Last {
        steps.push(Pointer::NAMESPACES, &Step::Fork { flags: 0, last: 1 });
    }
    steps.push(Pointer::NO_SETTING, &Step::StartSession { terminal: 0 });
    let arguments = join(hook.args.iter().map(String::as_str));
    let environment = join(hook.env.iter().flatten().map(String::as_str));
    let step = Step::Execute { arguments: Texts::new(&arguments), environment: Texts::new(&environment) };
    steps.push(Pointer::NO_SETTING, &step);
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

/// What the process is told of what its caller was given for it: descriptors (sd_listen_fds(3)), a socket
/// (sd_notify(3)). As peers have it, the process is taken to be the first of a pid namespace.
fn from_caller(options: &CompileOptions<'_>) -> Vec<String> {
    let mut variables = Vec::new();
    if options.listen_fds > 0 {
        variables.push(format!("LISTEN_FDS={}", options.listen_fds));
        variables.push("LISTEN_PID=1".to_owned());
    }
    if options.notify.is_some() {
        variables.push(format!("NOTIFY_SOCKET={}/{}", notify::DESTINATION, notify::SOCKET));
    }
    variables
}

/// The environment, each variable once: of several with one name the last counts. Programs differ in
/// which they would take, so that what the program is looked for by might not be what it sees.
fn environment<'e>(env: impl Iterator<Item = &'e String> + Clone) -> Vec<&'e str> {
    let name = |entry: &str| entry.find('=').map_or(entry.len(), |end| end);
    let mut last = BTreeMap::new();
    for (index, entry) in env.clone().enumerate() {
        last.insert(entry.get(..name(entry)), index);
    }
    env.enumerate()
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
