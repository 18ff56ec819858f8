//! `seccomp`.

use std::ffi::OsStr;
use std::path::Path;

use no_frills::{Bundle, SeccompFilter};

use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;

/// Prints what the filter of a bundle does, or its program. Needs no privilege, and nothing that the bundle names.
pub(crate) fn seccomp(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let flag = arguments.flags.value(&flags::BUNDLE);
    let directory = match (arguments.positionals.first(), flag) {
        (Some(_), Some(_)) => return Err("the bundle is given twice: as an argument and by --bundle".to_owned()),
        (Some(bundle), None) => bundle.as_os_str(),
        (None, flag) => flag.unwrap_or(OsStr::new(".")),
    };
    let bundle = Bundle::load(Path::new(directory)).map_err(|error| error.to_string())?;
    for warning in bundle.config().warnings() {
        log.warning(warning);
    }
    let filter = SeccompFilter::new(bundle.config()).map_err(|error| error.to_string())?;
    let text = match filter {
        None => "no filter: the configuration has no linux.seccomp\n".to_owned(),
        Some(filter) if arguments.flags.has(&flags::BPF) => filter.disassemble(),
        Some(filter) => filter.describe().map_err(|error| error.to_string())?,
    };
    output::print(&text)?;
    Ok(0)
}
