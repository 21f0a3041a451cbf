//! Plans of `orphan-cleanup`: what is due and what stays, in tables, and what holds of every plan.

mod doubts;
mod golden;
mod leftovers;
mod moment;
mod properties;
mod tables;
mod undone;
mod world;
