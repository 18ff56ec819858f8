//! What a step does, for the text of an error.

use std::path::Path;

use no_frills_plan::{BEFORE_STEPS, Step, Text, attach};

use super::names::{
    CLONE, capability, device_numbers, file_type, flags, limit, memory_mode, number_list, personality, rlimit,
};
use super::path_text;
use crate::compile::{Program, SOURCE_BATCH, SourceKind};

impl Program {
    /// What a step does, for the text of an error: `mounting "sysfs" on "/sys"`.
    pub fn action(&self, step: u32) -> String {
        if step == BEFORE_STEPS {
            return "preparing the container's first process".to_owned();
        }
        let steps = self.all_steps();
        let Some(this) = steps.get(step as usize) else { return format!("step {step}") };
        match self.mount_around(&steps, step as usize) {
            Some(mount) => match this {
                Step::FsString { key, value } => format!("{mount}: option {}", option(*key, Some(*value))),
                Step::FsFlag { key } => format!("{mount}: option {}", option(*key, None)),
                Step::CopyUp { .. } => format!("{mount}: copying what is there"),
                Step::IdMapMount { .. } => format!("{mount}: its id mappings, which the file system has to support"),
                _ => mount,
            },
            None => action(this),
        }
    }

    /// The whole mount that a step is a part of.
    fn mount_around(&self, steps: &[Step<'_>], at: usize) -> Option<String> {
        let is_check = |step: &Step<'_>| matches!(step, Step::CheckDevice { .. });
        let is_part = |step: &Step<'_>| {
            matches!(
                step,
                Step::FsString { .. }
                    | Step::FsFlag { .. }
                    | Step::FsMount { .. }
                    | Step::SetMountAttributes { .. }
                    | Step::CopyUp { .. }
                    | Step::IdMapMount { .. }
                    | Step::FsReconfigure {}
            )
        };
        let is_begin = |step: &Step<'_>| {
            matches!(
                step,
                Step::FsOpen { .. }
                    | Step::UseSource { .. }
                    | Step::UseKept { .. }
                    | Step::FsPick { .. }
                    | Step::MountLegacy { .. }
            )
        };
        let is_end =
            |step: &Step<'_>| matches!(step, Step::Attach { .. } | Step::AttachRoot { .. } | Step::AttachRootAt { .. });
        let this = steps.get(at)?;
        if !is_part(this) && !is_begin(this) && !is_end(this) {
            return None;
        }
        let begin = (0..=at).rev().find(|index| steps.get(*index).is_some_and(is_begin))?;
        // From the beginning, for what is changed once more after it is attached.
        let end = (begin + 1..steps.len())
            .find(|index| steps.get(*index).is_none_or(|step| !is_part(step) && !is_check(step)))?;
        let what = match steps.get(begin)? {
            Step::FsOpen { fstype } | Step::MountLegacy { fstype, .. } => format!("mounting {fstype:?}"),
            Step::FsPick { path } => {
                let kept = begin.checked_sub(1).and_then(|before| steps.get(before));
                let at = match kept {
                    Some(Step::UseKept { kept }) if path.bytes().is_empty() => kept_at(steps, *kept)?,
                    _ => String::from_utf8_lossy(path.bytes()).into_owned(),
                };
                return Some(format!("changing the file system at {at:?}"));
            }
            Step::UseSource { source } => {
                let batches = steps.get(..begin)?.iter().filter(|step| matches!(step, Step::ReceiveSources { .. }));
                let source = self.sources.get(batches.count() * SOURCE_BATCH + *source as usize)?;
                let path = match &source.kind {
                    SourceKind::Tree { path, .. } => path,
                    SourceKind::Cgroup => Path::new("cgroup"),
                    _ => return None,
                };
                format!("mounting {:?}", path_text(path))
            }
            Step::UseKept { kept } => return Some(format!("changing the mount at {:?}", kept_at(steps, *kept)?)),
            _ => return None,
        };
        match steps.get(end)? {
            Step::Attach { path, flags } => Some(format!("{what} on {:?}", destination(*path, *flags))),
            Step::AttachRoot { .. } | Step::AttachRootAt { .. } => Some(format!("{what} as the root")),
            // The one that masks are made of.
            _ => Some(what.replacen("mounting", "preparing", 1)),
        }
    }
}

