//! Predefined topics: those of the file and those of the files that it names, in one list.

use std::collections::{BTreeMap, btree_map};
use std::path::Path;

use super::names::{Clients, Topic};
use super::problem::{Place, Problem, Reading, Source};
use super::sections::{Limits, PredefinedKeys, TopicFileKeys};
use super::setting::{At, Mistake};
use super::table::{Section, Table};
use super::topic_file;

/// A topic id that client and gateway know in advance (SN 6.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredefinedTopic {
    /// The id: 1 to 65534.
    pub id: u16,
    /// The topic name: 1 to 65535 bytes, no wildcard, no U+0000.
    pub topic: String,
    /// The client that knows the id; none = every client. An entry for one client goes before one
    /// for all with the same id.
    pub client: Option<String>,
}

/// One entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// How the place names the id.
    pub(super) key: &'static str,
    pub(super) client: Clients,
    pub(super) id: u16,
    pub(super) topic: Topic,
}

/// The entries of the `[[mqtt_sn.predefined]]` tables, which are finished.
pub(super) fn from_tables(
    tables: Vec<Table<'_>>,
    limits: &Limits,
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for mut table in tables {
        let PredefinedKeys { id, topic, client } = PredefinedKeys::read(&mut table);
        let id = table.require("id", id, "write id = NUMBER, from 1 to 65534");
        let topic = table.require("topic", topic, "write topic = \"NAME\"");
        if let Some(At { value, at }) = &client
            && let Err(Mistake { what, right }) = check_client(value, limits)
        {
            table.wrong(*at, "client", what, right);
        }
        if let Some(At { value, at }) = &topic
            && let Err(Mistake { what, right }) = check_topic(value, limits)
        {
            table.wrong(*at, "topic", what, right);
        }
        if let (Some(id), Some(topic)) = (id, topic) {
            entries.push(Entry {
                place: table.source().place(id.at),
                key: "mqtt_sn.predefined.id",
                client: client.map_or(Clients::All, |client| client.value),
                id: id.value,
                topic: topic.value,
            });
        }
        problems.extend(table.finish());
    }
    entries
}

/// The entries of the files that `[mqtt_sn]` names.
pub(super) fn from_files(
    table: &mut Table<'_>,
    keys: &TopicFileKeys,
    (base, reading): (&Path, Reading),
    limits: &Limits,
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    table.conflict(
        &["predefined_format"],
        keys.predefined_file.is_empty(),
        "there is no predefined_file that this could be the format of",
        "write predefined_file = \"PATH\", or leave this key out",
    );
    let mut entries = Vec::new();
    for file in &keys.predefined_file {
        let path = file.value.under(base);
        match Source::load(&path, reading) {
            Ok(source) => {
                let spelling = keys.predefined_format;
                entries.extend(topic_file::read(&source, spelling, limits, problems));
            }
            Err(error) => table.wrong(
                file.at,
                "predefined_file",
                format!("{} cannot be read: {error}", path.display()),
                "write the path of a file; a relative one starts at the folder of this file",
            ),
        }
    }
    entries
}

pub(super) fn check_client(client: &Clients, limits: &Limits) -> Result<(), Mistake> {
    match client {
        Clients::All => Ok(()),
        Clients::One(id) => id.check(limits.client_id_bytes),
    }
}

pub(super) fn check_topic(topic: &Topic, limits: &Limits) -> Result<(), Mistake> {
    let (levels, most) = (topic.levels(), limits.topic_levels);
    if levels <= most as usize {
        return Ok(());
    }
    Err(Mistake::new(
        format!("the topic has {levels} levels"),
        format!("write at most limits.topic_levels ({most})"),
    ))
}

/// Joins the entries, in the order of clients and ids; tells those that stand there twice.
pub(super) fn join(entries: Vec<Entry>, problems: &mut Vec<Problem>) -> Vec<PredefinedTopic> {
    let mut joined: BTreeMap<(Clients, u16), Entry> = BTreeMap::new();
    for entry in entries {
        match joined.entry((entry.client.clone(), entry.id)) {
            btree_map::Entry::Vacant(free) => {
                free.insert(entry);
            }
            btree_map::Entry::Occupied(earlier) => {
                let Entry { client, id, topic, place, .. } = earlier.get();
                problems.push(Problem {
                    what: format!("{id} of client \"{client}\" is \"{topic}\" at {place}"),
                    right: "write another id, or drop one of the two".into(),
                    place: entry.place,
                    key: entry.key.into(),
                });
            }
        }
    }
    joined
        .into_values()
        .map(|Entry { client, id, topic, .. }| PredefinedTopic {
            id,
            topic: topic.0,
            client: client.one(),
        })
        .collect()
}
