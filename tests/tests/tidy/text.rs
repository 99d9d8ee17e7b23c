//! The look of every file that we write.

use system_tests::repository::{Source, files};

/// Columns of a line of code, as rustfmt has them.
const CODE_COLUMNS_MAX: usize = 100;

/// Columns of a line of prose. Tables and links cannot be broken and are exempt.
const PROSE_COLUMNS_MAX: usize = 120;

/// A text of this many columns within a line exempts it: what a user reads stays in one piece, so
/// that it can be searched for.
const TEXT_COLUMNS_EXEMPT: usize = 50;

/// Lines of a file: beyond, it holds more than one idea.
const LINES_MAX: usize = 700;

/// Files of code; a name that begins with `/` is a whole name.
const CODE: [&str; 4] = [".rs", ".py", ".mjs", "/run"];

#[test]
fn lines_are_short() {
    super::assert_none(&long_lines(&files(&CODE), CODE_COLUMNS_MAX));
    super::assert_none(&long_lines(&files(&[".md"]), PROSE_COLUMNS_MAX));
}

#[test]
fn files_are_short() {
    super::assert_none(&long_files(&files(&CODE)));
}

#[test]
fn nothing_is_left_for_later() {
    super::assert_none(&markers(&files(&CODE)));
}

#[test]
fn no_path_of_one_machine_is_named() {
    super::assert_none(&machine_paths(&files(&[".rs", ".toml", ".py", ".mjs", "/run", ".md"])));
}

fn long_lines(sources: &[Source], columns_max: usize) -> Vec<String> {
    let exempt = |line: &str| {
        let unbreakable = line.starts_with('|') || line.contains("](") || line.contains("://");
        unbreakable || quoted(line).chars().count() >= TEXT_COLUMNS_EXEMPT
    };
    each_line(sources, |line| {
        let columns = line.chars().count();
        (columns > columns_max && !exempt(line)).then(|| format!("{columns} columns"))
    })
}

/// The text in a line: between the first and the last quotation mark, or to the end where it goes
/// on beyond the line.
fn quoted(line: &str) -> &str {
    let goes_on = line.ends_with('\\');
    match (line.find('"'), line.rfind('"')) {
        (Some(first), Some(_)) if goes_on => &line[first..],
        (Some(first), Some(last)) if first < last => &line[first..last],
        (Some(only), Some(_)) => &line[..only],
        _ if goes_on => line,
        _ => "",
    }
}

fn long_files(sources: &[Source]) -> Vec<String> {
    let long = sources.iter().map(|source| (&source.path, source.text.lines().count()));
    long.filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines, more than {LINES_MAX}"))
        .collect()
}

fn markers(sources: &[Source]) -> Vec<String> {
    // Put together, so that this file does not complain about itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    let macros = [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]].map(|p| p.concat());
    each_line(sources, |line| {
        let word = |word: &&String| contains_word(line, word);
        let left = words.iter().find(word).or_else(|| macros.iter().find(|m| line.contains(*m)));
        left.map(|marker| format!("the marker {marker}"))
    })
}

fn contains_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|found| found == word)
}

fn machine_paths(sources: &[Source]) -> Vec<String> {
    let roots = ["work", "home", "root", "tmp", "Users"].map(|name| format!("/{name}/"));
    each_line(sources, |line| {
        let begins = |root: &&String| {
            line.match_indices(*root).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c))
            })
        };
        roots.iter().find(begins).map(|root| format!("a path below {root}"))
    })
}

fn each_line(sources: &[Source], rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let complaints = sources.iter().flat_map(|source| {
        let lines = source.lines().filter_map(|(number, line)| Some((number, rule(line)?)));
        lines.map(|(number, what)| format!("{}:{number}: {what}", source.path)).collect::<Vec<_>>()
    });
    complaints.collect()
}

#[test]
fn every_rule_notices_what_breaks_it() {
    let file = |text: &str| [Source::invented("a.rs", text)];
    let long = "x".repeat(101);
    let exempt = format!("| {long}\nhttp://{long}\n\"{long}\"\n\"{long}\\\n{long}\\\n{long}\"\n");
    let lines = format!("{}\n{long}\n{exempt}f(\"short\", {long})\n", &long[1..]);
    super::assert_places(&long_lines(&file(&lines), 100), &["a.rs:2", "a.rs:9"]);
    super::assert_places(&long_files(&file(&"x\n".repeat(LINES_MAX))), &[]);
    super::assert_places(&long_files(&file(&"x\n".repeat(LINES_MAX + 1))), &["a.rs"]);
    let marked = [["// TO", "DO: x"], ["to", "do!()"], ["// TO", "DOS"], ["let to", "do = 1;"]];
    let marked = marked.map(|parts| parts.concat()).join("\n");
    super::assert_places(&markers(&file(&marked)), &["a.rs:1", "a.rs:2"]);
    let paths =
        [["\"/ho", "me/me/x\""], ["a/ho", "me/x"], ["see /wo", "rk/x"], ["${DIR}/tm", "p/x"]];
    let paths = paths.map(|parts| parts.concat()).join("\n");
    super::assert_places(&machine_paths(&file(&paths)), &["a.rs:1", "a.rs:3"]);
}
