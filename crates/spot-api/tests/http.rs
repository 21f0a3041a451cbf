//! The client against a Spot of our own over real HTTP: limits that push back, failures, lost answers, broken bodies.

#[cfg(test)]
mod http {
    mod access;
    pub(crate) mod canned;
    mod failures;
    mod limits;
    mod shared;
    mod simulated;
    mod verbs;
}
