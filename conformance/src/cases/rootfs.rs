//! The root: where it is, what kind of a mount, and how it is entered; and what is copied, mapped or shared in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, same, some};
use crate::kind::Kind;
use crate::mountinfo;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("rootfs/is-a-file", "a root.path that is a file is refused", is_a_file),
        case("rootfs/missing", "a root.path that does not exist is refused", missing),
        case("rootfs/slash", "the host's own root as the root", slash)
            .known_failure(Kind::Runc, "pivot_root: device or resource busy")
            .known_failure(Kind::Crun, "pivot_root: device or resource busy"),
        case("rootfs/through-a-symlink", "root.path may lead through a symlink", through_symlink)
            .known_failure(Kind::Runc, "refuses it"),
        case("rootfs/is-a-mount", "a root that is a mount of its own, with mounts below", is_a_mount),
        case("rootfs/overlay", "a root on an overlay, read and written", on_overlay),
        case("rootfs/read-only-medium", "a root on a read-only file system works where nothing has to be made", medium),
        case(
            "rootfs/read-only-medium-lacks",
            "a mountpoint that is missing there is an error that names it",
            medium_lacks,
        ),
        case("rootfs/inside-shared", "a root inside a shared mount: the host gets none of the mounts", inside_shared),
        case("rootfs/no-pivot", "--no-pivot: the root is /, and the old one is out of reach", no_pivot),
        case("rootfs/no-pivot-other-proc", "--no-pivot: no procfs without the masks can be mounted", |t| {
            no_other_proc(t.bundle()?)
        })
        .known_failure(Kind::Crun, "the host's procfs stays in the mount namespace"),
        case("rootfs/no-pivot-other-proc-userns", "the same where the host's procfs cannot be unmounted", |t| {
            no_other_proc(t.bundle()?.user_namespace(100_000, 65_536))
        })
        .known_failure(Kind::Runc, "it takes away what it has covered another with"),
        case("rootfs/no-pivot-readonly", "--no-pivot and root.readonly", no_pivot_readonly),
        case("rootfs/readonly-stays", "nobody without CAP_SYS_ADMIN makes it writable again", readonly_stays),
        case("rootfs/readonly-with-mounts", "a read-only root with writable mounts in it", readonly_with_mounts),
        case("rootfs/readonly-fake-proc", "read-only all the same where the image brings its own /proc", fake_proc),
    ];
    cases.extend(propagation_cases());
    cases.extend(without_mount_namespace_cases());
    cases
}

const PRIVATE: &str = "1.28 makes what is mounted in the root private";

fn propagation_cases() -> Vec<Case> {
    vec![
        case("propagation/none", "without rootfsPropagation mounts of the host arrive, not the other way", |t| {
            arrives(t, None, true)
        })
        .known_failure(Kind::Crun, PRIVATE),
        case("propagation/slave", "slave: the same", |t| arrives(t, Some("slave"), true))
            .known_failure(Kind::Crun, PRIVATE),
        case("propagation/rslave", "rslave: the same", |t| arrives(t, Some("rslave"), true))
            .known_failure(Kind::Crun, PRIVATE),
        case("propagation/rprivate", "rprivate: nothing arrives", |t| arrives(t, Some("rprivate"), false)),
        case("propagation/shared", "shared: the root is in a peer group, what is mounted in it is not", shared),
        case("propagation/rshared", "rshared: all mounts are in peer groups", rshared),
        case("propagation/unbindable", "unbindable: the root cannot be bound", unbindable),
        case("propagation/runbindable", "runbindable: no mount can be bound", runbindable)
            .known_failure(Kind::Runc, "its own bind mounts for masks fail")
            .known_failure(Kind::Crun, "its own bind mounts for masks fail"),
        case("propagation/unknown", "an unknown one is refused", unknown).known_failure(Kind::Crun, "ignores it"),
        case(
            "propagation/bidirectional",
            "with rshared the host gets what is mounted in a volume that is rshared",
            bidirectional,
        ),
        case("propagation/not-bidirectional", "without, it does not", not_bidirectional),
    ]
}

