//! Time namespaces and the offsets of their clocks.

use std::fs;

use serde_json::json;

use crate::bundle::{Bundle, Test};
use crate::case::{Case, case};
use crate::expect::{Verdict, check, same, some};
use crate::kind::Kind;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("clocks/new", "a new time namespace has the host's clocks", new),
        case("clocks/boottime", "boottime is ahead by its offset", boottime),
        case("clocks/monotonic", "monotonic is ahead by its offset", monotonic),
        case("clocks/offsets-shown", "both offsets are those of the namespace", shown),
        case("clocks/negative", "an offset may be negative", negative),
        case("clocks/user-namespace", "offsets in a new user namespace", user_namespace)
            .known_failure(Kind::Crun, "may not write them"),
        case("clocks/before-zero", "an offset that leads before the clock's zero is refused", before_zero)
            .known_failure(Kind::Crun, "leaves the cgroup behind"),
        case("clocks/no-namespace", "offsets without a new time namespace are refused", no_namespace)
            .known_failure(Kind::Crun, "leaves the cgroup behind"),
        case("clocks/zero-offsets", "offsets of zero", zero),
        case("clocks/unknown", "a clock that a time namespace has not is refused", unknown)
            .known_failure(Kind::Crun, "leaves the cgroup behind"),
        case("clocks/lifecycle", "create, start and kill with offsets", lifecycle),
    ]
}

fn timed(t: &Test) -> Verdict<Bundle<'_>> {
    Ok(t.bundle()?.push("/linux/namespaces", json!({"type": "time"})))
}

/// The boot time clock's seconds.
fn uptime(text: &str) -> Verdict<f64> {
    Ok(some("the uptime", text.split_whitespace().next())?.parse()?)
}

fn host_uptime() -> Verdict<f64> {
    uptime(&fs::read_to_string("/proc/uptime")?)
}

fn new(t: &Test) -> Verdict {
    let before = host_uptime()?;
    let out = timed(t)?.sh("cat /proc/uptime; readlink /proc/self/ns/time").stdout()?;
    let inside = uptime(&out)?;
    check((before..before + 60.0).contains(&inside), || format!("{inside}, the host's is {before}"))?;
    let host = fs::read_link("/proc/self/ns/time")?.to_string_lossy().into_owned();
    check(out.lines().nth(1) != Some(host.as_str()), || "the namespace is the host's".to_owned())
}

fn boottime(t: &Test) -> Verdict {
    let before = host_uptime()?;
    let b = timed(t)?.set("/linux/timeOffsets", json!({"boottime": {"secs": 86_400, "nanosecs": 500}}));
    let inside = uptime(&b.args(&["cat", "/proc/uptime"]).stdout()?)?;
    let expected = before + 86_400.0;
    check((expected..expected + 60.0).contains(&inside), || format!("{inside}, expected {expected}"))
}

fn monotonic(t: &Test) -> Verdict {
    let b = timed(t)?.set("/linux/timeOffsets", json!({"monotonic": {"secs": 7200}}));
    let out = b.args(&["cat", "/proc/self/timens_offsets"]).stdout()?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("offsets", words, ["monotonic", "7200", "0", "boottime", "0", "0"])
}

fn shown(t: &Test) -> Verdict {
    let offsets = json!({"monotonic": {"secs": 5, "nanosecs": 999_999_999}, "boottime": {"secs": 9}});
    let b = timed(t)?.set("/linux/timeOffsets", offsets).args(&["cat", "/proc/self/timens_offsets"]);
    let out = b.stdout()?;
    let words: Vec<&str> = out.split_whitespace().collect();
    same("offsets", words, ["monotonic", "5", "999999999", "boottime", "9", "0"])
}

fn negative(t: &Test) -> Verdict {
    let b = timed(t)?.set("/linux/timeOffsets", json!({"boottime": {"secs": -1}}));
    let before = host_uptime()?;
    let inside = uptime(&b.args(&["cat", "/proc/uptime"]).stdout()?)?;
    check(inside < before + 60.0 && inside > before - 1.5, || format!("{inside}, the host's is {before}"))
}

fn user_namespace(t: &Test) -> Verdict {
    let b = timed(t)?.user_namespace(100_000, 1000).set("/linux/timeOffsets", json!({"boottime": {"secs": 86_400}}));
    let inside = uptime(&b.args(&["cat", "/proc/uptime"]).stdout()?)?;
    check(inside > 86_400.0, || format!("{inside}"))
}

fn before_zero(t: &Test) -> Verdict {
    let b = timed(t)?.set("/linux/timeOffsets", json!({"boottime": {"secs": -1_000_000_000}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/timeOffsets", &[])?;
    b.is_gone()
}

fn no_namespace(t: &Test) -> Verdict {
    let b = t.bundle()?.set("/linux/timeOffsets", json!({"boottime": {"secs": 1}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/timeOffsets/boottime", &[])?;
    b.is_gone()
}

fn zero(t: &Test) -> Verdict {
    let zero = json!({"boottime": {"secs": 0, "nanosecs": 0}, "monotonic": {}});
    let inside = timed(t)?.set("/linux/timeOffsets", zero).args(&["readlink", "/proc/self/ns/time"]).stdout()?;
    let own = fs::read_link("/proc/self/ns/time")?;
    check(inside.starts_with("time:[") && inside.trim_end() != own.to_string_lossy(), || {
        format!("{inside:?}, here {own:?}")
    })
}

fn unknown(t: &Test) -> Verdict {
    let b = timed(t)?.set("/linux/timeOffsets", json!({"realtime": {"secs": 1}})).args(&["true"]);
    b.run()?.refuses(t, "/linux/timeOffsets/realtime", &[])?;
    b.is_gone()
}

fn lifecycle(t: &Test) -> Verdict {
    let b = timed(t)?.set("/linux/timeOffsets", json!({"boottime": {"secs": 86_400}})).idle();
    b.create()?;
    b.is("created")?;
    b.start()?;
    b.kill_and_delete()?;
    b.is_gone()
}
