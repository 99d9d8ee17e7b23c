//! Clients that come and go as they always do cost no allocation, recorded or not.

mod counting;
#[path = "sn/farm.rs"]
#[expect(dead_code, reason = "conversations need more of it")]
mod farm;
#[path = "sn/script.rs"]
mod script;

use counting::{allocations, allocations_when_warm};
use farm::{A, Farm};

/// The allocations of a thousand rounds of these, each of which is answered at once.
fn allocations_of(farm: &mut Farm, datagrams: &[&[u8]]) -> u64 {
    allocations_when_warm(|| {
        for octets in datagrams {
            farm.take_in(A, None, octets);
            assert_eq!(farm.drain(), 1, "an answer to {octets:02X?}");
        }
    })
}

const PINGREQ: &[u8] = &[0x02, 0x16];
const SLEEP: &[u8] = &[0x04, 0x18, 0x00, 0x3C];
const REGISTER: &[u8] = b"\x09\x0A\0\0\0\x01a/b";

#[test]
fn pings_visits_and_questions_for_known_ids_do_not_allocate() {
    for mut farm in [Farm::new(), Farm::durable()] {
        let cold = allocations(|| {
            farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
            farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
        });
        assert!(cold > 0, "the counter counts");
        assert_eq!(allocations_of(&mut farm, &[PINGREQ, REGISTER]), 0);
        farm.play(A, "> 04 18 00 3C\n< 02 18");
        assert_eq!(allocations_of(&mut farm, &[PINGREQ, SLEEP]), 0);
    }
}
