//! What an ordinary user lacks: each is provoked, and told with what to do about it (docs/rootless.md).

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{SUBORDINATE, USER, as_user, bundle, granted, huge_pages, run_it};
use crate::bundle::{Bundle, Output, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, skip, some};
use crate::features::{Feature, Profile};
use crate::kind::Kind;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = id_cases();
    cases.extend(place_cases());
    cases.extend(mount_cases());
    cases
}

fn id_cases() -> Vec<Case> {
    vec![
        case("rootless/remedy-subuid", "no subordinate user ids", |t| no_ids(t, "subuid", "uid")),
        case("rootless/remedy-subgid", "no subordinate group ids", |t| no_ids(t, "subgid", "gid")),
        case("rootless/remedy-other-ids", "other subordinate ids than are mapped", other_ids),
        case("rootless/remedy-newuidmap-missing", "newuidmap is not there", no_newuidmap),
        case("rootless/remedy-newuidmap-plain", "newuidmap is not set-uid", plain_newuidmap),
        case("rootless/remedy-newuidmap-nosuid", "newuidmap lies where set-uid is void", nosuid_newuidmap),
        case("rootless/remedy-no-new-privs", "the caller can gain no privileges", no_new_privs),
        case("rootless/remedy-max-namespaces", "user.max_user_namespaces is 0", no_namespaces),
        case("rootless/remedy-userns-clone", "kernel.unprivileged_userns_clone is 0", userns_clone),
        case("rootless/remedy-apparmor", "AppArmor keeps user namespaces from the caller", apparmor)
            .needs_features(&[Feature::AppArmor]),
        case("rootless/remedy-chroot", "in a chroot the kernel makes no user namespace", chroot),
    ]
}

fn place_cases() -> Vec<Case> {
    vec![
        case("rootless/remedy-no-runtime-dir", "XDG_RUNTIME_DIR is unset", no_runtime_dir),
        case("rootless/remedy-other-runtime-dir", "XDG_RUNTIME_DIR is somebody else's", others_runtime_dir),
        case("rootless/remedy-bundle-closed", "a bundle that the user cannot get to", bundle_closed),
        case("rootless/remedy-rootfs-closed", "a root file system that the user cannot enter", rootfs_closed),
        case("rootless/remedy-rootfs-of-another", "one that root in the container cannot enter", rootfs_of_another),
        case("rootless/remedy-source-closed", "a bind mount of what the user cannot get to", source_closed),
        case("rootless/remedy-mount-point", "a mount point that the user cannot make", mount_point),
        case("rootless/remedy-not-delegated", "limits in a cgroup that is not the user's", not_delegated)
            .needs_controllers(&["hugetlb"]),
        case("rootless/remedy-no-manager", "--systemd-cgroup without the user's systemd", no_manager),
        case("rootless/remedy-no-user-namespace", "a configuration without a user namespace", no_user_namespace)
            .skip(Kind::Crun, "makes one of its own"),
    ]
}

fn mount_cases() -> Vec<Case> {
    vec![
        case("rootless/remedy-sysfs", "sysfs without a network namespace", |t| {
            let words = "in a user namespace sysfs needs a network namespace of its own";
            mount(bundle(t)?.no_mount("/sys"), ("/sys", "sysfs"), words)
        }),
        case("rootless/remedy-proc", "proc without a pid namespace", |t| {
            let b = bundle(t)?.no_mount("/proc").no_namespace("pid");
            mount(b, ("/proc", "proc"), "in a user namespace proc needs a pid namespace of its own")
        }),
        case("rootless/remedy-proc-covered", "proc where the host's is covered in part", proc_covered),
        case("rootless/remedy-file-system", "a file system of a device", |t| {
            let b = bundle(t)?.with_dir("mnt")?;
            mount(b, ("/mnt", "ext4"), "in a user namespace the kernel lets nobody mount ext4")
        }),
    ]
}

/// A file or directory with another over it, as long as this lives.
struct Covered(PathBuf);

