//! Changing the limits of a container that is there.

use no_frills_cgroups::Resources;
use no_frills_cgroups::devices::{self, Rule};
use no_frills_cgroups::resources::Target;
use serde_json::Value;

use crate::config::{Asked, Config, ConfigError, read_resources, zero_pids_is_a_limit};
use crate::error::{Error, Result};
use crate::members::Members;
use crate::resctrl;
use crate::state::Record;
use crate::systemd;

/// What is to be changed about a container's limits. What is left out stays as it is.
///
/// Errors name settings by their place in `linux.resources`, for instance `/memory/limit`.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Limits.
    pub limits: Resources,
    /// Rules for devices, in the place of all that the container has; what every container may use stays allowed.
    pub device_rules: Option<Vec<Rule>>,
    /// Lines for the schema of the container's class in resctrl, as in `L3:0=f0` and `MB:0=50`; the container needs to have
    /// been made with `linux.intelRdt`.
    pub schema: Vec<String>,
    warnings: Vec<String>,
}

impl Update {
    /// Reads an object as that of `linux.resources`.
    ///
    /// # Errors
    /// When it is not one, or asks for what cannot be.
    pub fn from_json(bytes: &[u8]) -> std::result::Result<Update, ConfigError> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| ConfigError::new("", format!("not JSON: {error}")))?;
        let mut warnings = Vec::new();
        let Asked { limits, device_rules } = read_resources(&value, &mut warnings)?;
        Ok(Update { limits, device_rules, schema: Vec::new(), warnings })
    }

    /// What was passed over, as the specification asks for, each with its place.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Carries it out. All values are checked before the first is written.
    pub(crate) fn apply(&self, id: &str, record: &Record, config: impl FnOnce() -> Result<Config>) -> Result<()> {
        let no_cgroup =
            || Error::Option("the container has no cgroup of its own, so that it cannot be limited".to_owned());
        let program = self.device_rules.as_ref().map(|rules| devices::compile_container(rules)).transpose()?;
        let mut limits = self.limits.clone();
        limits.pids_limit = limits.pids_limit.filter(|limit| *limit != 0 || zero_pids_is_a_limit(&record.oci_version));
        let writes = limits.writes(Target::Used).map_err(Error::limit(""))?;
        limits.check_host().map_err(Error::limit(""))?;
        let config = if self.schema.is_empty() { None } else { Some(config()?) };
        let rdt = config.as_ref().map(|config| config.linux.intel_rdt.as_ref().ok_or(Error::NoClass)).transpose()?;
        let class = rdt.map(|rdt| resctrl::class_of(rdt, id)).transpose()?;
        if !writes.is_empty() || program.is_some() {
            let Members::OfCgroup(cgroup) = Members::of(record)? else { return Err(no_cgroup()) };
            let dir = cgroup.open()?;
            dir.check_usage(&limits).map_err(Error::limit(""))?;
            dir.complete(&mut limits).map_err(Error::limit(""))?;
            let writes = limits.writes(Target::Used).map_err(Error::limit(""))?;
            if let Some(unit) = &record.unit {
                systemd::set(unit, &writes, dir.period().map_err(Error::limit(""))?)?;
            }
            cgroup.enable_controllers(&writes).map_err(Error::limit(""))?;
            dir.apply(&writes).map_err(Error::limit(""))?;
            if let Some(program) = &program {
                dir.set_devices(program).map_err(|source| {
                    let error = Error::Cgroup { pointer: "/devices".into(), source };
                    partly(error, if writes.is_empty() { &[] } else { &["the limits"] })
                })?;
            }
        }
        if let Some(class) = class {
            let mut done = Vec::new();
            done.extend((!writes.is_empty()).then_some("the limits"));
            done.extend(program.is_some().then_some("the rules for devices"));
            class.change(&self.schema).map_err(|error| partly(error, &done))?;
        }
        Ok(())
    }
}

/// An error with what was changed before it.
fn partly(error: Error, done: &[&str]) -> Error {
    if done.is_empty() { error } else { Error::Option(format!("{error} (already changed: {})", done.join(", "))) }
}
