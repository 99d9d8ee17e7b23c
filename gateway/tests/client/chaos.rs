//! Whatever a gateway sends and an owner asks for, in whatever order: the session keeps its bounds.

use std::time::Duration;

use mqtt_sn_gw::client::session::{Message, Options, Session, Topic};
use proptest::collection::vec;
use proptest::prelude::*;
use sn_codec::QoS;
use sn_codec::v12::{Packet, Publish, Register, Subscribe, Unsubscribe};

use crate::session::{name, options};

#[derive(Clone, Debug)]
enum Act {
    /// A datagram of a type with a body.
    Hear(u8, Vec<u8>),
    /// An answer that fits: of a type, to the message id that was used last, with a return code.
    Answer(u8, u8),
    /// Milliseconds pass.
    Pass(u32),
    Connect,
    /// A connection that stands, if there is none yet.
    Link,
    Publish(Topic, QoS),
    Subscribe(Topic, QoS),
    Unsubscribe(Topic),
    Sleep,
    /// A visit, if that is possible.
    Visit,
    Wake,
    Ping,
    Disconnect,
}

fn topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        "[ab#]{1,3}".prop_map(|text| name(&text)),
        (0..4_u16).prop_map(Topic::Predefined),
        Just(Topic::Short(*b"xy")),
    ]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::MinusOne, QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

/// What a gateway answers with: from CONNACK to DISCONNECT.
const ANSWERS: [u8; 12] = [0x05, 0x06, 0x08, 0x0B, 0x0D, 0x0E, 0x0F, 0x10, 0x13, 0x15, 0x17, 0x18];

fn code() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 1 => 1..5_u8]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..0x1E_u8, vec(0..5_u8, 0..9)).prop_map(|(kind, body)| Act::Hear(kind, body)),
        9 => (prop::sample::select(&ANSWERS[..]), code()).prop_map(|(k, c)| Act::Answer(k, c)),
        2 => (0..100_000_u32).prop_map(Act::Pass),
        1 => Just(Act::Connect),
        4 => Just(Act::Link),
        2 => Just(Act::Visit),
        2 => (topic(), qos()).prop_map(|(topic, qos)| Act::Publish(topic, qos)),
        2 => (topic(), qos()).prop_map(|(topic, qos)| Act::Subscribe(topic, qos)),
        1 => topic().prop_map(Act::Unsubscribe),
        1 => Just(Act::Sleep),
        1 => Just(Act::Wake),
        1 => Just(Act::Ping),
        1 => Just(Act::Disconnect),
    ]
}

/// A message of a type that answers `msg_id`, whatever else it says.
fn answer(kind: u8, msg_id: [u8; 2], code: u8) -> Vec<u8> {
    let [high, low] = msg_id;
    let body = match kind {
        0x05 | 0x1B | 0x1D => vec![code],
        0x0B | 0x0D => vec![0, 7, high, low, code],
        0x0E..=0x10 | 0x15 => vec![high, low],
        0x13 => vec![0, 0, 7, high, low, code],
        _ => vec![],
    };
    frame(kind, &body)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len() + 2).expect("bodies are short");
    [&[length, kind], body].concat()
}

/// The session, the time, and the message id that it used last.
struct Play {
    session: Session,
    now: Duration,
    msg_id: [u8; 2],
}

impl Play {
    fn act(&mut self, act: Act) {
        let Self { session, now, msg_id } = self;
        let asked = match act {
            // Most of these are no messages, which is told and changes nothing.
            Act::Hear(kind, body) => {
                let _ = session.handle_datagram(*now, &frame(kind, &body));
                Ok(())
            }
            Act::Answer(kind, code) => {
                let _ = session.handle_datagram(*now, &answer(kind, *msg_id, code));
                Ok(())
            }
            Act::Pass(millis) => return self.pass(Duration::from_millis(millis.into())),
            Act::Connect => session.connect(*now),
            Act::Link => session.connect(*now).map(|()| {
                let _ = session.handle_datagram(*now, &frame(0x05, &[0]));
            }),
            Act::Visit => session.sleep(*now, 10).and_then(|()| {
                let _ = session.handle_datagram(*now, &frame(0x18, &[]));
                session.wake(*now)
            }),
            Act::Publish(topic, qos) => {
                let message = Message { topic, payload: b"hi".to_vec(), qos, retain: false };
                session.publish(*now, message)
            }
            Act::Subscribe(topic, qos) => session.subscribe(*now, topic, qos),
            Act::Unsubscribe(topic) => session.unsubscribe(*now, topic),
            Act::Sleep => session.sleep(*now, 10),
            Act::Wake => session.wake(*now),
            Act::Ping => session.ping(*now),
            Act::Disconnect => session.disconnect(*now),
        };
        // What is refused has no effect.
        let sent = self.drain();
        assert!(asked.is_ok() || sent == 0, "{asked:?} and {sent} datagrams");
    }

    /// Time does not stand still at a timeout that was handled.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.drain();
            let next = self.session.next_timeout();
            assert!(next.is_none_or(|next| next > self.now), "{next:?} at {:?}", self.now);
        }
        self.now = end;
    }

    /// Everything that is sent is a message; little of it at once.
    fn drain(&mut self) -> usize {
        let mut sent = 0;
        while let Some(datagram) = self.session.poll_transmit() {
            sent += 1;
            let packet = Packet::decode(&datagram).expect("a session sends messages");
            if let Packet::Register(Register { msg_id, .. })
            | Packet::Publish(Publish { msg_id, .. })
            | Packet::Subscribe(Subscribe { msg_id, .. })
            | Packet::Unsubscribe(Unsubscribe { msg_id, .. }) = packet
            {
                self.msg_id = msg_id.0.to_be_bytes();
            }
        }
        let mut told = 0;
        while self.session.poll_event().is_some() {
            told += 1;
        }
        assert!(sent <= 3 && told <= 2, "{sent} datagrams and {told} events at once");
        sent
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_session_keeps_its_bounds(acts in vec(act(), 0..60), clean_session in any::<bool>()) {
        let session = Session::new(Options { clean_session, ..options() });
        let mut play = Play { session, now: Duration::ZERO, msg_id: [0, 0] };
        acts.into_iter().for_each(|act| play.act(act));
    }
}
