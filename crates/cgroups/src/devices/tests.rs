//! The compiler against what rules mean, in an interpreter and, where bpf(2) may be used, before
//! the kernel's verifier.

use nix::errno::Errno;
use no_frills_sys::bpf::{Insn, load_device_program};

use super::assemble::op;
use super::*;

/// What is asked of a program.
#[derive(Clone, Copy, Debug)]
struct Question {
    kind: Kind,
    major: u32,
    minor: u32,
    access: Access,
}

/// Runs a program as the kernel does, and holds it to what the verifier asks for: only registers
/// that were written are read, only jumps forward, and an end.
fn run(program: &[Insn], question: Question) -> bool {
    let kind = if question.kind == Kind::Block { 1 } else { 2 };
    let context = [u32::from(question.access.bits()) << 16 | kind, question.major, question.minor];
    let mut registers: [Option<u64>; 11] = [None; 11];
    let mut at = 0;
    loop {
        let insn = program[at];
        at += 1;
        let to = usize::from(insn.destination());
        let extended = i64::from(insn.immediate) as u64;
        let read = |register: usize| registers[register].expect("a register is read that was never written");
        let jumps = match insn.code {
            op::MOVE => {
                registers[to] = Some(extended);
                false
            }
            op::AND => {
                registers[to] = Some(read(to) & extended);
                false
            }
            op::LOAD => {
                assert_eq!((insn.source(), insn.offset % 4), (1, 0));
                registers[to] = Some(u64::from(context[insn.offset as usize / 4]));
                false
            }
            op::JUMP_IF_EQUAL => read(to) as u32 == insn.immediate as u32,
            op::JUMP_IF_NOT_EQUAL => read(to) as u32 != insn.immediate as u32,
            op::JUMP_IF_LESS => read(to) < extended,
            op::JUMP_IF_SET => read(to) & extended != 0,
            op::EXIT => return read(0) == 1,
            code => panic!("unknown instruction {code:#x}"),
        };
        if jumps {
            assert!(insn.offset >= 0, "a jump backward");
            at += insn.offset as usize;
        }
    }
}

/// What rules mean: each access is decided by the last rule about it.
fn meaning(rules: &[Rule], question: Question) -> bool {
    [Access::READ, Access::WRITE, Access::MKNOD]
        .into_iter()
        .filter(|access| question.access & *access != Access::NONE)
        .all(|access| {
            rules
                .iter()
                .rev()
                .find(|rule| {
                    (rule.kind == Kind::All || rule.kind == question.kind)
                        && rule.major.is_none_or(|major| major == question.major)
                        && rule.minor.is_none_or(|minor| minor == question.minor)
                        && rule.access & access != Access::NONE
                })
                .is_some_and(|rule| rule.allow)
        })
}

/// The device controller of cgroup v1 (security/device_cgroup.c), as its documentation and its
/// behaviour have it: a verdict for all, and exceptions from it.
#[derive(Default)]
struct V1 {
    default_allow: bool,
    exceptions: Vec<Rule>,
}

impl V1 {
    /// What writing to devices.allow and devices.deny does. False: the rule takes something out of
    /// a wider exception, which v1 ignores.
    fn write(&mut self, rule: Rule) -> bool {
        if rule.kind == Kind::All {
            *self = V1 { default_allow: rule.allow, exceptions: Vec::new() };
            return true;
        }
        let same = |other: &Rule| (other.kind, other.major, other.minor) == (rule.kind, rule.major, rule.minor);
        let known = self.exceptions.iter_mut().find(|other| same(other));
        if rule.allow != self.default_allow {
            match known {
                Some(exception) => exception.access |= rule.access,
                None => self.exceptions.push(rule),
            }
            return true;
        }
        if let Some(exception) = known {
            exception.access = exception.access - rule.access;
        }
        self.exceptions.retain(|exception| exception.access != Access::NONE);
        !self.exceptions.iter().any(|other| {
            let overlap = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
            other.kind == rule.kind
                && overlap(other.major, rule.major)
                && overlap(other.minor, rule.minor)
                && other.access & rule.access != Access::NONE
        })
    }

