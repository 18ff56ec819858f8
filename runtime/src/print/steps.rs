//! The fields of init's steps.

use no_frills_plan::{Step, Text, Within};
use serde_json::{Value, json};

use super::field::Shown;
use super::names::{
    ATTACH, ATTRIBUTES, CHANGE, CLONE, LEGACY, PROPAGATION, capabilities, capability, device_numbers, file_type,
    join_mode, memory_mode, personality, rlimit,
};

/// The fields of a step in order.
pub(super) fn fields(step: &Step<'_>) -> Vec<Shown> {
    match *step {
        Step::BecomeRoot {}
        | Step::LoopbackUp {}
        | Step::EnterTimeNamespace {}
        | Step::MakeRootReadonly {}
        | Step::PivotRoot {}
        | Step::EnterRoot {}
        | Step::SetNoNewPrivileges {}
        | Step::SetUndumpable {}
        | Step::UseMountAsDirectory {}
        | Step::KeepMount {}
        | Step::ReceiveSources {}
        | Step::Sync {}
        | Step::MoveRoot {}
        | Step::UseCurrentRoot {}
        | Step::ReceiveFilter {}
        | Step::InstallFilter {}
        | Step::ResetAffinity {}
        | Step::SetUnconfined {}
        | Step::JoinSessionKeyring {}
        | Step::FsReconfigure {}
        | Step::Ready {} => Vec::new(),
        Step::Unshare { flags } => vec![Shown::flags("flags", flags.into(), CLONE)],
        Step::SetHostname { name } | Step::SetDomainname { name } => vec![Shown::text("name", name)],
        Step::SetPropagation { propagation } => vec![Shown::flags("propagation", propagation, PROPAGATION)],
        Step::JoinNamespaces { source, kinds, mode } => {
            let mode = Shown::word("mode", join_mode(mode).to_owned());
            vec![Shown::number("source", source), Shown::flags("kinds", kinds.into(), CLONE), mode]
        }
        Step::Fork { flags, last } => {
            vec![Shown::flags("flags", flags.into(), CLONE), Shown::yes("last", last)]
        }
        Step::CloneTree { source, path, recursive, itself } => vec![
            Shown::number("source", source),
            Shown::text("path", path),
            Shown::yes("recursive", recursive),
            Shown::yes("itself", itself),
        ],
        Step::SetIds { uid, gid } => vec![Shown::number("uid", uid), Shown::number("gid", gid)],
        Step::SendNetwork { mode } => vec![Shown::word("mode", join_mode(mode).to_owned())],
        Step::WriteProc { path, content } => vec![Shown::text("path", path), Shown::text("content", content)],
        Step::LookUpHome { uid } => vec![Shown::number("uid", uid)],
        Step::AttachRootAt { source, path } => vec![Shown::number("source", source), Shown::text("path", path)],
        Step::AttachRoot { source } | Step::UseSource { source } | Step::UseProcfs { source } => {
            vec![Shown::number("source", source)]
        }
        Step::FsOpen { fstype } => vec![Shown::text("fstype", fstype)],
        Step::FsString { key, value } => vec![Shown::text("key", key), Shown::text("value", value)],
        Step::FsFlag { key } => vec![Shown::text("key", key)],
        Step::FsMount { attributes } => vec![Shown::flags("attributes", attributes.into(), ATTRIBUTES)],
        Step::SetMountAttributes { set, clear, propagation, recursive } => {
            mount_attributes(set, clear, propagation, recursive)
        }
        Step::ChangeMount { path, set, clear, propagation, recursive } => {
            let mut fields = vec![Shown::text("path", path)];
            fields.append(&mut mount_attributes(set, clear, propagation, recursive));
            fields
        }
        Step::Attach { path, flags } | Step::OpenDirectory { path, flags } => {
            vec![Shown::text("path", path), Shown::flags("flags", flags.into(), ATTACH)]
        }
        Step::MakeDirectory { path } => vec![Shown::text("path", path)],
        Step::HideMount { path, count } => vec![Shown::text("path", path), Shown::number("count", count)],
        Step::ChangeDirectory { path, flags } => {
            vec![Shown::text("path", path), Shown::flags("flags", flags.into(), CHANGE)]
        }
        Step::MakeNode { name, mode, device, uid, gid } => make_node(name, mode, device, uid, gid),
        Step::MakeSymlink { name, target, replace } => {
            vec![Shown::text("name", name), Shown::text("target", target), Shown::yes("replace", replace)]
        }
        Step::Mask { path, within: place, null } => {
            vec![Shown::text("path", path), within(place), Shown::number("null", null)]
        }
        Step::MakeReadonly { path, within: place } => vec![Shown::text("path", path), within(place)],
        Step::UseKept { kept } => vec![Shown::number("kept", kept)],
        Step::IdMapMount { source } | Step::UseRoot { source } => vec![Shown::number("source", source)],
        Step::CopyUp { path, owner } => vec![Shown::text("path", path), Shown::yes("owner", owner)],
        Step::FsPick { path } => vec![Shown::text("path", path)],
        Step::SetRootPropagation { propagation, recursive } => {
            vec![Shown::flags("propagation", propagation, PROPAGATION), Shown::yes("recursive", recursive)]
        }
        Step::MountLegacy { fstype, device, options, flags } => vec![
            Shown::text("fstype", fstype),
            Shown::text("device", device),
            Shown::text("options", options),
            Shown::flags("flags", flags, LEGACY),
        ],
        Step::CheckDevice { kind, device } => check_device(kind, device),
        Step::OpenTerminal { rows, columns, uid, console } => vec![
            Shown::number("rows", rows),
            Shown::number("columns", columns),
            Shown::number("uid", uid),
            Shown::yes("console", console),
        ],
        Step::StartSession { terminal } => vec![Shown::yes("terminal", terminal)],
        Step::OwnStdio { uid } => vec![Shown::number("uid", uid)],
        Step::SetUmask { mask } => vec![Shown::octal("mask", mask)],
        Step::Time { phase } => vec![Shown::word("phase", phase.to_string())],
        Step::DropBounding { capability: number } => vec![Shown::word("capability", capability(number.into()))],
        Step::SetUser { uid, gid, groups } => {
            let groups: Vec<u32> = groups.iter().collect();
            let shown = Shown { name: "groups", text: format!("groups={groups:?}"), value: groups.into() };
            vec![Shown::number("uid", uid), Shown::number("gid", gid), shown]
        }
        Step::SetCapabilities { effective, permitted, inheritable, kept } => {
            let sets = [("effective", effective), ("permitted", permitted), ("inheritable", inheritable)];
            let kept = Some(("kept", kept)).filter(|(_, kept)| *kept != 0);
            let names = |(name, set)| Shown::names(name, capabilities(set));
            sets.into_iter().chain(kept).map(names).collect()
        }
        Step::SetAmbient { ambient } => vec![Shown::names("ambient", capabilities(ambient))],
        Step::SetPersonality { persona } => vec![Shown::word("persona", personality(persona))],
        Step::SetMemoryPolicy { mode, nodes } => {
            vec![Shown::names("mode", memory_mode(mode)), Shown::set("nodes", nodes)]
        }
        Step::SetAffinity { cpus, may_fail } => vec![Shown::set("cpus", cpus), Shown::yes("may_fail", may_fail)],
        Step::FindProgram { candidates } => vec![Shown::texts("candidates", candidates)],
        Step::SetRlimit { resource, soft, hard } => {
            vec![Shown::word("resource", rlimit(resource)), Shown::limit("soft", soft), Shown::limit("hard", hard)]
        }
        Step::Execute { arguments, environment } => {
            vec![Shown::texts("arguments", arguments), Shown::texts("environment", environment)]
        }
    }
}

