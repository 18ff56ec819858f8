use std::ffi::{OsStr, OsString};

use serde_json::{Value, json};

use super::{change, parse_user, sub_cgroup};
use crate::parse::{Call, Values, parse};

fn flags(words: &[&str]) -> Values {
    let words = ["exec"].iter().chain(words).chain(&["web"]).map(OsString::from);
    match parse(&mut words.into_iter(), &mut Values::default()) {
        Ok(Call::Run(_, flags, _)) => flags,
        other => panic!("{words:?}: {other:?}", words = other.is_ok()),
    }
}

fn changed(process: &Value, words: &[&str]) -> Value {
    change(process.clone(), &flags(words), &["id".into()]).unwrap()
}

#[test]
fn users_are_numbers() {
    for (text, ids) in [
        ("0", (0, None)),
        ("1", (1, None)),
        ("1:1", (1, Some(1))),
        ("01:0", (1, Some(0))),
        ("4294967294:4294967294", (4_294_967_294, Some(4_294_967_294))),
    ] {
        assert_eq!(parse_user(OsStr::new(text)), Ok(ids), "{text}");
    }
    for text in [
        "",
        "-1",
        "+1",
        "1x",
        "x",
        "root",
        " 1",
        "1 ",
        "0x1",
        "1:",
        ":1",
        ":",
        "1:x",
        "1:-1",
        "1:2:3",
        "4294967295",
        "4294967296",
        "1:4294967295",
        "1:4294967296",
        "18446744073709551616",
        "\u{661}",
    ] {
        let refused = parse_user(OsStr::new(text)).unwrap_err();
        assert!(refused.starts_with("--user takes UID or UID:GID"), "{text}: {refused}");
    }
}

#[test]
fn the_containers_own_process_is_changed() {
    let own = json!({
        "terminal": true,
        "args": ["sleep", "1"],
        "cwd": "/srv",
        "env": ["PATH=/bin", "A=1"],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 63},
        "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]},
        "noNewPrivileges": true,
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
    });
    let mut expected = own.clone();
    expected["terminal"] = json!(false);
    expected["args"] = json!(["id"]);
    assert_eq!(changed(&own, &[]), expected);
    // Empty values ask for nothing.
    assert_eq!(changed(&own, &["--cwd", "", "-u", "", "--apparmor=", "--process-label="]), expected);

    let words = "-t --cwd /tmp -e B=2 --env A=3 -u 8 -g 9 -g 10 -c CAP_CHOWN -c CAP_NET_RAW --no-new-privs=false \
                 --apparmor profile --process-label a:b:c";
    let found = changed(&own, &words.split_ascii_whitespace().collect::<Vec<_>>());
    expected["terminal"] = json!(true);
    expected["cwd"] = json!("/tmp");
    expected["env"] = json!(["PATH=/bin", "A=1", "B=2", "A=3"]);
    expected["user"] = json!({"uid": 8, "gid": 6, "additionalGids": [7, 9, 10], "umask": 63});
    expected["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_NET_RAW"],
        "inheritable": ["CAP_CHOWN"],
        "ambient": ["CAP_CHOWN"],
    });
    expected["noNewPrivileges"] = json!(false);
    expected["apparmorProfile"] = json!("profile");
    expected["selinuxLabel"] = json!("a:b:c");
    assert_eq!(found, expected);
}

#[test]
fn what_the_process_lacks_is_made() {
    let own = json!({"cwd": "/", "args": ["true"], "env": null, "user": null});
    let found = changed(&own, &["-e", "A=1", "-u", "1:2", "-g", "3", "-c", "CAP_KILL"]);
    assert_eq!(found["env"], json!(["A=1"]));
    assert_eq!(found["user"], json!({"uid": 1, "gid": 2, "additionalGids": [3]}));
    assert_eq!(found["capabilities"]["bounding"], json!(["CAP_KILL"]));
    assert_eq!(found["capabilities"].get("inheritable"), None);
    assert_eq!(found["capabilities"].get("ambient"), None);
    // What is wrong with it is for the library to say.
    assert_eq!(changed(&json!({"env": 1, "user": 2}), &["-e", "A=1", "-u", "1"])["env"], json!(1));
}

#[test]
fn there_is_a_command_and_a_process_to_change() {
    assert!(change(json!({}), &flags(&[]), &[]).unwrap_err().contains("--process"));
    assert!(change(Value::Null, &flags(&[]), &["id".into()]).unwrap_err().contains("without a process"));
    let word = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![0xff]);
    assert!(change(json!({}), &flags(&[]), &[word]).unwrap_err().contains("is not UTF-8"));
}

#[test]
fn cgroups_are_paths_below_the_containers() {
    for (words, path) in [
        (&[][..], None),
        (&["--cgroup", ""], None),
        (&["--cgroup", "/"], None),
        (&["--cgroup", "/sub"], Some("sub")),
        (&["--cgroup", "sub/deep"], Some("sub/deep")),
    ] {
        assert_eq!(sub_cgroup(&flags(words)), Ok(path.map(Into::into)), "{words:?}");
    }
    for words in [&["--cgroup", "memory:sub"][..], &["--cgroup", ":sub"], &["--cgroup", "a", "--cgroup", "b"]] {
        assert!(sub_cgroup(&flags(words)).unwrap_err().contains("one hierarchy"), "{words:?}");
    }
}
