//! Cgroups that systemd makes: a scope for each container, asked for by D-Bus.
//!
//! systemd believes that the tree of cgroups is its own, but for what it delegates. So it is asked for a scope
//! ([`Manager::start`]), which is delegated: within it a runtime may do as in a cgroup that it made itself. What a unit has
//! properties for, systemd writes to the scope's files, and again at every `daemon-reload`; so limits are given to it too
//! ([`properties`]).
//!
//! No thread, no library of C: one connection, which is closed when the [`Manager`] is dropped, and on which everything is
//! answered within a deadline.

mod bus;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod message;
mod properties;
#[cfg(test)]
mod tests;
mod text;

use std::fs;
use std::path::Path;

use nix::errno::Errno;

pub use message::{Property, Value};
pub use properties::{PERIOD, properties};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::hierarchy::Hierarchy;
use bus::{Bus, Failure};

/// Of the names of errors, what a unit is answered with that systemd does not know.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// Whatever was there goes first.
const REPLACE: &str = "replace";

/// A scope, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The slice that it is in; `-.slice` is the topmost.
    pub slice: String,
    /// The unit's name, `PREFIX-NAME.scope`.
    pub unit: String,
}

impl Scope {
    /// The scope of a cgroupsPath `slice:prefix:name`, whose parts may be empty: then it is in `user.slice` if it is a user's,
    /// else in `system.slice`, without a prefix, and called as the container.
    ///
    /// # Errors
    /// [`Error::Path`] when there can be none of that name.
    pub fn new(slice: &str, prefix: &str, name: &str, id: &str, user: bool) -> Result<Scope> {
        let refused = |why| Err(Error::Path { path: format!("{slice}:{prefix}:{name}"), why });
        let slice = match slice {
            "" if user => "user.slice",
            "" => "system.slice",
            "-" => "-.slice",
            named => named,
        };
        if !is_slice(slice) {
            return refused("its first part is no name of a slice, such as a.slice, a-b.slice or -.slice");
        }
        if name.ends_with(".slice") {
            return refused("its last part names a slice, in which systemd puts no process; name a scope");
        }
        let name = if name.is_empty() { id } else { name };
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        if unit.len() > 255 || unit.contains('/') {
            return refused("the unit's name would have a slash or more than 255 characters");
        }
        Ok(Scope { slice: slice.to_owned(), unit })
    }
}

/// Whether a slice may be called so: each dash is a level of the tree.
fn is_slice(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".slice") else { return false };
    stem == "-" || !stem.contains('/') && stem.split('-').all(|level| !level.is_empty())
}

/// The manager of the system, or of a user.
pub struct Manager {
    bus: Bus,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Manager")
    }
}

fn failed(action: &'static str, unit: &str) -> impl FnOnce(Failure) -> Error {
    move |failure| Error::Systemd { action, unit: unit.to_owned(), why: failure.to_string() }
}

impl Manager {
    /// Connects to the manager of the system, or of the user, over its own socket, or else over the bus.
    ///
    /// # Errors
    /// [`Error::Systemd`].
    pub fn connect(user: bool) -> Result<Manager> {
        match Bus::connect(user) {
            Ok(bus) => Ok(Manager { bus }),
            Err(failure) => Err(failed("connecting", if user { "the user's manager" } else { "the manager" })(failure)),
        }
    }

    /// Checks that there is no unit of the name; one that failed and stayed behind is forgotten.
    ///
    /// # Errors
    /// [`Error::Systemd`].
    pub fn claim(&mut self, unit: &str) -> Result<()> {
        const ACTION: &str = "claiming the name";
        if !self.exists(unit)? {
            return Ok(());
        }
        self.forget(unit)?;
        match self.exists(unit)? {
            false => Ok(()),
            true => Err(Error::Systemd {
                action: ACTION,
                unit: unit.to_owned(),
                why: "there is such a unit already; another container's, or one that systemctl stop ends".to_owned(),
            }),
        }
    }

    fn exists(&mut self, unit: &str) -> Result<bool> {
        match self.bus.call("GetUnit", "s", |writer| writer.string(unit)) {
            Ok(_) => Ok(true),
            Err(Failure::Answer { name, .. }) if name == NO_SUCH_UNIT => Ok(false),
            Err(failure) => Err(failed("looking for", unit)(failure)),
        }
    }

