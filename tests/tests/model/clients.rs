//! The clients: what they are told to do becomes octets, what they hear becomes words.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use broker_core::api::LinkId;

use crate::heard::{Answer, Ended, Heard};
use crate::op::{
    CLIENTS, Connect, PREDEFINED, PREDEFINED_ID, Setup, Subscription, TOPICS, Version,
};
use crate::stack::{Out, SMALL_PACKETS, Stack};
use crate::wire::{self, Packet};

/// What is due within so many milliseconds is due together: timers may be late by a tick, and wills
/// in line are tried again.
const TOGETHER: u64 = 25;

/// Types of MQTT-SN messages.
mod sn {
    pub(super) const CONNECT: u8 = 0x04;
    pub(super) const CONNACK: u8 = 0x05;
    pub(super) const WILLTOPICREQ: u8 = 0x06;
    pub(super) const WILLTOPIC: u8 = 0x07;
    pub(super) const WILLMSGREQ: u8 = 0x08;
    pub(super) const WILLMSG: u8 = 0x09;
    pub(super) const REGISTER: u8 = 0x0A;
    pub(super) const REGACK: u8 = 0x0B;
    pub(super) const PUBLISH: u8 = 0x0C;
    pub(super) const PUBACK: u8 = 0x0D;
    pub(super) const PUBCOMP: u8 = 0x0E;
    pub(super) const PUBREC: u8 = 0x0F;
    pub(super) const PUBREL: u8 = 0x10;
    pub(super) const SUBSCRIBE: u8 = 0x12;
    pub(super) const SUBACK: u8 = 0x13;
    pub(super) const UNSUBSCRIBE: u8 = 0x14;
    pub(super) const UNSUBACK: u8 = 0x15;
    pub(super) const PINGREQ: u8 = 0x16;
    pub(super) const PINGRESP: u8 = 0x17;
    pub(super) const DISCONNECT: u8 = 0x18;
}

/// A will in words that fit all versions.
#[derive(Clone, Debug)]
pub(crate) struct WillText {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
}

/// A publication as it is put on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: &'static str,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) by_alias: bool,
}

/// A step that acknowledges a delivery: PUBACK, PUBREC, PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ack,
    Rec,
    Comp,
}

#[derive(Debug)]
struct Tcp {
    link: LinkId,
    version: Version,
    inbox: Vec<u8>,
    /// Topics behind the aliases that the server has set, and how many it may.
    heard_aliases: BTreeMap<u16, String>,
    aliases_max: u16,
    /// Topics of our own aliases, from 1 on.
    said_aliases: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Client {
    name: String,
    tcp: Option<Tcp>,
    /// The connection before this one, to hear its end.
    former: Option<Tcp>,
    /// Names by topic ids of MQTT-SN, as far as they were told.
    names: BTreeMap<u16, String>,
    /// What a REGISTER or SUBSCRIBE that is not answered asks an id for.
    asked: Option<String>,
    will: Option<WillText>,
    last_request: u16,
    holds: bool,
    owed: Vec<(Step, u16)>,
    heard: Heard,
}

/// All clients, and the machine that they talk to.
#[derive(Debug)]
pub(crate) struct Clients {
    stack: Stack,
    all: Vec<Client>,
    /// What is said in answer to what was heard, once all of that was heard.
    replies: VecDeque<Reply>,
}

#[derive(Debug)]
enum Reply {
    Octets(usize, Vec<u8>),
    Datagram(usize, Vec<u8>),
}

impl Clients {
    pub(crate) fn new(setup: &Setup) -> Self {
        let client = |c| Client { name: format!("c{c}"), ..Client::default() };
        let all = (0..CLIENTS).map(client).collect();
        Self { stack: Stack::new(setup), all, replies: VecDeque::new() }
    }

    /// What everybody heard since the last look.
    pub(crate) fn take_heard(&mut self) -> Vec<Heard> {
        self.all.iter_mut().map(|client| std::mem::take(&mut client.heard)).collect()
    }

    /// Whether a client acknowledges what it hears.
    pub(crate) fn set_holding(&mut self, c: usize, version: Option<Version>, holds: bool) {
        self.all[c].holds = holds;
        let Some(version) = version else { return };
        while !holds && !self.all[c].owed.is_empty() {
            let (step, id) = self.all[c].owed.remove(0);
            self.acknowledge(c, version, step, id, false);
        }
    }

