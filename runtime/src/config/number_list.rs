//! Lists of numbers as the kernel writes sets of CPUs and memory nodes: `0-3,7`.

use super::reader::{Node, Result};

/// A set of small numbers: bit N of the words is number N.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NumberSet {
    words: Vec<u32>,
}

impl NumberSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether there is a number that is in both.
    pub(crate) fn meets(&self, other: &NumberSet) -> bool {
        self.words.iter().zip(&other.words).any(|(one, other)| one & other != 0)
    }

    /// The smallest number that the other set does not have.
    pub(crate) fn first_beyond(&self, other: &NumberSet) -> Option<u32> {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        let mut lacking = (0..).zip(self.words.iter().zip(others).map(|(one, other)| one & !other));
        lacking.find(|(_, word)| *word != 0).map(|(index, word): (u32, u32)| index * 32 + word.trailing_zeros())
    }

    /// The bits, little-endian, in an even number of words: what the kernel takes as an array of `unsigned long`.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let padding = self.words.len() % 2;
        self.words.iter().copied().chain(std::iter::repeat_n(0, padding)).flat_map(u32::to_le_bytes).collect()
    }

    fn insert(&mut self, number: u32) {
        let word = number as usize / 32;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (number % 32);
        }
    }
}

/// Reads a list in which no number is above `max`; an empty text is an empty set.
pub(super) fn read(node: &Node<'_, '_>, max: u32) -> Result<NumberSet> {
    parse(node.text()?, max).map_err(|reason| node.error(reason))
}

/// Like [`read`], of a text; the error says what is wrong with it.
pub(crate) fn parse(text: &str, max: u32) -> std::result::Result<NumberSet, String> {
    let mut set = NumberSet::default();
    if text.trim().is_empty() {
        return Ok(set);
    }
    for range in text.split(',') {
        let range = range.trim();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("{range:?} is no number and no range such as 0-3"));
        };
        if first > last {
            return Err(format!("the range {range} ends before it begins"));
        }
        if last > max {
            return Err(format!("{last} is more than {max}"));
        }
        (first..=last).for_each(|number| set.insert(number));
    }
    Ok(set)
}

/// A decimal number without a sign, which `parse` would take.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
