//! Attacks on the running program, each beside bystanders that must not notice.
//!
//! Each test is small enough for every change; `OVERLOAD=full` runs them at the size that
//! docs/testing.md promises. What was measured is printed (`--nocapture`).

mod churn;
mod connections;
mod crowd;
mod datagrams;
mod floods;
mod mqtt5;
mod readers;
mod requests;
mod streams;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use system_tests::bystander::Bystanders;
use system_tests::gateway::{Builder, Gateway};
use system_tests::sys::{self, Sys};

const MIB: u64 = 1 << 20;

/// Whether this is a long run.
fn is_full() -> bool {
    std::env::var_os("OVERLOAD").is_some_and(|what| what == "full")
}

/// The amount for every change, or the one for a long run.
fn amount(usual: usize, full: usize) -> usize {
    if is_full() { full } else { usual }
}

/// A gateway under attack.
struct Attack {
    what: String,
    gateway: Gateway,
    bystanders: Bystanders,
    sys: Sys,
    rss_before: u64,
    cpu_before: Duration,
    wait_before: Duration,
    began: Instant,
    is_flood: bool,
    _company: Company,
}

/// Who else may be at work on this machine.
enum Company {
    /// Nobody: the attack takes all that the machine has, and what it does is measured.
    None { _alone: RwLockWriteGuard<'static, ()> },
    /// Other attacks of this kind, which mostly wait.
    Others { _beside: RwLockReadGuard<'static, ()> },
}

static MACHINE: RwLock<()> = RwLock::new(());

impl Attack {
    /// Starts a gateway and its bystanders when no other attack is under way.
    #[track_caller]
    fn begin(what: &str, builder: Builder) -> Self {
        let alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        Self::begin_in(Company::None { _alone: alone }, what, builder)
    }

    /// The same for a flood of datagrams: more come than this machine can read, and the kernel
    /// drops those of bystanders, too.
    #[track_caller]
    fn begin_flood(what: &str, builder: Builder) -> Self {
        Self { is_flood: true, ..Self::begin(what, builder) }
    }

    /// The same for an attack that leaves the machine time, beside others of this kind.
    #[track_caller]
    fn begin_small(what: &str, builder: Builder) -> Self {
        let beside = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        Self::begin_in(Company::Others { _beside: beside }, what, builder)
    }

    #[track_caller]
    fn begin_in(company: Company, what: &str, builder: Builder) -> Self {
        // A flood loses datagrams of bystanders, too: they are repeated soon.
        let gateway = builder.mqtt_sn("retry_ms = 200").text(sys::EVERY_SECOND).start();
        let bystanders = Bystanders::start(&gateway);
        let sys = Sys::watch(gateway.mqtt());
        let rss_before = gateway.process().rss_bytes();
        let cpu_before = gateway.process().cpu_time();
        let wait_before = gateway.process().cpu_wait();
        let what = what.to_owned();
        let began = Instant::now();
        Self {
            what,
            gateway,
            bystanders,
            sys,
            rss_before,
            cpu_before,
            wait_before,
            began,
            is_flood: false,
            _company: company,
        }
    }

    /// How much its memory has grown at most, in octets.
    fn growth(&self) -> u64 {
        self.gateway.process().peak_rss_bytes().saturating_sub(self.rss_before)
    }

    /// The attack is over: nobody was disturbed, and memory grew by no more than so much.
    #[track_caller]
    fn end(mut self, growth_mib_max: u64) -> Gateway {
        if is_full() {
            self.sys.next_round();
        }
        let growth = self.growth();
        let cpu = self.gateway.process().cpu_time() - self.cpu_before;
        let waited = self.gateway.process().cpu_wait() - self.wait_before;
        let crowding = waited.as_secs_f64() / cpu.as_secs_f64().max(0.001);
        eprintln!(
            "{}: {:.1} s, cpu {:.1} s, crowding {crowding:.1}, grew {:.1} MiB, longest turn {:.1} ms",
            self.what,
            self.began.elapsed().as_secs_f64(),
            cpu.as_secs_f64(),
            growth as f64 / MIB as f64,
            self.sys.longest_turn().as_secs_f64() * 1e3,
        );
        let report = self.bystanders.finish();
        if self.is_flood {
            report.assert_served(&self.what, crowding);
        } else {
            report.assert_calm(&self.what, crowding);
        }
        assert!(growth <= growth_mib_max * MIB, "{}: grew by {} MiB", self.what, growth / MIB);
        self.gateway
    }
}
