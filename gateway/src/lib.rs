//! MQTT-SN gateway and MQTT broker in one process.

pub mod net;
