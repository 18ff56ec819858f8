//! exec: another process in a container, by flags and by process.json.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;
use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, Test, bare, code, ended, eventually};
use crate::case::{Case, case};
use crate::cases::process::{signals_are_clean, status_line};
use crate::cgroup2;
use crate::expect::{Verdict, check, contains, contains_one, lacks, same, some};
use crate::kind::Kind;
use crate::terminal;

pub(crate) fn cases() -> Vec<Case> {
    let groups =
        [basic_cases(), own_process_cases(), flag_cases(), process_file_cases(), refused_cases(), place_cases()];
    let more = [detached_cases(), stream_cases(), terminal_cases(), many_cases()];
    groups.into_iter().chain(more).flatten().collect()
}

fn basic_cases() -> Vec<Case> {
    vec![
        case("exec/runs", "a program runs in the container, and exec ends when it does", runs),
        case("exec/exit-status", "the exit status is the program's", exit_status),
        case("exec/killed-by-signal", "a program that signal N ended gives 128 + N", killed_by_signal),
        case("exec/flags-end-at-id", "what follows the id belongs to the program", flags_end_at_id),
        case("exec/created", "a created container takes exec before its program runs", created),
        case("exec/session", "the process leads a session and process group, and its parent is outside", session),
        case("exec/signals-clean", "no signal is blocked or ignored, whatever the caller does", signals_clean)
            .differs(Kind::Runc, "passes on what its caller ignores"),
        case("exec/container-runs-on", "the end of an exec is not that of the container", container_runs_on),
        case("exec/dies-with-container", "the end of the container's process is that of an exec", dies_with_container),
        case("exec/mounts", "the process sees what the container's own sees", mounts),
        case("exec/read-only-root", "a read-only root is one for the process, too", read_only_root),
        case("exec/devices", "the container's device rules hold for the process", devices),
        case("exec/keyring", "the session keyring is not the caller's", keyring),
    ]
}

fn own_process_cases() -> Vec<Case> {
    vec![
        case("exec/own-env", "the environment is that of the container's process", own_env),
        case("exec/own-cwd", "the working directory is that of the container's process", own_cwd)
            .known_failure(Kind::Crun, "starts in /"),
        case("exec/own-user", "ids and groups are those of the container's process", own_user),
        case("exec/own-limits", "resource limits are those of the container's process", own_limits)
            .known_failure(Kind::Crun, "has those of the caller"),
        case("exec/own-oom-score", "oomScoreAdj is that of the container's process", own_oom_score)
            .known_failure(Kind::Crun, "has that of the caller"),
        case("exec/own-umask", "the umask is that of the container's process", own_umask),
        case("exec/own-capabilities", "capabilities are those of the container's process", own_capabilities)
            .known_failure(Kind::Crun, "has no noNewPrivileges then, so that the kernel adds for root"),
        case("exec/own-no-new-privileges", "noNewPrivileges is that of the container's process", own_no_new_privileges)
            .known_failure(Kind::Crun, "is off without the flag"),
        case("exec/own-config", "the configuration counts that the container was created with", own_config)
            .known_failure(Kind::Runc, "reads the bundle's config.json anew"),
    ]
}

fn flag_cases() -> Vec<Case> {
    vec![
        case("exec/env", "--env adds to the environment and replaces in it", env),
        case("exec/env-path", "the program is looked up in the PATH of --env", env_path),
        case("exec/env-malformed", "--env without a name or a = is refused", env_malformed)
            .differs(Kind::Crun, "passes it over or on"),
        case("exec/cwd", "--cwd is the working directory", cwd),
        case("exec/cwd-missing", "--cwd of no directory is an error that says so", cwd_missing),
        case("exec/cwd-relative", "--cwd takes an absolute path", cwd_relative)
            .differs(Kind::Crun, "takes it from the root"),
        case(
            "exec/cve-2024-21626-cwd",
            "--cwd through /proc/self/fd does not lead out of the container",
            cwd_by_descriptor,
        ),
        case("exec/user", "--user sets the uid, and the gid if it names one", user)
            .differs(Kind::Crun, "has gid 0 and no other groups when no gid is named"),
        case("exec/user-home", "HOME is that of the user in the container's passwd", user_home),
        case(
            "exec/cve-2016-3697-user",
            "--user is a number, even if passwd has somebody of that name",
            user_is_a_number,
        ),
        case("exec/user-malformed", "--user takes no names and nothing that is nearly a number", user_malformed),
        case("exec/cve-2026-30892-user", "--user takes no number that does not fit in an id", user_too_large)
            .known_failure(Kind::Runc, "1.3.6 cuts 4294967296 to 0: the process runs as root")
            .known_failure(Kind::Crun, "1.28 takes -1 for 0: the process runs as root"),
        case("exec/additional-gids", "--additional-gids adds groups", additional_gids)
            .skip(Kind::Crun, "has no such flag"),
        case("exec/cap", "--cap adds to the bounding, permitted and effective sets", cap)
            .differs(Kind::Crun, "replaces all sets"),
        case(
            "exec/cve-2022-29162-cap",
            "--cap leaves the inheritable set as it is, and ambient within it",
            cap_not_inheritable,
        )
        .known_failure(Kind::Crun, "replaces all sets"),
        case("exec/cap-unknown", "a capability that nobody knows is no error", cap_unknown),
        case("exec/no-new-privs", "--no-new-privs sets it", no_new_privs),
        case("exec/preserve-fds", "--preserve-fds N passes N descriptors from 3", preserve_fds),
        case("exec/preserve-fds-closed", "--preserve-fds of a closed descriptor is an error", preserve_closed)
            .differs(Kind::Crun, "passes what there is")
            .differs(Kind::Runc, "passes a descriptor of its own"),
        case("exec/pidfd-socket", "--pidfd-socket receives a pidfd of the process", pidfd_socket)
            .skip(Kind::Crun, "has no such flag"),
        case("exec/labels", "labels that this machine cannot set are an error", labels)
            .known_failure(Kind::Crun, "passes over them"),
    ]
}

fn process_file_cases() -> Vec<Case> {
    vec![
        case("exec/docker-process", "the process of a docker exec", docker_process),
        case("exec/docker-user-process", "the process of a docker exec -u", docker_user_process),
        case("exec/process", "everything that a process.json says", process_file),
        case("exec/process-oom-score", "oomScoreAdj of process.json", process_oom_score)
            .known_failure(Kind::Runc, "takes that of the container's process")
            .known_failure(Kind::Crun, "passes over it"),
        case("exec/process-umask", "user.umask of process.json", process_umask)
            .known_failure(Kind::Runc, "takes that of the container's process")
            .known_failure(Kind::Crun, "takes that of the container\'s process if the file has none"),
        case("exec/process-alone", "with process.json nothing is taken from the container's process", process_alone)
            .known_failure(Kind::Crun, "takes what is missing from it"),
        case(
            "exec/process-and-flags",
            "with process.json the flags that change a process do nothing",
            process_and_flags,
        ),
        case("exec/process-wrong", "a process.json that is wrong is refused", process_wrong)
            .known_failure(Kind::Crun, "takes what is missing from the container\'s process, or executes nothing"),
    ]
}

fn refused_cases() -> Vec<Case> {
    vec![
        case("exec/missing", "a container that does not exist", missing),
        case("exec/stopped", "a stopped container is refused", stopped),
        case("exec/paused", "a paused container is refused", paused),
        case(
            "exec/ignore-paused",
            "--ignore-paused takes a paused one: the process runs when it is thawed",
            ignore_paused,
        )
        .skip(Kind::Crun, "has no such flag"),
        case("exec/program-missing", "a program that is not there", program_missing),
        case("exec/program-not-executable", "a file that is no program", program_not_executable),
        case("exec/program-directory", "a directory", program_directory),
        case("exec/program-none", "no program at all", program_none),
        case("exec/error-in-log", "an error is one line of a JSON log", error_in_log)
            .known_failure(Kind::Crun, "its words differ"),
        case("exec/nothing-left", "an exec that failed leaves no process and no pid file", nothing_left)
            .skip(Kind::Crun, "returns before its process is gone"),
    ]
}

