//! What an acknowledgement that promises the disk costs, beside one that promises memory.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::server::{Kind, Programs, Server, data_folder};
use super::{Options, clients, disk, grouped, head, row};
use crate::load::publishers::{Publishers, Until};
use crate::report::quantile;
use crate::tally::Histogram;

/// How long a server is warmed up, as a share of a slice.
const WARM_UP: f64 = 0.25;

/// Syncs of the bare disk in each round.
const SYNCS: u32 = 200;

/// Who publishes to whom.
#[derive(Clone, Copy, Debug)]
struct Case {
    publishers: u32,
    window: u32,
    is_stored: bool,
}

impl Case {
    fn all(options: &Options) -> Vec<Self> {
        let publishers = options.publishers;
        let stored = |publishers, window| Self { publishers, window, is_stored: true };
        // In the first each message has a sync to itself.
        let mut all = vec![stored(1, 1)];
        all.extend([1, 16, 100].map(|window| stored(publishers, window)));
        all.push(Self { publishers, window: 16, is_stored: false });
        all
    }

    fn title(self) -> String {
        let Self { publishers, window, is_stored } = self;
        let to = if is_stored { "an offline session" } else { "nobody" };
        let s = if publishers == 1 { "" } else { "s" };
        format!("{publishers} publisher{s}, window {window}, to {to}")
    }
}

/// What came of a server in a case.
#[derive(Debug, Default)]
struct Cell {
    /// Acknowledgements per second, by round.
    rates: Vec<f64>,
    latency: Histogram,
    lost: u64,
}

impl Cell {
    fn rate(&self) -> f64 {
        quantile(&self.rates, 0.5)
    }
}

fn ms(histogram: &Histogram, share: f64) -> f64 {
    histogram.quantile(share).unwrap_or(0) as f64 / 1e6
}

/// Runs all cases and prints the tables.
///
/// # Errors
/// A server does not start, breaks off, or does not acknowledge.
pub(super) fn run(options: &Options, programs: &Programs, folder: &Path) -> io::Result<()> {
    let cases = Case::all(options);
    let kinds = programs.kinds();
    let mut cells: Vec<Vec<Cell>> =
        cases.iter().map(|_| kinds.iter().map(|_| Cell::default()).collect()).collect();
    let mut syncs = Histogram::default();
    for round in 0..options.rounds {
        disk::measure(folder, SYNCS, &mut syncs)?;
        for (case, cells) in cases.iter().zip(&mut cells) {
            let mut turn: Vec<_> = kinds.iter().zip(cells).collect();
            if round % 2 == 1 {
                turn.reverse();
            }
            for (kind, cell) in turn {
                measure(options, programs, folder, *case, *kind, cell)?;
            }
        }
    }
    println!("{}", rates_table(&cases, &kinds, &cells));
    println!("{}", latency_table(&cases, &kinds, &cells, &syncs));
    if cells.iter().flatten().any(|cell| cell.lost > 0) {
        return Err(io::Error::other("messages were not acknowledged"));
    }
    Ok(())
}

/// One slice of load on a server that was started for it.
fn measure(
    options: &Options,
    programs: &Programs,
    folder: &Path,
    case: Case,
    kind: Kind,
    cell: &mut Cell,
) -> io::Result<()> {
    let data = data_folder(folder)?;
    let server = Server::start(programs, kind, data.path())?;
    if case.is_stored {
        clients::make_sessions(server.mqtt, 0..1, |_| {
            ("bench-offline".to_owned(), "bench/publishers/#".to_owned())
        })?;
    }
    let payload = usize::from(options.payload);
    let mut load = Publishers::open(server.mqtt, case.publishers, case.window, payload)?;
    let slice = Duration::from_secs_f64(options.seconds);
    load.run(Until::Time(slice.mul_f64(WARM_UP)))?;
    let tally = load.run(Until::Time(slice))?;
    cell.rates.push(tally.delivered as f64 / tally.wall.as_secs_f64());
    cell.latency.add(&tally.latency);
    cell.lost += tally.lost + tally.misplaced;
    server.kill();
    Ok(())
}

fn position(kinds: &[Kind], kind: Kind) -> Option<usize> {
    kinds.iter().position(|other| *other == kind)
}

fn rates_table(cases: &[Case], kinds: &[Kind], cells: &[Vec<Cell>]) -> String {
    let names = [
        "PUBACKs per second",
        "memory",
        "disk",
        "min, max",
        "to memory",
        "to a sync each",
        "Mosquitto, SQLite",
        "to Mosquitto",
    ];
    let mut text = head(&names);
    let rate = |cells: &[Cell], kind| position(kinds, kind).map(|at| cells[at].rate());
    let sync_each = rate(&cells[0], Kind::Disk).unwrap_or(f64::NAN);
    for (case, cells) in cases.iter().zip(cells) {
        let disk = position(kinds, Kind::Disk).map(|at| &cells[at]).expect("it is always there");
        let (memory, sqlite) = (rate(cells, Kind::Memory), rate(cells, Kind::Sqlite));
        let (least, most) = (quantile(&disk.rates, 0.0), quantile(&disk.rates, 1.0));
        let ratio = |other: Option<f64>| {
            other.map_or_else(|| "-".to_owned(), |other| format!("{:.2}", disk.rate() / other))
        };
        let told = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), grouped);
        text += "\n";
        text += &row(&[
            case.title(),
            told(memory),
            grouped(disk.rate()),
            format!("{}, {}", grouped(least), grouped(most)),
            ratio(memory),
            ratio(Some(sync_each)),
            told(sqlite),
            ratio(sqlite),
        ]);
    }
    text + "\n"
}

fn latency_table(cases: &[Case], kinds: &[Kind], cells: &[Vec<Cell>], syncs: &Histogram) -> String {
    let mut text = head(&["ms to PUBACK, p50 / p99", "memory", "disk", "Mosquitto, SQLite"]);
    let pair =
        |histogram: &Histogram| format!("{:.2} / {:.2}", ms(histogram, 0.5), ms(histogram, 0.99));
    for (case, cells) in cases.iter().zip(cells) {
        let told = |kind| {
            let cell = position(kinds, kind).map(|at| &cells[at].latency);
            cell.map_or_else(|| "-".to_owned(), pair)
        };
        text += "\n";
        text += &row(&[case.title(), told(Kind::Memory), told(Kind::Disk), told(Kind::Sqlite)]);
    }
    text + &format!("\n\nfdatasync of the bare disk, p50 / p99: {} ms\n", pair(syncs))
}
