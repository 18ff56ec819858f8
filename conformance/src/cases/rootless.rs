//! Containers of an ordinary user: no capability on the host, no cgroup, ids by newuidmap(1).

mod commands;
pub(crate) mod guide;
mod remedies;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::{Bundle, Output, Test, eventually};
use crate::case::{Case, UNFILTERED, case};
use crate::cases::process::status_line;
use crate::cgroup2;
use crate::expect::{Verdict, check, contains, lacks, same, skip, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("rootless/run", "a user's own id is root inside", run),
        case("rootless/maps", "the map of one id, and setgroups denied", maps),
        case("rootless/not-root-inside", "a user's own id is another inside", not_root_inside)
            .known_failure(Kind::Runc, "needs root inside"),
        case("rootless/subordinate", "subordinate ids by newuidmap and newgidmap", subordinate),
        case("rootless/subordinate-user", "a process with a subordinate id", subordinate_user),
        case("rootless/subordinate-groups", "additional groups with subordinate ids", subordinate_groups)
            .known_failure(Kind::Runc, "has no additional groups for ordinary users"),
        case("rootless/subordinate-without-root", "subordinate ids, and no root inside", subordinate_without_root)
            .known_failure(Kind::Runc, "needs root inside"),
        case("rootless/groups-denied", "additional groups without subordinate ids are refused", groups_denied)
            .differs(Kind::Crun, "passes over them"),
        case("rootless/lifecycle", "create, start, state, kill, delete", lifecycle),
        case("rootless/delete-force", "delete --force ends all processes", delete_force),
        case("rootless/ps", "ps, without a cgroup", ps)
            .known_failure(Kind::Runc, "needs a cgroup")
            .known_failure(Kind::Crun, "needs a cgroup"),
        case(
            "rootless/pause",
            "pause, resume and events --stats without a cgroup are refused, and change nothing",
            pause,
        )
        .known_failure(Kind::Runc, "1.3.6 tells statistics that are all 0")
        .skip(Kind::Crun, "has no events"),
        case("rootless/status", "the status of the process is that of run", status),
        case("rootless/network", "a network namespace of its own", network),
        case("rootless/binds", "bind mounts of a file and a directory", binds),
        case("rootless/bind-readonly", "a read-only bind mount", bind_readonly),
        case("rootless/locked-flags", "a bind mount of what is mounted nosuid,nodev,noexec", locked_flags),
        case("rootless/locked-children", "a bind mount with another below", locked_children)
            .known_failure(Kind::Runc, "fails: the kernel shows what is below only with what covers it")
            .known_failure(Kind::Crun, "fails: the kernel shows what is below only with what covers it"),
        case("rootless/bind-missing", "a source that is not there is an error", bind_missing),
        case("rootless/readonly-root", "the root is read-only", readonly_root),
        case("rootless/devices", "the default devices work", devices),
        case("rootless/masked", "masked and read-only paths", masked),
        case("rootless/many-mounts", "300 bind mounts", many_mounts),
        case("rootless/limits", "rlimits, umask and working directory", others),
        case("rootless/oom-score-adj", "a lower oom_score_adj is passed over", oom_score_adj)
            .differs(Kind::Runc, "fails")
            .differs(Kind::Crun, "fails"),
        case("rootless/not-found", "a program that is not there is told, and nothing is left", not_found),
        case("rootless/no-subordinate-ids", "ids that the user was not given are refused", no_subordinate_ids),
        case("rootless/no-user-namespace", "without a user namespace it is refused", no_user_namespace)
            .differs(Kind::Crun, "makes one of its own"),
        case("rootless/cgroup-absent", "with a cgroupsPath that cannot be made", cgroup_absent)
            .differs(Kind::Runc, "refuses it")
            .differs(Kind::Crun, "refuses it"),
        case(
            "rootless/limits-without-cgroup",
            "who gets no cgroup is told that it cannot be limited",
            limits_without_cgroup,
        )
        .needs_controllers(&["hugetlb"])
        .known_failure(Kind::Crun, "goes on without limits"),
        case("rootless/limits-delegated", "limits in a cgroup that is delegated to the user", limits_delegated)
            .needs_controllers(&["hugetlb"]),
        case("rootless/in-user-namespace", "root of a user namespace, as under rootless Podman", in_user_namespace),
        case("rootless/two", "two containers of one user", two),
        case("rootless/seccomp", "a seccomp profile, also if the process may gain privileges", seccomp),
    ];
    cases.extend(commands::cases());
    cases.extend(guide::cases());
    cases.extend(remedies::cases());
    cases.into_iter().map(|case| case.needs(&[UNFILTERED])).collect()
}

