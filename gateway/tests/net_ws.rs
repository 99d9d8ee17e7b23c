//! WebSocket without a socket: whatever pieces octets come in and go out by, they say the same.

use std::io::{self, Write};
use std::sync::Arc;

use mqtt_sn_gw::net::outbuf::{BlockPool, Flush, OutBuf};
use mqtt_sn_gw::net::ws::{
    CloseCode, End, HEAD_BYTES_MAX, Policy, Progress, Refusal, Violation, WebSocket,
};
use proptest::collection::vec;
use proptest::prelude::*;

const FRAME_BYTES_MAX: u64 = 100_000;

/// What a stream takes at once.
const ROOM_MAX: usize = 40_000;

/// The example of RFC 6455, section 1.3, for MQTT.
const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                      Sec-WebSocket-Protocol: mqtt\r\n\r\n";

fn new_with(origins: &[&str]) -> WebSocket {
    let origins = origins.iter().map(ToString::to_string).collect();
    WebSocket::new(Arc::new(Policy { origins, frame_bytes_max: FRAME_BYTES_MAX }))
}

/// A WebSocket after its handshake.
fn open() -> WebSocket {
    let mut ws = new_with(&[]);
    assert_eq!(ws.read(&mut REQUEST.as_bytes().to_vec()).opened, Some(Ok("mqtt")));
    assert_eq!(written(&mut ws), ANSWER.as_bytes());
    ws
}

/// Reads octets as one piece; returns the data in them.
fn read(ws: &mut WebSocket, octets: &[u8]) -> Vec<u8> {
    let mut buffer = octets.to_vec();
    let Progress { len, .. } = ws.read(&mut buffer);
    buffer.truncate(len);
    buffer
}

/// All that is to be written, if nothing waits but what the WebSocket says by itself.
fn written(ws: &mut WebSocket) -> Vec<u8> {
    let mut stream = Vec::new();
    let (mut out, mut pool) = (OutBuf::default(), BlockPool::new());
    while !ws.has_said_all(&out) {
        ws.write(&mut out, &mut stream, &mut pool).expect("a Vec takes everything");
    }
    stream
}

/// A frame of a client.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(octet, key)| octet ^ key));
    frame
}

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

