//! The AWS governor: token buckets seeded with published rates, and additive increase, multiplicative decrease on throttling.
