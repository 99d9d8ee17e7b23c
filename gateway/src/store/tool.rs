//! `mqtt-sn-gw store`: looks at a store, and takes records out and in, while no gateway uses it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use broker_core::journal::{Journal, RecordKey};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::data_dir::DataDir;
use super::disk::{Disk, Folder};
use super::log::{Log, LogConfig};
use super::open::open;

/// Octets of records that are imported with one sync.
const IMPORT_BYTES: usize = 1 << 20;

/// The options of `store`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StoreArgs {
    /// What to do
    #[command(subcommand)]
    pub action: StoreAction,
}

/// What `store` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum StoreAction {
    /// Tell how many records of each kind there are
    List(FolderArgs),
    /// Read every octet: exit status 0, or 1 with the place that is damaged
    Verify(FolderArgs),
    /// Write all records to standard output, a JSON object a line
    Export(FolderArgs),
    /// Read what `export` wrote from standard input, into a store without records
    Import(FolderArgs),
}

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FolderArgs {
    /// The folder that the gateway was given
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Why it could not be done, in one line.
#[derive(Debug)]
pub struct ToolError(String);

impl Display for ToolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ToolError {}

fn failed(error: impl Display) -> ToolError {
    ToolError(error.to_string())
}

/// Does what is asked.
///
/// # Errors
/// The folder is in use, the store is damaged, or what is to be imported is not what `export`
/// writes.
pub fn run(
    args: &StoreArgs,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), ToolError> {
    match &args.action {
        StoreAction::List(folder) => list(&folder.data_dir, out),
        StoreAction::Verify(folder) => verify(&folder.data_dir, out),
        StoreAction::Export(folder) => export(&folder.data_dir, out),
        StoreAction::Import(folder) => import(&folder.data_dir, input, out),
    }
}

/// A store that is only looked at.
struct Reading {
    log: Log<ReadOnly>,
    torn_bytes: u64,
    _dir: DataDir,
}

fn read(path: &Path) -> Result<Reading, ToolError> {
    if !path.join("store").is_dir() {
        return Err(ToolError(format!("{}: there is no store here", path.display())));
    }
    let dir = DataDir::take(path).map_err(failed)?;
    let folder = Folder::open(&path.join("store")).map_err(failed)?;
    let (log, found) = open(ReadOnly(folder), LogConfig::default())
        .map_err(|error| ToolError(format!("{}: {error}", path.join("store").display())))?;
    Ok(Reading { log, torn_bytes: found.torn_bytes, _dir: dir })
}

fn list(path: &Path, out: &mut impl Write) -> Result<(), ToolError> {
    let mut reading = read(path)?;
    let mut tables = BTreeMap::<u8, (u64, u64)>::new();
    let each = |key: RecordKey, value: &[u8]| {
        let (records, bytes) = tables.entry(key.table()).or_default();
        *records += 1;
        *bytes += value.len() as u64;
        Ok::<_, io::Error>(())
    };
    reading.log.for_each_record(each).map_err(failed)?;
    for (table, (records, bytes)) in tables {
        writeln!(out, "{:<20} {records:>10} records {bytes:>12} bytes", table_name(table))
            .map_err(failed)?;
    }
    let (records, bytes) = (reading.log.records(), reading.log.bytes());
    writeln!(out, "{:<20} {records:>10} records {bytes:>12} bytes of files", "all").map_err(failed)
}

fn verify(path: &Path, out: &mut impl Write) -> Result<(), ToolError> {
    let reading = read(path)?;
    let (records, torn) = (reading.log.records(), reading.torn_bytes);
    writeln!(out, "ok: {records} records, {torn} bytes at the end that nobody was promised")
        .map_err(failed)
}

fn export(path: &Path, out: &mut impl Write) -> Result<(), ToolError> {
    let mut reading = read(path)?;
    let each = |key: RecordKey, value: &[u8]| writeln!(out, "{}", write_line(key, value));
    reading.log.for_each_record(each).map_err(failed)
}

fn import(path: &Path, input: &mut impl BufRead, out: &mut impl Write) -> Result<(), ToolError> {
    let dir = DataDir::take(path).map_err(failed)?;
    let folder = Folder::open(&path.join("store")).map_err(failed)?;
    let (mut log, _) = open(folder, LogConfig::default()).map_err(failed)?;
    if log.records() > 0 {
        let what = format!("{}: the store has records; import into an empty one", path.display());
        return Err(ToolError(what));
    }
    let mut keys = Vec::new();
    let imported = import_into(&mut log, input, &mut keys);
    if imported.is_err() {
        // A part of a store is none, and the next attempt needs an empty one.
        let mut journal = Journal::default();
        keys.iter().for_each(|key| journal.delete(*key));
        let _ = flush(&mut journal, &mut log);
    }
    drop(dir);
    imported?;
    writeln!(out, "imported {} records", keys.len()).map_err(failed)
}

/// Tells the keys of the records as they come.
fn import_into(
    log: &mut Log<Folder>,
    input: &mut impl BufRead,
    keys: &mut Vec<RecordKey>,
) -> Result<(), ToolError> {
    let mut journal = Journal::default();
    for (at, line) in input.lines().enumerate() {
        let line = line.map_err(failed)?;
        let wrong = || ToolError(format!("line {}: this is no line of `store export`", at + 1));
        let (key, value) = read_line(&line).ok_or_else(wrong)?;
        journal.put(key, |octets| octets.extend_from_slice(&value));
        keys.push(key);
        if journal.octets().len() >= IMPORT_BYTES {
            flush(&mut journal, log)?;
        }
    }
    flush(&mut journal, log)
}

fn flush(journal: &mut Journal, log: &mut Log<Folder>) -> Result<(), ToolError> {
    let mut changes = Vec::new();
    journal.drain_into(&mut changes);
    if changes.is_empty() {
        return Ok(());
    }
    log.append(&changes).and_then(|()| log.sync()).map_err(failed)
}

/// A record as `export` writes it, without the end of the line.
pub fn write_line(key: RecordKey, value: &[u8]) -> String {
    let (table, number) = (key.table(), key.number());
    let kind = table_name(table);
    json!({ "table": table, "kind": kind, "number": number, "value": hex(value) }).to_string()
}

/// The record of such a line, if it is one.
pub fn read_line(line: &str) -> Option<(RecordKey, Vec<u8>)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let table = u8::try_from(line["table"].as_u64()?).ok()?;
    let number = line["number"].as_u64().filter(|number| number >> 56 == 0)?;
    Some((RecordKey::new(table, number), unhex(line["value"].as_str()?)?))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: &u8| u8::try_from(char::from(*octet).to_digit(16)?).ok();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octets = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { octets.collect() } else { None }
}

