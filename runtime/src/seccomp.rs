//! What this version and the kernel know of seccomp, for those who ask before they write a configuration; and what the
//! filter of a configuration does, for those who have one.

use std::collections::BTreeMap;

use no_frills_seccomp::{
    Action, Architecture, ArchitectureSurvey, CallSurvey, Fate, Filter, Operator, Profile, Survey, disassemble,
};
use no_frills_sys::seccomp::{NEW_LISTENER, WAIT_KILLABLE_RECV, flags_are_known};

use crate::compile::{Pointer, compile_profile};
use crate::config::{Config, ConfigError, SECCOMP_FLAGS, Seccomp};

/// The actions that a configuration may name, sorted.
pub fn seccomp_actions() -> impl Iterator<Item = &'static str> {
    Action::NAMES.iter().copied()
}

/// The operators that a configuration may name, sorted.
pub fn seccomp_operators() -> impl Iterator<Item = &'static str> {
    Operator::names()
}

/// The architectures that a configuration may name, sorted.
pub fn seccomp_architectures() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<_> = Architecture::ALL.iter().map(|architecture| architecture.name()).collect();
    names.sort_unstable();
    names.into_iter()
}

/// The flags that a configuration may name, sorted.
pub fn seccomp_flags() -> impl Iterator<Item = &'static str> {
    SECCOMP_FLAGS.iter().map(|(name, _)| *name)
}

/// Those of [`seccomp_flags`] that the kernel has as well; it is asked. None where it has no seccomp, and where this
/// process may not ask it.
pub fn supported_seccomp_flags() -> impl Iterator<Item = &'static str> {
    let is_supported = |flag: u32| {
        // The kernel takes it with a listener alone.
        let flags = if flag == WAIT_KILLABLE_RECV { flag | NEW_LISTENER } else { flag };
        flags_are_known(flags) == Ok(true)
    };
    SECCOMP_FLAGS.iter().filter(move |(_, flag)| is_supported(*flag)).map(|(name, _)| *name)
}

/// The filter that `linux.seccomp` is compiled to. Nothing is installed; no privileges are needed.
#[derive(Clone, Debug)]
pub struct SeccompFilter<'a> {
    config: &'a Seccomp,
    profile: Profile<'a>,
    filter: Filter<'a>,
}

impl<'a> SeccompFilter<'a> {
    /// Compiles the filter of a configuration; `None` if it has none.
    ///
    /// # Errors
    /// With the pointer of a rule that cannot be compiled, or of `linux.seccomp` when the program would be too long.
    pub fn new(config: &'a Config) -> Result<Option<SeccompFilter<'a>>, ConfigError> {
        let Some(config) = config.linux.seccomp.as_deref() else { return Ok(None) };
        let profile = config.profile();
        let filter = compile_profile(&profile)?;
        Ok(Some(SeccompFilter { config, profile, filter }))
    }

    /// The names in rules that do nothing, by architecture: it has no such calls.
    #[must_use]
    pub fn passed_over(&self) -> Vec<(Architecture, Vec<&'a str>)> {
        let native = [Architecture::NATIVE];
        let others = self.profile.architectures.iter().filter(|one| **one != Architecture::NATIVE);
        let names = || self.profile.rules.iter().flat_map(|rule| rule.names.iter().copied());
        let lacking = |one: &Architecture| {
            let mut lacking: Vec<&'a str> = names().filter(|name| one.number(name).is_none()).collect();
            lacking.sort_unstable();
            lacking.dedup();
            (*one, lacking)
        };
        native.iter().chain(others).map(lacking).filter(|(_, lacking)| !lacking.is_empty()).collect()
    }

    /// How many instructions the program has.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.filter.instructions.len()
    }

    /// The program in the syntax of the kernel's bpf_asm, with the names of calls as comments.
    #[must_use]
    pub fn disassemble(&self) -> String {
        disassemble(&self.filter.instructions)
    }

    /// What the filter does: how it is installed, and what becomes of each call, in how many instructions. That is found
    /// out by running the program with every call.
    ///
    /// # Errors
    /// When the kernel would refuse the program, which would be a mistake of the compiler.
    pub fn describe(&self) -> Result<String, ConfigError> {
        let survey = Survey::new(&self.profile, &self.filter);
        let survey = survey.map_err(|error| ConfigError::new(Pointer::to("/linux/seccomp"), error.to_string()))?;
        let mut text = self.summary(&survey);
        let mut native: Option<&ArchitectureSurvey> = None;
        for one in &survey.architectures {
            text.push('\n');
            describe_architecture(&mut text, one, native);
            native = native.or(Some(one));
        }
        Ok(text)
    }

