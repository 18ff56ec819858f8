//! What holds for every setting: what is not supported, and what is odd.

use serde_json::{Value, json};

use super::tests::{accepted, default_spec, fixtures, refused, remove, set};
use super::*;

#[test]
fn what_cannot_be_is_refused_where_it_asks_for_something() {
    for (pointer, value) in [
        ("/linux/resources/memory/swappiness", json!(60)),
        ("/linux/resources/memory/disableOOMKiller", json!(true)),
        ("/linux/resources/cpu/realtimeRuntime", json!(950_000)),
        ("/linux/resources/cpu/realtimePeriod", json!(u64::MAX)),
        ("/linux/resources/blockIO/leafWeight", json!(10)),
        ("/linux/resources/network/classID", json!(1)),
        ("/linux/resources/network/priorities", json!([{}])),
    ] {
        refuse_at(pointer, value, "a setting of cgroup v1, for which cgroup v2 has nothing");
    }
    for platform in ["windows", "solaris", "vm", "zos", "freebsd"] {
        refuse_at(&format!("/{platform}/x"), json!(1), OTHER_PLATFORM);
    }
}

/// Puts a value where it may need objects around it; the pointer named is its own, or that of an
/// object around it that is refused as a whole.
#[track_caller]
fn refuse_at(pointer: &str, value: Value, why: &str) {
    let mut spec = default_spec();
    let names: Vec<&str> = pointer.split('/').skip(1).collect();
    let mut at = String::new();
    for name in &names[..names.len() - 1] {
        at = format!("{at}/{name}");
        if spec.pointer(&at).is_none() {
            set(&mut spec, &at, json!({}));
        }
    }
    set(&mut spec, pointer, value);
    let error = Config::from_value(&spec).expect_err(pointer);
    assert_eq!(error.message, why, "{pointer}");
    assert!(
        pointer == error.pointer || why == OTHER_PLATFORM && pointer.starts_with(&error.pointer),
        "{pointer}: {error}"
    );
}

#[test]
fn what_asks_for_nothing_is_absent() {
    for (pointer, value) in [
        ("/hooks", json!({})),
        ("/hooks", json!({"prestart": [], "poststop": null})),
        ("/process/apparmorProfile", json!("")),
        ("/process/selinuxLabel", json!("")),
        ("/process/ioPriority", json!({})),
        ("/process/scheduler", json!({})),
        ("/linux/personality", json!({"domain": "", "flags": []})),
        ("/linux/memoryPolicy", json!({"mode": "", "nodes": "", "flags": null})),
        ("/process/oomScoreAdj", json!(0)),
        ("/process/execCPUAffinity", json!({"initial": "0-3"})),
        ("/linux/seccomp", Value::Null),
        ("/linux/seccomp", json!({})),
        ("/linux/sysctl", json!({})),
        ("/linux/intelRdt", json!({})),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 0, "nanosecs": 0}})),
        ("/linux/rootfsPropagation", json!("")),
        ("/linux/rootfsPropagation", json!("rslave")),
        ("/linux/rootfsPropagation", json!("slave")),
        ("/linux/resources", json!({"memory": {}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}})),
        ("/linux/resources/pids", json!({"limit": -1})),
        ("/linux/resources/memory", json!({"limit": -1, "swap": 0, "swappiness": 0, "disableOOMKiller": false})),
        ("/linux/resources/cpu", json!({"quota": -1, "period": 0, "cpus": "", "realtimeRuntime": 0, "idle": 0})),
        ("/linux/resources/hugepageLimits", json!([])),
        ("/linux/resources/unified", json!({})),
        ("/linux/resources/network", json!({"priorities": []})),
        ("/windows", json!({})),
        ("/zos", json!({})),
    ] {
        assert_eq!(accepted(pointer, value).warnings(), [""; 0], "{pointer}");
    }
    refused("/linux/rootfsPropagation", "rr".into(), "/linux/rootfsPropagation: unknown propagation \"rr\"");
    refused("/linux/rootfsPropagation", "foo".into(), "/linux/rootfsPropagation: unknown propagation \"foo\"");
}

/// Calls `visit` with the pointer of every value below `value`.
fn walk(value: &Value, pointer: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(pointer, value);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{pointer}/{index}"), visit);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, &format!("{pointer}/{}", escape(name)), visit);
            }
        }
        _ => {}
    }
}

fn pointers(spec: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    walk(spec, "", &mut |pointer, value| all.push((pointer.to_owned(), value.clone())));
    all
}

#[test]
fn a_wrong_type_anywhere_is_an_error_that_names_the_place() {
    let wrong = [json!(true), json!(7), json!("x"), json!([]), json!({}), json!([null]), json!({"a": null})];
    let mut count = 0;
    for spec in fixtures().into_iter().chain([default_spec()]) {
        let all = pointers(&spec);
        // All of the many devices are alike.
        let all = all.into_iter().filter(|(pointer, _)| !pointer.starts_with("/linux/devices/2"));
        for (pointer, old) in all.filter(|(pointer, _)| !pointer.is_empty()) {
            for new in wrong.iter().filter(|new| std::mem::discriminant(*new) != std::mem::discriminant(&old)) {
                let mut changed = spec.clone();
                *changed.pointer_mut(&pointer).unwrap() = new.clone();
                let error = Config::from_value(&changed).expect_err(&pointer);
                assert_eq!(error.pointer, pointer, "{new}: {error}");
                assert!(error.message.starts_with("expected "), "{error}");
                count += 1;
            }
        }
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn odd_values_anywhere_do_not_panic() {
    use crate::compile::{CompileOptions, compile};
    let options = CompileOptions::new("/b".as_ref(), "x");
    let odd = [
        json!(""),
        json!("/"),
        json!(".."),
        json!("a\0"),
        json!("=:="),
        json!("\u{10ffff}"),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(0.5),
        Value::Null,
    ];
    for spec in [default_spec(), fixtures().pop().unwrap()] {
        for (pointer, _) in pointers(&spec).into_iter().filter(|(pointer, _)| !pointer.is_empty()) {
            for value in &odd {
                let mut changed = spec.clone();
                *changed.pointer_mut(&pointer).unwrap() = value.clone();
                if let Ok(program) = Config::from_value(&changed).and_then(|config| compile(&config, &options)) {
                    assert!(!program.describe().is_empty());
                }
            }
            let mut changed = spec.clone();
            remove(&mut changed, &pointer);
            match Config::from_value(&changed) {
                Ok(config) => drop(compile(&config, &options)),
                // The place that is missing, or another that needs it.
                Err(error) => assert!(error.pointer.starts_with('/'), "{pointer}: {error}"),
            }
        }
    }
}
