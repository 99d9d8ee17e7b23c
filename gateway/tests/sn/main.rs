//! The MQTT-SN machine with a real broker behind it, in octets and without sockets.

mod connect;
mod dialogues;
mod farm;
mod sleep;
