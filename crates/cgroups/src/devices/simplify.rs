//! What is left of a list of rules when all is taken away that makes no difference.

use super::{Access, Kind, Rule};

/// Rules in the order in which they are asked, that is, from the last one of config.json to the
/// first.
pub(super) struct Simplified {
    /// Neighbours in a run have the same verdict, so that their order does not matter; they are
    /// sorted by kind, major and minor number, wider ones first.
    pub(super) runs: Vec<Vec<Test>>,
    /// The verdict on what is left undecided.
    pub(super) default_allow: bool,
}

/// A rule that makes a difference.
pub(super) struct Test {
    pub(super) rule: Rule,
    /// All accesses to the devices that the rule is about are decided once it has been asked.
    pub(super) is_final: bool,
}

/// Simplifies rules, given from the last one to the first.
pub(super) fn simplify<'a>(last_first: impl Iterator<Item = &'a Rule>) -> Simplified {
    let mut simplified = Simplified { runs: Vec::new(), default_allow: false };
    let mut asked: Vec<Rule> = Vec::new();
    'runs: for mut run in runs(last_first) {
        merge(&mut run);
        let mut tests = Vec::with_capacity(run.len());
        for rule in run {
            let decided = asked
                .iter()
                .filter(|earlier| earlier.covers(&rule))
                .fold(Access::NONE, |decided, earlier| decided | earlier.access);
            if rule.access - decided == Access::NONE {
                continue;
            }
            let is_final = decided | rule.access == Access::ALL;
            if is_final && rule.is_about_every_device() {
                // The widest rule of its run, so that there is none before it in there.
                simplified.default_allow = rule.allow;
                break 'runs;
            }
            asked.push(rule);
            tests.push(Test { rule, is_final });
        }
        if !tests.is_empty() {
            simplified.runs.push(tests);
        }
    }
    while simplified.runs.last().is_some_and(|run| verdict(run) == simplified.default_allow) {
        simplified.runs.pop();
    }
    simplified
}

/// The verdict of a run.
pub(super) fn verdict(run: &[Test]) -> bool {
    run.first().is_some_and(|test| test.rule.allow)
}

/// Splits the rules where the verdict changes, and drops what comes before a rule on everything.
fn runs<'a>(last_first: impl Iterator<Item = &'a Rule>) -> Vec<Vec<Rule>> {
    let mut runs: Vec<Vec<Rule>> = Vec::new();
    for rule in last_first {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|previous| previous.allow == rule.allow) => {
                run.push(*rule);
            }
            _ => runs.push(vec![*rule]),
        }
        if rule.is_about_every_device() && rule.access == Access::ALL {
            break;
        }
    }
    runs
}

/// Sorts a run, and makes one rule of those that are about the same devices, or differ in nothing
/// but the kind.
fn merge(run: &mut Vec<Rule>) {
    sort(run);
    run.dedup_by(|next, rule| {
        let same = (next.kind, next.major, next.minor) == (rule.kind, rule.major, rule.minor);
        if same {
            rule.access |= next.access;
        }
        same
    });
    let blocks: Vec<Rule> = run.iter().filter(|rule| rule.kind == Kind::Block).copied().collect();
    let mut merged = false;
    for block in blocks {
        let twin = Rule { kind: Kind::Char, ..block };
        if let Some(rule) = run.iter_mut().find(|rule| **rule == twin) {
            rule.kind = Kind::All;
            run.retain(|rule| *rule != block);
            merged = true;
        }
    }
    if merged {
        // There may have been one about both kinds already.
        merge(run);
    }
}

fn sort(run: &mut [Rule]) {
    // `None`, which is all, is less than any number.
    run.sort_unstable_by_key(|rule| (rule.kind, rule.major, rule.minor));
}
