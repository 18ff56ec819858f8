//! From settings to texts.

use super::{Absent, BlockIo, Cpu, DeviceValue, Memory, Resources, Target, Write};
use crate::error::{Error, Result};

const MAX: &str = "max";

/// Files of every cgroup that `unified` may set. The others say who is in it, or would stop or kill who makes the container.
const OF_EVERY_CGROUP: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

pub(super) fn writes(resources: &Resources, target: Target) -> Result<Vec<Write>> {
    let mut list = List { writes: Vec::new(), target };
    list.memory(&resources.memory)?;
    list.cpu(&resources.cpu)?;
    list.block_io(&resources.block_io)?;
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        let setting = format!("/hugepageLimits/{index}");
        if !is_page_size(&limit.page_size) {
            return Err(refuse(setting + "/pageSize", format!("{:?} is no size such as 2MB", limit.page_size)));
        }
        let text = limit.limit.to_string();
        list.push(&setting, format!("hugetlb.{}.max", limit.page_size), text.clone());
        // Of pages that are reserved and not used yet; since Linux 5.7.
        list.push_or(&setting, format!("hugetlb.{}.rsvd.max", limit.page_size), text, Absent::Skip);
    }
    for rdma in &resources.rdma {
        let setting = format!("/rdma/{}", rdma.device.replace('~', "~0").replace('/', "~1"));
        if rdma.device.is_empty() || rdma.device.contains(char::is_whitespace) {
            return Err(refuse(setting, "is no name of a device"));
        }
        let part = |name, value: Option<u32>| value.map_or(String::new(), |value| format!(" {name}={value}"));
        let text = part("hca_handle", rdma.hca_handles) + &part("hca_object", rdma.hca_objects);
        if text.is_empty() {
            return Err(refuse(setting, "needs hcaHandles or hcaObjects"));
        }
        list.push(&setting, "rdma.max", rdma.device.clone() + &text);
    }
    match resources.pids_limit {
        Some(limit) if limit < 0 => list.unlimited("/pids/limit", "pids.max"),
        Some(limit) => list.push("/pids/limit", "pids.max", limit.to_string()),
        None => {}
    }
    for (file, text) in &resources.unified {
        let setting = format!("/unified/{}", file.replace('~', "~0").replace('/', "~1"));
        if let Some(why) = no_file_to_set(file) {
            return Err(refuse(setting, why));
        }
        // The kernel takes a line at a time.
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            list.push(&setting, file.clone(), line);
        }
    }
    Ok(list.writes)
}

fn refuse(setting: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Setting { setting: setting.into(), why: why.into() }
}

struct List {
    writes: Vec<Write>,
    target: Target,
}

impl List {
    fn push(&mut self, setting: &str, file: impl Into<String>, text: impl Into<String>) {
        self.push_or(setting, file, text, Absent::Refuse);
    }

    fn push_or(&mut self, setting: &str, file: impl Into<String>, text: impl Into<String>, absent: Absent) {
        let (setting, file, text) = (setting.to_owned(), file.into(), text.into());
        self.writes.push(Write { setting, file, text, absent, may_follow_next: false });
    }

    /// Without the file there is no limit either.
    fn unlimited(&mut self, setting: &str, file: &str) {
        if self.target == Target::Used {
            self.push_or(setting, file, MAX, Absent::Skip);
        }
    }

