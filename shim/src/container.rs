//! `start`, `state`, `kill` and `delete`.

use no_frills::{Container, Signal, UnknownSignal};

use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;
use crate::root;

/// Opens the container that the first argument names.
pub(crate) fn open(arguments: &Arguments) -> Result<Container, String> {
    root::open(arguments.global)?.container(&arguments.text(0)).map_err(|error| error.to_string())
}

/// Starts the process of a created container.
pub(crate) fn start(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    open(arguments)?.start().map_err(|error| error.to_string())?;
    Ok(0)
}

/// Prints the state as JSON.
pub(crate) fn state(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let state = open(arguments)?.state().map_err(|error| error.to_string())?;
    let mut text =
        serde_json::to_string_pretty(&state).map_err(|error| format!("writing the state as JSON: {error}"))?;
    text.push('\n');
    output::print(&text)?;
    Ok(0)
}

/// Sends a signal.
pub(crate) fn kill(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let name = match arguments.positionals.len() {
        1 => "TERM".into(),
        _ => arguments.text(1),
    };
    let container = open(arguments)?;
    let signal: Signal = name.parse().map_err(|error: UnknownSignal| error.to_string())?;
    let killed = if arguments.flags.has(&flags::ALL) { container.kill_all(signal) } else { container.kill(signal) };
    killed.map(|()| 0).map_err(|error| error.to_string())
}

/// Deletes a container.
pub(crate) fn delete(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    root::open(arguments.global)?
        .delete(&arguments.text(0), arguments.flags.has(&flags::FORCE))
        .map_err(|error| error.to_string())?;
    Ok(0)
}
