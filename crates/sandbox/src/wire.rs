//! The wire protocols: AWS Query (form in, XML out) and AWS JSON, and their error shapes.

pub(crate) mod errors;
pub(crate) mod json;
pub(crate) mod query;
pub(crate) mod xml;

use crate::caller::Caller;
use crate::clock::SimTime;

/// Who calls, where and when: what every AWS operation gets beside its input.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The authenticated caller.
    pub(crate) caller: Caller,
    /// The Region in the request's SigV4 credential scope.
    pub(crate) region: String,
    /// When the request arrived; unchanged when a waiting request is handled again.
    pub(crate) arrived: SimTime,
}
