//! The table and the JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::counts::Counts;
use crate::figures::{Figures, Life, Spread, ToolFigures};
use crate::measure::{COMMANDS, LATER};

pub(crate) fn table(figures: &Figures) -> String {
    // Writing to a String cannot fail, so its results are gathered here.
    let mut text = String::new();
    let written = write_table(&mut text, figures);
    debug_assert!(written.is_ok());
    text
}

fn write_table(text: &mut String, figures: &Figures) -> std::fmt::Result {
    writeln!(
        text,
        "kernel {}, {} processors ({}), {} rounds",
        figures.kernel, figures.processors, figures.processor, figures.rounds
    )?;
    for tool in &figures.tools {
        if let Some(version) = &tool.version {
            writeln!(text, "{:12} {version}", tool.name)?;
        }
    }
    for line in &figures.different {
        writeln!(text, "NOTE: not the same mount points: {line}")?;
    }

    writeln!(text, "\nrun of /bin/true with the default spec, milliseconds")?;
    write!(text, "{:12} {:>8} {:>8} {:>8}", "", "median", "p10", "p90")?;
    headings(text, figures, |_| true)?;
    for tool in &figures.tools {
        write!(text, "{:12} {}", tool.name, times(tool.run))?;
        ratios(text, figures, tool.run.median, |other| Some(other.run.median))?;
    }

    writeln!(
        text,
        "\n{} as single commands, milliseconds (the wait between kill and delete is in no sum)",
        COMMANDS.join(" + ")
    )?;
    write!(text, "{:12} {:>8} {:>8} {:>8}", "", "median", "p10", "p90")?;
    headings(text, figures, |other| other.life.is_some())?;
    for (tool, life) in lives(figures) {
        write!(text, "{:12} {}", tool.name, times(life.total))?;
        ratios(text, figures, life.total.median, |other| other.life.as_ref().map(|life| life.total.median))?;
    }
    write!(text, "\n{:12}", "medians")?;
    for name in COMMANDS.iter().chain(&["(wait)"]) {
        write!(text, " {name:>8}")?;
    }
    writeln!(text)?;
    for (tool, life) in lives(figures) {
        write!(text, "{:12}", tool.name)?;
        for spread in life.commands.iter().chain([&life.death]) {
            write!(text, " {:>8.2}", spread.median / 1e3)?;
        }
        writeln!(text)?;
    }

    writeln!(text, "\nexec of /bin/true in a running container, milliseconds")?;
    write!(text, "{:12} {:>8} {:>8} {:>8}", "", "median", "p10", "p90")?;
    headings(text, figures, |other| other.life.is_some())?;
    for (tool, life) in lives(figures) {
        write!(text, "{:12} {}", tool.name, times(life.exec))?;
        ratios(text, figures, life.exec.median, |other| other.life.as_ref().map(|life| life.exec.median))?;
    }

    for (index, name) in LATER.iter().enumerate() {
        let median = |life: &Life| life.later.get(index).map_or(f64::NAN, |spread| spread.median);
        writeln!(text, "\n{name} of a running container, milliseconds")?;
        write!(text, "{:12} {:>8} {:>8} {:>8}", "", "median", "p10", "p90")?;
        headings(text, figures, |other| other.life.is_some())?;
        for (tool, life) in lives(figures) {
            if let Some(spread) = life.later.get(index) {
                write!(text, "{:12} {}", tool.name, times(*spread))?;
                ratios(text, figures, spread.median, |other| other.life.as_ref().map(median))?;
            }
        }
    }

    writeln!(text, "\none run: system calls of all processes, page faults, memory in KiB")?;
    write_counts(text, figures.tools.iter().map(|tool| (tool, &tool.counts)))?;
    writeln!(text, "\none exec: the same")?;
    write_counts(text, figures.tools.iter().filter_map(|tool| Some((tool, tool.exec_counts.as_ref()?))))?;
    writeln!(text, "peak: VmHWM of the command's own process at its exit; maxrss: what wait4 says, the largest of it")?;
    writeln!(text, "and of the children it waited for, /bin/true among them; faults: of it and of those children")
}

fn write_counts<'a>(text: &mut String, all: impl Iterator<Item = (&'a ToolFigures, &'a Counts)>) -> std::fmt::Result {
    writeln!(text, "{:12} {:>8} {:>8} {:>8} {:>8}", "", "calls", "faults", "peak", "maxrss")?;
    for (tool, counts) in all {
        let calls = counts.total_calls().map_or_else(|| "-".to_owned(), |calls| calls.to_string());
        writeln!(text, "{:12} {calls:>8} {:>8} {:>8} {:>8}", tool.name, counts.faults, counts.own_peak, counts.maxrss)?;
    }
    Ok(())
}

