//! What the fuzz targets reach beyond the public interface (fuzz/README.md). There with `--cfg fuzzing` alone.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use no_frills_cgroups::resources::Write;
use no_frills_plan::handover::LENGTH;
use no_frills_plan::{Kind, Message};
use no_frills_seccomp::{Filter, Profile};
use serde_json::Value;

use crate::compile::{CompileOptions, Program, compile_exec, compile_profile};
use crate::config::{Config, ConfigError};
use crate::error::{Error, Result};
use crate::exec::ProcessConfig;
use crate::handover::Handover;
use crate::init::{step_failed, warning};
use crate::members::Members;
use crate::resctrl;
use crate::state::{Directory, ProcessStat, Record};

/// The journal of a container.
#[derive(Debug)]
pub struct Journal(Directory);

impl Journal {
    /// That of the container `x` in a root.
    pub fn new(root: &Path) -> Result<Journal> {
        Ok(Journal(Directory::new(root, "x")?))
    }

    /// Makes it, as a create does: a configuration, then records.
    pub fn make(&self, document: &[u8], records: &[Value]) -> Result<()> {
        let records: Vec<Record> =
            records.iter().filter_map(|record| serde_json::from_value(record.clone()).ok()).collect();
        let mut journal = self.0.claim()?;
        for (number, record) in records.iter().enumerate() {
            if number == 0 {
                journal.begin(document, record)?
            } else {
                journal.write(record)?
            };
        }
        Ok(())
    }

    /// The last record and the configuration, as commands read them that change nothing.
    pub fn read(&self) -> Result<Option<(Value, Vec<u8>)>> {
        let whole = self.0.read_whole()?;
        Ok(whole.map(|whole| (serde_json::to_value(&whole.record).unwrap_or_default(), whole.document)))
    }

    /// The same, as commands read them that lock the container; `None`: there is no journal.
    pub fn read_locked(&self) -> Result<Option<(Option<Value>, Option<Vec<u8>>)>> {
        let Some(journal) = self.0.lock()? else { return Ok(None) };
        let record = journal.read()?.map(|record| serde_json::to_value(record).unwrap_or_default());
        Ok(Some((record, journal.document()?)))
    }

    /// Removes all of it.
    pub fn remove(&self) -> Result<()> {
        self.0.remove(true)
    }
}

/// A record as it is read and written again.
pub fn record(line: &[u8]) -> Option<Vec<u8>> {
    let record: Record = serde_json::from_slice(line).ok()?;
    serde_json::to_vec(&record).ok()
}

/// The cgroup that a record names; `None`: it names none.
pub fn cgroup_of_record(line: &[u8]) -> Option<Result<PathBuf>> {
    let record: Record = serde_json::from_slice(line).ok()?;
    match Members::of(&record) {
        Ok(Members::OfCgroup(cgroup)) => Some(Ok(cgroup.path().to_owned())),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }
}

/// The start time, whether it is a zombie, whether it is stopped, and the ignored signals, of a line as `/proc/PID/stat` has it.
pub fn process_stat(line: &[u8]) -> Option<(u64, bool, bool, u32)> {
    let stat = ProcessStat::parse(line)?;
    Some((stat.start_time, stat.zombie, stat.stopped, stat.ignored_signals))
}

/// What exec makes of a process.
pub fn compile_process(config: &Config, process: &ProcessConfig) -> Result<Program, ConfigError> {
    config.check_ids(&process.process)?;
    Ok(compile_exec(config, &process.process, &CompileOptions::new(Path::new("/bundle"), "x")))
}

/// The profile of a configuration.
pub fn profile(config: &Config) -> Option<Profile<'_>> {
    Some(config.linux.seccomp.as_deref()?.profile())
}

/// The filter of a profile.
pub fn filter<'a>(profile: &Profile<'a>) -> Result<Filter<'a>, ConfigError> {
    compile_profile(profile)
}

/// What a program writes to the cgroup.
pub fn writes(program: &Program) -> &[Write] {
    &program.limits
}

/// What the user is told of a message from init; `None`: it is none about a step.
pub fn told(program: &Program, message: &[u8]) -> Option<String> {
    let message = Message::decode(message)?;
    match message.kind {
        Kind::Failed => Some(step_failed(program, "program", &message).to_string()),
        Kind::Warning => Some(warning(program, &message)),
        _ => None,
    }
}

/// What the user is told of the memory that an init with a filter leaves; `None`: that nothing failed.
pub fn handed_over(program: &Program, bytes: &[u8; LENGTH]) -> Result<Option<String>> {
    let handover = Handover::new()?;
    handover.0.write_all_at(bytes, 0).map_err(Error::system("writing"))?;
    let Some(failed) = handover.failed()? else { return Ok(None) };
    let message =
        Message { call: failed.call, step: failed.step, errno: failed.errno as i32, ..Message::new(Kind::Failed) };
    Ok(Some(step_failed(program, "program", &message).to_string()))
}

/// Where resctrl is mounted.
pub fn resctrl_mount_point(mountinfo: &str) -> Option<PathBuf> {
    resctrl::mount_point(mountinfo)
}

/// Whether a class has what a line of a configuration says.
pub fn resctrl_holds(schemata: &str, line: &str) -> bool {
    resctrl::holds(schemata, line)
}
