//! CONNECT as the gateway has to read it, in all versions.

use crate::sim::wire::{Version, u16_at};
use crate::sim::wire5::Properties;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Connect<'a> {
    pub(super) version: Version,
    /// CleanSession, Clean Start.
    pub(super) is_clean: bool,
    pub(super) properties: Properties<'a>,
    pub(super) will: Option<Will<'a>>,
}

#[derive(Debug)]
pub(super) struct Will<'a> {
    pub(super) delay_s: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Connect<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let name_end = 2 + usize::from(u16_at(body, 0));
        let (head, rest) = body.get(name_end..)?.split_at_checked(4)?;
        let version = match head[0] {
            3 => Version::V31,
            4 => Version::V311,
            _ => Version::V5,
        };
        let flags = head[1];
        let properties = |rest| {
            if version.is_5() {
                Properties::read(rest)
            } else {
                Some((Properties::default(), rest))
            }
        };
        let (asked, rest) = properties(rest)?;
        let (_, rest) = binary(rest)?;
        let will = if flags & 0x04 != 0 {
            let (wishes, rest) = properties(rest)?;
            let (_, rest) = binary(rest)?;
            let (payload, _) = binary(rest)?;
            Some(Will { delay_s: wishes.will_delay_s.unwrap_or(0), payload })
        } else {
            None
        };
        Some(Self { version, is_clean: flags & 0x02 != 0, properties: asked, will })
    }
}

/// A string or binary data behind its length, and what follows it.
fn binary(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16_at(octets, 0));
    octets.get(2..)?.split_at_checked(length)
}
