//! What `tests/fuzz/run` needs around libFuzzer, and a way to fuzz without it. See docs/testing.md.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, Subcommand};
use system_tests::fuzz::{self, Mutator, TARGETS, Target};
use system_tests::repository;

/// Around the fuzz targets
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The names of all targets
    List,
    /// Write the committed corpus of a target to a folder, a file for each input, and tell
    /// libFuzzer's options for it
    Unpack { target: String, folder: PathBuf },
    /// Make what lies in a folder the committed corpus of a target
    Pack { target: String, folder: PathBuf },
    /// Tell a file as a line of a corpus
    Line { file: PathBuf },
    /// Fuzz a target with our own mutator
    Try {
        target: String,
        /// How many inputs
        count: u64,
        #[arg(default_value_t = 1)]
        seed: u64,
        /// Begin with the files of a folder, too
        #[arg(long)]
        folder: Option<PathBuf>,
    },
}

fn main() -> io::Result<()> {
    match Cli::parse().action {
        Action::List => TARGETS.iter().try_for_each(|target| tell(target.name)),
        Action::Unpack { target, folder } => unpack(find(&target)?, &folder),
        Action::Pack { target, folder } => pack(find(&target)?, &folder),
        Action::Line { file } => tell(&fuzz::line(&fs::read(file)?)),
        Action::Try { target, count, seed, folder } => {
            attempt(find(&target)?, count, seed, folder.as_deref())
        }
    }
}

fn tell(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn find(name: &str) -> io::Result<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        io::Error::other(format!("no target {name}: there are {}", names.join(", ")))
    })
}

fn unpack(target: &Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, input) in fuzz::inputs(target).iter().enumerate() {
        fs::write(folder.join(format!("committed-{number}")), input)?;
    }
    let dictionary =
        repository::path(&format!("tests/fuzz/dictionaries/{}.dict", target.dictionary));
    tell(&format!("-max_len={} -dict={}", target.bytes_max, dictionary.display()))
}

fn pack(target: &Target, folder: &Path) -> io::Result<()> {
    let path = repository::path(&format!("tests/fuzz/corpus/{}.txt", target.name));
    fs::write(path, fuzz::pack(target, files(folder)?))
}

fn files(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    fs::read_dir(folder)?.map(|entry| fs::read(entry?.path())).collect()
}

/// Inputs between two words of how far it has come.
const TELL_EVERY: u64 = 1_000_000;

fn attempt(target: &Target, count: u64, seed: u64, folder: Option<&Path>) -> io::Result<()> {
    let mut corpus = fuzz::inputs(target);
    corpus.extend(folder.map(files).transpose()?.unwrap_or_default());
    let mut mutator = Mutator::new(seed, corpus, fuzz::dictionary(target), target.bytes_max);
    let began = Instant::now();
    for done in 1..=count {
        fuzz::check_shown(target, &mutator.input());
        if done % TELL_EVERY == 0 || done == count {
            let rate = done as f64 / began.elapsed().as_secs_f64();
            tell(&format!("{done} inputs, {rate:.0} a second, nothing found"))?;
        }
    }
    Ok(())
}
