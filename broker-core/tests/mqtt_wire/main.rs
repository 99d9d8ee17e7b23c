//! The MQTT wire of the server, octet by octet.
//!
//! Packets are hex as the standards draw them.

mod answers;
mod authentication;
mod conduct;
mod connect_3;
mod connect_5;
mod features;
mod octets;
mod properties_5;
mod publish_5;
mod requests_3;
mod requests_5;
mod support;
mod v31;