    pub(crate) fn connect(&mut self, c: usize, connect: &Connect, will: Option<WillText>) {
        let client = &mut self.all[c];
        client.owed.clear();
        if connect.version == Version::Sn {
            client.names.clear();
            client.will = will;
            let has_will = client.will.is_some();
            let flags = 4 * u8::from(connect.is_clean) + 8 * u8::from(has_will);
            let [high, low] = keep_alive(c, connect);
            let name = client.name.clone();
            self.say_sn(c, sn::CONNECT, &[&[flags, 1, high, low], name.as_bytes()]);
            self.register_after_connect(c, connect.registers);
            return;
        }
        let link = self.stack.open();
        client.former = client.tcp.replace(Tcp {
            link,
            version: connect.version,
            inbox: Vec::new(),
            heard_aliases: BTreeMap::new(),
            aliases_max: connect.aliases,
            said_aliases: Vec::new(),
        });
        let octets = connect_octets(c, &client.name, connect, will.as_ref());
        self.say(c, &octets);
    }

    /// Something is always said behind CONNECT, so that another one is no repetition of it.
    fn register_after_connect(&mut self, c: usize, all: bool) {
        self.register(c, "greeting");
        let topics: Vec<_> = TOPICS.iter().copied().filter(|topic| topic.len() != 2).collect();
        for topic in topics.into_iter().filter(|_| all) {
            self.register(c, topic);
        }
        for number in (0..CLIENTS).filter(|_| all) {
            self.register(c, &format!("w/c{number}"));
        }
        if all {
            self.register(c, "$SYS/broker/n");
        }
    }

    fn register(&mut self, c: usize, topic: &str) {
        let [high, low] = self.next_request(c);
        self.all[c].asked = Some(topic.to_owned());
        self.say_sn(c, sn::REGISTER, &[&[0, 0, high, low], topic.as_bytes()]);
    }

    pub(crate) fn disconnect(
        &mut self,
        c: usize,
        version: Version,
        reason: u8,
        expiry: Option<u32>,
    ) {
        let expiry = expiry.map(|expiry| [&[0x11], &expiry.to_be_bytes()[..]].concat());
        match (version, reason, expiry) {
            (Version::Sn, _, _) => self.say_sn(c, sn::DISCONNECT, &[]),
            (Version::V5, reason, Some(expiry)) => {
                let properties = wire::properties(version, &expiry);
                self.say(c, &wire::packet(0xE0, &[&[reason], &properties]));
            }
            (Version::V5, reason @ 1.., None) => self.say(c, &wire::packet(0xE0, &[&[reason]])),
            (_, _, _) => self.say(c, &[0xE0, 0]),
        }
    }

    /// The connection of a TCP client breaks.
    pub(crate) fn cut(&mut self, c: usize) {
        if let Some(tcp) = self.all[c].tcp.take() {
            self.stack.cut(tcp.link);
        }
        self.listen();
    }

    pub(crate) fn subscribe(
        &mut self,
        c: usize,
        version: Version,
        wants: &[Subscription],
        id: u32,
    ) {
        let [high, low] = self.next_request(c);
        if version == Version::Sn {
            for Subscription { filter, qos, .. } in wants {
                let [high, low] = self.next_request(c);
                let (kind, octets) = sn_topic(filter);
                self.all[c].asked = Some(filter.to_string());
                self.say_sn(c, sn::SUBSCRIBE, &[&[qos << 5 | kind, high, low], &octets]);
            }
            return;
        }
        let id = if id > 0 { [&[0x0B], &*wire::variable(id as usize)].concat() } else { vec![] };
        let mut body = [&[high, low], &*wire::properties(version, &id)].concat();
        for Subscription { filter, qos, no_local, as_published, handling } in wants {
            body.extend(wire::string(filter));
            let options = u8::from(*no_local) << 2 | u8::from(*as_published) << 3 | handling << 4;
            body.push(qos | if version == Version::V5 { options } else { 0 });
        }
        self.say(c, &wire::packet(0x82, &[&body]));
    }

