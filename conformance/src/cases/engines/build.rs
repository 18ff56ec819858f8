//! `docker build`, by the BuildKit in the daemon and by the older builder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::bundle::{Output, Test};
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE, OwnDaemon};
use crate::expect::{Verdict, check, contains, lacks, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        case(
            "engines/buildkit/runtime",
            "a RUN is run by the runtime under test: BuildKit calls it by DOCKER_BUILDKIT_RUNC_COMMAND",
            runtime,
        ),
        case("engines/buildkit/build", "RUN, USER, WORKDIR, COPY, ENV, ENTRYPOINT and CMD", build),
        case("engines/buildkit/failing", "a RUN that fails: its status is told, and there is no image", failing),
        case("engines/buildkit/stages", "several stages: what is copied from another", stages),
        case("engines/buildkit/mounts", "RUN --mount of a cache, a tmpfs, a bind and a secret", mounts),
        case("engines/buildkit/network", "RUN --network=none, and the default network", network),
        case(
            "engines/buildkit/isolation",
            "a RUN has the default capabilities and a filter, and sees no other process",
            isolation,
        ),
        case("engines/buildkit/at-once", "stages that do not depend on each other, and two builds at a time", at_once),
        case("engines/buildkit/buildx", "buildx build with the docker driver", buildx),
        case("engines/docker/build-classic", "the older builder runs containers", classic),
    ];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

/// A directory with this Dockerfile and a file.
fn context(t: &Test, dockerfile: &str) -> Verdict<PathBuf> {
    let dir = t.path("context");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("Dockerfile"), dockerfile)?;
    fs::write(dir.join("file"), "of the context\n")?;
    Ok(dir)
}

/// `docker build FLAGS` of this Dockerfile, as the image NAME.
fn built(docker: &Docker<'_>, name: &str, flags: &[&str], dockerfile: &str) -> Verdict<Output> {
    let dir = context(docker.test, dockerfile)?;
    let own = ["build", "--progress", "plain", "--tag", name];
    docker.call(&[&own[..], flags, &[&dir.to_string_lossy()]].concat())
}

fn runtime(t: &Test) -> Verdict {
    // The daemon of this case calls it by a script that tells what it was called with.
    let (script, log) = (t.path("runtime"), t.path("calls"));
    let text = format!("#!/bin/sh\necho \"$*\" >>{}\nexec {} \"$@\"\n", log.display(), t.runtime.display());
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let own = OwnDaemon::start_with(t, &script, &[])?;
    let image = own.docker.name("image");
    let output =
        built(&own.docker, &image, &["--network", "none"], &format!("FROM {IMAGE}\nRUN echo ran >/out\n"))?.exits(0)?;
    contains("the build is BuildKit's", &output.stderr()?, "RUN echo ran")?;
    let calls = fs::read_to_string(&log).unwrap_or_default();
    let runs = calls.lines().filter(|line| line.contains("run --bundle") && line.contains("/buildkit/")).count();
    check(runs == 1, || format!("what it was called with: {calls:?}"))?;
    own.end()
}

fn build(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let dockerfile = format!(
        "FROM {IMAGE}\nENV A=b\nWORKDIR /work\nCOPY --chown=1000 file .\nUSER user\nRUN test \"$(id -u)$A$PWD\" = 1000b/work && cat file >/tmp/copy\n\
         ENTRYPOINT [\"sh\", \"-c\", \"echo $0 $(id -u) $PWD $A; cat /tmp/copy; exit 4\"]\nCMD [\"default\"]\n"
    );
    built(&docker, &image, &[], &dockerfile)?.exits(0)?;
    docker.call(&["run", "--rm", &image])?.exits(4)?.prints("default 1000 /work b\nof the context\n")?;
    docker.call(&["run", "--rm", &image, "given"])?.exits(4)?.prints("given 1000 /work b\nof the context\n").map(drop)
}

fn failing(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    for (run, why) in [
        ("sh -c \"exit 23\"", "exit code: 23"),
        ("no-such-program", "exit code: 127"),
        ("[\"/no/such/program\"]", "no such file or directory"),
        ("sh -c 'kill -KILL $$'; exit $?", "exit code: 137"),
    ] {
        let output = built(&docker, &image, &[], &format!("FROM {IMAGE}\nRUN {run}\n"))?.exits(1)?;
        contains(run, &output.stderr()?, why)?;
    }
    docker.call(&["image", "inspect", &image])?.exits(1).map(drop)
}

fn stages(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let dockerfile = format!(
        "FROM {IMAGE} AS first\nRUN mkdir /made && echo one >/made/one && chmod 640 /made/one && chown 77:88 /made/one\n\
         FROM {IMAGE} AS unused\nRUN exit 1\nFROM {IMAGE}\nCOPY --from=first /made /taken\nRUN test ! -e /made && stat -c '%a' /taken/one >/seen\n"
    );
    built(&docker, &image, &[], &dockerfile)?.exits(0)?;
    let seen = docker.ok(&["run", "--rm", &image, "sh", "-c", "cat /seen /taken/one"])?;
    same("in the image", seen.as_str(), "640\none")
}

