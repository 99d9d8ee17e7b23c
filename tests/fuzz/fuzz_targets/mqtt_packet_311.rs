//! See `system_tests::fuzz::mqtt_packet`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::mqtt_packet::MQTT_311;

fuzz_target!(|octets: &[u8]| {
    MQTT_311.check(octets);
});
