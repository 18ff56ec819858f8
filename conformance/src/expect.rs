//! Expectations: each returns an error that tells what was expected and what was found.

use std::fmt::Debug;

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed, for this reason.
    Failed(String),
    /// It cannot run here, for this reason.
    Skipped(String),
}

/// What a case returns.
pub(crate) type Verdict<T = ()> = Result<T, Stop>;

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The case fails with this text.
pub(crate) fn fail<T>(text: impl Into<String>) -> Verdict<T> {
    Err(Stop::Failed(text.into()))
}

/// The case cannot run here.
pub(crate) fn skip<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Stop::Skipped(why.into()))
}

/// `actual` equals `expected`.
#[allow(clippy::needless_pass_by_value, reason = "a case may give either a value or a reference")]
pub(crate) fn same<A: PartialEq<E> + Debug, E: Debug>(what: &str, actual: A, expected: E) -> Verdict {
    if actual == expected {
        return Ok(());
    }
    fail(format!("{what}\nexpected: {expected:?}\nactual:   {actual:?}"))
}

/// `text` contains `part`.
pub(crate) fn contains(what: &str, text: &str, part: &str) -> Verdict {
    if text.contains(part) {
        return Ok(());
    }
    fail(format!("{what}\nexpected: something with {part:?}\nactual:   {text:?}"))
}

/// `text` contains one of `parts`.
pub(crate) fn contains_one(what: &str, text: &str, parts: &[&str]) -> Verdict {
    if parts.iter().any(|part| text.contains(part)) {
        return Ok(());
    }
    fail(format!("{what}\nexpected: something with one of {parts:?}\nactual:   {text:?}"))
}

/// `text` does not contain `part`.
pub(crate) fn lacks(what: &str, text: &str, part: &str) -> Verdict {
    if !text.contains(part) {
        return Ok(());
    }
    fail(format!("{what}\nexpected: nothing with {part:?}\nactual:   {text:?}"))
}

/// `holds` is true; the text says what was expected of what.
pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { fail(otherwise()) }
}

/// The value, or a failure that says what is missing.
pub(crate) fn some<T>(what: &str, value: Option<T>) -> Verdict<T> {
    value.map_or_else(|| fail(format!("{what}: missing")), Ok)
}
