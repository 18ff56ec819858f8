//! How results are printed.

use std::time::Duration;

use serde_json::json;

use crate::case::Case;
use crate::cli::Format;
use crate::kind::Kind;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
    /// It failed as its mark says.
    FailedAsKnown(String),
    /// It passed although its mark says that it fails.
    PassedAfterAll(String),
}

impl Outcome {
    /// Weighs what happened against the case's marks.
    pub(crate) fn weigh(self, case: &Case, kind: Kind) -> Self {
        match (self, case.known_failure_for(kind)) {
            (Self::Passed, Some(why)) => Self::PassedAfterAll(why.to_owned()),
            (Self::Failed(_), Some(why)) => Self::FailedAsKnown(why.to_owned()),
            (outcome, _) => outcome,
        }
    }

    /// Whether it makes the run fail.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::PassedAfterAll(_))
    }
}

/// Counts and prints.
pub(crate) struct Report {
    format: Format,
    kind: Kind,
    number: usize,
    passed: usize,
    failed: Vec<&'static str>,
    skipped: usize,
    known: usize,
}

impl Report {
    /// Starts a report of `total` cases with the runtime of this version line.
    pub(crate) fn new(format: Format, kind: Kind, version: &str, total: usize) -> Self {
        match format {
            Format::Lines => println!("{total} cases with {version}"),
            Format::Tap => println!("TAP version 14\n1..{total}\n# {version}"),
            Format::Json => println!("{}", json!({"runtime": version, "kind": kind.name(), "cases": total})),
        }
        Self { format, kind, number: 0, passed: 0, failed: Vec::new(), skipped: 0, known: 0 }
    }

    /// Prints one result.
    pub(crate) fn add(&mut self, case: &Case, outcome: &Outcome, time: Duration) {
        self.number += 1;
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::FailedAsKnown(_) => self.known += 1,
            Outcome::Failed(_) | Outcome::PassedAfterAll(_) => self.failed.push(case.name),
        }
        match self.format {
            Format::Lines => self.line(case, outcome, time),
            Format::Tap => self.tap(case, outcome),
            Format::Json => Self::json(case, outcome, time),
        }
    }

    /// Prints the sum; true if nothing makes the run fail.
    pub(crate) fn end(&self) -> bool {
        let Self { passed, skipped, known, failed, .. } = self;
        match self.format {
            Format::Lines | Format::Tap => {
                let hash = if self.format == Format::Tap { "# " } else { "" };
                println!("{hash}{passed} ok, {} not ok, {skipped} skipped, {known} known to fail", failed.len());
                for name in failed {
                    println!("{hash}not ok: {name}");
                }
            }
            Format::Json => {
                println!("{}", json!({"ok": passed, "notOk": failed, "skipped": skipped, "knownFailures": known}));
            }
        }
        failed.is_empty()
    }

    fn line(&self, case: &Case, outcome: &Outcome, time: Duration) {
        let (name, seconds) = (case.name, time.as_secs_f64());
        match outcome {
            Outcome::Passed => match case.differs_for(self.kind) {
                Some(why) => println!("ok      {name} ({seconds:.2} s; differs: {why})"),
                None => println!("ok      {name} ({seconds:.2} s)"),
            },
            Outcome::Failed(why) => println!("not ok  {name} ({seconds:.2} s): {}\n{}", case.doc, indent(why)),
            Outcome::Skipped(why) => println!("skip    {name}: {why}"),
            Outcome::FailedAsKnown(why) => println!("known   {name}: {why}"),
            Outcome::PassedAfterAll(why) => {
                println!("not ok  {name}: it passes, so remove its mark as a known failure ({why})");
            }
        }
    }

    fn tap(&self, case: &Case, outcome: &Outcome) {
        let (number, name) = (self.number, case.name);
        match outcome {
            Outcome::Passed => println!("ok {number} - {name}"),
            Outcome::Failed(why) => println!("not ok {number} - {name}\n  ---\n  message: |\n{}\n  ...", indent(why)),
            Outcome::Skipped(why) => println!("ok {number} - {name} # SKIP {why}"),
            Outcome::FailedAsKnown(why) => println!("not ok {number} - {name} # TODO {why}"),
            Outcome::PassedAfterAll(why) => println!("not ok {number} - {name}\n# passes, but is marked: {why}"),
        }
    }

    fn json(case: &Case, outcome: &Outcome, time: Duration) {
        let (outcome, why) = match outcome {
            Outcome::Passed => ("ok", None),
            Outcome::Failed(why) => ("not ok", Some(why)),
            Outcome::Skipped(why) => ("skip", Some(why)),
            Outcome::FailedAsKnown(why) => ("known failure", Some(why)),
            Outcome::PassedAfterAll(why) => ("passed after all", Some(why)),
        };
        let seconds = time.as_secs_f64();
        println!("{}", json!({"case": case.name, "doc": case.doc, "outcome": outcome, "why": why, "seconds": seconds}));
    }
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
