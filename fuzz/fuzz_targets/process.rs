//! Any bytes as the `process.json` of exec, or changes to one that is accepted: what is accepted is a plan, the same each time,
//! and is accepted as the process of a container too, with the same plan for a further one; what is refused names a place.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::{Config, ProcessConfig, fuzzing};
use no_frills_fuzz::{check_place, default_config, document, within};
use no_frills_plan::Plan;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let base = || -> Value {
        let engine = include_str!("../../conformance/fixtures/docker-exec-user-process.json");
        serde_json::from_str(engine).expect("JSON")
    };
    let Some(value) = document(base, bytes) else {
        let error = ProcessConfig::from_json(bytes).expect_err("no JSON");
        assert!(error.pointer.is_empty() && error.message.contains("line"), "{error}");
        return Corpus::Reject;
    };
    let text = value.to_string();
    let process = within((1 << 20) + 64 * text.len(), || ProcessConfig::from_json(text.as_bytes()));
    let mut container = default_config();
    container["process"] = value;
    let of_container = Config::from_value(&container);
    let process = match process {
        Ok(process) => process,
        Err(error) => {
            check_place(&container, &error.pointer, &error.message);
            // What exec refuses no container has: but that one may have no process at all, and be in a null process's place.
            assert!(container["process"].is_null() || of_container.is_err(), "{error}");
            return Corpus::Keep;
        }
    };
    let program = compiled(&Config::from_value(&default_config()).expect("the default"), &process);
    assert_eq!(program, compiled(&Config::from_value(&default_config()).expect("the default"), &process));
    if let Ok(config) = of_container
        && let Some(program) = program
    {
        // Which process the container itself has does not matter.
        assert_eq!(compiled(&config, &process), Some(program));
    }
    Corpus::Keep
});

/// The steps; `None`: an id is not there.
fn compiled(config: &Config, process: &ProcessConfig) -> Option<Vec<u8>> {
    let program = fuzzing::compile_process(config, process).ok()?;
    let plan = Plan::decode(program.steps.bytes()).expect("an own plan");
    assert!(plan.steps().all(|step| step.is_ok()));
    assert_eq!(program.pointers.len(), program.steps.count() as usize);
    assert!([0, program.steps.count() - 1].into_iter().all(|step| !program.action(step).is_empty()));
    Some(program.steps.bytes().to_vec())
}
