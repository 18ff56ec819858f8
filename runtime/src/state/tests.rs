use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use super::directory::check_id;
use super::*;
use crate::error::Error;

pub(crate) fn record(pid: i32) -> Record {
    Record {
        version: VERSION,
        id: "x".to_owned(),
        oci_version: "1.3.0".to_owned(),
        bundle: PathBuf::from("/b"),
        rootfs: PathBuf::from("/b/rootfs"),
        created: "2026-11-22T03:14:34.000000005Z".to_owned(),
        annotations: BTreeMap::new(),
        owner_uid: 0,
        cgroup: PathBuf::from("no-frills/x"),
        cgroup_parents: 1,
        pid_file: None,
        program: "sh".to_owned(),
        ready: 0,
        own_pids: true,
        notify: false,
        hooks: false,
        filtered: false,
        listener: false,
        hook: None,
        process: Some(Process { pid, start_time: 7 }),
        resctrl: Vec::new(),
        unit: None,
    }
}

fn open_for_reading(directory: &Directory) -> File {
    File::open(directory.state_file()).unwrap()
}

#[test]
fn the_last_whole_record_counts_wherever_the_journal_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path(), "x").unwrap();
    let mut journal = directory.claim().unwrap();
    let document = b"{\n  \"ociVersion\": \"1.3.0\"\n}\n";
    journal.begin(document, &record(1)).unwrap();
    assert_eq!(
        Journal { file: open_for_reading(&directory), path: PathBuf::new() }.document().unwrap().unwrap(),
        document
    );
    let first = std::fs::metadata(directory.state_file()).unwrap().len();
    journal.write(&record(2)).unwrap();
    let whole = std::fs::read(directory.state_file()).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(directory.state_file(), &whole[..length]).unwrap();
        let pid = directory.read().unwrap().map(|record| record.process.unwrap().pid);
        let expected = match length as u64 {
            length if length < first => None,
            length if length < whole.len() as u64 => Some(1),
            _ => Some(2),
        };
        assert_eq!(pid, expected, "{length}");
    }
}

#[test]
fn garbage_and_other_versions_are_told() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path(), "x").unwrap();
    drop(directory.claim().unwrap());
    std::fs::write(directory.state_file(), b"\xff\xfe\n").unwrap();
    assert!(matches!(directory.read(), Err(Error::State { .. })));
    std::fs::remove_file(directory.state_file()).unwrap();
    std::fs::remove_dir(directory.path()).unwrap();
    directory.claim().unwrap().begin(b"{}", &Record { version: 99, ..record(1) }).unwrap();
    assert!(directory.read().unwrap_err().to_string().contains("format 99"));
}

