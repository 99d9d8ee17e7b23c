//! The allocator that counts is that of the broker's tests.

#[path = "../../../broker-core/tests/counting/mod.rs"]
mod allocator;

pub(crate) use allocator::allocations;

/// Runs `turn` until it is warm, then a thousand times; returns the allocations of those.
pub(crate) fn allocations_when_warm(mut turn: impl FnMut()) -> u64 {
    (0..10).for_each(|_| turn());
    allocations(|| (0..1_000).for_each(|_| turn()))
}
