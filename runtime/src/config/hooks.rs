//! The setting `hooks`: programs of the host, and of the container, that are run at moments of its life.

use std::time::Duration;

use super::process::read_variable;
use super::reader::{Node, Result};

/// When a hook is run (config.md, "POSIX-platform Hooks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// In create, before the container's root is entered. Deprecated, and what engines use most.
    Prestart,
    /// Right after, the same.
    CreateRuntime,
    /// Right after, in the container's namespaces.
    CreateContainer,
    /// In start, before the program runs: a program of the container's.
    StartContainer,
    /// When the program runs.
    Poststart,
    /// When the container has been deleted.
    Poststop,
}

impl Moment {
    /// All of them, in their order.
    pub(crate) const ALL: [Moment; 6] = [
        Moment::Prestart,
        Moment::CreateRuntime,
        Moment::CreateContainer,
        Moment::StartContainer,
        Moment::Poststart,
        Moment::Poststop,
    ];

    /// Those in create.
    pub(crate) const CREATE: [Moment; 3] = [Moment::Prestart, Moment::CreateRuntime, Moment::CreateContainer];
    /// Those later.
    pub(crate) const LATER: [Moment; 3] = [Moment::StartContainer, Moment::Poststart, Moment::Poststop];

    /// The setting's name in `hooks`.
    pub(crate) fn name(self) -> &'static str {
        self.pointer().trim_start_matches("/hooks/")
    }

    /// The setting.
    pub(crate) const fn pointer(self) -> &'static str {
        match self {
            Moment::Prestart => "/hooks/prestart",
            Moment::CreateRuntime => "/hooks/createRuntime",
            Moment::CreateContainer => "/hooks/createContainer",
            Moment::StartContainer => "/hooks/startContainer",
            Moment::Poststart => "/hooks/poststart",
            Moment::Poststop => "/hooks/poststop",
        }
    }
}

/// A program to run.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// Absolute.
    pub(crate) path: String,
    /// With `args[0]`; never empty.
    pub(crate) args: Vec<String>,
    /// `None`: the surroundings' own.
    pub(crate) env: Option<Vec<String>>,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
}

/// The hooks of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks([Vec<Hook>; Moment::ALL.len()]);

impl Hooks {
    /// The hooks of a moment, in their order.
    pub(crate) fn of(&self, moment: Moment) -> &[Hook] {
        self.0.get(moment as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether one of these moments has hooks.
    pub(crate) fn any(&self, moments: &[Moment]) -> bool {
        moments.iter().any(|moment| !self.of(*moment).is_empty())
    }
}

pub(super) fn read(document: &Node<'_, '_>) -> Result<Hooks> {
    let mut hooks = Hooks::default();
    if let Some(node) = document.member("hooks")? {
        for (moment, list) in Moment::ALL.into_iter().zip(&mut hooks.0) {
            *list = node.each(moment.name(), read_one)?;
        }
    }
    Ok(hooks)
}

fn read_one(node: &Node<'_, '_>) -> Result<Hook> {
    let path = node.required("path")?;
    if !path.text()?.starts_with('/') {
        return Err(path.error("must be an absolute path"));
    }
    let path = path.text()?.to_owned();
    let mut args = node.texts_of("args")?;
    if args.is_empty() {
        args.push(path.clone());
    }
    let env = match node.member("env")? {
        Some(_) => Some(node.each("env", read_variable)?),
        None => None,
    };
    let seconds = node.member("timeout")?.map(|timeout| timeout.signed(1, i64::MAX)).transpose()?;
    Ok(Hook { path, args, env, timeout: seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    fn read(hooks: &Value) -> std::result::Result<Hooks, String> {
        let mut spec: Value = serde_json::from_str(include_str!("../../tests/golden/default.json")).unwrap();
        spec["hooks"] = hooks.clone();
        Config::from_value(&spec).map(|config| config.hooks).map_err(|error| error.to_string())
    }

    #[test]
    fn hooks_are_read_by_moment() {
        for moment in Moment::ALL {
            let full = json!({"path": "/h", "args": ["a", "b"], "env": ["C=d"], "timeout": 7, "unknown": 1});
            let hooks = read(&json!({moment.name(): [full, {"path": "/x", "env": [], "args": []}]})).unwrap();
            for other in Moment::ALL {
                assert_eq!(hooks.of(other).len(), if other == moment { 2 } else { 0 });
            }
            let [first, second] = hooks.of(moment) else { panic!() };
            assert_eq!((first.path.as_str(), first.args.join(" ").as_str()), ("/h", "a b"));
            assert_eq!(
                (first.env.as_deref(), first.timeout),
                (Some(&["C=d".to_owned()][..]), Some(Duration::from_secs(7)))
            );
            assert_eq!(
                (second.args.join(" ").as_str(), second.env.as_deref(), second.timeout),
                ("/x", Some(&[][..]), None)
            );
        }
        assert!(read(&json!({"poststart": [{"path": "/h"}]})).unwrap().of(Moment::Poststart)[0].env.is_none());
        assert!(read(&json!({"other": 1, "prestart": null})).is_ok());
    }

    #[test]
    fn what_is_no_hook_is_refused() {
        let refused = |hook: Value, message: &str| {
            assert_eq!(read(&json!({"createRuntime": [{"path": "/x"}, hook]})).unwrap_err(), message);
        };
        refused(json!({}), "/hooks/createRuntime/1/path: required, but missing");
        refused(json!({"path": ""}), "/hooks/createRuntime/1/path: must be an absolute path");
        refused(json!({"path": "bin/x"}), "/hooks/createRuntime/1/path: must be an absolute path");
        refused(json!({"path": "/x\u{0}"}), "/hooks/createRuntime/1/path: holds a NUL character");
        refused(
            json!({"path": "/x", "env": ["A"]}),
            "/hooks/createRuntime/1/env/0: \"A\" is not of the form NAME=VALUE",
        );
        refused(json!({"path": "/x", "args": "a"}), "/hooks/createRuntime/1/args: expected an array, found a string");
        for timeout in [0, -1] {
            let expected = format!("expected an integer from 1 to {}, found {timeout}", i64::MAX);
            refused(json!({"path": "/x", "timeout": timeout}), &format!("/hooks/createRuntime/1/timeout: {expected}"));
        }
        assert_eq!(read(&json!({"prestart": {}})).unwrap_err(), "/hooks/prestart: expected an array, found an object");
    }
}
