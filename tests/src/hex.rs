//! Octets as the specifications draw them: `0A 04 04 01 00 3C 'dev1'`.
//!
//! Two hex digits are one octet, `'…'` is text, `??` is any one octet, a trailing `…` (or `...`)
//! is any rest. The last two make sense only in what a test expects, not in what it sends.

use std::fmt;

/// Octets to compare an answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    octets: Vec<Option<u8>>,
    open_end: bool,
    text: String,
}

impl Pattern {
    /// Reads a pattern; panics on a typing error, which is a fault of the test.
    pub fn new(text: &str) -> Self {
        let mut octets = Vec::new();
        let mut open_end = false;
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            assert!(!open_end, "`…` must be the end of the pattern: {text}");
            if let Some(quoted) = rest.strip_prefix('\'') {
                let (inside, after) = quoted.split_once('\'').unwrap_or_else(|| {
                    panic!("a quoted text is not closed: {text}");
                });
                octets.extend(inside.bytes().map(Some));
                rest = after.trim_start();
                continue;
            }
            let (token, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            match token {
                "??" => octets.push(None),
                "…" | "..." => open_end = true,
                digits if digits.len() == 2 => octets.push(Some(octet(digits, text))),
                other => panic!("`{other}` is not an octet: {text}"),
            }
            rest = after.trim_start();
        }
        Self { octets, open_end, text: text.trim().to_owned() }
    }

    /// Whether these octets are what the pattern describes.
    pub fn matches(&self, actual: &[u8]) -> bool {
        let long_enough = match self.open_end {
            true => actual.len() >= self.octets.len(),
            false => actual.len() == self.octets.len(),
        };
        let same = |(want, got): (&Option<u8>, &u8)| want.is_none_or(|want| want == *got);
        long_enough && self.octets.iter().zip(actual).all(same)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn octet(digits: &str, whole: &str) -> u8 {
    u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("`{digits}` is not hex: {whole}"))
}

/// The octets of a text without `??` and `…`.
pub fn octets(text: &str) -> Vec<u8> {
    let pattern = Pattern::new(text);
    assert!(!pattern.open_end, "only a pattern may be open: {text}");
    let known =
        |octet: Option<u8>| octet.unwrap_or_else(|| panic!("only a pattern has ??: {text}"));
    pattern.octets.into_iter().map(known).collect()
}

/// Octets that [`dump`] shows of a long packet.
const SHOWN_MAX: usize = 64;

/// Octets for a reader: hex, the text in them where there is some, the beginning if it is long.
pub fn dump(octets: &[u8]) -> String {
    let shown = &octets[..octets.len().min(SHOWN_MAX)];
    let hex: Vec<String> = shown.iter().map(|octet| format!("{octet:02X}")).collect();
    let mut dump = hex.join(" ");
    if shown.len() < octets.len() {
        dump.push_str(&format!(" … ({} octets)", octets.len()));
    }
    let printable = |octet: &u8| octet.is_ascii_graphic() || *octet == b' ';
    if shown.iter().filter(|octet| printable(octet)).count() >= 3 {
        let readable = |octet: &u8| if printable(octet) { char::from(*octet) } else { '.' };
        let text: String = shown.iter().map(readable).collect();
        dump.push_str(&format!("   |{text}|"));
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, actual: &str, expect: bool) {
        let matches = Pattern::new(pattern).matches(&octets(actual));
        assert_eq!(matches, expect, "{pattern} against {actual}");
    }

    #[test]
    fn a_pattern_matches_what_it_draws() {
        check("03 05 00", "03 05 00", true);
        check("03 05 00", "03 05 01", false);
        check("03 05 00", "03 05", false);
        check("03 05", "03 05 00", false);
        check("03 ?? 00", "03 07 00", true);
        check("03 ?? 00", "03 07 01", false);
        check("03 …", "03", true);
        check("03 …", "03 01 02", true);
        check("03 …", "", false);
        check("06 16 'dev1'", "06 16 64 65 76 31", true);
        check("'a b' 00", "61 20 62 00", true);
        check("", "", true);
    }

    #[test]
    #[should_panic(expected = "`3` is not an octet")]
    fn a_lost_digit_is_noticed() {
        octets("03 05 3");
    }

    #[test]
    fn a_dump_shows_text_beside_the_octets() {
        assert_eq!(dump(&octets("03 05 00")), "03 05 00");
        assert_eq!(dump(&octets("06 16 'dev1'")), "06 16 64 65 76 31   |..dev1|");
        assert!(dump(&[0; 65]).ends_with("00 00 … (65 octets)"));
    }
}
