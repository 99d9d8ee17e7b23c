//! A disk that lied, or gives back something else than was written: what a start makes of it.
//!
//! This is done to copies, when a process has ended. What is opened has to be a state that was;
//! what is refused can be salvaged, and then each record is one that was written. Either way the
//! machine has to come up with it and go on.

use std::fmt;

use fastrand::Rng;
use mqtt_sn_gw::store::disk::Disk as _;
use mqtt_sn_gw::store::testing::{Death, SimDisk};
use mqtt_sn_gw::store::{LogConfig, OpenError, open, salvage};

use super::moments::Moments;
use super::plant::{self, Fault};
use super::store::{self, Records};

/// What becomes of a disk.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    /// All syncs since that operation were lies, and the power fails.
    Lies { since: u64 },
    /// A bit of a file is another.
    Bit { name: String, at: usize, bit: u8 },
    /// A part of a file is zero, or what stands elsewhere in it.
    Page { name: String, at: usize, len: usize, from: Option<usize> },
    /// A file is cut.
    Cut { name: String, len: usize },
    /// A file is gone.
    Gone { name: String },
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What a start found on a harmed disk.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) records: Records,
    /// The log was refused, and this is what could be read of it.
    pub(crate) is_salvaged: bool,
}

impl Harm {
    /// Something that may happen to what is on a disk.
    pub(crate) fn draw(disk: &SimDisk, rng: &mut Rng) -> Option<Self> {
        if rng.u32(..4) == 0 {
            return Some(Self::Lies { since: rng.u64(..=disk.operations()) });
        }
        let names = disk.names();
        if names.is_empty() {
            return None;
        }
        let name = names[rng.usize(..names.len())].clone();
        let size = disk.read(&name).map_or(0, |octets| octets.len());
        if size == 0 {
            return Some(Self::Gone { name });
        }
        let at = rng.usize(..size);
        Some(match rng.u32(..5) {
            0 | 1 => Self::Bit { name, at, bit: rng.u8(..8) },
            2 => {
                let at = at / 64 * 64;
                let from = rng.bool().then(|| rng.usize(..size) / 64 * 64);
                Self::Page { name, at, len: 64 << rng.u32(..4), from }
            }
            3 => Self::Cut { name, len: at },
            _ => Self::Gone { name },
        })
    }

    fn inflict(&self, disk: &SimDisk) {
        match self {
            Self::Lies { since } => disk.lose_power_since(*since),
            Self::Bit { name, at, bit } => disk.edit(name, |octets| octets[*at] ^= 1 << bit),
            Self::Page { name, at, len, from } => disk.edit(name, |octets| {
                let end = (at + len).min(octets.len());
                match from {
                    None => octets[*at..end].fill(0),
                    Some(from) => {
                        let page = octets[*from..(from + end - at).min(octets.len())].to_vec();
                        octets[*at..at + page.len()].copy_from_slice(&page);
                    }
                }
            }),
            Self::Cut { name, len } => disk.edit(name, |octets| octets.truncate(*len)),
            Self::Gone { name } => disk.lose(name),
        }
    }

    /// Does it to a copy of a disk that was ended, and starts with that.
    ///
    /// # Errors
    /// What is wrong with what is served, in words.
    pub(crate) fn check(
        &self,
        disk: &SimDisk,
        config: LogConfig,
        moments: &Moments,
        fault: Option<Fault>,
    ) -> Result<Served, String> {
        let harmed = disk.copy();
        if !matches!(self, Self::Lies { .. }) {
            harmed.end(Death::Kill);
        }
        self.inflict(&harmed);
        if let (Some(Fault::AcceptDamage), Self::Bit { name, at, .. }) = (fault, self) {
            harmed.edit(name, |octets| plant::seal(octets, *at));
        }
        let found = harmed.copy();
        match open(harmed, config) {
            Ok((mut log, _)) => {
                let records = store::read(&mut log).map_err(words)?;
                if !moments.were(&records) {
                    return Err("a state is served that never was".to_owned());
                }
                Ok(Served { records, is_salvaged: false })
            }
            Err(OpenError::Damaged { .. } | OpenError::Missing { .. }) => {
                let (mut log, _) = open(SimDisk::default(), config).map_err(words)?;
                salvage(&found, &mut log).map_err(words)?;
                let records = store::read(&mut log).map_err(words)?;
                if !moments.were_written(&records) {
                    return Err("something is salvaged that was never written".to_owned());
                }
                Ok(Served { records, is_salvaged: true })
            }
            Err(error @ (OpenError::Newer { .. } | OpenError::Io(_))) => Err(words(error)),
        }
    }
}

fn words(error: impl fmt::Display) -> String {
    error.to_string()
}