const USER: u32 = 12_345;
const SUBORDINATE: u32 = 300_000;

/// The user's files are the case's own, in its mount namespace.
struct Known {
    mounted: Vec<String>,
}

impl Drop for Known {
    fn drop(&mut self) {
        for file in &self.mounted {
            // The case's search for what is left tells if it fails.
            let (Ok(()) | Err(_)) = rustix::mount::unmount(file, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn know_the_user(t: &Test) -> Verdict<Known> {
    let mut known = Known { mounted: Vec::new() };
    for (name, line) in [
        ("passwd", format!("nfuser:x:{USER}:{USER}::/:/bin/sh\n")),
        ("group", format!("nfuser:x:{USER}:\n")),
        ("subuid", format!("nfuser:{SUBORDINATE}:65536\n")),
        ("subgid", format!("nfuser:{SUBORDINATE}:65536\n")),
    ] {
        let file = format!("/etc/{name}");
        let copy = t.path(name);
        let text = fs::read_to_string(&file).unwrap_or_default() + &line;
        fs::write(&copy, text)?;
        if !fs::exists(&file)? {
            return skip(format!("{file} is missing"));
        }
        rustix::mount::mount_bind(&copy, &file)?;
        known.mounted.push(file);
    }
    Ok(known)
}

fn has_newuidmap() -> Verdict {
    if fs::exists("/usr/bin/newuidmap")? { Ok(()) } else { skip("newuidmap (Debian: uidmap) is missing") }
}

/// A bundle as `spec --rootless` writes it, of a user who is root inside, and the only one there.
fn bundle(t: &Test) -> Verdict<Bundle<'_>> {
    bundle_of(t, USER)
}

/// The same of the user with this id.
pub(crate) fn bundle_of(t: &Test, user: u32) -> Verdict<Bundle<'_>> {
    chown(&t.work, Some(user), Some(user))?;
    let b = t.bundle()?.no_namespace("network").no_namespace("cgroup").user_namespace(user, 1);
    let mut b = b.no_mount("/sys/fs/cgroup").no_mount("/sys").remove("/linux/cgroupsPath").remove("/linux/resources");
    let output = Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(&b.dir).output()?;
    check(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    let at = some("/dev/pts", b.mount_index("/dev/pts"))?;
    b = b.set(
        &format!("/mounts/{at}/options"),
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    );
    Ok(b.bind("/sys", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]))
}

/// The same with 65536 ids more.
fn granted(t: &Test) -> Verdict<(Known, Bundle<'_>)> {
    has_newuidmap()?;
    let known = know_the_user(t)?;
    let map = json!([
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": SUBORDINATE, "size": 65_535},
    ]);
    Ok((known, bundle(t)?.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)))
}

fn as_user(t: &Test, mut command: Command) -> Verdict<Output> {
    command.uid(USER).gid(USER).env("XDG_RUNTIME_DIR", &t.work).current_dir("/");
    t.output_of(command)
}

fn verb(b: &Bundle, verb: &str, rest: &[&str]) -> Verdict<Output> {
    let mut args = vec![verb, b.id.as_str()];
    args.extend(rest);
    as_user(b.test, b.test.command(&args))
}

fn run_it(b: &Bundle) -> Verdict<Output> {
    b.save()?;
    as_user(b.test, b.command("run", &[]))
}

fn stdout(b: &Bundle) -> Verdict<String> {
    run_it(b)?.exits(0)?.stdout()
}

fn create(b: &Bundle) -> Verdict {
    b.save()?;
    as_user(b.test, b.command("create", &["--pid-file", &b.pid_file().to_string_lossy()]))?.exits(0)?;
    Ok(())
}

fn run(t: &Test) -> Verdict {
    let b = bundle(t)?.sh("id -u; id -g; hostname; ls -d /proc/self /dev/null");
    same(
        "output",
        stdout(&b)?,
        format!("0\n0\n{}\n/dev/null\n/proc/self\n", some("hostname", b.config["hostname"].as_str())?),
    )
}

fn maps(t: &Test) -> Verdict {
    let out = stdout(&bundle(t)?.sh("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"))?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("maps", words, ["0", "12345", "1", "0", "12345", "1", "deny"])
}

fn not_root_inside(t: &Test) -> Verdict {
    let map = json!([{"containerID": 1000, "hostID": USER, "size": 1}]);
    let b = bundle(t)?.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let b = b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    same("output", stdout(&b.sh("id -u; id -g"))?, "1000\n1000\n")
}

fn subordinate(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let out = stdout(&b.sh("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"))?;
    let words: Vec<&str> = out.split_whitespace().collect();
    let map = ["0", "12345", "1", "1", "300000", "65535"];
    same("maps", words, [&map[..], &map[..], &["allow"]].concat())
}

fn subordinate_user(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let b = b.set("/process/user", json!({"uid": 33, "gid": 34})).writable();
    fs::set_permissions(b.rootfs("tmp"), fs::Permissions::from_mode(0o777))?;
    let file = b.rootfs("tmp/file");
    same("output", stdout(&b.sh("id -u; id -g; echo x >/tmp/file"))?, "33\n34\n")?;
    let file = fs::metadata(file)?;
    same("owner", (file.uid(), file.gid()), (SUBORDINATE + 32, SUBORDINATE + 33))
}

fn subordinate_groups(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let b = b.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [7, 8]}));
    same("output", stdout(&b.sh("id -G"))?, "0 7 8\n")
}

