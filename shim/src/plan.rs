//! `plan`.

use std::ffi::OsStr;
use std::path::Path;

use no_frills::Bundle;

use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;
use crate::run::planned_options;

/// Prints what running a bundle would do. Needs no privilege, and nothing that the bundle names.
pub(crate) fn plan(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let directory = arguments.positionals.first().map_or(OsStr::new("."), |bundle| bundle.as_os_str());
    let bundle = Bundle::load(Path::new(directory)).map_err(|error| error.to_string())?;
    for warning in bundle.config().warnings() {
        log.warning(warning);
    }
    // The id makes up the cgroup's path where the config names none.
    let program = bundle.plan("ID", &planned_options(arguments)).map_err(|error| error.to_string())?;
    let text = if arguments.flags.has(&flags::JSON) {
        let text = serde_json::to_string_pretty(&program.to_json());
        text.map(|text| text + "\n").map_err(|error| format!("writing the plan as JSON: {error}"))?
    } else {
        program.describe()
    };
    output::print(&text)?;
    Ok(0)
}
