//! Looks at the whole: bounds while the world goes on, and that nothing is left in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::sim::client;
use crate::sim::features::Feature;
use crate::sim::hub::{Conn, Out};
use crate::sim::model::Holding;
use crate::sim::place::Place;
use crate::sim::report::Report;
use crate::sim::sensor;
use crate::sim::store::Store;
use crate::sim::wire::{MqttPublish, Version, first_packet, frame, mqtt, packet, sn, string};

/// Clients are lost after 27 hours at the latest, and sessions end seven days later.
const TEN_DAYS_MS: u64 = 10 * 86_400_000;

/// The longest step in that time.
const STRIDE_MS: u64 = 30 * 60_000;

/// The connection of whoever tidies up.
const CLEANER: Conn = 1 << 40;

impl World {
    /// Bounds and invariants.
    pub(super) fn look(&mut self) {
        if self.is_down {
            return;
        }
        let limits = self.hub.broker.limits().clone();
        let usage = self.hub.broker.usage();
        let stats = self.hub.broker.stats().clone();
        let most = self.reloads.most();
        let sn_usage = self.hub.sn.usage();
        let sn_peers = sn_usage.active + sn_usage.asleep + sn_usage.awake + sn_usage.gone;
        let checks = [
            (usage.sessions <= limits.sessions_max, "more sessions than allowed"),
            (usage.sessions_connected <= usage.sessions, "more links than sessions"),
            (usage.memory_bytes <= limits.memory_bytes, "more memory than allowed"),
            (usage.retained <= limits.retained_messages_max, "more retained than allowed"),
            (stats.high.inflight <= usize::from(most.inflight), "more in flight than allowed"),
            (stats.high.queue_messages <= most.queue_messages as usize, "a queue is too long"),
            (stats.high.filters <= limits.filters_per_session_max, "too many filters"),
            (sn_usage.topic_ids_max <= usize::from(self.setup.sn.topic_ids_max), "too many ids"),
            (sn_peers <= usage.sessions + sn_usage.handshakes, "clients without sessions"),
            (usage.queued <= usage.sessions as u64 * u64::from(most.queue_messages), "queues"),
        ];
        for (holds, what) in checks {
            self.ledger.check(0, holds, what);
        }
        self.look_at_store();
        if let Some(what) = self.discovery.overdue(self.now) {
            self.ledger.violation(0, what);
        }
        if self.strangers.full_crowds() > 0 {
            self.ledger.features.count(Feature::ForwarderFull);
        }
        if self.is_small {
            self.hub.sn.check_invariants();
        }
    }

    /// All faults are over for long: everybody has to be done, and the machine empty afterwards.
    pub(super) fn finish(&mut self, is_done: bool) {
        let (missing, first) = self.ledger.missing();
        // Clients of MQTT 5.0 that refuse a message have got it.
        let refused = self.ledger.features.of(Feature::Refused);
        let dropped = self.done().dropped.saturating_sub(refused);
        let dropped = usize::try_from(dropped).unwrap_or(usize::MAX);
        if let Some((party, publication)) = first.filter(|_| missing > dropped) {
            let what = format!("{missing} deliveries are missing, the first is {publication}");
            self.ledger.violation(party, &what);
        } else if !is_done && missing == 0 {
            self.blame();
        }
        if let Some(will) = self.ledger.wills.overdue(self.now) {
            self.ledger.violation(will.party, &format!("{will} was due and was not published"));
        }
        self.look();
        self.count_store();
        if self.is_small && self.ledger.violations.is_empty() {
            self.check_rest();
        }
    }

    /// Names one that has not reached its goal.
    fn blame(&mut self) {
        let book = &self.book;
        let sensor = self.sensors.iter().find(|it| !it.is_done(book.kind(it.index)));
        let client = self.clients.iter().find(|it| !it.is_done());
        let sensor = sensor.map(|it| (it.index, format!("{it:?}")));
        let late = sensor.or_else(|| client.map(|it| (it.party, format!("{it:?}"))));
        if let Some((party, state)) = late {
            self.ledger.violation(party, &format!("has not reached its goal in time: {state}"));
        }
    }

