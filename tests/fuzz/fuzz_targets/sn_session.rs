//! See `system_tests::fuzz::sn_session`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::sn_session::TARGET;

fuzz_target!(|octets: &[u8]| {
    TARGET.check(octets);
});
