//! `install`: puts this program, its manual and its completions where a system looks for them, and takes them away again.
//!
//! Each file is written beside its place and renamed, so that there is the old one or the new one, whole, and a program that runs is not
//! written to. What is installed follows from the tables of commands and flags alone, so that what is to be removed is known without a list.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cause::cause;
use crate::commands::Outcome;
use crate::completion;
use crate::flags;
use crate::log::Log;
use crate::man;
use crate::output;
use crate::parse::Arguments;

const PREFIX: &str = "/usr/local";
const PROGRAM: u32 = 0o755;
const TEXT: u32 = 0o644;

/// A file to install.
struct File {
    /// Beneath the prefix.
    path: String,
    mode: u32,
    content: Vec<u8>,
}

/// Installs, or removes what was installed, and prints the paths.
pub(crate) fn install(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let flags = arguments.flags;
    let top = top(flags.value(&flags::PREFIX), flags.value(&flags::DESTDIR))?;
    let mut done = String::new();
    let mut outcome = Ok(0);
    for file in files()? {
        let path = top.join(&file.path);
        let result = match (flags.has(&flags::DRY_RUN), flags.has(&flags::UNINSTALL)) {
            (true, _) => Ok(true),
            (false, true) => remove(&path),
            (false, false) => write(&path, &file).map(|()| true),
        };
        match result {
            Ok(true) => done.push_str(&format!("{}\n", path.display())),
            Ok(false) => {}
            Err(message) => {
                outcome = Err(message);
                break;
            }
        }
    }
    // What was done before a failure was done.
    output::print(&done)?;
    outcome
}

/// Where everything goes beneath.
fn top(prefix: Option<&OsStr>, destdir: Option<&OsStr>) -> Result<PathBuf, String> {
    let prefix = Path::new(prefix.unwrap_or(OsStr::new(PREFIX)));
    let Ok(relative) = prefix.strip_prefix("/") else {
        return Err(format!("--prefix takes an absolute path, not {prefix:?}"));
    };
    Ok(Path::new(destdir.filter(|destdir| !destdir.is_empty()).unwrap_or(OsStr::new("/"))).join(relative))
}

fn files() -> Result<Vec<File>, String> {
    let own = "/proc/self/exe";
    let program = fs::read(own).map_err(|error| format!("reading {own}: {}", cause(error)))?;
    let mut files = vec![File { path: "bin/no-frills".to_owned(), mode: PROGRAM, content: program }];
    let mut add = |path: String, text: String| files.push(File { path, mode: TEXT, content: text.into_bytes() });
    for (name, page) in man::pages() {
        add(format!("share/man/man{}/{name}", man::SECTION), page);
    }
    for (path, script) in [
        ("share/bash-completion/completions/no-frills", completion::bash()),
        ("share/zsh/site-functions/_no-frills", completion::zsh()),
        ("share/fish/vendor_completions.d/no-frills.fish", completion::fish()),
    ] {
        add(path.to_owned(), script);
    }
    Ok(files)
}

fn write(path: &Path, file: &File) -> Result<(), String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("installing {}: it has no name", path.display()));
    };
    make_directories(directory)?;
    let beside = directory.join(format!(".{}.{}", name.display(), std::process::id()));
    let written = write_beside(&beside, file).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let message = format!("installing {}: {}", path.display(), cause(error));
        match fs::remove_file(&beside) {
            // It was not there yet, or is now what was to be installed.
            Ok(()) => message,
            Err(error) if error.kind() == ErrorKind::NotFound => message,
            Err(error) => format!("{message}; removing {}: {}", beside.display(), cause(error)),
        }
    })
}

fn write_beside(beside: &Path, file: &File) -> std::io::Result<()> {
    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    made.write_all(&file.content)?;
    // Whatever the umask is.
    made.set_permissions(Permissions::from_mode(file.mode))
}

/// Makes the directories that are missing, for all to read.
fn make_directories(directory: &Path) -> Result<(), String> {
    let at = |error| format!("making {}: {}", directory.display(), cause(error));
    match DirBuilder::new().mode(0o755).create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(at),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            directory.parent().map_or(Ok(()), make_directories)?;
            make_directories(directory)
        }
        Err(error) => Err(at(error)),
    }
}

/// `false`: it was not there.
fn remove(path: &Path) -> Result<bool, String> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("removing {}: {}", path.display(), cause(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_goes() {
        let at = |prefix: Option<&str>, destdir: Option<&str>| top(prefix.map(OsStr::new), destdir.map(OsStr::new));
        assert_eq!(at(None, None).unwrap(), Path::new("/usr/local"));
        assert_eq!(at(Some("/usr"), Some("/tmp/pkg")).unwrap(), Path::new("/tmp/pkg/usr"));
        assert_eq!(at(Some("/usr"), Some("pkg")).unwrap(), Path::new("pkg/usr"));
        assert!(at(Some("usr"), None).unwrap_err().contains("absolute"));
    }

    #[test]
    fn a_file_is_replaced_whole_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/c");
        for (mode, content) in [(0o755, "one"), (0o644, "two")] {
            write(&path, &File { path: String::new(), mode, content: content.into() }).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!((remove(&path), remove(&path)), (Ok(true), Ok(false)));
        // What cannot be replaced leaves nothing beside it.
        fs::create_dir_all(path.join("full")).unwrap();
        let refused = write(&path, &File { path: String::new(), mode: 0o644, content: Vec::new() }).unwrap_err();
        assert!(refused.starts_with("installing ") && refused.contains("EISDIR"), "{refused}");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
