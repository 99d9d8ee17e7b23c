//! What a gateway tells about itself under `$SYS`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::mqtt::MqttClient;
use crate::process::PATIENCE;

/// The table that makes a gateway publish its values every second.
pub const EVERY_SECOND: &str = "[sys]\ninterval_s = 1";

/// A subscriber to all values.
///
/// Only values that have changed are published, so what is known here is what holds as of the last
/// round, at most an interval ago.
#[derive(Debug)]
pub struct Sys {
    client: MqttClient,
    values: BTreeMap<String, String>,
}

impl Sys {
    /// Subscribes. Values are there once they were waited for.
    #[track_caller]
    pub fn watch(server: SocketAddr) -> Self {
        let mut client = MqttClient::connect(server, "sys-watcher");
        client.set_timeout(PATIENCE);
        client.subscribe("$SYS/#", 0);
        Self { client, values: BTreeMap::new() }
    }

    /// The values by their names below `$SYS/broker/`.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The number that a value is now; 0 if it was never published.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let Some(text) = self.values.get(name) else { return 0 };
        text.parse().unwrap_or_else(|_| panic!("$SYS/broker/{name} is no number: {text}"))
    }

    /// Waits until a whole round of values was published that began after now.
    #[track_caller]
    pub fn next_round(&mut self) {
        // A round begins with `uptime`, and the next one is proof that it is complete.
        for _ in 0..2 {
            while self.take_one() != "uptime" {}
        }
    }

    /// Waits until a number fulfils a condition, and returns it.
    #[track_caller]
    pub fn wait_for(&mut self, name: &str, condition: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self.number(name)) {
            assert!(
                Instant::now() < deadline,
                "$SYS/broker/{name} is {:?} and stays that",
                self.values.get(name)
            );
            self.take_one();
        }
        self.number(name)
    }

    /// How long the loop of the gateway was away at most since the round before the last.
    pub fn longest_turn(&self) -> Duration {
        Duration::from_micros(self.number("loop/turn_max_us"))
    }

    /// Takes one value and returns its name.
    #[track_caller]
    fn take_one(&mut self) -> String {
        let message = self.client.next_message();
        let name = message.topic.strip_prefix("$SYS/broker/").expect("what we subscribed to");
        self.values.insert(name.to_owned(), message.text());
        name.to_owned()
    }
}
