//! The end-to-end tests. Start them with `cargo xtask test`.

#![cfg(test)]

mod aws_ops_on_moto;
mod operations;
