//! Every octet string of sections 2, 9 and 19 of the protocol reference, read as what it says it
//! is, and written again.

mod support;

use sn_codec::forward::Encapsulated;
use sn_codec::v12::{
    Advertise, Connack, Connect, Disconnect, GatewayId, GwInfo, MsgId, Packet, Pingreq, Pingresp,
    Puback, Pubcomp, Publish, Pubrec, Pubrel, QoS, Regack, Register, ReturnCode, SearchGw, Suback,
    Subscribe, TopicRef, TopicSelector, Unsuback, Unsubscribe, WillMsg, WillMsgReq, WillMsgResp,
    WillMsgUpd, WillTarget, WillTopic, WillTopicReq, WillTopicResp, WillTopicUpd,
};
use support::{hex, long_form};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce, MinusOne};
use ReturnCode::{Accepted, Congestion, InvalidTopicId, NotSupported};

/// Reads `octets` as `expected`, in the long form as well, and writes them again.
#[track_caller]
fn check(octets: &str, expected: impl Into<Packet<'static>>) {
    let (octets, expected) = (hex(octets), expected.into());
    assert_eq!(Packet::decode(&octets), Ok(expected));
    assert_eq!(Packet::decode(&long_form(&octets)), Ok(expected), "in the long form (SN-002)");
    assert_eq!(encode(expected), octets);
}

fn encode(packet: Packet<'_>) -> Vec<u8> {
    let mut out = vec![0; packet.encoded_len()];
    let written = packet.encode(&mut out);
    assert_eq!(written, Ok(out.len()), "{packet:?}");
    out
}

/// Reads `octets` as an envelope of the `node` around `inner`, and writes them again.
#[track_caller]
fn check_forwarded(octets: &str, radius: u8, node: &[u8], inner: impl Into<Packet<'static>>) {
    let octets = hex(octets);
    let decoded = Encapsulated::decode(&octets).expect("a well-formed envelope");
    assert_eq!((decoded.radius, decoded.node), (radius, node));
    assert_eq!(Packet::decode(decoded.inner), Ok(inner.into()));

    let mut out = vec![0; decoded.encoded_len()];
    assert_eq!(decoded.encode(&mut out), Ok(octets.len()));
    assert_eq!(out, octets);
}

// Shorthand for the messages that come up again and again.

fn connect(will: bool, clean_session: bool) -> Connect<'static> {
    Connect { will, clean_session, protocol_id: 1, keep_alive_s: 60, client_id: b"dev1" }
}

fn connack(return_code: ReturnCode) -> Connack {
    Connack { return_code }
}

