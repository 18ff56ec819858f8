//! `linux.resources` on cgroup v2: what stands in the files, what a process feels of it, what is refused, and `update`.
//!
//! Most of it needs controllers that a host with cgroup v1 has not in cgroup v2; hugetlb is one that such hosts mostly have.

mod effects;
mod files;
mod refused;
mod update;

use std::fs;

use serde_json::Value;

use crate::bundle::{Bundle, Test};
use crate::case::Case;
use crate::expect::{Verdict, same};

pub(crate) fn cases() -> Vec<Case> {
    [files::cases(), effects::cases(), refused::cases(), update::cases()].into_iter().flatten().collect()
}

/// A bundle with these resources beside the rules for devices that are there.
#[allow(clippy::needless_pass_by_value, reason = "it is made for the call")]
fn with(t: &Test, resources: Value) -> Verdict<Bundle<'_>> {
    let mut b = t.bundle()?;
    for (name, value) in resources.as_object().into_iter().flatten() {
        b = b.set(&format!("/linux/resources/{name}"), value.clone());
    }
    Ok(b)
}

/// A file of the container's cgroup, without its last newline.
fn file(b: &Bundle, name: &str) -> Verdict<String> {
    let path = b.cgroup_dir().join(name);
    let text =
        fs::read_to_string(&path).map_err(|e| crate::expect::Stop::Failed(format!("{}: {e}", path.display())))?;
    Ok(text.trim_end().to_owned())
}

/// These files of the container's cgroup have this content.
fn files(b: &Bundle, expected: &[(&str, &str)]) -> Verdict {
    for (name, content) in expected {
        same(name, file(b, name)?.as_str(), *content)?;
    }
    Ok(())
}

/// The cgroup of a container that is made with these resources has these files.
fn makes(t: &Test, resources: Value, expected: &[(&str, &str)]) -> Verdict {
    let b = with(t, resources)?.args(&["true"]);
    b.create()?;
    files(&b, expected)
}
