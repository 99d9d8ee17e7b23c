//! Walks a TOML document table by table and finds everything that is wrong with it.
//!
//! A section is declared once, with [`settings!`]: the field of the struct, the key in the file,
//! its default, its bounds, and the words of the reference are one entry. [`Table::read`] looks a
//! key up; whatever was never looked up is unknown when the table is finished. A value that is
//! wrong is told and replaced by the default, so that the walk goes on to the next problem.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeString, DeTable};

use super::problem::{Place, Problem, Source};
use super::reference;
use super::reload::{Change, Class};
use super::setting::{Setting, clip, describe};

/// A TOML document with the text that it came from.
pub(super) struct Document<'d> {
    source: &'d Source,
    root: DeTable<'d>,
    /// The lines, from 0, whose syntax is broken.
    broken: BTreeSet<usize>,
}

impl<'d> Document<'d> {
    /// Parses as much of the text as can be understood, and tells what cannot.
    pub(super) fn parse(source: &'d Source) -> (Self, Vec<Problem>) {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let mut document = Self { source, root: root.into_inner(), broken: BTreeSet::new() };
        let mut problems = Vec::new();
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            let line = source.line(at);
            // The first error of a line is the cause, the others follow from it.
            if !document.broken.insert(line) {
                continue;
            }
            let empty = error.span().is_none_or(|span| span.is_empty());
            let (what, right) = syntax_advice(error.message(), empty);
            problems.push(Problem { place: source.place(at), key: String::new(), what, right });
        }
        // A header that is not understood leaves the keys below it in the wrong table.
        if document.broken.iter().any(|line| source.line_text(*line).trim_start().starts_with('['))
        {
            document.root = DeTable::new();
        }
        (document, problems)
    }

    /// The table around all others.
    pub(super) fn root(&self) -> Table<'_> {
        Table::new(self, "", Some(&self.root), 0)
    }
}

/// What a syntax error says, and what would be right. `empty` if nothing stands there.
fn syntax_advice(message: &str, empty: bool) -> (String, String) {
    let (what, right) = match message.split_once(", expected ") {
        Some((_, "literal string")) if empty => ("the value is missing", "write it behind the ="),
        Some((what, "literal string")) => (what, "write it between quotes: \"...\""),
        Some((what, "nothing")) if what.starts_with("invalid") => {
            (what, "write text, such as an address, between quotes: \"...\"")
        }
        Some((what, "nothing")) => (what, "leave it out"),
        Some((what, expected)) => return (what.into(), format!("expected {expected}")),
        None if message == "duplicate key" => {
            ("this key or table stands here for the second time", "keep one of the two")
        }
        None => (message, "see https://toml.io for what TOML allows"),
    };
    (what.into(), right.into())
}

/// One key as the reference tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) default: String,
    pub(super) values: String,
    /// When a change of it takes effect.
    pub(super) class: Class,
}

/// A struct that is read from the keys of one table; made by [`settings!`].
pub(super) trait Section: Sized {
    fn read(table: &mut Table<'_>) -> Self;

    /// The keys whose values differ in `new`; `path` is that of the table.
    fn compare(&self, new: &Self, path: &str, changes: &mut Vec<Change>);
}

/// A section in which no key is given.
pub(super) fn defaults<S: Section>() -> S {
    let source = Source::new("", "");
    S::read(&mut Document::parse(&source).0.root())
}

/// One table of the document, or the absence of one, which reads as all defaults.
pub(super) struct Table<'d> {
    document: &'d Document<'d>,
    /// The path of the table: empty for the root, `mqtt_sn.client` for one inside another.
    path: &'static str,
    entries: Option<&'d DeTable<'d>>,
    at: usize,
    /// The tables inside that were asked for.
    tables: Vec<&'static str>,
    /// The keys that were asked for, in that order.
    pub(super) keys: Vec<Key>,
    /// The keys that stand in the file with a good value.
    given: Vec<(&'static str, usize)>,
    problems: Vec<Problem>,
}

impl<'d> Table<'d> {
    fn new(
        document: &'d Document<'d>,
        path: &'static str,
        entries: Option<&'d DeTable<'d>>,
        at: usize,
    ) -> Self {
        let (tables, keys, given, problems) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { document, path, entries, at, tables, keys, given, problems }
    }

