//! `check`: all that is wrong with a bundle, at once, and what this host cannot do of it.
//!
//! Nothing here knows a rule of the configuration a second time. The readers, the compiler and the questions to the host are those
//! of create, which end at the first error. Here each error is noted, what it names is taken out of the document (`Document`),
//! or put right where that is obvious, and all is done again, until nothing is left to be refused.
//!
//! To that comes what create does not ask before it makes something (`host`, `rootfs`), and what it passes over in silence, as the
//! specification demands, though hardly anybody means it: names that nobody knows, values that the specification's schema has
//! otherwise, and things that are there twice (`schema`, `repeated`). Those are warnings.
//!
//! Nothing is made or changed. What only the kernel knows when it is done, a mount for instance, cannot be told in advance.

mod distance;
mod document;
pub(crate) mod host;
pub(crate) mod id_maps;
mod machine;
mod remedy;
mod repeated;
mod rootfs;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use nix::unistd::{getegid, geteuid, getuid};
use no_frills_cgroups::{Cgroup, CgroupsPath, Hierarchy};
use no_frills_sys::capability;

use crate::bundle::{Bundle, read_config};
use crate::compile::{Caller, Program};
use crate::config::{Config, ConfigError, RESOURCES};
use crate::container::CreateOptions;
use crate::error::{Error, Result};
use crate::init::open_source;
use crate::launch::refuse_limits;
use crate::members::is_limited;
use crate::systemd::Making;
use crate::{handover, own_namespaces, resctrl, security};
use document::Document;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `create` refuses the bundle for it, or `start` does.
    Error,
    /// It can be created; but what is meant is not what is done, or will not be for long.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The setting in `config.json`, a JSON pointer (RFC 6901); empty for the file or the host as a whole.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
    /// What can be done about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { severity, pointer, message, .. } = self;
        let pointer = if pointer.is_empty() { "config.json" } else { pointer };
        write!(out, "{}: {pointer}: {message}", severity.name())
    }
}

/// Collects problems, each once.
#[derive(Debug, Default)]
struct Report {
    problems: Vec<Problem>,
    seen: BTreeSet<(String, String)>,
}

impl Report {
    fn add(&mut self, severity: Severity, pointer: String, message: String) {
        let remedy = remedy::remedy(&pointer, &message);
        self.add_with(severity, pointer, message, remedy);
    }

    fn add_with(&mut self, severity: Severity, pointer: String, message: String, remedy: String) {
        if self.seen.insert((pointer.clone(), message.clone())) {
            self.problems.push(Problem { severity, pointer, message, remedy });
        }
    }

    fn error(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, pointer.into(), message.into());
    }

    fn warning(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, pointer.into(), message.into());
    }

    /// Errors first, each kind by place.
    fn into_sorted(self) -> Vec<Problem> {
        // Items are sorted by number.
        let key = |pointer: &str| {
            let tokens = pointer.split('/').map(|token| (token.parse::<usize>().unwrap_or_default(), token.to_owned()));
            tokens.collect::<Vec<_>>()
        };
        let mut problems = self.problems;
        problems.sort_by_cached_key(|problem| (problem.severity, key(&problem.pointer)));
        problems
    }
}

/// How often all is done again at most: for each error once, and nobody reads more.
const ROUNDS_MAX: usize = 1000;

/// Says what is wrong with a bundle, and what of it this host cannot do for this caller: all of it, errors first. An empty list: nothing.
///
/// Nothing is made or changed, and no hook is run. `options` are those that the container would be created with.
#[must_use]
pub fn check(directory: impl AsRef<Path>, options: &CreateOptions) -> Vec<Problem> {
    let directory = directory.as_ref();
    let mut report = Report::default();
    let read = std::path::absolute(directory).map_err(Error::at("finding the bundle", directory));
    let read = read.and_then(|directory| Ok((read_config(&directory.join("config.json"))?, directory)));
    let (bytes, directory) = match read {
        Ok(read) => read,
        Err(error) => {
            report.error("", error.to_string());
            return report.problems;
        }
    };
    let value = match Config::parse(&bytes) {
        Ok(value) => value,
        Err(error) => {
            report.error("", error.to_string());
            return report.problems;
        }
    };
    let mut document = Document::new(value);
    repeated::names(&bytes, &mut report);
    let last = attempt_until_accepted(&mut document, &directory, options, &mut report);
    if let Some(Accepted { config, program }) = last {
        for warning in config.warnings() {
            let (pointer, message) = warning.split_once(": ").unwrap_or(("", warning));
            let pointer = document.original(pointer);
            if !document.is_changed(&pointer) {
                report.warning(pointer, message);
            }
        }
        if let Some(program) = program {
            let found = host::Found { config: &config, program: &program, document: &document };
            host::check(&found, &mut report);
            rootfs::check(&found, &mut report);
        }
    }
    schema::check(document.value(), &mut report);
    repeated::items(document.value(), &mut report);
    report.into_sorted()
}