    /// Everybody leaves for good; what is retained is looked at and cleared.
    fn check_rest(&mut self) {
        self.hub.hurry();
        self.leave();
        self.pass(TEN_DAYS_MS);
        self.connect_cleaner();
        let retained = self.collect_retained();
        self.check_retained(&retained);
        for topic in retained.keys() {
            let topic = string(topic.as_bytes());
            self.clean(packet(mqtt::PUBLISH << 4 | 1, &[&topic]));
        }
        self.clean(packet(mqtt::DISCONNECT << 4, &[]));
        self.pass(1_000);
        let usage = self.hub.broker.usage();
        let sn_usage = self.hub.sn.usage();
        let left = [
            (usage.sessions, "sessions"),
            (usage.sessions_connected, "links"),
            (usage.subscriptions, "subscriptions"),
            (usage.retained, "retained messages"),
            (usage.messages, "messages"),
            (usize::try_from(usage.message_bytes).unwrap_or(1), "octets of messages"),
            (usize::try_from(usage.retained_bytes).unwrap_or(1), "octets of retained messages"),
            (usize::try_from(usage.queued).unwrap_or(1), "queued messages"),
            (sn_usage.active + sn_usage.asleep + sn_usage.awake + sn_usage.gone, "MQTT-SN clients"),
            (sn_usage.handshakes, "handshakes"),
        ];
        for (count, what) in left {
            self.ledger.check(0, count == 0, &format!("{count} {what} are left in the end"));
        }
        // Nothing of all that is left on the disk either.
        let records = self.hub.store().map_or(0, Store::len);
        self.ledger.check(0, records == 0, &format!("{records} records are left in the end"));
        self.hub.sn.check_invariants();
        let counted = self.hub.sn.stats();
        let dropped = counted.datagrams_dropped;
        self.ledger.check(0, dropped == 0, "datagrams were dropped on their way out");
    }

    /// Half of them say so, the others just fall silent.
    fn leave(&mut self) {
        for index in (0..self.book.sensors).step_by(2) {
            let place = Place { host: 99, ..Place::default() };
            let id = sensor::client_id(index);
            let connect = frame(sn::CONNECT, &[&[0x04, 1, 0, 60], id.as_bytes()]);
            let leave = frame(sn::DISCONNECT, &[]);
            for octets in [connect, leave] {
                self.hub.datagram(self.clock(), place.address(index), None, &octets);
                self.quiet_turns();
            }
        }
        let conns: Vec<Conn> = self.wires.keys().copied().collect();
        for conn in conns {
            let now = self.clock();
            if conn % 2 == 0 {
                let leave = packet(mqtt::DISCONNECT << 4, &[]);
                self.hub.octets(now, conn, &leave, &mut |_, _| {});
            } else {
                self.hub.lost(now, conn);
            }
            self.quiet_turns();
        }
    }

    /// Turns whose outputs nobody hears any more.
    fn quiet_turns(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        for _ in 0..10_000 {
            self.hub.turn(self.clock(), &mut out, &mut |_, _| {});
            if self.hub.next_timeout(self.now) != Some(self.now) {
                break;
            }
        }
        out
    }

    /// Only the machine goes on. ADVERTISE alone would make thousands of turns: it may come late.
    fn pass(&mut self, for_ms: u64) {
        let end = self.now + for_ms;
        while let Some(at) = self.hub.next_timeout(self.now).filter(|at| *at <= end) {
            let is_far = self.setup.sn.advertise_s > 0 && at > self.now;
            self.now = if is_far { (self.now + STRIDE_MS).clamp(at, at.max(end)) } else { at };
            self.quiet_turns();
        }
        self.now = end;
        self.quiet_turns();
    }

