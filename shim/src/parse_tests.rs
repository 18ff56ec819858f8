use std::ffi::OsString;

use super::{Call, Values, parse};
use crate::flags;

fn call(line: &str) -> (Result<Call, String>, Values) {
    words(&line.split_ascii_whitespace().collect::<Vec<_>>())
}

fn words(words: &[&str]) -> (Result<Call, String>, Values) {
    let mut global = Values::default();
    let mut words = words.iter().map(OsString::from);
    let call = parse(&mut words, &mut global);
    (call, global)
}

/// Global flags, flags and positional arguments, each as it reads in a test.
fn read(line: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (call, global) = call(line);
    let Call::Run(_, flags, positionals) = call.unwrap() else { panic!("{line}: no command") };
    let list =
        |values: Values| values.0.iter().map(|(flag, value)| format!("{}={}", flag.name, value.display())).collect();
    let positionals = positionals.into_iter().map(|word| word.into_string().unwrap());
    (list(global), list(flags), positionals.collect())
}

fn error(line: &str) -> String {
    call(line).0.unwrap_err()
}

/// What containerd's go-runc writes.
#[test]
fn go_runc() {
    let root = "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json";
    let globals = ["root=/run/containerd/runc/k8s.io", "log=/b/log.json", "log-format=json"];
    for (line, flags, positionals) in [
        ("create --bundle /b --pid-file /b/init.pid web", vec!["bundle=/b", "pid-file=/b/init.pid"], vec!["web"]),
        (
            "create --bundle /b --pid-file /p --console-socket /s --no-pivot --no-new-keyring --preserve-fds 2 web",
            vec![
                "bundle=/b",
                "pid-file=/p",
                "console-socket=/s",
                "no-pivot=true",
                "no-new-keyring=true",
                "preserve-fds=2",
            ],
            vec!["web"],
        ),
        ("start web", vec![], vec!["web"]),
        ("kill --all web 9", vec!["all=true"], vec!["web", "9"]),
        ("delete --force web", vec!["force=true"], vec!["web"]),
        ("ps --format json web", vec!["format=json"], vec!["web"]),
        ("list --format=json", vec!["format=json"], vec![]),
        ("state web", vec![], vec!["web"]),
        ("pause web", vec![], vec!["web"]),
        ("resume web", vec![], vec!["web"]),
        ("events --stats web", vec!["stats=true"], vec!["web"]),
        ("events --interval 1s web", vec!["interval=1s"], vec!["web"]),
        (
            "exec --process /tmp/p --console-socket /s --detach --pid-file /p web",
            vec!["process=/tmp/p", "console-socket=/s", "detach=true", "pid-file=/p"],
            vec!["web"],
        ),
    ] {
        let (global, given, arguments) = read(&format!("{root} {line}"));
        assert_eq!(global, globals, "{line}");
        assert_eq!(given, flags, "{line}");
        assert_eq!(arguments, positionals, "{line}");
    }
    let (_, global) = call("--systemd-cgroup --rootless=false start web");
    assert!(global.has(&flags::SYSTEMD_CGROUP));
    assert_eq!(global.word(&flags::ROOTLESS), Some("false"));
    // As for restore; the flag is one of run, too.
    assert_eq!(read("run --detach -no-subreaper --bundle /b web").1, ["detach=true", "no-subreaper=true", "bundle=/b"]);
}

/// What conmon, CRI-O, BuildKit and Buildah write.
#[test]
fn other_engines() {
    for (line, globals, flags, positionals) in [
        (
            "--log-format=json --log /l --cgroup-manager cgroupfs create --bundle /b --pid-file /p --console-socket /s web",
            vec!["log-format=json", "log=/l", "cgroup-manager=cgroupfs"],
            vec!["bundle=/b", "pid-file=/p", "console-socket=/s"],
            vec!["web"],
        ),
        ("--root /r kill web SIGTERM", vec!["root=/r"], vec![], vec!["web", "SIGTERM"]),
        ("kill -a web 9", vec![], vec!["all=true"], vec!["web", "9"]),
        ("run --bundle /b --no-pivot --keep web", vec![], vec!["bundle=/b", "no-pivot=true", "keep=true"], vec!["web"]),
        ("kill web", vec![], vec![], vec!["web"]),
        ("features", vec![], vec![], vec![]),
    ] {
        let (global, given, arguments) = read(line);
        assert_eq!(global, globals, "{line}");
        assert_eq!(given, flags, "{line}");
        assert_eq!(arguments, positionals, "{line}");
    }
}

#[test]
fn one_dash_and_two_are_the_same() {
    for line in ["run -bundle /b web", "run --bundle /b web", "run -b /b web", "run --b /b web", "run -bundle=/b web"] {
        assert_eq!(read(line), (vec![], vec!["bundle=/b".to_owned()], vec!["web".to_owned()]), "{line}");
    }
    // A value may hold an equals sign, and look like a flag.
    assert_eq!(read("run --bundle=a=b web").1, ["bundle=a=b"]);
    assert_eq!(read("run --bundle --keep web").1, ["bundle=--keep"]);
}

#[test]
fn booleans_take_go_s_values() {
    for (value, on) in [("true", true), ("1", true), ("T", true), ("false", false), ("0", false), ("F", false)] {
        let (_, global) = call(&format!("--systemd-cgroup={value} features"));
        assert_eq!(global.has(&flags::SYSTEMD_CGROUP), on, "{value}");
    }
    assert_eq!(error("--systemd-cgroup=xx list"), "--systemd-cgroup takes true or false, not \"xx\"");
    // The last one counts.
    let (_, global) = call("--debug --debug=false list");
    assert!(!global.has(&flags::DEBUG));
    // A word after it is no value of a boolean.
    assert_eq!(read("delete --force false").2, ["false"]);
}

