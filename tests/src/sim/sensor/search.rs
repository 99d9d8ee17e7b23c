//! A sensor that looks for its gateway (SN 6.1).

use fastrand::Rng;

use super::super::wire::{Octets, frame, sn};
use super::{Ask, Cx, Request, Sensor};

/// T_SEARCHGW: the first SEARCHGW is repeated after that at the earliest (SN-040).
const SEARCH_MS: u64 = 5_000;

/// The pause grows so many times (SN-044).
const DOUBLINGS: u8 = 4;

/// SEARCHGW, with the same radius whenever this one sends it (SN-041).
pub(super) fn message(sensor: u32) -> Octets {
    let radius = u8::try_from(sensor % 6).unwrap_or_default();
    frame(sn::SEARCHGW, &[&[radius]])
}

/// The time until the next one.
pub(super) fn pause_ms(tries: u8, rng: &mut Rng) -> u64 {
    (SEARCH_MS << tries.min(DOUBLINGS)) + rng.u64(..SEARCH_MS)
}

/// Whether one searches through the group or asks the address that it was told at the factory.
pub(crate) const fn asks_group(sensor: u32) -> bool {
    !sensor.is_multiple_of(3)
}

impl Sensor {
    /// Nobody has answered.
    pub(super) fn search_again(&mut self, request: Request, cx: &mut Cx<'_>) {
        self.request = Some(Request { tries: request.tries.saturating_add(1), ..request });
        self.send_request(cx);
    }

    pub(crate) fn is_searching(&self) -> bool {
        self.request.is_some_and(|request| request.ask == Ask::Search)
    }

    /// ADVERTISE or GWINFO: there it is (SN-035).
    pub(super) fn find_gateway(&mut self, cx: &mut Cx<'_>) {
        if self.is_searching() {
            self.knows_gateway = true;
            self.request = None;
            // So that not all who heard it come at once.
            self.due = cx.now + cx.rng.u64(1..1_000);
        }
    }
}
