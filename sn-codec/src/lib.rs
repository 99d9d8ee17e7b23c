//! MQTT-SN packets to and from octets.
#![no_std]
#![forbid(unsafe_code)]