#[test]
fn the_examples_of_the_rfc_are_read_and_written() {
    let mut ws = open();
    // "Hello", section 5.7, as binary; then in two fragments with a ping between them.
    let hello = [0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    let whole = [&[0x82][..], &hello].concat();
    assert_eq!(read(&mut ws, &whole), b"Hello");
    assert_eq!(read(&mut ws, &frame(0x02, b"Hel", MASK)), b"Hel");
    assert_eq!(read(&mut ws, &[&[0x89][..], &hello].concat()), b"");
    assert_eq!(read(&mut ws, &frame(0x80, b"lo", MASK)), b"lo");
    assert_eq!(written(&mut ws), [0x8A, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]);
}

/// A request with one header replaced, or left out, or one added.
fn request(name: &str, line: &str) -> String {
    let start = format!("{name}:");
    let kept = REQUEST.trim_end().split("\r\n").filter(|line| !line.starts_with(&start));
    let mut lines: Vec<&str> = kept.collect();
    lines.extend((!line.is_empty()).then_some(line));
    lines.join("\r\n") + "\r\n\r\n"
}

#[test]
fn requests_are_judged() {
    let opened = |ws: &mut WebSocket, text: &str| ws.read(&mut text.as_bytes().to_vec()).opened;
    let check = |text: &str, expect: Result<&'static str, Refusal>, status: &str| {
        let mut ws = new_with(&["https://farm.example", "null"]);
        assert_eq!(opened(&mut ws, text), Some(expect), "{text}");
        let answer = String::from_utf8(written(&mut ws)).expect("text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{text}\n{answer}");
        assert_eq!(ws.has_ended(), expect.is_err());
        // Nothing is said after a refusal, not even good-bye.
        ws.close(CloseCode::NORMAL);
        assert_eq!(written(&mut ws).is_empty(), expect.is_err());
    };
    check(REQUEST, Ok("mqtt"), "101 ");
    check(&REQUEST.replacen("/chat", "/any?path#there", 1), Ok("mqtt"), "101 ");
    let protocol = |value: &str| {
        request("Sec-WebSocket-Protocol", &format!("sec-websocket-PROTOCOL: {value}"))
    };
    check(&protocol("mqttv3.1"), Ok("mqttv3.1"), "101 ");
    check(&protocol("mqttv3.1, mqtt"), Ok("mqtt"), "101 ");
    check(&protocol("chat\r\nSec-WebSocket-Protocol: mqtt"), Ok("mqtt"), "101 ");
    for wrong in ["chat", "MQTT", "mqtt5", "xmqtt", "mqtt;q=1", ""] {
        check(&protocol(wrong), Err(Refusal::Subprotocol), "400 ");
    }
    check(&request("Sec-WebSocket-Protocol", ""), Err(Refusal::Subprotocol), "400 ");
    check(&request("Connection", "Connection: keep-alive, UPGRADE"), Ok("mqtt"), "101 ");
    check(&request("Connection", "Connection: keep-alive"), Err(Refusal::Upgrade), "426 ");
    check(&request("Upgrade", "Upgrade: h2c"), Err(Refusal::Upgrade), "426 ");
    check(&request("Upgrade", "Upgrade: h2c, WebSocket"), Ok("mqtt"), "101 ");
    check(&request("Upgrade", ""), Err(Refusal::Upgrade), "426 ");
    check(&request("Host", ""), Err(Refusal::Host), "400 ");
    check(&request("", "Host: two"), Err(Refusal::Host), "400 ");
    let version = |value: &str| format!("Sec-WebSocket-Version: {value}");
    check(&request("Sec-WebSocket-Version", &version("8")), Err(Refusal::Version), "426 ");
    check(&request("Sec-WebSocket-Version", ""), Err(Refusal::Version), "426 ");
    for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "%%%%"] {
        let text = request("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}"));
        check(&text, Err(Refusal::Key), "400 ");
    }
    let twice = request("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    check(&twice, Err(Refusal::Key), "400 ");
    check(&request("", "Origin: https://FARM.example"), Ok("mqtt"), "101 ");
    check(&request("", "Origin: null"), Ok("mqtt"), "101 ");
    check(&request("", "Origin: https://evil.example"), Err(Refusal::Origin), "403 ");
    check(&REQUEST.replacen("1.1", "1.0", 1), Err(Refusal::HttpVersion), "400 ");
    check(&REQUEST.replacen("GET", "POST", 1), Err(Refusal::Method), "405 ");
    check("\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a", Err(Refusal::NotHttp), "400 ");
    check("\x16\x03\x01\x02\0", Err(Refusal::NotHttp), "400 ");
    check("GET /\0 HTTP/1.1\r\n\r\n", Err(Refusal::NotHttp), "400 ");
}

/// RFC 9112, 2.2: whether the request came as one piece or octet by octet.
#[test]
fn empty_lines_before_a_request_are_of_no_matter() {
    let check = |text: &str, expect: Result<&'static str, Refusal>| {
        for piece_len in [1, 2, 3, text.len()] {
            let mut ws = new_with(&[]);
            let mut pieces = text.as_bytes().chunks(piece_len);
            let opened = pieces.find_map(|piece| ws.read(&mut piece.to_vec()).opened);
            assert_eq!(opened, Some(expect), "{text:?} in pieces of {piece_len}");
        }
    };
    check(&format!("\r\n{REQUEST}"), Ok("mqtt"));
    check(&format!("\n\n{REQUEST}"), Ok("mqtt"));
    check(&format!("\r\n{}", REQUEST.replacen("GET", "PUT", 1)), Err(Refusal::Method));
    check("\r\n\r\n", Err(Refusal::NotHttp));
    check("\n\x10\x0D\0\x04MQTT", Err(Refusal::NotHttp));
}