fn mount_attributes(set: u64, clear: u64, propagation: u64, recursive: u8) -> Vec<Shown> {
    vec![
        Shown::flags("set", set, ATTRIBUTES),
        Shown::flags("clear", clear, ATTRIBUTES),
        Shown::flags("propagation", propagation, PROPAGATION),
        Shown::yes("recursive", recursive),
    ]
}

/// Where a path is resolved; the root, from which nearly all are, needs no word.
fn within(place: Within) -> Shown {
    match place {
        Within::Root => Shown { name: "within", text: String::new(), value: Value::Null },
        Within::Kept { kept, .. } => Shown::number("within", kept),
    }
}

fn device_number(device: u64) -> Shown {
    let (major, minor) = device_numbers(device);
    Shown { name: "device", text: format!("device={major}:{minor}"), value: json!([major, minor]) }
}

fn check_device(kind: u32, device: u64) -> Vec<Shown> {
    vec![Shown { name: "kind", text: file_type(kind).to_owned(), value: kind.into() }, device_number(device)]
}

fn make_node(name: Text<'_>, mode: u32, device: u64, uid: u32, gid: u32) -> Vec<Shown> {
    let text = format!("mode={}|{:#o}", file_type(mode), mode & 0o7777);
    let mode = Shown { name: "mode", text, value: mode.into() };
    let device = device_number(device);
    vec![Shown::text("name", name), mode, device, Shown::number("uid", uid), Shown::number("gid", gid)]
}
