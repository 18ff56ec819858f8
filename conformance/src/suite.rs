//! The run as a whole: which cases, how many at a time, and an end for each.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use serde_json::Value;

use crate::case::Case;
use crate::cases;
use crate::cgroup2;
use crate::cli::Options;
use crate::engines::Engines;
use crate::kind::Kind;
use crate::report::{Outcome, Report};
use crate::rootfs;

/// Prints the cases that the filter selects.
pub(crate) fn list(filter: &[String], needs_guest: bool) -> Result<(), String> {
    for case in selected(filter, needs_guest)? {
        println!("{}: {}", case.name, case.doc);
        for mark in case.marks() {
            println!("    {mark}");
        }
    }
    Ok(())
}

/// The cases with one of these in their names, and, if so asked, those that need the guest; all if nothing is asked for.
fn selected(filter: &[String], needs_guest: bool) -> Result<Vec<Case>, String> {
    let mut all = cases::all();
    let mut names: Vec<_> = all.iter().map(|case| case.name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(format!("two cases have the same name: {twice:?}"));
    }
    // Each of them, lest a case that gets another name is passed over where somebody asks for it by the old one.
    if let Some(part) = filter.iter().find(|part| !names.iter().any(|name| name.contains(part.as_str()))) {
        return Err(format!("no case has a name with {part:?}"));
    }
    let is_named = |case: &Case| filter.iter().any(|part| case.name.contains(part.as_str()));
    all.retain(|case| match needs_guest {
        true => case.needs_guest() || is_named(case),
        false => filter.is_empty() || is_named(case),
    });
    Ok(all)
}

/// What all cases of a run share.
struct Suite<'a> {
    options: &'a Options,
    runtime: PathBuf,
    kind: Kind,
    work: PathBuf,
    /// The suite's cgroup in the hierarchy, and the directory of it.
    cgroup: String,
    cgroup_dir: PathBuf,
    /// The controllers that this machine has in cgroup v2.
    controllers: String,
    program: PathBuf,
}

/// Runs the cases; true if nothing makes the run fail.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the suite needs root".to_owned());
    }
    let cases = selected(&options.filter, options.needs_guest)?;
    let runtime = fs::canonicalize(&options.runtime).map_err(|e| format!("{}: {e}", options.runtime.display()))?;
    let (kind, version) = Kind::detect(&runtime)?;
    if !options.host_view {
        cgroup2::private_view()?;
    }
    let name = own_name()?;
    let work = std::env::temp_dir().join(&name);
    let suite = Suite {
        options,
        runtime,
        kind,
        cgroup: format!("/{name}"),
        cgroup_dir: cgroup2::mount_point()?.join(&name),
        work,
        controllers: cgroup2::controllers()?,
        program: std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?,
    };
    fs::create_dir(&suite.work).map_err(|e| format!("making {}: {e}", suite.work.display()))?;
    let outcome = suite.run_in(&cases, &version);
    let removed = suite.remove();
    let passed = outcome?;
    removed?;
    Ok(passed)
}

/// A name for what this run makes. The hierarchy of cgroups is one for all, and the process id is not the same process
/// in every pid namespace (in each room of engines/room.sh the suite is process 1).
fn own_name() -> Result<String, String> {
    let path = "/proc/self/ns/pid";
    use std::os::unix::fs::MetadataExt;
    let namespace = fs::metadata(path).map_err(|e| format!("{path}: {e}"))?;
    Ok(format!("nfc-{}-{}", std::process::id(), namespace.ino()))
}

