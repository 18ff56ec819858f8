//! Any bytes as `config.json`: read, compiled and printed without a panic. What is accepted is a
//! program that holds together; what is refused names a place in the document.
//!
//! Bytes that do not begin as a JSON object are changes to a configuration that is accepted, so that
//! more than the first check is reached: three bytes for each, the place and the new value.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::{CompileOptions, Config, ConfigError, SOURCE_BATCH, compile};
use no_frills_plan::{Plan, Step};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let value = match bytes.first() {
        Some(b'{') => serde_json::from_slice(bytes),
        _ => Ok(changed(bytes)),
    };
    // What is not JSON does not reach this project's code.
    let Ok(value) = value else { return Corpus::Reject };
    let options = CompileOptions::new(Path::new("/bundle"), "fuzz");
    let config = match Config::from_value(&value) {
        Ok(config) => config,
        Err(error) => {
            check_error(&value, &error);
            return Corpus::Keep;
        }
    };
    match compile(&config, &options) {
        Ok(program) => {
            check_sources(&program);
            assert_eq!(program.pointers.len(), program.steps.count() as usize);
            assert!(!program.describe().is_empty());
            assert!(program.to_json().is_object());
            let last = program.steps.count().saturating_sub(1);
            assert!(!program.action(last / 2).is_empty());
        }
        Err(error) => check_error(&value, &error),
    }
    Corpus::Keep
});

/// Values that mean something somewhere.
fn interesting() -> Vec<Value> {
    let texts = [
        "",
        "/",
        "..",
        "/..",
        "/a/../b",
        "a",
        "/proc",
        "/proc/stat",
        "/dev",
        "/dev/null",
        "/dev/ptmx",
        "/sys",
        "tmpfs",
        "bind",
        "none",
        "cgroup",
        "ro",
        "rro",
        "rbind",
        "remount",
        "shared",
        "private",
        "size=1",
        "idmap",
        "user",
        "uts",
        "network",
        "c",
        "p",
        "CAP_KILL",
        "RLIMIT_CPU",
        "a:b:c",
        "PATH=",
        "x\0",
        "rwm",
        "1.0.0",
        "\u{10ffff}",
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(4095),
        json!(4096),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.5),
    ];
    let other = [
        Value::Null,
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!({"type": "user"}),
        json!({"type": "c", "path": "/dev/x", "major": 1, "minor": 2}),
        json!({"destination": "/dev", "type": "bind", "source": "/s", "options": ["rbind", "ro", "shared"]}),
        json!({"destination": "/m", "type": "tmpfs", "options": ["ro", "slave"]}),
        json!([{"containerID": 0, "hostID": 5, "size": 10}]),
    ];
    texts.into_iter().map(Value::from).chain(numbers).chain(other).collect()
}

/// The default configuration with changes.
fn changed(bytes: &[u8]) -> Value {
    let mut value: Value = serde_json::from_str(include_str!("../../runtime/tests/golden/default.json")).expect("JSON");
    let interesting = interesting();
    for change in bytes.chunks_exact(3).take(16) {
        let [place_high, place_low, new] = *change else { break };
        let mut countdown = u16::from_be_bytes([place_high, place_low]) % 512;
        let new = &interesting[usize::from(new) % interesting.len()];
        visit(&mut value, &mut countdown, new);
    }
    value
}

/// Replaces the value that is reached when the countdown ends, or adds to the array that is there.
fn visit(value: &mut Value, countdown: &mut u16, new: &Value) -> bool {
    if *countdown == 0 {
        match value {
            Value::Array(items) if !new.is_array() => items.push(new.clone()),
            other => *other = new.clone(),
        }
        return true;
    }
    *countdown -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| visit(item, countdown, new)),
        Value::Object(members) => members.values_mut().any(|member| visit(member, countdown, new)),
        _ => false,
    }
}

/// The place that an error names is in the document, or its parent is, or the parent of that.
fn check_error(value: &Value, error: &ConfigError) {
    assert!(!error.message.is_empty());
    let mut pointer = error.pointer.as_str();
    for _ in 0..3 {
        if value.pointer(pointer).is_some() {
            return;
        }
        pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    panic!("{error}: there is no such place");
}

/// Steps name sources of the batch that init holds.
fn check_sources(program: &no_frills::Program) {
    let plan = Plan::decode(program.steps.bytes()).expect("an own plan");
    let mut batches = program.sources.chunks(SOURCE_BATCH);
    let mut held = batches.next().map_or(0, <[_]>::len);
    for step in plan.steps() {
        match step.expect("an own step") {
            Step::ReceiveSources {} => {
                held = batches.next().map_or(0, <[_]>::len);
                assert!(held > 0);
            }
            Step::UseSource { source }
            | Step::AttachRoot { source }
            | Step::AttachRootAt { source, .. }
            | Step::UseProcfs { source }
            | Step::JoinNamespaces { source, .. } => assert!((source as usize) < held),
            Step::Mask { null, .. } => assert!((null as usize) < held),
            _ => {}
        }
    }
    assert!(batches.next().is_none());
}
