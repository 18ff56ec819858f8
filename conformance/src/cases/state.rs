//! The state on disk, damaged: every command answers, `list` goes on, and `delete --force` leaves nothing.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

use crate::bundle::{Bundle, Test, ended};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = damages();
    cases.extend(places());
    cases
}

fn damages() -> Vec<Case> {
    vec![
        case("reliability/state-truncated", "a state that is cut, at every length", truncated)
            .known_failure(Kind::Runc, "delete --force fails (unexpected EOF), and all stays")
            .known_failure(Kind::Crun, "delete --force says that it succeeded; process and cgroup stay"),
        case(
            "reliability/state-garbage",
            "a state of garbage: bytes, zeros, a line too many, a hole of a terabyte",
            garbage,
        )
        .skip(Kind::Runc, "reads the hole to its end")
        .skip(Kind::Crun, "reads the hole to its end"),
        case("reliability/state-other-version", "a state of another version", other_version)
            .only(Kind::NoFrills, "the versions of its state are its own"),
        case("reliability/state-lost", "a directory without the state of what runs", lost)
            .known_failure(Kind::Runc, "list does not name it; after delete --force process and cgroup stay")
            .known_failure(Kind::Crun, "delete says that it succeeded; process and cgroup stay"),
        case(
            "reliability/state-copied",
            "a copy of another container's state, and a link to it, do not harm that",
            copied,
        )
        .known_failure(Kind::Runc, "delete --force of the copy kills the container that was copied")
        .known_failure(Kind::Crun, "delete --force of the copy kills the container that was copied"),
        case("reliability/state-of-another-kind", "a link, a fifo, a directory in the place of the state", other_kind)
            .skip(Kind::Runc, "waits for the fifo")
            .skip(Kind::Crun, "waits for the fifo"),
        case("reliability/state-in-place", "a file, a link in the place of the container's directory", in_place)
            .known_failure(Kind::Runc, "list fails at it")
            .known_failure(Kind::Crun, "list ends at it, and tells no other"),
        case(
            "reliability/state-reused-pid",
            "a pid that another process has by now is not the container's",
            reused_pid,
        )
        .known_failure(Kind::Runc, "delete --force does not end the container's own process, and fails at its cgroup"),
    ]
}

fn places() -> Vec<Case> {
    vec![
        case("reliability/state-of-another-user", "a state of another user: root goes on, a user is told", other_user)
            .known_failure(Kind::Crun, "delete --force of a user who may not says that it succeeded"),
        case("reliability/state-locked", "a state that somebody else has locked: delete --force tells who", locked)
            .only(Kind::NoFrills, "locks are its own"),
        case(
            "reliability/state-read-only",
            "the state root became read-only: what runs can be seen and ended",
            read_only,
        )
        .known_failure(Kind::Runc, "start says that it failed, since it cannot remove its fifo, and runs the program")
        .known_failure(Kind::Crun, "start says that it failed, since it cannot remove its fifo, and runs the program"),
        case("reliability/state-disk-full", "the disk of the state root became full", disk_full),
        case("reliability/state-no-inodes", "the disk of the state root has no inodes left", no_inodes)
            .known_failure(Kind::Runc, "the process and the cgroup of what has lost its state stay")
            .known_failure(Kind::Crun, "the process and the cgroup of what has lost its state stay"),
        case("reliability/state-root-missing", "the state root is not there", root_missing),
    ]
}

fn directory(b: &Bundle<'_>) -> PathBuf {
    b.test.state_root().join(&b.id)
}

fn state_file(b: &Bundle<'_>) -> PathBuf {
    directory(b).join(if b.test.kind == Kind::Crun { "status" } else { "state.json" })
}

