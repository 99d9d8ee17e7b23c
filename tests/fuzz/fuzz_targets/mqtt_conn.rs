//! See `system_tests::fuzz::mqtt_conn`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::mqtt_conn::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
