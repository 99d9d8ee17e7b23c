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

/// The lists, with what each is of.
const LISTS: [(&str, &str); 3] = [
    ("MQTT-SN 1.2", "tests/obligations/mqtt-sn-1.2.txt"),
    ("MQTT 3.1.1", "tests/obligations/mqtt-3.1.1.txt"),
    ("MQTT 5.0", "tests/obligations/mqtt-5.0.txt"),
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

/// One statement of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// How it is cited.
    pub id: String,
    /// Whether a gateway or server has to honour it.
    pub is_ours: bool,
    /// Who carries it out.
    pub by: By,
    /// What it says, in our words.
    pub text: String,
}

/// Who carries a statement out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Code that names it.
    Itself,
    /// Code that names this one: both say the same.
    Twin(String),
    /// What is below us: TCP, UDP, the operating system.
    Transport,
}

/// One list: what it is of, and its statements in their order.
pub type List = (&'static str, Vec<Obligation>);

/// All lists.
pub fn lists() -> Vec<List> {
    let read = |(title, path)| {
        let text = fs::read_to_string(repository::path(path)).expect(path);
        (title, parse(&text))
    };
    LISTS.into_iter().map(read).collect()
}

/// Every statement of all lists by its id.
pub fn all() -> BTreeMap<String, Obligation> {
    let all = lists().into_iter().flat_map(|(_, list)| list);
    all.map(|obligation| (obligation.id.clone(), obligation)).collect()
}

fn parse(list: &str) -> Vec<Obligation> {
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = entries.map(|line| {
        let mut words = line.split(' ').peekable();
        let id = words.next().unwrap_or_default();
        let whose = words.next().unwrap_or_default();
        assert_eq!(cited(id), [id], "not an id: {line}");
        let is_ours = match whose {
            "G" | "CG" | "FG" | "S" | "B" | "C+" => true,
            "C" | "F" | "-" => false,
            other => panic!("nobody is called `{other}`: {line}"),
        };
        let by = match words.next_if(|word| word.starts_with(['=', '@'])) {
            None => By::Itself,
            Some("@transport") => By::Transport,
            Some(twin) => By::Twin(twin.trim_start_matches('=').to_owned()),
        };
        let text = words.collect::<Vec<_>>().join(" ");
        assert!(!text.is_empty(), "an id without its obligation: {line}");
        Obligation { id: id.to_owned(), is_ours, by, text }
    });
    read.collect()
}

/// Where a source names an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: String,
    /// The function that the line belongs to: the one that it is in, or that it is a comment of.
    pub function: Option<String>,
}

/// All places that name an id as one kind of evidence, in the order of their paths.
pub type Found = BTreeMap<(String, Evidence), Vec<Place>>;

/// The evidence that sources give.
pub fn evidence(sources: &[Source]) -> Found {
    let mut found = Found::new();
    for source in sources {
        let lines: Vec<_> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(kind) = kind_of(source, index + 1) else { continue };
            for id in cited(line) {
                let function = function_at(&lines, index).map(str::to_owned);
                let place = Place { path: source.path.clone(), function };
                found.entry((id, kind)).or_default().push(place);
            }
        }
    }
    found
}

/// The function below a comment, or else around a line.
fn function_at<'a>(lines: &[&'a str], index: usize) -> Option<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_above = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[")
    };
    if lines[index].trim_start().starts_with("//!") {
        return None;
    }
    let below = index + lines[index..].iter().take_while(is_above).count();
    if let Some(function) = lines.get(below).and_then(|line| function_of(line)) {
        return Some(function);
    }
    let around = lines[..index].iter().rev().filter(|line| indent(line) < indent(lines[index]));
    around.filter(|line| !line.trim().is_empty()).find_map(|line| function_of(line))
}

