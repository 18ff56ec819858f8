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
    /// It passed when it was run once more, alone; at first it failed with this text.
    PassedAtSecond(String),
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

    /// What counts if the case was run once more: the second attempt, which does not hide the first.
    pub(crate) fn after(self, first: Self) -> Self {
        match (first, self) {
            (Self::Failed(why), Self::Passed) => Self::PassedAtSecond(why),
            (_, second) => second,
        }
    }

    /// Whether it makes the run fail.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::PassedAfterAll(_))
    }
}

/// What all formats but JSON say of a case that failed at first.
const SECOND: &str = "passed at the second attempt";

/// Counts and prints.
pub(crate) struct Report {
    format: Format,
    kind: Kind,
    number: usize,
    passed: usize,
    /// Those of `passed` that failed at first.
    second: Vec<&'static str>,
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
        Self { format, kind, number: 0, passed: 0, second: Vec::new(), failed: Vec::new(), skipped: 0, known: 0 }
    }

    /// Prints one result.
    pub(crate) fn add(&mut self, case: &Case, outcome: &Outcome, time: Duration) {
        self.number += 1;
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::PassedAtSecond(_) => {
                self.passed += 1;
                self.second.push(case.name);
            }
            Outcome::Skipped(_) => self.skipped += 1,
            Outcome::FailedAsKnown(_) => self.known += 1,
            Outcome::Failed(_) | Outcome::PassedAfterAll(_) => self.failed.push(case.name),
        }
        let text = match self.format {
            Format::Lines => self.line(case, outcome, time),
            Format::Tap => self.tap(case, outcome),
            Format::Json => Self::json(case, outcome, time),
        };
        println!("{text}");
    }

    /// Prints the sum; true if nothing makes the run fail.
    pub(crate) fn end(&self) -> bool {
        println!("{}", self.sum());
        self.failed.is_empty()
    }

    fn sum(&self) -> String {
        let Self { passed, second, skipped, known, failed, .. } = self;
        match self.format {
            Format::Lines | Format::Tap => {
                let hash = if self.format == Format::Tap { "# " } else { "" };
                let count = failed.len();
                let mut text = format!("{hash}{passed} ok, {count} not ok, {skipped} skipped, {known} known to fail");
                for name in second {
                    text += &format!("\n{hash}{SECOND}: {name}");
                }
                for name in failed {
                    text += &format!("\n{hash}not ok: {name}");
                }
                text
            }
            Format::Json => json!({
                "ok": passed, "okAtSecondAttempt": second, "notOk": failed, "skipped": skipped, "knownFailures": known,
            })
            .to_string(),
        }
    }

    fn line(&self, case: &Case, outcome: &Outcome, time: Duration) -> String {
        let (name, seconds) = (case.name, time.as_secs_f64());
        match outcome {
            Outcome::Passed => match case.differs_for(self.kind) {
                Some(why) => format!("ok      {name} ({seconds:.2} s; differs: {why})"),
                None => format!("ok      {name} ({seconds:.2} s)"),
            },
            Outcome::PassedAtSecond(why) => {
                format!("ok      {name} ({seconds:.2} s; {SECOND}; at the first:)\n{}", indent(why))
            }
            Outcome::Failed(why) => format!("not ok  {name} ({seconds:.2} s): {}\n{}", case.doc, indent(why)),
            Outcome::Skipped(why) => format!("skip    {name}: {why}"),
            Outcome::FailedAsKnown(why) => format!("known   {name}: {why}"),
            Outcome::PassedAfterAll(why) => {
                format!("not ok  {name}: it passes, so remove its mark as a known failure ({why})")
            }
        }
    }

    fn tap(&self, case: &Case, outcome: &Outcome) -> String {
        let (number, name) = (self.number, case.name);
        match outcome {
            Outcome::Passed => format!("ok {number} - {name}"),
            Outcome::PassedAtSecond(why) => {
                format!(
                    "ok {number} - {name}\n  ---\n  message: |\n    {SECOND}; at the first:\n{}\n  ...",
                    indent(why)
                )
            }
            Outcome::Failed(why) => format!("not ok {number} - {name}\n  ---\n  message: |\n{}\n  ...", indent(why)),
            Outcome::Skipped(why) => format!("ok {number} - {name} # SKIP {why}"),
            Outcome::FailedAsKnown(why) => format!("not ok {number} - {name} # TODO {why}"),
            Outcome::PassedAfterAll(why) => format!("not ok {number} - {name}\n# passes, but is marked: {why}"),
        }
    }

    fn json(case: &Case, outcome: &Outcome, time: Duration) -> String {
        let (outcome, attempt, why) = match outcome {
            Outcome::Passed => ("ok", 1, None),
            Outcome::PassedAtSecond(why) => ("ok", 2, Some(why)),
            Outcome::Failed(why) => ("not ok", 1, Some(why)),
            Outcome::Skipped(why) => ("skip", 1, Some(why)),
            Outcome::FailedAsKnown(why) => ("known failure", 1, Some(why)),
            Outcome::PassedAfterAll(why) => ("passed after all", 1, Some(why)),
        };
        let seconds = time.as_secs_f64();
        let (name, doc) = (case.name, case.doc);
        json!({"case": name, "doc": doc, "outcome": outcome, "attempt": attempt, "why": why, "seconds": seconds})
            .to_string()
    }
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::case;

    fn failed() -> Outcome {
        Outcome::Failed("a reason".to_owned())
    }

    #[test]
    fn the_second_attempt_counts() {
        assert_eq!(Outcome::Passed.after(failed()), Outcome::PassedAtSecond("a reason".to_owned()));
        let again = Outcome::Failed("another".to_owned());
        assert_eq!(again.clone().after(failed()), again);
        // A mark that held the second time.
        let (known, by_luck) = (Outcome::FailedAsKnown("why".to_owned()), Outcome::PassedAfterAll("why".to_owned()));
        assert_eq!(known.clone().after(by_luck), known);
    }

    #[test]
    fn a_second_attempt_counts_as_passed_and_every_format_says_so() {
        let case = case("group/name", "what it shows", |_| Ok(()));
        for format in [Format::Lines, Format::Tap, Format::Json] {
            let mut report = Report::new(format, Kind::Runc, "runc version 0", 1);
            let outcome = Outcome::Passed.after(failed());
            report.add(&case, &outcome, Duration::ZERO);
            assert!(report.end(), "{format:?}");
            assert_eq!((report.passed, report.second.len()), (1, 1), "{format:?}");
            let texts = match format {
                Format::Lines => [report.line(&case, &outcome, Duration::ZERO), report.sum()],
                Format::Tap => [report.tap(&case, &outcome), report.sum()],
                Format::Json => [Report::json(&case, &outcome, Duration::ZERO), report.sum()],
            };
            let [of_case, sum] = &texts;
            assert!(of_case.contains("a reason") && sum.contains("group/name"), "{texts:?}");
            match format {
                Format::Json => {
                    let value: serde_json::Value = serde_json::from_str(of_case).expect("JSON");
                    assert_eq!((&value["outcome"], &value["attempt"]), (&json!("ok"), &json!(2)));
                    let value: serde_json::Value = serde_json::from_str(sum).expect("JSON");
                    assert_eq!((&value["ok"], &value["okAtSecondAttempt"]), (&json!(1), &json!(["group/name"])));
                }
                _ => assert!(texts.iter().all(|text| text.contains("passed at the second attempt")), "{texts:?}"),
            }
        }
    }
}
