//! What a sensor that subscribes keeps in mind.

use std::collections::VecDeque;

use fastrand::Rng;

use super::super::book::{self, GROUPS};
use super::super::kind::Wish;
use super::super::net::LATE_MS_MAX;

/// Exchanges of QoS 2 remembered after their end.
const OVER_MAX: usize = 16;

/// Subscriptions, topic ids, and messages of QoS 2 that are not finished.
#[derive(Debug)]
pub(crate) struct Ears {
    /// Whether each wish has been granted.
    granted: Vec<bool>,
    pub(super) names: Vec<(u16, String)>,
    open: Vec<u16>,
    /// Message id, check sum and end of finished exchanges: the radio may bring a copy.
    over: VecDeque<(u16, u64, u64)>,
}

/// What a message of QoS 2 is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    Repeated,
}

impl Ears {
    pub(crate) fn new(wishes: usize) -> Self {
        let granted = vec![false; wishes];
        Self { granted, names: Vec::new(), open: Vec::new(), over: VecDeque::new() }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.granted.iter().all(|granted| *granted)
    }

    pub(super) fn missing(&self) -> Option<u8> {
        self.places(false).next()
    }

    /// One that has been granted.
    pub(super) fn any(&self, rng: &mut Rng) -> Option<u8> {
        let granted: Vec<u8> = self.places(true).collect();
        rng.choice(granted)
    }

    fn places(&self, granted: bool) -> impl Iterator<Item = u8> {
        (0..).zip(&self.granted).filter(move |(_, it)| **it == granted).map(|(place, _)| place)
    }

    pub(super) fn set_granted(&mut self, wish: u8, granted: bool) {
        self.granted[usize::from(wish)] = granted;
    }

    pub(super) fn name(&self, id: u16) -> Option<&str> {
        self.names.iter().find(|(known, _)| *known == id).map(|(_, name)| &**name)
    }

    /// A new name for an id; the old one if there is another.
    pub(super) fn learn(&mut self, id: u16, name: &str) -> Option<String> {
        if let Some(known) = self.name(id) {
            return (known != name).then(|| known.to_owned());
        }
        self.names.push((id, name.to_owned()));
        None
    }

    /// A message of QoS 2 has come.
    pub(super) fn receive(&mut self, now: u64, id: u16, sum: u64) -> Novelty {
        let late = |(over, over_sum, at): &(u16, u64, u64)| {
            *over == id && *over_sum == sum && now - at <= LATE_MS_MAX + 1_000
        };
        if self.open.contains(&id) || self.over.iter().any(late) {
            return Novelty::Repeated;
        }
        self.open.push(id);
        self.over.push_front((id, sum, now));
        self.over.truncate(OVER_MAX);
        Novelty::New
    }

    /// PUBREL has come.
    pub(super) fn release(&mut self, now: u64, id: u16) {
        self.open.retain(|open| *open != id);
        if let Some(over) = self.over.iter_mut().find(|(over, _, _)| *over == id) {
            over.2 = now;
        }
    }

    pub(super) fn forget_names(&mut self) {
        self.names.clear();
    }

    pub(super) fn forget_session(&mut self) {
        self.granted.fill(false);
        self.open.clear();
        self.over.clear();
    }

    pub(super) fn forget_exchanges(&mut self) {
        self.names.clear();
        self.open.clear();
        self.over.clear();
    }

    /// The gateway has forgotten the subscriptions, as far as one knows.
    pub(crate) fn subscribe_again(&mut self) {
        self.granted.fill(false);
    }
}

/// How a filter is said: the topic id type and the octets.
pub(super) fn filter(wish: Wish, sensor: u32) -> (u8, Vec<u8>) {
    match wish {
        Wish::Own | Wish::All | Wish::Commands | Wish::Group | Wish::Retained => {
            (0, filter_text(wish, sensor).into_bytes())
        }
        Wish::Predefined => (1, (1 + u16::from(sensor % 4 > 1)).to_be_bytes().to_vec()),
        Wish::Short => (2, filter_text(wish, sensor).into_bytes()),
    }
}

/// The filter as MQTT writes it.
fn filter_text(wish: Wish, sensor: u32) -> String {
    match wish {
        Wish::Own => format!("c/{sensor}"),
        Wish::All => "c/all".to_owned(),
        Wish::Commands => "c/+".to_owned(),
        Wish::Group => format!("c/g{}/#", sensor % GROUPS),
        Wish::Retained => "r/#".to_owned(),
        Wish::Short => book::short_name(sensor % 4),
        Wish::Predefined => format!("pre/{}", 1 + u16::from(sensor % 4 > 1)),
    }
}