fn without_mount_namespace_cases() -> Vec<Case> {
    vec![
        case("rootfs/no-mount-namespace", "without a mount namespace the root is entered by chroot", no_namespace)
            .known_failure(Kind::Runc, "looks for /proc/sys/kernel/cap_last_cap in the root"),
        case("rootfs/no-mount-namespace-exec", "exec enters the same root", no_namespace_exec)
            .known_failure(Kind::Runc, "as above")
            .known_failure(Kind::Crun, "1.28 runs it in the host's root"),
        case(
            "rootfs/no-mount-namespace-hooks",
            "hooks and exec work, also without any namespace of its own",
            no_namespace_hooks,
        )
        .known_failure(Kind::Runc, "as above")
        .known_failure(Kind::Crun, "1.28 demands mounts, and runs exec in the host's root"),
        case(
            "rootfs/no-mount-namespace-refused",
            "what cannot be had without a mount namespace is refused, and the host's mounts stay as they are",
            no_namespace_refused,
        )
        .only(Kind::NoFrills, "runc and crun mount on the host"),
    ]
}

/// What is mounted there until the end of the case.
struct Mounted(PathBuf);

impl Mounted {
    fn new(fstype: &str, at: PathBuf, options: &str) -> Verdict<Mounted> {
        fs::create_dir_all(&at)?;
        let data = std::ffi::CString::new(options)?;
        rustix::mount::mount(fstype, &at, fstype, MountFlags::empty(), Some(data.as_c_str()))?;
        Ok(Mounted(at))
    }

    fn bound(at: PathBuf) -> Verdict<Mounted> {
        rustix::mount::mount_bind(&at, &at)?;
        Ok(Mounted(at))
    }

