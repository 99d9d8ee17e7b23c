//! Every conversation reaches the same end whichever of its datagrams get lost.

use std::collections::VecDeque;
use std::time::Duration;

use mqtt_sn_gw::client::session::{Event, Options, Session, Topic, Will};
use sn_codec::QoS;

use crate::octets::{hex, octets};
use crate::session::{message, name, options, told};

const DUP: u8 = 0x80;
const PUBLISH: u8 = 0x0C;

/// Patience of the gateway towards a message that is not acknowledged.
const GATEWAY_RETRY: Duration = Duration::from_secs(5);

/// After this nobody would believe in an end any more.
const END: Duration = Duration::from_secs(600);

/// A gateway that answers each request as its script says, as often as it comes, and repeats what
/// it has to say itself until it is acknowledged.
struct Gateway {
    /// What comes from the client, without DUP, and the answer.
    answers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Messages to the client in their order, each with its acknowledgment.
    pushes: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// The PINGREQ that sets the messages off, and is answered when they are through.
    ping: Vec<u8>,
    /// When the first message is sent again.
    repeat: Option<Duration>,
}

impl Gateway {
    fn new(answers: &str, ping: &str, pushes: &str) -> Self {
        let pairs = |script: &str| -> Vec<_> {
            let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
            let pairs = lines.map(|line| line.split_once(" : ").expect("a pair"));
            pairs.map(|(one, other)| (octets(one), octets(other))).collect()
        };
        Self {
            answers: pairs(answers),
            pushes: pairs(pushes).into(),
            ping: octets(ping),
            repeat: None,
        }
    }

    fn hear(&mut self, now: Duration, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut plain = datagram.to_vec();
        if plain[1] == PUBLISH {
            plain[2] &= !DUP;
        }
        let acknowledged = |(_, ack): &(Vec<u8>, Vec<u8>)| *ack == plain;
        let is_ack = self.repeat.is_some() && self.pushes.front().is_some_and(acknowledged);
        if is_ack {
            self.pushes.pop_front();
        }
        if is_ack || plain == self.ping {
            return self.push(now, !is_ack && self.repeat.is_some());
        }
        let answer = self.answers.iter().find(|(request, _)| *request == plain);
        answer.map(|(_, answer)| answer.clone())
    }

    /// The next message, or PINGRESP when all are through.
    fn push(&mut self, now: Duration, again: bool) -> Option<Vec<u8>> {
        let Some((datagram, _)) = self.pushes.front() else {
            self.repeat = None;
            return Some(octets("02 17"));
        };
        self.repeat = Some(now + GATEWAY_RETRY);
        let mut datagram = datagram.clone();
        if again && datagram[1] == PUBLISH {
            datagram[2] |= DUP;
        }
        Some(datagram)
    }
}

