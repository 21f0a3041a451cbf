//! The harness of the end-to-end tests: starts what they run against, runs the real binary, reads its answers.
//!
//! It knows where things are from the environment that `cargo xtask test` sets, and refuses to guess: a test package of
//! its own would otherwise run whatever binary was built last.
//!
//! Everything listens on free ports of the loopback interface, and every child process is ended by its id.

pub mod components;
pub mod moto;
pub mod otlp;
pub mod postgres;
pub mod process;
pub mod runner;
pub mod tap;
pub mod tls;
pub mod wire;
