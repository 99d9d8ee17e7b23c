//! The records of MQTT-SN clients: what is kept of them, table by table.
//!
//! A value begins with the octet of its format. All numbers are little endian, and what has no
//! length in front goes to the end of the value.
//!
//! ```text
//! table              number                value behind the octet of the format, lengths in octets
//! 0x80 client        its own               flags 1 · understands 1 · keep alive 2 · duration 2 ·
//!                                          MsgId offset 2 · connection 4 · port 2 · remote ·
//!                                          local · interface 4 · node length 1 · node ·
//!                                          id length 2 · client id · predefined ids, 2 each
//! 0x81 registration  client << 16 | id     standing 1 · connection 4 · topic name
//!
//! flags              state in bits 0 and 1 (0 gone, 1 active, 2 asleep) · 4 refuses DUP ·
//!                    8 answers REGISTER · 16 has an address
//! remote             4 · address 4 · UDP port 2 |
//!                    6 · address 16 · UDP port 2 · flow 4 · scope 4
//! local              0 | 4 · address 4 | 6 · address 16
//! standing           0 unknown, 1 known in that connection, 2 refused
//! ```
//!
//! A client that is awake is kept as asleep: a visit changes nothing that would have to be written.
//! A new connection makes all that the client knew unknown by its number alone. Only the host of
//! `remote` means anything of a client without an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use broker_core::journal::RecordKey;

use super::address::LocalAddress;
use super::peer::{MSG_ID_MAX, State};
use super::registry::{self, Standing};

/// The tables.
pub(super) const CLIENTS: u8 = 0x80;
pub(super) const REGISTRATIONS: u8 = 0x81;

/// The format of all values here.
pub(super) const FORMAT: u8 = 1;

/// Clients have numbers below this.
pub(super) const NUMBER_END: u64 = 1 << 40;

const NO_DUP: u8 = 4;
const ANSWERS_REGISTER: u8 = 8;
const IS_BOUND: u8 = 16;

/// The key of the record of a client.
pub(super) const fn client_key(number: u64) -> RecordKey {
    RecordKey::new(CLIENTS, number)
}

/// The key of the record of a topic id.
pub(super) const fn registration_key(number: u64, id: u16) -> RecordKey {
    RecordKey::new(REGISTRATIONS, number << 16 | id as u64)
}

/// The number of a client and the topic id behind the number of a record, if we would give them.
pub(super) fn registration_parts(number: u64) -> Option<(u64, u16)> {
    let id = u16::try_from(number & 0xFFFF).expect("masked");
    Some((number >> 16, id)).filter(|(_, id)| (registry::FIRST..=registry::LAST).contains(id))
}

/// A client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientRecord<'a> {
    pub(super) state: State,
    pub(super) no_dup: bool,
    pub(super) answers_register: bool,
    /// The sorts of publications that it has answered.
    pub(super) understands: u8,
    pub(super) keep_alive_s: u16,
    pub(super) id_offset: u16,
    pub(super) connection: u32,
    /// Whether it is bound to the address that follows.
    pub(super) is_bound: bool,
    pub(super) port: u16,
    pub(super) remote: SocketAddr,
    pub(super) local: LocalAddress,
    pub(super) node: &'a [u8],
    pub(super) client_id: &'a str,
    pub(super) predefined: Ids<'a>,
}

/// Topic ids, as a client or as its record holds them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ids<'a> {
    Held(&'a [u16]),
    Octets(&'a [u8]),
}

impl Ids<'_> {
    pub(super) fn to_vec(self) -> Vec<u16> {
        match self {
            Self::Held(ids) => ids.to_vec(),
            Self::Octets(octets) => {
                octets.chunks_exact(2).map(|id| u16::from_le_bytes([id[0], id[1]])).collect()
            }
        }
    }
}

impl PartialEq for Ids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_vec() == other.to_vec()
    }
}

impl Eq for Ids<'_> {}