    /// Swap first: memory that is taken away goes to where there is room for it by then. The two files know nothing of
    /// each other, so that neither order is refused.
    fn memory(&mut self, memory: &Memory) -> Result<()> {
        let Memory { limit, reservation, swap, .. } = *memory;
        for (name, value) in [("limit", limit), ("reservation", reservation), ("swap", swap)] {
            if value < -1 {
                return Err(refuse(
                    format!("/memory/{name}"),
                    format!("expected bytes, or -1 for no limit, found {value}"),
                ));
            }
        }
        const SWAP: (&str, &str) = ("/memory/swap", "memory.swap.max");
        match (swap, limit) {
            // To lift the limit of memory lifts that of both.
            (0, -1) => self.unlimited("/memory/limit", SWAP.1),
            (0, _) => {}
            (-1, _) => self.unlimited(SWAP.0, SWAP.1),
            (_, 0 | -1) => {
                return Err(refuse(
                    SWAP.0,
                    "is that of memory and swap together, and needs memory.limit, that of memory",
                ));
            }
            _ if swap < limit => {
                let why = format!("{swap} is that of memory and swap together, and less than memory.limit, {limit}");
                return Err(refuse(SWAP.0, why));
            }
            // A kernel without accounts of swap has no such file, and a machine without swap none to give.
            _ if swap == limit => self.push_or(SWAP.0, SWAP.1, "0", Absent::Skip),
            _ => self.push(SWAP.0, SWAP.1, (swap - limit).to_string()),
        }
        for (value, setting, file) in
            [(limit, "/memory/limit", "memory.max"), (reservation, "/memory/reservation", "memory.low")]
        {
            match value {
                0 => {}
                -1 if file == "memory.max" => self.unlimited(setting, file),
                // All that it has is kept for it: not what a new cgroup has.
                -1 => self.push(setting, file, MAX),
                _ => self.push(setting, file, value.to_string()),
            }
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &Cpu) -> Result<()> {
        match cpu.idle {
            Some(0) if self.target == Target::New => {}
            // The weight comes after it, as a new one would be refused while the cgroup is idle.
            Some(idle @ 0..=1) => self.push("/cpu/idle", "cpu.idle", idle.to_string()),
            Some(idle) => return Err(refuse("/cpu/idle", format!("expected 0 or 1, found {idle}"))),
            None => {}
        }
        if cpu.shares != 0 && cpu.idle != Some(1) {
            self.push("/cpu/shares", "cpu.weight", cpu_weight(cpu.shares).to_string());
        }
        self.bandwidth(cpu)?;
        for (list, name) in [(&cpu.cpus, "cpus"), (&cpu.mems, "mems")] {
            let setting = format!("/cpu/{name}");
            check_list(list).map_err(|why| refuse(&setting, why))?;
            if !list.is_empty() {
                self.push(&setting, format!("cpuset.{name}"), list.as_str());
            }
        }
        Ok(())
    }

    fn bandwidth(&mut self, cpu: &Cpu) -> Result<()> {
        /// What the kernel takes, in microseconds.
        const LEAST: u64 = 1000;
        const LONGEST: u64 = 1_000_000;
        let Cpu { quota, period, burst, .. } = *cpu;
        if period != 0 && !(LEAST..=LONGEST).contains(&period) {
            let why = format!("expected microseconds from {LEAST} to {LONGEST}, found {period}");
            return Err(refuse("/cpu/period", why));
        }
        if quota > 0 && quota.unsigned_abs() < LEAST {
            return Err(refuse("/cpu/quota", format!("expected at least {LEAST} microseconds, found {quota}")));
        }
        let limit = if quota > 0 { quota.to_string() } else { MAX.to_owned() };
        match (quota, period) {
            (0, 0) => {}
            (_, 0) if quota < 0 => self.unlimited("/cpu/quota", "cpu.max"),
            (_, 0) => self.push("/cpu/quota", "cpu.max", limit),
            (0, _) => self.push("/cpu/period", "cpu.max", format!("{limit} {period}")),
            _ => self.push("/cpu/quota", "cpu.max", format!("{limit} {period}")),
        }
        let Some(burst) = burst else { return Ok(()) };
        if quota > 0 && burst > quota.unsigned_abs() {
            return Err(refuse("/cpu/burst", format!("{burst} is more than the quota, {quota}")));
        }
        if burst == 0 && self.target == Target::New {
            return Ok(());
        }
        // A quota may not be below the burst of before, and a burst not above the quota of before.
        if let Some(last) = self.writes.last_mut().filter(|last| last.file == "cpu.max") {
            last.may_follow_next = true;
        }
        self.push("/cpu/burst", "cpu.max.burst", burst.to_string());
        Ok(())
    }

    fn block_io(&mut self, io: &BlockIo) -> Result<()> {
        const BFQ: &str = "io.bfq.weight";
        let range = |weight: u64| match weight {
            10..=1000 => Ok(weight),
            _ => Err(format!("expected a weight from 10 to 1000, found {weight}")),
        };
        if io.weight != 0 {
            let setting = "/blockIO/weight";
            let weight = range(io.weight.into()).map_err(|why| refuse(setting, why))?;
            // The scheduler BFQ has weights like those of cgroup v1.
            let instead = Absent::Instead { file: "io.weight", text: io_weight(weight).to_string() };
            self.push_or(setting, BFQ, weight.to_string(), instead);
        }
        for (index, DeviceValue { major, minor, value }) in io.weight_device.iter().enumerate() {
            let setting = format!("/blockIO/weightDevice/{index}");
            if *value == 0 {
                continue;
            }
            let weight = range(*value).map_err(|why| refuse(setting.clone() + "/weight", why))?;
            let instead = Absent::Instead { file: "io.weight", text: format!("{major}:{minor} {}", io_weight(weight)) };
            self.push_or(&setting, BFQ, format!("{major}:{minor} {weight}"), instead);
        }
        self.throttle(io);
        Ok(())
    }

    /// Each device has one line with all its limits; of two for one thing the later counts.
    fn throttle(&mut self, io: &BlockIo) {
        let kinds = [
            ("rbps", "throttleReadBpsDevice", &io.read_bps),
            ("wbps", "throttleWriteBpsDevice", &io.write_bps),
            ("riops", "throttleReadIOPSDevice", &io.read_iops),
            ("wiops", "throttleWriteIOPSDevice", &io.write_iops),
        ];
        let mut devices: Vec<(u32, u32, String)> = Vec::new();
        for (_, name, list) in kinds {
            for (index, device) in list.iter().enumerate() {
                if !devices.iter().any(|(major, minor, _)| (*major, *minor) == (device.major, device.minor)) {
                    devices.push((device.major, device.minor, format!("/blockIO/{name}/{index}")));
                }
            }
        }
        for (major, minor, setting) in devices {
            let mut line = format!("{major}:{minor}");
            for (key, _, list) in kinds {
                let ours = list.iter().rev().find(|device| (device.major, device.minor) == (major, minor));
                match ours.map(|device| device.value) {
                    None => {}
                    Some(0) => line += &format!(" {key}={MAX}"),
                    Some(rate) => line += &format!(" {key}={rate}"),
                }
            }
            self.push(&setting, "io.max", line);
        }
    }
}

/// A size as the kernel names it.
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Why `unified` may not name this.
fn no_file_to_set(file: &str) -> Option<String> {
    let why = match file.split_once('.') {
        _ if file.contains(['/', '\0']) => "is to be the name of a file, without a slash".to_owned(),
        Some(("cgroup", _)) if !OF_EVERY_CGROUP.contains(&file) => {
            format!(
                "is the runtime's own business; of the files of every cgroup, {} may be set",
                OF_EVERY_CGROUP.join(", ")
            )
        }
        Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() => return None,
        _ => "is no name of the form CONTROLLER.PARAMETER".to_owned(),
    };
    Some(why)
}

/// A list as the kernel reads it (bitmap lists, Documentation/core-api/kernel-api.rst): `0-3,7`, also `0-15:2/4`.
fn check_list(list: &str) -> Result<(), String> {
    if list.is_empty() {
        return Ok(());
    }
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    for part in list.split(',') {
        let wrong = || format!("{part:?} is no number and no range such as 0-3");
        let part = part.trim();
        let (range, group) = part.split_once(':').map_or((part, None), |(range, group)| (range, Some(group)));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(wrong()) };
        if first > last {
            return Err(format!("the range {range} ends before it begins"));
        }
        if let Some(group) = group {
            let parts = group.split_once('/').and_then(|(used, size)| Some((number(used)?, number(size)?)));
            parts.filter(|(used, size)| used <= size && *size > 0).ok_or_else(wrong)?;
        }
    }
    Ok(())
}

