//! Golden plans: what is done for a configuration, as printed, kept beside it.
//!
//! `golden/NAME.json` (or `fixtures/NAME.json`, without what this version refuses) is compiled, printed
//! and compared with `golden/NAME.plan`. After a wanted change: `BLESS=1 cargo test -p no-frills --test
//! golden`, and read the difference.
#![allow(clippy::unwrap_used, reason = "the functions around the tests are tests too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use no_frills::{CompileOptions, Config, Program, compile};
use no_frills_plan::BEFORE_STEPS;
use serde_json::Value;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Reads a configuration; what is refused as not supported is taken out and told.
fn read(path: &Path) -> (Value, Vec<String>) {
    let mut spec: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut refused = Vec::new();
    while let Err(error) = Config::from_value(&spec) {
        assert!(error.message.contains("not supported yet"), "{}: {error}", path.display());
        refused.push(error.to_string());
        let (parent, name) = error.pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    }
    (spec, refused)
}

fn program(spec: &Value) -> (Config, Program) {
    let options = CompileOptions::new(Path::new("/bundle"), "golden");
    let config = Config::from_value(spec).unwrap();
    let program = compile(&config, &options).unwrap();
    (config, program)
}

/// Compares with the file, or writes it.
fn check(file: &Path, found: &str) -> Result<(), String> {
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, found).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    if expected == found {
        return Ok(());
    }
    let lines = expected.lines().zip(found.lines()).enumerate();
    let first = lines.into_iter().find(|(_, (expected, found))| expected != found);
    let place = first.map_or_else(
        || format!("{} lines, expected {}", found.lines().count(), expected.lines().count()),
        |(line, (expected, found))| format!("line {}\nexpected: {expected}\n   found: {found}", line + 1),
    );
    Err(format!("{}: {place}", file.display()))
}

#[test]
fn plans_are_as_they_were() {
    let mut inputs: Vec<PathBuf> = Vec::new();
    for name in ["golden", "fixtures"] {
        let entries = fs::read_dir(directory(name)).unwrap().map(|entry| entry.unwrap().path());
        // Of a process alone there is no plan.
        inputs.extend(entries.filter(|path| {
            path.extension().is_some_and(|kind| kind == "json") && !path.to_string_lossy().contains("-process.")
        }));
    }
    assert!(inputs.len() >= 12, "{inputs:?}");
    let mut failures = Vec::new();
    for input in inputs {
        let (spec, refused) = read(&input);
        let (config, program) = program(&spec);
        let mut text = String::new();
        for (kind, lines) in [("refused", refused.as_slice()), ("warning", config.warnings())] {
            for line in lines {
                text.push_str(&format!("{kind} {line}\n"));
            }
        }
        text.push_str(&program.describe());
        let file = directory("golden").join(input.file_stem().unwrap()).with_extension("plan");
        failures.extend(check(&file, &text).err());
    }
    assert!(failures.is_empty(), "{}\n(BLESS=1 writes them anew)", failures.join("\n"));
}

/// One array element to a line.
fn lines(value: &Value) -> String {
    let mut text = String::from("{\n");
    for (name, items) in value.as_object().unwrap() {
        let items: Vec<String> = items.as_array().unwrap().iter().map(|item| format!("    {item}")).collect();
        text.push_str(&format!("  \"{name}\": [\n{}\n  ],\n", items.join(",\n")));
    }
    text.truncate(text.len() - 2);
    text + "\n}\n"
}

#[test]
fn the_json_of_a_plan_is_as_it_was() {
    let (_, program) = program(&read(&directory("golden").join("default.json")).0);
    let text = lines(&program.to_json());
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), program.to_json());
    check(&directory("golden").join("default.plan.json.golden"), &text).unwrap();
}

#[test]
fn text_and_json_tell_the_same_steps() {
    let (_, program) = program(&read(&directory("golden").join("options.json")).0);
    let json = program.to_json();
    let text = program.describe();
    let (parent, init) = text.split_once("init\n").unwrap();
    assert_eq!(parent.lines().count() - 1, json["parent"].as_array().unwrap().len());
    let steps = json["init"].as_array().unwrap();
    assert_eq!(steps.len(), program.steps.count() as usize);
    for (line, step) in init.lines().zip(steps) {
        assert!(line.contains(step["name"].as_str().unwrap()), "{line}");
        assert!(line.ends_with(step["pointer"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn every_step_has_an_action_for_error_texts() {
    let (_, program) = program(&read(&directory("golden").join("default.json")).0);
    let actions: Vec<String> = (0..program.steps.count()).map(|step| program.action(step)).collect();
    for expected in [
        "mounting \"/bundle/rootfs\" as the root",
        "mounting \"sysfs\" on \"/sys\"",
        "mounting \"tmpfs\" on \"/dev\": option \"size=65536k\"",
        "mounting \"devpts\" on \"/dev/pts\"",
        "making the device \"null\"",
        "masking \"/proc/kcore\"",
        "preparing \"/dev/null\"",
        "dropping CAP_SYS_ADMIN from the bounding set",
        "setting RLIMIT_NOFILE to 1024, 1024",
    ] {
        assert!(actions.iter().any(|action| action == expected), "{expected} is not in {actions:#?}");
    }
    assert_eq!(program.action(u32::MAX - 1), format!("step {}", u32::MAX - 1));
    assert_eq!(program.action(BEFORE_STEPS), "preparing the container's first process");
}

/// Not a test of correctness: prints how long reading and compiling take.
/// `cargo test --release -p no-frills --test golden -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn time_to_compile() {
    for path in [directory("golden").join("default.json"), directory("fixtures").join("docker-default.json")] {
        let bytes = serde_json::to_vec_pretty(&read(&path).0).unwrap();
        let measure = |what: &str, deed: &dyn Fn()| {
            let mut times: Vec<_> = (0..2000)
                .map(|_| {
                    let begin = Instant::now();
                    deed();
                    begin.elapsed()
                })
                .collect();
            let first = times[0];
            times.sort_unstable();
            println!("{}: {what}: first {first:?}, median {:?}", path.display(), times[times.len() / 2]);
        };
        let options = CompileOptions::new(Path::new("/b"), "x");
        measure("all", &|| drop(compile(&Config::from_json(&bytes).unwrap(), &options).unwrap()));
        measure("JSON alone", &|| drop(serde_json::from_slice::<Value>(&bytes).unwrap()));
        measure("JSON and checks", &|| drop(Config::from_json(&bytes).unwrap()));
    }
}
