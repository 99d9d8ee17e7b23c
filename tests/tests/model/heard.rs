//! What a client hears, in words that fit all versions.

use std::collections::VecDeque;
use std::fmt;

/// A message for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) id: u16,
    /// Sorted.
    pub(crate) subscriptions: Vec<u32>,
    pub(crate) expiry_s: Option<u32>,
}

/// The answer to something that the client said. Codes are those of its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Connack { present: bool, code: u8, expiry_s: Option<u32> },
    Suback(Vec<u8>),
    Unsuback(Vec<u8>),
    Puback(u16, u8),
    Pubrec(u16, u8),
    Pubcomp(u16, u8),
    Pingresp,
}

/// How a client learns that its connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// DISCONNECT of 5.0 with this reason.
    Reason(u8),
    /// The stream is closed.
    Closed,
    /// DISCONNECT of MQTT-SN, which also acknowledges that of the client.
    Told,
}

/// All that one client heard in the course of one operation. Messages and answers are two lines of
/// their own: how they interleave is nobody's promise, but for what [`Heard::note`] looks at.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) deliveries: VecDeque<Delivery>,
    pub(crate) answers: Vec<Answer>,
    /// PUBREL, by packet identifiers.
    pub(crate) releases: VecDeque<u16>,
    pub(crate) ended: Vec<Ended>,
    /// What came before the answer that has to come first.
    pub(crate) is_hasty: bool,
}

impl Heard {
    /// CONNACK comes before everything [MQTT-3.2.0-1], and SUBACK before what the subscription
    /// brings.
    pub(crate) fn note(&mut self, answer: Answer) {
        if matches!(answer, Answer::Connack { .. } | Answer::Suback(_)) {
            self.is_hasty |= !self.deliveries.is_empty() || !self.releases.is_empty();
        }
        self.answers.push(answer);
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, payload, qos, retain, dup, id, subscriptions, expiry_s } = self;
        let payload = payload.get(..12).unwrap_or(payload);
        write!(f, "{topic} '{payload}' QoS {qos}")?;
        if *retain {
            f.write_str(" RETAIN")?;
        }
        if *dup {
            f.write_str(" DUP")?;
        }
        if *id > 0 {
            write!(f, " id {id}")?;
        }
        if !subscriptions.is_empty() {
            write!(f, " by {subscriptions:?}")?;
        }
        if let Some(expiry_s) = expiry_s {
            write!(f, " for {expiry_s} s")?;
        }
        Ok(())
    }
}
