//! What the configuration means to each part.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use broker_core::api::{Overflow, QoS, QueueLimits};
use broker_core::limits::{BrokerConfig, Durability, Limits};
use broker_core::mqtt::{self, Features, Redirect, Versions};
use broker_core::share::{ShareStrategies, ShareStrategy};
use broker_core::topic::{TopicBuf, TopicName};
use broker_core::users::{Credential, Users};

use super::NetLimits;
use crate::config::{
    self, Config, ListenerKind, MqttVersion, QueueOverflow, ShareChoice, UserSecret, UserSettings,
    WakeRebind, WsListener,
};
use crate::net::ws;
use crate::sn;

/// Descriptors that are kept free of connections: listeners, the log, whatever libraries open.
const SPARE_DESCRIPTORS: u64 = 64;

pub(super) fn broker(config: &Config, is_durable: bool, seed: u64) -> BrokerConfig {
    let limits = &config.limits;
    BrokerConfig {
        limits: Limits {
            memory_bytes: limits.memory_bytes,
            sessions_max: limits.sessions as usize,
            filters_per_session_max: limits.filters_per_session as usize,
            topic_levels_max: limits.topic_levels as usize,
            client_id_bytes_max: usize::from(limits.client_id_bytes),
            retained_messages_max: limits.retained_messages as usize,
            retained_bytes_max: limits.retained_bytes,
            session_expiry_max_s: limits.session_expiry_s,
            inflight_max: limits.inflight,
            received_ids_max: usize::from(u16::MAX),
        },
        durability: if is_durable { Durability::Gated } else { Durability::Memory },
        validate_payload_format: config.mqtt.validate_payload_format,
        shares: shares(config),
        sys_interval: match config.sys.interval_s {
            0 => None,
            seconds => Some(Duration::from_secs(u64::from(seconds))),
        },
        version: format!("mqtt-sn-gw version {}", env!("CARGO_PKG_VERSION")),
        seed,
    }
}

pub(super) fn mqtt(config: &Config) -> mqtt::Settings {
    let limits = &config.limits;
    let section = &config.mqtt;
    let serves = |version| section.versions.contains(&version);
    mqtt::Settings {
        versions: Versions {
            mqtt31: serves(MqttVersion::V31),
            mqtt311: serves(MqttVersion::V311),
            mqtt5: serves(MqttVersion::V5),
        },
        packet_bytes_max: limits.packet_bytes,
        connect_packet_bytes_max: limits.connect_packet_bytes,
        client_id_bytes_max: usize::from(limits.client_id_bytes),
        window: limits.inflight,
        receive_maximum: section.receive_maximum,
        topic_alias_maximum: section.topic_alias_max,
        topic_alias_bytes_max: section.topic_alias_bytes as usize,
        keep_alive_max_s: NonZeroU16::new(section.keep_alive_max_s),
        session_expiry_s: section.kept_session_expiry_s.unwrap_or(u32::MAX),
        outbound_alias_maximum: section.outbound_alias_max,
        features: Features {
            maximum_qos: QoS::from_u8(section.maximum_qos).expect("within its bounds"),
            retain: section.retain_available,
            wildcards: section.wildcards_available,
            subscription_ids: section.subscription_ids_available,
            shared: section.shared_available,
        },
        response_topics: section.response_topics.clone(),
        redirect: section
            .server_reference
            .clone()
            .map(|server| Redirect { is_permanent: section.server_moved, server }),
        queue: queues(config).mqtt,
    }
}

fn shares(config: &Config) -> ShareStrategies {
    let strategy = |choice| match choice {
        ShareChoice::LeastOutstanding => ShareStrategy::LeastOutstanding,
        ShareChoice::RoundRobin => ShareStrategy::RoundRobin,
        ShareChoice::ByPublisher => ShareStrategy::ByPublisher,
        ShareChoice::ByTopic => ShareStrategy::ByTopic,
    };
    ShareStrategies {
        default: strategy(config.mqtt.share_strategy),
        by_name: config
            .shares
            .iter()
            .map(|(name, choice)| (name.clone(), strategy(*choice)))
            .collect(),
    }
}