    /// What concerns all calls.
    fn summary(&self, survey: &Survey) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("{name}: {value}\n"));
        };
        line("default", self.profile.default_action.to_string());
        let architectures = survey.architectures.iter().map(|one| one.architecture);
        line("architectures", format!("{}; others: {}", list(architectures), survey.foreign));
        line("flags", or_none(list(flags(self.config.flags))));
        line("listener", or_none(self.config.listener_path.clone()));
        if !self.config.listener_metadata.is_empty() {
            line("listener metadata", format!("{:?}", self.config.listener_metadata));
        }
        line("instructions", self.instructions().to_string());
        let most = survey.architectures.iter().map(|one| format!("{} on {}", one.most_for_allowed(), one.architecture));
        line("most for an allowed call", list(most));
        if !self.filter.unknown.is_empty() {
            line("passed over, since no such call is known", list(&self.filter.unknown));
        }
        text
    }
}

fn flags(set: u32) -> impl Iterator<Item = &'static str> {
    SECCOMP_FLAGS.iter().filter(move |(_, flag)| set & flag != 0).map(|(name, _)| *name)
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

fn list(words: impl IntoIterator<Item = impl ToString>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}

/// Of an architecture beside the native one what differs.
fn describe_architecture(text: &mut String, one: &ArchitectureSurvey, native: Option<&ArchitectureSurvey>) {
    let is_as = |call: &CallSurvey, native: &ArchitectureSurvey| {
        native.calls.iter().any(|other| other.name == call.name && other.fate == call.fate)
    };
    let mut groups: BTreeMap<&Fate, Vec<&CallSurvey>> = BTreeMap::new();
    let (same, own): (Vec<_>, Vec<_>) =
        one.calls.iter().partition(|call| native.is_some_and(|native| is_as(call, native)));
    for call in own {
        groups.entry(&call.fate).or_default().push(call);
    }
    text.push_str(&format!("{}:\n", one.architecture));
    if let Some(native) = native {
        text.push_str(&format!(
            "  {} calls as on {}, {} instructions\n",
            same.len(),
            native.architecture,
            executed(&same)
        ));
    }
    // The loosest action first, which is that of most calls.
    for (fate, calls) in groups.iter().rev() {
        if let Fate::Always(action) = fate {
            text.push_str(&format!("  {action}: {} calls, {} instructions\n", calls.len(), executed(calls)));
            wrap(text, calls.iter().map(|call| format!("{} {}", call.name, count(call.least, call.most))));
        }
    }
    let mut conditional: Vec<_> = groups.iter().filter(|(fate, _)| !matches!(fate, Fate::Always(_))).collect();
    conditional.sort_by_key(|(_, calls)| calls.first().map(|call| call.name));
    if !conditional.is_empty() {
        text.push_str("  by arguments:\n");
    }
    for (fate, calls) in conditional {
        for call in calls {
            text.push_str(&format!("    {} {}: {}\n", call.name, count(call.least, call.most), clauses(fate)));
        }
    }
    text.push_str(&format!("  numbers without a name: {}\n", unnamed(one)));
}

fn unnamed(one: &ArchitectureSurvey) -> String {
    match (one.unnamed.as_slice(), one.above()) {
        ([(first, _, action)], above) if above.is_none_or(|(highest, _)| *first <= highest) => action.to_string(),
        (_, None) => "none".to_owned(),
        (ranges, Some((highest, above))) => {
            // What is said of all above a number need not be said of each range.
            let ranges = ranges.iter().filter(|(first, _, _)| *first <= highest);
            let texts = ranges.map(|(first, last, action)| {
                let (first, last) = (number(*first), number(*last));
                format!("{action} from {first} to {last}")
            });
            list(texts.chain([format!("{above} above {}", number(highest))]))
        }
    }
}

/// Those of x32 are more readable in hexadecimal.
fn number(number: u32) -> String {
    if number < 0x1_0000 { number.to_string() } else { format!("{number:#x}") }
}

/// The fewest and the most instructions.
fn executed(calls: &[&CallSurvey]) -> String {
    let least = calls.iter().map(|call| call.least).min().unwrap_or(0);
    count(least, calls.iter().map(|call| call.most).max().unwrap_or(0))
}

fn count(least: usize, most: usize) -> String {
    if least == most { least.to_string() } else { format!("{least}-{most}") }
}

