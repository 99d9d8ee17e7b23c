//! Socket addresses and packet information as the kernel lays them out, read and written in safe
//! code.
//!
//! The layouts are the kernel's own, fixed for every C library; offsets come from the libc
//! structures.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::LocalAddr;
use crate::net::sys::{Control, Name};

/// Length, level and type stand before the data of a control message.
const CONTROL_HEADER: usize = align(size_of::<usize>() + 2 * size_of::<i32>());

/// What the kernel says about the way a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketInfo {
    /// The address the sender wrote: one of ours, a multicast group or a broadcast address.
    pub(super) asked: IpAddr,
    /// The address of ours that an answer may leave from, if the kernel names one.
    pub(super) own: Option<IpAddr>,
    /// Index of the interface the datagram came in on.
    pub(super) interface: u32,
}

/// The sender of a datagram; `None` for what is no internet address.
///
/// The flow label is left out: it would make two addresses of one peer.
pub(super) fn decode_name(name: &[u8]) -> Option<SocketAddr> {
    let family = libc::c_int::from(u16::from_ne_bytes(field(name, 0)?));
    if family == libc::AF_INET {
        let port = u16::from_be_bytes(field(name, offset_of!(libc::sockaddr_in, sin_port))?);
        let ip: [u8; 4] = field(name, offset_of!(libc::sockaddr_in, sin_addr))?;
        return Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(ip), port)));
    }
    if family == libc::AF_INET6 {
        let port = u16::from_be_bytes(field(name, offset_of!(libc::sockaddr_in6, sin6_port))?);
        let ip: [u8; 16] = field(name, offset_of!(libc::sockaddr_in6, sin6_addr))?;
        let scope = u32::from_ne_bytes(field(name, offset_of!(libc::sockaddr_in6, sin6_scope_id))?);
        return Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope)));
    }
    None
}

/// The address for the kernel, and its length in octets.
pub(super) fn encode_name(address: SocketAddr) -> (Name, usize) {
    let mut name = Name::default();
    let octets = &mut name.0;
    match address {
        SocketAddr::V4(address) => {
            put(octets, 0, (libc::AF_INET as libc::sa_family_t).to_ne_bytes());
            put(octets, offset_of!(libc::sockaddr_in, sin_port), address.port().to_be_bytes());
            put(octets, offset_of!(libc::sockaddr_in, sin_addr), address.ip().octets());
            (name, size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            let scope = address.scope_id().to_ne_bytes();
            put(octets, 0, (libc::AF_INET6 as libc::sa_family_t).to_ne_bytes());
            put(octets, offset_of!(libc::sockaddr_in6, sin6_port), address.port().to_be_bytes());
            put(octets, offset_of!(libc::sockaddr_in6, sin6_addr), address.ip().octets());
            put(octets, offset_of!(libc::sockaddr_in6, sin6_scope_id), scope);
            (name, size_of::<libc::sockaddr_in6>())
        }
    }
}

/// The packet information among the control messages of a datagram.
pub(super) fn decode_packet_info(mut control: &[u8]) -> Option<PacketInfo> {
    loop {
        let len = usize::from_ne_bytes(field(control, 0)?);
        let level = i32::from_ne_bytes(field(control, size_of::<usize>())?);
        let kind = i32::from_ne_bytes(field(control, size_of::<usize>() + size_of::<i32>())?);
        let data = control.get(CONTROL_HEADER..len)?;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => return decode_v4(data),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => return decode_v6(data),
            (_, _) => control = control.get(align(len)..)?,
        }
    }
}

fn decode_v4(data: &[u8]) -> Option<PacketInfo> {
    let index = i32::from_ne_bytes(field(data, offset_of!(libc::in_pktinfo, ipi_ifindex))?);
    let own: [u8; 4] = field(data, offset_of!(libc::in_pktinfo, ipi_spec_dst))?;
    let asked: [u8; 4] = field(data, offset_of!(libc::in_pktinfo, ipi_addr))?;
    let own = Ipv4Addr::from(own);
    Some(PacketInfo {
        asked: IpAddr::V4(asked.into()),
        own: (!own.is_unspecified()).then_some(IpAddr::V4(own)),
        interface: u32::try_from(index).unwrap_or(0),
    })
}

fn decode_v6(data: &[u8]) -> Option<PacketInfo> {
    let index = u32::from_ne_bytes(field(data, offset_of!(libc::in6_pktinfo, ipi6_ifindex))?);
    let asked: [u8; 16] = field(data, offset_of!(libc::in6_pktinfo, ipi6_addr))?;
    let asked = Ipv6Addr::from(asked);
    Some(PacketInfo {
        asked: IpAddr::V6(asked),
        own: (!asked.is_multicast()).then_some(IpAddr::V6(asked)),
        interface: index,
    })
}

