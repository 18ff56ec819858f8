//! Buildah with the runtime under test: its steps, and commands in a working container.

use std::fs;

use crate::bundle::{Output, Test};
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::podman::{IMAGE, Podman, Who};
use crate::expect::{Verdict, check, contains, same};

use super::podman::{ULIMITS, told};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case("engines/buildah/bud", "bud runs its steps with the runtime under test, --runtime", bud_root),
        case("engines/buildah/bud-environment", "the runtime is named by BUILDAH_RUNTIME", bud_environment),
        case("engines/buildah/run", "from, run, config, commit: statuses, volumes, users and output", run_root),
        case("engines/buildah/rootless-bud", "bud by an ordinary user, --isolation oci", bud_user),
        case(
            "engines/buildah/rootless-run",
            "from, run, config, commit by an ordinary user, --isolation oci",
            run_user,
        ),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Buildah)).collect()
}

/// Buildah, with a program in the runtime's place that tells of each call.
struct Buildah<'t> {
    podman: Podman<'t>,
    runtime: String,
    log: std::path::PathBuf,
}

impl<'t> Buildah<'t> {
    fn of(t: &'t Test, who: Who) -> Verdict<Self> {
        let podman = Podman::of(t, who)?;
        let (runtime, log) = told(&podman)?;
        Ok(Self { podman, runtime, log })
    }

    /// Runs `buildah ARGS`; where a command can name the runtime, `{}` in `words` is that.
    fn call(&self, words: &str, rest: &[&str]) -> Verdict<Output> {
        let mut command = self.podman.program("buildah");
        for word in words.split_ascii_whitespace() {
            match word {
                "{}" => command.args(["--isolation", "oci", "--runtime", &self.runtime]),
                word => command.arg(word),
            };
        }
        self.podman.test.output_of({
            command.args(rest);
            command
        })
    }

    fn gets(&self, words: &str, rest: &[&str]) -> Verdict<String> {
        Ok(self.call(words, rest)?.exits(0)?.stdout()?.trim().to_owned())
    }

    /// How often the runtime under test has been told to start a container.
    fn starts(&self) -> Verdict<usize> {
        Ok(fs::read_to_string(&self.log)?.lines().filter(|line| line.split(' ').any(|word| word == "start")).count())
    }

    /// Where its containers have their cgroups.
    fn parent(&self) -> Vec<String> {
        match self.podman.who {
            Who::Root => vec!["--cgroup-parent".to_owned(), format!("{}/build", self.podman.test.cgroup)],
            _ => Vec::new(),
        }
    }

    fn context(&self) -> Verdict<String> {
        let context = self.podman.path("context");
        fs::create_dir_all(&context)?;
        fs::write(context.join("file"), "copied\n")?;
        let text = format!("FROM {IMAGE}\nCOPY file /file\nRUN cat /file >/made\nUSER 1000\nRUN id -u >/tmp/user\n");
        fs::write(context.join("Containerfile"), text)?;
        Ok(context.to_string_lossy().into_owned())
    }
}

fn bud(t: &Test, who: Who) -> Verdict {
    let b = Buildah::of(t, who)?;
    let context = b.context()?;
    let parent = b.parent();
    let mut rest: Vec<_> = parent.iter().map(String::as_str).collect();
    rest.push(&context);
    b.gets(&format!("bud {{}} --network none {ULIMITS} --tag built"), &rest)?;
    same("how often a container is started", b.starts()?, 2)?;
    let files = format!("run --rm {} built cat /made /tmp/user", if who.is_user() { "" } else { "--user 0" });
    same("what the steps made", b.podman.gets(&files, &[])?, "copied\n1000")
}

fn bud_root(t: &Test) -> Verdict {
    bud(t, Who::Root)
}

fn bud_user(t: &Test) -> Verdict {
    bud(t, Who::User)
}

fn bud_environment(t: &Test) -> Verdict {
    let b = Buildah::of(t, Who::Root)?;
    let context = b.context()?;
    let mut command = b.podman.program("buildah");
    command.env("BUILDAH_RUNTIME", &b.runtime).args(["bud", "--network", "none"]);
    command.args(ULIMITS.split(' '));
    command.args(b.parent()).arg(context);
    t.output_of(command)?.exits(0)?;
    same("how often a container is started", b.starts()?, 2)
}

fn run(t: &Test, who: Who) -> Verdict {
    let b = Buildah::of(t, who)?;
    let parent = b.parent();
    let mut from: Vec<_> = parent.iter().map(String::as_str).collect();
    from.push(IMAGE);
    let container = b.gets(&format!("from {ULIMITS} --network none"), &from)?;
    let run = |flags: &str, script: &str| b.call(&format!("run {{}} {flags} {container} -- sh -c"), &[script]);
    run("", "echo out; echo made >/made")?.exits(0)?.prints("out\n")?;
    let failed = run("", "exit 7")?;
    check(failed.status != 0, || "the failure of a step is none".to_owned())?;
    contains("the error", &failed.stderr()?, "exit status 7")?;
    let missing = b.call(&format!("run {{}} {container} -- no-such-program"), &[])?;
    check(missing.status != 0, || "a step without a program succeeded".to_owned())?;
    contains("the error", &missing.stderr()?, "no-such-program")?;
    run("--user 1000:1000", "id -u; id -g")?.exits(0)?.prints("1000\n1000\n")?;
    let host = b.podman.path("host");
    fs::create_dir(&host)?;
    fs::write(host.join("in"), "from the host\n")?;
    run(&format!("--volume {}:/h:ro", host.display()), "cat /h/in; touch /h/out 2>/dev/null || echo read-only")?
        .exits(0)?
        .prints("from the host\nread-only\n")?;
    run("--cap-drop all", "sed -n 's/^CapEff:.//p' /proc/self/status")?.exits(0)?.prints("0000000000000000\n")?;
    // Of the three that fail or lack a program, one never starts.
    check(b.starts()? >= 5, || "the runtime under test was not used".to_owned())?;
    b.gets("config --cmd", &["cat /made", &container])?;
    b.gets(&format!("commit --quiet {container} built"), &[])?;
    b.gets(&format!("rm {container}"), &[])?;
    same("what the image does", b.podman.gets("run --rm built", &[])?, "made")
}

fn run_root(t: &Test) -> Verdict {
    run(t, Who::Root)
}

fn run_user(t: &Test) -> Verdict {
    run(t, Who::User)
}
