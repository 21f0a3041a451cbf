//! Plans of `stackset-sync`: tables of situations, and properties over many random organizations.

mod accounts;
mod audit;
mod converges;
mod removals;
mod stack_sets;
mod tags;
mod targets;
mod world;
