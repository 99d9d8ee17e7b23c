//! The MQTT broker as a pure function of inputs and time.
#![forbid(unsafe_code)]
