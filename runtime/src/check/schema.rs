//! What of a document the specification's schema does not have, or has otherwise. The runtime takes it, since the specification wants unknown
//! names ignored and engines are generous, so these are warnings: what the runtime refuses has been told by then.

use serde_json::Value;

use super::{Report, distance};
use crate::config::escape;

/// The settings of specification 1.3 by place, made from its schema (schema/config-schema.json and what that refers to), and what
/// earlier versions had. A line is a JSON pointer, in which `*` is any item or member; a letter, the type: a, b, i, o, s for array, boolean, integer,
/// object and string; and the members that are required, with commas. What has no members here is not looked into.
const SCHEMA: &str = include_str!("schema-1.3.txt");

/// What was once used, and what has taken its place.
const DEPRECATED: [(&str, &str); 6] = [
    (
        "/hooks/prestart",
        "deprecated since 1.1 of the specification; use createRuntime, createContainer or startContainer",
    ),
    ("/linux/intelRdt/enableCMT", "deprecated since 1.3 of the specification; use enableMonitoring"),
    ("/linux/intelRdt/enableMBM", "deprecated since 1.3 of the specification; use enableMonitoring"),
    (
        "/linux/resources/memory/kernel",
        "not recommended by the specification, and without effect on cgroup v2; remove it",
    ),
    (
        "/linux/resources/memory/kernelTCP",
        "not recommended by the specification, and without effect on cgroup v2; remove it",
    ),
    ("/linux/resources/memory/useHierarchy", "has no effect on cgroup v2, all of which is hierarchical; remove it"),
];

struct Line {
    pointer: &'static str,
    kind: &'static str,
    required: &'static str,
}

fn lines() -> impl Iterator<Item = Line> {
    SCHEMA.lines().map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or("");
        Line { pointer: word().trim_end_matches('/'), kind: word(), required: word() }
    })
}

pub(super) fn check(document: &Value, report: &mut Report) {
    if let Some(root) = lines().find(|line| line.pointer.is_empty()) {
        look_at(document, "", &root, report);
    }
    for (pointer, why) in DEPRECATED {
        let asks = |value: &&Value| {
            !matches!(value, Value::Null | Value::Bool(false)) && value.as_array().is_none_or(|items| !items.is_empty())
        };
        if document.pointer(pointer).filter(asks).is_some_and(|value| value.as_i64() != Some(0)) {
            let (what, remedy) = why.split_once("; ").unwrap_or((why, ""));
            report.add_with(super::Severity::Warning, pointer.to_owned(), what.to_owned(), remedy.to_owned());
        }
    }
}

fn look_at(value: &Value, at: &str, line: &Line, report: &mut Report) {
    let (expected, fits) = match line.kind {
        "a" => ("an array", value.is_array()),
        "b" => ("a boolean", value.is_boolean()),
        "i" => ("an integer", value.is_i64() || value.is_u64()),
        "o" => ("an object", value.is_object()),
        _ => ("a string", value.is_string()),
    };
    if !fits {
        // Most of these are errors, which have been told.
        if !report.problems.iter().any(|problem| problem.pointer == at) {
            report.warning(at, format!("the specification has {expected} here"));
        }
        return;
    }
    let children = || {
        lines().filter_map(|child| {
            let name = child.pointer.strip_prefix(line.pointer)?.strip_prefix('/')?;
            (!name.contains('/')).then_some((name, child))
        })
    };
    if children().next().is_none() {
        return;
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some((_, child)) = children().next() {
                    look_at(item, &format!("{at}/{index}"), &child, report);
                }
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let at = format!("{at}/{}", escape(name));
                match children().find(|(known, _)| known == name || *known == "*") {
                    Some((_, child)) if !member.is_null() => look_at(member, &at, &child, report),
                    Some(_) => {}
                    None => unknown(name, at, children().map(|(known, _)| known), report),
                }
            }
            for required in line.required.split(',').filter(|name| !name.is_empty()) {
                let pointer = format!("{at}/{required}");
                let is_told = || report.problems.iter().any(|problem| problem.pointer == pointer);
                if members.get(required).is_none_or(Value::is_null) && !is_told() {
                    report.warning(pointer, "required by the specification, but missing");
                }
            }
        }
        _ => {}
    }
}

fn unknown(name: &str, at: String, known: impl Iterator<Item = &'static str>, report: &mut Report) {
    let message = "no setting of the specification, and ignored";
    let remedy = match distance::nearest(name, known) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => "remove it, or keep it if it is meant for another program".to_owned(),
    };
    report.add_with(super::Severity::Warning, at, message.to_owned(), remedy);
}