/// The least that a WebSocket frame may always have, in octets: clients put many small packets
/// into one, however small the largest of them may be.
const FRAME_BYTES_LEAST: u64 = 64 << 10;

pub(super) fn ws(config: &Config, listener: &WsListener) -> ws::Policy {
    ws::Policy {
        origins: listener.origins.clone(),
        frame_bytes_max: u64::from(config.limits.packet_bytes).max(FRAME_BYTES_LEAST),
    }
}

/// Who may come in with a name. Those who do not say who they are may come in, too.
pub(super) fn users(config: &Config, secret: [u8; 32]) -> Users {
    let mut users = Users::new(secret);
    config.users.iter().for_each(|user| add_user(&mut users, user));
    users
}

pub(super) fn add_user(users: &mut Users, user: &UserSettings) {
    let credential = match &user.secret {
        UserSecret::Password(password) => Credential::Password(password.as_bytes()),
        UserSecret::Verifier(verifier) => Credential::Verifier(verifier),
    };
    let is_new = users.add(&user.name, credential);
    assert!(is_new, "the configuration has no name twice");
}

pub(super) fn net(config: &Config, descriptors: u64) -> NetLimits {
    let limits = &config.limits;
    let room = usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX);
    let connections = limits.connections.map_or(room, |max| room.min(max as usize)).max(1);
    NetLimits {
        connections,
        unidentified_per_source: limits.connections_per_source_unidentified,
        unidentified: (connections / 4).max(1),
        connect_timeout: Duration::from_secs(u64::from(limits.connect_timeout_s)),
        write_stall: Duration::from_secs(u64::from(limits.write_stall_s)),
    }
}

/// Bounds of the queues of both kinds of clients.
pub(super) struct Queues {
    pub(super) mqtt: QueueLimits,
    pub(super) sn: QueueLimits,
}

pub(super) fn queues(config: &Config) -> Queues {
    let asleep = config.mqtt_sn.sleep_queue_qos0_messages;
    Queues {
        mqtt: queue(config, config.limits.queue_messages, None),
        sn: queue(config, asleep, Some(Overflow::DropOldest)),
    }
}

/// Bounds of a session's queue. Sensors that sleep keep the newest (D6) unless the configuration
/// says otherwise for all.
fn queue(config: &Config, paused_qos0_messages: u32, overflow: Option<Overflow>) -> QueueLimits {
    let limits = &config.limits;
    let configured = match limits.queue_overflow {
        QueueOverflow::RejectNew => Overflow::RejectNew,
        QueueOverflow::DropOldest => Overflow::DropOldest,
        QueueOverflow::Disconnect => Overflow::Disconnect,
    };
    QueueLimits {
        messages_max: limits.queue_messages,
        bytes_max: limits.queue_bytes,
        paused_qos0_messages_max: paused_qos0_messages,
        overflow: overflow.unwrap_or(configured),
    }
}