    fn allows(&self, question: Question) -> bool {
        let about = |rule: &&Rule| {
            rule.kind == question.kind
                && rule.major.is_none_or(|major| major == question.major)
                && rule.minor.is_none_or(|minor| minor == question.minor)
        };
        let mut exceptions = self.exceptions.iter().filter(about);
        if self.default_allow {
            !exceptions.any(|rule| rule.access & question.access != Access::NONE)
        } else {
            exceptions.any(|rule| question.access - rule.access == Access::NONE)
        }
    }
}

/// xorshift64, so that each run sees the same cases.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Few numbers, so that rules meet; one of them needs all 32 bits.
    fn number(&mut self) -> Option<u32> {
        [None, None, Some(0), Some(1), Some(5), Some(0xffff_fffe)][self.below(6) as usize]
    }

    fn rule(&mut self) -> Rule {
        let kind = [Kind::All, Kind::Char, Kind::Char, Kind::Block][self.below(4) as usize];
        let access = if self.below(2) == 0 { Access::ALL } else { Access(self.below(8) as u8) };
        Rule { allow: self.below(2) == 0, kind, major: self.number(), minor: self.number(), access }
    }

    fn rules(&mut self) -> Vec<Rule> {
        let count = self.below(9);
        (0..count).map(|_| self.rule()).collect()
    }
}

fn questions() -> Vec<Question> {
    let numbers = [0, 1, 2, 5, 0x7fff_ffff, 0xffff_fffe];
    let mut all = Vec::new();
    for kind in [Kind::Char, Kind::Block] {
        for (major, minor) in numbers.iter().flat_map(|major| numbers.map(|minor| (*major, minor))) {
            all.extend((1..=7).map(|access| Question { kind, major, minor, access: Access(access) }));
        }
    }
    all
}

fn shown(rules: &[Rule]) -> String {
    rules.iter().map(|rule| format!("{rule}; ")).collect()
}

/// `allow c 1:3 rwm; deny ...`, in the words of `Rule`'s text.
fn parse(text: &str) -> Vec<Rule> {
    let number = |text: &str| (text != "*").then(|| text.parse().unwrap());
    let rule = |text: &str| {
        let [verdict, kind, device, access] = text.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{text}") };
        let (major, minor) = device.split_once(':').unwrap();
        Rule {
            allow: verdict == "allow",
            kind: match kind {
                "a" => Kind::All,
                "c" => Kind::Char,
                _ => Kind::Block,
            },
            major: number(major),
            minor: number(minor),
            access: Access::parse(access).unwrap(),
        }
    };
    text.split(';').filter(|text| !text.trim().is_empty()).map(rule).collect()
}

#[track_caller]
fn assert_means(rules: &[Rule]) -> Program {
    let program = compile(rules).unwrap();
    for question in questions() {
        assert_eq!(
            run(program.insns(), question),
            meaning(rules, question),
            "{question:?}\n{}\n{program}",
            shown(rules)
        );
    }
    assert_eq!(program.allows_all(), program.to_string() == "0: r0 = 1\n1: exit");
    program
}

