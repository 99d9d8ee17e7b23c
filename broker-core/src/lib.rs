//! The MQTT broker as a pure function of inputs and time.
#![forbid(unsafe_code)]

pub mod api;
mod broker;
pub mod hash;
pub mod key;
pub mod limits;
pub mod message;
pub mod mqtt;
pub mod property;
pub mod reason;
mod retained;
mod session;
pub mod stats;
mod subscription_ids;
pub mod time;
pub mod timer;
pub mod topic;
mod trie;

pub use broker::Broker;
