//! The session, octet by octet.

use std::time::Duration;

use mqtt_sn_gw::client::session::{
    DATAGRAM_MAX, Event, Message, Options, RequestError, Retry, Session, Topic, Will,
};
use sn_codec::QoS;

use crate::octets::{hex, octets};

pub(crate) fn options() -> Options {
    Options {
        client_id: "dev1".to_owned(),
        clean_session: true,
        keep_alive_s: 60,
        will: None,
        retry: Retry { after: Duration::from_secs(2), times: 2 },
    }
}

pub(crate) fn message(topic: Topic, payload: &str, qos: QoS) -> Message {
    Message { topic, payload: payload.into(), qos, retain: false }
}

pub(crate) fn name(name: &str) -> Topic {
    Topic::Name(name.to_owned())
}

/// An event as a word or a few.
pub(crate) fn told(event: &Event) -> String {
    match event {
        Event::Message(message) => {
            let Message { topic, payload, qos, retain } = message;
            let stale = if *retain { " stale" } else { "" };
            format!("message {topic} {qos}{stale} {}", String::from_utf8_lossy(payload))
        }
        Event::Lost { unanswered, tries } => format!("lost {unanswered} {tries}"),
        Event::Refused(code) => format!("refused {:02X}", code.octet()),
        Event::Rejected(code) => format!("rejected {:02X}", code.octet()),
        Event::Discarded(code) => format!("discarded {:02X}", code.octet()),
        Event::Subscribed(qos) => format!("subscribed {qos}"),
        Event::VisitOver { complete: true } => "visit complete".to_owned(),
        Event::VisitOver { complete: false } => "visit incomplete".to_owned(),
        Event::Connected => "connected".to_owned(),
        Event::Published => "published".to_owned(),
        Event::Unsubscribed => "unsubscribed".to_owned(),
        Event::Pong => "pong".to_owned(),
        Event::Asleep => "asleep".to_owned(),
        Event::Disconnected => "disconnected".to_owned(),
        Event::Ended => "ended".to_owned(),
    }
}

/// A session on a stage: a script says what the gateway sends and what the session has to do.
struct Stage {
    session: Session,
    now: Duration,
}

impl Stage {
    fn with(options: Options) -> Self {
        Self { session: Session::new(options), now: Duration::ZERO }
    }

    /// A session that is connected, with nothing under way.
    fn connected(options: Options) -> Self {
        let mut stage = Self::with(options);
        stage.connect();
        stage
    }

    fn connect(&mut self) {
        self.session.connect(self.now).expect("nothing is in the way");
        assert!(self.session.poll_transmit().is_some_and(|connect| connect[1] == 0x04));
        let connack = self.session.handle_datagram(self.now, &octets("03 05 00"));
        assert_eq!((connack, self.session.poll_event()), (Ok(()), Some(Event::Connected)));
    }

    fn publish(&mut self, topic: Topic, payload: &str, qos: QoS) {
        self.session.publish(self.now, message(topic, payload, qos)).expect("nothing is under way");
    }

    fn subscribe(&mut self, topic: Topic, qos: QoS) {
        self.session.subscribe(self.now, topic, qos).expect("nothing is under way");
    }

    /// `>` is what the session sends next, `!` what it tells next, `<` what the gateway sends, and
    /// `.` seconds that pass. In the end it has nothing more to send or to tell.
    #[track_caller]
    fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (sign, text) = line.split_at(1);
            let text = text.split("--").next().unwrap_or_default().trim();
            match sign {
                ">" => {
                    let sent = self.session.poll_transmit().map(|octets| hex(&octets));
                    assert_eq!(sent, Some(hex(&octets(text))), "at {line}");
                }
                "!" => {
                    let told = self.session.poll_event().as_ref().map(told);
                    assert_eq!(told.as_deref(), Some(text), "at {line}");
                }
                "<" => {
                    let handled = self.session.handle_datagram(self.now, &octets(text));
                    handled.unwrap_or_else(|error| panic!("{error} at {line}"));
                }
                "." => self.pass(text.parse().expect("seconds")),
                _ => panic!("what is {line}?"),
            }
        }
        assert_eq!(self.session.poll_transmit().map(|octets| hex(&octets)), None);
        assert_eq!(self.session.poll_event().as_ref().map(told), None);
    }

    fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(due) = self.session.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
        }
        self.now = end;
    }
}

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn sn_045_a_connection_begins_with_connect_and_ends_with_disconnect() {
    let mut stage = Stage::with(options());
    assert_eq!(stage.session.connect(stage.now), Ok(()));
    stage.play("> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00\n! connected");
    assert_eq!(stage.session.disconnect(stage.now), Ok(()));
    stage.play("> 02 18\n< 02 18\n! disconnected");
}

