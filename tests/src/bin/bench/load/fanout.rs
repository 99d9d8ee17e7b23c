//! Scenario d: one TCP publisher and many TCP subscribers of the same topic.
//!
//! The publisher is at most a window ahead of the slowest subscriber and, at QoS 1, of its PUBACKs.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::{Events, Token};

use super::{Address, Base, EVENTS, Load, Slice, packet_id};
use crate::link::Link;
use crate::tally::{Stamp, Tally};
use crate::wire::{self, kind};

const TOPIC: &str = "bench/fanout/00/temp";

/// The token of the publisher; those of the subscribers are their places.
const PUBLISHER: usize = usize::MAX - 1;

/// See the module.
pub(crate) struct Fanout {
    base: Base,
    publisher: Link,
    subscribers: Vec<Subscriber>,
    window: u32,
    qos: u8,
    /// The number of the next message, and how many were acknowledged.
    next: u32,
    acknowledged: u32,
    /// How many subscribers wait for each message on its way; the last is that of `next - 1`.
    waiting: VecDeque<usize>,
}

struct Subscriber {
    link: Link,
    /// The number that it gets next.
    due: u32,
}

impl Fanout {
    /// Connects `count` subscribers and the publisher.
    pub(crate) fn open(
        address: Address,
        count: u32,
        window: u32,
        qos: u8,
        payload_octets: usize,
    ) -> io::Result<Self> {
        let base = Base::new(payload_octets)?;
        let mut subscribers = Vec::new();
        for index in 0..count {
            let client = format!("sub-{index}");
            let mut link = Link::open(address.mqtt, &client, Some((TOPIC, qos)))?;
            base.register(&mut link, subscribers.len())?;
            subscribers.push(Subscriber { link, due: 0 });
        }
        let mut publisher = Link::open(address.mqtt, "pub-all", None)?;
        base.register(&mut publisher, PUBLISHER)?;
        let waiting = VecDeque::with_capacity(window as usize);
        let (next, acknowledged) = (0, 0);
        Ok(Self { base, publisher, subscribers, window, qos, next, acknowledged, waiting })
    }

    /// Messages that some subscriber has not got or the server has not acknowledged.
    fn on_the_way(&self) -> u32 {
        let undelivered = u32::try_from(self.waiting.len()).expect("a window");
        undelivered.max(self.next - self.acknowledged)
    }

    fn fill(&mut self) -> io::Result<u64> {
        let room = self.window - self.on_the_way();
        let sent_ns = self.base.now_ns();
        for _ in 0..room {
            let stamp = Stamp { source: 0, number: self.next, sent_ns };
            stamp.write(&mut self.base.payload);
            let id = (self.qos > 0).then(|| packet_id(self.next));
            let payload = &self.base.payload;
            wire::put_publish(&mut self.publisher.out, TOPIC.as_bytes(), id, payload);
            self.next += 1;
            self.waiting.push_back(self.subscribers.len());
        }
        if self.qos == 0 {
            self.acknowledged = self.next;
        }
        self.publisher.flush()?;
        Ok(u64::from(room))
    }

    fn hear_subscriber(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let Self { base, subscribers, next, waiting, .. } = self;
        let Subscriber { link, due } = &mut subscribers[index];
        let now = base.now_ns();
        link.read(&mut base.buffer, |out, packet| {
            let publish = packet.publish();
            let Stamp { number, sent_ns, .. } = Stamp::read(publish.payload);
            let before = *due;
            *due = tally.deliver(before, number);
            tally.latency.note(now.saturating_sub(sent_ns));
            for number in before..*due {
                let behind = (*next - number) as usize;
                let place = waiting.len() - behind;
                waiting[place] -= 1;
            }
            if let Some(id) = publish.id {
                wire::put_puback(out, id);
            }
        })?;
        link.flush()?;
        while waiting.front() == Some(&0) {
            waiting.pop_front();
        }
        Ok(())
    }

    fn hear_publisher(&mut self, tally: &mut Tally) -> io::Result<()> {
        let Self { base, publisher, acknowledged, .. } = self;
        publisher.read(&mut base.buffer, |_, packet| {
            assert_eq!(packet.kind, kind::PUBACK, "the publisher is told {packet:02X?}");
            if packet.acknowledged() == packet_id(*acknowledged) {
                *acknowledged += 1;
            } else {
                tally.misplaced += 1;
            }
        })?;
        publisher.flush()
    }

    /// Gives up what has not come; the next slice begins afresh.
    fn give_up(&mut self, tally: &mut Tally) {
        tally.lost += self.waiting.drain(..).sum::<usize>() as u64;
        self.acknowledged = self.next;
        for subscriber in &mut self.subscribers {
            subscriber.due = self.next;
        }
    }
}

impl Load for Fanout {
    fn run(&mut self, duration: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::with_capacity(EVENTS);
        let slice = Slice::begin(duration);
        tally.sent += self.fill()?;
        loop {
            self.base.wait(&mut events)?;
            for event in &events {
                match event.token() {
                    Token(PUBLISHER) => self.hear_publisher(&mut tally)?,
                    Token(index) => self.hear_subscriber(index, &mut tally)?,
                }
            }
            if slice.is_publishing() {
                tally.sent += self.fill()?;
            } else if self.on_the_way() == 0 {
                break;
            } else if slice.is_past_grace() {
                self.give_up(&mut tally);
                break;
            }
        }
        tally.wall = slice.began.elapsed();
        Ok(tally)
    }
}
