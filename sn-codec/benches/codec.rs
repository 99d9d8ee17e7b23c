//! Nanoseconds to read and to write the messages of the hot path: `cargo bench -p sn-codec`.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

use sn_codec::forward::Encapsulated;
use sn_codec::v12::{MsgId, Packet, Puback, Publish, QoS, ReturnCode, TopicRef};
use std::hint::black_box;
use std::time::Instant;

const CALLS: u32 = 1_000_000;
const ROUNDS: usize = 15;

/// Prints the best of several rounds: what disturbs a measurement only ever adds to it.
fn measure(name: &str, mut call: impl FnMut()) {
    let nanos = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        start.elapsed().as_nanos()
    });
    let best = nanos.min().expect("at least one round");
    println!("{name:<34} {:>7.2} ns", best as f64 / f64::from(CALLS));
}

fn main() {
    let payload = [b'p'; 1024];
    let mut out = [0; 2048];

    for size in [16, 200, 1024] {
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicRef::Normal(1),
            msg_id: MsgId(7),
            data: &payload[..size],
        };
        measure(&format!("write PUBLISH of {size}"), || {
            black_box(black_box(&publish).encode(black_box(&mut out))).expect("it fits");
        });
        let packet = Packet::from(publish);
        measure(&format!("write PUBLISH of {size} as a Packet"), || {
            black_box(black_box(&packet).encode(black_box(&mut out))).expect("it fits");
        });
        let len = publish.encode(&mut out).expect("it fits");
        let datagram = &out[..len];
        measure(&format!("read PUBLISH of {size}"), || {
            let packet = Packet::decode(black_box(datagram));
            let Ok(Packet::Publish(publish)) = packet else { panic!("it is a PUBLISH") };
            black_box((publish.topic, publish.msg_id, publish.data));
        });
    }

    let puback = Puback { topic_id: 1, msg_id: MsgId(7), return_code: ReturnCode::Accepted };
    measure("write PUBACK", || {
        black_box(black_box(&puback).encode(black_box(&mut out))).expect("it fits");
    });
    let len = puback.encode(&mut out).expect("it fits");
    measure("read PUBACK", || {
        black_box(Packet::decode(black_box(&out[..len]))).expect("it is well formed");
    });

    let enveloped = *b"\x05\xFE\x00N1\x09\x0C\x20\x00\x01\x00\x0721";
    measure("read PUBLISH in an envelope", || {
        let envelope = Encapsulated::decode(black_box(&enveloped)).expect("it is well formed");
        black_box(Packet::decode(envelope.inner)).expect("it is well formed");
    });
    measure("refuse a wrong length", || {
        black_box(Packet::decode(black_box(&enveloped[6..]))).expect_err("its length is wrong");
    });
}
