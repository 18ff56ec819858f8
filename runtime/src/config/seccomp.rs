//! `linux.seccomp`: which system calls the process may make.

use no_frills_seccomp::{Action, Architecture, Condition, Operator, Profile, Rule};
use no_frills_sys::seccomp::{LOG, SPEC_ALLOW, TSYNC, WAIT_KILLABLE_RECV};

use super::reader::{Node, Result};

/// A profile, and how it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seccomp {
    pub(crate) default_action: Action,
    pub(crate) architectures: Vec<Architecture>,
    pub(crate) rules: Vec<SyscallRule>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) flags: u32,
    /// Absolute; empty without one.
    pub(crate) listener_path: String,
    pub(crate) listener_metadata: String,
}

/// One of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyscallRule {
    /// One after the other, with a NUL between two: they are many, and to keep each by itself costs more than to look at it.
    names: String,
    pub(crate) action: Action,
    pub(crate) conditions: Vec<Condition>,
}

impl Seccomp {
    /// Whether a rule asks for notifications, if only of calls that there are not.
    pub(crate) fn notifies(&self) -> bool {
        self.default_action == Action::Notify || self.rules.iter().any(|rule| rule.action == Action::Notify)
    }

    /// What is compiled to a filter.
    pub(crate) fn profile(&self) -> Profile<'_> {
        Profile {
            default_action: self.default_action,
            architectures: self.architectures.clone(),
            rules: self.rules.iter().map(SyscallRule::rule).collect(),
        }
    }
}

impl SyscallRule {
    /// The names of the system calls.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split('\0')
    }

    fn rule(&self) -> Rule<'_> {
        Rule { names: self.names().collect(), action: self.action, conditions: self.conditions.clone() }
    }
}

/// The flags by name, sorted.
pub(crate) const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
];

pub(super) fn read(linux: &Node<'_, '_>) -> Result<Option<Seccomp>> {
    let Some(node) = linux.given("seccomp")? else { return Ok(None) };
    let default_action = read_action(&node, "defaultAction", "defaultErrnoRet")?;
    let architectures = node.each("architectures", |item| {
        let name = item.text()?;
        let known = Architecture::from_name(name);
        let known = known.map_err(|error| item.error(format!("architecture {name:?}: {error}")))?;
        if known.byte_order() != Architecture::NATIVE.byte_order() {
            return Err(item.error(format!("{name} has another byte order than this machine")));
        }
        Ok(known)
    })?;
    let rules = node.each("syscalls", read_rule)?;
    let seccomp = Seccomp {
        default_action,
        architectures,
        rules,
        flags: read_flags(&node)?,
        listener_path: read_listener_path(&node)?,
        listener_metadata: node.text_of("listenerMetadata")?.to_owned(),
    };
    match (seccomp.notifies(), seccomp.listener_path.is_empty(), seccomp.listener_metadata.is_empty()) {
        (true, true, _) => Err(node.missing("listenerPath")),
        // Somebody meant it to be sent somewhere.
        (_, true, false) => {
            Err(node.required("listenerMetadata")?.error("there is no listenerPath that it could go to"))
        }
        _ => Ok(Some(seccomp)),
    }
}

fn read_rule(node: &Node<'_, '_>) -> Result<SyscallRule> {
    let names = node.required("names")?;
    let mut all = String::with_capacity(16 * names.items()?.len());
    for item in names.items()? {
        let name = item.text()?;
        if name.is_empty() {
            return Err(item.error("must not be empty"));
        }
        if !all.is_empty() {
            all.push('\0');
        }
        all.push_str(name);
    }
    if all.is_empty() {
        return Err(names.error("names no system call"));
    }
    Ok(SyscallRule {
        names: all,
        action: read_action(node, "action", "errnoRet")?,
        conditions: node.each("args", read_condition)?,
    })
}

fn read_condition(node: &Node<'_, '_>) -> Result<Condition> {
    const LAST_ARGUMENT: u64 = 5;
    let op = node.required("op")?;
    let name = op.text()?;
    let Some(operator) = Operator::from_name(name) else { return Err(op.error(format!("unknown operator {name:?}"))) };
    Ok(Condition {
        argument: node.required("index")?.unsigned(LAST_ARGUMENT)? as u8,
        operator,
        value: node.required("value")?.unsigned(u64::MAX)?,
        value_two: node.member("valueTwo")?.map_or(Ok(0), |two| two.unsigned(u64::MAX))?,
    })
}

fn read_action(node: &Node<'_, '_>, member: &'static str, errno: &'static str) -> Result<Action> {
    let action = node.required(member)?;
    let name = action.text()?;
    let errno = node.member(errno)?;
    // As peers have it.
    let default = nix::errno::Errno::EPERM as u64;
    // The kernel makes a smaller one of it (MAX_ERRNO); a tracer gets all of the 16 bits.
    let most = if name == "SCMP_ACT_ERRNO" { 4095 } else { u16::MAX.into() };
    let data = errno.as_ref().map_or(Ok(default), |errno| errno.unsigned(most))? as u16;
    match (Action::from_name(name, data), errno) {
        (None, _) => Err(action.error(format!("unknown action {name:?}"))),
        (Some(known @ (Action::Errno(_) | Action::Trace(_))), _) | (Some(known), None) => Ok(known),
        (Some(_), Some(errno)) => Err(errno.error(format!("{name} takes no errno"))),
    }
}

/// Where there are none, the mitigation of Speculative Store Bypass is left off, as runc has it: it slows programs down a lot.
fn read_flags(node: &Node<'_, '_>) -> Result<u32> {
    if node.member("flags")?.is_none() {
        return Ok(SPEC_ALLOW);
    }
    let mut flags = 0;
    node.each("flags", |item| {
        let name = item.text()?;
        let known = FLAGS.iter().find(|(known, _)| name == *known);
        flags |= known.ok_or_else(|| item.error(format!("unknown flag {name:?}")))?.1;
        Ok(())
    })?;
    Ok(flags)
}