/// The control message that makes a datagram leave from `from`, and its length in octets.
///
/// An absent address or interface is left to the kernel, an address of the other family counts as
/// absent.
pub(super) fn encode_packet_info(from: LocalAddr, v6: bool) -> (Control, usize) {
    let mut control = Control::ZERO;
    let octets = &mut control.0;
    let (level, kind, len) = if v6 {
        let ip = match from.ip {
            Some(IpAddr::V6(ip)) => ip,
            Some(IpAddr::V4(_)) | None => Ipv6Addr::UNSPECIFIED,
        };
        let data = &mut octets[CONTROL_HEADER..];
        put(data, offset_of!(libc::in6_pktinfo, ipi6_addr), ip.octets());
        put(data, offset_of!(libc::in6_pktinfo, ipi6_ifindex), from.interface.to_ne_bytes());
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>())
    } else {
        let ip = match from.ip {
            Some(IpAddr::V4(ip)) => ip,
            Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
        };
        let data = &mut octets[CONTROL_HEADER..];
        put(data, offset_of!(libc::in_pktinfo, ipi_ifindex), from.interface.to_ne_bytes());
        put(data, offset_of!(libc::in_pktinfo, ipi_spec_dst), ip.octets());
        (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>())
    };
    put(octets, 0, (CONTROL_HEADER + len).to_ne_bytes());
    put(octets, size_of::<usize>(), level.to_ne_bytes());
    put(octets, size_of::<usize>() + size_of::<i32>(), kind.to_ne_bytes());
    (control, align(CONTROL_HEADER + len))
}

/// Control messages and their data start at multiples of a word.
const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// The `N` octets at `at`, `None` beyond the end.
fn field<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

fn put<const N: usize>(octets: &mut [u8], at: usize, value: [u8; N]) {
    octets[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(text: &str) {
        let address: SocketAddr = text.parse().unwrap();
        let (name, len) = encode_name(address);
        assert_eq!(decode_name(&name.0[..len]), Some(address));
        for cut in 0..8 {
            assert_eq!(decode_name(&name.0[..cut]), None, "cut to {cut} octets");
        }
    }

    #[test]
    fn names_survive_the_round_trip_with_their_scope() {
        check_name("192.0.2.7:1883");
        check_name("0.0.0.0:0");
        check_name("[2001:db8::7]:65535");
        check_name("[fe80::1%7]:1883");
    }

    #[test]
    fn the_layout_is_the_one_that_socket2_writes() {
        for text in ["192.0.2.7:1883", "[fe80::1%7]:1884"] {
            let address: SocketAddr = text.parse().unwrap();
            let (name, len) = encode_name(address);
            let reference = socket2::SockAddr::from(address);
            assert_eq!(len, reference.len() as usize);
            assert_eq!(reference.as_socket(), decode_name(&name.0[..len]));
        }
    }

    #[test]
    fn a_name_of_another_family_is_no_sender() {
        let unix = (libc::AF_UNIX as libc::sa_family_t).to_ne_bytes();
        assert_eq!(decode_name(&unix), None);
        assert_eq!(decode_name(&[]), None);
    }

    #[test]
    fn packet_information_is_written_as_the_kernel_reads_it() {
        let from = LocalAddr { ip: Some("192.0.2.1".parse().unwrap()), interface: 3 };
        let (control, len) = encode_packet_info(from, false);
        let info = decode_packet_info(&control.0[..len]).unwrap();
        assert_eq!((info.own, info.interface), (from.ip, 3));

        let from = LocalAddr { ip: Some("fe80::1".parse().unwrap()), interface: 9 };
        let (control, len) = encode_packet_info(from, true);
        let info = decode_packet_info(&control.0[..len]).unwrap();
        assert_eq!((Some(info.asked), info.own, info.interface), (from.ip, from.ip, 9));
    }

    #[test]
    fn an_address_of_the_other_family_is_left_to_the_kernel() {
        let from = LocalAddr { ip: Some("192.0.2.1".parse().unwrap()), interface: 0 };
        let (control, len) = encode_packet_info(from, true);
        let info = decode_packet_info(&control.0[..len]).unwrap();
        assert_eq!(info.asked, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }

    #[test]
    fn other_control_messages_are_stepped_over_and_cut_ones_refused() {
        let mut octets = vec![0_u8; 64];
        put(&mut octets, 0, (CONTROL_HEADER + 4).to_ne_bytes());
        put(&mut octets, size_of::<usize>(), libc::SOL_SOCKET.to_ne_bytes());
        let first = align(CONTROL_HEADER + 4);
        let from = LocalAddr { ip: Some("192.0.2.1".parse().unwrap()), interface: 3 };
        let (control, len) = encode_packet_info(from, false);
        octets[first..first + len].copy_from_slice(&control.0[..len]);
        assert_eq!(decode_packet_info(&octets[..first + len]).unwrap().interface, 3);
        for cut in 0..first + CONTROL_HEADER {
            assert_eq!(decode_packet_info(&octets[..cut]), None, "cut to {cut} octets");
        }
        let endless = [0_u8; 64];
        assert_eq!(decode_packet_info(&endless), None, "a length of 0 ends the walk");
    }
}
