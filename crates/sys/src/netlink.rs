//! Network devices over rtnetlink(7): the few requests that moving one to another namespace takes.
//!
//! Deliberately no library: the messages are five, and those crates that know all of them are larger than the rest of the
//! command.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// A conversation with the kernel about one network namespace: that in which the socket was made.
#[derive(Debug)]
pub struct Netlink {
    socket: File,
    sequence: u32,
}

/// A network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: i32,
    /// Whether it is up (`IFF_UP`).
    pub up: bool,
}

/// An address of a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// The attributes that say the address, as they were received.
    attributes: Vec<u8>,
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_ANYCAST: u16 = 5;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_PERMANENT: u32 = 0x80;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const IFF_UP: u32 = 1;
/// The length of `struct nlmsghdr`, `ifaddrmsg`, `rtattr`.
const HEADER: usize = 16;
const ADDRESS: usize = 8;
const ATTRIBUTE: usize = 4;

impl Netlink {
    /// About the caller's namespace.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open() -> nix::Result<Netlink> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        Ok(Netlink::over(socket))
    }

    /// About the namespace in which somebody made this `NETLINK_ROUTE` socket.
    pub fn over(socket: OwnedFd) -> Netlink {
        Netlink { socket: File::from(socket), sequence: 0 }
    }

    /// A descriptor of the namespace.
    ///
    /// # Errors
    /// As ioctl(2) with `SIOCGSKNS`, which asks for `CAP_NET_ADMIN` over the namespace.
    pub fn namespace(&self) -> nix::Result<OwnedFd> {
        const SIOCGSKNS: libc::c_ulong = 0x894c;
        // SAFETY: this ioctl takes no argument, and answers with a new descriptor.
        let fd = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCGSKNS as _) };
        // SAFETY: nobody else has the new descriptor.
        Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The device of a name; `ENODEV`: there is none.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn link(&mut self, name: &str) -> nix::Result<Link> {
        let mut request = Request::link(RTM_GETLINK, 0, 0, 0);
        request.text(IFLA_IFNAME, name);
        let mut found = None;
        self.ask(&request, 0, |body| {
            let number =
                |at: usize| body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
            if let (Some(index), Some(flags)) = (number(4), number(8)) {
                found = Some(Link { index: index as i32, up: flags & IFF_UP != 0 });
            }
        })?;
        found.ok_or(Errno::ENODEV)
    }

    /// Brings a device up or down.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn set_up(&mut self, index: i32, up: bool) -> nix::Result<()> {
        let request = Request::link(RTM_SETLINK, index, if up { IFF_UP } else { 0 }, IFF_UP);
        self.ask(&request, NLM_F_ACK, |_| {})
    }

    /// Moves a device to another namespace and gives it a name there, in one. It loses its addresses, and is down.
    ///
    /// # Errors
    /// As the kernel answers; `EEXIST`: the name is taken, `EINVAL`: a device that cannot be moved.
    pub fn move_link(&mut self, index: i32, namespace: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
        let mut request = Request::link(RTM_SETLINK, index, 0, 0);
        request.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        request.text(IFLA_IFNAME, name);
        self.ask(&request, NLM_F_ACK, |_| {})
    }

    /// The addresses of a device that last (`IFA_F_PERMANENT`) and are of global scope.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn global_addresses(&mut self, index: i32) -> nix::Result<Vec<Address>> {
        let mut addresses = Vec::new();
        let request = Request::address(0, 0, 0);
        let request = Request { kind: RTM_GETADDR, ..request };
        self.ask(&request, NLM_F_DUMP, |body| {
            addresses.extend(Address::read(body, index));
        })?;
        Ok(addresses)
    }

    /// Gives a device an address.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn add_address(&mut self, index: i32, address: &Address) -> nix::Result<()> {
        let mut request = Request::address(address.family, address.prefix, index);
        request.body.extend_from_slice(&address.attributes);
        // It was checked for duplicates when it was given to the device first; what is left of its flags the kernel sets.
        let flags = address.flags & IFA_F_NOPREFIXROUTE | IFA_F_NODAD;
        request.attribute(IFA_FLAGS, &flags.to_ne_bytes());
        self.ask(&request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, |_| {})
    }

    /// Sends a request and hands the body of each answer to `take`, up to the last.
    fn ask(&mut self, request: &Request, flags: u16, mut take: impl FnMut(&[u8])) -> nix::Result<()> {
        self.sequence += 1;
        let sequence = self.sequence;
        let message = request.message(flags | NLM_F_REQUEST, sequence);
        retry(|| self.socket.write(&message))?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let length = retry(|| self.socket.read(&mut buffer))?;
            let mut rest = buffer.get(..length).unwrap_or(&[]);
            while let Some((kind, of, body, after)) = next_message(rest) {
                rest = after;
                // What a request that was given up left behind.
                if of != sequence {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let errno = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
                        return match errno {
                            Some(0) => Ok(()),
                            Some(errno) => Err(Errno::from_raw(errno.saturating_neg())),
                            None => Err(Errno::EBADMSG),
                        };
                    }
                    _ => take(body),
                }
                // Neither an acknowledgement nor an end follows.
                if flags & (NLM_F_ACK | NLM_F_DUMP) == 0 {
                    return Ok(());
                }
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn retry(mut call: impl FnMut() -> std::io::Result<usize>) -> nix::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
            Ok(0) => return Err(Errno::EBADMSG),
            Ok(length) => return Ok(length),
        }
    }
}

