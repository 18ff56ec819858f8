//! `completion`: scripts for shells, made of the tables of commands and flags.

use crate::commands::{COMMANDS, Command, GLOBAL, Outcome};
use crate::flags::{self, Flag, Takes};
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;

/// Prints the script for the shell named.
pub(crate) fn completion(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let shell = arguments.text(0);
    let script = match &*shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => return Err(format!("completion takes bash, zsh or fish, not {shell:?}")),
    };
    output::print(&script)?;
    Ok(0)
}

/// The commands that there is something to complete for.
fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| command.run.is_some())
}

/// `flags` and the one that is taken everywhere.
fn every(flags: &'static [&'static Flag]) -> impl Iterator<Item = &'static Flag> {
    flags.iter().copied().chain([&flags::HELP])
}

/// What a command's positional argument is.
enum Kind {
    Container,
    Bundle,
    Words(Vec<&'static str>),
    Nothing,
}

fn kind(command: &Command) -> Kind {
    match command.synopsis.split(' ').next().unwrap_or_default() {
        // A new name for these two.
        "ID" if matches!(command.name, "run" | "create") => Kind::Nothing,
        "ID" => Kind::Container,
        "[BUNDLE]" => Kind::Bundle,
        "[COMMAND]" => Kind::Words(commands().map(|command| command.name).collect()),
        words if words.contains('|') => Kind::Words(words.split('|').collect()),
        _ => Kind::Nothing,
    }
}

/// Appends a line.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {{
        $text.push_str(&format!($($format)*));
        $text.push('\n');
    }};
}

/// `--bundle|-b`, as a pattern of case.
fn pattern(flag: &Flag, before: &str) -> String {
    match flag.short {
        Some(short) => format!("'{before}--{}'|'{before}-{short}'", flag.name),
        None => format!("'{before}--{}'", flag.name),
    }
}

pub(crate) fn bash() -> String {
    let mut text = String::from(
        "# Completion of no-frills for bash.\n\
         _no_frills() {\n\
         \tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n\
         \tlocal command= words= index=1\n\
         \tlocal -a root=()\n\
         \tCOMPREPLY=()\n\
         \twhile ((index < COMP_CWORD)); do\n\
         \t\tcase ${COMP_WORDS[index]} in\n\
         \t\t--root) root=(--root \"${COMP_WORDS[++index]}\") ;;\n",
    );
    let valued: Vec<String> = GLOBAL
        .iter()
        .filter(|flag| flag.takes != Takes::Nothing && flag.name != flags::ROOT.name)
        .map(|flag| pattern(flag, ""))
        .collect();
    line!(text, "\t\t{}) ((index++)) ;;", valued.join("|"));
    text.push_str(
        "\t\t-*) ;;\n\
         \t\t*) command=${COMP_WORDS[index]}; break ;;\n\
         \t\tesac\n\
         \t\t((index++))\n\
         \tdone\n\
         \tcase \"$command $previous\" in\n",
    );
    bash_values(&mut text, "", GLOBAL);
    for command in commands() {
        bash_values(&mut text, command.name, command.flags);
    }
    text.push_str("\tesac\n\tcase $command in\n");
    let names: Vec<&str> = commands().map(|command| command.name).collect();
    line!(text, "\t'') words='{} {}' ;;", names.join(" "), dashed(GLOBAL));
    for command in commands() {
        let words = match kind(command) {
            // Ids need no quoting.
            Kind::Container => "'\"$(no-frills \"${root[@]}\" list -q 2>/dev/null)\"' ".to_owned(),
            Kind::Words(words) => words.join(" ") + " ",
            Kind::Bundle | Kind::Nothing => String::new(),
        };
        line!(text, "\t{}) words='{words}{}' ;;", command.name, dashed(command.flags));
    }
    let of_bundles: Vec<&str> =
        commands().filter(|command| matches!(kind(command), Kind::Bundle)).map(|command| command.name).collect();
    text.push_str("\tesac\n\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n\tcase $command in\n");
    line!(text, "\t{})", of_bundles.join("|"));
    text.push_str(
        "\t\tmapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- \"$current\") ;;\n\
         \tesac\n\
         }\n\
         complete -F _no_frills no-frills\n",
    );
    text
}

/// The cases that complete the value of a flag.
fn bash_values(text: &mut String, command: &str, flags: &'static [&'static Flag]) {
    let before = format!("{command} ");
    for flag in every(flags) {
        let generate = match flag.takes {
            // What is optional is joined by `=`, which bash makes words of their own of.
            Takes::Nothing | Takes::Optional(_) => continue,
            Takes::File => "compgen -f".to_owned(),
            Takes::Directory => "compgen -d".to_owned(),
            Takes::Choice(words) => format!("compgen -W '{}'", words.join(" ")),
            Takes::Number(_) | Takes::Text(_) => "true".to_owned(),
        };
        line!(text, "\t{})", pattern(flag, &before));
        line!(text, "\t\tmapfile -t COMPREPLY < <({generate} -- \"$current\"); return ;;");
    }
}

fn dashed(flags: &'static [&'static Flag]) -> String {
    every(flags).map(|flag| format!("--{}", flag.name)).collect::<Vec<_>>().join(" ")
}

