//! The keys of the configuration file: name, type, default, bounds and meaning, once each.
//!
//! docs/configuration.md is made of the same entries; a test compares the two.

use super::address::{BindAddress, Group};
use super::listener::Kind;
use super::names::{ClientId, Clients, FilePath, Origin, Topic};
use super::setting::{At, choices};
use super::storage::{Durability, OnDiskFull};
use super::table::{Table, settings};
use super::topic_file::Spelling;
use crate::sn::Network;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// What an idle session takes of the memory at most, in bytes.
pub(super) const SESSION_BYTES: u64 = 600;

/// The topic ids that may be given out: 0x0000 and 0xFFFF are reserved (SN 5.3.11).
pub(super) const TOPIC_IDS: std::ops::RangeInclusive<u16> = 1..=65_534;

settings! {
    /// The keys before the first table.
    pub(super) struct RootKeys {
        /// The folder for what outlives the process; it is made if it is not there, for its owner
        /// alone.
        Restart data_dir: Option<At<FilePath>> = None => "see below";
        /// What an acknowledgement promises: that what it is for is on disk, or in memory.
        Restart durability: Durability = Durability::Disk => "`\"disk\"`";
        /// While the disk is full or fails: what cannot be kept is not acknowledged, or
        /// acknowledgements leave as with durability `"memory"`.
        Live on_disk_full: OnDiskFull = OnDiskFull::Refuse => "`\"refuse\"`";
    }
}

settings! {
    /// `[[listener]]`: one address where clients are served.
    pub(super) struct ListenerKeys {
        /// What is spoken there: MQTT over TCP, MQTT over WebSocket, or MQTT-SN over UDP.
        Restart kind: Option<At<Kind>> = None => "required";
        /// The address to bind. A port alone and `localhost:PORT` stand for 127.0.0.1 and ::1;
        /// with port 0 the system chooses a free one. The interface of a link-local address is
        /// given by name or number.
        Restart bind: Option<At<BindAddress>> = None => "required";
        /// Clients are served without a log-in. With `false`, which needs a `[[user]]` and is not
        /// for `mqtt-sn`, a client has to name one; else those that name nobody are served, too.
        Live allow_anonymous: Option<At<bool>> = None
            => "`true` on loopback, else it must be written";
        /// What an acknowledgement to clients of this listener promises. With `"memory"` it does
        /// not wait for the disk, and what it is for is written all the same.
        NewLinks durability: Option<At<Durability>> = None => "that of the file";
        /// Groups that are joined so that clients find the gateway (`mqtt-sn` only), on the
        /// interface of the listener's address unless one is named.
        Restart multicast: Vec<At<Group>> = Vec::new();
        /// How many routers a datagram to a group may cross (`mqtt-sn` only).
        Restart multicast_ttl: u8 = 1, 0..=255;
        /// The largest message sent from this listener (`mqtt-sn` only).
        Live max_datagram: Option<u16> = None => "that of `[mqtt_sn]`", 32..=65_507;
        /// The web pages that may connect (`ws` only), as browsers name where they come from. A
        /// client that names nothing is no browser, and may always connect.
        NewLinks origins: Vec<Origin> = Vec::new() => "all";
    }
}

choices! {
    /// From where a sleeping client may collect its messages, if not from its last address.
    pub enum WakeRebind {
        /// From another port of the same IP address: a NAT forgot the old one.
        SameIp = "same-ip",
        /// From anywhere; whoever knows the client id gets the messages.
        Any = "any",
        /// From nowhere else: the client has to CONNECT.
        Never = "never",
    }
}