#[test]
fn the_size_of_a_request_is_bounded() {
    let check = |text: &str, expect| {
        let mut ws = new_with(&[]);
        for piece in text.as_bytes().chunks(100) {
            let progress = ws.read(&mut piece.to_vec());
            assert!(ws.memory() < 4 * HEAD_BYTES_MAX, "{} octets", ws.memory());
            if progress.opened.is_some() {
                assert_eq!(progress.opened, Some(expect));
                return;
            }
        }
        panic!("no end");
    };
    let padded = |octets: usize| request("", &format!("Cookie: {}", "x".repeat(octets)));
    let room = HEAD_BYTES_MAX - padded(0).len();
    check(&padded(room), Ok("mqtt"));
    check(&padded(room + 1), Err(Refusal::TooLarge));
    check(&("GET /".to_owned() + &"x".repeat(2 * HEAD_BYTES_MAX)), Err(Refusal::TooLarge));
    let lines = |count: usize| request("", &vec!["X: y"; count].join("\r\n"));
    check(&lines(58), Ok("mqtt"));
    check(&lines(59), Err(Refusal::TooLarge));
}

/// [MQTT-6.0.0-1]: text is not taken; and every other rule of section 5.
#[test]
fn frames_that_break_the_rules_end_the_connection() {
    let check = |octets: &[u8], violation: Violation, code: u16| {
        let mut ws = open();
        assert_eq!(read(&mut ws, octets), b"", "{octets:02X?}");
        assert_eq!(ws.end(), Some(End::Violation(violation)), "{octets:02X?}");
        assert_eq!(End::Violation(violation).answer().number(), code);
        assert_eq!(read(&mut ws, &frame(0x82, b"data", MASK)), b"");
        ws.close(violation.code());
        let [high, low] = code.to_be_bytes();
        assert_eq!(written(&mut ws), [0x88, 2, high, low]);
    };
    check(&[0x81], Violation::Text, 1003);
    check(&[0x01], Violation::Text, 1003);
    for reserved in [0x40, 0x20, 0x10] {
        check(&[0x82 | reserved], Violation::ReservedBit, 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check(&[0x80 | opcode], Violation::Opcode, 1002);
    }
    check(&[0x82, 0x05], Violation::Unmasked, 1002);
    check(&[0x80], Violation::Continuation, 1002);
    check(&[0x00], Violation::Continuation, 1002);
    check(&[frame(0x02, b"", MASK), vec![0x82]].concat(), Violation::Interleaved, 1002);
    check(&[0x09], Violation::FragmentedControl, 1002);
    check(&[0x89, 0xFE], Violation::LongControl, 1002);
    check(&[0x82, 0xFE, 0, 125], Violation::Length, 1002);
    check(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::Length, 1002);
    check(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0], Violation::Length, 1002);
    check(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0x86, 0xA1], Violation::TooLarge, 1009);
    check(&[0x82, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0], Violation::TooLarge, 1009);
    check(&frame(0x88, &[3], MASK), Violation::CloseCode, 1002);
    for impossible in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        check(&frame(0x88, &impossible.to_be_bytes(), MASK), Violation::CloseCode, 1002);
    }
    check(&frame(0x88, &[0x03, 0xE8, 0xFF], MASK), Violation::CloseReason, 1007);
}

#[test]
fn a_close_frame_is_answered_with_its_own_code() {
    for (payload, answer) in [
        (&b""[..], [0x03, 0xE8]),
        (&[0x03, 0xE9], [0x03, 0xE9]),
        (&[0x0F, 0xA0, b'b', b'y', b'e'], [0x0F, 0xA0]),
    ] {
        let mut ws = open();
        let octets = [frame(0x82, b"last", MASK), frame(0x88, payload, MASK), vec![0; 9]].concat();
        assert_eq!(read(&mut ws, &octets), b"last");
        let end = ws.end().expect("it has ended");
        ws.close(end.answer());
        ws.close(CloseCode::GOING_AWAY);
        assert_eq!(written(&mut ws), [0x88, 2, answer[0], answer[1]]);
    }
}

