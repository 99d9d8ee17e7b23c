//! Other settings while everything goes on.
//!
//! A setting holds for whatever happens from then on: the next repetition, the next visit, the next
//! CONNECT. What is under way ends as it began: a timer that runs is not set anew, and what a
//! client was promised when it connected stays until it connects again.

use core::time::Duration;

use broker_core::time::Now;

use super::limiter::Rate;
use super::predefined::Table;
use super::settings::Settings;
use super::{SnGateway, Timer};

impl SnGateway {
    /// Takes other settings from now on, but for whether clients are recorded, which stays. The
    /// bounds of queues are for clients that connect;
    /// [`Broker::set_queue_limits`](broker_core::Broker::set_queue_limits) sets those of all.
    ///
    /// Lower bounds take nothing away: topic ids that were given out stay, and so do nodes behind a
    /// forwarder. A forwarder that is not allowed any more is not heard; its nodes are lost when
    /// their time is up. Work is in proportion to the predefined topics and, if one of them has
    /// changed, to the clients.
    ///
    /// Returns whether the predefined topics were taken: they are not while connected clients go by
    /// too many earlier ones.
    pub fn set_settings(&mut self, now: Now, mut settings: Settings) -> bool {
        settings.is_durable = self.settings.is_durable;
        let table = take_table(&mut settings);
        let connected = self.peers.iter().filter(|(_, peer)| peer.is_connected());
        let oldest = connected.map(|(_, peer)| peer.predefined_since).min();
        let is_taken = self.predefined.replace(table, oldest);

        let (unknown_rate, unconnected_rate) = rates(&settings);
        self.unknown_senders.set_rate(unknown_rate);
        self.unconnected.set_rate(unconnected_rate);
        self.discovery.configure(&settings);
        self.nodes.set_max(settings.nodes_per_forwarder);
        self.handshakes.set_max(settings.handshakes_max);
        if settings.advertise_s != self.settings.advertise_s {
            if let Some(timer) = self.advertise_timer.take() {
                self.timers.cancel(timer);
            }
            // At once, for it says when the next one comes.
            let does_advertise = settings.advertise_s > 0;
            self.advertise_timer =
                does_advertise.then(|| self.timers.insert(now.mono, Timer::Advertise));
        }
        self.settings = settings;
        is_taken
    }
}

/// The rates of answers to unknown senders and of what comes without a session, for each source.
pub(super) const fn rates(settings: &Settings) -> (Rate, Rate) {
    let unknown =
        Rate { max: settings.unknown_answers_per_source, window: settings.unknown_answers_window };
    let unconnected = Rate { max: settings.qos_minus_one_per_s, window: Duration::from_secs(1) };
    (unknown, unconnected)
}

/// The predefined topics, which are kept apart from the other settings.
pub(super) fn take_table(settings: &mut Settings) -> Table {
    Table {
        for_all: core::mem::take(&mut settings.predefined),
        for_one: core::mem::take(&mut settings.predefined_for),
    }
}
