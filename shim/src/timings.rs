//! `--timings`: where the time of a command went. It is told on standard error when the command is done, whatever came of it, and nowhere near
//! what callers read: standard output, the log.

use no_frills::{Phase, Times, Timings};
use serde_json::{Value, json};

use crate::flags;
use crate::output;
use crate::parse::Values;

/// The clock, if it is asked for.
pub(crate) fn begin(flags: &Values) -> Option<Timings> {
    flags.value(&flags::TIMINGS)?;
    Some(Timings::begin())
}

/// Marks the end of a phase of the command's own.
pub(crate) fn mark(timings: Option<&Timings>, phase: &'static str) {
    if let Some(timings) = timings {
        timings.mark(phase);
    }
}

/// Tells where the time went.
pub(crate) fn tell(timings: Option<Timings>, flags: &Values) {
    if let Some(timings) = timings {
        tell_of(&timings.times(), flags.word(&flags::TIMINGS) == Some("json"));
    }
}

#[cold]
fn tell_of(times: &Times, json: bool) {
    output::to_stderr(&if json { as_json(times) } else { as_table(times) });
}

fn as_json(times: &Times) -> String {
    let phases = |phases: &[Phase]| -> Value {
        let phase =
            |phase: &Phase| json!({"name": phase.name, "ns": phase.took.as_nanos() as u64, "times": phase.times});
        phases.iter().map(phase).collect()
    };
    let all = json!({
        "ns": times.total.as_nanos() as u64,
        "phases": phases(&times.phases),
        "init": phases(&times.init),
    });
    format!("{all}\n")
}

fn as_table(times: &Times) -> String {
    let milliseconds = |took: std::time::Duration| took.as_secs_f64() * 1000.0;
    let share = |took: std::time::Duration| 100.0 * took.as_secs_f64() / times.total.as_secs_f64().max(f64::EPSILON);
    let row = |name: &str, took| format!("{name:<32}{:>10.3}{:>7.1}\n", milliseconds(took), share(took));
    let mut text = format!("{:<32}{:>10}{:>7}\n", "PHASE", "MS", "%");
    for phase in &times.phases {
        text.push_str(&row(phase.name, phase.took));
    }
    text.push_str(&row("total", times.total));
    if !times.init.is_empty() {
        text.push_str("of these in init, while the command was at its own or waited:\n");
        for phase in &times.init {
            text.push_str(&row(&format!("  {}", phase.name), phase.took));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tables_and_json() {
        let phase = |name, ms| Phase { name, took: Duration::from_millis(ms), times: 1 };
        let times = Times {
            total: Duration::from_millis(4),
            phases: vec![phase("clone", 3), phase("other", 1)],
            init: vec![phase("mounts", 2)],
        };
        assert_eq!(
            as_table(&times),
            "PHASE                                   MS      %\n\
             clone                                3.000   75.0\n\
             other                                1.000   25.0\n\
             total                                4.000  100.0\n\
             of these in init, while the command was at its own or waited:\n\
             \x20 mounts                             2.000   50.0\n"
        );
        let json: Value = serde_json::from_str(&as_json(&times)).unwrap();
        assert_eq!(json["ns"], 4_000_000);
        assert_eq!(json["phases"][0], json!({"name": "clone", "ns": 3_000_000, "times": 1}));
        assert_eq!(json["init"][0]["name"], "mounts");
    }
}
