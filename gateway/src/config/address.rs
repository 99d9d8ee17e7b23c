//! Addresses: where a listener is bound, which groups it joins, which networks are trusted.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::setting::{Mistake, Word, clip};
use crate::sn::Network;

/// Where the kernel tells the index of an interface by its name.
const INTERFACES: &str = "/sys/class/net";

/// An address to bind, as it was typed: `IP:PORT`, `[IP%INTERFACE]:PORT`, `localhost:PORT` or
/// `PORT`. The last two stand for the loopback addresses of both families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BindAddress {
    text: String,
    pub(super) sockets: Vec<Socket>,
}

/// One address to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) address: SocketAddr,
    /// Nobody asked for this very address, so it may be left out where it does not exist.
    pub(super) optional: bool,
}

impl BindAddress {
    /// The loopback addresses; IPv6 is left out where the host has none.
    pub(super) fn loopback(port: u16) -> Self {
        let socket = |ip, optional| Socket { address: SocketAddr::new(ip, port), optional };
        let sockets = vec![
            socket(Ipv4Addr::LOCALHOST.into(), false),
            socket(Ipv6Addr::LOCALHOST.into(), true),
        ];
        Self { text: format!("localhost:{port}"), sockets }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Word for BindAddress {
    fn expected() -> String {
        "\"IP:PORT\", \"[IPV6%INTERFACE]:PORT\", \"localhost:PORT\" or \"PORT\"".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let (host, port) = split_port(text)?;
        let Some(host) = host else {
            return Ok(Self { text: text.into(), ..Self::loopback(port) });
        };
        let mut address = parse_host(host, port)?;
        if address.ip().is_multicast() {
            return Err(Mistake::new(
                format!("{} is a multicast group", address.ip()),
                "bind an address of this machine and name the group under multicast",
            ));
        }
        // An IPv4 address in IPv6 clothes is the IPv4 address, for binding and for loopback alike.
        address.set_ip(address.ip().to_canonical());
        let sockets = vec![Socket { address, optional: false }];
        Ok(Self { text: text.into(), sockets })
    }
}

/// Splits off the port. No host stands for loopback.
fn split_port(text: &str) -> Result<(Option<&str>, u16), Mistake> {
    let (host, port) = match text.rsplit_once(':') {
        _ if text.parse::<IpAddr>().is_ok() || text.ends_with(']') => (Some(text), None),
        Some((host, port)) => (Some(host), Some(port)),
        None if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => (None, Some(text)),
        None => (Some(text), None),
    };
    let Some(port) = port else {
        let right = match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("write \"[{text}]:1883\""),
            Ok(IpAddr::V4(_)) => format!("write \"{text}:1883\""),
            Err(_) if text == "localhost" || text.ends_with(']') => {
                format!("write \"{}:1883\"", clip(text))
            }
            Err(_) => format!("write {}", BindAddress::expected()),
        };
        return Err(Mistake::new(format!("\"{}\" has no port", clip(text)), right));
    };
    let number = Some(port)
        .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| {
            Mistake::new(
                format!("\"{}\" is not a port", clip(port)),
                "write a number from 0 to 65535; with 0 the system chooses a free port",
            )
        })?;
    Ok((host.filter(|host| *host != "localhost"), number))
}

fn parse_host(host: &str, port: u16) -> Result<SocketAddr, Mistake> {
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(SocketAddr::new(ip.into(), port));
    }
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (ip, interface) = split_interface(inner.unwrap_or(host));
    let Ok(ip) = ip.parse::<Ipv6Addr>() else {
        return Err(not_an_address(host, port));
    };
    if inner.is_none() {
        return Err(Mistake::new(
            format!("the IPv6 address {} stands without brackets", clip(host)),
            format!("write \"[{}]:{port}\"", clip(host)),
        ));
    }
    let scope = interface.map(interface_index).transpose()?.unwrap_or(0);
    if ip.is_unicast_link_local() && scope == 0 {
        return Err(Mistake::new(
            format!("the link-local address {ip} needs its interface"),
            format!("write \"[{ip}%INTERFACE]:{port}\"; {}", interfaces_here()),
        ));
    }
    Ok(SocketAddrV6::new(ip, port, 0, scope).into())
}

fn not_an_address(host: &str, port: u16) -> Mistake {
    let right = match host {
        "" | "*" | "+" => format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\" for every address"),
        _ => format!("write an IP address (names are not looked up), such as \"127.0.0.1:{port}\""),
    };
    Mistake::new(format!("\"{}\" is not an IP address", clip(host)), right)
}

/// `IP%INTERFACE` in two.
fn split_interface(text: &str) -> (&str, Option<&str>) {
    text.split_once('%').map_or((text, None), |(ip, interface)| (ip, Some(interface)))
}

