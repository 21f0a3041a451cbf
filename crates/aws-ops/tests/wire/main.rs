//! The verbs against small servers that answer as AWS does, and as it should not.

mod failures;
mod organizations;
mod secrets;
mod server;
mod stack_sets;
