//! What comes in: one packet at a time, or the reason why there will be no more.

use super::{Phase, Received, ResponseTopics, ServerConn};
use crate::api::{
    AckKind, Connect, Incoming, PacketId, Payload, Publish, QoS, Subscribe, Unsubscribe,
};
use crate::auth::{Everybody, Gate};
use crate::mqtt::answer;
use crate::mqtt::connect::{self, Protocol, Request};
use crate::mqtt::error::{Fault, Violation};
use crate::mqtt::frame::{self, PacketType, RemainingLength};
use crate::mqtt::publish;
use crate::mqtt::read::Reader;
use crate::mqtt::settings::Settings;
use crate::mqtt::sink::Sink;
use crate::mqtt::small;
use crate::mqtt::subscribe;
use crate::mqtt::version::Version;
use crate::mqtt::words::Words;
use crate::time::Instant;
use crate::topic::{TopicError, TopicName};

/// Octets of what a client is told to begin its response topics with, so that there is room for
/// the rest of them.
const RESPONSE_TOPIC_BYTES_MAX: usize = 1 << 15;

impl ServerConn {
    /// Reads at most one packet from the front of `input`, which may be any piece of the stream
    /// [MQTT-7.1.1-1], [MQTT5-4.2-1], and lets `hear` know what it says. Work and memory are
    /// bounded by the size of the packet; PUBLISH and acknowledgements allocate nothing, but for a
    /// topic alias that gets a new meaning.
    ///
    /// After a violation everything that is to be said about it has been put into `out`, and the
    /// connection has ended; the caller flushes, closes, and tells the broker that the link is
    /// lost. If CONNACK has not been sent by then it never will be: who wants the client to see it
    /// sends what the broker answers to CONNECT before reading on.
    ///
    /// Everybody is let in; [`ServerConn::receive_at`] asks somebody about that.
    pub fn receive(
        &mut self,
        settings: &Settings,
        input: &[u8],
        out: &mut impl Sink,
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<Received, Violation> {
        let gate = Gate { authenticator: &mut Everybody, now: Instant::default() };
        self.receive_at(settings, gate, input, out, hear)
            .inspect_err(|violation| self.reject(settings, violation, out))
    }

    /// Reads at most one packet like [`ServerConn::receive`]. Who does not get past the gate is
    /// guilty of a violation like any other, and the broker hears nothing of it. An exchange of
    /// AUTH packets is held here: what the client is to be told is put into `out`.
    ///
    /// Nothing is said about a violation yet: the caller sends what the broker answers to the
    /// packets before it, and then calls [`ServerConn::reject`].
    pub fn receive_at(
        &mut self,
        settings: &Settings,
        gate: Gate<'_>,
        input: &[u8],
        out: &mut impl Sink,
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<Received, Violation> {
        self.take_packet(settings, gate, input, out, hear).map_err(|fault| {
            let packet = input.first().and_then(|first| PacketType::from_first(*first));
            Violation { packet, fault }
        })
    }

    #[inline]
    fn take_packet(
        &mut self,
        settings: &Settings,
        gate: Gate<'_>,
        input: &[u8],
        out: &mut impl Sink,
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<Received, Fault> {
        // [MQTT-3.1.4-5], [MQTT-3.14.4-2], [MQTT5-3.1.4-6], [MQTT5-3.14.4-1]
        if self.has_ended() {
            return Ok(Received::Ended);
        }
        let Some((first, rest)) = input.split_first() else {
            return Ok(Received::Incomplete { needed: 2 });
        };
        let first = *first;
        let is_new = self.phase == Phase::New;
        let kind = if is_new {
            frame::check_greeting(first)?
        } else {
            frame::check_first(first, self.version)?
        };
        let is_authenticating = self.phase == Phase::Authenticating;
        if is_authenticating && !matches!(kind, PacketType::Auth | PacketType::Disconnect) {
            return Err(Fault::Unauthenticated);
        }
        let Some(length) = RemainingLength::read(rest)? else {
            return Ok(Received::Incomplete { needed: input.len() + 1 });
        };
        let body_at = 1 + length.octets;
        let size = body_at + length.value;
        let max = if is_new || is_authenticating {
            settings.connect_packet_bytes_max
        } else {
            self.inbound_bytes_max
        };
        if size > max as usize {
            if is_new {
                self.recognise(settings, input.get(body_at..).unwrap_or_default());
            }
            return Err(Fault::TooLarge { size, max });
        }
        let Some(body) = input.get(body_at..size) else {
            return Ok(Received::Incomplete { needed: size });
        };
        if is_new {
            self.connect(settings, gate, (first, length, body), out, hear)?;
        } else if kind == PacketType::Auth {
            check_length(length, self.version)?;
            self.authenticate(settings, gate, body, out, hear)?;
        } else {
            check_length(length, self.version)?;
            self.packet(first, kind, body, hear)?;
        }
        Ok(Received::Packet { used: size, kind })
    }

    /// The first packet, which is CONNECT.
    fn connect(
        &mut self,
        settings: &Settings,
        gate: Gate<'_>,
        (first, length, body): (u8, RemainingLength, &[u8]),
        out: &mut impl Sink,
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<(), Fault> {
        let mut reader = Reader::new(body);
        let Protocol { version, is_bridge, level } = Protocol::read(&mut reader)?;
        if !settings.versions.contain(version) {
            return Err(Fault::ProtocolLevel(level));
        }
        // From here on the client can be answered in its own version.
        self.phase = Phase::Connecting;
        self.version = version;
        self.is_bridge = is_bridge;
        frame::check_flags(first, PacketType::Connect, version)?;
        check_length(length, version)?;
        let request = connect::decode(reader, version, settings)?;
        self.wants_words = request.wishes.wants_words;
        self.receive_maximum = settings.receive_maximum.max(1);
        self.topic_alias_maximum = settings.topic_alias_maximum;
        self.inbound_bytes_max = settings.packet_bytes_max;
        self.outbound_alias_maximum =
            request.wishes.topic_alias_maximum.min(settings.outbound_alias_maximum);
        self.alias_bytes_max = u32::try_from(settings.topic_alias_bytes_max).unwrap_or(u32::MAX);
        self.features = settings.features;
        self.server_keep_alive_s = request.server_keep_alive_s;
        self.session_expiry_s = request.connect.session_expiry_s;
        self.outbound_bytes_max = request.wishes.packet_bytes_max;
        // Refused or not, the client has said how it wants to be spoken to.
        request.check(settings)?;
        self.note_response_topics(settings, &request);
        if let Some((method, data)) = connect::authentication(&request) {
            return self.begin_authentication(gate, method, data, body, out, |user| {
                let connect = Connect { user_name: Some(user), ..request.connect };
                hear(Incoming::Connect(connect));
            });
        }
        let Connect { user_name, password, .. } = request.connect;
        gate.authenticator.check(gate.now, user_name, password).map_err(Fault::NotAuthenticated)?;
        hear(Incoming::Connect(request.connect));
        Ok(())
    }

    /// Finds out whether a CONNECT that will not be read is one of 5.0, which can be told so. What
    /// its client can take is not known, so it is told no more than has to be.
    #[cold]
    fn recognise(&mut self, settings: &Settings, body: &[u8]) {
        let protocol = Protocol::read(&mut Reader::new(body));
        if settings.versions.mqtt5 && protocol.is_ok_and(|read| read.version == Version::V5) {
            self.phase = Phase::Connecting;
            self.version = Version::V5;
            self.wants_words = false;
        }
    }

    /// A client that asks is told where its response topics may begin [MQTT5-3.1.2-28], unless its
    /// identifier cannot be a part of a topic name.
    fn note_response_topics(&mut self, settings: &Settings, request: &Request<'_>) {
        let client_id = request.connect.client_id;
        if let Some(prefix) = &settings.response_topics
            && request.wishes.wants_response_topics
            && !client_id.contains(['+', '#'])
            && prefix.len() + client_id.len() < RESPONSE_TOPIC_BYTES_MAX
        {
            let (prefix, client_id) = (prefix.as_str().into(), client_id.into());
            let topics = ResponseTopics { prefix, client_id };
            self.extras.get_or_insert_default().response_topics = Some(topics);
        }
    }

    #[inline]
    fn packet(
        &mut self,
        first: u8,
        kind: PacketType,
        body: &[u8],
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<(), Fault> {
        let version = self.version;
        match kind {
            PacketType::Publish => self.publish(first, body, hear)?,
            PacketType::PubAck => hear(Incoming::Ack(small::ack(AckKind::PubAck, body, version)?)),
            PacketType::PubRec => hear(Incoming::Ack(small::ack(AckKind::PubRec, body, version)?)),
            PacketType::PubRel => hear(Incoming::Ack(small::ack(AckKind::PubRel, body, version)?)),
            PacketType::PubComp => {
                hear(Incoming::Ack(small::ack(AckKind::PubComp, body, version)?));
            }
            PacketType::Subscribe => {
                let subscribe =
                    subscribe::subscribe(body, version, self.is_bridge, &self.features)?;
                hear(Incoming::Subscribe(Subscribe {
                    id: subscribe.id,
                    token: 0,
                    identifier: subscribe.identifier,
                    requests: &subscribe.requests,
                }));
            }
            PacketType::Unsubscribe => {
                let (id, filters) = subscribe::unsubscribe(body, version)?;
                hear(Incoming::Unsubscribe(Unsubscribe { id, token: 0, filters: &filters }));
            }
            PacketType::PingReq => {
                Reader::new(body).end()?;
                hear(Incoming::Ping);
            }
            PacketType::Disconnect => {
                let disconnect = small::disconnect(body, version, self.session_expiry_s)?;
                if self.phase == Phase::Authenticating {
                    return Err(Fault::GaveUp);
                }
                self.has_left = true;
                hear(Incoming::Disconnect(disconnect));
            }
            // [MQTT-3.1.0-2], [MQTT5-3.1.0-2]
            PacketType::Connect => return Err(Fault::SecondConnect),
            PacketType::Auth => return Err(Fault::NoAuthentication),
            PacketType::ConnAck
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp => return Err(Fault::NotForServers),
        }
        Ok(())
    }

    #[inline]
    fn publish(
        &mut self,
        first: u8,
        body: &[u8],
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<(), Fault> {
        let publish = publish::decode(first, body, self.version)?;
        connect::check_publication(&self.features, publish.qos, publish.retain)?;
        self.count_unanswered(publish.qos, publish.id)?;
        let topic = self.resolve(publish.topic, publish.alias)?;
        hear(Incoming::Publish(Publish {
            topic,
            payload: Payload::Borrowed(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            id: publish.id,
            token: 0,
            properties: publish.properties,
        }));
        Ok(())
    }

    /// Counts a message that will be answered, up to what was allowed [MQTT5-3.3.4-7]. Every one of
    /// QoS 1 is answered by a PUBACK of its own; one of QoS 2 that comes again before its PUBREL is
    /// still the same message. The count begins anew with each connection [MQTT5-4.9.0-1].
    #[inline]
    fn count_unanswered(&mut self, qos: QoS, id: PacketId) -> Result<(), Fault> {
        if self.version != Version::V5 || qos == QoS::AtMostOnce {
            return Ok(());
        }
        let is_full = self.unanswered >= self.receive_maximum;
        if qos == QoS::ExactlyOnce {
            let unreleased = &mut self.extras.get_or_insert_default().unreleased;
            if unreleased.contains(id) {
                return Ok(());
            }
            if !is_full {
                unreleased.insert(id);
            }
        }
        if is_full {
            return Err(Fault::ReceiveMaximum(self.receive_maximum));
        }
        self.unanswered += 1;
        Ok(())
    }

    /// The topic name that topic and alias together mean.
    #[inline]
    fn resolve<'a>(
        &'a mut self,
        topic: Option<TopicName<'a>>,
        alias: Option<u16>,
    ) -> Result<TopicName<'a>, Fault> {
        match (topic, alias) {
            (Some(topic), None) => Ok(topic),
            (None, None) => Err(Fault::TopicName(TopicError::Empty)),
            (_, Some(alias)) if alias > self.topic_alias_maximum => Err(Fault::AliasInvalid(alias)),
            (Some(topic), Some(alias)) => {
                let extras = self.extras.get_or_insert_default();
                extras.inbound.set(alias, topic, self.alias_bytes_max as usize)?;
                Ok(topic)
            }
            (None, Some(alias)) => match &self.extras {
                Some(extras) => extras.inbound.get(alias),
                None => Err(Fault::AliasUnknown(alias)),
            },
        }
    }

    /// Ends the connection because of something that the client sent [MQTT-4.8.0-1],
    /// [MQTT5-4.13.1-1], [MQTT5-3.1.4-1], and says so
    /// where it can be said: a client of 5.0 that has shown itself as one is told the reason, one
    /// of 3.1 or 3.1.1 only that its version, its identifier or its password is refused
    /// [MQTT-3.1.4-1].
    #[cold]
    pub fn reject(&mut self, settings: &Settings, violation: &Violation, out: &mut impl Sink) {
        let words = if self.wants_words { Words::about(violation) } else { Words::NONE };
        let reason = violation.reason();
        match (self.phase, self.version, violation.fault) {
            // Whatever version the client speaks, this is what it is most likely to understand.
            (Phase::New, _, Fault::ProtocolLevel(_)) => {
                answer::refuse_3(reason, out);
            }
            (_, _, Fault::GaveUp) => {}
            (Phase::Connecting, Version::V5, Fault::Elsewhere { .. }) => {
                let server = settings.redirect.as_ref().map_or("", |redirect| &redirect.server);
                answer::redirect(reason, server, self.outbound_bytes_max, out);
            }
            (Phase::Authenticating | Phase::Connecting, Version::V5, _) => {
                answer::refuse_5(reason, &words, self.outbound_bytes_max, out);
            }
            (Phase::Connected, Version::V5, _) => {
                answer::disconnect(reason, &words, self.outbound_bytes_max, out);
            }
            (
                Phase::Connecting,
                Version::V31 | Version::V311,
                Fault::ClientIdEmpty
                | Fault::ClientIdTooLong { .. }
                | Fault::NotAuthenticated(_)
                | Fault::Elsewhere { .. },
            ) => {
                answer::refuse_3(reason, out);
            }
            (_, _, _) => {}
        }
        self.end();
    }
}

/// MQTT 5.0 wants a remaining length in its shortest form [MQTT5-1.5.5-1], the others do not care.
#[inline]
fn check_length(length: RemainingLength, version: Version) -> Result<(), Fault> {
    if length.is_shortest || version != Version::V5 { Ok(()) } else { Err(Fault::LongLength) }
}
