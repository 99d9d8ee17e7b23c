//! Clients that we did not write, against the gateway.
//!
//! The MQTT scenarios have twins in `control`, where Mosquitto plays our part.

mod mqtt;
mod mqtt5;
mod mqtt_sn_12;
mod rumqttc;
mod websocket;