#[test]
fn the_will_is_told_when_the_gateway_asks_for_it() {
    let will = Will { topic: "w/dev1".into(), payload: b"gone".into(), qos: Q1, retain: true };
    let mut stage = Stage::with(Options { will: Some(will), clean_session: false, ..options() });
    assert_eq!(stage.session.connect(stage.now), Ok(()));
    stage.play(
        "> 0A 04 08 01 00 3C 'dev1'
         < 02 06
         > 09 07 30 'w/dev1'
         . 2
         > 09 07 30 'w/dev1'
         < 02 06                   -- an earlier CONNECT was late: from the beginning
         > 09 07 30 'w/dev1'
         < 02 08
         > 06 09 'gone'
         < 03 05 00
         ! connected",
    );
}

#[test]
fn a_will_of_nothing_is_one_and_a_will_without_topic_is_none() {
    let will = |topic: &str| Will { topic: topic.into(), payload: vec![], qos: Q0, retain: false };
    let mut stage = Stage::with(Options { will: Some(will("w")), ..options() });
    assert_eq!(stage.session.connect(stage.now), Ok(()));
    stage.play("> 0A 04 0C 01 00 3C 'dev1'\n< 02 06\n> 04 07 00 'w'\n< 02 08\n> 02 09");
    let mut stage = Stage::with(Options { will: Some(will("")), ..options() });
    assert_eq!(stage.session.connect(stage.now), Err(RequestError::NoWillTopic));
    stage.play("");
}

#[test]
fn a_refused_connection_says_why() {
    for code in ["01", "03", "7F"] {
        let mut stage = Stage::with(options());
        assert_eq!(stage.session.connect(stage.now), Ok(()));
        stage.play(&format!("> 0A 04 04 01 00 3C 'dev1'\n< 03 05 {code}\n! refused {code}\n. 600"));
    }
}

#[test]
fn sn_089_what_is_not_answered_is_repeated_and_given_up() {
    let mut stage = Stage::with(options());
    assert_eq!(stage.session.connect(stage.now), Ok(()));
    stage.play(
        "> 0A 04 04 01 00 3C 'dev1'
         . 2
         > 0A 04 04 01 00 3C 'dev1'
         . 2
         > 0A 04 04 01 00 3C 'dev1'
         . 1.9
         . 0.1
         ! lost CONNECT 3
         . 600",
    );
}

#[test]
fn sn_056_a_name_is_registered_once_and_its_id_used() {
    let mut stage = Stage::connected(options());
    stage.publish(name("a/b/c"), "hi", Q0);
    stage.play(
        "> 0B 0A 00 00 00 01 'a/b/c'
         < 07 0B 00 07 00 02 00      -- the answer to something else
         < 07 0B 00 07 00 01 00
         > 09 0C 00 00 07 00 00 'hi'
         ! published",
    );
    stage.publish(name("a/b/c"), "ho", Q0);
    stage.play("> 09 0C 00 00 07 00 00 'ho'\n! published");
}

#[test]
fn a_message_to_the_gateway_at_qos_1_is_acknowledged() {
    let mut stage = Stage::connected(options());
    stage.publish(Topic::Predefined(5), "hi", Q1);
    stage.play(
        "> 09 0C 21 00 05 00 01 'hi'
         < 07 0D 00 05 00 09 00      -- the answer to something else
         < 04 0F 00 01               -- PUBREC belongs to QoS 2
         > 04 10 00 01
         . 2
         > 09 0C A1 00 05 00 01 'hi' -- with DUP
         < 07 0D 00 00 00 01 00      -- some gateways do not repeat the topic id
         ! published
         < 07 0D 00 05 00 01 00",
    );
}

#[test]
fn a_message_to_the_gateway_at_qos_2_takes_four_steps() {
    let mut stage = Stage::connected(options());
    stage.publish(Topic::Short(*b"xy"), "hi", Q2);
    stage.play(
        "> 09 0C 42 'xy' 00 01 'hi'
         . 2
         > 09 0C C2 'xy' 00 01 'hi'
         < 07 0D 'xy' 00 01 00       -- PUBACK is no success at QoS 2
         < 04 0E 00 01               -- neither is PUBCOMP before PUBREL
         < 04 0F 00 01
         > 04 10 00 01
         < 04 0F 00 01               -- PUBREL got lost
         > 04 10 00 01
         . 2
         > 04 10 00 01
         < 04 0E 00 01
         ! published
         < 04 0F 00 01
         > 04 10 00 01",
    );
}

