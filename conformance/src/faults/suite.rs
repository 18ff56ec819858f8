//! All points: which there are, a process for each, several at a time, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fault::{FAULTS, Fault, Place};
use super::point::{Point, Wrong};
use super::scenario::{SCENARIOS, Scenario};
use super::table::Table;
use no_frills_conformance::kind::Kind;
use no_frills_conformance::{cgroup2, rootfs};

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) runtime: PathBuf,
    /// Commands or scenarios; all if empty.
    pub(crate) commands: Vec<String>,
    pub(crate) faults: Vec<Fault>,
    /// Every so many-th point.
    pub(crate) sample: usize,
    pub(crate) seed: usize,
    pub(crate) jobs: usize,
    pub(crate) patience: u64,
    pub(crate) list: bool,
    /// One point alone: SCENARIO/FAULT/PLACE.
    pub(crate) point: Option<String>,
    pub(crate) verbose: bool,
}

/// How often a scenario is run without harm: what one of these runs does is a point.
const CLEAN_RUNS: usize = 2;
/// For a point as a whole, which waits a few times for its commands.
const FOR_A_POINT: Duration = Duration::from_secs(300);

struct Suite<'o> {
    options: &'o Options,
    runtime: PathBuf,
    kind: Kind,
    work: PathBuf,
    cgroup: String,
    cgroup_dir: PathBuf,
    next: AtomicUsize,
}

/// A call that a run without harm makes, and whether it is late ([`Point::late`]).
type Calls = BTreeMap<Place, bool>;
type Planned = (&'static Scenario, Place, Fault, bool);

/// Runs what the options select; true if nothing was wrong.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    let runtime = fs::canonicalize(&options.runtime).map_err(|e| format!("{}: {e}", options.runtime.display()))?;
    let (kind, version) = Kind::detect(&runtime)?;
    cgroup2::private_view()?;
    let name = format!("nff-{}", std::process::id());
    let suite = Suite {
        options,
        runtime,
        kind,
        work: std::env::temp_dir().join(&name),
        cgroup: format!("/{name}"),
        cgroup_dir: cgroup2::mount_point()?.join(&name),
        next: AtomicUsize::new(0),
    };
    fs::create_dir(&suite.work).map_err(|e| format!("making {}: {e}", suite.work.display()))?;
    let outcome = suite.run_in(&version);
    let tell = |what: &PathBuf| {
        let what = what.display().to_string();
        move |e: std::io::Error| format!("removing {what}: {e}")
    };
    let removed = cgroup2::kill_and_remove(&suite.cgroup_dir).map_err(tell(&suite.cgroup_dir));
    let removed = removed.and(fs::remove_dir_all(&suite.work).map_err(tell(&suite.work)));
    outcome.and_then(|good| removed.map(|()| good))
}