    fn change(&self, change: MountPropagationFlags) -> Verdict {
        Ok(rustix::mount::mount_change(&self.0, change)?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays is found by the search for what is left.
        let _gone = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn is_a_file(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]);
    fs::write(b.dir.join("file"), "")?;
    b.set("/root/path", json!("file")).run()?.refuses(t, "/root/path", &[])?;
    Ok(())
}

fn missing(t: &Test) -> Verdict {
    t.bundle()?.args(&["true"]).set("/root/path", json!("none")).run()?.refuses(t, "/root/path", &[])?;
    let b = t.bundle()?.args(&["true"]).set("/root/path", json!(""));
    b.run()?.refuses(t, "/root/path", &[])?;
    Ok(())
}

fn slash(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/root/path", json!("/")).set("/linux/maskedPaths", json!([]));
    let b = b.args(&["/bin/sh", "-c", "echo ran; cat /proc/1/comm"]);
    same("output", b.stdout()?, "ran\nsh\n")
}

fn through_symlink(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("cat /mark").with_file("mark", "here", 0o644)?;
    fs::rename(b.rootfs(""), t.path("elsewhere"))?;
    symlink(t.path("elsewhere"), b.dir.join("rootfs"))?;
    same("output", b.stdout()?, "here")
}

fn is_a_mount(t: &Test) -> Verdict {
    let b = t.bundle()?.with_dir("srv/below")?.sh("cat /srv/below/file; grep -c ' /srv/below ' /proc/self/mountinfo");
    let _root = Mounted::bound(b.rootfs(""))?;
    let below = Mounted::new("tmpfs", b.rootfs("srv/below"), "")?;
    fs::write(below.0.join("file"), "below\n")?;
    same("output", b.stdout()?, "below\n1\n")
}

/// The bundle's root becomes the lower layer of an overlay.
fn overlaid(t: &Test, b: &Bundle, upper: bool) -> Verdict<[Mounted; 2]> {
    let lower = t.path("lower");
    fs::rename(b.rootfs(""), &lower)?;
    let layers = Mounted::new("tmpfs", t.path("layers"), "")?;
    fs::create_dir(layers.0.join("upper"))?;
    fs::create_dir(layers.0.join("work"))?;
    let (lower, layers_at) = (lower.display(), layers.0.display());
    let options = match upper {
        true => format!("lowerdir={lower},upperdir={layers_at}/upper,workdir={layers_at}/work"),
        false => format!("lowerdir={lower}:{layers_at}/upper"),
    };
    Ok([Mounted::new("overlay", b.rootfs(""), &options)?, layers])
}

fn on_overlay(t: &Test) -> Verdict {
    let b = t.bundle()?.writable().sh("echo new >/etc/new; rm /etc/group; cat /etc/new; ls /etc");
    let _overlay = overlaid(t, &b, true)?;
    same("output", b.stdout()?, "new\nnew\npasswd\n")?;
    check(t.path("lower/etc/group").exists(), || "the lower layer was changed".to_owned())?;
    check(t.path("layers/upper/etc/new").exists(), || "the upper layer has nothing".to_owned())
}

fn medium(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo ran; echo x >/etc/x");
    let _overlay = overlaid(t, &b, false)?;
    let output = b.run()?;
    same("stdout", output.stdout()?, "ran\n")?;
    contains("stderr", &output.stderr()?, "Read-only file system")
}

fn medium_lacks(t: &Test) -> Verdict {
    let b = t.bundle()?.args(&["true"]).mount("/srv/none", "tmpfs", "tmpfs", &[]);
    let _overlay = overlaid(t, &b, false)?;
    let ours = "/mounts/7: mounting \"tmpfs\" on \"/srv/none\": mkdirat: EROFS";
    b.run()?.refuses(t, ours, &["read-only file system", "Read-only file system"])?;
    Ok(())
}

fn inside_shared(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    let shared = Mounted::bound(b.dir.clone())?;
    shared.change(MountPropagationFlags::SHARED)?;
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    b.create()?;
    b.start()?;
    b.is("running")?;
    let after = fs::read_to_string("/proc/self/mountinfo")?;
    b.kill_and_delete()?;
    same("the host's mounts", after, before)
}

/// A caller that is not chrooted, as engines are not: of a root that is the initial ramfs there is none at hand.
fn no_pivot(t: &Test) -> Verdict {
    fs::write(t.path("secret"), "")?;
    let b = t.bundle()?.sh(&format!("test ! -e {0} && test ! -e /../..{0} && ls /", t.path("secret").display()));
    b.save()?;
    let output = b.run_with(&["--no-pivot"])?.exits(0)?;
    same("the root", output.stdout()?, "bin\ndev\netc\nproc\nroot\nsys\ntmp\nusr\nvar\n")
}

/// The kernel lets the root of a user namespace mount procfs if one is in its mount namespace that is as bare.
fn no_other_proc(b: Bundle<'_>) -> Verdict {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let script = "echo made; mount -t proc none /proc && echo mounted";
    let inner = ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", script];
    let b = b.args(&inner).capabilities(&["CAP_SETFCAP"]);
    for flags in [&[][..], &["--no-pivot"]] {
        same("stdout", b.run_with(flags)?.exits(1)?.stdout()?, "made\n")?;
    }
    same("the host's mounts", fs::read_to_string("/proc/self/mountinfo")?, before)
}

fn no_pivot_readonly(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("echo x >/file");
    contains("stderr", &b.run_with(&["--no-pivot"])?.stderr()?, "Read-only file system")
}

fn readonly_stays(t: &Test) -> Verdict {
    let b = t.bundle()?.sh("mount -o remount,rw / && echo remounted; echo x >/file && echo written; echo end");
    same("output", b.stdout()?, "end\n")
}

fn readonly_with_mounts(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?.mount("/run", "tmpfs", "tmpfs", &[]).bind(t.path("dir"), "/srv/volume", &["rbind", "rw"]);
    let output = b.sh("echo x >/run/x && echo x >/srv/volume/x && echo both; echo x >/srv/x").run()?;
    same("stdout", output.stdout()?, "both\n")?;
    contains("stderr", &output.stderr()?, "Read-only file system")
}

/// CVE-2026-115521: what looks like the runtime's view of its descriptors is the image's.
fn fake_proc(t: &Test) -> Verdict {
    let b = t.bundle()?.no_mount("/proc").with_dir("proc/self/fd")?.with_dir("proc/thread-self/fd")?;
    let b = b.with_dir("elsewhere")?.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    for number in 3..40 {
        symlink("/elsewhere", b.rootfs(&format!("proc/self/fd/{number}")))?;
        symlink("/elsewhere", b.rootfs(&format!("proc/thread-self/fd/{number}")))?;
    }
    let output = b.sh("echo x >/file && echo written").run()?;
    // Others refuse to go on without a procfs.
    same("stdout", output.stdout()?, "")?;
    if t.ours() { contains("stderr", &output.stderr()?, "Read-only file system") } else { Ok(()) }
}

/// The root with a shared mount of the host in it, in which the host mounts something while the container runs.
fn arrives(t: &Test, propagation: Option<&str>, arrives: bool) -> Verdict {
    let b = t.bundle()?.with_dir("srv/late")?;
    let shared = Mounted::bound(b.rootfs("srv"))?;
    shared.change(MountPropagationFlags::SHARED)?;
    let script = "echo ready; mount -t tmpfs own /tmp; echo own; while ! test -e /go; do sleep 0.01; done
        grep -c ' /srv/late ' /proc/self/mountinfo; true";
    let b = b.capabilities(&["CAP_SYS_ADMIN"]).writable().sh(script);
    let b = match propagation {
        Some(propagation) => b.set("/linux/rootfsPropagation", json!(propagation)),
        None => b,
    };
    let mut lines = b.started()?;
    same("a line", lines.next()?, "ready")?;
    same("a line", lines.next()?, "own")?;
    let late = Mounted::new("tmpfs", b.rootfs("srv/late"), "");
    let seen = fs::read_to_string("/proc/self/mountinfo")?;
    fs::write(b.rootfs("go"), "")?;
    let count = lines.next();
    drop(late?);
    b.ended()?;
    check(!seen.contains("/rootfs/tmp "), || format!("the host sees the container's mount:\n{seen}"))?;
    same("mounts that arrived", count?, if arrives { "1" } else { "0" })
}

/// Of the mount at a path: the optional fields of /proc/self/mountinfo.
fn fields(b: Bundle, point: &str) -> Verdict<Vec<String>> {
    let mounts = mountinfo::parse(&b.args(&["cat", "/proc/self/mountinfo"]).stdout()?);
    Ok(some(point, mounts.into_iter().rfind(|mount| mount.point == point))?.propagation)
}

fn with_propagation<'t>(t: &'t Test, propagation: &str) -> Verdict<Bundle<'t>> {
    Ok(t.bundle()?.set("/linux/rootfsPropagation", json!(propagation)))
}

