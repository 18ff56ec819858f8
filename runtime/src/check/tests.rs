use std::fs;

use serde_json::{Value, json};

use super::*;

/// Configurations that are accepted, and the specification's examples of good and bad ones.
fn documents() -> Vec<(String, String)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut documents = Vec::new();
    for directory in ["golden", "fixtures", "fixtures/spec/good", "fixtures/spec/bad"] {
        for entry in fs::read_dir(tests.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if name.ends_with(".json") && !name.contains("process") {
                documents.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    documents.sort();
    assert!(documents.len() > 25, "{}", documents.len());
    documents
}

/// What create says of a document before it asks the host: its first error.
fn refusal(directory: &Path, text: &str) -> Option<ConfigError> {
    let compiled = || -> std::result::Result<(), ConfigError> {
        let config = Config::from_json(text.as_bytes())?;
        let bundle = Bundle::from_config(directory, config).unwrap();
        let options = CreateOptions::default();
        match bundle.plan("x", &options) {
            Ok(_) => Ok(()),
            Err(Error::Config(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    };
    compiled().err()
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn check(&self, text: &str) -> Vec<Problem> {
        fs::write(self.0.path().join("config.json"), text).unwrap();
        check(self.0.path(), &CreateOptions::default())
    }

    /// What create refuses is among the errors, with the same words.
    fn holds_what_create_refuses(&self, name: &str, text: &str) -> usize {
        let problems = self.check(text);
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        if let Some(ConfigError { pointer, message }) = refusal(self.0.path(), text) {
            let is_told = |problem: &&Problem| (&problem.pointer, &problem.message) == (&pointer, &message);
            assert!(errors.clone().any(|problem| is_told(&problem)), "{name}: {pointer}: {message}\n{problems:#?}");
        }
        errors.count()
    }
}

#[test]
fn what_create_refuses_is_told() {
    let scratch = Scratch::new();
    for (name, text) in documents() {
        scratch.holds_what_create_refuses(&name, &text);
    }
}

/// Each value in turn is taken out, or is another.
#[test]
fn what_create_refuses_of_changed_documents_is_told() {
    /// Enough of them in the time that a test may take.
    const EACH: usize = 4;
    let scratch = Scratch::new();
    let mut refused = 0;
    for (name, text) in documents() {
        let Ok(mut document) = serde_json::from_str::<Value>(&text) else { continue };
        // The profiles of engines take long to compile, and are checked as they are above.
        if let Some(linux) = document.pointer_mut("/linux").and_then(Value::as_object_mut) {
            linux.remove("seccomp");
        }
        let mut pointers = Vec::new();
        walk("", &document, &mut pointers);
        let step = (pointers.len() / EACH).max(1);
        for (number, pointer) in pointers.iter().step_by(step).enumerate() {
            let mut changed = document.clone();
            let Some(place) = changed.pointer_mut(pointer) else { continue };
            *place =
                [Value::Null, json!(-1), json!("a/../.."), json!([{}]), json!({"a": 1}), json!("")][number % 6].clone();
            let errors = scratch.holds_what_create_refuses(&format!("{name} {pointer}"), &changed.to_string());
            refused += usize::from(errors > 0);
        }
    }
    assert!(refused > 50, "{refused}");
}

fn walk(at: &str, value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                all.push(format!("{at}/{index}"));
                walk(&format!("{at}/{index}"), item, all);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let at = format!("{at}/{}", crate::config::escape(name));
                all.push(at.clone());
                walk(&at, member, all);
            }
        }
        _ => {}
    }
}

/// The table of names has all that the reader knows, and good examples have nothing else.
#[test]
fn good_examples_have_no_unknown_names() {
    for (name, text) in documents() {
        if !name.contains("/good/") && !name.contains("/fixtures/docker") && !name.contains("/fixtures/podman") {
            continue;
        }
        let mut report = Report::default();
        schema::check(&serde_json::from_str(&text).unwrap(), &mut report);
        // The example has kept it from before version 1.0, when it moved to process.
        let is_of_old = |problem: &Problem| problem.pointer == "/linux/resources/oomScoreAdj";
        let mut unknown = report.problems.iter().filter(|problem| problem.message.starts_with("no setting"));
        let unknown = unknown.find(|problem| !is_of_old(problem));
        assert!(unknown.is_none(), "{name}: {unknown:?}");
    }
}

#[test]
fn places_are_those_of_the_whole() {
    let mut document = Document::new(json!({"a": [0, 1, 2, 3, {"b/c": 4}]}));
    assert!(document.put_right("/a/0", "") && document.put_right("/a/2", ""));
    assert_eq!(document.current(), json!({"a": [1, 3, {"b/c": 4}]}));
    for (pointer, original) in
        [("/a/0", "/a/1"), ("/a/1", "/a/3"), ("/a/2/b~1c", "/a/4/b~1c"), ("/x/0", "/x/0"), ("", "")]
    {
        assert_eq!(document.original(pointer), original, "{pointer}");
    }
    assert!(document.is_changed("/a/0") && !document.is_changed("/a/1") && document.is_changed_beneath("/a"));
    // What is missing is put in, where something can stand for it; if not, what it is missing in goes.
    assert!(document.put_right("/root/path", "required") && document.put_right("/a/4/b~1c/d", "required"));
    assert_eq!(document.current(), json!({"a": [1, 3, {}]}));
    assert!(!document.put_right("", "") && !document.put_right("/linux/x", ""));
}

#[test]
fn a_misspelled_namespace_is_one_error() {
    let scratch = Scratch::new();
    let text = json!({
        "ociVersion": "1.3.0", "root": {"path": "/"}, "hostname": "h", "process": {"args": ["x"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mnt"}, {"type": "uts "}], "sysctl": {"kernel.domainname": "d"}},
    });
    let problems = scratch.check(&text.to_string());
    let of_config: Vec<&str> = problems
        .iter()
        .filter(|problem| problem.pointer.starts_with("/linux") || problem.pointer == "/hostname")
        .map(|problem| problem.pointer.as_str())
        .collect();
    assert_eq!(of_config, ["/linux/namespaces/0/type", "/linux/namespaces/1/type"], "{problems:#?}");
}
