//! Answers to senders who have no session are few, and never more than was asked (D1).

use std::collections::{BTreeMap, VecDeque};

use mqtt_sn_gw::sn;

use super::wire::{sn as kind, split};

/// What passed between the machine and one stranger.
#[derive(Debug, Default)]
struct Account {
    bytes_in: usize,
    bytes_out: usize,
    /// It was accepted by CONNACK at least once.
    has_connected: bool,
    /// When it was told to connect.
    told_at: VecDeque<u64>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Strangers {
    accounts: BTreeMap<u32, Account>,
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

    pub(crate) fn heard(&mut self, device: u32, bytes: usize) {
        self.accounts.entry(device).or_default().bytes_in += bytes;
    }

    /// A datagram leaves for a stranger.
    pub(crate) fn told(
        &mut self,
        device: u32,
        now: u64,
        octets: &[u8],
    ) -> Result<(), &'static str> {
        let Self { accounts, told_at, per_source, window_ms, per_s } = self;
        let account = accounts.entry(device).or_default();
        account.bytes_out += octets.len();
        let Some((kind, body)) = split(octets) else {
            return Err("what the gateway told a stranger is no message");
        };
        account.has_connected |= kind == kind::CONNACK && body == [0];
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
    }
}

fn note(times: &mut VecDeque<u64>, now: u64, window_ms: u64) {
    times.push_back(now);
    while times.front().is_some_and(|at| at + window_ms <= now) {
        times.pop_front();
    }
}