/// (rules, question, answer)
const TABLE: &[(&str, &str, bool)] = &[
    ("", "c 1:3 r", false),
    ("allow a *:* rwm", "b 8:0 rw", true),
    ("deny a *:* rwm", "b 8:0 m", false),
    ("deny a *:* rwm; allow c 1:3 rw", "c 1:3 rw", true),
    ("deny a *:* rwm; allow c 1:3 rw", "c 1:3 rwm", false),
    ("deny a *:* rwm; allow c 1:3 rw", "b 1:3 r", false),
    ("deny a *:* rwm; allow c 1:3 rw", "c 1:4 r", false),
    ("deny a *:* rwm; allow c 1:3 rw", "c 2:3 r", false),
    // Two rules make one.
    ("allow c 1:3 r; allow c 1:3 w", "c 1:3 rw", true),
    ("allow c 1:* r; allow c 1:3 w", "c 1:3 rw", true),
    ("allow c 1:* r; allow c 1:3 w", "c 1:4 rw", false),
    // A hole in a wider rule.
    ("allow c 1:* rw; deny c 1:11 w", "c 1:11 r", true),
    ("allow c 1:* rw; deny c 1:11 w", "c 1:11 w", false),
    ("allow c 1:* rw; deny c 1:11 w", "c 1:11 rw", false),
    ("allow c 1:* rw; deny c 1:11 w", "c 1:3 rw", true),
    // Writing cannot be had by asking for reading as well.
    ("allow a *:* rwm; deny b 8:0 w", "b 8:0 rw", false),
    ("allow a *:* rwm; deny b 8:0 w", "b 8:0 r", true),
    ("allow a *:* rwm; deny b 8:0 w", "c 8:0 rw", true),
    // The last one wins.
    ("allow c 1:3 rwm; deny a *:* rwm", "c 1:3 r", false),
    ("deny c 1:3 rwm; allow a *:* rwm", "c 1:3 r", true),
    ("allow c 1:3 rwm; deny c *:3 m; allow c 1:* m", "c 1:3 rwm", true),
    // Wildcards on either side.
    ("allow c *:3 r", "c 77:3 r", true),
    ("allow b 8:* r", "b 8:16 r", true),
    ("allow a 8:1 r", "c 8:1 r", true),
    ("allow a 8:1 r", "b 8:1 r", true),
    ("allow a 8:1 r", "b 8:1 w", false),
    // Numbers that a signed comparison would get wrong.
    ("allow c 4294967295:2147483648 r", "c 4294967295:2147483648 r", true),
    ("allow c 4294967295:2147483648 r", "c 4294967295:0 r", false),
];

#[test]
fn table() {
    for (rules, question, answer) in TABLE {
        let asked = parse(&format!("allow {question}"))[0];
        let question = Question {
            kind: asked.kind,
            major: asked.major.unwrap(),
            minor: asked.minor.unwrap(),
            access: asked.access,
        };
        let rules = parse(rules);
        assert_eq!(meaning(&rules, question), *answer, "{asked}\n{}", shown(&rules));
        let program = assert_means(&rules);
        assert_eq!(run(program.insns(), question), *answer, "{asked}\n{}\n{program}", shown(&rules));
    }
}

#[test]
fn any_rules_mean_what_they_say() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        assert_means(&random.rules());
    }
}

/// On rules that v1 can carry out, v1 and this compiler agree; but for one case, in which v1 does
/// not put two rules together.
#[test]
fn any_rules_mean_what_they_mean_to_cgroup_v1() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut compared = 0;
    for _ in 0..20_000 {
        let mut v1 = V1::default();
        let mut rules = random.rules();
        for rule in &mut rules {
            if rule.kind == Kind::All {
                *rule = Rule { major: None, minor: None, access: Access::ALL, ..*rule };
            }
        }
        rules.retain(|rule| rule.access != Access::NONE);
        if !rules.iter().all(|rule| v1.write(*rule)) {
            continue;
        }
        compared += 1;
        let program = compile(&rules).unwrap();
        for question in questions() {
            let ours = run(program.insns(), question);
            let single = question.access.bits().count_ones() == 1;
            if single || v1.default_allow || v1.allows(question) {
                assert_eq!(ours, v1.allows(question), "{question:?}\n{}\n{program}", shown(&rules));
            }
        }
    }
    assert!(compared > 5_000, "only {compared} lists of rules could be compared");
}

#[test]
fn the_verifier_takes_whatever_is_compiled() {
    let mut random = Random(0xfeed_beef_cafe_f00d);
    for _ in 0..500 {
        let rules = random.rules();
        let program = compile(&rules).unwrap();
        match load_device_program(program.insns(), "test") {
            Ok(_) => {}
            Err(error) if error.errno == Errno::EPERM => {
                return eprintln!("skipped: bpf(2) is not allowed here");
            }
            Err(error) => panic!("{error}\n{}\n{program}", shown(&rules)),
        }
    }
}