/// What the owner does when it is told something.
type Act = (&'static str, fn(&mut Session, Duration));

/// A play of one conversation over a network that loses the datagrams of two numbers.
struct Play {
    session: Session,
    gateway: Gateway,
    acts: VecDeque<Act>,
    lost: [usize; 2],
    datagrams: usize,
    told: Vec<String>,
}

impl Play {
    fn run(mut self) -> (Vec<String>, usize) {
        let mut now = Duration::ZERO;
        self.act("", now);
        while !self.acts.is_empty() || self.told.last().is_none_or(|last| last != "disconnected") {
            self.exchange(now);
            let due = self.session.next_timeout().into_iter().chain(self.gateway.repeat).min();
            let Some(due) = due else { break };
            now = due.max(now);
            assert!(now < END, "no end with datagrams {:?} lost: {:?}", self.lost, self.told);
            self.session.handle_timeout(now);
            if self.gateway.repeat.is_some_and(|repeat| repeat <= now) {
                let repeated = self.gateway.push(now, true);
                self.deliver(now, repeated);
            }
        }
        (self.told, self.datagrams)
    }

    /// Lets both sides talk until nobody has anything to say.
    fn exchange(&mut self, now: Duration) {
        loop {
            if let Some(event) = self.session.poll_event() {
                let told = told(&event);
                self.act(&told, now);
                let at_least_once =
                    matches!(&event, Event::Message(m) if m.qos == QoS::AtLeastOnce);
                if !at_least_once || self.told.last() != Some(&told) {
                    self.told.push(told);
                }
            } else if let Some(datagram) = self.session.poll_transmit() {
                if self.passes() {
                    let answers = self.gateway.hear(now, &datagram);
                    self.deliver(now, answers);
                }
            } else {
                return;
            }
        }
    }

    fn deliver(&mut self, now: Duration, datagram: Option<Vec<u8>>) {
        if let Some(datagram) = datagram.filter(|_| self.passes()) {
            let handled = self.session.handle_datagram(now, &datagram);
            assert_eq!(handled, Ok(()), "{}", hex(&datagram));
        }
    }

    fn passes(&mut self) -> bool {
        self.datagrams += 1;
        !self.lost.contains(&self.datagrams)
    }

    fn act(&mut self, told: &str, now: Duration) {
        if self.acts.front().is_some_and(|(cue, _)| *cue == told)
            && let Some((_, act)) = self.acts.pop_front()
        {
            act(&mut self.session, now);
        }
    }
}

/// Plays a conversation once without loss, which has to end as expected, and then again with each
/// datagram and each two datagrams lost.
fn check(options: &Options, gateway: fn() -> Gateway, acts: &[Act], expect: &[&str]) {
    let play = |lost| Play {
        session: Session::new(options.clone()),
        gateway: gateway(),
        acts: acts.iter().copied().collect(),
        lost,
        datagrams: 0,
        told: Vec::new(),
    };
    let (told, datagrams) = play([0, 0]).run();
    assert_eq!(told, expect);
    for first in 1..=datagrams {
        // A lost datagram makes others; those of the first repetition may be lost as well.
        for second in first..=datagrams + 2 {
            let (told, _) = play([first, second]).run();
            assert_eq!(told, expect, "with datagrams {first} and {second} lost");
        }
    }
}

fn connect(session: &mut Session, now: Duration) {
    session.connect(now).expect("nothing is in the way");
}

fn disconnect(session: &mut Session, now: Duration) {
    session.disconnect(now).expect("it is connected");
}

#[test]
fn a_publisher_with_a_will_gets_through() {
    let will = Will {
        topic: "w/dev1".into(),
        payload: b"gone".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
    };
    let gateway = || {
        Gateway::new(
            "0A 04 0C 01 00 3C 'dev1'     : 02 06
             09 07 20 'w/dev1'            : 02 08
             06 09 'gone'                 : 03 05 00
             09 0A 00 00 00 01 'a/b'      : 07 0B 00 07 00 01 00
             09 0C 20 00 07 00 02 'hi'    : 07 0D 00 07 00 02 00
             09 0C 40 00 07 00 03 'hi'    : 04 0F 00 03
             04 10 00 03                  : 04 0E 00 03
             02 18                        : 02 18",
            "02 16",
            "",
        )
    };
    let acts: [Act; 4] = [
        ("", connect),
        ("connected", |session, now| {
            session.publish(now, message(name("a/b"), "hi", QoS::AtLeastOnce)).expect("idle");
        }),
        ("published", |session, now| {
            session.publish(now, message(name("a/b"), "hi", QoS::ExactlyOnce)).expect("idle");
        }),
        ("published", disconnect),
    ];
    let options = Options { will: Some(will), ..options() };
    check(&options, gateway, &acts, &["connected", "published", "published", "disconnected"]);
}

#[test]
fn a_subscriber_gets_every_message() {
    let gateway = || {
        Gateway::new(
            "0A 04 04 01 00 3C 'dev1'     : 03 05 00
             08 12 40 00 01 'a/#'         : 08 13 40 00 00 00 01 00
             08 14 00 00 02 'a/#'         : 04 15 00 02
             02 18                        : 02 18",
            "02 16",
            "09 0A 00 02 01 01 'a/x'      : 07 0B 00 02 01 01 00
             08 0C 20 00 02 01 02 '1'     : 07 0D 00 02 01 02 00
             08 0C 40 00 02 01 03 '2'     : 04 0F 01 03
             04 10 01 03                  : 04 0E 01 03
             08 0C 42 'xy' 01 04 '3'      : 04 0F 01 04
             04 10 01 04                  : 04 0E 01 04",
        )
    };
    let acts: [Act; 5] = [
        ("", connect),
        ("connected", |session, now| {
            session.subscribe(now, name("a/#"), QoS::ExactlyOnce).expect("idle");
        }),
        ("subscribed 2", |session, now| session.ping(now).expect("active")),
        ("pong", |session, now| {
            session.unsubscribe(now, name("a/#")).expect("idle");
        }),
        ("unsubscribed", disconnect),
    ];
    let expect = [
        "connected",
        "subscribed 2",
        "message a/x 1 1",
        "message a/x 2 2",
        "message xy 2 3",
        "pong",
        "unsubscribed",
        "disconnected",
    ];
    check(&options(), gateway, &acts, &expect);
}

#[test]
fn a_sleeper_collects_every_message() {
    let gateway = || {
        Gateway::new(
            "0A 04 04 01 00 3C 'dev1'     : 03 05 00
             07 12 21 00 01 00 05         : 08 13 20 00 05 00 01 00
             04 18 00 1E                  : 02 18
             02 18                        : 02 18",
            "06 16 'dev1'",
            "09 0A 00 02 01 01 'a/x'      : 07 0B 00 02 01 01 00
             08 0C 20 00 02 01 02 '1'     : 07 0D 00 02 01 02 00
             08 0C 41 00 05 01 03 '2'     : 04 0F 01 03
             04 10 01 03                  : 04 0E 01 03",
        )
    };
    let acts: [Act; 5] = [
        ("", connect),
        ("connected", |session, now| {
            session.subscribe(now, Topic::Predefined(5), QoS::AtLeastOnce).expect("idle");
        }),
        ("subscribed 1", |session, now| session.sleep(now, 30).expect("idle")),
        ("asleep", |session, now| session.wake(now).expect("asleep")),
        ("visit complete", disconnect),
    ];
    let expect = [
        "connected",
        "subscribed 1",
        "asleep",
        "message a/x 1 1",
        "message predefined:5 2 2",
        "visit complete",
        "disconnected",
    ];
    check(&options(), gateway, &acts, &expect);
}