#[test]
fn sn_068_qos_minus_one_needs_no_connection_and_a_topic_without_registration() {
    let mut stage = Stage::with(options());
    stage.publish(Topic::Short(*b"xy"), "hi", QoS::MinusOne);
    stage.play("> 09 0C 62 'xy' 00 00 'hi'\n! published");
    stage.publish(Topic::Predefined(5), "hi", QoS::MinusOne);
    stage.play("> 09 0C 61 00 05 00 00 'hi'\n! published");
    let refused = stage.session.publish(stage.now, message(name("a/b"), "hi", QoS::MinusOne));
    assert_eq!(refused, Err(RequestError::NeedsTopicId));
    stage.play("");
}

#[test]
fn sn_061_a_disowned_topic_id_is_registered_again_once() {
    let mut stage = Stage::connected(options());
    stage.publish(name("a/b/c"), "hi", Q1);
    stage.play(
        "> 0B 0A 00 00 00 01 'a/b/c'
         < 07 0B 00 42 00 01 00
         > 09 0C 20 00 42 00 02 'hi'
         < 07 0D 00 42 00 02 02
         > 0B 0A 00 00 00 03 'a/b/c'
         < 07 0B 00 01 00 03 00
         > 09 0C 20 00 01 00 04 'hi'
         < 07 0D 00 01 00 04 02
         ! rejected 02",
    );
    // Nothing can be done about a predefined id.
    stage.publish(Topic::Predefined(9), "hi", Q2);
    stage.play("> 09 0C 41 00 09 00 05 'hi'\n< 07 0D 00 09 00 05 02\n! rejected 02");
}

#[test]
fn a_refusal_ends_the_request() {
    let mut stage = Stage::connected(options());
    stage.publish(name("a/b/c"), "hi", Q1);
    stage.play("> 0B 0A 00 00 00 01 'a/b/c'\n< 07 0B 00 00 00 01 03\n! rejected 03");
    stage.publish(name("a/b/c"), "hi", Q1);
    stage.play("> 0B 0A 00 00 00 02 'a/b/c'\n< 07 0B 00 00 00 02 00\n! rejected 02");
    stage.publish(Topic::Predefined(5), "hi", Q1);
    stage.play("> 09 0C 21 00 05 00 03 'hi'\n< 07 0D 00 05 00 03 01\n! rejected 01");
    stage.subscribe(name("a/#"), Q1);
    stage.play("> 08 12 20 00 04 'a/#'\n< 08 13 00 00 00 00 04 03\n! rejected 03");
    assert!(stage.session.is_idle());
}

#[test]
fn a_message_at_qos_0_may_be_refused_afterwards() {
    let mut stage = Stage::connected(options());
    stage.publish(name("a/b/c"), "hi", Q0);
    stage.play(
        "> 0B 0A 00 00 00 01 'a/b/c'
         < 07 0B 00 07 00 01 00
         > 09 0C 00 00 07 00 00 'hi'
         ! published
         < 07 0D 00 07 00 00 02
         ! discarded 02",
    );
    stage.publish(name("a/b/c"), "hi", Q0);
    stage.play("> 0B 0A 00 00 00 02 'a/b/c'\n< 07 0B 00 01 00 02 00\n> 09 0C 00 00 01 00 00 'hi'\n! published");
    assert_eq!(stage.session.disconnect(stage.now), Ok(()));
    stage.play("> 02 18\n< 07 0D 00 01 00 00 03\n! discarded 03\n< 02 18\n! disconnected");
}

#[test]
fn sn_075_one_request_is_under_way() {
    let mut stage = Stage::connected(options());
    stage.subscribe(name("a/b/c"), Q1);
    let (session, now) = (&mut stage.session, stage.now);
    assert_eq!(session.subscribe(now, name("d"), Q0), Err(RequestError::Busy));
    assert_eq!(session.unsubscribe(now, name("d")), Err(RequestError::Busy));
    assert_eq!(session.publish(now, message(name("d"), "", Q0)), Err(RequestError::Busy));
    assert_eq!(session.sleep(now, 10), Err(RequestError::Busy));
    stage.play("> 0A 12 20 00 01 'a/b/c'\n< 08 13 20 00 01 00 01 00\n! subscribed 1");
}