/// The commands that name a container, but `create` and `delete --force`, as they are for one whose state is damaged.
fn commands(b: &Bundle<'_>) -> Verdict<Vec<Vec<String>>> {
    let resources = b.test.path("resources");
    fs::write(&resources, "{\"devices\": [{\"allow\": false, \"access\": \"rwm\"}]}")?;
    let (id, resources) = (b.id.as_str(), resources.to_string_lossy());
    let mut all = vec![
        vec!["state", id],
        vec!["ps", id],
        vec!["kill", id, "0"],
        vec!["delete", id],
        vec!["start", id],
        vec!["exec", id, "true"],
        vec!["pause", id],
        vec!["resume", id],
        vec!["update", "--resources", &resources, id],
    ];
    if b.test.kind != Kind::Crun {
        all.push(vec!["events", "--stats", id]);
    }
    Ok(all.into_iter().map(|args| args.into_iter().map(str::to_owned).collect()).collect())
}

/// Every command fails and says so; ours with this text.
fn all_tell(b: &Bundle<'_>, text: &str) -> Verdict {
    let t = b.test;
    for args in commands(b)? {
        let output = t.runtime(&args)?;
        let (what, stderr) = (args.join(" "), output.stderr()?.replace("\\\"", "\""));
        check(output.status != 0, || format!("{what} succeeded"))?;
        check(!stderr.trim().is_empty(), || format!("{what} failed, and said nothing"))?;
        if t.ours() {
            contains(&what, &stderr, text)?;
            lacks(&what, &stderr, "panicked")?;
            same(&what, output.status, if what.starts_with("exec") { 255 } else { 1 })?;
        }
    }
    Ok(())
}

/// `list` tells of the other one, and names the damaged one with this text.
fn list_goes_on(b: &Bundle<'_>, other: &Bundle<'_>, text: &str) -> Verdict {
    for format in [&["list", "--quiet"][..], &["list", "--format", "json"], &["list"]] {
        let output = b.test.runtime(format)?;
        let (out, err) = (output.stdout()?, output.stderr()?.replace("\\\"", "\""));
        contains("the list", &out, &other.id)?;
        contains("the list, and what it warns of", &format!("{out}{err}"), &b.id)?;
        if b.test.ours() {
            same("status of list", output.status, 0)?;
            lacks("the list", &out, &b.id)?;
            contains("what list warns of", &err, text)?;
        }
    }
    Ok(())
}

/// `delete --force`, and nothing is left: the framework looks for more.
fn force_clears(b: &Bundle<'_>) -> Verdict {
    b.delete_force()?;
    b.is_gone()?;
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())
}

/// A container that runs, and another.
fn two(t: &Test) -> Verdict<(Bundle<'_>, Bundle<'_>)> {
    let (b, other) = (t.bundle()?.idle(), t.bundle()?.idle());
    other.create()?;
    b.create()?;
    b.start_idle()?;
    Ok((b, other))
}

fn run_again(b: &Bundle<'_>) -> Verdict {
    b.create()?;
    b.start_idle()
}

const DAMAGED: &str = "reading the state of the container in ";
const HALF_MADE: &str = "is half-made";

fn truncated(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    let whole = fs::read(state_file(&b))?;
    // The first length at which there is a record again, for ours; a peer's state is one object.
    let least = if t.ours() {
        let lines: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        let record =
            lines.iter().find(|at| whole.get(**at + 1..).is_some_and(|text| text.starts_with(b"{\"version\"")));
        lines.iter().find(|at| Some(*at) > record).copied().unwrap_or(whole.len()) + 1
    } else {
        whole.len().saturating_sub(2)
    };
    for length in
        (0..whole.len()).filter(|length| *length < 40 || length.is_multiple_of(41) || least.abs_diff(*length) < 3)
    {
        fs::write(state_file(&b), whole.get(..length).unwrap_or_default())?;
        let output = b.verb("state", &[])?;
        if length < least {
            output.refuses(t, HALF_MADE, &[])?;
        } else if t.ours() {
            output.exits(0)?;
        }
    }
    for length in [0, 1, 12, 20, least / 2, least - 1] {
        fs::write(state_file(&b), whole.get(..length).unwrap_or_default())?;
        if matches!(length, 0 | 20) {
            all_tell(&b, HALF_MADE)?;
            list_goes_on(&b, &other, HALF_MADE)?;
            b.create_with(&[])?.refuses(t, "container with given ID already exists", &[])?;
        }
        force_clears(&b)?;
        run_again(&b)?;
    }
    // Of the record that is whole all is known.
    fs::write(state_file(&b), whole.get(..whole.len() - 1).unwrap_or_default())?;
    force_clears(&b)?;
    other.is("created")
}

