//! The provider against a small Spot of the tests' own, over real HTTP: every resource, hostile requests, crashes
//! between any two calls and any two writes of the state, and the queue.

#[cfg(test)]
mod provider {
    mod access;
    mod alone;
    mod clean_ups;
    mod clocks;
    mod corpus;
    mod crashes;
    mod deletes;
    mod histories;
    mod queue;
    mod resources;
    mod rules;
    pub(crate) mod spot;
    pub(crate) mod stack;
    pub(crate) mod state;
}
