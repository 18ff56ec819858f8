//! What the fuzz targets share: changes to JSON that is accepted, the places that errors name, and how much memory was used.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};

/// The configuration that `spec` writes.
pub fn default_config() -> Value {
    static DEFAULT: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../../runtime/tests/golden/default.json")).expect("JSON"));
    DEFAULT.clone()
}

/// Values that mean something somewhere.
pub fn interesting() -> Vec<Value> {
    let texts = [
        "",
        "/",
        "..",
        "/..",
        "/a/../b",
        "a",
        "/proc",
        "/proc/stat",
        "/dev",
        "/dev/null",
        "/dev/ptmx",
        "/sys",
        "tmpfs",
        "bind",
        "none",
        "cgroup",
        "ro",
        "rro",
        "rbind",
        "remount",
        "shared",
        "private",
        "size=1",
        "idmap",
        "user",
        "uts",
        "network",
        "c",
        "p",
        "CAP_KILL",
        "RLIMIT_CPU",
        "a:b:c",
        "PATH=",
        "x\0",
        "rwm",
        "1.0.0",
        "\u{10ffff}",
        "a\nb",
        "0-3,7",
        "0-4294967295",
        "max",
        "2MB",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_ARCH_X86",
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(4095),
        json!(4096),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(0.5),
        json!(1e308),
    ];
    let other = [
        Value::Null,
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!({"": ""}),
        json!({"a/b~c": "d"}),
        json!({"type": "user"}),
        json!({"type": "c", "path": "/dev/x", "major": 1, "minor": 2}),
        json!({"destination": "/dev", "type": "bind", "source": "/s", "options": ["rbind", "ro", "shared"]}),
        json!({"destination": "/m", "type": "tmpfs", "options": ["ro", "slave"]}),
        json!([{"containerID": 0, "hostID": 5, "size": 10}]),
        json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}),
        json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
        json!({"major": 8, "minor": 0, "rate": 5, "weight": 100}),
        json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}),
    ];
    texts.into_iter().map(Value::from).chain(numbers).chain(other).collect()
}

/// A document with changes, each of three bytes: the place, and the new value out of `new`.
pub fn changed(mut document: Value, new: &[Value], bytes: &[u8]) -> Value {
    for change in bytes.chunks_exact(3).take(16) {
        let [place_high, place_low, value] = *change else { break };
        let mut countdown = u16::from_be_bytes([place_high, place_low]) % 1024;
        visit(&mut document, &mut countdown, &new[usize::from(value) % new.len()]);
    }
    document
}

/// Replaces the value that is reached when the countdown ends, or adds to the array that is there.
fn visit(value: &mut Value, countdown: &mut u16, new: &Value) -> bool {
    if *countdown == 0 {
        match value {
            Value::Array(items) if !new.is_array() => items.push(new.clone()),
            other => *other = new.clone(),
        }
        return true;
    }
    *countdown -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| visit(item, countdown, new)),
        Value::Object(members) => members.values_mut().any(|member| visit(member, countdown, new)),
        _ => false,
    }
}

/// What bytes stand for: JSON, or changes to a document. `None`: JSON that is none, which does not reach this project's code.
pub fn document(base: impl FnOnce() -> Value, bytes: &[u8]) -> Option<Value> {
    match bytes.first() {
        Some(b'{') => serde_json::from_slice(bytes).ok(),
        _ => {
            static INTERESTING: LazyLock<Vec<Value>> = LazyLock::new(interesting);
            Some(changed(base(), &INTERESTING, bytes))
        }
    }
}

/// The place that an error names is in the document, or its parent is, or the parent of that; and the error is one line.
///
/// # Panics
/// If not.
pub fn check_place(document: &Value, pointer: &str, message: &str) {
    assert!(!message.is_empty());
    let mut place = pointer;
    for _ in 0..3 {
        if document.pointer(place).is_some() {
            return;
        }
        place = place.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    panic!("{pointer}: {message}: there is no such place");
}

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs something and holds it to so many bytes of memory at a time.
///
/// # Panics
/// If it takes more.
pub fn within<T>(limit: usize, run: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = run();
    let used = PEAK.load(Relaxed).saturating_sub(before);
    assert!(used <= limit, "{used} bytes were allocated, where {limit} had to do");
    result
}
