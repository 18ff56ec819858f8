//! A container's directory: the claim of its name, what is in it, and how it is taken away.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use no_frills_sys::lock;

use super::journal::{Journal, Record, Whole, damaged, not_as, read_journal};
use crate::error::{Error, Result};
use crate::notify;

const STATE_FILE: &str = "state.json";
const START_SOCKET: &str = "start.sock";
const CGROUP_LINK: &str = "cgroup";

/// With where the state of this user's containers could be kept.
#[cold]
fn kept_out(error: Error, path: &Path) -> Error {
    let instead = ", or name a directory of this user's with --root, or in XDG_RUNTIME_DIR";
    crate::rootless::explain_path(error, path, instead)
}

/// The names that containers may have: they name directories.
pub(super) fn check_id(id: &str) -> Result<()> {
    let invalid = |reason| Err(Error::InvalidId { id: id.to_owned(), reason });
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() {
        invalid("container id cannot be empty")
    } else if id.len() > 255 {
        invalid("it is longer than 255 characters, and a directory is named so")
    } else if id == "." || id == ".." {
        invalid("it names a directory")
    } else if !id.bytes().all(allowed) {
        invalid("only letters, digits and _ + - . are allowed")
    } else {
        Ok(())
    }
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    id: String,
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new(root: &Path, id: &str) -> Result<Directory> {
        check_id(id)?;
        Ok(Directory { id: id.to_owned(), path: root.join(id) })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn state_file(&self) -> PathBuf {
        self.path.join(STATE_FILE)
    }

    pub(crate) fn start_socket(&self) -> PathBuf {
        self.path.join(START_SOCKET)
    }

    /// What a container that notifies has at `/run/notify`.
    pub(crate) fn notify_directory(&self) -> PathBuf {
        self.path.join("notify")
    }

    /// Makes it, for anybody in the container to look into, whatever the caller's umask.
    pub(crate) fn make_notify_directory(&self) -> Result<PathBuf> {
        let path = self.notify_directory();
        std::fs::create_dir(&path).map_err(Error::at("creating", &path))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(Error::at("opening up", &path))?;
        Ok(path)
    }

    /// Takes the name: makes the directory and the journal, and locks it.
    pub(crate) fn claim(&self) -> Result<Journal> {
        self.make()?;
        let path = self.state_file();
        let opened = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path);
        let file = match opened {
            // A `delete --force` took the empty directory away, or is about to.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                return Err(Error::Deleted(self.id.clone()));
            }
            // Nothing is in the directory yet; a full disk must not keep the name.
            Err(error) => {
                return Err(Error::at("creating", &path)(error).and_cleanup(remove_directory(&self.path)));
            }
            Ok(file) => file,
        };
        let journal = Journal { file, path };
        match journal.lock() {
            Ok(metadata) if metadata.nlink() == 0 => Err(Error::Deleted(self.id.clone())),
            Ok(_) => Ok(journal),
            Err(error) => Err(error.and_cleanup(self.remove(false))),
        }
    }

    fn make(&self) -> Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(0o711);
        let made = match builder.create(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let root = self.path.parent().unwrap_or(&self.path);
                let recursive = DirBuilder::new().recursive(true).mode(0o711).create(root);
                recursive.map_err(Error::at("creating", root)).map_err(|error| kept_out(error, root))?;
                builder.create(&self.path)
            }
            result => result,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::Exists(self.id.clone())),
            result => result.map_err(Error::at("creating", &self.path)).map_err(|error| kept_out(error, &self.path)),
        }
    }

    /// The journal's last record, read without the lock. `None`: half made.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        Ok(self.read_whole()?.map(|whole| whole.record))
    }

    /// As [`read`](Directory::read), with the configuration that the container was made with.
    pub(crate) fn read_whole(&self) -> Result<Option<Whole>> {
        let Some(Journal { file, path }) = self.open_journal(OpenOptions::new().read(true))? else { return Ok(None) };
        let read = read_journal(&file, &path)?;
        Ok(read.map(|(record, document)| Whole { record, document, file }))
    }

    /// Locks an existing container for a change, and waits for others who change it. `None`: half made, it
    /// has no journal.
    pub(crate) fn lock(&self) -> Result<Option<Journal>> {
        let Some(journal) = self.open_journal_for_change()? else { return Ok(None) };
        if journal.lock()?.nlink() == 0 {
            return Err(Error::NotFound);
        }
        Ok(Some(journal))
    }

    /// Locks a whole container together with others who do not change it. It may have been deleted before. Who has its
    /// journal open already gives that.
    pub(crate) fn lock_shared(&self, opened: Option<File>) -> Result<Journal> {
        let journal = match opened {
            Some(file) => Journal { file, path: self.state_file() },
            None => self.open_journal_for_change()?.ok_or_else(|| Error::Incomplete(self.id.clone()))?,
        };
        lock::shared(&journal.file).map_err(Error::at("locking", &journal.path))?;
        Ok(journal)
    }

    /// Whether nobody has it locked: then a container that is half made will not be made any further.
    pub(crate) fn is_unlocked(&self) -> Result<bool> {
        match self.open_journal(OpenOptions::new().read(true))? {
            Some(Journal { file, path }) => lock::try_exclusive(&file).map_err(Error::at("locking", &path)),
            None => Ok(true),
        }
    }

    /// Opens the journal, or what is in its place, for who will delete the container whatever its state. `None`: nothing was
    /// there but the directory, or what somebody had put in its place; it is removed now.
    pub(crate) fn open_by_force(&self) -> Result<Option<Journal>> {
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NotFound),
            Ok(metadata) if !metadata.is_dir() => return remove_file(&self.path).map(|()| None),
            result => result.map(drop).map_err(Error::at("finding", &self.path))?,
        }
        match self.open_journal_for_change() {
            Ok(Some(journal)) => Ok(Some(journal)),
            Ok(None) if remove_directory(&self.path).is_ok() => Ok(None),
            // It is not empty, so that its maker may have got on, or the journal was lost. A new one tells: its
            // maker makes it, or we do, and only one has it locked.
            Ok(None) => match self.make_journal() {
                // Then its maker could not make one either.
                Err(Error::System { errno: Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS, .. }) => self.open_itself(),
                result => result.map(Some),
            },
            // The journal is no file. No maker is at work there.
            Err(Error::State { .. }) => self.open_itself(),
            Err(error) => Err(error),
        }
    }

    /// Locks the directory, for who may not lock the journal for himself alone.
    pub(crate) fn lock_itself(&self) -> Result<File> {
        let directory = self.open_directory()?;
        lock::exclusive(&directory).map_err(Error::at("locking", &self.path))?;
        Ok(directory)
    }

    /// The directory, to be locked in the journal's place.
    fn open_itself(&self) -> Result<Option<Journal>> {
        Ok(Some(Journal { file: self.open_directory()?, path: self.state_file() }))
    }

    fn open_directory(&self) -> Result<File> {
        match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
            result => result.map_err(Error::at("opening", &self.path)),
        }
    }

    fn has_journal(&self) -> Result<bool> {
        let path = self.state_file();
        path.try_exists().map_err(Error::at("finding", &path))
    }

    fn make_journal(&self) -> Result<Journal> {
        let path = self.state_file();
        match OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
            Err(error) => Err(Error::at("opening", &path)(error)),
            Ok(file) => Ok(Journal { file, path }),
        }
    }

    /// Opens the journal to be locked; for writing too, which locks need on NFS.
    fn open_journal_for_change(&self) -> Result<Option<Journal>> {
        match self.open_journal(OpenOptions::new().read(true).append(true)) {
            Err(Error::System { errno: Errno::EROFS, .. }) => self.open_journal(OpenOptions::new().read(true)),
            result => result,
        }
    }

    /// `None`: there is none, in a directory that is there.
    fn open_journal(&self, options: &mut OpenOptions) -> Result<Option<Journal>> {
        let path = self.state_file();
        // Whatever is in its place, it is not followed, and not waited for.
        match options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path) {
            Ok(file) => Ok(Some(Journal { file, path })),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR) => match self.path.symlink_metadata() {
                    Ok(metadata) if metadata.is_dir() => Ok(None),
                    Ok(metadata) => Err(damaged(&self.path, not_as(&metadata, "directory"))),
                    Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NotFound),
                    Err(error) => Err(Error::at("finding", &self.path)(error)),
                },
                Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => {
                    let found = path.symlink_metadata().map_err(Error::at("finding", &path))?;
                    Err(damaged(&path, not_as(&found, "file")))
                }
                _ => Err(Error::at("opening", &path)(error)),
            },
        }
    }

    /// Names its cgroup once more, before it is made: should the journal be damaged, the link still tells.
    pub(crate) fn link_cgroup(&self, cgroup: &Path) -> Result<()> {
        let path = self.path.join(CGROUP_LINK);
        std::os::unix::fs::symlink(cgroup, &path).map_err(Error::at("linking", &path))
    }

    /// It goes without that cgroup.
    pub(crate) fn unlink_cgroup(&self) -> Result<()> {
        remove_file(&self.path.join(CGROUP_LINK))
    }

    /// The cgroup that was named by [`link_cgroup`](Directory::link_cgroup).
    pub(crate) fn linked_cgroup(&self) -> Result<Option<PathBuf>> {
        let path = self.path.join(CGROUP_LINK);
        match std::fs::read_link(&path) {
            // None, or something else that is no link.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
            result => result.map(Some).map_err(Error::at("reading the link", &path)),
        }
    }

    /// Removes the start socket.
    pub(crate) fn remove_start_socket(&self) -> Result<()> {
        remove_file(&self.start_socket())
    }

    /// Removes everything of the container on disk, the name last. Whoever knows that there is no start
    /// socket says so.
    pub(crate) fn remove(&self, start_socket: bool) -> Result<()> {
        if start_socket {
            self.remove_start_socket()?;
        }
        self.unlink_cgroup()?;
        remove_file(&self.state_file())?;
        match std::fs::remove_dir(&self.path) {
            // The name was free for a moment, since somebody else has removed the directory, and another container has it.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && self.has_journal()? => Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                let notify = self.notify_directory();
                remove_file(&notify.join(notify::SOCKET))?;
                remove_directory(&notify)?;
                match remove_directory(&self.path) {
                    Err(_) if self.has_journal()? => Ok(()),
                    result => result,
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(Error::at("removing", &self.path)),
        }
    }
}

/// Removes an empty directory; one that is gone is as good.
fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::at("removing", path)),
    }
}

/// Removes a file; one that is gone is as good, and so is an empty directory in its place.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::IsADirectory => remove_directory(path),
        result => result.map_err(Error::at("removing", path)),
    }
}
