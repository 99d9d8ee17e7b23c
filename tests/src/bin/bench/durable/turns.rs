//! What the loop's turns come to while everything happens at once on a large store.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use system_tests::process::Process;

use super::clients::{self, Client};
use super::fill::{PLANT, WINDOW, make_sleepers, retained_topics, sleeper};
use super::server::Server;
use super::sys::Values;
use super::{Options, grouped, row};
use crate::load::publishers::{Publishers, Until};
use crate::wire::{self, kind};

/// Publishers that put new retained messages in the place of others.
const PUBLISHERS: u32 = 20;

/// Sessions that collect their messages, or are ended and made anew, before time is looked at.
const AT_ONCE: u32 = 500;

/// How long a subscriber waits before it looks whether all is over.
const LOOK: Duration = Duration::from_millis(50);

/// The columns of a table of turns, behind what was done.
pub(super) const COLUMNS: [&str; 6] =
    ["turns", "over 1 ms", "over 3 ms", "over 10 ms", "longest", "waited for a core"];

/// The turns of a while.
pub(super) struct Watch {
    before: Values,
    waited: Duration,
}

impl Watch {
    pub(super) fn begin(server: &Server) -> io::Result<Self> {
        let before = Values::read(server.mqtt)?;
        Ok(Self { before, waited: server.process().cpu_wait() })
    }

    /// Records and octets of changes at the beginning.
    pub(super) fn records(&self) -> u64 {
        self.before.get("store/disk/records")
    }

    /// See [`Watch::records`].
    pub(super) fn changed_bytes(&self) -> u64 {
        self.before.get("store/disk/changed_bytes")
    }

    /// The row of the table, and what `$SYS` says now.
    pub(super) fn end(self, title: &str, server: &Server) -> io::Result<(String, Values)> {
        let after = Values::read(server.mqtt)?;
        let all = after.since(&self.before, "loop/turns/count");
        let over = |name| grouped((all - after.since(&self.before, name)) as f64);
        let waited = waited(server.process(), self.waited);
        let cells = [
            title.to_owned(),
            grouped(all as f64),
            over("loop/turns/le_1ms"),
            over("loop/turns/le_3ms"),
            over("loop/turns/le_10ms"),
            format!("{:.1} ms", after.get("loop/turn_max_us") as f64 / 1e3),
            format!("{:.1} s", waited.as_secs_f64()),
        ];
        Ok((row(&cells), after))
    }
}

fn waited(process: &Process, before: Duration) -> Duration {
    process.cpu_wait().saturating_sub(before)
}

/// Publishes, subscribes, collects, ends and makes sessions, all at once for so long. Returns what
/// was done, in words.
///
/// # Errors
/// The server breaks off.
pub(super) fn work(options: &Options, mqtt: SocketAddr, time: Duration) -> io::Result<String> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let subscriber = scope.spawn(|| subscribe(mqtt, &is_over));
        let collectors = scope.spawn(|| collect(options, mqtt, time));
        let payload = usize::from(options.payload);
        let publishers = Publishers::open(mqtt, PUBLISHERS, WINDOW, payload)
            .map(|publishers| publishers.to(true, retained_topics(options)))
            .and_then(|mut publishers| publishers.run(Until::Time(time)));
        let collected = collectors.join().expect("no thread panics");
        is_over.store(true, Ordering::Relaxed);
        let heard = subscriber.join().expect("no thread panics");
        let (published, collected, heard) = (publishers?.delivered, collected?, heard?);
        Ok(format!(
            "In {} s {} retained messages were replaced, {} sessions took their messages or were \
             ended and made anew, and a subscriber to `{PLANT}` got {}",
            time.as_secs(),
            grouped(published as f64),
            grouped(collected.into()),
            grouped(heard as f64),
        ))
    })
}

/// Sessions take their messages, and others are ended and made anew, half of all each at most.
fn collect(options: &Options, mqtt: SocketAddr, time: Duration) -> io::Result<u32> {
    let began = Instant::now();
    let half = options.sessions / 2;
    let mut done = 0;
    while began.elapsed() < time && done < half {
        let next = half.min(done + AT_ONCE);
        clients::collect(mqtt, done..next, options.queued, sleeper)?;
        let others = half + done..half + next;
        clients::end_sessions(mqtt, others.clone(), sleeper)?;
        make_sleepers(mqtt, others)?;
        done = next;
    }
    Ok(2 * done)
}

/// One who wants all retained messages, and what comes after them; returns how many came.
fn subscribe(mqtt: SocketAddr, is_over: &AtomicBool) -> io::Result<u64> {
    let first = [wire::connect("bench-all"), wire::subscribe(PLANT, 1)].concat();
    let mut client = Client::open(mqtt, &first)?;
    client.set_patience(LOOK)?;
    let mut heard = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut out = Vec::new();
        client.receive()?;
        client.hear(|packet| {
            if packet.kind == kind::PUBLISH {
                heard += 1;
                packet.publish().id.inspect(|id| wire::put_puback(&mut out, *id));
            }
            false
        });
        client.write(&out)?;
    }
    Ok(heard)
}
