//! The command line, as Go's flag packages read it: engines write for runc.
//!
//! One dash and two mean the same (`-no-subreaper`), a value follows or is joined by `=`, a boolean
//! takes `=true` and `=false`, and a subcommand's flags may come after its positional arguments. There
//! are no clusters of short flags: `-bundle` is one name. That last point is why no crate for the usual
//! GNU syntax does the work: they would read `-b undle`.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::commands::{Command, GLOBAL, find_flag};
use crate::flags::{self, Flag, Takes};

/// Flags with their values, in the order given.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<(&'static Flag, OsString)>);

impl Values {
    /// Whether a boolean flag is on. The last one counts.
    pub(crate) fn has(&self, flag: &Flag) -> bool {
        self.value(flag).is_some_and(|value| value == "true")
    }

    /// What a flag was given. The last one counts.
    pub(crate) fn value(&self, flag: &Flag) -> Option<&OsStr> {
        self.0.iter().rev().find(|(given, _)| std::ptr::eq(*given, flag)).map(|(_, value)| value.as_os_str())
    }

    /// All flags with their values, in the order given.
    #[cfg(fuzzing)]
    pub(crate) fn given(&self) -> impl DoubleEndedIterator<Item = &(&'static Flag, OsString)> {
        self.0.iter()
    }

    /// All that a flag was given, in the order given.
    pub(crate) fn values(&self, flag: &Flag) -> impl Iterator<Item = &OsStr> {
        self.0.iter().filter(move |(given, _)| std::ptr::eq(*given, flag)).map(|(_, value)| value.as_os_str())
    }

    /// All numbers that a flag was given, in the order given.
    pub(crate) fn numbers(&self, flag: &Flag) -> impl Iterator<Item = u32> {
        self.values(flag).filter_map(|value| value.to_str()?.parse().ok())
    }

    /// A value that is one of the words of a [`Takes::Choice`], or was checked to be a number.
    pub(crate) fn word(&self, flag: &Flag) -> Option<&str> {
        self.value(flag)?.to_str()
    }

    /// What a numeric flag was given, or 0.
    pub(crate) fn number(&self, flag: &Flag) -> u32 {
        self.word(flag).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Call {
    /// `--help`, or nothing at all.
    Overview,
    /// `--version`.
    Version,
    /// The help of a subcommand.
    Help(&'static Command),
    /// A subcommand, with its flags and its positional arguments.
    Run(&'static Command, Values, Vec<OsString>),
}

/// What a subcommand gets.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    /// The flags before the subcommand.
    pub(crate) global: &'a Values,
    /// The flags of the subcommand.
    pub(crate) flags: &'a Values,
    /// Its positional arguments.
    pub(crate) positionals: &'a [OsString],
}

impl Arguments<'_> {
    /// The positional argument at `index` as text. Container ids and signals are ASCII, so where it is no
    /// text, its reader refuses it anyway.
    pub(crate) fn text(&self, index: usize) -> Cow<'_, str> {
        self.positionals.get(index).map_or(Cow::Borrowed(""), |argument| argument.to_string_lossy())
    }
}

/// Reads a command line. The flags before the subcommand are put into `global` as they come, and so are
/// there when the rest is wrong: they say where to log that.
pub(crate) fn parse(arguments: &mut dyn Iterator<Item = OsString>, global: &mut Values) -> Result<Call, String> {
    while let Some(argument) = arguments.next() {
        match split(&argument)? {
            Word::Flag(name, value) => {
                let flag = find_flag(GLOBAL, name).ok_or_else(|| unknown(name, ""))?;
                take(flag, value, arguments, global)?;
                if global.has(&flags::HELP) {
                    return Ok(Call::Overview);
                }
                if global.has(&flags::VERSION) {
                    return Ok(Call::Version);
                }
            }
            Word::End => return parse_command(arguments.next(), arguments, global),
            Word::Positional => return parse_command(Some(argument), arguments, global),
        }
    }
    Ok(Call::Overview)
}

fn parse_command(
    name: Option<OsString>,
    arguments: &mut dyn Iterator<Item = OsString>,
    global: &Values,
) -> Result<Call, String> {
    let Some(name) = name else {
        return Ok(Call::Overview);
    };
    let command = Command::find(name.as_bytes())
        .ok_or_else(|| format!("unknown command: {} (see no-frills --help)", name.display()))?;
    if global.value(&flags::CRIU).is_some_and(|path| !path.is_empty()) {
        return Err("--criu: this build has no checkpoint and restore, and so no use for CRIU".to_owned());
    }
    parse_arguments(command, arguments)
}

fn parse_arguments(command: &'static Command, arguments: &mut dyn Iterator<Item = OsString>) -> Result<Call, String> {
    let mut given = Values::default();
    let mut positionals = Vec::new();
    let mut flags_ended = false;
    while let Some(argument) = arguments.next() {
        if flags_ended {
            positionals.push(argument);
            continue;
        }
        match split(&argument)? {
            Word::Flag(name, value) => {
                let flag = command.flag(name).ok_or_else(|| unknown_to(name))?;
                take(flag, value, arguments, &mut given)?;
                if given.has(&flags::HELP) {
                    return Ok(Call::Help(command));
                }
            }
            Word::End => flags_ended = true,
            Word::Positional => {
                positionals.push(argument);
                flags_ended = command.positionals.end_flags;
            }
        }
    }
    check_count(command, positionals.len())?;
    Ok(Call::Run(command, given, positionals))
}

fn check_count(command: &Command, count: usize) -> Result<(), String> {
    let wanted = command.positionals;
    let (words, number) = if count < wanted.least && wanted.most > wanted.least {
        ("at least", wanted.least)
    } else if count > wanted.most && wanted.most > wanted.least {
        ("at most", wanted.most)
    } else if count != wanted.least && wanted.most == wanted.least {
        ("exactly", wanted.least)
    } else {
        return Ok(());
    };
    let plural = if number == 1 { "" } else { "s" };
    Err(format!(
        "{} takes {words} {number} argument{plural}, not {count} (see no-frills {} --help)",
        command.name, command.name
    ))
}

/// An argument, before it is known what it means.
enum Word<'a> {
    /// A flag's name without dashes, and what follows its `=`.
    Flag(&'a [u8], Option<&'a [u8]>),
    /// `--`: no flags follow.
    End,
    /// Anything else; `-` too, which means standard input or output by custom.
    Positional,
}

