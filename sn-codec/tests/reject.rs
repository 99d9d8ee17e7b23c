//! What is no message is refused with the reason and the place: every truncation, every wrong
//! length, every reserved type (section 2 of the protocol reference), and on the way out everything
//! that must never be sent.

mod support;

use sn_codec::forward::{self, Encapsulated};
use sn_codec::v12::{
    MsgId, MsgType, Packet, Pingreq, Pingresp, Publish, QoS, TopicRef, WillTarget, WillTopic,
    WillTopicUpd,
};
use sn_codec::{DecodeError, EncodeError, Kind};
use support::{hex, long_form};

/// One of each message, and one of each form of those that have several.
const SAMPLES: &[&str] = &[
    "05 00 01 03 84",
    "03 01 01",
    "03 02 01",
    "09 02 01 C0 00 02 0A 27 10",
    "0A 04 04 01 00 3C 64 65 76 31",
    "03 05 00",
    "02 06",
    "02 07",
    "09 07 30 77 2F 64 65 76 31",
    "02 08",
    "06 09 67 6F 6E 65",
    "0B 0A 00 00 00 01 61 2F 62 2F 63",
    "07 0B 00 01 00 01 00",
    "09 0C 20 00 01 00 01 68 69",
    "07 0D 00 01 00 01 00",
    "04 0E 00 02",
    "04 0F 00 02",
    "04 10 00 02",
    "0A 12 20 00 01 61 2F 62 2F 63",
    "07 12 41 00 03 00 05",
    "07 12 02 00 04 78 79",
    "08 13 20 00 01 00 01 00",
    "0A 14 00 00 05 61 2F 62 2F 63",
    "07 14 01 00 06 00 05",
    "07 14 02 00 07 78 79",
    "04 15 00 05",
    "02 16",
    "06 16 64 65 76 31",
    "02 17",
    "02 18",
    "04 18 01 2C",
    "02 1A",
    "09 1A 30 77 2F 64 65 76 31",
    "03 1B 00",
    "06 1C 67 6F 6E 65",
    "03 1D 00",
];

const LONG_FORM: u8 = 0x01;

fn samples() -> impl Iterator<Item = Vec<u8>> {
    SAMPLES.iter().map(|octets| hex(octets))
}

fn error(at: usize, kind: Kind) -> DecodeError {
    DecodeError { at, kind }
}

#[track_caller]
fn check(octets: &[u8], at: usize, kind: Kind) {
    assert_eq!(Packet::decode(octets), Err(error(at, kind)), "{octets:02X?}");
}

#[test]
fn the_samples_are_one_of_each_message_and_well_formed() {
    let mut types: Vec<u8> = samples().map(|octets| octets[1]).collect();
    for octets in samples() {
        assert!(Packet::decode(&octets).is_ok(), "{octets:02X?}");
    }
    types.dedup();
    let packets = MsgType::ALL.iter().filter(|msg_type| **msg_type != MsgType::Encapsulated);
    assert_eq!(types, packets.map(|msg_type| msg_type.octet()).collect::<Vec<u8>>());
}

// Lengths.

#[test]
fn sn_001_a_datagram_cut_anywhere_is_refused() {
    for whole in samples() {
        check(&[], 0, Kind::Empty);
        for actual in 1..whole.len() {
            let kind = Kind::BadLength { declared: whole.len(), actual };
            check(&whole[..actual], 0, kind);
        }
    }
}

#[test]
fn sn_001_a_long_form_datagram_cut_anywhere_is_refused() {
    for whole in samples().map(|octets| long_form(&octets)) {
        check(&whole[..1], 1, Kind::TooShort { needed: 2, actual: 0 });
        check(&whole[..2], 1, Kind::TooShort { needed: 2, actual: 1 });
        for actual in 3..whole.len() {
            let kind = Kind::BadLength { declared: whole.len(), actual };
            check(&whole[..actual], 1, kind);
        }
    }
}

#[test]
fn sn_001_every_wrong_length_octet_is_refused() {
    for mut octets in samples() {
        let actual = octets.len();
        for declared in (0..=u8::MAX).filter(|length| usize::from(*length) != actual) {
            octets[0] = declared;
            if declared == LONG_FORM {
                assert!(Packet::decode(&octets).is_err(), "{octets:02X?}");
            } else {
                check(&octets, 0, Kind::BadLength { declared: usize::from(declared), actual });
            }
        }
    }
}