#[test]
fn the_program_of_the_default_config_is_small() {
    let program = compile_container(&parse("deny a *:* rwm")).unwrap();
    // runc 1.3 has 64 instructions for the same, crun 1.28 has 77.
    assert_eq!(
        program.to_string(),
        "0: r0 = 0\n\
         1: r2 = *(u32 *)(r1 + 0)\n\
         2: r4 = *(u32 *)(r1 + 4)\n\
         3: r5 = *(u32 *)(r1 + 8)\n\
         4: r2 &= 0xfffeffff\n\
         5: if r2 < 0x10000 goto 20\n\
         6: if r2 & 0x1 goto 19\n\
         7: if w4 != 1 goto 13\n\
         8: if w5 == 3 goto 20\n\
         9: if w5 == 5 goto 20\n\
         10: if w5 == 7 goto 20\n\
         11: if w5 == 8 goto 20\n\
         12: if w5 == 9 goto 20\n\
         13: if w4 != 5 goto 16\n\
         14: if w5 == 0 goto 20\n\
         15: if w5 == 2 goto 20\n\
         16: if w4 != 10 goto 18\n\
         17: if w5 == 200 goto 20\n\
         18: if w4 == 136 goto 20\n\
         19: exit\n\
         20: r0 = 1\n\
         21: exit"
    );
}

#[test]
fn rules_that_make_no_difference_leave_no_trace() {
    let same = |a: &str, b: &str| {
        assert_eq!(compile(&parse(a)).unwrap(), compile(&parse(b)).unwrap(), "{a}");
    };
    same("", "deny a *:* rwm");
    same("allow c 1:3 rwm; deny a *:* rwm", "");
    same("deny c 1:3 rwm", "");
    same("allow a *:* rwm; allow c 1:3 rwm", "allow a *:* rwm");
    same("allow a *:* r; allow a *:* w; allow a *:* m", "allow a *:* rwm");
    same("allow c *:* rwm; allow b *:* rwm", "allow a *:* rwm");
    same("deny a *:* rwm; allow c 1:3 r; allow c 1:3 w; allow c 1:3 m", "allow c 1:3 rwm");
    same("allow c 1:5 r; allow c 1:3 r", "allow c 1:3 r; allow c 1:5 r");
    same("deny c 1:3 r; allow c 1:* r", "allow c 1:* r");
    assert!(compile(&parse("deny c 1:3 r; allow a *:* rwm")).unwrap().allows_all());
    assert!(compile_container(&parse("allow a *:* rwm")).unwrap().allows_all());
    // As with runc: the defaults come after it.
    assert!(compile_container(&parse("allow a *:* rwm; deny c 1:3 rwm")).unwrap().allows_all());
    assert!(!compile_container(&[]).unwrap().allows_all());
}

#[test]
fn too_many_rules_are_an_error() {
    let rule =
        |minor| Rule { allow: true, kind: Kind::Char, major: Some(minor), minor: Some(minor), access: Access::READ };
    let rules: Vec<Rule> = (0..3000).map(rule).collect();
    assert_eq!(compile(&rules).unwrap().insns().len(), 4 + 1 + 4 * 3000 + 3);
    let rules: Vec<Rule> = (0..9000).map(rule).collect();
    assert!(compile(&rules).unwrap_err().to_string().contains("9000"));
}

#[test]
fn texts() {
    assert_eq!(Access::parse("mwr"), Some(Access::ALL));
    assert_eq!(Access::parse("r").unwrap().to_string(), "r");
    for letters in ["", "x", "rwx", "R", "r w"] {
        assert_eq!(Access::parse(letters), None, "{letters:?}");
    }
    assert_eq!(shown(&DEFAULTS[1..3]), "allow b *:* m; allow c 1:3 rwm; ");
}
