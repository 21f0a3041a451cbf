//! Why a policy document cannot be used.

/// A policy document that IAM would refuse, or that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is not JSON.
    #[error("the policy is not well-formed JSON (line {line}, column {column})")]
    Json {
        /// Line of the problem, from 1.
        line: usize,
        /// Column of the problem, from 1.
        column: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The text is JSON, but not an object.
    #[error("the policy is not a JSON object with \"Version\" and \"Statement\"")]
    NotAnObject,
    /// An element that policy documents do not have.
    #[error(
        "the policy has an unknown element {element:?}: only Version, Id and Statement are allowed"
    )]
    UnknownElement {
        /// The element's name.
        element: String,
    },
    /// No version, or one whose policy language is out of date: `2008-10-17` takes policy variables literally.
    #[error("the policy's Version is {found}: write \"Version\": \"2012-10-17\"")]
    Version {
        /// The version as JSON, or `missing`.
        found: String,
    },
    /// The Id is not a text.
    #[error("the policy's Id is not a text")]
    Id,
    /// No statements at all.
    #[error("the policy has no Statement: give at least one")]
    NoStatement,
    /// A statement is wrong.
    #[error("statement {position}{}: {problem}", named(sid))]
    Statement {
        /// Which one, from 1.
        position: usize,
        /// Its Sid, when it has a readable one.
        sid: Option<String>,
        /// What is wrong.
        problem: StatementProblem,
    },
    /// One statement does not fit into a managed policy by itself, and a statement is never cut.
    #[error(
        "statement {position}{} makes a policy of {size} characters without white space, and {limit} fit: \
         divide its actions over two statements",
        named(sid)
    )]
    StatementTooLong {
        /// Which one, from 1.
        position: usize,
        /// Its Sid, when it has one.
        sid: Option<String>,
        /// Size of a policy with nothing but this statement, in characters without white space.
        size: usize,
        /// How many characters fit.
        limit: usize,
    },
    /// The managed policy that has the statement has no room for it any more.
    #[error(
        "statement {position}{} would have to move from managed policy {piece} to another one, where it would be missing for a \
         moment: leave the statement as it is, and give what is new as statements of its own",
        named(sid)
    )]
    StatementMoves {
        /// Which one, from 1.
        position: usize,
        /// Its Sid, when it has one.
        sid: Option<String>,
        /// The number of the managed policy that has it now, among those of the document, from 1.
        piece: usize,
    },
}

/// What is wrong with one statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementProblem {
    /// It is not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// An element that statements of identity policies do not have.
    #[error("unknown element {0:?}")]
    UnknownElement(String),
    /// A resource policy's element.
    #[error(
        "{0} does not belong in an identity policy: whom the role trusts is written by the template"
    )]
    Principal(&'static str),
    /// Effect is missing or wrong.
    #[error("Effect must be \"Allow\" or \"Deny\"")]
    Effect,
    /// The Sid has other characters than letters and digits.
    #[error("Sid {0} must be letters and digits only")]
    Sid(String),
    /// Two statements have the same Sid.
    #[error("Sid is already used by statement {0}: Sids are unique within a policy")]
    DuplicateSid(usize),
    /// Neither or both of an element and its negation.
    #[error("give either {0} or Not{0}, exactly one of them")]
    ExactlyOne(&'static str),
    /// The element is not a text or a list of texts.
    #[error("{0} must be a text or a list of texts with at least one entry")]
    NotTexts(&'static str),
    /// The action is not `service:Action`.
    #[error("{0:?} is not an action (service:Action, with * and ? as wildcards, or * alone)")]
    Action(String),
    /// The resource is neither an ARN nor `*`.
    #[error("{0:?} is not a resource (an ARN or *)")]
    Resource(String),
    /// The condition is not an object of objects.
    #[error("Condition must be an object of operators, each an object of keys")]
    Condition,
}

fn named(sid: &Option<String>) -> String {
    sid.as_ref()
        .map(|sid| format!(" ({sid})"))
        .unwrap_or_default()
}
