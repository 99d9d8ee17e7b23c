//! SIGHUP: another configuration for a gateway that goes on serving.

mod files;
mod live;
mod predefined;
mod users;
