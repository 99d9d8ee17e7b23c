//! Clients that come and go as they always do cost no allocation, recorded or not.
//!
//! A counting allocator needs a test program of its own. It counts per thread, for the test harness
//! allocates in the others.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[path = "sn/farm.rs"]
#[expect(dead_code, reason = "conversations need more of it")]
mod farm;
#[path = "sn/script.rs"]
mod script;

use farm::{A, Farm};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged; `realloc` and `alloc_zeroed` as
// the trait provides them end in these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, so from the system, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Says these, each of which is answered at once, until it is warm, and then a thousand times;
/// returns the allocations of those.
fn allocations_when_warm(farm: &mut Farm, datagrams: &[&[u8]]) -> u64 {
    let mut turn = || {
        for octets in datagrams {
            farm.take_in(A, None, octets);
            assert_eq!(farm.drain(), 1, "an answer to {octets:02X?}");
        }
    };
    (0..10).for_each(|_| turn());
    let before = ALLOCATIONS.get();
    (0..1_000).for_each(|_| turn());
    ALLOCATIONS.get() - before
}

const PINGREQ: &[u8] = &[0x02, 0x16];
const SLEEP: &[u8] = &[0x04, 0x18, 0x00, 0x3C];
const REGISTER: &[u8] = b"\x09\x0A\0\0\0\x01a/b";

#[test]
fn pings_visits_and_questions_for_known_ids_do_not_allocate() {
    for mut farm in [Farm::new(), Farm::durable()] {
        let before = ALLOCATIONS.get();
        farm.play(A, "> 0A 04 00 01 00 3C 'dev1'\n< 03 05 00");
        farm.play(A, "> 09 0A 00 00 00 01 'a/b'\n< 07 0B 00 01 00 01 00");
        assert!(ALLOCATIONS.get() > before, "the counter counts");
        assert_eq!(allocations_when_warm(&mut farm, &[PINGREQ, REGISTER]), 0);
        farm.play(A, "> 04 18 00 3C\n< 02 18");
        assert_eq!(allocations_when_warm(&mut farm, &[PINGREQ, SLEEP]), 0);
    }
}
