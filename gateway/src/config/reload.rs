//! What differs between two configurations, and when a difference takes effect.
//!
//! Every key has a [`Class`], written where the key is declared and told in docs/configuration.md.
//! [`Config::diff`] finds the keys that differ; [`Config::keep_started`] takes back what cannot
//! change in a running process, so that what is left is what is in force.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::listener::Kind;
use super::reference::class_of;
use super::table::Section;
use super::{ClientSettings, Config, Listener, ListenerKind, PredefinedTopic, UserSecret};

/// What stands for a value that is not there.
const NOTHING: &str = "none";

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// At once, for everything.
    Live,
    /// For what connects from now on; who is connected keeps what it was promised.
    NewLinks,
    /// With the next start.
    Restart,
}

impl Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "at once",
            Self::NewLinks => "new links",
            Self::Restart => "restart",
        })
    }
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key with its table, as in the file: `limits.queue_messages`; the table alone if a whole
    /// one came or went.
    pub key: String,
    /// Which of several tables: its name, id or address.
    pub of: Option<String>,
    /// The value until now, as it would stand in a file; never a secret.
    pub old: String,
    /// The value from now on, likewise.
    pub new: String,
    /// When that takes effect.
    pub class: Class,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(of) = &self.of {
            write!(f, " of {of}")?;
        }
        write!(f, ": {} → {}", self.old, self.new)
    }
}

impl Config {
    /// Every key whose value differs, in the order of docs/configuration.md. What a default follows
    /// from another key counts with the key that it is for.
    pub fn diff(&self, new: &Self) -> Vec<Change> {
        // Each field by its name: one that is new cannot be forgotten.
        let Self {
            file: _,
            data_dir,
            durability,
            on_disk_full,
            is_trial: _,
            recover: _,
            listeners,
            mqtt,
            shares,
            mqtt_sn,
            predefined,
            forwarders,
            clients,
            users,
            limits,
            sys,
            log,
            notes: _,
        } = self;
        let mut changes = Changes(Vec::new());
        let folder = |folder: &Option<PathBuf>| {
            folder.as_ref().map_or_else(|| NOTHING.into(), |folder| quoted(folder.display()))
        };
        changes.value(("", "data_dir"), None, folder(data_dir), folder(&new.data_dir));
        changes.value(("", "durability"), None, quoted(durability), quoted(new.durability));
        changes.value(("", "on_disk_full"), None, quoted(on_disk_full), quoted(new.on_disk_full));
        changes.listeners(listeners, &new.listeners);
        mqtt.compare(&new.mqtt, "mqtt", &mut changes.0);
        let strategies = |shares: &BTreeMap<String, _>| {
            shares.iter().map(|(name, choice)| (name.clone(), quoted(choice))).collect()
        };
        let (old, now) = (strategies(shares), strategies(&new.shares));
        changes.tables(("[[mqtt.share]]", "strategy"), &old, &now);
        mqtt_sn.compare(&new.mqtt_sn, "mqtt_sn", &mut changes.0);
        let (old, now) = (meanings(predefined), meanings(&new.predefined));
        changes.tables(("[[mqtt_sn.predefined]]", "topic"), &old, &now);
        let networks = |networks: &[super::Network]| {
            networks.iter().map(|network| (network.to_string(), "allowed".into())).collect()
        };
        let (old, now) = (networks(forwarders), networks(&new.forwarders));
        changes.tables(("[[mqtt_sn.forwarder]]", "address"), &old, &now);
        changes.clients(clients, &new.clients);
        changes.users(&by_name(users), &by_name(&new.users));
        limits.compare(&new.limits, "limits", &mut changes.0);
        sys.compare(&new.sys, "sys", &mut changes.0);
        log.compare(&new.log, "log", &mut changes.0);
        changes.0
    }

