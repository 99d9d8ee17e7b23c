//! See `system_tests::fuzz::config`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::config::TOPIC_FILE;

fuzz_target!(|octets: &[u8]| {
    TOPIC_FILE.check(octets);
});