    fn connect_cleaner(&mut self) {
        self.hub.open(CLEANER);
        let id = string(client::client_id(u32::MAX).as_bytes());
        let connect = packet(mqtt::CONNECT << 4, &[&string(b"MQTT"), &[4, 2, 0, 0], &id]);
        self.clean(connect);
    }

    fn clean(&mut self, octets: Vec<u8>) -> Vec<u8> {
        self.hub.octets(self.clock(), CLEANER, &octets, &mut |_, _| {});
        let mut heard = Vec::new();
        for out in self.quiet_turns() {
            if let Out::Octets { conn: CLEANER, octets } = out {
                heard.extend_from_slice(&octets);
            }
        }
        heard
    }

    /// Topics and payloads of all that is retained.
    fn collect_retained(&mut self) -> BTreeMap<String, Vec<u8>> {
        let subscribe = packet(mqtt::SUBSCRIBE << 4 | 2, &[&[0, 1], &string(b"#"), &[0]]);
        let stream = self.clean(subscribe);
        let mut rest = stream.as_slice();
        let mut retained = BTreeMap::new();
        while let Some((whole, body)) = first_packet(rest) {
            if let Some(publish) = MqttPublish::read(Version::V311, whole[0], body)
                && whole[0] >> 4 == mqtt::PUBLISH
                && publish.is_retained()
            {
                let topic = String::from_utf8_lossy(publish.topic).into_owned();
                retained.insert(topic, publish.data.to_vec());
            }
            rest = &rest[whole.len()..];
        }
        retained
    }

    /// The retained message of each topic is the last one that was accepted.
    fn check_retained(&mut self, found: &BTreeMap<String, Vec<u8>>) {
        let expires = |holding: &Holding| self.book.life_ms(holding.publication).is_some();
        // Of those that may be the one some may have expired.
        let is_sure = |holding: &Holding| holding.is_sure && !expires(holding);
        let is_sure = |holding: &Holding| holding.is_open() && is_sure(holding);
        let model = &self.ledger.model.retained;
        let may_expire = |held: &Vec<Holding>| held.iter().any(|it| it.is_open() && expires(it));
        let held = model.iter().filter(|(_, held)| held.iter().any(is_sure) && !may_expire(held));
        let expected: BTreeSet<&String> = held.map(|(topic, _)| topic).collect();
        let mut complaints = Vec::new();
        for topic in expected.iter().filter(|topic| !found.contains_key(**topic)) {
            complaints.push(format!("nothing is retained at {topic}"));
        }
        for (topic, payload) in found {
            let Some(publication) = self.book.read(payload).filter(|it| !it.is_will()) else {
                continue;
            };
            if self.book.life_ms(publication).is_some() {
                complaints.push(format!("{publication} is retained for ever at {topic}"));
            }
            let holdings = model.get(topic).map(Vec::as_slice).unwrap_or_default();
            let mut last = holdings.iter().filter(|holding| holding.is_open());
            if !last.any(|holding| holding.publication == publication) {
                complaints
                    .push(format!("{publication} is retained at {topic} and is not the last"));
            }
        }
        self.ledger.stats.checks += found.len() as u64;
        for what in complaints {
            self.ledger.violation(0, &what);
        }
    }
}

impl World {
    pub(super) fn report(&self) -> Report {
        let done = self.done();
        let violations = self.ledger.violations.clone();
        let mut features = self.ledger.features.clone();
        features.add(&self.ledger.wills.features);
        let party = violations.first().map(|violation| violation.party);
        let trace = party.and_then(|party| self.traces.get(&party));
        Report {
            virtual_ms: self.lasted_ms,
            net: self.net.stats,
            faults: self.faults,
            ledger: self.ledger.stats,
            features,
            remembered: self.ledger.remembered(),
            machine_bytes: self.hub.broker.usage().memory_bytes,
            dropped: done.dropped,
            publish_received: done.publish_received,
            publish_sent: done.publish_sent,
            retransmissions: done.retransmissions,
            trace: trace.into_iter().flatten().cloned().collect(),
            history: self.history.iter().cloned().collect(),
            violations,
        }
    }
}
