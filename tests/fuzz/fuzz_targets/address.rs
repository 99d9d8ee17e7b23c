//! See `system_tests::fuzz::config`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::config::ADDRESS;

fuzz_target!(|octets: &[u8]| {
    ADDRESS.check(octets);
});
