//! `list`.

use no_frills::{Listing, State};

use crate::commands::Outcome;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::owner::Users;
use crate::parse::Arguments;
use crate::root;
use crate::table;

/// Prints the containers under the root, by name.
pub(crate) fn list(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let Listing { states, damaged } = root::open(arguments.global)?.list().map_err(|error| error.to_string())?;
    let text = if arguments.flags.has(&flags::QUIET) {
        states.iter().flat_map(|state| [state.id.as_str(), "\n"]).collect()
    } else {
        let users = Users::read()?;
        let owner = |state: &State| users.name(state.owner_uid);
        match arguments.flags.word(&flags::FORMAT) {
            Some("json") => json(states, owner)?,
            _ => in_columns(&states, owner),
        }
    };
    output::print(&text)?;
    for (id, error) in damaged {
        log.warning(&format!("{id}: {error}"));
    }
    Ok(0)
}

/// As runc prints a slice of Go, and its callers read it: that of no containers is nil.
fn json(mut states: Vec<State>, owner: impl Fn(&State) -> String) -> Result<String, String> {
    if states.is_empty() {
        return Ok("null\n".to_owned());
    }
    for state in &mut states {
        state.owner = owner(state);
    }
    let text = serde_json::to_string(&states);
    text.map(|text| text + "\n").map_err(|error| format!("writing the containers as JSON: {error}"))
}

fn in_columns(states: &[State], owner: impl Fn(&State) -> String) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(states.iter().map(|state| {
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone(),
            owner(state),
        ]
    }));
    table::render(&rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use no_frills::{State, Status};

    use super::{in_columns, json};

    fn state(id: &str, pid: i32, status: Status) -> State {
        State {
            oci_version: "1.2.1".to_owned(),
            id: id.to_owned(),
            pid,
            status,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-22T03:23:26.342144850Z".to_owned(),
            annotations: BTreeMap::new(),
            owner: String::new(),
            owner_uid: 0,
        }
    }

    fn root(_: &State) -> String {
        "root".to_owned()
    }

    #[test]
    fn no_containers_are_null() {
        assert_eq!(json(Vec::new(), root).unwrap(), "null\n");
        assert_eq!(in_columns(&[], root), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }

    #[test]
    fn json_has_the_keys_of_runc() {
        assert_eq!(
            json(vec![state("a", 7, Status::Running)], root).unwrap(),
            "[{\"ociVersion\":\"1.2.1\",\"id\":\"a\",\"pid\":7,\"status\":\"running\",\"bundle\":\"/b\",\
             \"rootfs\":\"/b/rootfs\",\"created\":\"2026-11-22T03:23:26.342144850Z\",\"owner\":\"root\"}]\n"
        );
    }

    #[test]
    fn columns() {
        let states = [state("a", 7, Status::Running), state("longer-than-others", 0, Status::Stopped)];
        assert_eq!(
            in_columns(&states, root),
            "ID                   PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             a                    7           running     /b          2026-11-22T03:23:26.342144850Z   root\n\
             longer-than-others   0           stopped     /b          2026-11-22T03:23:26.342144850Z   root\n"
        );
    }
}
