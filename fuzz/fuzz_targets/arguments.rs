//! Any words as the command line: what is taken is the same each time, and the same once more in its plain form; numbers are
//! numbers; what is refused is told in one line of the log, in either format. And of `exec`: what its flags make of the
//! process. Nothing is run.
//!
//! This is a module of the command itself: see fuzz/Cargo.toml.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

use crate::commands::{COMMANDS, GLOBAL};
use crate::flags::Takes;
use crate::log;
use crate::parse::{Call, Values, parse};

fuzz_target!(|bytes: &[u8]| {
    let mut words = words(bytes);
    // The first names a command, mostly.
    if let Some(first) = bytes.first()
        && let Some(command) = COMMANDS.get(usize::from(*first))
    {
        words.insert(0, command.name.into());
    }
    let mut global = Values::default();
    match parse(&mut words.iter().cloned(), &mut global) {
        Err(message) => check_message(&message),
        Ok(call) => check_call(&words, &global, &call),
    }
});

/// What NULs separate; a byte from 0x80 on that begins a word stands for a flag, with what follows.
fn words(bytes: &[u8]) -> Vec<OsString> {
    let flags: Vec<_> = GLOBAL.iter().chain(COMMANDS.iter().flat_map(|command| command.flags)).collect();
    let word = |word: &[u8]| match word {
        [number, rest @ ..] if *number >= 0x80 => {
            let flag = flags[usize::from(number - 0x80) % flags.len()];
            OsString::from_vec([b"--", flag.name.as_bytes(), rest].concat())
        }
        word => OsString::from_vec(word.to_vec()),
    };
    bytes.split(|byte| *byte == 0).map(word).take(64).collect()
}

fn check_call(words: &[OsString], global: &Values, call: &Call) {
    let Call::Run(_, flags, positionals) = call else { return };
    let mut all = check_values(global);
    let name = words.iter().position(|word| COMMANDS.iter().any(|command| *word == *command.name));
    // A value of a global flag may be called as a command is: then another word is the command's.
    let Some(command) = name.map(|at| words[at].clone()) else { panic!("no command in {words:?}") };
    if global.given().any(|(_, value)| COMMANDS.iter().any(|command| *value == *command.name)) {
        return;
    }
    all.push(command.clone());
    all.extend(check_values(flags));
    all.push("--".into());
    all.extend(positionals.iter().cloned());
    let mut again = Values::default();
    let Ok(Call::Run(_, same_flags, same_positionals)) = parse(&mut all.iter().cloned(), &mut again) else {
        panic!("{all:?} is refused, which is the plain form of {words:?}");
    };
    let list = |values: &Values| values.given().map(|(flag, value)| (flag.name, value.clone())).collect::<Vec<_>>();
    assert_eq!((list(global), list(flags)), (list(&again), list(&same_flags)), "{words:?}");
    assert_eq!(*positionals, same_positionals);
    if command == "exec" {
        check_exec(flags, positionals.get(1..).unwrap_or_default());
    }
    if command == "update"
        && flags.given().all(|(flag, _)| flag.name != "resources")
        && let Err(message) = crate::update::wanted(flags)
    {
        assert!(message.contains("--"), "{message}");
        check_message(&message);
    }
}

/// The flags in their plain form, each with values that it takes.
fn check_values(values: &Values) -> Vec<OsString> {
    let plain = values.given().map(|(flag, value)| {
        match flag.takes {
            Takes::Nothing => assert!(value == "true" || value == "false"),
            Takes::Number(_) => assert!(value.to_str().is_some_and(|text| text.parse::<u32>().is_ok())),
            Takes::Choice(words) | Takes::Optional(words) => assert!(words.iter().any(|word| value == *word)),
            Takes::Text(_) | Takes::File | Takes::Directory => {}
        }
        let mut word = OsString::from(format!("--{}=", flag.name));
        word.push(value);
        word
    });
    plain.collect()
}

fn check_exec(flags: &Values, command: &[OsString]) {
    for process in [
        json!({"args": ["a"], "cwd": "/", "user": {"uid": 1}, "capabilities": {"inheritable": ["CAP_KILL"]}}),
        json!({}),
        json!(null),
    ] {
        let changed = match crate::exec::change(process.clone(), flags, command) {
            Ok(changed) => changed,
            Err(message) => {
                check_message(&message);
                continue;
            }
        };
        let args: Vec<Value> = command.iter().map(|word| word.to_str().expect("text").into()).collect();
        assert_eq!(changed["args"], Value::from(args));
        // No capability becomes inheritable, or ambient that was not inheritable (CVE-2022-29162).
        assert_eq!(changed["capabilities"]["inheritable"], process["capabilities"]["inheritable"]);
        let ambient = changed["capabilities"]["ambient"].as_array().cloned().unwrap_or_default();
        assert!(ambient.iter().all(|one| one == "CAP_KILL" && !process["capabilities"].is_null()), "{changed}");
        let user =
            flags.given().rfind(|(flag, _)| flag.name == "user").map(|(_, value)| value.to_string_lossy().into_owned());
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            let uid = user.split(':').next().and_then(|uid| uid.parse::<u32>().ok());
            assert_eq!(changed["user"]["uid"], json!(uid.expect("a number")));
        }
        if let Err(error) = no_frills::ProcessConfig::from_value(&changed) {
            check_message(&error.to_string());
        }
    }
}

/// It is one line of the log, and what was said.
fn check_message(message: &str) {
    assert!(!message.is_empty());
    let (json, text) = log::error_lines(message);
    let read: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(read["msg"], message);
    for line in [json, text] {
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
    }
}