/// A newer ping takes the place of one that was not answered yet: a flood costs nothing.
#[test]
fn the_last_ping_is_answered() {
    let mut ws = open();
    let memory = ws.memory();
    for number in 0..10_000_u32 {
        read(&mut ws, &frame(0x89, &number.to_be_bytes(), MASK));
    }
    assert_eq!(written(&mut ws), [0x8A, 4, 0, 0, 0x27, 0x0F]);
    assert_eq!(ws.memory(), memory);
    read(&mut ws, &frame(0x8A, b"an unasked pong", MASK));
    assert!(ws.has_said_all(&OutBuf::default()));
}

/// A frame that a client may send, and the data in it.
#[derive(Clone, Debug)]
enum Piece {
    /// Data, and whether the message goes on.
    Data(Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn pieces() -> impl Strategy<Value = Vec<(Piece, [u8; 4])>> {
    let octets = |max| vec(any::<u8>(), 0..max);
    let data = prop_oneof![4 => octets(40), 2 => octets(300), 1 => octets(70_000)];
    let piece = prop_oneof![
        4 => (data, any::<bool>()).prop_map(|(data, goes_on)| Piece::Data(data, goes_on)),
        1 => octets(126).prop_map(Piece::Ping),
        1 => octets(126).prop_map(Piece::Pong),
    ];
    vec((piece, any::<[u8; 4]>()), 0..20)
}

/// The octets of frames, the data in them, and the last ping.
fn conversation(pieces: &[(Piece, [u8; 4])]) -> (Vec<u8>, Vec<u8>, Option<Vec<u8>>) {
    let (mut octets, mut expect, mut ping, mut is_open) = (Vec::new(), Vec::new(), None, false);
    for (piece, mask) in pieces {
        match piece {
            Piece::Data(data, goes_on) => {
                let opcode = if is_open { 0 } else { 2 };
                let fin = if *goes_on { 0 } else { 0x80 };
                is_open = *goes_on;
                octets.extend(frame(fin | opcode, data, *mask));
                expect.extend(data);
            }
            Piece::Ping(payload) => {
                ping = Some(payload.clone());
                octets.extend(frame(0x89, payload, *mask));
            }
            Piece::Pong(payload) => octets.extend(frame(0x8A, payload, *mask)),
        }
    }
    (octets, expect, ping)
}

/// Cuts octets where `cuts` say, again and again.
fn cut<'a>(octets: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = octets;
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let len = rest.len().min(*cuts.next()?);
        let (piece, after) = rest.split_at(len);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..10_usize, 1..100_usize, 1..70_000_usize], 1..20)
}

