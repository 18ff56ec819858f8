//! Cgroups that a container manages itself, and many containers at once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, Output, Test, bare, code, eventually};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, fail, same, some};
use crate::features::controller;
use crate::kind::Kind;
use crate::left;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "cgroups/owner",
            "root of a user namespace owns its cgroup, and of the files those that the kernel says",
            owner,
        )
        .known_failure(Kind::Runc, "1.3.6 gives away none but systemd's"),
        case(
            "cgroups/owner-of-process",
            "the user is that of the process, also without a user namespace",
            owner_of_process,
        )
        .known_failure(Kind::Runc, "1.3.6 gives away none but systemd's")
        .known_failure(Kind::Crun, "1.28 gives it to root of the container"),
        case("cgroups/owner-kept", "without a cgroup namespace, or read-only, the owner stays", owner_kept)
            .known_failure(Kind::Crun, "1.28 gives it away all the same"),
        case("cgroups/managed", "root of a user namespace makes cgroups in its own", managed)
            .known_failure(Kind::Runc, "1.3.6 gives away none but systemd's"),
        case(
            "cgroups/nested-kill",
            "kill and delete, where the container has made cgroups with processes",
            nested_kill,
        ),
        case(
            "cgroups/nested-delete",
            "delete --force takes cgroups with processes that the container has made",
            nested_delete,
        ),
        case("cgroups/nested-shared-pids", "so it does where the container has no pid namespace", nested_shared_pids),
        case(
            "cgroups/nested-controllers",
            "and where its cgroup hands controllers on, with an exec in it",
            nested_controllers,
        ),
        case(
            "cgroups/killed-once",
            "a cgroup that was killed before, as one that a failed delete has left",
            killed_once,
        )
        .known_failure(Kind::Crun, "1.28: what Linux 6.18 starts there by clone3 is killed at birth"),
        case(
            "cgroups/killed-caller",
            "run, create and exec by a caller whose own cgroup was killed before",
            killed_caller,
        )
        .known_failure(Kind::Crun, "1.28: what Linux 6.18 starts from there by clone3 is killed at birth"),
        case("cgroups/many", "many containers at once; nothing is left of them", many),
    ]
}

/// A directory for a cgroup whose processes, of which there were none, have been killed.
fn killed(path: &Path) -> Verdict {
    fs::create_dir_all(path)?;
    Ok(fs::write(path.join("cgroup.kill"), "1")?)
}

/// Of the first process, in the hierarchy of cgroup v2, from the suite's own on.
fn is_in_its_cgroup(b: &Bundle) -> Verdict {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", b.pid()?))?;
    let path = some("its cgroup", text.lines().find_map(|line| line.strip_prefix("0::")))?;
    let expected = b.config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    check(path.ends_with(expected), || format!("it is in {path}, not {expected}"))
}

fn killed_once(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    killed(&b.cgroup_dir())?;
    b.create()?;
    is_in_its_cgroup(&b)?;
    b.start()?.exits(0)?;
    b.verb("exec", &["true"])?.exits(0)?;
    b.kill_and_delete()?;
    b.is_gone()
}

fn killed_caller(t: &Test) -> Verdict {
    let dir = t.cgroup_dir().join("caller");
    killed(&dir)?;
    let script = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", dir.display());
    let from_there = |command: Command| -> Verdict<Output> {
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        bare(&mut shell);
        t.output_of(shell)
    };
    let b = t.bundle()?.args(&["echo", "done"]);
    b.save()?;
    from_there(b.command("run", &[]))?.exits(0)?.prints("done\n")?;
    let b = t.bundle()?.idle();
    b.save()?;
    from_there(b.command("create", &["--pid-file", &b.pid_file().to_string_lossy()]))?.exits(0)?;
    is_in_its_cgroup(&b)?;
    b.start()?.exits(0)?;
    from_there(t.command(&["exec", &b.id, "true"]))?.exits(0)?;
    b.kill_and_delete()?;
    b.is_gone()?;
    Ok(fs::remove_dir(dir)?)
}

/// A bundle that can write to its cgroup.
pub(super) fn writable(b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    let at = some("the mount of cgroups", b.mount_index("/sys/fs/cgroup"))?;
    Ok(b.set(&format!("/mounts/{at}/options"), json!(["nosuid", "noexec", "nodev", "relatime"])))
}

