//! See `system_tests::fuzz::config`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::config::CONFIG;

fuzz_target!(|octets: &[u8]| {
    CONFIG.check(octets);
});