settings! {
    /// `[mqtt_sn]`: how MQTT-SN is spoken.
    pub struct SnSettings {
        /// The number of this gateway in ADVERTISE and GWINFO; unique in its network. 0 is
        /// refused, as the Paho gateway refuses it.
        Live gateway_id: u8 = 1, 1..=255;
        // The times are those that the specification recommends (SN-103).
        /// How long an active client may take to acknowledge before the message is repeated
        /// (T_retry).
        Live retry_ms: u32 = 10_000, 10..=600_000;
        /// How often a message to an active client is repeated (N_retry).
        Live retry_max: u8 = 4, 1..=100;
        /// The same as `retry_ms` for a client that is awake only to collect its messages.
        Live awake_retry_ms: u32 = 4_000, 10..=600_000;
        /// The same as `retry_max` for a client that is awake only to collect its messages.
        Live awake_retry_max: u8 = 3, 1..=100;
        /// The time between two ADVERTISE to the multicast groups; 0 = do not advertise.
        Live advertise_s: u16 = 0, 0..=32_767;
        /// The largest message sent to a client; a larger delivery is dropped and counted.
        Live max_datagram: u16 = 1_024, 32..=65_507;
        /// How long a CONNECT with a will may take until the will is complete.
        NewLinks handshake_timeout_ms: u32 = 60_000, 100..=3_600_000;
        /// From where a sleeping client may collect its messages by PINGREQ, if not from its last
        /// address: another port of the same IP address, anywhere, nowhere.
        Live wake_rebind: WakeRebind = WakeRebind::SameIp => "`\"same-ip\"`";
        /// How long the known address of a live client is asked (three PINGREQ) before a CONNECT
        /// with its id from another IP address takes over; 0 = take over at once.
        Live takeover_probe_ms: u32 = 2_000, 0..=60_000;
        /// QoS −1: publishing without a session, on predefined and short topics.
        Live qos_minus_one: bool = true;
        /// QoS −1 with the topic name in the message, as some older clients send it.
        Live qos_minus_one_names: bool = false;
        /// Messages at QoS −1 that one address may send; the rest is dropped and counted.
        Live qos_minus_one_per_s: u32 = 1_000, 1..=1_000_000;
        /// A repeated QoS 1 PUBLISH (DUP, same MsgId, topic and payload, within the time of the
        /// repetitions) is acknowledged and not delivered again.
        Live deduplicate: bool = true;
        /// Publish the will of a live session when its client connects again.
        NewLinks will_on_reconnect: bool = false;
        /// How long deliveries to a client pause after it answered "rejected: congestion".
        Live congestion_pause_ms: u32 = 10_000, 100..=3_600_000;
        /// DISCONNECTs sent to addresses without a session, to all of them together; 0 = none.
        Live unknown_answers_per_s: u32 = 1_000, 0..=1_000_000;
        /// DISCONNECTs sent to one address without a session, within
        /// `unknown_answers_window_s`.
        Live unknown_answers_per_source: u32 = 2, 1..=1_000;
        /// The time that `unknown_answers_per_source` counts in.
        Live unknown_answers_window_s: u32 = 10, 1..=3_600;
        /// SEARCHGW that are answered; 0 = none.
        Live searchgw_per_s: u32 = 20, 0..=10_000;
        /// Messages that a client collects with one PINGREQ; the rest waits for the next; 0 = all.
        Live messages_per_wake: u32 = 0, 0..=1_000_000;
        /// A client with keep alive 0 that is silent for so long is taken for lost.
        NewLinks idle_timeout_s: u32 = 86_400, 1..=31_536_000;
        /// QoS 0 messages that wait for one sleeping client; then the oldest goes.
        Live sleep_queue_qos0_messages: u32 = 100, 0..=10_000_000;
        /// Clients behind one forwarder.
        Live nodes_per_forwarder: u32 = 1_000, 1..=1_000_000;
    }
}

settings! {
    /// The keys of `[mqtt_sn]` that name files of predefined topics.
    pub(super) struct TopicFileKeys {
        /// A file of predefined topics, or a list of files. A relative path starts at the folder
        /// of the configuration file.
        Live predefined_file: Vec<At<FilePath>> = Vec::new();
        /// How those files are written: `client, topic, id` lines, bisquitt's YAML,
        /// `client;topic;id` lines, or `client topic id` lines.
        Live predefined_format: Option<Spelling> = None => "told from the first line of each";
    }
}

settings! {
    /// `[[mqtt_sn.predefined]]`: a topic id that client and gateway know in advance.
    pub(super) struct PredefinedKeys {
        /// The topic id; 0 and 65535 are reserved.
        Live id: Option<At<u16>> = None => "required", TOPIC_IDS;
        /// The topic name, without wildcards.
        Live topic: Option<At<Topic>> = None => "required";
        /// The client that knows the id; `"*"` = every client. An entry for one client goes
        /// before one for all with the same id.
        Live client: Option<At<Clients>> = None => "`\"*\"`";
    }
}