    /// Puts back what `running` was started with and what only a start can change. Listeners stay
    /// those of `running`, in their order, with what may change of each.
    pub fn keep_started(&mut self, running: &Self) {
        self.data_dir.clone_from(&running.data_dir);
        self.durability = running.durability;
        let wanted = std::mem::take(&mut self.listeners);
        let pairs = pair(&running.listeners, &wanted);
        self.listeners = running.listeners.clone();
        for (listener, wanted) in self.listeners.iter_mut().zip(pairs.of_old) {
            let Some(wanted) = wanted else { continue };
            listener.allow_anonymous = wanted.allow_anonymous;
            listener.durability = wanted.durability;
            match (&mut listener.kind, &wanted.kind) {
                (ListenerKind::MqttSn(sn), ListenerKind::MqttSn(wanted)) => {
                    sn.max_datagram = wanted.max_datagram;
                }
                (ListenerKind::Ws(ws), ListenerKind::Ws(wanted)) => ws.clone_from(wanted),
                (ListenerKind::Mqtt | ListenerKind::MqttSn(_) | ListenerKind::Ws(_), _) => {}
            }
        }
    }
}

/// The changes found so far.
struct Changes(Vec<Change>);

/// The header of a table and one of its keys.
type KeyOf<'a> = (&'a str, &'a str);

impl Changes {
    fn value(&mut self, key: KeyOf<'_>, of: Option<String>, old: String, new: String) {
        if old != new {
            self.0.push(Change { key: path(key), of, old, new, class: class_of(key.0, key.1) });
        }
    }

    /// Tables of a list by their names, each with one value; one that came or went is told by its
    /// table.
    fn tables(
        &mut self,
        key: KeyOf<'_>,
        old: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
    ) {
        let class = class_of(key.0, key.1);
        let mut change = |name: &str, old: &str, new: &str, is_whole: bool| {
            let key = if is_whole { table(key.0).to_owned() } else { path(key) };
            let (of, old, new) = (Some(name.to_owned()), old.to_owned(), new.to_owned());
            self.0.push(Change { key, of, old, new, class });
        };
        for (name, value) in old {
            match new.get(name) {
                Some(wanted) if wanted == value => {}
                Some(wanted) => change(name, value, wanted, false),
                None => change(name, value, NOTHING, true),
            }
        }
        for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            change(name, NOTHING, value, true);
        }
    }

    fn listeners(&mut self, old: &[Listener], new: &[Listener]) {
        const HEADER: &str = "[[listener]]";
        let class = class_of(HEADER, "bind");
        let mut whole = |listener: &Listener, old: &str, new: &str| {
            let (of, old, new) = (Some(name_of(listener)), old.to_owned(), new.to_owned());
            self.0.push(Change { key: table(HEADER).to_owned(), of, old, new, class });
        };
        let pairs = pair(old, new);
        for (listener, _) in old.iter().zip(&pairs.of_old).filter(|(_, pair)| pair.is_none()) {
            whole(listener, "there", NOTHING);
        }
        pairs.added.iter().for_each(|listener| whole(listener, NOTHING, "there"));
        for (old, new) in old.iter().zip(pairs.of_old) {
            let Some(new) = new else { continue };
            let mut value = |key, text: fn(&Listener) -> String| {
                self.value((HEADER, key), Some(name_of(old)), text(old), text(new));
            };
            value("allow_anonymous", |listener| listener.allow_anonymous.to_string());
            value("durability", |listener| optional(listener.durability.map(quoted)));
            value("multicast", |listener| sn_text(listener, |sn| list(&sn.multicast)));
            value("multicast_ttl", |listener| sn_text(listener, |sn| sn.multicast_ttl.to_string()));
            value("max_datagram", |listener| sn_text(listener, |sn| sn.max_datagram.to_string()));
            value("origins", |listener| match &listener.kind {
                ListenerKind::Ws(ws) => list(&ws.origins),
                ListenerKind::Mqtt | ListenerKind::MqttSn(_) => NOTHING.into(),
            });
        }
    }

    fn clients(&mut self, old: &[ClientSettings], new: &[ClientSettings]) {
        const HEADER: &str = "[[mqtt_sn.client]]";
        let by_id = |clients: &[ClientSettings]| -> BTreeMap<String, ClientSettings> {
            clients.iter().map(|client| (quoted(&client.id), client.clone())).collect()
        };
        let (old, new) = (by_id(old), by_id(new));
        self.tables((HEADER, "id"), &there(&old), &there(&new));
        for (id, was, is) in old.iter().filter_map(|(id, was)| Some((id, was, new.get(id)?))) {
            let mut value = |key, text: fn(&ClientSettings) -> String| {
                self.value((HEADER, key), Some(id.clone()), text(was), text(is));
            };
            value("max_datagram", |client| optional(client.max_datagram));
            value("retry_ms", |client| optional(client.retry_ms));
            value("swap_topic_id_octets", |client| client.swap_topic_id_octets.to_string());
            value("no_dup", |client| client.no_dup.to_string());
            value("no_register", |client| client.no_register.to_string());
        }
    }

    /// A password is never told, only that it is another one.
    fn users(&mut self, old: &BTreeMap<String, &UserSecret>, new: &BTreeMap<String, &UserSecret>) {
        const HEADER: &str = "[[user]]";
        let word = |secret: &UserSecret| match secret {
            UserSecret::Password(_) => "password",
            UserSecret::Verifier(_) => "verifier",
        };
        self.tables((HEADER, "name"), &there(old), &there(new));
        for (name, secret) in old {
            let Some(wanted) = new.get(name).filter(|wanted| *wanted != secret) else { continue };
            let (old, new) = (word(secret), word(wanted));
            self.0.push(Change {
                key: path((HEADER, new)),
                of: Some(name.clone()),
                old: format!("a {old}"),
                new: format!("another {new}"),
                class: class_of(HEADER, new),
            });
        }
    }
}

