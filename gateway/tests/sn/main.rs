//! The MQTT-SN machine with a real broker behind it, in octets and without sockets.

mod acknowledgements;
mod answer_table;
mod connecting;
mod delivering;
mod dialogues;
mod farm;
mod publishing;
mod script;
mod sleep;
mod takeover;
mod topics;
