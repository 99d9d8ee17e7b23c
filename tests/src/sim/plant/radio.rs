//! Faults about nodes behind forwarders, and those that lie in the settings.

use std::net::SocketAddr;
use std::time::Duration;

use mqtt_sn_gw::sn::{self, Network};

use super::{Fault, Plant, Up};
use crate::sim::book::Book;
use crate::sim::discovery;
use crate::sim::hub::Out;
use crate::sim::place::{Letter, Place};
use crate::sim::wire::Octets;

impl Plant {
    /// The machine is set up otherwise than the checks know.
    pub(crate) fn misconfigure(&self, settings: &mut sn::Settings) {
        match self.fault {
            Some(Fault::TrustEveryForwarder) => {
                let address = [0, 0, 0, 0].into();
                settings.forwarders = vec![Network { address, prefix_len: 0 }];
            }
            Some(Fault::UnlimitedNodes) => settings.nodes_per_forwarder = u32::MAX,
            Some(Fault::NeverAskOwner) => settings.takeover_probe = Duration::ZERO,
            Some(Fault::UnlimitedSearches) => settings.searchgw_per_s = u32::MAX,
            _ => {}
        }
    }

    /// What one node says is heard as another's.
    pub(super) fn cross(&mut self, sensor: u32, place: Place, book: &Book) -> Up {
        match place.via.and_then(|_| sibling(sensor, book)) {
            Some(sensor) if self.strikes() => Up::As { sensor, place: Place { port: 0, ..place } },
            Some(_) | None => Up::Pass,
        }
    }

    /// Puts what is said to a sensor into its envelope, if it needs one.
    pub(super) fn post(
        &mut self,
        fault: Fault,
        sensor: u32,
        place: Place,
        letter: Letter<'_>,
        book: &Book,
    ) -> Out {
        let Letter { radius, message, .. } = letter;
        let is_node = place.via.is_some();
        let mut to = place.address(sensor);
        let mut octets = place.wrap(sensor, message.into(), radius, book);
        match fault {
            Fault::WrongNode if is_node && self.strikes() => {
                let other = sibling(sensor, book).unwrap_or(sensor);
                octets = place.wrap(other, message.into(), radius, book);
            }
            Fault::WrongForwarder if is_node && book.forwarders > 1 && self.strikes() => {
                let other =
                    if sensor.is_multiple_of(book.forwarders) { sensor + 1 } else { sensor - 1 };
                to = Place::first(other, book).address(other);
            }
            Fault::NakedNode if is_node && self.strikes() => octets = message.into(),
            Fault::BroadcastToNode if is_node && self.strikes() => {
                octets = place.wrap(sensor, message.into(), 1, book);
            }
            Fault::WrongRadius if is_node && radius > 0 && self.strikes() => {
                octets = place.wrap(sensor, message.into(), radius - 1, book);
            }
            _ => {}
        }
        Out::Datagram { to, octets }
    }

    /// ADVERTISE leaves.
    pub(super) fn advertise(&mut self, fault: Fault, mut octets: Octets, outs: &mut Vec<Out>) {
        match fault {
            Fault::ForgetAdvertise if self.strikes() => return,
            Fault::DoubleAdvertise => outs.push(Out::Groups { octets: octets.clone() }),
            Fault::WrongDuration => octets[4] ^= 1,
            _ => {}
        }
        outs.push(Out::Groups { octets });
    }

    /// Something leaves for the group or for a stranger.
    pub(super) fn answer_other(
        &mut self,
        fault: Fault,
        mut to: SocketAddr,
        octets: Octets,
        outs: &mut Vec<Out>,
    ) {
        let is_group = to == discovery::group();
        match fault {
            Fault::LoseGwinfo if is_group => return,
            Fault::DoubleGwinfo if is_group => {
                outs.push(Out::Datagram { to, octets: octets.clone() });
            }
            Fault::GwinfoToOne if is_group => to = Place::default().address(0),
            _ => {}
        }
        outs.push(Out::Datagram { to, octets });
    }
}

/// Another sensor that has the same forwarder within reach.
fn sibling(sensor: u32, book: &Book) -> Option<u32> {
    let next = sensor + book.forwarders;
    let other = if next < book.sensors { Some(next) } else { sensor.checked_sub(book.forwarders) };
    other.filter(|_| book.forwarders > 0)
}
