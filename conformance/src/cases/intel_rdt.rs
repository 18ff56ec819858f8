//! Intel RDT, on machines without it: what a class of service does is tested with a directory that looks like resctrl
//! (`runtime/src/resctrl.rs`).

use serde_json::{Value, json};

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::expect::{Verdict, skip};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("intel-rdt/absent", "without a resctrl file system it is an error", |t| {
            refused(t, "", json!({"closID": "guaranteed"}))
        })
        .known_failure(Kind::Runc, "passes over it"),
        case("intel-rdt/schema", "a schema without a resctrl file system is an error", |t| {
            refused(t, "", json!({"l3CacheSchema": "L3:0=f"}))
        }),
        case("intel-rdt/bad-class", "a class that is no name is refused", |t| {
            refused(t, "/closID", json!({"closID": "../x"}))
        }),
        case("intel-rdt/null", "null asks for nothing", |t| {
            t.bundle()?.set("/linux/intelRdt", Value::Null).args(&["echo", "ran"]).run()?.exits(0)?.prints("ran\n")?;
            Ok(())
        }),
    ]
}

fn refused(t: &Test, member: &str, rdt: Value) -> Verdict {
    if std::fs::read_to_string("/proc/self/mountinfo")?.contains(" - resctrl ") {
        return skip("this machine has resctrl");
    }
    let b = t.bundle()?.set("/linux/intelRdt", rdt).args(&["true"]);
    b.run()?.refuses(t, &format!("/linux/intelRdt{member}"), &[])?;
    b.is_gone()
}
