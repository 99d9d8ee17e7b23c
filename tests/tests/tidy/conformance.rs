//! docs/conformance.md says what is so.

use std::env;
use std::fs;

use system_tests::conformance::{self, DOCUMENT};
use system_tests::obligations::{self, By};
use system_tests::repository;

/// With `UPDATE_DOCS=1` in the environment the document is written anew instead.
#[test]
fn the_conformance_document_is_up_to_date() {
    let evidence = obligations::evidence(&repository::files(&[".rs"]));
    let expect = conformance::document(&obligations::lists(), &evidence);
    let path = repository::path(DOCUMENT);
    if env::var_os("UPDATE_DOCS").is_some() {
        // Other tests read the document meanwhile: they must see it whole.
        let new = path.with_extension("new");
        fs::write(&new, &expect).expect("the docs folder can be written to");
        fs::rename(&new, &path).expect("the document can be replaced");
        return;
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let stale = text.lines().zip(expect.lines()).find(|(is, should)| is != should);
    assert!(text == expect, "run this test with UPDATE_DOCS=1 to renew {DOCUMENT}: {stale:#?}");
}

/// A twin is a statement of a list, and has none itself.
#[test]
fn every_twin_exists() {
    let all = obligations::all();
    let is_good = |twin: &String| {
        all.get(twin).is_some_and(|other| other.by == By::Itself || other.by == By::Transport)
    };
    let wrong = all.values().filter_map(|obligation| match &obligation.by {
        By::Twin(twin) if !is_good(twin) => Some(format!("{}: no {twin}", obligation.id)),
        By::Twin(_) | By::Itself | By::Transport => None,
    });
    super::assert_none(&wrong.collect::<Vec<_>>());
}
