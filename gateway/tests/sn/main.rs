//! The MQTT-SN machine with a real broker behind it, in octets and without sockets.

mod acknowledgements;
mod answer_table;
mod bounds;
mod connecting;
mod counters;
mod delivering;
mod devices;
mod dialogues;
mod durable;
mod durable_lives;
mod farm;
mod gate;
mod loss;
mod publishing;
mod radio;
mod reconfigure;
mod script;
mod sleep;
mod strangers;
mod takeover;
mod timers;
mod topics;
mod traps;
