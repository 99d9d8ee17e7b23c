//! A large store: how long a start with it takes, how much memory, and what its turns come to.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::server::{Kind, Programs, Server, data_folder};
use super::turns::{self, COLUMNS, Watch};
use super::{Options, fill, grouped, head, row};
use crate::report::{mib, quantile};

/// How long the large store is worked with.
const WORK: Duration = Duration::from_secs(30);

/// Fills a store, starts with it again and again, works with it, and prints the tables.
///
/// # Errors
/// A server does not start or breaks off, or something that was acknowledged is gone.
pub(super) fn run(options: &Options, programs: &Programs, folder: &Path) -> io::Result<()> {
    let data = data_folder(folder)?;
    let start = || Server::start(programs, Kind::Disk, data.path());
    let server = start()?;
    if options.ahead {
        server.put_ahead()?;
    }
    let began = Instant::now();
    let watch = Watch::begin(&server)?;
    let messages = fill::fill(options, server.mqtt)?;
    let took = began.elapsed();
    let (filling, full) = watch.end("the store being filled", &server)?;
    let records = full.get("store/disk/records");
    let rss = server.process().peak_rss_bytes();
    println!(
        "{} retained messages, {} sessions of {} messages: filled in {:.0} s ({} messages), {} \
         records, {:.0} MiB of files, {:.0} MiB of memory\n",
        grouped(options.retained.into()),
        grouped(options.sessions.into()),
        options.queued,
        took.as_secs_f64(),
        grouped(messages as f64),
        grouped(records as f64),
        mib(folder_bytes(data.path())?),
        mib(rss),
    );
    server.kill();
    let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
    let mut server = start()?;
    for number in 1..=options.starts {
        seconds.push(server.start.as_secs_f64());
        peaks.push(mib(server.process().peak_rss_bytes()));
        if number < options.starts {
            server.kill();
            server = start()?;
        }
    }
    println!("{}", head(&["starts after a kill", "s to ready", "min, max", "MiB at the most"]));
    let cells = [
        options.starts.to_string(),
        format!("{:.2}", quantile(&seconds, 0.5)),
        format!("{:.2}, {:.2}", quantile(&seconds, 0.0), quantile(&seconds, 1.0)),
        format!("{:.0}", quantile(&peaks, 1.0)),
    ];
    println!("{}\n", row(&cells));
    work(options, &server, &filling, records)
}

/// Works with the store that was restored.
fn work(options: &Options, server: &Server, filling: &str, records: u64) -> io::Result<()> {
    if options.ahead {
        server.put_ahead()?;
    }
    let watch = Watch::begin(server)?;
    let restored = watch.records();
    let time = if options.short { Duration::from_secs(1) } else { WORK };
    let done = turns::work(options, server.mqtt, time)?;
    let before = watch.changed_bytes();
    let (working, after) = watch.end("everything at once", server)?;
    let names: Vec<_> = ["the loop's turns"].into_iter().chain(COLUMNS).collect();
    println!("{}\n{filling}\n{working}\n", head(&names));
    let written = after.get("store/disk/changed_bytes") - before;
    let (bytes, live) = (after.get("store/disk/bytes"), after.get("store/disk/live_bytes"));
    println!(
        "{done}; {:.0} MiB of changes, after which the files have {:.0} MiB, {:.0} MiB of which \
         are needed.\n",
        mib(written),
        mib(bytes),
        mib(live)
    );
    // The store that was restored has what was acknowledged; the end of the last process, and wills
    // and links that ended with it, are a handful.
    if restored.abs_diff(records) > 10 {
        return Err(io::Error::other(format!("{records} records became {restored}")));
    }
    Ok(())
}

/// Octets of all files below a folder.
fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
