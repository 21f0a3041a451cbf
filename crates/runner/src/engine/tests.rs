//! Tests of the engine with jobs and a journal in memory.

mod crashes;
mod exit_codes;
mod interruption;
mod steps;
mod telling;
mod vanished;
mod world;
