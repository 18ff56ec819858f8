//! A field of a deed or a step.

use no_frills_plan::{Text, Texts, Words};
use serde_json::Value;

use super::names::{Names, flags, limit, number_list};

/// A field of a step: its name, as text, and as JSON.
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) text: String,
    pub(super) value: Value,
}

impl Shown {
    pub(super) fn text(name: &'static str, text: Text<'_>) -> Shown {
        let text = String::from_utf8_lossy(text.bytes());
        Shown { name, text: format!("{text:?}"), value: text.into() }
    }

    pub(super) fn texts(name: &'static str, texts: Texts<'_>) -> Shown {
        let texts: Vec<String> = texts.iter().map(|text| String::from_utf8_lossy(text.bytes()).into()).collect();
        Shown { name, text: format!("{texts:?}"), value: texts.into() }
    }

    pub(super) fn names(name: &'static str, names: Vec<String>) -> Shown {
        let text = if names.is_empty() { "0".to_owned() } else { names.join("|") };
        Shown { name, text: format!("{name}={text}"), value: names.into() }
    }

    /// Bits; left out of the text when there are none.
    pub(super) fn flags(name: &'static str, value: u64, names: Names) -> Shown {
        let mut shown = Shown::names(name, flags(value, names));
        if value == 0 {
            shown.text.clear();
        }
        shown
    }

    pub(super) fn number(name: &'static str, number: impl Into<u64>) -> Shown {
        let number = number.into();
        Shown { name, text: format!("{name}={number}"), value: number.into() }
    }

    pub(super) fn octal(name: &'static str, number: u32) -> Shown {
        Shown { name, text: format!("{name}={number:#o}"), value: number.into() }
    }

    pub(super) fn yes(name: &'static str, value: u8) -> Shown {
        let text = if value == 0 { String::new() } else { name.to_owned() };
        Shown { name, text, value: (value != 0).into() }
    }

    pub(super) fn word(name: &'static str, word: String) -> Shown {
        Shown { name, text: word.clone(), value: word.into() }
    }

    pub(super) fn set(name: &'static str, set: Words<'_>) -> Shown {
        let list = number_list(set);
        Shown { name, text: format!("{name}={list}"), value: list.into() }
    }

    pub(super) fn limit(name: &'static str, value: u64) -> Shown {
        Shown { name, text: format!("{name}={}", limit(value)), value: value.into() }
    }
}
