//! Sensors that say anything, at any time, from any address, and a gateway that may restart: what
//! it says are messages of a gateway, in answer to what was asked, and to strangers no more octets
//! than they sent; who sleeps is left alone; in the end nothing is left of anybody.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use broker_core::api::QoS;
use sn_codec::forward::{self, Encapsulated};
use sn_codec::v12::{MsgType, Packet};

use super::Target;
use super::digest::Digest;
use super::input::Input;
use super::machine::{DATAGRAM_MAX, Machine};
use crate::sim::wire::frame;

/// See the [module](self).
pub const TARGET: Target =
    Target { name: "sn_session", dictionary: "sn-session", bytes_max: 512, run };

/// Three hosts, one with two ports, and the forwarder.
const ADDRESSES: [([u8; 4], u16); 5] = [
    ([10, 0, 0, 1], 1),
    ([10, 0, 0, 1], 2),
    ([10, 0, 0, 2], 1),
    ([10, 0, 0, 3], 1),
    ([10, 0, 0, 9], 1),
];

const TOPICS: [&str; 4] = ["a/b", "xy", "pre/5", "a/long/name"];

/// What sensors often say.
const USUAL: [&[u8]; 24] = [
    b"\x07\x04\x04\x01\x00\x0Aa",
    b"\x07\x04\x00\x01\x00\x0Aa",
    b"\x07\x04\x00\x01\x00\x0Ab",
    b"\x07\x04\x08\x01\x00\x0Aa",
    b"\x07\x04\x00\x01\x00\x00q",
    b"\x07\x07\x20will",
    b"\x06\x09gone",
    b"\x09\x0A\x00\x00\x00\x01a/b",
    b"\x08\x12\x20\x00\x02a/#",
    b"\x08\x12\x40\x00\x03a/b",
    b"\x07\x12\x41\x00\x04\x00\x05",
    b"\x09\x0C\x20\x00\x01\x00\x05hi",
    b"\x09\x0C\x40\x00\x01\x00\x06hi",
    b"\x09\x0C\x22xy\x00\x07hi",
    b"\x09\x0C\x62xy\x00\x00hi",
    b"\x04\x10\x00\x06",
    b"\x07\x0D\x00\x01\x00\x01\x00",
    b"\x04\x0F\x00\x01",
    b"\x04\x0E\x00\x01",
    b"\x07\x0B\x00\x01\x00\x01\x00",
    b"\x02\x16",
    b"\x03\x16a",
    b"\x04\x18\x00\x3C",
    b"\x02\x18",
];

/// What one sender said and heard.
#[derive(Debug, Default)]
struct Sender {
    bytes_in: usize,
    bytes_out: usize,
    /// A session was, or may have been, bound here.
    is_known: bool,
    /// It said that it sleeps, and nothing since.
    says_to_sleep: bool,
    /// DISCONNECT is the last that it was answered since.
    may_sleep: bool,
    /// All that was on its way by then has come, so that its radio is off.
    is_asleep: bool,
}

struct World {
    machine: Machine,
    /// By address, and node behind it.
    senders: BTreeMap<(SocketAddr, Vec<u8>), Sender>,
    /// How many messages of each type were said by sensors and by the gateway.
    asked: [usize; 256],
    told: [usize; 256],
    digest: Digest,
}

fn run(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let mut world = World {
        machine: Machine::new(input.flag()),
        senders: BTreeMap::new(),
        asked: [0; 256],
        told: [0; 256],
        digest: Digest::new(),
    };
    while !input.is_empty() {
        world.operate(&mut input);
    }
    let World { mut machine, mut digest, .. } = world;
    machine.check_nothing_stays(|_, octets| digest.octets(octets));
    digest.end()
}

impl World {
    fn operate(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        match op & 0x0F {
            0..=4 => {
                let from = address(input);
                let octets = input.choose(&USUAL);
                self.say(from, octets);
            }
            5 | 6 => {
                let from = address(input);
                let kind = input.u8() % 0x20;
                self.say(from, &frame(kind, &[input.counted()]));
            }
            7 => {
                let from = address(input);
                self.say(from, input.counted());
            }
            8 => {
                let node = [b'n', input.u8() % 4];
                let mut octets = vec![5, 0xFE, 0];
                octets.extend_from_slice(&node);
                octets.extend_from_slice(input.choose(&USUAL));
                let [.., (forwarder, port)] = ADDRESSES;
                self.say((forwarder, port).into(), &octets);
            }
            9 | 10 => {
                let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
                let (topic, qos) = (input.choose(&TOPICS), input.choose(&levels));
                let payload = [7; 64];
                let retain = input.below(8) == 1;
                self.machine.publish(topic, qos, retain, &payload[..input.below(65)]);
            }
            11 | 12 => self.machine.millis += input.choose(&[1, 100, 1_000, 3_000, 20_000, 90_000]),
            13 => self.machine.commit(),
            14 if self.machine.is_durable() => {
                assert!(self.machine.restart(), "what was kept comes back");
            }
            _ => {}
        }
        if op & 0x80 == 0 {
            self.turn();
        }
    }