/// The index of an interface that is given by name or number.
fn interface_index(name: &str) -> Result<u32, Mistake> {
    if let Ok(index @ 1..) = name.parse::<u32>() {
        return Ok(index);
    }
    // Only a name can stand behind the folder, never a path that leaves it.
    let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    plain
        .then(|| fs::read_to_string(format!("{INTERFACES}/{name}/ifindex")).ok())
        .flatten()
        .and_then(|index| index.trim().parse().ok())
        .ok_or_else(|| {
            Mistake::new(
                format!("there is no network interface \"{}\" here", clip(name)),
                interfaces_here(),
            )
        })
}

/// The names of the interfaces, in words.
fn interfaces_here() -> String {
    let mut names: Vec<String> = fs::read_dir(INTERFACES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    match names.as_slice() {
        [] => "name it by its number".into(),
        names => format!("the interfaces here are {}", names.join(", ")),
    }
}

/// A multicast group to join, and on which interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The address of the group.
    pub address: IpAddr,
    /// The index of the interface; without it that of the listener's address, or the system's
    /// choice.
    pub interface: Option<u32>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.interface.map_or(Ok(()), |interface| write!(f, "%{interface}"))
    }
}

impl Word for Group {
    fn expected() -> String {
        "\"GROUP\" or \"GROUP%INTERFACE\"".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let (ip, interface) = split_interface(text);
        match ip.parse::<IpAddr>() {
            Ok(address) if address.is_multicast() => {
                Ok(Self { address, interface: interface.map(interface_index).transpose()? })
            }
            _ => Err(Mistake::new(
                format!("\"{}\" is not a multicast group", clip(text)),
                "write an address from 224.0.0.0 to 239.255.255.255 or one that begins with ff, \
                 without a port",
            )),
        }
    }
}

