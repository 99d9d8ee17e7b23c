//! Every obligation of the specifications has a test and a place in the code.

use std::env;
use std::fs;

use system_tests::obligations::{self, MISSING};
use system_tests::repository::{self, Source};

#[test]
fn every_obligation_has_a_test_and_code() {
    let evidence = obligations::evidence(&repository::files(&[".rs"]));
    let missing = obligations::missing(&obligations::all(), &evidence);
    let known = obligations::known_missing();
    let lost: Vec<_> = missing.difference(&known).collect();
    let lines = |pairs: &[&(String, _)]| {
        let lines = pairs.iter().map(|(id, kind)| format!("  {id} {kind}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(lost.is_empty(), "obligations without a test or code:\n{}", lines(&lost));
    let honoured: Vec<_> = known.difference(&missing).collect();
    if !honoured.is_empty() && env::var_os("OBLIGATIONS").is_some_and(|what| what == "shrink") {
        let text = obligations::missing_text(&missing);
        fs::write(repository::path(MISSING), text).expect("the list is ours");
        return;
    }
    assert!(
        honoured.is_empty(),
        "honoured now: take them out of {MISSING} with OBLIGATIONS=shrink\n{}",
        lines(&honoured)
    );
}

#[test]
fn every_cited_obligation_exists() {
    let all = obligations::all();
    let mut unknown = Vec::new();
    // The modules that read ids invent some for their own tests.
    let invents =
        |source: &Source| source.is_in(&["tests/src/obligations.rs", "tests/src/conformance.rs"]);
    for source in repository::files(&[".rs", ".md"]).iter().filter(|source| !invents(source)) {
        for (number, line) in source.lines() {
            let cited = obligations::cited(line).into_iter();
            let strangers = cited.filter(|id| !all.contains_key(id));
            unknown.extend(strangers.map(|id| format!("{}:{number}: no {id}", source.path)));
        }
    }
    super::assert_none(&unknown);
}

#[test]
fn the_lists_are_complete() {
    let all = obligations::all();
    let count = |prefix: &str| all.keys().filter(|id| id.starts_with(prefix)).count();
    assert_eq!((count("SN-"), count("MQTT-"), count("MQTT5-")), (107, 141, 251));
    assert!((1..=107).all(|number| all.contains_key(&format!("SN-{number:03}"))));
}
