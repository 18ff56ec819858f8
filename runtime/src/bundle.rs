//! A bundle: a directory with a `config.json`, and the root filesystem that it names (bundle.md of the
//! runtime specification).

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;

use crate::compile::{CompileOptions, Program, compile_but_filter};
use crate::config::Config;
use crate::container::{CreateOptions, OwnCgroup};
use crate::error::{Error, Result};
use crate::rootless;

/// The largest `config.json` that is read: 16 MiB. The largest seen in practice has some 100 KiB.
const CONFIG_MAX: u64 = 16 * 1024 * 1024;

/// A bundle with its checked configuration.
#[derive(Clone, Debug)]
pub struct Bundle {
    directory: PathBuf,
    config: Config,
}

impl Bundle {
    /// Reads and checks a bundle's `config.json`. A relative path counts from the current directory.
    ///
    /// # Errors
    /// When the file is missing or unreadable, or with the pointer of the first setting that is wrong.
    pub fn load(directory: impl AsRef<Path>) -> Result<Bundle> {
        Bundle::load_with(directory.as_ref(), None)
    }

    /// The same with a configuration in another file; a relative path counts from the current directory, too.
    ///
    /// # Errors
    /// As [`load`](Bundle::load).
    pub fn load_with(directory: &Path, config: Option<&Path>) -> Result<Bundle> {
        let absolute = std::path::absolute(directory).map_err(Error::at("finding the bundle", directory))?;
        let path = config.map_or_else(|| absolute.join("config.json"), PathBuf::from);
        let text = read_config(&path).map_err(|error| rootless::explain_path(error, &path, ""))?;
        match Config::from_json(&text) {
            Ok(config) => Ok(Bundle { config, directory: absolute }),
            Err(error) if error.pointer.is_empty() => Err(Error::Syntax { path, error }),
            Err(error) => Err(error.into()),
        }
    }

    /// A bundle with a configuration that is not read from its directory. The directory is what relative
    /// paths in the configuration start from, and must be absolute.
    ///
    /// # Errors
    /// When the directory is a relative path.
    pub fn from_config(directory: impl Into<PathBuf>, config: Config) -> Result<Bundle> {
        let directory = directory.into();
        if !directory.is_absolute() {
            return Err(Error::Option(format!("the bundle {} is not an absolute path", directory.display())));
        }
        Ok(Bundle { directory, config })
    }

    /// The bundle's absolute path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What creating a container `id` from the bundle would do. Makes no system call.
    ///
    /// # Errors
    /// With the pointer of a setting that cannot be compiled.
    pub fn plan(&self, id: &str, options: &CreateOptions) -> Result<Program> {
        let notify = options.notify.then(|| Path::new("/run/no-frills").join(id).join("notify"));
        let program = self.plan_with(id, options, notify.as_deref(), &[])?;
        program.filter()?;
        Ok(program)
    }

    /// As [`plan`](Bundle::plan), for a container in a state root. Whether there can be such a filter is left to
    /// [`Program::filter`].
    pub(crate) fn plan_with(
        &self,
        id: &str,
        options: &CreateOptions,
        notify: Option<&Path>,
        hidden_mounts: &[(PathBuf, u32)],
    ) -> Result<Program> {
        let options = CompileOptions {
            bundle: &self.directory,
            id,
            no_pivot: options.no_pivot,
            hidden_mounts,
            no_new_keyring: options.no_new_keyring,
            listen_fds: options.listen_fds,
            notify,
            systemd_cgroup: options.systemd_cgroup,
            no_cgroup: options.own_cgroup == OwnCgroup::None,
            timings: options.timings.is_some(),
        };
        Ok(compile_but_filter(&self.config, &options)?)
    }

    /// The same for a caller that is root of a user namespace alone.
    pub(crate) fn in_user_namespace(&self) -> Bundle {
        Bundle { config: self.config.in_user_namespace(), directory: self.directory.clone() }
    }
}

pub(crate) fn read_config(path: &Path) -> Result<Vec<u8>> {
    let reading = "reading";
    // Not to wait for the other end of a fifo.
    let mut file: File =
        OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(Error::at("opening", path))?;
    let metadata = file.metadata().map_err(Error::at(reading, path))?;
    if !metadata.is_file() {
        return Err(Error::at(reading, path)(if metadata.is_dir() { Errno::EISDIR } else { Errno::EINVAL }));
    }
    if metadata.len() > CONFIG_MAX {
        return Err(Error::at(reading, path)(Errno::EFBIG));
    }
    let mut text = vec![0; metadata.len() as usize];
    file.read_exact(&mut text).map_err(Error::at(reading, path))?;
    Ok(text)
}
