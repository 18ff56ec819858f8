//! The manual: a page in man(7) for the command and one for each subcommand. Synopsis and flags come from the tables that `--help` comes from,
//! what is said beyond them from `manual`.

use crate::commands::{COMMANDS, Command, GLOBAL};
use crate::flags::{self, Flag, Takes};
use crate::manual::{self, Words};
use crate::version;

/// The section: system administration commands.
pub(crate) const SECTION: &str = "8";

/// The pages, by the names of their files.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut pages = vec![(format!("no-frills.{SECTION}"), overview())];
    pages.extend(commands().map(|command| (format!("no-frills-{}.{SECTION}", command.name), page(command))));
    pages
}

fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| command.run.is_some())
}

/// Text as roff takes it: a dash that can be copied, no escapes, no request at the beginning of a line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            escaped.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            escaped.push_str("\\&");
        }
        for letter in line.chars() {
            match letter {
                '\\' => escaped.push_str("\\e"),
                '-' => escaped.push_str("\\-"),
                '`' => escaped.push_str("\\(ga"),
                '^' => escaped.push_str("\\(ha"),
                '~' => escaped.push_str("\\(ti"),
                '\'' => escaped.push_str("\\(aq"),
                letter => escaped.push(letter),
            }
        }
    }
    escaped
}

fn begin(name: &str, about: &str) -> String {
    let date = option_env!("NO_FRILLS_DATE").unwrap_or("");
    let title = escape(&name.to_uppercase());
    let version = escape(version::VERSION);
    let (name, about) = (escape(name), escape(about));
    format!(
        ".TH {title} {SECTION} \"{date}\" \"no\\-frills {version}\" \"Container runtime\"\n.SH NAME\n{name} \\- {about}\n.SH SYNOPSIS\n"
    )
}

fn section(text: &mut String, title: &str) {
    text.push_str(&format!(".SH {title}\n"));
}

/// Paragraphs, with an empty line between two; lines with four blanks are kept as they are.
fn prose(text: &mut String, words: &str) {
    let mut shown = false;
    for (index, paragraph) in words.trim().split("\n\n").enumerate() {
        if let Some(code) = paragraph.strip_prefix("    ") {
            text.push_str(".PP\n.RS 4\n.EX\n");
            text.push_str(&escape(&code.replace("\n    ", "\n")));
            text.push_str("\n.EE\n.RE\n");
            shown = true;
            continue;
        }
        if index > 0 || shown {
            text.push_str(".PP\n");
        }
        text.push_str(&escape(paragraph));
        text.push('\n');
    }
}

fn items<'a>(text: &mut String, items: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, about) in items {
        text.push_str(&format!(".TP\n.B {}\n{}\n", escape(name), escape(about)));
    }
}

fn flag_items(text: &mut String, flags: &[&Flag]) {
    for flag in flags.iter().copied().chain([&flags::HELP]) {
        let mut line = String::from(".TP\n");
        let short = flag.short.map_or(String::new(), |short| format!("\\fB\\-{short}\\fR, "));
        let value = match (flag.placeholder(), flag.takes) {
            (None, _) => String::new(),
            (Some(value), Takes::Optional(_)) => format!("[=\\fI{}\\fR]", escape(&value)),
            (Some(value), _) => format!(" \\fI{}\\fR", escape(&value)),
        };
        line.push_str(&format!("{short}\\fB\\-\\-{}\\fR{value}\n{}.\n", escape(flag.name), escape(flag.help)));
        text.push_str(&line);
    }
}

fn overview() -> String {
    let Words { description, exit_status, examples, .. } = manual::OVERVIEW;
    let mut text = begin("no-frills", "OCI container runtime");
    text.push_str("\\fBno\\-frills\\fR [\\fIFLAG\\fR...] \\fICOMMAND\\fR [\\fIFLAG\\fR...] [\\fIARGUMENT\\fR...]\n");
    section(&mut text, "DESCRIPTION");
    prose(&mut text, description);
    section(&mut text, "COMMANDS");
    for command in commands() {
        let (name, about) = (escape(command.name), escape(command.about));
        text.push_str(&format!(".TP\n.BR {name} \" (see \" no\\-frills\\-{name} ({SECTION}))\n{about}.\n"));
    }
    section(&mut text, "OPTIONS");
    flag_items(&mut text, GLOBAL);
    end(&mut text, exit_status, manual::FILES, manual::ENVIRONMENT, examples);
    section(&mut text, "SEE ALSO");
    let pages: Vec<String> =
        commands().map(|command| format!(".BR no\\-frills\\-{} ({SECTION})", escape(command.name))).collect();
    text.push_str(&pages.join(" ,\n"));
    text.push('\n');
    text
}

