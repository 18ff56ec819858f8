//! Any bytes as a record of the journal, or changes to one: what is read is the same after it was written again, and names no
//! cgroup outside of the hierarchy or at its top.
#![no_main]

use std::path::Component;

use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::fuzzing;
use no_frills_fuzz::{document, within};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let line = match bytes.first() {
        Some(b'{') => bytes.to_vec(),
        _ => document(record, bytes).expect("a document").to_string().into_bytes(),
    };
    let written = within((64 << 10) + 64 * line.len(), || fuzzing::record(&line));
    let Some(written) = written else { return Corpus::Keep };
    // It is a line.
    assert!(!written.contains(&b'\n'));
    assert_eq!(fuzzing::record(&written).as_ref(), Some(&written));
    let read: Value = serde_json::from_slice(&written).expect("JSON");
    match fuzzing::cgroup_of_record(&line) {
        None => assert_eq!(read["cgroup"], ""),
        Some(Ok(path)) => {
            let named = read["cgroup"].as_str().expect("a text");
            assert!(path.ends_with(named) && path.is_absolute());
            assert!(
                !named.is_empty()
                    && path.components().all(|one| matches!(one, Component::RootDir | Component::Normal(_)))
            );
            // It does not remove its hierarchy with its parents.
            assert!(path.strip_prefix("/sys/fs/cgroup").is_ok());
            assert!(
                read["cgroupParents"].as_u64() < Some(named.split('/').filter(|name| !name.is_empty()).count() as u64)
            );
        }
        Some(Err(error)) => assert!(!error.to_string().is_empty()),
    }
    Corpus::Keep
});

fn record() -> Value {
    json!({
        "version": 3, "id": "x", "ociVersion": "1.3.0", "bundle": "/b", "rootfs": "/b/rootfs", "created": "2026-11-22T03:14:34.000000005Z",
        "annotations": {"a": "b"}, "ownerUid": 0, "cgroup": "no-frills/x", "cgroupParents": 1, "pidFile": "/p", "program": "sh",
        "ready": 7, "ownPids": true, "notify": true, "hooks": true, "filtered": true, "listener": true,
        "process": {"pid": 5, "startTime": 7}, "resctrl": ["/sys/fs/resctrl/x"], "unit": {"name": "x.scope", "user": true},
    })
}