fn place_cases() -> Vec<Case> {
    vec![
        case("exec/namespaces", "every namespace is that of the container's process", namespaces),
        case("exec/namespaces-user", "so is a user namespace, with its capabilities", namespaces_user),
        case("exec/namespaces-few", "a container that shares most namespaces of the host", namespaces_few),
        case("exec/shared-pids", "a container in the host's pid namespace", shared_pids),
        case("exec/cgroup", "the cgroup is the container's", cgroup),
        case("exec/cgroup-sub", "--cgroup is a cgroup below it", cgroup_sub),
        case("exec/cgroup-missing", "--cgroup of none is refused", cgroup_missing),
        case("exec/cgroup-outside", "--cgroup does not lead out of the container's", cgroup_outside)
            .known_failure(Kind::Crun, "1.28 takes .. and leaves the container's cgroup"),
        case("exec/cgroup-controller", "--cgroup with a controller is about cgroup v1: refused", cgroup_controller),
        case("exec/cgroup-of-moved-init", "a container's process that has moved to a sub-cgroup", cgroup_moved),
    ]
}

fn detached_cases() -> Vec<Case> {
    vec![
        case("exec/detach", "--detach returns while the process runs, and is not its parent", detach),
        case("exec/detach-status", "--detach tells nothing of how the program ends", detach_status),
        case("exec/pid-file", "--pid-file holds the process's pid in the caller's namespace and no newline", pid_file),
        case("exec/pid-file-nowhere", "--pid-file that cannot be written is an error", pid_file_nowhere)
            .skip(Kind::Crun, "leaves a process that may run or not"),
    ]
}

fn stream_cases() -> Vec<Case> {
    vec![
        case("exec/stdin", "a megabyte goes through stdin and stdout", stdin),
        case("exec/stderr", "stderr is apart from stdout", stderr),
        case("exec/descriptors", "descriptors 0 to 2 are open and no others", descriptors),
        case("exec/signals", "signals to exec go to the process", signals),
    ]
}

fn terminal_cases() -> Vec<Case> {
    vec![
        case("exec/tty", "--tty passes a terminal through: output, input, size, exit status", tty),
        case("exec/tty-restores", "the terminal is given back as it was", tty_restores),
        case("exec/tty-resizes", "a new window size reaches the process", tty_resizes),
        case("exec/tty-controlling", "the terminal controls the process's session", tty_controlling),
        case("exec/console-socket", "--console-socket receives a master of the container's", console_socket),
        case("exec/console-size", "consoleSize of process.json is the terminal's size", console_size)
            .skip(Kind::Crun, "sets it at some time or other"),
        case("exec/tty-owner", "the terminal belongs to the user", tty_owner),
        case("exec/tty-in-user-namespace", "a terminal in a user namespace", tty_in_user_namespace),
        case("exec/tty-without-socket", "--tty --detach without a console socket is refused", tty_without_socket),
        case("exec/socket-without-tty", "a console socket without a terminal is refused", socket_without_tty)
            .known_failure(Kind::Crun, "takes no notice of it"),
    ]
}

fn many_cases() -> Vec<Case> {
    vec![
        case("exec/in-a-row", "hundreds in a row leave no process, zombie, descriptor or cgroup", in_a_row),
        case("exec/at-once", "twenty at once all work", at_once),
        case("exec/dies-at-once", "a process that ends at once is no error, attached and detached", dies_at_once),
        case(
            "exec/while-killed",
            "exec while the container is killed and deleted ends, and leaves nothing",
            while_killed,
        )
        .skip(
            Kind::Runc,
            "1.3.6 leaves processes for others to reap, and fails to delete the container until they are",
        ),
    ]
}

/// A container whose process does nothing.
fn running(t: &Test) -> Verdict<Bundle<'_>> {
    run(t.bundle()?)
}

/// Starts the container with a process that does nothing.
fn run(b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    let b = b.idle();
    b.create()?;
    b.start()?;
    Ok(b)
}

fn command(b: &Bundle, flags: &[&str], args: &[&str]) -> Command {
    b.test.command(&[&["exec"], flags, &[&b.id], args].concat())
}