/// The address with every bit behind the prefix cleared.
fn first(network: &Network) -> IpAddr {
    let prefix_len = u32::from(network.prefix_len);
    match network.address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - prefix_len).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - prefix_len).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl Word for Network {
    fn expected() -> String {
        "\"IP\" or \"IP/PREFIX\"".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, p)| (ip, Some(p)));
        let address = ip.parse::<IpAddr>().map_err(|_| {
            let right = if ip.parse::<SocketAddr>().is_ok() {
                "leave the port out: a forwarder is known by its IP address"
            } else {
                "write an address such as \"192.168.1.20\" or a network such as \"192.168.1.0/24\""
            };
            Mistake::new(format!("\"{}\" is not an IP address", clip(ip)), right)
        })?;
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .map_or(Some(bits), |prefix| prefix.parse().ok().filter(|prefix: &u8| *prefix <= bits));
        let Some(prefix_len) = prefix else {
            return Err(Mistake::new(
                format!("\"{}\" has no such prefix", clip(text)),
                format!("write a prefix from 0 to {bits} behind the /"),
            ));
        };
        let network = Self { address, prefix_len };
        let first = first(&network);
        if first != address {
            return Err(Mistake::new(
                format!("{network} names one address and a network at once"),
                format!("write \"{first}/{prefix_len}\" for the network or \"{address}\" alone"),
            ));
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: Word + fmt::Debug>(text: &str) -> String {
        let Mistake { what, right } = T::parse(text).expect_err(text);
        format!("{what} | {right}")
    }

    #[test]
    fn an_address_to_bind_is_read_in_every_form() {
        let check = |text: &str, expect: &[&str]| {
            let bind = BindAddress::parse(text).unwrap_or_else(|m| panic!("{text}: {}", m.what));
            let sockets: Vec<String> =
                bind.sockets.iter().map(|socket| socket.address.to_string()).collect();
            assert_eq!(sockets, expect, "{text}");
            assert_eq!(bind.to_string(), text);
        };
        check("127.0.0.1:1883", &["127.0.0.1:1883"]);
        check("0.0.0.0:0", &["0.0.0.0:0"]);
        check("[::1]:65535", &["[::1]:65535"]);
        check("[fe80::1%7]:1883", &["[fe80::1%7]:1883"]);
        check("1883", &["127.0.0.1:1883", "[::1]:1883"]);
        check("0", &["127.0.0.1:0", "[::1]:0"]);
        check("localhost:1884", &["127.0.0.1:1884", "[::1]:1884"]);
        check("[::ffff:127.0.0.1]:1883", &["127.0.0.1:1883"]);
    }

    #[test]
    fn only_the_ipv6_half_of_loopback_may_be_left_out() {
        let check = |text: &str, expect: &[bool]| {
            let sockets = BindAddress::parse(text).expect(text).sockets;
            let optional: Vec<bool> = sockets.iter().map(|socket| socket.optional).collect();
            assert_eq!(optional, expect, "{text}");
        };
        check("1883", &[false, true]);
        check("localhost:1883", &[false, true]);
        check("[::1]:1883", &[false]);
    }

    #[test]
    fn an_interface_is_found_by_its_name() {
        let SocketAddr::V6(lo) =
            BindAddress::parse("[::1%lo]:1883").expect("lo").sockets[0].address
        else {
            panic!("an IPv6 address")
        };
        assert_ne!(lo.scope_id(), 0);
        let refused = refused::<BindAddress>("[fe80::1%no-such-interface]:1883");
        let (what, right) = refused.split_once(" | ").expect("two parts");
        assert_eq!(what, "there is no network interface \"no-such-interface\" here");
        assert!(right.starts_with("the interfaces here are ") && right.contains("lo"), "{right}");
        for path in ["../lo", "a/b", "", "."] {
            assert!(interface_index(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_wrong_address_to_bind_is_told_with_the_right_one() {
        let check =
            |text: &str, expect: &str| assert_eq!(refused::<BindAddress>(text), expect, "{text}");
        check("127.0.0.1", "\"127.0.0.1\" has no port | write \"127.0.0.1:1883\"");
        check("::1", "\"::1\" has no port | write \"[::1]:1883\"");
        check("[::1]", "\"[::1]\" has no port | write \"[::1]:1883\"");
        check("localhost", "\"localhost\" has no port | write \"localhost:1883\"");
        for text in ["", "eth0"] {
            check(
                text,
                &format!(
                    "\"{text}\" has no port | write \"IP:PORT\", \"[IPV6%INTERFACE]:PORT\", \
                     \"localhost:PORT\" or \"PORT\""
                ),
            );
        }
        for port in ["65536", "-1", "+5", "mqtt", ""] {
            check(
                &format!("127.0.0.1:{port}"),
                &format!(
                    "\"{port}\" is not a port | write a number from 0 to 65535; with 0 the system \
                     chooses a free port"
                ),
            );
        }
        check(
            "fe80::1%7:1883",
            "the IPv6 address fe80::1%7 stands without brackets | write \"[fe80::1%7]:1883\"",
        );
        check(
            "*:1883",
            "\"*\" is not an IP address | write \"0.0.0.0:1883\" or \"[::]:1883\" for every address",
        );
        check(
            "example.org:1883",
            "\"example.org\" is not an IP address | write an IP address (names are not looked \
             up), such as \"127.0.0.1:1883\"",
        );
        check(
            "225.1.1.1:1883",
            "225.1.1.1 is a multicast group | bind an address of this machine and name the group \
             under multicast",
        );
        let link_local = refused::<BindAddress>("[fe80::1]:1883");
        assert!(
            link_local.starts_with(
                "the link-local address fe80::1 needs its interface | write \
                 \"[fe80::1%INTERFACE]:1883\"; "
            ),
            "{link_local}"
        );
    }

    #[test]
    fn a_group_is_a_multicast_address_with_or_without_interface() {
        let check = |text: &str, address: &str, interface| {
            let address = address.parse().expect("an address");
            assert_eq!(Group::parse(text), Ok(Group { address, interface }), "{text}");
        };
        check("225.1.1.1", "225.1.1.1", None);
        check("225.1.1.1%3", "225.1.1.1", Some(3));
        check("ff02::1%2", "ff02::1", Some(2));
        check("ff1e:feed:caca:dead::1", "ff1e:feed:caca:dead::1", None);
        for text in ["192.168.1.1", "225.1.1.1:1883", "group", "", "::1"] {
            assert_eq!(
                refused::<Group>(text),
                format!(
                    "\"{text}\" is not a multicast group | write an address from 224.0.0.0 to \
                     239.255.255.255 or one that begins with ff, without a port"
                )
            );
        }
    }

    #[test]
    fn a_network_contains_what_its_prefix_says() {
        let check = |network: &str, address: &str, expect| {
            let network = Network::parse(network).expect(network);
            assert_eq!(network.contains(address.parse().expect(address)), expect, "{network}");
        };
        check("192.168.1.20", "192.168.1.20", true);
        check("192.168.1.20", "192.168.1.21", false);
        check("192.168.1.0/24", "192.168.1.255", true);
        check("192.168.1.0/24", "192.168.2.0", false);
        check("192.168.1.0/24", "::ffff:192.168.1.7", true);
        check("0.0.0.0/0", "8.8.8.8", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("fd00:1::/32", "fd00:1:2::3", true);
        check("fd00:1::/32", "fd00:2::3", false);
    }

    #[test]
    fn a_wrong_network_is_told_with_the_right_one() {
        let check = |text, expect| assert_eq!(refused::<Network>(text), expect, "{text}");
        check(
            "192.168.1.20/24",
            "192.168.1.20/24 names one address and a network at once | write \"192.168.1.0/24\" \
             for the network or \"192.168.1.20\" alone",
        );
        check(
            "192.168.1.0/33",
            "\"192.168.1.0/33\" has no such prefix | write a prefix from 0 to 32 behind the /",
        );
        check(
            "::/129",
            "\"::/129\" has no such prefix | write a prefix from 0 to 128 behind the /",
        );
        check(
            "192.168.1.20:1883",
            "\"192.168.1.20:1883\" is not an IP address | leave the port out: a forwarder is known \
             by its IP address",
        );
        check(
            "edge",
            "\"edge\" is not an IP address | write an address such as \"192.168.1.20\" or a \
             network such as \"192.168.1.0/24\"",
        );
    }
}