fn lives(figures: &Figures) -> impl Iterator<Item = (&ToolFigures, &Life)> {
    figures.tools.iter().filter_map(|tool| Some((tool, tool.life.as_ref()?)))
}

fn times(spread: Spread) -> String {
    format!("{:>8.2} {:>8.2} {:>8.2}", spread.median / 1e3, spread.p10 / 1e3, spread.p90 / 1e3)
}

fn headings(text: &mut String, figures: &Figures, shown: impl Fn(&ToolFigures) -> bool) -> std::fmt::Result {
    for other in figures.tools.iter().filter(|tool| shown(tool)) {
        write!(text, " {:>11}", format!("/ {}", other.name))?;
    }
    writeln!(text)
}

fn ratios(
    text: &mut String,
    figures: &Figures,
    mine: f64,
    theirs: impl Fn(&ToolFigures) -> Option<f64>,
) -> std::fmt::Result {
    for other in figures.tools.iter().filter_map(theirs) {
        write!(text, " {:>11.2}", mine / other)?;
    }
    writeln!(text)
}

pub(crate) fn json(figures: &Figures) -> String {
    let tools: Vec<Value> = figures.tools.iter().map(|tool| tool_json(figures, tool)).collect();
    let value = json!({
        "kernel": figures.kernel,
        "processor": figures.processor,
        "processors": figures.processors,
        "rounds": figures.rounds,
        "unit": "microseconds, KiB",
        "mount_points_that_differ": figures.different,
        "tools": tools,
    });
    format!("{value:#}\n")
}

fn tool_json(figures: &Figures, tool: &ToolFigures) -> Value {
    let life = tool.life.as_ref().map(|life| {
        let commands: serde_json::Map<String, Value> =
            COMMANDS.iter().zip(life.commands).map(|(name, spread)| ((*name).to_owned(), spread_json(spread))).collect();
        json!({
            "total": spread_json(life.total),
            "commands": commands,
            "wait_after_kill": spread_json(life.death),
            "ratios": ratios_json(figures, life.total.median, |other| other.life.as_ref().map(|life| life.total.median)),
        })
    });
    let exec = tool.life.as_ref().zip(tool.exec_counts.as_ref()).map(|(life, counts)| {
        let mut exec = counts_json(counts);
        exec["time"] = spread_json(life.exec);
        exec["ratios"] =
            ratios_json(figures, life.exec.median, |other| other.life.as_ref().map(|life| life.exec.median));
        exec
    });
    let later = tool.life.as_ref().map(|life| {
        let of = |(index, name): (usize, &&str)| {
            let time = |life: &Life| life.later.get(index).copied();
            let spread = time(life)?;
            let theirs = |other: &ToolFigures| other.life.as_ref().and_then(time).map(|spread| spread.median);
            let value = json!({"time": spread_json(spread), "ratios": ratios_json(figures, spread.median, theirs)});
            Some(((*name).to_owned(), value))
        };
        LATER.iter().enumerate().filter_map(of).collect::<serde_json::Map<String, Value>>()
    });
    let mut json = json!({
        "name": tool.name,
        "version": tool.version,
        "run": spread_json(tool.run),
        "run_ratios": ratios_json(figures, tool.run.median, |other| Some(other.run.median)),
        "lifecycle": life,
        "exec": exec,
        "later": later,
    });
    if let (Value::Object(json), Value::Object(counts)) = (&mut json, counts_json(&tool.counts)) {
        json.extend(counts);
    }
    json
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "system_calls": counts.total_calls(),
        "system_calls_by_name": counts.calls,
        "page_faults": counts.faults,
        "own_peak": counts.own_peak,
        "maxrss": counts.maxrss,
    })
}

fn spread_json(spread: Spread) -> Value {
    let rounded = |time: f64| (time * 10.0).round() / 10.0;
    json!({ "median": rounded(spread.median), "p10": rounded(spread.p10), "p90": rounded(spread.p90) })
}

fn ratios_json(figures: &Figures, mine: f64, theirs: impl Fn(&ToolFigures) -> Option<f64>) -> Value {
    let ratio = |other: &ToolFigures| Some((other.name.clone(), json!((mine / theirs(other)? * 1e3).round() / 1e3)));
    Value::Object(figures.tools.iter().filter_map(ratio).collect())
}