    /// Starts a scope with a process in it, which has to live until another one is there. `begun` tells whether there is
    /// something to be stopped, also after an error.
    ///
    /// # Errors
    /// [`Error::Systemd`], with what systemd says.
    pub fn start(
        &mut self,
        scope: &Scope,
        description: &str,
        pid: i32,
        more: &[Property],
        begun: &mut bool,
    ) -> Result<()> {
        let property = |name: &str, value| Property { name: name.to_owned(), value };
        let text = |text: &str| Value::String(text.to_owned());
        let own = [
            property("Description", text(description)),
            property("Slice", text(&scope.slice)),
            property("Delegate", Value::Boolean(true)),
            // Else it would be stopped before what it may depend on, when the machine is shut down.
            property("DefaultDependencies", Value::Boolean(false)),
            property("PIDs", Value::Array('u', vec![Value::Uint32(pid as u32)])),
        ];
        let asked = self.bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", |writer| {
            writer.string(&scope.unit);
            writer.string("fail");
            writer.properties(own.iter().chain(more));
            writer.no_units();
        });
        // An answer that it will not be, for instance since another one has that name by now.
        *begun = !matches!(asked, Err(Failure::Answer { .. }));
        let done = asked.and_then(|asked| self.bus.wait(&asked));
        match done.map_err(failed("starting", &scope.unit))?.as_str() {
            "done" => Ok(()),
            other => Err(Error::Systemd {
                action: "starting",
                unit: scope.unit.clone(),
                why: format!("the job's result is {other:?}; journalctl may tell more"),
            }),
        }
    }

    /// Changes properties of a unit, as long as it is there.
    ///
    /// # Errors
    /// [`Error::Systemd`].
    pub fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let set = self.bus.call("SetUnitProperties", "sba(sv)", |writer| {
            writer.string(unit);
            writer.bool(true);
            writer.properties(properties);
        });
        set.map(drop).map_err(failed("setting properties of", unit))
    }

    /// Has a process moved to a unit, or to a cgroup in it, by who may: a user's manager asks the system's.
    ///
    /// # Errors
    /// [`Error::Systemd`].
    pub fn attach(&mut self, unit: &str, subgroup: Option<&str>, pid: i32) -> Result<()> {
        let attached = self.bus.call("AttachProcessesToUnit", "ssau", |writer| {
            writer.string(unit);
            writer.string(&subgroup.map_or(String::new(), |name| format!("/{name}")));
            writer.value(&Value::Array('u', vec![Value::Uint32(pid as u32)]));
        });
        attached.map(drop).map_err(failed("moving a process to", unit))
    }

    /// Stops a unit and waits until it is, whether or not it is there; nothing of it stays, also if it failed.
    ///
    /// # Errors
    /// [`Error::Systemd`].
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let begun = self.bus.call("StopUnit", "ss", |writer| {
            writer.string(unit);
            writer.string(REPLACE);
        });
        match begun.and_then(|begun| self.bus.wait(&begun)) {
            // Why it was stopped, or that it was stopped meanwhile by itself, is all the same.
            Ok(_) => self.forget(unit),
            Err(Failure::Answer { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            Err(failure) => Err(failed("stopping", unit)(failure)),
        }
    }

    /// What failed is kept by systemd until this.
    fn forget(&mut self, unit: &str) -> Result<()> {
        match self.bus.call("ResetFailedUnit", "s", |writer| writer.string(unit)) {
            Ok(_) => Ok(()),
            Err(Failure::Answer { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
            Err(failure) => Err(failed("forgetting", unit)(failure)),
        }
    }
}

impl Cgroup {
    /// The cgroup that a process is in.
    ///
    /// # Errors
    /// When it cannot be read, or is above what the hierarchy shows.
    pub fn of_process(hierarchy: &Hierarchy, pid: i32) -> Result<Cgroup> {
        let path = format!("/proc/{pid}/cgroup");
        let text = fs::read_to_string(&path).map_err(|error| {
            Error::system("reading", Path::new(&path), Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        })?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        Cgroup::recorded(hierarchy, Path::new(own), 0)
    }
}