fn is_shared(fields: &[String]) -> bool {
    fields.iter().any(|field| field.starts_with("shared:"))
}

fn shared(t: &Test) -> Verdict {
    check(is_shared(&fields(with_propagation(t, "shared")?, "/")?), || "the root is not shared".to_owned())?;
    check(!is_shared(&fields(with_propagation(t, "shared")?, "/proc")?), || "/proc is shared".to_owned())
}

fn rshared(t: &Test) -> Verdict {
    check(is_shared(&fields(with_propagation(t, "rshared")?, "/")?), || "the root is not shared".to_owned())?;
    check(is_shared(&fields(with_propagation(t, "rshared")?, "/proc")?), || "/proc is not shared".to_owned())
}

fn unbindable(t: &Test) -> Verdict {
    same("the root", fields(with_propagation(t, "unbindable")?, "/")?, ["unbindable"])?;
    same("/proc", fields(with_propagation(t, "unbindable")?, "/proc")?.len(), 0)
}

fn runbindable(t: &Test) -> Verdict {
    same("the root", fields(with_propagation(t, "runbindable")?, "/")?, ["unbindable"])?;
    same("/proc", fields(with_propagation(t, "runbindable")?, "/proc")?, ["unbindable"])
}

fn unknown(t: &Test) -> Verdict {
    let b = with_propagation(t, "rbogus")?.args(&["true"]);
    b.run()?.refuses(t, "/linux/rootfsPropagation: unknown propagation \"rbogus\"", &["rootfsPropagation"])?;
    Ok(())
}

