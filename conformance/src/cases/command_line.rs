//! The whole of runc's command line: every flag of every command, and what is peculiar to some.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, contains_one, lacks, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = table_cases();
    cases.extend(place_cases());
    cases
}

fn table_cases() -> Vec<Case> {
    let crun = "has other flags, and reads those with one dash letter by letter";
    vec![
        case("command-line/flags", "every flag of every command is taken, with one dash and two, and joined", flags)
            .skip(Kind::Crun, crun),
        case("command-line/values", "a flag that takes a value says so without one", values).skip(Kind::Crun, crun),
        case("command-line/help", "--help of every command tells each of its flags, and no other of runc's", help)
            .skip(Kind::Crun, crun),
        case("command-line/booleans", "a boolean takes Go's words for true and false, and no other", booleans)
            .skip(Kind::Crun, crun),
        case("command-line/arguments", "too few and too many arguments are refused", arguments),
        case("command-line/end-of-flags", "exec and ps leave what follows the id to another program", end_of_flags),
        case("command-line/checkpoint", "checkpoint and restore answer as what is not there", checkpoint)
            .only(Kind::NoFrills, "the peers have them, if there is CRIU"),
        case("command-line/criu", "--criu is refused", criu)
            .differs(Kind::Runc, "warns, and does without")
            .skip(Kind::Crun, "has no such flag"),
        case("command-line/wrong-values", "a value that is none of the known ones is refused", wrong_values)
            .known_failure(Kind::Runc, "finds it out later, or never")
            .skip(Kind::Crun, crun),
    ]
}

fn place_cases() -> Vec<Case> {
    vec![
        case("command-line/debug", "--debug tells who was asked for what, where, and what became of it", debug)
            .skip(Kind::Runc, "tells other things")
            .skip(Kind::Crun, "tells other things"),
        case("command-line/long-id", "an id is as long as a directory's name may be", long_id),
        case(
            "command-line/rootless-false",
            "--rootless=false: who may make no cgroup has no container",
            rootless_false,
        )
        .skip(Kind::Crun, "has no --rootless"),
        case(
            "command-line/rootless-true",
            "--rootless=true: root, too, goes without where it may make none",
            rootless_true,
        )
        .differs(Kind::Runc, "not where a path is named")
        .skip(Kind::Crun, "has no --rootless"),
        case("command-line/cgroups-disabled", "--cgroup-manager disabled: no cgroup is made", disabled)
            .skip(Kind::Runc, "has no --cgroup-manager"),
        case(
            "command-line/cgroups-disabled-commands",
            "what every command answers of such a container",
            disabled_commands,
        )
        .only(Kind::NoFrills, "runc has no --cgroup-manager, and crun's ps fails"),
        case("command-line/cgroups-disabled-limits", "limits are refused then", disabled_limits)
            .skip(Kind::Runc, "has no --cgroup-manager")
            .known_failure(Kind::Crun, "goes on without limits"),
        case("command-line/cgroups-disabled-mount", "a mount of cgroup shows the caller's, read-only", disabled_mount)
            .skip(Kind::Runc, "has no --cgroup-manager")
            .known_failure(Kind::Crun, "shows all cgroups of the host"),
    ]
}

/// What follows a flag.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    /// This, for instance.
    Value(&'static str),
}

use Takes::{Nothing, Value as Of};

