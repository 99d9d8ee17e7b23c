//! Fuzz targets: functions that take any octets and check what has to be true whatever they are.
//!
//! A [`Target`] is called by libFuzzer (`tests/fuzz`), by the short run of `cargo test`, and with
//! every input of its committed corpus; `docs/testing.md` says how. Each checks properties: that
//! what was read is what was written, that the way in which octets are cut does not matter, that a
//! store gives back what was put there. That nothing panics, hangs or grows without bound comes
//! with it.
//!
//! | module | what it is given |
//! |---|---|
//! | [`sn_decode`] | one datagram |
//! | [`mqtt_frame`], [`mqtt_packet`] | the beginning of a packet, a stream of a version of MQTT |
//! | [`websocket`] | a stream of a WebSocket client, and where it is cut |
//! | [`mqtt_conn`] | what several MQTT clients say to the whole machine, and when |
//! | [`sn_session`] | what sensors say from several addresses, and when; restarts |
//! | [`broker_ops`] | operations on the broker, its journal and restarts |
//! | [`restore`] | records of a store |
//! | [`store_replay`] | operations on the log, then losses and damage; files of the log |
//! | [`config`] | a configuration, a file of predefined topics, an address to listen on |
//! | [`import_line`] | a line for `store import` |

pub mod broker_ops;
pub mod config;
mod corpus;
mod digest;
pub mod import_line;
mod input;
mod machine;
pub mod mqtt_conn;
pub mod mqtt_frame;
pub mod mqtt_packet;
mod mqtt_said;
mod mutate;
mod records;
pub mod restore;
pub mod sn_decode;
pub mod sn_session;
pub mod store_replay;
pub mod websocket;

use std::thread;

pub use corpus::{dictionary, inputs, line, pack};
pub use mutate::Mutator;

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its binary and of its corpus.
    pub name: &'static str,
    /// What octets of its input often are: a file of `tests/fuzz/dictionaries`.
    pub dictionary: &'static str,
    /// Octets of an input; what is behind is not looked at.
    pub bytes_max: usize,
    /// Checks one input. Returns a digest of all that came out, which depends on nothing else.
    pub run: fn(&[u8]) -> u64,
}

impl Target {
    /// Checks one input, cut to its bound.
    ///
    /// # Panics
    /// If something is not as it has to be.
    pub fn check(&self, octets: &[u8]) -> u64 {
        (self.run)(&octets[..octets.len().min(self.bytes_max)])
    }
}

/// Checks one input, and prints it as a line of a corpus if it does not hold.
///
/// # Panics
/// As [`Target::check`].
pub fn check_shown(target: &Target, input: &[u8]) -> u64 {
    /// Prints while a panic passes it.
    struct Shown<'a>(&'a Target, &'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("{} does not hold for\n{}", self.0.name, line(self.1));
            }
        }
    }
    let shown = Shown(target, input);
    shown.0.check(shown.1)
}

/// All of them.
pub const TARGETS: &[Target] = &[
    sn_decode::TARGET,
    mqtt_frame::TARGET,
    mqtt_packet::MQTT_31,
    mqtt_packet::MQTT_311,
    mqtt_packet::MQTT_5,
    websocket::TARGET,
    mqtt_conn::TARGET,
    sn_session::TARGET,
    broker_ops::TARGET,
    restore::TARGET,
    store_replay::REPLAY,
    store_replay::OCTETS,
    config::CONFIG,
    config::TOPIC_FILE,
    config::ADDRESS,
    import_line::TARGET,
];