impl Suite<'_> {
    fn run_in(&self, version: &str) -> Result<bool, String> {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&self.work, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        rootfs::make_base(&self.work.join("busybox"))?;
        let started = Instant::now();
        let points = self.plan()?;
        if self.options.list {
            points.iter().for_each(|point| println!("{}", name(point)));
            return Ok(true);
        }
        println!("{version}: {} points, {} at a time", points.len(), self.options.jobs);
        let table = Mutex::new(Table::default());
        let broken = AtomicUsize::new(0);
        self.in_parallel(&points, |point| {
            let outcome = self.one(point.0, Some((point.1.clone(), point.2)), point.3);
            let (Ok(mut table), Ok(outcome)) = (table.lock(), &outcome) else {
                broken.fetch_add(1, Ordering::Relaxed);
                println!("{}: the harness failed: {}", name(point), outcome.err().unwrap_or_default());
                return;
            };
            let hit = outcome["hit"] == true;
            let problems: Vec<(Wrong, &str)> =
                outcome["problems"].as_array().into_iter().flatten().filter_map(problem).collect();
            let kinds: BTreeSet<Wrong> = problems.iter().map(|(wrong, _)| *wrong).collect();
            table.add(point.0.command(), point.2, hit, &kinds.into_iter().collect::<Vec<_>>());
            for (wrong, why) in &problems {
                println!("{}: {}: {why}", name(point), wrong.name());
            }
            if self.options.verbose {
                println!(
                    "{}: {} {}{}",
                    name(point),
                    outcome["status"],
                    outcome["stderr"],
                    if hit { "" } else { " (not reached)" }
                );
            }
        });
        let table = table.into_inner().map_err(|e| e.to_string())?;
        println!("\n{}\nin {} s", table.print(), started.elapsed().as_secs());
        match broken.into_inner() {
            0 => Ok(!table.is_bad()),
            count => Err(format!("the harness failed at {count} points")),
        }
    }

    fn in_parallel<T: Sync>(&self, items: &[T], each: impl Fn(&T) + Sync) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.options.jobs.max(1) {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        each(item);
                    }
                });
            }
        });
    }

    fn scenarios(&self) -> Vec<&'static Scenario> {
        let asked = &self.options.commands;
        let selects = |scenario: &&Scenario| {
            asked.is_empty() || asked.iter().any(|word| *word == scenario.command() || *word == scenario.name)
        };
        SCENARIOS.iter().filter(selects).collect()
    }

    /// Runs each scenario without harm, to see what calls there are.
    fn plan(&self) -> Result<Vec<Planned>, String> {
        let only = self.options.point.as_deref().map(parse_point).transpose()?;
        let scenarios = only.as_ref().map_or_else(|| self.scenarios(), |(scenario, ..)| vec![*scenario]);
        let failures = Mutex::new(Vec::new());
        let places: Vec<(&Scenario, Mutex<Calls>)> = scenarios.iter().map(|one| (*one, Mutex::default())).collect();
        self.in_parallel(&places, |(scenario, places)| {
            for attempt in 0..CLEAN_RUNS {
                let learned = self.learn(scenario, attempt == 0);
                match (learned, places.lock(), failures.lock()) {
                    (Ok(learned), Ok(mut places), _) => places.extend(learned),
                    (Err(why), _, Ok(mut failures)) => failures.push(format!("{}: {why}", scenario.name)),
                    _ => {}
                }
            }
        });
        let failures = failures.into_inner().map_err(|e| e.to_string())?;
        if let Some(why) = failures.first() {
            return Err(format!("without harm: {why}"));
        }
        if let Some((scenario, place, fault)) = only {
            let known = places.into_iter().find_map(|(_, calls)| calls.into_inner().ok()?.remove(&place));
            return Ok(vec![(scenario, place, fault, known.unwrap_or_default())]);
        }
        let mut points: Vec<Planned> = Vec::new();
        for (scenario, places) in places {
            for (place, late) in places.into_inner().map_err(|e| e.to_string())? {
                let faults = FAULTS.into_iter().filter(|fault| fault.can_happen_to(&place.call));
                let asked =
                    faults.filter(|fault| self.options.faults.is_empty() || self.options.faults.contains(fault));
                points.extend(asked.map(|fault| (scenario, place.clone(), fault, late)));
            }
        }
        let (every, first) = (self.options.sample.max(1), self.options.seed);
        // Not by a stride: with one that the number of faults divides some would never come.
        let scattered =
            |index: usize| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32).wrapping_add(first) % every == 0;
        let sampled = points.into_iter().enumerate().filter(|(index, _)| every == 1 || scattered(*index));
        Ok(sampled.map(|(_, point)| point).collect())
    }

    /// One run without harm: its calls. The first one's outcome is what others are compared with.
    fn learn(&self, scenario: &'static Scenario, first: bool) -> Result<Calls, String> {
        let outcome = self.one(scenario, None, false)?;
        let problems: Vec<_> = outcome["problems"].as_array().into_iter().flatten().filter_map(problem).collect();
        if let Some((wrong, why)) = problems.first() {
            return Err(format!("{}: {why}", wrong.name()));
        }
        let seen = outcome["seen"].as_str().unwrap_or_default();
        if seen.is_empty() && outcome["status"] != "exit status: 0" {
            return Err(format!("{}: {}", outcome["status"], outcome["stderr"]));
        }
        if first {
            let path = self.reference(scenario);
            fs::write(&path, seen).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let calls = outcome["calls"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let calls = calls.map(str::parse).collect::<Result<Vec<Place>, String>>()?;
        let last = |process| calls.iter().rposition(|place| place.process == process && place.hears(self.kind));
        let late = |index, place: &Place| place.process > 0 && last(place.process).is_some_and(|last| last < index);
        Ok(calls.iter().enumerate().map(|(index, place)| (place.clone(), late(index, place))).collect())
    }

    fn reference(&self, scenario: &Scenario) -> PathBuf {
        self.work.join(scenario.name.replace('/', "-"))
    }

    /// Runs one point in a process of its own and cleans up behind it, whatever it did.
    fn one(&self, scenario: &'static Scenario, harm: Option<(Place, Fault)>, late: bool) -> Result<Value, String> {
        let index = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let work = self.work.join(&index);
        fs::create_dir(&work).map_err(|e| format!("making {}: {e}", work.display()))?;
        let reference = Some(self.reference(scenario)).filter(|path| path.exists());
        let point = Point {
            scenario,
            harm,
            late,
            runtime: self.runtime.clone(),
            kind: self.kind,
            work: work.clone(),
            cgroup: format!("{}/{index}", self.cgroup),
            reference,
            patience: Duration::from_secs(self.options.patience),
        };
        let outcome = self.watch(&point);
        let cgroup = self.cgroup_dir.join(&index);
        cgroup2::kill_and_remove(&cgroup).map_err(|e| format!("removing {}: {e}", cgroup.display()))?;
        fs::remove_dir_all(&work).map_err(|e| format!("removing {}: {e}", work.display()))?;
        outcome
    }

    fn watch(&self, point: &Point) -> Result<Value, String> {
        let own = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
        let mut command = Command::new(own);
        command.arg("--inside").arg(point.to_json().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("starting a point's process: {e}"))?;
        let (mut stdout, mut stderr) =
            (child.stdout.take().ok_or("no stdout")?, child.stderr.take().ok_or("no stderr")?);
        let (sender, receiver) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let (mut text, mut errors) = (String::new(), String::new());
            let read = stdout.read_to_string(&mut text).and_then(|_| stderr.read_to_string(&mut errors));
            // The receiver is gone only after a timeout, when nobody asks any more.
            sender.send(read.map(|_| (text, errors))).unwrap_or_default();
        });
        let read = receiver.recv_timeout(FOR_A_POINT);
        if read.is_err() {
            let kill = self.cgroup_dir.join(point.cgroup.rsplit('/').next().unwrap_or_default()).join("cgroup.kill");
            fs::write(kill, "1").map_err(|e| format!("ending a point: {e}"))?;
            child.kill().map_err(|e| format!("ending a point: {e}"))?;
        }
        reader.join().map_err(|_| "the reading thread failed".to_owned())?;
        let status = child.wait().map_err(|e| format!("waiting for a point: {e}"))?;
        let (text, errors) = read.map_err(|_| format!("not done after {FOR_A_POINT:?}"))?.map_err(|e| e.to_string())?;
        serde_json::from_str(text.trim()).map_err(|e| format!("{status}: {e}: {text:?} {errors}"))
    }
}