fn page(command: &Command) -> String {
    let Words { description, exit_status, examples, .. } = manual::of(command.name);
    let mut text = begin(&format!("no-frills-{}", command.name), command.about);
    text.push_str(&format!("\\fBno\\-frills\\fR [\\fIFLAG\\fR...] \\fB{}\\fR", escape(command.name)));
    if !command.flags.is_empty() {
        text.push_str(" [\\fIFLAG\\fR...]");
    }
    if !command.synopsis.is_empty() {
        text.push_str(&format!(" \\fI{}\\fR", escape(command.synopsis)));
    }
    text.push('\n');
    section(&mut text, "DESCRIPTION");
    prose(&mut text, description);
    section(&mut text, "OPTIONS");
    flag_items(&mut text, command.flags);
    let named = |all: &'static [(&'static str, &'static str, &'static [&'static str])]| {
        all.iter().filter(|(_, _, of)| of.contains(&command.name)).copied().collect::<Vec<_>>()
    };
    let (files, environment) = (named(manual::FILES), named(manual::ENVIRONMENT));
    end(&mut text, exit_status, &files, &environment, examples);
    section(&mut text, "SEE ALSO");
    text.push_str(&format!(".BR no\\-frills ({SECTION})\n"));
    text
}

/// What both kinds of page end with.
fn end(text: &mut String, exit_status: &str, files: &[manual::Item], environment: &[manual::Item], examples: &str) {
    section(text, "EXIT STATUS");
    prose(text, exit_status);
    if !files.is_empty() {
        section(text, "FILES");
        items(text, files.iter().map(|(name, about, _)| (*name, *about)));
    }
    if !environment.is_empty() {
        section(text, "ENVIRONMENT");
        items(text, environment.iter().map(|(name, about, _)| (*name, *about)));
    }
    section(text, "EXAMPLES");
    prose(text, examples);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_that_belongs_there() {
        let pages = pages();
        assert_eq!(pages.len(), 1 + commands().count());
        for (name, page) in &pages {
            let order = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"];
            let places: Vec<_> = order.iter().map(|title| page.find(&format!(".SH {title}\n"))).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{name}: {places:?}");
            assert!(page.starts_with(".TH NO\\-FRILLS"), "{name}");
            for line in page.lines() {
                assert!(!line.is_empty() && !line.ends_with(' '), "{name}: {line:?}");
                assert!(!line.starts_with('.') || line.as_bytes()[1].is_ascii_uppercase(), "{name}: {line:?}");
            }
        }
        for command in commands() {
            let page = &pages.iter().find(|(name, _)| *name == format!("no-frills-{}.8", command.name)).unwrap().1;
            for flag in command.flags {
                assert!(
                    page.contains(&format!("\\fB\\-\\-{}\\fR", escape(flag.name))),
                    "{} {}",
                    command.name,
                    flag.name
                );
                assert!(page.contains(&escape(flag.help)), "{} {}", command.name, flag.name);
            }
        }
    }

    #[test]
    fn nothing_is_taken_for_a_request() {
        assert_eq!(escape(".a\n'b\nc-d\\e"), "\\&.a\n\\&\\(aqb\nc\\-d\\ee");
    }

    /// The machine's own mandoc has no complaint.
    #[test]
    fn mandoc_takes_the_pages() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        for (name, page) in pages() {
            let mut command = Command::new("mandoc");
            command.args(["-T", "lint", "-W", "warning"]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return eprintln!("skipped: mandoc: {error}"),
            };
            child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            // Outside of a git work tree there is no date.
            let said: Vec<&str> = said.lines().filter(|line| !line.contains("missing date")).collect();
            assert!(said.is_empty(), "{name}: {said:?}");
        }
    }
}
