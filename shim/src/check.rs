//! `check`: what is wrong with a bundle, all at once.

use std::ffi::OsStr;
use std::path::Path;

use no_frills::check::{Problem, Severity, check as problems_of};
use serde_json::{Value, json};

use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;
use crate::run::planned_options;

/// The exit status when there are errors.
const ERRORS: u8 = 1;

/// Prints what is wrong with a bundle, and what can be done about it.
pub(crate) fn check(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let directory = arguments.positionals.first().map_or(OsStr::new("."), |bundle| bundle.as_os_str());
    let problems = problems_of(Path::new(directory), &planned_options(arguments));
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let text = match arguments.flags.word(&flags::FORMAT) {
        Some("json") => as_json(&problems, errors)?,
        _ => as_text(&problems, errors),
    };
    output::print(&text)?;
    Ok(if errors > 0 { ERRORS } else { 0 })
}

fn as_json(problems: &[Problem], errors: usize) -> Result<String, String> {
    let items: Vec<Value> = problems
        .iter()
        .map(|Problem { severity, pointer, message, remedy }| {
            json!({"severity": severity.name(), "pointer": pointer, "message": message, "remedy": remedy})
        })
        .collect();
    let report = json!({"errors": errors, "warnings": problems.len() - errors, "problems": items});
    let text = serde_json::to_string_pretty(&report);
    text.map(|text| text + "\n").map_err(|error| format!("writing the report as JSON: {error}"))
}

fn as_text(problems: &[Problem], errors: usize) -> String {
    let mut text = String::new();
    for problem in problems {
        // What a document holds may not write to the terminal.
        text.extend(problem.to_string().chars().flat_map(printable));
        if !problem.remedy.is_empty() {
            text.push_str("\n    ");
            text.extend(problem.remedy.chars().flat_map(printable));
        }
        text.push('\n');
    }
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    text.push_str(&count(errors, "error"));
    text.push_str(", ");
    text.push_str(&count(problems.len() - errors, "warning"));
    text.push('\n');
    text
}

fn printable(letter: char) -> impl Iterator<Item = char> {
    let escaped = letter.is_control().then(|| letter.escape_default());
    let plain = (!letter.is_control()).then_some(letter);
    escaped.into_iter().flatten().chain(plain)
}