#[test]
fn flags_may_follow_positionals() {
    assert_eq!(read("delete web --force"), (vec![], vec!["force=true".to_owned()], vec!["web".to_owned()]));
    assert_eq!(read("kill web -a KILL").2, ["web", "KILL"]);
    // Not with ps, whose other arguments are for the host's ps.
    let (_, flags, positionals) = read("ps -f table web -o pid,comm --forest");
    assert_eq!(flags, ["format=table"]);
    assert_eq!(positionals, ["web", "-o", "pid,comm", "--forest"]);
}

#[test]
fn two_dashes_end_the_flags() {
    assert_eq!(read("run -b /b -- -x").2, ["-x"]);
    assert_eq!(read("-- delete web").2, ["web"]);
    assert_eq!(read("ps -- web -- -o pid").2, ["web", "--", "-o", "pid"]);
}

#[test]
fn wrong_lines_say_what_is_wrong() {
    for (line, message) in [
        ("create --bundle", "flag needs an argument: --bundle"),
        ("create -b", "flag needs an argument: --bundle"),
        ("--log", "flag needs an argument: --log"),
        ("--bogus list", "unknown flag: --bogus"),
        ("list --bogus", "unknown flag: --bogus"),
        ("list -x", "unknown flag: -x"),
        ("list --root /r", "unknown flag: --root (it belongs before the command)"),
        ("---force list", "not a flag: ---force"),
        ("list --=x", "not a flag: --=x"),
        ("bogus", "unknown command: bogus (see no-frills --help)"),
        ("state", "state takes exactly 1 argument, not 0 (see no-frills state --help)"),
        ("state a b", "state takes exactly 1 argument, not 2 (see no-frills state --help)"),
        ("kill", "kill takes at least 1 argument, not 0 (see no-frills kill --help)"),
        ("kill a b c", "kill takes at most 2 arguments, not 3 (see no-frills kill --help)"),
        ("list a", "list takes exactly 0 arguments, not 1 (see no-frills list --help)"),
        ("ps", "ps takes at least 1 argument, not 0 (see no-frills ps --help)"),
        ("list -f yaml", "--format takes table or json, not \"yaml\""),
        ("--log-format=xml list", "--log-format takes text or json, not \"xml\""),
        ("run --preserve-fds x web", "--preserve-fds takes a number, not \"x\""),
        ("run --preserve-fds -1 web", "--preserve-fds takes a number, not \"-1\""),
        ("exec", "exec takes at least 1 argument, not 0 (see no-frills exec --help)"),
        ("exec -g 5,6 web sh", "--additional-gids takes a number, not \"5,6\""),
        ("exec -e", "flag needs an argument: --env"),
        ("update --limit=1 web", "unknown flag: --limit"),
        ("restore --lsm-mount-context", "flag needs an argument: --lsm-mount-context"),
        (
            "checkpoint --manage-cgroups-mode x c",
            "--manage-cgroups-mode takes soft or full or strict or ignore, not \"x\"",
        ),
        ("checkpoint a b", "checkpoint takes exactly 1 argument, not 2 (see no-frills checkpoint --help)"),
        ("--rootless=maybe list", "--rootless takes true or false or auto, not \"maybe\""),
        ("--criu /c list", "--criu: this build has no checkpoint and restore, and so no use for CRIU"),
    ] {
        assert_eq!(error(line), message, "{line}");
    }
}

#[test]
fn help_is_everywhere() {
    for line in ["", "--help", "-h", "--debug -help", "--root /r"] {
        assert!(matches!(call(line).0, Ok(Call::Overview)), "{line}");
    }
    assert!(matches!(call("--version").0, Ok(Call::Version)));
    assert!(matches!(call("-v").0, Ok(Call::Version)));
    for (line, name) in [("run --help", "run"), ("run web -h", "run"), ("checkpoint --help", "checkpoint")] {
        assert!(matches!(call(line).0, Ok(Call::Help(command)) if command.name == name), "{line}");
    }
    // Help for the program that a command runs is not ours.
    assert_eq!(read("ps web --help").2, ["web", "--help"]);
    assert_eq!(read("exec -t web sh -c -- -u 5 --tty").2, ["web", "sh", "-c", "--", "-u", "5", "--tty"]);
}

#[test]
fn a_wrong_line_still_says_where_to_log_it() {
    let (call, global) = call("--log /l --log-format json bogus");
    assert!(call.is_err());
    assert_eq!(global.word(&flags::LOG), Some("/l"));
    assert_eq!(global.word(&flags::LOG_FORMAT), Some("json"));
}

#[test]
fn an_empty_argument_is_positional() {
    let (call, _) = words(&["state", ""]);
    assert!(matches!(call, Ok(Call::Run(_, _, positionals)) if positionals == [""]));
}

#[test]
fn arguments_need_not_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let bundle = OsString::from_vec(vec![b'/', 0xff]);
    let line = [OsString::from("run"), OsString::from("-b"), bundle.clone(), OsString::from("web")];
    let Call::Run(_, flags, _) = parse(&mut line.into_iter(), &mut Values::default()).unwrap() else { panic!() };
    assert_eq!(flags.value(&flags::BUNDLE), Some(bundle.as_os_str()));
}

#[test]
fn tables_are_consistent() {
    use crate::commands::{COMMANDS, GLOBAL};
    for flags in COMMANDS.iter().map(|command| command.flags).chain([GLOBAL]) {
        let mut names: Vec<String> = flags.iter().map(|flag| flag.name.to_owned()).collect();
        names.extend(flags.iter().filter_map(|flag| flag.short).map(String::from));
        names.extend(["help".to_owned(), "h".to_owned()]);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice: {names:?}");
    }
    let mut names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), COMMANDS.len());
}
