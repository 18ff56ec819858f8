//! Asking for system calls changes nothing. In a process of its own, since other tests open descriptors meanwhile.

use no_frills_sys::calls::{is_there, known, since};

#[test]
fn calls_of_every_kernel_are_there() {
    // As many descriptors as before: nothing was opened or closed.
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for name in known() {
        let there = is_there(name);
        assert!(there == Some(true) || name == "open_tree_attr", "{name}: {there:?}");
    }
    assert_eq!(open(), before);
    assert_eq!((is_there("nothing"), since("nothing")), (None, None));
    assert_eq!(since("openat2"), Some("5.6"));
}
