//! Warm sockets do not allocate.

mod counting;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::Bytes;
use mqtt_sn_gw::net::outbuf::{BlockPool, Flush, OutBuf};
use mqtt_sn_gw::net::udp::{ReceiveBatch, TransmitBatch, UdpOptions, UdpPort};
use mqtt_sn_gw::net::ws::{Policy, WebSocket};

use counting::allocations_when_warm;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_when_warm(|| drop(std::hint::black_box(vec![0_u8; 100]))), 1_000);
}

#[test]
fn receiving_and_answering_does_not_allocate() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut port = UdpPort::bind(address.parse().unwrap(), &UdpOptions::default()).unwrap();
        let (mut incoming, mut outgoing) = (ReceiveBatch::new(), TransmitBatch::new());
        let sensor = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], port.address().port()));
        let mut answers = 0;
        let allocations = allocations_when_warm(|| {
            for _ in 0..100 {
                sensor.send_to(b"\x02\x16", to).unwrap();
            }
            port.set_readable(0);
            loop {
                let received = port.receive(&mut incoming, 64).unwrap();
                for datagram in incoming.datagrams() {
                    outgoing
                        .push_with(datagram.from, Some(datagram.to), 1_024, |buffer| {
                            buffer[..2].copy_from_slice(b"\x02\x17");
                            2
                        })
                        .unwrap();
                }
                if received.drained {
                    break;
                }
            }
            answers += port.transmit(&mut outgoing).datagrams;
            let mut buffer = [0; 16];
            sensor.set_nonblocking(true).unwrap();
            while sensor.recv_from(&mut buffer).is_ok() {}
        });
        assert_eq!(allocations, 0, "{address}");
        assert_eq!(answers, 1_010 * 100);
    }
}

#[test]
fn writing_to_busy_links_does_not_allocate() {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let mut near = mio::net::UnixStream::from_std(near);
    let mut pool = BlockPool::new();
    let mut links: Vec<OutBuf> = (0..50).map(|_| OutBuf::default()).collect();
    let payload = Bytes::from(vec![7; 2_000]);
    let mut buffer = vec![0; 1 << 20];
    let allocations = allocations_when_warm(|| {
        for (number, link) in links.iter_mut().enumerate() {
            let mut writer = link.writer(&mut pool);
            for _ in 0..number {
                writer.put(&[1; 100]);
            }
            writer.put_shared(&payload);
        }
        for link in &mut links {
            while link.write_to(&mut near, &mut pool).unwrap() != Flush::Done {
                while far.read(&mut buffer).is_ok_and(|len| len > 0) {}
            }
        }
        assert_eq!(drain(&mut far, &mut buffer), ErrorKind::WouldBlock);
    });
    assert_eq!(allocations, 0);
}

#[test]
fn frames_around_it_do_not_allocate() {
    let policy = Policy { origins: Vec::new(), frame_bytes_max: 1 << 20 };
    let mut ws = WebSocket::new(Arc::new(policy));
    let request = "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    assert_eq!(ws.read(&mut request.as_bytes().to_vec()).opened, Some(Ok("mqtt")));
    // A ping, and PINGREQ in two frames of one message, both with a mask of zeroes.
    let frames = b"\x89\x81\0\0\0\0x\x02\x81\0\0\0\0\xC0\x80\x81\0\0\0\0\0";
    let (mut out, mut pool) = (OutBuf::default(), BlockPool::new());
    let mut buffer = [0; 64];
    let mut stream = std::io::sink();
    let mut written = 0;
    let allocations = allocations_when_warm(|| {
        buffer[..frames.len()].copy_from_slice(frames);
        let progress = ws.read(&mut buffer[..frames.len()]);
        assert_eq!(&buffer[..progress.len], b"\xC0\0");
        out.writer(&mut pool).put(b"\xD0\0");
        while !ws.has_said_all(&out) {
            written += ws.write(&mut out, &mut stream, &mut pool).unwrap().0;
        }
    });
    assert_eq!(allocations, 0);
    // The pong and the data each have a header of two octets.
    assert!(written >= 1_010 * 7, "{written} octets");
}

fn drain(stream: &mut impl Read, buffer: &mut [u8]) -> ErrorKind {
    loop {
        if let Err(error) = stream.read(buffer) {
            return error.kind();
        }
    }
}
