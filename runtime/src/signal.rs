//! Signals by name and number, as the command line and engines write them.

use std::fmt;
use std::str::FromStr;

/// A signal to send to a container's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

/// The text is not a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {0:?}")]
pub struct UnknownSignal(String);

/// The first and last realtime signal as libc counts them: the C library keeps 32 and 33.
const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

impl Signal {
    /// SIGTERM.
    pub const TERM: Signal = Signal(nix::sys::signal::Signal::SIGTERM as i32);
    /// SIGKILL.
    pub const KILL: Signal = Signal(nix::sys::signal::Signal::SIGKILL as i32);

    /// The signal with this number, 0 to 64; 0 only asks whether the process can be signalled.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Signal> {
        match number {
            0..=SIGRTMAX => Some(Signal(number)),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    fn from_name(name: &str) -> Option<Signal> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let realtime = |rest: &str| if rest.is_empty() { Some(0) } else { rest.get(1..)?.parse::<i32>().ok() };
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            if !rest.is_empty() && !rest.starts_with('+') {
                return None;
            }
            SIGRTMIN + realtime(rest)?
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            if !rest.is_empty() && !rest.starts_with('-') {
                return None;
            }
            SIGRTMAX - realtime(rest)?
        } else {
            // Names that are second names of others.
            let name = match name {
                "CLD" => "CHLD",
                "POLL" => "IO",
                "IOT" => "ABRT",
                name => name,
            };
            return nix::sys::signal::Signal::iterator()
                .find(|signal| signal.as_str().strip_prefix("SIG") == Some(name))
                .map(|signal| Signal(signal as i32));
        };
        (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(Signal(number))
    }
}

/// `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`.
impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Signal, UnknownSignal> {
        let found = match text.parse::<i32>() {
            Ok(number) => Signal::from_number(number),
            Err(_) => Signal::from_name(text),
        };
        found.ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => out.write_str(signal.as_str()),
            Err(_) => write!(out, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_signal() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("CLD", 17),
            ("SIGPOLL", 29),
        ] {
            assert_eq!(text.parse(), Ok(Signal(number)), "{text}");
        }
        for text in ["", "FOO", "SIG", "-1", "65", "RTMIN+31", "RTMAX-31", "RTMIN-1", "9x", "99999999999"] {
            assert_eq!(text.parse::<Signal>(), Err(UnknownSignal(text.to_owned())), "{text}");
        }
    }
}