#[test]
fn requests_need_a_connection() {
    let mut stage = Stage::with(options());
    let (session, now) = (&mut stage.session, stage.now);
    let wrong = Err(RequestError::WrongState);
    assert_eq!(session.subscribe(now, name("d"), Q0), wrong);
    assert_eq!(session.unsubscribe(now, name("d")), wrong);
    assert_eq!(session.publish(now, message(name("d"), "", Q0)), wrong);
    assert_eq!(session.sleep(now, 10), wrong);
    assert_eq!(session.wake(now), wrong);
    assert_eq!(session.ping(now), wrong);
    assert_eq!(session.disconnect(now), wrong);
    stage.play("");
}

#[test]
fn what_fits_into_no_datagram_is_not_tried() {
    let mut stage = Stage::connected(options());
    let long = "x".repeat(DATAGRAM_MAX);
    let (session, now) = (&mut stage.session, stage.now);
    let check = |refused: Result<(), RequestError>, overhead| {
        let octets = DATAGRAM_MAX + overhead;
        assert_eq!(refused, Err(RequestError::TooLong { octets }));
    };
    check(session.publish(now, message(Topic::Predefined(1), &long, Q0)), 9);
    check(session.publish(now, message(name(&long), "", Q0)), 8);
    check(session.subscribe(now, name(&long), Q0), 7);
    check(session.unsubscribe(now, name(&long)), 7);
    let largest = &long[9..];
    assert_eq!(session.publish(now, message(Topic::Predefined(1), largest, Q0)), Ok(()));
    assert_eq!(session.poll_transmit().map(|octets| octets.len()), Some(DATAGRAM_MAX));
    let mut stage = Stage::with(Options { client_id: long, ..options() });
    check(stage.session.connect(stage.now), 8);
}

#[test]
fn messages_come_by_the_id_of_suback() {
    let mut stage = Stage::connected(options());
    stage.subscribe(name("a/b/c"), Q2);
    stage.play(
        "> 0A 12 40 00 01 'a/b/c'
         < 08 13 40 00 01 00 01 00
         ! subscribed 2
         < 0A 0C 30 00 01 01 01 'old'
         > 07 0D 00 01 01 01 00
         ! message a/b/c 1 stale old
         < 09 0C 00 00 01 00 00 'q0'
         ! message a/b/c 0 q0",
    );
}

#[test]
fn a_message_at_qos_2_is_told_once() {
    let mut stage = Stage::connected(options());
    stage.play(
        "< 09 0C 41 00 05 01 02 'hi'
         > 04 0F 01 02
         < 09 0C C1 00 05 01 02 'hi' -- PUBREC got lost
         > 04 0F 01 02
         < 04 10 01 02
         > 04 0E 01 02
         ! message predefined:5 2 hi
         < 04 10 01 02               -- PUBCOMP got lost
         > 04 0E 01 02
         < 09 0C 41 00 05 01 02 'ho' -- the number is used again
         > 04 0F 01 02
         < 04 10 01 02
         > 04 0E 01 02
         ! message predefined:5 2 ho",
    );
}

#[test]
fn messages_that_are_never_released_are_bounded() {
    let mut stage = Stage::connected(options());
    for id in 0..=64 {
        stage.play(&format!("< 08 0C 41 00 05 01 {id:02X} 'x'\n> 04 0F 01 {id:02X}"));
    }
    stage.play("< 04 10 01 00\n> 04 0E 01 00");
    stage.play("< 04 10 01 01\n> 04 0E 01 01\n! message predefined:5 2 x");
    stage.play("< 04 10 01 40\n> 04 0E 01 40\n! message predefined:5 2 x");
}

#[test]
fn sn_078_names_behind_a_wildcard_are_learnt_from_register() {
    let mut stage = Stage::connected(options());
    stage.subscribe(name("a/#"), Q1);
    stage.play(
        "> 08 12 20 00 01 'a/#'
         < 08 13 20 00 00 00 01 00
         ! subscribed 1
         < 09 0A 00 02 01 03 'a/x'
         > 07 0B 00 02 01 03 00
         < 08 0C 20 00 02 01 04 '1'
         > 07 0D 00 02 01 04 00
         ! message a/x 1 1",
    );
    // The id serves both directions.
    stage.publish(name("a/x"), "2", Q0);
    stage.play("> 08 0C 00 00 02 00 00 '2'\n! published");
}

