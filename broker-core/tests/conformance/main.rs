//! The statements of MQTT 3.1.1 and 5.0 about servers, shown on the whole stack with raw octets:
//! the broker, the connections of its clients, and a clock, all in memory.
//!
//! Packets are written and read by `octets.rs`, not by the code under test. A test that serves both
//! versions carries the ids of both.

mod broken_links;
mod conduct;
mod connecting;
mod flow;
mod handshakes;
mod matrix;
mod octets;
mod publishing;
mod sessions;
mod shared;
mod subscribing;
mod topics;
mod wills;
mod world;