fn split(argument: &OsStr) -> Result<Word<'_>, String> {
    let bytes = argument.as_bytes();
    let flag = match bytes {
        b"--" => return Ok(Word::End),
        b"-" => return Ok(Word::Positional),
        [b'-', b'-', flag @ ..] | [b'-', flag @ ..] => flag,
        _ => return Ok(Word::Positional),
    };
    let (name, value) = match flag.iter().position(|&byte| byte == b'=') {
        Some(at) => (&flag[..at], Some(&flag[at + 1..])),
        None => (flag, None),
    };
    if name.is_empty() || name.starts_with(b"-") {
        return Err(format!("not a flag: {}", argument.display()));
    }
    Ok(Word::Flag(name, value))
}

fn unknown(name: &[u8], hint: &str) -> String {
    format!("unknown flag: {}{hint}", dashed(name))
}

fn unknown_to(name: &[u8]) -> String {
    let hint = match find_flag(GLOBAL, name) {
        Some(_) => " (it belongs before the command)",
        None => "",
    };
    unknown(name, hint)
}

fn dashed(name: &[u8]) -> String {
    let dashes = if name.len() == 1 { "-" } else { "--" };
    format!("{dashes}{}", String::from_utf8_lossy(name))
}

/// Finds the value of a flag, checks it and keeps it.
fn take(
    flag: &'static Flag,
    joined: Option<&[u8]>,
    arguments: &mut dyn Iterator<Item = OsString>,
    values: &mut Values,
) -> Result<(), String> {
    let mut value = match (flag.takes, joined) {
        (Takes::Nothing, None) => OsString::from("true"),
        (Takes::Optional(words), None) => OsString::from(words.first().copied().unwrap_or_default()),
        (Takes::Nothing, Some(text)) => OsString::from(boolean(flag, text)?),
        (_, Some(text)) => OsString::from_vec(text.to_vec()),
        (_, None) => arguments.next().ok_or_else(|| format!("flag needs an argument: --{}", flag.name))?,
    };
    if std::ptr::eq(flag, &flags::ROOTLESS) {
        value = true_false_or_auto(value);
    }
    let fits = match flag.takes {
        Takes::Choice(words) | Takes::Optional(words) => words.iter().any(|word| value == *word),
        Takes::Number(_) => value.to_str().is_some_and(|text| text.parse::<u32>().is_ok()),
        _ => true,
    };
    if !fits {
        return Err(invalid(flag, value.as_bytes()));
    }
    values.0.push((flag, value));
    Ok(())
}

/// As runc reads `--rootless`; what is none of them is left for the error.
fn true_false_or_auto(value: OsString) -> OsString {
    match boolean(&flags::ROOTLESS, value.as_bytes()) {
        Ok(word) => word.into(),
        Err(_) if value.is_empty() || value.eq_ignore_ascii_case("auto") => "auto".into(),
        Err(_) => value,
    }
}

/// The spellings of strconv.ParseBool.
fn boolean(flag: &Flag, text: &[u8]) -> Result<&'static str, String> {
    match text {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Ok("true"),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Ok("false"),
        _ => Err(invalid(flag, text)),
    }
}

fn invalid(flag: &Flag, value: &[u8]) -> String {
    let wanted = match flag.takes {
        Takes::Nothing => "true or false".to_owned(),
        Takes::Number(_) => "a number".to_owned(),
        Takes::Choice(words) | Takes::Optional(words) => words.join(" or "),
        Takes::File | Takes::Directory | Takes::Text(_) => "a value".to_owned(),
    };
    format!("--{} takes {wanted}, not {:?}", flag.name, String::from_utf8_lossy(value))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