impl Suite<'_> {
    fn run_in(&self, cases: &[Case], version: &str) -> Result<bool, String> {
        // Containers with a user namespace walk through it.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&self.work, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        rootfs::make_base(&self.work.join("busybox"))?;
        let engines = self.engines(cases)?;
        let passed = self.run_all(cases, version);
        // A daemon that does not end well, or leaves something, is no success, whatever the cases say.
        engines.stop()?;
        passed
    }

    /// Starts the engines that these cases need and that are here.
    fn engines(&self, cases: &[Case]) -> Result<Engines, String> {
        let run = cases.iter().filter(|case| self.why_not(case).is_none());
        let wanted: Vec<_> = run.flat_map(|case| case.engines.iter().copied()).collect();
        Engines::start(&wanted, &self.runtime, &self.work, &self.cgroup)
    }

    /// Why a case is not run here with this runtime.
    fn why_not(&self, case: &Case) -> Option<String> {
        case.skipped_for(self.kind)
            .or_else(|| case.lacks(&self.options.without))
            .or_else(|| case.lacks_controller(&self.controllers))
            .or_else(|| case.lacks_feature())
            .or_else(|| case.lacks_engine(self.options.engines))
    }

    fn run_all(&self, cases: &[Case], version: &str) -> Result<bool, String> {
        let report = Mutex::new(Report::new(self.options.format, self.kind, version, cases.len()));
        let add = |case: &Case, outcome: &Outcome, start: Instant| {
            // A poisoned lock means a panic in printing, which the scope passes on.
            if let Ok(mut report) = report.lock() {
                report.add(case, outcome, start.elapsed());
            }
        };
        let second_attempt = self.options.second_attempt || self.kind.has_second_attempt();
        let again = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.options.jobs.max(1) {
                scope.spawn(|| {
                    while let Some((index, case)) = cases.get(next.load(Ordering::Relaxed)).and_then(|_| {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        cases.get(index).map(|case| (index, case))
                    }) {
                        let start = Instant::now();
                        let outcome = match self.why_not(case) {
                            Some(why) => Outcome::Skipped(why),
                            None => self.one(index, case).weigh(case, self.kind),
                        };
                        match again.lock() {
                            Ok(mut again) if outcome.is_bad() && second_attempt => {
                                // Whoever ends the suite before the second attempt has seen it.
                                eprintln!("conformance: to be run once more: {}", case.name);
                                again.push((index, case, outcome));
                            }
                            _ => add(case, &outcome, start),
                        }
                    }
                });
            }
        });
        // Alone, when all others are done.
        for (index, case, first) in again.into_inner().map_err(|e| e.to_string())? {
            let start = Instant::now();
            let second = self.one(cases.len() + index, case).weigh(case, self.kind);
            add(case, &second.after(first), start);
        }
        report.into_inner().map(|report| report.end()).map_err(|e| e.to_string())
    }

    /// Runs one case in a process of its own and cleans up behind it, whatever it did.
    fn one(&self, index: usize, case: &Case) -> Outcome {
        let work = self.work.join(index.to_string());
        if let Err(e) = fs::create_dir(&work) {
            return Outcome::Failed(format!("making {}: {e}", work.display()));
        }
        let outcome = self.watch(index, case, &work).unwrap_or_else(Outcome::Failed);
        let cgroup = self.cgroup_dir.join(index.to_string());
        if let Err(e) = cgroup2::kill_and_remove(&cgroup) {
            return Outcome::Failed(format!("removing {}: {e}", cgroup.display()));
        }
        if !self.options.keep
            && let Err(e) = fs::remove_dir_all(&work)
            && !outcome.is_bad()
        {
            return Outcome::Failed(format!("removing {}: {e}", work.display()));
        }
        outcome
    }

    fn watch(&self, index: usize, case: &Case, work: &Path) -> Result<Outcome, String> {
        let cgroup = format!("{}/{index}", self.cgroup);
        let mut command = Command::new(&self.program);
        command.arg("--runtime").arg(&self.runtime).args(["--solo", case.name]).arg("--work").arg(work);
        command.args(["--cgroup", &cgroup, "--kind", self.kind.name()]);
        for arg in &self.options.runtime_args {
            command.arg("--runtime-arg").arg(arg);
        }
        if !self.options.without.is_empty() {
            command.args(["--without", &self.options.without]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("starting the case's process: {e}"))?;
        let mut stdout = child.stdout.take().ok_or("the case's process has no stdout")?;
        let (sender, receiver) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let read = stdout.read_to_string(&mut text).map(|_| text);
            // The receiver is gone only after a timeout, when nobody asks any more.
            sender.send(read).unwrap_or_default();
        });
        let text = match receiver.recv_timeout(self.options.timeout) {
            Ok(text) => text.map_err(|e| format!("reading the outcome: {e}"))?,
            Err(_) => {
                self.end(index, &mut child)?;
                reader.join().map_err(|_| "the reading thread failed".to_owned())?;
                return Err(format!("not done after {:?}", self.options.timeout));
            }
        };
        let status = child.wait().map_err(|e| format!("waiting for the case's process: {e}"))?;
        let outcome: Value = serde_json::from_str(text.trim())
            .map_err(|e| format!("the case's process ended with {status} and printed {text:?}: {e}"))?;
        let why = outcome["why"].as_str().unwrap_or_default().to_owned();
        Ok(match outcome["outcome"].as_str() {
            Some("ok") => Outcome::Passed,
            Some("skip") => Outcome::Skipped(why),
            _ => Outcome::Failed(why),
        })
    }

    /// Ends a case that takes too long, with all that it has started.
    fn end(&self, index: usize, child: &mut std::process::Child) -> Result<(), String> {
        let tell = |e: std::io::Error| format!("ending a case that takes too long: {e}");
        let kill = self.cgroup_dir.join(index.to_string()).join("cgroup.kill");
        if kill.exists() {
            fs::write(kill, "1").map_err(tell)?;
        }
        child.kill().map_err(tell)?;
        child.wait().map(drop).map_err(tell)
    }

    /// Removes what the whole run has made.
    fn remove(&self) -> Result<(), String> {
        cgroup2::kill_and_remove(&self.cgroup_dir)
            .map_err(|e| format!("removing {}: {e}", self.cgroup_dir.display()))?;
        if self.options.keep {
            println!("kept: {}", self.work.display());
            return Ok(());
        }
        fs::remove_dir_all(&self.work).map_err(|e| format!("removing {}: {e}", self.work.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::selected;

    #[test]
    fn names_are_unique_and_filters_select() {
        let all = selected(&[], false).expect("the cases have unique names");
        assert!(all.len() >= 60);
        assert!(all.iter().all(|case| case.name.contains('/') && !case.doc.is_empty()));
        assert!(selected(&["no such case".to_owned()], false).is_err());
        assert!(selected(&["lifecycle/".to_owned(), "no such case".to_owned()], true).is_err());
        let named = ["lifecycle/all-".to_owned()];
        let all = selected(&named, true).expect("some need the guest");
        for name in ["lifecycle/all-steps", "apparmor/profile", "systemd/scope", "resources/cpu-quota"] {
            assert!(all.iter().any(|case| case.name == name), "{name}");
        }
        assert!(all.iter().all(|case| case.needs_guest() || case.name.contains("lifecycle/all-")));
    }

    #[test]
    fn docs_name_every_advisory_and_its_cases() {
        let docs = include_str!("../../docs/security.md");
        let named: Vec<&str> =
            docs.split('`').filter(|text| text.starts_with("security/") && !text.contains('*')).collect();
        let all = selected(&[], false).expect("the cases have unique names");
        let of_advisory = |name: &str| name.starts_with("security/cve-") || name.starts_with("security/ghsa-");
        for name in &named {
            assert!(all.iter().any(|case| case.name == *name), "docs/security.md names {name}, which is no case");
        }
        for case in all.iter().filter(|case| of_advisory(case.name)) {
            assert!(named.contains(&case.name), "{} is not in docs/security.md", case.name);
        }
    }
}