#[test]
fn a_register_that_makes_no_sense_is_refused() {
    let mut stage = Stage::connected(options());
    stage.play(
        "< 06 0A 00 02 01 03
         > 07 0B 00 02 01 03 03
         < 07 0A 00 02 01 03 FF
         > 07 0B 00 02 01 03 03
         < 07 0A 00 00 01 03 'x'
         > 07 0B 00 00 01 03 02
         < 07 0A FF FF 01 03 'x'
         > 07 0B FF FF 01 03 02",
    );
}

#[test]
fn sn_080_an_unknown_topic_id_is_answered_at_every_qos() {
    let mut stage = Stage::connected(options());
    for (qos, id) in [("00", "00 00"), ("20", "01 06"), ("40", "01 06")] {
        stage.play(&format!("< 08 0C {qos} 00 02 {id} '2'\n> 07 0D 00 02 {id} 02"));
    }
    stage.play("< 08 0C 21 00 00 01 06 '2'\n> 07 0D 00 00 01 06 02");
    stage.play("< 08 0C 22 FF FE 01 06 '2'\n> 07 0D FF FE 01 06 02");
    stage.play("< 08 0C 23 00 02 01 06 '2'\n> 07 0D 00 02 01 06 03");
    // QoS −1 comes from clients only (SN-007).
    stage.play("< 08 0C 62 'xy' 00 00 '2'");
}

#[test]
fn sn_083_a_silent_connection_is_kept_alive() {
    let mut stage = Stage::connected(options());
    stage.play(
        ". 44.9
         . 0.1
         > 02 16
         < 02 17
         ! pong
         . 45
         > 02 16
         . 2
         > 02 16
         . 2
         > 02 16
         . 2
         ! lost PINGREQ 3",
    );
}

#[test]
fn a_gateway_that_says_nothing_is_asked_although_this_side_talks() {
    let mut stage = Stage::connected(options());
    stage.pass(30.0);
    stage.publish(Topic::Predefined(5), "hi", Q0);
    stage.play("> 09 0C 01 00 05 00 00 'hi'\n! published\n. 14.9\n. 0.1\n> 02 16");
    let mut unsupervised = Stage::connected(Options { keep_alive_s: 0, ..options() });
    assert_eq!(unsupervised.session.next_timeout(), None);
    unsupervised.play(". 1000");
}

#[test]
fn sn_085_a_ping_of_the_gateway_is_answered() {
    let mut stage = Stage::connected(options());
    stage.play("< 02 16\n> 02 17\n< 02 17");
    let mut nobody = Stage::with(options());
    nobody.play("< 02 16");
}

#[test]
fn sn_027_a_request_goes_on_after_the_gateway_forgot_this_client() {
    let mut stage = Stage::connected(options());
    stage.publish(name("a/b/c"), "hi", Q1);
    stage.play(
        "> 0B 0A 00 00 00 01 'a/b/c'
         < 07 0B 00 01 00 01 00
         > 09 0C 20 00 01 00 02 'hi'
         < 02 18
         ! ended
         . 600",
    );
    stage.connect();
    stage.play(
        "> 0B 0A 00 00 00 03 'a/b/c'
         < 07 0B 00 09 00 03 00
         > 09 0C 20 00 09 00 04 'hi'
         < 07 0D 00 09 00 04 00
         ! published",
    );
}

#[test]
fn a_kept_session_goes_on_where_it_was() {
    let mut stage = Stage::connected(Options { clean_session: false, ..options() });
    stage.publish(Topic::Predefined(5), "hi", Q2);
    stage.play("> 09 0C 41 00 05 00 01 'hi'\n< 02 18\n! ended");
    stage.connect();
    stage.play("> 09 0C C1 00 05 00 01 'hi'\n< 04 0F 00 01\n> 04 10 00 01\n< 02 18\n! ended");
    stage.connect();
    stage.play("> 04 10 00 01\n< 04 0E 00 01\n! published");
    stage.subscribe(name("a/b/c"), Q1);
    stage.play("> 0A 12 20 00 02 'a/b/c'\n< 02 18\n! ended");
    stage.connect();
    stage.play("> 0A 12 20 00 03 'a/b/c'\n< 08 13 20 00 01 00 03 00\n! subscribed 1");
}

