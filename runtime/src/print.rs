//! What a [`Program`] would do, as text and as JSON: for `no-frills plan`, golden files and errors.

use std::fmt;
use std::path::Path;

use no_frills_cgroups::{CgroupsPath, devices};
use no_frills_plan::{BEFORE_STEPS, Plan, Step, Text, Texts, Within, Words, attach, call, join};
use no_frills_sys::seccomp;
use serde_json::{Map, Value, json};

use crate::compile::{IdMaps, Ids, MappedIds, Pointer, Program, SOURCE_BATCH, SourceKind};
use crate::config::{
    CAPABILITIES, IO_CLASSES, IoPriority, MEMORY_FLAGS, MEMORY_MODES, Moment, PERSONALITIES, POLICIES, RESOURCES,
    RLIMITS, SCHEDULER_FLAGS, Scheduler, attr, legacy, namespace, propagation,
};

/// Names of bits, for [`flags`].
type Names = &'static [(u64, &'static str)];

const CLONE: Names = &[
    (namespace::TIME, "CLONE_NEWTIME"),
    (namespace::USER, "CLONE_NEWUSER"),
    (namespace::MOUNT, "CLONE_NEWNS"),
    (namespace::PID, "CLONE_NEWPID"),
    (namespace::NETWORK, "CLONE_NEWNET"),
    (namespace::IPC, "CLONE_NEWIPC"),
    (namespace::UTS, "CLONE_NEWUTS"),
    (namespace::CGROUP, "CLONE_NEWCGROUP"),
];
const PROPAGATION: Names = &[
    (propagation::PRIVATE, "MS_PRIVATE"),
    (propagation::SHARED, "MS_SHARED"),
    (propagation::SLAVE, "MS_SLAVE"),
    (propagation::UNBINDABLE, "MS_UNBINDABLE"),
];
const ATTRIBUTES: Names = &[
    (attr::RDONLY as u64, "MOUNT_ATTR_RDONLY"),
    (attr::NOSUID as u64, "MOUNT_ATTR_NOSUID"),
    (attr::NODEV as u64, "MOUNT_ATTR_NODEV"),
    (attr::NOEXEC as u64, "MOUNT_ATTR_NOEXEC"),
    (attr::ATIME as u64, "MOUNT_ATTR__ATIME"),
    (attr::NOATIME as u64, "MOUNT_ATTR_NOATIME"),
    (attr::STRICTATIME as u64, "MOUNT_ATTR_STRICTATIME"),
    (attr::NODIRATIME as u64, "MOUNT_ATTR_NODIRATIME"),
    (attr::NOSYMFOLLOW as u64, "MOUNT_ATTR_NOSYMFOLLOW"),
];
const ATTACH: Names = &[
    (attach::NO_SYMLINKS as u64, "NO_SYMLINKS"),
    (attach::KEEP_MODE as u64, "KEEP_MODE"),
    (attach::NOT_IN_PROC as u64, "NOT_IN_PROC"),
    (attach::IN_DIRECTORY as u64, "IN_DIRECTORY"),
    (attach::NO_FOLLOW as u64, "NO_FOLLOW"),
];
const FILTER_FLAGS: Names = &[
    (seccomp::TSYNC as u64, "SECCOMP_FILTER_FLAG_TSYNC"),
    (seccomp::LOG as u64, "SECCOMP_FILTER_FLAG_LOG"),
    (seccomp::SPEC_ALLOW as u64, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    (seccomp::NEW_LISTENER as u64, "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
    (seccomp::WAIT_KILLABLE_RECV as u64, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
];
const LEGACY: Names = &[
    (legacy::RDONLY, "MS_RDONLY"),
    (legacy::SYNCHRONOUS, "MS_SYNCHRONOUS"),
    (legacy::DIRSYNC, "MS_DIRSYNC"),
    (legacy::LAZYTIME, "MS_LAZYTIME"),
];

/// The names of the bits of `value` that have one; what is left, in hexadecimal.
fn flags(value: u64, names: Names) -> Vec<String> {
    let mut left = value;
    let mut found = Vec::new();
    for (bits, name) in names {
        if left & bits == *bits {
            found.push((*name).to_owned());
            left &= !bits;
        }
    }
    if left != 0 {
        found.push(format!("{left:#x}"));
    }
    found
}

/// Bit N stands for capability N.
fn capabilities(set: u64) -> Vec<String> {
    (0..64).filter(|number| set & 1 << number != 0).map(capability).collect()
}

fn capability(number: usize) -> String {
    CAPABILITIES.get(number).map_or_else(|| number.to_string(), |name| format!("CAP_{name}"))
}

fn rlimit(resource: u32) -> String {
    RLIMITS.get(resource as usize).map_or_else(|| resource.to_string(), |name| format!("RLIMIT_{name}"))
}

fn limit(value: u64) -> String {
    if value == u64::MAX { "RLIM_INFINITY".to_owned() } else { value.to_string() }
}

fn personality(persona: u32) -> String {
    let known = PERSONALITIES.iter().find(|(_, value)| *value == persona);
    known.map_or_else(|| format!("{persona:#x}"), |(name, _)| format!("PER_{name}"))
}

/// The mode and the flags of a memory policy.
fn memory_mode(mode: u32) -> Vec<String> {
    let (kind, bits) = (mode & 0x1fff, mode & !0x1fff);
    let kind = MEMORY_MODES.get(kind as usize).map_or_else(|| kind.to_string(), |name| format!("MPOL_{name}"));
    let set = MEMORY_FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| format!("MPOL_F_{name}"));
    [kind].into_iter().chain(set).collect()
}

/// A set of numbers as the kernel writes it: `0-3,7`.
fn number_list(set: Words<'_>) -> String {
    let bits = (0..)
        .zip(set.iter())
        .flat_map(|(at, word)| (0..32).filter(move |bit| word & 1 << bit != 0).map(move |bit| at * 32 + bit));
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in bits {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    texts.join(",")
}

pub(crate) fn scheduling_policy(policy: u32) -> String {
    POLICIES.get(policy as usize).map_or_else(|| policy.to_string(), |name| format!("SCHED_{name}"))
}

pub(crate) fn io_class(priority: IoPriority) -> String {
    let name = (priority.class as usize).checked_sub(1).and_then(|place| IO_CLASSES.get(place));
    name.map_or_else(|| priority.class.to_string(), |name| format!("IOPRIO_CLASS_{name}"))
}

/// A field of a step: its name, as text, and as JSON.
struct Shown {
    name: &'static str,
    text: String,
    value: Value,
}

impl Shown {
    fn text(name: &'static str, text: Text<'_>) -> Shown {
        let text = String::from_utf8_lossy(text.bytes());
        Shown { name, text: format!("{text:?}"), value: text.into() }
    }

    fn texts(name: &'static str, texts: Texts<'_>) -> Shown {
        let texts: Vec<String> = texts.iter().map(|text| String::from_utf8_lossy(text.bytes()).into()).collect();
        Shown { name, text: format!("{texts:?}"), value: texts.into() }
    }

    fn names(name: &'static str, names: Vec<String>) -> Shown {
        let text = if names.is_empty() { "0".to_owned() } else { names.join("|") };
        Shown { name, text: format!("{name}={text}"), value: names.into() }
    }

    /// Bits; left out of the text when there are none.
    fn flags(name: &'static str, value: u64, names: Names) -> Shown {
        let mut shown = Shown::names(name, flags(value, names));
        if value == 0 {
            shown.text.clear();
        }
        shown
    }

    fn number(name: &'static str, number: impl Into<u64>) -> Shown {
        let number = number.into();
        Shown { name, text: format!("{name}={number}"), value: number.into() }
    }

    fn octal(name: &'static str, number: u32) -> Shown {
        Shown { name, text: format!("{name}={number:#o}"), value: number.into() }
    }

    fn yes(name: &'static str, value: u8) -> Shown {
        let text = if value == 0 { String::new() } else { name.to_owned() };
        Shown { name, text, value: (value != 0).into() }
    }

    fn word(name: &'static str, word: String) -> Shown {
        Shown { name, text: word.clone(), value: word.into() }
    }

    fn set(name: &'static str, set: Words<'_>) -> Shown {
        let list = number_list(set);
        Shown { name, text: format!("{name}={list}"), value: list.into() }
    }

    fn limit(name: &'static str, value: u64) -> Shown {
        Shown { name, text: format!("{name}={}", limit(value)), value: value.into() }
    }
}

fn make_cgroup(path: &CgroupsPath) -> Deed {
    let (name, path) = match path {
        CgroupsPath::Fs(path) => ("mkdir_cgroup", path_text(path)),
        CgroupsPath::Systemd { slice, prefix, name } => ("start_scope", format!("{slice}:{prefix}:{name}")),
    };
    let path = Shown { name: "path", text: format!("{path:?}"), value: path.into() };
    Deed { pointer: Pointer::CGROUPS_PATH.to_string(), name, fields: vec![path] }
}

/// The fields of a step in order.
fn fields(step: &Step<'_>) -> Vec<Shown> {
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
        Step::MakeDirectory { path } | Step::ChangeDirectory { path } => {
            vec![Shown::text("path", path)]
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

fn join_mode(mode: u8) -> &'static str {
    match mode {
        join::MUST => "MUST",
        join::MAY => "MAY",
        join::IF_REFUSED => "IF_REFUSED",
        _ => "?",
    }
}

fn shown(text: Text<'_>) -> String {
    String::from_utf8_lossy(text.bytes()).into_owned()
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

fn file_type(mode: u32) -> &'static str {
    match mode >> 12 {
        0o01 => "S_IFIFO",
        0o02 => "S_IFCHR",
        0o06 => "S_IFBLK",
        _ => "0",
    }
}

/// Major and minor number, as makedev(3) put them together.
fn device_numbers(device: u64) -> (u64, u64) {
    (device >> 8 & 0xfff | device >> 32 & !0xfff, device & 0xff | device >> 12 & !0xff)
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

/// A step as one line: its name and its fields.
fn line(step: &Step<'_>) -> String {
    let fields: Vec<String> =
        fields(step).into_iter().map(|field| field.text).filter(|text| !text.is_empty()).collect();
    format!("{}({})", step.name(), fields.join(", "))
}

/// What the parent does, in order: the setting, the call, and the call's arguments.
struct Deed {
    pointer: String,
    name: &'static str,
    fields: Vec<Shown>,
}

impl Program {
    /// All that would be done, a line for each deed, with the setting that it comes from.
    pub fn describe(&self) -> String {
        let mut text = String::from("parent\n");
        for Deed { pointer, name, fields } in self.parent() {
            let fields: Vec<String> =
                fields.into_iter().map(|field| field.text).filter(|text| !text.is_empty()).collect();
            append(&mut text, &format!("{name}({})", fields.join(", ")), pointer);
        }
        text.push_str("init\n");
        for (index, step) in self.all_steps().iter().enumerate() {
            append(&mut text, &format!("{index:3} {}", line(step)), self.pointer(index as u32));
        }
        text
    }

    /// All that would be done, as JSON.
    pub fn to_json(&self) -> Value {
        let parent = self.parent().into_iter().map(|Deed { pointer, name, fields }| {
            let mut object = Map::new();
            object.insert("name".to_owned(), name.into());
            object.insert("pointer".to_owned(), pointer.into());
            insert(&mut object, fields);
            Value::Object(object)
        });
        let init = self.all_steps().into_iter().enumerate().map(|(index, step)| {
            let calls: Vec<&str> = step.calls().iter().map(|code| call::name(*code)).collect();
            let mut object = Map::new();
            object.insert("step".to_owned(), index.into());
            object.insert("name".to_owned(), step.name().into());
            object.insert("pointer".to_owned(), self.pointer(index as u32).to_string().into());
            object.insert("bestEffort".to_owned(), step.best_effort().into());
            object.insert("calls".to_owned(), calls.into());
            insert(&mut object, fields(&step));
            Value::Object(object)
        });
        json!({ "parent": parent.collect::<Vec<_>>(), "init": init.collect::<Vec<_>>() })
    }

    fn all_steps(&self) -> Vec<Step<'_>> {
        // The plan was written by this very process, so every step of it can be read.
        Plan::decode(self.steps.bytes()).map_or_else(|_| Vec::new(), |plan| plan.steps().flatten().collect())
    }

    fn parent(&self) -> Vec<Deed> {
        let mut deeds: Vec<Deed> = self.cgroup.iter().map(make_cgroup).collect();
        deeds.extend(self.limits.iter().map(|limit| {
            let file = Shown { name: "file", text: format!("{:?}", limit.file), value: limit.file.as_str().into() };
            let content =
                Shown { name: "content", text: format!("{:?}", limit.text), value: limit.text.as_str().into() };
            Deed { pointer: format!("{RESOURCES}{}", limit.setting), name: "write_limit", fields: vec![file, content] }
        }));
        // Root has it in any case.
        deeds.extend(self.cgroup_owner.filter(|uid| *uid != 0).map(|uid| Deed {
            pointer: Pointer::CGROUPS_PATH.to_string(),
            name: "chown_cgroup",
            fields: vec![Shown::number("uid", uid)],
        }));
        deeds.extend(self.device_deeds());
        deeds.extend(self.sources.iter().enumerate().map(|(number, source)| {
            let (name, mut rest) = source_deed(&source.kind);
            let mut fields =
                vec![Shown { name: "source", text: format!("source={}", number % SOURCE_BATCH), value: number.into() }];
            fields.append(&mut rest);
            Deed { pointer: source.pointer.to_string(), name, fields }
        }));
        let mut clone = flags(self.clone_flags, CLONE);
        clone.extend(["CLONE_INTO_CGROUP", "CLONE_PIDFD"].map(str::to_owned));
        deeds.push(Deed {
            pointer: Pointer::NAMESPACES.to_string(),
            name: "clone3",
            fields: vec![Shown::names("flags", clone)],
        });
        if let Some(maps) = &self.id_maps {
            deeds.push(write(Pointer::UID_MAPPINGS, "uid_map", maps.uid.clone()));
            deeds.push(write(Pointer::GID_MAPPINGS, "gid_map", maps.gid.clone()));
        }
        if let Some(score) = self.oom_score_adj {
            deeds.push(write(Pointer::OOM_SCORE_ADJ, "oom_score_adj", score.to_string()));
        }
        deeds.extend((0..).zip(&self.rlimits).map(|(index, (resource, _, hard))| Deed {
            pointer: Pointer::item("/process/rlimits", index).to_string(),
            name: "raise_rlimit",
            fields: vec![Shown::word("resource", rlimit(*resource)), Shown::limit("hard", *hard)],
        }));
        deeds.extend(self.filter().ok().flatten().map(|filter| Deed {
            pointer: "/linux/seccomp".to_owned(),
            name: "compile_filter",
            fields: vec![
                Shown::number("instructions", filter.program.len() as u64 / 8),
                Shown::flags("flags", filter.flags.into(), FILTER_FLAGS),
            ],
        }));
        deeds.extend(self.scheduler.map(|scheduler| Deed {
            pointer: Pointer::SCHEDULER.to_string(),
            name: "sched_setattr",
            fields: scheduler_fields(scheduler),
        }));
        deeds.extend(self.io_priority.map(|priority| Deed {
            pointer: Pointer::IO_PRIORITY.to_string(),
            name: "ioprio_set",
            fields: vec![Shown::word("class", io_class(priority)), Shown::number("priority", priority.priority)],
        }));
        deeds.extend(Moment::ALL.into_iter().flat_map(|moment| self.hook_deeds(moment)));
        deeds.extend(self.intel_rdt.iter().map(|rdt| {
            let class = rdt.clos_id.clone().unwrap_or_default();
            let class = Shown { name: "class", text: format!("{class:?}"), value: class.into() };
            let lines = rdt.schema.iter().chain(&rdt.schemata).cloned().collect();
            let monitoring = Shown::yes("monitoring", rdt.monitoring.into());
            let fields = vec![class, Shown::names("schemata", lines), monitoring];
            Deed { pointer: "/linux/intelRdt".to_owned(), name: "resctrl_class", fields }
        }));
        deeds.extend(self.net_devices.iter().map(|device| {
            let text = |name, text: &str| Shown { name, text: format!("{text:?}"), value: text.into() };
            let fields = vec![text("device", &device.host), text("to", &device.name)];
            Deed { pointer: "/linux/netDevices".to_owned(), name: "move_network_device", fields }
        }));
        deeds
    }

    fn hook_deeds(&self, moment: Moment) -> impl Iterator<Item = Deed> {
        let strings =
            |name, strings: &[String]| Shown { name, text: format!("{name}={strings:?}"), value: strings.into() };
        (0..).zip(self.hooks.of(moment)).map(move |(index, hook)| {
            let path = Shown { name: "path", text: format!("{:?}", hook.path), value: hook.path.as_str().into() };
            let mut fields = vec![path, strings("args", &hook.args)];
            fields.extend(hook.env.as_ref().map(|env| strings("env", env)));
            fields.extend(hook.timeout.map(|timeout| Shown::number("timeout", timeout.as_secs())));
            Deed { pointer: Pointer::item(moment.pointer(), index).to_string(), name: moment.name(), fields }
        })
    }

    fn device_deeds(&self) -> impl Iterator<Item = Deed> {
        let deed = |pointer: Pointer, rule: &devices::Rule| Deed {
            pointer: pointer.to_string(),
            name: "device_rule",
            fields: vec![Shown::word("rule", rule.to_string())],
        };
        let own = (0..)
            .zip(&self.device_rules)
            .map(move |(index, rule)| deed(Pointer::item("/linux/resources/devices", index), rule));
        // The configuration's rules may be such that nothing is denied: then there is no program.
        let pointer = if self.device_rules_asked { Pointer::DEVICE_RULES } else { Pointer::NO_SETTING };
        let load = self.device_program.iter().filter(|program| !program.allows_all()).map(move |program| Deed {
            pointer: pointer.to_string(),
            name: "bpf_device_program",
            fields: vec![Shown::number("instructions", program.insns().len() as u64)],
        });
        let defaults = if self.device_program.is_some() { devices::DEFAULTS } else { &[] };
        own.chain(defaults.iter().map(move |rule| deed(Pointer::NO_SETTING, rule))).chain(load)
    }

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

fn scheduler_fields(scheduler: Scheduler) -> Vec<Shown> {
    let Scheduler { policy, flags, nice, priority, runtime, deadline, period } = scheduler;
    let names = (0..).zip(SCHEDULER_FLAGS).filter(|(bit, _)| flags & 1 << bit != 0);
    let names = names.map(|(_, name)| format!("SCHED_FLAG_{name}")).collect();
    vec![
        Shown::word("policy", scheduling_policy(policy)),
        Shown::names("flags", names),
        Shown { name: "nice", text: format!("nice={nice}"), value: nice.into() },
        Shown::number("priority", priority),
        Shown::number("runtime", runtime),
        Shown::number("deadline", deadline),
        Shown::number("period", period),
    ]
}

fn append(text: &mut String, deed: &str, pointer: impl fmt::Display) {
    let line = format!("  {deed:<78} {pointer}");
    text.push_str(line.trim_end());
    text.push('\n');
}

fn insert(object: &mut Map<String, Value>, fields: Vec<Shown>) {
    for field in fields {
        object.insert(field.name.to_owned(), field.value);
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What the parent does for a source, and with what.
fn source_deed(kind: &SourceKind) -> (&'static str, Vec<Shown>) {
    let shown =
        |path: &Path| Shown { name: "path", text: format!("{:?}", path_text(path)), value: path_text(path).into() };
    match kind {
        SourceKind::Tree { path, recursive, itself, ids } => {
            let mut fields = vec![shown(path), Shown::names("flags", tree_flags(*recursive, *itself))];
            if let Some(MappedIds { ids, recursive }) = ids {
                fields.push(user_namespace(ids));
                if *recursive {
                    fields.push(Shown::yes("recursively", 1));
                }
            }
            ("open_tree", fields)
        }
        SourceKind::UserNamespace(ids) => ("user_namespace", vec![user_namespace(ids)]),
        SourceKind::Cgroup => ("open_tree", vec![Shown::word("path", "CGROUP".to_owned())]),
        SourceKind::Directory { path } => ("open", vec![shown(path)]),
        SourceKind::Namespace { path, kind } => {
            ("open_namespace", vec![shown(path), Shown::names("kind", flags(*kind, CLONE))])
        }
        SourceKind::Container => ("pidfd_open", Vec::new()),
        SourceKind::Procfs => ("mount_procfs", Vec::new()),
    }
}

fn tree_flags(recursive: bool, itself: bool) -> Vec<String> {
    let names = [(true, "OPEN_TREE_CLONE"), (recursive, "AT_RECURSIVE"), (itself, "AT_SYMLINK_NOFOLLOW")];
    names.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| (*name).to_owned()).collect()
}

/// Where the id mappings of a mount come from.
fn user_namespace(ids: &Ids) -> Shown {
    match ids {
        Ids::Maps(IdMaps { uid, gid }) => {
            Shown { name: "ids", text: format!("ids={uid:?},{gid:?}"), value: json!([uid, gid]) }
        }
        Ids::Namespace(path) => Shown { name: "ids", text: format!("ids={path:?}"), value: path_text(path).into() },
    }
}

fn write(pointer: Pointer, file: &'static str, content: String) -> Deed {
    let file = Shown { name: "file", text: format!("\"/proc/PID/{file}\""), value: file.into() };
    let content = Shown { name: "content", text: format!("{content:?}"), value: content.into() };
    Deed { pointer: pointer.to_string(), name: "write", fields: vec![file, content] }
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
        Step::ChangeDirectory { path } => format!("changing to the directory {path:?}"),
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