/// The function that a line declares.
fn function_of(line: &str) -> Option<&str> {
    let (before, name) = line.split_once("fn ")?;
    let is_declaration = before.trim().split(' ').all(|word| {
        word.is_empty() || word.starts_with("pub") || ["const", "unsafe", "async"].contains(&word)
    });
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    is_declaration.then(|| &name[..end])
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

/// The places that give this kind of evidence for a statement, those of its twin included where
/// code is concerned.
pub fn places<'a>(
    obligation: &Obligation,
    kind: Evidence,
    evidence: &'a Found,
) -> impl Iterator<Item = &'a Place> {
    let mut ids = vec![&obligation.id];
    if let (Evidence::Code, By::Twin(twin)) = (kind, &obligation.by) {
        ids.push(twin);
    }
    let keys = ids.into_iter().map(move |id| (id.clone(), kind)).collect::<Vec<_>>();
    keys.into_iter().filter_map(|key| evidence.get(&key)).flatten()
}

/// What is still missing of what concerns us.
pub fn missing(
    all: &BTreeMap<String, Obligation>,
    evidence: &Found,
) -> BTreeSet<(String, Evidence)> {
    let is_missing = |obligation: &Obligation, kind| {
        let is_below = kind == Evidence::Code && obligation.by == By::Transport;
        obligation.is_ours && !is_below && places(obligation, kind, evidence).next().is_none()
    };
    let needed = all
        .values()
        .flat_map(|obligation| [Evidence::Test, Evidence::Code].map(|kind| (obligation, kind)));
    needed
        .filter(|(obligation, kind)| is_missing(obligation, *kind))
        .map(|(obligation, kind)| (obligation.id.clone(), kind))
        .collect()
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

    fn own(id: &str, is_ours: bool, by: By) -> Obligation {
        Obligation { id: id.to_owned(), is_ours, by, text: "text".to_owned() }
    }

    #[test]
    fn a_list_says_whose_each_obligation_is_and_who_carries_it_out() {
        let list = "# comment\n\nSN-001 CG text\nSN-002 C text\nMQTT-1.2.3-4 C+ @transport text\n\
                    MQTT5-1.2.3-4 S =MQTT-1.2.3-4 text\n";
        let expect = [
            own("SN-001", true, By::Itself),
            own("SN-002", false, By::Itself),
            own("MQTT-1.2.3-4", true, By::Transport),
            own("MQTT5-1.2.3-4", true, By::Twin("MQTT-1.2.3-4".to_owned())),
        ];
        assert_eq!(parse(list), expect);
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
        let all = [
            own("SN-001", true, By::Itself),
            own("SN-002", true, By::Itself),
            own("SN-003", true, By::Itself),
            own("SN-004", true, By::Twin("SN-001".to_owned())),
            own("SN-005", true, By::Transport),
            own("SN-006", false, By::Itself),
        ];
        let all = all.map(|obligation| (obligation.id.clone(), obligation)).into();
        let missing = missing(&all, &evidence);
        let text = missing_text(&missing);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["SN-002 code", "SN-003 test code", "SN-004 test", "SN-005 test"]);
        let place = &evidence[&("SN-001".to_owned(), Evidence::Test)][0];
        assert_eq!(place.path, "tests/tests/e2e/main.rs");
        assert_eq!(place.function.as_deref(), Some("sn_001_is_so"));
    }

    #[test]
    fn a_line_belongs_to_the_function_below_or_around_it() {
        let text = "\
//! module
/// above
#[test]
fn one() {
    // inside
    let x = f(|fn_name| {
        deeper
    });
}

/// of a constant
const X: u8 = 1;

    pub(crate) const fn two<T>() {
        // inside two
";
        let lines: Vec<_> = text.lines().collect();
        let at = |wanted: &str| {
            let index = lines.iter().position(|line| line.contains(wanted)).expect(wanted);
            function_at(&lines, index)
        };
        assert_eq!(at("module"), None);
        assert_eq!(at("above"), Some("one"));
        assert_eq!(at("fn one"), Some("one"));
        assert_eq!(at("// inside"), Some("one"));
        assert_eq!(at("deeper"), Some("one"));
        assert_eq!(at("of a constant"), None);
        assert_eq!(at("inside two"), Some("two"));
    }
}
