//! Any bytes as `config.json`: read, compiled and printed without a panic. What is accepted is a
//! program that holds together; what is refused names a place in the document.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::{CompileOptions, Config, ConfigError, SOURCE_BATCH, compile};
use no_frills_plan::{Plan, Step};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // What is not JSON does not reach this project's code.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Corpus::Reject };
    let options = CompileOptions { bundle: Path::new("/bundle"), id: "fuzz", no_pivot: false, no_new_keyring: false };
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
            Step::ReceiveSources { count } => {
                held = batches.next().map_or(0, <[_]>::len);
                assert_eq!(held, count as usize);
            }
            Step::UseSource { source } | Step::AttachRoot { source } => assert!((source as usize) < held),
            Step::Mask { null, .. } => assert!((null as usize) < held),
            _ => {}
        }
    }
    assert!(batches.next().is_none());
}
