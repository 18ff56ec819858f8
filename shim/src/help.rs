//! The help texts, made of the tables of commands and flags.

use crate::commands::{COMMANDS, Command, GLOBAL, Outcome};
use crate::flags::{self, Flag, Takes};
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;

/// Prints the help of the command, or of the subcommand named.
pub(crate) fn help(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let text = match arguments.positionals.first() {
        None => overview(),
        Some(name) => {
            let command = Command::find(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()))
                .ok_or_else(|| format!("unknown command: {}", name.to_string_lossy()))?;
            of(command)
        }
    };
    output::print(&text)?;
    Ok(0)
}

/// `no-frills --help`.
pub(crate) fn overview() -> String {
    let mut text = String::from(
        "no-frills runs containers that OCI bundles describe. It takes the command line of runc.\n\n\
         Usage: no-frills [FLAG...] COMMAND [FLAG...] [ARGUMENT...]\n\nCommands:\n",
    );
    let commands = || COMMANDS.iter().filter(|command| command.run.is_some());
    rows(&mut text, &commands().map(|command| (command.name.to_owned(), command.about)).collect::<Vec<_>>());
    text.push_str("\nCommands of runc that this build lacks:\n ");
    for command in COMMANDS.iter().filter(|command| command.run.is_none()) {
        text.push(' ');
        text.push_str(command.name);
    }
    text.push_str("\n\nFlags before the command:\n");
    flag_rows(&mut text, GLOBAL);
    text.push_str("\nno-frills COMMAND --help says more about a command.\n");
    text
}

/// What a call of a subcommand says that this build does not have. Engines ask by `--help`, and by flags without a value, what a
/// runtime knows: all but this is as with runc.
pub(crate) fn lacks(command: &Command) -> String {
    format!("{}: this build of no-frills has no checkpoint and restore", command.name)
}

/// `no-frills COMMAND --help`.
pub(crate) fn of(command: &Command) -> String {
    let mut text = String::from("no-frills ");
    text.push_str(command.name);
    text.push_str(": ");
    text.push_str(command.about);
    if command.run.is_none() {
        text.push_str("\n\nThis build has no checkpoint and restore: a call fails. The flags are those of runc.");
    }
    text.push_str("\n\nUsage: no-frills ");
    text.push_str(command.name);
    if !command.flags.is_empty() {
        text.push_str(" [FLAG...]");
    }
    if !command.synopsis.is_empty() {
        text.push(' ');
        text.push_str(command.synopsis);
    }
    text.push_str("\n\nFlags:\n");
    flag_rows(&mut text, command.flags);
    text
}

fn flag_rows(text: &mut String, flags: &[&Flag]) {
    let every = flags.iter().copied().chain([&flags::HELP]);
    rows(text, &every.map(|flag| (spelling(flag), flag.help)).collect::<Vec<_>>());
}

/// `-b, --bundle DIR`, with the long names below each other.
fn spelling(flag: &Flag) -> String {
    let mut text = match flag.short {
        Some(short) => format!("-{short}, --"),
        None => "    --".to_owned(),
    };
    text.push_str(flag.name);
    match (flag.placeholder(), flag.takes) {
        (Some(placeholder), Takes::Optional(_)) => text.push_str(&format!("[={placeholder}]")),
        (Some(placeholder), _) => {
            text.push(' ');
            text.push_str(&placeholder);
        }
        (None, _) => {}
    }
    text
}

fn rows(text: &mut String, rows: &[(String, &str)]) {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in rows {
        text.push_str("  ");
        text.push_str(name);
        text.extend(std::iter::repeat_n(' ', width - name.len() + 2));
        text.push_str(about);
        text.push('\n');
    }
}