fn read_listener_path(node: &Node<'_, '_>) -> Result<String> {
    let Some(path) = node.member("listenerPath")? else { return Ok(String::new()) };
    match path.text()? {
        text if text.is_empty() || text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(path.error("must be an absolute path")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    fn spec(seccomp: &Value) -> Value {
        json!({"ociVersion": "1.3.0", "root": {"path": "r"}, "linux": {"seccomp": seccomp}})
    }

    fn accepted(seccomp: &Value) -> Seccomp {
        Config::from_value(&spec(seccomp)).unwrap().linux.seccomp.unwrap().as_ref().clone()
    }

    fn refused(seccomp: &Value) -> String {
        Config::from_value(&spec(seccomp)).unwrap_err().to_string()
    }

    #[test]
    fn all_of_a_profile_is_read() {
        let seccomp = accepted(&json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "listenerPath": "/run/agent",
            "listenerMetadata": "m",
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null},
                {"names": ["clone"], "action": "SCMP_ACT_NOTIFY",
                 "args": [{"index": 5, "value": u64::MAX, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["ptrace"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535, "args": []},
            ],
        }));
        let condition = Condition { argument: 5, operator: Operator::MaskedEqual, value: u64::MAX, value_two: 7 };
        let rule = |names: &[&str], action, conditions: &[Condition]| SyscallRule {
            names: names.join("\0"),
            action,
            conditions: conditions.to_vec(),
        };
        let expected = Seccomp {
            default_action: Action::Errno(38),
            architectures: vec![Architecture::X86_64, Architecture::X86],
            rules: vec![
                rule(&["read", "write"], Action::Allow, &[]),
                rule(&["clone"], Action::Notify, &[condition]),
                rule(&["ptrace"], Action::Trace(65535), &[]),
            ],
            flags: LOG | WAIT_KILLABLE_RECV,
            listener_path: "/run/agent".to_owned(),
            listener_metadata: "m".to_owned(),
        };
        assert_eq!(seccomp, expected);
    }

    #[test]
    fn what_is_left_out_is_as_peers_have_it() {
        let seccomp = accepted(&json!({"defaultAction": "SCMP_ACT_ERRNO"}));
        assert_eq!((seccomp.default_action, seccomp.flags), (Action::Errno(1), SPEC_ALLOW));
        assert_eq!(accepted(&json!({"defaultAction": "SCMP_ACT_KILL", "flags": []})).flags, 0);
    }

    #[test]
    fn every_complaint_names_its_place() {
        let with = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let argument = |argument: Value| with(json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [argument]}));
        let top = |name: &str, value: Value| {
            let mut seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW"});
            seccomp[name] = value;
            seccomp
        };
        for (seccomp, error) in [
            (json!({"flags": []}), "/defaultAction: required, but missing"),
            (json!({"defaultAction": "SCMP_ACT_X"}), "/defaultAction: unknown action \"SCMP_ACT_X\""),
            (json!({"defaultAction": "ALLOW"}), "/defaultAction: unknown action \"ALLOW\""),
            (top("defaultErrnoRet", json!(1)), "/defaultErrnoRet: SCMP_ACT_ALLOW takes no errno"),
            (
                top("architectures", json!(["SCMP_ARCH_Z"])),
                "/architectures/0: architecture \"SCMP_ARCH_Z\": no such architecture",
            ),
            (
                top("architectures", json!(["SCMP_ARCH_X86", "SCMP_ARCH_S390X"])),
                "/architectures/1: SCMP_ARCH_S390X has another byte order than this machine",
            ),
            (top("flags", json!(["TSYNC"])), "/flags/0: unknown flag \"TSYNC\""),
            (top("listenerPath", json!("run/agent")), "/listenerPath: must be an absolute path"),
            (top("listenerMetadata", json!("m")), "/listenerMetadata: there is no listenerPath that it could go to"),
            (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "/listenerPath: required, but missing"),
            (with(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})), "/listenerPath: required, but missing"),
            (with(json!({"action": "SCMP_ACT_LOG"})), "/syscalls/0/names: required, but missing"),
            (with(json!({"names": [], "action": "SCMP_ACT_LOG"})), "/syscalls/0/names: names no system call"),
            (with(json!({"names": ["a", ""], "action": "SCMP_ACT_LOG"})), "/syscalls/0/names/1: must not be empty"),
            (with(json!({"names": ["read"]})), "/syscalls/0/action: required, but missing"),
            (
                with(json!({"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
                "/syscalls/0/errnoRet: SCMP_ACT_KILL takes no errno",
            ),
            (
                with(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
                "/syscalls/0/errnoRet: expected an integer from 0 to 4095, found 4096",
            ),
            (
                argument(json!({"index": 6, "value": 0, "op": "SCMP_CMP_EQ"})),
                "/syscalls/0/args/0/index: expected an integer from 0 to 5, found 6",
            ),
            (argument(json!({"value": 0, "op": "SCMP_CMP_EQ"})), "/syscalls/0/args/0/index: required, but missing"),
            (argument(json!({"index": 0, "op": "SCMP_CMP_EQ"})), "/syscalls/0/args/0/value: required, but missing"),
            (argument(json!({"index": 0, "value": 0, "op": "=="})), "/syscalls/0/args/0/op: unknown operator \"==\""),
            (
                argument(json!({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"})),
                "/syscalls/0/args/0/value: expected an integer from 0 to 18446744073709551615, found -1",
            ),
        ] {
            assert_eq!(refused(&seccomp), format!("/linux/seccomp{error}"), "{seccomp}");
        }
    }
}
