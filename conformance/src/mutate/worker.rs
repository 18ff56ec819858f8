//! A worker: mutation after mutation, in its world; a line of JSON for each.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::command::{Called, call};
use super::documents::{self, Base};
use super::judge::{Expected, TOO_SLOW, judge};
use super::mutation::{Mutation, mutate};
use super::random::Random;
use super::world::{self, BUNDLE};

/// How long the kernel may take to finish what a command has ordered.
const GRACE: Duration = Duration::from_secs(5);
const CONFIG: &str = "/bundle/config.json";
const PROCESS: &str = "/process.json";
const RESOURCES: &str = "/resources.json";
/// What a bundle is refused for that says nothing against it.
const BY_CREATE: [&str; 2] = ["/process/terminal: cannot allocate tty", "/process: required to start the container"];

/// What is mutated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `config.json`, by `create` and, if that works, `start`.
    Config,
    /// `process.json`, by `exec`.
    Process,
    /// The file of `update --resources`.
    Resources,
}

impl Subject {
    pub(crate) const ALL: [Subject; 3] = [Subject::Config, Subject::Process, Subject::Resources];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Config => "config.json",
            Subject::Process => "process.json",
            Subject::Resources => "resources.json",
        }
    }

    fn bases(self) -> Result<Vec<Base>, String> {
        match self {
            Subject::Config => documents::configurations(),
            Subject::Process => documents::processes(),
            Subject::Resources => Ok(documents::resources()),
        }
    }
}

/// Which mutations, and how patiently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) subject: Subject,
    pub(crate) seed: u64,
    pub(crate) first: u64,
    pub(crate) step: u64,
    pub(crate) end: u64,
    pub(crate) limit: Duration,
    /// Prints the documents too.
    pub(crate) verbose: bool,
}

/// Does a share, in a world that was made.
pub(crate) fn run(share: Share) -> Result<(), String> {
    let bases = share.subject.bases()?;
    world::make_bundle()?;
    let mut before = world::contents();
    let Share { seed, limit, .. } = share;
    // All are taken as they are: else most mutations would end at one check.
    for Base { name, document } in &bases {
        let done = match share.subject {
            Subject::Config => config(document.to_string().as_bytes(), limit)?,
            _ => Ok("done"),
        };
        match done {
            Ok("done" | "done, with a warning") => {}
            other => {
                let said = call(&["create", "--bundle", BUNDLE, "x"], limit)?.map(|called| called.errors);
                return Err(format!("{name} is not taken as it is: {other:?}: {said:?}"));
            }
        }
    }
    if share.subject != Subject::Config {
        start_container(limit)?;
        before = world::contents();
    }
    let mut number = share.first;
    while number < share.end {
        let mutation = mutate(&mut Random::of(seed ^ share.subject as u64, number), &bases).ok_or("no document")?;
        println!("{}", json!({"begin": number}));
        if share.verbose {
            println!("{}", json!({"document": String::from_utf8_lossy(&mutation.bytes)}));
        }
        let Mutation { base, kinds, bytes } = mutation;
        let attempt = || match share.subject {
            Subject::Config => config(&bytes, limit),
            Subject::Process => further_process(&bytes, limit),
            Subject::Resources => update(&bytes, limit),
        };
        let mut outcome = leaves(&before, attempt()?)?;
        // It may be that the machine had other things to do.
        if outcome.as_ref().is_err_and(|finding| finding.contains(TOO_SLOW)) {
            outcome = leaves(&before, attempt()?)?;
        }
        let (class, finding) = match &outcome {
            Ok(class) => (*class, Value::Null),
            Err(finding) => ("FINDING", json!(finding)),
        };
        println!("{}", json!({"end": number, "base": base, "kinds": kinds, "class": class, "finding": finding}));
        number += share.step;
    }
    Ok(())
}

