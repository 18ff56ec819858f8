//! What an outcome is worth: it was done, or refused with one message that names a place, or it is a finding.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::Value;

use super::command::Called;

/// What the words of other layers are, without a step of ours they say nothing.
const FOREIGN: [&str; 13] = [
    "unexpected end of file",
    "broken pipe",
    "os error",
    "failed to fill whole buffer",
    "connection reset",
    "panicked",
    "called `",
    "Os {",
    "No such file",
    "Invalid argument",
    "Permission denied",
    "stack overflow",
    "half-made",
];

/// How a finding is told that a loaded machine may have made.
pub(crate) const TOO_SLOW: &str = "it took";

/// What is known of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// What the document is in a configuration: a JSON pointer.
    pub(crate) place: &'a str,
    /// The file that it was read from.
    pub(crate) file: &'a str,
    /// What every message of the command begins with.
    pub(crate) prefix: &'a str,
    /// The status of a refusal.
    pub(crate) status: i32,
    /// Whether a status other than 0 may be that of the program.
    pub(crate) runs_program: bool,
    /// Longer is a finding.
    pub(crate) limit: Duration,
}

/// The class of an outcome; `Err`: a finding.
pub(crate) fn judge(called: Option<&Called>, bytes: &[u8], expected: Expected<'_>) -> Result<&'static str, String> {
    let Some(called) = called else { return Err("it hangs".to_owned()) };
    if called.took > expected.limit {
        return Err(format!("{TOO_SLOW} {:?}", called.took));
    }
    if called.stderr.contains("panicked") || called.status.signal().is_some() {
        return Err(format!("{}: {}", called.status, called.stderr));
    }
    let code = called.status.code().unwrap_or(-1);
    let message = match called.errors.as_slice() {
        [] if code == 0 => return Ok(if called.warnings == 0 { "done" } else { "done, with a warning" }),
        [] if expected.runs_program => return Ok("done"),
        [] => return Err(format!("{}, without a message", called.status)),
        _ if code == 0 => return Err(format!("status 0, and {:?}", called.errors)),
        [message] => message,
        several => return Err(format!("{} messages: {several:?}", several.len())),
    };
    if code != expected.status {
        return Err(format!("{}, where {} was to be: {message}", called.status, expected.status));
    }
    // One line that harms no terminal, and nothing else where no program was run.
    let line: String =
        message.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect();
    let said = called.stderr.strip_suffix('\n').and_then(|stderr| stderr.strip_suffix(&line));
    if said.is_none_or(|before| !before.is_empty() && !expected.runs_program) {
        return Err(format!("standard error has {:?} where the log has {message:?}", called.stderr));
    }
    class(message, bytes, expected).ok_or_else(|| message.clone())
}

/// How a message tells its place; `None`: it does not.
fn class(message: &str, bytes: &[u8], expected: Expected<'_>) -> Option<&'static str> {
    if FOREIGN.iter().any(|words| message.contains(words)) && !quotes(message, bytes) {
        return None;
    }
    let message = message.strip_prefix(expected.prefix)?;
    let (message, is_of_file) = match message.strip_prefix(expected.file).and_then(|rest| rest.strip_prefix(": ")) {
        Some(rest) => (rest, true),
        None => (message, false),
    };
    let document = serde_json::from_slice::<Value>(bytes).ok();
    if is_of_file && document.is_none() {
        return (message.contains(" at line ") && message.contains(" column ")).then_some("refused: line and column");
    }
    if message.starts_with("exec: \"") {
        return Some("refused: the program");
    }
    if message.starts_with('/') {
        return names_a_place(message, &document?, expected.place).then_some("refused: a pointer");
    }
    // Of the document as a whole.
    is_of_file.then_some("refused: the file")
}

/// Whether the words are the document's own.
fn quotes(message: &str, bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    FOREIGN.iter().filter(|words| message.contains(**words)).all(|words| text.contains(words))
}

/// Whether a message begins with the place of something in the document, or of what is missing in there.
fn names_a_place(message: &str, document: &Value, place: &str) -> bool {
    message.match_indices(": ").filter_map(|(end, _)| message.get(..end)).any(|pointer| {
        let Some(mut inner) = pointer.strip_prefix(place) else { return false };
        for _ in 0..3 {
            if document.pointer(inner).is_some() {
                return true;
            }
            inner = inner.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        false
    })
}