    pub(crate) fn unsubscribe(&mut self, c: usize, version: Version, filter: &str) {
        let [high, low] = self.next_request(c);
        if version == Version::Sn {
            let (kind, octets) = sn_topic(filter);
            self.say_sn(c, sn::UNSUBSCRIBE, &[&[kind, high, low], &octets]);
            return;
        }
        let properties = wire::properties(version, &[]);
        self.say(c, &wire::packet(0xA2, &[&[high, low], &properties, &wire::string(filter)]));
    }

    pub(crate) fn publish(&mut self, c: usize, version: Version, publication: &Publication) {
        let Publication { topic, payload, qos, retain, dup, id, .. } = publication;
        let id_octets = id.to_be_bytes();
        if version == Version::Sn {
            let (kind, mut octets) = sn_topic(topic);
            if kind == 0 {
                let is_known = |(_, name): &(&u16, &String)| name == topic;
                if !self.all[c].names.iter().any(|known| is_known(&known)) {
                    self.register(c, topic);
                }
                let id = self.all[c].names.iter().find(is_known).map_or(0, |(id, _)| *id);
                octets = id.to_be_bytes().to_vec();
            }
            let flags = u8::from(*dup) << 7 | qos << 5 | u8::from(*retain) << 4 | kind;
            let parts = [&[flags], &*octets, &id_octets, payload.as_bytes()];
            self.say_sn(c, sn::PUBLISH, &parts);
            return;
        }
        let mut properties = Vec::new();
        if let Some(expiry_s) = publication.expiry_s {
            properties.push(2);
            properties.extend(expiry_s.to_be_bytes());
        }
        let mut name = *topic;
        let tcp = self.all[c].tcp.as_mut().expect("who publishes is connected");
        if publication.by_alias && version == Version::V5 {
            let known = tcp.said_aliases.iter().position(|known| known == topic);
            if known.is_some() {
                name = "";
            } else {
                tcp.said_aliases.push(topic);
            }
            let alias = known.unwrap_or(tcp.said_aliases.len() - 1) + 1;
            properties.extend([0x23, 0, u8::try_from(alias).expect("few topics")]);
        }
        let first = 0x30 | u8::from(*dup) << 3 | qos << 1 | u8::from(*retain);
        let id = if *qos > 0 { &id_octets[..] } else { &[] };
        let properties = wire::properties(version, &properties);
        let parts = [&*wire::string(name), id, &properties, payload.as_bytes()];
        self.say(c, &wire::packet(first, &parts));
    }

    /// PUBREL.
    pub(crate) fn release(&mut self, c: usize, version: Version, id: u16) {
        let id = id.to_be_bytes();
        match version {
            Version::Sn => self.say_sn(c, sn::PUBREL, &[&id]),
            Version::V31 | Version::V311 | Version::V5 => self.say(c, &wire::packet(0x62, &[&id])),
        }
    }

    /// QoS −1.
    pub(crate) fn publish_unconnected(
        &mut self,
        c: usize,
        topic: &str,
        payload: &str,
        retain: bool,
    ) {
        let (kind, octets) = sn_topic(topic);
        let flags = 0x60 | u8::from(retain) << 4 | kind;
        self.say_sn(c, sn::PUBLISH, &[&[flags], &octets, &[0, 0], payload.as_bytes()]);
    }

    pub(crate) fn acknowledge(
        &mut self,
        c: usize,
        version: Version,
        step: Step,
        id: u16,
        refuses: bool,
    ) {
        self.reply_step(c, version, step, id, refuses);
        self.listen();
    }

    fn reply_step(&mut self, c: usize, version: Version, step: Step, id: u16, refuses: bool) {
        self.all[c].owed.retain(|owed| *owed != (step, id));
        let [high, low] = id.to_be_bytes();
        if version == Version::Sn {
            match step {
                Step::Ack => self.reply_sn(c, sn::PUBACK, &[&[0, 0, high, low, 0]]),
                Step::Rec => self.reply_sn(c, sn::PUBREC, &[&[high, low]]),
                Step::Comp => self.reply_sn(c, sn::PUBCOMP, &[&[high, low]]),
            }
            return;
        }
        let first = match step {
            Step::Ack => 0x40,
            Step::Rec => 0x50,
            Step::Comp => 0x70,
        };
        let reason: &[u8] = if refuses { &[0x80] } else { &[] };
        let octets = wire::packet(first, &[&[high, low], reason]);
        self.replies.push_back(Reply::Octets(c, octets));
    }

