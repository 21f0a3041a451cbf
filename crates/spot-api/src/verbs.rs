//! What can be asked of Spot: one module per area of its API.

pub mod access;
pub mod accounts;
pub mod credentials;
pub mod products;
pub mod workloads;
