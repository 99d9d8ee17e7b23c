//! See `system_tests::fuzz::restore`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::restore::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