impl Covered {
    fn new(over: impl AsRef<Path>, path: impl AsRef<Path>) -> Verdict<Self> {
        rustix::mount::mount_bind(over.as_ref(), path.as_ref())?;
        Ok(Self(path.as_ref().to_owned()))
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        // The case's search for what is left tells if it fails.
        let (Ok(()) | Err(_)) = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A directory of the machine's that is there as long as this lives, if it was not there before.
struct Made(Option<&'static str>);

impl Made {
    fn new(path: &'static str) -> Verdict<Self> {
        if fs::exists(path)? {
            return Ok(Self(None));
        }
        fs::create_dir(path)?;
        Ok(Self(Some(path)))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Somebody may have begun to use it.
        let (Ok(()) | Err(_)) = self.0.map_or(Ok(()), fs::remove_dir);
    }
}

/// `run` fails with these words, and leaves nothing.
fn refused(b: &Bundle, output: Output, words: &[&str]) -> Verdict {
    let t = b.test;
    let output = output.refuses(t, words.first().copied().unwrap_or_default(), &[])?;
    if t.ours() {
        // Log lines put messages in quotes.
        let said = output.stderr()?.replace("\\\"", "\"");
        words.iter().try_for_each(|word| contains("the error", &said, word))?;
        check(said.lines().count() == 1, || format!("more than a line: {said}"))?;
    }
    check(!t.state_root().join(&b.id).exists(), || "a directory is left in the state root".to_owned())
}

fn no_ids(t: &Test, file: &str, kind: &str) -> Verdict {
    let (_known, b) = granted(t)?;
    let path = format!("/etc/{file}");
    let _none = Covered::new("/dev/null", &path)?;
    let none = format!("({path} gives none to user nfuser, ");
    let last = SUBORDINATE + 65_534;
    let remedy = format!("`usermod --add-{file}s {SUBORDINATE}-{last} nfuser` as root");
    refused(&b, run_it(&b)?, &[&format!("/linux/{kind}Mappings: "), &none, &remedy])
}

fn other_ids(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let map = json!([
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": 7_000_000, "size": 10},
    ]);
    let b = b.set("/linux/uidMappings", map);
    let gives =
        format!("(/etc/subuid gives {SUBORDINATE}-{} to user nfuser, and not 7000000-7000009: ", SUBORDINATE + 65_535);
    refused(&b, run_it(&b)?, &["/linux/uidMappings: ", &gives, "usermod --add-subuids 7000000-7000009 nfuser"])
}

fn with_path(b: &Bundle, path: impl Into<OsString>) -> Verdict<Output> {
    b.save()?;
    let mut command = b.command("run", &[]);
    command.env("PATH", path.into());
    as_user(b.test, command)
}

fn no_newuidmap(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let output = with_path(&b, t.work.join("empty"))?;
    refused(
        &b,
        output,
        &[
            "/linux/uidMappings: ",
            "the program newuidmap, which is not in $PATH: install it (Debian and Ubuntu: the package uidmap",
        ],
    )
}

/// A directory with the two programs, as they are or without their rights.
fn helpers(t: &Test, mode: u32) -> Verdict<PathBuf> {
    let dir = t.path("helpers");
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    for name in ["newuidmap", "newgidmap"] {
        fs::copy(Path::new("/usr/bin").join(name), dir.join(name))?;
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode))?;
    }
    Ok(dir)
}

fn plain_newuidmap(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let dir = helpers(t, 0o755)?;
    let output = with_path(&b, &dir)?;
    let path = dir.join("newuidmap");
    refused(
        &b,
        output,
        &[
            "/linux/uidMappings: ",
            &format!("{0} is neither set-uid root nor has it the capability: `chmod u+s {0}`", path.display()),
        ],
    )
}

fn nosuid_newuidmap(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let dir = helpers(t, 0o4755)?;
    let _mounted = Covered::new(&dir, &dir)?;
    let status = Command::new("mount").args(["-o", "remount,bind,nosuid"]).arg(&dir).status()?;
    check(status.success(), || "remounting failed".to_owned())?;
    let output = with_path(&b, &dir)?;
    let told = format!("{} lies on a file system that is mounted nosuid", dir.join("newuidmap").display());
    refused(&b, output, &["/linux/uidMappings: ", &told])
}

/// The runtime's `run` behind another command, all as the user.
fn behind(b: &Bundle, words: &[&str]) -> Verdict<Output> {
    b.save()?;
    let run = b.command("run", &[]);
    let mut command = Command::new(some("a command", words.first())?);
    command.args(words.get(1..).unwrap_or_default()).arg(run.get_program()).args(run.get_args());
    crate::bundle::bare(&mut command);
    as_user(b.test, command)
}

fn no_new_privs(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    let output = behind(&b, &["setpriv", "--no-new-privs"])?;
    refused(&b, output, &["/linux/uidMappings: ", "can gain no privileges (no_new_privs; NoNewPrivileges= of a unit)"])
}

/// As root of a user namespace in which the ids are what they are, and that may say how many others there may be.
fn no_namespaces(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["true"]);
    b.save()?;
    let ids = t.path("ids");
    fs::write(&ids, "root:0:400000\n")?;
    let _covered = [Covered::new(&ids, "/etc/subuid")?, Covered::new(&ids, "/etc/subgid")?];
    let run = b.command("run", &[]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-users=0,0,400000", "--map-groups=0,0,400000", "sh", "-c"]);
    command.arg(format!(
        "echo 0 >/proc/sys/user/max_user_namespaces || exit 9; exec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all \"$@\""
    ));
    command.arg("sh").arg(run.get_program()).args(run.get_args());
    crate::bundle::bare(&mut command);
    command.env("XDG_RUNTIME_DIR", &t.work).current_dir("/");
    let output = t.output_of(command)?;
    check(output.status != 9, || "the limit was not set".to_owned())?;
    refused(
        &b,
        output,
        &[
            "/linux/namespaces: ",
            "clone3: ENOSPC",
            "user.max_user_namespaces is 0",
            "`sysctl -w user.max_user_namespaces=15000`",
        ],
    )
}

/// The runtime's `run` in a chroot that has everything: there the kernel makes no user namespace for a user.
fn chrooted(b: &Bundle) -> Verdict<Output> {
    b.save()?;
    let root = b.test.path("root");
    fs::create_dir(&root)?;
    let status = Command::new("mount").args(["--rbind", "/"]).arg(&root).status()?;
    let mounted = Covered(root.clone());
    check(status.success(), || "binding the root failed".to_owned())?;
    let run = b.command("run", &[]);
    let mut command = Command::new("chroot");
    command
        .args([&format!("--userspec={USER}:{USER}"), "--groups="])
        .arg(&root)
        .arg(run.get_program())
        .args(run.get_args());
    crate::bundle::bare(&mut command);
    command.env("XDG_RUNTIME_DIR", &b.test.work).current_dir("/");
    let output = b.test.output_of(command);
    drop(mounted);
    output
}

fn chroot(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["true"]);
    refused(&b, chrooted(&b)?, &["/linux/namespaces: ", "clone3: EPERM", "or it is in a chroot"])
}

