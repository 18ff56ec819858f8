//! What is done otherwise for a caller who has no rights on the host but in a user namespace that it makes.
//!
//! - It may not clone the host's mounts. init does, by path, in the mount namespace that it has made: the one exception to the
//!   rule that init names no path of the host. The parent still opens each path first, so that a missing one is told before
//!   anything is made.
//! - It may map its own ids without help, if setgroups(2) is denied in the namespace then. Others are mapped by
//!   newuidmap(1) and newgidmap(1), which know what it was given.

use no_frills_plan::{Plan, PlanBuilder, Step};

use super::{IdMaps, Pointer, Program, SOURCE_BATCH, Source, SourceKind, text};
use crate::config::ConfigError;

/// Who makes the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl IdMaps {
    /// Whether the caller's own user is all that is mapped.
    pub fn is_own_uid(&self, caller: Caller) -> bool {
        maps_only(&self.uid, caller.uid)
    }

    /// Whether the caller's own group is all that is mapped.
    pub fn is_own_gid(&self, caller: Caller) -> bool {
        maps_only(&self.gid, caller.gid)
    }
}

fn maps_only(map: &str, host: u32) -> bool {
    let words: Vec<&str> = map.split_ascii_whitespace().collect();
    matches!(words.as_slice(), [_, id, "1"] if *id == host.to_string())
}

impl Program {
    /// The same for a caller without rights on the host.
    ///
    /// # Errors
    /// When it cannot be done without them.
    pub fn unprivileged(mut self, caller: Caller) -> Result<Program, ConfigError> {
        if !self.has_user_namespace {
            let message = "a container of a user without rights on the host needs a namespace of type \"user\": \
                           `no-frills spec --rootless` writes a configuration that has one";
            return Err(ConfigError::new(Pointer::NAMESPACES, message));
        }
        let maps_ids = |source: &&Source| match &source.kind {
            SourceKind::Tree { ids, .. } => ids.is_some(),
            SourceKind::UserNamespace(_) => true,
            _ => false,
        };
        if let Some(source) = self.sources.iter().find(maps_ids) {
            let message = "the ids of a mount can be mapped by who has CAP_SYS_ADMIN on the host alone";
            return Err(ConfigError::new(source.pointer, message));
        }
        if self.id_maps.as_ref().is_some_and(|maps| maps.is_own_gid(caller)) {
            self = self.without_setgroups()?;
        }
        let mut batch = 0;
        let sources = std::mem::take(&mut self.sources);
        self.rewrite(|rewriting, pointer, step| {
            rewriting.push(pointer, step);
            // When the mounts are init's own.
            if let Step::SetPropagation { .. } | Step::ReceiveSources {} = step {
                rewriting.clone_trees(sources.chunks(SOURCE_BATCH).nth(batch).unwrap_or(&[]));
                batch += 1;
            }
            Ok(())
        })?;
        self.sources = sources;
        self.caller = Some(caller);
        Ok(self)
    }

    /// The same in a user namespace in which setgroups(2) is denied.
    ///
    /// # Errors
    /// When there are groups to set.
    pub fn without_setgroups(mut self) -> Result<Program, ConfigError> {
        self.rewrite(|rewriting, pointer, step| match step {
            Step::SetUser { groups, .. } if groups.count() > 0 => {
                let message = "need subordinate group ids: with the caller's own alone the kernel denies setgroups";
                Err(ConfigError::new("/process/user/additionalGids", message))
            }
            Step::SetUser { uid, gid, .. } => {
                rewriting.push(pointer, &Step::SetIds { uid: *uid, gid: *gid });
                Ok(())
            }
            _ => {
                rewriting.push(pointer, step);
                Ok(())
            }
        })?;
        Ok(self)
    }

