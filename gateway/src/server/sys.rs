//! `$SYS` values that only the server knows: sockets, packets by type, MQTT-SN, and the limits that
//! are kept here.

use broker_core::Broker;
use broker_core::mqtt::PacketType;

use super::Server;
use crate::sn::{SnStats, SnUsage};
use crate::store::Store;

/// Packet types as Mosquitto names them.
const PACKETS: [(PacketType, &str); 14] = [
    (PacketType::Connect, "connect"),
    (PacketType::ConnAck, "connack"),
    (PacketType::Publish, "publish"),
    (PacketType::PubAck, "puback"),
    (PacketType::PubRec, "pubrec"),
    (PacketType::PubRel, "pubrel"),
    (PacketType::PubComp, "pubcomp"),
    (PacketType::Subscribe, "subscribe"),
    (PacketType::SubAck, "suback"),
    (PacketType::Unsubscribe, "unsubscribe"),
    (PacketType::UnsubAck, "unsuback"),
    (PacketType::PingReq, "pingreq"),
    (PacketType::PingResp, "pingresp"),
    (PacketType::Disconnect, "disconnect"),
];

impl Server {
    /// Adds our values to the round that the broker has just published.
    pub(super) fn publish_sys(&mut self) {
        let Self { broker, links, traffic, pace, ports, listeners, log, durable, reload, .. } =
            self;
        broker.publish_sys(format_args!("store/health"), format_args!("{}", durable.health()));
        let mut say = |name: &str, value: u64| {
            broker.publish_sys(format_args!("{name}"), format_args!("{value}"));
        };
        let store = durable.store().map(Store::stats).unwrap_or_default();
        for (name, value) in [
            ("records", store.records),
            ("bytes", store.bytes),
            ("live_bytes", store.live_bytes),
            ("changed_bytes", store.changed_bytes),
            ("backlog_bytes", durable.backlog_bytes()),
            ("syncs", store.syncs),
            ("sync_us", store.sync_us),
            ("sync_us_max", store.sync_us_max),
            ("failures", store.failures),
        ] {
            say(&format!("store/disk/{name}"), value);
        }
        say("connections/socket/count", links.len() as u64);
        say("packet/out/bytes", links.buffer_bytes() as u64);
        say("connections/refused", traffic.refused_connections);
        say("connections/timed_out", traffic.timed_out_connections);
        say("connections/stalled", traffic.stalled_links);
        say("connections/violations", traffic.violations);
        say("connections/closed_memory", traffic.memory_closed);
        say("connections/paced", pace.count);
        say("websocket/opened", traffic.websockets_opened);
        say("websocket/refused", traffic.websockets_refused);
        say("websocket/frames/received", traffic.frames_received);
        let descriptors: u64 = listeners.iter().map(|listener| listener.port.stats().refused).sum();
        say("connections/refused_descriptors", descriptors);
        say("log/lines_left_out", log.lines_left_out());
        for (name, value) in reload.counts() {
            say(&format!("configuration/{name}"), value);
        }
        for (kind, name) in PACKETS {
            say(&format!("mqtt/{name}/received"), traffic.received[kind as usize]);
            say(&format!("mqtt/{name}/sent"), traffic.sent[kind as usize]);
        }
        let mut lost_in_kernel = 0;
        let mut unsent = self.sn.stats().datagrams_dropped;
        for port in ports {
            lost_in_kernel += port.port().kernel_drops().unwrap_or(0);
            let stats = port.port().stats();
            unsent += port.dropped
                + stats.dropped_too_long
                + stats.dropped_unreachable
                + stats.dropped_forbidden
                + stats.dropped_other;
        }
        say("mqtt-sn/datagrams/lost_in_kernel", lost_in_kernel);
        say("mqtt-sn/datagrams/unsent", unsent);
        self.turns.publish(&mut self.broker);
        let (stats, usage) = (*self.sn.stats(), self.sn.usage());
        publish_sn(&mut self.broker, &stats, &usage);
        self.publish_limits(&usage);
    }

    /// Bounds that are kept outside the core, each with its use.
    fn publish_limits(&mut self, usage: &SnUsage) {
        let limits = self.limits;
        let high = self.broker.stats().high;
        let mqtt = &self.mqtt;
        let timeout_s = limits.connect_timeout.as_secs();
        for (name, max, used) in [
            ("connections", limits.connections as u64, self.links.len() as u64),
            (
                "connections_unidentified",
                limits.unidentified as u64,
                self.links.newcomers().len() as u64,
            ),
            ("packet_bytes", u64::from(mqtt.packet_bytes_max), self.traffic.packet_bytes_max),
            ("queue_messages", u64::from(mqtt.queue.messages_max), high.queue_messages as u64),
            ("queue_bytes", mqtt.queue.bytes_max, high.queue_bytes),
            ("topic_ids_per_client", u64::from(self.sn_topic_ids_max), usage.topic_ids_max as u64),
            ("connect_timeout_s", timeout_s, self.traffic.connect_time_max.as_secs()),
            (
                "log_lines_per_s",
                u64::from(self.log.lines_per_s()),
                u64::from(self.log.lines_per_s_used()),
            ),
        ] {
            self.broker.publish_sys_limit(name, max, used);
        }
    }
}

fn publish_sn(broker: &mut Broker, stats: &SnStats, usage: &SnUsage) {
    for (name, value) in [
        ("clients/active", usage.active as u64),
        ("clients/asleep", usage.asleep as u64),
        ("clients/awake", usage.awake as u64),
        ("clients/gone", usage.gone as u64),
        ("clients/handshakes", usage.handshakes as u64),
        ("datagrams/received", stats.datagrams_received),
        ("datagrams/sent", stats.datagrams_sent),
        ("datagrams/malformed", stats.malformed),
        ("datagrams/ignored", stats.ignored),
        ("bytes/received", stats.bytes_received),
        ("bytes/sent", stats.bytes_sent),
        ("unknown/received", stats.unknown_sender),
        ("unknown/answered", stats.unknown_answered),
        ("forwarders/refused", stats.forwarder_refused),
        ("searchgw/received", stats.searches),
        ("searchgw/answered", stats.searches_answered),
        ("advertise/sent", stats.advertised),
        ("qos_minus_one/published", stats.unconnected_published),
        ("qos_minus_one/dropped", stats.unconnected_dropped),
        ("publish/duplicates", stats.duplicates),
        ("retransmissions", stats.retransmissions),
        ("given_up", stats.given_up),
        ("register/sent", stats.registers_sent),
        ("handshakes/expired", stats.handshakes_expired),
        ("handshakes/refused", stats.handshakes_refused),
        ("takeovers/refused", stats.takeovers_refused),
        ("sleep/visits", stats.visits),
        ("sleep/visits_broken", stats.visits_broken),
        ("sleep/rebinds", stats.rebinds),
    ] {
        broker.publish_sys(format_args!("mqtt-sn/{name}"), format_args!("{value}"));
    }
}
