//! The conversation with the parent: datagrams with descriptors attached.

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, size_of};

use no_frills_plan::{Kind, MESSAGE_MAX, Message, Plan, call};

use crate::kernel::{self, Failure, Fd, IoVec, MsgHdr, Result, errno};

/// Descriptors in one message: the kernel allows 253 (SCM_MAX_FD).
pub(crate) const SOURCES_MAX: usize = 253;

const TAKEN: Fd = Fd(-1);

/// The descriptors that the parent sent last.
pub(crate) struct Sources {
    fds: [Fd; SOURCES_MAX],
    count: usize,
}

impl Sources {
    pub(crate) const fn new() -> Sources {
        Sources { fds: [Fd(-1); SOURCES_MAX], count: 0 }
    }

    pub(crate) fn get(&self, number: u32) -> Result<Fd> {
        let fds = self.fds.get(..self.count).unwrap_or(&[]);
        fds.get(number as usize).copied().ok_or(PROTOCOL)
    }

    /// As [`get`](Sources::get), for what is needed longer than the batch it came with.
    pub(crate) fn take(&mut self, number: u32) -> Result<Fd> {
        let fd = self.get(number)?;
        if let Some(place) = self.fds.get_mut(number as usize) {
            *place = TAKEN;
        }
        Ok(fd)
    }

    /// Puts another descriptor in the place of one.
    pub(crate) fn replace(&mut self, number: u32, by: Fd) -> Result<Fd> {
        let before = self.get(number)?;
        if let Some(place) = self.fds.get_mut(number as usize) {
            *place = by;
        }
        Ok(before)
    }

    /// Leaves the closing of a descriptor to somebody else, if it is one of these.
    pub(crate) fn keep(&mut self, fd: Fd) {
        for place in self.fds.iter_mut().take(self.count).filter(|place| **place == fd) {
            *place = TAKEN;
        }
    }

    /// Closes what the steps have left.
    pub(crate) fn close(&mut self) {
        for fd in self.fds.iter().take(self.count).filter(|fd| **fd != TAKEN) {
            kernel::close(*fd);
        }
        self.count = 0;
    }
}

/// The parent said something that no parent of ours says.
const PROTOCOL: Failure = Failure { call: call::RECVMSG, errno: errno::EPROTO };

/// Where the plan is put when it is short, as it is for nearly every container. Not on the stack: the compiler has every page of
/// a large frame touched, and each page that is touched is charged to the container.
static NEAR_MEMORY: Near = Near(UnsafeCell::new([0; NEAR]));

struct Near(UnsafeCell<[u8; NEAR]>);

// SAFETY: init has one thread.
unsafe impl Sync for Near {}

const NEAR: usize = 32 * 1024;
/// `Kind`, `call`, padding, `step`, `errno`, `detail`, padding.
const HEAD: usize = 24;

#[repr(C)]
struct ControlHeader {
    length: usize,
    level: u32,
    kind: u32,
}

const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;

#[repr(C)]
struct Control<const N: usize> {
    header: ControlHeader,
    fds: [Fd; N],
}

/// Receives one datagram into `head` and `body`, and the descriptors attached to it.
/// Returns how many bytes came (0: the other end is closed) and how many descriptors.
fn receive_into<const N: usize>(
    socket: Fd,
    head: &mut [u8; HEAD],
    body: (usize, usize),
    fds: &mut [Fd; N],
) -> Result<(usize, usize)> {
    let mut control = MaybeUninit::<Control<N>>::uninit();
    let parts = [IoVec { base: head.as_mut_ptr() as usize, length: HEAD }, IoVec { base: body.0, length: body.1 }];
    let mut message = MsgHdr {
        name: 0,
        name_length: 0,
        iov: parts.as_ptr() as usize,
        iov_length: 2,
        control: control.as_mut_ptr() as usize,
        control_length: size_of::<Control<N>>(),
        flags: 0,
    };
    let length = kernel::recvmsg(socket, &mut message)?;
    if message.control_length < size_of::<ControlHeader>() {
        return Ok((length, 0));
    }
    // SAFETY: the kernel wrote a header, and `length` in it says how many descriptors follow.
    let header = unsafe { &(*control.as_ptr()).header };
    if header.level != SOL_SOCKET || header.kind != SCM_RIGHTS {
        return Err(PROTOCOL);
    }
    let count = ((header.length - size_of::<ControlHeader>()) / size_of::<Fd>()).min(N);
    for (index, fd) in fds.iter_mut().take(count).enumerate() {
        // SAFETY: the kernel wrote `count` descriptors behind the header; each is in bounds of `fds`.
        *fd = unsafe { (&raw const (*control.as_ptr()).fds).cast::<Fd>().add(index).read() };
    }
    Ok((length, count))
}

