//! Which runtime is under test, told from what its `--version` prints.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// The runtimes that marks in cases can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reference implementation in Go.
    Runc,
    /// The implementation in C.
    Crun,
    /// The other implementation in Rust.
    Youki,
    /// Ours.
    NoFrills,
    /// Any other: it is held to what the peers have in common.
    Other,
}

use Kind::{Crun, NoFrills, Other, Runc, Youki};

impl Kind {
    /// Runs `RUNTIME --version` and looks at the first word of the first line.
    pub fn detect(runtime: &Path) -> Result<(Self, String), String> {
        let output = Command::new(runtime)
            .arg("--version")
            .output()
            .map_err(|e| format!("running {} --version: {e}", runtime.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next().unwrap_or_default().to_owned();
        if !output.status.success() {
            return Err(format!("{} --version: {}", runtime.display(), output.status));
        }
        Ok((Self::named(line.split_whitespace().next().unwrap_or_default()), line))
    }

    /// The kind of this name; [`Kind::Other`] for one that is not known.
    pub fn named(name: &str) -> Self {
        [Runc, Crun, Youki, NoFrills].into_iter().find(|kind| kind.name() == name).unwrap_or(Other)
    }

    /// Whether a case that fails is always run once more: a peer's own races are not this suite's matter.
    pub fn has_second_attempt(self) -> bool {
        self != NoFrills
    }

    /// The name as `--version` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Runc => "runc",
            Crun => "crun",
            Youki => "youki",
            NoFrills => "no-frills",
            Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