const HOST: u32 = 100_000;

/// What in the container's cgroup belongs to this user; what else there is, to root.
fn owned_by(b: &Bundle, uid: u32) -> Verdict<BTreeSet<String>> {
    let mut owned = BTreeSet::new();
    let dir = b.cgroup_dir();
    let mut note = |name: &str, path: &Path| -> Verdict {
        match fs::metadata(path)?.uid() {
            found if found == uid => {
                owned.insert(name.to_owned());
                Ok(())
            }
            0 => Ok(()),
            other => fail(format!("{name} belongs to {other}")),
        }
    };
    note(".", &dir)?;
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        note(&entry.file_name().to_string_lossy(), &entry.path())?;
    }
    Ok(owned)
}

/// What of the container's cgroup is to be the user's.
fn to_be_given(b: &Bundle) -> Verdict<BTreeSet<String>> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate")?;
    let there = list.split_whitespace().filter(|name| b.cgroup_dir().join(name).exists());
    Ok(there.chain(["."]).map(str::to_owned).collect())
}

fn owner(t: &Test) -> Verdict {
    let b = writable(t.bundle()?.user_namespace(HOST, 65536))?.running_idle()?;
    let given = to_be_given(&b)?;
    check(given.contains("cgroup.procs"), || format!("{given:?}"))?;
    same("what belongs to it", owned_by(&b, HOST)?, given)
}

fn owner_of_process(t: &Test) -> Verdict {
    let b = writable(t.bundle()?.user_namespace(HOST, 65536))?.set("/process/user/uid", json!(5)).running_idle()?;
    same("what belongs to it", owned_by(&b, HOST + 5)?, to_be_given(&b)?)?;
    let b = writable(t.bundle()?)?.set("/process/user/uid", json!(7)).running_idle()?;
    same("what belongs to it", owned_by(&b, 7)?, to_be_given(&b)?)
}

fn owner_kept(t: &Test) -> Verdict {
    let readonly = t.bundle()?.user_namespace(HOST, 65536).running_idle()?;
    same("read-only", owned_by(&readonly, HOST)?, BTreeSet::new())?;
    let shared = writable(t.bundle()?.user_namespace(HOST, 65536))?.no_namespace("cgroup").running_idle()?;
    same("without a cgroup namespace", owned_by(&shared, HOST)?, BTreeSet::new())
}

fn managed(t: &Test) -> Verdict {
    let b = writable(t.bundle()?.user_namespace(HOST, 65536))?;
    let b = b.sh("cd /sys/fs/cgroup && mkdir -p a/b && echo 0 >a/b/cgroup.procs && grep ^0: /proc/self/cgroup && (echo 1 >cgroup.max.depth) 2>/dev/null || echo no");
    same("output", b.stdout()?, "0::/a/b\nno\n")
}

