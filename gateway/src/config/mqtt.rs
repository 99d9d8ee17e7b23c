//! `[mqtt]` and `[[mqtt.share]]`: how MQTT is spoken over streams.

use std::collections::BTreeMap;
use std::fmt;

use super::names::Topic;
use super::problem::Problem;
use super::setting::{At, Mistake, Word, choices, clip};
use super::table::{Section, Table, settings};

/// The `[[mqtt.share]]` tables of a file; each is a share name that is kept for good.
const SHARES_MAX: usize = 1_024;

/// Octets of a server reference that clients are told at most.
const SERVER_REFERENCE_BYTES_MAX: usize = 1_024;

choices! {
    /// A version of MQTT.
    pub enum MqttVersion {
        /// 3.1, as `MQIsdp`.
        V31 = "3.1",
        /// 3.1.1.
        V311 = "3.1.1",
        /// 5.0.
        V5 = "5",
    }
}

impl MqttVersion {
    /// Every version that is spoken.
    const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];
}

choices! {
    /// How a shared subscription chooses among members that could take a message equally well.
    pub enum ShareChoice {
        /// The one with the fewest messages that it has not acknowledged.
        LeastOutstanding = "least-outstanding",
        /// One after the other.
        RoundRobin = "round-robin",
        /// The same member for the same publisher.
        ByPublisher = "by-publisher",
        /// The same member for the same topic.
        ByTopic = "by-topic",
    }
}

settings! {
    /// `[mqtt]`: how MQTT is spoken.
    pub struct MqttSettings {
        /// The versions that are served. Who comes with another one is told so and closed.
        NewLinks versions: Vec<MqttVersion> = MqttVersion::ALL.to_vec()
            => "`[\"3.1\", \"3.1.1\", \"5\"]`";
        /// QoS 1 and 2 messages that a client of MQTT 5.0 may have sent without an answer (Receive
        /// Maximum); one more and it is disconnected with 0x93.
        NewLinks receive_maximum: u16 = 100, 1..=65_535;
        /// Topic aliases that a client of MQTT 5.0 may define (Topic Alias Maximum); 0 = none.
        NewLinks topic_alias_max: u16 = 10, 0..=65_535;
        /// All topic names behind the aliases that one client has defined; with more it is
        /// disconnected.
        NewLinks topic_alias_bytes: u32 = 65_535, 0..=16_777_216;
        /// Topic aliases that are used towards a client of MQTT 5.0, if it takes as many; 0 = none.
        NewLinks outbound_alias_max: u16 = 32, 0..=65_535;
        /// The longest keep alive of a client of MQTT 5.0: one that wants a longer one, or none, is
        /// told this one (Server Keep Alive); 0 = any. Older clients cannot be told.
        NewLinks keep_alive_max_s: u16 = 0, 0..=65_535;
        /// How long the session of a client with CleanSession 0 (MQTT 3.1 and 3.1.1) is kept.
        /// Clients of MQTT 5.0 say it themselves; `limits.session_expiry_s` bounds both.
        NewLinks kept_session_expiry_s: Option<u32> = None => "`limits.session_expiry_s`",
            1..=4_294_967_294;
        /// A message that says that it is text (Payload Format Indicator 1) and is not UTF-8 is
        /// refused with 0x99, and so is a will.
        Live validate_payload_format: bool = false;
        /// The highest QoS that is served (Maximum QoS), in publications, wills and subscriptions.
        NewLinks maximum_qos: u8 = 2, 0..=2;
        /// Whether messages and wills may be retained (Retain Available).
        NewLinks retain_available: bool = true;
        /// Whether filters may have wildcards (Wildcard Subscription Available).
        NewLinks wildcards_available: bool = true;
        /// Whether subscriptions may have identifiers (Subscription Identifier Available).
        NewLinks subscription_ids_available: bool = true;
        /// Whether subscriptions may be shared (Shared Subscription Available).
        NewLinks shared_available: bool = true;
        /// What a client of MQTT 5.0 that asks for Response Information is told, followed by its
        /// client id and a slash: a prefix for its response topics.
        NewLinks response_topics: Option<String> = None => "nothing is told";
        /// Another server, `host` or `host:port`: every client of MQTT 5.0 is sent there (Server
        /// Reference), every other one is refused.
        NewLinks server_reference: Option<String> = None => "none: clients are served";
        /// Whether the other server is to be used for good (0x9D) or this time (0x9C).
        NewLinks server_moved: bool = false;
        /// How shared subscriptions choose among members that could take a message equally well:
        /// the one with the fewest messages that it has not acknowledged, one after the other, the
        /// same one for the same publisher, the same one for the same topic.
        Live share_strategy: ShareChoice = ShareChoice::LeastOutstanding
            => "`\"least-outstanding\"`";
    }
}

