//! `start`, `state`, `pause`, `resume`, `kill` and `delete`.

use no_frills::{Container, Error, Signal, UnknownSignal};

use crate::commands::Outcome;
use crate::environment;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;
use crate::root;
use crate::run;
use crate::timings;

/// Opens the container that the first argument names.
pub(crate) fn open(arguments: &Arguments) -> Result<Container, String> {
    root::open(arguments.global)?.container(&arguments.text(0)).map_err(|error| error.to_string())
}

/// Starts the process of a created container.
pub(crate) fn start(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let timings = timings::begin(arguments.flags);
    let outcome = open(arguments).and_then(|mut container| {
        if let Some(timings) = &timings {
            timings.mark("reading the state");
            container.set_timings(timings.clone());
        }
        start_opened(&container, log)
    });
    timings::tell(timings, arguments.flags);
    outcome
}

fn start_opened(container: &Container, log: &Log) -> Outcome {
    let failed = |error: Error| error.to_string();
    match environment::notify_socket().filter(|_| container.notifies()) {
        None => container.start().map_err(failed)?,
        Some(address) => {
            let manager = run::connect_manager(&address)?;
            let socket = container.start_notifying().map_err(failed)?;
            run::wait_until_ready(container, &socket, &manager)?;
        }
    }
    log.debug(|| format!("container {}: process {} runs its program", container.id(), container.pid()));
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

/// Stops all processes of a container.
pub(crate) fn pause(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    open(arguments)?.pause().map(|()| 0).map_err(|error| error.to_string())
}

/// Lets the processes of a paused container go on.
pub(crate) fn resume(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    open(arguments)?.resume().map(|()| 0).map_err(|error| error.to_string())
}

/// Sends a signal.
pub(crate) fn kill(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let name = match arguments.positionals.len() {
        1 => "TERM".into(),
        _ => arguments.text(1),
    };
    let container = open(arguments)?;
    let signal: Signal = name.parse().map_err(|error: UnknownSignal| error.to_string())?;
    let all = arguments.flags.has(&flags::ALL);
    let killed = if all { container.kill_all(signal) } else { container.kill(signal) };
    killed.map_err(|error| error.to_string())?;
    let whom = if all { "all processes, the first is" } else { "process" };
    log.debug(|| format!("container {}: {signal} sent to {whom} {}", container.id(), container.pid()));
    Ok(0)
}

/// Deletes a container.
pub(crate) fn delete(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let warnings = root::open(arguments.global)?
        .delete(&arguments.text(0), arguments.flags.has(&flags::FORCE))
        .map_err(|error| error.to_string())?;
    for warning in warnings {
        log.warning(&warning);
    }
    Ok(0)
}