pub(crate) fn zsh() -> String {
    let mut text = String::from(
        "#compdef no-frills\n\
         # Completion of no-frills for zsh.\n\
         _no_frills_containers() {\n\
         \tlocal -a ids root\n\
         \t(( ${+opt_args[--root]} )) && root=(--root ${opt_args[--root]})\n\
         \tids=(${(f)\"$(no-frills $root list -q 2>/dev/null)\"})\n\
         \t_describe container ids\n\
         }\n\
         _no_frills_commands() {\n\
         \tlocal -a commands=(\n",
    );
    for command in commands() {
        line!(text, "\t\t'{}:{}'", command.name, zsh_escape(command.about));
    }
    text.push_str(
        "\t)\n\
         \t_describe command commands\n\
         }\n\
         _no_frills() {\n\
         \tlocal context state state_descr line\n\
         \ttypeset -A opt_args\n\
         \t_arguments -C \\\n",
    );
    for flag in every(GLOBAL) {
        zsh_flag(&mut text, flag);
    }
    text.push_str(
        "\t\t'1: :_no_frills_commands' \\\n\
         \t\t'*:: :->arguments'\n\
         \t[[ $state == arguments ]] || return\n\
         \tcase $words[1] in\n",
    );
    for command in commands() {
        line!(text, "\t{})", command.name);
        line!(text, "\t\t_arguments \\");
        for flag in every(command.flags) {
            zsh_flag(&mut text, flag);
        }
        let first = match kind(command) {
            Kind::Container => "container:_no_frills_containers".to_owned(),
            Kind::Bundle => "bundle:_directories".to_owned(),
            Kind::Words(words) => format!("word:({})", words.join(" ")),
            Kind::Nothing => " :".to_owned(),
        };
        line!(text, "\t\t'1:{first}' ;;");
    }
    text.push_str("\tesac\n}\ncompdef _no_frills no-frills\n");
    text
}

fn zsh_flag(text: &mut String, flag: &Flag) {
    let value = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::File => ":file:_files".to_owned(),
        Takes::Directory => ":directory:_directories".to_owned(),
        Takes::Choice(words) | Takes::Optional(words) => format!(":word:({})", words.join(" ")),
        Takes::Number(_) => ":number:".to_owned(),
        Takes::Text(_) => ":text:".to_owned(),
    };
    let help = zsh_escape(flag.help);
    // `=-::`: joined by `=`, or left out.
    let (joined, value) = match flag.takes {
        Takes::Optional(_) => ("=-", format!(":{value}")),
        _ => ("", value),
    };
    line!(text, "\t\t'--{}{joined}[{help}]{value}' \\", flag.name);
    if let Some(short) = flag.short {
        line!(text, "\t\t'-{short}[{help}]{value}' \\");
    }
}

/// For a text in single quotes, where `_arguments` and `_describe` read brackets and colons.
fn zsh_escape(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

pub(crate) fn fish() -> String {
    let names: Vec<&str> = commands().map(|command| command.name).collect();
    let mut text = String::from("# Completion of no-frills for fish.\ncomplete -c no-frills -f\n");
    line!(text, "set -l commands {}", names.join(" "));
    let none = "not __fish_seen_subcommand_from $commands";
    for flag in every(GLOBAL) {
        fish_flag(&mut text, &format!("\"{none}\""), flag);
    }
    for command in commands() {
        let name = command.name;
        line!(text, "complete -c no-frills -n \"{none}\" -a {name} -d '{}'", fish_escape(command.about));
        let this = format!("\"__fish_seen_subcommand_from {name}\"");
        for flag in every(command.flags) {
            fish_flag(&mut text, &this, flag);
        }
        let values = match kind(command) {
            Kind::Container => "'(no-frills list -q 2>/dev/null)'".to_owned(),
            Kind::Bundle => "'(__fish_complete_directories)'".to_owned(),
            Kind::Words(words) => format!("'{}'", words.join(" ")),
            Kind::Nothing => continue,
        };
        line!(text, "complete -c no-frills -n {this} -a {values}");
    }
    text
}

fn fish_flag(text: &mut String, condition: &str, flag: &Flag) {
    let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
    let value = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::File => " -rF".to_owned(),
        Takes::Directory => " -xa '(__fish_complete_directories)'".to_owned(),
        Takes::Choice(words) => format!(" -xa '{}'", words.join(" ")),
        Takes::Optional(words) => format!(" -fa '{}'", words.join(" ")),
        Takes::Number(_) | Takes::Text(_) => " -x".to_owned(),
    };
    let help = fish_escape(flag.help);
    line!(text, "complete -c no-frills -n {condition} -l {}{short}{value} -d '{help}'", flag.name);
}

fn fish_escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::{bash, commands, every, fish, zsh};

    #[test]
    fn every_command_and_flag_is_completed() {
        for script in [bash(), zsh(), fish()] {
            for command in commands() {
                assert!(script.contains(command.name));
                for flag in every(command.flags) {
                    assert!(
                        script.contains(&format!("--{}", flag.name)) || script.contains(&format!("-l {}", flag.name)),
                    );
                }
            }
        }
    }

    /// The shells that this machine has accept what is meant for them.
    #[test]
    fn shells_parse_their_scripts() {
        for (shell, script) in [("bash", bash()), ("zsh", zsh()), ("fish", fish())] {
            let run = std::process::Command::new(shell).args(["-n", "-c", &script]).output();
            match run {
                Ok(output) => assert!(
                    output.status.success() && output.stderr.is_empty(),
                    "{shell}: {}",
                    String::from_utf8_lossy(&output.stderr)
                ),
                Err(error) => eprintln!("skipped {shell}: {error}"),
            }
        }
    }
}