/// What is left is a finding, whatever the outcome was.
fn leaves(before: &[String], outcome: Result<&'static str, String>) -> Result<Result<&'static str, String>, String> {
    let deadline = Instant::now() + GRACE;
    let left = loop {
        let now = world::contents();
        let mut left: Vec<String> =
            now.iter().filter(|one| !before.contains(one)).map(|one| format!("left: {one}")).collect();
        left.extend(before.iter().filter(|one| !now.contains(one)).map(|one| format!("gone: {one}")));
        if left.is_empty() || Instant::now() > deadline {
            break left;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if left.is_empty() {
        return Ok(outcome);
    }
    world::clear(before)?;
    let left = left.join("; ");
    Ok(Err(outcome.map_or_else(|finding| format!("{finding}; {left}"), |class| format!("{class}; {left}"))))
}

/// `create`, `start` and `delete --force`.
fn config(bytes: &[u8], limit: Duration) -> Result<Result<&'static str, String>, String> {
    world::make_bundle()?;
    fs::write(CONFIG, bytes).map_err(|error| format!("{CONFIG}: {error}"))?;
    let foreseen = foresee(limit)?;
    let expected = Expected { place: "", file: CONFIG, prefix: "", status: 1, runs_program: false, limit };
    let mut called = call(&["create", "--bundle", BUNDLE, "x"], limit)?;
    let mut outcome = judge(called.as_ref(), bytes, expected).map_err(|finding| format!("create: {finding}"));
    if matches!(outcome, Ok("done" | "done, with a warning")) {
        called = call(&["start", "x"], limit)?;
        let started = judge(called.as_ref(), bytes, expected);
        match started {
            Ok("done" | "done, with a warning") => {}
            Ok("refused: a pointer") => outcome = Ok("created, start refused: a pointer"),
            Ok("refused: the program") => outcome = Ok("created, start refused: the program"),
            Ok(class) => outcome = Err(format!("start: {class}")),
            Err(finding) => outcome = Err(format!("start: {finding}")),
        }
    } else if fs::exists(format!("{}/x", world::STATE)).unwrap_or(true) {
        outcome = Err(format!("create was refused, and left its state: {outcome:?}"));
    }
    let refusal = called.as_ref().and_then(|called| called.errors.first()).map(String::as_str);
    Ok(outcome.and_then(|class| match delete(limit) {
        Ok(()) => compare(class, foreseen.as_deref(), refusal),
        Err(finding) => Err(format!("{class}, delete: {finding}")),
    }))
}

/// What `check` says: `None`: no errors, or else the first of them.
fn foresee(limit: Duration) -> Result<Option<String>, String> {
    let Some(called) = call(&["check", "--format", "json", BUNDLE], limit)? else {
        return Err("check hangs".to_owned());
    };
    let report: Value = serde_json::from_str(&called.stdout).map_err(|error| format!("check: {error}: {called:?}"))?;
    let problem = &report["problems"][0];
    let first = (report["errors"] != json!(0)).then(|| format!("{}: {}", problem["pointer"], problem["message"]));
    match (called.status.code(), &first) {
        (Some(0), None) | (Some(1), Some(_)) => Ok(first),
        _ => Err(format!("check: {} with {first:?}", called.status)),
    }
}

/// What `check` calls an error is refused, and what is refused is an error to `check`; but for what the kernel answers while it is done.
fn compare(class: &'static str, foreseen: Option<&str>, refusal: Option<&str>) -> Result<&'static str, String> {
    match (foreseen, refusal) {
        (None, None) | (Some(_), Some(_)) => Ok(class),
        (Some(error), None) => Err(format!("{class}, and check has an error: {error}")),
        (None, Some(refusal)) if is_kernels_answer(refusal) => {
            Ok("refused by the kernel, which check does not foresee")
        }
        // What a hook did, and what create was not given; and what can be created is no error, though it can never be started.
        (None, Some(refusal))
            if refusal.contains(": hook \"") || BY_CREATE.iter().any(|of| refusal.starts_with(of)) =>
        {
            Ok(class)
        }
        (None, Some(refusal)) => Err(format!("refused, and check has no error: {refusal}")),
    }
}

/// `fsmount: EINVAL (invalid argument)`
fn is_kernels_answer(message: &str) -> bool {
    message.match_indices(": E").any(|(at, _)| {
        let errno = message.get(at + 2..).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        errno.len() > 3 && errno.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

fn delete(limit: Duration) -> Result<(), String> {
    match call(&["delete", "--force", "x"], limit)? {
        None => Err("it hangs".to_owned()),
        // A hook that fails after the end is a warning.
        Some(Called { status, errors, .. }) if status.success() && errors.is_empty() => Ok(()),
        Some(called) => Err(format!("{}: {:?}", called.status, called.errors)),
    }
}

/// One for `exec` and `update`.
fn start_container(limit: Duration) -> Result<(), String> {
    world::make_bundle()?;
    let bases = documents::configurations()?;
    let base = bases.into_iter().find(|base| base.name == "docker-default").ok_or("no docker-default")?;
    let mut config = base.document;
    config["process"]["args"] = json!(["sleep", "100000"]);
    fs::write(CONFIG, config.to_string()).map_err(|error| format!("{CONFIG}: {error}"))?;
    for arguments in [["create", "--bundle", BUNDLE, "x"].as_slice(), &["start", "x"]] {
        match call(arguments, limit)? {
            Some(called) if called.status.success() => {}
            called => return Err(format!("{arguments:?}: {called:?}")),
        }
    }
    Ok(())
}

/// `exec --process`.
fn further_process(bytes: &[u8], limit: Duration) -> Result<Result<&'static str, String>, String> {
    fs::write(PROCESS, bytes).map_err(|error| format!("{PROCESS}: {error}"))?;
    let called = call(&["exec", "--process", PROCESS, "x"], limit)?;
    let prefix = "exec failed: ";
    let expected = Expected { place: "/process", file: PROCESS, prefix, status: 255, runs_program: true, limit };
    Ok(judge(called.as_ref(), bytes, expected))
}

/// `update --resources`.
fn update(bytes: &[u8], limit: Duration) -> Result<Result<&'static str, String>, String> {
    fs::write(RESOURCES, bytes).map_err(|error| format!("{RESOURCES}: {error}"))?;
    let called = call(&["update", "--resources", RESOURCES, "x"], limit)?;
    let is_of_file =
        called.as_ref().is_some_and(|called| called.errors.iter().any(|error| error.starts_with("--resources: ")));
    let prefix = if is_of_file { "--resources: " } else { "" };
    let expected = Expected { place: "", file: RESOURCES, prefix, status: 1, runs_program: false, limit };
    Ok(judge(called.as_ref(), bytes, expected))
}
