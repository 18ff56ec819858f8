//! A daemon that the suite, or a case, starts and ends.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// How long a daemon may take to be ready, or to end. An emulated machine takes long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cgroup of daemons, in that of whoever starts them.
pub const DAEMONS: &str = "daemons";

/// A running daemon.
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the daemon in this cgroup, with its output in `log`, and waits until `ready` holds.
    pub fn start(
        name: &str,
        mut command: Command,
        log: PathBuf,
        cgroup: &Path,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Self, String> {
        let tell = |e: std::io::Error| format!("starting {name}: {e}");
        let output = File::options().create(true).append(true).open(&log).map_err(tell)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(tell)?).stderr(output);
        // Not with the terminal's signals: it is ended after its containers.
        command.process_group(0);
        let child = command.spawn().map_err(tell)?;
        let own = cgroup.join(DAEMONS);
        fs::create_dir_all(&own).map_err(tell)?;
        fs::write(own.join("cgroup.procs"), child.id().to_string()).map_err(tell)?;
        let mut daemon = Self { name: name.to_owned(), child, log };
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            let ended = daemon.child.try_wait().map_err(tell)?;
            if let Some(status) = ended {
                return Err(format!("{name} ended at once ({status})\n{}", daemon.last_words()));
            }
            if Instant::now() > deadline {
                let words = daemon.last_words();
                daemon.stop().unwrap_or_default();
                return Err(format!("{name} was not ready after {PATIENCE:?}\n{words}"));
            }
            // Daemons do not tell.
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!("the end of {}:\n{}", self.log.display(), last.join("\n"))
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) -> Result<(), String> {
        let tell = |name: &str, e: std::io::Error| format!("ending {name}: {e}");
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|e| tell(&self.name, e.into()))?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().map_err(|e| tell(&self.name, e))?.is_none() {
            if Instant::now() > deadline {
                self.child.kill().map_err(|e| tell(&self.name, e))?;
                self.child.wait().map_err(|e| tell(&self.name, e))?;
                return Err(format!("{} did not end\n{}", self.name, self.last_words()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it, and waits for that.
    pub fn kill(mut self) -> Result<(), String> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|e| format!("killing {}: {e}", self.name))
    }
}