/// A flag: its name, its letter if it has one, what follows it.
type Flag = (&'static str, Option<char>, Takes);

const BUNDLE: Flag = ("bundle", Some('b'), Of("/none"));
const CONSOLE_SOCKET: Flag = ("console-socket", None, Of("/none"));
const PIDFD_SOCKET: Flag = ("pidfd-socket", None, Of("/none"));
const PID_FILE: Flag = ("pid-file", None, Of("/none"));
const NO_PIVOT: Flag = ("no-pivot", None, Nothing);
const NO_NEW_KEYRING: Flag = ("no-new-keyring", None, Nothing);
const PRESERVE_FDS: Flag = ("preserve-fds", None, Of("1"));
const DETACH: Flag = ("detach", Some('d'), Nothing);
const NO_SUBREAPER: Flag = ("no-subreaper", None, Nothing);
const FORMAT: Flag = ("format", Some('f'), Of("json"));
const IMAGE_PATH: Flag = ("image-path", None, Of("/none"));
const WORK_PATH: Flag = ("work-path", None, Of("/none"));
const TCP_ESTABLISHED: Flag = ("tcp-established", None, Nothing);
const EXT_UNIX_SK: Flag = ("ext-unix-sk", None, Nothing);
const SHELL_JOB: Flag = ("shell-job", None, Nothing);
const LAZY_PAGES: Flag = ("lazy-pages", None, Nothing);
const FILE_LOCKS: Flag = ("file-locks", None, Nothing);
const MANAGE_CGROUPS_MODE: Flag = ("manage-cgroups-mode", None, Of("strict"));
const EMPTY_NS: Flag = ("empty-ns", None, Of("network"));
const AUTO_DEDUP: Flag = ("auto-dedup", None, Nothing);

/// Every command of runc with all its flags, as runc 1.5.1 has them. The first has no name: flags before the command.
const COMMANDS: &[(&str, &[Flag])] = &[
    (
        "",
        &[
            ("debug", None, Nothing),
            ("log", None, Of("/dev/null")),
            ("log-format", None, Of("json")),
            ("root", None, Of("/none")),
            ("systemd-cgroup", None, Nothing),
            ("rootless", None, Of("auto")),
        ],
    ),
    ("create", &[BUNDLE, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS]),
    (
        "run",
        &[
            BUNDLE,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            PID_FILE,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
            DETACH,
            ("keep", None, Nothing),
            NO_SUBREAPER,
        ],
    ),
    ("start", &[]),
    ("state", &[]),
    ("pause", &[]),
    ("resume", &[]),
    (
        "exec",
        &[
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            PID_FILE,
            PRESERVE_FDS,
            DETACH,
            ("cwd", None, Of("/")),
            ("env", Some('e'), Of("A=b")),
            ("tty", Some('t'), Nothing),
            ("user", Some('u'), Of("0:0")),
            ("additional-gids", Some('g'), Of("5")),
            ("process", Some('p'), Of("/none")),
            ("process-label", None, Of("label")),
            ("apparmor", None, Of("profile")),
            ("no-new-privs", None, Nothing),
            ("cap", Some('c'), Of("CAP_KILL")),
            ("cgroup", None, Of("/")),
            ("ignore-paused", None, Nothing),
        ],
    ),
    ("kill", &[("all", Some('a'), Nothing)]),
    ("delete", &[("force", Some('f'), Nothing)]),
    ("list", &[FORMAT, ("quiet", Some('q'), Nothing)]),
    ("ps", &[FORMAT]),
    ("events", &[("interval", None, Of("1s")), ("stats", None, Nothing)]),
    (
        "update",
        &[
            ("resources", Some('r'), Of("/none")),
            ("blkio-weight", None, Of("10")),
            ("cpu-period", None, Of("100000")),
            ("cpu-quota", None, Of("100000")),
            ("cpu-burst", None, Of("1")),
            ("cpu-share", None, Of("2")),
            ("cpu-rt-period", None, Of("1")),
            ("cpu-rt-runtime", None, Of("1")),
            ("cpuset-cpus", None, Of("0")),
            ("cpuset-mems", None, Of("0")),
            ("memory", None, Of("1g")),
            ("cpu-idle", None, Of("1")),
            ("memory-reservation", None, Of("1g")),
            ("memory-swap", None, Of("1g")),
            ("pids-limit", None, Of("9")),
            ("l3-cache-schema", None, Of("L3:0=f")),
            ("mem-bw-schema", None, Of("MB:0=50")),
        ],
    ),
    ("spec", &[BUNDLE, ("rootless", None, Nothing)]),
    ("features", &[]),
    (
        "checkpoint",
        &[
            IMAGE_PATH,
            WORK_PATH,
            ("parent-path", None, Of("/none")),
            ("leave-running", None, Nothing),
            TCP_ESTABLISHED,
            ("tcp-skip-in-flight", None, Nothing),
            ("link-remap", None, Nothing),
            EXT_UNIX_SK,
            SHELL_JOB,
            LAZY_PAGES,
            ("status-fd", None, Of("3")),
            ("page-server", None, Of("127.0.0.1:1")),
            FILE_LOCKS,
            ("pre-dump", None, Nothing),
            MANAGE_CGROUPS_MODE,
            EMPTY_NS,
            AUTO_DEDUP,
        ],
    ),
    (
        "restore",
        &[
            BUNDLE,
            CONSOLE_SOCKET,
            IMAGE_PATH,
            WORK_PATH,
            TCP_ESTABLISHED,
            EXT_UNIX_SK,
            SHELL_JOB,
            FILE_LOCKS,
            MANAGE_CGROUPS_MODE,
            DETACH,
            PID_FILE,
            NO_SUBREAPER,
            NO_PIVOT,
            EMPTY_NS,
            AUTO_DEDUP,
            LAZY_PAGES,
            ("lsm-profile", None, Of("apparmor:x")),
            ("lsm-mount-context", None, Of("context")),
        ],
    ),
];

/// The runtime with nothing before these arguments.
fn bare(t: &Test, args: &[String]) -> Verdict<Output> {
    let mut command = Command::new(&t.runtime);
    command.args(args).current_dir(&t.work);
    crate::bundle::bare(&mut command);
    t.output_of(command)
}

/// A command line of a command, or of none.
fn line(command: &str, rest: Vec<String>) -> Vec<String> {
    let name = (!command.is_empty()).then(|| command.to_owned());
    name.into_iter().chain(rest).collect()
}

const UNKNOWN: &str = "no-such-flag";

/// Every spelling of a flag, and one that nobody knows: that alone is complained of.
fn flags(t: &Test) -> Verdict {
    for (command, flags) in COMMANDS {
        for (name, letter, takes) in *flags {
            let names =
                [Some(format!("--{name}")), Some(format!("-{name}")), letter.map(|letter| format!("-{letter}"))];
            let mut words = Vec::new();
            for spelling in names.into_iter().flatten() {
                words.extend(match takes {
                    Nothing => [spelling.clone(), format!("{spelling}=true"), format!("{spelling}=false")],
                    Of(value) => [spelling.clone(), (*value).to_owned(), format!("{spelling}={value}")],
                });
            }
            words.push(format!("--{UNKNOWN}"));
            let output = bare(t, &line(command, words))?;
            let said = output.stderr()?;
            check(output.status != 0, || format!("{command}: the unknown flag was taken"))?;
            let complaint = some("a complaint", said.lines().rfind(|line| line.contains("flag")))?;
            contains(&format!("{command} --{name}"), complaint, UNKNOWN)?;
        }
    }
    Ok(())
}

fn values(t: &Test) -> Verdict {
    for (command, flags) in COMMANDS {
        for (name, ..) in flags.iter().filter(|(.., takes)| *takes != Nothing) {
            let output = bare(t, &line(command, vec![format!("--{name}")]))?;
            same(name, output.status, 1)?;
            // Podman asks so whether a runtime knows the flag.
            let said = output.stderr()?;
            contains(&format!("{command} --{name}"), &said, "flag needs an argument: -")?;
            contains(&format!("{command} --{name}"), &said, &format!("-{name}"))?;
        }
    }
    Ok(())
}

/// The flags that a help text tells: `-b, --bundle DIR  text`, in any order.
fn told(help: &str) -> BTreeSet<String> {
    let heads = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let heads = heads.map(|line| line.split("  ").next().unwrap_or_default());
    let names = heads.flat_map(|head| head.split([' ', ',']).filter(|word| word.starts_with('-')));
    names.map(|name| name.trim_start_matches('-').to_owned()).collect()
}

fn help(t: &Test) -> Verdict {
    // Of no command of runc's, or of none of today's.
    let own = ["help", "h", "version", "v", "cgroup-manager", "criu"];
    // runc keeps quiet about it.
    let hidden = ["all", "a"];
    for (command, flags) in COMMANDS {
        for asked in ["--help", "-h"] {
            let output = bare(t, &line(command, vec![asked.to_owned()]))?.exits(0)?;
            same("stderr", output.stderr()?.as_str(), "")?;
            let mut told = told(&output.stdout()?);
            for name in own {
                told.remove(name);
            }
            let mut known: BTreeSet<String> = BTreeSet::new();
            for (name, letter, _) in *flags {
                known.insert((*name).to_owned());
                known.extend(letter.map(String::from));
            }
            if t.kind == Kind::Runc && *command == "kill" {
                known.retain(|name| !hidden.contains(&name.as_str()));
            }
            if *command == "run" || t.ours() {
                // Ours may have more than runc.
                told.retain(|name| known.contains(name));
            }
            same(&format!("the flags of {command:?}"), told, known)?;
        }
    }
    Ok(())
}

fn booleans(t: &Test) -> Verdict {
    for (word, on) in [("true", true), ("1", true), ("T", true), ("false", false), ("0", false), ("F", false)] {
        let output = t.runtime(&["delete", &format!("--force={word}"), "no-such"])?;
        same(word, output.status, i32::from(!on))?;
        contains(word, &output.stderr()?, if on { "" } else { "container does not exist" })?;
    }
    t.runtime(&["delete", "--force=maybe", "no-such"])?.refuses(
        t,
        "--force takes true or false, not \"maybe\"",
        &["maybe"],
    )?;
    // The last one counts, and what follows a boolean is no value of it.
    t.runtime(&["delete", "--force", "--force=false", "no-such"])?.refuses(t, "container does not exist", &[])?;
    t.runtime(&["delete", "--force", "false"])?.exits(0)?;
    for word in ["1", "TRUE", "false", "auto"] {
        t.runtime(&[&format!("--rootless={word}"), "delete", "-f", "no-such"])?.exits(0)?;
    }
    Ok(())
}

fn arguments(t: &Test) -> Verdict {
    let ids = ["create", "run", "start", "state", "pause", "resume", "delete", "events", "update"];
    for command in ids {
        t.runtime(&[command])?.refuses(t, &format!("{command} takes exactly 1 argument"), &[])?;
        t.runtime(&[command, "a", "b"])?.refuses(t, &format!("{command} takes exactly 1 argument"), &[])?;
    }
    t.runtime(&["kill"])?.refuses(t, "kill takes at least 1 argument", &[])?;
    t.runtime(&["kill", "a", "KILL", "b"])?.refuses(t, "kill takes at most 2 arguments", &[])?;
    t.runtime(&["ps"])?.refuses(t, "ps takes at least 1 argument", &[])?;
    // That nothing can be run is no matter of a container's process.
    let output = t.runtime(&["exec"])?;
    check(output.status != 0, || "exec without an id".to_owned())?;
    if t.kind != Kind::Runc {
        // runc shows its help and is content.
        t.runtime(&["no-such-command"])?.refuses(t, "unknown command: no-such-command", &[])?;
    }
    Ok(())
}

fn end_of_flags(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let output = b.verb("exec", &["echo", "-t", "--detach", "--", "--user"])?.exits(0)?;
    output.prints("-t --detach -- --user\n")?;
    if t.kind != Kind::Crun {
        let out = b.verb("ps", &["-o", "pid,args"])?.exits(0)?.stdout()?;
        let mut lines = out.lines();
        same("the head", some("a line", lines.next())?.split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"])?;
        let process = some("a second line", lines.next())?;
        contains("the process", process, "sleep 1000")?;
        contains("the process", process, &b.pid()?.as_raw_nonzero().to_string())?;
    }
    Ok(())
}

fn checkpoint(t: &Test) -> Verdict {
    let lacks_it = "this build of no-frills has no checkpoint and restore";
    let b = t.bundle()?.running_idle()?;
    let (images, log) = (t.path("images"), t.path("log"));
    let (images, log) = (images.to_string_lossy(), log.to_string_lossy());
    // As containerd's and Podman's calls have it.
    let dump =
        ["checkpoint", "--image-path", &images, "--work-path", &images, "--leave-running", "--file-locks", &b.id];
    t.runtime(&dump)?.refuses(t, &format!("checkpoint: {lacks_it}"), &[])?;
    b.is("running")?;
    let bundle = b.dir.to_string_lossy();
    let restore = ["restore", "--detach", "--image-path", &images, "-no-subreaper", "--bundle", &bundle, "x"];
    t.runtime(&restore)?.refuses(t, &format!("restore: {lacks_it}"), &[])?;
    let mut logged = vec!["--log", &log, "--log-format", "json"];
    logged.extend(dump);
    t.runtime(&logged)?.exits(1)?;
    let entry: Value = serde_json::from_str(&fs::read_to_string(&*log)?)?;
    same("msg", &entry["msg"], &json!(format!("checkpoint: {lacks_it}")))?;
    t.runtime(&["checkpoint"])?.refuses(t, "checkpoint takes exactly 1 argument", &[])?;
    let features = t.runtime(&["features"])?.exits(0)?.stdout()?;
    lacks("features", &features, "checkpoint.enabled")?;
    let help = t.runtime(&["checkpoint", "--help"])?.exits(0)?.stdout()?;
    contains("the help", &help, "This build has no checkpoint and restore")
}

fn criu(t: &Test) -> Verdict {
    let output = t.runtime(&["--criu", "/usr/sbin/criu", "delete", "-f", "no-such"])?;
    if t.kind == Kind::Runc {
        return contains("stderr", &output.exits(0)?.stderr()?, "--criu ignored");
    }
    output.refuses(t, "--criu: this build has no checkpoint and restore", &[])?;
    // Callers that have nothing to say of it.
    t.runtime(&["--criu=", "delete", "-f", "no-such"])?.exits(0)?;
    Ok(())
}

fn wrong_values(t: &Test) -> Verdict {
    for (words, ours) in [
        (&["--log-format", "xml", "list"][..], "--log-format takes text or json, not \"xml\""),
        (&["--rootless", "maybe", "list"], "--rootless takes true or false or auto, not \"maybe\""),
        (&["--cgroup-manager", "v1", "list"], "--cgroup-manager takes cgroupfs or systemd or disabled, not \"v1\""),
        (&["list", "--format", "yaml"], "--format takes table or json, not \"yaml\""),
        (&["ps", "-f", "yaml", "x"], "--format takes table or json, not \"yaml\""),
        (&["create", "--preserve-fds", "-1", "x"], "--preserve-fds takes a number, not \"-1\""),
        (&["events", "--interval", "5", "x"], "--interval takes a duration as 5s or 1m30s, not \"5\""),
        (&["events", "--interval", "0s", "x"], "duration interval must be greater than 0"),
        (&["update", "--pids-limit", "many", "x"], "--pids-limit: \"many\" is not what it takes"),
        (&["update", "--cpu-rt-runtime", "1", "x"], "--cpu-rt-runtime: a setting of cgroup v1"),
        (
            &["checkpoint", "--manage-cgroups-mode", "x", "x"],
            "--manage-cgroups-mode takes soft or full or strict or ignore",
        ),
    ] {
        t.runtime(words)?.refuses(t, ours, &["value", "invalid", "takes"])?;
    }
    Ok(())
}

fn debug(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.save()?;
    let log = t.path("log");
    let call = |words: &[&str]| -> Verdict<Vec<String>> {
        fs::write(&log, "")?;
        let mut all = vec!["--debug", "--log-format", "json", "--log"];
        let path = log.to_string_lossy();
        all.push(&path);
        all.extend(words);
        t.runtime(&all)?;
        let text = fs::read_to_string(&log)?;
        let entries = text.lines().map(|line| -> Verdict<String> {
            let entry: Value = serde_json::from_str(line)?;
            check(entry["level"] == "debug" || entry["level"] == "error", || format!("level: {entry}"))?;
            Ok(some("msg", entry["msg"].as_str())?.to_owned())
        });
        entries.collect()
    };
    let says = |what: &str, lines: &[String], parts: &[&str]| -> Verdict {
        let text = lines.join("\n");
        parts.iter().try_for_each(|part| contains(what, &text, part))
    };
    let (bundle, pid_file) = (b.dir.to_string_lossy(), b.pid_file());
    let root = t.state_root();
    let lines = call(&["create", "--bundle", &bundle, "--pid-file", &pid_file.to_string_lossy(), &b.id])?;
    let process = format!("process {}", b.pid()?.as_raw_nonzero());
    let cgroup = format!("in the cgroup {}", some("a cgroup", b.config["linux"]["cgroupsPath"].as_str())?);
    let asked = format!("of user 0: create {} in {}", b.id, root.display());
    says("create", &lines, &["no-frills ", &asked, &bundle, "\"sleep\"", &process, &cgroup, "exit status 0 after"])?;
    says("start", &call(&["start", &b.id])?, &[&process, "runs its program"])?;
    // What is given to the process is nobody else's business.
    let lines = call(&["exec", "--env", "PASSWORD=secret", &b.id, "true"])?;
    says("exec", &lines, &["by exec", &cgroup, "exit status 0"])?;
    lacks("exec", &lines.join("\n"), "secret")?;
    says("kill", &call(&["kill", &b.id, "KILL"])?, &["SIGKILL sent to process"])?;
    b.ended()?;
    says("delete", &call(&["delete", &b.id])?, &["exit status 0"])?;
    says("state", &call(&["state", &b.id])?, &["container does not exist", "failed after"])
}

fn long_id(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    let run = |length: usize| -> Verdict<Output> {
        let mut b = Bundle { test: t, dir: b.dir.clone(), id: "i".repeat(length), config: b.config.clone() };
        t.clean_up_also(&b.id);
        b = b.set("/linux/cgroupsPath", json!(format!("{}/long", t.cgroup)));
        b.run()
    };
    run(255)?.exits(0)?;
    for length in [256, 1024, 1025] {
        let peers = ["file name too long", "File name too long", "invalid container ID format"];
        run(length)?.refuses(t, "it is longer than 255 characters, and a directory is named so", &peers)?;
    }
    Ok(())
}

/// The case's own view of the hierarchy, in which nothing can be made.
struct ReadOnly<'t>(&'t Test);

impl<'t> ReadOnly<'t> {
    fn new(t: &'t Test) -> Verdict<Self> {
        let (mount, mut command) = (&t.cgroup_mount, Command::new("mount"));
        check(command.args(["-o", "remount,bind,ro"]).arg(mount).status()?.success(), || {
            "remounting failed".to_owned()
        })?;
        Ok(Self(t))
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        // The search for what is left tells if it fails: it removes the case's cgroup.
        let (Ok(_) | Err(_)) = Command::new("mount").args(["-o", "remount,bind,rw"]).arg(&self.0.cgroup_mount).status();
    }
}

fn rootless_with(t: &Test, word: &str) -> Verdict<Output> {
    let mut b = t.bundle()?.sh("echo ran").remove("/linux/resources");
    if t.kind == Kind::Runc && word == "true" {
        b = b.remove("/linux/cgroupsPath");
    }
    b.save()?;
    let _read_only = ReadOnly::new(t)?;
    let bundle = b.dir.to_string_lossy();
    t.runtime(&["--rootless", word, "run", "--bundle", &bundle, &b.id])
}

fn rootless_false(t: &Test) -> Verdict {
    for word in ["false", "auto"] {
        rootless_with(t, word)?.refuses(t, "/linux/cgroupsPath: ", &["read-only file system"])?;
    }
    Ok(())
}

fn rootless_true(t: &Test) -> Verdict {
    let output = rootless_with(t, "true")?.exits(0)?;
    if t.ours() {
        let said = output.stderr()?;
        contains("the warning", &said, "/linux/cgroupsPath: done without: making the cgroup ")?;
        contains("the warning", &said, "EROFS")?;
    }
    output.prints("ran\n").map(drop)
}

const DISABLED: [&str; 2] = ["--cgroup-manager", "disabled"];

/// Without limits, and running as it is told.
fn without_cgroup<'t>(b: &Bundle<'t>, words: &[&str]) -> Verdict<Output> {
    b.save()?;
    let (bundle, pid_file) = (b.dir.to_string_lossy(), b.pid_file());
    let pid_file = pid_file.to_string_lossy();
    let mut all = DISABLED.to_vec();
    all.extend(words);
    all.extend(["--bundle", &bundle, "--pid-file", &pid_file, &b.id]);
    b.test.runtime(&all)
}

