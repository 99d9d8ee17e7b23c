//! What the MQTT-SN machine is told at its start, and whenever that changes.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use broker_core::api::{Overflow, QueueLimits};
use broker_core::topic::TopicBuf;

/// How MQTT-SN is spoken. docs/configuration.md says what each setting means to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// GwId in ADVERTISE and GWINFO.
    pub gateway_id: u8,
    /// Repetition towards active clients (D7).
    pub retry: Retry,
    /// Repetition towards clients that are awake to collect their messages (D7).
    pub awake_retry: Retry,
    /// Seconds between two ADVERTISE; 0: none.
    pub advertise_s: u16,
    /// How long a CONNECT may take until its will is complete.
    pub handshake_timeout: Duration,
    /// CONNECTs that may wait for their will or a probe at once.
    pub handshakes_max: usize,
    /// From where a PINGREQ may move a sleeping session (D5).
    pub wake_rebind: Rebind,
    /// How long the known address of a live client is asked before another host takes its id over;
    /// zero: not at all.
    pub takeover_probe: Duration,
    /// Whether QoS −1 is served (D9), and the form with the topic name in the message.
    pub qos_minus_one: bool,
    /// See [`Settings::qos_minus_one`].
    pub qos_minus_one_names: bool,
    /// QoS −1 messages per source and second.
    pub qos_minus_one_per_s: u32,
    /// Whether a repeated QoS 1 PUBLISH is acknowledged without being delivered again (D8).
    pub deduplicate: bool,
    /// Whether a CONNECT of a live client publishes its will (D4).
    pub will_on_reconnect: bool,
    /// How long deliveries pause after a client answered "congestion".
    pub congestion_pause: Duration,
    /// DISCONNECTs to unknown senders per second, to all of them together (D1).
    pub unknown_answers_per_s: u32,
    /// DISCONNECTs to one unknown sender within [`Settings::unknown_answers_window`].
    pub unknown_answers_per_source: u32,
    /// See [`Settings::unknown_answers_per_source`].
    pub unknown_answers_window: Duration,
    /// GWINFOs per second, to all together.
    pub searchgw_per_s: u32,
    /// Messages collected with one PINGREQ; 0: all.
    pub messages_per_wake: u32,
    /// Silence after which a client with keep alive 0 counts as lost.
    pub idle_timeout: Duration,
    /// Bounds of the queue of a client.
    pub queue: QueueLimits,
    /// Octets of a client id.
    pub client_id_bytes_max: usize,
    /// Topic ids of one client.
    pub topic_ids_max: u16,
    /// Nodes behind one forwarder.
    pub nodes_per_forwarder: u32,
    /// Who may speak for nodes behind it.
    pub forwarders: Vec<Network>,
    /// Per port, in their order: the largest message sent.
    pub max_datagram: Vec<u16>,
    /// Topic ids that every client knows in advance. Those that are connected keep the meanings
    /// that they connected with.
    pub predefined: BTreeMap<u16, TopicBuf>,
    /// Topic ids that one client knows in advance; they go before those of every client.
    pub predefined_for: BTreeMap<String, BTreeMap<u16, TopicBuf>>,
    /// What single clients need.
    pub quirks: BTreeMap<String, Quirks>,
    /// Whether clients are recorded, so that they outlive the process.
    pub is_durable: bool,
}

impl Default for Settings {
    /// What an empty configuration file means, for one port.
    fn default() -> Self {
        Self {
            gateway_id: 1,
            retry: Retry { after: Duration::from_secs(10), times: 4 },
            awake_retry: Retry { after: Duration::from_secs(4), times: 3 },
            advertise_s: 0,
            handshake_timeout: Duration::from_secs(60),
            handshakes_max: 10_000,
            wake_rebind: Rebind::SameIp,
            takeover_probe: Duration::from_secs(2),
            qos_minus_one: true,
            qos_minus_one_names: false,
            qos_minus_one_per_s: 1_000,
            deduplicate: true,
            will_on_reconnect: false,
            congestion_pause: Duration::from_secs(10),
            unknown_answers_per_s: 1_000,
            unknown_answers_per_source: 2,
            unknown_answers_window: Duration::from_secs(10),
            searchgw_per_s: 20,
            messages_per_wake: 0,
            idle_timeout: Duration::from_hours(24),
            queue: QueueLimits {
                messages_max: 1_000,
                bytes_max: 1 << 20,
                paused_qos0_messages_max: 100,
                overflow: Overflow::DropOldest,
            },
            client_id_bytes_max: 256,
            topic_ids_max: 1_024,
            nodes_per_forwarder: 1_000,
            forwarders: Vec::new(),
            max_datagram: vec![1_024],
            predefined: BTreeMap::new(),
            predefined_for: BTreeMap::new(),
            quirks: BTreeMap::new(),
            is_durable: false,
        }
    }
}

/// A repetition policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Time without an answer after which a message is sent again (T_retry).
    pub after: Duration,
    /// How often (N_retry).
    pub times: u8,
}

/// From where a PINGREQ may move a sleeping session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebind {
    /// Another port of the same IP address.
    SameIp,
    /// Anywhere.
    Any,
    /// Nowhere.
    Never,
}

/// What one client needs to be spoken to (section 18 of the specification reference).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// The largest message that it can receive.
    pub max_datagram: Option<u16>,
    /// T_retry towards it.
    pub retry_after: Option<Duration>,
    /// It swaps the octets of short topic names in PUBLISH and of predefined ids in SUBSCRIBE.
    pub swap_topic_id_octets: bool,
    /// It refuses DUP.
    pub no_dup: bool,
    /// It ignores REGISTER.
    pub no_register: bool,
}

/// An IP network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the network.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix_len: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl Network {
    /// Whether `ip` is in the network; an IPv4 address inside an IPv6 one counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let differing = u32::from(network) ^ u32::from(ip);
                differing.leading_zeros() >= u32::from(self.prefix_len)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let differing = u128::from(network) ^ u128::from(ip);
                differing.leading_zeros() >= u32::from(self.prefix_len)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_as_it_does() {
        for (address, prefix_len, ip, expect) in [
            ("192.0.2.0", 24, "192.0.2.255", true),
            ("192.0.2.0", 24, "192.0.3.0", false),
            ("192.0.2.0", 24, "::ffff:192.0.2.7", true),
            ("192.0.2.1", 32, "192.0.2.1", true),
            ("192.0.2.1", 32, "192.0.2.0", false),
            ("0.0.0.0", 0, "255.0.0.1", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::", false),
            ("2001:db8::1", 128, "2001:db8::1", true),
            ("2001:db8::1", 128, "2001:db8::", false),
        ] {
            let parse = |text: &str| text.parse().expect("an address");
            let network = Network { address: parse(address), prefix_len };
            assert_eq!(network.contains(parse(ip)), expect, "{ip} in {network}");
            assert_eq!(network.to_string(), format!("{address}/{prefix_len}"));
        }
    }
}
