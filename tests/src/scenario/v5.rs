//! What foreign clients of MQTT 5.0 have to go through beside what the older ones have.
//!
//! Properties are words as docs/testing.md tells.

use std::net::SocketAddr;

use crate::client::mqtt::{MqttClient, Version};
use crate::client::{Message, Will};
use crate::foreign::driver::{Driver, Library, Session, mosquitto_pub};
use crate::hex::octets;

/// Everything that a publication can say, in the order in which drivers tell it.
const WORDS: &str = "format=1,expiry=3600,content=text,response=r/t,correlation=cafe,\
                     user=k:1,user=k:2";

/// The same as octets; expiry is looked at by itself.
const OCTETS: [&str; 5] = [
    "01 01",
    "03 00 04 'text'",
    "08 00 03 'r/t'",
    "09 00 02 CA FE",
    "26 00 01 'k' 00 01 '1' 26 00 01 'k' 00 01 '2'",
];

fn ours(server: SocketAddr, client_id: &str) -> MqttClient {
    MqttClient::options(client_id).version(Version::V5).connect(server)
}

/// Every property of [`OCTETS`] is there, an hour of expiry or a second less, and nothing else.
#[track_caller]
fn assert_whole(message: &Message) {
    let has = |part: &[u8]| message.properties.windows(part.len()).any(|found| found == part);
    let mut length = 5;
    for property in OCTETS {
        let property = octets(property);
        assert!(has(&property), "{property:02X?} in {:02X?}", message.properties);
        length += property.len();
    }
    let expiry = [octets("02 00 00 0E 10"), octets("02 00 00 0E 0F")];
    assert!(expiry.iter().any(|octets| has(octets)), "{:02X?}", message.properties);
    assert_eq!(message.properties.len(), length, "{:02X?}", message.properties);
}

/// The words are those of [`WORDS`], but that a second may have passed.
#[track_caller]
fn assert_words(message: &Message, more: &str) {
    let words = String::from_utf8_lossy(&message.properties).replace("=3599", "=3600");
    assert_eq!(words, format!("{WORDS}{more}"), "{message}");
}

/// Properties come through whole in both directions, with the identifier of the subscription.
pub fn properties(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    let mut observer = ours(server, "observer");
    observer.subscribe("from/#", 1);
    foreign.connect(server, &Session::clean("foreign"));
    foreign.tell(&format!("publish from/foreign 1 0 6869 {WORDS}"));
    foreign.expect("published");
    assert_whole(&observer.expect_message("from/foreign", "hi", 1));
    foreign.tell("subscribe to/# 1 id=7");
    foreign.expect("subscribed 1");
    let sent = format!("{} 02 00 00 0E 10", OCTETS.join(" "));
    observer.publish_with("to/foreign", "hi", &sent);
    assert_words(&foreign.next_message(), ",id=7");
}

/// No Local, Retain As Published and Retain Handling 2 do what they say.
pub fn options(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    let mut other = ours(server, "other");
    other.publish_retained("t/old", "was there", 1);
    foreign.connect(server, &Session::clean("foreign"));
    foreign.tell("subscribe t/# 1 no_local=1,as_published=1,handling=2");
    foreign.expect("subscribed 1");
    foreign.publish("t/own", "my own", 1, false);
    other.publish_retained("t/new", "as published", 1);
    foreign.expect_message("t/new", "as published", 1, true);
    other.publish("t/new", "plain", 1);
    foreign.expect_message("t/new", "plain", 1, false);
}

/// A name is said once and stands for itself from then on.
pub fn aliases(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    let mut observer = ours(server, "observer");
    observer.subscribe("from/#", 1);
    foreign.connect(server, &Session::clean("foreign"));
    foreign.tell("publish from/foreign 1 0 31 alias=1");
    foreign.expect("published");
    foreign.tell("publish - 1 0 32 alias=1");
    foreign.expect("published");
    for payload in ["1", "2"] {
        observer.expect_message("from/foreign", payload, 1).assert_properties("");
    }
}

/// A window of one is kept to, and a packet that is too large never comes. This one has no control:
/// Mosquitto 2.0 leaves a place in the window to what it did not send.
pub fn limits(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    let mut other = ours(server, "other");
    foreign.tell("wish receive_maximum=1,packet_max=100");
    foreign.connect(server, &Session::clean("foreign"));
    foreign.subscribe("to/foreign", 2);
    let large = "x".repeat(100);
    for (number, qos) in (0..12).zip([0, 1, 2].into_iter().cycle()) {
        other.publish("to/foreign", format!("{number} {large}"), qos);
        other.publish("to/foreign", number.to_string(), qos);
        foreign.expect_message("to/foreign", &number.to_string(), qos, false);
    }
}