fn garbage(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    let whole = fs::read(state_file(&b))?;
    let with = |head: &[u8], tail: &[u8]| [head, &whole, tail].concat();
    let bytes: Vec<u8> = (0..20_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let kinds = [
        b"garbage\n".to_vec(),
        b"garbage".to_vec(),
        vec![0; 5000],
        bytes,
        with(b"", b"garbage\n"),
        with(b"", b"\0\0\0\n"),
        with(b"\n", b""),
        with(b"garbage\n", b"\n{}\n"),
        b"{\"document\":2}\n{}\n{\"version\":3,\"id\":\"other\"}\n".to_vec(),
        b"null\n".to_vec(),
    ];
    for (number, content) in kinds.iter().enumerate() {
        fs::write(state_file(&b), content)?;
        if number % 3 == 0 {
            all_tell(&b, DAMAGED)?;
        }
        list_goes_on(&b, &other, DAMAGED)?;
        b.create_with(&[])?.refuses(t, "container with given ID already exists", &[])?;
        force_clears(&b)?;
        run_again(&b)?;
    }
    fs::write(state_file(&b), &whole)?;
    File::options().append(true).open(state_file(&b))?.set_len(1 << 40)?;
    b.verb("state", &[])?.refuses(t, "it is too long to be one of ours", &[])?;
    force_clears(&b)?;
    other.is("created")
}

fn other_version(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    let whole = fs::read_to_string(state_file(&b))?;
    for version in [2, 99] {
        fs::write(state_file(&b), whole.replace("{\"version\":3", &format!("{{\"version\":{version}")))?;
        let text = format!("it has the format {version}; this version knows 3");
        all_tell(&b, &text)?;
        list_goes_on(&b, &other, &text)?;
        force_clears(&b)?;
        run_again(&b)?;
    }
    force_clears(&b)
}

fn lost(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    fs::remove_file(state_file(&b))?;
    all_tell(&b, HALF_MADE)?;
    list_goes_on(&b, &other, HALF_MADE)?;
    b.create_with(&[])?.refuses(t, "container with given ID already exists", &[])?;
    force_clears(&b)?;
    other.is("created")
}

fn copied(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    let mut copy = t.bundle()?.idle();
    t.clean_up_also(&copy.id);
    copy.config = b.config.clone();
    let ours = format!("it is that of the container {:?}", b.id);
    for link in [false, true] {
        if link {
            symlink(&b.id, directory(&copy))?;
        } else {
            let copied = std::process::Command::new("cp").arg("-a").args([directory(&b), directory(&copy)]).status()?;
            check(copied.success(), || "cp failed".to_owned())?;
        }
        let told =
            if t.ours() { all_tell(&copy, &ours).and_then(|()| list_goes_on(&copy, &other, &ours)) } else { Ok(()) };
        let deleted = copy.delete_force();
        if directory(&copy).is_symlink() {
            fs::remove_file(directory(&copy))?;
        }
        told.and(deleted)?;
        b.is("running")?;
        b.executes(&["sleep", "1000"])?;
        check(b.cgroup_dir().exists(), || "the cgroup of the one that was copied is gone".to_owned())?;
        check(!directory(&copy).exists(), || "the copy is left".to_owned())?;
    }
    force_clears(&b)
}

fn other_kind(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    let file = state_file(&b);
    let victim = t.path("victim");
    fs::write(&victim, "a file of somebody else\n")?;
    for kind in ["symbolic link", "dangling", "fifo", "directory"] {
        fs::remove_file(&file)?;
        match kind {
            "symbolic link" => symlink(&victim, &file)?,
            "dangling" => symlink("nowhere", &file)?,
            "fifo" => mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?,
            _ => fs::create_dir(&file)?,
        }
        all_tell(&b, ", not a file")?;
        list_goes_on(&b, &other, ", not a file")?;
        force_clears(&b)?;
        same("the file of somebody else", fs::read_to_string(&victim)?, "a file of somebody else\n")?;
        run_again(&b)?;
    }
    force_clears(&b)
}

fn in_place(t: &Test) -> Verdict {
    let (b, other) = (t.bundle()?.idle(), t.bundle()?.idle());
    other.create()?;
    for link in [None, Some(Path::new("nowhere")), Some(Path::new("/etc"))] {
        match link {
            None => fs::write(directory(&b), "")?,
            Some(target) => symlink(target, directory(&b))?,
        }
        let outcome = (|| {
            if link == Some(Path::new("/etc")) {
                // Nothing of a container is there, which is what is told.
                all_tell(&b, "")?;
            } else {
                all_tell(&b, ", not a directory")?;
            }
            if link.is_some() {
                list_goes_on(&b, &other, "")?;
            } else {
                // It may be anybody's, a log for instance: no matter of a list of containers.
                let list = t.runtime(&["list", "--quiet"])?.exits(0)?;
                same("the list", list.stdout()?, format!("{}\n", other.id))?;
                lacks("what it warns of", &list.stderr()?, &b.id)?;
            }
            b.create_with(&[])?.refuses(t, "container with given ID already exists", &[])?;
            b.delete_force().map(drop)
        })();
        let left = fs::symlink_metadata(directory(&b)).is_ok();
        if left {
            fs::remove_file(directory(&b))?;
        }
        outcome?;
        check(!left, || "it is left".to_owned())?;
    }
    Ok(())
}

fn reused_pid(t: &Test) -> Verdict {
    let b = t.bundle()?.running_idle()?;
    let pid = b.pid()?.as_raw_nonzero().get();
    // Its pid is another's, which began at another time: one has to begin in a later tick of the kernel's clock than the container.
    let begun = |pid: &dyn std::fmt::Display| -> Verdict<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The 22nd field; the second one, which may hold blanks, ends with the last parenthesis.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Ok(some("its start", rest.split_ascii_whitespace().nth(19))?.to_owned())
    };
    let mut child = loop {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn()?;
        if begun(&child.id())? != begun(&pid)? {
            break child;
        }
        child.kill()?;
        child.wait()?;
    };
    let text = fs::read_to_string(state_file(&b))?;
    let text = match t.kind {
        Kind::NoFrills => text.replace(&format!("\"pid\":{pid}"), &format!("\"pid\":{}", child.id())),
        kind => {
            let mut state: Value = serde_json::from_str(&text)?;
            let key = if kind == Kind::Crun { "pid" } else { "init_process_pid" };
            *some("a pid", state.get_mut(key))? = json!(child.id());
            state.to_string()
        }
    };
    fs::write(state_file(&b), text)?;
    let outcome = (|| {
        b.is("stopped")?;
        b.verb("kill", &["KILL"])?.refuses(t, "container not running", &[])?;
        b.verb("exec", &["true"]).and_then(|output| check(output.status != 0, || "exec succeeded".to_owned()))?;
        b.delete_force()?;
        b.is_gone()?;
        check(child.try_wait()?.is_none(), || "the other process was killed".to_owned())
    })();
    child.kill()?;
    child.wait()?;
    outcome
}