fn exec(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<Output> {
    b.test.output_of(command(b, flags, args))
}

/// What a program printed, which must succeed.
fn output(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<String> {
    exec(b, flags, args)?.exits(0)?.stdout()
}

/// A detached exec: the pid of the process. Whoever gets it ends it by [`end`]: its zombie would keep the container's
/// pid namespace, and thereby its first process, from ending.
fn detached(b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<Pid> {
    let path = b.dir.join("exec.pid");
    let text = path.to_string_lossy();
    exec(b, &[&["--detach", "--pid-file", &text], flags].concat(), args)?.exits(0)?;
    pid_in(&path)
}

/// Kills a process and reaps it.
fn end(pid: Pid) -> Verdict {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    ended(pid)?;
    Ok(())
}

/// What a script printed.
fn sh(b: &Bundle, flags: &[&str], script: &str) -> Verdict<String> {
    output(b, flags, &["sh", "-c", script])
}

/// exec failed, with runc's status 255, and told why: `ours`, or one of `peers`.
fn refuses(b: &Bundle, output: Output, ours: &str, peers: &[&str]) -> Verdict {
    let stderr = output.stderr()?.replace("\\\"", "\"");
    if b.test.kind == Kind::Crun {
        check(output.status != 0, || format!("it succeeded: {output:?}"))?;
    } else {
        output.exits(255)?;
        contains("stderr", &stderr, "exec failed: ")?;
    }
    lacks("stderr", &stderr, "panicked")?;
    if b.test.ours() {
        return contains("stderr", &stderr, ours);
    }
    if peers.is_empty() { Ok(()) } else { contains_one("stderr", &stderr, peers) }
}

/// Writes a process.json, and gives its path.
fn process_json(b: &Bundle, process: &Value) -> Verdict<String> {
    let path = b.dir.join("process.json");
    fs::write(&path, process.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

const ENV: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// The process of process.json for a script.
fn process(script: &str) -> Value {
    json!({"args": ["sh", "-c", script], "cwd": "/", "env": [ENV]})
}

// What exec is.

fn runs(t: &Test) -> Verdict {
    let b = running(t)?;
    same("output", output(&b, &[], &["echo", "in the container"])?, "in the container\n")?;
    same("host name", output(&b, &[], &["hostname"])?.trim(), b.config["hostname"].as_str().unwrap_or_default())
}

fn exit_status(t: &Test) -> Verdict {
    let b = running(t)?;
    for status in [0, 1, 7, 126, 127, 254] {
        exec(&b, &[], &["sh", "-c", &format!("exit {status}")])?.exits(status)?;
    }
    Ok(())
}

fn killed_by_signal(t: &Test) -> Verdict {
    let b = running(t)?;
    for (name, number) in [("KILL", 9), ("TERM", 15), ("ABRT", 6)] {
        exec(&b, &[], &["sh", "-c", &format!("kill -{name} $$")])?.exits(128 + number)?;
    }
    Ok(())
}

fn flags_end_at_id(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = r#"echo "$@""#;
    let args = ["sh", "-c", script, "sh", "-u", "5", "--cwd", "-t", "--", "--help"];
    same("output", output(&b, &[], &args)?, "-u 5 --cwd -t -- --help\n")
}

fn created(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("echo ran >/ran; exec sleep 1000");
    b.create()?;
    same("output", output(&b, &[], &["echo", "before"])?, "before\n")?;
    b.is("created")?;
    check(!b.rootfs("ran").exists(), || "the container's program ran".to_owned())?;
    b.start()?;
    b.is("running")
}

fn session(t: &Test) -> Verdict {
    let b = running(t)?;
    let out = sh(&b, &[], "echo $$ $PPID; cut -d' ' -f5-7 /proc/$$/stat")?;
    let words: Vec<&str> = out.split_whitespace().collect();
    let [pid, parent, group, session, terminal] = words[..] else {
        return check(false, || format!("output: {out:?}"));
    };
    same("parent", parent, "0")?;
    same("process group, session", [group, session], [pid, pid])?;
    same("terminal", terminal, "0")
}

fn signals_clean(t: &Test) -> Verdict {
    let b = running(t)?;
    let inner = command(&b, &[], &["cat", "/proc/self/status"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap '' PIPE HUP USR1 QUIT; exec "$@""#, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    bare(&mut command);
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    if t.kind == Kind::Runc {
        return same("SigBlk", status_line(&out, "SigBlk")?, "0000000000000000");
    }
    signals_are_clean(&out)
}

fn container_runs_on(t: &Test) -> Verdict {
    let b = running(t)?;
    exec(&b, &[], &["false"])?.exits(1)?;
    b.is("running")?;
    same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)
}

fn dies_with_container(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut child, mut out) = spawn(&b, &[], "echo ready; exec sleep 1000")?;
    same("output", out.next_line()?, "ready\n")?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    same("status", code(child.wait()?), 137)
}

fn mounts(t: &Test) -> Verdict {
    let b = running(t)?;
    let out = sh(&b, &[], "cat /proc/self/mountinfo; echo ----; cat /proc/1/mountinfo")?;
    let (own, first) = some("both tables", out.split_once("----\n"))?;
    check(own.lines().count() > 5, || format!("mounts: {own}"))?;
    same("mounts", own, first)?;
    let out = sh(&b, &[], "readlink /proc/self/root; pwd; ls -id / /proc/1/root/.")?;
    check(out.starts_with("/\n/\n"), || format!("root and working directory: {out}"))?;
    same("bytes of a masked file", output(&b, &[], &["cat", "/proc/keys"])?.len(), 0)
}

fn read_only_root(t: &Test) -> Verdict {
    let b = running(t)?;
    same(
        "output",
        sh(&b, &[], "touch /x 2>/dev/null || echo refused; echo 1 >/proc/sys/kernel/panic || echo too")?,
        "refused\ntoo\n",
    )
}

fn devices(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().capabilities(&["CAP_MKNOD"]);
    let b = run(b.set("/process/noNewPrivileges", json!(false)))?;
    let script = "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg 2>/dev/null >/dev/null; test $? != 0 && echo refused; \
                  echo x >/dev/null && echo null";
    same("output", sh(&b, &[], script)?, "refused\nnull\n")
}

fn keyring(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/linux/maskedPaths", json!([])))?;
    let out = output(&b, &[], &["cat", "/proc/keys"])?;
    let own = out.lines().filter(|line| line.contains("keyring") && line.contains(&b.id)).count();
    same("keyrings named after the container", own, 1)
}

// The container's own process as the model.

fn own_env(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "A=1", "EMPTY="])))?;
    let mut command = command(&b, &[], &["env"]);
    command.env("FROM_THE_CALLER", "1");
    let out = t.output_of(command)?.exits(0)?.stdout()?;
    for line in [ENV, "A=1", "EMPTY="] {
        check(out.lines().any(|found| found == line), || format!("{line} is missing: {out}"))?;
    }
    lacks("the environment", &out, "FROM_THE_CALLER")?;
    lacks("the environment", &out, "_LIBCONTAINER")
}

fn own_cwd(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/cwd", json!("/usr")))?;
    same("working directory", output(&b, &[], &["pwd", "-P"])?, "/usr\n")
}

fn own_user(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 77]})))?;
    same("ids", groups(&b, &[])?, (1000, 1001, vec![5, 77]))
}

/// uid, gid, and the other groups of a process.
fn groups(b: &Bundle, flags: &[&str]) -> Verdict<(u32, u32, Vec<u32>)> {
    let out = output(b, flags, &["cat", "/proc/self/status"])?;
    let number = |key| -> Verdict<u32> {
        let ids: Vec<&str> = status_line(&out, key)?.split_whitespace().collect();
        check(ids.windows(2).all(|pair| pair.first() == pair.last()), || format!("{key}: {ids:?}"))?;
        Ok(some(key, ids.first())?.parse()?)
    };
    let (uid, gid) = (number("Uid")?, number("Gid")?);
    let mut groups: Vec<u32> = status_line(&out, "Groups")?.split(' ').filter_map(|gid| gid.parse().ok()).collect();
    groups.sort_unstable();
    groups.dedup();
    // Whether the first group is in the list again is nobody's business.
    groups.retain(|group| *group != gid);
    Ok((uid, gid, groups))
}

fn own_limits(t: &Test) -> Verdict {
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    let b = run(t.bundle()?.set("/process/rlimits", limits))?;
    same("limits", sh(&b, &[], "ulimit -Sn; ulimit -Hn")?, "77\n88\n")
}

fn own_oom_score(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/oomScoreAdj", json!(321)))?;
    same("score", output(&b, &[], &["cat", "/proc/self/oom_score_adj"])?, "321\n")
}

fn own_umask(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user/umask", json!(0o027)))?;
    same("umask", sh(&b, &[], "umask")?, "0027\n")?;
    let b = running(t)?;
    same("umask", sh(&b, &[], "umask")?, "0022\n")
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;

fn capabilities(b: &Bundle, flags: &[&str]) -> Verdict<Vec<u64>> {
    let out = output(b, flags, &["cat", "/proc/self/status"])?;
    SETS.iter().map(|set| Ok(u64::from_str_radix(status_line(&out, set)?, 16)?)).collect()
}

/// A container with these inheritable capabilities, and some others.
fn with_inheritable<'t>(t: &'t Test, names: &[&str]) -> Verdict<Bundle<'t>> {
    let (few, more) = (["CAP_KILL", "CAP_CHOWN"], ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"]);
    run(t.bundle()?.set(
        "/process/capabilities",
        json!({"inheritable": names, "permitted": few, "effective": few, "bounding": more, "ambient": []}),
    ))
}

fn own_capabilities(t: &Test) -> Verdict {
    let b = with_inheritable(t, &["CAP_KILL"])?;
    let expected = [KILL, KILL | CHOWN, KILL | CHOWN, KILL | CHOWN | NET_RAW, 0];
    same("inh prm eff bnd amb", capabilities(&b, &[])?, expected)?;
    let expected = [KILL, 0, 0, KILL | CHOWN | NET_RAW, 0];
    same("inh prm eff bnd amb of another user", capabilities(&b, &["--user", "1000"])?, expected)
}

fn no_new(b: &Bundle, flags: &[&str]) -> Verdict<String> {
    let out = output(b, flags, &["cat", "/proc/self/status"])?;
    Ok(status_line(&out, "NoNewPrivs")?.to_owned())
}

fn own_no_new_privileges(t: &Test) -> Verdict {
    same("NoNewPrivs", no_new(&running(t)?, &[])?, "1")?;
    let b = run(t.bundle()?.set("/process/noNewPrivileges", json!(false)))?;
    same("NoNewPrivs", no_new(&b, &[])?, "0")
}

fn own_config(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "A=before"])))?;
    let b = b.set("/process/env", json!([ENV, "A=after"])).set("/process/user/uid", json!(1000));
    b.save()?;
    same("output", sh(&b, &[], "echo $A; id -u")?, "before\n0\n")?;
    fs::remove_file(b.dir.join("config.json"))?;
    same("output", sh(&b, &[], "echo $A; id -u")?, "before\n0\n")
}

// Flags.

