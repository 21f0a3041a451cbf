//! Tests of the engine with jobs and a journal in memory.
