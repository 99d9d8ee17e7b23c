//! What a packet of an MQTT client says, read a second time by the standards alone and compared
//! with what the connection made of it.
//!
//! Only packets that were accepted come here, so whatever is missing or left over is a mistake of
//! the decoder.

use std::time::Duration;

use broker_core::api::{
    AckKind, Connect, ConnectWill, Dialect, Incoming, Publish, Subscribe, Will,
};

/// Compares a packet with what was heard of it, in a connection that serves everything.
///
/// # Panics
/// If they are not the same.
pub(super) fn check(dialect: Dialect, first: u8, body: &[u8], incoming: &Incoming<'_>) {
    let mut fields = Fields { rest: body, has_properties: dialect == Dialect::Mqtt5 };
    match (first >> 4, incoming) {
        (1, Incoming::Connect(connect)) => check_connect(&mut fields, connect),
        (3, Incoming::Publish(publish)) => check_publish(&mut fields, first, publish),
        (4..=7, Incoming::Ack(ack)) => {
            let kinds = [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];
            assert_eq!(kinds[usize::from(first >> 4) - 4], ack.kind);
            assert_eq!(fields.u16(), ack.id.0);
            assert!(ack.id.0 != 0);
            assert_eq!(fields.reason(), ack.reason as u8);
        }
        (8, Incoming::Subscribe(subscribe)) => check_subscribe(&mut fields, subscribe),
        (10, Incoming::Unsubscribe(unsubscribe)) => {
            assert_eq!(fields.u16(), unsubscribe.id.0);
            fields.properties();
            for filter in unsubscribe.filters {
                assert_eq!(fields.counted(), filter.as_str().as_bytes());
            }
        }
        (12, Incoming::Ping) => {}
        (14, Incoming::Disconnect(disconnect)) => {
            assert_eq!(fields.reason(), disconnect.reason as u8);
        }
        (kind, other) => panic!("a packet of type {kind} was heard as {other:?}"),
    }
    assert!(fields.rest.is_empty(), "{:02X?} is left over of {incoming:?}", fields.rest);
}

fn check_connect(fields: &mut Fields<'_>, connect: &Connect<'_>) {
    let name = fields.counted();
    let level = fields.u8();
    let dialect = match (name, level & 0x7F) {
        (b"MQIsdp", 3) => Dialect::Mqtt31,
        (b"MQTT", 4) => Dialect::Mqtt311,
        (b"MQTT", 5) => Dialect::Mqtt5,
        other => panic!("{other:02X?} is no protocol"),
    };
    assert_eq!(dialect, connect.dialect);
    fields.has_properties = dialect == Dialect::Mqtt5;
    let flags = fields.u8();
    let keep_alive = Duration::from_secs(u64::from(fields.u16()));
    let tolerated = (!keep_alive.is_zero()).then(|| keep_alive * 3 / 2);
    assert_eq!(tolerated, connect.keep_alive);
    fields.properties();
    assert_eq!(fields.counted(), connect.client_id.as_bytes());
    assert_eq!(flags & 2 != 0, connect.clean_start);
    match &connect.will {
        ConnectWill::Set(will) => check_will(fields, flags, will),
        ConnectWill::None => assert_eq!(flags & 4, 0),
        ConnectWill::Keep => panic!("MQTT has no such will"),
    }
    // A client of 3.1 may announce them and leave them out.
    let is_lax = dialect == Dialect::Mqtt31;
    for (flag, held) in [(0x80, connect.user_name.map(str::as_bytes)), (0x40, connect.password)] {
        let is_there = flags & flag != 0 && !(is_lax && fields.rest.is_empty());
        assert_eq!(is_there.then(|| fields.counted()), held);
    }
}

fn check_will(fields: &mut Fields<'_>, flags: u8, will: &Will<'_>) {
    assert!(flags & 4 != 0);
    assert_eq!((flags >> 3 & 3, flags & 0x20 != 0), (will.qos as u8, will.retain));
    fields.properties();
    assert_eq!(fields.counted(), will.topic.as_str().as_bytes());
    assert_eq!(fields.counted(), will.payload);
}

fn check_publish(fields: &mut Fields<'_>, first: u8, publish: &Publish<'_>) {
    let topic = fields.counted();
    // An empty one is an alias of another.
    assert!(topic.is_empty() || topic == publish.topic.as_str().as_bytes());
    assert!(!publish.topic.as_str().is_empty() && !publish.topic.as_str().contains(['+', '#']));
    assert_eq!(first >> 1 & 3, publish.qos as u8);
    assert_eq!((first & 8 != 0, first & 1 != 0), (publish.dup, publish.retain));
    let id = if first & 6 == 0 { 0 } else { fields.u16() };
    assert_eq!(id, publish.id.0);
    assert_eq!(id == 0, first & 6 == 0, "an id stands where one is needed");
    assert_eq!(fields.properties(), publish.properties.as_octets());
    assert_eq!(core::mem::take(&mut fields.rest), publish.payload.as_octets());
}

fn check_subscribe(fields: &mut Fields<'_>, subscribe: &Subscribe<'_>) {
    assert_eq!(fields.u16(), subscribe.id.0);
    fields.properties();
    for request in subscribe.requests {
        assert_eq!(fields.counted(), request.filter.as_str().as_bytes());
        let (octet, options) = (fields.u8(), request.options);
        assert_eq!(octet & 3, options.qos as u8);
        if fields.has_properties {
            let flags = (options.no_local, options.retain_as_published);
            assert_eq!((octet & 4 != 0, octet & 8 != 0), flags);
            assert_eq!(octet >> 4, options.retain_handling as u8);
        }
    }
}

/// Reads fields that have to be there.
struct Fields<'a> {
    rest: &'a [u8],
    has_properties: bool,
}

impl<'a> Fields<'a> {
    fn octets(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.octets(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    fn counted(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.octets(usize::from(len))
    }

    /// Properties, where the version has any.
    fn properties(&mut self) -> &'a [u8] {
        if !self.has_properties {
            return &[];
        }
        let (mut len, mut shift) = (0, 0);
        loop {
            let octet = self.u8();
            len |= usize::from(octet & 0x7F) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                return self.octets(len);
            }
        }
    }

    /// A reason code and properties, which may be left out from the end.
    fn reason(&mut self) -> u8 {
        if self.rest.is_empty() {
            return 0;
        }
        let reason = self.u8();
        if !self.rest.is_empty() {
            self.properties();
        }
        reason
    }
}
