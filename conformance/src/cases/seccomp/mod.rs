//! seccomp: what profiles do, seen on processes that make the calls.

mod actions;
mod architectures;
mod engines;
mod exec;
mod flags;
mod notify;
mod order;
mod profiles;
mod rules;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, Test, eventually};
use crate::case::{Case, UNFILTERED, case};
use crate::cases::process::status_line;
use crate::expect::{Stop, Verdict, check, same, some};
use crate::kind::Kind;
use crate::probe::with_probe;

pub(crate) fn cases() -> Vec<Case> {
    [
        actions::cases(),
        rules::cases(),
        architectures::cases(),
        profiles::cases(),
        order::cases(),
        exec::cases(),
        flags::cases(),
        notify::cases(),
        engines::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An errno that no call answers by itself.
const MARK: u16 = 1234;

/// What a call with [`MARK`] answers.
const MARKED: &str = "-1234";

/// A bundle with the probe and a profile.
fn filtered<'t>(t: &'t Test, default: &str, rules: &[Value]) -> Verdict<Bundle<'t>> {
    let profile = json!({"defaultAction": default, "syscalls": rules});
    Ok(with_probe(t.bundle()?)?.set("/linux/seccomp", profile))
}

/// A rule for these calls.
fn rule(names: &[&str], action: &str) -> Value {
    json!({"names": names, "action": action})
}

/// A rule that these calls answer this errno.
fn errno(names: &[&str], errno: u16) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

/// The rule with this condition, too.
fn when(mut rule: Value, index: u32, operator: &str, value: u64, value_two: u64) -> Value {
    let condition = json!({"index": index, "op": operator, "value": value, "valueTwo": value_two});
    match &mut rule["args"] {
        Value::Array(conditions) => conditions.push(condition),
        conditions => *conditions = json!([condition]),
    }
    rule
}

/// A call as the probe takes it.
fn call(number: i64, arguments: &[u64]) -> String {
    arguments.iter().fold(number.to_string(), |word, argument| format!("{word},{argument}"))
}

/// What the probe prints, by lines.
fn probe(b: Bundle, verb: &str, calls: &[String]) -> Verdict<Vec<String>> {
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let output = b.args(&[&["/bin/probe", verb], &calls[..]].concat()).stdout()?;
    Ok(output.lines().map(str::to_owned).collect())
}

/// What the calls answer, each in a process of its own.
fn each(b: Bundle, calls: &[String]) -> Verdict<Vec<String>> {
    probe(b, "each", calls)
}

/// The container is refused by create (crun finds out later), `ours` with this text, and nothing of it is left.
fn refused(b: Bundle, ours: &str, peers: &[&str]) -> Verdict {
    let b = b.args(&["true"]);
    let output = if b.test.kind == Kind::Crun { b.run()? } else { b.create_with(&[])? };
    output.refuses(b.test, ours, peers)?;
    b.is_gone()
}

const DOCKER: &str = include_str!("../../../fixtures/docker-default.json");

/// The names that Docker's default profile allows, and clone, whatever the arguments.
fn allowed_by_docker() -> Verdict<Vec<String>> {
    let config: Value = serde_json::from_str(DOCKER)?;
    let rules = some("the profile's calls", config["linux"]["seccomp"]["syscalls"].as_array())?;
    let allowed = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null());
    let names = allowed.flat_map(|rule| rule["names"].as_array()).flatten().filter_map(Value::as_str);
    Ok(names.chain(["clone"]).map(str::to_owned).collect())
}
