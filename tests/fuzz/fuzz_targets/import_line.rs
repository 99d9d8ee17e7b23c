//! See `system_tests::fuzz::import_line`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::import_line::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
