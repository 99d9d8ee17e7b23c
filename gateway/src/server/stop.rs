//! Signals, and the end.
//!
//! SIGHUP: the configuration is read again, see `reload.rs`.
//!
//! SIGTERM and SIGINT: nothing new is taken, clients that listen are told, what waits is written,
//! and the process ends with status 0. A second signal ends it at once, even while it waits for a
//! disk that hangs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_core::reason::ReasonCode;
use broker_core::time::{Instant, Now};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use tracing::{info, warn};

use super::Server;
use super::tcp::{LinkState, TcpLink};
use crate::net::ws::CloseCode;

/// How long clients have to take what they are told.
const PATIENCE: Duration = Duration::from_secs(3);

/// The exit status after a second signal.
const EXIT_AT_ONCE: i32 = 1;

/// Signals that are handled. SIGHUP has the configuration read again.
pub(super) const SIGNALS: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Asked to stop; clients are told in the next turn.
    Asked,
    /// Told; what waits is written until then at the latest.
    Draining(Instant),
    Stopped,
}

/// A SIGHUP that comes before a [`Server`] is there to hear it: it would end the process.
#[derive(Debug)]
pub struct EarlyHangup(Arc<AtomicBool>);

impl EarlyHangup {
    /// From here on it is kept for the server.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn expect() -> io::Result<Self> {
        let has_come = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&has_come))?;
        Ok(Self(has_come))
    }

    pub(super) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A switch that makes a second signal end the process when the loop sees none any more.
///
/// # Errors
/// The machine refuses.
pub(super) fn register_last_signal() -> io::Result<Arc<AtomicBool>> {
    let is_armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, Arc::clone(&is_armed))?;
    }
    Ok(is_armed)
}

/// Has a write fail like any other that would make a file larger than this process may (`ulimit
/// -f`): the signal for it would end the process.
///
/// # Errors
/// The machine refuses.
pub(super) fn outlive_file_limit() -> io::Result<()> {
    flag::register(libc::SIGXFSZ, Arc::default()).map(drop)
}

impl Server {
    pub(super) fn handle_signals(&mut self) {
        for signal in self.signals.pending() {
            match (signal, self.phase) {
                (SIGHUP, Phase::Serving) => self.ask_reload(),
                // It will be read at the next start.
                (SIGHUP, Phase::Asked | Phase::Draining(_) | Phase::Stopped) => {}
                (_, Phase::Serving) => self.phase = Phase::Asked,
                (_, Phase::Asked | Phase::Draining(_) | Phase::Stopped) => {
                    warn!("stopping at once");
                    self.log.flush();
                    std::process::exit(EXIT_AT_ONCE);
                }
            }
        }
    }

    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining(until) => Some(until),
            Phase::Asked => Some(Instant::default()),
            Phase::Serving | Phase::Stopped => None,
        }
    }

    /// Whether clients were told of the end. Nobody is missed from then on, and nothing comes due:
    /// sessions and wills stay as they are.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    /// Does what is to be done next if the end was asked for.
    pub(super) fn go_on_stopping(&mut self, now: Now) {
        match self.phase {
            Phase::Serving | Phase::Stopped => {}
            Phase::Asked => {
                info!("stopping");
                self.listeners.clear();
                // What clients did last is acknowledged, if it can be.
                self.await_store();
                self.dispatch_outputs(now);
                self.say_farewell(now);
                self.phase = Phase::Draining(now.mono + PATIENCE);
                self.go_on_stopping(now);
            }
            Phase::Draining(until) => {
                // What a client sent last is read before its connection is closed: closing over
                // unread octets would take back from it what we said last.
                let is_over =
                    |link: &TcpLink| link.state == LinkState::Lingering && !link.has_unread;
                let is_done = self.links.iter().all(|(_, link)| is_over(link));
                if is_done || now.mono >= until {
                    info!("stopped");
                    self.phase = Phase::Stopped;
                    // The disk may take its time.
                    self.last_signal.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    fn say_farewell(&mut self, now: Now) {
        self.sn.shut_down();
        self.write_ports();
        let keys: Vec<_> = self.links.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Self { links, blocks, .. } = self;
            let Some(link) = links.get_mut(key) else { continue };
            if link.state == LinkState::Open {
                let mut out = link.out.writer(blocks);
                let _ = link.conn.close(ReasonCode::ServerShuttingDown, &mut out);
            }
            link.close_websocket(CloseCode::GOING_AWAY);
            self.begin_closing(now, key);
        }
        self.write_sockets(now);
    }
}
