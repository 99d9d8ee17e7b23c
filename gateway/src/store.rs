//! The store: what was promised is on the disk.
//!
//! The loop hands over the changes of a turn and goes on; a thread appends all that came meanwhile,
//! makes it safe with one sync, and tells up to which number changes are safe. So a sync is shared
//! by as many messages as came during the one before, and the loop never waits for a disk.
//!
//! | File | Idea |
//! |---|---|
//! | `disk` | the few operations on files that are needed |
//! | `frame` | octets of the files |
//! | `index` | where the records stand that live |
//! | `floor` | where the log begins, and how far it has to go |
//! | `log` | appending, syncing, compaction |
//! | `open` | from files to a log; what is torn, what is damaged |
//! | `data_dir` | the folder: locked, opened, set aside if damaged |
//! | `backlog` | what waits for a disk that takes nothing |
//! | `reserve` | room that is kept for a full disk |
//! | `writer` | one sync for all that waits: what is done when, without a clock; a full disk |
//! | `status` | what that tells |
//! | `thread` | the writer behind a channel |
//! | `tool` | the command `store` |
//! | `testing` | a disk that fails, dies and lies, for tests |

mod backlog;
mod data_dir;
pub mod disk;
mod floor;
mod frame;
mod index;
mod log;
mod open;
mod reserve;
mod status;
pub mod testing;
mod thread;
pub mod tool;
pub mod writer;

pub use data_dir::{DataDir, DataDirError, Opened};
pub use log::{Log, LogConfig};
pub use open::{Found, OpenError, open, salvage};
pub use status::{Health, Status, StoreStats};
pub use thread::Store;