/// Which listener of one configuration is which of the other.
struct Pairs<'a> {
    /// For each of the old ones, in their order.
    of_old: Vec<Option<&'a Listener>>,
    added: Vec<&'a Listener>,
}

/// Listeners are the same if they speak the same at the same address; of those that leave the port
/// to the system the first is the first.
fn pair<'a>(old: &[Listener], new: &'a [Listener]) -> Pairs<'a> {
    let identity = |listener: &Listener| -> (Kind, SocketAddr) { (listener.word(), listener.bind) };
    let mut added: Vec<&Listener> = new.iter().collect();
    let take = |listener: &Listener| {
        let is_same = |other: &&Listener| identity(other) == identity(listener);
        added.iter().position(is_same).map(|at| added.remove(at))
    };
    let of_old = old.iter().map(take).collect();
    Pairs { of_old, added }
}

/// What each id means to whom.
fn meanings(topics: &[PredefinedTopic]) -> BTreeMap<String, String> {
    let client = |topic: &PredefinedTopic| topic.client.clone().unwrap_or_else(|| "*".into());
    let entry = |topic: &PredefinedTopic| {
        (format!("{} for \"{}\"", topic.id, client(topic)), quoted(&topic.topic))
    };
    topics.iter().map(entry).collect()
}

fn by_name(users: &[super::UserSettings]) -> BTreeMap<String, &UserSecret> {
    users.iter().map(|user| (quoted(&user.name), &user.secret)).collect()
}

/// Tables that are told apart by their names alone.
fn there<T>(tables: &BTreeMap<String, T>) -> BTreeMap<String, String> {
    tables.keys().map(|name| (name.clone(), "there".to_owned())).collect()
}

fn name_of(listener: &Listener) -> String {
    format!("{} {}", listener.word(), listener.bind)
}

fn sn_text(listener: &Listener, text: impl Fn(&super::SnListener) -> String) -> String {
    match &listener.kind {
        ListenerKind::MqttSn(sn) => text(sn),
        ListenerKind::Mqtt | ListenerKind::Ws(_) => NOTHING.into(),
    }
}

/// `[[mqtt_sn.client]]` as the path of a key says it.
fn table(header: &str) -> &str {
    header.trim_matches(['[', ']'])
}

fn path((header, key): KeyOf<'_>) -> String {
    if header.is_empty() { key.to_owned() } else { format!("{}.{key}", table(header)) }
}

fn quoted(value: impl Display) -> String {
    format!("\"{value}\"")
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| NOTHING.into(), |value| value.to_string())
}

fn list(values: &[impl Display]) -> String {
    format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
}