settings! {
    /// `[[mqtt_sn.forwarder]]`: who may speak for nodes behind it.
    pub(super) struct ForwarderKeys {
        /// The address of a forwarder, or the network of many. Encapsulated messages from
        /// elsewhere are dropped and counted.
        Live address: Option<At<Network>> = None => "required";
    }
}

settings! {
    /// `[[mqtt_sn.client]]`: what one client needs to be spoken to.
    pub(super) struct ClientKeys {
        /// The client id.
        NewLinks id: Option<At<ClientId>> = None => "required";
        /// The largest message that the client can receive; goes before every other
        /// `max_datagram`.
        NewLinks max_datagram: Option<u16> = None => "that of its listener", 32..=65_507;
        /// How long this client may take to acknowledge, active or awake.
        NewLinks retry_ms: Option<u32> = None => "those of `[mqtt_sn]`", 10..=600_000;
        /// The client swaps the two octets of short topic names and of predefined ids in
        /// SUBSCRIBE (asymcute on little-endian machines).
        NewLinks swap_topic_id_octets: bool = false;
        /// The client refuses a PUBLISH with DUP set (emcute): repeat without it.
        NewLinks no_dup: bool = false;
        /// The client ignores REGISTER (emcute, asymcute): send it only topics that it knows an
        /// id for.
        NewLinks no_register: bool = false;
    }
}

choices! {
    /// What happens when a message does not fit into a client's queue.
    pub enum QueueOverflow {
        /// The new message is dropped.
        RejectNew = "reject-new",
        /// The oldest messages are dropped until the new one fits.
        DropOldest = "drop-oldest",
        /// The client is disconnected.
        Disconnect = "disconnect",
    }
}

settings! {
    /// `[limits]`: what one client, one source, or all of them together may take.
    pub struct Limits {
        /// Memory for sessions, messages and buffers together; when it is used up, new work is
        /// refused.
        Live memory_bytes: u64 = 256 * MIB, MIB..=TIB;
        /// Sessions, connected or not.
        Live sessions: u32 = 100_000, 1..=100_000_000;
        /// TCP connections at a time.
        Live connections: Option<u32> = None => "the file descriptors of the process − 64",
            1..=10_000_000;
        /// TCP connections from one IP address that have not sent their CONNECT yet.
        Live connections_per_source_unidentified: u32 = 64, 1..=1_000_000;
        /// An MQTT packet.
        NewLinks packet_bytes: u32 = 1_048_576, 256..=268_435_460;
        /// An MQTT packet before the CONNECT is accepted.
        NewLinks connect_packet_bytes: u32 = 16_384.min(packet_bytes)
            => "`16384`, or `packet_bytes` if that is less", 256..=1_048_576;
        /// Messages that wait for one client.
        Live queue_messages: u32 = 1_000, 1..=10_000_000;
        /// Bytes of messages that wait for one client.
        Live queue_bytes: u64 = MIB.max(packet_bytes.into())
            => "`1048576`, or `packet_bytes` if that is more", 256..=TIB;
        /// What happens to a message that does not fit: it is dropped, the oldest are dropped, or
        /// the client is disconnected. Each is counted. A publisher of MQTT 5.0 at QoS 1 or 2 is
        /// told 0x97 when nobody who subscribed had room.
        Live queue_overflow: QueueOverflow = QueueOverflow::RejectNew => "`\"reject-new\"`";
        /// QoS 1 and 2 messages on their way to one MQTT client; an MQTT-SN client has one.
        NewLinks inflight: u16 = 20, 1..=65_535;
        /// Subscriptions of one session.
        Live filters_per_session: u32 = 1_000, 1..=1_000_000;
        /// Topic ids given to one MQTT-SN client.
        Live topic_ids_per_client: u16 = 1_024, TOPIC_IDS;
        /// Retained messages.
        Live retained_messages: u32 = 100_000, 0..=100_000_000;
        /// Bytes of retained messages.
        Live retained_bytes: u64 = memory_bytes / 4 => "a quarter of `memory_bytes`", 0..=TIB;
        /// Levels of a topic name or filter.
        Live topic_levels: u32 = 128, 1..=65_536;
        /// A client id.
        NewLinks client_id_bytes: u16 = 256, 23..=65_535;
        /// How long a TCP connection may take to its complete CONNECT.
        Live connect_timeout_s: u32 = 10, 1..=3_600;
        /// How long a session without a client is kept.
        NewLinks session_expiry_s: u32 = 604_800, 1..=4_294_967_294;
        /// A client that accepts nothing for so long while messages wait is disconnected.
        Live write_stall_s: u32 = 60, 1..=86_400;
        /// Log lines of one kind that outsiders can cause; the rest is counted and summed up.
        Live log_lines_per_s: u32 = 10, 1..=100_000;
    }
}