#[test]
fn sn_001_sn_004_every_wrong_long_length_is_refused() {
    for mut octets in samples().map(|octets| long_form(&octets)) {
        let actual = octets.len();
        for declared in (0..=u16::MAX).filter(|length| usize::from(*length) != actual) {
            octets[1..3].copy_from_slice(&declared.to_be_bytes());
            check(&octets, 1, Kind::BadLength { declared: usize::from(declared), actual });
        }
    }
}

#[test]
fn sn_001_octets_behind_a_message_are_refused_even_if_they_are_another_message() {
    for first in samples() {
        for second in samples().chain([vec![0x00]]) {
            let both = [&first[..], &second].concat();
            let (declared, actual) = (first.len(), both.len());
            check(&both, 0, Kind::BadLength { declared, actual });
        }
    }
}

#[test]
fn sn_001_a_frame_without_room_for_its_header_is_refused() {
    check(&[], 0, Kind::Empty);
    check(&hex("00"), 0, Kind::BadLength { declared: 0, actual: 1 });
    check(&hex("02"), 0, Kind::BadLength { declared: 2, actual: 1 });
    check(&hex("00 17"), 0, Kind::BadLength { declared: 0, actual: 2 });
    check(&hex("00 00"), 0, Kind::BadLength { declared: 0, actual: 2 });
    check(&hex("01"), 1, Kind::TooShort { needed: 2, actual: 0 });
    check(&hex("01 00"), 1, Kind::TooShort { needed: 2, actual: 1 });
    check(&hex("01 17"), 1, Kind::TooShort { needed: 2, actual: 1 });
    for declared in 0..=3 {
        check(&[1, 0, declared], 1, Kind::BadLength { declared: declared.into(), actual: 3 });
        check(&[1, 0, declared, 0x17], 1, Kind::BadLength { declared: declared.into(), actual: 4 });
    }
    check(&hex("01 18 18"), 1, Kind::BadLength { declared: 0x1818, actual: 3 });
}

#[test]
fn sn_001_no_datagram_is_longer_than_its_length_can_say() {
    let mut octets = vec![0; 65_536];
    octets[..4].copy_from_slice(&hex("01 FF FF 0C"));
    check(&octets, 1, Kind::BadLength { declared: 65_535, actual: 65_536 });
    assert!(Packet::decode(&octets[..65_535]).is_ok());
}

// Sizes.

/// The smallest and the largest body of a message, by the layout tables of section 9. `flags`
/// counts where the layout depends on it.
fn body_sizes(msg_type: MsgType, flags: u8) -> (usize, usize) {
    const ANY: usize = usize::MAX;
    let by_topic_id_type = if matches!(flags & 0b11, 0b01 | 0b10) { (5, 5) } else { (3, ANY) };
    match msg_type {
        MsgType::Advertise => (3, 3),
        MsgType::SearchGw => (1, 1),
        MsgType::GwInfo => (1, ANY),
        MsgType::Connect | MsgType::Register => (4, ANY),
        MsgType::Connack | MsgType::WillTopicResp | MsgType::WillMsgResp => (1, 1),
        MsgType::WillTopicReq | MsgType::WillMsgReq | MsgType::Pingresp => (0, 0),
        MsgType::WillTopic | MsgType::WillMsg | MsgType::Pingreq => (0, ANY),
        MsgType::WillTopicUpd | MsgType::WillMsgUpd => (0, ANY),
        MsgType::Regack | MsgType::Puback => (5, 5),
        MsgType::Publish => (5, ANY),
        MsgType::Pubcomp | MsgType::Pubrec | MsgType::Pubrel | MsgType::Unsuback => (2, 2),
        MsgType::Subscribe | MsgType::Unsubscribe => by_topic_id_type,
        MsgType::Suback => (6, 6),
        MsgType::Disconnect => (0, 2),
        MsgType::Encapsulated => unreachable!("not a packet"),
    }
}