fn cgroup_of(pid: i32) -> Verdict<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(some("a line of cgroup v2", text.lines().find_map(|line| line.strip_prefix("0::")))?.to_owned())
}

fn disabled(t: &Test) -> Verdict {
    let b = t.bundle()?.idle().remove("/linux/resources");
    without_cgroup(&b, &["run", "--detach"])?.exits(0)?;
    let pid = b.pid()?.as_raw_nonzero().get();
    same("its cgroup", cgroup_of(pid)?, cgroup_of(std::process::id().cast_signed())?)?;
    check(!b.cgroup_dir().exists(), || "a cgroup was made".to_owned())?;
    b.is("running")?;
    b.verb("exec", &["echo", "ran"])?.exits(0)?.prints("ran\n")?;
    b.kill_and_delete()?;
    b.is_gone()?;
    // Attached, and where a configuration names no cgroup.
    let b = t.bundle()?.sh("exit 7").remove("/linux/resources").remove("/linux/cgroupsPath");
    without_cgroup(&b, &["run"])?.exits(7)?;
    b.is_gone()
}

fn disabled_commands(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("sleep 1001 & exec sleep 1000").remove("/linux/resources");
    without_cgroup(&b, &["create"])?.exits(0)?;
    b.start()?;
    let none = "the container has no cgroup of its own, ";
    for (words, told) in [
        (&["pause"][..], "without which it cannot be paused"),
        (&["resume"], "without which it cannot be"),
        (&["events", "--stats"], "without which it cannot be"),
        (&["events"], "without which it cannot be"),
        (&["update", "--pids-limit", "5"], "so that it cannot be limited"),
    ] {
        let mut all = words.to_vec();
        all.push(&b.id);
        t.runtime(&all)?.refuses(t, &format!("{none}{told}"), &[])?;
    }
    b.is("running")?;
    let mut refused = vec!["exec", "--cgroup", "below", &b.id, "true"];
    t.runtime(&refused)?.refuses_with(t, 255, "exec failed: the container has no cgroup of its own", &[])?;
    refused[2] = "/";
    t.runtime(&refused)?.exits(0)?;
    // Found by its pid namespace.
    crate::bundle::eventually("two processes", || {
        let pids: Value = serde_json::from_str(&t.runtime(&["ps", "-f", "json", &b.id])?.exits(0)?.stdout()?)?;
        Ok(pids.as_array().map(Vec::len) == Some(2))
    })?;
    t.runtime(&["kill", "--all", &b.id, "TERM"])?.exits(0)?;
    t.runtime(&["delete", "--force", &b.id])?.exits(0)?;
    b.ended()?;
    b.is_gone()
}

