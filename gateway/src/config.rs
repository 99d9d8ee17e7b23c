//! The configuration: what was typed and what the file says, made into what it means.
//!
//! [`Config::load`] takes the command line ([`CliArgs`], as it was typed) and the file that it
//! names, and gives a [`Config`] in which every address is parsed, every number is within its
//! bounds, and nothing contradicts anything; or all [`Problems`] at once, each with its place and
//! what would be right. The keys stand in `sections.rs`, and for users in docs/configuration.md.

mod address;
mod listener;
mod mqtt;
mod names;
mod problem;
mod reference;
mod reload;
mod sections;
mod setting;
mod storage;
mod table;
#[cfg(test)]
mod tests;
mod topic_file;
mod topics;
mod users;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

pub use self::address::Group;
pub use self::listener::{Listener, ListenerKind, SnListener, WsListener};
pub use self::mqtt::{MqttSettings, MqttVersion, ShareChoice};
pub use self::problem::{Place, Problem, Problems};
pub(crate) use self::reference::limits_help;
pub use self::reload::{Change, Class};
pub use self::sections::{
    Limits, LogFormat, LogLevel, LogSettings, QueueOverflow, SnSettings, SysSettings, WakeRebind,
};
pub use self::storage::{Durability, OnDiskFull, Storage};
pub use self::topics::PredefinedTopic;
pub use self::users::{UserSecret, UserSettings};
pub use crate::sn::Network;

use self::listener::Kind;
use self::names::FilePath;
use self::problem::{Reading, Source};
use self::sections::{ClientKeys, ForwarderKeys, RootKeys, TopicFileKeys};
use self::setting::{At, Mistake};
use self::table::{Document, Section, Table};
use crate::cli::CliArgs;

/// The `[[mqtt_sn.forwarder]]` tables of a file; they are searched for each encapsulated message.
const FORWARDERS_MAX: usize = 1_024;

/// Everything that can be configured, checked and complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that it was read from.
    pub file: Option<PathBuf>,
    /// The folder for what outlives the process, if one was named.
    pub data_dir: Option<PathBuf>,
    /// What an acknowledgement promises, where its listener does not say otherwise.
    pub durability: Durability,
    /// What becomes of acknowledgements while the disk takes nothing.
    pub on_disk_full: OnDiskFull,
    /// Whether the listeners were named on the command line.
    pub is_trial: bool,
    /// Whether what can be read of a damaged store is to be used.
    pub recover: bool,
    /// Where clients are served: first MQTT, then MQTT-SN, then MQTT over WebSocket.
    pub listeners: Vec<Listener>,
    /// `[mqtt]`: how MQTT is spoken.
    pub mqtt: MqttSettings,
    /// `[[mqtt.share]]`: how groups of shared subscriptions choose, by share name.
    pub shares: BTreeMap<String, ShareChoice>,
    /// `[mqtt_sn]`: how MQTT-SN is spoken.
    pub mqtt_sn: SnSettings,
    /// `[[mqtt_sn.predefined]]` and the files: no id twice for a client, those for every client
    /// first.
    pub predefined: Vec<PredefinedTopic>,
    /// `[[mqtt_sn.forwarder]]`: who may speak for nodes behind it; empty = nobody.
    pub forwarders: Vec<Network>,
    /// `[[mqtt_sn.client]]`: what single clients need; no id twice.
    pub clients: Vec<ClientSettings>,
    /// `[[user]]`: who may come in with a name; no name twice.
    pub users: Vec<UserSettings>,
    /// `[limits]`: what one client, one source, or all of them together may take.
    pub limits: Limits,
    /// `[sys]`: the `$SYS` topics.
    pub sys: SysSettings,
    /// `[log]`: the log on stderr.
    pub log: LogSettings,
    /// What is allowed but hardly what was meant.
    pub notes: Vec<Problem>,
}

/// What one MQTT-SN client needs to be spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The client id.
    pub id: String,
    /// The largest message that the client can receive, in octets (32 to 65507).
    pub max_datagram: Option<u16>,
    /// How long the client may take to acknowledge, active or awake, in milliseconds (10 to
    /// 600000).
    pub retry_ms: Option<u32>,
    /// The client swaps the two octets of short topic names and of predefined ids in SUBSCRIBE.
    pub swap_topic_id_octets: bool,
    /// The client refuses a PUBLISH with DUP set.
    pub no_dup: bool,
    /// The client ignores REGISTER: send it only topics that it knows an id for.
    pub no_register: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self::load(&CliArgs::default()).expect("the defaults are within their bounds")
    }
}

impl Config {
    /// Reads the file that the command line names, if it names one, and puts the command line
    /// over it.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file, the files that it names, and the command line.
    pub fn load(args: &CliArgs) -> Result<Self, Problems> {
        Self::load_as(args, Reading::First)
    }

