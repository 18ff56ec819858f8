//! `update`: other limits for a container that is there.

use std::io::Read;

use no_frills::Update;

use crate::cause::cause;
use crate::commands::Outcome;
use crate::container::open;
use crate::flags::{self, Flag};
use crate::log::Log;
use crate::parse::{Arguments, Values};

/// Changes the limits of a container.
pub(crate) fn update(arguments: &Arguments<'_>, log: &Log) -> Outcome {
    let update = wanted(arguments.flags)?;
    for warning in update.warnings() {
        log.warning(warning);
    }
    open(arguments)?.update(&update).map(|()| 0).map_err(|error| error.to_string())
}

/// What the file says, and over it what the flags say.
pub(crate) fn wanted(given: &Values) -> Result<Update, String> {
    let mut update = match given.value(&flags::RESOURCES) {
        None => Update::default(),
        Some(file) => {
            let (name, read) = if file == "-" {
                let mut json = Vec::new();
                ("standard input".to_owned(), std::io::stdin().lock().read_to_end(&mut json).map(|_| json))
            } else {
                (file.to_string_lossy().into_owned(), std::fs::read(file))
            };
            let json = read.map_err(|error| format!("--resources: reading {name}: {}", cause(error)))?;
            Update::from_json(&json).map_err(|error| format!("--resources: {name}: {error}"))?
        }
    };
    let limits = &mut update.limits;
    let (cpu, memory) = (&mut limits.cpu, &mut limits.memory);
    number(given, &flags::BLKIO_WEIGHT, &mut limits.block_io.weight)?;
    number(given, &flags::CPU_PERIOD, &mut cpu.period)?;
    number(given, &flags::CPU_QUOTA, &mut cpu.quota)?;
    number(given, &flags::CPU_SHARE, &mut cpu.shares)?;
    some_number(given, &flags::CPU_BURST, &mut cpu.burst)?;
    some_number(given, &flags::CPU_IDLE, &mut cpu.idle)?;
    some_number(given, &flags::PIDS_LIMIT, &mut limits.pids_limit)?;
    text(given, &flags::CPUSET_CPUS, &mut cpu.cpus);
    text(given, &flags::CPUSET_MEMS, &mut cpu.mems);
    size(given, &flags::MEMORY, &mut memory.limit)?;
    size(given, &flags::MEMORY_RESERVATION, &mut memory.reservation)?;
    size(given, &flags::MEMORY_SWAP, &mut memory.swap)?;
    for flag in [&flags::CPU_RT_PERIOD, &flags::CPU_RT_RUNTIME] {
        let mut asked = 0_i64;
        number(given, flag, &mut asked)?;
        if asked != 0 {
            return Err(format!("--{}: a setting of cgroup v1, for which cgroup v2 has nothing", flag.name));
        }
    }
    for flag in [&flags::L3_CACHE_SCHEMA, &flags::MEM_BW_SCHEMA] {
        let lines = given.value(flag).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        update.schema.extend(lines.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(update)
}

/// What the flag was given, if it was and not with an empty value, as `read` understands it.
fn value<T>(given: &Values, flag: &Flag, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, String> {
    let Some(value) = given.value(flag).filter(|value| !value.is_empty()) else { return Ok(None) };
    let read = value.to_str().and_then(read);
    read.map(Some).ok_or_else(|| format!("--{}: {:?} is not what it takes", flag.name, value.to_string_lossy()))
}

fn number<T: std::str::FromStr>(given: &Values, flag: &Flag, into: &mut T) -> Result<(), String> {
    if let Some(number) = value(given, flag, |text| text.parse().ok())? {
        *into = number;
    }
    Ok(())
}

fn some_number<T: std::str::FromStr>(given: &Values, flag: &Flag, into: &mut Option<T>) -> Result<(), String> {
    if let Some(number) = value(given, flag, |text| text.parse().ok())? {
        *into = Some(number);
    }
    Ok(())
}

fn text(given: &Values, flag: &Flag, into: &mut String) {
    if let Some(text) = given.value(flag) {
        *into = text.to_string_lossy().into_owned();
    }
}

fn size(given: &Values, flag: &Flag, into: &mut i64) -> Result<(), String> {
    if let Some(size) = value(given, flag, bytes)? {
        *into = size;
    }
    Ok(())
}

/// A number of bytes, also with a unit as in `1.5g`, `64MB` and `2 KiB`: powers of 1024 all of them. -1 is no limit.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let places = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let factor = 1_i64 << places;
    match number.parse::<i64>() {
        Ok(number) => number.checked_mul(factor),
        Err(_) => {
            number.parse::<f64>().ok().map(|number| (number * factor as f64) as i64).filter(|size| *size < i64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("1048576", Some(1 << 20)),
            ("9223372036854775807", Some(i64::MAX)),
            ("64b", Some(64)),
            ("1k", Some(1024)),
            ("1K", Some(1024)),
            ("2 KiB", Some(2048)),
            ("64MB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1T", Some(1 << 40)),
            ("2pb", Some(2 << 50)),
            ("", None),
            ("-2", None),
            ("g", None),
            ("1x", None),
            ("1.2.3m", None),
            ("1  k", None),
            ("0x10", None),
            ("9999999999g", None),
            ("1 ß", None),
        ] {
            assert_eq!(bytes(text), size, "{text:?}");
        }
    }
}
