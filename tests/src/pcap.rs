//! Datagrams as a capture file, without the rights that a real capture needs.
//!
//! The classic format with nanosecond times and link type 101 (raw IP): each record is an IPv4 or
//! IPv6 packet that holds one UDP datagram.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Classic pcap, times in nanoseconds, octets most significant first.
const MAGIC: u32 = 0xA1B2_3C4D;
const LINK_TYPE_RAW: u32 = 101;
const UDP: u8 = 17;
const HOPS: u8 = 64;

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Since the beginning of the capture.
    pub at: Duration,
    /// The sender.
    pub from: SocketAddr,
    /// The receiver, of the same address family.
    pub to: SocketAddr,
    /// What UDP carries.
    pub datagram: &'a [u8],
}

/// Writes a capture.
pub fn write(out: &mut impl Write, frames: &[Frame<'_>]) -> io::Result<()> {
    let (version, zone, accuracy) = ([2_u16, 4], 0_u32, 0_u32);
    out.write_all(&MAGIC.to_be_bytes())?;
    out.write_all(&version.map(u16::to_be_bytes).concat())?;
    out.write_all(&[zone, accuracy, u32::MAX, LINK_TYPE_RAW].map(u32::to_be_bytes).concat())?;
    for frame in frames {
        let packet = ip_packet(frame);
        let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
        let seconds = u32::try_from(frame.at.as_secs()).map_err(io::Error::other)?;
        let record = [seconds, frame.at.subsec_nanos(), length, length];
        out.write_all(&record.map(u32::to_be_bytes).concat())?;
        out.write_all(&packet)?;
    }
    Ok(())
}

fn ip_packet(frame: &Frame<'_>) -> Vec<u8> {
    let segment = udp_segment(frame);
    match (frame.from.ip(), frame.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length16(20 + segment.len());
            let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, HOPS, UDP, 0, 0];
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            [header, segment].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length16(segment.len());
            let mut header = vec![0x60, 0, 0, 0, high, low, UDP, HOPS];
            header.extend(from.octets());
            header.extend(to.octets());
            [header, segment].concat()
        }
        (from, to) => panic!("a datagram does not go from {from} to {to}"),
    }
}

fn udp_segment(frame: &Frame<'_>) -> Vec<u8> {
    let length = length16(8 + frame.datagram.len());
    let ports = [frame.from.port(), frame.to.port()].map(u16::to_be_bytes).concat();
    let mut segment = [ports.as_slice(), &length, &[0, 0], frame.datagram].concat();
    let addresses = match (frame.from.ip(), frame.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => Vec::new(),
    };
    let pseudo = [addresses.as_slice(), &[0, UDP], &length, &segment].concat();
    // 0 means "no checksum"; its other form in ones' complement says the same sum.
    let sum = match checksum(&pseudo) {
        0 => u16::MAX,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn length16(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a datagram fits into an IP packet").to_be_bytes()
}

/// The checksum of the internet protocols (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high, ..] => u32::from(high) << 8,
        [] => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::{Pattern, dump};

    #[test]
    fn a_datagram_is_wrapped_in_udp_and_ip() {
        let check = |from: &str, to: &str, expect: &str| {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let frame = Frame { at: Duration::ZERO, from, to, datagram: &[2, 0x17] };
            let packet = ip_packet(&frame);
            assert!(Pattern::new(expect).matches(&packet), "{}", dump(&packet));
            assert_eq!(checksum(&packet[..20]) == 0, frame.from.is_ipv4(), "the header's sum");
        };
        check(
            "127.0.0.1:1",
            "127.0.0.1:256",
            "45 00 00 1E 00 00 40 00 40 11 3C CD 7F 00 00 01 7F 00 00 01 \
             00 01 01 00 00 0A ?? ?? 02 17",
        );
        let loopback = "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01";
        check(
            "[::1]:1",
            "[::1]:256",
            &format!("60 00 00 00 00 0A 11 40 {loopback} {loopback} 00 01 01 00 00 0A ?? ?? 02 17"),
        );
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // RFC 1071, section 3: the sum of these words is DDF2.
        let octets = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
        assert_eq!(checksum(&octets), !0xDDF2);
        assert_eq!(checksum(&[0x01]), !0x0100, "an odd octet is filled up");
    }
}