fn subordinate_without_root(t: &Test) -> Verdict {
    let map = json!([
        {"containerID": 1000, "hostID": USER, "size": 1},
        {"containerID": 2000, "hostID": SUBORDINATE, "size": 100},
    ]);
    let (_known, b) = granted(t)?;
    let b = b.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let b = b.set("/process/user", json!({"uid": 2001, "gid": 1000}));
    same("output", stdout(&b.sh("id -u; id -g"))?, "2001\n1000\n")
}

fn groups_denied(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [0]})).args(&["true"]);
    let output = run_it(&b)?;
    if t.kind != Kind::Crun {
        output.refuses(t, "/process/user", &[])?;
    }
    Ok(())
}

fn lifecycle(t: &Test) -> Verdict {
    let b = bundle(t)?.idle();
    create(&b)?;
    let status = |b: &Bundle| -> Verdict<Value> {
        let state: Value = serde_json::from_str(&verb(b, "state", &[])?.exits(0)?.stdout()?)?;
        Ok(state["status"].clone())
    };
    same("status", status(&b)?, "created")?;
    verb(&b, "start", &[])?.exits(0)?;
    same("status", status(&b)?, "running")?;
    verb(&b, "kill", &["KILL"])?.exits(0)?;
    b.ended()?;
    same("status", status(&b)?, "stopped")?;
    verb(&b, "delete", &[])?.exits(0)?;
    check(verb(&b, "state", &[])?.status != 0, || "it is still known".to_owned())
}

fn delete_force(t: &Test) -> Verdict {
    let b = bundle(t)?.sh("setsid sleep 1001 & exec sleep 1000");
    create(&b)?;
    verb(&b, "start", &[])?.exits(0)?;
    as_user(t, t.command(&["delete", "--force", &b.id]))?.exits(0)?;
    b.ended()?;
    check(verb(&b, "state", &[])?.status != 0, || "it is still known".to_owned())
}

