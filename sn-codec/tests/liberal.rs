//! What is read although it is odd, because devices send it or because the sender is owed an
//! answer.

mod support;

use sn_codec::v12::{
    Connect, Disconnect, MsgId, Packet, Publish, QoS, Register, Subscribe, TopicRef, TopicSelector,
    Unsubscribe, WillTopic, WillTopicUpd,
};
use support::{hex, long_form};

/// Reads `octets` as `expected` in both forms, whatever it would be written as.
#[track_caller]
fn check(octets: &str, expected: impl Into<Packet<'static>>) {
    let (octets, expected) = (hex(octets), expected.into());
    assert_eq!(Packet::decode(&octets), Ok(expected));
    assert_eq!(Packet::decode(&long_form(&octets)), Ok(expected), "in the long form");
}

// Flags.

/// Messages with flags (at offset 2), and the bits that mean something in each (section 5).
const FLAG_MASKS: &[(&str, u8)] = &[
    ("0A 04 00 01 00 3C 64 65 76 31", 0b0000_1100), // CONNECT: Will, CleanSession
    ("09 07 00 77 2F 64 65 76 31", 0b0111_0000),    // WILLTOPIC: QoS, Retain
    ("07 0C 00 00 01 00 00", 0b1111_0011),          // PUBLISH: DUP, QoS, Retain, TopicIdType
    ("07 12 00 00 01 78 79", 0b1110_0011),          // SUBSCRIBE: DUP, QoS, TopicIdType
    ("08 13 00 00 01 00 01 00", 0b0110_0000),       // SUBACK: QoS (SN-022)
    ("07 14 00 00 01 78 79", 0b0000_0011),          // UNSUBSCRIBE: TopicIdType
    ("09 1A 00 77 2F 64 65 76 31", 0b0111_0000),    // WILLTOPICUPD: QoS, Retain
];

#[test]
fn sn_022_flag_bits_without_a_meaning_are_ignored_and_sent_as_0() {
    for (octets, mask) in FLAG_MASKS {
        for flags in 0..=u8::MAX {
            let (mut noisy, mut clean) = (hex(octets), hex(octets));
            noisy[2] = flags;
            clean[2] = flags & mask;
            let packet = Packet::decode(&noisy).expect("any flags are read");
            assert_eq!(Packet::decode(&clean), Ok(packet), "{flags:08b} in {octets}");

            let mut out = vec![0; clean.len()];
            assert_eq!(packet.encode(&mut out), Ok(clean.len()));
            assert_eq!(out, clean, "{flags:08b}");
        }
    }
}

#[test]
fn flag_bits_with_a_meaning_each_make_a_difference() {
    for (octets, mask) in FLAG_MASKS {
        let plain = hex(octets);
        let expected = Packet::decode(&plain).expect("no flag set");
        for bit in (0..8).map(|shift| 1 << shift).filter(|bit| mask & bit != 0) {
            let mut octets = plain.clone();
            octets[2] = bit;
            assert_ne!(Packet::decode(&octets), Ok(expected), "{bit:08b} in {octets:02X?}");
        }
    }
}

// Reserved values that a gateway answers instead of dropping them (section 12).

#[test]
fn sn_008_the_reserved_topic_id_type_is_read_with_whatever_follows() {
    let subscribe = |topic| Subscribe { dup: false, qos: QoS::AtMostOnce, msg_id: MsgId(3), topic };
    check("07 12 03 00 03 00 05", subscribe(TopicSelector::Reserved(&[0, 5])));
    check("05 12 03 00 03", subscribe(TopicSelector::Reserved(b"")));
    check("08 12 03 00 03 61 2F 23", subscribe(TopicSelector::Reserved(b"a/#")));
    let topic = TopicSelector::Reserved(&[0, 5]);
    check("07 14 03 00 03 00 05", Unsubscribe { msg_id: MsgId(3), topic });
}

#[test]
fn sn_007_qos_minus_one_is_read_where_it_is_not_allowed() {
    let topic = TopicSelector::Predefined(5);
    let msg_id = MsgId(3);
    check("07 12 61 00 03 00 05", Subscribe { dup: false, qos: QoS::MinusOne, msg_id, topic });
    let octets = hex("09 07 60 77 2F 64 65 76 31");
    let Ok(Packet::WillTopic(WillTopic { target: Some(target) })) = Packet::decode(&octets) else {
        panic!("not a will topic");
    };
    assert_eq!(target.qos, QoS::MinusOne);
}

// Empty fields.

