use std::os::unix::fs::PermissionsExt;

use super::*;

fn hook(args: &[&str]) -> Hook {
    let args = args.iter().map(|&argument| argument.to_owned()).collect();
    Hook { path: "/bin/bash".to_owned(), args, env: Some(vec!["PATH=/bin:/usr/bin".to_owned()]), timeout: None }
}

fn script(text: &str) -> Hook {
    hook(&["hook", "-c", text])
}

fn run_with(hook: &Hook, state: &[u8]) -> std::result::Result<(), String> {
    let start = |streams: [BorrowedFd<'_>; 3]| start_here(hook, Path::new("/usr"), streams);
    let occasion = Occasion { first: None, note: &|_| Ok(()), at_most: None };
    run_one(hook, Moment::Prestart, 3, state, &occasion, start).map_err(|error| error.to_string())
}

#[track_caller]
fn fails(hook: &Hook, message: &str) {
    assert_eq!(run_with(hook, b"{}").unwrap_err(), format!("/hooks/prestart/3: hook {:?}: {message}", hook.path));
}

#[test]
fn it_gets_arguments_environment_directory_and_state() {
    let check = r#"[ "$0 $1 $PWD" = "name a /usr" ] && [ "$(env | grep -v -e ^PWD -e ^SHLVL -e ^_=)" = A=b ] &&
        [ "$(cat)" = state ] && [ "$(cat /dev/stdin)" = "" ]"#;
    let mut hook = hook(&["x", "-c", check, "name", "a"]);
    hook.env = Some(vec!["A=b".to_owned()]);
    hook.path = "/bin/bash".to_owned();
    // Without PATH bash has one of its own.
    run_with(&hook, b"state").unwrap();
}

#[test]
fn without_an_environment_it_gets_the_callers() {
    let mut hook = script("[ -n \"$CARGO_MANIFEST_DIR\" ]");
    fails(&hook, "exit status 1");
    hook.env = None;
    run_with(&hook, b"{}").unwrap();
}

#[test]
fn what_becomes_of_it_is_told_with_its_last_words() {
    run_with(&script("exit 0"), b"{}").unwrap();
    fails(&script("exit 3"), "exit status 3");
    fails(&script("echo out; exit 3"), "exit status 3: out");
    fails(&script("echo out; printf 'a\\033[1m\\n\\n  b\\r\\n' >&2; exit 3"), "exit status 3: a [1m; b");
    fails(&script("kill -TERM $$"), "killed by signal 15");
    fails(&script("printf '\\377x' >&2; exit 1"), "exit status 1: \u{fffd}x");
}

#[test]
fn what_cannot_be_executed_is_told() {
    let at = |path: &str| Hook { path: path.to_owned(), ..hook(&["x"]) };
    fails(&at("/nope"), "execve: ENOENT (no such file or directory)");
    fails(&at("/etc"), "execve: EACCES (permission denied)");
    fails(&at("/etc/passwd"), "execve: EACCES (permission denied)");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let executable = |content: &str| {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        at(path.to_str().unwrap())
    };
    fails(&executable("exit 0"), "execve: ENOEXEC (exec format error)");
    run_with(&executable("#!/bin/sh\nexit 0"), b"{}").unwrap();
    fails(&executable("#!/nope\n"), "execve: ENOENT (no such file or directory)");
}

#[test]
fn a_state_larger_than_a_pipe_is_read_closed_or_ignored() {
    let large = vec![b'x'; 3 << 20];
    run_with(&script("[ $(wc -c) = 3145728 ]"), &large).unwrap();
    run_with(&script("head -c 100000 >/dev/null; sleep 0.1"), &large).unwrap();
    run_with(&script("exec <&-; sleep 0.1"), &large).unwrap();
    run_with(&script("sleep 0.1"), &large).unwrap();
}

#[test]
fn one_that_says_much_is_heard_to_the_end_and_its_last_words_kept() {
    let much = "head -c 20000000 /dev/zero | tr '\\0' x >&2; head -c 20000000 /dev/zero; echo end >&2; exit 1";
    let said = run_with(&script(much), b"{}").unwrap_err();
    assert!(said.ends_with("xxxend") && said.len() < KEPT + 100, "{}", said.len());
}

#[test]
fn the_end_counts_though_a_process_keeps_the_pipes_open() {
    let start = Instant::now();
    run_with(&script("sleep 5 & echo $! >&2"), b"{}").unwrap();
    let loud = "(trap '' PIPE; while echo y; do :; done) & echo last >&2; exit 2";
    let said = run_with(&script(loud), b"{}").unwrap_err();
    assert!(said.contains("exit status 2: last"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn after_its_timeout_it_is_killed_with_its_children() {
    let mut slow = script("echo waiting >&2; sleep 1000 & cat <(sleep 1000)");
    slow.timeout = Some(Duration::from_secs(1));
    let start = Instant::now();
    fails(&slow, "killed: it took longer than its timeout of 1 s: waiting");
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(20), "{took:?}");
    slow.timeout = Some(Duration::MAX);
    slow.args[2] = "exit 4".to_owned();
    fails(&slow, "exit status 4");
}
