//! Notifications: people are told when something needs them. What is told, to whom and in which words is the core's and the
//! configuration's; the state keeps what is to be told until it got through.
//!
//! - `signature`: what a webhook's receiver knows us by;
//! - `send`: one notification to one target;
//! - `deliver`: everything that waits, to all targets side by side;
//! - `drain`: what is due to one target, one after the other;
//! - `busy`: which targets are being sent to, and which rest;
//! - `watch`: what no run tells of: jobs whose file is wrong, and runs that died again and again.

mod busy;
mod deliver;
mod drain;
mod send;
mod signature;
mod watch;

pub(crate) use deliver::{Delivering, within};
pub(crate) use drain::give_up;
pub(crate) use send::ATTEMPT;
pub use send::{Message, SendError, Sender};
pub(crate) use watch::{could_not_begin, keep_watching};
