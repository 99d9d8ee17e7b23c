//! Rules of this repository that no compiler checks. Every rule is a function from sources to
//! complaints, tested on sources that break it before it judges our own.

mod conformance;
mod layering;
mod links;
mod obligations;
mod text;

/// Fails with all complaints at once.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// A source that breaks a rule is noticed, with these places, and nothing else is.
#[track_caller]
fn assert_places(complaints: &[String], places: &[&str]) {
    let found: Vec<_> =
        complaints.iter().map(|complaint| complaint.split(": ").next().unwrap_or("")).collect();
    assert_eq!(found, places, "{complaints:#?}");
}
