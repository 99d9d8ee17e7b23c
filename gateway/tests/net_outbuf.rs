//! What waits on a TCP link: octets in order, whatever the stream takes at a time.

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use mqtt_sn_gw::net::outbuf::{BLOCK_BYTES, BlockPool, Flush, OutBuf, SHARE_ABOVE_BYTES};

/// How long a read may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that takes what its script says per call, then everything; it remembers octets and
/// calls.
#[derive(Default)]
struct Scripted {
    script: Vec<io::Result<usize>>,
    taken: Vec<u8>,
    calls: Vec<usize>,
}

impl Scripted {
    fn new(mut script: Vec<io::Result<usize>>) -> Self {
        script.reverse();
        Self { script, ..Self::default() }
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        assert!(pieces.iter().all(|piece| !piece.is_empty()), "an empty piece is a wasted one");
        self.calls.push(pieces.len());
        let len = self.script.pop().unwrap_or(Ok(all.len()))?.min(all.len());
        self.taken.extend(&all[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn would_block() -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[test]
fn small_frames_leave_with_one_write_of_one_piece() {
    let (mut pool, mut out, mut stream) =
        (BlockPool::new(), OutBuf::default(), Scripted::default());
    let mut writer = out.writer(&mut pool);
    writer.put(b"\x30\x05\x00\x01t");
    writer.put_u8(b'4');
    writer.put_shared(&Bytes::from_static(b"2"));
    assert_eq!(writer.len(), 7);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert_eq!(stream.taken, b"\x30\x05\x00\x01t42");
    assert_eq!(stream.calls, [1]);
    assert!(out.is_empty());
}

#[test]
fn nothing_to_write_is_no_system_call() {
    let (mut pool, mut out, mut stream) =
        (BlockPool::new(), OutBuf::default(), Scripted::default());
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    out.writer(&mut pool).put(b"");
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert!(stream.calls.is_empty());
}

#[test]
fn long_payloads_are_chained_and_short_ones_copied() {
    let (mut pool, mut out) = (BlockPool::new(), OutBuf::default());
    let short = Bytes::from(vec![1; SHARE_ABOVE_BYTES]);
    let long = Bytes::from(vec![2; SHARE_ABOVE_BYTES + 1]);
    for payload in [&short, &long] {
        let mut writer = out.writer(&mut pool);
        writer.put(b"head");
        writer.put_shared(payload);
    }
    assert!(short.is_unique(), "copied");
    assert!(!long.is_unique(), "shared");
    let mut stream = Scripted::default();
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert_eq!(stream.calls, [2], "the copied octets and the payload");
    assert_eq!(stream.taken, [b"head", &short[..], b"head", &long[..]].concat());
    assert!(long.is_unique(), "let go once it is written");
}

#[test]
fn a_reserved_piece_is_contiguous_and_may_be_patched() {
    let (mut pool, mut out, mut stream) =
        (BlockPool::new(), OutBuf::default(), Scripted::default());
    let mut writer = out.writer(&mut pool);
    writer.put(&[9; BLOCK_BYTES - 3]);
    let piece = writer.reserve(4).unwrap();
    piece.copy_from_slice(&[0x40, 0x02, 0, 0]);
    piece[2..].copy_from_slice(&7_u16.to_be_bytes());
    assert_eq!(writer.reserve(BLOCK_BYTES + 1), None);
    assert_eq!(writer.len(), BLOCK_BYTES + 1);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert_eq!(stream.taken[BLOCK_BYTES - 3..], [0x40, 0x02, 0, 7]);
}

#[test]
fn a_short_write_blocks_and_goes_on_where_it_stopped() {
    let (mut pool, mut out) = (BlockPool::new(), OutBuf::default());
    out.writer(&mut pool).put(b"abcdef");
    let mut stream = Scripted::new(vec![Ok(2), would_block(), Ok(3)]);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Blocked);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Blocked);
    out.writer(&mut pool).put(b"gh");
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Blocked);
    assert_eq!(out.len(), 3);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert_eq!(stream.taken, b"abcdefgh");
}

#[test]
fn an_interrupted_call_is_repeated() {
    let (mut pool, mut out) = (BlockPool::new(), OutBuf::default());
    out.writer(&mut pool).put(b"abc");
    let mut stream = Scripted::new(vec![Err(io::ErrorKind::Interrupted.into())]);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert_eq!(stream.calls.len(), 2);
}

#[test]
fn a_lost_stream_is_an_error_and_clear_gives_the_memory_back() {
    let (mut pool, mut out) = (BlockPool::new(), OutBuf::default());
    let payload = Bytes::from(vec![2; 2_000]);
    out.writer(&mut pool).put(&[1; 3 * BLOCK_BYTES]);
    out.writer(&mut pool).put_shared(&payload);
    let mut stream = Scripted::new(vec![Err(io::ErrorKind::BrokenPipe.into()), Ok(0)]);
    let error = out.write_to(&mut stream, &mut pool).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let error = out.write_to(&mut stream, &mut pool).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    assert_eq!(out.len(), 3 * BLOCK_BYTES + 2_000, "nothing was written, nothing is forgotten");
    out.clear(&mut pool);
    assert!(out.is_empty() && payload.is_unique());
    assert_eq!(pool.spare_bytes(), 3 * BLOCK_BYTES);
}

#[test]
fn one_call_writes_64_pieces_and_says_that_there_is_more() {
    let (mut pool, mut out, mut stream) =
        (BlockPool::new(), OutBuf::default(), Scripted::default());
    let payload = Bytes::from(vec![2; 2_000]);
    for _ in 0..50 {
        let mut writer = out.writer(&mut pool);
        writer.put(b"head");
        writer.put_shared(&payload);
    }
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::More);
    assert_eq!(out.write_to(&mut stream, &mut pool).unwrap(), Flush::Done);
    assert_eq!(stream.calls, [64, 36]);
    assert_eq!(stream.taken.len(), 50 * 2_004);
}