    /// Reads one key: its value, or `default` where it is absent or wrong.
    ///
    /// `class`, `about` and `default_words` are for the reference; the words stand in for a default
    /// that follows from something else.
    pub(super) fn read<T: Setting>(
        &mut self,
        class: Class,
        name: &'static str,
        about: &'static str,
        default: T,
        default_words: Option<&'static str>,
        bounds: &T::Bounds,
    ) -> T {
        let values = format!("{}{}", T::expected(bounds), unit(name));
        self.keys.push(Key {
            name,
            about,
            default: default_words.map_or_else(|| format!("`{}`", default.toml()), Into::into),
            values: values.clone(),
            class,
        });
        let Some(value) = self.entries.and_then(|entries| entries.get(name)) else {
            return default;
        };
        match T::read(value, bounds) {
            Ok(good) => {
                self.given.push((name, value.span().start));
                good
            }
            Err(wrongs) => {
                for wrong in wrongs {
                    let right = wrong.right.unwrap_or_else(|| format!("write {values}"));
                    self.wrong(wrong.at, name, wrong.what, right);
                }
                default
            }
        }
    }

    /// The table `name` inside this one; `path` is its whole path.
    pub(super) fn table(&mut self, name: &'static str, path: &'static str) -> Self {
        self.tables.push(name);
        let value = self.entries.and_then(|entries| entries.get(name));
        let Some(value) = value else { return Self::new(self.document, path, None, self.at) };
        let at = value.span().start;
        if let Some(entries) = value.get_ref().as_table() {
            return Self::new(self.document, path, Some(entries), at);
        }
        let what = if value.get_ref().is_array() {
            format!("[[{path}]] opens a list of tables")
        } else {
            describe(value.get_ref())
        };
        self.wrong(at, name, what, format!("write [{path}] on a line of its own, once"));
        Self::new(self.document, path, None, at)
    }

    /// The tables of the list `name` inside this one; `path` is the whole path of the list.
    pub(super) fn tables(&mut self, name: &'static str, path: &'static str) -> Vec<Self> {
        self.tables.push(name);
        let value = self.entries.and_then(|entries| entries.get(name));
        let Some(value) = value else { return Vec::new() };
        let right = format!("write [[{path}]] on a line of its own, once for each");
        let Some(array) = value.get_ref().as_array() else {
            let what = if value.get_ref().is_table() {
                format!("[{path}] with single brackets opens one table")
            } else {
                describe(value.get_ref())
            };
            self.wrong(value.span().start, name, what, right);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in array.iter() {
            let at = element.span().start;
            match element.get_ref().as_table() {
                Some(entries) => tables.push(Self::new(self.document, path, Some(entries), at)),
                None => self.wrong(at, name, describe(element.get_ref()), right.clone()),
            }
        }
        tables
    }

    /// Where the value of a key stands, if the key is given and its value is good.
    pub(super) fn given(&self, name: &str) -> Option<usize> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, at)| *at)
    }

    /// The file that the table stands in.
    pub(super) fn source(&self) -> &'d Source {
        self.document.source
    }

    /// Tells a problem with the value at offset `at`.
    pub(super) fn wrong(
        &mut self,
        at: usize,
        key: &str,
        what: impl Into<String>,
        right: impl Into<String>,
    ) {
        let key = if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) };
        let place = self.source().place(at);
        self.problems.push(Problem { place, key, what: what.into(), right: right.into() });
    }

    /// Tells a problem with the table itself.
    pub(super) fn wrong_itself(&mut self, what: impl Into<String>, right: impl Into<String>) {
        let (place, key) = (self.source().place(self.at), self.path.to_owned());
        self.problems.push(Problem { place, key, what: what.into(), right: right.into() });
    }

    /// Takes a value that the table must have; tells the problem if the key is absent.
    pub(super) fn require<T>(&mut self, name: &str, value: Option<T>, right: &str) -> Option<T> {
        let absent = self.entries.is_some_and(|entries| !entries.contains_key(name));
        // A line that was not understood may be the missing one.
        if value.is_none() && absent && self.document.broken.is_empty() {
            self.wrong(self.at, name, format!("[[{}]] needs this key", self.path), right);
        }
        value
    }

    /// Tells that keys contradict each other, unless one of `names` is absent (its default then
    /// gives way) or wrong itself. The problem is told at the first.
    pub(super) fn conflict(
        &mut self,
        names: &[&str],
        contradict: bool,
        what: impl Into<String>,
        right: impl Into<String>,
    ) {
        let Some(at) = self.given(names[0]) else { return };
        if contradict && names.iter().all(|name| self.given(name).is_some()) {
            self.wrong(at, names[0], what, right);
        }
    }

    /// Tells the unknown keys and returns every problem of this table.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        for key in self.entries.into_iter().flat_map(|entries| entries.keys()) {
            self.check_known(key);
        }
        // What stands on a line with broken syntax was hardly read as it was meant.
        let broken = &self.document.broken;
        self.problems.retain(|problem| {
            !matches!(&problem.place, Place::Line { line, .. } if broken.contains(&(line - 1)))
        });
        self.problems
    }

    fn check_known(&mut self, key: &Spanned<DeString<'_>>) {
        let name: &str = key.get_ref();
        let known: Vec<&str> =
            self.keys.iter().map(|key| key.name).chain(self.tables.iter().copied()).collect();
        if known.contains(&name) {
            return;
        }
        let right = if let Some(home) = reference::home_of(name) {
            home
        } else if let Some(nearest) = nearest(name, &known) {
            format!("did you mean `{nearest}`?")
        } else {
            format!("known here: {}", known.join(", "))
        };
        self.wrong(key.span().start, &clip(name), "there is no such key", right);
    }
}

