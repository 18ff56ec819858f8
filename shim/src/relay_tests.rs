use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::Relay;

type Pipes = Relay<PipeReader, PipeWriter>;

/// A terminal, its master and a shell command that has the slave as its standard streams.
fn terminal(script: &str) -> (OwnedFd, Child) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    let child = Command::new("sh")
        .args(["-c", script])
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave)
        .spawn()
        .unwrap();
    (master, child)
}

/// Serves the relay until the child has ended, as `attach` does for a container.
fn serve(mut relay: Pipes, mut child: Child) -> Result<(), String> {
    // Its end is told by the end of this pipe, in place of a pidfd.
    let (ended, ending) = pipe().unwrap();
    let waiter = thread::spawn(move || {
        child.wait().unwrap();
        drop(ending);
    });
    loop {
        let [ended, stdin, stdout, master] = {
            let nothing = || PollFd::new(std::os::fd::AsFd::as_fd(&ended), PollFlags::POLLIN);
            let [stdin, stdout, master] = relay.interests();
            let waited = [stdin.is_some(), stdout.is_some(), master.is_some()];
            let mut entries = [Some(nothing()), stdin, stdout, master].map(|entry| entry.unwrap_or_else(nothing));
            poll(&mut entries, PollTimeout::from(10_000_u16)).unwrap();
            let [first, rest @ ..] = entries.map(|entry| entry.revents().unwrap());
            let mut rest =
                rest.into_iter().zip(waited).map(|(events, waited)| if waited { events } else { PollFlags::empty() });
            [first, rest.next().unwrap(), rest.next().unwrap(), rest.next().unwrap()]
        };
        if !ended.is_empty() {
            break;
        }
        relay.serve([stdin, stdout, master])?;
    }
    waiter.join().unwrap();
    relay.finish()
}

/// What a command on a terminal writes when it is given `input`.
fn output_of(script: &str, input: &[u8]) -> Vec<u8> {
    let (master, child) = terminal(script);
    let (stdin, mut typed) = pipe().unwrap();
    let (mut shown, stdout) = pipe().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || typed.write_all(&input).unwrap());
    let reader = thread::spawn(move || {
        let mut output = Vec::new();
        shown.read_to_end(&mut output).unwrap();
        output
    });
    serve(Relay::new(master, stdin, stdout).unwrap(), child).unwrap();
    writer.join().unwrap();
    reader.join().unwrap()
}

#[test]
fn nothing_is_lost_at_the_end() {
    let output = output_of("seq 1 20000", b"");
    let expected: String = (1..=20000).map(|number| format!("{number}\r\n")).collect();
    assert_eq!(String::from_utf8(output).unwrap(), expected);
}

#[test]
fn the_end_of_input_arrives() {
    assert_eq!(output_of("stty -echo; cat", b""), b"");
    let output = output_of("cat; echo end", b"line\n");
    assert!(output.ends_with(b"line\r\nend\r\n"), "{:?}", String::from_utf8_lossy(&output));
    let output = output_of("cat; echo end", b"line\nunfinished");
    assert!(output.ends_with(b"unfinishedend\r\n"), "{:?}", String::from_utf8_lossy(&output));
}

#[test]
fn binary_input_passes_a_raw_terminal() {
    let data: Vec<u8> = (0..200_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    let (master, child) = terminal("stty raw -echo; echo ready; head -c 200000");
    let (stdin, mut typed) = pipe().unwrap();
    let (mut shown, stdout) = pipe().unwrap();
    let relay = thread::spawn(move || serve(Relay::new(master, stdin, stdout).unwrap(), child));
    // Before, the terminal would echo and edit.
    let mut ready = [0; 6];
    shown.read_exact(&mut ready).unwrap();
    let sent = data.clone();
    let writer = thread::spawn(move || typed.write_all(&sent).unwrap());
    let mut output = Vec::new();
    shown.read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    relay.join().unwrap().unwrap();
    assert_eq!(ready, *b"ready\n");
    assert!(output == data);
}

#[test]
fn a_slave_that_is_closed_for_a_while_is_no_end() {
    let script = "tty=$(tty); exec <&- >&- 2>&-; sleep 0.1; exec >$tty; echo again";
    assert_eq!(output_of(script, b""), b"again\r\n");
}

#[test]
fn output_that_nobody_reads_is_an_error() {
    let (master, mut child) = terminal("trap '' HUP; while echo y; do :; done 2>/dev/null");
    let (stdin, _typed) = pipe().unwrap();
    let (shown, stdout) = pipe().unwrap();
    drop(shown);
    let mut relay = Relay::new(master, stdin, stdout).unwrap();
    let error = loop {
        let [_, stdout, master] = {
            let [_, stdout, master] = relay.interests();
            let of = |entry: Option<PollFd<'_>>| {
                entry.map_or(PollFlags::empty(), |entry| {
                    let mut entries = [entry];
                    poll(&mut entries, PollTimeout::from(10_000_u16)).unwrap();
                    entries[0].revents().unwrap()
                })
            };
            [PollFlags::empty(), of(stdout), of(master)]
        };
        if let Err(error) = relay.serve([PollFlags::empty(), stdout, master]) {
            break error;
        }
    };
    assert!(error.contains("EPIPE"), "{error}");
    // The hang-up ends the command, whose writes now fail.
    drop(relay);
    child.wait().unwrap();
}
