//! Tests of the state on real files.
