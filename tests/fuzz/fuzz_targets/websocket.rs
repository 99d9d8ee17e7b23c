//! See `system_tests::fuzz::websocket`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::websocket::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
