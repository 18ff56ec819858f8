//! Pods, Kubernetes' YAML, and images that are built.

use std::fs;

use crate::bundle::{Test, eventually};
use crate::case::{Case, case};
use crate::engines::podman::IMAGE;
use crate::expect::{Verdict, check, contains, same};
use crate::features::Feature;

use super::{Place, Root, Session, Systemd, User};

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        case("engines/podman/pod", "containers of a pod share its namespaces, and end with it", pod::<Root>),
        case("engines/podman/pod-pid", "containers of a pod that shares pids see each other", pod_pid::<Root>),
        case("engines/podman/kube", "kube generate and kube play", kube::<Root>),
        case("engines/podman/build", "build runs its steps with the runtime under test", build::<Root>),
        case("engines/podman-rootless/pod", "containers of a pod share its namespaces, and end with it", pod::<User>),
        case("engines/podman-rootless/build", "build runs its steps with the runtime under test", build::<User>),
    ];
    let systemd =
        case("engines/podman-systemd/pod", "containers of a pod share its slice and namespaces", pod::<Systemd>);
    all.push(systemd.needs_features(&[Feature::Systemd]));
    let session =
        case("engines/podman-session/pod", "containers of a pod share its slice and namespaces", pod::<Session>);
    all.push(session.needs_features(&[Feature::Session]));
    all
}

fn pod<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets("pod create --name pod --network none", &[])?;
    p.gets(&format!("run --detach --pod pod --name a {IMAGE} sh -c"), &["while :; do echo ready | nc -l -p 80; done"])?;
    p.gets(&format!("run --detach --pod pod --name b {IMAGE} sleep 1000"), &[])?;
    for kind in ["net", "ipc", "uts"] {
        let of = |name: &str| p.gets(&format!("exec {name} readlink /proc/self/ns/{kind}"), &[]);
        same(&format!("the {kind} namespace"), of("a")?, of("b")?)?;
    }
    let pid = |name: &str| p.gets(&format!("exec {name} readlink /proc/self/ns/pid"), &[]);
    check(pid("a")? != pid("b")?, || "they share the pid namespace".to_owned())?;
    let script = "for i in $(seq 1000); do nc 127.0.0.1 80 2>&1 </dev/null | grep ready && break; done";
    same("what the other says", p.gets("exec b sh -c", &[script])?, "ready")?;
    same("the pod", p.gets("pod inspect --format {{.State}} pod", &[])?, "Running")?;
    p.gets("pod pause pod", &[])?;
    same("a container of a paused pod", p.inspect("a", ".State.Status")?, "paused")?;
    p.gets("pod unpause pod", &[])?;
    p.gets("pod stop --time 0 pod", &[])?;
    eventually("the pod has ended", || Ok(p.gets("pod inspect --format {{.State}} pod", &[])? == "Exited"))?;
    p.gets("pod start pod", &[])?;
    same("a container of the pod", p.inspect("b", ".State.Status")?, "running")?;
    p.gets("pod rm --force --time 0 pod", &[])?;
    same("what is left", p.gets("ps --all --quiet", &[])?, "")
}

fn pod_pid<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets("pod create --name pod --network none --share pid,net,ipc", &[])?;
    p.gets(&format!("run --detach --pod pod --name a {IMAGE} sleep 2000"), &[])?;
    let seen = p.gets(&format!("run --rm --pod pod {IMAGE} ps -o args"), &[])?;
    contains("processes of the pod", &seen, "sleep 1000")?;
    contains("processes of the pod", &seen, "sleep 2000")?;
    // What it has started in the shared namespace ends with the container.
    p.gets("exec --detach a sleep 3000", &[])?;
    p.gets("rm --force --time 0 a", &[])?;
    eventually("the processes of the container are gone", || {
        let seen = p.gets(&format!("run --rm --pod pod {IMAGE} ps -o args"), &[])?;
        Ok(!seen.contains("sleep 2000") && !seen.contains("sleep 3000") && seen.contains("sleep 1000"))
    })?;
    p.gets("pod rm --force --time 0 pod", &[]).map(drop)
}

fn kube<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    p.gets("pod create --name pod --network none", &[])?;
    p.gets(&format!("create --pod pod --name c {IMAGE} sh -c"), &["trap exit TERM; echo played; sleep 1000 & wait"])?;
    let yaml = p.path("pod.yaml");
    p.gets(&format!("kube generate --filename {} pod", yaml.display()), &[])?;
    p.gets("pod rm --force --time 0 pod", &[])?;
    p.gets(&format!("kube play --network none {}", yaml.display()), &[])?;
    eventually("its container runs", || Ok(p.gets("logs pod-c", &[])? == "played"))?;
    same("the runtime", p.inspect("pod-c", ".OCIRuntime")?, t.runtime.to_string_lossy())?;
    p.gets(&format!("kube down --force {}", yaml.display()), &[])?;
    same("what is left", p.gets("ps --all --quiet", &[])?, "")
}

/// A program in the runtime's place that tells of each call, and calls it.
pub(in crate::cases::engines) fn told(p: &crate::engines::podman::Podman<'_>) -> Verdict<(String, std::path::PathBuf)> {
    use std::os::unix::fs::PermissionsExt;
    let (program, log) = (p.path("told"), p.path("told.log"));
    let runtime = p.test.runtime.display();
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >>{}\nexec {runtime} \"$@\"\n", log.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::write(&log, "")?;
    p.give(&log)?;
    Ok((program.to_string_lossy().into_owned(), log))
}

/// Buildah sets more than root may have where it lacks CAP_SYS_RESOURCE.
pub(in crate::cases::engines) const ULIMITS: &str = "--ulimit nofile=1024:1024 --ulimit nproc=4096:4096";

fn build<P: Place>(t: &Test) -> Verdict {
    let p = P::podman(t)?;
    let (runtime, log) = told(&p)?;
    let context = p.path("context");
    fs::create_dir(&context)?;
    p.give(&context)?;
    fs::write(context.join("file"), "copied\n")?;
    fs::write(
        context.join("Containerfile"),
        format!(
            "FROM {IMAGE}\nCOPY file /file\nRUN cat /file >/made && echo run >>/made\nENV A=b\nRUN echo $A >>/made\nCMD cat /made\n"
        ),
    )?;
    let mut command = p.program("podman");
    command.args(["--runtime", &runtime, "build", "--network", "none", "--tag", "built"]);
    command.args(ULIMITS.split(' '));
    if !p.who.is_user() {
        command.args(["--cgroup-parent", &format!("{}/build", t.cgroup)]);
    }
    command.arg(&context);
    t.output_of(command)?.exits(0)?;
    let calls = fs::read_to_string(&log)?;
    contains("what the runtime is called with", &calls, "create")?;
    same("how often a container is started", calls.lines().filter(|line| line.contains("start")).count(), 2)?;
    same("what the image does", p.gets("run --rm built", &[])?, "copied\nrun\nb")?;
    fs::write(context.join("Containerfile"), format!("FROM {IMAGE}\nRUN exit 9\n"))?;
    let mut command = p.program("podman");
    command.args(["--runtime", &runtime, "build", "--network", "none"]).args(ULIMITS.split(' ')).arg(&context);
    let failed = t.output_of(command)?;
    check(failed.status != 0, || "a build whose step fails succeeded".to_owned())?;
    contains("the error", &failed.stderr()?, "exit status 9")
}
