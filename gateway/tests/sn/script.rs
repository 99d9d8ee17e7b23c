//! Octets as text: how conversations are written in these tests.
//!
//! Hex octets with spaces between them, `'text'` for its characters, `{x}` for two octets that are
//! any when first met and the same afterwards, `??` for any octet. `--` begins a comment.

use std::collections::BTreeMap;

/// What placeholders stand for.
pub(crate) type Known = BTreeMap<String, [u8; 2]>;

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(" ")
}

/// The octets of a line.
pub(crate) fn octets(text: &str, known: &Known) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in words(text) {
        match word {
            Word::Octet(octet) => octets.push(octet),
            Word::Any => panic!("?? can only be expected"),
            Word::Text(text) => octets.extend(text.bytes()),
            Word::Name(name) => octets.extend(known.get(name).expect("a name learnt before")),
        }
    }
    octets
}

/// What came, in the form of the line that was expected: equal to [`plain`] of it if it fits.
pub(crate) fn fit(text: &str, came: &[u8], known: &mut Known) -> String {
    let mut octets = Vec::new();
    let mut hidden = Vec::new();
    for word in words(text) {
        let at = octets.len();
        match word {
            Word::Octet(octet) => octets.push(octet),
            Word::Any => {
                hidden.push(at);
                octets.push(0);
            }
            Word::Text(text) => octets.extend(text.bytes()),
            Word::Name(name) => {
                if let Some(&[first, second]) = came.get(at..at + 2) {
                    known.entry(name.to_owned()).or_insert([first, second]);
                }
                octets.extend([0; 2]);
            }
        }
    }
    let mut shown = came.to_vec();
    for at in hidden {
        if let Some(octet) = shown.get_mut(at) {
            *octet = 0;
        }
    }
    hex(&shown)
}

/// An expected line with its placeholders filled in.
pub(crate) fn plain(text: &str, known: &Known) -> String {
    hex(&octets(&text.replace("??", "00"), known))
}

/// The lines of a conversation without comments, each with its direction.
pub(crate) fn lines(script: &str) -> impl Iterator<Item = (char, &str)> {
    script.lines().filter_map(|line| {
        let line = line.split("--").next().unwrap_or_default().trim();
        let direction = line.chars().next()?;
        assert!(matches!(direction, '>' | '<'), "a line begins with > or <: {line}");
        Some((direction, line[1..].trim()))
    })
}

enum Word<'a> {
    Octet(u8),
    Any,
    Text(&'a str),
    Name(&'a str),
}

fn words(mut rest: &str) -> impl Iterator<Item = Word<'_>> {
    core::iter::from_fn(move || {
        rest = rest.trim_start();
        if let Some(text) = rest.strip_prefix('\'') {
            let (text, behind) = text.split_once('\'').expect("a text ends with '");
            rest = behind;
            return Some(Word::Text(text));
        }
        let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = behind;
        Some(match word {
            "" => return None,
            "??" => Word::Any,
            name if name.starts_with('{') => Word::Name(name.trim_matches(['{', '}'])),
            octet => Word::Octet(u8::from_str_radix(octet, 16).expect("a hex octet")),
        })
    })
}
