//! Answers to senders who have no session are few, and never more than was asked (D1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt_sn_gw::sn;

use super::hostile::Den;
use super::place;
use super::wire::{ENCAPSULATED, sn as kind, split};

/// One who speaks: a device, and the node behind it if it is a forwarder.
type Speaker = (u32, Vec<u8>);

/// What passed between the machine and one stranger.
#[derive(Debug, Default)]
struct Account {
    bytes_in: usize,
    bytes_out: usize,
    /// It was accepted by CONNACK at least once.
    has_connected: bool,
    /// It said a client id in PINGREQ, and a session that sleeps may follow it (D5).
    may_be_followed: bool,
    /// When it was told to connect.
    told_at: VecDeque<u64>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Strangers {
    accounts: BTreeMap<Speaker, Account>,
    /// Nodes of crowds that were told that they are connected, and did not leave.
    crowds: BTreeMap<u32, BTreeSet<Vec<u8>>>,
    nodes_max: usize,
    told_at: VecDeque<u64>,
    per_source: usize,
    window_ms: u64,
    per_s: usize,
}

/// Ports of one stranger; each is a source of its own.
const PORTS: usize = 2;

impl Strangers {
    pub(crate) fn new(settings: &sn::Settings) -> Self {
        Self {
            accounts: BTreeMap::new(),
            crowds: BTreeMap::new(),
            nodes_max: settings.nodes_per_forwarder as usize,
            told_at: VecDeque::new(),
            per_source: settings.unknown_answers_per_source as usize,
            window_ms: u64::try_from(settings.unknown_answers_window.as_millis())
                .unwrap_or(u64::MAX),
            per_s: settings.unknown_answers_per_s as usize,
        }
    }

    /// Other settings: for what is counted across the change the looser ones hold.
    pub(crate) fn reloaded(&mut self, settings: &sn::Settings) {
        let Self { per_source, window_ms, per_s, .. } = Self::new(settings);
        self.per_source = self.per_source.max(per_source);
        self.window_ms = self.window_ms.min(window_ms);
        self.per_s = self.per_s.max(per_s);
    }

    pub(crate) fn heard(&mut self, device: u32, octets: &[u8]) {
        let letter = place::open_from(octets);
        let node = letter.map_or_else(Vec::new, |it| it.node.to_vec());
        let message = split(letter.map_or(octets, |it| it.message));
        let account = self.accounts.entry((device, node)).or_default();
        account.bytes_in += octets.len();
        account.may_be_followed |= matches!(message, Some((kind::PINGREQ, [_, ..])));
    }

    /// Crowds that have as many nodes as they may.
    pub(crate) fn full_crowds(&self) -> usize {
        self.crowds.values().filter(|nodes| nodes.len() == self.nodes_max).count()
    }

    /// A datagram leaves for a stranger.
    pub(crate) fn told(
        &mut self,
        device: u32,
        now: u64,
        octets: &[u8],
    ) -> Result<(), &'static str> {
        let Self { accounts, crowds, nodes_max, told_at, per_source, window_ms, per_s } = self;
        let den = Den::of(device);
        // Who forwards may also speak for itself.
        let letter = place::open(octets).filter(|_| den != Den::Alone);
        let node = letter.map_or_else(Vec::new, |letter| letter.node.to_vec());
        let Some((kind, body)) = split(letter.map_or(octets, |letter| letter.message)) else {
            return Err("what the gateway told a stranger is no message");
        };
        if kind == ENCAPSULATED {
            return Err("an envelope left for somebody who is no forwarder");
        }
        if den == Den::Crowd && kind == kind::CONNACK && body == [0] {
            let nodes = crowds.entry(device).or_default();
            nodes.insert(node.clone());
            if nodes.len() > *nodes_max {
                return Err("a forwarder has more nodes than it may");
            }
        }
        let account = accounts.entry((device, node)).or_default();
        account.bytes_out += octets.len();
        let is_session = matches!(kind, kind::PUBLISH | kind::REGISTER | kind::PINGRESP);
        account.has_connected |= kind == kind::CONNACK && body == [0];
        account.has_connected |= account.may_be_followed && is_session;
        if account.has_connected {
            return Ok(());
        }
        if account.bytes_out > account.bytes_in {
            return Err("a stranger was told more than it asked");
        }
        if kind != kind::DISCONNECT {
            return Ok(());
        }
        // Windows begin with their first answer, so two of them may meet.
        note(&mut account.told_at, now, *window_ms);
        note(told_at, now, 1_000);
        let is_much = account.told_at.len() > 2 * PORTS * *per_source || told_at.len() > 2 * *per_s;
        if is_much { Err("strangers are answered too often") } else { Ok(()) }
    }

    pub(crate) fn restarted(&mut self) {
        self.accounts.values_mut().for_each(|account| account.told_at.clear());
        self.told_at.clear();
        self.crowds.clear();
    }
}

fn note(times: &mut VecDeque<u64>, now: u64, window_ms: u64) {
    times.push_back(now);
    while times.front().is_some_and(|at| at + window_ms <= now) {
        times.pop_front();
    }
}
