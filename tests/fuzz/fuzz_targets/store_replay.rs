//! See `system_tests::fuzz::store_replay`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use system_tests::fuzz::store_replay::REPLAY;

fuzz_target!(|octets: &[u8]| {
    REPLAY.check(octets);
});