#[test]
fn every_message_is_refused_at_every_size_it_cannot_have() {
    for msg_type in MsgType::ALL.iter().copied().filter(|it| *it != MsgType::Encapsulated) {
        for flags in 0b00..=0b11 {
            for size in 0..12_u8 {
                let mut short = vec![size + 2, msg_type.octet()];
                short.extend([flags].into_iter().chain([0; 12]).take(size.into()));
                check_size(msg_type, flags, size.into(), &short, 2);
                check_size(msg_type, flags, size.into(), &long_form(&short), 4);
            }
        }
    }
}

fn check_size(msg_type: MsgType, flags: u8, size: usize, octets: &[u8], header: usize) {
    let (least, most) = body_sizes(msg_type, flags);
    let decoded = Packet::decode(octets);
    if size > most {
        check(octets, header + most, Kind::TrailingOctets { count: size - most });
    } else if size < least || (msg_type == MsgType::Disconnect && size == 1) {
        let DecodeError { at, kind } = decoded.expect_err("too small");
        let Kind::TooShort { needed, actual } = kind else { panic!("{octets:02X?}: {kind:?}") };
        assert!(at >= header && needed > actual, "{octets:02X?}: {at}");
        assert_eq!(at + actual, octets.len(), "the field runs into the end: {octets:02X?}");
    } else {
        assert_eq!(decoded.map(|packet| packet.msg_type()), Ok(msg_type), "{octets:02X?}");
    }
}

#[test]
fn a_field_that_is_cut_is_named_by_its_offset() {
    let cut = |needed, actual| Kind::TooShort { needed, actual };
    check(&hex("02 04"), 2, cut(1, 0)); // CONNECT: Flags
    check(&hex("03 04 04"), 3, cut(1, 0)); // ProtocolId
    check(&hex("05 04 04 01 00"), 4, cut(2, 1)); // Duration
    check(&hex("01 00 07 04 04 01 00"), 6, cut(2, 1)); // the same in the long form
    check(&hex("04 0C 20 00"), 3, cut(2, 1)); // PUBLISH: TopicId
    check(&hex("06 0C 20 00 01 00"), 5, cut(2, 1)); // MsgId
    check(&hex("04 12 20 00"), 3, cut(2, 1)); // SUBSCRIBE: MsgId
    check(&hex("06 12 41 00 03 00"), 5, cut(2, 1)); // predefined TopicId
    check(&hex("06 14 02 00 03 78"), 5, cut(2, 1)); // UNSUBSCRIBE: short name
    check(&hex("07 13 20 00 01 00 01"), 7, cut(1, 0)); // SUBACK: ReturnCode
    check(&hex("03 18 01"), 2, cut(2, 1)); // DISCONNECT: Duration
}

#[test]
fn octets_too_many_are_named_by_the_offset_of_the_first() {
    let extra = |count| Kind::TrailingOctets { count };
    check(&hex("04 1B 00 00"), 3, extra(1)); // WILLTOPICRESP as a well-known broker sends it
    check(&hex("06 1B 00 00 00 00"), 3, extra(3));
    check(&hex("01 00 06 1B 00 00"), 5, extra(1)); // the same in the long form
    check(&hex("08 12 41 00 03 00 05 06"), 7, extra(1)); // SUBSCRIBE, predefined
    check(&hex("08 14 02 00 04 78 79 7A"), 7, extra(1)); // UNSUBSCRIBE, short name
    check(&hex("05 18 01 2C 00"), 4, extra(1)); // DISCONNECT
    check(&hex("03 17 00"), 2, extra(1)); // PINGRESP
}

// Types.

#[test]
fn sn_003_every_reserved_type_is_refused_in_both_forms() {
    let reserved = (0..=u8::MAX).filter(|octet| match octet {
        0x03 | 0x11 | 0x19 | 0xFF => true,
        _ => (0x1E..=0xFD).contains(octet),
    });
    let mut count = 0;
    for octet in reserved {
        for size in [2_u8, 3, 8] {
            let mut short = vec![0x00; size.into()];
            short[..2].copy_from_slice(&[size, octet]);
            check(&short, 1, Kind::ReservedType(octet));
            check(&long_form(&short), 3, Kind::ReservedType(octet));
        }
        count += 1;
    }
    assert_eq!(count, 256 - 27 - 1, "27 messages and the envelope are not reserved");
}