/// What is left when all that is refused was taken out.
struct Accepted {
    config: Config,
    program: Option<Program>,
}

/// Does what create does before it makes anything, again and again, and takes out what is refused. `None`: nothing could be read.
fn attempt_until_accepted(
    document: &mut Document,
    directory: &Path,
    options: &CreateOptions,
    report: &mut Report,
) -> Option<Accepted> {
    let mut accepted = None;
    for _ in 0..ROUNDS_MAX {
        let config = Config::from_value(&document.current());
        let errors = match config {
            Err(error) => vec![Error::from(error)],
            Ok(config) => {
                let mut errors = Vec::new();
                let program = attempt(directory, &config, options, &mut errors);
                accepted = Some(Accepted { config, program });
                errors
            }
        };
        if errors.is_empty() {
            break;
        }
        let mut is_changed = false;
        // What they name is counted in the document as it was read this time.
        let told = |error: &Error| {
            let (pointer, message) = place(error);
            (document.original(&pointer), message, !matches!(error, Error::Config(_)))
        };
        let errors: Vec<_> = errors.iter().map(told).collect();
        for (pointer, message, is_of_host) in errors {
            if !document.is_changed(&pointer) && !document.is_changed_beneath(&pointer) {
                report.error(pointer.clone(), message.clone());
            }
            // What the host lacks hinders nothing else: all of it was told.
            is_changed |= !is_of_host && document.put_right(&pointer, &message);
        }
        if !is_changed {
            break;
        }
    }
    accepted
}

/// The setting of an error, and what is wrong with it.
fn place(error: &Error) -> (String, String) {
    let whole = error.to_string();
    let pointer = match error {
        Error::Config(ConfigError { pointer, .. }) | Error::Step { pointer, .. } | Error::System { pointer, .. } => {
            pointer.as_str()
        }
        Error::Cgroup { pointer, .. } => pointer.as_ref(),
        _ => "",
    };
    let message = whole.strip_prefix(pointer).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&whole);
    (pointer.to_owned(), message.to_owned())
}

/// What create does before it makes anything, by the same functions; of each the first error.
fn attempt(directory: &Path, config: &Config, options: &CreateOptions, errors: &mut Vec<Error>) -> Option<Program> {
    /// For names that hold the container's own: any will do.
    const ID: &str = "check";
    let bundle = match Bundle::from_config(directory, config.clone()) {
        Ok(bundle) => bundle,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let mut program = match compile(&bundle, ID, options) {
        Ok(program) => program,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let mut note = |result: Result<()>| errors.extend(result.err());
    note(program.filter().map(drop).map_err(Error::from));
    note(security::check(&config.process));
    note(handover::check(config));
    // A path that leads nowhere is told with the sources.
    note(
        own_namespaces::check(config)
            .or_else(|error| if matches!(error, Error::Config(_)) { Err(error) } else { Ok(()) }),
    );
    note(program.resources.check_host().map_err(Error::limit(RESOURCES)));
    note(program.intel_rdt.as_ref().map_or(Ok(()), |rdt| resctrl::class(rdt, ID).map(drop)));
    note(Making::prepare(config, ID, program.cgroup.as_ref()).map(drop));
    errors.extend(check_cgroup(&program).unwrap_or_else(|error| vec![error]));
    errors.extend(program.sources.iter().filter_map(|source| open_source(&program, source, None).err()));
    // Of no use to who reads on, and large.
    program.seccomp = None;
    Some(program)
}

fn compile(bundle: &Bundle, id: &str, options: &CreateOptions) -> Result<Program> {
    let program = bundle.plan_with(id, options, None, &[])?;
    if getuid().is_root() || capability::has_sys_admin().map_err(Error::system("reading the own capabilities"))? {
        return Ok(program);
    }
    Ok(program.unprivileged(Caller { uid: geteuid().as_raw(), gid: getegid().as_raw() })?)
}

/// What stands in the way of the container's cgroup, and of the controllers that its limits need.
fn check_cgroup(program: &Program) -> Result<Vec<Error>> {
    let Some(CgroupsPath::Fs(relative)) = &program.cgroup else { return Ok(Vec::new()) };
    let hierarchy = match Hierarchy::find() {
        Err(_) if program.caller.is_some() => {
            return refuse_limits(program, "there is no cgroup2 file system").map(|()| Vec::new());
        }
        hierarchy => hierarchy.map_err(Error::cgroup)?,
    };
    let cgroup = Cgroup::new(&hierarchy, relative).map_err(Error::cgroup)?;
    cgroup.claim().map_err(Error::cgroup)?;
    match cgroup.may_be_made() {
        // It goes without one then.
        Err(error) if is_limited()? => return refuse_limits(program, &error.to_string()).map(|()| Vec::new()),
        result => result.map_err(Error::cgroup)?,
    }
    Ok(cgroup.lacks_controllers(&program.limits).into_iter().map(Error::limit(RESOURCES)).collect())
}
