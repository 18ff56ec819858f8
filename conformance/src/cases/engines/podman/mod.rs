//! Podman, by conmon: root's and an ordinary user's, with cgroups of its own making and of systemd's.

mod life;
mod network;
mod pods;
mod settings;

use crate::bundle::Test;
use crate::case::Case;
use crate::engines::Engine;
use crate::engines::podman::{Podman, Who};
use crate::expect::Verdict;

pub(super) use pods::{ULIMITS, told};

/// Whose Podman a case is about: the same cases hold for all of them.
trait Place {
    const WHO: Who;

    fn podman(t: &Test) -> Verdict<Podman<'_>> {
        Podman::of(t, Self::WHO)
    }
}

struct Root;
struct User;
struct Systemd;
struct Session;

impl Place for Root {
    const WHO: Who = Who::Root;
}
impl Place for User {
    const WHO: Who = Who::User;
}
impl Place for Systemd {
    const WHO: Who = Who::Systemd;
}
impl Place for Session {
    const WHO: Who = Who::Session;
}

pub(crate) fn cases() -> Vec<Case> {
    let groups = [life::cases(), settings::cases(), network::cases(), pods::cases()];
    groups.into_iter().flatten().map(|case| case.needs_engine(Engine::Podman)).collect()
}