/// The known word that is closest to `word`, if it is close at all: one holds the other, or they
/// share at least half.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = |text: &str| text.chars().count();
    let holds = |a: &str, b: &str| length(b) > 2 && a.contains(b);
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| {
            distance * 2 <= length(word).max(length(candidate))
                || holds(word, candidate)
                || holds(candidate, word)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The unit of a key, which is the end of its name.
fn unit(name: &str) -> &'static str {
    const UNITS: [(&str, &str); 5] = [
        ("_per_s", " per second"),
        ("_ms", " milliseconds"),
        ("_s", " seconds"),
        ("_bytes", " bytes"),
        ("max_datagram", " octets"),
    ];
    UNITS.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// Declares the keys of a table: a struct, how it is read, and its part of the reference.
///
/// An entry is `Class name: Type = default, bounds;`. The [`Class`] says when a change takes
/// effect. The bounds are there for integers only. A default may use the keys above it, and is then
/// told in words: `Class name: Type = default => "words";`.
macro_rules! settings {
    ($(#[$meta:meta])* $vis:vis struct $Name:ident {
        $(
            $(#[doc = $about:literal])+
            $Class:ident $key:ident: $Type:ty
                = $default:expr $(=> $words:literal)? $(, $bounds:expr)?;
        )+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $Name {
            $(
                $(#[doc = $about])+
                #[doc = concat!(
                    "\n\nDefault: `", stringify!($default), "`",
                    $("; bounds: `", stringify!($bounds), "`",)?
                )]
                $vis $key: $Type,
            )+
        }

        impl Default for $Name {
            fn default() -> Self {
                $crate::config::table::defaults()
            }
        }

        impl $crate::config::table::Section for $Name {
            fn read(table: &mut $crate::config::table::Table<'_>) -> Self {
                $(
                    let $key: $Type = table.read(
                        $crate::config::reload::Class::$Class,
                        stringify!($key),
                        concat!($($about),+).trim_ascii(),
                        $default,
                        [$($words)?].first().copied(),
                        &($($bounds)?),
                    );
                )+
                Self { $($key),+ }
            }

            fn compare(
                &self,
                new: &Self,
                path: &str,
                changes: &mut Vec<$crate::config::reload::Change>,
            ) {
                use $crate::config::setting::Setting;
                $(
                    if self.$key != new.$key {
                        changes.push($crate::config::reload::Change {
                            key: format!("{path}.{}", stringify!($key)),
                            of: None,
                            old: self.$key.toml(),
                            new: new.$key.toml(),
                            class: $crate::config::reload::Class::$Class,
                        });
                    }
                )+
            }
        }
    };
}

pub(super) use settings;
