//! A journal with any damage: cut, with bytes changed, removed and added. Every command that reads it gets a record that was
//! written, whole, or an error that names the file; one that was only cut is read up to its last whole record.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use no_frills::fuzzing::Journal;
use no_frills_fuzz::within;
use serde_json::{Value, json};

/// In memory, and one for each process that fuzzes.
static ROOT: LazyLock<PathBuf> =
    LazyLock::new(|| PathBuf::from(format!("/dev/shm/no-frills-fuzz-{}", std::process::id())));

#[derive(Arbitrary, Debug)]
enum Damage {
    Cut(u16),
    Set(u16, u8),
    Remove(u16, u8),
    Insert(u16, Vec<u8>),
    Repeat(u16, u16),
    Zero(u16, u8),
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match check(&mut Unstructured::new(bytes)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let document: Vec<u8> = match u.arbitrary::<bool>()? {
        true => b"{\n  \"ociVersion\": \"1.3.0\",\n \"root\": {\"path\": \"r\"}}\n".to_vec(),
        false => u.arbitrary()?,
    };
    let count = u.int_in_range(1..=3)?;
    let records: Vec<Value> = (1..=count).map(record).collect();
    let journal = Journal::new(&ROOT).expect("a name");
    journal.make(&document, &records).expect("a new journal");
    let path = ROOT.join("x/state.json");
    let whole = std::fs::read(&path).expect("what was written");
    assert_eq!(journal.read().expect("a whole journal"), Some((records[count - 1].clone(), document.clone())));

    let mut text = whole.clone();
    let damages: Vec<Damage> = (0..u.int_in_range(1..=4)?).map(|_| u.arbitrary()).collect::<Result<_>>()?;
    damages.iter().for_each(|damage| apply(damage, &mut text));
    std::fs::write(&path, &text).expect("a file in memory");

    let read = within((64 << 10) + 64 * text.len(), || journal.read());
    match &read {
        Ok(None) => {}
        Ok(Some((record, document))) => {
            // It is a line of what is there, whole.
            let is_line =
                text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).any(|line| {
                    let read = no_frills::fuzzing::record(&line[..line.len() - 1]);
                    read.is_some_and(|read| serde_json::from_slice::<Value>(&read).expect("JSON") == *record)
                });
            assert!(is_line, "{damages:?}");
            assert!(
                document.is_empty() || text.windows(document.len()).any(|part| part == document.as_slice()),
                "{damages:?}"
            );
        }
        Err(error) => assert!(error.to_string().contains("/x/state.json"), "{error}"),
    }
    // Whoever locks it reads the same.
    match (journal.read_locked(), &read) {
        (Ok(Some((Some(record), Some(document)))), Ok(Some(read))) => {
            assert_eq!((&record, &document), (&read.0, &read.1))
        }
        (Ok(Some((record, _))), Ok(None)) => assert_eq!(record, None),
        (Err(error), Err(other)) => assert_eq!(error.to_string(), other.to_string()),
        (locked, _) => panic!("{locked:?} where {read:?}"),
    }
    if let [Damage::Cut(_)] = damages[..] {
        check_cut(&whole, text.len(), &records, read.expect("a whole record or none").map(|(record, _)| record));
    }
    journal.remove().expect("an own file");
    Ok(())
}

/// Of a journal that was cut the last whole record counts.
fn check_cut(whole: &[u8], length: usize, records: &[Value], read: Option<Value>) {
    let ends: Vec<usize> =
        (0..whole.len()).rev().filter(|at| whole[*at] == b'\n').map(|at| at + 1).take(records.len()).collect();
    let left = ends.iter().filter(|end| **end <= length).count();
    assert_eq!(read.as_ref(), left.checked_sub(1).map(|last| &records[last]));
}

fn apply(damage: &Damage, text: &mut Vec<u8>) {
    let place = |at: u16| usize::from(at) % (text.len() + 1);
    match damage {
        Damage::Cut(at) => text.truncate(place(*at)),
        Damage::Set(at, byte) => {
            let at = place(*at);
            if let Some(place) = text.get_mut(at) {
                *place = *byte;
            }
        }
        Damage::Remove(at, count) => {
            let at = place(*at);
            text.drain(at..text.len().min(at + usize::from(*count)));
        }
        Damage::Insert(at, bytes) => {
            let at = place(*at);
            text.splice(at..at, bytes.iter().copied());
        }
        Damage::Repeat(from, to) => {
            let (from, to) = (place(*from), place(*to));
            let part = text[from.min(to)..from.max(to)].to_vec();
            text.extend(part);
        }
        Damage::Zero(at, count) => {
            let at = place(*at);
            let end = text.len().min(at + usize::from(*count));
            text[at..end].fill(0);
        }
    }
}

fn record(number: usize) -> Value {
    let process = (number > 1).then(|| json!({"pid": number, "startTime": 7}));
    json!({
        "version": 3, "id": "x", "ociVersion": "1.3.0", "bundle": "/b", "rootfs": "/b/rootfs", "created": "2026-11-22T03:14:34.000000005Z",
        "annotations": {}, "ownerUid": 0, "cgroup": "no-frills/x", "cgroupParents": 1, "pidFile": null, "program": "sh",
        "ready": number, "ownPids": true, "process": process,
    })
}
