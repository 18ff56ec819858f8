//! The state root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use no_frills_sys::memfd;

use super::delete::{delete, missing_is_deleted};
use super::status::{open_process, state_in};
use super::{Container, CreateOptions};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::launch::{Goal, launch};
use crate::state::{Directory, State, Whole};

/// A state root: the directory that knows its containers.
///
/// Opening one does not touch the disk; the directory is made with the first container. It may be used
/// from any thread, and by several processes at once.
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    init: Arc<InitFile>,
}

/// Init in a sealed memfd, made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct InitFile(OnceLock<OwnedFd>);

impl InitFile {
    pub(super) fn get(&self) -> Result<BorrowedFd<'_>> {
        if let Some(init) = self.0.get() {
            return Ok(init.as_fd());
        }
        let made =
            memfd::sealed(c"init", no_frills_init::ELF).map_err(Error::system("making init's memfd: memfd_create"))?;
        // Another thread may have been first: its memfd is as good.
        Ok(self.0.get_or_init(|| made).as_fd())
    }
}

/// The containers of a state root.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those whose state can be told, by name.
    pub states: Vec<State>,
    /// Those whose state cannot be told, by name, and why. [`Runtime::delete`] by force clears them away.
    pub damaged: Vec<(String, Error)>,
}

impl Runtime {
    /// The state root at a path, for instance `/run/no-frills`.
    ///
    /// # Errors
    /// When a relative path is given and there is no current directory.
    pub fn open(root: impl Into<PathBuf>) -> Result<Runtime> {
        let root: PathBuf = root.into();
        let absolute = std::path::absolute(&root).map_err(Error::at("finding the state root", &root))?;
        Ok(Runtime { root: absolute, init: Arc::default() })
    }

    /// The state root's path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a container: everything is ready, its program waits for [`Container::start`].
    ///
    /// # Errors
    /// Any; then nothing is left of it.
    pub fn create(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Container> {
        self.launch(id, bundle, options, Goal::Created)
    }

    /// Creates a container and starts it, with one conversation with its init less than
    /// [`create`](Runtime::create) and [`start`](Container::start).
    ///
    /// # Errors
    /// Any; then nothing is left of it.
    pub fn run(&self, id: &str, bundle: &Bundle, options: CreateOptions) -> Result<Container> {
        self.launch(id, bundle, options, Goal::Running)
    }

    fn launch(&self, id: &str, bundle: &Bundle, options: CreateOptions, goal: Goal) -> Result<Container> {
        let directory = Directory::new(&self.root, id)?;
        let timings = options.timings.clone();
        let launched = launch(&directory, || self.init.get(), bundle, &options, goal);
        // Its descriptors are the container's now.
        drop(options);
        let launched = launched?;
        Ok(Container {
            document: OnceLock::new(),
            journal: Mutex::new(None),
            directory,
            record: launched.record,
            pidfd: Some(launched.pidfd),
            warnings: launched.warnings,
            console: launched.console,
            made_here: Some(launched.made_here),
            exit: OnceLock::new(),
            init: Arc::clone(&self.init),
            timings,
        })
    }

    /// The container of a name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incomplete`] when the command that creates it has not finished.
    pub fn container(&self, id: &str) -> Result<Container> {
        let directory = self.directory(id)?;
        let Some(Whole { record, document, file }) = directory.read_whole()? else {
            return Err(Error::Incomplete(id.to_owned()));
        };
        let pidfd = open_process(&record)?;
        Ok(Container {
            document: OnceLock::from(document),
            journal: Mutex::new(Some(file)),
            directory,
            record,
            pidfd,
            warnings: Vec::new(),
            console: None,
            made_here: None,
            exit: OnceLock::new(),
            init: Arc::clone(&self.init),
            timings: None,
        })
    }

    /// A name that cannot be one is that of no container.
    fn directory(&self, id: &str) -> Result<Directory> {
        Directory::new(&self.root, id)
    }

    /// The states of all containers, by name, and those that have none since something is wrong. A container that is removed
    /// meanwhile is left out, and so is one that is being made and has no state yet.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listing),
            result => result.map_err(Error::at("reading", &self.root))?,
        };
        for entry in entries {
            let name = entry.map_err(Error::at("reading", &self.root))?.file_name();
            // What is not a container's name does not belong to us.
            let Some(Ok(directory)) = name.to_str().map(|id| self.directory(id)) else { continue };
            match state_in(&directory) {
                Ok(Some(state)) => listing.states.push(state),
                Ok(None) | Err(Error::NotFound) => {}
                // Nor does a file: a log, for instance.
                Err(_) if directory.path().symlink_metadata().is_ok_and(|found| found.is_file()) => {}
                Err(error) => listing.damaged.push((directory.id().to_owned(), error)),
            }
        }
        listing.states.sort_by(|left, right| left.id.cmp(&right.id));
        listing.damaged.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(listing)
    }

    /// Deletes a container that is stopped, or created and not started (whose init is killed); with `force`
    /// one in any state, also one whose create was interrupted. With `force` it is no error when there is none.
    /// What is returned are warnings: its poststop hooks that failed.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotStopped`]; when something cannot be removed: then the name is kept, and deleting can be
    /// tried again.
    pub fn delete(&self, id: &str, force: bool) -> Result<Vec<String>> {
        let directory = self.directory(id)?;
        missing_is_deleted(delete(&directory, force), force)
    }
}
