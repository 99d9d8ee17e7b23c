//! Deliberate faults in what MQTT 3.1 and 5.0 have of their own.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most faults have nothing to do with most messages"
)]

use broker_core::api::{
    ConnectWill, Credit, Dialect, Incoming, RetainHandling, Subscribe, SubscribeRequest,
};
use broker_core::topic::TopicFilter;

use super::book::Book;
use super::ledger::five::identifier;
use super::plant::Fault;
use super::wire::{self, MqttPublish, Version, mqtt, string};
use super::wire5::{Properties, Writer};

/// Hands a request of a client to the machine, otherwise than it was said.
pub(crate) fn hear(fault: Option<Fault>, incoming: Incoming<'_>, hand: impl FnOnce(Incoming<'_>)) {
    let Some(fault) = fault else { return hand(incoming) };
    match incoming {
        Incoming::Connect(mut connect) if connect.dialect == Dialect::Mqtt5 => {
            let expiry_s = connect.session_expiry_s;
            match (fault, &mut connect.will) {
                (Fault::IgnoreWillDelay, ConnectWill::Set(will)) => will.delay_s = 0,
                (Fault::ForgetSessionExpiry, _) => connect.session_expiry_s = 0,
                (Fault::IgnoreSessionExpiry, _) if expiry_s > 0 => {
                    connect.session_expiry_s = u32::MAX;
                }
                _ => {}
            }
            if let (Fault::ExceedReceiveMaximum, Credit::Window(window)) = (fault, connect.credit) {
                connect.credit = Credit::Window(window + 1);
            }
            hand(Incoming::Connect(connect));
        }
        Incoming::Subscribe(subscribe) => {
            let requests = subscribe.requests.iter();
            let requests: Vec<_> = requests.map(|request| change(fault, *request)).collect();
            hand(Incoming::Subscribe(Subscribe { requests: &requests, ..subscribe }));
        }
        other => hand(other),
    }
}

fn change(fault: Fault, mut request: SubscribeRequest<'_>) -> SubscribeRequest<'_> {
    let options = &mut request.options;
    match (fault, request.filter.share()) {
        (Fault::LoseRetainAsPublished, _) => options.retain_as_published = false,
        (Fault::IgnoreNoLocal, _) => options.no_local = false,
        (Fault::IgnoreRetainHandling, _) => options.retain_handling = RetainHandling::Always,
        (Fault::ShareWithTwo, Some((_, filter))) => request.filter = filter,
        (Fault::LoseShared, Some(_)) => {
            request.filter = TopicFilter::new("$share/workers/nowhere").expect("a good filter");
        }
        _ => {}
    }
    request
}

/// What becomes of a packet on its way to a client, if a fault is about that.
pub(crate) fn say(
    fault: Fault,
    version: Version,
    whole: &[u8],
    body: &[u8],
    book: &Book,
    strikes: &mut dyn FnMut() -> bool,
) -> Option<Vec<u8>> {
    let first = whole[0];
    let kind = first >> 4;
    if version == Version::V31 && kind == mqtt::CONNACK && fault == Fault::SessionPresentIn31 {
        return Some(wire::packet(first, &[&[1], &body[1..]]));
    }
    if !version.is_5() {
        return None;
    }
    match (fault, kind) {
        (Fault::SilentTakeOver, mqtt::DISCONNECT) => Some(Vec::new()),
        (Fault::LoseServerProperty, mqtt::CONNACK) => {
            let (told, _) = Properties::read(&body[2..])?;
            let told = Properties { receive_maximum: None, ..told };
            Some(wire::packet(first, &[&body[..2], &encode(&told)]))
        }
        (Fault::NobodySubscribed, mqtt::PUBACK) if body.len() == 2 && strikes() => {
            Some(wire::packet(first, &[body, &[0x10]]))
        }
        (_, mqtt::PUBLISH) => {
            let publish = MqttPublish::read(version, first, body)?;
            let published = book.read(publish.data).and_then(|it| book.extras(it).expiry_s);
            publish_otherwise(fault, publish, published, strikes)
        }
        _ => None,
    }
}

fn publish_otherwise(
    fault: Fault,
    mut publish: MqttPublish<'_>,
    published_s: Option<u32>,
    strikes: &mut dyn FnMut() -> bool,
) -> Option<Vec<u8>> {
    let MqttPublish { properties, topic, .. } = &mut publish;
    match fault {
        Fault::ForgetExpiry if properties.message_expiry_s.is_some() => {
            properties.message_expiry_s = None;
        }
        Fault::FreshExpiry if properties.message_expiry_s.is_some() => {
            properties.message_expiry_s = published_s;
        }
        Fault::NamelessAlias if properties.alias.is_some() => *topic = &[],
        Fault::WrongAlias if topic.is_empty() && strikes() => {
            properties.alias = properties.alias.map(|alias| if alias == 1 { 2 } else { 1 });
        }
        Fault::LoseUserProperty if !properties.user.is_empty() => {
            properties.user.pop();
        }
        Fault::LoseResponseTopic if properties.response_topic.is_some() => {
            properties.response_topic = None;
        }
        Fault::WrongIdentifier if !properties.identifiers.is_empty() => {
            properties.identifiers[0] += identifier(1) - identifier(0);
        }
        Fault::LoseIdentifier if !properties.identifiers.is_empty() => {
            properties.identifiers.pop();
        }
        _ => return None,
    }
    let MqttPublish { first, topic, id, properties, data } = &publish;
    let id = id.to_be_bytes();
    let id = if publish.qos() > 0 { id.as_slice() } else { &[] };
    Some(wire::packet(*first, &[&string(topic), id, &encode(properties), data]))
}

fn encode(properties: &Properties<'_>) -> Vec<u8> {
    let mut writer = Writer::default();
    let octets = [(0x01, properties.format)];
    octets.iter().for_each(|(id, value)| value.iter().for_each(|it| writer.u8(*id, *it)));
    let shorts = [
        (0x13, properties.server_keep_alive_s),
        (0x21, properties.receive_maximum),
        (0x22, properties.alias_maximum),
        (0x23, properties.alias),
    ];
    shorts.iter().for_each(|(id, value)| value.iter().for_each(|it| writer.u16(*id, *it)));
    let numbers = [
        (0x02, properties.message_expiry_s),
        (0x11, properties.session_expiry_s),
        (0x27, properties.packet_maximum),
    ];
    numbers.iter().for_each(|(id, value)| value.iter().for_each(|it| writer.u32(*id, *it)));
    let texts = [
        (0x03, properties.content_type),
        (0x08, properties.response_topic),
        (0x09, properties.correlation),
    ];
    texts.iter().for_each(|(id, value)| value.iter().for_each(|it| writer.binary(*id, it)));
    properties.identifiers.iter().for_each(|id| writer.variable(0x0B, *id));
    properties.user.iter().for_each(|(key, value)| writer.pair(0x26, key, value));
    writer.finish()
}