/// Members of a group take turns, and each message comes once.
pub fn shared(library: Library, server: SocketAddr) {
    let Some(mut first) = Driver::start(library) else { return };
    let Some(mut second) = Driver::start(library) else { return };
    for (driver, id) in [(&mut first, "first"), (&mut second, "second")] {
        driver.connect(server, &Session::clean(id));
        driver.subscribe("$share/group/t/#", 1);
    }
    let mut publisher = ours(server, "publisher");
    for number in 0..10 {
        publisher.publish(&format!("t/{number}"), "work", 1);
    }
    let numbers = |driver: &mut Driver, until: &str| {
        let mut topics = Vec::new();
        loop {
            let message = driver.next_message();
            if message.topic == until {
                return topics;
            }
            topics.push(message.topic);
        }
    };
    for (driver, id) in [(&mut first, "first"), (&mut second, "second")] {
        driver.subscribe(&format!("stop/{id}"), 0);
        publisher.publish(&format!("stop/{id}"), "", 0);
    }
    let mut all = numbers(&mut first, "stop/first");
    assert!(!all.is_empty() && all.len() < 10, "{all:?}");
    all.extend(numbers(&mut second, "stop/second"));
    all.sort();
    let expected: Vec<_> = (0..10).map(|number| format!("t/{number}")).collect();
    assert_eq!(all, expected);
}

/// A refusal is an event with its reason. At QoS 1 only: paho-mqtt answers the PUBREC of a refusal
/// with PUBREL, and tells what it is told then.
pub fn refusal(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    foreign.connect(server, &Session::clean("foreign"));
    foreign.tell("publish $SYS/mine 1 0 31");
    foreign.expect("refused 135");
    foreign.publish("t", "goes on", 1, false);
}

/// `mosquitto_pub` and `mosquitto_sub` with `-V mqttv5`.
pub fn mosquitto_tools(server: SocketAddr) {
    let mut observer = ours(server, "observer");
    observer.subscribe("from/#", 2);
    observer.publish_retained("t/old", "was there", 1);
    let publish = |more: &[&str]| {
        let args = [&["-V", "mqttv5", "-t", "from/pub", "-q", "1"], more].concat();
        mosquitto_pub(server, &args)
    };
    let property = |name: &'static str, value: &'static str| ["-D", "publish", name, value];
    let all = [
        property("payload-format-indicator", "1"),
        property("message-expiry-interval", "3600"),
        property("content-type", "text"),
        property("response-topic", "r/t"),
        property("correlation-data", "\u{3A}\u{29}"),
    ]
    .concat();
    let users = ["-D", "publish", "user-property", "k", "1", "-D", "publish", "user-property"];
    let args = [&all[..], &users, &["k", "2", "-m", "hi"]].concat();
    if !publish(&args) {
        return;
    }
    let mut message = observer.expect_message("from/pub", "hi", 1);
    let correlation = octets("09 00 02 ':)'");
    let at = message.properties.windows(correlation.len()).position(|part| part == correlation);
    let at = at.expect("correlation data");
    message.properties.splice(at..at + correlation.len(), octets("09 00 02 CA FE"));
    assert_whole(&message);

    let session = ["-x", "60"];
    let window = ["-D", "connect", "receive-maximum", "1"];
    let will = ["--will-topic", "gone/sub", "--will-payload", "lost", "--will-qos", "1"];
    let options = ["-V", "mqttv5", "-t", "t/#", "-q", "1", "-i", "tool", "-c"];
    let args = [&options[..], &["--retain-as-published"], &session, &window, &will].concat();
    let Some(mut subscriber) = Driver::mosquitto_sub(server, &args) else { return };
    subscriber.expect_message("t/old", "was there", 1, true);
    observer.subscribe("gone/#", 1);
    for (payload, retain) in [("retained", true), ("plain", false)] {
        match retain {
            true => observer.publish_retained("t/new", payload, 1),
            false => observer.publish("t/new", payload, 1),
        };
        subscriber.expect_message("t/new", payload, 1, retain);
    }
    subscriber.vanish();
    // Its will waits for the end of the session or for its own delay, which is none.
    observer.expect_message("gone/sub", "lost", 1);
    observer.publish("t/new", "kept", 1);
    // What was kept comes before the answer to the new subscription.
    let Some(mut back) = Driver::mosquitto_sub(server, &args) else { return };
    back.expect_message("t/new", "kept", 1, false);

    // What it says with an alias says the same.
    assert!(publish(&["-D", "publish", "topic-alias", "1", "-m", "one"]));
    observer.expect_message("from/pub", "one", 1).assert_properties("");
}

/// A will with the properties and the delay of 5.0, from our client to a foreign one.
pub fn delayed_will(library: Library, server: SocketAddr) {
    let Some(mut foreign) = Driver::start(library) else { return };
    foreign.connect(server, &Session::clean("foreign"));
    foreign.subscribe("gone/#", 1);
    let will = Will::new("gone/ours", "lost", 1);
    let dying = MqttClient::options("dying").properties("11 00 00 00 3C");
    let sent = format!("18 00 00 00 01 02 00 00 0E 10 {}", OCTETS.join(" "));
    dying.will_with(will, &sent).connect(server).vanish();
    assert_words(&foreign.next_message(), "");
}
