//! Why what a plugin answered is not acted on.

use crate::ids::AwsAccountId;

/// What is wrong with an answer. It is the plugin that has to be mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Two steps with one id.
    #[error("it plans two steps with the id {step:?}; an id stands for one step")]
    SameStepTwice {
        /// The id.
        step: String,
    },
    /// Two findings with one id.
    #[error("it tells two findings with the id {finding:?}; an id stands for one finding")]
    SameFindingTwice {
        /// The id.
        finding: String,
    },
    /// An account that it was not given.
    #[error(
        "{what} is about account {account}, which it was not given: it is not in the organization, or no profile of the job targets it"
    )]
    ForeignAccount {
        /// What names the account.
        what: String,
        /// The account.
        account: AwsAccountId,
    },
    /// A step that lists an account twice.
    #[error("step {step} lists account {account} twice")]
    SameAccountTwice {
        /// The step.
        step: String,
        /// The account.
        account: AwsAccountId,
    },
    /// A step of another kind.
    #[error("step {step} is of the kind {kind:?}; it may only plan steps of its own kind, {own:?}")]
    ForeignKind {
        /// The step.
        step: String,
        /// The kind that it is said to be of.
        kind: String,
        /// The plugin's kind.
        own: String,
    },
    /// A step that does something unannounced.
    #[error("step {step} does {action:?}, which its description does not have (it has: {known})")]
    UnknownAction {
        /// The step.
        step: String,
        /// What it does.
        action: String,
        /// What the description has.
        known: String,
    },
    /// A step that builds on one which does not come before it.
    #[error("step {step} builds on step {needed:?}, which {}", no_ground(*.is_planned))]
    NoGround {
        /// The step.
        step: String,
        /// What it builds on.
        needed: String,
        /// Whether that is planned at all.
        is_planned: bool,
    },
    /// An account with a step that is left out at the same time.
    #[error("account {account} is left out, and step {step} works on it")]
    SkippedAndDue {
        /// The account.
        account: AwsAccountId,
        /// The step.
        step: String,
    },
    /// An account that is left out twice.
    #[error("account {account} is left out twice")]
    SkippedTwice {
        /// The account.
        account: AwsAccountId,
    },
    /// Counts that are not those of the answer.
    #[error("it counts {said} {what}, and what it said has {counted}")]
    Totals {
        /// What is counted.
        what: &'static str,
        /// By the plugin.
        said: usize,
        /// By us.
        counted: usize,
    },
    /// A text that cannot be shown.
    #[error("{what} {why}")]
    Text {
        /// Which one.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A word that is not one of ours.
    #[error("{what} is {word:?}; it must be lower-case letters, digits and hyphens, 64 at most")]
    Word {
        /// Which one.
        what: String,
        /// The word.
        word: String,
    },
}

fn no_ground(is_planned: bool) -> &'static str {
    match is_planned {
        true => "does not come before it: give it a lower order",
        false => "is not planned",
    }
}