/// Receives the plan in one or more datagrams; the first brings the sources.
/// There is one plan: this is called once.
pub(crate) fn receive_plan(socket: Fd, sources: &mut Sources) -> Result<Plan<'static>> {
    let mut head = [0; HEAD];
    let near = NEAR_MEMORY.0.get() as usize;
    let (length, count) = receive_into(socket, &mut head, (near, NEAR), &mut sources.fds)?;
    sources.count = count;
    if length == 0 {
        kernel::exit(1);
    }
    let Some(Message { kind: Kind::Setup, detail, .. }) = Message::decode(&head) else {
        return Err(PROTOCOL);
    };
    let total = detail as usize;
    let mut have = length.saturating_sub(HEAD);
    let mut base = near;
    if total > NEAR {
        base = kernel::map_memory(total)?;
        // SAFETY: `have` bytes were received into the near memory, and the new mapping is longer.
        unsafe { core::ptr::copy_nonoverlapping(near as *const u8, base as *mut u8, have) };
        while have < total {
            let (length, _) = receive_into(socket, &mut head, (base + have, total - have), &mut [Fd(-1)])?;
            match length.saturating_sub(HEAD) {
                0 => return Err(PROTOCOL),
                more => have += more,
            }
        }
    }
    if have != total {
        return Err(PROTOCOL);
    }
    // SAFETY: `total` bytes from `base` were received; nobody writes to the memory any more, and it is never unmapped.
    let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(base as *const u8, total) };
    Plan::decode(bytes).map_err(|_| PROTOCOL)
}

/// A message of the parent.
pub(crate) struct Received {
    pub(crate) kind: Kind,
    pub(crate) detail: u64,
    pub(crate) attached: Option<Fd>,
}

/// Receives a message; an end that is closed, or anything else than a message, is an error.
pub(crate) fn receive(socket: Fd) -> Result<Received> {
    let mut head = [0; HEAD];
    let mut attached = [Fd(-1)];
    let (_, count) = receive_into(socket, &mut head, (0, 0), &mut attached)?;
    let message = Message::decode(&head).ok_or(PROTOCOL)?;
    Ok(Received { kind: message.kind, detail: message.detail, attached: (count == 1).then_some(attached[0]) })
}

/// Receives the filter into memory: the flags and the program. A parent that is gone wants no container any more.
pub(crate) fn receive_filter<'m>(socket: Fd) -> Result<(u32, &'m [u8])> {
    let base = kernel::map_memory(FILTER_MAX)?;
    let mut head = [0; HEAD];
    let (length, _) = receive_into(socket, &mut head, (base, FILTER_MAX), &mut [Fd(-1)])?;
    if length == 0 {
        kernel::exit(1);
    }
    let Some(Message { kind: Kind::Filter, detail, .. }) = Message::decode(&head) else {
        return Err(PROTOCOL);
    };
    // SAFETY: so many bytes from `base` were received; the memory is never unmapped.
    let program = unsafe { core::slice::from_raw_parts(base as *const u8, length.saturating_sub(HEAD)) };
    Ok((detail as u32, program))
}

/// The longest filter: BPF_MAXINSNS instructions.
const FILTER_MAX: usize = 4096 * 8;

/// Waits until the parent has done its part. Its end closes when it dies: then the container is not wanted any more.
/// Returns what it says with it.
pub(crate) fn await_continue(socket: Fd) -> Result<Received> {
    match receive(socket) {
        Ok(received @ Received { kind: Kind::Continue, .. }) => Ok(received),
        Err(failure) if failure.errno != PROTOCOL.errno => Err(failure),
        _ => kernel::exit(1),
    }
}

/// Receives `Sources` in place of those at hand.
pub(crate) fn receive_sources(socket: Fd, sources: &mut Sources) -> Result<()> {
    sources.close();
    let mut head = [0; HEAD];
    let (_, count) = receive_into(socket, &mut head, (0, 0), &mut sources.fds)?;
    sources.count = count;
    match Message::decode(&head) {
        Some(Message { kind: Kind::Sources, .. }) if count > 0 => Ok(()),
        _ => Err(PROTOCOL),
    }
}

/// Sends a message, with a descriptor if there is one.
pub(crate) fn send(socket: Fd, message: &Message<'_>, attached: Option<Fd>) -> Result<()> {
    let mut buffer = [0; MESSAGE_MAX];
    let length = message.encode(&mut buffer);
    let part = IoVec { base: buffer.as_ptr() as usize, length };
    let control = Control {
        header: ControlHeader {
            length: size_of::<ControlHeader>() + size_of::<Fd>(),
            level: SOL_SOCKET,
            kind: SCM_RIGHTS,
        },
        fds: [attached.unwrap_or(Fd(-1)), Fd(0)],
    };
    let header = MsgHdr {
        name: 0,
        name_length: 0,
        iov: &raw const part as usize,
        iov_length: 1,
        control: &raw const control as usize,
        control_length: if attached.is_some() { size_of::<Control<2>>() } else { 0 },
        flags: 0,
    };
    kernel::sendmsg(socket, &header)
}