settings! {
    /// `[sys]`: the `$SYS` topics.
    pub struct SysSettings {
        /// The time between two publications; 0 = no `$SYS` topics.
        Live interval_s: u32 = 10, 0..=86_400;
    }
}

choices! {
    /// How a log line is written.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choices! {
    /// How much is logged: each level includes those before it.
    pub enum LogLevel {
        /// Service is lost.
        Error = "error",
        /// Somebody may have to act.
        Warn = "warn",
        /// Connects, disconnects, the configuration.
        Info = "info",
        /// Decisions.
        Debug = "debug",
        /// Every packet.
        Trace = "trace",
    }
}

settings! {
    /// `[log]`: the log on stderr.
    pub struct LogSettings {
        /// How a line is written. `--log-format` goes before it.
        Live format: LogFormat = LogFormat::Text => "`\"text\"`";
        /// How much is logged: service lost, somebody may have to act, connects and
        /// configuration, decisions, every packet. `-v` means at least debug, `-vv` trace.
        Live level: LogLevel = LogLevel::Info => "`\"info\"`";
    }
}

impl Limits {
    /// Tells limits that contradict each other.
    pub(super) fn check(&self, table: &mut Table<'_>) {
        for (key, bytes) in [
            ("packet_bytes", self.packet_bytes.into()),
            ("queue_bytes", self.queue_bytes),
            ("retained_bytes", self.retained_bytes),
        ] {
            table.conflict(
                &[key],
                bytes > self.memory_bytes,
                format!("{bytes} is more than memory_bytes ({})", self.memory_bytes),
                format!("write at most {}, or raise memory_bytes", self.memory_bytes),
            );
        }
        let needed = u64::from(self.sessions) * SESSION_BYTES;
        table.conflict(
            &["sessions"],
            needed > self.memory_bytes,
            format!(
                "{} sessions need {needed} bytes, and memory_bytes is {}",
                self.sessions, self.memory_bytes
            ),
            format!(
                "write at most {}, or raise memory_bytes to {needed}",
                self.memory_bytes / SESSION_BYTES
            ),
        );
        table.conflict(
            &["connect_packet_bytes", "packet_bytes"],
            self.connect_packet_bytes > self.packet_bytes,
            format!(
                "{} is more than packet_bytes ({}), which holds for every packet",
                self.connect_packet_bytes, self.packet_bytes
            ),
            format!("write at most {}", self.packet_bytes),
        );
        table.conflict(
            &["queue_bytes", "packet_bytes"],
            self.queue_bytes < self.packet_bytes.into(),
            format!(
                "a packet of packet_bytes ({}) would never fit into a queue of {}",
                self.packet_bytes, self.queue_bytes
            ),
            format!("write at least {}, or lower packet_bytes", self.packet_bytes),
        );
        let per_source = self.connections_per_source_unidentified;
        let connections = self.connections.unwrap_or(u32::MAX);
        table.conflict(
            &["connections_per_source_unidentified", "connections"],
            per_source > connections,
            format!("{per_source} is more than connections ({connections})"),
            format!("write at most {connections}"),
        );
    }
}

impl SnSettings {
    /// Tells keys that contradict each other, or the limits.
    pub(super) fn check(&self, table: &mut Table<'_>, limits: &Limits, limits_given: bool) {
        table.conflict(
            &["qos_minus_one_names", "qos_minus_one"],
            self.qos_minus_one_names && !self.qos_minus_one,
            "true adds a form to QoS −1, and qos_minus_one = false switches QoS −1 off",
            "write qos_minus_one = true, or leave this key out",
        );
        let waiting = self.sleep_queue_qos0_messages;
        table.conflict(
            &["sleep_queue_qos0_messages"],
            limits_given && waiting > limits.queue_messages,
            format!("{waiting} is more than limits.queue_messages ({})", limits.queue_messages),
            format!("write at most {}, or raise limits.queue_messages", limits.queue_messages),
        );
    }
}
