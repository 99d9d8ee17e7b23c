//! The keys of the file as people read them: for docs/configuration.md, for `--help`, and for
//! the advice where a key belongs.

use std::fmt::Write;

use super::mqtt::{MqttSettings, ShareKeys};
use super::problem::Source;
use super::reload::Class;
use super::sections::{
    ClientKeys, ForwarderKeys, Limits, ListenerKeys, LogSettings, PredefinedKeys, RootKeys,
    SnSettings, SysSettings, TopicFileKeys,
};
use super::table::{Document, Key, Section, Table};
use super::users::UserKeys;

/// The keys of one table.
pub(super) struct SectionKeys {
    /// The line that opens the table; empty for the keys before the first table.
    pub(super) header: &'static str,
    pub(super) keys: Vec<Key>,
}

/// Every table with its keys, in the order of the reference.
pub(super) fn sections() -> Vec<SectionKeys> {
    fn keys<S: Section>(table: &mut Table<'_>) {
        S::read(table);
    }
    let read = |header, readers: &[fn(&mut Table<'_>)]| {
        let source = Source::new("", "");
        let document = Document::parse(&source).0;
        let mut table = document.root();
        readers.iter().for_each(|reader| reader(&mut table));
        SectionKeys { header, keys: table.keys }
    };
    vec![
        read("", &[keys::<RootKeys>]),
        read("[[listener]]", &[keys::<ListenerKeys>]),
        read("[mqtt]", &[keys::<MqttSettings>]),
        read("[[mqtt.share]]", &[keys::<ShareKeys>]),
        read("[mqtt_sn]", &[keys::<SnSettings>, keys::<TopicFileKeys>]),
        read("[[mqtt_sn.predefined]]", &[keys::<PredefinedKeys>]),
        read("[[mqtt_sn.forwarder]]", &[keys::<ForwarderKeys>]),
        read("[[mqtt_sn.client]]", &[keys::<ClientKeys>]),
        read("[[user]]", &[keys::<UserKeys>]),
        read("[limits]", &[keys::<Limits>]),
        read("[sys]", &[keys::<SysSettings>]),
        read("[log]", &[keys::<LogSettings>]),
    ]
}

/// Where a key belongs, in words, if some table knows it.
pub(super) fn home_of(name: &str) -> Option<String> {
    let knows = |section: &SectionKeys| section.keys.iter().any(|key| key.name == name);
    let headers: Vec<&str> =
        sections().into_iter().filter(knows).map(|section| section.header).collect();
    match headers.as_slice() {
        [] => None,
        [""] => Some("it belongs before the first table".into()),
        ["", headers @ ..] => {
            Some(format!("it belongs before the first table, or under {}", headers.join(" or ")))
        }
        headers => Some(format!("it belongs under {}", headers.join(" or "))),
    }
}

/// When a change of a key takes effect.
///
/// # Panics
/// If there is no such key.
pub(super) fn class_of(header: &str, name: &str) -> Class {
    let section = sections().into_iter().find(|section| section.header == header);
    let mut keys = section.into_iter().flat_map(|section| section.keys);
    keys.find(|key| key.name == name).expect("a key of the reference").class
}

/// The limits with their defaults, for `--help`.
pub(crate) fn limits_help() -> String {
    let mut help = String::from("Limits ([limits] in the configuration file, with defaults):\n");
    let limits = sections().into_iter().find(|section| section.header == "[limits]");
    for Key { name, default, .. } in limits.into_iter().flat_map(|section| section.keys) {
        writeln!(help, "  {name:<36} {}", default.replace('`', ""))
            .expect("a String takes every text");
    }
    help
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Config;

    fn document() -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "..", "docs", "configuration.md"].iter().collect()
    }

    /// The keys of a table as the document tells them.
    fn rows(section: &SectionKeys) -> String {
        let mut rows =
            String::from("| key | default | takes | reload | meaning |\n|---|---|---|---|---|\n");
        for Key { name, about, default, values, class } in &section.keys {
            let values = values.replace("an integer from ", "");
            writeln!(rows, "| `{name}` | {default} | {values} | {class} | {about} |")
                .expect("a String takes every text");
        }
        rows
    }

    /// With `UPDATE_DOCS=1` in the environment the document is written anew instead.
    #[test]
    fn the_document_tells_every_key_with_its_default_and_bounds() {
        let path = document();
        let text = fs::read_to_string(&path).expect("docs/configuration.md is there");
        let mut expect = text.clone();
        for section in sections() {
            let begin = match section.header {
                "" => "<!-- keys before the first table -->\n".into(),
                header => format!("<!-- keys of {header} -->\n"),
            };
            let start = expect.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
            let end = start + expect[start..].find("<!-- end -->").expect("an end");
            expect.replace_range(start..end, &rows(&section));
        }
        if env::var_os("UPDATE_DOCS").is_some() {
            // The other test reads the document meanwhile: it must see it whole.
            let new = path.with_extension("new");
            fs::write(&new, &expect).expect("the docs folder can be written to");
            fs::rename(&new, &path).expect("docs/configuration.md can be replaced");
        } else {
            assert_eq!(text, expect, "run this test with UPDATE_DOCS=1 to renew the tables");
        }
    }

    #[test]
    fn the_examples_of_the_document_are_good() {
        let text = fs::read_to_string(document()).expect("docs/configuration.md is there");
        let examples: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split_once("```").expect("the example ends").0)
            .collect();
        assert!(examples.len() > 5, "only {} examples", examples.len());
        for example in examples {
            if let Err(problems) = Config::parse("example", example) {
                panic!("{example}\n{problems}");
            }
        }
    }

    #[test]
    fn the_help_tells_every_limit() {
        let help = limits_help();
        assert!(help.contains("\n  memory_bytes                         268435456\n"), "{help}");
        assert_eq!(help.lines().count(), 21, "{help}");
    }
}