#[test]
fn a_wrong_length_is_told_before_a_reserved_type() {
    check(&hex("04 03 00"), 0, Kind::BadLength { declared: 4, actual: 3 });
}

// Encapsulation.

#[test]
fn sn_029_an_envelope_is_not_taken_for_a_packet() {
    check(&hex("05 FE 00 4E 31 02 16"), 1, Kind::Encapsulation);
    check(&hex("04 FE 00 4E"), 1, Kind::Encapsulation);
    check(&hex("02 FE"), 1, Kind::Encapsulation);
    assert!(forward::is_encapsulated(&hex("02 FE")));
}

#[test]
fn sn_029_an_envelope_has_no_long_form() {
    let long = hex("01 00 07 FE 00 4E 31");
    check(&long, 3, Kind::ReservedType(0xFE));
    assert_eq!(Encapsulated::decode(&long), Err(error(0, Kind::NotEncapsulation)));
    // A long message whose length happens to begin with 0xFE is none either.
    let mut plain = vec![0; 0xFE07];
    plain[..4].copy_from_slice(&hex("01 FE 07 0C"));
    assert!(!forward::is_encapsulated(&plain));
    assert!(Packet::decode(&plain).is_ok());
}

#[track_caller]
fn check_envelope(octets: &str, at: usize, kind: Kind) {
    assert_eq!(Encapsulated::decode(&hex(octets)), Err(error(at, kind)), "{octets}");
}

#[test]
fn sn_029_a_malformed_envelope_is_refused() {
    let length = |declared, actual| Kind::BadLength { declared, actual };
    check_envelope("", 0, Kind::NotEncapsulation);
    check_envelope("05", 0, Kind::NotEncapsulation);
    check_envelope("02 16", 0, Kind::NotEncapsulation);
    check_envelope("01 FE", 0, Kind::NotEncapsulation);
    check_envelope("04 FE", 0, Kind::TooShort { needed: 3, actual: 2 });
    check_envelope("00 FE 00 4E 02 16", 0, length(0, 6));
    check_envelope("02 FE 00 4E 02 16", 0, length(2, 6));
    check_envelope("03 FE 00 02 16", 3, Kind::EmptyNodeId);
    check_envelope("07 FE 00 4E 02 16", 0, length(7, 6));
    check_envelope("FF FE 00 4E 02 16", 0, length(255, 6));
    check_envelope("06 FE 00 4E 02 16", 6, Kind::Empty);
    check_envelope("04 FE 00 4E 04 FE 00 4F 02 16", 5, Kind::NestedEncapsulation);
}

#[test]
fn sn_029_an_envelope_cut_anywhere_yields_no_packet() {
    let whole = hex("05 FE 00 4E 31 09 0C 62 78 79 00 00 68 69");
    for size in 0..whole.len() {
        let inner = Encapsulated::decode(&whole[..size]).map(|it| Packet::decode(it.inner));
        assert!(!matches!(inner, Ok(Ok(_))), "{size}");
    }
}

#[test]
fn sn_028_the_message_inside_must_be_as_long_as_it_says() {
    let datagram = hex("05 FE 00 4E 31 02 16 00");
    let envelope = Encapsulated::decode(&datagram).expect("the envelope is well formed");
    check(envelope.inner, 0, Kind::BadLength { declared: 2, actual: 3 });
}

#[test]
fn sn_029_a_bad_envelope_is_not_built() {
    let inner = &hex("02 16")[..];
    let good = Encapsulated { radius: 3, node: &[7; forward::NODE_ID_MAX], inner };
    let refused = [
        (Encapsulated { node: b"", ..good }, EncodeError::BadNodeId { len: 0 }),
        (Encapsulated { node: &[7; 253], ..good }, EncodeError::BadNodeId { len: 253 }),
        (Encapsulated { radius: 4, ..good }, EncodeError::BadRadius(4)),
        (Encapsulated { inner: b"", ..good }, EncodeError::EmptyEncapsulation),
        (Encapsulated { inner: b"\x04\xFE", ..good }, EncodeError::NestedEncapsulation),
    ];
    let mut out = [0xAA; 512];
    for (envelope, expected) in refused {
        assert_eq!(envelope.encode(&mut out), Err(expected));
        assert_eq!(out, [0xAA; 512], "nothing is written");
    }
    assert_eq!(good.encode(&mut out[..256]), Err(EncodeError::BufferTooSmall { needed: 257 }));
    assert_eq!(good.encode(&mut out[..257]), Ok(257));
    assert_eq!(Encapsulated::decode(&out[..257]), Ok(good));
}