/// Where a mount that was kept is attached: it is kept right after.
fn kept_at(steps: &[Step<'_>], number: u8) -> Option<String> {
    let mut kept = steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::KeepMount {}));
    let (at, _) = kept.nth(number.into())?;
    steps.get(..at)?.iter().rev().find_map(|step| match step {
        Step::Attach { path, flags } => Some(destination(*path, *flags)),
        _ => None,
    })
}

fn shown(text: Text<'_>) -> String {
    String::from_utf8_lossy(text.bytes()).into_owned()
}

/// Where a mount is attached, in full.
fn destination(path: Text<'_>, flags: u8) -> String {
    let path = String::from_utf8_lossy(path.bytes());
    // The compiler opens no other directory for mounts.
    if flags & attach::IN_DIRECTORY != 0 { format!("/dev/{path}") } else { path.into_owned() }
}

/// As it is written in the configuration.
fn option(key: Text<'_>, value: Option<Text<'_>>) -> String {
    let mut option = key.bytes().to_vec();
    if let Some(value) = value {
        option.push(b'=');
        option.extend_from_slice(value.bytes());
    }
    format!("{:?}", String::from_utf8_lossy(&option))
}

/// What a step does, without what its neighbours say about it.
fn action(step: &Step<'_>) -> String {
    match step {
        Step::Unshare { flags: bits } => {
            format!("making namespaces {}", flags(u64::from(*bits), CLONE).join("|"))
        }
        Step::BecomeRoot {} => "becoming root of the user namespace".to_owned(),
        Step::SetHostname { name } => format!("setting the hostname {name:?}"),
        Step::SetDomainname { name } => format!("setting the domain name {name:?}"),
        Step::LoopbackUp {} => "bringing the loopback interface up".to_owned(),
        Step::EnterTimeNamespace {} => "entering the time namespace".to_owned(),
        Step::SendNetwork { .. } => "opening the container's network to the parent".to_owned(),
        Step::SetPropagation { .. } => "detaching the propagation of mounts from the host's".to_owned(),
        Step::ReceiveSources {} => "receiving descriptors".to_owned(),
        Step::JoinNamespaces { kinds, .. } => {
            format!("joining namespaces {}", flags(u64::from(*kinds), CLONE).join("|"))
        }
        Step::Fork { flags: 0, .. } => "making the container's process".to_owned(),
        Step::Fork { flags: bits, .. } => {
            format!("making the container's process in namespaces {}", flags(u64::from(*bits), CLONE).join("|"))
        }
        Step::Sync {} => "waiting for the hooks".to_owned(),
        Step::UseProcfs { .. } => "taking the procfs".to_owned(),
        Step::WriteProc { path, content } => format!("writing {content:?} to \"/proc/{}\"", shown(*path)),
        Step::UseCurrentRoot {} => "opening the root".to_owned(),
        Step::AttachRoot { .. } | Step::AttachRootAt { .. } => "mounting the root".to_owned(),
        Step::MoveRoot {} => "moving the root to \"/\"".to_owned(),
        Step::FsOpen { fstype } => format!("opening the file system {fstype:?}"),
        Step::FsString { key, value } => format!("setting the option {}", option(*key, Some(*value))),
        Step::FsFlag { key } => format!("setting the option {}", option(*key, None)),
        Step::FsMount { .. } => "creating a mount".to_owned(),
        Step::UseSource { .. } | Step::KeepMount {} | Step::UseKept { .. } => "taking a mount".to_owned(),
        Step::SetMountAttributes { .. } => "changing a mount".to_owned(),
        Step::IdMapMount { .. } => "giving a mount id mappings".to_owned(),
        Step::CopyUp { path, .. } => format!("copying what is at {path:?}"),
        Step::FsPick { path } => format!("changing the file system at {path:?}"),
        Step::FsReconfigure {} => "changing a file system".to_owned(),
        Step::SetRootPropagation { .. } => "setting the propagation of the root".to_owned(),
        Step::UseRoot { .. } => "taking the root".to_owned(),
        Step::MountLegacy { fstype, .. } => format!("mounting {fstype:?}"),
        Step::CheckDevice { kind, device } => {
            let kind = if file_type(*kind) == "S_IFBLK" { "block" } else { "character" };
            let (major, minor) = device_numbers(*device);
            format!("checking that the host has {kind} device {major}:{minor} there")
        }
        Step::Attach { path, flags } => format!("attaching the mount at {:?}", destination(*path, *flags)),
        Step::ChangeMount { path, .. } => format!("changing the mount at {path:?}"),
        Step::OpenDirectory { path, .. } => format!("opening the directory {path:?}"),
        Step::LookUpHome { uid } => format!("looking up the home directory of user {uid}"),
        Step::UseMountAsDirectory {} => "taking the mount as the open directory".to_owned(),
        Step::MakeNode { name, .. } => format!("making the device {name:?}"),
        Step::MakeSymlink { name, target, .. } => format!("making the link {name:?} to {target:?}"),
        Step::Mask { path, .. } => format!("masking {path:?}"),
        Step::MakeReadonly { path, .. } => format!("making {path:?} read-only"),
        Step::MakeRootReadonly {} => "making the root read-only".to_owned(),
        Step::PivotRoot {} | Step::EnterRoot {} => "entering the root".to_owned(),
        Step::MakeDirectory { path } => format!("making the directory {path:?}"),
        Step::OpenTerminal { .. } => "opening a terminal".to_owned(),
        Step::StartSession { .. } => "starting a session".to_owned(),
        Step::JoinSessionKeyring {} => "joining a new session keyring".to_owned(),
        Step::OwnStdio { uid } => format!("giving standard input, output and error to user {uid}"),
        Step::SetUmask { mask } => format!("setting the umask {mask:#o}"),
        Step::DropBounding { capability: number } => {
            format!("dropping {} from the bounding set", capability(usize::from(*number)))
        }
        Step::CloneTree { path, .. } => format!("cloning the mount at {path:?}"),
        Step::SetUser { uid, gid, .. } | Step::SetIds { uid, gid } => format!("becoming user {uid} and group {gid}"),
        Step::SetCapabilities { .. } => "setting the capabilities".to_owned(),
        Step::SetAmbient { .. } => "setting the ambient capabilities".to_owned(),
        Step::SetNoNewPrivileges {} => "forbidding new privileges".to_owned(),
        Step::Time { .. } => "telling the time".to_owned(),
        Step::SetUndumpable {} => "closing the process to others".to_owned(),
        Step::HideMount { path, .. } => format!("hiding the host's mount at {path:?}"),
        Step::ChangeDirectory { path, .. } => format!("changing to the directory {path:?}"),
        Step::FindProgram { .. } => "looking for the program".to_owned(),
        Step::Ready {} => "waiting to be started".to_owned(),
        Step::SetRlimit { resource, soft, hard } => {
            format!("setting {} to {}, {}", rlimit(*resource), limit(*soft), limit(*hard))
        }
        Step::SetPersonality { persona } => format!("setting the personality {}", personality(*persona)),
        Step::SetMemoryPolicy { mode, nodes } => {
            let nodes = if nodes.count() == 0 { String::new() } else { format!(" on nodes {}", number_list(*nodes)) };
            format!("setting the memory policy {}{nodes}", memory_mode(*mode).join("|"))
        }
        Step::SetAffinity { cpus, .. } => format!("moving to CPUs {}", number_list(*cpus)),
        Step::SetUnconfined {} => "leaving the program unconfined by AppArmor".to_owned(),
        Step::ResetAffinity {} => "moving to all CPUs of the cgroup".to_owned(),
        Step::ReceiveFilter {} => "receiving the seccomp filter".to_owned(),
        Step::InstallFilter {} => "installing the seccomp filter".to_owned(),
        Step::Execute { .. } => "executing the program".to_owned(),
    }
}