#[test]
fn a_pool_keeps_no_more_than_its_bound() {
    let (mut pool, mut out) = (BlockPool::new(), OutBuf::default());
    out.writer(&mut pool).put(&vec![1; 5 * 1024 * 1024]);
    out.clear(&mut pool);
    assert_eq!(pool.spare_bytes(), 4 * 1024 * 1024);
}

#[test]
fn an_idle_link_holds_nothing() {
    assert!(size_of::<OutBuf>() < 100, "{}", size_of::<OutBuf>());
    let mut pool = BlockPool::new();
    let mut links: Vec<OutBuf> = (0..10_000).map(|_| OutBuf::default()).collect();
    for link in &mut links {
        link.writer(&mut pool).put(b"connack");
        assert_eq!(link.write_to(&mut io::sink(), &mut pool).unwrap(), Flush::Done);
    }
    assert_eq!(pool.spare_bytes(), BLOCK_BYTES, "one block served them all");
}

/// Numbers that look random, the same in each run of a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// One random piece of output, to the buffer and to the model.
fn put_something(random: &mut Random, out: &mut OutBuf, pool: &mut BlockPool, model: &mut Vec<u8>) {
    let len_max = [8, 200, 2_000, 20_000][random.below(4)];
    let start = random.below(256);
    let piece: Vec<u8> = (0..random.below(len_max)).map(|i| (start + i) as u8).collect();
    let mut writer = out.writer(pool);
    match random.below(4) {
        0 => writer.put(&piece),
        1 => writer.put_shared(&Bytes::from(piece.clone())),
        2 => piece.iter().for_each(|byte| writer.put_u8(*byte)),
        _ => match writer.reserve(piece.len()) {
            Some(room) => room.copy_from_slice(&piece),
            None => writer.put(&piece),
        },
    }
    model.extend(piece);
}

#[test]
fn any_mixture_arrives_as_it_was_put_through_any_partial_writes() {
    for seed in 1..=200_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut pool, mut out, mut model) = (BlockPool::new(), OutBuf::default(), Vec::new());
        let mut stream = Scripted::default();
        for _ in 0..100 {
            for _ in 0..random.below(4) {
                put_something(&mut random, &mut out, &mut pool, &mut model);
            }
            let len_max = [1, 50, 5_000, 100_000][random.below(4)];
            stream.script.push(Ok(1 + random.below(len_max)));
            out.write_to(&mut stream, &mut pool).unwrap();
            stream.script.clear();
            assert_eq!(out.len(), model.len() - stream.taken.len(), "seed {seed}");
        }
        while out.write_to(&mut stream, &mut pool).unwrap() != Flush::Done {}
        assert!(stream.taken == model, "seed {seed}");
    }
}

#[test]
fn a_slow_reader_of_a_real_connection_gets_every_octet_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = listener.accept().unwrap().0;
    socket2::SockRef::from(&socket).set_send_buffer_size(16_384).unwrap();
    socket2::SockRef::from(&reader).set_recv_buffer_size(16_384).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = mio::net::TcpStream::from_std(socket);

    let mut random = Random(42);
    let (mut pool, mut out, mut model) = (BlockPool::new(), OutBuf::default(), Vec::new());
    let mut got: Vec<u8> = Vec::new();
    let mut blocked = 0;
    let mut buffer = vec![0; 30_000];
    while model.len() < 1_000_000 {
        put_something(&mut random, &mut out, &mut pool, &mut model);
        if out.write_to(&mut stream, &mut pool).unwrap() == Flush::Blocked {
            blocked += 1;
            let len = 1 + random.below(buffer.len());
            let len = reader.read(&mut buffer[..len]).unwrap();
            got.extend(&buffer[..len]);
        }
    }
    while got.len() < model.len() {
        out.write_to(&mut stream, &mut pool).unwrap();
        let len = reader.read(&mut buffer).unwrap();
        got.extend(&buffer[..len]);
    }
    assert!(got == model);
    assert!(out.is_empty());
    assert!(blocked > 10, "the reader was slow {blocked} times");
}
