//! Many commands on one container at the same time: every pair of verbs, 32 commands of each. Whatever the order was that they came in,
//! there must be one: the answers of all of them, and the state afterwards, are held against a model of a container that takes
//! one command after the other.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::process::{Child, Command};

use crate::bundle::{Bundle, Test, bare, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, fail, lacks};
use crate::kind::Kind;

/// How many commands of each of the two verbs are run at once.
const EACH: usize = 32;

pub(crate) fn cases() -> Vec<Case> {
    const LOCKLESS: &str =
        "has no lock: commands meet half-way, which leaves processes, cgroups or state, or waits for ever";
    type Run = fn(&Test) -> Verdict;
    let all: [(&'static str, &'static str, Run); 13] = [
        ("reliability/at-once-create", "create 32 times, with 32 of every other command at once", pairs::<0>),
        ("reliability/at-once-run", "run --detach 32 times, with 32 of every command that follows at once", pairs::<1>),
        ("reliability/at-once-start", "start 32 times, with 32 of every command that follows at once", pairs::<2>),
        ("reliability/at-once-kill", "kill 32 times, with 32 of every command that follows at once", pairs::<3>),
        ("reliability/at-once-delete", "delete 32 times, with 32 of every command that follows at once", pairs::<4>),
        (
            "reliability/at-once-force",
            "delete --force 32 times, with 32 of every command that follows at once",
            pairs::<5>,
        ),
        ("reliability/at-once-exec", "exec 32 times, with 32 of every command that follows at once", pairs::<6>),
        ("reliability/at-once-pause", "pause 32 times, with 32 of every command that follows at once", pairs::<7>),
        ("reliability/at-once-resume", "resume 32 times, with 32 of every command that follows at once", pairs::<8>),
        ("reliability/at-once-update", "update 32 times, with 32 of every command that follows at once", pairs::<9>),
        ("reliability/at-once-state", "state 32 times, with 32 of every command that follows at once", pairs::<10>),
        ("reliability/at-once-ps", "ps 32 times, with 32 of every command that follows at once", pairs::<11>),
        ("reliability/at-once-events", "events --stats 64 times at once", pairs::<12>),
    ];
    let cases = all
        .into_iter()
        .map(|(name, doc, run)| case(name, doc, run).skip(Kind::Runc, LOCKLESS).skip(Kind::Crun, LOCKLESS));
    cases.collect()
}

/// A verb, in the order of the cases; `--force` is a delete's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Verb {
    Create,
    Run,
    Start,
    Kill,
    Delete,
    Force,
    Exec,
    Pause,
    Resume,
    Update,
    State,
    Ps,
    Events,
}

use Verb::{Create, Delete, Events, Exec, Force, Kill, Pause, Ps, Resume, Run, Start, Update};

const VERBS: [Verb; 13] =
    [Create, Run, Start, Kill, Delete, Force, Exec, Pause, Resume, Update, Verb::State, Ps, Events];

/// Where the container is in its life, in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    Nowhere,
    /// A create is at work.
    Making,
    /// The process that a create has made was killed.
    Spoiled,
    Created,
    Running,
    PausedCreated,
    PausedRunning,
    /// Killed, and not gone yet.
    Dying,
    Stopped,
    /// A delete is at work.
    Leaving,
}

use Place::{Created, Dying, Leaving, Making, Nowhere, PausedCreated, PausedRunning, Running, Spoiled, Stopped};

impl Verb {
    /// From where it is begun, in a pair with another.
    fn from(self) -> &'static [Place] {
        match self {
            Create | Run => &[Nowhere],
            Start => &[Created],
            Kill => &[Created, Running],
            Delete => &[Created, Stopped],
            Resume => &[PausedRunning],
            Force | Exec | Pause | Update | Verb::State | Ps | Events => &[Running],
        }
    }

    fn command(self, b: &Bundle<'_>, resources: &str) -> Command {
        let (t, id) = (b.test, b.id.as_str());
        match self {
            Create => b.command("create", &[]),
            Run => b.command("run", &["--detach"]),
            Start => t.command(&["start", id]),
            Kill => t.command(&["kill", id, "KILL"]),
            Delete => t.command(&["delete", id]),
            Force => t.command(&["delete", "--force", id]),
            Exec => t.command(&["exec", id, "true"]),
            Pause => t.command(&["pause", id]),
            Resume => t.command(&["resume", id]),
            Update => t.command(&["update", "--resources", resources, id]),
            Verb::State => t.command(&["state", id]),
            Ps => t.command(&["ps", "--format", "json", id]),
            Events => t.command(&["events", "--stats", id]),
        }
    }
}

