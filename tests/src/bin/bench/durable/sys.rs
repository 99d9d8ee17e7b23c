//! What the gateway says of itself in `$SYS`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::clients::Client;
use crate::wire::{self, kind};

/// Longer than the interval of `$SYS` in the configuration here, so that what is read is new.
const ROUND: Duration = Duration::from_millis(1_200);

/// What is read.
const NAMES: [&str; 12] = [
    "loop/turn_max_us",
    "loop/turns/count",
    "loop/turns/le_1ms",
    "loop/turns/le_3ms",
    "loop/turns/le_10ms",
    "loop/turns/le_30ms",
    "loop/turns/le_100ms",
    "store/disk/bytes",
    "store/disk/changed_bytes",
    "store/disk/live_bytes",
    "store/disk/records",
    "store/disk/syncs",
];

/// Values by their topics, without `$SYS/broker/`.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<String, u64>);

impl Values {
    /// Waits for a new round and reads it.
    pub(super) fn read(mqtt: SocketAddr) -> io::Result<Self> {
        thread::sleep(ROUND);
        let first = [
            wire::connect("bench-sys"),
            wire::subscribe("$SYS/broker/store/disk/+", 0),
            wire::subscribe("$SYS/broker/loop/#", 0),
        ];
        let mut client = Client::open(mqtt, &first.concat())?;
        let mut values = BTreeMap::new();
        client.read_until(|packet| {
            if packet.kind == kind::PUBLISH {
                let name = packet.topic().trim_start_matches("$SYS/broker/").to_owned();
                let text = String::from_utf8_lossy(packet.publish().payload);
                values.extend(text.parse().ok().map(|value| (name, value)));
            }
            NAMES.iter().all(|name| values.contains_key(*name))
        })?;
        Ok(Self(values))
    }

    /// One of the values.
    pub(super) fn get(&self, name: &str) -> u64 {
        assert!(NAMES.contains(&name), "{name} is not read");
        self.0[name]
    }

    /// How much a counter has grown since.
    pub(super) fn since(&self, before: &Self, name: &str) -> u64 {
        self.get(name) - before.get(name)
    }
}
