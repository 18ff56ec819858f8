//! One mutation: a document changed in a few places, and its bytes.

use serde_json::{Map, Value};

use super::documents::{AGAIN, Base, RAW, settings, values};
use super::random::Random;

/// What a command is given.
#[derive(Debug)]
pub(crate) struct Mutation {
    /// Which document it was.
    pub(crate) base: &'static str,
    /// What was done to it, a word each.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) bytes: Vec<u8>,
}

/// A mutation of one of several documents.
pub(crate) fn mutate(random: &mut Random, bases: &[Base]) -> Option<Mutation> {
    let Base { name, document } = random.of_these(bases)?;
    let mut document = document.clone();
    let mut kinds = Vec::new();
    // Of the text alone, one in eight.
    if !random.one_in(8) {
        for _ in 0..=random.below(3) {
            kinds.extend(change(random, &mut document, bases));
        }
    }
    let mut bytes = Vec::new();
    write(&document, &mut bytes);
    if kinds.is_empty() || random.one_in(20) {
        kinds.push(damage(random, &mut bytes));
    }
    Some(Mutation { base: name, kinds, bytes })
}

/// All places of a document, as JSON pointers.
fn places(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{here}/{index}"), all));
        }
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{here}/{}", name.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        _ => {}
    }
}

fn place(random: &mut Random, document: &Value) -> String {
    let mut all = Vec::new();
    places(document, "", &mut all);
    // Long lists, such as those of system calls, would have nearly all.
    for _ in 0..3 {
        if let Some(place) = random.of_these(&all)
            && !place.contains("/syscalls/")
        {
            return place.clone();
        }
    }
    random.of_these(&all).cloned().unwrap_or_default()
}

fn change(random: &mut Random, document: &mut Value, bases: &[Base]) -> Option<&'static str> {
    let values = values();
    let at = place(random, document);
    Some(match random.below(14) {
        0..=3 => {
            *document.pointer_mut(&at)? = random.of_these(&values)?.clone();
            "value"
        }
        4 => {
            let value = document.pointer_mut(&at)?;
            *value = retyped(random, value);
            "type"
        }
        5 | 6 => {
            delete(document, &at)?;
            "deleted"
        }
        7 => {
            let value = document.pointer(&at)?.clone();
            let other = if random.one_in(2) { random.of_these(&values)?.clone() } else { value };
            double(document, &at, other, if random.one_in(10) { 300 } else { 1 })?;
            "doubled"
        }
        8 => {
            let other = place(random, document);
            let (one, two) = (document.pointer(&at)?.clone(), document.pointer(&other)?.clone());
            *document.pointer_mut(&at)? = two;
            // It may have been in the first, and be gone.
            if let Some(place) = document.pointer_mut(&other) {
                *place = one;
            }
            "swapped"
        }
        9 => {
            let donor = &random.of_these(bases)?.document;
            let from = place(random, donor);
            // The same place of another document, or any.
            let same = donor.pointer(&at).filter(|_| !at.is_empty()).cloned();
            *document.pointer_mut(&at)? = same.or_else(|| donor.pointer(&from).cloned())?;
            "grafted"
        }
        10 | 11 => {
            let (parent, name, value) = random.of_these(&settings())?.clone();
            document.pointer_mut(parent)?.as_object_mut()?.insert(name.to_owned(), value);
            "setting"
        }
        12 => {
            let (parent, name) = split(&at)?;
            let members = document.pointer_mut(parent)?.as_object_mut()?;
            let value = members.remove(&name)?;
            let renamed = match random.below(4) {
                0 => name.to_uppercase(),
                1 => String::new(),
                2 => name + "\u{0}",
                _ => name.chars().rev().collect(),
            };
            members.insert(renamed, value);
            "renamed"
        }
        _ => {
            let depth = *random.of_these(&[3, 120, 130, 5000])?;
            let nested = match random.one_in(2) {
                true => format!("{RAW}{}{}", "[".repeat(depth), "]".repeat(depth)),
                false => format!("{RAW}{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
            };
            *document.pointer_mut(&at)? = nested.into();
            "nested"
        }
    })
}

