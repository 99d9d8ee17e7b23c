//! The line that tells how far a run is.

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

use system_tests::sim::Report;

/// How often it is told: on a terminal in place, elsewhere as another line of a log.
const IN_PLACE: Duration = Duration::from_millis(200);
const IN_LOGS: Duration = Duration::from_secs(10);

/// Tells on standard error how far worlds, virtual time and datagrams are.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    told: Instant,
    worlds: u64,
    worlds_ended: u64,
    /// Of the worlds that have ended.
    datagrams_ended: u64,
    error: Stderr,
    is_terminal: bool,
}

impl Progress {
    /// A run of so many worlds begins now.
    pub(crate) fn begin(worlds: u64) -> Self {
        let began = Instant::now();
        let error = io::stderr();
        let is_terminal = error.is_terminal();
        let (worlds_ended, datagrams_ended) = (0, 0);
        Self { began, told: began, worlds, worlds_ended, datagrams_ended, error, is_terminal }
    }

    /// A world is so far, in milliseconds of its time, and has seen so many datagrams.
    pub(crate) fn show(&mut self, virtual_ms: u64, datagrams: u64) {
        let every = if self.is_terminal { IN_PLACE } else { IN_LOGS };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let datagrams = self.datagrams_ended + datagrams;
        let rate = datagrams as f64 / self.seconds();
        let (world, worlds) = (self.worlds_ended + 1, self.worlds);
        let text = format!(
            "world {world} of {worlds}: {} s, {datagrams} datagrams, {rate:.0}/s",
            virtual_ms / 1_000
        );
        self.write(&if self.is_terminal { format!("\r{text}   ") } else { format!("{text}\n") });
    }

    /// A world has ended.
    pub(crate) const fn ended(&mut self, report: &Report) {
        self.worlds_ended += 1;
        self.datagrams_ended += report.datagrams();
    }

    /// Makes room for another line.
    pub(crate) fn clear(&mut self) {
        if self.is_terminal {
            self.write("\r\x1b[K");
        }
    }

    /// How long the run has taken so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn write(&mut self, text: &str) {
        // Only a line of progress.
        let _: io::Result<()> = self.error.write_all(text.as_bytes());
    }
}
