//! Where the time of a create, a start or an exec goes, for who asks: [`CreateOptions::timings`](crate::CreateOptions::timings),
//! [`ExecOptions::timings`](crate::ExecOptions::timings), [`Container::set_timings`](crate::Container::set_timings).
//!
//! The clock is read at the end of each phase, and what has gone by since the end of the one before is its time, so that the phases make up the
//! whole. Who does not ask pays nothing: no system call, no memory.
//!
//! Init works beside the caller, and tells when it is done with a phase by a message of its own, for which its plan has a step
//! more ([`Step::Time`](no_frills_plan::Step::Time)). It has another clock if its container has offsets of its own, and so says the time of day.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The phases of init, by number.
const OF_INIT: [&str; 7] = [
    "namespaces",
    "root file system",
    "mounts",
    "devices",
    "pivot_root",
    "masks and sysctls",
    "session and privileges",
];

/// The numbers of init's phases.
pub(crate) mod of_init {
    pub(crate) const NAMESPACES: u8 = 0;
    pub(crate) const ROOT: u8 = 1;
    pub(crate) const MOUNTS: u8 = 2;
    pub(crate) const DEVICES: u8 = 3;
    pub(crate) const PIVOT: u8 = 4;
    pub(crate) const MASKS: u8 = 5;
    pub(crate) const PRIVILEGES: u8 = 6;
}

/// Takes the time. Clones are of the same clock.
#[derive(Clone, Debug)]
pub struct Timings(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    begun: Instant,
    last: Instant,
    phases: Vec<Phase>,
    /// The time of day when init told last, or was made.
    init_last: Option<Duration>,
    init: Vec<Phase>,
}

/// A part of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// How long it took, all times together.
    pub took: Duration,
    /// How often it was done.
    pub times: u32,
}

/// Where the time has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the beginning until now.
    pub total: Duration,
    /// The caller's phases, in the order in which they began first; the last one, `other`, is what is in none. Together they make up the total.
    pub phases: Vec<Phase>,
    /// Init's phases, as far as it told of them. They are beside the caller's: mostly while that waits for init.
    pub init: Vec<Phase>,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings::begin()
    }
}

impl Timings {
    /// The time begins to count.
    #[must_use]
    pub fn begin() -> Timings {
        let now = Instant::now();
        let taken = Taken { begun: now, last: now, phases: Vec::new(), init_last: None, init: Vec::new() };
        Timings(Arc::new(Mutex::new(taken)))
    }

    /// Says that what was done since the last mark, or since the beginning, was this phase. For who wants to see own phases, too.
    #[cold]
    pub fn mark(&self, phase: &'static str) {
        let now = Instant::now();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = now.saturating_duration_since(taken.last);
        taken.last = now;
        add(&mut taken.phases, phase, took);
    }

    /// Init was made.
    #[cold]
    pub(crate) fn init_begins(&self) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.init_last = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    }

    /// Init is done with a phase; `now` is its time of day, in nanoseconds.
    #[cold]
    pub(crate) fn init_told(&self, phase: u32, now: u64) {
        let Some(name) = OF_INIT.get(phase as usize) else { return };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Duration::from_nanos(now);
        let took = taken.init_last.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        taken.init_last = Some(now);
        // Before its first step it is executed, and has its plan.
        add(&mut taken.init, name, took);
    }

    /// Where the time has gone until now.
    #[must_use]
    pub fn times(&self) -> Times {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total = taken.begun.elapsed();
        let mut phases = taken.phases.clone();
        let known: Duration = phases.iter().map(|phase| phase.took).sum();
        phases.push(Phase { name: "other", took: total.saturating_sub(known), times: 1 });
        Times { total, phases, init: taken.init.clone() }
    }
}

fn add(phases: &mut Vec<Phase>, name: &'static str, took: Duration) {
    match phases.iter_mut().find(|phase| phase.name == name) {
        Some(phase) => {
            phase.took += took;
            phase.times += 1;
        }
        None => phases.push(Phase { name, took, times: 1 }),
    }
}

/// Marks the end of a phase, if somebody asked.
#[inline]
pub(crate) fn mark(timings: Option<&Timings>, phase: &'static str) {
    if let Some(timings) = timings {
        timings.mark(phase);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_make_up_the_whole() {
        let timings = Timings::begin();
        for phase in ["a", "b", "a"] {
            std::thread::sleep(Duration::from_millis(2));
            timings.mark(phase);
        }
        timings.init_begins();
        timings.init_told(2, SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
        timings.init_told(99, 0);
        let times = timings.times();
        let names: Vec<_> = times.phases.iter().map(|phase| (phase.name, phase.times)).collect();
        assert_eq!(names, [("a", 2), ("b", 1), ("other", 1)]);
        assert_eq!(times.phases.iter().map(|phase| phase.took).sum::<Duration>(), times.total);
        assert!(times.phases[0].took >= Duration::from_millis(4));
        assert_eq!(times.init.iter().map(|phase| phase.name).collect::<Vec<_>>(), ["mounts"]);
    }
}
