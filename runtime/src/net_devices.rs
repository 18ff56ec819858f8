//! Network devices that move from the caller's namespace into the container's, `linux.netDevices`.
//!
//! config-linux.md, "Network Devices": a device keeps its addresses that last and are of global scope, gets the name that it is to
//! have in the same request that moves it, and is up. What is in a namespace that ends goes its own way: the kernel
//! takes hardware back to the first namespace, and removes what is virtual.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use no_frills_sys::netlink::{Address, Netlink};

use crate::config::NetDevice;
use crate::error::{Error, Result};

/// The devices of a container in the making.
pub(crate) struct NetDevices {
    host: Netlink,
    container: Netlink,
    moved: Vec<Moved>,
}

struct Moved {
    /// Its name on the host.
    host: String,
    /// Its name in the container.
    now: String,
    addresses: Vec<Address>,
    /// Whether it was up on the host.
    up: bool,
}

impl NetDevices {
    /// Moves devices to the namespace in which init made `socket`.
    pub(crate) fn new(socket: OwnedFd) -> Result<NetDevices> {
        let host = Netlink::open().map_err(failed("opening a netlink socket"))?;
        Ok(NetDevices { host, container: Netlink::over(socket), moved: Vec::new() })
    }

    pub(crate) fn move_all(&mut self, devices: &[NetDevice]) -> Result<()> {
        let namespace = self.container.namespace().map_err(failed("finding the container's network namespace"))?;
        let own = self.host.namespace().map_err(failed("finding the network namespace"))?;
        let (namespace, own) = (File::from(namespace), File::from(own));
        if is_same(&namespace, &own)? {
            let message = "needs a namespace of type \"network\" that is not the host's";
            return Err(Error::Config(crate::config::ConfigError::new(POINTER, message)));
        }
        for device in devices {
            let NetDevice { host: name, .. } = device;
            let failed = |action: &str| at(name, format!("{action} {name:?}"));
            let link = self.host.link(name).map_err(failed("finding the network device"))?;
            let addresses = self
                .host
                .global_addresses(link.index)
                .map_err(failed("reading the addresses of the network device"))?;
            let moving = format!("moving the network device {name:?} into the container as {:?}", device.name);
            let moved = self.host.move_link(link.index, namespace.as_fd(), &device.name);
            let now = match moved {
                Ok(()) => Some(&device.name),
                // It may have been moved all the same: the kernel gives it its name when it is there already.
                Err(_) if self.host.link(name) == Err(Errno::ENODEV) => Some(name),
                Err(_) => None,
            };
            if let Some(now) = now {
                self.moved.push(Moved { host: name.clone(), now: now.clone(), addresses, up: link.up });
            }
            moved.map_err(at(name, moving))?;
            if let Some(Moved { addresses, .. }) = self.moved.last() {
                settle(&mut self.container, &device.name, addresses, true)
                    .map_err(failed("setting up the network device"))?;
            }
        }
        Ok(())
    }

    /// Gives back what was moved, for a container that does not come to be: its namespace may be one that others
    /// have too, or would take the device with it.
    pub(crate) fn move_back(mut self) -> Result<()> {
        if self.moved.is_empty() {
            return Ok(());
        }
        let own = self.host.namespace().map_err(failed("finding the network namespace"))?;
        let mut outcome = Ok(());
        for Moved { host: name, now, addresses, up } in &self.moved {
            let mut back = || {
                let link = self.container.link(now)?;
                self.container.move_link(link.index, own.as_fd(), name)?;
                settle(&mut self.host, name, addresses, *up)
            };
            let result = back().map_err(at(name, format!("moving the network device {name:?} back")));
            outcome = outcome.and(result);
        }
        outcome
    }
}

fn settle(netlink: &mut Netlink, name: &str, addresses: &[Address], up: bool) -> nix::Result<()> {
    let index = netlink.link(name)?.index;
    for address in addresses {
        netlink.add_address(index, address)?;
    }
    if up { netlink.set_up(index, true) } else { Ok(()) }
}

fn is_same(left: &File, right: &File) -> Result<bool> {
    let key = |file: &File| file.metadata().map(|file| (file.dev(), file.ino()));
    let left = key(left).map_err(Error::system("comparing network namespaces"))?;
    Ok(left == key(right).map_err(Error::system("comparing network namespaces"))?)
}

const POINTER: &str = "/linux/netDevices";

fn failed(action: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::System { pointer: POINTER.to_owned(), action: action.to_owned(), errno }
}

/// What failed with one device.
fn at(name: &str, action: String) -> impl FnOnce(Errno) -> Error {
    let pointer = format!("{POINTER}/{name}");
    move |errno| Error::System { pointer, action, errno }
}