fn other_user(t: &Test) -> Verdict {
    const USER: u32 = 12_345;
    let (b, other) = two(t)?;
    for path in [state_file(&b), directory(&b)] {
        chown(&path, Some(USER), Some(USER))?;
        fs::set_permissions(&path, Permissions::from_mode(0o0))?;
    }
    b.is("running")?;
    list_and_exec(&b)?;
    // A user who may look at the directories, and not into them.
    fs::set_permissions(t.state_root(), Permissions::from_mode(0o755))?;
    fs::set_permissions(directory(&b), Permissions::from_mode(0o711))?;
    chown(state_file(&b), Some(0), Some(0))?;
    let as_user = |args: &[&str]| {
        let mut command = t.command(args);
        command.uid(USER).gid(USER).env("XDG_RUNTIME_DIR", &t.work).current_dir("/");
        t.output_of(command)
    };
    for args in commands(&b)? {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = as_user(&args)?;
        check(output.status != 0, || format!("{} succeeded", args.join(" ")))?;
        if t.ours() {
            contains(&args.join(" "), &output.stderr()?, "state.json: EACCES (permission denied)")?;
        }
    }
    check(as_user(&["delete", "--force", &b.id])?.status != 0, || "a user deleted it".to_owned())?;
    let list = as_user(&["list", "--quiet"])?;
    if t.ours() {
        let list = list.exits(0)?.stderr()?;
        contains("what list warns of", &list, &b.id)?;
        contains("what list warns of", &list, &other.id)?;
    }
    b.is("running")?;
    force_clears(&b)
}

