//! `ps`.

use std::ffi::OsString;
use std::process::Command;

use crate::cause::cause;
use crate::commands::Outcome;
use crate::container;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;

/// Prints the processes of a container: their pids as JSON, or what the host's ps says of them.
pub(crate) fn ps(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let pids = container::open(arguments)?.processes().map_err(|error| error.to_string())?;
    let text = if arguments.flags.word(&flags::FORMAT) == Some("json") {
        json(&pids)
    } else {
        let options = arguments.positionals.get(1..).unwrap_or_default();
        table(&host_ps(options)?, &pids)?
    };
    output::print(&text)?;
    Ok(0)
}

fn json(pids: &[i32]) -> String {
    if pids.is_empty() {
        // As runc prints a nil slice, and its callers read it.
        return "null\n".to_owned();
    }
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    format!("[{}]\n", pids.join(","))
}

/// What ps prints of all processes, since it has no common way to select some and keep the format.
fn host_ps(options: &[OsString]) -> Result<String, String> {
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef");
    } else {
        ps.args(options);
    }
    let output = ps.output().map_err(|error| format!("running ps: {}", cause(error)))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ps: {}: {}", output.status, message.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines of `listing` whose column PID holds one of `pids`.
fn table(listing: &str, pids: &[i32]) -> Result<String, String> {
    let mut lines = listing.lines();
    let head = lines.next().unwrap_or_default();
    let column =
        head.split_ascii_whitespace().position(|title| title == "PID").ok_or("the output of ps has no column PID")?;
    let mut text = format!("{head}\n");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{json, table};

    const LISTING: &str = "UID          PID    PPID  C STIME TTY          TIME CMD\n\
                           root           1       0  0 02:49 ?        00:00:00 /sbin/init 7\n\
                           root           7       1  0 02:49 ?        00:00:00 sh\n\
                           root          71       7  0 02:49 ?        00:00:00 sleep 7\n";

    #[test]
    fn json_of_none_is_null() {
        assert_eq!(json(&[]), "null\n");
        assert_eq!(json(&[9639]), "[9639]\n");
        assert_eq!(json(&[1, 22]), "[1,22]\n");
    }

    #[test]
    fn lines_are_chosen_by_the_column_pid() {
        let lines: Vec<&str> = LISTING.lines().collect();
        assert_eq!(table(LISTING, &[7]).unwrap(), format!("{}\n{}\n", lines[0], lines[2]));
        assert_eq!(table(LISTING, &[]).unwrap(), format!("{}\n", lines[0]));
        assert_eq!(table("  PID\n   71\n    7\n", &[71]).unwrap(), "  PID\n   71\n");
    }

    #[test]
    fn without_the_column_there_is_nothing_to_choose_by() {
        assert!(table("COMMAND\nsh\n", &[7]).is_err());
        assert!(table("", &[7]).is_err());
    }
}