#[test]
fn sn_024_a_will_topic_of_flags_alone_reads_as_the_empty_one() {
    check("02 07", WillTopic { target: None });
    check("03 07 00", WillTopic { target: None });
    check("03 07 70", WillTopic { target: None });
    check("02 1A", WillTopicUpd { target: None });
    check("03 1A 30", WillTopicUpd { target: None });
}

#[test]
fn sn_055_an_empty_topic_name_is_read_to_be_refused() {
    let msg_id = MsgId(1);
    check("06 0A 00 00 00 01", Register { topic_id: 0, msg_id, topic_name: b"" });
    let topic = TopicSelector::Name(b"");
    check("05 12 20 00 01", Subscribe { dup: false, qos: QoS::AtLeastOnce, msg_id, topic });
    check("05 14 00 00 01", Unsubscribe { msg_id, topic });
}

#[test]
fn sn_005_a_client_id_of_any_size_is_read() {
    let octets = [b'd'; 65_525];
    for size in [0, 1, 23, 24, 80, 249, 250, 65_525] {
        let connect = Connect {
            will: false,
            clean_session: true,
            protocol_id: Connect::PROTOCOL_ID,
            keep_alive_s: 60,
            client_id: &octets[..size],
        };
        let mut out = vec![0; connect.encoded_len()];
        assert_eq!(connect.encode(&mut out), Ok(out.len()));
        assert_eq!(Packet::decode(&out), Ok(connect.into()), "{size}");
    }
}

#[test]
fn sn_013_text_that_is_not_utf_8_is_read_as_octets() {
    let msg_id = MsgId(1);
    check(
        "09 0A 00 00 00 01 FF 00 C3",
        Register { topic_id: 0, msg_id, topic_name: b"\xFF\0\xC3" },
    );
}

#[test]
fn a_sleep_of_0_seconds_is_not_a_plain_disconnect() {
    check("04 18 00 00", Disconnect { duration_s: Some(0) });
    check("02 18", Disconnect { duration_s: None });
}

// Message ids.

fn publish(qos: QoS, topic: TopicRef, msg_id: u16, data: &'static [u8]) -> Publish<'static> {
    Publish { dup: false, qos, retain: false, topic, msg_id: MsgId(msg_id), data }
}

#[test]
fn sn_018_a_message_id_without_a_meaning_is_read_as_none() {
    let topic = TopicRef::Predefined(5);
    check("09 0C 01 00 05 12 34 68 69", publish(QoS::AtMostOnce, topic, 0, b"hi"));
    check("09 0C 61 00 05 12 34 68 69", publish(QoS::MinusOne, topic, 0, b"hi"));
    check("09 0C 21 00 05 12 34 68 69", publish(QoS::AtLeastOnce, topic, 0x1234, b"hi"));
    check("09 0C 41 00 05 12 34 68 69", publish(QoS::ExactlyOnce, topic, 0x1234, b"hi"));
}

#[test]
fn sn_021_a_message_id_of_0_is_read_in_requests() {
    let topic = TopicRef::Normal(1);
    check("09 0C 20 00 01 00 00 68 69", publish(QoS::AtLeastOnce, topic, 0, b"hi"));
    let topic = TopicSelector::Name(b"a");
    check("06 14 00 00 00 61", Unsubscribe { msg_id: MsgId(0), topic });
}

// The extension of old senders: the topic name inside the payload.

#[test]
fn sn_068_a_name_inside_the_payload_is_found_only_where_it_can_be() {
    let inline = |octets: &str| match Packet::decode(&hex(octets)) {
        Ok(Packet::Publish(publish)) => {
            publish.inline_name().map(|(name, data)| (name.to_vec(), data.to_vec()))
        }
        other => panic!("not a PUBLISH: {other:?}"),
    };
    let found = Some((b"a/b/c".to_vec(), b"hi".to_vec()));
    assert_eq!(inline("0E 0C 60 00 05 00 00 61 2F 62 2F 63 68 69"), found);
    let bare = Some((b"a/b/c".to_vec(), vec![]));
    assert_eq!(inline("0C 0C 60 00 05 00 00 61 2F 62 2F 63"), bare, "an empty payload");
    assert_eq!(inline("0B 0C 60 00 05 00 00 61 2F 62 2F"), None, "the name does not fit");
    assert_eq!(inline("09 0C 60 00 00 00 00 68 69"), None, "the name is empty");
    assert_eq!(inline("0E 0C 61 00 05 00 00 61 2F 62 2F 63 68 69"), None, "a predefined id");
    assert_eq!(inline("0E 0C 20 00 05 00 01 61 2F 62 2F 63 68 69"), None, "another QoS");
}
