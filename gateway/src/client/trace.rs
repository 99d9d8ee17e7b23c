//! Packets shown on standard error: direction, name, octets.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use sn_codec::v12::Packet;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToGateway,
    FromGateway,
}

/// Shows a packet in a line: `> PUBLISH       09 0C 00 00 01 00 00 68 69`.
pub(super) fn show(direction: Direction, octets: &[u8]) {
    let _ = writeln!(io::stderr(), "{}", Line(direction, octets));
}

struct Line<'a>(Direction, &'a [u8]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(direction, octets) = *self;
        f.write_char(match direction {
            Direction::ToGateway => '>',
            Direction::FromGateway => '<',
        })?;
        match Packet::decode(octets) {
            Ok(packet) => write!(f, " {:<13}", packet.msg_type())?,
            Err(error) => write!(f, " no message ({error}):")?,
        }
        octets.iter().try_for_each(|octet| write!(f, " {octet:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_shown_by_name_and_in_hex() {
        let line = Line(Direction::ToGateway, b"\x09\x0C\x00\x00\x01\x00\x00hi");
        assert_eq!(line.to_string(), "> PUBLISH       09 0C 00 00 01 00 00 68 69");
        let line = Line(Direction::FromGateway, b"\x03\x05");
        let error = "octet 0: length field says 3, the datagram has 2";
        assert_eq!(line.to_string(), format!("< no message ({error}): 03 05"));
    }
}
