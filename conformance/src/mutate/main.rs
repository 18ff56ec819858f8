//! Gives a runtime mutated configurations: each has to be done, or refused with one message that names its place, and nothing is left.
//!
//! Workers, each in a world of its own, go through the mutations; this process hands them out, watches over them, and sums up.
#![forbid(unsafe_code)]

mod command;
mod documents;
mod judge;
mod mutation;
mod random;
mod worker;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use no_frills_conformance::cgroup2;
use serde_json::Value;

use worker::{Share, Subject};

const HELP: &str = "\
Usage: mutate [OPTION...]        (as root)

  --runtime PATH      the runtime; a static program [no-frills beside this program]
  --count N           how many mutations of each kind of document [10000]
  --seed N            which ones [1]
  --subject NAME      config.json, process.json or resources.json alone [all]
  --only N            one mutation, with its document; needs --subject
  --jobs N            how many at a time [twice the processors]
  --timeout SECONDS   how long a command may take [10]
  --help
";

/// What the command line says.
struct Options {
    runtime: PathBuf,
    count: u64,
    seed: u64,
    subjects: Vec<Subject>,
    only: Option<u64>,
    jobs: u64,
    timeout: u64,
    /// Of a worker: its subject, first mutation, root and cgroup, and whether it is in its namespaces already.
    worker: Option<(u64, PathBuf, PathBuf)>,
    inside: bool,
}

fn main() -> ExitCode {
    match parse().and_then(|options| options.map_or(Ok(true), |options| run(&options))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("mutate: {message}");
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Option<Options>, String> {
    use lexopt::prelude::{Long, ValueExt};
    let program = std::env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
    let mut options = Options {
        runtime: program.with_file_name("no-frills"),
        count: 10_000,
        seed: 1,
        subjects: Subject::ALL.to_vec(),
        only: None,
        jobs: std::thread::available_parallelism().map_or(2, |count| count.get() as u64 * 2),
        timeout: 10,
        worker: None,
        inside: false,
    };
    let mut parser = lexopt::Parser::from_env();
    let mut read = || -> Result<bool, lexopt::Error> {
        while let Some(argument) = parser.next()? {
            match argument {
                Long("runtime") => options.runtime = parser.value()?.into(),
                Long("count") => options.count = parser.value()?.parse()?,
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("subject") => {
                    let name = parser.value()?.string()?;
                    options.subjects = Subject::ALL.into_iter().filter(|subject| subject.name() == name).collect();
                }
                Long("only") => options.only = Some(parser.value()?.parse()?),
                Long("jobs") => options.jobs = parser.value()?.parse()?,
                Long("timeout") => options.timeout = parser.value()?.parse()?,
                Long("worker") => {
                    options.worker = Some((parser.value()?.parse()?, parser.value()?.into(), parser.value()?.into()));
                }
                Long("inside") => options.inside = true,
                Long("help") => return Ok(false),
                other => return Err(other.unexpected()),
            }
        }
        Ok(true)
    };
    if !read().map_err(|error| error.to_string())? {
        print!("{HELP}");
        return Ok(None);
    }
    if options.subjects.is_empty() || options.only.is_some() && options.subjects.len() > 1 {
        return Err("--subject takes config.json, process.json or resources.json, and --only needs it".to_owned());
    }
    Ok(Some(options))
}

/// Whether there was no finding.
fn run(options: &Options) -> Result<bool, String> {
    if let Some((first, root, cgroup)) = &options.worker {
        return work(options, *first, root, cgroup).map(|()| true);
    }
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".to_owned());
    }
    let runtime =
        fs::canonicalize(&options.runtime).map_err(|error| format!("{}: {error}", options.runtime.display()))?;
    cgroup2::private_view()?;
    let name = format!("nfm-{}", std::process::id());
    let (root, cgroup) = (std::env::temp_dir().join(&name), cgroup2::mount_point()?.join(&name));
    fs::create_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut passed = Ok(true);
    for subject in &options.subjects {
        let all = All {
            options,
            runtime: &runtime,
            subject: *subject,
            root: &root,
            cgroup: &cgroup,
            summary: Mutex::default(),
        };
        passed = passed.and_then(|before| Ok(all.run()? && before));
    }
    cgroup2::kill_and_remove(&cgroup).map_err(|error| format!("{}: {error}", cgroup.display()))?;
    fs::remove_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    passed
}

/// As a worker.
fn work(options: &Options, first: u64, root: &Path, cgroup: &Path) -> Result<(), String> {
    if !options.inside {
        return world::outside(cgroup);
    }
    world::make(&options.runtime, root)?;
    let subject = *options.subjects.first().ok_or("no subject")?;
    let limit = Duration::from_secs(options.timeout);
    let (end, step) = options.only.map_or((options.count, options.jobs), |only| (only + 1, 1));
    worker::run(Share { subject, seed: options.seed, first, step, end, limit, verbose: options.only.is_some() })
}

/// All mutations of a subject.
struct All<'a> {
    options: &'a Options,
    runtime: &'a Path,
    subject: Subject,
    root: &'a Path,
    cgroup: &'a Path,
    summary: Mutex<Summary>,
}

