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
            total_rate: Rate { max: settings.searchgw_per_s, window: Duration::from_secs(1) },
        }
    }
}

impl SnGateway {
    /// One GWINFO for a SEARCHGW, from the service port: to the group if it came through the group,
    /// else to who asked (SN-042). The radius is for radio networks; UDP has none (SN-010).
    pub(super) fn answer_search(&mut self, now: Now, path: Path, group: Option<SocketAddr>) {
        self.stats.searches += 1;
        let Discovery { sources, total, total_rate } = &mut self.discovery;
        if !sources.admit(path.address, now.mono) || !total.admit(*total_rate, now.mono) {
            return;
        }
        self.stats.searches_answered += 1;
        let gateway_id = GatewayId(self.settings.gateway_id);
        let asked = group.unwrap_or(path.address.remote);
        let address = Address { remote: asked, ..path.address };
        self.send(Path { address, ..path }, v12::GwInfo { gateway_id, address: &[] });
    }

    /// ADVERTISE on every port, and again after the time that it announces (SN-031, SN-036).
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
        self.timers.insert(now.mono + pause, Timer::Advertise);
    }
}
