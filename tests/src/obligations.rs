//! What the specifications oblige us to, and where sources name it.
//!
//! The lists lie in `tests/obligations`. A test carries an id in its name
//! (`sn_073_a_wildcard_is_registered_first`, `mqtt_3_3_2_2_no_wildcards`) or in a comment
//! (`SN-073`, `[MQTT-3.3.2-2]`); code names it in a comment. Ids of MQTT 5.0 are written
//! `MQTT5-x.y.z-n`, since both versions number their statements alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use crate::repository::{self, Source};

/// The lists, and whether what concerns us there has to be honoured now.
const LISTS: [(&str, bool); 3] = [
    ("tests/obligations/mqtt-sn-1.2.txt", true),
    ("tests/obligations/mqtt-3.1.1.txt", true),
    ("tests/obligations/mqtt-5.0.txt", false),
];

/// Ids that still have no test or no code.
pub const MISSING: &str = "tests/obligations/missing.txt";

/// Where code is that has to name what it carries out.
const CODE: [&str; 3] = ["sn-codec/src/", "broker-core/src/", "gateway/src/"];

/// Where tests are, beside the unit tests within the code.
const TESTS: [&str; 4] =
    ["sn-codec/tests/", "broker-core/tests/", "gateway/tests/", "tests/tests/"];

/// These read the lists and name ids as examples.
const NO_TESTS: [&str; 1] = ["tests/tests/tidy/"];

/// The two ways to honour an obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A test carries the id.
    Test,
    /// Code names the id.
    Code,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Code => "code",
        })
    }
}

/// Every known id, and whether it has to be honoured now.
pub fn all() -> BTreeMap<String, bool> {
    let mut all = BTreeMap::new();
    for (path, now) in LISTS {
        let text = fs::read_to_string(repository::path(path)).expect(path);
        all.extend(parse(&text).into_iter().map(|(id, ours)| (id, ours && now)));
    }
    all
}

fn parse(list: &str) -> Vec<(String, bool)> {
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = entries.map(|line| {
        let mut words = line.split(' ');
        let id = words.next().unwrap_or_default();
        let whose = words.next().unwrap_or_default();
        assert_eq!(cited(id), [id], "not an id: {line}");
        let ours = match whose {
            "G" | "CG" | "FG" | "S" | "B" | "C+" => true,
            "C" | "F" | "-" => false,
            other => panic!("nobody is called `{other}`: {line}"),
        };
        assert!(words.next().is_some(), "an id without its obligation: {line}");
        (id.to_owned(), ours)
    });
    read.collect()
}

/// The evidence that sources give: which ids are named, and where first.
pub fn evidence(sources: &[Source]) -> BTreeMap<(String, Evidence), String> {
    let mut found = BTreeMap::new();
    for source in sources {
        for (number, line) in source.lines() {
            let Some(kind) = kind_of(source, number) else { continue };
            for id in cited(line) {
                let place = || format!("{}:{number}", source.path);
                found.entry((id, kind)).or_insert_with(place);
            }
        }
    }
    found
}

fn kind_of(source: &Source, number: usize) -> Option<Evidence> {
    if source.is_in(&NO_TESTS) {
        None
    } else if source.is_in(&TESTS) {
        Some(Evidence::Test)
    } else if source.is_in(&CODE) {
        let in_tests = number >= source.tests_from();
        Some(if in_tests { Evidence::Test } else { Evidence::Code })
    } else {
        None
    }
}

/// What is still missing of what concerns us.
pub fn missing(
    all: &BTreeMap<String, bool>,
    evidence: &BTreeMap<(String, Evidence), String>,
) -> BTreeSet<(String, Evidence)> {
    let ours = all.iter().filter(|(_, ours)| **ours);
    let needed =
        ours.flat_map(|(id, _)| [Evidence::Test, Evidence::Code].map(|kind| (id.clone(), kind)));
    needed.filter(|need| !evidence.contains_key(need)).collect()
}

/// The ids that a line names, in the spelling of the lists.
pub fn cited(line: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = line;
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        let begins = !before.is_some_and(|before: char| before.is_alphanumeric() || before == '-');
        if let Some((id, length)) = begins.then(|| id_at(rest)).flatten() {
            ids.push(id);
            rest = &rest[length..];
            before = Some('0');
        } else {
            rest = &rest[first.len_utf8()..];
            before = Some(first);
        }
    }
    ids
}

