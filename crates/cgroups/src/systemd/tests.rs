//! Messages as busctl(1) of systemd 252 writes them, conversations, and names.

use std::io::{Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::bus::{Bus, Failure};
use super::message::{Call, ERROR, Malformed, Message, REPLY, SIGNAL, Writer};
use super::{Manager, Property, Scope, Value};

/// `busctl call ... StartTransientUnit 'ssa(sv)a(sa(sv))' x.scope fail 5 Delegate b true MemoryMax t 1048576 AllowedCPUs ay 2 3 2
/// PIDs au 1 42 Description s 'a b' 0`
const START: &str = "\
    6c010401b000000002000000b600000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100000000000000\
    030173001200000053746172745472616e7369656e74556e697400000000000002017300200000006f72672e667265656465736b746f702e\
    73797374656d64312e4d616e61676572000000000000000006017300180000006f72672e667265656465736b746f702e73797374656d6431\
    000000000000000008016700107373612873762961287361287376292900000007000000782e73636f706500040000006661696c00000000\
    8c000000000000000800000044656c6567617465000162000100000000000000090000004d656d6f72794d61780001740000000000000000\
    00001000000000000b000000416c6c6f77656443505573000261790002000000030200000000000004000000504944730002617500000000\
    040000002a0000000b0000004465736372697074696f6e0001730000030000006120620000000000";
/// `busctl call ... StopUnit ss x.scope replace`
const STOP: &str = "\
    6c0104011800000002000000a000000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100000000000000\
    030173000800000053746f70556e6974000000000000000002017300200000006f72672e667265656465736b746f702e73797374656d6431\
    2e4d616e61676572000000000000000006017300180000006f72672e667265656465736b746f702e73797374656d64310000000000000000\
    080167000273730007000000782e73636f706500070000007265706c61636500";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn call<'a>(member: &'a str, signature: &'a str, body: Writer) -> Call<'a> {
    let interface = "org.freedesktop.systemd1.Manager";
    let destination = Some("org.freedesktop.systemd1");
    Call { destination, path: "/org/freedesktop/systemd1", interface, member, signature, body }
}

/// But for a flag: busctl allows the other side to ask somebody for a password.
fn same_as_busctl(ours: &[u8], busctl: &str) {
    let mut theirs = bytes(busctl);
    theirs[2] = 0;
    assert_eq!(ours, theirs);
}

#[test]
#[cfg(target_endian = "little")]
fn calls_are_written_as_busctl_writes_them() {
    let property = |name: &str, value| Property { name: name.to_owned(), value };
    let properties = [
        property("Delegate", Value::Boolean(true)),
        property("MemoryMax", Value::Uint64(1 << 20)),
        property("AllowedCPUs", Value::Array('y', vec![Value::Byte(3), Value::Byte(2)])),
        property("PIDs", Value::Array('u', vec![Value::Uint32(42)])),
        property("Description", Value::String("a b".to_owned())),
    ];
    let mut body = Writer::default();
    body.string("x.scope");
    body.string("fail");
    body.properties(&properties);
    body.no_units();
    same_as_busctl(&call("StartTransientUnit", "ssa(sv)a(sa(sv))", body).encode(2), START);

    let mut body = Writer::default();
    body.string("x.scope");
    body.string("replace");
    same_as_busctl(&call("StopUnit", "ss", body).encode(2), STOP);
}

#[test]
#[cfg(target_endian = "little")]
fn messages_are_read_when_they_are_whole() {
    let whole = bytes(STOP);
    for length in 0..whole.len() {
        assert_eq!(Message::decode(&whole[..length]), Ok(None), "{length}");
    }
    let two = [whole.clone(), whole.clone()].concat();
    let (message, length) = Message::decode(&two).unwrap().unwrap();
    assert_eq!((length, message.kind, message.member.as_str()), (whole.len(), 1, "StopUnit"));
    assert_eq!(message.arguments("ss"), Ok(["x.scope".to_owned(), "replace".to_owned()]));
    assert_eq!(message.arguments::<1>("u"), Err(Malformed));
    // Whatever comes, it is told from a message, or read as one; nothing of it is looked at beyond its end.
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut wrong = whole.clone();
            wrong[at] = value;
            if let Ok(Some((message, _))) = Message::decode(&wrong) {
                let (Ok(_) | Err(Malformed)) = message.arguments::<2>("ss");
            }
        }
    }
    let mut endless = whole;
    endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Message::decode(&endless), Err(Malformed));
}

/// What a manager sends: a message whose body is strings.
fn sent(kind: u8, fields: &[(u8, Value)], signature: &str, strings: &[&str]) -> Vec<u8> {
    let mut body = Writer::default();
    strings.iter().for_each(|text| body.string(text));
    super::message::encode(kind, 9, fields, signature, &body)
}

/// A manager that talks.
fn manager(name: &str, talk: impl FnOnce(UnixStream) + Send + 'static) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("no-frills-bus-{}-{name}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 29];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        stream.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
        talk(stream);
    });
    path
}

fn connect(path: &std::path::Path) -> Manager {
    let bus = Bus::connect_to(path, false).unwrap();
    std::fs::remove_file(path).unwrap();
    Manager { bus }
}

fn read_call(stream: &mut UnixStream) -> Message {
    let mut read = Vec::new();
    loop {
        let mut some = [0; 64];
        let length = stream.read(&mut some).unwrap();
        assert_ne!(length, 0);
        read.extend_from_slice(&some[..length]);
        if let Some((message, _)) = Message::decode(&read).unwrap() {
            return message;
        }
    }
}

