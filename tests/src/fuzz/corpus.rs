//! Corpora and dictionaries as they are committed.
//!
//! A corpus is one text file, an input a line, in octets as the specifications draw them (see
//! [`hex`]): so a reader sees what it holds and a change of it is a change of lines. A
//! line that begins with `--` says what the next input is there for; such inputs stay. A dictionary
//! is in the format of libFuzzer: `name="text\xFF"`.

use std::fs;

use super::Target;
use crate::{hex, repository};

/// The committed corpus of a target.
///
/// # Panics
/// If it is not there, or not in its format.
pub fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let text = read(target);
    text.lines().filter(|line| !line.starts_with(COMMENT)).map(hex::octets).collect()
}

/// A new corpus for a target as text: the inputs that are there for a reason, then these, sorted by
/// length.
///
/// # Panics
/// As [`inputs`].
pub fn pack(target: &Target, mut inputs: Vec<Vec<u8>>) -> String {
    let text = read(target);
    let pairs = text.lines().zip(text.lines().skip(1));
    let mut packed = String::new();
    for (comment, kept) in pairs.filter(|(line, _)| line.starts_with(COMMENT)) {
        packed += &format!("{comment}\n{kept}\n");
        inputs.retain(|input| line(input) != kept);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    inputs.iter().fold(packed, |text, input| text + &line(input) + "\n")
}

/// The words of a target's dictionary.
///
/// # Panics
/// If it is not there, or not in its format.
pub fn dictionary(target: &Target) -> Vec<Vec<u8>> {
    let text = read_file(&format!("dictionaries/{}.dict", target.dictionary));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| word(line).unwrap_or_else(|| panic!("{line} is no word"))).collect()
}

fn read(target: &Target) -> String {
    read_file(&format!("corpus/{}.txt", target.name))
}

fn read_file(path: &str) -> String {
    let path = repository::path(&format!("tests/fuzz/{path}"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a line for the reader begins with.
const COMMENT: &str = "--";

/// Runs of so many letters are written as text.
const TEXT_MIN: usize = 3;

/// An input as a line of a corpus.
pub fn line(octets: &[u8]) -> String {
    let mut words = Vec::new();
    let mut rest = octets;
    while let Some(first) = rest.first() {
        let is_text = |octet: &u8| (b' '..=b'~').contains(octet) && *octet != b'\'';
        let text = rest.iter().take_while(|octet| is_text(octet)).count();
        if text >= TEXT_MIN {
            words.push(format!("'{}'", String::from_utf8_lossy(&rest[..text])));
            rest = &rest[text..];
        } else {
            words.push(format!("{first:02X}"));
            rest = &rest[1..];
        }
    }
    words.join(" ")
}

/// The octets in `name="…"`.
fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.split_once('"')?.1.strip_suffix('"')?.bytes();
    let mut octets = Vec::new();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        match rest.next()? {
            b'x' => {
                let digits = [rest.next()?, rest.next()?];
                octets.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            escaped => octets.push(escaped),
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_read_as_it_was_written() {
        for octets in [&b""[..], b"\x00ab\xFFabc'de f'\x7F", b"--", b" -- abc -- "] {
            let line = line(octets);
            assert!(!line.starts_with(COMMENT));
            assert_eq!(hex::octets(&line), octets, "{line}");
        }
    }

    #[test]
    fn a_dictionary_is_read_as_libfuzzer_reads_it() {
        assert_eq!(word(r#"a="GET \x0D\x0a\"\\""#), Some(b"GET \r\n\"\\".to_vec()));
        assert_eq!(word(r#""x""#), Some(b"x".to_vec()));
        assert_eq!(word(r#"a="\x0""#), None);
        assert_eq!(word("a"), None);
    }
}
