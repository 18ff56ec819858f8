//! Any bytes as `config.json`: read, compiled and printed without a panic and in little memory. What is accepted is a
//! program that holds together, the same each time; what is refused names a place in the document.
//!
//! Bytes that do not begin as a JSON object are changes to a configuration that is accepted, so that
//! more than the first check is reached.
#![no_main]

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::{CompileOptions, Config, ConfigError, Program, SOURCE_BATCH, compile};
use no_frills_fuzz::{check_place, default_config, document, within};
use no_frills_plan::{Plan, Step};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(value) = document(default_config, bytes) else {
        // What is not JSON is refused with its line and column.
        let error = Config::from_json(bytes).expect_err("no JSON");
        assert!(error.pointer.is_empty() && error.message.contains("line"), "{error}");
        return Corpus::Reject;
    };
    // The text that it is printed as is what is kept of it.
    let text = value.to_string().into_bytes();
    let read = within((16 << 20) + 64 * text.len(), || read(&text));
    match &read {
        Ok((_, program)) => check_program(program),
        Err(error) => check_place(&value, &error.pointer, &error.message),
    }
    let again = Config::from_value(&value).and_then(|config| Ok((compile_it(&config)?, config)));
    match (read, again) {
        (Ok((config, program)), Ok((other, of_other))) => {
            assert_eq!(config.document(), text);
            assert_eq!(config.warnings(), of_other.warnings());
            assert_eq!(program.steps.bytes(), other.steps.bytes());
        }
        (Err(error), Err(other)) => assert_eq!(error, other),
        (read, _) => panic!("taken once only: {:?}", read.err()),
    }
    Corpus::Keep
});

fn read(text: &[u8]) -> Result<(Config, Program), ConfigError> {
    let config = Config::from_json(text)?;
    let program = compile_it(&config)?;
    Ok((config, program))
}

fn compile_it(config: &Config) -> Result<Program, ConfigError> {
    compile(config, &CompileOptions::new(Path::new("/bundle"), "fuzz"))
}

fn check_program(program: &Program) {
    check_sources(program);
    assert_eq!(program.pointers.len(), program.steps.count() as usize);
    assert!(!program.describe().is_empty());
    let json: Value = program.to_json();
    assert!(json.is_object());
    let last = program.steps.count().saturating_sub(1);
    for step in [0, last / 2, last] {
        assert!(!program.action(step).is_empty());
    }
}

/// Steps name sources of the batch that init holds.
fn check_sources(program: &Program) {
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
