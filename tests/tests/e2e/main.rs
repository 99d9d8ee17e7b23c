//! The real program from outside.

mod conversations;
mod sleeping;
mod translation;
