//! What the parent does.

use std::path::Path;

use no_frills_cgroups::{CgroupsPath, devices};
use serde_json::json;

use super::field::Shown;
use super::names::{CLONE, FILTER_FLAGS, flags, io_class, rlimit, scheduling_policy, tree_flags};
use super::path_text;
use crate::compile::{IdMaps, Ids, MappedIds, Pointer, Program, SOURCE_BATCH, SourceKind};
use crate::config::{Moment, RESOURCES, SCHEDULER_FLAGS, Scheduler};

/// What the parent does, in order: the setting, the call, and the call's arguments.
pub(super) struct Deed {
    pub(super) pointer: String,
    pub(super) name: &'static str,
    pub(super) fields: Vec<Shown>,
}

impl Program {
    pub(super) fn parent(&self) -> Vec<Deed> {
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
}

fn make_cgroup(path: &CgroupsPath) -> Deed {
    let (name, path) = match path {
        CgroupsPath::Fs(path) => ("mkdir_cgroup", path_text(path)),
        CgroupsPath::Systemd { slice, prefix, name } => ("start_scope", format!("{slice}:{prefix}:{name}")),
    };
    let path = Shown { name: "path", text: format!("{path:?}"), value: path.into() };
    Deed { pointer: Pointer::CGROUPS_PATH.to_string(), name, fields: vec![path] }
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
