//! The MQTT broker as a pure function of inputs and time.
#![forbid(unsafe_code)]

pub mod api;
pub mod hash;
pub mod key;
pub mod message;
pub mod property;
pub mod reason;
mod retained;
mod session;
mod subscription_ids;
pub mod time;
pub mod timer;
pub mod topic;
mod trie;
