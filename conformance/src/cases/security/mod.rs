//! Holes that runtimes have had, by their advisory. The root file system is hostile in each, the configuration is not.
//!
//! A case says on which runtime it was seen to fail: that shows that it would find the hole. Where no vulnerable runtime
//! could be had, it says on which change of ours it was. `docs/security.md` has the list of all.

mod exec;
mod racers;
mod reach;
mod rootfs;

use std::fs;
use std::path::{Path, PathBuf};

use crate::bundle::Test;
use crate::case::Case;
use crate::expect::{Verdict, same};

pub(crate) fn cases() -> Vec<Case> {
    [rootfs::cases(), racers::cases(), exec::cases(), reach::cases()].into_iter().flatten().collect()
}

/// Names and kinds of what is in a directory of the host.
fn listing(dir: &Path) -> Verdict<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        names.push(format!("{:?} {:?}", entry.file_name(), entry.file_type()?));
    }
    names.sort();
    Ok(names)
}

/// A directory on the host that must stay as it is, and a check of that.
struct Canary {
    dir: PathBuf,
    before: Vec<String>,
}

impl Canary {
    fn new(t: &Test) -> Verdict<Self> {
        runs(t)?;
        let dir = t.path("canary");
        fs::create_dir(&dir)?;
        fs::write(dir.join("ptmx"), "ptmx")?;
        fs::write(dir.join("there"), "there")?;
        Ok(Self { before: listing(&dir)?, dir })
    }

    /// As it is now.
    fn again(self) -> Verdict<Self> {
        Ok(Self { before: listing(&self.dir)?, dir: self.dir })
    }

    fn lives(&self) -> Verdict {
        same("the host's directory", listing(&self.dir)?, &self.before[..])?;
        same("ptmx", fs::read_to_string(self.dir.join("ptmx"))?, "ptmx")?;
        same("there", fs::read_to_string(self.dir.join("there"))?, "there")
    }
}

/// A runtime that runs nothing would be safe, so that what follows would show nothing.
fn runs(t: &Test) -> Verdict {
    same("an ordinary container", t.bundle()?.sh("echo ran").stdout()?, "ran\n")
}