/// The id that a text begins with, and its length there.
fn id_at(text: &str) -> Option<(String, usize)> {
    if let Some(number) = text.strip_prefix("SN-").or_else(|| text.strip_prefix("sn_")) {
        let is_id = digits_at(number) == 3;
        return is_id.then(|| (format!("SN-{}", &number[..3]), 6));
    }
    // The standard's own typing error, 3-8.3-4, is read as what it means.
    let (rest, separators) = match text.strip_prefix("MQTT") {
        Some(rest) => (rest, ["-", ".-", ".", "-"]),
        None => (text.strip_prefix("mqtt")?, ["_"; 4]),
    };
    let (version, mut rest) = match rest.strip_prefix('5') {
        Some(rest) => ("MQTT5", rest),
        None => ("MQTT", rest),
    };
    let mut parts = [""; 4];
    for (part, separator) in parts.iter_mut().zip(separators) {
        rest = rest.strip_prefix(|c| separator.contains(c))?;
        let digits = digits_at(rest);
        (*part, rest) = (digits > 0).then(|| rest.split_at(digits))?;
    }
    let [chapter, section, number, statement] = parts;
    let id = format!("{version}-{chapter}.{section}.{number}-{statement}");
    Some((id, text.len() - rest.len()))
}

fn digits_at(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Reads [`MISSING`].
pub fn known_missing() -> BTreeSet<(String, Evidence)> {
    let text = fs::read_to_string(repository::path(MISSING)).unwrap_or_default();
    let entries = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = entries.flat_map(|line| {
        let mut words = line.split(' ');
        let id = words.next().unwrap_or_default().to_owned();
        words.map(move |word| match word {
            "test" => (id.clone(), Evidence::Test),
            "code" => (id.clone(), Evidence::Code),
            other => panic!("{MISSING}: `{other}` is neither test nor code"),
        })
    });
    read.collect()
}

/// The text of [`MISSING`] for this set.
pub fn missing_text(missing: &BTreeSet<(String, Evidence)>) -> String {
    let mut text = String::from(
        "# Obligations without a test that carries their id, or without code that names it.\n\
         # This list only shrinks; `OBLIGATIONS=shrink cargo test --test tidy` takes out what is\n\
         # there now, and the file goes when it is empty.\n",
    );
    let ids: BTreeSet<_> = missing.iter().map(|(id, _)| id).collect();
    for id in ids {
        let kinds = missing.iter().filter(|(other, _)| other == id).map(|(_, kind)| kind);
        let kinds: Vec<_> = kinds.map(ToString::to_string).collect();
        text.push_str(&format!("{id} {}\n", kinds.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_both_spellings() {
        let check = |line: &str, expect: &[&str]| assert_eq!(cited(line), expect, "{line}");
        check("/// Registers first (SN-073, [MQTT-3.3.2-5]).", &["SN-073", "MQTT-3.3.2-5"]);
        check("fn sn_073_sn_077_register_first() {", &["SN-073", "SN-077"]);
        check("fn mqtt_3_12_4_1_pingresp() {", &["MQTT-3.12.4-1"]);
        check("fn a_test_of_mqtt_3_12_4_1() {", &["MQTT-3.12.4-1"]);
        check("// [MQTT5-3.1.2-7] mqtt5_3_1_2_7", &["MQTT5-3.1.2-7", "MQTT5-3.1.2-7"]);
        check("[MQTT-3-8.3-4]", &["MQTT-3.8.3-4"]);
        check("MQTT-SN 1.2, MQTT-SN-100, SN-1, SN-1234, mqtt_3_1_1, MQTT 3.1.1, DSN-073", &[]);
        check("größe SN-001", &["SN-001"]);
    }

    #[test]
    fn a_list_says_whose_each_obligation_is() {
        let list = "# comment\n\nSN-001 CG first\nSN-002 C second\nMQTT-1.2.3-4 C+ third\n";
        let expect = [("SN-001", true), ("SN-002", false), ("MQTT-1.2.3-4", true)];
        assert_eq!(parse(list), expect.map(|(id, ours)| (id.to_owned(), ours)));
    }

    #[test]
    fn evidence_is_told_apart() {
        let unit = "/// SN-001\nfn code() {}\n#[cfg(test)]\nmod tests { // SN-002\n";
        let sources = [
            Source::invented("gateway/src/sn/mod.rs", unit),
            Source::invented("tests/tests/e2e/main.rs", "fn sn_001_is_so() {}\n"),
            Source::invented("tests/src/lib.rs", "// SN-003\n"),
            Source::invented("tests/tests/tidy/main.rs", "// SN-003\n"),
        ];
        let evidence = evidence(&sources);
        let all = ["SN-001", "SN-002", "SN-003"].map(|id| (id.to_owned(), true)).into();
        let missing = missing(&all, &evidence);
        let text = missing_text(&missing);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["SN-002 code", "SN-003 test code"]);
        let place = &evidence[&("SN-001".to_owned(), Evidence::Test)];
        assert_eq!(place, "tests/tests/e2e/main.rs:1");
    }
}