fn env(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "A=1", "KEPT=1"])))?;
    let script = "echo $A,$KEPT,$B,$C,${EMPTY-unset}";
    let flags = ["--env", "A=2", "--env", "B=a=b c", "--env=EMPTY=", "--env", "C=1", "--env", "C=2"];
    same("output", sh(&b, &flags, script)?, "2,1,a=b c,2,\n")?;
    same("output", sh(&b, &["-e", "B=3", "-e", "A="], script)?, ",1,3,,unset\n")
}

fn env_path(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("opt")?.with_file("opt/tool", "#!/bin/sh\necho tool\n", 0o755)?;
    let b = run(b)?;
    same("output", output(&b, &["-e", "PATH=/opt:/bin"], &["tool"])?, "tool\n")?;
    let refused = exec(&b, &["-e", "PATH=/nowhere"], &["sh"])?;
    refuses(&b, refused, "executable file not found in $PATH", &["not found in $PATH"])
}

fn env_malformed(t: &Test) -> Verdict {
    let b = running(t)?;
    for variable in ["A", "=x", ""] {
        let refused = exec(&b, &["--env", variable], &["true"])?;
        if t.kind == Kind::Crun {
            refused.exits(0)?;
        } else {
            refuses(&b, refused, "NAME=VALUE", &["invalid environment variable"])?;
        }
    }
    Ok(())
}

fn cwd(t: &Test) -> Verdict {
    let b = run(t.bundle()?.with_dir("usr/deep/er")?)?;
    same("working directory", output(&b, &["--cwd", "/usr/deep/er"], &["pwd", "-P"])?, "/usr/deep/er\n")?;
    same("working directory", output(&b, &["--cwd", "/usr/../tmp/"], &["pwd", "-P"])?, "/tmp\n")
}

fn cwd_missing(t: &Test) -> Verdict {
    let b = run(t.bundle()?.writable())?;
    let refused = exec(&b, &["--cwd", "/no/such"], &["true"])?;
    refuses(&b, refused, "no such file or directory", &["No such file or directory", "no such file or directory"])?;
    check(!b.rootfs("no").exists(), || "the directory was made".to_owned())?;
    let refused = exec(&b, &["--cwd", "/etc/passwd"], &["true"])?;
    refuses(&b, refused, "not a directory", &["Not a directory", "not a directory"])
}

fn cwd_relative(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--cwd", "usr"], &["true"])?;
    if t.kind == Kind::Crun {
        return refused.exits(0).map(drop);
    }
    refuses(&b, refused, "absolute path", &["absolute path"])
}

fn cwd_by_descriptor(t: &Test) -> Verdict {
    let b = running(t)?;
    for number in 3..24 {
        for path in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/../../..")] {
            let refused = exec(&b, &["--cwd", &path], &["ls"])?;
            check(refused.status != 0, || format!("--cwd {path}: {:?}", refused.stdout()))?;
            same("output", refused.stdout()?.as_str(), "")?;
        }
    }
    Ok(())
}

fn user(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user", json!({"uid": 7, "gid": 8, "additionalGids": [5]})))?;
    if t.kind == Kind::Crun {
        same("ids", groups(&b, &["--user", "1000"])?, (1000, 0, vec![]))?;
        return same("ids", groups(&b, &["-u", "1000:77"])?, (1000, 77, vec![]));
    }
    same("ids", groups(&b, &["--user", "1000"])?, (1000, 8, vec![5]))?;
    same("ids", groups(&b, &["-u", "1000:77"])?, (1000, 77, vec![5]))?;
    same("ids", groups(&b, &["--user", "0:0"])?, (0, 0, vec![5]))?;
    same("ids", groups(&b, &["--user=2000000000:2000000000"])?, (2_000_000_000, 2_000_000_000, vec![5]))
}

fn user_home(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/env", json!([ENV])))?;
    same("HOME", sh(&b, &[], "echo $HOME")?, "/root\n")?;
    same("HOME", sh(&b, &["--user", "1000"], "echo $HOME")?, "/tmp\n")?;
    same("HOME", sh(&b, &["--user", "4321"], "echo $HOME")?, "/\n")?;
    same("HOME", sh(&b, &["--user", "1000", "--env", "HOME=/given"], "echo $HOME")?, "/given\n")?;
    let b = run(t.bundle()?.set("/process/env", json!([ENV, "HOME=/of/config"])))?;
    same("HOME", sh(&b, &["--user", "1000"], "echo $HOME")?, "/of/config\n")
}

fn user_is_a_number(t: &Test) -> Verdict {
    let passwd = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0:root:/root:/bin/sh\n";
    let b = run(t.bundle()?.with_file("etc/passwd", passwd, 0o644)?)?;
    same("uid", output(&b, &["--user", "1000"], &["id", "-u"])?, "1000\n")
}

fn user_malformed(t: &Test) -> Verdict {
    let b = running(t)?;
    for text in ["1x", "root", "root:root", "1:", ":1", "1:x", "1:2:3", "0x1"] {
        let refused = exec(&b, &["--user", text], &["true"])?;
        refuses(&b, refused, "--user takes UID or UID:GID", &["invalid syntax", "invalid U", "invalid G"])?;
    }
    Ok(())
}

fn user_too_large(t: &Test) -> Verdict {
    let b = running(t)?;
    for text in ["4294967296", "4294967295", "-1", "18446744073709551616", "1:4294967296"] {
        let refused = exec(&b, &["--user", text], &["id", "-u"])?;
        check(refused.status != 0, || format!("--user {text} ran as {:?}", refused.stdout()))?;
        refuses(&b, refused, "--user takes UID or UID:GID", &[])?;
    }
    Ok(())
}

fn additional_gids(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [5]})))?;
    same(
        "ids",
        groups(&b, &["--additional-gids", "77", "--additional-gids", "4294967294"])?,
        (0, 0, vec![5, 77, 4_294_967_294]),
    )?;
    same("ids", groups(&b, &["-u", "1000:1000", "-g", "6"])?, (1000, 1000, vec![5, 6]))?;
    for text in ["x", "5,6", "-1", "1.5", ""] {
        let refused = exec(&b, &["--additional-gids", text], &["true"])?;
        check(refused.status != 0, || format!("--additional-gids {text:?} was taken"))?;
    }
    Ok(())
}

fn cap(t: &Test) -> Verdict {
    let b = with_inheritable(t, &[])?;
    let flags = ["--cap", "CAP_NET_RAW"];
    if t.kind == Kind::Crun {
        return same("inh prm eff bnd amb", capabilities(&b, &flags)?, [0, NET_RAW, NET_RAW, NET_RAW, 0]);
    }
    let all = KILL | CHOWN | NET_RAW;
    same("inh prm eff bnd amb", capabilities(&b, &flags)?, [0, all, all, all, 0])?;
    // Beyond the bounding set of the container's process too, as with runc.
    let more = all | 1 << 19;
    same(
        "inh prm eff bnd amb",
        capabilities(&b, &["-c", "CAP_NET_RAW", "-c", "CAP_SYS_PTRACE"])?,
        [0, more, more, more, 0],
    )?;
    same("inh prm eff bnd amb of a user", capabilities(&b, &["-c", "CAP_NET_RAW", "-u", "1000"])?, [0, 0, 0, all, 0])
}

fn cap_not_inheritable(t: &Test) -> Verdict {
    let b = with_inheritable(t, &["CAP_KILL"])?;
    let found = capabilities(&b, &["--cap", "CAP_NET_RAW"])?;
    same("inheritable", found.first(), Some(&KILL))?;
    same("ambient", found.last(), Some(&0))?;
    let found = capabilities(&b, &["--cap", "CAP_KILL", "--user", "1000"])?;
    same("inh prm eff bnd amb", found, [KILL, KILL, KILL, KILL | CHOWN | NET_RAW, KILL])
}

