//! Mutated configurations, given to a runtime: see the program `mutate`.

pub(crate) mod command;
pub(crate) mod documents;
pub(crate) mod judge;
pub(crate) mod mutation;
pub(crate) mod random;
pub(crate) mod worker;
pub(crate) mod world;