/// Makes cgroups with a process in each, says so, and waits.
const NEST: &str = "cd /sys/fs/cgroup && mkdir -p a/b/c d && for to in a a/b/c d; do
    sh -c 'echo 0 >'$to'/cgroup.procs; exec sleep 1000' & done
    for of in a a/b/c d; do until [ \"$(cat $of/cgroup.procs)\" ]; do :; done; done; echo nested; exec sleep 1000";

fn nested(b: Bundle<'_>) -> Verdict<Bundle<'_>> {
    let b = writable(b)?.sh(NEST);
    same("output", b.started()?.next()?, "nested")?;
    Ok(b)
}

fn no_cgroup(b: &Bundle) -> Verdict {
    check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    b.is_gone()
}

fn nested_kill(t: &Test) -> Verdict {
    let b = nested(t.bundle()?)?;
    let listed: Vec<i32> = serde_json::from_str(&t.runtime(&["ps", "--format", "json", &b.id])?.exits(0)?.stdout()?)?;
    same("processes", listed.len(), 4)?;
    b.kill_and_delete()?;
    no_cgroup(&b)
}

fn nested_delete(t: &Test) -> Verdict {
    let b = nested(t.bundle()?)?;
    b.delete_force()?;
    b.ended()?;
    no_cgroup(&b)
}

fn nested_shared_pids(t: &Test) -> Verdict {
    let b = nested(t.bundle()?.no_namespace("pid"))?;
    t.output_by(t.command(&["delete", "--force", &b.id]), left::reap_until)?.exits(0)?;
    no_cgroup(&b)
}

fn nested_controllers(t: &Test) -> Verdict {
    let b = writable(t.bundle()?)?.sh("cd /sys/fs/cgroup && mkdir inner && echo 0 >inner/cgroup.procs && read go &&
         echo +hugetlb >cgroup.subtree_control && echo done; exec sleep 1000");
    let (reader, writer) = std::io::pipe()?;
    b.save()?;
    let pid_file = b.pid_file();
    let mut command = b.command("create", &["--pid-file", &pid_file.to_string_lossy()]);
    let out = b.dir.join("out");
    same("status", code(command.stdin(reader).stdout(File::create(&out)?).stderr(Stdio::null()).status()?), 0)?;
    drop(command);
    b.start()?;
    eventually("it has moved", || {
        Ok(!fs::read_to_string(b.cgroup_dir().join("inner/cgroup.procs")).unwrap_or_default().is_empty())
    })?;
    controller(&b, "hugetlb")?;
    std::io::Write::write_all(&mut { writer }, b"go\n")?;
    eventually("it hands the controller on", || Ok(fs::read_to_string(&out)? == "done\n"))?;
    // The cgroup itself may have no process now; with runc and crun it goes where the first one is, too.
    same("exec", b.verb("exec", &["grep", "^0:", "/proc/self/cgroup"])?.exits(0)?.stdout()?, "0::/inner\n")?;
    let listed: Vec<i32> = serde_json::from_str(&t.runtime(&["ps", "--format", "json", &b.id])?.exits(0)?.stdout()?)?;
    same("processes", listed, vec![b.pid()?.as_raw_nonzero().get()])?;
    b.kill_and_delete()?;
    no_cgroup(&b)
}

/// Starts all commands at once, and says which of them failed.
fn at_once(t: &Test, what: &str, commands: impl Iterator<Item = Vec<String>>) -> Verdict {
    let errors = t.path(&format!("{what}.err"));
    let start = |args: Vec<String>| -> Verdict<Child> {
        let errors = File::options().create(true).append(true).open(&errors)?;
        Ok(t.command(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()?)
    };
    let mut failed = 0;
    let children = commands.map(start).collect::<Verdict<Vec<_>>>()?;
    for mut child in children {
        failed += u32::from(!child.wait()?.success());
    }
    check(failed == 0, || format!("{failed} times {what}: {}", fs::read_to_string(&errors).unwrap_or_default()))
}

fn many(t: &Test) -> Verdict {
    // The peers take long.
    let count = if t.ours() { 500 } else { 60 };
    let b = t.bundle()?.idle();
    let rootfs = b.rootfs("");
    let containers: Vec<(String, String)> = (0..count)
        .map(|number| -> Verdict<_> {
            let (id, dir) = (format!("{}-many-{number}", b.id), t.path(&format!("many-{number}")));
            let mut config = b.config.clone();
            config["root"]["path"] = json!(rootfs);
            config["linux"]["cgroupsPath"] = json!(format!("{}/{id}", t.cgroup));
            fs::create_dir(&dir)?;
            fs::write(dir.join("config.json"), config.to_string())?;
            t.clean_up_also(&id);
            Ok((id, dir.to_string_lossy().into_owned()))
        })
        .collect::<Verdict<_>>()?;
    let run = |(id, dir): &(String, String)| ["run", "--detach", "--bundle", dir, id].map(str::to_owned).to_vec();
    at_once(t, "run", containers.iter().map(run))?;
    let listed = t.runtime(&["list", "--format", "json"])?.exits(0)?.stdout()?;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed)?;
    same("running", listed.iter().filter(|one| one["status"] == "running").count(), count)?;
    at_once(t, "delete", containers.iter().map(|(id, _)| ["delete", "--force", id].map(str::to_owned).to_vec()))?;
    left::reap();
    same("what is listed", t.runtime(&["list", "--quiet"])?.exits(0)?.stdout()?, "")
}