/// Takes a few octets, then blocks, as it was told.
struct Narrow<'a> {
    taken: Vec<u8>,
    rooms: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Write for Narrow<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let room = *self.rooms.next().expect("there is one");
        if room.is_multiple_of(5) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = room.min(octets.len());
        self.taken.extend_from_slice(&octets[..len]);
        Ok(len)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // No room is larger.
        let all = pieces.iter().flat_map(|piece| piece.iter().copied()).take(ROOM_MAX);
        self.write(&all.collect::<Vec<_>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what a server wrote: data, pongs, and whether it closed at the end.
fn parse(mut octets: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>, bool) {
    let (mut data, mut pongs) = (Vec::new(), Vec::new());
    while let [first, length, rest @ ..] = octets {
        let (len, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().expect("eight")) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(len);
        octets = rest;
        match first {
            0x82 => data.extend_from_slice(payload),
            0x8A => pongs.push(payload.to_vec()),
            0x88 => {
                assert!(octets.is_empty(), "something after the close frame");
                return (data, pongs, true);
            }
            other => panic!("a frame {other:02X}"),
        }
    }
    assert!(octets.is_empty(), "half a frame");
    (data, pongs, false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [MQTT-6.0.0-2]: any split of the octets gives the same data, and the last ping is answered.
    #[test]
    fn any_split_gives_the_same_octets(pieces in pieces(), cuts in cuts()) {
        let (octets, expect, ping) = conversation(&pieces);
        let octets = [REQUEST.as_bytes(), &octets].concat();
        let mut ws = new_with(&[]);
        let mut data = Vec::new();
        for piece in cut(&octets, &cuts) {
            data.extend(read(&mut ws, piece));
        }
        prop_assert_eq!(data, expect);
        prop_assert_eq!(ws.end(), None);
        let said = written(&mut ws);
        let (_, pongs, _) = parse(&said[ANSWER.len()..]);
        prop_assert_eq!(pongs.into_iter().next(), ping);
    }

    /// Mutated octets are refused or read, in bounded memory, and alike for any split of them.
    #[test]
    fn mutated_octets_do_no_harm(
        pieces in pieces(),
        cuts in cuts(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        from_the_start in any::<bool>(),
    ) {
        let (frames, ..) = conversation(&pieces);
        let mut octets = [REQUEST.as_bytes(), &frames].concat();
        let first = if from_the_start { 0 } else { REQUEST.len() };
        for (index, octet) in mutations {
            if octets.len() > first {
                let at = first + index.index(octets.len() - first);
                octets[at] = octet;
            }
        }
        let (mut whole, mut split) = (new_with(&[]), new_with(&[]));
        let expect = read(&mut whole, &octets);
        let mut data = Vec::new();
        for piece in cut(&octets, &cuts) {
            data.extend(read(&mut split, piece));
            prop_assert!(split.memory() < 3 * HEAD_BYTES_MAX);
        }
        prop_assert_eq!(data, expect);
        prop_assert_eq!(split.end(), whole.end());
        prop_assert_eq!(split.has_ended(), whole.has_ended());
    }

    /// Whatever the stream takes at a time, frames stay whole, pongs stand between them, and the
    /// close frame comes last.
    #[test]
    fn any_stream_gets_whole_frames(
        texts in vec(vec(any::<u8>(), 0..5_000), 1..8),
        shared in vec(any::<u8>(), 1_025..90_000),
        rooms in vec(prop_oneof![1..9_usize, 1..ROOM_MAX], 1..12),
    ) {
        let mut rooms = rooms;
        rooms.push(ROOM_MAX - 1);
        let mut ws = open();
        let (mut out, mut pool) = (OutBuf::default(), BlockPool::new());
        let mut stream = Narrow { taken: Vec::new(), rooms: rooms.iter().cycle() };
        let mut expect = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            out.writer(&mut pool).put(text);
            expect.extend_from_slice(text);
            if number % 3 == 1 {
                out.writer(&mut pool).put_shared(&shared.clone().into());
                expect.extend_from_slice(&shared);
            }
            read(&mut ws, &frame(0x89, &[number as u8], MASK));
            ws.write(&mut out, &mut stream, &mut pool).expect("it takes what it can");
        }
        ws.close(CloseCode::GOING_AWAY);
        while !ws.has_said_all(&out) {
            let before = stream.taken.len();
            let (taken, flush) = ws.write(&mut out, &mut stream, &mut pool).expect("it takes");
            prop_assert_eq!(stream.taken.len() - before, taken);
            prop_assert_eq!(flush == Flush::Done, ws.has_said_all(&out));
        }
        let (data, pongs, has_closed) = parse(&stream.taken);
        prop_assert_eq!(data, expect);
        prop_assert!(has_closed);
        let last = texts.len() as u8 - 1;
        prop_assert_eq!(pongs.last(), Some(&vec![last]));
        prop_assert!(pongs.is_sorted());
    }
}
