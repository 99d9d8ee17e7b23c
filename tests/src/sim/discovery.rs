//! The gateway says that it is there, when it has to and not more often (SN 6.1).
//!
//! ADVERTISE comes at once and then after the time that it announces. Each SEARCHGW is answered at
//! once by one GWINFO, to whom it came from: the group, or one device, or one node behind its
//! forwarder, which is told the radius. Who searches too much is not answered any more.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mqtt_sn_gw::sn;

use super::wire::{sn as kind, split, u16_at};

/// How late something may be that is to happen at once, beside the time between two turns.
const LATE_MS: u64 = 20;

/// GWINFOs for one asker within [`WINDOW_MS`]; windows begin when they want, so two of them may
/// meet.
const PER_SOURCE: usize = 2 * 5;
const WINDOW_MS: u64 = 5_000;

/// So few SEARCHGWs within two windows are all answered, whoever sent them; fewer if not so many
/// are answered in a second.
const SURE: usize = 5;

/// The group that all gateways and devices listen to.
pub(crate) fn group() -> SocketAddr {
    ([224, 0, 0, 113], 1_883).into()
}

/// Who asks: an address, and the node behind it if it is a forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) from: SocketAddr,
    pub(crate) node: Vec<u8>,
    /// It asks the whole group, and the answer goes there.
    pub(crate) is_group: bool,
}

/// A SEARCHGW that is not answered yet.
#[derive(Debug)]
struct Search {
    at: u64,
    asker: Asker,
    radius: u8,
    /// Nothing permits the gateway to be silent.
    is_sure: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Discovery {
    gateway_id: u8,
    advertise_ms: u64,
    per_s: usize,
    late_ms: u64,
    /// When it was advertised last, or began.
    advertised_at: u64,
    is_advertised: bool,
    searches: VecDeque<Search>,
    /// When SEARCHGW was heard, within two windows.
    heard_at: VecDeque<u64>,
    answered: VecDeque<(u64, SocketAddr, Vec<u8>)>,
}

impl Discovery {
    pub(crate) fn new(settings: &sn::Settings, turn_ms: u64) -> Self {
        Self {
            gateway_id: settings.gateway_id,
            advertise_ms: u64::from(settings.advertise_s) * 1_000,
            per_s: settings.searchgw_per_s as usize,
            late_ms: turn_ms + LATE_MS,
            advertised_at: 0,
            is_advertised: false,
            searches: VecDeque::new(),
            heard_at: VecDeque::new(),
            answered: VecDeque::new(),
        }
    }

    /// A new process begins.
    pub(crate) fn begun(&mut self, now: u64) {
        self.searches.clear();
        self.answered.clear();
        self.heard_at.clear();
        self.advertised_at = now;
        self.is_advertised = false;
    }

    /// Something was heard, SEARCHGW or not.
    pub(crate) fn heard(&mut self, now: u64, asker: Asker, message: &[u8]) {
        let Some((kind::SEARCHGW, &[radius])) = split(message) else { return };
        self.heard_at.push_back(now);
        while self.heard_at.front().is_some_and(|at| at + 2 * WINDOW_MS < now) {
            self.heard_at.pop_front();
        }
        let is_sure = self.heard_at.len() <= SURE.min(self.per_s);
        self.searches.push_back(Search { at: now, asker, radius, is_sure });
    }

    /// GWINFO leaves, to the group or to one, its forwarder being told this radius.
    pub(crate) fn told(
        &mut self,
        now: u64,
        to: SocketAddr,
        node: &[u8],
        radius: u8,
        message: &[u8],
    ) -> Result<(), &'static str> {
        if message != [3, kind::GWINFO, self.gateway_id] {
            return Err("GWINFO is not as it has to be");
        }
        let is_group = to == group();
        let is_it = |it: &Search| {
            // What was not answered at once never will be.
            let is_recent = it.at + self.late_ms >= now;
            let is_radius = node.is_empty() || it.radius.min(3) == radius;
            let is_asker = it.asker.is_group || it.asker.from == to && it.asker.node == node;
            it.asker.is_group == is_group && is_asker && is_radius && is_recent
        };
        let place = self.searches.iter().position(is_it).ok_or("GWINFO that nobody asked for")?;
        let Some(Search { asker, .. }) = self.searches.remove(place) else { return Ok(()) };
        self.answered.push_back((now, asker.from, asker.node.clone()));
        while self.answered.front().is_some_and(|(at, ..)| at + WINDOW_MS <= now) {
            self.answered.pop_front();
        }
        let is_same = |(_, from, node): &&(u64, SocketAddr, Vec<u8>)| {
            *from == asker.from && *node == asker.node
        };
        let of_one = self.answered.iter().filter(is_same).count();
        let of_all = self.answered.iter().filter(|(at, ..)| at + 1_000 > now).count();
        if of_one > PER_SOURCE || of_all > 2 * self.per_s {
            return Err("GWINFO is sent more often than it may be");
        }
        Ok(())
    }

    /// Something leaves for the groups.
    pub(crate) fn advertised(&mut self, now: u64, message: &[u8]) -> Result<(), &'static str> {
        let Some((kind::ADVERTISE, &[gateway_id, ref duration @ ..])) = split(message) else {
            return Err("something else than ADVERTISE left for the groups");
        };
        let duration_ms = u64::from(u16_at(duration, 0)) * 1_000;
        if gateway_id != self.gateway_id || duration.len() != 2 || duration_ms != self.advertise_ms
        {
            return Err("ADVERTISE is not as it has to be");
        }
        let is_early = self.is_advertised && now + 1 < self.advertised_at + self.advertise_ms;
        (self.advertised_at, self.is_advertised) = (now, true);
        if is_early { Err("ADVERTISE came before its time") } else { Ok(()) }
    }

    /// What should have been said by now and was not.
    pub(crate) fn overdue(&mut self, now: u64) -> Option<&'static str> {
        let pause_ms = if self.is_advertised { self.advertise_ms } else { 0 };
        if self.advertise_ms > 0 && now > self.advertised_at + pause_ms + self.late_ms {
            return Some("ADVERTISE did not come in time");
        }
        while self.searches.front().is_some_and(|it| it.at + self.late_ms < now) {
            if self.searches.pop_front()?.is_sure {
                return Some("SEARCHGW was not answered");
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_whom_it_was_asked_by_and_comes_once() {
        let settings = crate::sim::profile::plain_settings();
        let mut discovery = Discovery::new(&settings, 1);
        let from: SocketAddr = ([10, 0, 0, 1], 1_024).into();
        let asker = Asker { from, node: vec![5], is_group: false };
        discovery.heard(100, asker, &[3, 1, 9]);
        let info = [3, 2, 1];
        assert!(discovery.told(100, group(), &[], 0, &info).is_err(), "not to the group");
        assert!(discovery.told(100, from, &[5], 1, &info).is_err(), "another radius");
        assert!(discovery.told(100, from, &[5], 3, &info).is_ok());
        assert!(discovery.told(100, from, &[5], 3, &info).is_err(), "once");
        assert_eq!(discovery.overdue(1_000), None);
        discovery.heard(1_000, Asker { from, node: Vec::new(), is_group: true }, &[3, 1, 0]);
        assert_eq!(discovery.overdue(1_100), Some("SEARCHGW was not answered"));
    }
}