settings! {
    /// `[[mqtt.share]]`: one group of shared subscriptions.
    pub(super) struct ShareKeys {
        /// The share name: what stands between `$share/` and the next `/`.
        Live name: Option<At<ShareName>> = None => "required";
        /// How this group chooses, whatever its filter.
        Live strategy: Option<At<ShareChoice>> = None => "required";
    }
}

/// The name of a group of shared subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShareName(String);

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for ShareName {
    fn expected() -> String {
        "a share name".into()
    }

    /// [MQTT5-4.8.2-1]
    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.is_empty() || text.contains(['/', '+', '#', '\0']) {
            let what = format!("\"{}\" cannot be a share name", clip(text));
            let right = "write what stands between $share/ and the next /";
            return Err(Mistake::new(what, right));
        }
        Ok(Self(text.into()))
    }
}

impl Word for String {
    fn expected() -> String {
        "a text".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.is_empty() || text.contains('\0') {
            let what = format!("\"{}\" tells nothing", clip(text));
            return Err(Mistake::new(what, "write a text, or leave the key out"));
        }
        Ok(text.into())
    }
}

impl MqttSettings {
    /// Tells texts that cannot be what they are for.
    fn check_texts(&self, table: &mut Table<'_>) {
        if let (Some(at), Some(text)) = (table.given("response_topics"), &self.response_topics)
            && let Err(Mistake { what, right }) = Topic::parse(text)
        {
            table.wrong(at, "response_topics", what, right);
        }
        let reference = self.server_reference.as_deref().unwrap_or_default();
        table.conflict(
            &["server_reference"],
            reference.len() > SERVER_REFERENCE_BYTES_MAX,
            format!("the reference has {} bytes", reference.len()),
            format!("write at most {SERVER_REFERENCE_BYTES_MAX}"),
        );
        table.conflict(
            &["server_moved"],
            self.server_moved && self.server_reference.is_none(),
            "no other server is named",
            "write server_reference = \"HOST:PORT\" too",
        );
    }
}

/// Reads `[mqtt]` with the tables inside it.
pub(super) fn read(
    mut table: Table<'_>,
    problems: &mut Vec<Problem>,
) -> (MqttSettings, BTreeMap<String, ShareChoice>) {
    let settings = MqttSettings::read(&mut table);
    table.conflict(
        &["versions"],
        settings.versions.is_empty(),
        "nobody could connect",
        format!("write at least one of {}", MqttVersion::expected()),
    );
    settings.check_texts(&mut table);
    let shares = shares(table.tables("share", "mqtt.share"), problems);
    problems.extend(table.finish());
    (settings, shares)
}

fn shares(tables: Vec<Table<'_>>, problems: &mut Vec<Problem>) -> BTreeMap<String, ShareChoice> {
    let mut shares = BTreeMap::new();
    for (index, mut table) in tables.into_iter().enumerate() {
        if index == SHARES_MAX {
            let right = format!("keep at most {SHARES_MAX}, or write mqtt.share_strategy");
            table.wrong_itself("there are too many groups", right);
        }
        let ShareKeys { name, strategy } = ShareKeys::read(&mut table);
        let name = table.require("name", name, "write name = \"SHARE NAME\"");
        let advice = format!("write strategy = {}", ShareChoice::expected());
        let strategy = table.require("strategy", strategy, &advice);
        if let (Some(name), Some(strategy)) = (name, strategy) {
            let other = shares.insert(name.value.0.clone(), strategy.value);
            if other.is_some() {
                let what = format!("\"{}\" stands in another [[mqtt.share]]", name.value);
                table.wrong(name.at, "name", what, "drop one of the two");
            }
        }
        problems.extend(table.finish());
    }
    shares
}
