//! The real program from outside.

mod conversations;
mod process;
mod sleeping;
mod translation;
mod users;