/// A fate that depends on arguments. Neighbours with the same action are one.
fn clauses(fate: &Fate) -> String {
    let clauses = match fate {
        Fate::Always(action) => return action.to_string(),
        Fate::OneOf(actions) => {
            let actions: Vec<_> = actions.iter().map(Action::to_string).collect();
            return actions.join(" or ");
        }
        Fate::Depends(clauses) => clauses,
    };
    let texts = clauses.chunk_by(|(_, one), (_, other)| one == other).map(|same| {
        let action = same.first().map(|(_, action)| *action).unwrap_or_default();
        if same.iter().any(|(conditions, _)| conditions.is_empty()) {
            return format!("else {action}");
        }
        let ways = same.iter().map(|(conditions, _)| {
            let all = conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            if conditions.len() > 1 && same.len() > 1 { format!("({all})") } else { all }
        });
        format!("{action} if {}", ways.collect::<Vec<_>>().join(" or "))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// Words in lines of at most so many characters.
fn wrap(text: &mut String, words: impl Iterator<Item = String>) {
    const WIDTH: usize = 110;
    const INDENT: &str = "    ";
    let mut line = String::from(INDENT);
    for word in words {
        if line.len() + word.len() + 2 > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line = INDENT.to_owned();
        }
        line.push_str(&word);
        line.push_str(", ");
    }
    text.push_str(line.trim_end_matches(", "));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use no_frills_seccomp::Condition;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn all_names_are_sorted() {
        assert!(seccomp_actions().is_sorted() && seccomp_operators().is_sorted());
        assert!(seccomp_architectures().is_sorted() && seccomp_flags().is_sorted());
    }

    /// The first three are older than any kernel that containers of this runtime run on.
    #[test]
    fn the_kernel_has_the_flags() {
        let supported: Vec<_> = supported_seccomp_flags().collect();
        let known: Vec<_> = seccomp_flags().collect();
        assert_eq!(supported[..3], known[..3]);
    }

    fn config(seccomp: &Value) -> Config {
        let config = json!({
            "ociVersion": "1.3.0",
            "process": { "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } },
            "root": { "path": "rootfs" },
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }], "seccomp": seccomp },
        });
        Config::from_value(&config).unwrap()
    }

    #[test]
    fn without_a_profile_there_is_no_filter() {
        assert!(SeccompFilter::new(&config(&Value::Null)).unwrap().is_none());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_filter_is_described() {
        let config = config(&json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
            "listenerPath": "/run/agent",
            "listenerMetadata": "a\nb",
            "syscalls": [
                { "names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["mount"], "action": "SCMP_ACT_NOTIFY" },
                { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "value": 0x7e02_0000, "op": "SCMP_CMP_MASKED_EQ" }] },
                { "names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS",
                  "args": [{ "index": 0, "value": 16, "op": "SCMP_CMP_EQ" },
                           { "index": 2, "value": 9, "op": "SCMP_CMP_EQ" }] },
            ],
        }));
        let filter = SeccompFilter::new(&config).unwrap().unwrap();
        let text = filter.describe().unwrap();
        for line in [
            "default: EPERM",
            "architectures: x86_64; others: kill thread",
            "flags: SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_TSYNC",
            "listener: /run/agent",
            "listener metadata: \"a\\nb\"",
            &format!("instructions: {}", filter.instructions()),
            "passed over, since no such call is known: no_such_call",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in {text}");
        }
        let after = |start: &str| {
            let mut lines = text.lines().skip_while(|line| !line.starts_with(start));
            [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()].join("")
        };
        let without_counts = |text: &str| text.replace(|c: char| c.is_ascii_digit() || c == '-', "");
        assert_eq!(without_counts(&after("  allow: 2 calls")), "  allow:  calls,  instructions    read , write ");
        assert_eq!(without_counts(&after("  notify: 1 calls")), "  notify:  calls,  instructions    mount ");
        assert!(after("    clone ").contains(": allow if arg0 & 0x7e020000 == 0; else EPERM"), "{text}");
        assert!(after("    socket ").contains(": kill process if arg0 == 16 and arg2 == 9; else EPERM"), "{text}");
        assert!(text.contains("ENOSYS above 165\n"), "{text}");
        assert!(filter.disassemble().contains("; kill process\n"));
    }

    #[test]
    fn a_rule_that_cannot_be_compiled_has_a_pointer() {
        let rule = |action| json!({ "names": ["clone"], "action": action, "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] });
        let seccomp = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("SCMP_ACT_ALLOW"), rule("SCMP_ACT_TRAP")],
        });
        let error = SeccompFilter::new(&config(&seccomp)).unwrap_err();
        assert_eq!(error.pointer, "/linux/seccomp/syscalls/1");
    }

    #[test]
    fn clauses_with_one_action_are_one() {
        let condition = |argument, value| Condition { argument, operator: Operator::Equal, value, value_two: 0 };
        let fate = Fate::Depends(vec![
            (vec![condition(0, 1), condition(1, 2)], Action::Allow),
            (vec![condition(0, 3)], Action::Allow),
            (vec![condition(0, 4)], Action::Trap),
            (vec![], Action::Errno(1)),
        ]);
        let text = "allow if (arg0 == 1 and arg1 == 2) or arg0 == 3; trap if arg0 == 4; else EPERM";
        assert_eq!(clauses(&fate), text);
        assert_eq!(clauses(&Fate::OneOf(vec![Action::Trap, Action::Allow])), "trap or allow");
    }

    #[test]
    fn long_lists_are_wrapped() {
        let mut text = String::new();
        wrap(&mut text, (0..40).map(|number| format!("number{number}")));
        assert!(
            text.lines().count() > 3 && text.lines().all(|line| line.len() <= 110 && line.starts_with("    number"))
        );
        assert!(text.ends_with("number39\n"));
    }
}