/// What a command answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Answer {
    Done,
    /// `state` told this status.
    Status(String),
    /// The process of an exec was killed.
    Killed,
    Failed(String),
}

const MISSING: &str = "container does not exist";
const NOT_RUNNING: &str = "container not running";

/// Where the container is after a command that gave this answer; `None`: here it cannot have given that. `with`: what is run.
fn after(verb: Verb, answer: &Answer, place: Place, with: &[Verb]) -> Option<Place> {
    let any = |verbs: &[Verb]| with.iter().any(|verb| verbs.contains(verb));
    let stays = |holds: bool| holds.then_some(place);
    let alive = matches!(place, Created | Running | PausedCreated | PausedRunning | Dying);
    let paused = matches!(place, PausedCreated | PausedRunning);
    // Nothing runs in it, whatever else is said of it.
    let lifeless = matches!(place, Making | Spoiled | Dying | Stopped | Leaving);
    match (verb, answer) {
        // A peer's, whose words are not known.
        (_, Answer::Failed(text)) if text.is_empty() => Some(place),
        (_, Answer::Failed(text)) if text.contains("is half-made: ") => {
            stays(matches!(place, Making | Spoiled | Leaving))
        }
        (Create | Run, Answer::Failed(text)) if text.contains("container with given ID already exists: ") => {
            stays(place != Nowhere)
        }
        (Create | Run, Answer::Failed(text)) if text.contains("was deleted while it was being created") => {
            stays(any(&[Force]) && matches!(place, Nowhere | Leaving))
        }
        (Create | Run, Answer::Failed(text)) if text.ends_with("ended before it was ready: killed by signal 9") => {
            (place == Spoiled).then_some(Nowhere)
        }
        (_, Answer::Failed(text)) if text == MISSING => stays(place == Nowhere),
        (Create, Answer::Done) => matches!(place, Nowhere | Making).then_some(Created),
        (Run, Answer::Done) => matches!(place, Nowhere | Making).then_some(Running),
        (Start, Answer::Done) => (place == Created).then_some(Running),
        (Start, Answer::Failed(text)) => stays(match text.as_str() {
            "cannot start an already running container" => place == Running,
            "cannot start a container in the paused state" => paused,
            "cannot start a container that has stopped" => matches!(place, Spoiled | Dying | Stopped | Leaving),
            _ => false,
        }),
        (Kill, Answer::Done) if matches!(place, Making | Spoiled) => Some(Spoiled),
        (Kill, Answer::Done) => alive.then_some(Dying),
        (Kill | Exec | Pause | Update | Events, Answer::Failed(text)) if text == NOT_RUNNING => stays(lifeless),
        (Delete, Answer::Done) => matches!(place, Created | Stopped | Leaving).then_some(Nowhere),
        (Delete, Answer::Failed(text)) => stays(match text.rsplit_once("that is not stopped: ") {
            Some((_, "running")) => matches!(place, Running | Dying),
            Some((_, "paused")) => paused,
            _ => false,
        }),
        (Force, Answer::Done) => Some(Nowhere),
        (Exec, Answer::Done) => stays(matches!(place, Created | Running)),
        (Exec, Answer::Killed) => stays(any(&[Kill, Force, Delete]) && matches!(place, Created | Running)),
        (Exec, Answer::Failed(text)) => stays(text.starts_with("cannot exec in a paused container") && paused),
        (Pause, Answer::Done) => match place {
            Created => Some(PausedCreated),
            Running => Some(PausedRunning),
            // It has not ended yet.
            Dying => Some(Dying),
            _ => None,
        },
        // One that is killed while somebody pauses it is frozen for a moment, until that is noticed.
        (Pause, Answer::Failed(text)) => {
            stays(text == "container already paused" && (paused || matches!(place, Dying | Leaving)))
        }
        (Resume, Answer::Done) => match place {
            PausedCreated => Some(Created),
            PausedRunning => Some(Running),
            _ => None,
        },
        (Resume, Answer::Failed(text)) => stays(text == "container not paused" && place != Nowhere && !paused),
        (Update | Events, Answer::Done) => stays(alive),
        (Ps, Answer::Done) => stays(place != Nowhere),
        (Verb::State, Answer::Status(status)) => stays(match status.as_str() {
            "creating" => place == Making,
            "created" => place == Created,
            "running" => place == Running,
            "paused" => paused,
            "stopped" => matches!(place, Spoiled | Dying | Stopped | Leaving),
            _ => false,
        }),
        _ => None,
    }
}

type Answers = BTreeMap<(Verb, Answer), usize>;

