//! `info`: what this host can do.

use no_frills::info::{Fact, Lack, Section, info as sections};
use serde_json::{Map, Value, json};

use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;
use crate::root;
use crate::version;

/// Prints what this host can do for the caller, and what is missing.
pub(crate) fn info(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let mut all = vec![own(arguments)];
    all.extend(sections());
    let text = match arguments.flags.word(&flags::FORMAT) {
        Some("json") => as_json(&all)?,
        _ => as_text(&all),
    };
    output::print(&text)?;
    Ok(0)
}

/// What is known of the command.
fn own(arguments: &Arguments<'_>) -> Section {
    let fact = |name: &str, value: String| Fact { name: name.to_owned(), value, lack: None };
    let root = match root::open(arguments.global) {
        Ok(runtime) => fact("state root", runtime.root().display().to_string()),
        Err(why) => Fact {
            lack: Some(Lack {
                consequence: "no command works without --root".to_owned(),
                remedy: "set XDG_RUNTIME_DIR, or give --root".to_owned(),
            }),
            ..fact("state root", why)
        },
    };
    let facts = vec![
        fact("version", version::VERSION.to_owned()),
        fact("commit", version::COMMIT.unwrap_or("unknown").to_owned()),
        fact("specification", version::SPECIFICATION.to_owned()),
        root,
    ];
    Section { name: "no-frills", facts }
}

fn as_json(sections: &[Section]) -> Result<String, String> {
    let mut all = Map::new();
    for section in sections {
        let facts: Map<String, Value> = section
            .facts
            .iter()
            .map(|Fact { name, value, lack }| {
                let fact = match lack {
                    None => json!({"value": value}),
                    Some(Lack { consequence, remedy }) => {
                        json!({"value": value, "consequence": consequence, "remedy": remedy})
                    }
                };
                (name.clone(), fact)
            })
            .collect();
        all.insert(section.name.to_owned(), Value::Object(facts));
    }
    let text = serde_json::to_string_pretty(&Value::Object(all));
    text.map(|text| text + "\n").map_err(|error| format!("writing as JSON: {error}"))
}

fn as_text(sections: &[Section]) -> String {
    let facts = || sections.iter().flat_map(|section| &section.facts);
    let width = facts().map(|fact| fact.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for section in sections {
        text.push_str(&section.name.to_uppercase());
        text.push('\n');
        for Fact { name, value, lack } in &section.facts {
            let mark = if lack.is_some() { '-' } else { ' ' };
            text.push_str(&format!("{mark} {name:<width$}  {value}\n"));
            if let Some(Lack { consequence, remedy }) = lack {
                text.push_str(&format!("  {:<width$}  so: {consequence}\n  {:<width$}  remedy: {remedy}\n", "", ""));
            }
        }
        text.push('\n');
    }
    let lacks = facts().filter(|fact| fact.lack.is_some()).count();
    text.push_str(&match lacks {
        0 => "nothing is missing\n".to_owned(),
        lacks => format!("{lacks} marked with - could be better\n"),
    });
    text
}