pub(super) fn sn(config: &Config, is_durable: bool) -> sn::Settings {
    let section = &config.mqtt_sn;
    let (predefined, predefined_for) = predefined(config);
    sn::Settings {
        is_durable,
        gateway_id: section.gateway_id,
        retry: sn::Retry { after: millis(section.retry_ms), times: section.retry_max },
        awake_retry: sn::Retry {
            after: millis(section.awake_retry_ms),
            times: section.awake_retry_max,
        },
        advertise_s: section.advertise_s,
        handshake_timeout: millis(section.handshake_timeout_ms),
        wake_rebind: match section.wake_rebind {
            WakeRebind::SameIp => sn::Rebind::SameIp,
            WakeRebind::Any => sn::Rebind::Any,
            WakeRebind::Never => sn::Rebind::Never,
        },
        takeover_probe: millis(section.takeover_probe_ms),
        qos_minus_one: section.qos_minus_one,
        qos_minus_one_names: section.qos_minus_one_names,
        qos_minus_one_per_s: section.qos_minus_one_per_s,
        deduplicate: section.deduplicate,
        will_on_reconnect: section.will_on_reconnect,
        congestion_pause: millis(section.congestion_pause_ms),
        unknown_answers_per_s: section.unknown_answers_per_s,
        unknown_answers_per_source: section.unknown_answers_per_source,
        unknown_answers_window: seconds(section.unknown_answers_window_s),
        searchgw_per_s: section.searchgw_per_s,
        messages_per_wake: section.messages_per_wake,
        idle_timeout: seconds(section.idle_timeout_s),
        queue: queues(config).sn,
        client_id_bytes_max: usize::from(config.limits.client_id_bytes),
        topic_ids_max: config.limits.topic_ids_per_client,
        nodes_per_forwarder: section.nodes_per_forwarder,
        forwarders: config.forwarders.clone(),
        max_datagram: config.listeners.iter().filter_map(|l| max_datagram(&l.kind)).collect(),
        predefined,
        predefined_for,
        quirks: quirks(config),
        // What no key of the configuration says.
        ..sn::Settings::default()
    }
}

/// What the answers to clients of a listener wait for, if the state is kept at all.
pub(super) fn durability(listener: &config::Listener) -> Durability {
    match listener.durability {
        Some(config::Durability::Memory) => Durability::Memory,
        Some(config::Durability::Disk) | None => Durability::Gated,
    }
}

/// The same for each MQTT-SN listener, in their order.
pub(super) fn sn_durability(config: &Config) -> Vec<Durability> {
    let is_sn = |kind: &ListenerKind| matches!(kind, ListenerKind::MqttSn(_));
    config.listeners.iter().filter(|listener| is_sn(&listener.kind)).map(durability).collect()
}

/// What an MQTT-SN listener may send at most.
pub(super) const fn max_datagram(kind: &ListenerKind) -> Option<u16> {
    match kind {
        ListenerKind::Mqtt | ListenerKind::Ws(_) => None,
        ListenerKind::MqttSn(listener) => Some(listener.max_datagram),
    }
}

type Topics = BTreeMap<u16, TopicBuf>;

fn predefined(config: &Config) -> (Topics, BTreeMap<String, Topics>) {
    let mut for_all = Topics::new();
    let mut for_one: BTreeMap<String, Topics> = BTreeMap::new();
    for entry in &config.predefined {
        let topic = TopicName::new(&entry.topic).expect("the configuration has checked it");
        let topics = match &entry.client {
            None => &mut for_all,
            Some(client) => for_one.entry(client.clone()).or_default(),
        };
        topics.insert(entry.id, TopicBuf::from(topic));
    }
    (for_all, for_one)
}

fn quirks(config: &Config) -> BTreeMap<String, sn::Quirks> {
    let quirks = |client: &config::ClientSettings| sn::Quirks {
        max_datagram: client.max_datagram,
        retry_after: client.retry_ms.map(millis),
        swap_topic_id_octets: client.swap_topic_id_octets,
        no_dup: client.no_dup,
        no_register: client.no_register,
    };
    config.clients.iter().map(|client| (client.id.clone(), quirks(client))).collect()
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(u64::from(millis))
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_defaults_are_those_of_an_empty_file() {
        let mut config = Config::default();
        let sn_kind = |listener: &config::Listener| max_datagram(&listener.kind).is_some();
        let first = config.listeners.iter().position(sn_kind).expect("one on each loopback");
        config.listeners.truncate(first + 1);
        assert_eq!(sn(&config, false), sn::Settings::default());
        assert_eq!(mqtt(&config), mqtt::Settings::default());
    }
}