/// Where the container may be when all these answers have been given, one after the other in whatever order.
fn ends(answers: &Answers, from: Place) -> HashSet<Place> {
    let kinds: Vec<&(Verb, Answer)> = answers.keys().collect();
    let with: Vec<Verb> = kinds.iter().map(|(verb, _)| *verb).collect();
    let mut open = vec![(from, answers.values().copied().collect::<Vec<usize>>())];
    let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
    while let Some((place, mut left)) = open.pop() {
        // What never changes anything may as well come now.
        for ((verb, answer), left) in kinds.iter().zip(&mut left) {
            let next = after(*verb, answer, place, &with);
            if *answer != Answer::Done && next == Some(place) {
                *left = 0;
            }
        }
        if !seen.insert((place, left.clone())) {
            continue;
        }
        // Nobody is at work any more.
        if left.iter().all(|left| *left == 0) && !matches!(place, Making | Spoiled | Dying | Leaving) {
            ends.insert(place);
        }
        for (at, (verb, answer)) in
            kinds.iter().enumerate().filter(|(at, _)| left.get(*at).is_some_and(|left| *left > 0))
        {
            if let Some(next) = after(*verb, answer, place, &with) {
                let mut left = left.clone();
                left.iter_mut().skip(at).take(1).for_each(|left| *left -= 1);
                open.push((next, left));
            }
        }
        // What happens in the middle of a command, and others may see.
        let is_to_come = |verbs: &[Verb]| {
            let mut kinds = kinds.iter().zip(&left).filter(|((_, answer), left)| **left > 0 && *answer == Answer::Done);
            kinds.any(|((verb, _), _)| verbs.contains(verb))
        };
        let on_the_way = match place {
            Nowhere if with.contains(&Create) || with.contains(&Run) => Some(Making),
            Making => Some(Nowhere),
            Dying => Some(Stopped),
            _ => None,
        };
        open.extend(on_the_way.map(|next| (next, left.clone())));
        let leaves = match place {
            Nowhere | Leaving => false,
            Created | Stopped => is_to_come(&[Delete, Force]),
            _ => is_to_come(&[Force]),
        };
        if leaves {
            open.push((Leaving, left));
        }
    }
    ends
}

fn answer(verb: Verb, status: i32, text: &str) -> Answer {
    if status == 0 {
        let field = text.split("\"status\": \"").nth(1).and_then(|rest| rest.split('"').next());
        return match field {
            Some(field) if verb == Verb::State => Answer::Status(field.to_owned()),
            _ => Answer::Done,
        };
    }
    if verb == Exec && status == 137 && text.is_empty() {
        return Answer::Killed;
    }
    let message = text.split("msg=\"").nth(1).unwrap_or(text).trim_end().trim_end_matches('"');
    let message = if verb == Exec { message.strip_prefix("exec failed: ").unwrap_or(message) } else { message };
    let expected = if verb == Exec { 255 } else { 1 };
    if status == expected {
        Answer::Failed(message.to_owned())
    } else {
        Answer::Failed(format!("status {status}: {message}"))
    }
}

/// Brings a container there from nowhere.
fn bring(b: &Bundle<'_>, place: Place) -> Verdict {
    if place == Nowhere {
        return Ok(());
    }
    b.create()?;
    if place != Created {
        b.start_idle()?;
    }
    match place {
        PausedRunning => b.verb("pause", &[])?.exits(0).map(drop),
        Stopped => {
            b.verb("kill", &["KILL"])?.exits(0)?;
            b.ended().map(drop)
        }
        _ => Ok(()),
    }
}

fn pairs<const FIRST: usize>(t: &Test) -> Verdict {
    let Some(first) = VERBS.get(FIRST).copied() else { return fail("no such verb") };
    let b = t.bundle()?.idle();
    b.save()?;
    let resources = t.path("resources");
    fs::write(
        &resources,
        "{\"devices\": [{\"allow\": true, \"type\": \"c\", \"major\": 10, \"minor\": 229, \"access\": \"rwm\"}]}",
    )?;
    let resources = resources.to_string_lossy();
    for second in VERBS.iter().copied().skip(FIRST) {
        let mut places: Vec<Place> = [first.from(), second.from()].concat();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let what = |stop| match stop {
                crate::expect::Stop::Failed(why) => {
                    crate::expect::Stop::Failed(format!("{first:?} and {second:?} at once, from {place:?}:\n{why}"))
                }
                stop => stop,
            };
            at_once(&b, place, [first, second], &resources).map_err(what)?;
        }
    }
    Ok(())
}