/// A container that mounts in a volume which is shared on the host, and whether the host sees it.
fn volume(t: &Test, root: Option<&str>, options: &[&str]) -> Verdict<bool> {
    let volume = t.path("volume");
    fs::create_dir_all(volume.join("in"))?;
    let shared = Mounted::bound(volume.clone())?;
    shared.change(MountPropagationFlags::SHARED)?;
    let b = t.bundle()?.capabilities(&["CAP_SYS_ADMIN"]).bind(&volume, "/srv/volume", options);
    let b = match root {
        Some(root) => b.set("/linux/rootfsPropagation", json!(root)),
        None => b,
    };
    let b = b.sh("mount -t tmpfs inside /srv/volume/in; grep -c ' /srv/volume/in ' /proc/self/mountinfo");
    b.run()?.exits(0)?.prints("1\n")?;
    let at = volume.join("in");
    let seen = fs::read_to_string("/proc/self/mountinfo")?.contains(&*format!(" {} ", at.display()));
    if seen {
        rustix::mount::unmount(&at, UnmountFlags::DETACH)?;
    }
    Ok(seen)
}

fn bidirectional(t: &Test) -> Verdict {
    same("seen", volume(t, Some("rshared"), &["rbind", "rshared"])?, true)?;
    same("seen with rslave", volume(t, Some("rshared"), &["rbind", "rslave"])?, false)
}

fn not_bidirectional(t: &Test) -> Verdict {
    same("seen", volume(t, None, &["rbind", "rshared"])?, false)?;
    same("seen with rslave", volume(t, Some("rslave"), &["rbind", "rshared"])?, false)
}

/// A bundle that asks for nothing that needs mounts.
fn bare<'t>(t: &'t Test) -> Verdict<Bundle<'t>> {
    let b = t.bundle()?.no_namespace("mount").writable().set("/mounts", json!([]));
    Ok(b.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([])))
}

fn no_namespace(t: &Test) -> Verdict {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let b = bare(t)?.with_file("mark", "here\n", 0o644)?.sh("cat /mark; ls /; echo x >/made; pwd");
    same("output", b.stdout()?, "here\nbin\ndev\netc\nmark\nproc\nroot\nsys\ntmp\nusr\nvar\n/\n")?;
    check(b.rootfs("made").exists(), || "the file was not made in the root".to_owned())?;
    same("the host's mounts", fs::read_to_string("/proc/self/mountinfo")?, before)
}

/// A second process is in the same root.
fn no_namespace_exec(t: &Test) -> Verdict {
    let b = bare(t)?.with_file("mark", "here\n", 0o644)?.idle();
    b.create()?;
    b.start()?;
    let output = b.verb("exec", &["sh", "-c", "cat /mark; pwd; ls /; echo x >/made"])?.exits(0)?;
    output.prints("here\n/\nbin\ndev\netc\nmark\nproc\nroot\nsys\ntmp\nusr\nvar\n")?;
    check(b.rootfs("made").exists(), || "the file was not made in the root".to_owned())
}

/// Whoever joins such a container finds nothing to join, and what its init waited for is done.
fn no_namespace_hooks(t: &Test) -> Verdict {
    let hook = json!([{"path": "/bin/true"}]);
    for namespaces in [json!([{"type": "uts"}]), json!([])] {
        let b = bare(t)?.remove("/hostname").set("/linux/namespaces", namespaces).with_file("mark", "here\n", 0o644)?;
        let b = ["createRuntime", "createContainer", "startContainer"]
            .into_iter()
            .fold(b.idle(), |b, moment| b.set(&format!("/hooks/{moment}"), hook.clone()));
        b.create()?;
        b.start_idle()?;
        b.verb("exec", &["cat", "/mark"])?.exits(0)?.prints("here\n")?;
        b.kill_and_delete()?;
    }
    Ok(())
}

fn no_namespace_refused(t: &Test) -> Verdict {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    for (pointer, value) in [
        ("/mounts", json!([{"destination": "/mnt", "type": "tmpfs"}])),
        ("/linux/maskedPaths", json!(["/etc/passwd"])),
        ("/linux/readonlyPaths", json!(["/etc/passwd"])),
        ("/root/readonly", json!(true)),
    ] {
        bare(t)?.set(pointer, value).args(&["true"]).run()?.refuses(t, pointer, &[])?;
    }
    same("the host's mounts", fs::read_to_string("/proc/self/mountinfo")?, before)
}