#[test]
fn sn_029_an_envelope_is_written_alone_as_it_is_around_a_message() {
    let inner = &hex("02 16")[..];
    let (mut whole, mut parts) = ([0; 8], [0; 8]);
    assert_eq!(Encapsulated { radius: 2, node: b"N1", inner }.encode(&mut whole), Ok(7));
    let head = forward::encode_header(2, b"N1", &mut parts).expect("it fits");
    assert_eq!(head, forward::header_len(b"N1"));
    assert_eq!(Pingreq { client_id: b"" }.encode(&mut parts[head..]), Ok(2));
    assert_eq!(whole, parts);

    let too_small = Err(EncodeError::BufferTooSmall { needed: 5 });
    assert_eq!(forward::encode_header(2, b"N1", &mut parts[..4]), too_small);
}

// What must never be built.

#[test]
fn sn_018_a_publish_without_acknowledgment_is_not_sent_with_a_message_id() {
    let acknowledged = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicRef::Short(*b"xy"),
        msg_id: MsgId(7),
        data: b"hi",
    };
    let mut out = [0xAA; 16];
    for qos in [QoS::AtMostOnce, QoS::MinusOne] {
        let publish = Publish { qos, ..acknowledged };
        assert_eq!(publish.encode(&mut out), Err(EncodeError::UnexpectedMsgId));
        assert_eq!(out, [0xAA; 16], "nothing is written");
        assert_eq!(Publish { msg_id: MsgId::NONE, ..publish }.encode(&mut out.clone()), Ok(9));
    }
    assert_eq!(acknowledged.encode(&mut out), Ok(9));
}

#[test]
fn sn_024_a_will_topic_without_a_name_is_not_sent() {
    let nameless = Some(WillTarget { qos: QoS::AtMostOnce, retain: false, topic_name: b"" });
    let mut out = [0xAA; 4];
    let refused = Err(EncodeError::EmptyWillTopic);
    assert_eq!(WillTopic { target: nameless }.encode(&mut out), refused);
    assert_eq!(WillTopicUpd { target: nameless }.encode(&mut out), refused);
    assert_eq!(out, [0xAA; 4], "nothing is written");
}

#[test]
fn sn_001_a_message_that_no_length_can_hold_is_not_sent() {
    let octets = vec![b'A'; 65_532];
    let mut out = vec![0; 70_000];
    let longest = Pingreq { client_id: &octets[..65_531] };
    assert_eq!(longest.encoded_len(), 65_535);
    assert_eq!(longest.encode(&mut out), Ok(65_535));
    assert_eq!(Packet::decode(&out[..65_535]), Ok(longest.into()));
    let longer = Pingreq { client_id: &octets };
    assert_eq!(longer.encode(&mut out), Err(EncodeError::TooLong { len: 65_536 }));
    assert_eq!(longer.encode(&mut []), Err(EncodeError::TooLong { len: 65_536 }));
}

#[test]
fn a_buffer_one_octet_too_small_is_left_alone_and_the_need_is_told() {
    for octets in samples() {
        let packet = Packet::decode(&octets).expect("a sample");
        for size in 0..octets.len() {
            let mut out = vec![0xAA; size];
            let needed = octets.len();
            assert_eq!(packet.encode(&mut out), Err(EncodeError::BufferTooSmall { needed }));
            assert_eq!(out, vec![0xAA; size], "nothing is written");
        }
    }
    let mut roomy = [0xAA; 4];
    assert_eq!(Pingresp.encode(&mut roomy), Ok(2));
    assert_eq!(roomy, [0x02, 0x17, 0xAA, 0xAA], "nothing is written behind the message");
}
