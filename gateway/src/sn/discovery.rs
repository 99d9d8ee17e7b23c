//! Discovery: ADVERTISE, SEARCHGW, GWINFO (SN 6.1, D10).

use core::time::Duration;
use std::net::SocketAddr;

use broker_core::time::Now;
use sn_codec::GatewayId;
use sn_codec::v12::{self, Packet};

use super::address::{Address, Path, PortId};
use super::limiter::{Meter, Rate, SourceMeters};
use super::settings::Settings;
use super::{SnGateway, Timer};

/// GWINFOs to one source: five at once, one a second in the long run.
const PER_SOURCE: Rate = Rate { max: 5, window: Duration::from_secs(5) };

/// The largest broadcast radius that an envelope for a forwarder can say.
const ENVELOPE_RADIUS_MAX: u8 = 3;

/// Limits of discovery: SEARCHGW can be sent by anybody in anybody's name.
#[derive(Debug)]
pub(super) struct Discovery {
    sources: SourceMeters,
    total: Meter,
    total_rate: Rate,
}

impl Discovery {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            sources: SourceMeters::new(PER_SOURCE, seed),
            total: Meter::default(),
            total_rate: total_rate(settings),
        }
    }

    pub(super) const fn configure(&mut self, settings: &Settings) {
        self.total_rate = total_rate(settings);
    }
}

const fn total_rate(settings: &Settings) -> Rate {
    Rate { max: settings.searchgw_per_s, window: Duration::from_secs(1) }
}

impl SnGateway {
    /// One GWINFO for a SEARCHGW, from the service port: to the group if it came through the group,
    /// else to who asked (SN-042, D10). The radius is passed on to whoever can use it: a forwarder,
    /// whose envelope has room for 3 hops; UDP knows none (SN-010).
    pub(super) fn answer_search(
        &mut self,
        now: Now,
        path: Path,
        group: Option<SocketAddr>,
        search: v12::SearchGw,
    ) {
        self.stats.searches += 1;
        let Discovery { sources, total, total_rate } = &mut self.discovery;
        let source = self.nodes.source(&path.address);
        if !sources.admit_within(source, total, *total_rate, now.mono) {
            return;
        }
        self.stats.searches_answered += 1;
        let gateway_id = GatewayId(self.settings.gateway_id);
        let node = self.nodes.octets(path.address.node);
        // Only its forwarder can pass an envelope on to a node.
        let group = group.filter(|_| node.is_empty());
        let address = Address { remote: group.unwrap_or(path.address.remote), ..path.address };
        let radius = search.radius.min(ENVELOPE_RADIUS_MAX);
        let packet = v12::GwInfo { gateway_id, address: &[] }.into();
        self.outbox.push(Path { address, ..path }, node, radius, &packet);
    }

    /// ADVERTISE on every port, and again after the time that it announces (SN-031, SN-036). This
    /// gateway is a server itself, so it can always serve (SN-032), and it stands by for nobody:
    /// what others advertise changes nothing (SN-038). How often is for the operator to say
    /// (SN-039).
    pub(super) fn advertise(&mut self, now: Now) {
        let duration_s = self.settings.advertise_s;
        let gateway_id = GatewayId(self.settings.gateway_id);
        let packet = Packet::from(v12::Advertise { gateway_id, duration_s });
        for port in 0..self.settings.max_datagram.len() {
            let port = PortId(u16::try_from(port).expect("ports are few"));
            self.outbox.push_to_groups(port, &packet);
            self.stats.advertised += 1;
        }
        let pause = Duration::from_secs(u64::from(duration_s));
        self.advertise_timer = Some(self.timers.insert(now.mono + pause, Timer::Advertise));
    }
}