struct Request {
    kind: u16,
    body: Vec<u8>,
}

impl Request {
    fn link(kind: u16, index: i32, flags: u32, change: u32) -> Request {
        let mut body = vec![0; 4];
        for field in [index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()] {
            body.extend_from_slice(&field);
        }
        Request { kind, body }
    }

    fn address(family: u8, prefix: u8, index: i32) -> Request {
        let mut body = vec![family, prefix, 0, 0];
        body.extend_from_slice(&index.to_ne_bytes());
        Request { kind: RTM_NEWADDR, body }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (ATTRIBUTE + value.len()) as u16;
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.body.resize(aligned(self.body.len()), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value);
    }

    fn message(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let length = HEADER + self.body.len();
        let mut message = Vec::with_capacity(length);
        message.extend_from_slice(&(length as u32).to_ne_bytes());
        message.extend_from_slice(&self.kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&sequence.to_ne_bytes());
        // The kernel's port.
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&self.body);
        message
    }
}

impl Address {
    /// From the body of an `RTM_NEWADDR`, if it is one of this device that is kept.
    fn read(body: &[u8], wanted: i32) -> Option<Address> {
        let [family, prefix, flags, scope, index @ ..] = body.get(..ADDRESS)? else { return None };
        const RT_SCOPE_UNIVERSE: u8 = 0;
        let index = i32::from_ne_bytes(index.try_into().ok()?);
        let mut address = Address { family: *family, prefix: *prefix, flags: (*flags).into(), attributes: Vec::new() };
        let mut rest = body.get(ADDRESS..)?;
        while let Some((kind, value, after)) = next_attribute(rest) {
            match kind {
                IFA_FLAGS => address.flags = u32::from_ne_bytes(value.try_into().ok()?),
                // Not the label, which has the device's old name in it.
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_ANYCAST | IFA_RT_PRIORITY => {
                    address.attributes.extend_from_slice(rest.get(..aligned(ATTRIBUTE + value.len()))?);
                }
                _ => {}
            }
            rest = after;
        }
        let kept = index == wanted && *scope == RT_SCOPE_UNIVERSE && address.flags & IFA_F_PERMANENT != 0;
        kept.then_some(address)
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The type of the first message, the request that it answers, its body, and what follows it.
fn next_message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, sequence, body, bytes.get(aligned(length)..).unwrap_or(&[])))
}

fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let value = bytes.get(ATTRIBUTE..length)?;
    Some((kind, value, bytes.get(aligned(length)..).unwrap_or(&[])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of `struct ifinfomsg`.
    const LINK: usize = 16;

    #[test]
    fn the_loopback_is_a_link_and_has_no_global_address_but_its_own() {
        let mut netlink = Netlink::open().unwrap();
        let loopback = netlink.link("lo").unwrap();
        assert_eq!(loopback.index, 1);
        // 127.0.0.1 is of the scope of the host.
        let addresses = netlink.global_addresses(loopback.index).unwrap();
        assert!(addresses.iter().all(|address| !address.attributes.windows(4).any(|part| part == [127, 0, 0, 1])));
        // The conversation goes on after an error.
        assert_eq!(netlink.link("no-such-device"), Err(Errno::ENODEV));
        assert_eq!(netlink.link("lo").unwrap(), loopback);
    }

    #[test]
    fn messages_are_as_the_kernel_has_them() {
        let mut request = Request::link(RTM_SETLINK, 7, 0, 0);
        request.text(IFLA_IFNAME, "e0");
        let message = request.message(NLM_F_REQUEST, 9);
        assert_eq!(message.len(), HEADER + LINK + 8);
        let (kind, sequence, body, rest) = next_message(&message).unwrap();
        assert_eq!((kind, sequence, rest.len()), (RTM_SETLINK, 9, 0));
        assert_eq!(next_attribute(&body[LINK..]), Some((IFLA_IFNAME, b"e0\0" as &[u8], &[] as &[u8])));
        for length in 0..message.len() {
            assert!(next_message(&message[..length]).is_none(), "{length}");
        }
    }
}