    /// PINGREQ; a sensor that sleeps says who it is.
    pub(crate) fn ping(&mut self, c: usize, version: Version, sleeps: bool) {
        let name = self.all[c].name.clone();
        match version {
            Version::Sn if sleeps => self.say_sn(c, sn::PINGREQ, &[name.as_bytes()]),
            Version::Sn => self.say_sn(c, sn::PINGREQ, &[]),
            Version::V31 | Version::V311 | Version::V5 => self.say(c, &[0xC0, 0]),
        }
    }

    pub(crate) fn sleep(&mut self, c: usize, seconds: u16) {
        self.say_sn(c, sn::DISCONNECT, &[&seconds.to_be_bytes()]);
    }

    pub(crate) fn publish_sys(&mut self, value: &str) {
        self.stack.publish_sys(value);
        self.listen();
    }

    /// Time passes until something that was due has happened, or so many milliseconds. How many
    /// it were.
    pub(crate) fn pass(&mut self, millis: u64) -> u64 {
        let (from, end) = (self.stack.millis, self.stack.millis + millis);
        let mut until = end;
        while let Some(due) = self.stack.next_timeout().filter(|due| *due <= until) {
            self.stack.millis = self.stack.millis.max(due);
            self.stack.settle();
            self.listen();
            until = end.min(self.stack.millis + TOGETHER);
        }
        // Nothing is due soon after the last of them.
        self.stack.millis = if until == end { end } else { self.stack.millis };
        self.stack.millis - from
    }

    pub(crate) fn restart(&mut self) {
        for client in &mut self.all {
            client.tcp = None;
        }
        self.stack.restart();
        self.listen();
    }

    fn next_request(&mut self, c: usize) -> [u8; 2] {
        self.all[c].last_request += 1;
        (0x4000 + self.all[c].last_request).to_be_bytes()
    }

    fn say(&mut self, c: usize, octets: &[u8]) {
        self.replies.push_back(Reply::Octets(c, octets.to_vec()));
        self.listen();
    }

    fn say_sn(&mut self, c: usize, kind: u8, parts: &[&[u8]]) {
        self.reply_sn(c, kind, parts);
        self.listen();
    }

    fn reply_sn(&mut self, c: usize, kind: u8, parts: &[&[u8]]) {
        self.replies.push_back(Reply::Datagram(c, wire::frame(kind, parts)));
    }

    /// Everybody hears what was said, and answers what has to be answered, until all is silent.
    fn listen(&mut self) {
        loop {
            for out in self.stack.take() {
                match out {
                    Out::Octets(link, octets) => self.hear_octets(link, &octets),
                    Out::Closed(link) => self.hear_end(link),
                    Out::Datagram(to, datagram) => {
                        let c = (0..CLIENTS).find(|c| address(*c) == to).expect("an address");
                        self.hear_datagram(c, &datagram);
                    }
                }
            }
            match self.replies.pop_front() {
                Some(Reply::Octets(c, octets)) => {
                    if let Some(tcp) = &self.all[c].tcp {
                        self.stack.octets(tcp.link, &octets);
                    }
                }
                Some(Reply::Datagram(c, octets)) => self.stack.datagram(address(c), &octets),
                None => return,
            }
        }
    }

    fn hear_octets(&mut self, link: LinkId, octets: &[u8]) {
        let is_meant = |tcp: &Option<Tcp>| tcp.as_ref().is_some_and(|tcp| tcp.link == link);
        for c in 0..CLIENTS {
            let client = &mut self.all[c];
            let is_former = is_meant(&client.former);
            let tcp = if is_former { &mut client.former } else { &mut client.tcp };
            let Some(tcp) = tcp.as_mut().filter(|tcp| tcp.link == link) else { continue };
            tcp.inbox.extend_from_slice(octets);
            let version = tcp.version;
            let mut packets = Vec::new();
            while let Some(packet) = wire::read(version, &mut tcp.inbox) {
                packets.push(packet);
            }
            for packet in packets {
                self.hear_packet(c, version, packet, is_former);
            }
        }
    }

