//! See `system_tests::fuzz::sn_decode`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::sn_decode::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
