//! The journal: the configuration that a container was made with, and its records.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use no_frills_sys::lock;
use serde::{Deserialize, Serialize};

use super::Process;
use crate::error::{Error, Result};

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The name: a journal that was copied, or is reached by a link, is not the container's.
    pub(crate) id: String,
    pub(crate) oci_version: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner_uid: u32,
    /// Relative to the cgroup2 mount.
    pub(crate) cgroup: PathBuf,
    /// How many of its parents were made along with it.
    pub(crate) cgroup_parents: u32,
    /// Removed along with a container that is only half made. When it is whole the file is its caller's, who may
    /// read it later than that, and it is named no more.
    pub(crate) pid_file: Option<PathBuf>,
    /// `args[0]`, for what `start` may have to say.
    pub(crate) program: String,
    /// The number of the step at which init waits, for the same.
    pub(crate) ready: u32,
    /// Whether it has a pid namespace of its own: then all its processes end with the first.
    pub(crate) own_pids: bool,
    /// Whether it has a directory for the socket of its notifications.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) notify: bool,
    /// Whether hooks are to be run after it was created: then the configuration is read again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hooks: bool,
    /// Whether the program is run under a seccomp filter: then init has no words left when it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) filtered: bool,
    /// Whether that filter has a listener: then the configuration is read again for who gets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) listener: bool,
    pub(crate) process: Option<Process>,
    /// A hook that runs, or ran last: who deletes the container by force ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hook: Option<Process>,
    /// Directories of resctrl that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resctrl: Vec<PathBuf>,
    /// The unit of systemd that its cgroup is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Of the user's manager.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) user: bool,
}

/// Of the journal's format.
pub(crate) const VERSION: u32 = 3;

/// The longest journal that is read, in bytes. The configuration, which it holds, has 16 MiB at most.
const JOURNAL_MAX: usize = 64 * 1024 * 1024;

/// What a journal says, and the journal.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) record: Record,
    /// The configuration that the container was made with.
    pub(crate) document: Vec<u8>,
    pub(crate) file: File,
}

/// How a journal begins: the length of the configuration, in bytes, which follows on a line of its own.
const HEAD: &str = "{\"document\":";

/// What is recorded of a container cannot be read.
pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
    Error::State { path: path.to_owned(), reason: reason.into() }
}

/// What something is instead.
pub(super) fn not_as(metadata: &Metadata, wanted: &str) -> String {
    let found = match metadata.file_type() {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        _ => "something else",
    };
    format!("it is {found}, not a {wanted}")
}

/// What a journal consists of.
struct Parts<'t> {
    /// Where the configuration lies.
    document: Range<usize>,
    records: &'t [u8],
}

/// `None`: it is not whole.
fn parts(text: &[u8]) -> Result<Option<Parts<'_>>, &'static str> {
    const NOT_OURS: &str = "it does not begin as a journal does";
    let Some(line) = text.iter().position(|byte| *byte == b'\n') else {
        let is_begun = text.iter().zip(HEAD.as_bytes()).all(|(byte, expected)| byte == expected);
        return if is_begun { Ok(None) } else { Err(NOT_OURS) };
    };
    let head = text.get(..line).and_then(|head| head.strip_prefix(HEAD.as_bytes())?.strip_suffix(b"}"));
    let length: Option<usize> = head.and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let length = length.filter(|length| *length <= JOURNAL_MAX).ok_or(NOT_OURS)?;
    let (start, end) = (line + 1, line + 1 + length);
    match text.get(end) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(Parts { document: start..end, records: text.get(end + 1..).unwrap_or(&[]) })),
        Some(_) => Err("its configuration does not end where it should"),
    }
}

fn read_all(file: &File, path: &Path) -> Result<Vec<u8>> {
    // More than nearly every journal has, so that it is read at once.
    const ROOM: usize = 8192;
    let mut text = Vec::new();
    loop {
        let have = text.len();
        if have > JOURNAL_MAX {
            return Err(damaged(path, "it is too long to be one of ours"));
        }
        text.resize(have + ROOM, 0);
        let room = text.get_mut(have..).unwrap_or(&mut []);
        let count = match file.read_at(room, have as u64) {
            // A fifo can be opened, and no position be read.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::ESPIPE)) => {
                let found = file.metadata().map_err(Error::at("reading", path))?;
                return Err(damaged(path, not_as(&found, "file")));
            }
            result => result.map_err(Error::at("reading", path))?,
        };
        text.truncate(have + count);
        // A read that does not fill its room has come to the end.
        if count < ROOM {
            return Ok(text);
        }
    }
}

