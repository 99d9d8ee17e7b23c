//! See `system_tests::fuzz::store_replay`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::store_replay::OCTETS;

fuzz_target!(|octets: &[u8]| {
    OCTETS.check(octets);
});