/// How many outcomes of each class there were, and those that were bad.
#[derive(Default)]
struct Summary {
    classes: BTreeMap<String, usize>,
    findings: Vec<(u64, String)>,
    failed: Vec<String>,
}

impl All<'_> {
    fn run(&self) -> Result<bool, String> {
        let begin = Instant::now();
        let Options { only, jobs, seed, .. } = *self.options;
        std::thread::scope(|scope| {
            for job in 0..if only.is_some() { 1 } else { jobs } {
                scope.spawn(move || {
                    let outcome = self.watch(job, only.unwrap_or(job));
                    if let (Err(message), Ok(mut summary)) = (outcome, self.summary.lock()) {
                        summary.failed.push(message);
                    }
                });
            }
        });
        let summary = self.summary.lock().map_err(|error| error.to_string())?;
        if let Some(message) = summary.failed.first() {
            return Err(message.clone());
        }
        let count: usize = summary.classes.values().sum();
        println!("{}: {count} mutations (seed {seed}) in {:.0} s", self.subject.name(), begin.elapsed().as_secs_f64());
        for (class, count) in &summary.classes {
            println!("{count:>7}  {class}");
        }
        for (number, finding) in &summary.findings {
            println!("--seed {seed} --subject {} --only {number}: {finding}", self.subject.name());
        }
        Ok(summary.findings.is_empty())
    }

    /// Runs a worker to its end. One that dies has a finding in its hands; another goes on after it.
    fn watch(&self, job: u64, mut first: u64) -> Result<(), String> {
        let end = self.options.only.map_or(self.options.count, |only| only + 1);
        let step = if self.options.only.is_some() { 1 } else { self.options.jobs };
        let root = self.root.join(job.to_string());
        let cgroup = self.cgroup.join(job.to_string());
        while first < end {
            fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
            let begun = self.watch_one(first, &root, &cgroup)?;
            cgroup2::kill_and_remove(&cgroup).map_err(|error| format!("{}: {error}", cgroup.display()))?;
            fs::remove_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
            match begun {
                None => return Ok(()),
                Some((number, how)) => {
                    self.add(number, "FINDING", Some(how));
                    first = number + step;
                }
            }
        }
        Ok(())
    }

    /// `None`: it came to its end; else with which mutation it ended, and how.
    fn watch_one(&self, first: u64, root: &Path, cgroup: &Path) -> Result<Option<(u64, String)>, String> {
        let program = std::env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
        let Options { count, seed, jobs, timeout, only, .. } = self.options;
        let mut command = Command::new(program);
        command.arg("--runtime").arg(self.runtime).args(["--subject", self.subject.name()]);
        for (name, number) in [("--count", count), ("--seed", seed), ("--jobs", jobs), ("--timeout", timeout)] {
            command.args([name, &number.to_string()]);
        }
        if let Some(only) = only {
            command.args(["--only", &only.to_string()]);
        }
        command.args(["--worker", &first.to_string()]).arg(root).arg(cgroup);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("starting a worker: {error}"))?;
        let lines = child.stdout.take().map(BufReader::new).ok_or("a worker without output")?;
        let mut begun = None;
        for line in lines.lines() {
            let line = line.map_err(|error| format!("reading from a worker: {error}"))?;
            let line: Value =
                serde_json::from_str(&line).map_err(|error| format!("a worker said {line:?}: {error}"))?;
            if let Some(text) = line["document"].as_str() {
                println!("{text}");
            } else if let Some(number) = line["begin"].as_u64() {
                begun = Some(number);
            } else if let (Some(number), Some(class)) = (line["end"].as_u64(), line["class"].as_str()) {
                begun = None;
                if only.is_some() {
                    println!("{line}");
                }
                self.add(
                    number,
                    class,
                    line["finding"].as_str().map(|finding| format!("{} {}: {finding}", line["base"], line["kinds"])),
                );
            }
        }
        let output = child.wait_with_output().map_err(|error| format!("waiting for a worker: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match begun {
            None if output.status.success() => Ok(None),
            None => Err(format!("a worker ended with {}: {said}", output.status)),
            Some(number) => Ok(Some((number, format!("the worker ended with {}: {said}", output.status)))),
        }
    }

    fn add(&self, number: u64, class: &str, finding: Option<String>) {
        // A poisoned lock means a panic in another thread, which the scope passes on.
        if let Ok(mut summary) = self.summary.lock() {
            *summary.classes.entry(class.to_owned()).or_default() += 1;
            summary.findings.extend(finding.map(|finding| (number, finding)));
        }
    }
}
