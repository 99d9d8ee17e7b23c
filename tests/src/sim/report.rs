//! What came of a run.

use std::fmt;

use super::features::{Feature, Features};
use super::ledger::{LedgerStats, Violation};
use super::net::NetStats;
use super::wire::Octets;
use super::world::Faults;

/// What came of a run, for printing.
#[derive(Debug)]
pub struct Report {
    pub(super) virtual_ms: u64,
    pub(super) net: NetStats,
    pub(super) faults: Faults,
    pub(super) ledger: LedgerStats,
    pub(super) features: Features,
    pub(super) remembered: usize,
    pub(super) machine_bytes: u64,
    pub(super) dropped: u64,
    pub(super) publish_received: u64,
    pub(super) publish_sent: u64,
    pub(super) retransmissions: u64,
    pub(super) violations: Vec<Violation>,
    /// The last events of the device concerned: time, way, octets.
    pub(super) trace: Vec<(u64, char, Octets)>,
    /// What the gateway and its disk went through: time, and what.
    pub(super) history: Vec<(u64, String)>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Datagrams that went through the air.
    pub const fn datagrams(&self) -> u64 {
        self.net.datagrams
    }

    /// Checks that were made.
    pub const fn checks(&self) -> u64 {
        self.ledger.checks
    }

    /// Faults that the world was given: datagrams that were lost, doubled or late, and all that
    /// was done to devices, gateway and disk.
    pub const fn faults_injected(&self) -> u64 {
        let NetStats { datagrams: _, lost, lost_in_bursts, lost_in_cuts, doubled, late } = self.net;
        lost + lost_in_bursts + lost_in_cuts + doubled + late + self.faults.injected()
    }

    /// How often something was there.
    pub const fn count(&self, feature: Feature) -> u64 {
        self.features.of(feature)
    }

    /// Virtual time that passed, in milliseconds.
    pub const fn virtual_ms(&self) -> u64 {
        self.virtual_ms
    }

    /// Adds what another run found.
    pub fn add(&mut self, other: &Self) {
        self.virtual_ms += other.virtual_ms;
        self.dropped += other.dropped;
        self.publish_received += other.publish_received;
        self.publish_sent += other.publish_sent;
        self.retransmissions += other.retransmissions;
        let NetStats { datagrams, lost, lost_in_bursts, lost_in_cuts, doubled, late } = other.net;
        let net = &mut self.net;
        net.datagrams += datagrams;
        net.lost += lost;
        net.lost_in_bursts += lost_in_bursts;
        net.lost_in_cuts += lost_in_cuts;
        net.doubled += doubled;
        net.late += late;
        let (sum, more) = (&mut self.faults, other.faults);
        sum.rebinds += more.rebinds;
        sum.moves += more.moves;
        sum.power_cuts += more.power_cuts;
        sum.radio_cuts += more.radio_cuts;
        sum.broken_connections += more.broken_connections;
        sum.slow_readers += more.slow_readers;
        sum.restarts += more.restarts;
        sum.kills += more.kills;
        sum.power_losses += more.power_losses;
        sum.stops += more.stops;
        sum.disk_failures += more.disk_failures;
        sum.disk_refusals += more.disk_refusals;
        sum.syncs += more.syncs;
        sum.compactions += more.compactions;
        sum.reloads += more.reloads;
        sum.exposed += more.exposed;
        sum.harms += more.harms;
        sum.salvages += more.salvages;
        sum.clock_jumps += more.clock_jumps;
        sum.bad_datagrams += more.bad_datagrams;
        sum.bad_streams += more.bad_streams;
        let (sum, more) = (&mut self.ledger, other.ledger);
        sum.checks += more.checks;
        sum.publications += more.publications;
        sum.accepted += more.accepted;
        sum.delivered += more.delivered;
        sum.retained += more.retained;
        sum.wills += more.wills;
        sum.foreign += more.foreign;
        self.features.add(&other.features);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { net, faults, ledger, .. } = self;
        let seconds = self.virtual_ms / 1_000;
        writeln!(f, "virtual time       {seconds} s")?;
        writeln!(f, "datagrams          {}", net.datagrams)?;
        writeln!(
            f,
            "  lost             {} alone, {} in bursts, {} in cuts",
            net.lost, net.lost_in_bursts, net.lost_in_cuts
        )?;
        writeln!(f, "  doubled, late    {}, {}", net.doubled, net.late)?;
        writeln!(f, "faults             {} injected", self.faults_injected())?;
        writeln!(
            f,
            "sensors            {} ports and {} hosts changed, {} power cuts, {} radio cuts",
            faults.rebinds, faults.moves, faults.power_cuts, faults.radio_cuts
        )?;
        writeln!(
            f,
            "clients            {} broken connections, {} slow readers",
            faults.broken_connections, faults.slow_readers
        )?;
        writeln!(
            f,
            "gateway            {} restarts, {} reloads, {} clock jumps, {} bad datagrams, \
             {} bad streams",
            faults.restarts,
            faults.reloads,
            faults.clock_jumps,
            faults.bad_datagrams,
            faults.bad_streams
        )?;
        writeln!(
            f,
            "crashes            {} kills, {} power losses, {} ends in order, {} undid answers",
            faults.kills, faults.power_losses, faults.stops, faults.exposed
        )?;
        writeln!(
            f,
            "disk               {} failures, {} operations refused, {} syncs, {} files given up",
            faults.disk_failures, faults.disk_refusals, faults.syncs, faults.compactions
        )?;
        writeln!(f, "harmed disks       {}, {} salvaged", faults.harms, faults.salvages)?;
        writeln!(
            f,
            "publications       {} heard, {} accepted, {} delivered, {} retained, {} wills",
            ledger.publications, ledger.accepted, ledger.delivered, ledger.retained, ledger.wills
        )?;
        writeln!(f, "features           {}", self.features)?;
        writeln!(
            f,
            "machine            {} PUBLISH in, {} out, {} repeated, {} dropped, {} MiB counted",
            self.publish_received,
            self.publish_sent,
            self.retransmissions,
            self.dropped,
            self.machine_bytes >> 20
        )?;
        writeln!(
            f,
            "checks             {}, {} publications remembered",
            ledger.checks, self.remembered
        )?;
        write!(f, "violations         {}", self.violations.len())?;
        for Violation { at, party, what } in &self.violations {
            write!(f, "\n  {}.{:03} s, party {party}: {what}", at / 1_000, at % 1_000)?;
        }
        for (at, what) in self.history.iter().filter(|_| !self.is_clean()) {
            write!(f, "\n    {:>6}.{:03} gateway: {what}", at / 1_000, at % 1_000)?;
        }
        for (at, way, octets) in &self.trace {
            write!(f, "\n    {:>6}.{:03} {way}", at / 1_000, at % 1_000)?;
            for octet in &**octets {
                write!(f, " {octet:02X}")?;
            }
        }
        Ok(())
    }
}