fn ps(t: &Test) -> Verdict {
    let b = bundle(t)?.sh("sleep 1001 & exec sleep 1000");
    create(&b)?;
    verb(&b, "start", &[])?.exits(0)?;
    let pids = || -> Verdict<Vec<Value>> {
        let output = as_user(t, t.command(&["ps", "--format", "json", &b.id]))?.exits(0)?;
        Ok(serde_json::from_str(&output.stdout()?)?)
    };
    eventually("two processes", || Ok(pids()?.len() == 2))?;
    check(pids()?.contains(&json!(b.pid()?.as_raw_nonzero())), || "the first is not among them".to_owned())?;
    as_user(t, t.command(&["delete", "--force", &b.id]))?.exits(0)?;
    Ok(())
}

fn pause(t: &Test) -> Verdict {
    let b = bundle(t)?.idle();
    create(&b)?;
    verb(&b, "start", &[])?.exits(0)?;
    for words in [&["pause"][..], &["resume"], &["events", "--stats"], &["events"]] {
        let output = as_user(t, t.command(&[words, &[b.id.as_str()]].concat()))?;
        output.refuses(t, "the container has no cgroup of its own, without which it cannot be", &[])?;
    }
    let state: Value = serde_json::from_str(&verb(&b, "state", &[])?.exits(0)?.stdout()?)?;
    same("status", &state["status"], "running")?;
    as_user(t, t.command(&["delete", "--force", &b.id]))?.exits(0)?;
    Ok(())
}

fn status(t: &Test) -> Verdict {
    run_it(&bundle(t)?.sh("exit 7"))?.exits(7)?;
    Ok(())
}

fn network(t: &Test) -> Verdict {
    let b = bundle(t)?.push("/linux/namespaces", json!({"type": "network"})).no_mount("/sys");
    let b = b.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    let out = stdout(&b.sh("ls /sys/class/net; ip addr show lo"))?;
    contains("lo", &out, "lo\n")?;
    contains("lo", &out, "127.0.0.1/8")
}

fn binds(t: &Test) -> Verdict {
    let dir = t.path("dir");
    fs::create_dir(&dir)?;
    fs::write(dir.join("file"), "content\n")?;
    chown(&dir, Some(USER), Some(USER))?;
    let b = bundle(t)?.bind(&dir, "/data", &["bind"]).bind(dir.join("file"), "/etc/file", &["bind", "ro"]);
    same("output", stdout(&b.writable().sh("cat /data/file /etc/file; echo new >/data/new"))?, "content\ncontent\n")?;
    same("written", fs::read_to_string(dir.join("new"))?, "new\n")?;
    same("owner", fs::metadata(dir.join("new"))?.uid(), USER)
}

fn bind_readonly(t: &Test) -> Verdict {
    let dir = t.path("dir");
    fs::create_dir(&dir)?;
    chown(&dir, Some(USER), Some(USER))?;
    let b = bundle(t)?.with_dir("data")?.bind(&dir, "/data", &["rbind", "ro", "nosuid"]);
    let out = stdout(&b.writable().sh("echo x >/data/x || grep -o ' /data [^ ]*' /proc/self/mountinfo"))?;
    contains("options", &out, "ro,")?;
    contains("options", &out, "nosuid")
}

/// A directory on a file system of its own, with flags that the user cannot clear.
fn locked(t: &Test, options: &str) -> Verdict<std::path::PathBuf> {
    let dir = t.path("locked");
    fs::create_dir(&dir)?;
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "x"]).arg(&dir).status()?;
    same("mount", status.code(), Some(0))?;
    chown(&dir, Some(USER), Some(USER))?;
    Ok(dir)
}

fn locked_flags(t: &Test) -> Verdict {
    let dir = locked(t, "nosuid,nodev,noexec")?;
    let b = bundle(t)?.bind(&dir, "/data", &["bind", "ro"]).bind(&dir, "/more", &["rbind", "rprivate"]).writable();
    let out = stdout(&b.sh("grep -o ' /data [^ ]*' /proc/self/mountinfo; grep -o ' /more [^ ]*' /proc/self/mountinfo"));
    rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::DETACH)?;
    let out = out?;
    let lines: Vec<&str> = out.lines().collect();
    for (line, access) in lines.iter().zip(["ro", "rw"]) {
        contains("options", line, &format!(" {access},nosuid,nodev,noexec"))?;
    }
    same("mounts", lines.len(), 2)
}

