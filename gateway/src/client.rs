//! `mqtt-sn-gw pub` and `mqtt-sn-gw sub`: MQTT-SN clients for the command line.
//!
//! They have the habits of `mosquitto_pub` and `mosquitto_sub`, so that somebody without a device
//! can try everything, and an operator can test a gateway that is in use. docs/pub-sub.md is their
//! manual.
//!
//! [`session`] is a client without a socket and a clock, and knows nothing of the gateway in this
//! program: it is the other side. Around it, a connection waits for the socket, for lines from
//! standard input and for signals, and each command decides what to ask for next.

mod args;
mod connection;
mod failure;
mod input;
mod output;
mod publish;
pub mod session;
mod subscribe;
mod trace;
mod unconnected;
mod wire;

use std::time::Duration;

pub use args::{PubArgs, SubArgs};
pub use failure::refuse;
pub use publish::publish;
pub use subscribe::subscribe;

/// How long a gateway that ended a connection is left alone, so that one that restarts can do so.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
