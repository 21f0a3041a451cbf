//! Notifications: people are told when something needs them. What is told, to whom and in which words is the core's and the
//! configuration's; the state keeps what is to be told until it got through.
//!
//! - `signature`: what a webhook's receiver knows us by;
//! - `secret`: the secrets of targets, read when they are needed;
//! - `send`: one notification to one target;
//! - `deliver`: everything that waits, to all targets side by side;
//! - `watch`: what no run tells of: jobs whose file is wrong, and runs that died again and again.

mod deliver;
mod send;
mod signature;
mod watch;

pub(crate) use deliver::{keep_delivering, within};
pub(crate) use send::ATTEMPT;
pub use send::{Message, SendError, Sender};
pub(crate) use watch::{could_not_begin, keep_watching};
