//! Publishers alone, at QoS 1: how fast a server acknowledges, and how late.
//!
//! A publisher is at most a window ahead of its PUBACKs. Nobody has to listen.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Token};

use super::{Base, EVENTS, GRACE, packet_id};
use crate::link::Link;
use crate::tally::{Stamp, Tally};
use crate::wire::{self, kind};

/// Writes the topic of a message, by its place among all.
pub(crate) type TopicOf = Box<dyn Fn(&mut String, u64) + Send>;

/// When enough has been published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Time(Duration),
    /// So many messages, of all publishers together.
    Count(u64),
}

/// See the module.
pub(crate) struct Publishers {
    base: Base,
    publishers: Vec<Publisher>,
    window: u32,
    retain: bool,
    topic_of: Option<TopicOf>,
    /// Messages so far.
    sent: u64,
}

struct Publisher {
    link: Link,
    topic: String,
    /// The numbers of the next message to send and to be acknowledged.
    next: u32,
    acknowledged: u32,
    /// When the messages that are on their way were sent, by their numbers modulo the window.
    sent_ns: Vec<u64>,
}

impl Publishers {
    /// Connects `count` publishers, each with a topic of its own.
    ///
    /// # Errors
    /// Those of the sockets, or the server refuses.
    pub(crate) fn open(
        mqtt: SocketAddr,
        count: u32,
        window: u32,
        payload_octets: usize,
    ) -> io::Result<Self> {
        let base = Base::new(payload_octets)?;
        let mut publishers = Vec::new();
        for source in 0..count {
            let mut link = Link::open(mqtt, &format!("pub-{source}"), None)?;
            base.register(&mut link, publishers.len())?;
            let topic = format!("bench/publishers/{source:04}/val");
            let sent_ns = vec![0; window as usize];
            publishers.push(Publisher { link, topic, next: 0, acknowledged: 0, sent_ns });
        }
        Ok(Self { base, publishers, window, retain: false, topic_of: None, sent: 0 })
    }

    /// The same, with a topic for each message.
    pub(crate) fn to(mut self, retain: bool, topic_of: TopicOf) -> Self {
        (self.retain, self.topic_of) = (retain, Some(topic_of));
        self
    }

    /// Publishes, and waits for what is on its way then. What the tally says of deliveries is said
    /// of acknowledgements.
    ///
    /// # Errors
    /// Those of the sockets: the server closed a link, or is gone.
    pub(crate) fn run(&mut self, until: Until) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::with_capacity(EVENTS);
        let began = Instant::now();
        let end = self.sent + if let Until::Count(count) = until { count } else { u64::MAX / 2 };
        for index in 0..self.publishers.len() {
            tally.sent += self.fill(index, end)?;
        }
        let mut over_since = None;
        loop {
            self.base.wait(&mut events)?;
            let is_over = match until {
                Until::Time(duration) => began.elapsed() >= duration,
                Until::Count(_) => self.sent >= end,
            };
            for event in &events {
                let Token(index) = event.token();
                self.hear(index, &mut tally)?;
                if !is_over {
                    tally.sent += self.fill(index, end)?;
                }
            }
            if is_over {
                let since: Instant = *over_since.get_or_insert_with(Instant::now);
                let open = self.publishers.iter().map(Publisher::on_the_way);
                let open: u64 = open.map(u64::from).sum();
                if open == 0 || since.elapsed() > GRACE {
                    tally.lost += open;
                    break;
                }
            }
        }
        tally.wall = began.elapsed();
        Ok(tally)
    }

    /// Sends as many messages as the window of a publisher has room for; returns how many.
    fn fill(&mut self, index: usize, end: u64) -> io::Result<u64> {
        let Self { base, publishers, window, retain, topic_of, sent } = self;
        let publisher = &mut publishers[index];
        let room = u64::from(*window - publisher.on_the_way()).min(end - *sent);
        let sent_ns = base.now_ns();
        for _ in 0..room {
            let number = publisher.next;
            if let Some(topic_of) = topic_of {
                publisher.topic.clear();
                topic_of(&mut publisher.topic, *sent);
            }
            Stamp { source: index as u32, number, sent_ns }.write(&mut base.payload);
            let (out, topic) = (&mut publisher.link.out, publisher.topic.as_bytes());
            let at = out.len();
            wire::put_publish(out, topic, Some(packet_id(number)), &base.payload);
            out[at] |= u8::from(*retain);
            publisher.sent_ns[(number % *window) as usize] = sent_ns;
            publisher.next += 1;
            *sent += 1;
        }
        publisher.link.flush()?;
        Ok(room)
    }

    fn hear(&mut self, index: usize, tally: &mut Tally) -> io::Result<()> {
        let Self { base, publishers, window, .. } = self;
        let Publisher { link, acknowledged, sent_ns, .. } = &mut publishers[index];
        let now = base.now_ns();
        link.read(&mut base.buffer, |_, packet| {
            assert_eq!(packet.kind, kind::PUBACK, "a publisher is told {packet:02X?}");
            if packet.acknowledged() != packet_id(*acknowledged) {
                tally.misplaced += 1;
                return;
            }
            let sent_ns = sent_ns[(*acknowledged % *window) as usize];
            tally.latency.note(now.saturating_sub(sent_ns));
            tally.delivered += 1;
            *acknowledged += 1;
        })?;
        link.flush()
    }
}

impl Publisher {
    fn on_the_way(&self) -> u32 {
        self.next - self.acknowledged
    }
}
