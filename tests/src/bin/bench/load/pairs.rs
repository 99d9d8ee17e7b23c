//! Scenario c: pairs of TCP clients, a publisher and its subscriber, with a window each.
//!
//! A publisher is at most a window ahead of what its subscriber got and, at QoS 1, of its PUBACKs.

use std::io;
use std::time::Duration;

use mio::{Events, Token};

use super::{Address, Base, EVENTS, Load, Slice, packet_id};
use crate::link::Link;
use crate::tally::{Stamp, Tally};
use crate::wire::{self, kind};

/// See the module.
pub(crate) struct Pairs {
    base: Base,
    pairs: Vec<Pair>,
    window: u32,
    qos: u8,
}

struct Pair {
    source: u32,
    publisher: Link,
    subscriber: Link,
    topic: String,
    /// The numbers of the next message to send, to be delivered and to be acknowledged.
    next: u32,
    due: u32,
    acknowledged: u32,
}

impl Pairs {
    /// Connects `count` pairs.
    pub(crate) fn open(
        address: Address,
        count: u32,
        window: u32,
        qos: u8,
        payload_octets: usize,
    ) -> io::Result<Self> {
        let base = Base::new(payload_octets)?;
        let mut pairs = Vec::new();
        for source in 0..count {
            let topic = format!("bench/pairs/{source:04}/val");
            let filter = Some((topic.as_str(), qos));
            let mut subscriber = Link::open(address.mqtt, &format!("sub-{source}"), filter)?;
            let mut publisher = Link::open(address.mqtt, &format!("pub-{source}"), None)?;
            base.register(&mut publisher, 2 * pairs.len())?;
            base.register(&mut subscriber, 2 * pairs.len() + 1)?;
            let (next, due, acknowledged) = (0, 0, 0);
            pairs.push(Pair { source, publisher, subscriber, topic, next, due, acknowledged });
        }
        Ok(Self { base, pairs, window, qos })
    }

    /// Sends as many messages as the window of a pair has room for; returns how many.
    fn fill(&mut self, index: usize) -> io::Result<u64> {
        let Self { base, pairs, window, qos } = self;
        let pair = &mut pairs[index];
        let room = *window - pair.on_the_way();
        let sent_ns = base.now_ns();
        for number in pair.next..pair.next + room {
            Stamp { source: pair.source, number, sent_ns }.write(&mut base.payload);
            let id = (*qos > 0).then(|| packet_id(number));
            wire::put_publish(&mut pair.publisher.out, pair.topic.as_bytes(), id, &base.payload);
        }
        pair.next += room;
        if *qos == 0 {
            pair.acknowledged = pair.next;
        }
        pair.publisher.flush()?;
        Ok(u64::from(room))
    }

    fn hear_subscriber(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let Self { base, pairs, .. } = self;
        let Pair { source: own, subscriber, due, .. } = &mut pairs[index];
        let now = base.now_ns();
        subscriber.read(&mut base.buffer, |out, packet| {
            let publish = packet.publish();
            let Stamp { source, number, sent_ns } = Stamp::read(publish.payload);
            assert_eq!(source, *own, "a message of another pair");
            *due = tally.deliver(*due, number);
            tally.latency.note(now.saturating_sub(sent_ns));
            if let Some(id) = publish.id {
                wire::put_puback(out, id);
            }
        })?;
        subscriber.flush()
    }

    fn hear_publisher(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let Self { base, pairs, .. } = self;
        let Pair { publisher, acknowledged, .. } = &mut pairs[index];
        publisher.read(&mut base.buffer, |_, packet| {
            assert_eq!(packet.kind, kind::PUBACK, "a publisher is told {packet:02X?}");
            if packet.acknowledged() == packet_id(*acknowledged) {
                *acknowledged += 1;
            } else {
                tally.misplaced += 1;
            }
        })?;
        publisher.flush()
    }
}

impl Pair {
    /// Messages that were not delivered and acknowledged.
    fn on_the_way(&self) -> u32 {
        self.next - self.due.min(self.acknowledged)
    }
}

impl Load for Pairs {
    fn run(&mut self, duration: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::with_capacity(EVENTS);
        let slice = Slice::begin(duration);
        for index in 0..self.pairs.len() {
            tally.sent += self.fill(index)?;
        }
        loop {
            self.base.wait(&mut events)?;
            for event in &events {
                let Token(token) = event.token();
                if token % 2 == 0 {
                    self.hear_publisher(token / 2, &mut tally)?;
                } else {
                    self.hear_subscriber(token / 2, &mut tally)?;
                }
                if slice.is_publishing() {
                    tally.sent += self.fill(token / 2)?;
                }
            }
            if !slice.is_publishing() {
                if self.pairs.iter().all(|pair| pair.on_the_way() == 0) {
                    break;
                }
                if slice.is_past_grace() {
                    for pair in &mut self.pairs {
                        tally.lost += u64::from(pair.on_the_way());
                        (pair.due, pair.acknowledged) = (pair.next, pair.next);
                    }
                    break;
                }
            }
        }
        tally.wall = slice.began.elapsed();
        Ok(tally)
    }
}