fn at_once(b: &Bundle<'_>, place: Place, verbs: [Verb; 2], resources: &str) -> Verdict {
    let t = b.test;
    bring(b, place)?;
    // They all wait for the gate to be closed.
    let (gate, opener) = io::pipe()?;
    let mut children: Vec<(Verb, File, Child)> = Vec::new();
    for number in 0..2 * EACH {
        let verb = *verbs.get(number % 2).unwrap_or(&Create);
        let inner = verb.command(b, resources);
        let said = t.path("said");
        let out = File::options().create(true).truncate(true).read(true).write(true).open(&said)?;
        fs::remove_file(said)?;
        let mut command = Command::new("sh");
        command.args(["-c", r#"read line; exec "$0" "$@" </dev/null"#]).arg(inner.get_program()).args(inner.get_args());
        bare(&mut command);
        command.stdin(gate.try_clone()?).stdout(out.try_clone()?).stderr(out.try_clone()?);
        children.push((verb, out, command.spawn()?));
    }
    drop((gate, opener));
    let mut answers = Answers::new();
    // Its process may be paused before it ends, and then waits for somebody to resume it.
    let mut to_be_resumed = verbs.contains(&Exec) && verbs.contains(&Pause);
    children.sort_by_key(|(verb, ..)| *verb == Exec);
    for (verb, mut out, mut child) in children {
        if verb == Exec && std::mem::take(&mut to_be_resumed) {
            let output = t.output_of(Resume.command(b, resources))?;
            let text = output.stdout()? + &output.stderr()?;
            *answers.entry((Resume, answer(Resume, output.status, &text))).or_default() += 1;
        }
        let status = code(child.wait()?);
        let mut text = String::new();
        io::Seek::rewind(&mut out)?;
        io::Read::read_to_string(&mut out, &mut text)?;
        lacks("what it said", &text, "panicked")?;
        let answer = match answer(verb, status, &text.replace("\\\"", "\"").replace(&b.id, "ID")) {
            Answer::Failed(_) if !t.ours() => Answer::Failed(String::new()),
            answer => answer,
        };
        *answers.entry((verb, answer)).or_default() += 1;
    }
    let told = || {
        let lines = answers.iter().map(|((verb, answer), count)| format!("{count:3} {verb:?}: {answer:?}\n"));
        lines.collect::<String>()
    };
    let ends = ends(&answers, place);
    check(!ends.is_empty(), || format!("no order of these explains the answers:\n{}", told()))?;
    // What was killed may not be gone yet.
    let mut is = String::new();
    let holds = eventually("the state is one that the answers lead to", || {
        let output = b.verb("state", &[])?;
        let text = output.stdout()? + &output.stderr()?;
        let found = answer(Verb::State, output.status, &text);
        is = format!("{found:?}");
        Ok(ends.iter().any(|end| after(Verb::State, &found, *end, &[]).is_some()))
    });
    check(holds.is_ok(), || format!("the state is {is}, not of {ends:?}, after these:\n{}", told()))?;
    b.delete_force()?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "a cgroup is left".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answers: &[(Verb, &str, usize)], from: Place) -> Vec<Place> {
        let answers = answers.iter().map(|(verb, text, count)| {
            let answer = match *text {
                "" => Answer::Done,
                "created" | "running" => Answer::Status((*text).to_owned()),
                text => Answer::Failed(text.to_owned()),
            };
            ((*verb, answer), *count)
        });
        let mut ends: Vec<Place> = ends(&answers.collect(), from).into_iter().collect();
        ends.sort_unstable();
        ends
    }

    #[test]
    fn answers_are_explained_or_not() {
        let exists = "container with given ID already exists: ID";
        assert_eq!(of(&[(Create, "", 1), (Create, exists, 63)], Nowhere), [Created]);
        // Two at once succeeded, or none.
        assert!(of(&[(Create, "", 2), (Create, exists, 62)], Nowhere).is_empty());
        assert!(of(&[(Start, "", 2)], Created).is_empty());
        assert_eq!(of(&[(Create, "", 2), (Force, "", 5)], Nowhere), [Nowhere, Created]);
        assert!(of(&[(Create, "", 3), (Delete, "", 1)], Nowhere).is_empty());
        assert_eq!(of(&[(Kill, "", 3), (Kill, NOT_RUNNING, 4)], Running), [Stopped]);
        assert!(of(&[(Kill, NOT_RUNNING, 1), (Exec, "", 1)], Running).is_empty());
        assert!(of(&[(Delete, MISSING, 1), (Kill, "", 1)], Running).is_empty());
        assert_eq!(of(&[(Verb::State, "running", 1), (Verb::State, "created", 1), (Start, "", 1)], Created), [Running]);
        assert!(of(&[(Verb::State, "created", 1), (Kill, "", 1)], Running).is_empty());
        assert!(of(&[(Exec, "joining the pid namespace: setns: EINVAL", 1), (Kill, "", 1)], Running).is_empty());
    }
}