/// The value is the case's own; that the kernel refuses comes of a chroot: others would not do with the real one.
fn userns_clone(t: &Test) -> Verdict {
    let sysctl = "/proc/sys/kernel/unprivileged_userns_clone";
    if !fs::exists(sysctl)? {
        return skip("this kernel has no kernel.unprivileged_userns_clone");
    }
    let zero = t.path("zero");
    fs::write(&zero, "0\n")?;
    let _zero = Covered::new(&zero, sysctl)?;
    let b = bundle(t)?.args(&["true"]);
    let told = "kernel.unprivileged_userns_clone is 0: `sysctl -w kernel.unprivileged_userns_clone=1`";
    refused(&b, chrooted(&b)?, &["/linux/namespaces: ", "clone3: EPERM", told])
}

fn apparmor(t: &Test) -> Verdict {
    let profile = Profile::load_with_abi(t, "no-userns", "deny userns,")?;
    let b = bundle(t)?.args(&["true"]);
    let output = behind(&b, &["aa-exec", "-p", &profile.name, "--"])?;
    let told = format!("AppArmor confines the caller by the profile {}", profile.name);
    refused(&b, output, &["/linux/namespaces: ", &told, "`userns,`"])
}

fn no_runtime_dir(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["true"]);
    b.save()?;
    let bundle = b.dir.to_string_lossy();
    let run = |directory: Option<&Path>| -> Verdict<Output> {
        let mut command = Command::new(&t.runtime);
        command.args(["run", "--bundle", &bundle, &b.id]).uid(USER).gid(USER).current_dir("/");
        crate::bundle::bare(&mut command);
        command.envs(directory.map(|path| ("XDG_RUNTIME_DIR", path)));
        t.output_of(command)
    };
    // There is none, but a file system of the case's own where a login would make it.
    let _users = Made::new("/run/user")?;
    let own = t.path("run-user");
    fs::create_dir_all(own.join(USER.to_string()))?;
    let words =
        ["neither --root nor $XDG_RUNTIME_DIR says where to keep state: ", "`loginctl enable-linger`", "--root"];
    refused(&b, run(None)?, &words)?;
    let _login = Covered::new(&own, "/run/user")?;
    let words = format!("`export XDG_RUNTIME_DIR=/run/user/{USER}`, as a login does");
    refused(&b, run(None)?, &[&words])?;
    chown(own.join(USER.to_string()), Some(USER), Some(USER))?;
    run(Some(&Path::new("/run/user").join(USER.to_string())))?.exits(0)?;
    Ok(())
}

fn others_runtime_dir(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["true"]);
    b.save()?;
    let others = t.path("others");
    fs::create_dir(&others)?;
    fs::set_permissions(&others, fs::Permissions::from_mode(0o700))?;
    let mut command = Command::new(&t.runtime);
    command.args(["run", "--bundle"]).arg(&b.dir).arg(&b.id).uid(USER).gid(USER).current_dir("/");
    crate::bundle::bare(&mut command);
    command.env("XDG_RUNTIME_DIR", &others);
    refused(&b, t.output_of(command)?, &["creating ", "EACCES", &kept_out(&others, 0o700), "or in XDG_RUNTIME_DIR"])
}

fn kept_out(path: &Path, mode: u32) -> String {
    format!("user {USER} is kept out by {}, which belongs to user 0 and has the mode {mode:04o}", path.display())
}

