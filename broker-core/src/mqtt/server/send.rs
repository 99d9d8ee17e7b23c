//! What goes out, and how the broker ends a connection.

use super::authenticate::Authentication;
use super::{Phase, ResponseTopics, Sent, ServerConn};
use crate::api::{Ack, AckKind, ConnAck, Delivery, Outgoing, PacketId};
use crate::mqtt::answer::{self, Terms};
use crate::mqtt::frame::PacketType;
use crate::mqtt::naming::{self, Name};
use crate::mqtt::publish;
use crate::mqtt::sink::Sink;
use crate::mqtt::version::Version;
use crate::mqtt::words::Words;
use crate::reason::ReasonCode;

impl ServerConn {
    /// Writes a packet, if this version has it and it may be sent at this point: nothing before
    /// CONNACK [MQTT-3.2.0-1], [MQTT5-3.2.0-1], no second one [MQTT5-3.2.0-2], nothing after the
    /// end. A CONNACK that refuses is the end [MQTT-3.2.2-5], [MQTT5-3.2.2-7], [MQTT5-4.13.2-1].
    pub fn send(&mut self, packet: Outgoing<'_>, out: &mut impl Sink) -> Sent {
        let is_due = match self.phase {
            Phase::New | Phase::Authenticating | Phase::Ended => false,
            Phase::Connecting => matches!(packet, Outgoing::ConnAck(_)),
            Phase::Connected => !matches!(packet, Outgoing::ConnAck(_)),
        };
        if !is_due {
            return Sent::Nothing;
        }
        let (version, max) = (self.version, self.outbound_bytes_max);
        let (kind, is_written) = match packet {
            Outgoing::Publish(delivery) => (PacketType::Publish, self.deliver(&delivery, out)),
            Outgoing::Ack(Ack { id: PacketId(0), .. })
            | Outgoing::WillAck { .. }
            | Outgoing::Drained => return Sent::Nothing,
            Outgoing::Ack(ack) => {
                self.count_answered(&ack);
                (answer::ack_type(ack.kind), answer::ack(&ack, version, self.wants_words, max, out))
            }
            Outgoing::SubAck { id, token: _, reasons } => (
                PacketType::SubAck,
                answer::suback(id, reasons, version, self.wants_words, max, out),
            ),
            Outgoing::UnsubAck { id, token: _, reasons } => {
                (PacketType::UnsubAck, answer::unsuback(id, reasons, version, max, out))
            }
            Outgoing::Pong => (PacketType::PingResp, answer::pingresp(max, out)),
            Outgoing::ConnAck(connack) if connack.reason == ReasonCode::Success => {
                (PacketType::ConnAck, self.accept(&connack, out))
            }
            Outgoing::ConnAck(connack) => return sent(self.refuse(connack.reason, out)),
        };
        if is_written { Sent::Packet(kind) } else { Sent::TooLarge(kind) }
    }

    /// Writes a PUBLISH, by a topic alias where that is shorter. An alias is set only if what sets
    /// it is sent, and what is too large with it may go without.
    #[inline]
    fn deliver(&mut self, delivery: &Delivery<'_>, out: &mut impl Sink) -> bool {
        let (version, bytes_max) = (self.version, self.outbound_bytes_max);
        let topic = delivery.message.topic();
        // [MQTT5-3.1.2-27]
        if self.outbound_alias_maximum == 0 || topic.len() < naming::TOPIC_BYTES_MIN {
            return publish::encode(delivery, version, Name::Whole, bytes_max, out);
        }
        let names = &mut self.extras.get_or_insert_default().outbound;
        let name = names.name(topic, self.outbound_alias_maximum, self.alias_bytes_max as usize);
        if publish::encode(delivery, version, name, bytes_max, out) {
            if let Name::New(alias) = name {
                names.set(alias, topic);
            }
            return true;
        }
        match name {
            Name::New(_) => publish::encode(delivery, version, Name::Whole, bytes_max, out),
            Name::Whole | Name::Alias(_) => false,
        }
    }

    /// The last answer to a message makes room for another: PUBACK, PUBCOMP, and a PUBREC that
    /// refuses [MQTT5-3.3.4-7]. A message of QoS 2 that an earlier connection has brought does not
    /// count in this one.
    #[inline]
    fn count_answered(&mut self, ack: &Ack) {
        let is_counted = match ack.kind {
            AckKind::PubAck => true,
            AckKind::PubComp => self.is_released(ack.id),
            AckKind::PubRec => ack.reason.is_error() && self.is_released(ack.id),
            AckKind::PubRel => false,
        };
        if is_counted {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }

    fn is_released(&mut self, id: PacketId) -> bool {
        self.extras.as_mut().is_some_and(|extras| extras.unreleased.remove(id))
    }

    fn accept(&mut self, connack: &ConnAck<'_>, out: &mut impl Sink) -> bool {
        let is_written = match self.version {
            Version::V31 | Version::V311 => {
                answer::accept_3(connack, self.version, out);
                true
            }
            Version::V5 => {
                let terms = Terms {
                    session_expiry_s: self.session_expiry_s,
                    server_keep_alive_s: self.server_keep_alive_s,
                    receive_maximum: self.receive_maximum,
                    topic_alias_maximum: self.topic_alias_maximum,
                    packet_bytes_max: self.inbound_bytes_max,
                    features: self.features,
                    response_topics: self.response_topics(connack),
                    authentication: self.authentication().map(Authentication::last_words),
                };
                answer::accept_5(connack, &terms, self.outbound_bytes_max, out)
            }
        };
        if is_written {
            self.phase = Phase::Connected;
        } else {
            self.refuse(ReasonCode::PacketTooLarge, out);
        }
        is_written
    }

    fn response_topics(&self, connack: &ConnAck<'_>) -> Option<String> {
        let ResponseTopics { prefix, client_id } =
            self.extras.as_ref()?.response_topics.as_ref()?;
        let client_id = connack.assigned_client_id.unwrap_or(client_id);
        Some(format!("{prefix}{client_id}/"))
    }

    fn refuse(&mut self, reason: ReasonCode, out: &mut impl Sink) -> Option<PacketType> {
        let is_written = match self.version {
            Version::V31 | Version::V311 => answer::refuse_3(reason, out),
            Version::V5 => {
                let words = Words::on(PacketType::ConnAck, reason, self.wants_words);
                answer::refuse_5(reason, &words, self.outbound_bytes_max, out)
            }
        };
        self.end();
        is_written.then_some(PacketType::ConnAck)
    }

    /// Ends the connection because the broker says so. A client of 5.0 is told why in DISCONNECT,
    /// one whose CONNECT has not been answered in CONNACK [MQTT5-3.14.0-1]; others see it closed.
    pub fn close(&mut self, reason: ReasonCode, out: &mut impl Sink) -> Sent {
        let packet = match (self.phase, self.version) {
            (_, _) if self.has_left => None,
            (Phase::Authenticating | Phase::Connecting, _) if reason.is_error() => {
                self.refuse(reason, out)
            }
            (Phase::Connected, Version::V5) => {
                let max = self.outbound_bytes_max;
                let words = Words::on(PacketType::Disconnect, reason, self.wants_words);
                answer::disconnect(reason, &words, max, out).then_some(PacketType::Disconnect)
            }
            (_, _) => None,
        };
        self.end();
        sent(packet)
    }
}

const fn sent(packet: Option<PacketType>) -> Sent {
    match packet {
        Some(kind) => Sent::Packet(kind),
        None => Sent::Nothing,
    }
}