impl<'a> ClientRecord<'a> {
    /// Appends the value.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let (state, duration_s) = match self.state {
            State::Gone => (0, 0),
            State::Active => (1, 0),
            State::Asleep { duration_s } | State::Awake { duration_s } => (2, duration_s),
        };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = state
            | flag(self.no_dup, NO_DUP)
            | flag(self.answers_register, ANSWERS_REGISTER)
            | flag(self.is_bound, IS_BOUND);
        into.extend_from_slice(&[FORMAT, flags, self.understands]);
        into.extend_from_slice(&self.keep_alive_s.to_le_bytes());
        into.extend_from_slice(&duration_s.to_le_bytes());
        into.extend_from_slice(&self.id_offset.to_le_bytes());
        into.extend_from_slice(&self.connection.to_le_bytes());
        into.extend_from_slice(&self.port.to_le_bytes());
        write_ip(Some(self.remote.ip()), into);
        into.extend_from_slice(&self.remote.port().to_le_bytes());
        if let SocketAddr::V6(remote) = self.remote {
            into.extend_from_slice(&remote.flowinfo().to_le_bytes());
            into.extend_from_slice(&remote.scope_id().to_le_bytes());
        }
        write_ip(self.local.ip, into);
        into.extend_from_slice(&self.local.interface.to_le_bytes());
        into.push(u8::try_from(self.node.len()).expect("an envelope is at most 255 octets long"));
        into.extend_from_slice(self.node);
        let id_len = u16::try_from(self.client_id.len()).expect("a datagram is shorter");
        into.extend_from_slice(&id_len.to_le_bytes());
        into.extend_from_slice(self.client_id.as_bytes());
        match self.predefined {
            Ids::Held(ids) => ids.iter().for_each(|id| into.extend_from_slice(&id.to_le_bytes())),
            Ids::Octets(octets) => into.extend_from_slice(octets),
        }
    }

    /// Reads what stands behind the format.
    pub(super) fn read(mut value: Reader<'a>) -> Option<Self> {
        let [flags, understands] = value.array()?;
        let [keep_alive_s, duration_s] = [value.u16()?, value.u16()?];
        let state = match (flags & 3, duration_s) {
            (0, 0) => State::Gone,
            (1, 0) => State::Active,
            (2, 1..) => State::Asleep { duration_s },
            _ => return None,
        };
        let id_offset = value.u16().filter(|offset| *offset < MSG_ID_MAX)?;
        let connection = value.u32()?;
        let port = value.u16()?;
        let remote = value.remote()?;
        let local = LocalAddress { ip: value.ip()?, interface: value.u32()? };
        let node_len = value.array::<1>()?[0];
        let node = value.take(usize::from(node_len))?;
        let id_len = value.u16()?;
        let client_id = core::str::from_utf8(value.take(usize::from(id_len))?).ok()?;
        let predefined = value.rest();
        let is_good = !client_id.is_empty()
            && predefined.len().is_multiple_of(2)
            && flags < IS_BOUND << 1
            && (state != State::Gone || flags & IS_BOUND == 0);
        is_good.then_some(Self {
            state,
            no_dup: flags & NO_DUP != 0,
            answers_register: flags & ANSWERS_REGISTER != 0,
            understands,
            keep_alive_s,
            id_offset,
            connection,
            is_bound: flags & IS_BOUND != 0,
            port,
            remote,
            local,
            node,
            client_id,
            predefined: Ids::Octets(predefined),
        })
    }
}

/// A topic id of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RegistrationRecord<'a> {
    pub(super) standing: Standing,
    /// The connection of which the standing is.
    pub(super) connection: u32,
    pub(super) topic: &'a str,
}

impl<'a> RegistrationRecord<'a> {
    /// Appends the value.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let standing = match self.standing {
            Standing::Unknown => 0,
            Standing::Known => 1,
            Standing::Refused => 2,
        };
        into.extend_from_slice(&[FORMAT, standing]);
        into.extend_from_slice(&self.connection.to_le_bytes());
        into.extend_from_slice(self.topic.as_bytes());
    }

    /// Reads what stands behind the format.
    pub(super) fn read(mut value: Reader<'a>) -> Option<Self> {
        let standing = match value.array()? {
            [0] => Standing::Unknown,
            [1] => Standing::Known,
            [2] => Standing::Refused,
            _ => return None,
        };
        let connection = value.u32()?;
        let topic = core::str::from_utf8(value.rest()).ok()?;
        Some(Self { standing, connection, topic })
    }
}

