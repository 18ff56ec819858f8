//! What the kernel says, in texts and messages in which containers have put names: mountinfo, the files of cgroups and of processes,
//! answers over netlink. What is written as the kernel writes it is read as what it was, whatever the names; what is not
//! is refused, without a panic and in little memory.
#![no_main]

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use no_frills::fuzzing;
use no_frills_cgroups::fuzzing::{Read, candidates, events, mounts, read_as};
use no_frills_fuzz::within;
use no_frills_sys::netlink::Netlink;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Mountinfo(&'a [u8]),
    Mounts(Vec<(Vec<u8>, bool)>),
    File(u8, String),
    Keyed(Vec<(u32, u64)>),
    Io(Vec<([u32; 2], [u64; 6])>),
    Pressure([u64; 2], [u16; 6]),
    Events(&'a [u8]),
    Stat(&'a [u8]),
    Process { name: Vec<u8>, state: u8, flags: u32, start_time: u64, ignored: u64 },
    Resctrl(String, String),
    Netlink { dump: bool, datagrams: Vec<Vec<(u16, bool, Vec<u8>)>>, damage: Option<(u16, u8)> },
    Raw(Vec<&'a [u8]>),
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match Input::arbitrary_take_rest(Unstructured::new(bytes)) {
        Ok(input) => check(input),
        Err(_) => return Corpus::Reject,
    }
    Corpus::Keep
});

fn check(input: Input<'_>) {
    match input {
        Input::Mountinfo(text) => {
            within((64 << 10) + 64 * text.len(), || (mounts(text), candidates(text)));
            let text = String::from_utf8_lossy(text);
            let point = fuzzing::resctrl_mount_point(&text);
            assert!(point.is_none() || text.contains(" - resctrl "));
        }
        Input::Mounts(paths) => check_mounts(&paths),
        Input::File(file, text) => {
            within((64 << 10) + 128 * text.len(), || read_as(file % 9, &text));
        }
        Input::Keyed(pairs) => {
            let text: String = pairs.iter().map(|(key, value)| format!("key{key} {value}\n")).collect();
            let expected = pairs.iter().map(|(key, value)| (format!("key{key}"), *value)).collect();
            assert_eq!(read_as(2, &text), Some(Read::Keyed(expected)));
        }
        Input::Io(devices) => check_io(&devices),
        Input::Pressure(total, [a, b, c, d, e, f]) => {
            let line = |[a, b, c]: [u16; 3], total| format!("avg10={a}.50 avg60={b}.25 avg300={c}.00 total={total}");
            let text = format!("some {}\nfull {}\n", line([a, b, c], total[0]), line([d, e, f], total[1]));
            let Some(Read::Pressure(read)) = read_as(7, &text) else { panic!("{text}") };
            let full = read.full.expect("both lines");
            assert_eq!([read.some.total_usec, full.total_usec], total);
            assert_eq!(
                [read.some.avg10, read.some.avg60, full.avg300],
                [f64::from(a) + 0.5, f64::from(b) + 0.25, f64::from(f)]
            );
        }
        Input::Events(text) => {
            let (populated, frozen) = events(text);
            let has = |line: &[u8]| text.split(|byte| *byte == b'\n').any(|found| found == line);
            assert_eq!((populated, frozen), (has(b"populated 1"), has(b"frozen 1")));
        }
        Input::Stat(line) => drop(fuzzing::process_stat(line)),
        Input::Process { name, state, flags, start_time, ignored } => {
            // proc_pid_stat(5): TASK_COMM_LEN is 16 with its NUL.
            let name: Vec<u8> = name.into_iter().filter(|byte| *byte != 0).take(15).collect();
            let state = char::from(b"RSDZTtXI"[usize::from(state) % 8]);
            let mut line = b"7 (".to_vec();
            line.extend(name);
            line.extend(format!(") {state} 1 2 3 4 5 {flags}").bytes());
            let rest = (10..=52).map(|field| match field {
                22 => format!(" {start_time}"),
                33 => format!(" {ignored}"),
                _ => format!(" {field}"),
            });
            line.extend(rest.collect::<String>().bytes());
            line.push(b'\n');
            let expected = (start_time, matches!(state, 'Z' | 'X'), matches!(state, 'T' | 't'), ignored as u32);
            assert_eq!(fuzzing::process_stat(&line), Some(expected), "{}", line.escape_ascii());
        }
        Input::Resctrl(schemata, line) => {
            fuzzing::resctrl_holds(&schemata, &line);
        }
        Input::Netlink { dump, datagrams, damage } => {
            let mut encoded: Vec<Vec<u8>> =
                datagrams.iter().map(|messages| messages.iter().flat_map(message).collect()).collect();
            if let Some((at, byte)) = damage
                && let Some(first) = encoded.first_mut().filter(|first| !first.is_empty())
            {
                let at = usize::from(at) % first.len();
                first[at] = byte;
            }
            check_netlink(dump, encoded.iter().map(Vec::as_slice));
        }
        Input::Raw(datagrams) => check_netlink(true, datagrams.into_iter()),
    }
}

/// Mount points are what they were, whatever is in their names.
fn check_mounts(paths: &[(Vec<u8>, bool)]) {
    let mut text = Vec::new();
    let mut expected = Vec::new();
    for (number, (path, is_v2)) in paths.iter().enumerate() {
        let path: Vec<u8> = path.iter().copied().filter(|byte| *byte != 0).collect();
        let kind = if *is_v2 { "cgroup2" } else { "cgroup" };
        text.extend(format!("{number} 1 0:1 / /").bytes());
        for byte in &path {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' => text.extend(format!("\\{byte:03o}").bytes()),
                byte => text.push(*byte),
            }
        }
        text.extend(format!(" rw shared:1 - {kind} none rw\n").bytes());
        expected.push(([b"/", path.as_slice()].concat(), kind.as_bytes().to_vec()));
    }
    let found = mounts(&text).into_iter().map(|(path, kind)| (path.as_os_str().as_bytes().to_vec(), kind));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(candidates(&text).len(), paths.iter().filter(|(_, is_v2)| *is_v2).count());
}

fn check_io(devices: &[([u32; 2], [u64; 6])]) {
    let line = |([major, minor], [a, b, c, d, e, f]): &([u32; 2], [u64; 6])| {
        format!("{major}:{minor} rbytes={a} wbytes={b} rios={c} wios={d} dbytes={e} dios={f} cost.usage=1\n")
    };
    let text: String = devices.iter().map(line).collect();
    let Some(Read::Io(read)) = read_as(1, &text) else { panic!("{text}") };
    let again = read.iter().map(|one| {
        let numbers = [one.read_bytes, one.written_bytes, one.reads, one.writes, one.discarded_bytes, one.discards];
        ([one.major, one.minor], numbers)
    });
    assert_eq!(again.collect::<Vec<_>>(), devices);
}

/// A message with a length that fits, which answers the request or another.
fn message((kind, answers, body): &(u16, bool, Vec<u8>)) -> Vec<u8> {
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    // Those that mean something more often.
    let kind = match kind % 8 {
        0 => 2,
        1 => 3,
        2 => 16,
        3 | 4 => 20,
        _ => *kind,
    };
    message.extend(kind.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(u32::from(*answers).to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn check_netlink<'a>(dump: bool, datagrams: impl Iterator<Item = &'a [u8]>) {
    let pair =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
    let (ours, kernels): (OwnedFd, OwnedFd) = pair.expect("two sockets");
    let mut kernels = std::fs::File::from(kernels);
    for datagram in datagrams.take(64).filter(|datagram| !datagram.is_empty()) {
        // What does not fit is lost.
        if kernels.write(datagram).is_err() {
            break;
        }
    }
    // Then it is the end.
    shutdown(std::os::fd::AsRawFd::as_raw_fd(&kernels), Shutdown::Write).expect("shutdown");
    let mut netlink = Netlink::over(ours);
    within(1 << 20, || if dump { netlink.global_addresses(7).map(drop) } else { netlink.link("e0").map(drop) }).ok();
}