fn locked_children(t: &Test) -> Verdict {
    let dir = t.path("dir");
    fs::create_dir_all(dir.join("sub"))?;
    fs::write(dir.join("sub/hidden"), "")?;
    let status = Command::new("mount").args(["-t", "tmpfs", "x"]).arg(dir.join("sub")).status()?;
    same("mount", status.code(), Some(0))?;
    let out = stdout(&bundle(t)?.bind(&dir, "/data", &["bind"]).writable().sh("ls /data /data/sub"));
    rustix::mount::unmount(dir.join("sub"), rustix::mount::UnmountFlags::DETACH)?;
    let out = out?;
    contains("output", &out, "sub")?;
    lacks("output", &out, "hidden")
}

fn bind_missing(t: &Test) -> Verdict {
    let b = bundle(t)?.bind("/no/such/source", "/data", &["bind"]).args(&["true"]);
    let at = b.mount_index("/data").unwrap_or_default();
    let output = run_it(&b)?.refuses(t, &format!("/mounts/{at}"), &["no such file", "No such file"])?;
    contains("the text", &output.stderr()?, "/no/such/source")
}

fn readonly_root(t: &Test) -> Verdict {
    same("output", stdout(&bundle(t)?.sh("echo x >/file || echo refused"))?, "refused\n")
}

fn devices(t: &Test) -> Verdict {
    let script = "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done
        echo x >/dev/null && head -c 2 /dev/zero | wc -c";
    same("output", stdout(&bundle(t)?.sh(script))?, "2\n")
}

fn masked(t: &Test) -> Verdict {
    let script = "head -c 1 /proc/kcore | wc -c; echo x >/proc/sys/kernel/hostname || echo refused";
    let b = bundle(t)?.set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/acpi"]));
    same("output", stdout(&b.set("/linux/readonlyPaths", json!(["/proc/sys"])).sh(script))?, "0\nrefused\n")
}

fn many_mounts(t: &Test) -> Verdict {
    let file = t.path("file");
    fs::write(&file, "x")?;
    let mut b = bundle(t)?.writable();
    for number in 0..300 {
        b = b.bind(&file, &format!("/many/{number}"), &["bind", "ro"]);
    }
    same("output", stdout(&b.sh("ls /many | wc -l; cat /many/299"))?, "300\nx")
}

fn others(t: &Test) -> Verdict {
    let b = bundle(t)?.with_dir("work")?.set("/process/cwd", json!("/work")).set("/process/user/umask", json!(0o027));
    let b = b.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}]));
    same("output", stdout(&b.sh("pwd; umask; ulimit -n; ulimit -Hn"))?, "/work\n0027\n99\n100\n")
}

fn oom_score_adj(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/process/oomScoreAdj", json!(-500));
    let output = run_it(&b.sh("cat /proc/self/oom_score_adj"))?;
    if !t.ours() {
        return check(output.status != 0, || "it runs".to_owned());
    }
    same("output", output.exits(0)?.stdout()?, "0\n")?;
    let b = bundle(t)?.set("/process/oomScoreAdj", json!(500));
    same("output", stdout(&b.sh("cat /proc/self/oom_score_adj"))?, "500\n")
}

fn not_found(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["no-such-program"]);
    run_it(&b)?.refuses(t, "executable file not found in $PATH", &["not found"])?;
    check(!t.state_root().join(&b.id).exists(), || "a directory is left in the state root".to_owned())
}

fn no_subordinate_ids(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let map = json!([
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": 7_000_000, "size": 65_535},
    ]);
    let b = b.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).args(&["true"]);
    let output = run_it(&b)?.refuses(t, "/linux/uidMappings", &["newuidmap", "newgidmap"])?;
    if t.ours() { contains("the remedy", &output.stderr()?, "/etc/subuid") } else { Ok(()) }
}

fn no_user_namespace(t: &Test) -> Verdict {
    let b = bundle(t)?.no_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings").args(&["true"]);
    let output = run_it(&b)?;
    if t.kind != Kind::Crun {
        output.refuses(t, "/linux/namespaces", &[])?;
    }
    Ok(())
}