    /// Writes the plan anew, step by step.
    fn rewrite(
        &mut self,
        mut each: impl FnMut(&mut Rewriting, Pointer, &Step<'_>) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut rewriting = Rewriting { plan: PlanBuilder::new(), pointers: Vec::with_capacity(self.pointers.len()) };
        // The plan was written by this very process, so every step of it can be read.
        let steps = Plan::decode(self.steps.bytes()).map(|plan| plan.steps().flatten().collect::<Vec<_>>());
        for (step, pointer) in steps.unwrap_or_default().iter().zip(&self.pointers) {
            each(&mut rewriting, *pointer, step)?;
        }
        self.steps = rewriting.plan;
        self.pointers = rewriting.pointers;
        Ok(())
    }
}

struct Rewriting {
    plan: PlanBuilder,
    pointers: Vec<Pointer>,
}

impl Rewriting {
    fn push(&mut self, pointer: Pointer, step: &Step<'_>) {
        self.plan.push(step);
        self.pointers.push(pointer);
    }

    fn clone_trees(&mut self, sources: &[Source]) {
        for (number, source) in (0..).zip(sources) {
            if let SourceKind::Tree { path, recursive, itself, .. } = &source.kind {
                let path = path.to_string_lossy();
                let (recursive, itself) = ((*recursive).into(), (*itself).into());
                let step = Step::CloneTree { source: number, path: text(&path), recursive, itself };
                self.push(source.pointer, &step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::compile::{CompileOptions, compile};
    use crate::config::Config;

    const CALLER: Caller = Caller { uid: 1000, gid: 1000 };

    fn spec(host: u32, size: u32, binds: usize) -> Value {
        let map = json!([{"containerID": 0, "hostID": host, "size": size}]);
        let mounts = (0..binds).map(|number| {
            json!({"destination": format!("/m/{number}"), "source": format!("/s/{number}"), "options": ["bind"]})
        });
        json!({
            "ociVersion": "1.3.0",
            "process": {"args": ["prog"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "mounts": mounts.collect::<Vec<_>>(),
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "user"}],
                "uidMappings": map, "gidMappings": map,
            },
        })
    }

    fn compiled(spec: &Value) -> Result<Program, ConfigError> {
        let options = CompileOptions::new(Path::new("/b"), "id");
        compile(&Config::from_value(spec).unwrap(), &options).unwrap().unprivileged(CALLER)
    }

    /// Every tree is cloned by init under the number that it is used by.
    #[test]
    fn trees_are_cloned_by_init_batch_by_batch() {
        let program = compiled(&spec(1000, 1, 250)).unwrap();
        let steps = Plan::decode(program.steps.bytes()).unwrap().steps().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(steps.len(), program.pointers.len());
        let mut here = std::collections::BTreeMap::new();
        let mut used = Vec::new();
        for step in &steps {
            match step {
                Step::ReceiveSources {} => here.clear(),
                Step::CloneTree { source, path, .. } => drop(here.insert(*source, *path)),
                Step::UseSource { source } => used.push(String::from_utf8_lossy(here[source].bytes()).into_owned()),
                _ => {}
            }
        }
        let wanted = program.sources.iter().map(|source| match &source.kind {
            SourceKind::Tree { path, .. } => path.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(used, wanted.collect::<Vec<_>>());
        assert_eq!(used[0], "/b/rootfs");
        assert!(used.len() > 250);
    }

    #[test]
    fn groups_stay_where_setgroups_is_denied() {
        let names = |program: &Program| -> Vec<&'static str> {
            Plan::decode(program.steps.bytes()).unwrap().steps().map(|step| step.unwrap().name()).collect()
        };
        let own = names(&compiled(&spec(1000, 1, 0)).unwrap());
        assert!(own.contains(&"SetIds") && !own.contains(&"SetUser"));
        let given = names(&compiled(&spec(100_000, 10, 0)).unwrap());
        assert!(given.contains(&"SetUser") && !given.contains(&"SetIds"));
        let mut groups = spec(1000, 1, 0);
        groups["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [0]});
        let error = compiled(&groups).unwrap_err().to_string();
        assert!(error.starts_with("/process/user/additionalGids: need subordinate group ids"), "{error}");
    }

    #[test]
    fn it_takes_a_user_namespace() {
        let mut spec = spec(1000, 1, 0);
        spec["linux"] = json!({"namespaces": [{"type": "mount"}]});
        let error = compiled(&spec).unwrap_err().to_string();
        assert!(error.starts_with("/linux/namespaces: a container of a user without rights"), "{error}");
    }
}
