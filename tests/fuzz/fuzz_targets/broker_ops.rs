//! See `system_tests::fuzz::broker_ops`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::broker_ops::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
