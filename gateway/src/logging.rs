//! The log: lines on stderr, for people or for programs.
//!
//! Writing happens on a thread of its own, so that a reader of stderr that stops reading does not
//! stop the loop; what does not fit into its queue is dropped and counted. Of each kind of line
//! (each place in the code) only so many a second are written, because outsiders can cause many of
//! them; the rest is summed up.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, warn};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Lines that wait to be written.
const QUEUE_LINES: usize = 16_384;

/// Kinds of lines that are told apart; there are some fifty.
const KINDS_MAX: usize = 1_024;

const WINDOW: Duration = Duration::from_secs(1);

/// Keeps the log going; when it is dropped what waits is written.
pub struct Log {
    limiter: Limiter,
    set_level: Box<dyn Fn(LevelFilter) + Send>,
    set_format: Box<dyn Fn(LogFormat) + Send>,
    guard: Option<WorkerGuard>,
}

impl Log {
    /// Begins to write the log.
    pub fn start(settings: &LogSettings, lines_per_s: u32) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUE_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(io::stderr());
        let (level, level_handle) = reload::Layer::new(level_of(settings.level));
        let (lines, lines_handle) = reload::Layer::new(writes(settings.format, writer.clone()));
        let limiter = Limiter::new(lines_per_s);
        let limited = lines.with_filter(limiter.clone()).with_filter(level);
        // Fails only if somebody has begun a log before, as tests in one process do.
        let _ = tracing_subscriber::registry().with(limited).try_init();
        // They fail only where that failed.
        let set_level = Box::new(move |level| level_handle.reload(level).unwrap_or_default());
        let set_format = Box::new(move |format| {
            lines_handle.reload(writes(format, writer.clone())).unwrap_or_default();
        });
        Self { limiter, set_level, set_format, guard: Some(guard) }
    }

    /// Other settings for the lines that come from now on.
    pub fn configure(&self, settings: &LogSettings, lines_per_s: u32) {
        (self.set_level)(level_of(settings.level));
        (self.set_format)(settings.format);
        self.limiter.lines_per_s.store(lines_per_s, Ordering::Relaxed);
    }

    /// Tells how many lines were left out. To be called now and then; costs nothing if none were.
    pub fn sum_up(&self) {
        if !self.limiter.has_suppressed.load(Ordering::Relaxed) {
            return;
        }
        for ((module, line), lines) in self.limiter.take_suppressed(Instant::now()) {
            warn!(target: SUMMARY, lines, module, line, "lines of one kind were left out");
        }
    }

    /// How many lines of one kind are written in a second.
    pub fn lines_per_s(&self) -> u32 {
        self.limiter.lines_per_s.load(Ordering::Relaxed)
    }

    /// The most lines of one kind that were written in a second so far.
    pub fn lines_per_s_used(&self) -> u32 {
        self.limiter.most_written.load(Ordering::Relaxed)
    }

    /// Lines that were left out so far.
    pub fn lines_left_out(&self) -> u64 {
        self.limiter.left_out.load(Ordering::Relaxed)
    }

    /// Writes what waits, before the process ends without dropping anything.
    pub fn flush(&mut self) {
        self.guard = None;
    }
}

const fn level_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn writes(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<Registry> + Send + Sync> {
    match format {
        LogFormat::Text => {
            fmt::layer().with_target(false).with_ansi(false).with_writer(writer).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(writer).boxed(),
    }
}

/// How many lines of one kind were written in this second, and how many were not.
#[derive(Debug)]
struct Kind {
    since: Instant,
    written: u32,
    suppressed: u64,
    place: (&'static str, u32),
}

/// Lets so many lines of each kind through in a second.
#[derive(Clone, Debug)]
struct Limiter {
    lines_per_s: Arc<AtomicU32>,
    kinds: Arc<Mutex<HashMap<Identifier, Kind>>>,
    /// Whether any kind has lines that were left out and not summed up.
    has_suppressed: Arc<AtomicBool>,
    /// The most lines of one kind written in a second, and all that were not written.
    most_written: Arc<AtomicU32>,
    left_out: Arc<AtomicU64>,
}

impl Limiter {
    fn new(lines_per_s: u32) -> Self {
        Self {
            lines_per_s: Arc::new(AtomicU32::new(lines_per_s)),
            kinds: Arc::default(),
            has_suppressed: Arc::default(),
            most_written: Arc::default(),
            left_out: Arc::default(),
        }
    }

    fn admit(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&metadata.callsite()) {
            return true;
        }
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| Kind {
            since: now,
            written: 0,
            suppressed: 0,
            place: (metadata.target(), metadata.line().unwrap_or(0)),
        });
        if now - kind.since >= WINDOW {
            kind.since = now;
            kind.written = 0;
        }
        let has_room = kind.written < self.lines_per_s.load(Ordering::Relaxed);
        if has_room {
            kind.written += 1;
            self.most_written.fetch_max(kind.written, Ordering::Relaxed);
        } else {
            kind.suppressed += 1;
            self.left_out.fetch_add(1, Ordering::Relaxed);
            self.has_suppressed.store(true, Ordering::Relaxed);
        }
        has_room
    }

    /// The places whose lines were left out until a second ago, with how many.
    fn take_suppressed(&self, now: Instant) -> Vec<((&'static str, u32), u64)> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        let mut is_rest = false;
        for kind in kinds.values_mut().filter(|kind| kind.suppressed > 0) {
            if now - kind.since >= WINDOW {
                taken.push((kind.place, std::mem::take(&mut kind.suppressed)));
            } else {
                is_rest = true;
            }
        }
        self.has_suppressed.store(is_rest, Ordering::Relaxed);
        taken.sort_unstable();
        taken
    }
}

impl<S: Subscriber> Filter<S> for Limiter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        // Lines that sum up others are few by themselves, and those about the configuration are
        // caused by nobody but the operator.
        let target = event.metadata().target();
        target == SUMMARY || target == CONFIGURATION || self.admit(event.metadata(), Instant::now())
    }
}

/// The target of lines that sum up others.
const SUMMARY: &str = "mqtt_sn_gw::log";

/// The target of lines about another configuration, each of which is written.
pub(crate) const CONFIGURATION: &str = "mqtt_sn_gw::configuration";
