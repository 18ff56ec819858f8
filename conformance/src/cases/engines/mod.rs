//! What engines do: with configs as they wrote them (`configs`), and for real, with the runtime in runc's place.

mod build;
mod buildah;
mod compose;
mod configs;
mod containerd;
mod docker;
mod docker_daemon;
mod docker_files;
mod docker_isolation;
mod docker_limits;
mod docker_network;
mod docker_tty;
mod podman;
mod swarm;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    [
        build::cases(),
        buildah::cases(),
        compose::cases(),
        configs::cases(),
        containerd::cases(),
        docker::cases(),
        docker_daemon::cases(),
        docker_files::cases(),
        docker_isolation::cases(),
        docker_limits::cases(),
        docker_network::cases(),
        docker_tty::cases(),
        podman::cases(),
        swarm::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
