//! What was promised is kept: the program dies in every way, and docs/persistence.md holds.

mod folder;
mod kills;
mod sensors;
