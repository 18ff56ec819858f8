//! All figures of a run of the benchmark, and what they were measured on.

use std::fs;

use crate::counts::Counts;
use crate::measure::Samples;
use no_frills_conformance::bench_world::World;

pub(crate) struct Figures {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) rounds: usize,
    /// How containers' mount points differ from the floor's.
    pub(crate) different: Vec<String>,
    /// The floor first, then the subject, then its peers.
    pub(crate) tools: Vec<ToolFigures>,
}

pub(crate) struct ToolFigures {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) run: Spread,
    /// None for the floor.
    pub(crate) life: Option<Life>,
    pub(crate) counts: Counts,
    /// None for the floor, as the life.
    pub(crate) exec_counts: Option<Counts>,
}

pub(crate) struct Life {
    pub(crate) total: Spread,
    pub(crate) commands: [Spread; 5],
    pub(crate) death: Spread,
    /// `exec` of /bin/true meanwhile.
    pub(crate) exec: Spread,
    /// `pause` and `resume` meanwhile.
    pub(crate) later: [Spread; 3],
}

/// Times in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) p10: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
}

impl Spread {
    fn of(samples: &[f64]) -> Self {
        Self { p10: quantile(samples, 0.1), median: quantile(samples, 0.5), p90: quantile(samples, 0.9) }
    }
}

impl Figures {
    pub(crate) fn new(
        world: &World,
        rounds: usize,
        samples: &[Samples],
        counts: Vec<(Counts, Option<Counts>)>,
        different: Vec<String>,
    ) -> Self {
        let tools = world.tools.iter().zip(samples).zip(counts).map(|((tool, samples), counts)| ToolFigures {
            name: tool.name.clone(),
            version: tool.version.clone(),
            run: Spread::of(&samples.run),
            life: (!tool.is_floor()).then(|| Life {
                total: Spread::of(&samples.life),
                commands: samples.commands.each_ref().map(|times| Spread::of(times)),
                death: Spread::of(&samples.death),
                exec: Spread::of(&samples.exec),
                later: samples.later.each_ref().map(|times| Spread::of(times)),
            }),
            counts: counts.0,
            exec_counts: counts.1,
        });
        Self {
            // Without what a vendor appends.
            kernel: rustix::system::uname().release().to_string_lossy().split('-').next().unwrap_or("").to_owned(),
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            rounds,
            different,
            tools: tools.collect(),
        }
    }
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// Between the two nearest samples, in proportion.
fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}
