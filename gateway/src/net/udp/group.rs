//! Multicast groups of a UDP port.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use mio::net::UdpSocket;
use socket2::{InterfaceIndexOrAddress, SockRef, Socket};

use super::receive::{Origin, group_address, is_link_local};
use super::{Endpoint, LocalAddr, SERVICE, UdpPort, hear_joined_groups_only, open};
use crate::net::sys;

/// Groups of one port at most: each may cost a socket, and nobody is known to use more than two.
const GROUPS_MAX: usize = 16;

/// A group that a port shall listen to: `GROUP[%INTERFACE][:PORT]`, with brackets around an IPv6
/// group if a port follows: `225.1.1.1`, `225.1.1.1%eth0:1885`, `ff1e::1`, `[ff12::1%eth0]:1885`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRequest {
    /// The group.
    pub group: IpAddr,
    /// Name of the interface. Without one it is the interface of the address that the port is bound
    /// to, and on a port that is bound to all addresses the one that the routes give for the group.
    pub interface: Option<String>,
    /// The port of the group, if it is another than that of the service.
    pub port: Option<u16>,
}

/// A group that a port listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Where a datagram for the group goes.
    pub address: SocketAddr,
    /// The interface it leaves through, for [`TransmitBatch::push`](super::TransmitBatch::push).
    pub from: LocalAddr,
}

/// Why a group could not be joined. The port serves without it.
#[derive(Debug)]
pub enum JoinError {
    /// The address is no multicast address.
    NotMulticast,
    /// An IPv4 group on an IPv6 port, or the reverse.
    WrongFamily,
    /// An IPv6 group of link-local scope exists once per interface, and none is named.
    NoInterface,
    /// There is no interface of this name.
    UnknownInterface(String),
    /// The port has as many groups as it may have.
    TooMany(usize),
    /// The kernel refused.
    Refused(io::Error),
}

/// Why a text is no [`GroupRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseGroupError {
    /// Not an IP address.
    Address,
    /// An address, but not of a multicast group.
    NotMulticast,
    /// An empty name after `%`.
    Interface,
    /// Not a number from 1 to 65535.
    Port,
}

impl UdpPort {
    /// Joins a multicast group; joining one twice changes nothing. To be called before the port is
    /// registered.
    ///
    /// On a port bound to one address, or when the group has a port of its own, this opens a socket
    /// bound to the group's address: all that arrives there is reported by
    /// [`receive`](Self::receive) like the rest, and answers leave from the service socket.
    ///
    /// # Errors
    /// The group is not joined, and the port works as before: start anyway, and say what is off.
    pub fn join(&mut self, request: &GroupRequest) -> Result<Group, JoinError> {
        let ip = request.group;
        if !ip.is_multicast() {
            return Err(JoinError::NotMulticast);
        }
        if ip.is_ipv6() != self.address.is_ipv6() {
            return Err(JoinError::WrongFamily);
        }
        let bound = self.endpoints[SERVICE].origin.bound;
        let interface = match &request.interface {
            Some(name) => {
                sys::interface_index(name).map_err(|_| JoinError::UnknownInterface(name.clone()))?
            }
            None if bound.interface != 0 => bound.interface,
            None => interface_of(bound.ip),
        };
        if is_link_local(ip) && interface == 0 {
            return Err(JoinError::NoInterface);
        }
        let address =
            group_address(ip, request.port.unwrap_or_else(|| self.address.port()), interface);
        let group = Group { address, from: LocalAddr { interface, ..bound } };
        if self.groups.contains(&group) {
            return Ok(group);
        }
        if self.groups.len() == GROUPS_MAX {
            return Err(JoinError::TooMany(GROUPS_MAX));
        }
        self.join_through(&group).map_err(JoinError::Refused)?;
        self.groups.push(group);
        Ok(group)
    }

