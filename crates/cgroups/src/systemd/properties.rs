//! Limits as properties of a unit, beside the files: systemd writes those files anew whenever it likes. Pure.

use super::message::{Property, Value};
use crate::resources::{Absent, Write};

/// The period of `cpu.max` in a cgroup to which nobody gave one, in microseconds.
pub const PERIOD: u64 = 100_000;

/// The properties that say to systemd what these writes say to the kernel; of a file for which systemd has none it does not
/// change what is written either. `period` is that of `cpu.max` where the text has none, in microseconds.
#[must_use]
pub fn properties(writes: &[Write], period: u64) -> Vec<Property> {
    writes.iter().flat_map(|write| of_write(write, period)).collect()
}

fn of_write(write: &Write, period: u64) -> Vec<Property> {
    let one = |name: &str, value: Option<Value>| {
        value.map(|value| Property { name: name.to_owned(), value }).into_iter().collect()
    };
    let text = write.text.trim();
    match write.file.as_str() {
        "cpu.weight" => one("CPUWeight", number(text)),
        // No weight is what systemd makes an idle cgroup of.
        "cpu.idle" if text == "1" => one("CPUWeight", Some(Value::Uint64(0))),
        "cpu.max" => bandwidth(text, period),
        "cpuset.cpus" => one("AllowedCPUs", mask(text)),
        "cpuset.mems" => one("AllowedMemoryNodes", mask(text)),
        "memory.max" => one("MemoryMax", number(text)),
        "memory.high" => one("MemoryHigh", number(text)),
        "memory.low" => one("MemoryLow", number(text)),
        "memory.min" => one("MemoryMin", number(text)),
        "memory.swap.max" => one("MemorySwapMax", number(text)),
        "memory.zswap.max" => one("MemoryZSwapMax", number(text)),
        "pids.max" => one("TasksMax", number(text)),
        "io.weight" => one("IOWeight", number(text.strip_prefix("default ").unwrap_or(text))),
        "io.bfq.weight" => match &write.absent {
            Absent::Instead { file: "io.weight", text } => one("IOWeight", number(text)),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// `max` is the largest number.
fn number(text: &str) -> Option<Value> {
    if text == "max" { Some(Value::Uint64(u64::MAX)) } else { text.parse().ok().map(Value::Uint64) }
}

fn bandwidth(text: &str, period: u64) -> Vec<Property> {
    let mut words = text.split_ascii_whitespace();
    let (quota, asked) = (words.next().unwrap_or_default(), words.next().and_then(|period| period.parse::<u64>().ok()));
    let period = asked.unwrap_or(period).max(1);
    let per_second = match quota.parse::<u64>() {
        // Rounded up: not to be less than what the kernel was told.
        Ok(quota) => u64::try_from((u128::from(quota) * 1_000_000).div_ceil(u128::from(period))).unwrap_or(u64::MAX),
        Err(_) => u64::MAX,
    };
    vec![
        Property { name: "CPUQuotaPeriodUSec".to_owned(), value: Value::Uint64(period) },
        Property { name: "CPUQuotaPerSecUSec".to_owned(), value: Value::Uint64(per_second) },
    ]
}

/// A list such as `0-3,7` as a mask, a bit each, the lowest first.
fn mask(list: &str) -> Option<Value> {
    /// More than any kernel is built for.
    const MOST: usize = 1 << 16;
    let mut mask: Vec<u8> = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= MOST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            if let Some(byte) = mask.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    Some(Value::Array('y', mask.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resources;
    use crate::resources::{BlockIo, Cpu, Memory, Target};

    fn of(resources: &Resources) -> Vec<(String, Value)> {
        let writes = resources.writes(Target::Used).unwrap();
        properties(&writes, PERIOD).into_iter().map(|Property { name, value }| (name, value)).collect()
    }

    #[test]
    fn limits_are_properties() {
        let bytes = |bytes: &[u8]| Value::Array('y', bytes.iter().map(|byte| Value::Byte(*byte)).collect());
        let all = Resources {
            cpu: Cpu {
                shares: 1024,
                quota: 50_001,
                period: 70_000,
                cpus: "0-1,9".into(),
                mems: "0".into(),
                ..Cpu::default()
            },
            memory: Memory { limit: 1 << 30, reservation: 1 << 20, swap: 3 << 30, ..Memory::default() },
            pids_limit: Some(7),
            block_io: BlockIo { weight: 10, ..BlockIo::default() },
            unified: vec![("memory.high".into(), "max".into()), ("hugetlb.2MB.max".into(), "0".into())],
            ..Resources::default()
        };
        let mut found = of(&all);
        found.sort_by(|left, right| left.0.cmp(&right.0));
        let number = |name: &str, value| (name.to_owned(), Value::Uint64(value));
        assert_eq!(
            found,
            [
                ("AllowedCPUs".to_owned(), bytes(&[0b11, 0b10])),
                ("AllowedMemoryNodes".to_owned(), bytes(&[1])),
                number("CPUQuotaPerSecUSec", 714_300),
                number("CPUQuotaPeriodUSec", 70_000),
                number("CPUWeight", 100),
                number("IOWeight", 1),
                number("MemoryHigh", u64::MAX),
                number("MemoryLow", 1 << 20),
                number("MemoryMax", 1 << 30),
                number("MemorySwapMax", 2 << 30),
                number("TasksMax", 7),
            ]
        );
    }

    #[test]
    fn without_limits_is_a_property_too() {
        let lifted = Resources {
            cpu: Cpu { quota: -1, idle: Some(1), ..Cpu::default() },
            memory: Memory { limit: -1, ..Memory::default() },
            pids_limit: Some(-1),
            ..Resources::default()
        };
        for (name, value) in of(&lifted) {
            let expected = match name.as_str() {
                "CPUQuotaPeriodUSec" => PERIOD,
                "CPUWeight" => 0,
                _ => u64::MAX,
            };
            assert_eq!(value, Value::Uint64(expected), "{name}");
        }
        assert!(of(&Resources::default()).is_empty());
    }
}
