//! Writing plans.

use alloc::vec::Vec;

use crate::Step;
use crate::encoding::{HEAD, MAGIC};

/// Collects steps into an encoded plan.
#[derive(Clone, Debug)]
pub struct PlanBuilder {
    count: u32,
    bytes: Vec<u8>,
}

impl PlanBuilder {
    /// An empty plan.
    pub fn new() -> PlanBuilder {
        let mut bytes = Vec::with_capacity(8192);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; HEAD - MAGIC.len()]);
        PlanBuilder { count: 0, bytes }
    }

    /// Adds a step at the end and returns its index.
    pub fn push(&mut self, step: &Step<'_>) -> u32 {
        step.encode(&mut self.bytes);
        let index = self.count;
        self.count += 1;
        if let Some(count) = self.bytes.get_mut(MAGIC.len()..HEAD) {
            count.copy_from_slice(&self.count.to_le_bytes());
        }
        index
    }

    /// How many steps there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The encoded plan as it stands.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for PlanBuilder {
    fn default() -> PlanBuilder {
        PlanBuilder::new()
    }
}