fn cap_unknown(t: &Test) -> Verdict {
    let b = with_inheritable(t, &[])?;
    for name in ["CAP_BOGUS", "NET_RAW"] {
        let out = exec(&b, &["--cap", name], &["cat", "/proc/self/status"])?.exits(0)?;
        same("CapInh", status_line(&out.stdout()?, "CapInh")?, "0000000000000000")?;
        if t.ours() {
            contains("stderr", &out.stderr()?, name)?;
        }
    }
    Ok(())
}

fn no_new_privs(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/noNewPrivileges", json!(false)))?;
    same("NoNewPrivs", no_new(&b, &["--no-new-privs"])?, "1")
}

/// exec with redirections of a shell.
fn redirected(b: &Bundle, flags: &[&str], args: &[&str], redirections: &str) -> Command {
    let inner = command(b, flags, args);
    let mut command = Command::new("busybox");
    command.args(["sh", "-c", &format!(r#"exec "$@" {redirections}"#), "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    command
}

fn preserve_fds(t: &Test) -> Verdict {
    fs::write(t.path("three"), "content of three\n")?;
    fs::write(t.path("four"), "content of four\n")?;
    let open = format!("3<{} 4<{} 5</dev/null", t.path("three").display(), t.path("four").display());
    let b = running(t)?;
    let args = ["sh", "-c", "cat <&3; cat <&4; test -e /proc/self/fd/5 && echo five; true"];
    let command = redirected(&b, &["--preserve-fds", "2"], &args, &open);
    same("output", t.output_of(command)?.exits(0)?.stdout()?, "content of three\ncontent of four\n")
}

fn preserve_closed(t: &Test) -> Verdict {
    let b = running(t)?;
    let command = redirected(&b, &["--preserve-fds", "2"], &["true"], "3</dev/null 4<&-");
    let output = t.output_of(command)?;
    if matches!(t.kind, Kind::Runc | Kind::Crun) {
        return same("status", output.status, 0);
    }
    check(output.status != 0, || "it succeeded".to_owned())?;
    contains("stderr", &output.stderr()?, "4")
}

fn pidfd_socket(t: &Test) -> Verdict {
    let b = running(t)?;
    let socket = t.path("pidfd.sock");
    let listener = terminal::listen(&socket)?;
    let pid = detached(&b, &["--pidfd-socket", &socket.to_string_lossy()], &["sleep", "1000"])?;
    let pidfd = terminal::receive(&listener)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd)))?;
    same("the pid of the pidfd", status_line(&info, "Pid")?, pid.as_raw_nonzero().to_string())?;
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)?;
    same("status", ended(pid)?, 137)
}

fn labels(t: &Test) -> Verdict {
    if Path::new("/sys/kernel/security/apparmor/profiles").exists() || Path::new("/sys/fs/selinux/enforce").exists() {
        return crate::expect::skip("this machine has security modules");
    }
    let b = running(t)?;
    let refused = exec(&b, &["--apparmor", "no-such-profile"], &["true"])?;
    refuses(&b, refused, "apparmorProfile", &["apparmor"])?;
    let refused = exec(&b, &["--process-label", "a:b:c:d"], &["true"])?;
    refuses(&b, refused, "selinuxLabel", &["selinux"])
}

// process.json.

const DOCKER_EXEC: &str = include_str!("../../fixtures/docker-exec-process.json");
const DOCKER_EXEC_USER: &str = include_str!("../../fixtures/docker-exec-user-process.json");

fn docker_process(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = process_json(&b, &serde_json::from_str(DOCKER_EXEC)?)?;
    same("output", output(&b, &["--process", &path], &[])?, "hi\n")?;
    // As containerd calls it.
    let pid_file = b.dir.join("exec.pid");
    let out = b.dir.join("exec.out");
    let mut detached = command(&b, &["--process", &path, "--detach", "--pid-file", &pid_file.to_string_lossy()], &[]);
    let status = detached.stdin(Stdio::null()).stdout(fs::File::create(&out)?).status()?;
    same("status", code(status), 0)?;
    ended(pid_in(&pid_file)?)?;
    same("output", fs::read_to_string(out)?, "hi\n")
}

fn docker_user_process(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = process_json(&b, &serde_json::from_str(DOCKER_EXEC_USER)?)?;
    contains("id", &output(&b, &["-p", &path], &[])?, "uid=1 gid=0(root)")
}

fn process_file(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "pwd; ulimit -Sn; ulimit -Hn; echo $A; cat /proc/self/status";
    let process = json!({
        "args": ["sh", "-c", script],
        "cwd": "/tmp",
        "env": [ENV, "A=b"],
        "user": {"uid": 3, "gid": 4, "additionalGids": [7, 8]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
        "noNewPrivileges": true,
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_KILL"],
            "permitted": ["CAP_CHOWN"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"],
        },
    });
    let out = output(&b, &["--process", &process_json(&b, &process)?], &[])?;
    check(out.starts_with("/tmp\n50\n60\nb\n"), || format!("output: {out}"))?;
    same("Uid", status_line(&out, "Uid")?, "3\t3\t3\t3")?;
    same("Gid", status_line(&out, "Gid")?, "4\t4\t4\t4")?;
    contains("Groups", status_line(&out, "Groups")?, "7 8")?;
    same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, "1")?;
    for (set, bits) in SETS.iter().zip([CHOWN, CHOWN, CHOWN, CHOWN | KILL, CHOWN]) {
        same(set, u64::from_str_radix(status_line(&out, set)?, 16)?, bits)?;
    }
    Ok(())
}

fn process_oom_score(t: &Test) -> Verdict {
    let b = running(t)?;
    let mut process = process("cat /proc/self/oom_score_adj");
    process["oomScoreAdj"] = json!(333);
    same("score", output(&b, &["-p", &process_json(&b, &process)?], &[])?, "333\n")
}

fn process_umask(t: &Test) -> Verdict {
    let b = run(t.bundle()?.set("/process/user/umask", json!(0o007)))?;
    let mut process = process("umask");
    same("umask", output(&b, &["-p", &process_json(&b, &process)?], &[])?, "0022\n")?;
    process["user"] = json!({"umask": 0o027});
    same("umask", output(&b, &["-p", &process_json(&b, &process)?], &[])?, "0027\n")
}

fn process_alone(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5]}));
    let b = run(b.set("/process/env", json!([ENV, "A=1"])).set("/process/cwd", json!("/usr")))?;
    let path = process_json(&b, &process("pwd; id -u; id -g; echo ${A-unset}; cat /proc/self/status"))?;
    let out = output(&b, &["-p", &path], &[])?;
    check(out.starts_with("/\n0\n0\nunset\n"), || format!("output: {out}"))?;
    same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, "0")
}

fn process_and_flags(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = process_json(&b, &process("id -u; pwd; echo ${A-unset}; test -t 0 || echo no terminal"))?;
    let flags = ["--process", &path, "--user", "1000", "--cwd", "/tmp", "--env", "A=1"];
    same("output", output(&b, &flags, &["echo", "other"])?, "0\n/\nunset\nno terminal\n")
}