    fn hear_packet(&mut self, c: usize, version: Version, packet: Packet, is_former: bool) {
        let client = &mut self.all[c];
        match packet {
            Packet::Disconnect(reason) => client.heard.ended.push(Ended::Reason(reason)),
            packet if is_former => panic!("{packet:?} on a connection that is over"),
            Packet::Answer(answer) => client.heard.note(answer),
            Packet::PubRel(id) => self.hear_release(c, version, id),
            Packet::Publish { mut delivery, alias } => {
                let tcp = client.tcp.as_mut().expect("it heard something");
                if let Some(alias) = alias {
                    assert!((1..=tcp.aliases_max).contains(&alias), "[MQTT5-3.1.2-26]");
                    if delivery.topic.is_empty() {
                        delivery.topic = tcp.heard_aliases[&alias].clone();
                    } else {
                        tcp.heard_aliases.insert(alias, delivery.topic.clone());
                    }
                }
                self.hear_delivery(c, version, delivery);
            }
        }
    }

    fn hear_delivery(&mut self, c: usize, version: Version, delivery: crate::heard::Delivery) {
        let (qos, id) = (delivery.qos, delivery.id);
        self.all[c].heard.deliveries.push_back(delivery);
        match qos {
            0 => {}
            1 => self.owe(c, version, Step::Ack, id),
            _ => self.owe(c, version, Step::Rec, id),
        }
    }

    fn hear_release(&mut self, c: usize, version: Version, id: u16) {
        self.all[c].heard.releases.push_back(id);
        self.owe(c, version, Step::Comp, id);
    }

    fn owe(&mut self, c: usize, version: Version, step: Step, id: u16) {
        if !self.all[c].holds {
            self.reply_step(c, version, step, id, false);
        } else if !self.all[c].owed.contains(&(step, id)) {
            self.all[c].owed.push((step, id));
        }
    }

    fn hear_end(&mut self, link: LinkId) {
        for client in &mut self.all {
            for tcp in [&mut client.former, &mut client.tcp] {
                if tcp.take_if(|tcp| tcp.link == link).is_some() {
                    client.heard.ended.push(Ended::Closed);
                }
            }
        }
    }

    fn hear_datagram(&mut self, c: usize, datagram: &[u8]) {
        let (kind, body) = wire::split(datagram);
        let client = &mut self.all[c];
        match kind {
            sn::CONNACK => {
                client.heard.note(Answer::Connack {
                    present: false,
                    code: body[0],
                    expiry_s: None,
                });
            }
            sn::WILLTOPICREQ => {
                let will = client.will.clone().expect("it was announced");
                let flags = will.qos << 5 | u8::from(will.retain) << 4;
                self.reply_sn(c, sn::WILLTOPIC, &[&[flags], will.topic.as_bytes()]);
            }
            sn::WILLMSGREQ => {
                let will = client.will.clone().expect("it was announced");
                self.reply_sn(c, sn::WILLMSG, &[will.payload.as_bytes()]);
            }
            sn::REGISTER => {
                let name = String::from_utf8(body[4..].to_vec()).expect("names are UTF-8");
                client.names.insert(wire::u16_at(body, 0), name);
                self.reply_sn(c, sn::REGACK, &[&body[..4], &[0]]);
            }
            sn::REGACK => {
                assert_eq!(body[4], 0, "a name is refused");
                let name = client.asked.take().expect("it was asked for");
                client.names.insert(wire::u16_at(body, 0), name);
            }
            sn::PUBLISH => self.hear_sn_publish(c, body),
            sn::PUBACK => {
                client.heard.note(Answer::Puback(wire::u16_at(body, 2), body[4]));
            }
            sn::PUBREC => client.heard.note(Answer::Pubrec(wire::u16_at(body, 0), 0)),
            sn::PUBCOMP => client.heard.note(Answer::Pubcomp(wire::u16_at(body, 0), 0)),
            sn::PUBREL => self.hear_release(c, Version::Sn, wire::u16_at(body, 0)),
            sn::SUBACK => self.hear_sn_suback(c, body),
            sn::UNSUBACK => client.heard.note(Answer::Unsuback(Vec::new())),
            sn::PINGRESP => client.heard.note(Answer::Pingresp),
            sn::DISCONNECT => client.heard.ended.push(Ended::Told),
            other => panic!("a gateway does not say {other:#04x} to this client"),
        }
    }