    /// The same while a gateway runs with what was loaded. Only files are read, for others may have
    /// nothing more to say, or not yet; and one with nothing in it is not taken: as a rule somebody
    /// has begun to write it, and without users everybody may come in.
    ///
    /// # Errors
    ///
    /// As for [`Config::load`].
    pub fn load_again(args: &CliArgs) -> Result<Self, Problems> {
        Self::load_as(args, Reading::Again)
    }

    fn load_as(args: &CliArgs, reading: Reading) -> Result<Self, Problems> {
        let Some(path) = &args.config else {
            return Self::from_source(&Source::new("", ""), (Path::new(""), reading), args);
        };
        let problem = |what: String, right: &str| {
            let place = Place::File(path.display().to_string());
            Problems::from(Problem { place, key: String::new(), what, right: right.into() })
        };
        match Source::load(path, reading) {
            Ok(source) if reading == Reading::Again && source.text.trim().is_empty() => {
                let right = "write a comment into it if everything is to have its default";
                Err(problem("there is nothing in the file".into(), right))
            }
            Ok(source) => {
                let base = path.parent().unwrap_or(path);
                let config = Self::from_source(&source, (base, reading), args)?;
                Ok(Self { file: Some(path.clone()), ..config })
            }
            Err(error) => {
                let right = if error.kind() == io::ErrorKind::InvalidData {
                    "save the file as UTF-8"
                } else {
                    "name a file that exists and that this user may read"
                };
                Err(problem(format!("the file cannot be read: {error}"), right))
            }
        }
    }

    /// Reads a configuration from `text`; problems call it `name`, and paths in it start at the
    /// current folder.
    ///
    /// # Errors
    ///
    /// All that is wrong with the text.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let base = (Path::new(""), Reading::First);
        Self::from_source(&Source::new(name, text), base, &CliArgs::default())
    }

    fn from_source(
        source: &Source,
        base: (&Path, Reading),
        args: &CliArgs,
    ) -> Result<Self, Problems> {
        let (document, mut problems) = Document::parse(source);
        let mut root = document.root();
        let mut config = Self::read(&mut root, base, &mut problems);
        problems.extend(root.finish());
        config.apply(args, &mut problems);
        Problems::check(problems)?;
        Ok(config)
    }

    /// What the file says. The listeners are those of the file, perhaps none.
    fn read(
        root: &mut Table<'_>,
        (base, reading): (&Path, Reading),
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut notes = Vec::new();
        let RootKeys { data_dir: folder, durability, on_disk_full } = RootKeys::read(root);
        let data_dir = folder.map(|folder| data_dir(root, base, folder));

        let mut table = root.table("limits", "limits");
        let limits = Limits::read(&mut table);
        limits.check(&mut table);
        let queue_given = table.given("queue_messages").is_some();
        problems.extend(table.finish());

        let (mqtt, shares) = mqtt::read(root.table("mqtt", "mqtt"), problems);

        let mut table = root.table("mqtt_sn", "mqtt_sn");
        let mqtt_sn = SnSettings::read(&mut table);
        mqtt_sn.check(&mut table, &limits, queue_given);
        let files = TopicFileKeys::read(&mut table);
        let tables = table.tables("predefined", "mqtt_sn.predefined");
        let mut entries = topics::from_tables(tables, &limits, problems);
        entries.extend(topics::from_files(&mut table, &files, (base, reading), &limits, problems));
        let predefined = topics::join(entries, problems);
        let forwarders = forwarders(table.tables("forwarder", "mqtt_sn.forwarder"), problems);
        let clients = clients(table.tables("client", "mqtt_sn.client"), &limits, problems);
        let advertise = table.given("advertise_s").filter(|_| mqtt_sn.advertise_s > 0);
        let advertise = advertise.map(|at| table.source().place(at));
        problems.extend(table.finish());

        let tables = root.tables("listener", "listener");
        let user_tables = root.tables("user", "user");
        let from_all = listener::FromAll { has_users: !user_tables.is_empty(), durability };
        let listeners = listener::from_file(tables, &mqtt_sn, from_all, problems);
        if let Some(place) = advertise
            && !listeners.iter().any(Listener::has_group)
        {
            notes.push(Problem {
                place,
                key: "mqtt_sn.advertise_s".into(),
                what: "no listener has a multicast group to advertise to".into(),
                right: "write multicast = [\"225.1.1.1\"] under a [[listener]]".into(),
            });
        }

        let users = users::users(user_tables, problems);
        let sys = section(root.table("sys", "sys"), problems);
        let log = section(root.table("log", "log"), problems);
        Self {
            file: None,
            data_dir,
            durability,
            on_disk_full,
            is_trial: false,
            recover: false,
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
            notes,
        }
    }

    /// Reads a file of predefined topics from `text`, under the limits of this configuration;
    /// problems call it `name`. Its first line tells the spelling, or one of the words of
    /// `mqtt_sn.predefined_format` does.
    ///
    /// # Errors
    ///
    /// All that is wrong with the text. A spelling that nobody knows is none.
    pub fn predefined_topics(
        &self,
        name: &str,
        text: &str,
        spelling: Option<&str>,
    ) -> Result<Vec<PredefinedTopic>, Problems> {
        let mut problems = Vec::new();
        let source = Source::new(name, text);
        let spelling = spelling.and_then(|word| word.parse().ok());
        let entries = topic_file::read(&source, spelling, &self.limits, &mut problems);
        let topics = topics::join(entries, &mut problems);
        Problems::check(problems)?;
        Ok(topics)
    }

    /// Puts the command line over the file.
    fn apply(&mut self, args: &CliArgs, problems: &mut Vec<Problem>) {
        let (file, section) = (std::mem::take(&mut self.listeners), &self.mqtt_sn);
        for (kind, typed) in
            [(Kind::Mqtt, &args.mqtt), (Kind::MqttSn, &args.mqtt_sn), (Kind::Ws, &args.ws)]
        {
            let known = &self.listeners;
            let more = listener::of_kind(kind, typed, &file, known, section, problems);
            self.listeners.extend(more);
        }
        if let Some(folder) = &args.data_dir {
            self.data_dir = Some(folder.clone());
            if folder.exists() && !folder.is_dir() {
                problems.push(Problem {
                    place: Place::CommandLine,
                    key: "--data-dir".into(),
                    what: format!("{} is not a folder", folder.display()),
                    right: "give the path of a folder".into(),
                });
            }
        }
        self.recover = args.recover;
        self.is_trial = [&args.mqtt, &args.mqtt_sn, &args.ws].iter().any(|typed| !typed.is_empty());
        self.log.format = args.log_format.unwrap_or(self.log.format);
        self.log.level = self.log.level.max(match args.verbose {
            0 => LogLevel::Error,
            1 => LogLevel::Debug,
            _ => LogLevel::Trace,
        });
    }

    /// One line: what would listen where, and how much is defined beside.
    pub fn summary(&self) -> String {
        let mut line = String::new();
        for kind in [Kind::Mqtt, Kind::MqttSn, Kind::Ws] {
            let binds: Vec<String> = self
                .listeners
                .iter()
                .filter(|listener| listener.word() == kind)
                .map(|listener| listener.bind.to_string())
                .collect();
            if !binds.is_empty() {
                write!(line, "{kind}={} ", binds.join(",")).expect("a String takes every text");
            }
        }
        write!(line, "predefined-topics={}", self.predefined.len())
            .expect("a String takes every text");
        line
    }
}

