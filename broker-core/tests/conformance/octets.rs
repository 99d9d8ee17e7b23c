//! How these tests write packets down, and how they take apart what they are sent. None of it is
//! the code under test.
//!
//! `82: 0007 {0B 05} 'a/+' 01` is a SUBSCRIBE: the first octet, then a colon; the remaining length
//! is counted. Behind it stand fields:
//!
//! | text | octets |
//! |---|---|
//! | `0A1B` | these |
//! | `'a/b'` | a string behind its length of two octets |
//! | `=text` | these characters, to the next space |
//! | `{…}` | a block of properties behind its length; nothing in 3.1.1 |
//! | `[…]` | only in 5.0 |
//! | `<…>` | only in 3.1.1 |
//!
//! So one text serves both versions where they differ in no more than that.

use core::iter::Peekable;
use core::str::Chars;

/// Which version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

pub(crate) use Version::{V5, V311};

/// Runs a test in both versions.
pub(crate) fn both(test: impl Fn(Version)) {
    test(V311);
    test(V5);
}

/// The octets of any number of packets.
pub(crate) fn encode(version: Version, text: &str) -> Vec<u8> {
    let mut chars = text.chars().peekable();
    let octets = fields(version, &mut chars, None, text);
    assert!(chars.next().is_none(), "{text}");
    octets
}

fn fields(
    version: Version,
    chars: &mut Peekable<Chars<'_>>,
    end: Option<char>,
    text: &str,
) -> Vec<u8> {
    let mut done = Vec::new();
    let mut first = None;
    let mut body = Vec::new();
    loop {
        let Some(next) = chars.next() else {
            assert_eq!(end, None, "{text}");
            break;
        };
        match next {
            _ if Some(next) == end => break,
            ' ' | '\n' => {}
            '\'' => {
                let string = until(chars, |c| c == '\'');
                chars.next();
                put_binary(&mut body, string.as_bytes());
            }
            '=' => body.extend_from_slice(until(chars, |c| c == ' ').as_bytes()),
            '{' => {
                let block = fields(version, chars, Some('}'), text);
                if version == V5 {
                    put_varint(&mut body, block.len());
                    body.extend_from_slice(&block);
                }
            }
            '[' | '<' => {
                let (close, of) = if next == '[' { (']', V5) } else { ('>', V311) };
                let part = fields(version, chars, Some(close), text);
                if version == of {
                    body.extend_from_slice(&part);
                }
            }
            digit => {
                let low = chars.next().unwrap_or_else(|| panic!("half an octet: {text}"));
                let octet = u8::from_str_radix(&format!("{digit}{low}"), 16);
                let octet = octet.unwrap_or_else(|_| panic!("{digit}{low} in {text}"));
                if chars.next_if_eq(&':').is_some() {
                    put_packet(&mut done, first, &body);
                    first = Some(octet);
                    body.clear();
                } else {
                    body.push(octet);
                }
            }
        }
    }
    put_packet(&mut done, first, &body);
    done
}

fn until(chars: &mut Peekable<Chars<'_>>, is_end: impl Fn(char) -> bool) -> String {
    let mut taken = String::new();
    while let Some(next) = chars.next_if(|c| !is_end(*c)) {
        taken.push(next);
    }
    taken
}

fn put_packet(octets: &mut Vec<u8>, first: Option<u8>, body: &[u8]) {
    match first {
        Some(first) => octets.extend(packet(first, body)),
        None => octets.extend_from_slice(body),
    }
}

/// One packet: its remaining length counted.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    put_varint(&mut octets, body.len());
    octets.extend_from_slice(body);
    octets
}

pub(crate) fn put_binary(octets: &mut Vec<u8>, binary: &[u8]) {
    octets.extend_from_slice(&(binary.len() as u16).to_be_bytes());
    octets.extend_from_slice(binary);
}

pub(crate) fn put_varint(octets: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        octets.push(value as u8 | 0x80);
        value >>= 7;
    }
    octets.push(value as u8);
}

/// A variable byte integer at the front, and how many octets it has.
pub(crate) fn varint(octets: &[u8]) -> (usize, usize) {
    let len = 1 + octets.iter().position(|octet| octet & 0x80 == 0).expect("it ends");
    assert!(len <= 4, "{octets:02X?}");
    assert!(len == 1 || octets[len - 1] != 0, "not its shortest form: {octets:02X?}");
    let value =
        octets[..len].iter().rev().fold(0, |value, octet| value << 7 | usize::from(octet & 0x7F));
    (value, len)
}

/// Whole packets, each with its frame.
pub(crate) fn packets(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while !octets.is_empty() {
        let (remaining, len) = varint(&octets[1..]);
        let (packet, rest) = octets.split_at(1 + len + remaining);
        packets.push(packet.to_vec());
        octets = rest;
    }
    packets
}

/// What stands behind the remaining length.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let (_, len) = varint(&packet[1..]);
    &packet[1 + len..]
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(" ")
}

/// Packets as a test that fails shows them.
pub(crate) fn show(octets: &[u8]) -> String {
    packets(octets).iter().map(|packet| format!("\n  {}", hex(packet))).collect()
}

/// The properties in front of `octets`, their length included: each with its identifier and the
/// octets of its value, and what follows.
pub(crate) fn properties(octets: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let (len, size) = varint(octets);
    let (mut block, rest) = octets[size..].split_at(len);
    let mut found = Vec::new();
    while let Some((id, value)) = block.split_first() {
        let binary = |at: usize| 2 + usize::from(u16::from_be_bytes([value[at], value[at + 1]]));
        let len = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => 1,
            0x13 | 0x21..=0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0B => varint(value).1,
            0x26 => binary(0) + binary(binary(0)),
            _ => binary(0),
        };
        found.push((*id, &value[..len]));
        block = &value[len..];
    }
    (found, rest)
}

#[test]
fn the_notation_is_what_it_says() {
    let text = "30: 't' {01 01} =hi 10: 'MQTT' <04>[05] 00";
    assert_eq!(hex(&encode(V311, text)), "30 05 00 01 74 68 69 10 08 00 04 4D 51 54 54 04 00");
    assert_eq!(
        hex(&encode(V5, text)),
        "30 08 00 01 74 02 01 01 68 69 10 08 00 04 4D 51 54 54 05 00"
    );
    assert_eq!(packets(&encode(V5, text)).len(), 2);
    let octets = encode(V5, "{26 'k' 'v' 0B 8001 21 0007} =x");
    let (found, rest) = properties(&octets);
    assert_eq!(rest, b"x");
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0x26, 0x0B, 0x21]);
    assert_eq!(found[1].1, [0x80, 0x01]);
}