/// What is told of a journal that holds this.
fn told(directory: &Directory, journal: &[u8]) -> String {
    std::fs::write(directory.state_file(), journal).unwrap();
    match directory.read() {
        Ok(None) => "half made".to_owned(),
        Ok(Some(record)) => format!("process {}", record.process.unwrap().pid),
        Err(error @ Error::State { .. }) => error.to_string().split(": ").nth(1).unwrap_or_default().to_owned(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_damaged_is_told_from_what_is_half_made() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path(), "x").unwrap();
    directory.claim().unwrap().begin(b"{}", &record(1)).unwrap();
    let whole = std::fs::read(directory.state_file()).unwrap();
    let with = |tail: &[u8]| [whole.as_slice(), tail].concat();
    let begins = "it does not begin as a journal does; deleting it with --force clears up";
    assert_eq!(told(&directory, &whole), "process 1");
    assert_eq!(told(&directory, &with(b"{\"version\":3,")), "process 1");
    for half in [&b""[..], b"{\"docu", b"{\"document\":4}\n{}", b"{\"document\":2}\n{}\n{\"ver"] {
        assert_eq!(told(&directory, half), "half made", "{half:?}");
    }
    let huge = b"{\"document\":18446744073709551615}\n{}\n";
    for other in [&b"\0"[..], b"garbage", b"\n", b"{\"document\":x}\n", b"{\"document\":-1}\n", huge, &[0; 9000]] {
        assert_eq!(told(&directory, other), begins, "{other:?}");
    }
    assert!(told(&directory, b"{\"document\":1}\n{}\n").starts_with("its configuration does not end"));
    for garbage in [&b"\n"[..], b"garbage\n", b"\xff\xfe\0\n", b"{}\n", b"{\"version\":3}\n", b"[]\n"] {
        assert!(!told(&directory, &with(garbage)).contains("process"), "{garbage:?}");
    }
    assert_eq!(
        told(&directory, &with(b"{\"version\":2,\"a\":[]}\n")),
        "it has the format 2; this version knows 3; deleting it with --force clears up"
    );
    let other = serde_json::to_string(&Record { id: "y".to_owned(), ..record(1) }).unwrap() + "\n";
    assert!(told(&directory, &with(other.as_bytes())).starts_with("it is that of the container \"y\""));
    // A hole as large as a disk is not read to its end.
    std::fs::write(directory.state_file(), &whole).unwrap();
    OpenOptions::new().append(true).open(directory.state_file()).unwrap().set_len(1 << 40).unwrap();
    assert!(directory.read().unwrap_err().to_string().contains("too long"));
}

#[test]
fn what_is_no_journal_or_no_directory_is_told() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path(), "x").unwrap();
    let told = || directory.read().map(|record| record.is_some()).map_err(|error| error.to_string());
    let is = |what: &str| {
        let error = told().unwrap_err();
        assert!(error.contains(what), "{error}");
    };
    std::fs::write(directory.path(), "").unwrap();
    is("x: it is a file, not a directory");
    std::fs::remove_file(directory.path()).unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path()).unwrap();
    is("x: it is a symbolic link, not a directory");
    std::fs::remove_file(directory.path()).unwrap();
    assert!(matches!(directory.read(), Err(Error::NotFound)));
    std::fs::create_dir(directory.path()).unwrap();
    assert_eq!(told(), Ok(false));
    std::os::unix::fs::symlink("/etc/passwd", directory.state_file()).unwrap();
    is("state.json: it is a symbolic link, not a file");
    std::fs::remove_file(directory.state_file()).unwrap();
    nix::unistd::mkfifo(&directory.state_file(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    is("state.json: it is something else, not a file");
    std::fs::remove_file(directory.state_file()).unwrap();
    std::fs::create_dir(directory.state_file()).unwrap();
    is("state.json: it is a directory, not a file");
    directory.remove(true).unwrap();
    assert!(!directory.path().exists());
}

#[test]
fn a_name_is_taken_once() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path(), "x").unwrap();
    let journal = directory.claim().unwrap();
    assert!(matches!(directory.claim(), Err(Error::Exists(id)) if id == "x"));
    // Another command waits for the lock, and finds the container gone when it gets it; or it comes between
    // the removal of the journal and that of the directory, which look half-made then.
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| directory.lock());
        directory.remove(true).unwrap();
        drop(journal);
        waiting.join().unwrap()
    });
    assert!(matches!(waiting, Err(Error::NotFound) | Ok(None)), "{waiting:?}");
    directory.remove(true).unwrap();
}

#[test]
fn names() {
    for id in ["a", "A-b_c+d.e", ".hidden", "-x", "0", &"x".repeat(255)] {
        check_id(id).unwrap();
    }
    for id in ["", ".", "..", "a/b", "a b", "a:b", "é", "a\n", &"x".repeat(256)] {
        assert!(matches!(check_id(id), Err(Error::InvalidId { .. })), "{id}");
    }
}

#[test]
fn our_own_process_is_alive_and_told_from_another_with_its_pid() {
    let pid = std::process::id() as i32;
    let stat = ProcessStat::read(pid).unwrap().unwrap();
    assert!(Process { pid, start_time: stat.start_time }.is_alive().unwrap());
    assert!(!Process { pid, start_time: stat.start_time + 1 }.is_alive().unwrap());
    assert!(ProcessStat::read(i32::MAX).unwrap().is_none());
    // Rust programs ignore SIGPIPE, which is signal 13.
    assert_eq!(stat.ignored_signals & (1 << 12), 1 << 12);
}