fn process_wrong(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--process", "/no/such/file"], &[])?;
    refuses(&b, refused, "/no/such/file", &["no such file", "No such file"])?;
    for (text, ours) in [
        ("{", "process.json"),
        ("[]", "process.json"),
        (r#"{"args": ["true"]}"#, "/cwd"),
        (r#"{"args": ["true"], "cwd": "x"}"#, "/cwd"),
        (r#"{"args": [], "cwd": "/"}"#, "/args"),
        (r#"{"cwd": "/"}"#, "/args"),
        (r#"{"args": ["true"], "cwd": "/", "user": {"uid": -1}}"#, "/user/uid"),
        (r#"{"args": ["true"], "cwd": "/", "env": 1}"#, "/env"),
    ] {
        let path = b.dir.join("process.json");
        fs::write(&path, text)?;
        let refused = exec(&b, &["--process", &path.to_string_lossy()], &[])?;
        refuses(&b, refused, ours, &[])?;
    }
    b.is("running")
}

// What is refused.

fn missing(t: &Test) -> Verdict {
    let b = t.bundle()?;
    let refused = exec(&b, &[], &["true"])?;
    refuses(&b, refused, "exec failed: container does not exist", &["does not exist"])
}

fn stopped(t: &Test) -> Verdict {
    let b = running(t)?;
    b.verb("kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    let refused = exec(&b, &[], &["true"])?;
    refuses(&b, refused, "container not running", &["stopped container", "is not running"])?;
    b.is("stopped")
}

fn freeze(b: &Bundle, frozen: bool) -> Verdict {
    fs::write(b.cgroup_dir().join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    eventually("the cgroup is frozen or thawed", || {
        let events = fs::read_to_string(b.cgroup_dir().join("cgroup.events"))?;
        Ok(events.contains(if frozen { "frozen 1" } else { "frozen 0" }))
    })
}

fn paused(t: &Test) -> Verdict {
    let b = running(t)?;
    freeze(&b, true)?;
    let refused = exec(&b, &[], &["true"])?;
    refuses(&b, refused, "paused", &["paused"])?;
    freeze(&b, false)?;
    exec(&b, &[], &["true"])?.exits(0)?;
    Ok(())
}

fn ignore_paused(t: &Test) -> Verdict {
    let b = running(t)?;
    freeze(&b, true)?;
    let out = b.dir.join("exec.out");
    let mut command = command(&b, &["--ignore-paused"], &["echo", "thawed"]);
    let mut child = command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).spawn()?;
    let processes = || Ok(fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count() > 1);
    eventually("the process is in the cgroup", processes)?;
    same("output", fs::read_to_string(&out)?, "")?;
    freeze(&b, false)?;
    same("status", code(child.wait()?), 0)?;
    same("output", fs::read_to_string(&out)?, "thawed\n")
}

fn program_missing(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &["no-such-program"])?;
    let words = r#"exec: "no-such-program": executable file not found in $PATH"#;
    refuses(&b, refused, words, &[words, "executable file `no-such-program` not found in $PATH"])?;
    let refused = exec(&b, &[], &["/no/such/program"])?;
    let words = r#"exec: "/no/such/program": stat /no/such/program: no such file or directory"#;
    refuses(&b, refused, words, &[words, "No such file or directory"])?;
    let refused = exec(&b, &[], &[""])?;
    refuses(
        &b,
        refused,
        "executable file not found in $PATH",
        &["executable file not found in $PATH", "cannot find ``"],
    )
}

fn program_not_executable(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &["/etc/passwd"])?;
    let words = r#"exec: "/etc/passwd": permission denied"#;
    refuses(&b, refused, words, &[words, "not executable"])
}

fn program_directory(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &["/etc"])?;
    let words = r#"exec: "/etc": is a directory"#;
    refuses(&b, refused, words, &[words, "not a regular file"])
}

fn program_none(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &[], &[])?;
    refuses(&b, refused, "exec takes a command", &["args", "arguments"])
}

fn error_in_log(t: &Test) -> Verdict {
    let b = running(t)?;
    let log = t.path("log.json");
    let prefix = ["--log", &log.to_string_lossy(), "--log-format", "json", "exec", &b.id, "nope"].map(str::to_owned);
    t.runtime(&prefix)?.exits(255)?;
    let text = fs::read_to_string(&log)?;
    let errors: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let errors: Vec<&Value> = errors.iter().filter(|line| line["level"] == "error").collect();
    same("lines", errors.len(), 1)?;
    let message = errors.first().and_then(|line| line["msg"].as_str()).unwrap_or_default();
    check(message.starts_with("exec failed: "), || format!("message: {message}"))?;
    contains("message", message, r#"exec: "nope": executable file not found in $PATH"#)
}

fn nothing_left(t: &Test) -> Verdict {
    let b = running(t)?;
    let pid_file = b.dir.join("exec.pid");
    for flags in [&["--detach"][..], &[]] {
        let path = pid_file.to_string_lossy();
        let flags = [flags, &["--pid-file", &path]].concat();
        let refused = exec(&b, &flags, &["no-such-program"])?;
        refuses(&b, refused, "executable file not found in $PATH", &[])?;
        check(!pid_file.exists(), || "the pid file is there".to_owned())?;
        same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)?;
    }
    b.is("running")
}

// Where it runs.

const NAMESPACES: &[&str] =
    &["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"];

fn same_namespaces(b: &Bundle) -> Verdict {
    let pid = b.pid()?.as_raw_nonzero();
    let other = detached(b, &[], &["sleep", "1000"])?;
    for name in NAMESPACES {
        let of = |pid| fs::read_link(format!("/proc/{pid}/ns/{name}"));
        same(name, of(other.as_raw_nonzero())?, of(pid)?)?;
    }
    end(other)
}

fn namespaces(t: &Test) -> Verdict {
    same_namespaces(&running(t)?)?;
    let b = running(t)?;
    let script = "cd /proc/self/ns; for n in *; do test $(readlink $n) = $(readlink /proc/1/ns/$n) || echo $n; done";
    same("namespaces that differ", sh(&b, &[], script)?, "")
}

fn namespaces_user(t: &Test) -> Verdict {
    let b = t.bundle()?.user_namespace(100_000, 65_536);
    let b = run(b.capabilities(&["CAP_SYS_ADMIN", "CAP_KILL"]).set("/process/noNewPrivileges", json!(false)))?;
    same_namespaces(&b)?;
    same("ids", sh(&b, &[], "id -u; id -g; cat /proc/self/uid_map | tr -s ' '")?, "0\n0\n 0 100000 65536\n")?;
    same("ids", groups(&b, &["--user", "1000:1000"])?.0, 1000)?;
    let all = KILL | 1 << 21;
    same("inh prm eff bnd amb", capabilities(&b, &[])?, [all; 5])?;
    let refused = exec(&b, &["--user", "70000"], &["true"])?;
    refuses(&b, refused, "/user", &[])?;
    b.is("running")
}

fn namespaces_few(t: &Test) -> Verdict {
    let mut b = t.bundle()?;
    for kind in ["ipc", "uts", "network", "cgroup"] {
        b = b.no_namespace(kind);
    }
    b = b.remove("/hostname").no_mount("/sys");
    let b = run(b)?;
    same_namespaces(&b)?;
    same("output", output(&b, &[], &["echo", "in"])?, "in\n")
}

fn shared_pids(t: &Test) -> Verdict {
    let b = run(t.bundle()?.no_namespace("pid"))?;
    same_namespaces(&b)?;
    let pid_file = b.dir.join("exec.pid");
    let out = sh(&b, &["--pid-file", &pid_file.to_string_lossy()], "echo $$")?;
    same("pid", out.trim(), fs::read_to_string(pid_file)?)
}

/// The line of /proc/PID/cgroup for version 2, of a process as the case sees it.
fn cgroup_of(pid: Pid) -> Verdict<String> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
    Ok(some("the line of cgroup2", text.lines().find_map(|line| line.strip_prefix("0::")))?.to_owned())
}

/// The cgroup of a process that exec starts.
fn exec_cgroup(b: &Bundle, flags: &[&str]) -> Verdict<String> {
    let pid = detached(b, flags, &["sleep", "1000"])?;
    let cgroup = cgroup_of(pid)?;
    end(pid)?;
    Ok(cgroup)
}

fn cgroup(t: &Test) -> Verdict {
    let b = running(t)?;
    same("cgroup", exec_cgroup(&b, &[])?, cgroup_of(b.pid()?)?)?;
    same("cgroup", exec_cgroup(&b, &["--cgroup", "/"])?, cgroup_of(b.pid()?)?)
}

fn cgroup_sub(t: &Test) -> Verdict {
    let b = running(t)?;
    fs::create_dir_all(b.cgroup_dir().join("sub/deep"))?;
    let own = cgroup_of(b.pid()?)?;
    for (path, expected) in
        [("/sub", "/sub"), ("sub", "/sub"), ("sub/deep", "/sub/deep"), ("/sub/../sub/deep/", "/sub/deep")]
    {
        same(path, exec_cgroup(&b, &["--cgroup", path])?, format!("{own}{expected}"))?;
    }
    b.delete_force()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

fn cgroup_missing(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--cgroup", "/none"], &["true"])?;
    refuses(&b, refused, "none", &["none"])?;
    check(!b.cgroup_dir().join("none").exists(), || "the cgroup was made".to_owned())
}

fn cgroup_outside(t: &Test) -> Verdict {
    let b = running(t)?;
    for path in ["../solo", "/../solo", "..", "sub/../../solo"] {
        let refused = exec(&b, &["--cgroup", path], &["true"])?;
        check(refused.status != 0, || format!("--cgroup {path} was taken"))?;
        refuses(&b, refused, "cgroup", &["is not a sub cgroup path", "cgroup"])?;
    }
    Ok(())
}

fn cgroup_controller(t: &Test) -> Verdict {
    let b = running(t)?;
    fs::create_dir(b.cgroup_dir().join("sub"))?;
    for path in ["memory:sub", ":sub"] {
        let refused = exec(&b, &["--cgroup", path], &["true"])?;
        refuses(&b, refused, "--cgroup", &[])?;
    }
    Ok(())
}

fn cgroup_moved(t: &Test) -> Verdict {
    let b = running(t)?;
    let own = cgroup_of(b.pid()?)?;
    let sub = b.cgroup_dir().join("sub");
    fs::create_dir(&sub)?;
    fs::write(sub.join("cgroup.procs"), b.pid()?.as_raw_nonzero().to_string())?;
    // The container's own, as long as the kernel lets a process in.
    same("cgroup", exec_cgroup(&b, &[])?, own.as_str())?;
    same("cgroup", exec_cgroup(&b, &["--cgroup", "sub"])?, format!("{own}/sub"))
}

// Detached.

fn pid_in(path: &Path) -> Verdict<Pid> {
    let text = fs::read_to_string(path)?;
    let pid = text.parse().ok().and_then(Pid::from_raw);
    some(&format!("a pid in the pid file, which holds {text:?}"), pid)
}

fn detach(t: &Test) -> Verdict {
    let b = running(t)?;
    let pid = detached(&b, &[], &["sleep", "1000"])?;
    let status = || -> Verdict<String> { Ok(fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?) };
    if t.kind == Kind::Crun {
        // It returns a moment before.
        eventually("the program runs", || Ok(status()?.contains("sleep")))?;
    }
    let status = status()?;
    same("name", status_line(&status, "Name")?, "sleep")?;
    // The case's process adopts orphans.
    same("parent", status_line(&status, "PPid")?, std::process::id().to_string())?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    same("status", ended(pid)?, 143)?;
    b.is("running")
}

fn detach_status(t: &Test) -> Verdict {
    let b = running(t)?;
    same("status", ended(detached(&b, &[], &["sh", "-c", "exit 5"])?)?, 5)
}

fn pid_file(t: &Test) -> Verdict {
    let b = running(t)?;
    let path = b.dir.join("exec.pid");
    let (mut child, mut out) = spawn(&b, &["--pid-file", &path.to_string_lossy()], "echo $$; read x")?;
    let inside = out.next_line()?;
    if !t.ours() {
        // Ours writes it before the program runs.
        eventually("the pid file is written", || Ok(fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())))?;
    }
    let pid = pid_in(&path)?;
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let pids: Vec<&str> = status_line(&status, "NSpid")?.split_whitespace().collect();
    same("the pid in the container", pids.last().copied(), Some(inside.trim()))?;
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn pid_file_nowhere(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--pid-file", "/no/such/file"], &["true"])?;
    refuses(&b, refused, "/no/such/file", &["/no/such/"])?;
    same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)
}

// Streams.

/// What a process prints, a line at a time.
struct Out(std::process::ChildStdout);

impl Out {
    fn next_line(&mut self) -> Verdict<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') && self.0.read(&mut byte)? == 1 {
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// An attached exec of a script, with pipes for stdin and stdout.
fn spawn(b: &Bundle, flags: &[&str], script: &str) -> Verdict<(Child, Out)> {
    let mut command = command(b, flags, &["sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = some("stdout", child.stdout.take())?;
    Ok((child, Out(out)))
}

fn stdin(t: &Test) -> Verdict {
    let b = running(t)?;
    let mut child = command(&b, &[], &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let sent: Vec<u8> = (0..1_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut input = some("stdin", child.stdin.take())?;
    let mut output = some("stdout", child.stdout.take())?;
    let mut received = Vec::new();
    std::thread::scope(|scope| -> Verdict {
        let writer = scope.spawn(|| {
            let written = input.write_all(&sent);
            drop(input);
            written
        });
        output.read_to_end(&mut received)?;
        writer.join().map_err(|_| crate::expect::Stop::Failed("the writing thread failed".to_owned()))??;
        Ok(())
    })?;
    same("status", code(child.wait()?), 0)?;
    same("bytes", received.len(), sent.len())?;
    check(received == sent, || "what came back differs".to_owned())
}

fn stderr(t: &Test) -> Verdict {
    let b = running(t)?;
    let out = exec(&b, &[], &["sh", "-c", "echo out; echo err >&2"])?.exits(0)?;
    same("stdout", out.stdout()?.as_str(), "out\n")?;
    same("stderr", out.stderr()?.as_str(), "err\n")
}

fn descriptors(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "cd /proc/self/fd; for fd in *; do test -e $fd && echo $fd; done; true";
    same("descriptors", sh(&b, &[], script)?, "0\n1\n2\n")?;
    let command = redirected(&b, &[], &["sh", "-c", script], "3</etc/hostname 4<. 9</dev/null");
    same("descriptors", t.output_of(command)?.exits(0)?.stdout()?, "0\n1\n2\n")
}

fn signals(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let (mut child, mut out) = spawn(&b, &[], script)?;
    same("output", out.next_line()?, "ready\n")?;
    let pid = some("a pid", i32::try_from(child.id()).ok().and_then(Pid::from_raw))?;
    rustix::process::kill_process(pid, rustix::process::Signal::USR1)?;
    same("output", out.next_line()?, "usr1\n")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    same("output", out.next_line()?, "term\n")?;
    same("status", code(child.wait()?), 9)
}

// Terminals.

/// An attached exec with a terminal, in a session that a pseudo-terminal of the case's controls.
fn at_terminal(b: &Bundle, slave: &fs::File, flags: &[&str], script: &str) -> Verdict<Child> {
    let inner = command(b, flags, &["sh", "-c", script]);
    let mut command = Command::new("busybox");
    command.args(["setsid", "-c"]).arg(inner.get_program()).args(inner.get_args());
    bare(&mut command);
    Ok(command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(Stdio::from(slave.try_clone()?)).spawn()?)
}

fn tty(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, slave) = terminal::open()?;
    terminal::resize(&master, 31, 97)?;
    // runc sets the size when the process runs already; ours before.
    let size =
        if t.ours() { "stty size" } else { "for i in $(seq 300); do stty size | grep 31 && break; done 2>/dev/null" };
    let script = format!("test -t 0 && {size}; tty; read x; echo got:$x; exit 9");
    let mut child = at_terminal(&b, &slave, &["--tty"], &script)?;
    let seen = terminal::read_until(&mut master, "/dev/pts/0")?;
    contains("size", &seen, "31 97")?;
    master.write_all(b"hello\n")?;
    terminal::read_until(&mut master, "got:hello")?;
    same("status", code(child.wait()?), 9)
}

fn tty_restores(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, slave) = terminal::open()?;
    let before = rustix::termios::tcgetattr(&slave)?;
    let mut child = at_terminal(&b, &slave, &["-t"], "stty raw; echo changed; exit 3")?;
    terminal::read_until(&mut master, "changed")?;
    same("status", code(child.wait()?), 3)?;
    let after = rustix::termios::tcgetattr(&slave)?;
    same("input modes", after.input_modes, before.input_modes)?;
    same("output modes", after.output_modes, before.output_modes)?;
    same("local modes", after.local_modes, before.local_modes)
}

fn tty_resizes(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, slave) = terminal::open()?;
    terminal::resize(&master, 24, 80)?;
    let script = "trap 'stty size' WINCH; stty size; echo ready; while read x; do echo line; stty size; done";
    let mut child = at_terminal(&b, &slave, &["-t"], script)?;
    terminal::read_until(&mut master, "ready")?;
    terminal::resize(&master, 50, 111)?;
    master.write_all(b"x\n")?;
    let text = terminal::read_until(&mut master, "50 111");
    // Control-D ends the loop.
    master.write_all(b"\x04")?;
    child.wait()?;
    text?;
    Ok(())
}

/// A detached exec whose terminal comes by a console socket.
fn with_console(t: &Test, b: &Bundle, flags: &[&str], args: &[&str]) -> Verdict<(fs::File, Pid)> {
    let socket = t.path("console.sock");
    let listener = terminal::listen(&socket)?;
    let pid = detached(b, &[flags, &["--console-socket", &socket.to_string_lossy()]].concat(), args)?;
    Ok((terminal::receive(&listener)?, pid))
}

fn tty_controlling(t: &Test) -> Verdict {
    let b = running(t)?;
    let script = "echo by tty >/dev/tty; trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done";
    let (mut master, pid) = with_console(t, &b, &["-t"], &["sh", "-c", script])?;
    contains("/dev/tty", &terminal::read_until(&mut master, "ready")?, "by tty")?;
    // Control-C.
    master.write_all(b"\x03")?;
    terminal::read_until(&mut master, "interrupted")?;
    same("status", ended(pid)?, 5)
}

fn console_socket(t: &Test) -> Verdict {
    let b = running(t)?;
    let script =
        "for fd in 0 1 2; do test -t $fd && echo is $fd; done; tty; cd /proc/self/fd; echo open *; read x; echo got:$x";
    let (mut master, pid) = with_console(t, &b, &["--tty"], &["sh", "-c", script])?;
    check(rustix::termios::isatty(&master), || "what came over the socket is no terminal".to_owned())?;
    let text = terminal::read_until(&mut master, "open ")?;
    contains("descriptors", &text, "is 0\nis 1\nis 2\n/dev/pts/0\n")?;
    master.write_all(b"hello\n")?;
    terminal::read_until(&mut master, "got:hello")?;
    same("status", ended(pid)?, 0)
}

fn console_size(t: &Test) -> Verdict {
    let b = running(t)?;
    let mut process = process("stty size; echo end; read x");
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({"height": 43, "width": 121});
    let path = process_json(&b, &process)?;
    let (mut master, pid) = with_console(t, &b, &["--process", &path], &[])?;
    contains("size", &terminal::read_until(&mut master, "end")?, "43 121")?;
    end(pid)
}

fn tty_owner(t: &Test) -> Verdict {
    let b = running(t)?;
    let (mut master, pid) =
        with_console(t, &b, &["-t", "-u", "1000:1000"], &["sh", "-c", "stat -c '%u' $(tty); echo end; read x"])?;
    contains("owner", &terminal::read_until(&mut master, "end")?, "1000")?;
    end(pid)
}

fn tty_in_user_namespace(t: &Test) -> Verdict {
    let b = run(t.bundle()?.user_namespace(100_000, 65_536))?;
    let (mut master, pid) =
        with_console(t, &b, &["-t"], &["sh", "-c", "stat -c '%u' $(tty); echo by tty >/dev/tty; echo end; read x"])?;
    let text = terminal::read_until(&mut master, "end")?;
    contains("owner", &text, "0\n")?;
    contains("/dev/tty", &text, "by tty")?;
    end(pid)
}

fn tty_without_socket(t: &Test) -> Verdict {
    let b = running(t)?;
    let refused = exec(&b, &["--tty", "--detach"], &["true"])?;
    refuses(&b, refused, "console socket", &["console socket", "tcgetattr"])
}

fn socket_without_tty(t: &Test) -> Verdict {
    let b = running(t)?;
    let socket = t.path("console.sock");
    let _listener = terminal::listen(&socket)?;
    for flags in [&[][..], &["--detach"]] {
        let path = socket.to_string_lossy();
        let flags = [flags, &["--console-socket", &path]].concat();
        let refused = exec(&b, &flags, &["true"])?;
        refuses(&b, refused, "console socket", &["console socket"])?;
    }
    Ok(())
}

// Many of them.

/// How often a peer does what ours does 500 times.
fn often(t: &Test) -> u32 {
    if t.ours() { 500 } else { 40 }
}

fn in_a_row(t: &Test) -> Verdict {
    let b = running(t)?;
    let pid = b.pid()?.as_raw_nonzero();
    let files = |pid| -> Verdict<usize> { Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count()) };
    let cgroups = cgroup2::below(&t.cgroup_dir());
    let (before, entries) = (files(pid)?, fs::read_dir(t.state_root().join(&b.id))?.count());
    for _ in 0..often(t) {
        exec(&b, &[], &["true"])?.exits(0)?;
    }
    // Fewer: it was about to execute its program.
    check(files(pid)? <= before, || "the container's process has more descriptors than before".to_owned())?;
    same("cgroups", cgroup2::below(&t.cgroup_dir()), cgroups)?;
    same("files of the container's state", fs::read_dir(t.state_root().join(&b.id))?.count(), entries)?;
    // Zombies count as members.
    same("processes", fs::read_to_string(b.cgroup_dir().join("cgroup.procs"))?.lines().count(), 1)?;
    let out = sh(&b, &[], "ls /proc | grep -c '^[0-9]'")?;
    // The container's, the shell, ls and grep.
    check(out.trim().parse::<u32>().is_ok_and(|count| count <= 4), || format!("processes: {out}"))
}

fn at_once(t: &Test) -> Verdict {
    let b = running(t)?;
    for _ in 0..often(t).div_ceil(100) {
        let mut children = Vec::new();
        for number in 0..20 {
            let mut command = command(&b, &[], &["sh", "-c", &format!("exit {number}")]);
            children.push((command.stdin(Stdio::null()).spawn()?, number));
        }
        for (mut child, number) in children {
            same("status", code(child.wait()?), number)?;
        }
    }
    b.is("running")
}

fn dies_at_once(t: &Test) -> Verdict {
    let b = running(t)?;
    for number in 0..often(t).div_ceil(10) {
        exec(&b, &[], &["sh", "-c", "kill -KILL $$"])?.exits(137)?;
        let pid = detached(&b, &[], &["sh", "-c", &format!("exit {number}")])?;
        same("status", ended(pid)?, i32::try_from(number)?)?;
    }
    Ok(())
}

fn while_killed(t: &Test) -> Verdict {
    for round in 0..often(t).div_ceil(20) {
        let b = running(t)?;
        let mut children = Vec::new();
        for _ in 0..3 {
            let mut command = command(&b, &[], &["sleep", "1000"]);
            children.push(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        // At another moment each time.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 200));
        b.delete_force()?;
        for mut child in children {
            let status = code(child.wait()?);
            check([1, 137, 255].contains(&status), || format!("exec ended with {status}"))?;
        }
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
        b.is_gone()?;
    }
    Ok(())
}