/// A table with nothing to judge beyond its keys.
fn section<S: Section>(mut table: Table<'_>, problems: &mut Vec<Problem>) -> S {
    let section = S::read(&mut table);
    problems.extend(table.finish());
    section
}

fn data_dir(root: &mut Table<'_>, base: &Path, At { value, at }: At<FilePath>) -> PathBuf {
    let folder = value.under(base);
    if folder.exists() && !folder.is_dir() {
        let what = format!("{} is not a folder", folder.display());
        root.wrong(at, "data_dir", what, "write the path of a folder");
    }
    folder
}

fn forwarders(tables: Vec<Table<'_>>, problems: &mut Vec<Problem>) -> Vec<Network> {
    let mut forwarders: Vec<Network> = Vec::new();
    for (index, mut table) in tables.into_iter().enumerate() {
        if index == FORWARDERS_MAX {
            let right = format!("keep at most {FORWARDERS_MAX}, or write networks: \"IP/PREFIX\"");
            table.wrong_itself("there are too many forwarders", right);
        }
        let ForwarderKeys { address } = ForwarderKeys::read(&mut table);
        let address = table.require("address", address, "write address = \"IP\" or \"IP/PREFIX\"");
        if let Some(address) = address {
            if forwarders.contains(&address.value) {
                let what = format!("{} stands in another [[mqtt_sn.forwarder]]", address.value);
                table.wrong(address.at, "address", what, "drop one of the two");
            }
            forwarders.push(address.value);
        }
        problems.extend(table.finish());
    }
    forwarders
}

fn clients(
    tables: Vec<Table<'_>>,
    limits: &Limits,
    problems: &mut Vec<Problem>,
) -> Vec<ClientSettings> {
    let mut clients = Vec::new();
    let mut ids = BTreeSet::new();
    for mut table in tables {
        let keys = ClientKeys::read(&mut table);
        if let Some(id) = table.require("id", keys.id, "write id = \"CLIENT ID\"") {
            if let Err(Mistake { what, right }) = id.value.check(limits.client_id_bytes) {
                table.wrong(id.at, "id", what, right);
            }
            let (at, id) = (id.at, id.value.0);
            if !ids.insert(id.clone()) {
                let what = format!("\"{id}\" stands in another [[mqtt_sn.client]]");
                table.wrong(at, "id", what, "put all keys of a client under one header");
            }
            clients.push(ClientSettings {
                id,
                max_datagram: keys.max_datagram,
                retry_ms: keys.retry_ms,
                swap_topic_id_octets: keys.swap_topic_id_octets,
                no_dup: keys.no_dup,
                no_register: keys.no_register,
            });
        }
        problems.extend(table.finish());
    }
    clients
}
