//! A document out of which is taken what was refused, so that the rest can be looked at, and the way back from places in what is
//! left to places in the whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::distance;
use crate::config::{NAMESPACES, escape};

/// A configuration as it was read, and what was taken out of it and put into it since. All places are JSON pointers into the
/// whole, if nothing else is said.
pub(super) struct Document {
    value: Value,
    gone: BTreeSet<String>,
    put: BTreeMap<String, Value>,
}

impl Document {
    pub(super) fn new(value: Value) -> Document {
        Document { value, gone: BTreeSet::new(), put: BTreeMap::new() }
    }

    /// The whole, as it was read.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// What is left, with what was put in.
    pub(super) fn current(&self) -> Value {
        self.rest("", &self.value).unwrap_or_else(|| json!({}))
    }

    fn rest(&self, at: &str, value: &Value) -> Option<Value> {
        if let Some(put) = self.put.get(at) {
            return Some(put.clone());
        }
        if self.gone.contains(at) {
            return None;
        }
        Some(match value {
            Value::Array(items) => {
                let rest =
                    items.iter().enumerate().filter_map(|(index, item)| self.rest(&format!("{at}/{index}"), item));
                Value::Array(rest.collect())
            }
            Value::Object(members) => {
                let rest = members.iter().filter_map(|(name, member)| {
                    Some((name.clone(), self.rest(&format!("{at}/{}", escape(name)), member)?))
                });
                let mut rest: Map<String, Value> = rest.collect();
                for (pointer, put) in &self.put {
                    if let Some((parent, name)) = pointer.rsplit_once('/')
                        && parent == at
                    {
                        rest.insert(name.to_owned(), put.clone());
                    }
                }
                Value::Object(rest)
            }
            other => other.clone(),
        })
    }

    /// The place in the whole of a place in [`current`](Document::current).
    pub(super) fn original(&self, pointer: &str) -> String {
        let mut at = String::new();
        let mut value = Some(&self.value);
        for token in pointer.split('/').skip(1) {
            let mut token = token.to_owned();
            if let (Some(Value::Array(items)), Ok(index)) = (value, token.parse::<usize>()) {
                let left = (0..items.len()).filter(|index| !self.gone.contains(&format!("{at}/{index}")));
                if let Some(index) = left.into_iter().nth(index) {
                    token = index.to_string();
                }
            }
            at.push('/');
            at.push_str(&token);
            value = self.value.pointer(&at);
        }
        at
    }

    /// Whether the place is one of what was taken out or put in, or lies in such a one.
    pub(super) fn is_changed(&self, pointer: &str) -> bool {
        let is_in = |changed: &String| {
            pointer.strip_prefix(changed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.gone.iter().chain(self.put.keys()).any(is_in)
    }

    /// Whether something in the place was taken out: what is wrong with the rest may come from that.
    pub(super) fn is_changed_beneath(&self, pointer: &str) -> bool {
        let is_beneath = |changed: &String| changed.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'));
        !pointer.is_empty() && self.gone.iter().chain(self.put.keys()).any(is_beneath)
    }

    /// Takes out what is refused, or puts in what is missing. `false`: it cannot be.
    pub(super) fn put_right(&mut self, pointer: &str, message: &str) -> bool {
        // Without it all that needs such a namespace would be wrong, too.
        if message.starts_with("unknown namespace type")
            && let Some(meant) = self.value.pointer(pointer).and_then(Value::as_str).and_then(meant_namespace)
            && !self.put.contains_key(pointer)
        {
            self.put.insert(pointer.to_owned(), meant.into());
            return true;
        }
        let is_there = self.value.pointer(pointer).is_some_and(|value| !value.is_null());
        if is_there && !pointer.is_empty() && !self.is_changed(pointer) {
            self.gone.insert(pointer.to_owned());
            return true;
        }
        if let Some(value) = what_has_to_be(pointer)
            && self.put.get(pointer) != Some(&value)
        {
            self.put.insert(pointer.to_owned(), value);
            return true;
        }
        // Without it, what it is missing in is wrong as a whole.
        match pointer.rsplit_once('/') {
            Some(("" | "/linux" | "/process" | "/root", _)) | None => false,
            Some((parent, _)) => self.put_right(parent, ""),
        }
    }
}

/// What stands for a setting that has to be there, so that the others can be looked at.
fn what_has_to_be(pointer: &str) -> Option<Value> {
    Some(match pointer {
        "/ociVersion" => json!("1.3.0"),
        "/root" => json!({"path": "/"}),
        "/root/path" | "/process/cwd" | "/linux/seccomp/listenerPath" => json!("/"),
        "/process/args" => json!(["/"]),
        "/linux/seccomp/defaultAction" => json!("SCMP_ACT_ALLOW"),
        "/linux/uidMappings" | "/linux/gidMappings" => json!([{"containerID": 0, "hostID": 0, "size": u32::MAX}]),
        "/linux/namespaces" => NAMESPACES
            .iter()
            .filter(|(_, name)| !matches!(*name, "user" | "time"))
            .map(|(_, name)| json!({"type": name}))
            .collect(),
        _ => return None,
    })
}

/// The type of namespace that a misspelled one was probably meant to be.
pub(super) fn meant_namespace(name: &str) -> Option<&'static str> {
    match name {
        "net" => Some("network"),
        "mnt" => Some("mount"),
        name => distance::nearest(name, NAMESPACES.iter().map(|(_, name)| *name)),
    }
}
