//! Plans of `stackset-sync`: tables of situations, and properties over many random organizations.

mod access;
mod accounts;
mod audit;
mod billing_engine;
mod clocks;
mod consents;
mod converges;
mod direct;
mod drift_sources;
mod golden;
mod interleavings;
mod leftover_units;
mod mends;
mod past_links;
mod removals;
mod rollouts;
mod stack_sets;
mod stray_policies;
mod tags;
mod targets;
mod world;