fn cgroup_absent(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/cgroupsPath", json!("/no-such-delegation/x"));
    let output = run_it(&b.sh("echo fine"))?;
    if !t.ours() {
        return check(output.status != 0, || "it runs".to_owned());
    }
    same("output", output.exits(0)?.stdout()?, "fine\n")
}

fn huge_pages(b: Bundle<'_>) -> Bundle<'_> {
    b.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]))
}

fn limits_without_cgroup(t: &Test) -> Verdict {
    let b = huge_pages(bundle(t)?).args(&["true"]);
    let error = "/linux/resources/hugepageLimits/0: the container gets no cgroup, so that it cannot be limited: ";
    run_it(&b)?.refuses(t, error, &[]).map(drop)
}

fn limits_delegated(t: &Test) -> Verdict {
    // As cgroups(7) says: the directory and three files, and the user's own process in a cgroup beneath.
    let delegated = t.cgroup_dir().join("delegated");
    let own = delegated.join("own");
    fs::create_dir_all(&own)?;
    let mut above: Vec<_> = delegated.ancestors().skip(1).take_while(|dir| dir.starts_with(&t.cgroup_mount)).collect();
    above.reverse();
    for dir in above {
        fs::write(dir.join("cgroup.subtree_control"), "+hugetlb")?;
    }
    for dir in [&delegated, &own] {
        chown(dir, Some(USER), Some(USER))?;
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(dir.join(file), Some(USER), Some(USER))?;
        }
    }
    let b = huge_pages(bundle(t)?).set("/linux/cgroupsPath", json!(format!("{}/delegated/c", t.cgroup)));
    let b = b.sh("sleep 1000");
    b.save()?;
    let runtime = b.command("create", &["--pid-file", &b.pid_file().to_string_lossy()]);
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "echo 0 >\"$0\"/cgroup.procs && user=$1 && shift && exec setpriv --reuid \"$user\" --regid \"$user\" --clear-groups -- \"$@\"",
    ]);
    command.arg(&own).arg(USER.to_string()).arg(runtime.get_program()).args(runtime.get_args());
    crate::bundle::bare(&mut command);
    command.env("XDG_RUNTIME_DIR", &t.work).current_dir("/");
    let created = t.output_of(command)?;
    let limit = fs::read_to_string(b.cgroup_dir().join("hugetlb.2MB.max"));
    // As root, who may do what the user may.
    t.runtime(&["delete", "--force", &b.id])?;
    cgroup2::kill_and_remove(&delegated)?;
    created.exits(0)?;
    same("hugetlb.2MB.max", limit?.as_str(), "4194304\n")
}

fn in_user_namespace(t: &Test) -> Verdict {
    let b = bundle(t)?.no_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    let b = b.sh("id -u; cat /proc/self/uid_map; test -c /dev/null && echo x >/dev/null && echo fine");
    b.save()?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]);
    let runtime = b.command("run", &[]);
    command.arg(runtime.get_program()).args(runtime.get_args());
    let out = as_user(t, command)?.exits(0)?.stdout()?;
    same("output", out.split_whitespace().collect::<Vec<_>>(), ["0", "0", "12345", "1", "fine"])
}

fn seccomp(t: &Test) -> Verdict {
    for privileges in [true, false] {
        let profile =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]});
        let b = bundle(t)?.set("/linux/seccomp", profile).set("/process/noNewPrivileges", json!(privileges));
        let out = stdout(&b.args(&["cat", "/proc/self/status"]))?;
        same("Seccomp", status_line(&out, "Seccomp")?, "2")?;
        same("Seccomp_filters", status_line(&out, "Seccomp_filters")?, "1")?;
        same("NoNewPrivs", status_line(&out, "NoNewPrivs")?, if privileges { "1" } else { "0" })?;
    }
    Ok(())
}

fn two(t: &Test) -> Verdict {
    let a = bundle(t)?.idle();
    create(&a)?;
    verb(&a, "start", &[])?.exits(0)?;
    same("output", stdout(&bundle(t)?.sh("echo fine"))?, "fine\n")?;
    as_user(t, t.command(&["delete", "--force", &a.id]))?.exits(0)?;
    a.ended()?;
    Ok(())
}
