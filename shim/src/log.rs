//! Log lines, as logrus writes them for runc, since engines read them back.
//!
//! containerd takes the last line with level error of a JSON log and fails on a line that is not an
//! object; conmon reads the whole log as one object. So a failure is one line, and nothing else is
//! logged on the way to it unless `--debug` asks for it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Instant, UNIX_EPOCH};

use nix::libc::O_NONBLOCK;

use crate::cause::cause;
use crate::commands::{Outcome, Run};
use crate::flags;
use crate::output;
use crate::parse::{Arguments, Values};
use crate::{root, version};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug => "debug",
        }
    }
}

/// Where log lines go.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// `None` is standard error.
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    /// The log that the flags before the subcommand ask for.
    pub(crate) fn open(global: &Values) -> Result<Log, String> {
        let file = match global.value(&flags::LOG) {
            // runc's default, in words, is standard error.
            // A fifo is not waited for: neither for a reader, nor for room.
            Some(path) if !path.is_empty() && path != "/dev/stderr" => Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o644)
                    .custom_flags(O_NONBLOCK)
                    .open(path)
                    .map_err(|error| format!("opening the log {}: {}", path.display(), cause(error)))?,
            ),
            _ => None,
        };
        let json = global.word(&flags::LOG_FORMAT) == Some("json");
        Ok(Log { file, json, debug: global.has(&flags::DEBUG) })
    }

    /// Reports why the command failed: in the log, and to whoever sees standard error.
    pub(crate) fn error(&self, message: &str) {
        self.line(Level::Error, message);
        if self.file.is_some() {
            output::to_stderr(&plain_line(message));
        }
    }

    /// Reports what was not as asked for, though the command goes on.
    pub(crate) fn warning(&self, message: &str) {
        self.line(Level::Warning, message);
    }

    /// Whether `--debug` was given.
    pub(crate) fn is_debug(&self) -> bool {
        self.debug
    }

    /// Runs a subcommand, and tells what is asked of whom, and what became of it after how long.
    #[cold]
    pub(crate) fn followed(&self, name: &str, arguments: &Arguments<'_>, run: Run) -> Outcome {
        let begun = Instant::now();
        let (pid, uid) = (std::process::id(), nix::unistd::geteuid());
        // Flags may hold what is nobody else's business: --env.
        let id = arguments.text(0);
        let root =
            root::open(arguments.global).map_or_else(|error| error, |runtime| runtime.root().display().to_string());
        let commit = version::COMMIT.unwrap_or("unknown");
        self.debug(|| {
            format!(
                "no-frills {} (commit {commit}), process {pid} of user {uid}: {name} {id} in {root}",
                version::VERSION
            )
        });
        let outcome = run(arguments, self);
        let took = begun.elapsed().as_secs_f64() * 1e3;
        self.debug(|| match &outcome {
            Ok(status) => format!("{name} {id}: exit status {status} after {took:.1} ms"),
            Err(_) => format!("{name} {id}: failed after {took:.1} ms"),
        });
        outcome
    }

    /// Tells what is done. `message` is made only when somebody wants it.
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            self.line(Level::Debug, &message());
        }
    }

    /// Writes a line by a single write, so that lines of several processes do not mix.
    fn line(&self, level: Level, message: &str) {
        // What happened matters more than when.
        let time = no_frills::time::rfc3339(no_frills::time::now().unwrap_or(UNIX_EPOCH));
        let line = if self.json { json_line(level, message, &time) } else { text_line(level, message, &time) };
        let Some(mut file) = self.file.as_ref() else {
            output::to_stderr(&line);
            return;
        };
        output::without_sigpipe();
        if let Err(error) = file.write_all(line.as_bytes()) {
            output::to_stderr(&format!("no-frills: writing to the log: {}\n", cause(error)));
        }
    }
}

/// A failure in both formats.
#[cfg(fuzzing)]
pub(crate) fn error_lines(message: &str) -> (String, String) {
    (json_line(Level::Error, message, "now"), text_line(Level::Error, message, "now"))
}

/// A message for who reads it as it is: one line, without what would change how it is shown. Names in it, and what a kernel or
/// a hook said, may hold anything.
fn plain_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 1);
    for c in message.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.push('\n');
    line
}

fn json_line(level: Level, message: &str, time: &str) -> String {
    let mut line = String::with_capacity(message.len() + 80);
    line.push_str("{\"level\":\"");
    line.push_str(level.name());
    line.push_str("\",\"msg\":");
    output::push_json_string(&mut line, message);
    line.push_str(",\"time\":\"");
    line.push_str(time);
    line.push_str("\"}\n");
    line
}

fn text_line(level: Level, message: &str, time: &str) -> String {
    let mut line = String::with_capacity(message.len() + 80);
    line.push_str("time=\"");
    line.push_str(time);
    line.push_str("\" level=");
    line.push_str(level.name());
    line.push_str(" msg=");
    push_quoted(&mut line, message);
    line.push('\n');
    line
}

/// A value as logrus writes it: bare when it is one plain word, else as a quoted Go string.
fn push_quoted(line: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            c if c.is_control() => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::{Level, json_line, plain_line, text_line};

    const TIME: &str = "2026-11-22T03:18:47Z";

    #[test]
    fn a_json_line_is_what_runc_writes() {
        assert_eq!(
            json_line(Level::Error, "container does not exist", TIME),
            "{\"level\":\"error\",\"msg\":\"container does not exist\",\"time\":\"2026-11-22T03:18:47Z\"}\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object_on_one_line_whatever_the_message() {
        for message in ["", "a \"b\" \\ c", "two\nlines\u{1}\u{7f}", "ü \u{2028} \u{fffd}", "\t\r\0"] {
            let line = json_line(Level::Warning, message, TIME);
            assert_eq!(line.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["level"], "warning");
            assert_eq!(value["msg"], message);
            assert_eq!(value["time"], TIME);
        }
    }

    #[test]
    fn a_plain_line_is_one_whatever_the_message() {
        assert_eq!(plain_line("ü \"b\" \\c"), "ü \"b\" \\c\n");
        assert_eq!(plain_line("a\r\n\u{1b}[31m\0\u{9b}"), "a\\r\\n\\u{1b}[31m\\u{0}\\u{9b}\n");
    }

    #[test]
    fn a_text_line_is_what_runc_writes() {
        assert_eq!(
            text_line(Level::Error, "File config.json exists. Remove it first", TIME),
            "time=\"2026-11-22T03:18:47Z\" level=error msg=\"File config.json exists. Remove it first\"\n"
        );
        assert_eq!(
            text_line(Level::Error, "unknown signal \"FOO\"", TIME),
            "time=\"2026-11-22T03:18:47Z\" level=error msg=\"unknown signal \\\"FOO\\\"\"\n"
        );
        assert_eq!(text_line(Level::Debug, "started", TIME), "time=\"2026-11-22T03:18:47Z\" level=debug msg=started\n");
        assert_eq!(
            text_line(Level::Debug, "a\nb\u{7f}", TIME),
            "time=\"2026-11-22T03:18:47Z\" level=debug msg=\"a\\nb\\u007f\"\n"
        );
    }
}