fn disabled_limits(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]).set("/linux/resources", json!({"pids": {"limit": 5}}));
    let told = "/linux/resources/pids/limit: the container gets no cgroup, so that it cannot be limited: \
                it is not to have one (--cgroup-manager disabled); ask for no limits";
    without_cgroup(&b, &["run"])?.refuses(t, told, &["cannot set limits without cgroups"])?;
    b.is_gone()
}

fn disabled_mount(t: &Test) -> Verdict {
    let b = t.bundle()?.no_namespace("cgroup").remove("/linux/resources");
    let at = some("the mount", b.mount_index("/sys/fs/cgroup"))?;
    let b = b.set(&format!("/mounts/{at}/options"), json!(["nosuid", "noexec", "nodev"]));
    let script = "cat /sys/fs/cgroup/cgroup.procs | wc -l; mkdir /sys/fs/cgroup/mine 2>&1; ls -d /sys/fs/cgroup/*/ 2>/dev/null; echo";
    let out = without_cgroup(&b.sh(script), &["run"])?.exits(0)?.stdout()?;
    contains_one("the output", &out, &["Read-only file system"])?;
    lacks("cgroups of others", &out, "/sys/fs/cgroup/init.scope")?;
    // Processes in the caller's cgroup, this one among them.
    let count: usize = some("a line", out.lines().next())?.trim().parse()?;
    check(count >= 1, || format!("nobody is in it: {out}"))
}