fn mounts(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let secret = t.path("secret");
    fs::write(&secret, "hidden\n")?;
    let source = format!("id=s,src={}", secret.display());
    let cache = docker.name("cache");
    let dockerfile = |number: u32| {
        format!(
            "FROM {IMAGE}\nRUN --mount=type=cache,id={cache},target=/cache echo {number} >>/cache/runs && cp /cache/runs /runs\n\
             RUN --mount=type=tmpfs,target=/mem grep -c ' /mem .* tmpfs ' /proc/self/mountinfo >/mem-seen\n\
             RUN --mount=type=bind,target=/bound cat /bound/file >/bound-seen && ! touch /bound/x\n\
             RUN --mount=type=secret,id=s wc -c </run/secrets/s >/secret-seen\n"
        )
    };
    for number in 1..=2 {
        built(&docker, &image, &["--secret", &source], &dockerfile(number))?.exits(0)?;
    }
    let script = "cat /runs /mem-seen /bound-seen /secret-seen; find /cache /mem /bound /run -type f -size +0; true";
    let seen = docker.ok(&["run", "--rm", &image, "sh", "-c", script])?;
    same("in the image", seen.as_str(), "1\n2\n1\nof the context\n7")
}

fn network(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let dockerfile = format!(
        "FROM {IMAGE}\nRUN --network=none ls /sys/class/net >/none\nRUN ls /sys/class/net >/default && ip -o -4 addr show eth0 | wc -l >>/default\n"
    );
    built(&docker, &image, &[], &dockerfile)?.exits(0)?;
    let seen = docker.ok(&["run", "--rm", &image, "cat", "/none", "/default"])?;
    same("interfaces", seen.as_str(), "lo\neth0\nlo\n1")
}

fn isolation(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let dockerfile = format!(
        "FROM {IMAGE}\nRUN sed -n 's/^CapEff:.//p; s/^Seccomp:.//p' /proc/self/status >/seen; echo /proc/[0-9]* >>/seen; touch /sys/x 2>/dev/null || echo ro >>/seen\n"
    );
    built(&docker, &image, &[], &dockerfile)?.exits(0)?;
    let seen = docker.ok(&["run", "--rm", &image, "cat", "/seen"])?;
    same("in RUN", seen.as_str(), "00000000a80425fb\n2\n/proc/1\nro")
}

fn at_once(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let stage = |name: &str| format!("FROM {IMAGE} AS {name}\nRUN echo {name} >/{name}\n");
    let names = ["a", "b", "c", "d"];
    let copies: String = names.iter().map(|name| format!("COPY --from={name} /{name} /all/{name}\n")).collect();
    let dockerfile = format!("{}FROM {IMAGE}\n{copies}RUN cat /all/* >/seen\n", names.map(stage).concat());
    let dir = context(t, &dockerfile)?;
    let images = [docker.name("one"), docker.name("other")];
    let dir = dir.to_string_lossy();
    let builds: Verdict<Vec<_>> =
        images.iter().map(|image| docker.piped(&["build", "--no-cache", "--quiet", "--tag", image, &dir])).collect();
    for build in builds? {
        same("status", build.ended()?, 0)?;
    }
    for image in &images {
        same("in the image", docker.ok(&["run", "--rm", image, "cat", "/seen"])?.as_str(), "a\nb\nc\nd")?;
    }
    Ok(())
}

fn buildx(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let dir = context(t, &format!("FROM {IMAGE}\nARG GIVEN\nRUN echo $GIVEN >/given\n"))?;
    let driver = docker.ok(&["buildx", "inspect"])?;
    contains("the builder", &driver, "docker")?;
    let args = ["buildx", "build", "--load", "--build-arg", "GIVEN=value", "--tag", &image, &dir.to_string_lossy()];
    docker.ok(&args)?;
    same("in the image", docker.ok(&["run", "--rm", &image, "cat", "/given"])?.as_str(), "value")
}

fn classic(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    let image = docker.name("image");
    let dir = context(
        t,
        &format!("FROM {IMAGE}\nWORKDIR /work\nCOPY file .\nUSER user\nRUN cat file >/tmp/seen; id -u >>/tmp/seen\n"),
    )?;
    let mut command = docker.command(&["build", "--tag", &image, &dir.to_string_lossy()]);
    command.env("DOCKER_BUILDKIT", "0");
    let output = t.output_of(command)?.exits(0)?;
    contains("the builder", &output.stdout()?, "Step 5/6 : RUN")?;
    same("in the image", docker.ok(&["run", "--rm", &image, "cat", "/tmp/seen"])?.as_str(), "of the context\n1000")?;
    let failing = context(t, &format!("FROM {IMAGE}\nRUN exit 23\n"))?;
    let mut command = docker.command(&["build", "--tag", &image, &failing.to_string_lossy()]);
    command.env("DOCKER_BUILDKIT", "0");
    let output = t.output_of(command)?;
    check(output.status != 0, || "a failing RUN was no failure".to_owned())?;
    lacks("the image", &output.stdout()?, "Successfully built")?;
    contains("why", &output.stderr()?, "returned a non-zero code: 23")
}