#[test]
fn unsubscribing_names_what_was_subscribed_to() {
    let mut stage = Stage::connected(options());
    let topics = [
        (name("a/b/c"), "> 0A 14 00 00 01 'a/b/c'\n< 04 15 00 01"),
        (Topic::Predefined(5), "> 07 14 01 00 02 00 05\n< 04 15 00 02"),
        (Topic::Short(*b"xy"), "> 07 14 02 00 03 'xy'\n< 04 15 00 03"),
    ];
    for (topic, script) in topics {
        assert_eq!(stage.session.unsubscribe(stage.now, topic), Ok(()));
        stage.play(&format!("{script}\n! unsubscribed"));
    }
}

#[test]
fn a_sleeping_session_collects_its_messages() {
    let mut stage = Stage::connected(options());
    assert_eq!(stage.session.sleep(stage.now, 300), Ok(()));
    stage.play(
        "> 04 18 01 2C
         < 08 0C 21 00 05 01 01 '1'     -- the gateway has not heard it yet
         > 07 0D 00 05 01 01 00
         ! message predefined:5 1 1
         < 02 18
         ! asleep
         < 08 0C 21 00 05 01 02 '2'     -- the radio is off
         < 02 16
         < 02 18
         . 3600",
    );
    assert_eq!(stage.session.subscribe(stage.now, name("a"), Q0), Err(RequestError::WrongState));
    assert_eq!(stage.session.wake(stage.now), Ok(()));
    stage.play(
        "> 06 16 'dev1'
         < 08 0C A1 00 05 01 02 '2'
         > 07 0D 00 05 01 02 00
         ! message predefined:5 1 2
         < 09 0A 00 04 01 0A 'a/z'
         > 07 0B 00 04 01 0A 00
         < 08 0C 00 00 04 00 00 '4'
         ! message a/z 0 4
         < 02 17
         ! visit complete
         < 02 17",
    );
    assert_eq!(stage.session.disconnect(stage.now), Ok(()));
    stage.play("> 02 18\n< 02 18\n! disconnected");
}

#[test]
fn sn_098_every_message_of_a_visit_restarts_its_timer() {
    let mut stage = Stage::connected(options());
    assert_eq!(stage.session.sleep(stage.now, 300), Ok(()));
    stage.play("> 04 18 01 2C\n. 2\n> 04 18 01 2C\n< 02 18\n! asleep");
    assert_eq!(stage.session.wake(stage.now), Ok(()));
    stage.play(
        "> 06 16 'dev1'
         . 2
         > 06 16 'dev1'
         . 1.9
         < 08 0C 01 00 05 00 00 '1'
         ! message predefined:5 0 1
         . 1.9
         . 0.1
         > 06 16 'dev1'
         . 2
         > 06 16 'dev1'
         . 2
         ! visit incomplete             -- SN-099
         . 3600",
    );
    assert_eq!(stage.session.wake(stage.now), Ok(()));
    stage.play("> 06 16 'dev1'\n< 02 18\n! ended");
}

#[test]
fn a_message_after_the_leave_is_left_to_the_gateway() {
    let mut stage = Stage::connected(options());
    assert_eq!(stage.session.disconnect(stage.now), Ok(()));
    stage.play("> 02 18\n< 08 0C 21 00 05 01 01 '1'\n< 09 0A 00 04 01 0A 'a/z'\n< 04 10 00 01");
    stage.play(". 2\n> 02 18\n. 2\n> 02 18\n. 2\n! lost DISCONNECT 3");
}

#[test]
fn what_is_no_message_or_not_for_clients_changes_nothing() {
    let mut stage = Stage::connected(options());
    for wrong in ["", "01", "03 05", "01 00 02", "05 99 00 00 00", "05 FE 00 01 02 17"] {
        assert!(stage.session.handle_datagram(stage.now, &octets(wrong)).is_err(), "{wrong}");
    }
    stage.play(
        "< 05 00 01 03 84
         < 03 01 00
         < 03 02 01
         < 0A 04 04 01 00 3C 'dev1'
         < 03 05 00
         < 02 06
         < 02 07
         < 02 08
         < 02 09
         < 08 12 00 00 02 'a/#'
         < 0A 14 00 00 05 'a/b/c'
         < 02 1A
         < 03 1B 00
         < 02 1C
         < 03 1D 00
         < 04 15 00 07
         < 04 0E 00 07",
    );
}