fn register(topic_id: u16, msg_id: u16, topic_name: &'static [u8]) -> Register<'static> {
    Register { topic_id, msg_id: MsgId(msg_id), topic_name }
}

fn regack(topic_id: u16, msg_id: u16, return_code: ReturnCode) -> Regack {
    Regack { topic_id, msg_id: MsgId(msg_id), return_code }
}

fn publish(qos: QoS, topic: TopicRef, msg_id: u16, data: &'static [u8]) -> Publish<'static> {
    Publish { dup: false, qos, retain: false, topic, msg_id: MsgId(msg_id), data }
}

fn puback(topic_id: u16, msg_id: u16, return_code: ReturnCode) -> Puback {
    Puback { topic_id, msg_id: MsgId(msg_id), return_code }
}

fn pubrec(msg_id: u16) -> Pubrec {
    Pubrec { msg_id: MsgId(msg_id) }
}

fn pubrel(msg_id: u16) -> Pubrel {
    Pubrel { msg_id: MsgId(msg_id) }
}

fn pubcomp(msg_id: u16) -> Pubcomp {
    Pubcomp { msg_id: MsgId(msg_id) }
}

fn subscribe(qos: QoS, msg_id: u16, topic: TopicSelector<'static>) -> Subscribe<'static> {
    Subscribe { dup: false, qos, msg_id: MsgId(msg_id), topic }
}

fn suback(qos: QoS, topic_id: u16, msg_id: u16, return_code: ReturnCode) -> Suback {
    Suback { qos, topic_id, msg_id: MsgId(msg_id), return_code }
}

fn unsubscribe(msg_id: u16, topic: TopicSelector<'static>) -> Unsubscribe<'static> {
    Unsubscribe { msg_id: MsgId(msg_id), topic }
}

fn unsuback(msg_id: u16) -> Unsuback {
    Unsuback { msg_id: MsgId(msg_id) }
}

const PLAIN_PINGREQ: Pingreq<'_> = Pingreq { client_id: b"" };
const WAKING_PINGREQ: Pingreq<'_> = Pingreq { client_id: b"dev1" };
const PLAIN_DISCONNECT: Disconnect = Disconnect { duration_s: None };
const NAME: TopicSelector<'_> = TopicSelector::Name(b"a/b/c");
const RETAINED_WILL: Option<WillTarget<'_>> =
    Some(WillTarget { qos: AtLeastOnce, retain: true, topic_name: b"w/dev1" });

// Section 2: framing.

#[test]
fn sn_001_sn_002_a_small_message_is_read_in_both_forms_and_written_in_the_short_one() {
    assert_eq!(Packet::decode(&hex("02 17")), Ok(Pingresp.into()));
    assert_eq!(Packet::decode(&hex("01 00 04 17")), Ok(Pingresp.into()));
    assert_eq!(encode(Pingresp.into()), hex("02 17"));
}

#[test]
fn sn_001_sn_004_the_largest_short_message_and_the_smallest_long_one() {
    let letters = [b'A'; 249];
    let edges = [(248, "FF 0C 00 00 01 00 00 41 41"), (249, "01 01 02 0C 00 00 01 00 00 41 41")];
    for (size, front) in edges {
        let data = &letters[..size];
        let packet = Packet::Publish(Publish {
            dup: false,
            qos: AtMostOnce,
            retain: false,
            topic: TopicRef::Normal(1),
            msg_id: MsgId::NONE,
            data,
        });
        let octets = encode(packet);
        assert!(octets.starts_with(&hex(front)), "{octets:02X?}");
        assert!(octets.ends_with(data));
        assert_eq!(octets.len(), if size == 248 { 255 } else { 258 });
        assert_eq!(Packet::decode(&octets), Ok(packet));
    }
}

// Section 9: each message.

#[test]
fn section_9_1_advertise() {
    check("05 00 01 03 84", Advertise { gateway_id: GatewayId(1), duration_s: 900 });
}

#[test]
fn section_9_2_sn_010_searchgw() {
    check("03 01 01", SearchGw { radius: 1 });
    check("03 01 00", SearchGw { radius: 0 });
}

#[test]
fn section_9_3_sn_014_gwinfo_has_an_address_only_from_a_client() {
    check("03 02 01", GwInfo { gateway_id: GatewayId(1), address: b"" });
    let address = &[0xC0, 0x00, 0x02, 0x0A, 0x27, 0x10];
    check("09 02 01 C0 00 02 0A 27 10", GwInfo { gateway_id: GatewayId(1), address });
}

#[test]
fn section_9_4_connect() {
    check("0A 04 04 01 00 3C 64 65 76 31", connect(false, true));
    check("0A 04 00 01 00 3C 64 65 76 31", connect(false, false));
    check("0A 04 0C 01 00 3C 64 65 76 31", connect(true, true));
    check("0A 04 08 01 00 3C 64 65 76 31", connect(true, false));
}

#[test]
fn section_9_4_sn_009_connect_with_another_protocol_id_is_there_to_be_refused() {
    let other = Connect { protocol_id: 2, ..connect(false, false) };
    check("0A 04 00 02 00 3C 64 65 76 31", other);
}

#[test]
fn section_9_5_connack() {
    check("03 05 00", connack(Accepted));
    check("03 05 01", connack(Congestion));
    check("03 05 03", connack(NotSupported));
}

#[test]
fn section_9_6_to_9_9_sn_024_will_dialogue() {
    check("02 06", WillTopicReq);
    check("09 07 30 77 2F 64 65 76 31", WillTopic { target: RETAINED_WILL });
    check("02 07", WillTopic { target: None });
    check("02 08", WillMsgReq);
    check("06 09 67 6F 6E 65", WillMsg { message: b"gone" });
    check("02 09", WillMsg { message: b"" });
}

#[test]
fn section_9_10_sn_015_register() {
    check("0B 0A 00 00 00 01 61 2F 62 2F 63", register(0, 1, b"a/b/c"));
    check("0B 0A 00 01 01 01 61 2F 62 2F 63", register(1, 0x0101, b"a/b/c"));
}

#[test]
fn section_9_11_sn_016_sn_017_regack() {
    check("07 0B 00 01 00 01 00", regack(1, 1, Accepted));
    check("07 0B 00 00 00 01 03", regack(0, 1, NotSupported));
    check("07 0B 00 01 01 01 00", regack(1, 0x0101, Accepted));
    check("07 0B 00 01 01 01 03", regack(1, 0x0101, NotSupported));
}

#[test]
fn section_9_12_sn_006_sn_007_sn_018_publish() {
    use TopicRef::{Normal, Predefined, Short};
    let at_least_once = publish(AtLeastOnce, Normal(1), 1, b"hi");
    check("09 0C 00 00 01 00 00 68 69", publish(AtMostOnce, Normal(1), 0, b"hi"));
    check("09 0C 20 00 01 00 01 68 69", at_least_once);
    check("09 0C A0 00 01 00 01 68 69", Publish { dup: true, ..at_least_once });
    check("09 0C 40 00 01 00 02 68 69", publish(ExactlyOnce, Normal(1), 2, b"hi"));
    check("09 0C 21 00 05 00 01 68 69", publish(AtLeastOnce, Predefined(5), 1, b"hi"));
    check("09 0C 22 78 79 00 01 68 69", publish(AtLeastOnce, Short(*b"xy"), 1, b"hi"));
    check("09 0C 62 78 79 00 00 68 69", publish(MinusOne, Short(*b"xy"), 0, b"hi"));
    check("09 0C 61 00 05 00 00 68 69", publish(MinusOne, Predefined(5), 0, b"hi"));

    let empty = publish(AtMostOnce, Normal(1), 0, b"");
    check("07 0C 10 00 01 00 00", Publish { retain: true, ..empty });
    let delivery = publish(AtLeastOnce, Normal(1), 0x0101, b"hi");
    check("09 0C 30 00 01 01 01 68 69", Publish { retain: true, ..delivery });
}

#[test]
fn section_9_12_sn_008_publish_with_the_reserved_type_is_there_to_be_refused() {
    let reserved = TopicRef::Reserved([0x00, 0x01]);
    check("09 0C 23 00 01 00 01 68 69", publish(AtLeastOnce, reserved, 1, b"hi"));
}

#[test]
fn section_9_13_sn_019_sn_020_puback() {
    check("07 0D 00 01 00 01 00", puback(1, 1, Accepted));
    check("07 0D 78 79 00 01 00", puback(TopicRef::Short(*b"xy").raw(), 1, Accepted));
    check("07 0D 00 42 00 01 02", puback(0x0042, 1, InvalidTopicId));
    check("07 0D 00 42 00 00 02", puback(0x0042, 0, InvalidTopicId));
    check("07 0D 00 01 00 01 01", puback(1, 1, Congestion));
}

#[test]
fn section_9_14_pubrec_pubrel_pubcomp_have_numbers_of_their_own_order() {
    check("04 0F 00 02", pubrec(2));
    check("04 10 00 02", pubrel(2));
    check("04 0E 00 02", pubcomp(2));
}

#[test]
fn section_9_15_subscribe() {
    use TopicSelector::{Name, Predefined, Short};
    let by_name = subscribe(AtLeastOnce, 1, NAME);
    check("0A 12 20 00 01 61 2F 62 2F 63", by_name);
    check("08 12 00 00 02 61 2F 23", subscribe(AtMostOnce, 2, Name(b"a/#")));
    check("07 12 41 00 03 00 05", subscribe(ExactlyOnce, 3, Predefined(5)));
    check("07 12 02 00 04 78 79", subscribe(AtMostOnce, 4, Short(*b"xy")));
    check("0A 12 A0 00 01 61 2F 62 2F 63", Subscribe { dup: true, ..by_name });
}

#[test]
fn section_9_16_sn_022_sn_023_suback() {
    check("08 13 20 00 01 00 01 00", suback(AtLeastOnce, 1, 1, Accepted));
    check("08 13 00 00 00 00 02 00", suback(AtMostOnce, 0, 2, Accepted));
    check("08 13 40 00 05 00 03 00", suback(ExactlyOnce, 5, 3, Accepted));
    check("08 13 00 78 79 00 04 00", suback(AtMostOnce, 0x7879, 4, Accepted));
    check("08 13 00 00 00 00 01 01", suback(AtMostOnce, 0, 1, Congestion));
    check("08 13 00 00 09 00 03 02", suback(AtMostOnce, 9, 3, InvalidTopicId));
}

#[test]
fn section_9_17_9_18_sn_021_unsubscribe_and_unsuback() {
    check("0A 14 00 00 05 61 2F 62 2F 63", unsubscribe(5, NAME));
    check("07 14 01 00 06 00 05", unsubscribe(6, TopicSelector::Predefined(5)));
    check("07 14 02 00 07 78 79", unsubscribe(7, TopicSelector::Short(*b"xy")));
    check("04 15 00 05", unsuback(5));
}

#[test]
fn section_9_19_to_9_21_sn_025_ping_and_disconnect() {
    check("02 16", PLAIN_PINGREQ);
    check("06 16 64 65 76 31", WAKING_PINGREQ);
    check("02 17", Pingresp);
    check("02 18", PLAIN_DISCONNECT);
    check("04 18 01 2C", Disconnect { duration_s: Some(300) });
}

#[test]
fn section_9_22_to_9_25_sn_024_will_updates() {
    check("09 1A 30 77 2F 64 65 76 31", WillTopicUpd { target: RETAINED_WILL });
    check("02 1A", WillTopicUpd { target: None });
    check("03 1B 00", WillTopicResp { return_code: Accepted });
    check("06 1C 67 6F 6E 65", WillMsgUpd { message: b"gone" });
    check("03 1D 00", WillMsgResp { return_code: Accepted });
}

#[test]
fn section_9_26_sn_028_sn_029_forwarder_encapsulation() {
    check_forwarded("05 FE 00 4E 31 0A 04 04 01 00 3C 64 65 76 31", 0, b"N1", connect(false, true));
    check_forwarded("05 FE 00 4E 31 03 05 00", 0, b"N1", connack(Accepted));
    let advertise = Advertise { gateway_id: GatewayId(1), duration_s: 900 };
    check_forwarded("05 FE 02 4E 31 05 00 01 03 84", 2, b"N1", advertise);
    check_forwarded(
        "07 FE 00 00 00 00 07 09 0C 62 78 79 00 00 68 69",
        0,
        &[0, 0, 0, 7],
        publish(MinusOne, TopicRef::Short(*b"xy"), 0, b"hi"),
    );
}

// Section 19: whole conversations, line by line.

#[test]
fn section_19_1_clean_connect_register_publish_ping_disconnect() {
    check("0A 04 04 01 00 3C 64 65 76 31", connect(false, true));
    check("03 05 00", connack(Accepted));
    check("0B 0A 00 00 00 01 61 2F 62 2F 63", register(0, 1, b"a/b/c"));
    check("07 0B 00 01 00 01 00", regack(1, 1, Accepted));
    check("09 0C 20 00 01 00 02 68 69", publish(AtLeastOnce, TopicRef::Normal(1), 2, b"hi"));
    check("07 0D 00 01 00 02 00", puback(1, 2, Accepted));
    check("02 16", PLAIN_PINGREQ);
    check("02 17", Pingresp);
    check("02 18", PLAIN_DISCONNECT);
}

#[test]
fn section_19_2_will_set_changed_deleted() {
    check("0A 04 0C 01 00 3C 64 65 76 31", connect(true, true));
    check("02 06", WillTopicReq);
    check("09 07 30 77 2F 64 65 76 31", WillTopic { target: RETAINED_WILL });
    check("02 08", WillMsgReq);
    check("06 09 67 6F 6E 65", WillMsg { message: b"gone" });
    check("05 1C 62 79 65", WillMsgUpd { message: b"bye" });
    check("03 1D 00", WillMsgResp { return_code: Accepted });
    check("02 1A", WillTopicUpd { target: None });
    check("03 1B 00", WillTopicResp { return_code: Accepted });

    check("0A 04 08 01 00 3C 64 65 76 31", connect(true, false));
    check("02 07", WillTopic { target: None });
}

#[test]
fn section_19_3_qos_2_with_a_lost_pubrec() {
    let first = publish(ExactlyOnce, TopicRef::Normal(1), 3, b"hi");
    check("09 0C 40 00 01 00 03 68 69", first);
    check("04 0F 00 03", pubrec(3));
    check("09 0C C0 00 01 00 03 68 69", Publish { dup: true, ..first });
    check("04 10 00 03", pubrel(3));
    check("04 0E 00 03", pubcomp(3));
}

#[test]
fn section_19_4_subscribe_by_name_retained_message_qos_2_delivery() {
    check("0A 12 40 00 04 61 2F 62 2F 63", subscribe(ExactlyOnce, 4, NAME));
    check("08 13 40 00 01 00 04 00", suback(ExactlyOnce, 1, 4, Accepted));
    let old = publish(AtLeastOnce, TopicRef::Normal(1), 0x0101, b"old");
    check("0A 0C 30 00 01 01 01 6F 6C 64", Publish { retain: true, ..old });
    check("07 0D 00 01 01 01 00", puback(1, 0x0101, Accepted));
    let new = publish(ExactlyOnce, TopicRef::Normal(1), 0x0102, b"new");
    check("0A 0C 40 00 01 01 02 6E 65 77", new);
    check("04 0F 01 02", pubrec(0x0102));
    check("04 10 01 02", pubrel(0x0102));
    check("04 0E 01 02", pubcomp(0x0102));
    check("0A 14 00 00 05 61 2F 62 2F 63", unsubscribe(5, NAME));
    check("04 15 00 05", unsuback(5));
}

#[test]
fn section_19_5_wildcard_subscription() {
    check("08 12 20 00 06 61 2F 23", subscribe(AtLeastOnce, 6, TopicSelector::Name(b"a/#")));
    check("08 13 20 00 00 00 06 00", suback(AtLeastOnce, 0, 6, Accepted));
    check("09 0A 00 02 01 03 61 2F 78", register(2, 0x0103, b"a/x"));
    check("07 0B 00 02 01 03 00", regack(2, 0x0103, Accepted));
    check("08 0C 20 00 02 01 04 31", publish(AtLeastOnce, TopicRef::Normal(2), 0x0104, b"1"));
    check("07 0D 00 02 01 04 00", puback(2, 0x0104, Accepted));
    check("09 0A 00 03 01 05 61 2F 79", register(3, 0x0105, b"a/y"));
    check("07 0B 00 03 01 05 03", regack(3, 0x0105, NotSupported));
}

#[test]
fn section_19_6_ids_unknown_to_the_receiver() {
    check("09 0C 20 00 42 00 07 68 69", publish(AtLeastOnce, TopicRef::Normal(0x42), 7, b"hi"));
    check("07 0D 00 42 00 07 02", puback(0x0042, 7, InvalidTopicId));
    check("0B 0A 00 00 00 08 61 2F 62 2F 63", register(0, 8, b"a/b/c"));
    check("07 0B 00 01 00 08 00", regack(1, 8, Accepted));
    check("09 0C 20 00 01 00 09 68 69", publish(AtLeastOnce, TopicRef::Normal(1), 9, b"hi"));
    check("07 0D 00 01 00 09 00", puback(1, 9, Accepted));

    check("08 0C 20 00 02 01 06 32", publish(AtLeastOnce, TopicRef::Normal(2), 0x0106, b"2"));
    check("07 0D 00 02 01 06 02", puback(2, 0x0106, InvalidTopicId));
    check("09 0A 00 02 01 07 61 2F 78", register(2, 0x0107, b"a/x"));
    check("07 0B 00 02 01 07 00", regack(2, 0x0107, Accepted));
    check("08 0C 20 00 02 01 08 32", publish(AtLeastOnce, TopicRef::Normal(2), 0x0108, b"2"));
    check("07 0D 00 02 01 08 00", puback(2, 0x0108, Accepted));
}

#[test]
fn section_19_7_sleep_cycle() {
    check("04 18 01 2C", Disconnect { duration_s: Some(300) });
    check("02 18", PLAIN_DISCONNECT);
    check("06 16 64 65 76 31", WAKING_PINGREQ);
    check("08 0C 20 00 02 01 09 33", publish(AtLeastOnce, TopicRef::Normal(2), 0x0109, b"3"));
    check("07 0D 00 02 01 09 00", puback(2, 0x0109, Accepted));
    check("09 0A 00 04 01 0A 61 2F 7A", register(4, 0x010A, b"a/z"));
    check("07 0B 00 04 01 0A 00", regack(4, 0x010A, Accepted));
    check("08 0C 00 00 04 00 00 34", publish(AtMostOnce, TopicRef::Normal(4), 0, b"4"));
    check("02 17", Pingresp);
    check("04 18 02 58", Disconnect { duration_s: Some(600) });
    check("0A 04 00 01 00 3C 64 65 76 31", connect(false, false));
    check("03 05 00", connack(Accepted));
}

#[test]
fn section_19_8_predefined_ids_short_names_qos_minus_one() {
    use TopicRef::{Predefined, Short};
    check("07 12 21 00 0A 00 05", subscribe(AtLeastOnce, 0x0A, TopicSelector::Predefined(5)));
    check("08 13 20 00 05 00 0A 00", suback(AtLeastOnce, 5, 0x0A, Accepted));
    check("09 0C 21 00 05 01 0B 68 69", publish(AtLeastOnce, Predefined(5), 0x010B, b"hi"));
    check("07 0D 00 05 01 0B 00", puback(5, 0x010B, Accepted));
    check("07 12 02 00 0B 78 79", subscribe(AtMostOnce, 0x0B, TopicSelector::Short(*b"xy")));
    check("08 13 00 78 79 00 0B 00", suback(AtMostOnce, 0x7879, 0x0B, Accepted));
    check("09 0C 02 78 79 00 00 68 69", publish(AtMostOnce, Short(*b"xy"), 0, b"hi"));
    check("09 0C 61 00 05 00 00 68 69", publish(MinusOne, Predefined(5), 0, b"hi"));
    check("09 0C 62 78 79 00 00 68 69", publish(MinusOne, Short(*b"xy"), 0, b"hi"));
    check("09 0C 21 00 09 00 0C 68 69", publish(AtLeastOnce, Predefined(9), 0x0C, b"hi"));
    check("07 0D 00 09 00 0C 02", puback(9, 0x0C, InvalidTopicId));
}

#[test]
fn section_19_9_through_a_forwarder() {
    check_forwarded("05 FE 00 4E 31 0A 04 04 01 00 3C 64 65 76 31", 0, b"N1", connect(false, true));
    check_forwarded("05 FE 00 4E 31 03 05 00", 0, b"N1", connack(Accepted));
    check_forwarded(
        "05 FE 00 4E 31 0A 12 20 00 01 61 2F 62 2F 63",
        0,
        b"N1",
        subscribe(AtLeastOnce, 1, NAME),
    );
    check_forwarded(
        "05 FE 00 4E 31 08 13 20 00 01 00 01 00",
        0,
        b"N1",
        suback(AtLeastOnce, 1, 1, Accepted),
    );
}

#[test]
fn section_19_10_discovery() {
    check("03 01 00", SearchGw { radius: 0 });
    check("03 02 01", GwInfo { gateway_id: GatewayId(1), address: b"" });
    check("05 00 01 03 84", Advertise { gateway_id: GatewayId(1), duration_s: 900 });
}

#[test]
fn section_19_11_gateway_was_restarted() {
    check("09 0C 20 00 01 00 0D 68 69", publish(AtLeastOnce, TopicRef::Normal(1), 0x0D, b"hi"));
    check("02 18", PLAIN_DISCONNECT);
    check("0A 04 00 01 00 3C 64 65 76 31", connect(false, false));
    check("03 05 00", connack(Accepted));
}
