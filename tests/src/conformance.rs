//! docs/conformance.md: every statement that concerns us, where it is carried out and which test
//! shows it. Written from the lists and from what the sources name.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::obligations::{By, Evidence, Found, List, Obligation, Place, places};

/// The document.
pub const DOCUMENT: &str = "docs/conformance.md";

/// Where a test is looked for first: what speaks raw octets to the whole stack, what speaks them to
/// the process, then what knows more of the inside.
const BEST_TESTS: [&str; 6] = [
    "broker-core/tests/conformance/",
    "broker-core/tests/mqtt_wire/",
    "gateway/tests/sn/",
    "sn-codec/tests/",
    "tests/tests/",
    "broker-core/tests/",
];

const HEAD: &str = "\
# Conformance

What the specifications ask of a gateway and server, statement by statement: where the code is, and
a test that shows it. MQTT is shown with raw octets, which the tests write and read themselves
(`broker-core/tests/conformance`); its folder `matrix` holds all that is malformed.

Statements that oblige clients alone are left out, unless the server has to answer a breach. The
wording is ours and short; the standards are what counts. A dash means that it is not there yet:
`tests/obligations/missing.txt` holds all of those, and no others are allowed.

This file is written by `UPDATE_DOCS=1 cargo test -p system-tests --test tidy conformance`.
";

/// The text of the document.
pub fn document(lists: &[List], evidence: &Found) -> String {
    let mut text = String::from(HEAD);
    let row = "| | statements that concern us | with a test | with code |\n|---|--:|--:|--:|\n";
    text += &format!("\n{row}");
    for (title, list) in lists {
        let ours = || list.iter().filter(|obligation| obligation.is_ours);
        let count = |kind| ours().filter(|ours| is_shown(ours, kind, evidence)).count();
        let (all, tests, code) = (ours().count(), count(Evidence::Test), count(Evidence::Code));
        put(&mut text, format_args!("| {title} | {all} | {tests} | {code} |\n"));
    }
    for (title, list) in lists {
        put(&mut text, format_args!("\n## {title}\n\n| id | statement | code | test |\n"));
        text += "|---|---|---|---|\n";
        for obligation in list.iter().filter(|obligation| obligation.is_ours) {
            let statement = obligation.text.replace('|', "\\|");
            let code = code_of(obligation, evidence);
            let test = test_of(obligation, evidence);
            put(&mut text, format_args!("| {} | {statement} | {code} | {test} |\n", obligation.id));
        }
    }
    text
}

fn put(text: &mut String, row: std::fmt::Arguments<'_>) {
    text.write_fmt(row).expect("a String takes every text");
}

fn is_shown(obligation: &Obligation, kind: Evidence, evidence: &Found) -> bool {
    let is_below = kind == Evidence::Code && obligation.by == By::Transport;
    is_below || places(obligation, kind, evidence).next().is_some()
}

/// The files that name it, each once.
fn code_of(obligation: &Obligation, evidence: &Found) -> String {
    let mut files = Vec::new();
    match &obligation.by {
        By::Transport => files.push("the transport".to_owned()),
        By::Twin(twin) if !evidence.contains_key(&(obligation.id.clone(), Evidence::Code)) => {
            files.push(format!("as {twin}"));
        }
        By::Twin(_) | By::Itself => {}
    }
    let mut seen = BTreeSet::new();
    let named = places(obligation, Evidence::Code, evidence);
    files.extend(named.filter(|place| seen.insert(&place.path)).map(|place| link(&place.path)));
    or_dash(files.join(", "))
}

/// The best test that carries it.
fn test_of(obligation: &Obligation, evidence: &Found) -> String {
    let rank = |place: &&Place| {
        let folder = BEST_TESTS.iter().position(|folder| place.path.starts_with(folder));
        (folder.unwrap_or(BEST_TESTS.len()), place.function.is_none())
    };
    let best = places(obligation, Evidence::Test, evidence).min_by_key(rank);
    or_dash(best.map_or_else(String::new, |place| match &place.function {
        Some(function) => format!("{}::`{function}`", link(&place.path)),
        None => link(&place.path),
    }))
}

/// A link to a file, called by the end of its path that tells it from others.
fn link(path: &str) -> String {
    let name = path.split_once("/src/").or_else(|| path.split_once("/tests/"));
    let package = path.split('/').next().unwrap_or_default();
    let name = name.map_or_else(|| path.to_owned(), |(_, rest)| format!("{package}: {rest}"));
    format!("[{name}](../{path})")
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "–".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obligations::evidence;
    use crate::repository::Source;

    fn own(id: &str, is_ours: bool, by: By) -> Obligation {
        Obligation { id: id.to_owned(), is_ours, by, text: "a | b".to_owned() }
    }

    #[test]
    fn each_statement_of_ours_has_a_row() {
        let sources = [
            Source::invented("broker-core/src/a.rs", "// [MQTT-1.2.3-4]\nfn code() {}\n"),
            Source::invented("broker-core/tests/broker/x.rs", "/// [MQTT-1.2.3-4]\nfn far() {}\n"),
            Source::invented(
                "broker-core/tests/conformance/x.rs",
                "/// [MQTT-1.2.3-4]\n#[test]\nfn near() {}\n",
            ),
        ];
        let list = vec![
            own("MQTT-1.2.3-4", true, By::Itself),
            own("MQTT-1.2.3-5", true, By::Twin("MQTT-1.2.3-4".to_owned())),
            own("MQTT-1.2.3-6", true, By::Transport),
            own("MQTT-1.2.3-7", false, By::Itself),
        ];
        let text = document(&[("MQTT", list)], &evidence(&sources));
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| MQTT")).collect();
        let code = "[broker-core: a.rs](../broker-core/src/a.rs)";
        let path = "broker-core/tests/conformance/x.rs";
        let test = format!("[broker-core: conformance/x.rs](../{path})::`near`");
        let expect = [
            "| MQTT | 3 | 1 | 3 |".to_owned(),
            format!("| MQTT-1.2.3-4 | a \\| b | {code} | {test} |"),
            format!("| MQTT-1.2.3-5 | a \\| b | as MQTT-1.2.3-4, {code} | – |"),
            "| MQTT-1.2.3-6 | a \\| b | the transport | – |".to_owned(),
        ];
        assert_eq!(rows, expect);
    }
}