/// `blockIO.weight`, from 10 to 1000, as a weight from 1 to 10000.
#[must_use]
pub fn io_weight(weight: u64) -> u64 {
    1 + weight.clamp(10, 1000).saturating_sub(10) * 9999 / 990
}

/// `cpu.shares` as a weight from 1 to 10000.
///
/// 2 shares, the least, are 1, 1024, what everybody has, are 100, and 262144, the most, are 10000. In between it is
/// ⌈10^((l² + 125 l) / 612 - 7/34)⌉ with l = log₂ shares, as runc since 1.3.2 and crun since 1.23 have it. It is
/// computed in integers: what has no C library has no logarithm.
#[must_use]
pub fn cpu_weight(shares: u64) -> u64 {
    /// 1 in numbers with so many binary places.
    const PLACES: u32 = 56;
    const ONE: u128 = 1 << PLACES;
    /// ln 10 and ln 2.
    const LN_10: u128 = 165_918_741_868_749_488;
    const LN_2: u128 = 49_946_518_145_322_874;
    let shares = match shares {
        0..=2 => return 1,
        262_144.. => return 10_000,
        shares => u128::from(shares),
    };
    let whole = shares.ilog2();
    // The fraction of the logarithm, a bit at a time: a square has twice the logarithm.
    let mut rest = (shares << PLACES) >> whole;
    let mut log = u128::from(whole);
    for _ in 0..PLACES {
        rest = (rest * rest) >> PLACES;
        log <<= 1;
        if rest >= 2 * ONE {
            rest >>= 1;
            log |= 1;
        }
    }
    // 7/34 is 126/612.
    let exponent = (((log * log) >> PLACES) + 125 * log - 126 * ONE) / 612;
    // 10^exponent = 2^doublings · e^power.
    let logarithm = (exponent * LN_10) >> PLACES;
    let (doublings, power) = (logarithm / LN_2, logarithm % LN_2);
    let (mut sum, mut term) = (ONE, ONE);
    for n in 1..20 {
        term = ((term * power) >> PLACES) / n;
        sum += term;
    }
    // Rounded up; but what is whole may have come out a little more than that.
    let slack = ONE >> 30;
    (((sum << doublings) + ONE - 1 - slack) >> PLACES) as u64
}
