//! The end-to-end tests. Start them with `cargo xtask test`.

#![cfg(test)]

mod operations;
