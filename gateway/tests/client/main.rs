//! The MQTT-SN client of this program: its session octet by octet, and the commands that use it
//! against a scripted gateway.

mod chaos;
mod loss;
mod octets;
mod program;
mod publish;
mod session;
mod subscribe;
mod usage;