    /// Granted QoS, or 0x80 and the return code.
    fn hear_sn_suback(&mut self, c: usize, body: &[u8]) {
        let client = &mut self.all[c];
        let (granted, topic_id, code) = (body[0] >> 5 & 3, wire::u16_at(body, 1), body[5]);
        let filter = client.asked.take().expect("it was asked for");
        if code == 0 && topic_id != 0 && sn_topic(&filter).0 == 0 {
            let name = match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
                Some((_group, name)) => name.to_owned(),
                None => filter,
            };
            client.names.insert(topic_id, name);
        }
        client.heard.note(Answer::Suback(vec![if code == 0 { granted } else { 0x80 | code }]));
    }

    fn hear_sn_publish(&mut self, c: usize, body: &[u8]) {
        let (flags, number) = (body[0], wire::u16_at(body, 1));
        let topic = match flags & 3 {
            0 => self.all[c].names.get(&number).cloned().expect("an id that it was told"),
            1 => {
                assert_eq!(number, PREDEFINED_ID);
                PREDEFINED.to_owned()
            }
            _ => String::from_utf8(body[1..3].to_vec()).expect("names are UTF-8"),
        };
        let delivery = crate::heard::Delivery {
            topic,
            payload: String::from_utf8_lossy(&body[5..]).into_owned(),
            qos: flags >> 5 & 3,
            retain: flags & 0x10 != 0,
            dup: flags & 0x80 != 0,
            id: wire::u16_at(body, 3),
            subscriptions: Vec::new(),
            expiry_s: None,
        };
        self.hear_delivery(c, Version::Sn, delivery);
    }
}

fn address(c: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, c as u8 + 1], 1_000))
}

/// The keep-alive of a client that has one, in seconds. No two are the same, so that no two clients
/// are lost in one moment.
pub(crate) fn keep_alive_s(c: usize) -> u16 {
    20 + 2 * u16::try_from(c).expect("few clients")
}

fn keep_alive(c: usize, connect: &Connect) -> [u8; 2] {
    let seconds = if connect.has_keep_alive { keep_alive_s(c) } else { 0 };
    seconds.to_be_bytes()
}

/// How a sensor names a topic or filter: by a predefined id, as a short name, else by itself.
fn sn_topic(name: &str) -> (u8, Vec<u8>) {
    match name {
        PREDEFINED => (1, PREDEFINED_ID.to_be_bytes().to_vec()),
        short if short.len() == 2 => (2, short.as_bytes().to_vec()),
        name => (0, name.as_bytes().to_vec()),
    }
}

fn connect_octets(c: usize, name: &str, connect: &Connect, will: Option<&WillText>) -> Vec<u8> {
    let version = connect.version;
    let (protocol, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 | Version::Sn => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    let mut flags = 2 * u8::from(connect.is_clean);
    if let Some(will) = will {
        flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
    }
    // No words in answers, which are for people.
    let mut properties = vec![0x17, 0, 0x11];
    properties.extend(connect.expiry_s.to_be_bytes());
    properties.push(0x21);
    properties.extend(connect.receive_maximum.to_be_bytes());
    properties.push(0x22);
    properties.extend(connect.aliases.to_be_bytes());
    if connect.takes_small_packets {
        properties.push(0x27);
        properties.extend(u32::from(SMALL_PACKETS).to_be_bytes());
    }
    let mut body = wire::string(protocol);
    body.extend([level, flags]);
    body.extend(keep_alive(c, connect));
    body.extend(wire::properties(version, &properties));
    body.extend(wire::string(name));
    if let Some(will) = will {
        let mut properties = vec![0x18];
        properties.extend(will.delay_s.to_be_bytes());
        if let Some(expiry_s) = will.expiry_s {
            properties.push(2);
            properties.extend(expiry_s.to_be_bytes());
        }
        body.extend(wire::properties(version, &properties));
        body.extend(wire::string(&will.topic));
        body.extend(wire::string(&will.payload));
    }
    wire::packet(0x10, &[&body])
}
