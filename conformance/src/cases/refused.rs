//! What no-frills does not do yet: each setting is refused with its JSON pointer, never passed over.
//!
//! A later issue that brings a setting removes its line here (and, for what engines send, the setting's
//! name in `engines::without_later`), and adds cases of its own that all runtimes are held to.

use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::Verdict;
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    CASES
        .iter()
        .map(|(name, run)| case(name, "refused with its pointer", *run).only(Kind::NoFrills, "it comes later"))
        .collect()
}

fn refuses(t: &Test, pointer: &str, change: impl FnOnce(Bundle) -> Bundle) -> Verdict {
    let b = change(t.bundle()?.args(&["true"]));
    b.create_with(&[])?.refuses(t, pointer, &[])?;
    b.is_gone()
}

macro_rules! later {
    ($($name:literal: $pointer:literal, $value:expr;)*) => {
        &[$(($name, |t| refuses(t, $pointer, |b| b.set($pointer, $value)))),*]
    };
}

/// The name of a case, and the case.
type Later = (&'static str, fn(&Test) -> Verdict);

const CASES: &[Later] = later! {
    "refused/resources-memory": "/linux/resources/memory", json!({"limit": 67_108_864});
    "refused/resources-cpu": "/linux/resources/cpu", json!({"shares": 512});
    "refused/resources-pids": "/linux/resources/pids", json!({"limit": 100});
    "refused/resources-block-io": "/linux/resources/blockIO", json!({"weight": 100});
    "refused/resources-hugepages": "/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 2_097_152}]);
    "refused/resources-rdma": "/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}});
    "refused/resources-unified": "/linux/resources/unified", json!({"memory.high": "100000000"});
};
