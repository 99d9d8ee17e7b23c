//! A large store, filled through the network: retained messages, and sessions that messages wait
//! for.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use super::{Options, clients};
use crate::load::publishers::{Publishers, TopicOf, Until};

/// Messages on their way of each publisher.
pub(super) const WINDOW: u32 = 16;

/// The filter of all retained messages.
pub(super) const PLANT: &str = "plant/#";

/// The client of a session.
pub(super) fn sleeper(number: u32) -> String {
    format!("sleeper-{number:06}")
}

/// Where its messages go.
fn put_sleepers_topic(topic: &mut String, number: u64) {
    write!(topic, "sleeper/{number:06}/command").expect("a string takes everything");
}

/// The topic of the retained message with a number.
fn put_retained_topic(topic: &mut String, number: u64) {
    let (line, sensor) = (number / 1_000, number % 1_000);
    write!(topic, "plant/line-{line:04}/sensor-{sensor:03}").expect("a string takes everything");
}

/// The topics of all retained messages, over and over in an order that jumps.
pub(super) fn retained_topics(options: &Options) -> TopicOf {
    /// A prime, so that all are met.
    const STEP: u64 = 7_368_787;
    let count = u64::from(options.retained);
    Box::new(move |topic, index| put_retained_topic(topic, index * STEP % count))
}

/// Makes the sessions with these numbers.
pub(super) fn make_sleepers(mqtt: SocketAddr, numbers: std::ops::Range<u32>) -> io::Result<()> {
    clients::make_sessions(mqtt, numbers, |number| {
        (sleeper(number), format!("sleeper/{number:06}/+"))
    })
}

/// Fills the store. Returns how many messages were acknowledged.
///
/// # Errors
/// The server breaks off or does not acknowledge.
pub(super) fn fill(options: &Options, mqtt: SocketAddr) -> io::Result<u64> {
    let Options { retained, sessions, queued, .. } = *options;
    let publish = |retain, count: u64, topic_of: TopicOf| {
        let payload = usize::from(options.payload);
        let publishers = Publishers::open(mqtt, options.publishers, WINDOW, payload)?;
        let tally = publishers.to(retain, topic_of).run(Until::Count(count))?;
        if tally.delivered < count {
            return Err(io::Error::other("messages were not acknowledged"));
        }
        Ok(tally.delivered)
    };
    let retained = publish(true, retained.into(), Box::new(put_retained_topic))?;
    make_sleepers(mqtt, 0..sessions)?;
    // One for each, then the next for each: as it is in life, not one queue after the other.
    let topic_of = move |topic: &mut String, index| {
        put_sleepers_topic(topic, index % u64::from(sessions));
    };
    let queued = publish(false, u64::from(sessions) * u64::from(queued), Box::new(topic_of))?;
    Ok(retained + queued)
}