    /// Joins on the socket that hears the group, which may have to be opened.
    fn join_through(&mut self, group: &Group) -> io::Result<()> {
        let service = &self.endpoints[SERVICE];
        let heard_by_service =
            service.origin.bound.ip.is_none() && group.address.port() == self.address.port();
        if heard_by_service {
            return enter(SockRef::from(&service.socket), group);
        }
        if let (SocketAddr::V4(_), Some(IpAddr::V4(ip))) = (group.address, group.from.ip) {
            // Without an interface in `group.from`, what is sent to the group leaves where the
            // address lives.
            SockRef::from(&service.socket).set_multicast_if_v4(&ip)?;
        }
        if let Some(endpoint) =
            self.endpoints[SERVICE + 1..].iter().find(|endpoint| endpoint.address == group.address)
        {
            return enter(SockRef::from(&endpoint.socket), group);
        }
        let socket = self.open_group_socket(group)?;
        enter(SockRef::from(&socket), group)?;
        let origin =
            Origin { bound: self.endpoints[SERVICE].origin.bound, port: group.address.port() };
        let socket = UdpSocket::from_std(socket.into());
        self.endpoints.push(Endpoint { socket, origin, address: group.address, ready: true });
        Ok(())
    }

    fn open_group_socket(&self, group: &Group) -> io::Result<Socket> {
        let socket = open(group.address)?;
        socket.set_reuse_address(true)?;
        socket.set_recv_buffer_size(self.options.receive_buffer_bytes)?;
        hear_joined_groups_only(&socket, group.address)?;
        socket.bind(&group.address.into())?;
        Ok(socket)
    }
}

/// Makes the kernel deliver the group to this socket.
fn enter(socket: SockRef<'_>, group: &Group) -> io::Result<()> {
    match (group.address.ip(), group.from) {
        (IpAddr::V4(ip), LocalAddr { ip: Some(IpAddr::V4(own)), interface: 0 }) => {
            socket.join_multicast_v4(&ip, &own)
        }
        (IpAddr::V4(ip), LocalAddr { interface, .. }) => {
            socket.join_multicast_v4_n(&ip, &InterfaceIndexOrAddress::Index(interface))
        }
        (IpAddr::V6(ip), LocalAddr { interface, .. }) => socket.join_multicast_v6(&ip, interface),
    }
}

/// The interface that has this address; 0 if that is unknown, and for IPv4, where the kernel takes
/// the address itself.
fn interface_of(ip: Option<IpAddr>) -> u32 {
    let Some(IpAddr::V6(ip)) = ip else { return 0 };
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table.lines().find_map(|line| index_if(line, ip)).unwrap_or(0)
}

/// The interface of a line of that table: 32 hexadecimal digits of address, then the index, also
/// hexadecimal.
fn index_if(line: &str, ip: Ipv6Addr) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let index = u32::from_str_radix(fields.next()?, 16).ok()?;
    (address == u128::from(ip)).then_some(index)
}

impl FromStr for GroupRequest {
    type Err = ParseGroupError;

    fn from_str(text: &str) -> Result<Self, ParseGroupError> {
        let (address, port) = split_port(text)?;
        let (ip, interface) = match address.split_once('%') {
            Some((_, "")) => return Err(ParseGroupError::Interface),
            Some((ip, interface)) => (ip, Some(interface.to_owned())),
            None => (address, None),
        };
        let group: IpAddr = ip.parse().map_err(|_| ParseGroupError::Address)?;
        if !group.is_multicast() {
            return Err(ParseGroupError::NotMulticast);
        }
        Ok(Self { group, interface, port })
    }
}

/// The text before the port, without brackets, and the port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), ParseGroupError> {
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, tail) = rest.split_once(']').ok_or(ParseGroupError::Address)?;
        match tail.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None if tail.is_empty() => (address, None),
            None => return Err(ParseGroupError::Address),
        }
    } else {
        match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, Some(port)),
            Some(_) | None => (text, None),
        }
    };
    match port.map(str::parse::<u16>) {
        None => Ok((address, None)),
        Some(Ok(port)) if port > 0 => Ok((address, Some(port))),
        Some(_) => Err(ParseGroupError::Port),
    }
}

