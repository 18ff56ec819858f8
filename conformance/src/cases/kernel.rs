//! Kernels that lack system calls, as `without` feigns them: what works all the same, and what the error says where it does not.
//!
//! `--without CALLS` runs every other case so.

use std::fs;

use crate::bundle::{Bundle, Output, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, contains, lacks, same};
use crate::kind::Kind;

/// The cases of calls without which no container is made, and the versions that their errors name.
macro_rules! missing {
    ($($call:ident $version:literal;)*) => {
        [$(case(
            concat!("kernel/", stringify!($call), "-missing"),
            concat!("without ", stringify!($call), " the error names it and Linux ", $version),
            |t| refuses(t, stringify!($call), $version),
        )
        .only(Kind::NoFrills, "peers have ways of their own for each call")),*]
    };
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("kernel/mount_setattr-missing", "attributes and propagation by mount(2)", mount_setattr)
            .known_failure(Kind::Crun, "leaves a mount private that is to be shared"),
        case(
            "kernel/mount_setattr-missing-userns",
            "the same in a user namespace, for a directory that its root may not enter",
            mount_setattr_userns,
        ),
        case(
            "kernel/mount_setattr-missing-readonly-paths",
            "read-only paths, files and directories, in the default config",
            readonly_paths,
        ),
        case("kernel/mount_setattr-missing-rro", "what mount(2) has no word for is an error", recursive),
        case("kernel/open_tree_attr-missing", "read-only paths by two calls instead of one", |t| {
            works(t, "open_tree_attr")
        }),
        case("kernel/pidfd_getfd-missing", "nobody needs it", |t| works(t, "pidfd_getfd")),
    ];
    cases.extend(missing! {
        clone3 "5.7"; close_range "5.9"; faccessat2 "5.8"; fsconfig "5.2"; fsopen "5.2"; memfd_create "3.17"; move_mount "5.2";
        open_tree "5.2"; openat2 "5.6";
    });
    cases.push(
        case("kernel/pidfd_open-missing", "kill says what is missing, and the container stays as it was", pidfd_open)
            .only(Kind::NoFrills, "peers do without"),
    );
    cases
}

/// `run` on a kernel without these calls.
fn run_without(b: &Bundle<'_>, calls: &str) -> Verdict<Output> {
    b.save()?;
    b.test.output_of(b.command_without(calls, "run", &[]))
}

fn works(t: &Test, call: &str) -> Verdict {
    let b = t.bundle()?.args(&["echo", "it works"]);
    run_without(&b, call)?.exits(0)?.prints("it works\n")?;
    Ok(())
}

/// One error, and nothing is left; which the end of every case checks too.
fn refuses(t: &Test, call: &str, version: &str) -> Verdict {
    let text = format!("{call} needs Linux {version}, and no seccomp filter that hides it");
    for verb in ["run", "create"] {
        let b = t.bundle()?.args(&["true"]);
        b.save()?;
        let output = t.output_of(b.command_without(call, verb, &[]))?.refuses(t, &text, &[])?;
        same("lines on stderr", output.stderr()?.lines().count(), 1)?;
        b.is_gone()?;
        check(!b.cgroup_dir().exists(), || "the cgroup is left".to_owned())?;
    }
    Ok(())
}

fn mount_setattr(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    fs::write(t.path("file"), "content")?;
    let b =
        t.bundle()?.sh("grep /mnt/ /proc/self/mountinfo | cut -d' ' -f 5-7 | sed 's/master:[0-9]* *-*//; s/ *-*$//'");
    let b = b.with_dir("mnt")?.writable();
    // Both of nosuid and nodev, and the times, are said: the machine's /tmp has what it has.
    let b = b.bind(t.path("dir"), "/mnt/dir", &["rbind", "ro", "nosuid", "dev", "noatime", "rprivate"]);
    let b = b.bind(t.path("file"), "/mnt/file", &["bind", "ro", "suid", "nodev", "nodiratime", "relatime", "private"]);
    let b = b.bind(t.path("dir"), "/mnt/shared", &["bind", "suid", "dev", "noexec", "strictatime", "rshared"]);
    let output = run_without(&b, "mount_setattr,open_tree_attr")?.exits(0)?.stdout()?;
    let line = |path: &str| output.lines().find(|line| line.starts_with(path)).unwrap_or_default().to_owned();
    same("a directory", line("/mnt/dir ").trim_end(), "/mnt/dir ro,nosuid,noatime")?;
    same("a file", line("/mnt/file ").trim_end(), "/mnt/file ro,nodev,nodiratime,relatime")?;
    contains("a shared one", &line("/mnt/shared "), "/mnt/shared rw,noexec shared:")
}

fn mount_setattr_userns(t: &Test) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(t.path("dir"))?;
    fs::set_permissions(t.path("dir"), fs::Permissions::from_mode(0o700))?;
    let b = t.bundle()?.user_namespace(100_000, 65_536).bind(t.path("dir"), "/mnt", &["bind", "ro", "nosuid"]);
    let b = b.with_dir("mnt")?.sh("grep ' /mnt ' /proc/self/mountinfo");
    let output = run_without(&b, "mount_setattr,open_tree_attr")?.exits(0)?;
    contains("mountinfo", &output.stdout()?, " /mnt ro,nosuid,")
}

fn readonly_paths(t: &Test) -> Verdict {
    let script = "for f in /proc/sysrq-trigger /proc/sys/kernel/printk /root-file; do echo 1 2>/dev/null > $f && echo $f; done; echo end";
    let b = t.bundle()?.sh(script);
    let output = run_without(&b, "mount_setattr,open_tree_attr")?.exits(0)?;
    same("what could be written", output.stdout()?, "end\n")
}

fn recursive(t: &Test) -> Verdict {
    fs::create_dir(t.path("dir"))?;
    let b = t.bundle()?.bind(t.path("dir"), "/mnt", &["rbind", "rro"]).args(&["true"]);
    let output = run_without(&b, "mount_setattr")?.refuses(t, "mount_setattr needs Linux 5.12", &[])?;
    if t.ours() {
        contains("the error", &output.stderr()?, "/mounts/")?;
    }
    b.is_gone()
}

fn pidfd_open(t: &Test) -> Verdict {
    let b = t.bundle()?.idle();
    b.create()?;
    b.start()?;
    let kill = t.output_of(t.command_without("pidfd_open", &["kill", b.id.as_str(), "KILL"]))?;
    let stderr = kill.refuses(t, "pidfd_open needs Linux 5.3", &[])?.stderr()?;
    lacks("kill", &stderr, "panicked")?;
    b.is("running")?;
    b.kill_and_delete()
}