fn write_ip(ip: Option<IpAddr>, into: &mut Vec<u8>) {
    match ip {
        None => into.push(0),
        Some(IpAddr::V4(ip)) => {
            into.push(4);
            into.extend_from_slice(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            into.push(6);
            into.extend_from_slice(&ip.octets());
        }
    }
}

/// A value that is being read; `None` once it ends too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// An IP address, or that there is none.
    fn ip(&mut self) -> Option<Option<IpAddr>> {
        Some(match self.array()? {
            [0] => None,
            [4] => Some(Ipv4Addr::from(self.array()?).into()),
            [6] => Some(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => return None,
        })
    }

    fn remote(&mut self) -> Option<SocketAddr> {
        let ip = self.ip()??;
        let port = self.u16()?;
        Some(match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, self.u32()?, self.u32()?).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientRecord<'static> {
        ClientRecord {
            state: State::Asleep { duration_s: 60 },
            no_dup: true,
            answers_register: false,
            understands: 5,
            keep_alive_s: 30,
            id_offset: 4_711,
            connection: 3,
            is_bound: true,
            port: 1,
            remote: "192.0.2.1:1000".parse().expect("an address"),
            local: LocalAddress { ip: Some(Ipv6Addr::LOCALHOST.into()), interface: 2 },
            node: b"N1",
            client_id: "dev1",
            predefined: Ids::Held(&[5, 9]),
        }
    }

    fn octets(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut octets = Vec::new();
        write(&mut octets);
        octets
    }

    #[test]
    fn a_client_is_read_as_it_was_written() {
        let remote: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 7, 8, 9);
        let records = [
            client(),
            ClientRecord { state: State::Active, remote: remote.into(), ..client() },
            ClientRecord { state: State::Gone, is_bound: false, node: b"", ..client() },
        ];
        for record in records {
            let octets = octets(|into| record.write(into));
            assert_eq!(octets[0], FORMAT);
            assert_eq!(ClientRecord::read(Reader::new(&octets[1..])), Some(record));
        }
        assert_ne!(ClientRecord { predefined: Ids::Held(&[5, 8]), ..client() }, client());
        let awake = ClientRecord { state: State::Awake { duration_s: 60 }, ..client() };
        let written = octets(|into| awake.write(into));
        assert_eq!(written, octets(|into| client().write(into)), "a visit changes nothing");
    }

    #[test]
    fn a_client_that_ends_within_a_field_or_says_the_impossible_is_none() {
        let good = octets(|into| client().write(into));
        let fixed = good.len() - 4;
        for end in 1..good.len() {
            let is_good = end >= fixed && (end - fixed).is_multiple_of(2);
            let read = ClientRecord::read(Reader::new(&good[1..end]));
            assert_eq!(read.is_some(), is_good, "cut at {end}");
        }
        // State 3, active for a time, a flag that does not exist, an offset off the circle.
        for (at, octet) in [(1, 3), (1, 1), (1, 0x22), (8, 0xFF)] {
            let mut bad = good.clone();
            bad[at] = octet;
            assert_eq!(ClientRecord::read(Reader::new(&bad[1..])), None, "octet {at}");
        }
        // The first offset off the circle, and the first flag that does not exist.
        let mut bad = good;
        bad[7..9].copy_from_slice(&MSG_ID_MAX.to_le_bytes());
        assert_eq!(ClientRecord::read(Reader::new(&bad[1..])), None);
        let gone = ClientRecord { state: State::Gone, is_bound: false, node: b"", ..client() };
        let mut bad = octets(|into| gone.write(into));
        bad[1] = 0x20;
        assert_eq!(ClientRecord::read(Reader::new(&bad[1..])), None);
    }

    #[test]
    fn a_registration_is_read_as_it_was_written() {
        for standing in [Standing::Unknown, Standing::Known, Standing::Refused] {
            let record = RegistrationRecord { standing, connection: 7, topic: "a/b" };
            let octets = octets(|into| record.write(into));
            assert_eq!(RegistrationRecord::read(Reader::new(&octets[1..])), Some(record));
        }
        assert_eq!(RegistrationRecord::read(Reader::new(&[3, 0, 0, 0, 0, b'a'])), None);
        assert_eq!(registration_parts(registration_key(9, 8).number()), Some((9, 8)));
        assert_eq!(registration_parts(0xFFFF), None);
    }
}