impl fmt::Display for GroupRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.port.is_some() && self.group.is_ipv6();
        f.write_str(if brackets { "[" } else { "" })?;
        write!(f, "{}", self.group)?;
        if let Some(interface) = &self.interface {
            write!(f, "%{interface}")?;
        }
        f.write_str(if brackets { "]" } else { "" })?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMulticast => f.write_str("not the address of a multicast group"),
            Self::WrongFamily => f.write_str("the group and the port are not of one IP version"),
            Self::NoInterface => {
                f.write_str("a group of this scope needs an interface, as in ff02::1%eth0")
            }
            Self::UnknownInterface(name) => write!(f, "there is no network interface {name}"),
            Self::TooMany(max) => write!(f, "the port has {max} groups already"),
            Self::Refused(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::NotMulticast
            | Self::WrongFamily
            | Self::NoInterface
            | Self::UnknownInterface(_)
            | Self::TooMany(_) => None,
        }
    }
}

impl fmt::Display for ParseGroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not GROUP[%INTERFACE][:PORT], as in 225.1.1.1 or [ff12::1%eth0]:1883",
            Self::NotMulticast => {
                "not a multicast group: those are 224.0.0.0 to 239.255.255.255, and ff00::/8"
            }
            Self::Interface => "the name of the interface after % is missing",
            Self::Port => "the port of a group is a number from 1 to 65535",
        })
    }
}

impl std::error::Error for ParseGroupError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, group: &str, interface: Option<&str>, port: Option<u16>) {
        let request: GroupRequest = text.parse().unwrap();
        let expect = GroupRequest {
            group: group.parse().unwrap(),
            interface: interface.map(str::to_owned),
            port,
        };
        assert_eq!(request, expect);
        assert_eq!(request.to_string(), text);
    }

    #[test]
    fn groups_are_read_with_interface_and_port() {
        check("225.1.1.1", "225.1.1.1", None, None);
        check("225.1.1.1:1885", "225.1.1.1", None, Some(1885));
        check("225.1.1.1%eth0", "225.1.1.1", Some("eth0"), None);
        check("225.1.1.1%eth0:1885", "225.1.1.1", Some("eth0"), Some(1885));
        check("ff1e:feed:caca:dead::1", "ff1e:feed:caca:dead::1", None, None);
        check("ff12::1%wlan0", "ff12::1", Some("wlan0"), None);
        check("[ff12::1%wlan0]:1885", "ff12::1", Some("wlan0"), Some(1885));
    }

    #[track_caller]
    fn check_refused(text: &str, error: ParseGroupError) {
        assert_eq!(text.parse::<GroupRequest>(), Err(error), "{text}");
    }

    #[test]
    fn what_is_no_group_is_refused_with_the_reason() {
        check_refused("", ParseGroupError::Address);
        check_refused("eth0", ParseGroupError::Address);
        check_refused("[ff12::1", ParseGroupError::Address);
        check_refused("[ff12::1]1885", ParseGroupError::Address);
        check_refused("192.0.2.1", ParseGroupError::NotMulticast);
        check_refused("fe80::1%eth0", ParseGroupError::NotMulticast);
        check_refused("225.1.1.1%", ParseGroupError::Interface);
        check_refused("225.1.1.1:0", ParseGroupError::Port);
        check_refused("225.1.1.1:65536", ParseGroupError::Port);
        check_refused("[ff12::1]:", ParseGroupError::Port);
    }

    #[test]
    fn the_interface_of_an_address_is_read_from_the_table() {
        let line = "fe8000000000000000fc00fffe000001 0b 40 20 80     eth0";
        assert_eq!(index_if(line, "fe80::fc:ff:fe00:1".parse().unwrap()), Some(11));
        assert_eq!(index_if(line, "fe80::fc:ff:fe00:2".parse().unwrap()), None);
        assert_eq!(index_if("", "fe80::1".parse().unwrap()), None);
    }
}