/// The record on a line.
fn parse_record(line: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(line).map_err(|error| match other_version(line) {
        Some(version) => format!("it has the format {version}; this version knows {VERSION}"),
        None => error.to_string(),
    })?;
    if record.version != VERSION {
        return Err(format!("it has the format {}; this version knows {VERSION}", record.version));
    }
    Ok(record)
}

/// The version that a line names that is no record of this one.
fn other_version(line: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("version")?.as_u64().filter(|version| *version != u64::from(VERSION))
}

/// The last whole line, and the configuration. `None`: there is no whole line.
pub(super) fn read_journal(file: &File, path: &Path) -> Result<Option<(Record, Vec<u8>)>> {
    let mut text = read_all(file, path)?;
    let Some(Parts { document, records }) = parts(&text).map_err(|reason| damaged(path, reason))? else {
        return Ok(None);
    };
    let Some(end) = records.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    let whole = records.get(..end).unwrap_or(&[]);
    let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    let record = parse_record(line).map_err(|reason| damaged(path, reason))?;
    if path.parent().and_then(Path::file_name).is_none_or(|name| *name != *record.id) {
        return Err(damaged(path, format!("it is that of the container {:?}", record.id)));
    }
    text.truncate(document.end);
    text.drain(..document.start);
    Ok(Some((record, text)))
}

/// The open and locked journal. The lock ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Journal {
    /// Waits for the lock, and tells what the file is then: without a link it has been deleted.
    pub(super) fn lock(&self) -> Result<Metadata> {
        lock::exclusive(&self.file).map_err(Error::at("locking", &self.path))?;
        self.metadata()
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(Error::at("reading", &self.path))
    }

    /// Begins the journal with the configuration, and appends the first record.
    pub(crate) fn begin(&mut self, document: &[u8], record: &Record) -> Result<()> {
        let mut text = format!("{HEAD}{}}}\n", document.len()).into_bytes();
        text.reserve(document.len() + 1024);
        text.extend_from_slice(document);
        text.push(b'\n');
        self.append(text, record)
    }

    /// Appends a record.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        self.append(Vec::with_capacity(1024), record)
    }

    /// What does not fit on the disk is taken back, so that the next record begins on a line of its own.
    fn append(&self, mut line: Vec<u8>, record: &Record) -> Result<()> {
        // A path that is not UTF-8 cannot be recorded in JSON.
        serde_json::to_writer(&mut line, record)
            .map_err(|error| Error::State { path: self.path.clone(), reason: error.to_string() })?;
        line.push(b'\n');
        match (&self.file).write(&line) {
            Ok(written) if written == line.len() => Ok(()),
            Ok(written) => {
                let end = self.file.metadata().map_err(Error::at("reading", &self.path))?.len();
                self.file.set_len(end - written as u64).map_err(Error::at("truncating", &self.path))?;
                Err(Error::at("writing", &self.path)(Errno::ENOSPC))
            }
            Err(error) => Err(Error::at("writing", &self.path)(error)),
        }
    }

    /// The configuration that the container was made with. `None`: half made.
    pub(crate) fn document(&self) -> Result<Option<Vec<u8>>> {
        let mut text = read_all(&self.file, &self.path)?;
        let Some(Parts { document, .. }) = parts(&text).map_err(|reason| damaged(&self.path, reason))? else {
            return Ok(None);
        };
        text.truncate(document.end);
        text.drain(..document.start);
        Ok(Some(text))
    }

    /// The last record.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(read_journal(&self.file, &self.path)?.map(|(record, _)| record))
    }

    /// The last line of a damaged journal that is a record; maybe of another container.
    pub(crate) fn salvage(&self) -> Option<Record> {
        let text = read_all(&self.file, &self.path).ok()?;
        text.rsplit(|byte| *byte == b'\n').find_map(|line| parse_record(line).ok())
    }

    /// Lets others lock the container.
    pub(crate) fn unlock(&self) -> Result<()> {
        lock::unlock(&self.file).map_err(Error::at("unlocking", &self.path))
    }

    /// Stays open to be locked again.
    pub(crate) fn into_unlocked(self) -> UnlockedJournal {
        UnlockedJournal(self)
    }
}

/// The open journal of a container that this process made, for when it comes back to delete it.
#[derive(Debug)]
pub(crate) struct UnlockedJournal(Journal);

impl UnlockedJournal {
    /// Locks it again. The container may have been deleted meanwhile, and another made of its name.
    pub(crate) fn lock(self) -> Result<Journal> {
        if self.0.lock()?.nlink() == 0 {
            return Err(Error::NotFound);
        }
        Ok(self.0)
    }
}