/// It is on the list, and runs what it is told to.
fn list_and_exec(b: &Bundle<'_>) -> Verdict {
    contains("the list", &b.test.runtime(&["list", "--quiet"])?.exits(0)?.stdout()?, &b.id)?;
    b.verb("exec", &["true"])?.exits(0).map(drop)
}

fn locked(t: &Test) -> Verdict {
    let (b, other) = two(t)?;
    // Whoever had it locked and was killed has it no more.
    let mut holder = std::process::Command::new("flock")
        .arg("--close")
        .arg(state_file(&b))
        .args(["sh", "-c", "echo locked; exec cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut line = [0; 7];
    std::io::Read::read_exact(&mut some("a pipe", holder.stdout.take())?, &mut line)?;
    let outcome = (|| {
        b.is("running")?;
        contains("the list", &t.runtime(&["list", "--quiet"])?.exits(0)?.stdout()?, &b.id)?;
        b.verb("ps", &[])?.exits(0)?;
        b.verb("kill", &["0"])?.exits(0)?;
        t.runtime(&["events", "--stats", &b.id])?.exits(0)?;
        let begin = Instant::now();
        let told = b.verb("delete", &["--force"])?;
        let told = told.refuses(t, &format!("container {} is locked by process {} (flock)", b.id, holder.id()), &[])?;
        contains("what it says", &told.stderr()?, "and was not free for 15 s")?;
        check(begin.elapsed() < Duration::from_secs(40), || format!("it took {:?}", begin.elapsed()))?;
        other.is("created")
    })();
    holder.kill()?;
    drop(holder.stdin.take());
    holder.wait()?;
    outcome?;
    // By then the processes had been killed, for whose end the other might have been waiting.
    ended(b.pid()?)?;
    b.is("stopped")?;
    force_clears(&b)
}

/// A state root that is a file system of its own.
fn on_tmpfs<'t>(t: &'t Test, options: &std::ffi::CStr) -> Verdict<Mounted<'t>> {
    fs::create_dir(t.state_root())?;
    rustix::mount::mount("tmpfs", t.state_root(), "tmpfs", MountFlags::empty(), Some(options))?;
    Ok(Mounted(t))
}

struct Mounted<'t>(&'t Test);

impl Mounted<'_> {
    fn remount(&self, flags: MountFlags) -> Verdict {
        Ok(rustix::mount::mount_remount(self.0.state_root(), flags, "")?)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // The case's search for what is left tells if it fails.
        let (Ok(()) | Err(_)) = rustix::mount::unmount(self.0.state_root(), UnmountFlags::DETACH);
    }
}

fn read_only(t: &Test) -> Verdict {
    let root = on_tmpfs(t, c"mode=755")?;
    let (running, created, b) = (t.bundle()?.running_idle()?, t.bundle()?.idle(), t.bundle()?.idle());
    created.create()?;
    root.remount(MountFlags::RDONLY)?;
    let outcome = (|| {
        running.is("running")?;
        created.is("created")?;
        list_and_exec(&running)?;
        running.verb("ps", &[])?.exits(0)?;
        running.verb("pause", &[])?.exits(0)?;
        running.is("paused")?;
        running.verb("resume", &[])?.exits(0)?;
        b.create_with(&[])?.refuses(t, "EROFS (read-only file system)", &[])?;
        created.start_idle()?;
        created.is("running")?;
        running.verb("kill", &["KILL"])?.exits(0)?;
        running.ended()?;
        running.is("stopped")?;
        let flags: [&[&str]; 2] = [&[], &["--force"]];
        for flags in flags {
            running.verb("delete", flags)?.refuses(t, "EROFS (read-only file system)", &[])?;
        }
        running.is("stopped")
    })();
    root.remount(MountFlags::empty())?;
    let cleared = force_clears(&running).and_then(|()| force_clears(&created));
    outcome.and(cleared)
}

