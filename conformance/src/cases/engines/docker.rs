//! Docker Engine, through containerd's shim for runc.

use crate::bundle::Test;
use crate::case::{Case, case};
use crate::engines::Engine;
use crate::engines::docker::{Docker, IMAGE, RUNTIME};
use crate::expect::{Verdict, same};

pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![case(
        "engines/docker/run",
        "docker run prints, exits with the status, and the runtime is the one under test",
        run,
    )];
    cases.into_iter().map(|case| case.needs_engine(Engine::Docker)).collect()
}

fn run(t: &Test) -> Verdict {
    let docker = Docker::of(t);
    docker.call(&["run", "--name", "run", IMAGE, "sh", "-c", "echo out; exit 7"])?.exits(7)?.prints("out\n")?;
    let runtime = docker.call(&["inspect", "--format", "{{.HostConfig.Runtime}}", "run"])?.exits(0)?.stdout()?;
    same("the runtime", runtime.trim(), RUNTIME)
}