fn problem(value: &Value) -> Option<(Wrong, &str)> {
    Some((Wrong::named(value[0].as_str()?)?, value[1].as_str()?))
}

/// A point's name: `create/plain/KILL/0:openat:3`.
fn name((scenario, place, fault, _): &Planned) -> String {
    format!("{}/{fault}/{place}", scenario.name)
}

fn parse_point(text: &str) -> Result<(&'static Scenario, Place, Fault), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let [command, kind, fault, place] = parts[..] else {
        return Err(format!("{text:?} is not SCENARIO/FAULT/PLACE, as in create/plain/KILL/0:openat:3"));
    };
    let scenario = Scenario::find(&format!("{command}/{kind}"))
        .ok_or_else(|| format!("no scenario is called {command}/{kind}"))?;
    Ok((scenario, place.parse()?, fault.parse()?))
}

#[cfg(test)]
mod tests {
    use super::{name, parse_point};

    #[test]
    fn a_points_name_leads_to_it() {
        for text in ["create/plain/KILL/0:openat:3", "run/full/ENOMEM/2:execveat:1"] {
            let (scenario, place, fault) = parse_point(text).expect("a point");
            assert_eq!(name(&(scenario, place, fault, false)), text);
        }
        for text in [
            "",
            "create/plain/KILL",
            "create/none/KILL/0:openat:3",
            "create/plain/E2BIG/0:openat:3",
            "create/plain/KILL/openat",
        ] {
            assert!(parse_point(text).is_err(), "{text}");
        }
    }
}