/// The same in another type.
fn retyped(random: &mut Random, value: &Value) -> Value {
    match (value, random.below(3)) {
        (_, 0) => Value::Array(vec![value.clone()]),
        (_, 1) => Value::Object(Map::from_iter([("a".to_owned(), value.clone())])),
        (Value::String(text), _) => text.parse::<i64>().map_or(Value::Bool(!text.is_empty()), Value::from),
        (Value::Array(items), _) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item.clone()))
            .collect::<Map<_, _>>()
            .into(),
        (Value::Object(members), _) => members.values().cloned().collect(),
        (other, _) => other.to_string().into(),
    }
}

/// A pointer's parent and its last name, without escapes.
fn split(pointer: &str) -> Option<(&str, String)> {
    let (parent, name) = pointer.rsplit_once('/')?;
    Some((parent, name.replace("~1", "/").replace("~0", "~")))
}

fn delete(document: &mut Value, at: &str) -> Option<()> {
    let (parent, name) = split(at)?;
    match document.pointer_mut(parent)? {
        Value::Array(items) => drop(items.remove(name.parse().ok()?)),
        Value::Object(members) => drop(members.remove(&name)),
        _ => {}
    }
    Some(())
}

/// Once more, with this value: an item of an array, or a member of the same name.
fn double(document: &mut Value, at: &str, value: Value, times: usize) -> Option<()> {
    let (parent, name) = split(at)?;
    match document.pointer_mut(parent)? {
        Value::Array(items) => items.extend(std::iter::repeat_n(value, times)),
        Value::Object(members) => drop(members.insert(format!("{AGAIN}{name}"), value)),
        _ => {}
    }
    Some(())
}

/// Bytes changed, whatever they mean.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) -> &'static str {
    let at = random.below(bytes.len());
    match random.below(10) {
        0 | 1 => {
            bytes.truncate(at);
            "cut"
        }
        2 | 3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
            "bit flipped"
        }
        4 => {
            let wrong: [&[u8]; 6] = [b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\n", b"//"];
            bytes.splice(at..at, random.of_these(&wrong).copied().unwrap_or_default().iter().copied());
            "bytes added"
        }
        5 => {
            let end = bytes.len().min(at + 1 + random.below(40));
            bytes.drain(at..end);
            "bytes removed"
        }
        6 => {
            bytes.splice(0..0, *b"\xef\xbb\xbf");
            "byte order mark"
        }
        7 => {
            *bytes = String::from_utf8_lossy(bytes).encode_utf16().flat_map(u16::to_le_bytes).collect();
            "UTF-16"
        }
        8 => {
            bytes.extend_from_slice(
                random.of_these(&[b" {}".as_slice(), b"\0", b"]", b"\n\n", b"x"]).copied().unwrap_or_default(),
            );
            "something after"
        }
        _ => {
            let all: [&[u8]; 5] = [b"", b"null", b"[]", b"\"\"", b"{}"];
            *bytes = random.of_these(&all).copied().unwrap_or_default().to_vec();
            "something else"
        }
    }
}

/// JSON, with what stands for other text as that text.
fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::String(text) if text.starts_with(RAW) => to.extend_from_slice(text.trim_start_matches(RAW).as_bytes()),
        Value::Array(items) => {
            to.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    to.push(b',');
                }
                write(item, to);
            }
            to.push(b']');
        }
        Value::Object(members) => {
            to.push(b'{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    to.push(b',');
                }
                to.extend_from_slice(Value::from(name.trim_start_matches(AGAIN)).to_string().as_bytes());
                to.push(b':');
                write(member, to);
            }
            to.push(b'}');
        }
        other => to.extend_from_slice(other.to_string().as_bytes()),
    }
}
