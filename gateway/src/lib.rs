//! MQTT-SN gateway and MQTT broker in one process.

pub mod cli;
pub mod client;
pub mod config;
pub mod kept;
pub mod logging;
pub mod net;
pub mod server;
pub mod sn;
pub mod store;
