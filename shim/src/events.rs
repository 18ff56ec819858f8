//! `events`: statistics and OOM kills of a container, as JSON in runc's shape.

use std::collections::BTreeMap;
use std::time::Duration;

use no_frills::cgroups::{IoStats, MemoryStats, Pressure, Stall, Stats};
use no_frills::{Container, Event, Status};
use serde_json::{Map, Value, json};

use crate::commands::Outcome;
use crate::container;
use crate::flags;
use crate::log::Log;
use crate::output;
use crate::parse::Arguments;

/// As runc's.
const INTERVAL: Duration = Duration::from_secs(5);

/// Prints the statistics of a container once, or its events until it ends; a line each.
pub(crate) fn events(arguments: &Arguments<'_>, _log: &Log) -> Outcome {
    let interval = match arguments.flags.word(&flags::INTERVAL) {
        None => INTERVAL,
        Some(text) => {
            duration(text).ok_or_else(|| format!("--interval takes a duration as 5s or 1m30s, not {text:?}"))?
        }
    };
    if interval.is_zero() {
        return Err("duration interval must be greater than 0".to_owned());
    }
    let container = container::open(arguments)?;
    let failed = |error: no_frills::Error| error.to_string();
    if arguments.flags.has(&flags::STATS) {
        if matches!(container.state().map_err(failed)?.status, Status::Stopped | Status::Creating) {
            return Err(failed(no_frills::Error::NotRunning));
        }
        let stats = container.stats().map_err(failed)?;
        print("stats", container.id(), Some(data(&container, &stats)?))?;
        return Ok(0);
    }
    let mut events = container.events(Some(interval)).map_err(failed)?;
    while let Some(event) = events.next().map_err(failed)? {
        match event {
            Event::Stats(stats) => print("stats", container.id(), Some(data(&container, &stats)?))?,
            Event::Oom => print("oom", container.id(), None)?,
            _ => {}
        }
    }
    Ok(0)
}

fn print(kind: &str, id: &str, data: Option<Value>) -> Result<(), String> {
    // In this order, as runc writes it: scripts take the beginning of the line for what it is.
    let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
    output::print(&format!("{{\"type\":{},\"id\":{}{data}}}\n", json!(kind), json!(id)))
}

/// A duration of Go: numbers with units, without blanks.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// The keys of runc's types.Stats. Like there, those of cgroup v1 alone are 0, and a number that is 0 may be left out.
fn data(container: &Container, stats: &Stats) -> Result<Value, String> {
    let hugetlb = stats
        .hugetlb
        .iter()
        .map(|(size, pages)| (size.clone(), json!({"usage": pages.current_bytes, "failcnt": pages.refused})));
    Ok(json!({
        "cpu": cpu(stats),
        "cpuset": {
            "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0, "memory_spread_page": 0,
            "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 0, "sched_relax_domain_level": 0,
        },
        "memory": memory(stats),
        "pids": pids(container, stats)?,
        "blkio": block_io(stats),
        "hugetlb": hugetlb.collect::<Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    }))
}

fn pids(container: &Container, stats: &Stats) -> Result<Value, String> {
    match stats.pids {
        Some(pids) => {
            let mut of = json!({"current": pids.current});
            if let Some(max) = pids.max {
                of["limit"] = json!(max);
            }
            Ok(of)
        }
        // Without the controller processes are counted, not threads.
        None => Ok(json!({"current": container.processes().map_err(|error| error.to_string())?.len()})),
    }
}

fn cpu(stats: &Stats) -> Value {
    const NANOSECONDS: u64 = 1000;
    let used = stats.cpu.unwrap_or_default();
    let throttling = used.throttling.map_or_else(
        || json!({}),
        |throttling| {
            json!({
                "periods": throttling.periods,
                "throttledPeriods": throttling.throttled_periods,
                "throttledTime": throttling.throttled_usec * NANOSECONDS,
            })
        },
    );
    let usage = json!({
        "total": used.usage_usec * NANOSECONDS,
        "kernel": used.system_usec * NANOSECONDS,
        "user": used.user_usec * NANOSECONDS,
    });
    with_pressure(json!({"usage": usage, "throttling": throttling}), stats.cpu_pressure)
}

fn memory(stats: &Stats) -> Value {
    // What there is no limit for has the largest number.
    let entry = |usage: u64, limit: Option<u64>, most: Option<u64>, refused: u64| {
        let mut entry = json!({"usage": usage, "limit": limit.unwrap_or(u64::MAX), "failcnt": refused});
        if let Some(most) = most {
            entry["max"] = json!(most);
        }
        entry
    };
    let none = || json!({"limit": 0, "failcnt": 0});
    let of = |memory: &MemoryStats| {
        // With memory, as cgroup v1 counted it.
        let swap = memory.swap.map_or_else(none, |swap| {
            let limit = swap.max_bytes.zip(memory.max_bytes).map(|(swap, memory)| swap.saturating_add(memory));
            entry(swap.current_bytes + memory.current_bytes, limit, None, 0)
        });
        json!({
            "cache": memory.stat.get("file").copied().unwrap_or_default(),
            "usage": entry(memory.current_bytes, memory.max_bytes, memory.peak_bytes, memory.events.max),
            "swap": swap,
            "kernel": none(),
            "kernelTCP": none(),
            "raw": memory.stat,
        })
    };
    let absent = || json!({"usage": none(), "swap": none(), "kernel": none(), "kernelTCP": none()});
    with_pressure(stats.memory.as_ref().map_or_else(absent, of), stats.memory_pressure)
}

/// The devices, by the names that cgroup v1 had for what is counted.
fn block_io(stats: &Stats) -> Value {
    let devices = stats.io.as_deref().unwrap_or_default();
    let table = |read: fn(&IoStats) -> u64, write: fn(&IoStats) -> u64| -> Vec<Value> {
        let entry = |device: &IoStats, op: &str, value: u64| json!({"major": device.major, "minor": device.minor, "op": op, "value": value});
        devices
            .iter()
            .flat_map(|device| [entry(device, "Read", read(device)), entry(device, "Write", write(device))])
            .collect()
    };
    let mut tables = BTreeMap::from([
        ("ioServiceBytesRecursive", table(|device| device.read_bytes, |device| device.written_bytes)),
        ("ioServicedRecursive", table(|device| device.reads, |device| device.writes)),
    ]);
    tables.retain(|_, entries| !entries.is_empty());
    with_pressure(json!(tables), stats.io_pressure)
}

fn with_pressure(mut of: Value, pressure: Option<Pressure>) -> Value {
    let stall = |stall: Stall| json!({"avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300, "total": stall.total_usec});
    if let Some(pressure) = pressure {
        of["psi"] = json!({"some": stall(pressure.some), "full": stall(pressure.full.unwrap_or_default())});
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+2s", 2000),
            ("0", 0),
            ("0s", 0),
            ("2000us", 2),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5x", "1..2s", "s5", "1e3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
