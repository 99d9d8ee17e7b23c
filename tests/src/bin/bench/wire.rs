//! The octets that load and relay exchange with a server, written from the specifications.
//!
//! MQTT 3.1.1 and MQTT-SN 1.2, as much of them as a publish needs. Decoding trusts the server: what
//! does not fit ends the run, since a number about a wrong conversation is worth nothing.

use std::borrow::Cow;

/// Packet types of MQTT, the upper half of the first octet.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const DISCONNECT: u8 = 14;
}

/// Message types of MQTT-SN, the second octet.
pub(crate) mod sn_kind {
    pub(crate) const CONNECT: u8 = 0x04;
    pub(crate) const CONNACK: u8 = 0x05;
    pub(crate) const REGISTER: u8 = 0x0A;
    pub(crate) const REGACK: u8 = 0x0B;
    pub(crate) const PUBLISH: u8 = 0x0C;
    pub(crate) const PUBACK: u8 = 0x0D;
}

/// Seconds of keep alive that MQTT-SN clients state: longer than any run.
const SN_KEEP_ALIVE_S: u16 = 7_200;

/// One packet of a stream, without its fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// One of [`kind`].
    pub(crate) kind: u8,
    /// The lower half of the first octet.
    pub(crate) flags: u8,
    /// What follows the remaining length.
    pub(crate) body: &'a [u8],
}

/// A PUBLISH taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    /// At QoS 0 there is none.
    pub(crate) id: Option<u16>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet at the front of `octets` and how many of them it takes; none if it is not there
    /// as a whole.
    pub(crate) fn first(octets: &'a [u8]) -> Option<(Self, usize)> {
        let (&head, rest) = octets.split_first()?;
        let mut len = 0;
        for (at, &octet) in rest.iter().take(4).enumerate() {
            len |= usize::from(octet & 0x7F) << (7 * at);
            if octet & 0x80 == 0 {
                let begin = at + 2;
                let body = octets.get(begin..begin + len)?;
                return Some((Self { kind: head >> 4, flags: head & 0x0F, body }, begin + len));
            }
        }
        None
    }

    /// The parts of a PUBLISH.
    ///
    /// # Panics
    /// If it is malformed.
    pub(crate) fn publish(&self) -> Publish<'a> {
        assert_eq!(self.kind, kind::PUBLISH, "not a PUBLISH: {self:?}");
        let rest = &self.body[2 + usize::from(number(self.body, 0))..];
        match self.flags & 0x06 {
            0 => Publish { id: None, payload: rest },
            _ => Publish { id: Some(number(rest, 0)), payload: &rest[2..] },
        }
    }

    /// The topic of a PUBLISH.
    pub(crate) fn topic(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(&self.body[2..2 + usize::from(number(self.body, 0))])
    }

    /// The packet identifier of an acknowledgement.
    ///
    /// # Panics
    /// If it has none.
    pub(crate) fn acknowledged(&self) -> u16 {
        number(self.body, 0)
    }
}

/// The two octets at `at` as a number.
///
/// # Panics
/// If they are not there.
pub(crate) fn number(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// CONNECT with a clean session and without keep alive.
pub(crate) fn connect(client: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    put_text(&mut body, client);
    packet(kind::CONNECT << 4, &body)
}

/// CONNECT of a client whose session is kept.
pub(crate) fn connect_to_kept(client: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x00\x00\x00".to_vec();
    put_text(&mut body, client);
    packet(kind::CONNECT << 4, &body)
}

/// DISCONNECT.
pub(crate) const DISCONNECT: [u8; 2] = [kind::DISCONNECT << 4, 0];

/// The client of a CONNECT.
pub(crate) fn connecting_client<'a>(packet: &Packet<'a>) -> &'a [u8] {
    &packet.body[12..]
}

/// SUBSCRIBE with one filter and the packet identifier 1.
pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    put_text(&mut body, filter);
    body.push(qos);
    packet(kind::SUBSCRIBE << 4 | 2, &body)
}

/// Appends a PUBLISH; at QoS 1 with the identifier `id`.
pub(crate) fn put_publish(out: &mut Vec<u8>, topic: &[u8], id: Option<u16>, payload: &[u8]) {
    let len = 2 + topic.len() + id.map_or(0, |_| 2) + payload.len();
    out.push(kind::PUBLISH << 4 | if id.is_some() { 2 } else { 0 });
    put_length(out, len);
    out.extend_from_slice(&length(topic).to_be_bytes());
    out.extend_from_slice(topic);
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// Appends a PUBACK.
pub(crate) fn put_puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[kind::PUBACK << 4, 2, high, low]);
}

fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![head];
    put_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&length(text.as_bytes()).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_length(out: &mut Vec<u8>, mut len: usize) {
    while len > 0x7F {
        out.push((len & 0x7F) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

fn length(octets: &[u8]) -> u16 {
    u16::try_from(octets.len()).expect("names of a benchmark are short")
}

/// CONNECT of MQTT-SN with a clean session.
pub(crate) fn sn_connect(client: &str) -> Vec<u8> {
    let [high, low] = SN_KEEP_ALIVE_S.to_be_bytes();
    sn_message(&[sn_kind::CONNECT, 0x04, 0x01, high, low], client.as_bytes())
}

/// REGISTER of a topic name with the message id 1.
pub(crate) fn sn_register(topic: &str) -> Vec<u8> {
    sn_message(&[sn_kind::REGISTER, 0, 0, 0, 1], topic.as_bytes())
}

/// PUBLISH of MQTT-SN to a registered topic; at QoS 1 if there is a message id.
pub(crate) fn sn_publish(out: &mut Vec<u8>, topic_id: u16, id: Option<u16>, payload: &[u8]) {
    let len = 7 + payload.len();
    out.clear();
    if let Ok(len) = u8::try_from(len) {
        out.push(len);
    } else {
        out.push(1);
        out.extend_from_slice(&u16::try_from(len + 2).expect("a datagram").to_be_bytes());
    }
    out.push(sn_kind::PUBLISH);
    out.push(if id.is_some() { 0x20 } else { 0 });
    out.extend_from_slice(&topic_id.to_be_bytes());
    out.extend_from_slice(&id.unwrap_or(0).to_be_bytes());
    out.extend_from_slice(payload);
}

/// The type of an MQTT-SN message and what follows it.
///
/// # Panics
/// If it is malformed.
pub(crate) fn sn_parts(datagram: &[u8]) -> (u8, &[u8]) {
    let head = if datagram[0] == 1 { 3 } else { 1 };
    (datagram[head], &datagram[head + 1..])
}

fn sn_message(head: &[u8], text: &[u8]) -> Vec<u8> {
    let len = u8::try_from(1 + head.len() + text.len()).expect("names of a benchmark are short");
    [&[len], head, text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_again() {
        let mut octets = Vec::new();
        put_publish(&mut octets, b"a/b", Some(0x1234), &[7; 200]);
        put_puback(&mut octets, 0x1234);
        put_publish(&mut octets, b"a/b", None, b"x");
        let whole = octets.len();
        let (first, used) = Packet::first(&octets).expect("a whole packet");
        assert_eq!(first.publish(), Publish { id: Some(0x1234), payload: &[7; 200] });
        octets.drain(..used);
        let (second, used) = Packet::first(&octets).expect("a whole packet");
        assert_eq!((second.kind, second.acknowledged()), (kind::PUBACK, 0x1234));
        octets.drain(..used);
        let (third, used) = Packet::first(&octets).expect("a whole packet");
        assert_eq!(third.publish(), Publish { id: None, payload: b"x" });
        assert_eq!((used, whole), (octets.len(), 3 + 2 + 3 + 2 + 200 + 4 + 2 + 5 + 1));
        for len in 0..octets.len() {
            assert_eq!(Packet::first(&octets[..len]), None, "cut to {len}");
        }
    }

    #[test]
    fn requests_look_as_the_specifications_draw_them() {
        let connect = connect("pub-7");
        assert_eq!(connect, b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05pub-7");
        let (packet, _) = Packet::first(&connect).expect("a whole packet");
        assert_eq!(connecting_client(&packet), b"pub-7");
        assert_eq!(subscribe("a/#", 1), b"\x82\x08\x00\x01\x00\x03a/#\x01");
        assert_eq!(sn_connect("s1"), b"\x08\x04\x04\x01\x1C\x20s1");
        assert_eq!(sn_register("a/b"), b"\x09\x0A\x00\x00\x00\x01a/b");
        let mut out = Vec::new();
        sn_publish(&mut out, 5, Some(2), b"hi");
        assert_eq!(out, b"\x09\x0C\x20\x00\x05\x00\x02hi");
        sn_publish(&mut out, 5, None, &[0; 300]);
        assert_eq!(out[..10], *b"\x01\x01\x35\x0C\x00\x00\x05\x00\x00\x00");
        assert_eq!((sn_parts(&out).0, out.len()), (sn_kind::PUBLISH, 0x135));
    }
}