const REPLY_SERIAL: u8 = 5;

fn answer(serial: u32, job: &str) -> Vec<u8> {
    sent(REPLY, &[(REPLY_SERIAL, Value::Uint32(serial))], "o", &[job])
}

fn error(serial: u32, name: &str, text: &str) -> Vec<u8> {
    let fields = [(4, Value::String(name.to_owned())), (REPLY_SERIAL, Value::Uint32(serial))];
    sent(ERROR, &fields, "s", &[text])
}

fn removed(job: &str, result: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.u32(7);
    [job, "x.scope", result].iter().for_each(|text| body.string(text));
    let interface = Value::String("org.freedesktop.systemd1.Manager".to_owned());
    let fields = [(2, interface), (3, Value::String("JobRemoved".to_owned()))];
    super::message::encode(SIGNAL, 9, &fields, "uoss", &body)
}

#[test]
fn a_job_is_waited_for_by_its_path() {
    let path = manager("job", |mut stream| {
        assert_eq!(read_call(&mut stream).member, "StopUnit");
        // Its own is told before the answer, and among others.
        stream
            .write_all(&[removed("/job/1", "failed"), removed("/job/2", "done"), answer(1, "/job/2")].concat())
            .unwrap();
        assert_eq!(read_call(&mut stream).member, "ResetFailedUnit");
        stream.write_all(&error(2, "org.freedesktop.systemd1.NoSuchUnit", "Unit x.scope not loaded.")).unwrap();
        assert_eq!(read_call(&mut stream).member, "StartTransientUnit");
        stream
            .write_all(&[answer(3, "/job/3"), removed("/job/1", "done"), removed("/job/3", "failed")].concat())
            .unwrap();
        assert_eq!(read_call(&mut stream).member, "StartTransientUnit");
        stream.write_all(&error(4, "org.freedesktop.systemd1.UnitExists", "Unit x.scope was already loaded.")).unwrap();
    });
    let mut manager = connect(&path);
    manager.stop("x.scope").unwrap();
    let scope = Scope::new("a.slice", "", "x", "x", false).unwrap();
    let mut begun = false;
    let failed = manager.start(&scope, "", 1, &[], &mut begun).unwrap_err().to_string();
    assert_eq!(failed, "starting x.scope: the job's result is \"failed\"; journalctl may tell more");
    assert!(begun);
    let exists = manager.start(&scope, "", 1, &[], &mut begun).unwrap_err().to_string();
    assert_eq!(
        exists,
        "starting x.scope: systemd answered: Unit x.scope was already loaded. (org.freedesktop.systemd1.UnitExists)"
    );
    assert!(!begun, "what is another's is not to be stopped");
}

#[test]
fn on_a_bus_the_end_of_jobs_is_asked_for() {
    let path = manager("bus", |mut stream| {
        for (serial, member) in [(1, "Hello"), (2, "AddMatch"), (3, "Subscribe")] {
            let call = read_call(&mut stream);
            assert_eq!(call.member, member);
            if member == "AddMatch" {
                let [rule] = call.arguments("s").unwrap();
                assert!(rule.contains("member='JobRemoved'"), "{rule}");
            }
            stream.write_all(&sent(REPLY, &[(REPLY_SERIAL, Value::Uint32(serial))], "s", &[":1.5"])).unwrap();
        }
    });
    let connected = Bus::connect_to(&path, true);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(connected.err(), None);
}

#[test]
fn who_ends_or_talks_nonsense_is_told() {
    let path = manager("end", drop);
    let gone = connect(&path).stop("x.scope").unwrap_err().to_string();
    assert!(gone.starts_with("stopping x.scope: "), "{gone}");
    let path = manager("nonsense", |mut stream| {
        read_call(&mut stream);
        stream.write_all(&[0x55; 64]).unwrap();
    });
    let nonsense = connect(&path).stop("x.scope").unwrap_err().to_string();
    assert_eq!(nonsense, "stopping x.scope: systemd answered with a message that is none");
    let nobody = Bus::connect_to("/nonexistent".as_ref(), false).err();
    assert_eq!(nobody, Some(Failure::System { action: "connecting", errno: nix::errno::Errno::ENOENT }));
}

#[test]
fn names_of_scopes_and_slices() {
    let named = |slice: &str, prefix: &str, name: &str, user| {
        Scope::new(slice, prefix, name, "id", user).map(|Scope { slice, unit }| (slice, unit)).ok()
    };
    let is = |slice: &str, unit: &str| Some((slice.to_owned(), unit.to_owned()));
    assert_eq!(named("system.slice", "docker", "web", false), is("system.slice", "docker-web.scope"));
    assert_eq!(named("", "p", "n", false), is("system.slice", "p-n.scope"));
    assert_eq!(named("", "p", "n", true), is("user.slice", "p-n.scope"));
    assert_eq!(named("-.slice", "p", "", false), is("-.slice", "p-id.scope"));
    assert_eq!(named("-", "", "n", false), is("-.slice", "n.scope"));
    assert_eq!(named("a-b-c.slice", "p", "n", true), is("a-b-c.slice", "p-n.scope"));
    for slice in ["a", "a/b.slice", "-a.slice", "a-.slice", "a--b.slice", ".slice", "--.slice"] {
        assert_eq!(named(slice, "p", "n", false), None, "{slice}");
    }
    assert_eq!(named("", "p", "n.slice", false), None);
    assert_eq!(named("", "p", &"n".repeat(256), false), None);
}