/// A directory on the way to `path` that is root's own.
fn close(path: &Path) -> Verdict {
    chown(path, Some(0), Some(0))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o700))?)
}

fn bundle_closed(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["true"]);
    b.save()?;
    close(&b.dir)?;
    let output = as_user(t, b.command("run", &[]))?;
    refused(&b, output, &["config.json: EACCES", &kept_out(&b.dir, 0o700)])
}

fn rootfs_closed(t: &Test) -> Verdict {
    let b = bundle(t)?.args(&["true"]);
    close(&b.rootfs(""))?;
    refused(&b, run_it(&b)?, &["/root/path: ", "EACCES", "rootfs, which belongs to user 0 and has the mode 0700"])
}

fn rootfs_of_another(t: &Test) -> Verdict {
    let (_known, b) = granted(t)?;
    // Root in the container is not the caller, whose root file system it is.
    let map = json!([{"containerID": 0, "hostID": SUBORDINATE, "size": 10}]);
    let b = b.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).args(&["true"]);
    fs::set_permissions(b.rootfs(""), fs::Permissions::from_mode(0o700))?;
    let told = format!("root in the container is user {SUBORDINATE} of the host (/linux/uidMappings)");
    refused(&b, run_it(&b)?, &["/root/path: ", "EACCES", &told])
}

fn source_closed(t: &Test) -> Verdict {
    let closed = t.path("closed");
    fs::create_dir_all(closed.join("data"))?;
    close(&closed)?;
    let b = bundle(t)?.with_dir("mnt")?.bind(closed.join("data"), "/mnt", &["bind"]).args(&["true"]);
    let at = some("the mount", b.mount_index("/mnt"))?;
    refused(&b, run_it(&b)?, &[&format!("/mounts/{at}: opening "), "EACCES", &kept_out(&closed, 0o700)])
}

fn mount_point(t: &Test) -> Verdict {
    let source = t.path("source");
    fs::create_dir(&source)?;
    let b = bundle(t)?.bind(&source, "/not/there", &["bind"]).args(&["true"]);
    chown(b.rootfs(""), Some(0), Some(0))?;
    let at = some("the mount", b.mount_index("/not/there"))?;
    let told = "the root file system lacks the mount point, and is not this user's to change";
    refused(&b, run_it(&b)?, &[&format!("/mounts/{at}: "), "EACCES", told, "chown -R"])
}

fn not_delegated(t: &Test) -> Verdict {
    let path = format!("{}/others/c", t.cgroup);
    let b = huge_pages(bundle(t)?).set("/linux/cgroupsPath", json!(path)).args(&["true"]);
    let making = format!("cannot be limited: making the cgroup {}/others", t.cgroup_dir().display());
    refused(
        &b,
        run_it(&b)?,
        &["/linux/resources/hugepageLimits/0: ", &making, "EACCES", "`systemd-run --user --scope -p Delegate=yes`"],
    )
}

fn no_manager(t: &Test) -> Verdict {
    let b = bundle(t)?.set("/linux/cgroupsPath", json!("user.slice:conf:none")).args(&["true"]);
    b.save()?;
    let mut command = t.command(&["--systemd-cgroup", "run", "--bundle"]);
    command.arg(&b.dir).arg(&b.id);
    let told = format!("`loginctl enable-linger {USER}` with XDG_RUNTIME_DIR=/run/user/{USER}");
    refused(
        &b,
        as_user(t, command)?,
        &["/linux/cgroupsPath: ", "no systemd can be reached", "systemd/private: ENOENT", &told],
    )
}

fn no_user_namespace(t: &Test) -> Verdict {
    let b = bundle(t)?.no_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings").args(&["true"]);
    refused(
        &b,
        run_it(&b)?,
        &["/linux/namespaces: ", "`no-frills spec --rootless` writes a configuration that has one"],
    )
}

fn mount(b: Bundle<'_>, (at, kind): (&str, &str), told: &str) -> Verdict {
    let b = b.mount(at, kind, kind, &["nosuid", "noexec", "nodev"]).args(&["true"]);
    let index = some("the mount", b.mount_index(at))?;
    refused(&b, run_it(&b)?, &[&format!("/mounts/{index}: mounting \"{kind}\" on \"{at}\": "), "EPERM", told])
}

fn proc_covered(t: &Test) -> Verdict {
    let empty = t.path("empty-directory");
    fs::create_dir(&empty)?;
    let _covered = Covered::new(&empty, "/proc/sys")?;
    let b = bundle(t)?.args(&["true"]);
    let at = some("the mount", b.mount_index("/proc"))?;
    refused(
        &b,
        run_it(&b)?,
        &[&format!("/mounts/{at}: "), "EPERM", "where the host's own is covered in part, as in a container"],
    )
}