    /// A sensor says something.
    fn say(&mut self, from: SocketAddr, octets: &[u8]) {
        let (node, inner) = unwrap(octets);
        let sender = self.senders.entry((from, node.to_vec())).or_default();
        sender.bytes_in += octets.len();
        sender.is_asleep = false;
        sender.says_to_sleep = false;
        sender.may_sleep = false;
        if let Ok(packet) = Packet::decode(inner) {
            self.asked[usize::from(packet.msg_type().octet())] += 1;
            if let Packet::Disconnect(disconnect) = packet {
                sender.says_to_sleep = disconnect.duration_s.is_some_and(|duration| duration > 0);
            }
            // A sleeper may wake at another address.
            if let Packet::Pingreq(pingreq) = packet {
                sender.is_known |= !pingreq.client_id.is_empty();
            }
        }
        self.machine.datagram(from, octets);
    }

    fn turn(&mut self) {
        let Self { machine, senders, asked, told, digest } = self;
        let is_durable = machine.is_durable();
        machine.turn(|to, octets| {
            digest.octets(octets);
            let (node, inner) = unwrap(octets);
            assert!(inner.len() <= usize::from(DATAGRAM_MAX), "{octets:02X?} is too long");
            let packet = Packet::decode(inner).expect("what a gateway says is a message");
            let sender = senders.get_mut(&(to, node.to_vec())).expect("only who spoke is told");
            sender.bytes_out += octets.len();
            sender.hear(&packet, is_durable);
            told[usize::from(packet.msg_type().octet())] += 1;
        });
        senders.values_mut().for_each(|sender| sender.is_asleep = sender.may_sleep);
        check_answers(asked, told);
        machine.sn.check_invariants();
    }
}

impl Sender {
    /// The gateway says something to it. With a store, answers to what was asked before may come
    /// when it sleeps already.
    fn hear(&mut self, packet: &Packet<'_>, is_durable: bool) {
        assert!(!self.is_asleep || is_durable, "{packet:?} was sent to one who sleeps");
        if let Packet::Connack(connack) = packet {
            self.is_known |= connack.return_code.is_accepted();
        }
        self.may_sleep = self.says_to_sleep && matches!(packet, Packet::Disconnect(_));
        let is_much = self.bytes_out > self.bytes_in;
        assert!(self.is_known || !is_much, "a stranger is told more than it said: {packet:?}");
    }
}

/// Nothing is answered that was not asked, and nothing is said that only sensors say.
fn check_answers(asked: &[usize; 256], told: &[usize; 256]) {
    let check = |answer: MsgType, questions: &[MsgType]| {
        let asked: usize = questions.iter().map(|kind| asked[usize::from(kind.octet())]).sum();
        let told = told[usize::from(answer.octet())];
        assert!(told <= asked, "{told} {answer} to {asked} {questions:?}");
    };
    check(MsgType::Connack, &[MsgType::Connect, MsgType::WillTopic, MsgType::WillMsg]);
    check(MsgType::WillTopicReq, &[MsgType::Connect]);
    check(MsgType::GwInfo, &[MsgType::SearchGw]);
    check(MsgType::Regack, &[MsgType::Register]);
    check(MsgType::Puback, &[MsgType::Publish]);
    check(MsgType::Pubrec, &[MsgType::Publish]);
    check(MsgType::Pubcomp, &[MsgType::Pubrel]);
    check(MsgType::Suback, &[MsgType::Subscribe]);
    check(MsgType::Unsuback, &[MsgType::Unsubscribe]);
    check(MsgType::Pingresp, &[MsgType::Pingreq]);
    check(MsgType::WillTopicResp, &[MsgType::WillTopicUpd]);
    check(MsgType::WillMsgResp, &[MsgType::WillMsgUpd]);
    for never in [
        MsgType::Connect,
        MsgType::WillTopic,
        MsgType::WillMsg,
        MsgType::Subscribe,
        MsgType::Unsubscribe,
        MsgType::SearchGw,
        MsgType::WillTopicUpd,
        MsgType::WillMsgUpd,
    ] {
        check(never, &[]);
    }
}

fn address(input: &mut Input<'_>) -> SocketAddr {
    input.choose(&ADDRESSES).into()
}

/// The node that a datagram names, if it is an envelope, and the message.
fn unwrap(octets: &[u8]) -> (&[u8], &[u8]) {
    match Encapsulated::decode(octets) {
        Ok(envelope) if forward::is_encapsulated(octets) => (envelope.node, envelope.inner),
        _ => (&[], octets),
    }
}
