//! Writing to standard output and error.
//!
//! Without std's start-up nothing flushes std's own buffers at the end, so texts are written whole.

use std::io::{self, Write};

use nix::sys::signal::{SigSet, Signal};

use crate::cause::cause;

/// Prints to standard output. A closed pipe ends the command by SIGPIPE, as usual for a command.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("writing to standard output: {}", cause(error)))
}

/// From here on, writing to a pipe that nobody reads is an error and no end of this process: a warning must not cost what it
/// is given of, a container that was made for instance. What is started later blocks no signal.
pub(crate) fn without_sigpipe() {
    // It fails for a wrong argument alone.
    let (Ok(()) | Err(_)) = SigSet::from(Signal::SIGPIPE).thread_block();
}

/// Prints to standard error.
pub(crate) fn to_stderr(text: &str) {
    without_sigpipe();
    if io::stderr().write_all(text.as_bytes()).is_err() {
        // There is no place left to say so; the exit status still tells of a failure.
    }
}

/// Appends `value` as a JSON string.
pub(crate) fn push_json_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c < ' ' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}