fn disk_full(t: &Test) -> Verdict {
    let _root = on_tmpfs(t, c"mode=755,size=256k")?;
    let (running, created, b) = (t.bundle()?.running_idle()?, t.bundle()?.idle(), t.bundle()?.idle());
    created.create()?;
    let filling = t.state_root().join(".filling");
    check(fs::write(&filling, vec![0; 1_000_000]).is_err(), || "the disk did not fill".to_owned())?;
    let outcome = go_on(&running, &created, &b);
    fs::remove_file(filling)?;
    outcome
}

fn no_inodes(t: &Test) -> Verdict {
    // ours takes four for a container that waits: the directory, the journal, the link, the socket.
    let _root = on_tmpfs(t, c"mode=755,nr_inodes=40")?;
    let (running, created, b) = (t.bundle()?.running_idle()?, t.bundle()?.idle(), t.bundle()?.idle());
    created.create()?;
    let filling = t.state_root().join(".filling");
    fs::create_dir(&filling)?;
    let fill = || {
        let full = (0..100).any(|number| {
            let file = filling.join(number.to_string());
            !file.exists() && fs::write(file, "").is_err()
        });
        check(full, || "the inodes did not run out".to_owned())
    };
    let outcome = (|| {
        fill()?;
        // What has lost its state cannot get a new one.
        let lost = running;
        fs::remove_file(state_file(&lost))?;
        fill()?;
        force_clears(&lost)?;
        fill()?;
        b.create_with(&[])?.refuses(t, "ENOSPC (no space left on device)", &[])?;
        check(!directory(&b).exists(), || "a directory is left".to_owned())?;
        created.start_idle()?;
        force_clears(&created)
    })();
    fs::remove_dir_all(filling)?;
    outcome
}

/// What is there goes on, and nothing more is made, when the disk is full.
fn go_on(running: &Bundle<'_>, created: &Bundle<'_>, b: &Bundle<'_>) -> Verdict {
    let t = b.test;
    running.is("running")?;
    list_and_exec(running)?;
    running.verb("pause", &[])?.exits(0)?;
    running.verb("resume", &[])?.exits(0)?;
    b.create_with(&[])?.refuses(t, "ENOSPC (no space left on device)", &[])?;
    check(t.kind == Kind::Crun || !directory(b).exists(), || "a directory is left".to_owned())?;
    if t.kind == Kind::Crun {
        fs::remove_dir_all(directory(b)).unwrap_or_default();
    }
    created.start_idle()?;
    created.is("running")?;
    running.kill_and_delete()?;
    force_clears(created)
}

fn root_missing(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    let peers = ["does not exist", "No such file", "no such file"];
    for args in commands(&b)? {
        t.runtime(&args)?.refuses_with(
            t,
            if args[0] == "exec" { 255 } else { 1 },
            "container does not exist",
            &peers,
        )?;
    }
    t.runtime(&["delete", "--force", &b.id])?.exits(0)?;
    if t.kind != Kind::Runc {
        t.runtime(&["list", "--quiet"])?.exits(0)?.prints("")?;
    }
    // It went away under what runs, and came back.
    b.create()?;
    b.start_idle()?;
    fs::rename(t.state_root(), t.path("moved"))?;
    let outcome = (|| {
        for args in commands(&b)? {
            t.runtime(&args)?.refuses_with(
                t,
                if args[0] == "exec" { 255 } else { 1 },
                "container does not exist",
                &peers,
            )?;
        }
        b.executes(&["sleep", "1000"])
    })();
    if t.state_root().exists() {
        fs::remove_dir_all(t.state_root())?;
    }
    fs::rename(t.path("moved"), t.state_root())?;
    outcome?;
    b.is("running")?;
    force_clears(&b)
}