/// What a table holds.
fn table_name(table: u8) -> String {
    let name = match table {
        1 => "messages",
        2 => "sessions",
        3 => "subscriptions",
        4 => "deliveries",
        5 => "retained-to-send",
        6 => "qos2-received",
        7 => "packet-identifiers",
        8 => "retained",
        9 => "wills",
        0x80 => "sn-clients",
        0x81 => "sn-topic-ids",
        0xF0 => "clean-end",
        _ => return format!("table {table}"),
    };
    name.to_owned()
}

/// A folder in which nothing is changed.
#[derive(Debug)]
struct ReadOnly(Folder);

impl Disk for ReadOnly {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.0.size(name)
    }

    fn create(&mut self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn append(&mut self, _name: &str, _octets: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    // A torn end stays where it is: what is behind the good part is not looked at.
    fn truncate(&mut self, _name: &str, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(action: fn(FolderArgs) -> StoreAction, path: &Path) -> StoreArgs {
        StoreArgs { action: action(FolderArgs { data_dir: path.to_owned() }) }
    }

    fn run_on(
        action: fn(FolderArgs) -> StoreAction,
        path: &Path,
        input: &str,
    ) -> Result<String, ToolError> {
        let mut out = Vec::new();
        run(&folder(action, path), &mut input.as_bytes(), &mut out)?;
        String::from_utf8(out).map_err(failed)
    }

    const TWO: &str = "{\"kind\":\"messages\",\"number\":5,\"table\":1,\"value\":\"00ff\"}\n\
                       {\"kind\":\"sessions\",\"number\":0,\"table\":2,\"value\":\"\"}\n";

    #[test]
    fn what_was_exported_can_be_imported() {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path();
        let told = run_on(StoreAction::Import, path, TWO).expect("two good lines");
        assert_eq!(told, "imported 2 records\n");
        assert_eq!(run_on(StoreAction::Export, path, "").expect("a good store"), TWO);
        let verified = run_on(StoreAction::Verify, path, "").expect("a good store");
        assert_eq!(verified, "ok: 2 records, 0 bytes at the end that nobody was promised\n");
        assert!(run_on(StoreAction::List, path, "").expect("a good store").contains("2 records"));
    }

    #[test]
    fn an_import_that_fails_leaves_nothing_behind() {
        let data = tempfile::tempdir().expect("a folder");
        let value = "00".repeat(IMPORT_BYTES);
        let large = format!("{{\"table\":1,\"number\":9,\"value\":\"{value}\"}}\n{{}}\n");
        let wrong = run_on(StoreAction::Import, data.path(), &large).expect_err("no record");
        assert_eq!(wrong.to_string(), "line 2: this is no line of `store export`");
        run_on(StoreAction::Import, data.path(), TWO).expect("it is still empty");
        assert_eq!(run_on(StoreAction::Export, data.path(), "").expect("a good store"), TWO);
    }

    #[test]
    fn a_value_is_hexadecimal_digits_in_pairs_and_nothing_else() {
        let line = |value: &str| format!("{{\"table\":1,\"number\":5,\"value\":\"{value}\"}}");
        let check = |value: &str, expect: Option<&[u8]>| {
            let read = read_line(&line(value)).map(|(_, value)| value);
            assert_eq!(read.as_deref(), expect, "{value}");
        };
        check("", Some(&[]));
        check("00fF", Some(&[0x00, 0xFF]));
        check("0", None);
        check("+f", None);
        check("0x", None);
        check(" 1", None);
        check("äb", None);
    }

    #[test]
    fn what_cannot_be_done_is_told_in_a_line() {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path();
        let wrong = run_on(StoreAction::Import, path, "{\"table\":1}\n").expect_err("no record");
        assert_eq!(wrong.to_string(), "line 1: this is no line of `store export`");
        run_on(StoreAction::Import, path, TWO).expect("two good lines");
        let again = run_on(StoreAction::Import, path, TWO).expect_err("it has records");
        assert!(again.to_string().ends_with("import into an empty one"));
        let dir = DataDir::take(path).expect("it is free");
        let used = run_on(StoreAction::Verify, path, "").expect_err("it is in use");
        assert!(used.to_string().ends_with("is in use by another process"));
        drop(dir);
        let none = run_on(StoreAction::List, &path.join("no"), "").expect_err("nothing is there");
        assert!(none.to_string().ends_with("there is no store here"));
        let file = path.join("store/0000000001.log");
        let mut octets = std::fs::read(&file).expect("it is there");
        octets[3] ^= 1;
        std::fs::write(&file, octets).expect("the disk works");
        let damaged = run_on(StoreAction::Verify, path, "").expect_err("damaged");
        assert!(damaged.to_string().ends_with("0000000001.log is damaged at octet 0"));
    }
}
